"""The checks on the light of each signal: one function a flaw, each with what it measured and where the flaw begins.

A check that could not be done, or does not apply, has no verdict. Which of Robovetter's classes a flaw belongs to is in
`verdict`, where it begins in `config.GateConfig`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import chdtri

from survey.config import GateConfig
from survey.signals.search import FlatCurve, Tce
from survey.signals.search.curve import make_dips
from survey.signals.variability import Variability
from survey.signals.vetting.events import (
    LONGEST_GAP,
    Events,
    Floats,
    Light,
    look_at,
    split_odd_even,
    split_products,
)
from survey.signals.vetting.planet import STAR_DURATION_ERROR, Planet, imagine_planet, orbit_axis, shape_duration
from survey.signals.vetting.report import Check, Report, at_least, at_most
from survey.signals.vetting.secondary import strongest
from survey.stars.lightcurve import Star

HARMONICS: Final = (1.0, 2.0, 0.5, 3.0, 1 / 3)
"""Periods of one variation over each other: what the search may report of it."""

SPOTS: Final = (1.0, 2.0, 0.5)
"""The same, of the variation itself: spots lie on one side of a star, or on both."""


@dataclass(frozen=True)
class Case:
    """One signal and all that its checks may look at; others: every signal of the star."""

    light: Light
    others: tuple[Tce, ...]
    planet: Planet
    variability: Variability
    gate: GateConfig

    @property
    def tce(self) -> Tce:
        return self.light.tce

    @property
    def events(self) -> Events:
        return self.light.events


def vet(curve: FlatCurve, tces: Sequence[Tce], star: Star, variability: Variability, gate: GateConfig) -> list[Report]:
    """The report on each signal of one star, in their order."""
    dips = make_dips(curve, LONGEST_GAP) if tces else None
    reports = []
    for tce in tces:
        planet = imagine_planet(tce, star)
        case = Case(look_at(curve, tce, tces, dips), tuple(tces), planet, variability, gate)
        checks = tuple(check(case) for check in CHECKS)
        reports.append(Report(checks, planet.radius, planet.radius_err, planet.temperature, planet.insolation))
    return reports


# --- is there a signal, and is it periodic? ---------------------------------------------------------------------------


def low_mes(case: Case) -> Check:
    return at_least("low_mes", case.gate.mes, case.tce.mes)


def single_transit(case: Case) -> Check:
    """One transit has no period; the score is whether there is one."""
    return at_least("single_transit", 1.0, float(case.tce.period is not None), value=float(case.tce.n_transits))


def two_transits(case: Case) -> Check:
    """Whether two transits are both sure, each by itself, and leave one period: any two dips fit some period."""
    tce, gate = case.tce, case.gate
    if tce.period is None or tce.n_transits != 2:
        return at_least("two_transits", gate.pair_mes, None)
    weaker = (tce.rest_mes or 0.0) * tce.mes
    open_periods = tce.n_open_periods or 1
    return at_least("two_transits", gate.pair_mes, weaker if open_periods == 1 else 0.0, value=weaker)


def few_transits(case: Case) -> Check:
    least = case.gate.min_transits
    return at_least("few_transits", least, None if case.tce.period is None else case.tce.n_transits)


def one_event(case: Case) -> Check:
    return at_least("one_event", case.gate.rest_mes, case.tce.rest_mes)


def as_strong_inverted(case: Case) -> Check:
    """The same search finds as much in the light curve turned upside down."""
    tce = case.tce
    ratio = tce.mes / tce.inverted_mes if tce.inverted_mes else None
    return at_least("as_strong_inverted", case.gate.over_inverted, ratio)


def chance(case: Case) -> Check:
    return at_most("chance", case.gate.fap, case.tce.fap)


FEW: Final = 4
"""With more transits, noise rivals a single one where it does not rival all of them."""

NEARBY: Final = 8.0
"""How far from a transit its surroundings reach, in durations."""


def as_strong_nearby(case: Case) -> Check:
    """Whether few transits stand out: the strongest dip or rise of their length beside each, over its depth; median.

    Those within the noise count as none. The idea is that of Robovetter's Chases (Thompson et al. 2018).
    """
    events, orbit = case.events, case.light.orbit
    if not 2 <= len(events.depth) <= FEW or case.tce.period is None:
        return at_most("as_strong_nearby", case.gate.nearby_share, None)
    reach = min(NEARBY * orbit.duration, 0.45 * orbit.period)
    steps = np.arange(1.5 * orbit.duration, reach, orbit.duration / 3)
    shares = []
    for middle, depth in zip(events.middle, events.depth, strict=True):
        around = case.light.fit_at(middle + np.concatenate([-steps[::-1], steps]))
        if len(around.depth) and depth > 0:
            beyond = np.abs(around.depth) > case.gate.nearby_sigma * case.light.noise * around.error
            shares.append(float(np.abs(around.depth[beyond]).max(initial=0.0)) / depth)
    return at_most("as_strong_nearby", case.gate.nearby_share, float(np.median(shares)) if shares else None)


def gappy(case: Case) -> Check:
    """Share of the signal in transits of which, or of whose surroundings, much is missing: light ramps beside gaps."""
    events = case.events
    if not len(events.depth):
        return at_most("gappy", case.gate.gap_share, None)
    whole = (events.inside > WHOLE_INSIDE) & (np.minimum(events.before, events.after) > WHOLE_BESIDE)
    strength = (events.depth / events.error) ** 2
    return at_most("gappy", case.gate.gap_share, float(strength[~whole].sum() / max(strength.sum(), 1e-9)))


WHOLE_INSIDE: Final = 0.5
WHOLE_BESIDE: Final = 0.3
"""Shares of a whole transit, and of a duration on either side, that were observed."""


# --- is it the star itself? -------------------------------------------------------------------------------------------


def sine_like(case: Case) -> Check:
    return at_least("sine_like", case.gate.box_over_sine, case.tce.box_over_sine)


def variable_star(case: Case) -> Check:
    """What a mask leaves over of a stronger wave of the star; value: relative distance of periods, or harmonics."""
    tce, gate = case.tce, case.gate
    waves = [
        other.period
        for other in case.others
        if other.mes > tce.mes and other.box_over_sine is not None and other.box_over_sine < gate.box_over_sine
    ]
    return at_least("variable_star", gate.rotation_share, _least_distance(tce.period, waves, HARMONICS))


def at_rotation(case: Case) -> Check:
    """The period, or a harmonic, of the star's own variation, where that is stronger than the dip; value: relative
    distance of the two.

    A hot Jupiter may keep its star's rotation, and transits make a variation of their own: neither is a wave that
    outdoes the dip and that a sine explains nearly as well.
    """
    tce, gate, variation = case.tce, case.gate, case.variability
    amplitude, period = variation.variability_amplitude_ppm, variation.variability_period
    waves = [] if period is None or amplitude is None or amplitude < tce.depth_ppm else [period]
    like_wave = tce.box_over_sine is not None and tce.box_over_sine < gate.rotation_box_over_sine
    distance = _least_distance(tce.period, waves, SPOTS) if like_wave else None
    return at_least("at_rotation", gate.rotation_share, distance)


def _least_distance(period: float | None, waves: Sequence[float | None], ratios: Sequence[float]) -> float | None:
    """Relative distance of a period from the nearest of these multiples of any wave's."""
    known = [wave for wave in waves if wave is not None]
    if period is None or not known:
        return None
    return min(abs(period / (wave * ratio) - 1) for wave in known for ratio in ratios)


