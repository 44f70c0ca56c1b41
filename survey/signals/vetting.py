"""Tests on TCEs: the gate that decides what is called a candidate."""

from collections.abc import Callable, Sequence

from survey.config import GateConfig
from survey.signals.search.tce import Tce

GATE: dict[str, Callable[[Tce, GateConfig], bool]] = {
    "low_mes": lambda tce, gate: tce.mes < gate.mes,
    "single_transit": lambda tce, gate: tce.period is None,
    "two_transits": lambda tce, gate: tce.n_transits == 2 and not _settles_the_period(tce, gate),
    "few_transits": lambda tce, gate: tce.period is not None and tce.n_transits < gate.min_transits,
    "one_event": lambda tce, gate: tce.rest_mes is not None and tce.rest_mes < gate.rest_mes,
    "sine_like": lambda tce, gate: tce.box_over_sine is not None and tce.box_over_sine < gate.box_over_sine,
    "as_strong_inverted": lambda tce, gate: (
        tce.inverted_mes is not None and tce.mes < gate.over_inverted * tce.inverted_mes
    ),
    "chance": lambda tce, gate: tce.fap is not None and tce.fap > gate.fap,
}
"""Flag -> whether a TCE deserves it."""

SAME_VARIATION = 0.02
"""Periods this close belong to one variable star: rotation and pulsation are not strictly periodic."""

HARMONICS = (1.0, 2.0, 0.5, 3.0, 1 / 3)


def judge(tces: Sequence[Tce], config: GateConfig) -> list[tuple[str, ...]]:
    """The flags of each TCE of one star; a TCE without any is a candidate.

    A signal at the period (or a harmonic) of a stronger one that looks like a sine is what the mask of that variation
    left over, and gets the flag `variable_star`.
    """
    flags = [tuple(flag for flag, fails in GATE.items() if fails(tce, config)) for tce in tces]
    waves = [tce for tce, found in zip(tces, flags, strict=True) if "sine_like" in found]
    return [
        (*found, "variable_star") if any(_repeats(tce, wave) for wave in waves) else found
        for tce, found in zip(tces, flags, strict=True)
    ]


def _repeats(tce: Tce, wave: Tce) -> bool:
    if tce.period is None or wave.period is None or wave.mes <= tce.mes:
        return False
    return any(abs(tce.period / (wave.period * ratio) - 1) < SAME_VARIATION for ratio in HARMONICS)


def _settles_the_period(pair: Tce, gate: GateConfig) -> bool:
    """Whether two transits are both sure, each by itself, and leave one period: any two dips fit some period."""
    weaker = (pair.rest_mes or 0.0) * pair.mes
    return weaker >= gate.mes and (pair.n_open_periods or 1) == 1
