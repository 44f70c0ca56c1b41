"""How much noisier a star is than white noise, at each duration."""

import math

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy"}


def noise_ratios(cell: NDArray[np.int64], dip: Floats, weight: Floats, widths: NDArray[np.int64]) -> Floats:
    """Robust scatter of the single-event statistic at each width (grid steps) over that of white noise, at least 1."""
    if len(cell) == 0:
        return np.ones(len(widths))
    grid = _compact(cell, int(widths.max()))
    mean = np.average(dip, weights=weight)
    return _noise_ratios(grid, (dip - mean) * weight, weight, widths)


def _compact(cell: NDArray[np.int64], widest: int) -> NDArray[np.int64]:
    """The grid with long holes shortened to the widest box: they hold no events."""
    steps = np.diff(cell, prepend=cell[0])
    return np.cumsum(np.minimum(steps, widest + 1))


MOST_SAMPLES = 4000
"""Events that the scatter is taken from, evenly spread: enough for a per cent or two."""


@numba.njit(**_OPTIONS)
def _noise_ratios(grid, signal, weight, widths):  # type: ignore[no-untyped-def]
    n = grid[-1] + 1
    x_sums, w_sums = np.zeros(n + 1), np.zeros(n + 1)
    for i in range(grid.size):
        x_sums[grid[i] + 1] += signal[i]
        w_sums[grid[i] + 1] += weight[i]
    for j in range(n):
        x_sums[j + 1] += x_sums[j]
        w_sums[j + 1] += w_sums[j]
    typical = np.median(weight)
    ratios = np.ones(widths.size)
    for d in range(widths.size):
        width = widths[d]
        stride = max(1, width // 3, (n - width) // MOST_SAMPLES)
        statistics = np.empty(max(0, (n - width) // stride + 1))
        count = 0
        for j in range(0, n - width + 1, stride):
            w = w_sums[j + width] - w_sums[j]
            if w > 0.5 * width * typical:
                statistics[count] = (x_sums[j + width] - x_sums[j]) / math.sqrt(w)
                count += 1
        if count >= 20:
            sample = statistics[:count]
            centre = np.median(sample)
            ratios[d] = max(1.0, 1.4826 * np.median(np.abs(sample - centre)))
    return ratios
