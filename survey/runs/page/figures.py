"""The charts of a report: which figures of a run are drawn, how they are binned, and what is said under them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from survey.runs.page import charts
from survey.runs.page.charts import Pile, words_of
from survey.runs.page.facts import (
    FEW_TRANSITS,
    Facts,
    Timeline,
    event_times,
    is_candidate,
    numbers,
)
from survey.stars.targets import MISSIONS

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Figure:
    """svg: the drawing; note: a sentence under it."""

    title: str
    svg: Markup
    note: str = ""
    wide: bool = False
    piles: Sequence[str] = ()


def quantity(value: float, unit: str) -> str:
    return f"{value:,.3g} {unit}".strip() if value < 1000 else f"{value:,.0f} {unit}".strip()


MISSION_NAMES: Final = {"tess": "TESS", "kepler": "Kepler", "k2": "K2"}


def mission_name(mission: str) -> str:
    return MISSION_NAMES.get(mission, mission)


# Distributions


@dataclass(frozen=True)
class Distribution:
    name: str
    title: str
    label: str
    unit: str
    least: float | None = None
    """Smaller values are drawn here: a probability of 0 has no logarithm."""


DISTRIBUTIONS: Final = (
    Distribution("period", "Period", "period (d)", "d"),
    Distribution("depth_ppm", "Depth", "depth (ppm)", "ppm"),
    Distribution("duration_h", "Duration", "duration (h)", "h"),
    Distribution("mes", "Multiple-event statistic", "MES", ""),
    Distribution("sde", "Signal detection efficiency", "SDE", ""),
    Distribution("fap", "False-alarm probability", "FAP", "", 1e-20),
)

BINS: Final = 28


def distributions(facts: Facts) -> list[Figure]:
    """Of all signals and of those that pass; quantities that no signal has are left out."""
    passed = is_candidate(facts.candidates)
    figures = [_distribution(one, numbers(facts.candidates, one.name), passed) for one in DISTRIBUTIONS]
    return [figure for figure in figures if figure is not None]


def _distribution(one: Distribution, values: Floats, passed: Bools) -> Figure | None:
    usable = np.isfinite(values) & (values > 0 if one.least is None else values >= 0)
    if not usable.any():
        return None
    values, passed = values[usable], passed[usable]
    if one.least is not None:
        values = np.maximum(values, one.least)
    note = f"{len(values):,} signals, median {_median(values, one.unit)}"
    if passed.any():
        note += f"; {int(passed.sum()):,} pass, median {_median(values[passed], one.unit)}"
    if one.least is not None:
        note += f"; {words_of(one.least)} stands for that and less"
    edges = np.geomspace(*charts.spread(values, log=True), BINS + 1)
    edges[0], edges[-1] = min(edges[0], values.min()), max(edges[-1], values.max())
    return Figure(one.title, Markup(charts.histogram(values, passed, one.label, edges=edges)), note)


def _median(values: Floats, unit: str) -> str:
    middle = float(np.median(values))
    if middle and not 1e-3 <= middle < 1e6:
        power = math.floor(math.log10(middle))
        return words_of(round(middle / 10.0**power) * 10.0**power)
    return quantity(middle, unit)


# Populations


def populations(facts: Facts) -> list[Figure]:
    """Depth, and radius where the star's is known, against period."""
    found = [
        _against_period(facts, "depth_ppm", "Depth and period", "depth (ppm)"),
        _against_period(facts, "planet_radius", "Radius and period, as of a planet", "radius (R⊕)"),
    ]
    return [figure for figure in found if figure is not None]


def _against_period(facts: Facts, name: str, title: str, label: str) -> Figure | None:
    period, value = numbers(facts.candidates, "period"), numbers(facts.candidates, name)
    usable = np.isfinite(period) & np.isfinite(value) & (period > 0) & (value > 0)
    if not usable.any():
        return None
    rows = np.flatnonzero(usable).tolist()
    stars = facts.candidates.column("target_id").to_pylist()
    unit = label.partition("(")[2].rstrip(")")
    names = [f"{stars[k]}: {quantity(period[k], 'd')}, {quantity(value[k], unit)}" for k in rows]
    passed = is_candidate(facts.candidates)[usable]
    svg = charts.scatter(period[usable], value[usable], passed, rows, names, ("period (d)", label))
    left_out = len(facts.candidates) - len(rows)
    note = f"{len(rows):,} signals; a click opens one"
    if left_out:
        note += f"; {left_out:,} without period or {label.partition(' ')[0]} left out"
    return Figure(title, Markup(svg), note, wide=True)


# Pile-ups

PERIOD_BINS: Final = 220
EVENT_BINS: Final = 300
LEAST_EVENT_BIN: Final = 0.25
"""Days; transits last hours."""

NAMED_PILES: Final = 6


def spectra(facts: Facts) -> list[Figure]:
    """Where signals pile up: in period, and in time."""
    found = [_period_spectrum(facts)]
    found += [_event_spectrum(facts, mission) for mission in sorted(facts.run.record["missions"])]
    return [figure for figure in found if figure is not None]


def _period_spectrum(facts: Facts) -> Figure | None:
    period = numbers(facts.candidates, "period")
    usable = np.isfinite(period) & (period > 0)
    if not usable.any():
        return None
    period, passed = period[usable], is_candidate(facts.candidates)[usable]
    edges = np.geomspace(*charts.spread(period, log=True, room=0.01), PERIOD_BINS + 1)
    piles = charts.find_piles(np.histogram(period, edges)[0], edges)
    svg = charts.histogram(period, passed, "period (d)", edges=edges, size=charts.WIDE, piles=piles)
    note = (
        f"{len(period):,} signals in {PERIOD_BINS} bins of equal ratio. Planets spread; what many stars share at one "
        "period comes from the instrument, or from one bright variable star"
    )
    return Figure("Signals by period", Markup(svg), note, True, _name_piles(piles, "d", 3))


