"""What kind of star the light belongs to: an ordered table of rules, each of which gives its evidence in words.

The first rule of `RULES` that has any evidence names the class; a star that no rule has evidence on has none. Nothing
is fitted or weighed: where a rule begins is in `config.ClassConfig`, the flaws of signals are those of the gate.

1. contact_binary: a large wave of two minima half a period apart that keeps time like a clock, in a short period;
   unless a signal of another period passes the gate.
2. planet_candidate: a signal passes the gate.
3. eclipsing_binary: a signal with the flaws of two stars (second or unequal eclipses, too large) and not those of a
   wave, of noise or of the instrument; a wave that alternates like clockwork; or the light before detrending is low
   for a small part of its period, by more than a planet can hide.
4. systematics: a large periodic variation changes its amplitude from product to product.
5. pulsation: periodic, and faster than the star can turn, of several periods at once, larger than spots can make, or of
   a star too hot to have spots.
6. rotation: any other periodic variation larger than the Sun's.
7. flare: several flares.
8. systematics: noise comes in a burst.
9. single_event: a dip that came once, and nothing else is wrong with it.
10. systematics: a strong signal with the flaws of the instrument, such as transits beside gaps or of one event.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from survey.config import ClassConfig
from survey.signals.search import Tce
from survey.signals.variability import Variability
from survey.signals.vetting.planet import SUN_IN_EARTHS
from survey.signals.vetting.report import Check
from survey.signals.vetting.verdict import Verdict
from survey.stars.lightcurve import Star

WAVE_FLAWS: Final = frozenset({"sine_like", "variable_star", "at_rotation"})
NOISE_FLAWS: Final = frozenset({"low_mes", "chance", "as_strong_inverted"})
INSTRUMENT_FLAWS: Final = frozenset({"one_event", "as_strong_nearby", "gappy", "depths_vary", "products_differ"})
STAR_FLAWS: Final[dict[str, Callable[[Check], str]]] = {
    "secondary_eclipse": lambda check: f"a second eclipse of {_ppm(check.value)}, {check.score:.0f} sigma",
    "odd_even_differ": lambda check: f"alternate eclipses differ by {_ppm(check.value)}, {check.score:.0f} sigma",
    "secondary_of_another": lambda check: "a second eclipse at the period of a stronger signal",
    "equal_eclipses": lambda check: f"V-shaped and {check.value:.1f} times as long as a planet's transit",
    "too_large": lambda check: f"as a planet it would have {check.value:.0f} Earth radii",
}
"""Flaws that tell of two stars, and what they say in words."""

EVENT_FLAWS: Final = frozenset({"single_transit", "v_shaped"})
"""What a sound single event is flagged with."""

HARMONICS: Final = (0.5, 1.0, 2.0)
SAME_PERIOD = 0.02

BURST_DAYS = 1.0
"""A dip this close to a burst of noise belongs to it."""


@dataclass(frozen=True)
class Signal:
    """One signal, its checks and the verdict on it."""

    tce: Tce
    checks: Sequence[Check]
    verdict: Verdict

    @property
    def flags(self) -> frozenset[str]:
        return frozenset(self.verdict.flags)

    def __str__(self) -> str:
        depth = f"{_ppm(self.tce.depth_ppm)} deep"
        if self.tce.period is None:
            return (
                f"signal {self.tce.number}: one dip {depth}, {self.tce.duration_h:.1f} h long, MES {self.tce.mes:.0f}"
            )
        every = f"every {self.tce.period:.4f} d, {self.tce.n_transits} times"
        return f"signal {self.tce.number}: {depth} {every}, MES {self.tce.mes:.0f}"


@dataclass(frozen=True)
class Case:
    """All that a rule may look at."""

    signals: Sequence[Signal]
    wave: Variability
    star: Star
    limits: ClassConfig


Evidence = Iterator[str]


def classify(
    tces: Sequence[Tce],
    checks: Sequence[Sequence[Check]],
    verdicts: Sequence[Verdict],
    variability: Variability,
    star: Star,
    limits: ClassConfig,
) -> tuple[str | None, tuple[str, ...]]:
    """(class, evidence in words) of a star; (None, ()) where nothing stands out. Classes: `schema.STAR_CLASSES`.

    checks, verdicts: of each signal, in the order of `tces`.
    """
    signals = [Signal(*one) for one in zip(tces, checks, verdicts, strict=True)]
    case = Case(signals, variability, star, limits)
    for name, rule in RULES:
        evidence = tuple(rule(case))
        if evidence:
            return name, evidence + tuple(line for note in NOTES.get(name, ()) for line in note(case))
    return None, ()


def _ppm(value: float | None) -> str:
    return "unknown depth" if value is None else f"{float(f'{abs(value):.3g}'):,.0f} ppm"


# --- rules, in the order of their table -------------------------------------------------------------------------------


def contact_binary(case: Case) -> Evidence:
    wave, limits = case.wave, case.limits
    period, depth, phase = wave.variability_period, wave.variability_second_depth, wave.variability_second_phase
    if period is None or depth is None or phase is None or not _is_periodic(case):
        return
    if any(signal.verdict.is_candidate and not _is_harmonic(signal.tce.period, period) for signal in case.signals):
        return
    large = (wave.variability_amplitude_ppm or 0.0) >= limits.contact_amplitude_ppm
    steady = (wave.variability_coherence or 0.0) >= limits.steady
    double = depth >= LEAST_SECOND and abs(phase - 0.5) <= HALF_PERIOD
    continuous = (wave.variability_low_share or 0.0) > limits.eclipse_low_share
    mirrored = (wave.variability_asymmetry or 0.0) <= MOST_ASYMMETRY
    if period <= limits.contact_period and large and steady and double and continuous and mirrored:
        yield f"{_describe_wave(wave)}, without a pause"
        yield f"a second minimum {100 * depth:.0f}% as deep, at phase {phase:.2f}"
        yield f"keeps time like a clock: coherence {wave.variability_coherence:.3f}"


LEAST_SECOND = 0.1
HALF_PERIOD = 0.04
MOST_ASYMMETRY = 0.25
"""The two minima of a contact binary: the second over the first, its distance from half the period, and how little of
the curve a mirror may lose."""


def planet_candidate(case: Case) -> Evidence:
    for signal in case.signals:
        if signal.verdict.is_candidate:
            yield f"{signal}; passes every check"


def eclipsing_binary(case: Case) -> Evidence:
    for signal in case.signals:
        flaws = signal.flags & set(STAR_FLAWS)
        if signal.flags & (NOISE_FLAWS | INSTRUMENT_FLAWS) or (
            signal.flags & WAVE_FLAWS and not _alternates_like_clockwork(signal, case)
        ):
            continue
        found = [STAR_FLAWS[check.name](check) for check in signal.checks if check.name in flaws]
        if found:
            yield f"{signal}; {'; '.join(found)}"
    yield from _eclipses_of_the_wave(case)


SURE_ALTERNATION = 10.0
"""Sigmas."""


def _alternates_like_clockwork(signal: Signal, case: Case) -> bool:
    """A wave whose alternate minima differ for as long as it is seen, and that a mirror keeps: two stars drawn out by
    each other, not spots."""
    scores = [check.score for check in signal.checks if check.name == "odd_even_differ"]
    sure = any(score is not None and score >= SURE_ALTERNATION for score in scores)
    steady = (case.wave.variability_coherence or 0.0) >= case.limits.steady
    return sure and steady and (case.wave.variability_asymmetry or 0.0) <= CLOCKWORK_ASYMMETRY


CLOCKWORK_ASYMMETRY = 0.1


def _eclipses_of_the_wave(case: Case) -> Evidence:
    """Eclipses in the light as it is, where detrending or a search for short dips may have lost them."""
    wave, limits = case.wave, case.limits
    narrow = (wave.variability_low_share or 1.0) <= limits.eclipse_low_share
    steady = wave.variability_coherence is None or wave.variability_coherence >= limits.steady
    amplitude = wave.variability_amplitude_ppm or 0.0
    radius = None if case.star.radius is None else SUN_IN_EARTHS * case.star.radius * math.sqrt(amplitude / 1e6)
    deep = limits.eclipse_amplitude_ppm if radius is None else limits.eclipse_any_ppm
    large = amplitude >= deep or (radius is not None and radius > limits.eclipse_radius)
    if narrow and steady and large and _stands_out(case):
        yield f"{_describe_wave(wave)}, low for {100 * (wave.variability_low_share or 0.0):.0f}% of it: eclipses"
        if wave.variability_second_depth is not None and wave.variability_second_phase is not None:
            share, phase = wave.variability_second_depth, wave.variability_second_phase
            yield f"a second minimum {100 * share:.0f}% as deep, at phase {phase:.2f}"


def unsteady_wave(case: Case) -> Evidence:
    """A variation too large for spots that come and go so fast."""
    wave, limits = case.wave, case.limits
    scatter = wave.variability_scatter_dex
    large = (wave.variability_amplitude_ppm or 0.0) >= limits.unsteady_amplitude_ppm
    if scatter is not None and scatter > limits.unsteady_dex and large and _is_periodic(case):
        yield f"{_describe_wave(wave)}, whose amplitude scatters by {scatter:.2f} dex between the products"


def pulsation(case: Case) -> Evidence:
    wave, star, limits = case.wave, case.star, case.limits
    if wave.variability_period is None or not _is_periodic(case):
        return
    fastest, rest = _fastest_turn(case), wave.variability_rest_power or 0.0
    several = rest >= limits.several_power and wave.variability_period < limits.several_period
    if wave.variability_period < fastest:
        yield f"{_describe_wave(wave)}: faster than the star can turn ({fastest:.2g} d)"
    elif (wave.variability_amplitude_ppm or 0.0) >= limits.pulsation_amplitude_ppm:
        yield f"{_describe_wave(wave)}: larger than spots can make"
    elif star.teff is not None and star.teff >= limits.hot_teff:
        yield f"{_describe_wave(wave)}; at {star.teff:,.0f} K a star has no spots"
    elif several and not _is_active(case):
        yield f"{_describe_wave(wave)}; another period explains {100 * rest:.0f}% of what is left"


def rotation(case: Case) -> Evidence:
    wave = case.wave
    if _is_periodic(case) and (wave.variability_amplitude_ppm or 0.0) >= case.limits.rotation_amplitude_ppm:
        yield f"{_describe_wave(wave)}, {wave.variability_cycles:.0f} times in the longest stretch"
        yield f"a sine explains {100 * (wave.variability_power or 0.0):.0f}% of the variance"


def flare(case: Case) -> Evidence:
    if (case.wave.n_flares or 0) >= case.limits.flares:
        yield from mention_flares(case)


def noise_burst(case: Case) -> Evidence:
    burst, middle = case.wave.noise_burst, case.wave.noise_burst_time
    if burst is not None and middle is not None and burst >= case.limits.noise_burst:
        yield f"noise {burst:.0f} times the usual about day {middle:.1f}"
        near = [s for s in case.signals if s.tce.period is None and abs(s.tce.epoch - middle) < BURST_DAYS]
        if near:
            yield f"{len(near)} of {len(case.signals)} signals are single dips near it"


def single_event(case: Case) -> Evidence:
    for signal in case.signals:
        if signal.tce.period is None and signal.flags <= EVENT_FLAWS and signal.tce.mes >= case.limits.event_mes:
            yield str(signal)


def instrument(case: Case) -> Evidence:
    for signal in case.signals:
        found = [check.name for check in signal.checks if check.name in signal.flags & INSTRUMENT_FLAWS]
        if found and not signal.flags & WAVE_FLAWS and signal.tce.mes >= case.limits.event_mes:
            yield f"{signal}; {', '.join(found).replace('_', ' ')}"


# --- what rules share -------------------------------------------------------------------------------------------------


def _is_periodic(case: Case) -> bool:
    """Whether the star's own variation stands out and is not made by eclipses or transits."""
    power, low = case.wave.variability_power, case.wave.variability_low_share
    enough = power is not None and power >= case.limits.periodic_power
    clear = _stands_out(case) or (power is not None and power >= case.limits.periodic_alone)
    return enough and clear and low is not None and low > case.limits.eclipse_low_share


