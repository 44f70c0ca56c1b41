"""A signal as pictures: the light curve folded on its period, over one whole orbit, close to the transit, and close to
the deepest dip elsewhere in the orbit (the secondary view).

A ViewSpec fixes every choice that a classifier was trained with, under a name that goes into the row:

- `views-2048-256`: 2,048 and 256 bins, +-4 durations, divided by the depth of the transit.
- `astronet-2001-201`: Shallue & Vanderburg (2018): 2,001 bins of P / 2001, 201 of 0.16 durations over +-4, median 0,
  minimum -1, each view by itself.
- `triage-201-61`: Yu et al. (2019): 201 bins of 1.2 P / 201, 61 bins of 0.16 durations over +-2, same normalisation,
  empty bins between their neighbours.
"""

from dataclasses import dataclass
from typing import Literal

import numba
import numpy as np
from numpy.typing import NDArray

from survey.signals.ephemeris import Ephemeris, fold

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

SECONDARY_DURATIONS = 4.0
"""Half span of the secondary view, in durations."""

LEAST_PHASE = 0.1
"""Dips closer to the transit than this share of the period are none elsewhere in the orbit."""

TRIAL_STEP = 0.1
"""Step between the places that are tried for the secondary view, in durations."""

FEWEST_CADENCES = 5
"""Within a duration of the middle of a secondary view, and outside of the transit, there are at least so many."""


@dataclass(frozen=True)
class ViewSpec:
    """How views are made; the bins lie within the span and overlap where they are wider than their spacing.

    local_durations: half span of the local view in durations; global_bin_width in periods, local_bin_width in
    durations; normalise: all views by the depth of the transit, or each by its own minimum; empty: what a bin without
    cadences holds, the median of its view or what lies between its neighbours.
    """

    name: str
    global_bins: int
    local_bins: int
    local_durations: float
    global_bin_width: float
    local_bin_width: float
    normalise: Literal["depth", "minimum"]
    empty: Literal["median", "between"] = "median"


VIEW_SPECS = {
    spec.name: spec
    for spec in (
        ViewSpec("views-2048-256", 2048, 256, 4.0, 1 / 2048, 2 * 8 / 256, "depth"),
        ViewSpec("astronet-2001-201", 2001, 201, 4.0, 1 / 2001, 0.16, "minimum"),
        ViewSpec("triage-201-61", 201, 61, 2.0, 1.2 / 201, 0.16, "minimum", "between"),
    )
}


@dataclass(frozen=True)
class Views:
    """The views of a signal, their scatter in each bin, and which bins were empty (fields as `schema.FEATURES`).

    The star's normal light is 0; scale_ppm is the depth (ppm) that stands as -1 in the local view. Without a
    dip to divide by, views are in units of the flux and scale_ppm is 1e6. secondary_phase: where in the orbit, from 0
    to 1, the secondary view has its dip; None, and a view of zeros, where too little light is left beside the transit.
    """

    global_view: Floats
    local_view: Floats
    secondary_view: Floats
    global_scatter: Floats
    local_scatter: Floats
    global_empty: Flags
    local_empty: Flags
    scale_ppm: float
    secondary_phase: float | None


def make_views(time: NDArray[np.float64], flux: NDArray[np.floating], ephemeris: Ephemeris, spec: ViewSpec) -> Views:
    """Views of one signal in a detrended light curve (flux about 1, times in days, finite).

    Bins hold the median of their cadences; empty bins are flagged. Raises ValueError where there are no cadences.
    """
    if len(time) == 0:
        raise ValueError("no cadences to fold")
    period, duration = ephemeris.period, ephemeris.duration
    days = fold(time, period, ephemeris.epoch)
    order = np.argsort(days, kind="stable")
    days, values = days[order], flux[order].astype(np.float64)
    half = min(spec.local_durations * duration, period / 2)
    wide = _bin_view(days, values, (-period / 2, period / 2), spec.global_bins, spec.global_bin_width * period, spec)
    close = _bin_view(days, values, (-half, half), spec.local_bins, spec.local_bin_width * duration, spec)
    inside = np.abs(days) < duration / 2
    depth = float(np.median(values) - np.median(values[inside])) if inside.any() else 0.0
    scales = (depth, depth) if spec.normalise == "depth" else (_drop(wide[0]), _drop(close[0]))
    global_view, global_scatter = _scaled(*wide[:2], scales[0])
    local_view, local_scatter = _scaled(*close[:2], scales[1])
    secondary_view, middle = _secondary_view(days, values, ephemeris, spec, depth)
    return Views(
        global_view,
        local_view,
        secondary_view,
        global_scatter,
        local_scatter,
        wide[2],
        close[2],
        1e6 * _unit(scales[1]),
        None if middle is None else middle / period,
    )


