"""What a transit changes: means out of transit less means in transit, with the errors that the star's own noise gives.

Time is cut into windows, each a stretch of out-of-transit cadences on either side of a (real or pretended) transit. In
every window each column of a series, a pixel say, is a straight line less a box,

    f(t) = a + b (t - t0) - d [in transit] + c . pointing(t),

with the same response c to the motion of the image in all windows; least squares give d, over all pixels the difference
image of the window. Windows about the transits hold the signal. Windows of the same shape between them hold none, and
show what noise, white or red or common to many pixels, makes of such an image; so does the scatter of the transits'
images about their mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from survey.signals.ephemeris import Ephemeris, fold, in_transit, transit_number

Times = NDArray[np.float64]
Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

INSIDE = 0.75
"""Cadences within this share of the duration, about the middle, are in transit; the slopes on either side are not."""

BINS = 8
"""Cadences are averaged in time until about this many make a duration."""

LEAST_SHARE = 0.5
"""A window needs this share of the in-transit cadences that it has room for."""

LEAST_OUT = 3
"""And this many bins out of transit: a straight line and one more."""

WIDER = 1.2
"""The transits of other signals are left out with this many durations."""

LEAST_NOISE = 0.1

ABSURD = 1e12
"""No star gives as many electrons a second; a damaged number does."""

POINTING_SIGMA = 6.0
"""Cadences whose pointing lies this many robust sigmas from the median are left out."""

WHITE_IMAGES = 5.0
"""How many noise images the white noise counts for in the error of a pixel."""


@dataclass(frozen=True)
class Difference:
    """The differences of p columns over the transits of a signal.

    value, err: (p,) weighted mean of the transits' differences, and its standard error; white: (p,) the part of it that
    the scatter from cadence to cadence makes, robustly; direct: (p,) mean out of transit; transits: (k, p) the
    differences of the transits in order of time; weights: (k,) theirs, of sum 1; noise: (j, p) differences where there
    is no transit, scaled to the error of `value`.
    """

    value: Array
    err: Array
    white: Array
    direct: Array
    transits: Array
    weights: Array
    noise: Array


class _Windows(NamedTuple):
    """Bins that belong to a window, window by window.

    bins: (m,) their indices; counts: (m,) cadences of each; model: (m, 3) columns 1, time and -[in transit]; starts:
    (w,) first bin of each window; real: (w,) whether a transit is in it.
    """

    bins: NDArray[np.int64]
    counts: Array
    model: Array
    starts: NDArray[np.int64]
    real: Mask


def difference(
    times: Times,
    series: NDArray[np.floating],
    pointing: Array | None,
    signal: Ephemeris,
    others: Sequence[Ephemeris],
) -> Difference | None:
    """The difference of a series (n, p), out of transit less in; None where no transit has cadences enough.

    times: days, in any order; pointing: (n, 2) motion of the image, None where it is not known. Cadences with a value
    that is not finite count as not observed.
    """
    usable = _usable(times, series, pointing, signal, others)
    order = np.flatnonzero(usable)[np.argsort(times[usable], kind="stable")]
    if len(order) <= LEAST_OUT:
        return None
    if len(order) < len(times) or np.any(np.diff(order) < 0):
        times, series = times[order], series[order]
        pointing = None if pointing is None else pointing[order]
    cadence = float(np.median(np.diff(times)))
    width = max(cadence, signal.duration / BINS)
    edges = _edges(times, width if width > 1.5 * cadence else 0.0, signal.epoch)
    middle, counts = _average(times, edges), np.diff([*edges, len(times)]).astype(np.float64)
    windows = _cut(middle, counts, cadence, width, signal)
    if not windows.real.any():
        return None
    flux = _average(series, edges)[windows.bins]
    change, left, variance = _fit(flux, windows)
    if pointing is not None:
        motion = _average(pointing - np.median(pointing, axis=0), edges)[windows.bins]
        moved, swayed, _ = _fit(motion, windows)
        response = _response(swayed, left, windows.counts)
        change -= np.einsum("wi,ip->wp", moved, response)
        left -= np.einsum("mi,ip->mp", swayed, response)
    return _combine(flux, change, variance, _white_variance(left, windows), windows)


def _usable(
    times: Times,
    series: NDArray[np.floating],
    pointing: Array | None,
    signal: Ephemeris,
    others: Sequence[Ephemeris],
) -> Mask:
    """Observed, pointed like the rest, and in no other signal's transit, but for this one's: it may be found twice."""
    total = np.einsum("np,np->n", series, series, dtype=np.float64)
    usable = np.isfinite(times) & (total < ABSURD**2)
    for other in others:
        usable &= ~in_transit(times, other, WIDER) | in_transit(times, signal)
    if pointing is not None:
        usable &= np.isfinite(pointing).all(axis=1)
        if usable.any():
            away = np.abs(pointing - np.median(pointing[usable], axis=0))
            usable &= (away <= POINTING_SIGMA * 1.4826 * np.median(away[usable], axis=0)).all(axis=1)
    return usable


def _edges(times: Times, width: float, epoch: float) -> NDArray[np.int64]:
    """Index of the first cadence of every bin, laid out from the epoch; a width of 0 leaves the cadences alone."""
    if width == 0.0:
        return np.arange(len(times))
    number = np.floor((times - epoch) / width)
    return np.flatnonzero(np.concatenate([[True], np.diff(number) > 0]))


def _average(values: NDArray[np.floating], edges: NDArray[np.int64]) -> Array:
    counts = np.diff([*edges, len(values)])
    sums = np.add.reduceat(values, edges, axis=0, dtype=np.float64)
    return sums / counts.reshape(-1, *[1] * (values.ndim - 1))


def _cut(times: Times, counts: Array, cadence: float, width: float, signal: Ephemeris) -> _Windows:
    """Windows about the transits, and without a break between them, as many as have cadences enough."""
    inner, outer = INSIDE * signal.duration / 2, signal.duration / 2 + width
    half = outer + max(signal.duration, LEAST_OUT * cadence)
    phase = fold(times, signal.period, signal.epoch)
    tile = np.floor((phase + half) / (2 * half))
    phase -= 2 * half * tile
    inside, outside = np.abs(phase) <= inner, np.abs(phase) > outer
    bins = np.flatnonzero(inside | outside)
    number, tile = transit_number(times, signal)[bins], tile[bins]
    new = np.concatenate([[True], (np.diff(number) != 0) | (np.diff(tile) != 0)])[: len(bins)]
    window = np.cumsum(new) - 1
    n_inside = np.bincount(window, inside[bins] * counts[bins])
    n_outside = np.bincount(window, outside[bins])
    full = (n_inside >= max(1.0, LEAST_SHARE * 2 * inner / cadence)) & (n_outside >= LEAST_OUT)
    kept = full[window]
    bins, tile, window = bins[kept], tile[kept], window[kept]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(window) > 0])[: len(bins)])
    model = np.stack([np.ones(len(bins)), phase[bins] / half, -1.0 * inside[bins]], axis=1)
    return _Windows(bins, counts[bins], model, starts, tile[starts] == 0)


def _fit(columns: Array, windows: _Windows) -> tuple[Array, Array, Array]:
    """Least squares in every window: (differences (w, p), residuals (m, p), variance (w,) of a difference).

    The variance is in units of that of one cadence.
    """
    weighted = windows.counts[:, None] * windows.model
    normal = np.add.reduceat(weighted[:, :, None] * windows.model[:, None, :], windows.starts, axis=0)
    moments = np.stack([np.add.reduceat(weighted[:, [k]] * columns, windows.starts, axis=0) for k in range(3)], axis=1)
    inverse = np.linalg.inv(normal)
    found = np.einsum("wij,wjp->wip", inverse, moments)
    window = np.repeat(np.arange(len(windows.starts)), np.diff([*windows.starts, len(columns)]))
    left = columns.copy()
    for k in range(3):
        left -= windows.model[:, [k]] * found[window, k]
    return found[:, 2], left, inverse[:, 2, 2]


def _response(motion: Array, left: Array, counts: Array) -> Array:
    """What a pixel of motion adds to every column, (2, p), by least squares over what the windows' fits left."""
    normal = np.einsum("mi,mj,m->ij", motion, motion, counts)
    moments = np.einsum("mi,mp,m->ip", motion, left, counts)
    return np.einsum("ij,jp->ip", np.linalg.pinv(normal, hermitian=True), moments)