def _stands_out(case: Case) -> bool:
    return (case.wave.variability_contrast or 0.0) >= case.limits.periodic_contrast


def _is_harmonic(period: float | None, wave: float) -> bool:
    return period is not None and any(abs(period / (wave * ratio) - 1) < SAME_PERIOD for ratio in HARMONICS)


def _describe_wave(wave: Variability) -> str:
    return f"varies by {_ppm(wave.variability_amplitude_ppm)} every {wave.variability_period:.4g} d"


def _is_cool(case: Case) -> bool:
    return case.star.teff is not None and case.star.teff < case.limits.cool_teff


def _is_active(case: Case) -> bool:
    """Cool, or flaring: spots that come and go make close periods, too."""
    return _is_cool(case) or (case.wave.n_flares or 0) >= case.limits.flares


SUN_RADIUS_CM = 6.957e10


def _fastest_turn(case: Case) -> float:
    """Days in which a star turns when its equator is about to leave it; of an unknown star, cool ones may be tiny."""
    star = case.star
    if star.radius is None or star.logg is None or not star.radius > 0:
        return 0.0 if _is_cool(case) else case.limits.pulsation_period
    return 2 * math.pi * math.sqrt(star.radius * SUN_RADIUS_CM / 10**star.logg) / 86_400


def mention_flares(case: Case) -> Evidence:
    wave = case.wave
    if wave.n_flares and wave.flare_amplitude_ppm is not None:
        height = _ppm(wave.flare_amplitude_ppm)
        yield f"a flare of {height}" if wave.n_flares == 1 else f"{wave.n_flares} flares, up to {height}"


def mention_rotation(case: Case) -> Evidence:
    if _is_periodic(case):
        yield f"the star {_describe_wave(case.wave)}"


RULES: Final[tuple[tuple[str, Callable[[Case], Evidence]], ...]] = (
    ("contact_binary", contact_binary),
    ("planet_candidate", planet_candidate),
    ("eclipsing_binary", eclipsing_binary),
    ("systematics", unsteady_wave),
    ("pulsation", pulsation),
    ("rotation", rotation),
    ("flare", flare),
    ("systematics", noise_burst),
    ("single_event", single_event),
    ("systematics", instrument),
)

NOTES: Final[dict[str, tuple[Callable[[Case], Evidence], ...]]] = {
    "planet_candidate": (mention_rotation, mention_flares),
    "eclipsing_binary": (mention_rotation, mention_flares),
    "pulsation": (mention_flares,),
    "rotation": (mention_flares,),
    "single_event": (mention_rotation, mention_flares),
}
"""What else is said of a star of a class."""
