"""Tests on one TCE: the gate that decides what is called a candidate."""

from collections.abc import Callable

from survey.config import GateConfig
from survey.signals.search.tce import Tce

GATE: dict[str, Callable[[Tce, GateConfig], bool]] = {
    "low_mes": lambda tce, gate: tce.mes < gate.mes,
    "few_transits": lambda tce, gate: tce.n_transits < gate.min_transits,
    "one_event": lambda tce, gate: tce.rest_mes < gate.rest_mes,
    "sine_like": lambda tce, gate: tce.box_over_sine < gate.box_over_sine,
    "as_strong_inverted": lambda tce, gate: (
        tce.inverted_mes is not None and tce.mes < gate.over_inverted * tce.inverted_mes
    ),
}
"""Flag -> whether a TCE deserves it."""


def gate(tce: Tce, config: GateConfig) -> tuple[str, ...]:
    """The flags of a TCE; it is a candidate when there are none."""
    return tuple(flag for flag, fails in GATE.items() if fails(tce, config))
