"""The CPU engine: one star at a time, its phases side by side in vector registers.

A row of the folding is a stretch of memory that repeats its first sixteen values at its end, so that sixteen phases
from any place on are one load. Rows of signal and weight lie one behind the other and go through the same steps. The
first step reads the bins as they lie in time; two levels of the folding are done at once where possible, in chunks that
stay in the caches; the last level goes straight into the boxes, without being stored for all drifts.

What is loaded soon after it was stored is loaded from the same, aligned places, and shifted in registers: a load across
two stores under way would wait for both (a factor of two in all). Everything is one array, `space`, and places in it:
numba counts references to arrays that change hands, which cost as much as the folding itself.
"""

import threading

import numba
import numpy as np
from numpy.typing import NDArray

from survey.signals.search.plan import TRIPLE, Segment
from survey.signals.search.reference import COVERAGE
from survey.signals.search.vectors import (
    LANES,
    highest,
    load,
    lowest,
    maximum,
    minimum,
    pairs,
    power_of,
    shift1,
    shift2,
    shift3,
    shift4,
    splat,
    store,
)

Floats = NDArray[np.float32]

CHUNKS = (16, 256)
"""Rows that are folded as far as they go before the next ones are touched: what the first and second cache hold."""

_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy"}

TAILS = np.array([0.0] * LANES + [np.inf] * LANES, np.float32)
"""Added to a threshold that nothing may pass beyond the last epoch."""

_NOTHING = np.empty(0, np.float32)
_of_thread = threading.local()

assert TRIPLE == (3, 4, 5)


def search_segment(signal: Floats, weight: Floats, inverse_beta: Floats, segment: Segment) -> Floats:
    """As `reference.search_segment`, for any number of lanes."""
    peaks = np.empty((3, len(signal), segment.n_trials), np.float32)
    trials = (segment.first, segment.last, segment.rows, segment.drift_step)
    boxes = (segment.levels, segment.narrow)
    space = _working_space(_space(segment))
    _search_lanes(signal, weight, inverse_beta**2, trials, boxes, TAILS, space, peaks)
    return peaks


@numba.njit(**_OPTIONS)
def _search_lanes(signal, weight, squares, trials, boxes, tails, space, peaks):  # type: ignore[no-untyped-def]
    for lane in range(len(signal)):
        _search(signal[lane], weight[lane], squares[lane], trials, boxes, tails, space, peaks[:, lane])


def _space(segment: Segment) -> int:
    """Numbers that `_search` works in: padded bins, two sets of rows, one folded profile at every level of boxes."""
    padded = segment.rows * segment.last + 4 * LANES
    return 2 * padded + 4 * segment.rows * _stride(segment.last) + 4 * _profile(segment.last, segment.levels)