# --- are they two stars? ----------------------------------------------------------------------------------------------


def odd_even_differ(case: Case) -> Check:
    """Odd against even depths; value: their difference [science rule 22]."""
    depths = None if case.tce.period is None else split_odd_even(case.events)
    if depths is None:
        return at_most("odd_even_differ", case.gate.odd_even_sigma, None, unit="ppm")
    difference = depths.odd_ppm - depths.even_ppm
    error = math.hypot(depths.odd_err_ppm, depths.even_err_ppm)
    return at_most(
        "odd_even_differ",
        case.gate.odd_even_sigma,
        abs(difference) / error,
        value=difference,
        uncertainty=error,
        unit="ppm",
    )


def secondary_eclipse(case: Case) -> Check:
    """The strongest dip elsewhere in the orbit; value: its depth. The eclipse of a planet passes [science rule 23]."""
    found, limit = strongest(case.light), case.gate.secondary_sigma
    if found is None:
        return at_most("secondary_eclipse", limit, None, unit="ppm")
    passed = found.significance <= limit or _planet_like(case, found.depth_ppm)
    return Check(
        "secondary_eclipse", found.depth_ppm, found.depth_err_ppm, "ppm", found.significance, limit, bool(passed)
    )


def _planet_like(case: Case, depth_ppm: float) -> bool:
    """Whether a second dip can be the eclipse of a planet: small against its transit, no more than the planet can send
    back, and by a body no larger than a planet."""
    gate, planet, tce = case.gate, case.planet, case.tce
    axis = planet.axis or orbit_axis(tce.period, THIN_STAR)
    if planet.ratio is None or axis is None:
        return False
    reflected = 1e6 * gate.albedo * (planet.ratio / axis) ** 2
    small = planet.radius is None or planet.radius < gate.planet_radius
    return small and depth_ppm < min(gate.secondary_share * tce.depth_ppm, reflected)


