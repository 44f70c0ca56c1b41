"""Transits that come once or twice: isolated events strong enough to stand on their own."""

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from survey.signals.search.curve import Dips, Mask
from survey.signals.search.noise import noise_ratios
from survey.signals.search.refine import Box, Measure, typical_weight

Floats = NDArray[np.float64]

_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy"}

WIDTH_STEP = 1.25
ATTEMPTS = 8
"""Events looked at, strongest first."""

LARGEST_COUNT = 3
"""A star with more isolated events than this is variable in a way that a transit is not."""

COVERAGE = 0.7
"""An event, and half a duration before and after it, hold this share of the weight of full ones."""

EVEN = 0.5
"""The light is normal on both sides, and both halves are dimmed, to this share of the depth: not so in a step, a
ramp or the decay of a flare."""

OVER_INVERTED = 1.5
"""An event is stronger by this factor than any of the light curve turned upside down, at its duration."""

UNLIKE_DEPTH = 0.25
UNLIKE_SIGMAS = 3.0
UNLIKE_DURATION = 1.7
"""Two events belong together when their depths, and durations by this factor, differ by less."""


@dataclass(frozen=True)
class Event:
    """One dip: middle and duration in days, depth as a fraction."""

    middle: float
    duration: float
    depth: float


def isolated_events(dips: Dips, keep: Mask, shortest: float, longest: float, threshold: float) -> list[Event]:
    """Box-shaped events of a single-event statistic over `threshold`, in order of time.

    The statistic is the SNR of a box over the star's noise at its duration, from `shortest` to `longest` days. An event
    has data inside, before and after, the same light on both sides, and no counterpart in the upside-down curve.
    """
    widths = _widths(shortest / dips.step, longest / dips.step)
    grid = _compact(dips.cell, int(3 * widths[-1]))
    size = int(grid[-1]) + 1
    star = (dips.dip, dips.weight, keep, grid)
    signal, weight = _on_grid(star, size)
    least = COVERAGE * typical_weight(dips)
    # White noise is the least there is: quiet stars need no more than this.
    best, _ = _strongest(np.cumsum(signal), np.cumsum(weight), widths, least)
    if best.max() < threshold:
        return []
    ratios = noise_ratios(dips.cell[keep], dips.dip[keep], dips.weight[keep], widths)
    inverted = _strongest(np.cumsum(-signal), np.cumsum(weight), widths, least)[0] / ratios
    sums, weights = _from_zero(signal), _from_zero(weight)
    found: list[Event] = []
    for _ in range(ATTEMPTS):
        best, places = _strongest(np.cumsum(signal), np.cumsum(weight), widths, least)
        k = int(np.argmax(best / ratios))
        if best[k] / ratios[k] < threshold:
            break
        first, width = int(places[k]), int(widths[k])
        depth = _transit_depth(sums, weights, first, width, least)
        if depth is not None and best[k] / ratios[k] > OVER_INVERTED * inverted[k]:
            ends = (_cell(dips.cell, grid, place) for place in (first, first + width - 1))
            middle = float(dips.time[0] + (sum(ends) + 1) / 2 * dips.step)
            found.append(Event(middle, width * dips.step, depth))
        around = slice(max(0, first - width // 2), first + width + width // 2 + 1)
        signal[around], weight[around] = 0.0, 0.0
    return sorted(found, key=lambda event: event.middle) if len(found) <= LARGEST_COUNT else []


def _widths(shortest: float, longest: float) -> NDArray[np.int64]:
    """Box widths in steps of the grid."""
    count = 1 + max(0, math.ceil(math.log(max(longest, 2.0) / max(shortest, 2.0)) / math.log(WIDTH_STEP)))
    return np.unique(np.round(max(shortest, 2.0) * WIDTH_STEP ** np.arange(count)).astype(np.int64))


def _compact(cell: NDArray[np.int64], widest: int) -> NDArray[np.int64]:
    """The grid with long holes shortened."""
    return np.cumsum(np.minimum(np.diff(cell, prepend=cell[0]), widest))


def _cell(cell: NDArray[np.int64], grid: NDArray[np.int64], place: int) -> int:
    """The cell that a place of the shortened grid stands for."""
    last = int(np.searchsorted(grid, place, side="right")) - 1
    return int(cell[last]) + place - int(grid[last])


def _from_zero(values: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(values)])


@numba.njit(**_OPTIONS)
def _on_grid(star, size):  # type: ignore[no-untyped-def]
    """(weight * dip over its mean, weight) of every place of the grid."""
    dip, weight, keep, grid = star
    mean, total = 0.0, 0.0
    for i in range(grid.size):
        if keep[i]:
            mean += weight[i] * dip[i]
            total += weight[i]
    mean = mean / total if total > 0 else 0.0
    x, w = np.zeros(size), np.zeros(size)
    for i in range(grid.size):
        if keep[i]:
            x[grid[i]] += weight[i] * (dip[i] - mean)
            w[grid[i]] += weight[i]
    return x, w


@numba.njit(**_OPTIONS)
def _strongest(x_sums, w_sums, widths, least):  # type: ignore[no-untyped-def]
    """(white SNR, first place) of the best box of each width; the sums include their own place.

    Boxes step by an eighth of their width: strong events are all that is asked for.
    """
    best, places = np.zeros(widths.size), np.zeros(widths.size, np.int64)
    for k in range(widths.size):
        width = widths[k]
        for j in range(1, x_sums.size - width + 1, max(1, width // 8)):
            x = x_sums[j + width - 1] - x_sums[j - 1]
            w = w_sums[j + width - 1] - w_sums[j - 1]
            if x > 0 and w > least * width and x * x > best[k] * best[k] * w:
                best[k], places[k] = x / math.sqrt(w), j
    return best, places


def _transit_depth(sums: Floats, weights: Floats, first: int, width: int, least: float) -> float | None:
    """Depth over the light on both sides; None where it does not look like a transit."""
    side, half = max(2, width // 2), max(1, width // 2)
    # A quarter of a duration on either side of the box may belong to the flanks.
    flank = max(1, width // 4)
    spans = [
        (first - flank - side, first - flank),
        (first, first + half),
        (first + width - half, first + width),
        (first + width + flank, first + width + flank + side),
    ]
    if spans[0][0] < 0 or spans[-1][1] >= len(sums):
        return None
    held = [float(weights[stop] - weights[start]) for start, stop in spans]
    if any(weight <= least * (stop - start) for weight, (start, stop) in zip(held, spans, strict=True)):
        return None
    before, left, right, after = (
        float(sums[stop] - sums[start]) / weight for weight, (start, stop) in zip(held, spans, strict=True)
    )
    inside = float((sums[first + width] - sums[first]) / (weights[first + width] - weights[first]))
    depth = inside - (before + after) / 2
    even = abs(before - after) < EVEN * depth and min(left, right) - max(before, after) > EVEN * depth
    return depth if depth > 0 and even else None


def are_alike(measured: Measure) -> bool:
    """Whether the depths of two events can be one."""
    one, other = measured.event_depths
    error = measured.beta * math.sqrt(float((1 / measured.event_weights).sum()))
    return bool(abs(one - other) < max(UNLIKE_DEPTH * max(one, other), UNLIKE_SIGMAS * error))


def last_alike(one: Event, other: Event) -> bool:
    """Whether two events last about as long."""
    return max(one.duration, other.duration) < UNLIKE_DURATION * min(one.duration, other.duration)


def open_periods(dips: Dips, first: float, second: float, duration: float, shortest: float) -> list[float]:
    """Periods that two transits leave open, longest first: fractions of their separation down to `shortest` days that
    put no other transit where there is data. Empty when there is data even where the separation itself puts one."""
    separation = second - first
    return [
        separation / count
        for count in range(1, max(1, int(separation / max(shortest, 3 * duration))) + 1)
        if not _seen_elsewhere(dips, Box(separation / count, first, duration), count)
    ]


def _seen_elsewhere(dips: Dips, box: Box, count: int) -> bool:
    """Whether another transit than number 0 and `count` falls on data."""
    numbers = np.arange(
        math.ceil((dips.time[0] - box.epoch) / box.period), math.floor((dips.time[-1] - box.epoch) / box.period) + 1
    )
    middles = box.epoch + numbers[(numbers != 0) & (numbers != count)] * box.period
    low, high = (np.searchsorted(dips.time, middles + side * box.duration / 2) for side in (-1, 1))
    weights = _from_zero(dips.weight)
    full = typical_weight(dips) * max(1.0, box.duration / dips.step)
    return bool((weights[high] - weights[low] > COVERAGE * full).any())