def _white_variance(left: Array, windows: _Windows) -> Array:
    """Variance (p,) of one cadence, from the residuals, robustly.

    A column that never changes is not free of noise, but damaged: none has less than LEAST_NOISE of the others' median.
    """
    share = max(0.1, 1 - 3 * len(windows.starts) / len(left))
    spread = np.median(np.abs(left) * np.sqrt(windows.counts)[:, None], axis=0)
    typical = np.median(spread[spread > 0]) if np.any(spread > 0) else 1.0
    return (1.4826 * np.maximum(spread, LEAST_NOISE * typical)) ** 2 / share


def _combine(flux: Array, change: Array, variance: Array, white: Array, windows: _Windows) -> Difference:
    """The mean over the transits, each with the weight of its cadences."""
    real = windows.real
    total = 1 / np.sum(1 / variance[real])
    weights = total / variance[real]
    value = np.einsum("k,kp->p", weights, change[real])
    noise = change[~real] * np.sqrt(total / variance[~real])[:, None]
    if real.sum() > 1:
        scatter = (change[real] - value) * np.sqrt(total / (variance[real] - total))[:, None]
        noise = np.concatenate([noise, scatter])
    squares = WHITE_IMAGES * total * white + np.sum(noise**2, axis=0)
    window = np.repeat(real, np.diff([*windows.starts, len(flux)]))
    outside = window & (windows.model[:, 2] == 0)
    return Difference(
        value=value,
        err=np.sqrt(squares / (WHITE_IMAGES + len(noise))),
        white=np.sqrt(total * white),
        direct=np.average(flux[outside], axis=0, weights=windows.counts[outside]),
        transits=change[real],
        weights=weights,
        noise=noise,
    )
