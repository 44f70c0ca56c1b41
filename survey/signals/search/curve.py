"""What the search sees of a star: weighted dips on a fine grid in time, split where nothing was observed for long."""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

FINE_BIN = 5.0 / 1440.0
"""Cadences shorter than this (d) are averaged: still a sixth of the shortest transit searched."""


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
    usable = np.isfinite(curve.flux)
    time = curve.time[usable]
    variance = _variances(curve)[usable]
    step = max(curve.cadence, FINE_BIN)
    cells = np.floor((time - time[0]) / step).astype(np.int64)
    cell, index = np.unique(cells, return_inverse=True)
    weights = 1.0 / variance
    weight: Floats = np.bincount(index, weights).astype(np.float64)
    dip = np.bincount(index, weights * (1.0 - curve.flux[usable].astype(np.float64))) / weight
    mean_time = np.bincount(index, weights * (time - time[0])) / weight + time[0]
    return Dips(mean_time, dip, weight, cell, step, _blocks(mean_time, max_gap))


def _blocks(time: Floats, max_gap: float) -> tuple[tuple[int, int], ...]:
    edges = [0, *(np.flatnonzero(np.diff(time) > max_gap) + 1).tolist(), len(time)]
    return tuple(itertools.pairwise(edges))


def _variances(curve: FlatCurve) -> Floats:
    """Squared errors, rescaled in every product so that they agree with the scatter from point to point."""
    errors = np.asarray(curve.flux_err, np.float64)
    variance = np.empty(len(errors))
    for start, stop in zip(curve.starts, [*curve.starts[1:], len(errors)], strict=True):
        flux, error = curve.flux[start:stop].astype(np.float64), errors[start:stop]
        typical = np.nanmedian(error) if np.isfinite(error).any() else np.nan
        scatter = point_scatter(flux[np.isfinite(flux)])
        if not (np.isfinite(typical) and typical > 0):
            variance[start:stop] = scatter**2
            continue
        relative = np.where(np.isfinite(error) & (error > 0), error / typical, 1.0)
        variance[start:stop] = (scatter * relative) ** 2
    return variance


def point_scatter(flux: Floats) -> float:
    """Robust standard deviation from differences of neighbours; slow variation does not enter."""
    if len(flux) < 3:
        return 1.0
    scatter = 1.4826 * float(np.median(np.abs(np.diff(flux)))) / np.sqrt(2.0)
    return scatter if scatter > 0 else float(np.std(flux)) or 1.0
