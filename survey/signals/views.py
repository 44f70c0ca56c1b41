"""A signal as pictures: the light curve folded on its period, over one whole orbit and close to the transit.

A ViewSpec fixes every choice that a classifier was trained with, under a name that goes into the row:

- `views-2048-256`: 2,048 and 256 bins, +-4 durations, divided by the depth of the transit.
- `astronet-2001-201`: Shallue & Vanderburg (2018): 2,001 bins of P / 2001, 201 of 0.16 durations over +-4, median 0,
  minimum -1, each view by itself.
- `triage-201-61`: Yu et al. (2019): 201 bins of 1.2 P / 201, 61 bins of 0.16 durations over +-2, same normalisation.
"""

from dataclasses import dataclass
from typing import Literal

import numba
import numpy as np
from numpy.typing import NDArray

from survey.signals.ephemeris import Ephemeris, fold

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

LARGEST_LOCAL_SHARE = 1.0
"""The local view never spans more than this share of the period: a transit is shown once."""


@dataclass(frozen=True)
class ViewSpec:
    """How views are made; bin widths overlap where they exceed the spacing of the bins.

    local_durations: half span of the local view in durations; global_bin_width in periods, local_bin_width in
    durations; normalise: both views by the depth of the transit, or each by its own minimum.
    """

    name: str
    global_bins: int
    local_bins: int
    local_durations: float
    global_bin_width: float
    local_bin_width: float
    normalise: Literal["depth", "minimum"]


VIEW_SPECS = {
    spec.name: spec
    for spec in (
        ViewSpec("views-2048-256", 2048, 256, 4.0, 1 / 2048, 2 * 8 / 256, "depth"),
        ViewSpec("astronet-2001-201", 2001, 201, 4.0, 1 / 2001, 0.16, "minimum"),
        ViewSpec("triage-201-61", 201, 61, 2.0, 1.2 / 201, 0.16, "minimum"),
    )
}


@dataclass(frozen=True)
class Views:
    """Both views of a signal, their scatter in each bin, and which bins were empty (fields as `schema.FEATURES`).

    The star's normal light is 0; scale_ppm is the depth (ppm) that stands as -1 in the local view. Without a
    dip to divide by, views are in units of the flux and scale_ppm is 1e6.
    """

    global_view: Floats
    local_view: Floats
    global_scatter: Floats
    local_scatter: Floats
    global_empty: Flags
    local_empty: Flags
    scale_ppm: float


def make_views(time: NDArray[np.float64], flux: NDArray[np.floating], ephemeris: Ephemeris, spec: ViewSpec) -> Views:
    """Views of one signal in a detrended light curve (flux about 1, times in days, finite).

    Bins hold the median of their cadences; an empty bin holds the median of its view and is flagged. Raises ValueError
    for a light curve without cadences.
    """
    if len(time) == 0:
        raise ValueError("no cadences to fold")
    days = fold(time, ephemeris.period, ephemeris.epoch)
    order = np.argsort(days, kind="stable")
    days, values = days[order], flux[order].astype(np.float64)
    half = min(spec.local_durations * ephemeris.duration, LARGEST_LOCAL_SHARE * ephemeris.period / 2)
    wide = _bin_view(days, values, ephemeris.period / 2, spec.global_bins, spec.global_bin_width * ephemeris.period)
    close = _bin_view(days, values, half, spec.local_bins, spec.local_bin_width * ephemeris.duration)
    inside = np.abs(days) < ephemeris.duration / 2
    depth = float(np.median(values) - np.median(values[inside])) if inside.any() else 0.0
    scales = (depth, depth) if spec.normalise == "depth" else (_drop(wide[0]), _drop(close[0]))
    global_view, global_scatter = _scaled(*wide[:2], scales[0])
    local_view, local_scatter = _scaled(*close[:2], scales[1])
    return Views(global_view, local_view, global_scatter, local_scatter, wide[2], close[2], 1e6 * _unit(scales[1]))


def _drop(view: NDArray[np.float64]) -> float:
    return float(np.median(view) - view.min())


def _unit(scale: float) -> float:
    return scale if scale > 0 else 1.0


def _scaled(view: NDArray[np.float64], scatter: NDArray[np.float64], scale: float) -> tuple[Floats, Floats]:
    """Median 0 and the depth -1; a view without any dip stays in units of the flux."""
    unit = _unit(scale)
    return ((view - np.median(view)) / unit).astype(np.float32), (scatter / unit).astype(np.float32)


def _bin_view(
    days: NDArray[np.float64], values: NDArray[np.float64], half: float, bins: int, width: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], Flags]:
    """(medians, scatters, empty) of `bins` bins centred evenly over +-half days, each `width` days wide."""
    spacing = 2 * half / bins
    centres = -half + spacing * (np.arange(bins) + 0.5)
    reach = max(width, spacing) / 2
    low = np.searchsorted(days, centres - reach)
    high = np.searchsorted(days, centres + reach)
    medians, scatters = _bin_medians(values, low, high)
    empty = high <= low
    medians[empty] = np.median(medians[~empty]) if not empty.all() else np.median(values)
    return medians, scatters, empty


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _bin_medians(values, low, high):  # type: ignore[no-untyped-def]
    medians, scatters = np.zeros(low.size), np.zeros(low.size)
    for k in range(low.size):
        if high[k] > low[k]:
            sample = values[low[k] : high[k]]
            medians[k] = np.median(sample)
            scatters[k] = 1.4826 * np.median(np.abs(sample - medians[k]))
    return medians, scatters
