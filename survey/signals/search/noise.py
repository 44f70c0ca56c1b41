"""How much noisier a star is than white noise, at each duration."""

import math

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy"}

MOST_SAMPLES = 2000
"""Events that the scatter is taken from, evenly spread: enough for two per cent."""

LEAST_SAMPLES = 20
"""With fewer events the noise is taken to be white."""

MAD_TO_SIGMA = 1.4826


def noise_ratios(
    cell: NDArray[np.integer], dip: NDArray[np.floating], weight: NDArray[np.floating], widths: NDArray[np.int64]
) -> Floats:
    """Robust scatter of the single-event statistic at each width over that of white noise, at least 1.

    cell, dip, weight: (points,): place on a grid, dip, and inverse variance; widths: in grid steps, ascending.
    """
    if len(cell) == 0:
        return np.ones(len(widths))
    return _noise_ratios(cell, dip, weight, widths)


@numba.njit(**_OPTIONS)
def _noise_ratios(cell, dip, weight, widths):  # type: ignore[no-untyped-def]
    widest = widths[-1]
    total, mean = 0.0, 0.0
    for i in range(cell.size):
        total += weight[i]
        mean += weight[i] * dip[i]
    mean /= total
    # Running sums on the grid, long holes shortened to the widest box: they hold no events.
    length = 1
    for i in range(1, cell.size):
        length += min(cell[i] - cell[i - 1], widest + 1)
    x_sums, w_sums = np.zeros(length + 1), np.zeros(length + 1)
    place, x, w = 0, 0.0, 0.0
    for i in range(cell.size):
        step = 0 if i == 0 else min(cell[i] - cell[i - 1], widest + 1)
        for _ in range(step):
            place += 1
            x_sums[place], w_sums[place] = x, w
        x += weight[i] * (dip[i] - mean)
        w += weight[i]
    x_sums[length], w_sums[length] = x, w
    typical = total / cell.size
    ratios = np.ones(widths.size)
    statistics = np.empty(2 * MOST_SAMPLES + 2, np.float32)
    for d in range(widths.size):
        width = widths[d]
        stride = max(1, width // 3, (length - width) // MOST_SAMPLES)
        least = 0.5 * width * typical
        count = 0
        for j in range(0, length - width + 1, stride):
            w = w_sums[j + width] - w_sums[j]
            if w > least:
                statistics[count] = (x_sums[j + width] - x_sums[j]) / math.sqrt(w)
                count += 1
        if count >= LEAST_SAMPLES:
            ratios[d] = max(1.0, robust_scatter(statistics[:count]))
    return ratios


@numba.njit(**_OPTIONS)
def robust_scatter(values):  # type: ignore[no-untyped-def]
    """Standard deviation of float32 numbers from their median absolute deviation; `values` are overwritten."""
    centre = median(values)
    for i in range(values.size):
        values[i] = abs(values[i] - centre)
    return MAD_TO_SIGMA * median(values)


HALVINGS = 64
"""Steps of bisection at most; it ends before, when two neighbouring float32 numbers are left."""


@numba.njit(**_OPTIONS)
def median(values):  # type: ignore[no-untyped-def]
    """The median of float32 numbers by bisection: counting runs in vector registers, sorting does not."""
    low, high = values[0], values[0]
    for i in range(values.size):
        low, high = min(low, values[i]), max(high, values[i])
    half = (values.size + 1) // 2
    for _ in range(HALVINGS):
        middle = np.float32(0.5) * (low + high)
        if middle <= low or middle >= high:
            break
        if _count_to(values, middle) >= half:
            high = middle
        else:
            low = middle
    lower = low if _count_to(values, low) >= half else high
    if values.size % 2 or _count_to(values, lower) > half:
        return lower
    upper = np.float32(np.inf)
    for i in range(values.size):
        upper = min(upper, values[i]) if values[i] > lower else upper
    return np.float32(0.5) * (lower + upper)


@numba.njit(**_OPTIONS)
def _count_to(values, limit):  # type: ignore[no-untyped-def]
    count = np.int32(0)
    for i in range(values.size):
        count += np.int32(values[i] <= limit)
    return count
