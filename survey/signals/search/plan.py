"""Which periods and durations are tried, on which time bins: a fixed ladder of plans.

A plan follows from rungs (baseline, cadence, stellar density), never from a star's neighbours in a batch, so that a
star searched alone and the same star searched among thousands give the same numbers.

A segment is a range of periods folded on the same time bins. With bins of `tau`, a period of p bins and R = 2^k rows,
fast folding yields the R trial periods tau * (p + s / (R - 1)), s = 0..R-1: neighbours differ by a drift of one bin
over R rows, which is the natural period step (Staelin 1969) and, when tau follows the transit duration, the optimal
sampling of Ofir (2014). Only every `drift_step`-th of them is tried.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.config import SearchConfig

SOLAR_YEAR_DURATION = 13.0 / 24.0
"""Duration of a central transit of a 365.25 d orbit about the Sun, days (Seager & Mallen-Ornelas 2003, k << 1)."""

SOLAR_LOGG = 4.438

SUBDIVISION = 2.0 ** (1 / 4)
"""Rungs of the baseline: the plan covers at most this factor more time than the star has."""

WIDTH_RATIO = 1.25
"""Growth of the box widths."""

LARGEST_DUTY = 0.3
"""Boxes wider than this share of the period are not tried."""


@dataclass(frozen=True)
class DensityRung:
    """Range of durations tried, as a multiple of a central transit of a Sun-like star at the same period."""

    shortest: float
    longest: float


DENSE = DensityRung(0.20, 0.80)
SUNLIKE = DensityRung(0.40, 1.50)
EVOLVED = DensityRung(0.70, 2.60)
UNKNOWN = DensityRung(0.25, 1.70)


def stellar_density(radius: float | None, logg: float | None) -> float | None:
    """Mean density over that of the Sun, from the radius (solar) and log g (cgs); None where either is missing."""
    if radius is None or logg is None or not (radius > 0 and math.isfinite(logg)):
        return None
    return 10 ** (logg - SOLAR_LOGG) / radius


def density_rung(density: float | None) -> DensityRung:
    if density is None:
        return UNKNOWN
    scale = density ** (-1 / 3)
    if scale < 0.63:
        return DENSE
    return SUNLIKE if scale < 1.4 else EVOLVED


def central_duration(period: float) -> float:
    """Duration (d) of a central transit at this period (d) about a star of solar density."""
    return SOLAR_YEAR_DURATION * (period / 365.25) ** (1 / 3)


def longest_period(baseline: float, config: SearchConfig) -> float:
    """The longest period (d) searched in a light curve of this baseline (d)."""
    longest = baseline / config.min_transits
    return longest if config.period_max is None else min(longest, config.period_max)


def longest_duration(baseline: float, config: SearchConfig, density: float | None = None) -> float:
    """The longest duration (d) that the search tries: what a detrender has to leave alone."""
    return density_rung(density).longest * central_duration(longest_period(baseline, config))


@dataclass(frozen=True)
class Segment:
    """Trial periods that share time bins of `tau` days, `rows` rows (a power of two) and box widths.

    first, last: the whole-bin periods first <= p < last; widths, strides: box widths and steps of their epochs, in
    bins; each width is a whole number of its strides.
    """

    tau: float
    n_bins: int
    rows: int
    first: int
    last: int
    drift_step: int
    widths: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def drifts(self) -> NDArray[np.int64]:
        """Drifts over all rows that are tried at every whole-bin period, in bins."""
        return np.arange(0, self.rows, self.drift_step)

    @property
    def n_trials(self) -> int:
        return (self.last - self.first) * len(self.drifts)

    @property
    def durations(self) -> NDArray[np.float64]:
        return self.tau * np.array(self.widths)

    def periods(self) -> NDArray[np.float64]:
        """Trial periods in days, in the order of the engines' spectra."""
        whole = np.arange(self.first, self.last)[:, None]
        return (self.tau * (whole + self.drifts / (self.rows - 1))).ravel()