def _working_space(size: int) -> Floats:
    """The thread's memory to work in, kept from call to call; it starts at a cache line."""
    if getattr(_of_thread, "space", _NOTHING).size < size:
        whole = np.empty(size + LANES, np.float32)
        start = (-whole.ctypes.data // whole.itemsize) % LANES
        _of_thread.space = whole[start : start + size]
    return _of_thread.space


@numba.njit(**_OPTIONS)
def _stride(period):  # type: ignore[no-untyped-def]
    """Distance between rows: a period, its first sixteen values once more, and what is missing to a whole vector."""
    return (period + 2 * LANES - 1) // LANES * LANES


@numba.njit(**_OPTIONS)
def _profile(period, levels):  # type: ignore[no-untyped-def]
    """Room for a folded profile as far as the boxes of the coarsest level reach."""
    unit = LANES << (levels - 1)
    return (period + unit - 1) // unit * unit + unit


@numba.njit(forceinline=True, **_OPTIONS)
def _wrapped(place, period):  # type: ignore[no-untyped-def]
    """`place` brought back to the first period."""
    while place >= period:
        place -= period
    return place


@numba.njit(forceinline=True, **_OPTIONS)
def _close_rows(space, row, step, count, period):  # type: ignore[no-untyped-def]
    """Repeat the first sixteen values of `count` rows behind their ends."""
    for k in range(count):
        store(space, row + k * step + period, load(space, row + k * step))


@numba.njit(forceinline=True, **_OPTIONS)
def _fold_two(space, source, target, half, layout, period, stride):  # type: ignore[no-untyped-def]
    """Two groups of `half` rows that start at `source` become one group of twice as many at `target`."""
    step, across, end, length = layout
    row = 2 * stride
    drift = 0
    for i in range(half):
        for side in range(2):
            early = source + i * step + side * across
            late = early + half * step
            out = target + 2 * i * row + side * stride
            b0 = load(space, late + drift)
            for j in range(0, length, LANES):
                b1 = load(space, late + _wrapped(j + LANES + drift, end))
                a = load(space, early + j)
                store(space, out + j, a + b0)
                store(space, out + row + j, a + shift1(b0, b1))
                b0 = b1
        drift = _wrapped(drift + 1, period)


@numba.njit(forceinline=True, **_OPTIONS)
def _fold_three(space, source, target, layout, period, stride):  # type: ignore[no-untyped-def]
    """Three rows that start at `source` become a group of three drifts at `target`."""
    step, across, end, length = layout
    row = 2 * stride
    for side in range(2):
        row_a, out = source + side * across, target + side * stride
        row_b, row_c = row_a + step, row_a + 2 * step
        b0, c0 = load(space, row_b), load(space, row_c)
        for j in range(0, length, LANES):
            place = _wrapped(j + LANES, end)
            b1, c1 = load(space, row_b + place), load(space, row_c + place)
            a = load(space, row_a + j)
            b = shift1(b0, b1)
            store(space, out + j, a + (b0 + c0))
            store(space, out + row + j, a + (b + shift1(c0, c1)))
            store(space, out + 2 * row + j, a + (b + shift2(c0, c1)))
            b0, c0 = b1, c1


@numba.njit(forceinline=True, **_OPTIONS)
def _fold_four(space, source, target, half, layout, period, stride):  # type: ignore[no-untyped-def]
    """Two levels at once: four groups of `half` rows that start at `source` become one at `target`."""
    step, across, end, length = layout
    row = 2 * stride
    drift_b, drift_c, drift_d = 0, 0, 0
    for i in range(half):
        for side in range(2):
            row_a = source + i * step + side * across
            row_b = row_a + half * step
            row_c = row_b + half * step
            row_d = row_c + half * step
            out = target + 4 * i * row + side * stride
            b0, c0, d0 = load(space, row_b + drift_b), load(space, row_c + drift_c), load(space, row_d + drift_d)
            for j in range(0, length, LANES):
                b1 = load(space, row_b + _wrapped(j + LANES + drift_b, end))
                c1 = load(space, row_c + _wrapped(j + LANES + drift_c, end))
                d1 = load(space, row_d + _wrapped(j + LANES + drift_d, end))
                a = load(space, row_a + j)
                c = shift1(c0, c1)
                early = a + b0
                store(space, out + j, early + (c0 + d0))
                store(space, out + row + j, early + (c + shift1(d0, d1)))
                early = a + shift1(b0, b1)
                store(space, out + 2 * row + j, early + (c + shift2(d0, d1)))
                store(space, out + 3 * row + j, early + (shift2(c0, c1) + shift3(d0, d1)))
                b0, c0, d0 = b1, c1, d1
        drift_b = _wrapped(drift_b + 1, period)
        drift_c = _wrapped(drift_c + 2, period)
        drift_d = _wrapped(drift_d + 3, period)


@numba.njit(forceinline=True, **_OPTIONS)
def _mend_ends(space, bins, target, count, across, period, stride):  # type: ignore[no-untyped-def]
    """The last phases of a group of `count` periods of bins: folded, they read on into the next period."""
    row = 2 * stride
    for side in range(2):
        for drift in range(1, count):
            out = target + drift * row + side * stride
            for back in range(1, drift + 1):
                total = space[bins + side * across + period - back]
                for r in range(1, count):
                    moved = drift if r == count - 1 else (drift + 1) // 2 if r == count - 2 else drift // 2
                    phase = moved - back if moved >= back else period + moved - back
                    total += space[bins + side * across + r * period + phase]
                space[out + period - back] = total


@numba.njit(**_OPTIONS)
def _fold_bins(space, bins, target, rows, count, across, period, stride):  # type: ignore[no-untyped-def]
    """`rows` periods of bins become groups of `count` (2, 3 or 4) rows at `target`; weights lie `across` behind."""
    layout = (period, across, 2 * across, period)  # no row ends before the bins do
    for first in range(0, rows, count):
        start, out = bins + first * period, target + 2 * first * stride
        if count == 4:
            _fold_four(space, start, out, 1, layout, period, stride)
            _mend_ends(space, start, out, 4, across, period, stride)
        elif count == 3:
            _fold_three(space, start, out, layout, period, stride)
            _mend_ends(space, start, out, 3, across, period, stride)
        else:
            _fold_two(space, start, out, 1, layout, period, stride)
            _mend_ends(space, start, out, 2, across, period, stride)
        for side in range(2):
            _close_rows(space, out + side * stride, 2 * stride, count, period)


@numba.njit(**_OPTIONS)
def _fold_groups(space, source, target, rows, have, want, period, stride):  # type: ignore[no-untyped-def]
    """`rows` rows at `source`, folded in groups of `have`, become groups of `want`; returns whether they stand at
    `target` now, which is used in turns with `source`."""
    turned = False
    row = 2 * stride
    layout = (row, stride, period, stride)
    while have < want:
        if 4 * have <= want:
            for group in range(0, rows, 4 * have):
                _fold_four(space, source + group * row, target + group * row, have, layout, period, stride)
            have *= 4
        else:
            for group in range(0, rows, 2 * have):
                _fold_two(space, source + group * row, target + group * row, have, layout, period, stride)
            have *= 2
        source, target = target, source
        turned = not turned
    return turned


@numba.njit(**_OPTIONS)
def _fold_halves(space, bins, across, rows, period, stride, ping, pong):  # type: ignore[no-untyped-def]
    """The place (`ping` or `pong`) of both halves of the rows, each folded under all its drifts."""
    half = rows // 2
    whole = half
    while whole > CHUNKS[1] and whole % 2 == 0:
        whole //= 2
    part = whole
    while part > CHUNKS[0] and part % 2 == 0:
        part //= 2
    least = 3 if part % 3 == 0 else min(part, 4)
    row = 2 * stride
    first, second = ping, pong
    for outer in range(0, rows, whole):
        for inner in range(outer, outer + whole, part):
            here, there = ping + inner * row, pong + inner * row
            _fold_bins(space, bins + inner * period, here, part, least, across, period, stride)
            turned = _fold_groups(space, here, there, part, least, part, period, stride)
        first, second = (pong, ping) if turned else (ping, pong)
        if _fold_groups(space, first + outer * row, second + outer * row, whole, part, whole, period, stride):
            first, second = second, first
    return second if _fold_groups(space, first, second, rows, whole, half, period, stride) else first


@numba.njit(forceinline=True, **_OPTIONS)
def _fold_last(space, folded, drift, rows, period, stride, size, x, w):  # type: ignore[no-untyped-def]
    """The profile of one drift over all rows, and on beyond the period to `size`."""
    early = folded + drift // 2 * 2 * stride
    late = early + rows * stride
    moved = (drift + 1) // 2 % period
    place = 0
    for j in range(0, size, LANES):
        other = _wrapped(place + moved, period)
        store(space, x + j, load(space, early + place) + load(space, late + other))
        store(space, w + j, load(space, early + stride + place) + load(space, late + stride + other))
        place = _wrapped(place + LANES, period)


@numba.njit(forceinline=True, **_OPTIONS)
def _halve(space, x, w, length):  # type: ignore[no-untyped-def]
    """Profiles of `length` at these places, on bins twice as long, written behind them."""
    for j in range(0, length // 2, LANES):
        store(space, x + length + j, pairs(load(space, x + 2 * j), load(space, x + 2 * j + LANES)))
        store(space, w + length + j, pairs(load(space, w + 2 * j), load(space, w + 2 * j + LANES)))


@numba.njit(forceinline=True, **_OPTIONS)
def _set_least(least, period, levels):  # type: ignore[no-untyped-def]
    """The least W (1 - W) of boxes of 1 to 5 steps that count, at every level."""
    for level in range(levels):
        for steps in range(1, 6):
            share = np.float32(COVERAGE * (steps << level) / period)
            least[5 * level + steps - 1] = share * (np.float32(1) - share)


@numba.njit(forceinline=True, **_OPTIONS)
def _try_narrow(space, x, w, period, least, squares, tails, white, scaled, inverted):  # type: ignore[no-untyped-def]
    """Boxes of one and two bins; the best powers so far, with theirs."""
    zero = splat(np.float32(0))
    least1, least2 = splat(least[0]), splat(least[1])
    top1, top2, low1, low2 = zero, zero, zero, zero
    for j in range(0, period, LANES):
        if j + LANES > period:
            tail = load(tails, LANES - period % LANES)
            least1, least2 = least1 + tail, least2 + tail
        x0, w0 = load(space, x + j), load(space, w + j)
        power = power_of(x0, w0, least1)
        top1, low1 = maximum(top1, power), minimum(low1, power)
        x1, w1 = load(space, x + j + LANES), load(space, w + j + LANES)
        power = power_of(x0 + shift1(x0, x1), w0 + shift1(w0, w1), least2)
        top2, low2 = maximum(top2, power), minimum(low2, power)
    factor1, factor2 = splat(squares[0]), splat(squares[1])
    white = maximum(white, maximum(top1, top2))
    scaled = maximum(scaled, maximum(top1 * factor1, top2 * factor2))
    inverted = minimum(inverted, minimum(low1 * factor1, low2 * factor2))
    return white, scaled, inverted


@numba.njit(forceinline=True, **_OPTIONS)
def _try_triple(space, x, w, level, period, least, squares, done, tails, white, scaled, inverted):  # type: ignore[no-untyped-def]
    """Boxes of three, four and five steps on the profile of one level; the best powers so far, with theirs."""
    zero = splat(np.float32(0))
    epochs = (period + (1 << level) - 1) >> level
    least3, least4, least5 = (splat(least[5 * level + 2]), splat(least[5 * level + 3]), splat(least[5 * level + 4]))
    top3, top4, top5, low3, low4, low5 = zero, zero, zero, zero, zero, zero
    x0, w0 = load(space, x), load(space, w)
    whole = epochs // LANES * LANES
    # Twice the same loop: over the whole vectors, and over what is left of one.
    start, stop = 0, whole
    for _ in range(2):
        for j in range(start, stop, LANES):
            x1, w1 = load(space, x + j + LANES), load(space, w + j + LANES)
            x_sum = x0 + shift1(x0, x1) + shift2(x0, x1)
            w_sum = w0 + shift1(w0, w1) + shift2(w0, w1)
            power = power_of(x_sum, w_sum, least3)
            top3, low3 = maximum(top3, power), minimum(low3, power)
            x_sum, w_sum = x_sum + shift3(x0, x1), w_sum + shift3(w0, w1)
            power = power_of(x_sum, w_sum, least4)
            top4, low4 = maximum(top4, power), minimum(low4, power)
            x_sum, w_sum = x_sum + shift4(x0, x1), w_sum + shift4(w0, w1)
            power = power_of(x_sum, w_sum, least5)
            top5, low5 = maximum(top5, power), minimum(low5, power)
            x0, w0 = x1, w1
        start, stop = whole, epochs
        tail = load(tails, LANES - epochs % LANES)
        least3, least4, least5 = least3 + tail, least4 + tail, least5 + tail
    factor3, factor4, factor5 = splat(squares[done]), splat(squares[done + 1]), splat(squares[done + 2])
    white = maximum(white, maximum(top3, maximum(top4, top5)))
    scaled = maximum(scaled, maximum(top3 * factor3, maximum(top4 * factor4, top5 * factor5)))
    inverted = minimum(inverted, minimum(low3 * factor3, minimum(low4 * factor4, low5 * factor5)))
    return white, scaled, inverted


@numba.njit(**_OPTIONS)
def _search(signal, weight, squares, trials, boxes, tails, space, peaks):  # type: ignore[no-untyped-def]
    """One star: `peaks` (3, trials) from bins, squares of inverse_beta, and `space` to work in."""
    first, last, rows, step = trials
    levels, narrow = boxes
    padded = (rows * last + 4 * LANES) // LANES * LANES
    used = min(signal.size, padded)
    space[:used], space[padded : padded + used] = signal[:used], weight[:used]
    space[used:padded], space[padded + used : 2 * padded] = np.float32(0), np.float32(0)
    ping = 2 * padded
    pong = ping + 2 * rows * _stride(last)
    profile = pong + 2 * rows * _stride(last)
    zero = splat(np.float32(0))
    trial = 0
    least = np.empty(5 * levels, np.float32)
    for period in range(first, last):
        _set_least(least, period, levels)
        stride, size = _stride(period), _profile(period, levels)
        folded = _fold_halves(space, 0, padded, rows, period, stride, ping, pong)
        for drift in range(0, rows, step):
            x, w, length = profile, profile + 2 * size, size
            _fold_last(space, folded, drift, rows, period, stride, size, x, w)
            white, scaled, inverted = zero, zero, zero
            done = 0
            if narrow:
                white, scaled, inverted = _try_narrow(
                    space, x, w, period, least, squares, tails, white, scaled, inverted
                )
                done = 2
            for level in range(levels):
                white, scaled, inverted = _try_triple(
                    space, x, w, level, period, least, squares, done + 3 * level, tails, white, scaled, inverted
                )
                if level + 1 < levels:
                    _halve(space, x, w, length)
                    x, w, length = x + length, w + length, length // 2
            peaks[0, trial] = np.sqrt(highest(white))
            peaks[1, trial] = np.sqrt(highest(scaled))
            peaks[2, trial] = np.sqrt(-lowest(inverted))
            trial += 1
