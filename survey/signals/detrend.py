"""The star's own variation as a trend to divide by, with dips left alone.

The default is Tukey's biweight in a window of time (Hippke et al. 2019, AJ 158, 143: the method that keeps most transits), run on
bins of about ten minutes and interpolated back: the trend is smooth over a window of a day, so nothing is gained from every
cadence. The window slides with a sorted copy of its values, and the location of each window is iterated until it stands.

Where a window has no data on one side (at the ends of a stretch, next to a masked transit) its location belongs to the
middle of the data, not to the middle of the window; it is carried there along the slope of the window's own values.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from survey.config import DetrendConfig

Times = NDArray[np.float64]
Fluxes = NDArray[np.float32]
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]
Detrender = Callable[[Times, Floats, Indices, DetrendConfig, float, Mask], Floats]

MAD_TO_SIGMA = 1.4826

TUNING = 5.0
"""Values further from the location than this many median absolute deviations do not count (wotan's default)."""

CONVERGED = 1e-4
"""The location stands when a step moves it by less than this share of the median absolute deviation."""

MAX_STEPS = 100

LEAST_BINS = 3
SHORTEST_SHARE = 0.1
"""A stretch shorter than this share of the window, or of fewer bins, has no trend: its level alone would swallow any dip."""

CLIP_BLOCK = 500
"""Cadences over which the scatter is measured for clipping: sectors and quarters differ, and so do the days in them."""

SEED_BREAK = 5.0
SEED_ITERATIONS = 3
SEED_SIGMA = 3.0
"""savgol: lightkurve's own numbers. A hole of 5 median cadences splits; 3 rounds leave out what is beyond 3 sigma."""


def detrend(
    time: Times,
    flux: Fluxes,
    starts: Indices,
    config: DetrendConfig,
    *,
    window_days: float,
    in_transit: Mask | None = None,
) -> Fluxes:
    """The trend of a light curve on the scale of its flux: `flux / trend` is flat about 1.

    time (n,): days, ascending; flux (n,): not finite where unusable; starts: index of the first cadence of every product;
    in_transit (n,): cadences that do not count for the trend, which passes through beneath them.

    A product's first cadence and every hole longer than `config.gap_days` begin a stretch of its own. Returns (n,)
    float32, NaN only in stretches too short to have a trend (see SHORTEST_SHARE) and where the trend is not positive.
    A stretch that is nearly all in transit is detrended as if nothing were.
    """
    if not window_days > 0:
        raise ValueError(f"a detrending window must be above zero, not {window_days:g} d")
    time = np.ascontiguousarray(time, np.float64)
    values = np.ascontiguousarray(flux, np.float64)
    if time.shape != values.shape or time.ndim != 1:
        raise ValueError(f"time {time.shape} and flux {values.shape} must be two series of one length")
    masked = np.zeros(len(time), bool) if in_transit is None else np.ascontiguousarray(in_transit, bool)
    if masked.shape != time.shape:
        raise ValueError(f"in_transit {masked.shape} and time {time.shape} must have one length")
    if len(time) == 0:
        return np.empty(0, np.float32)
    trend = DETRENDERS[config.method](time, values, np.asarray(starts, np.int64), config, window_days, masked)
    trend[~(trend > 0)] = np.nan
    return trend.astype(np.float32)


# --- biweight and median in a window of time ------------------------------------------------------------------------


def biweight(
    time: Times, flux: Floats, starts: Indices, config: DetrendConfig, window_days: float, masked: Mask
) -> Floats:
    """Tukey's biweight location in a sliding window of time, on bins of `config.bin_minutes`."""
    return _slide_all(time, flux, _borders(time, starts, config), config.bin_minutes / 1440.0, window_days, masked, True)


def median(
    time: Times, flux: Floats, starts: Indices, config: DetrendConfig, window_days: float, masked: Mask
) -> Floats:
    """The median in a sliding window of time, on bins of `config.bin_minutes`."""
    return _slide_all(time, flux, _borders(time, starts, config), config.bin_minutes / 1440.0, window_days, masked, False)


def _borders(time: Times, starts: Indices, config: DetrendConfig) -> Indices:
    """First cadence of every stretch, and the number of cadences."""
    holes = np.flatnonzero(np.diff(time) > config.gap_days) + 1
    return np.unique(np.concatenate([[0], starts, holes, [len(time)]])).astype(np.int64)


@njit(cache=True, nogil=True)
def _slide_all(
    time: Times, flux: Floats, borders: Indices, bin_days: float, window_days: float, masked: Mask, robust: bool
) -> Floats:
    trend = np.full(len(time), np.nan)
    for k in range(len(borders) - 1):
        start, stop = borders[k], borders[k + 1]
        bins = _bin_stretch(time[start:stop], flux[start:stop], masked[start:stop], bin_days)
        if not _has_trend(bins[0], bins[2], window_days):
            unmasked = np.zeros(stop - start, np.bool_)
            bins = _bin_stretch(time[start:stop], flux[start:stop], unmasked, bin_days)
            if not _has_trend(bins[0], bins[2], window_days):
                continue
        levels = _slide(bins[0], bins[1], bins[2], window_days / 2, robust)
        _interpolate(time[start:stop], bins[0], levels, trend[start:stop])
    return trend


@njit(cache=True, nogil=True)
def _bin_stretch(time: Times, flux: Floats, masked: Mask, width: float) -> tuple[Floats, Floats, Floats]:
    """Mean time, mean flux and number of usable cadences of each bin; bins without usable cadences are kept, empty.

    Cadences further apart than `width` have a bin each.
    """
    n = len(time)
    times, fluxes, counts = np.empty(n), np.zeros(n), np.zeros(n)
    last = -1
    current = -1
    in_bin = 0
    for i in range(n):
        cell = int((time[i] - time[0]) / width) if width > 0 else i
        if cell != current:
            if last >= 0 and counts[last] == 0:
                times[last] /= in_bin
            last += 1
            current = cell
            in_bin = 0
            times[last] = 0.0
        usable = not masked[i] and np.isfinite(flux[i])
        if usable:
            if counts[last] == 0:
                times[last] = 0.0
            counts[last] += 1
            times[last] += time[i] - time[0]
            fluxes[last] += flux[i]
        elif counts[last] == 0:
            times[last] += time[i] - time[0]
            in_bin += 1
    if last >= 0 and counts[last] == 0:
        times[last] /= in_bin
    for k in range(last + 1):
        if counts[k] > 0:
            times[k] /= counts[k]
            fluxes[k] /= counts[k]
        times[k] += time[0]
    return times[: last + 1], fluxes[: last + 1], counts[: last + 1]


@njit(cache=True, nogil=True)
def _has_trend(times: Times, counts: Floats, window: float) -> bool:
    """Whether the usable bins of a stretch are many enough and span enough of the window."""
    first, last, usable = -1, -1, 0
    for k in range(len(times)):
        if counts[k] > 0:
            if first < 0:
                first = k
            last = k
            usable += 1
    return usable >= LEAST_BINS and times[last] - times[first] >= SHORTEST_SHARE * window


@njit(cache=True, nogil=True)
def _slide(times: Times, values: Floats, counts: Floats, half: float, robust: bool) -> Floats:
    """The level of every bin from the usable bins within `half` days of it; NaN where there are too few."""
    n = len(times)
    levels = np.full(n, np.nan)
    ordered = np.empty(n)
    size = low = high = 0
    for i in range(n):
        while high < n and times[high] <= times[i] + half:
            if counts[high] > 0:
                size = _insert(ordered, size, values[high])
            high += 1
        while times[low] < times[i] - half:
            if counts[low] > 0:
                size = _remove(ordered, size, values[low])
            low += 1
        if size < LEAST_BINS:
            continue
        middle = _median_sorted(ordered, size)
        if not robust:
            levels[i] = middle
            continue
        deviation = _mad_sorted(ordered, size, middle)
        levels[i] = _location(times, values, counts, low, high, times[i], middle, deviation)
    return levels


@njit(cache=True, nogil=True)
def _insert(ordered: Floats, size: int, value: float) -> int:
    place = np.searchsorted(ordered[:size], value)
    for k in range(size, place, -1):
        ordered[k] = ordered[k - 1]
    ordered[place] = value
    return size + 1


@njit(cache=True, nogil=True)
def _remove(ordered: Floats, size: int, value: float) -> int:
    for k in range(np.searchsorted(ordered[:size], value), size - 1):
        ordered[k] = ordered[k + 1]
    return size - 1


@njit(cache=True, nogil=True)
def _median_sorted(ordered: Floats, size: int) -> float:
    return 0.5 * (ordered[(size - 1) // 2] + ordered[size // 2])


@njit(cache=True, nogil=True)
def _mad_sorted(ordered: Floats, size: int, middle: float) -> float:
    """Median absolute deviation: the half of the values nearest to the median is a run of the sorted ones."""
    left, right = 0, size - 1
    for _ in range((size - 1) // 2):
        if middle - ordered[left] > ordered[right] - middle:
            left += 1
        else:
            right -= 1
    largest = max(middle - ordered[left], ordered[right] - middle)
    if size % 2 == 1:
        return largest
    # An even number: the mean of the two middle deviations, of which the larger has just been found.
    if middle - ordered[left] > ordered[right] - middle:
        left += 1
    else:
        right -= 1
    return 0.5 * (largest + max(middle - ordered[left], ordered[right] - middle))


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _location(
    times: Times, values: Floats, counts: Floats, low: int, high: int, at: float, middle: float, deviation: float
) -> float:
    """Biweight location of values[low:high], each weighing as many cadences as it holds, carried to the time `at`.

    Every second step is extrapolated (Aitken) where the steps shrink steadily; the fixed point is the same.
    """
    if deviation <= 0.0:
        return middle
    scale = 1.0 / (TUNING * deviation) ** 2
    tolerance = CONVERGED * deviation
    centre = middle
    before = 0.0
    for step in range(MAX_STEPS):
        weights = moments = 0.0
        for k in range(low, high):
            offset = values[k] - centre
            share = max(0.0, 1.0 - offset * offset * scale)
            weight = counts[k] * share * share
            weights += weight
            moments += weight * offset
        move = moments / weights
        centre += move
        if abs(move) <= tolerance:
            break
        if step % 2 == 1 and 0.0 < move < 0.9 * before or step % 2 == 1 and 0.9 * before < move < 0.0:
            rate = move / before
            centre += move * rate / (1.0 - rate)
        before = move
    weights = times_sum = squares = products = 0.0
    for k in range(low, high):
        offset = values[k] - centre
        share = max(0.0, 1.0 - offset * offset * scale)
        weight = counts[k] * share * share
        lag = times[k] - at
        weights += weight
        times_sum += weight * lag
        squares += weight * lag * lag
        products += weight * lag * offset
    mean_lag = times_sum / weights
    spread = squares / weights - mean_lag * mean_lag
    if spread <= 0.0:
        return centre
    return centre - mean_lag * (products / weights) / spread


@njit(cache=True, nogil=True)
def _interpolate(time: Times, times: Times, levels: Floats, trend: Floats) -> None:
    """Fill `trend` at `time` on straight lines between the bins that have a level, held at the outermost."""
    n = len(times)
    left = -1
    right = 0
    while right < n and np.isnan(levels[right]):
        right += 1
    if right == n:
        return
    for i in range(len(time)):
        while right < n and times[right] <= time[i]:
            left = right
            right += 1
            while right < n and np.isnan(levels[right]):
                right += 1
        if left < 0:
            trend[i] = levels[right]
        elif right == n:
            trend[i] = levels[left]
        else:
            share = (time[i] - times[left]) / (times[right] - times[left])
            trend[i] = levels[left] + share * (levels[right] - levels[left])


# --- the seeds' Savitzky-Golay filter -------------------------------------------------------------------------------


def savgol(
    time: Times, flux: Floats, starts: Indices, config: DetrendConfig, window_days: float, masked: Mask
) -> Floats:
    """lightkurve's `flatten`: a polynomial in a window of cadences, outliers left out in three rounds.

    `window_days` and `starts` do not enter: the window is `config.window_cadences`, products are joined as lightkurve
    does. It removes most of any transit longer than a third of the window; kept as the seeds had it.
    """
    finite = np.isfinite(flux)
    usable = finite & ~masked
    usable[finite] &= np.abs(flux[finite] - np.median(flux[finite])) <= SEED_SIGMA * np.std(flux[finite])
    trend = np.full(len(time), np.nan)
    for _ in range(SEED_ITERATIONS):
        if np.count_nonzero(usable) < 2:
            return np.full(len(time), np.nan)
        times, fluxes = time[usable], flux[usable]
        levels = _savgol_stretches(times, fluxes, config)
        residual = np.abs(fluxes - levels)
        inside = residual < SEED_SIGMA * np.std(fluxes - levels) + 1e-14
        if np.count_nonzero(inside) < 2:
            return trend
        trend = _extrapolate(time, times[inside], levels[inside])
        usable[usable] = inside
    return trend


def _savgol_stretches(times: Times, fluxes: Floats, config: DetrendConfig) -> Floats:
    steps = np.diff(times)
    cuts = np.flatnonzero(steps > SEED_BREAK * np.median(steps)) + 1
    window = config.window_cadences
    order = min(config.polyorder, window - 1)
    return np.concatenate(
        [
            savgol_filter(part, window, order) if len(part) >= max(window, SEED_BREAK) else np.full(len(part), np.median(part))
            for part in np.split(fluxes, cuts)
        ]
    )


def _extrapolate(at: Times, times: Times, levels: Floats) -> Floats:
    """Straight lines between the levels, continued beyond the first and last."""
    right = np.clip(np.searchsorted(times, at), 1, len(times) - 1)
    left = right - 1
    slope = (levels[right] - levels[left]) / (times[right] - times[left])
    return levels[left] + slope * (at - times[left])


DETRENDERS: dict[str, Detrender] = {"biweight": biweight, "savgol": savgol, "median": median}


# --- what is left ---------------------------------------------------------------------------------------------------


def robust_scatter(flux: NDArray[np.floating]) -> float:
    """Standard deviation of a series (n,) from the median difference of neighbours: dips and slow trends hardly enter.

    On the scale of the flux; NaN for fewer than two values. Not finite values must have been left out.
    """
    if len(flux) < 2:
        return float("nan")
    return MAD_TO_SIGMA * float(np.median(np.abs(np.diff(flux.astype(np.float64))))) / np.sqrt(2.0)


def clip_outliers(flat: NDArray[np.floating], upper_sigma: float, lower_sigma: float | None = None) -> Mask:
    """Which cadences to keep: those not more than `upper_sigma` above the level, nor (if given) `lower_sigma` below.

    flat (n,): finite, detrended. Level and scatter are measured in blocks of CLIP_BLOCK cadences. The level of a block
    counts only where it makes clipping milder: in the middle of a long dip the bar stays at that of the whole curve.
    """
    n = len(flat)
    if n == 0:
        return np.zeros(0, bool)
    values = np.asarray(flat, np.float64)
    borders = np.linspace(0, n, max(1, n // CLIP_BLOCK) + 1).astype(np.int64)
    overall = float(np.median(values))
    keep = np.empty(n, bool)
    for start, stop in zip(borders[:-1], borders[1:], strict=True):
        block = values[start:stop]
        level = float(np.median(block))
        sigma = MAD_TO_SIGMA * float(np.median(np.abs(block - level)))
        inside = block <= max(level, overall) + upper_sigma * sigma
        if lower_sigma is not None:
            inside &= block >= min(level, overall) - lower_sigma * sigma
        keep[start:stop] = inside
    return keep


def depth_retention(
    time: Times,
    config: DetrendConfig,
    durations_h: Sequence[float],
    window_days: float,
    *,
    starts: Indices | None = None,
    depth_sigma: float = 1.0,
    seed: int = 1,
) -> Floats:
    """Share of a box's depth that detrending leaves, for each duration (hours).

    White noise on the given times (n,) is detrended with and without boxes of `depth_sigma` times its scatter, and the
    two trends compared inside the boxes: with the same noise in both, a few boxes measure it well. Shallow boxes are the
    hard case, deep ones are left out by a robust trend. NaN where a box of that duration does not fit. Deterministic.
    """
    first = np.zeros(1, np.int64) if starts is None else starts
    sigma = 1e-3
    noise = 1.0 + sigma * np.random.default_rng(seed).standard_normal(len(time))
    before = detrend(time, noise.astype(np.float32), first, config, window_days=window_days)
    kept = np.full(len(durations_h), np.nan)
    for k, duration in enumerate(durations_h):
        boxed = _boxes(time, duration / 24.0, window_days)
        if not boxed.any():
            continue
        dipped = (noise - depth_sigma * sigma * boxed).astype(np.float32)
        after = detrend(time, dipped, first, config, window_days=window_days)
        lost = (before - after)[boxed].astype(np.float64)
        if np.isfinite(lost).any():
            kept[k] = 1.0 - np.nanmean(lost) / (depth_sigma * sigma)
    return kept


def _boxes(time: Times, duration: float, window_days: float) -> Mask:
    """Dips far enough apart not to share a window, the first half that distance from the start."""
    distance = 2.0 * (window_days + duration)
    phase = np.mod(time - time[0], distance) - distance / 2
    return np.abs(phase) < duration / 2
