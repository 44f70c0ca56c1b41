"""What the search sees of a star: weighted dips on a fine grid in time, split where nothing was observed for long."""

import itertools
import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from survey.signals.search.noise import MAD_TO_SIGMA, median

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

FINE_BIN = 5.0 / 1440.0
"""Cadences shorter than this (d) are averaged: still a sixth of the shortest transit searched."""


STRETCH_GAP = 1.0
"""Holes longer than this (d) cost nothing when cadences are averaged."""

POINTS_SEEN = 2000
"""Points of a product, evenly spread, that its typical error and a first guess of its scatter are taken from."""

OUTLYING = 4.0
"""Differences of neighbours beyond so many standard deviations of that guess do not count for the scatter."""


@dataclass(frozen=True)
class FlatCurve:
    """A detrended light curve: time (d, float64), flux about 1, its error; cadence in days; density over the Sun's.

    starts: index of the first cadence of every product, between which the noise may differ.
    """

    time: Floats
    flux: NDArray[np.floating]
    flux_err: NDArray[np.floating]
    cadence: float
    density: float | None = None
    starts: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Dips:
    """A light curve as weighted dips on a grid.

    time: mean time of each bin with data; dip: 1 - flux; weight: 1 / variance; cell: index of the bin in a grid of
    `step` days from the first time. blocks: (first, last + 1) of stretches that are folded together.
    """

    time: Floats
    dip: Floats
    weight: Floats
    cell: NDArray[np.int64]
    step: float
    blocks: tuple[tuple[int, int], ...]

    @property
    def baseline(self) -> float:
        return float(self.time[-1] - self.time[0])

    @property
    def longest_block(self) -> float:
        return max(float(self.time[stop - 1] - self.time[start]) for start, stop in self.blocks)


def make_dips(curve: FlatCurve, max_gap: float) -> Dips:
    """Average to the grid, with weights from the scatter that the curve really has."""
    step = max(curve.cadence, FINE_BIN)
    time, dip, weight, cell = _average(curve.time, curve.flux, _weights(curve), step)
    return Dips(time, dip, weight, cell, step, _blocks(time, max_gap))


@numba.njit(nogil=True, cache=True)
def _average(time, flux, weight, step):  # type: ignore[no-untyped-def]
    """(time, dip, weight, cell) of every cell of the grid with data, in order; times ascend, missing flux is NaN."""
    rate = 1.0 / step
    first = 0
    while first < time.size - 1 and not np.isfinite(flux[first]):
        first += 1
    zero = time[first]
    most = min(time.size, int((time[-1] - zero) * rate) + 2)
    means, dips, weights, cells = np.empty(most), np.empty(most), np.empty(most), np.empty(most, np.int64)
    count = 0
    # Stretch by stretch: sums on a grid that gaps do not blow up, then only the cells with data.
    while first < time.size:
        stop = first + 1
        while stop < time.size and time[stop] - time[stop - 1] < STRETCH_GAP:
            stop += 1
        base = int((time[first] - zero) * rate + 0.5)
        sums = np.zeros((int((time[stop - 1] - zero) * rate + 0.5) - base + 1, 3))
        for i in range(first, stop):
            if np.isfinite(flux[i]):
                since = time[i] - zero
                k = np.uint64(int(since * rate + 0.5) - base)  # cadences amid the cells, where a cell is one cadence
                sums[k, 0] += weight[i]
                sums[k, 1] += weight[i] * since
                sums[k, 2] += weight[i] * (1.0 - flux[i])
        for j in range(len(sums)):
            total = sums[j, 0]
            if total > 0:
                means[count], dips[count] = sums[j, 1] / total + zero, sums[j, 2] / total
                weights[count], cells[count] = total, base + j
                count += 1
        first = stop
    return means[:count], dips[:count], weights[:count], cells[:count]


def _blocks(time: Floats, max_gap: float) -> tuple[tuple[int, int], ...]:
    edges = [0, *(np.flatnonzero(np.diff(time) > max_gap) + 1).tolist(), len(time)]
    return tuple(itertools.pairwise(edges))


def _weights(curve: FlatCurve) -> Floats:
    """1 / error^2, the errors rescaled in every product so that they agree with the scatter from point to point."""
    ends = [*curve.starts[1:], len(curve.flux)]
    parts = [
        _product_weights(curve.flux[start:stop], curve.flux_err[start:stop])
        for start, stop in zip(curve.starts, ends, strict=True)
    ]
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


@numba.njit(nogil=True, cache=True)
def _product_weights(flux, errors):  # type: ignore[no-untyped-def]
    """The weight of every point of one product; errors that are missing or not positive count as typical ones."""
    usable = np.empty(errors.size, np.float32)
    count = 0
    for error in errors[:: max(1, errors.size // POINTS_SEEN)]:
        if np.isfinite(error) and error > 0:
            usable[count] = error
            count += 1
    scatter = point_scatter(flux)
    typical = median(usable[:count]) if count else np.float32(0)
    weights = np.full(errors.size, 1.0 / scatter**2)
    if typical > 0:
        for i in range(errors.size):
            if np.isfinite(errors[i]) and errors[i] > 0:
                weights[i] = (typical / (scatter * errors[i])) ** 2
    return weights


@numba.njit(nogil=True, cache=True)
def point_scatter(flux):  # type: ignore[no-untyped-def]
    """Robust standard deviation of a flux from differences of neighbours; slow variation does not enter."""
    steps = np.empty(flux.size, np.float32)
    count, before = 0, np.nan
    total, squares = 0.0, 0.0
    for value in flux:
        if not np.isfinite(value):
            continue
        if count:
            steps[count - 1] = abs(value - before)
        total += value - 1.0
        squares += (value - 1.0) ** 2
        count += 1
        before = value
    if count < 3:
        return 1.0
    every = max(1, count // POINTS_SEEN)
    limit = np.float32(OUTLYING * MAD_TO_SIGMA) * median(steps[: count - 1 : every].copy())
    if limit > 0:
        within, step_squares = 0, 0.0
        for step in steps[: count - 1]:
            if step < limit:
                within += 1
                step_squares += step * step
        return math.sqrt(step_squares / within / 2.0)
    spread = math.sqrt(max(squares / count - (total / count) ** 2, 0.0))
    return spread if spread > 0 else 1.0