def _secondary_view(
    days: NDArray[np.float64], values: NDArray[np.float64], ephemeris: Ephemeris, spec: ViewSpec, depth: float
) -> tuple[Floats, float | None]:
    """The view about the deepest dip elsewhere in the orbit, and days from the transit to that dip.

    It ends where the transit begins: the transit itself is never in it (Yu et al. 2019, section 3.2).
    """
    period, duration = ephemeris.period, ephemeris.duration
    # The transits of the shortest periods, and the longest, leave little beside them.
    kept_out = duration / 2 if period < 1.0 or duration > period / 2 else duration
    beside = np.abs(days) > max(kept_out, LEAST_PHASE * period)
    later, light = days[beside], values[beside]
    if len(later) < FEWEST_CADENCES or later[0] == later[-1]:
        return np.zeros(spec.local_bins, np.float32), None
    split = np.searchsorted(later, 0.0)
    later, light = np.concatenate([later[split:], later[:split] + period]), np.roll(light, -split)
    middle = _deepest(later, light - light.mean(), duration, period / 2)
    half = min(SECONDARY_DURATIONS * duration, period / 2)
    span = max(middle - half, later[0]), min(middle + half, later[-1])
    view, scatter, _ = _bin_view(later, light, span, spec.local_bins, spec.local_bin_width * duration, spec)
    return _scaled(view, scatter, depth if spec.normalise == "depth" else _drop(view))[0], float(middle)


def _deepest(days: NDArray[np.float64], light: NDArray[np.float64], duration: float, otherwise: float) -> float:
    """Middle of the box of this duration that takes the most out of light of mean 0, by the statistic of BLS."""
    middles = np.arange(days[0] + duration, days[-1] - duration, TRIAL_STEP * duration)
    low, high = np.searchsorted(days, middles - duration / 2), np.searchsorted(days, middles + duration / 2)
    about = np.searchsorted(days, middles + duration) - np.searchsorted(days, middles - duration)
    total = np.concatenate([[0.0], np.cumsum(light)])
    lost, share = (total[low] - total[high]) / len(days), (high - low + 1) / len(days)
    tried = (about >= FEWEST_CADENCES) & (lost > 0) & (share < 1)
    if not tried.any():
        return otherwise
    power = np.where(tried, lost**2 / np.where(tried, share * (1 - share), 1.0), 0.0)
    return float(middles[np.argmax(power)])


def _drop(view: NDArray[np.float64]) -> float:
    return float(np.median(view) - view.min())


def _unit(scale: float) -> float:
    return scale if scale > 0 else 1.0


def _scaled(view: NDArray[np.float64], scatter: NDArray[np.float64], scale: float) -> tuple[Floats, Floats]:
    """Median 0 and the depth -1; a view without any dip stays in units of the flux."""
    unit = _unit(scale)
    return ((view - np.median(view)) / unit).astype(np.float32), (scatter / unit).astype(np.float32)


def _bin_view(
    days: NDArray[np.float64],
    values: NDArray[np.float64],
    span: tuple[float, float],
    bins: int,
    width: float,
    spec: ViewSpec,
) -> tuple[NDArray[np.float64], NDArray[np.float64], Flags]:
    """(medians, scatters, empty) of `bins` bins within a span of days, evenly spaced and at least `width` days wide."""
    centres, reach = place_bins(span, bins, width)
    low = np.searchsorted(days, centres - reach)
    high = np.searchsorted(days, centres + reach)
    medians, scatters = _bin_medians(values, low, high)
    empty = high <= low
    if empty.all():
        medians[:] = np.median(values)
    elif spec.empty == "median":
        medians[empty] = np.median(medians[~empty])
    else:
        medians[empty] = np.interp(centres[empty], centres[~empty], medians[~empty])
    return medians, scatters, empty


def place_bins(span: tuple[float, float], bins: int, width: float) -> tuple[NDArray[np.float64], float]:
    """Centres of `bins` bins that lie within a span, evenly spaced, and how far each reaches to either side."""
    length = span[1] - span[0]
    reach = min(max(width, length / bins), length) / 2
    return np.linspace(span[0] + reach, span[1] - reach, bins), reach


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _bin_medians(values, low, high):  # type: ignore[no-untyped-def]
    medians, scatters = np.zeros(low.size), np.zeros(low.size)
    for k in range(low.size):
        if high[k] > low[k]:
            sample = values[low[k] : high[k]]
            medians[k] = np.median(sample)
            scatters[k] = 1.4826 * np.median(np.abs(sample - medians[k]))
    return medians, scatters
