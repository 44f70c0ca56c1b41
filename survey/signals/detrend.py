"""The star's own variation, taken out without taking the transits with it.

The default is Tukey's biweight location in a sliding window of time (Hippke et al. 2019 found it the best of many for
transits), with three savings: it runs on bins of about ten minutes, at nodes a small part of the window apart, and its
value between nodes is a straight line. Stretches on either side of a hole in time, and the stretches of different
products, never mix.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from survey.config import DetrendConfig

Times = NDArray[np.float64]
Fluxes = NDArray[np.float32]
Mask = NDArray[np.bool_]
Detrender = Callable[[Times, NDArray[np.float64], Mask, list[slice], DetrendConfig, float], NDArray[np.float64]]

NODES_PER_WINDOW = 32
TUNING = 5.0
"""The biweight ignores points beyond this many median absolute deviations."""

LEAST_POINTS = 3
"""A window with fewer points says nothing about the trend."""


def detrend(
    time: Times,
    flux: Fluxes,
    starts: Sequence[int] | NDArray[np.int64],
    config: DetrendConfig,
    *,
    window_days: float,
    in_transit: Mask | None = None,
) -> Fluxes:
    """The trend of a light curve (n,), NaN where there is too little to estimate it from.

    time: days, float64; starts: index of the first cadence of each product; in_transit: cadences that must not enter
    the estimate, through which the trend is interpolated. Divide the flux by the trend.
    """
    used = np.isfinite(flux)
    if in_transit is not None:
        used &= ~in_transit
    stretches = split_at_gaps(time, starts, config.gap_days)
    trend = DETRENDERS[config.method](time, flux.astype(np.float64), used, stretches, config, window_days)
    return trend.astype(np.float32)


def split_at_gaps(time: Times, starts: Sequence[int] | NDArray[np.int64], gap_days: float) -> list[slice]:
    """Stretches without a hole longer than `gap_days` and of one product each."""
    edges = np.union1d(np.flatnonzero(np.diff(time) > gap_days) + 1, np.asarray(starts, np.int64))
    edges = np.union1d(edges, [0, len(time)]).astype(int)
    return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]


def biweight(
    time: Times, flux: NDArray[np.float64], used: Mask, stretches: list[slice], config: DetrendConfig, window: float
) -> NDArray[np.float64]:
    """Sliding biweight location on bins; see the module's docstring."""
    return _slide(time, flux, used, stretches, config, window, _biweight_locations)


def median(
    time: Times, flux: NDArray[np.float64], used: Mask, stretches: list[slice], config: DetrendConfig, window: float
) -> NDArray[np.float64]:
    """Sliding median on the same bins and nodes."""
    return _slide(time, flux, used, stretches, config, window, _median_locations)


def _slide(
    time: Times,
    flux: NDArray[np.float64],
    used: Mask,
    stretches: list[slice],
    config: DetrendConfig,
    window: float,
    locate: Callable[..., NDArray[np.float64]],
) -> NDArray[np.float64]:
    trend = np.full(len(time), np.nan)
    for stretch in stretches:
        t, y = time[stretch][used[stretch]], flux[stretch][used[stretch]]
        if len(t) < LEAST_POINTS:
            continue
        times, means = bin_means(t, y, config.bin_minutes / 1440)
        step = window / NODES_PER_WINDOW
        nodes = np.linspace(times[0], times[-1], max(2, math.ceil((times[-1] - times[0]) / step) + 1))
        values = locate(times, means, nodes, window / 2)
        known = np.isfinite(values)
        if known.any():
            trend[stretch] = np.interp(time[stretch], nodes[known], values[known])
    return trend


def bin_means(time: Times, flux: NDArray[np.float64], width: float) -> tuple[Times, NDArray[np.float64]]:
    """Mean time and flux of the bins (of `width` days) that hold anything; the cadences themselves where width is 0."""
    if width <= 0:
        return time, flux
    cells = ((time - time[0]) / width).astype(np.int64)
    edges = np.flatnonzero(np.diff(cells, prepend=-1))
    counts = np.diff(np.append(edges, len(time)))
    return np.add.reduceat(time, edges) / counts, np.add.reduceat(flux, edges) / counts


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _biweight_locations(times, values, nodes, reach):  # type: ignore[no-untyped-def]
    """Biweight location of the values within `reach` of each node, iterated to convergence from the median."""
    out = np.full(nodes.size, np.nan)
    low = high = 0
    for k in range(nodes.size):
        while times[low] < nodes[k] - reach:
            low += 1
        while high < times.size and times[high] <= nodes[k] + reach:
            high += 1
        if high - low < LEAST_POINTS:
            continue
        sample = values[low:high]
        location = np.median(sample)
        scale = np.median(np.abs(sample - location))
        if scale <= 0:
            out[k] = location
            continue
        cut = TUNING * scale
        for _ in range(20):
            total = shift = 0.0
            for i in range(sample.size):
                u = (sample[i] - location) / cut
                if abs(u) < 1.0:
                    weight = (1.0 - u * u) ** 2
                    total += weight
                    shift += weight * u
            step = cut * shift / total
            location += step
            if abs(step) < 1e-3 * scale:
                break
        out[k] = location
    return out


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _median_locations(times, values, nodes, reach):  # type: ignore[no-untyped-def]
    out = np.full(nodes.size, np.nan)
    low = high = 0
    for k in range(nodes.size):
        while times[low] < nodes[k] - reach:
            low += 1
        while high < times.size and times[high] <= nodes[k] + reach:
            high += 1
        if high - low >= LEAST_POINTS:
            out[k] = np.median(values[low:high])
    return out