@dataclass(frozen=True)
class Plan:
    """Every trial of a star: segments in order of period."""

    baseline: float
    segments: tuple[Segment, ...]

    @functools.cached_property
    def periods(self) -> NDArray[np.float64]:
        return np.concatenate([segment.periods() for segment in self.segments])

    @functools.cached_property
    def steps(self) -> NDArray[np.float64]:
        """Distance to the next trial period of the same segment, days."""
        return np.concatenate([np.full(s.n_trials, s.tau * s.drift_step / (s.rows - 1)) for s in self.segments])

    @functools.cached_property
    def order(self) -> NDArray[np.int64]:
        """Trials in order of period: segments overlap a little at their ends."""
        return np.argsort(self.periods, kind="stable")

    @functools.cached_property
    def sorted_periods(self) -> NDArray[np.float64]:
        return self.periods[self.order]

    @property
    def shortest_duration(self) -> float:
        return min(float(segment.durations[0]) for segment in self.segments)


def baseline_rung(baseline: float) -> float:
    """The least rung that is not shorter than the baseline, days."""
    return 28.0 * SUBDIVISION ** math.ceil(math.log(baseline / 28.0, SUBDIVISION) - 1e-9)


def plan_star(baseline: float, cadence: float, density: float | None, config: SearchConfig, folded: float) -> Plan:
    """The plan of one star; baseline of all its data, cadence, and longest stretch `folded` coherently, in days."""
    rung = baseline_rung(folded)
    longest = min(longest_period(baseline, config), rung / 2)
    return _make_plan(rung, _longest_rung(longest, rung, config), cadence, density_rung(density), config)


def _longest_rung(longest: float, rung: float, config: SearchConfig) -> float:
    """The longest period, so quantised that stars of one baseline rung share a plan."""
    if config.period_max is not None and longest == config.period_max:
        return longest
    return rung / config.min_transits if config.min_transits >= 2 else longest


@functools.lru_cache(maxsize=64)
def _make_plan(baseline: float, longest: float, cadence: float, rung: DensityRung, config: SearchConfig) -> Plan:
    segments = []
    low = config.period_min
    while low < longest * 0.999:
        rows = max(2, 2 ** math.ceil(math.log2(baseline / low) - 1e-9))
        high = min(longest, 2 * baseline / rows)
        segments.append(_make_segment(baseline, low, high, rows, cadence, rung, config))
        low = high
    return Plan(baseline, tuple(segments))


def _make_segment(
    baseline: float, low: float, high: float, rows: int, cadence: float, rung: DensityRung, config: SearchConfig
) -> Segment:
    shortest = rung.shortest * central_duration(low)
    tau = max(cadence / 2, shortest / config.bins_per_duration)
    first, last = math.floor(low / tau), math.ceil(high / tau)
    longest = min(rung.longest * central_duration(high), LARGEST_DUTY * first * tau)
    boxes = _widths(shortest, longest, tau, config.bins_per_duration)
    rows_with_data = baseline / math.sqrt(low * high)
    return Segment(
        tau=tau,
        n_bins=math.ceil(baseline / tau) + 1,
        rows=rows,
        first=first,
        last=last,
        drift_step=max(1, round(config.drift_bins * rows / rows_with_data)),
        widths=tuple(width for width, _ in boxes),
        strides=tuple(stride for _, stride in boxes),
    )


def _widths(shortest: float, longest: float, tau: float, per_duration: int) -> list[tuple[int, int]]:
    """(width, stride) in bins: widths grow by WIDTH_RATIO; wider boxes step further and are whole steps wide."""
    width = max(1, round(shortest / tau))
    boxes = []
    while True:
        stride = 2 ** int(math.log2(max(1, width / per_duration)))
        width = stride * round(width / stride)
        boxes.append((width, stride))
        if width * tau >= longest * 0.95:
            return boxes
        width = max(width + stride, round(width * WIDTH_RATIO))