def _event_spectrum(facts: Facts, mission: str) -> Figure | None:
    times, passed = event_times(facts.candidates, mission)
    if not len(times):
        return None
    low, high = charts.spread(times, log=False, room=0.01)
    edges = np.linspace(low, high, int(min(EVENT_BINS, max(1, (high - low) / LEAST_EVENT_BIN))) + 1)
    piles = charts.find_piles(np.histogram(times, edges)[0], edges)
    system = MISSIONS[mission].time_system
    label = f"{system} = BJD − {MISSIONS[mission].time_zero:.0f} (d)"
    svg = charts.histogram(
        times, passed, label, edges=edges, log=False, size=charts.WIDE, piles=piles, y_label="transits"
    )
    note = (
        f"{len(times):,} predicted transits of signals with at most {FEW_TRANSITS}, in bins of "
        f"{quantity(edges[1] - edges[0], 'd')}. Stars that dim together share a disturbance of the spacecraft"
    )
    title = f"Transits by time, {mission_name(mission)}"
    return Figure(title, Markup(svg), note, True, _name_piles(piles, system, 6))


def _name_piles(piles: Sequence[Pile], unit: str, digits: int) -> list[str]:
    words = [
        f"{pile.low:.{digits}g} to {pile.high:.{digits}g} {unit}: {pile.count:,}, where about {pile.expected:.1f} are "
        "usual"
        for pile in piles[:NAMED_PILES]
    ]
    more = len(piles) - NAMED_PILES
    return [*words, f"and {more:,} more"] if more > 0 else words


# Progress

RATE_BINS: Final = 30
LEAST_COMMITS: Final = 20
"""Times of commits that make a rate worth a chart."""


def progress(line: Timeline) -> list[Figure]:
    """Stars done and the rate over the working time."""
    unit, factor = next((u, s) for u, s in TIME_UNITS.items() if line.seconds[-1] >= 3 * s or u == "s")
    spent = line.seconds / factor
    sessions = len(line.breaks) + 1
    note = f"{line.stars[-1]:,.0f} stars in {quantity(spent[-1], unit)}"
    if sessions > 1:
        note += f", over {sessions} sessions; the pauses between them left out"
    breaks = [second / factor for second in line.breaks]
    done = charts.steps(spent, line.stars, (f"working time ({unit})", "stars done"), breaks=breaks)
    figures = [Figure("Stars done", Markup(done), note)]
    if len(np.unique(line.seconds)) >= LEAST_COMMITS:
        figures.append(_rate(line, spent, unit))
    return figures


TIME_UNITS: Final = {"d": 86_400.0, "h": 3600.0, "min": 60.0, "s": 1.0}


def _rate(line: Timeline, spent: Floats, unit: str) -> Figure:
    """Stars a minute, in bins of equal time."""
    n_bins = min(RATE_BINS, len(np.unique(line.seconds)) // 2)
    edges = np.linspace(0.0, spent[-1], n_bins + 1)
    stars = np.histogram(spent, edges, weights=np.diff(line.stars, prepend=0.0))[0]
    rate = stars / ((edges[1] - edges[0]) * TIME_UNITS[unit] / 60.0)

    def words(k: int) -> str:
        return f"{edges[k]:.3g} to {edges[k + 1]:.3g} {unit}: {stars[k]:.0f} stars, {rate[k]:,.1f} a minute"

    svg = charts.columns(edges, rate, (f"working time ({unit})", "stars a minute"), words)
    mean = 60.0 * line.stars[-1] / line.seconds[-1]
    return Figure("Rate", Markup(svg), f"{mean:,.3g} stars a minute on average, by when their shards were committed")


# Calibration


def calibration(facts: Facts) -> list[Figure]:
    """What the detrending leaves of a dip, and what the same light curves give upside down."""
    found = [_depth_kept(facts.run.record), _inverted(facts)]
    return [figure for figure in found if figure is not None]


def _depth_kept(record: dict[str, Any]) -> Figure | None:
    lines = []
    for mission, kept in record.get("depth_retention", {}).items():
        pairs = [(float(hours.split()[0]), share) for hours, share in kept["depth_kept"].items() if share is not None]
        if pairs:
            lines.append((mission_name(mission), pairs))
    if not lines:
        return None
    svg = charts.curves(lines, ("duration (h)", "share of the depth"))
    note = "Measured on injected dips in the first detrending; the second, with the transits masked, keeps them"
    return Figure("Depth that detrending keeps", Markup(svg), note)


def _inverted(facts: Facts) -> Figure | None:
    """The best MES of every star upside down: what noise and variability reach by themselves."""
    best = dict(
        zip(
            facts.candidates.column("target_id").to_pylist(),
            numbers(facts.candidates, "inverted_mes").tolist(),
            strict=True,
        )
    )
    values = np.array([value for value in best.values() if math.isfinite(value) and value > 0])
    if not len(values):
        return None
    threshold = facts.run.config.search.threshold
    above = values >= threshold
    edges = np.geomspace(*charts.spread(values, log=True), BINS + 1)
    edges[0], edges[-1] = min(edges[0], values.min()), max(edges[-1], values.max())
    svg = charts.histogram(values, np.zeros(len(values), bool), "best MES upside down", edges=edges, y_label="stars")
    note = (
        f"Of {len(values):,} stars with signals, {int(above.sum()):,} reach the threshold of {threshold:g} upside "
        "down, where there are no transits to find"
    )
    return Figure("The same light curves upside down", Markup(svg), note)