SAVGOL_PASSES = 3
SAVGOL_SIGMA = 3.0
SAVGOL_BREAK = 5
"""lightkurve's `flatten`: split where a hole is longer than this many cadences, mask outliers and smooth again."""


def savgol(
    time: Times, flux: NDArray[np.float64], used: Mask, stretches: list[slice], config: DetrendConfig, window: float
) -> NDArray[np.float64]:
    """Savitzky-Golay over a fixed number of cadences, as lightkurve's `flatten` does it; `window` plays no part.

    At 2 minutes the predecessors' 101 cadences keep 15% of a 2 h transit: for comparison, not for surveys.
    """
    trend = np.full(len(time), np.nan)
    for stretch in stretches:
        steps = np.diff(time[stretch])
        holes = np.flatnonzero(steps > SAVGOL_BREAK * np.median(steps)) + 1 if len(steps) else np.empty(0, int)
        edges = [0, *holes.tolist(), stretch.stop - stretch.start]
        for a, b in itertools.pairwise(edges):
            part = slice(stretch.start + a, stretch.start + b)
            trend[part] = _savgol_part(time[part], flux[part], used[part], config)
    return trend


def _savgol_part(time: Times, flux: NDArray[np.float64], used: Mask, config: DetrendConfig) -> NDArray[np.float64]:
    good = used.copy()
    length = config.window_cadences | 1
    if good.sum() < LEAST_POINTS:
        return np.full(len(flux), np.nan)
    if len(flux) <= length:
        return np.full(len(flux), np.median(flux[good]))
    trend = flux
    for _ in range(SAVGOL_PASSES):
        filled = np.interp(time, time[good], flux[good])
        trend = savgol_filter(filled, length, config.polyorder)
        residual = flux - trend
        centre, sigma = np.median(residual[good]), np.std(residual[good])
        good = used & (np.abs(residual - centre) < SAVGOL_SIGMA * sigma)
        if good.sum() < LEAST_POINTS:
            break
    return trend


DETRENDERS: dict[str, Detrender] = {"biweight": biweight, "savgol": savgol, "median": median}


def robust_scatter(flux: NDArray[np.floating]) -> float:
    """Standard deviation from the median absolute difference of neighbours; 0 for fewer than two points."""
    if len(flux) < 2:
        return 0.0
    return float(1.4826 * np.median(np.abs(np.diff(flux.astype(np.float64)))) / math.sqrt(2.0))


def clip_outliers(flat: NDArray[np.floating], upper_sigma: float, lower_sigma: float | None = None) -> Mask:
    """Which cadences to keep: none far above the median, and none far below where `lower_sigma` is given.

    Sigma is the larger of the scatter from point to point and the spread about the median, so that the crests of a
    variable star are not cut off.
    """
    values = flat.astype(np.float64)
    centre = np.median(values)
    sigma = max(robust_scatter(values), float(1.4826 * np.median(np.abs(values - centre))))
    keep = values <= centre + upper_sigma * sigma
    if lower_sigma is not None:
        keep &= values >= centre - lower_sigma * sigma
    return keep


RETENTION_SEED = 20
RETENTION_SPAN = 40
"""Dips injected for each duration, one every three windows."""


def depth_retention(
    cadence_days: float, config: DetrendConfig, window_days: float, durations_h: Sequence[float]
) -> dict[float, float]:
    """Share of a shallow dip's depth that detrending leaves, by its duration in hours.

    Boxes of the depth of one cadence's noise are injected into white noise of this cadence; the depth kept is what the
    detrended curve has less of than without the dip.
    """
    kept = {}
    for hours in durations_h:
        spacing = max(3 * window_days, 4 * hours / 24)
        time = np.arange(0, RETENTION_SPAN * spacing, cadence_days)
        noise = 1 + 1e-3 * np.random.default_rng(RETENTION_SEED).standard_normal(len(time))
        inside = np.abs((time + spacing / 2) % spacing - spacing / 2) < hours / 48
        inside[time < spacing / 2] = False
        dipped = (noise - 1e-3 * inside).astype(np.float32)
        flat = dipped / detrend(time, dipped, [0], config, window_days=window_days)
        plain = noise.astype(np.float32)
        reference = plain / detrend(time, plain, [0], config, window_days=window_days)
        kept[float(hours)] = float(np.mean((reference - flat)[inside]) / 1e-3)
    return kept
