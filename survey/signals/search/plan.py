"""Which periods and durations are tried, on which time bins: a fixed ladder of plans.

A plan follows from rungs (baseline, cadence, stellar density), never from a star's neighbours in a batch, so that a
star searched alone and the same star searched among thousands give the same numbers.

A segment is a range of periods folded on the same time bins. With bins of `tau`, a period of p bins and R rows, fast
folding yields the R trial periods tau * (p + s / (R - 1)), s = 0..R-1: neighbours differ by a drift of one bin
over R rows, which is the natural period step (Staelin 1969) and, when tau follows the transit duration, the optimal
sampling of Ofir (2014). Only every `drift_step`-th of them is tried. R is a power of two or three times one, so that
rows without data, and bins finer than the durations need, cost little.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from survey.config import SearchConfig

SOLAR_YEAR_DURATION = 13.0 / 24.0
"""Duration of a central transit of a 365.25 d orbit about the Sun, days (Seager & Mallen-Ornelas 2003, k << 1)."""

SOLAR_LOGG = 4.438

SUBDIVISION = 2.0 ** (1 / 4)
"""Rungs of the baseline: the plan covers at most this factor more time than the star has."""

TRIPLE = (3, 4, 5)
"""Widths of the boxes of one level, in steps of their epochs; each level has twice the step of the one before."""

LARGEST_DUTY = 0.35
"""Boxes wider than this share of the period are not tried."""

DENSITY_STEP = 2.0 ** (1 / 4)
"""Ratio of neighbouring rungs of the stellar density, in durations."""

DENSITY_RANGE = (0.4, 4.0)
"""Central durations over that of a Sun-like star, of stars that have a rung of their own: M dwarfs to subgiants."""


NOISE_STEP = 1.6
"""Ratio of neighbouring durations at which the noise is measured; it varies slowly."""


@dataclass(frozen=True)
class DensityRung:
    """Range of durations tried, as a multiple of a central transit of a Sun-like star at the same period."""

    shortest: float
    longest: float


UNKNOWN = DensityRung(0.25, 1.70)

IMPACT = (0.55, 1.3)
"""Durations tried over the central one of a star of known density: down to an impact parameter of 0.83 (at 0.9 a tenth
of the SNR is lost), and up to what its density and a moderate eccentricity may add."""


def stellar_density(radius: float | None, logg: float | None) -> float | None:
    """Mean density over that of the Sun, from the radius (solar) and log g (cgs); None where either is missing."""
    if radius is None or logg is None or not (radius > 0 and math.isfinite(logg)):
        return None
    return 10 ** (logg - SOLAR_LOGG) / radius


def density_rung(density: float | None) -> DensityRung:
    """The rung of a star of this mean density over the Sun's."""
    if density is None:
        return UNKNOWN
    scale = min(max(density ** (-1 / 3), DENSITY_RANGE[0]), DENSITY_RANGE[1])
    rung = DENSITY_STEP ** round(math.log(scale, DENSITY_STEP))
    return DensityRung(IMPACT[0] * rung, IMPACT[1] * rung)


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
    """Trial periods that share time bins of `tau` days, `rows` rows (2^k or 3 * 2^k, even) and box widths.

    first, last: the whole-bin periods first <= p < last. Boxes come in `levels` of three widths (TRIPLE, in steps of
    1, 2, 4... bins), and before them, where a bin is longer than the shortest duration, in `narrow` widths of 1 and 2.
    """

    tau: float
    n_bins: int
    rows: int
    first: int
    last: int
    drift_step: int
    levels: int
    narrow: bool = False

    @property
    def widths(self) -> tuple[int, ...]:
        """Box widths in bins."""
        triples = tuple(width << level for level in range(self.levels) for width in TRIPLE)
        return (1, 2, *triples) if self.narrow else triples

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps of the epochs of each width, in bins; each width is a whole number of them."""
        steps = tuple(1 << level for level in range(self.levels) for _ in TRIPLE)
        return (1, 1, *steps) if self.narrow else steps

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


@dataclass(frozen=True, eq=False)
class Plan:
    """Every trial of a star: segments in order of period. Plans are made once, and are equal when they are the same."""

    baseline: float
    segments: tuple[Segment, ...]
    whole: "Plan | None" = None
    """The plan that this one is a part of (`restrict`): noise is measured as it is there."""

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

    @functools.cached_property
    def shortest_duration(self) -> float:
        return min(float(segment.durations[0]) for segment in self.segments)

    @functools.cached_property
    def noise_durations(self) -> NDArray[np.float64]:
        """Durations (d) at which the noise is measured."""
        if self.whole is not None:
            return self.whole.noise_durations
        longest = max(float(segment.durations[-1]) for segment in self.segments)
        count = 2 + int(math.log(longest / self.shortest_duration) / math.log(NOISE_STEP))
        return np.geomspace(self.shortest_duration, longest, count)

    @functools.cached_property
    def noise_shares(self) -> list[NDArray[np.float64]]:
        """For every segment (noise durations, widths): how the noise at its widths is interpolated, in log duration."""
        known = np.log(self.noise_durations)
        rungs = np.eye(len(known))
        wanted = [np.log(segment.durations) for segment in self.segments]
        return [np.stack([np.interp(at, known, rung) for rung in rungs]) for at in wanted]


Ranges = Sequence[tuple[float, float]]
"""(shortest, longest) periods in days."""


def restrict(plan: Plan, ranges: Ranges) -> Plan:
    """The trials of a plan that lie in any of the ranges, on the same bins and with the same noise: each gives the very
    number that it gives in the whole plan."""
    return Plan(plan.baseline, tuple(part for segment in plan.segments for part in _parts(segment, ranges)), plan)


def _parts(segment: Segment, ranges: Ranges) -> Iterator[Segment]:
    """The stretches of whole-bin periods of a segment that the ranges reach into."""
    wanted = np.zeros(segment.last - segment.first, bool)
    for low, high in ranges:
        first = max(math.floor(low / segment.tau) - segment.first, 0)
        last = math.ceil(min(high, segment.last * segment.tau) / segment.tau) - segment.first
        wanted[first : max(first, last)] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wanted, [False]]).astype(np.int8)))
    for begin, end in edges.reshape(-1, 2).tolist():
        yield replace(segment, first=segment.first + begin, last=segment.first + end)


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


@functools.lru_cache(maxsize=256)
def _make_plan(baseline: float, longest: float, cadence: float, rung: DensityRung, config: SearchConfig) -> Plan:
    """Segments whose ranges join: each starts at the first whole-bin period that its rows cover."""
    lows = [config.period_min, *_corners(baseline, config.period_min, longest)]
    taus = [_bin_length(low, high, cadence, rung, config) for low, high in itertools.pairwise([*lows, longest])]
    firsts = [
        math.floor(lows[0] / taus[0]),
        *(math.ceil(low / tau) for low, tau in zip(lows[1:], taus[1:], strict=True)),
    ]
    highs = [*(first * tau for first, tau in zip(firsts[1:], taus[1:], strict=True)), longest]
    return Plan(
        baseline,
        tuple(
            _make_segment(baseline, tau, first, high, rung, config)
            for tau, first, high in zip(taus, firsts, highs, strict=True)
            if high > first * tau
        ),
    )


LEAST_PERIOD = 32
"""Bins of the shortest period, at least; matters for giants, whose transits fill their shortest periods."""


def _bin_length(low: float, high: float, cadence: float, rung: DensityRung, config: SearchConfig) -> float:
    """Bins for the shortest duration amid these periods."""
    shortest = rung.shortest * central_duration(math.sqrt(low * high))
    return min(max(cadence / 2, shortest / config.bins_per_duration), low / LEAST_PERIOD)


def _corners(baseline: float, shortest: float, longest: float) -> list[float]:
    """Periods between the two at which the baseline holds 3, 4, 6, 8, 12... of them, ascending."""
    counts = [count for power in range(1, 40) for count in (2**power, 3 * 2 ** (power - 1))]
    return sorted(baseline / count for count in counts if shortest * 1.01 < baseline / count < longest * 0.999)


def _make_segment(
    baseline: float, tau: float, first: int, high: float, rung: DensityRung, config: SearchConfig
) -> Segment:
    low, n_bins = first * tau, math.ceil(baseline / tau) + 1
    rows = _rows(n_bins / first)
    return Segment(
        tau=tau,
        n_bins=n_bins,
        rows=rows,
        first=first,
        last=math.ceil(high / tau),
        drift_step=max(1, round(config.drift_bins * rows * math.sqrt(low * high) / baseline)),
        levels=_levels(rung.longest * central_duration(high) / tau, LARGEST_DUTY * first),
        narrow=rung.shortest * central_duration(low) < (TRIPLE[0] - 0.5) * tau,
    )


def _rows(periods: float) -> int:
    """The least even 2^k or 3 * 2^k that leaves out no more than half a hundredth of so many periods."""
    least = 0.995 * periods
    power = max(1, math.ceil(math.log2(least)))
    return 3 * 2 ** (power - 2) if power > 2 and 3 * 2 ** (power - 2) >= least else 2**power


LEAST_WIDEST = 0.85
"""The widest box over the longest duration, at least."""


def _levels(longest: float, limit: float) -> int:
    """Levels of boxes for durations up to `longest` bins, none of them wider than `limit` beyond the first level."""
    wanted = math.ceil(math.log2(LEAST_WIDEST * longest / TRIPLE[-1]))
    possible = math.floor(math.log2(limit / TRIPLE[-1]))
    return 1 + max(0, min(wanted, possible))