THIN_STAR: Final = 0.05
"""Density, over the Sun's, of a star that is not known: one that has evolved, and lights its planets well."""


def secondary_of_another(case: Case) -> Check:
    """Whether a stronger signal of the star keeps the same period: this one is its other eclipse, or what a mask left
    of it. Value: by how much the two drift apart over the light curve, in durations."""
    tce, baseline = case.tce, case.light.dips.baseline
    drifts = [
        abs(tce.period / other.period - 1) * baseline / (min(tce.duration_h, other.duration_h) / 24)
        for other in case.others
        if other.mes > tce.mes and other.period is not None and tce.period is not None
    ]
    return at_least("secondary_of_another", case.gate.same_period_durations, min(drifts, default=None))


def v_shaped(case: Case) -> Check:
    """Share of the duration that the ingress takes: stars, and planets that graze, make a V."""
    fold, limit = case.light.shape, case.gate.ingress_share
    if fold is None or not math.isfinite(fold.ingress_err) or not fold.duration > 0:
        return at_most("v_shaped", limit, None)
    share, error = fold.ingress / fold.duration, fold.ingress_err / fold.duration
    if share > limit and (shape := case.light.event_shape) is not None:
        share, error = shape.ingress_share, shape.ingress_err
    return at_most("v_shaped", limit, share, uncertainty=error)


def equal_eclipses(case: Case) -> Check:
    """Two equal stars found at half their period: a V that lasts too long for a planet whose transit has this shape.

    The depth gives the radius ratio of a planet, the ingress its impact parameter, and the star's density how long such
    a transit lasts (Seager & Mallen-Ornelas 2003). Stars last longer: they are larger, and their period is longer.
    Value: duration over that of the planet; no verdict where single transits show no clear V, or the star is not known.
    """
    planet, fold, score = case.planet, case.light.shape, None
    if (
        planet.ratio is not None
        and planet.axis is not None
        and fold is not None
        and fold.ingress > V_BEGINS * fold.duration
    ):
        shape = case.light.event_shape
        if shape is not None and shape.ingress_share - V_SIGMAS * shape.ingress_err > V_BEGINS:
            longest = shape_duration(case.tce.period, planet.axis, planet.ratio, shape.ingress_share)
            score = 24 * shape.duration / longest if longest else None
    return at_most("equal_eclipses", case.gate.over_shape, score)


V_BEGINS: Final = 0.25
V_SIGMAS: Final = 2.0
"""A clear V: its ingress takes more than this share, by so many errors."""


# --- can it be a planet, and one planet? ------------------------------------------------------------------------------


