"""A star's folded spectrum on fixed bins of period: the same shape for a month of TESS and four years of Kepler.

No network sees a shallow planet of forty days in a light curve itself. Folded at every trial period it stands out, and
of the many trials in a narrow range of periods it is enough to keep the best.
"""

import functools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from survey.config import CleanConfig, SearchConfig
from survey.signals.detrend import clip_outliers, robust_scatter
from survey.signals.search.curve import Dips, FlatCurve, Mask, make_dips
from survey.signals.search.numba_engine import search_segment
from survey.signals.search.plan import Plan, density_rung, plan_star
from survey.signals.search.refine import in_transit, refine
from survey.signals.search.spectrum import Spectrum, fold
from survey.stars.lightcurve import DAY_S

Floats = NDArray[np.float64]

CHANNELS: Final = ("scaled", "white", "inverted", "typical", "blunt", "left", "covered")
"""Rows of a profile. scaled, white: the best signal-to-noise ratio in each bin over the star's noise and over white
noise; inverted: of the light curve upside down; typical: the mean over the trials of a bin; blunt: where no point is
deeper than BLUNT_SIGMA, so that few deep events count for little; left: where the transits of the highest peak are
masked, which takes its harmonics away and leaves other planets; covered: 1 where the light curve is long enough for a
bin, else 0."""

BLUNT_SIGMA: Final = 3.0

ABSURD_FLUX: Final = 100.0
"""No star is this many times brighter or darker than its own trend."""

BREAK_DAYS: Final = 1.0
"""The noise may differ before and after a hole this long ..."""

LEAST_STRETCH: Final = 100
"""... where there are so many cadences to measure it by."""

LEAST_CADENCES: Final = 100

BINS_PER_DURATION: Final = 2
DRIFT_BINS: Final = 2.0
"""Coarser trials than those of the search, at a third of its time: a peak need not be measured, only be there."""

MASK_DURATIONS: Final = 1.5
LEAST_KEPT: Final = 0.35
"""Width of the mask over the highest peak's transits, in durations, and the share of the points that it must leave."""


@dataclass(frozen=True)
class PeriodBins:
    """`count` bins of period between `low` and `high` days, evenly spaced in the logarithm."""

    low: float
    high: float
    count: int

    @functools.cached_property
    def edges(self) -> Floats:
        """(count + 1,) days."""
        return np.geomspace(self.low, self.high, self.count + 1)

    @functools.cached_property
    def middles(self) -> Floats:
        """(count,) days."""
        return np.sqrt(self.edges[1:] * self.edges[:-1])

    @property
    def log_width(self) -> float:
        return math.log(self.high / self.low) / self.count

    def place(self, periods: NDArray[np.floating] | float) -> Floats:
        """Where periods lie, in bins: 0 at `low`, `count` at `high`."""
        return np.asarray(np.log(np.asarray(periods, float) / self.low) / self.log_width)

    def finer(self, times: int) -> "PeriodBins":
        return PeriodBins(self.low, self.high, self.count * times)


@dataclass(frozen=True)
class Profile:
    """values: (channels, bins) of CHANNELS, float32, 0 where nothing was tried. baseline_d: first to last cadence;
    scatter_ppm: from cadence to cadence."""

    values: NDArray[np.float32]
    baseline_d: float
    scatter_ppm: float


def make_profile(time: Floats, flat: NDArray[np.floating], cadence_s: float, bins: PeriodBins) -> Profile | None:
    """The profile of a detrended light curve, flux about 1; cadences that are not finite do not count.

    None where fewer than LEAST_CADENCES are left, or where they are too alike or too short a time to be folded.
    """
    usable = np.isfinite(time) & (np.abs(flat) < ABSURD_FLUX)
    if usable.sum() < LEAST_CADENCES:
        return None
    usable[usable] = clip_outliers(flat[usable], CleanConfig().clip_upper_sigma, None)
    time, flat = time[usable], np.asarray(flat[usable], float)
    if len(time) < LEAST_CADENCES or not (scatter := robust_scatter(flat)) > 0:
        return None
    baseline = float(time[-1] - time[0])
    values = np.zeros((len(CHANNELS), bins.count), np.float32)
    config = SearchConfig(
        period_min=bins.low, period_max=bins.high, bins_per_duration=BINS_PER_DURATION, drift_bins=DRIFT_BINS
    )
    curve = FlatCurve(time, flat, np.ones(len(flat)), cadence_s / DAY_S, starts=_starts(time))
    dips = make_dips(curve, config.max_gap_days)
    if min(baseline, dips.longest_block) > config.min_transits * bins.low:
        plan = plan_star(dips.baseline, curve.cadence, None, config, dips.longest_block)
        if plan.segments:
            _fill(values, dips, plan, bins)
    return Profile(values, baseline, 1e6 * scatter)


def _fill(values: NDArray[np.float32], dips: Dips, plan: Plan, bins: PeriodBins) -> None:
    everything = np.ones(len(dips.time), bool)
    deepest = BLUNT_SIGMA / np.sqrt(dips.weight)
    blunt = Dips(dips.time, np.minimum(dips.dip, deepest), dips.weight, dips.cell, dips.step, dips.blocks)
    plain, blunted = fold([(dips, everything, plan), (blunt, everything, plan)], search_segment)
    (left,) = fold([(dips, _without_highest(dips, plan, plain), plan)], search_segment)
    bounds = np.searchsorted(plan.sorted_periods, bins.edges)
    covered = (bins.middles > plan.sorted_periods[0]) & (bins.middles < plan.sorted_periods[-1])
    spectra = (plain.scaled, plain.white, plain.inverted, plain.scaled, blunted.scaled, left.scaled)
    for row, spectrum in enumerate(spectra):
        reduce = np.add if CHANNELS[row] == "typical" else np.maximum
        values[row] = np.where(covered, _reduce(spectrum[plan.order], plan.sorted_periods, bounds, bins, reduce), 0)
    values[-1] = covered


def _without_highest(dips: Dips, plan: Plan, spectrum: Spectrum) -> Mask:
    """Which points lie outside the transits of the highest peak; all where nothing would be left."""
    everything = np.ones(len(dips.time), bool)
    peak = int(np.argmax(spectrum.scaled))
    box = refine(dips, everything, plan.periods[peak], plan.steps[peak], density_rung(None))
    if box is None:
        return everything
    outside = ~in_transit(dips, box, MASK_DURATIONS)
    return outside if outside.mean() > LEAST_KEPT else everything


def _reduce(
    spectrum: NDArray[np.float32], periods: Floats, bounds: NDArray[np.intp], bins: PeriodBins, reduce: np.ufunc
) -> Floats:
    """(bins,) the greatest value or the mean in each bin; between the trials beside it where a bin has none."""
    counts = np.diff(bounds)
    filled = np.flatnonzero(counts)
    found = np.interp(np.log(bins.middles), np.log(periods), spectrum)
    if len(filled):
        stop = bounds[filled[-1] + 1]
        found[filled] = reduce.reduceat(spectrum[:stop].astype(float), bounds[filled])
        if reduce is np.add:
            found[filled] /= counts[filled]
    return found


def _starts(time: Floats) -> tuple[int, ...]:
    """Index of the first cadence of every stretch whose noise is measured on its own."""
    starts = [0]
    for place in (np.flatnonzero(np.diff(time) > BREAK_DAYS) + 1).tolist():
        if place - starts[-1] >= LEAST_STRETCH and len(time) - place >= LEAST_STRETCH:
            starts.append(place)
    return tuple(starts)