def too_large(case: Case) -> Check:
    """Radius of the planet; the score is what it is at least, one error less."""
    planet = case.planet
    least = None if planet.radius is None or planet.radius_err is None else planet.radius - planet.radius_err
    return at_most(
        "too_large",
        case.gate.planet_radius,
        least,
        value=planet.radius,
        uncertainty=planet.radius_err,
        unit="earthRad",
    )


def too_long(case: Case) -> Check:
    """Duration over that of a central transit on a circular orbit about this star: of the fold or, where that is too
    long, of single transits, which coming early or late does not smear."""
    longest, duration_h = case.planet.longest_h, case.tce.duration_h
    if longest is None:
        return at_most("too_long", case.gate.over_longest, None)
    if duration_h > case.gate.over_longest * longest and (shape := case.light.event_shape) is not None:
        duration_h = min(duration_h, 24 * shape.duration)
    ratio = duration_h / longest
    return at_most("too_long", case.gate.over_longest, ratio, uncertainty=STAR_DURATION_ERROR * ratio)


def depths_vary(case: Case) -> Check:
    """Scatter of the depths of the transits beyond their errors, over the mean depth, as small as it can be.

    Each transit is looked for within a duration of its time, so that planets that pull at each other keep their depths.
    """
    return _scatter_check("depths_vary", *case.light.retimed_depths, case)


def products_differ(case: Case) -> Check:
    """The same for the mean depths of sectors or quarters."""
    depths = split_products(case.light)
    values = np.array([product.depth_ppm for product in depths]) / 1e6
    errors = np.array([product.depth_err_ppm for product in depths]) / 1e6
    return _scatter_check("products_differ", values, errors, case)


def _scatter_check(name: str, depths: Floats, errors: Floats, case: Case) -> Check:
    """Without the depths that fit least, up to a fifth: systematics hide transits, and planets make each other late."""
    for _ in range(int(LOST_SHARE * len(depths))):
        worst = int(np.argmax(np.abs(depths - np.average(depths, weights=errors**-2)) / errors))
        depths, errors = np.delete(depths, worst), np.delete(errors, worst)
    if len(depths) < 3 or not depths.mean() > 0:
        return at_most(name, case.gate.depth_scatter, None)
    mean, scatter = float(depths.mean()), float(np.std(depths, ddof=1))
    return at_most(name, case.gate.depth_scatter, least_scatter(depths, errors) / mean, value=scatter / mean)


LOST_SHARE: Final = 0.2
SCATTER_CHANCE: Final = 0.001
"""Equal depths scatter by more than `least_scatter` this often."""


def least_scatter(values: Floats, errors: Floats) -> float:
    """The least standard deviation, besides their errors, that lets values scatter as they do; 0 where none is needed.

    It is where the chi square about their weighted mean falls to what chance exceeds one time in a thousand.
    """
    limit = _chi_limit(len(values) - 1)
    low, high = 0.0, float(np.std(values)) * math.sqrt(len(values))
    if _chi_square(values, errors, low) <= limit:
        return 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _chi_square(values, errors, middle) > limit else (low, middle)
    return low


def _chi_limit(freedom: int) -> float:
    return float(chdtri(freedom, SCATTER_CHANCE))


def _chi_square(values: Floats, errors: Floats, scatter: float) -> float:
    weights = 1 / (errors**2 + scatter**2)
    mean = float((weights * values).sum() / weights.sum())
    return float((weights * (values - mean) ** 2).sum())


CHECKS: Final[tuple[Callable[[Case], Check], ...]] = (
    low_mes,
    single_transit,
    two_transits,
    few_transits,
    one_event,
    chance,
    as_strong_inverted,
    as_strong_nearby,
    gappy,
    depths_vary,
    products_differ,
    sine_like,
    variable_star,
    at_rotation,
    odd_even_differ,
    secondary_eclipse,
    secondary_of_another,
    equal_eclipses,
    v_shaped,
    too_large,
    too_long,
)

FLAWS: Final = tuple(check.__name__ for check in CHECKS)
"""What is looked for in the light of every signal: the names of checks and flags."""
