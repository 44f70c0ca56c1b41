"""The CPU engine: fast folding compiled by numba, sixteen stars side by side in one vector register.

Every loop runs over one flat stretch of memory in which the stars are the fastest index, because that is what the
compiler turns into vector instructions. The last level of the folding is not written out for all drifts: its rows go
straight into running sums, from which the boxes are read.
"""

import itertools

import numba
import numpy as np
from numpy.typing import NDArray

from survey.signals.search.plan import Segment
from survey.signals.search.reference import COVERAGE

Floats = NDArray[np.float32]

LANES = 16
"""Stars folded together: one AVX-512 register of float32, two of AVX2."""

SOME = 4
"""Stars folded together where too few are left for LANES: a third of the time of a full group."""

# No reassociation and no contraction: a star gives the same bits alone and in a full register.
_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"nsz", "nnan"}}


def search_segment(signal: Floats, weight: Floats, inverse_beta: Floats, segment: Segment) -> Floats:
    """As `reference.search_segment`, for any number of lanes."""
    white, scaled = _both(signal.T, weight.T, inverse_beta.T, segment)
    _, inverted = _both(-signal.T, weight.T, inverse_beta.T, segment)
    return np.stack([white.T, scaled.T, inverted.T])


def _both(signal: Floats, weight: Floats, inverse_beta: Floats, segment: Segment) -> tuple[Floats, Floats]:
    stars = signal.shape[1]
    white = np.empty((segment.n_trials, stars), np.float32)
    scaled = np.empty((segment.n_trials, stars), np.float32)
    boxes = np.array([segment.widths, segment.strides], np.int64)
    for group in _groups(stars):
        lanes = _lanes(group.stop - group.start)
        peaks = np.empty((2, segment.n_trials, lanes), np.float32)
        _search(
            (0,) * lanes,
            _fill(signal[:, group], lanes),
            _fill(weight[:, group], lanes),
            (segment.first, segment.last, segment.rows, segment.drift_step),
            boxes,
            _fill(inverse_beta[:, group], lanes),
            peaks,
        )
        white[:, group], scaled[:, group] = peaks[:, :, : group.stop - group.start]
    return white, scaled


def _groups(stars: int) -> list[slice]:
    """Full groups first, then what is cheapest for the rest."""
    whole, rest = divmod(stars, LANES)
    size = LANES if rest > 2 * SOME else SOME
    starts = [*range(0, whole * LANES, LANES), *range(whole * LANES, stars, size)]
    return [slice(start, stop) for start, stop in itertools.pairwise([*starts, stars])]


def _lanes(stars: int) -> int:
    """Width of the compiled program that folds so many stars."""
    return next(lanes for lanes in (1, SOME, LANES) if stars <= lanes)


def _fill(columns: Floats, lanes: int) -> Floats:
    """Flat copy with `lanes` columns, the missing ones empty."""
    full = np.zeros((len(columns), lanes), np.float32)
    full[:, : columns.shape[1]] = columns
    return full.ravel()


@numba.njit(inline="always", **_OPTIONS)
def _add(out, a, b):  # type: ignore[no-untyped-def]
    for k in range(out.size):
        out[k] = a[k] + b[k]


@numba.njit(inline="always", **_OPTIONS)
def _add_rolled(out, early, late, shift):  # type: ignore[no-untyped-def]
    """out = early + late moved `shift` values to the left, around the row's end."""
    kept = out.size - shift
    _add(out[:kept], early[:kept], late[shift:])
    _add(out[kept:], early[kept:], late[:shift])


@numba.njit(**_OPTIONS)
def _fold_halves(bins, period, lanes, rows, used, ping, pong):  # type: ignore[no-untyped-def]
    """The rows with each half folded under all its drifts; rows from `used` on are empty."""
    size = period * lanes
    filled = min(bins.size, used * size)
    source, target = ping, pong
    source[:filled] = bins[:filled]
    source[filled : used * size] = np.float32(0)
    half = 1
    while half < rows // 2:
        for group in range(0, used, 2 * half):
            for i in range(half):
                early = source[(group + i) * size : (group + i + 1) * size]
                even = target[(group + 2 * i) * size : (group + 2 * i + 1) * size]
                odd = target[(group + 2 * i + 1) * size : (group + 2 * i + 2) * size]
                if group + half < used:
                    late = source[(group + half + i) * size : (group + half + i + 1) * size]
                    _add_rolled(even, early, late, (i % period) * lanes)
                    _add_rolled(odd, early, late, ((i + 1) % period) * lanes)
                else:
                    even[:] = early
                    odd[:] = early
        # A group that was half empty is full now.
        used = (used + 2 * half - 1) // (2 * half) * (2 * half)
        source, target = target, source
        half *= 2
    return source


@numba.njit(inline="always", **_OPTIONS)
def _running_sums(sums, folded, drift, period, lanes, rows, used, beyond, row):  # type: ignore[no-untyped-def]
    """Running sums over the phases of one drift, continued `beyond` bins past the end."""
    size = period * lanes
    i, half = drift // 2, rows // 2
    early = folded[i * size : (i + 1) * size]
    if half < used:
        late = folded[(half + i) * size : (half + i + 1) * size]
        _add_rolled(row[:size], early, late, (((drift + 1) // 2) % period) * lanes)
    else:
        row[:size] = early
    row[size : size + beyond * lanes] = row[: beyond * lanes]
    sums[:lanes] = np.float32(0)
    for k in range(size + beyond * lanes):
        sums[k + lanes] = sums[k] + row[k]


@numba.njit(inline="always", **_OPTIONS)
def _thin(out, sums, stride, count, lanes):  # type: ignore[no-untyped-def]
    """Every `stride`-th of the running sums."""
    for j in range(count):
        for k in range(lanes):
            out[j * lanes + k] = sums[j * stride * lanes + k]


@numba.njit(inline="always", **_OPTIONS)
def _box_powers(powers, x_low, x_high, w_low, w_high, least):  # type: ignore[no-untyped-def]
    """Squared signal-to-noise ratio of every box, 0 where it is no dip or holds too little data."""
    for k in range(powers.size):
        x = x_high[k] - x_low[k]
        w = w_high[k] - w_low[k]
        power = x * x / (w * (np.float32(1) - w))
        usable = (w > least) & (w < np.float32(1) - least) & (x > np.float32(0))
        powers[k] = power if usable else np.float32(0)


@numba.njit(inline="always", **_OPTIONS)
def _reduce_max(powers, count, lanes):  # type: ignore[no-untyped-def]
    """The maximum of each lane over `count` rows, left in the first row."""
    while count > 1:
        moved = count // 2
        low = powers[: moved * lanes]
        high = powers[(count - moved) * lanes : count * lanes]
        for k in range(low.size):
            low[k] = low[k] if low[k] > high[k] else high[k]
        count -= moved


@numba.njit(**_OPTIONS)
def _search(lane_tuple, signal, weight, trials, boxes, factors, peaks):  # type: ignore[no-untyped-def]
    # The length of a tuple is known to the compiler, and with it the distance between neighbours in the running sums.
    lanes = len(lane_tuple)
    first, last, rows, step = trials
    widths, strides = boxes[0], boxes[1]
    widest = widths[-1]
    n_bins = signal.size // lanes
    space = rows * last * lanes
    x_ping, x_pong = np.empty(space, np.float32), np.empty(space, np.float32)
    w_ping, w_pong = np.empty(space, np.float32), np.empty(space, np.float32)
    length = (last + widest + 1) * lanes
    row = np.empty(length, np.float32)
    x_sums, w_sums = np.empty(length, np.float32), np.empty(length, np.float32)
    x_thin, w_thin = np.empty(length, np.float32), np.empty(length, np.float32)
    powers = np.empty(length, np.float32)
    trial = 0
    for period in range(first, last):
        used = min(rows, (n_bins + period - 1) // period)
        x_folded = _fold_halves(signal, period, lanes, rows, used, x_ping, x_pong)
        w_folded = _fold_halves(weight, period, lanes, rows, used, w_ping, w_pong)
        for drift in range(0, rows, step):
            _running_sums(x_sums, x_folded, drift, period, lanes, rows, used, widest, row)
            _running_sums(w_sums, w_folded, drift, period, lanes, rows, used, widest, row)
            white, scaled = peaks[0, trial], peaks[1, trial]
            white[:] = np.float32(0)
            scaled[:] = np.float32(0)
            thinned = 1
            x, w = x_sums, w_sums
            for d in range(widths.size):
                stride = strides[d]
                if stride != thinned:
                    _thin(x_thin, x_sums, stride, (period + widest) // stride + 1, lanes)
                    _thin(w_thin, w_sums, stride, (period + widest) // stride + 1, lanes)
                    x, w, thinned = x_thin, w_thin, stride
                count = (period + stride - 1) // stride
                end, offset = count * lanes, widths[d] // stride * lanes
                least = np.float32(COVERAGE * widths[d] / period)
                _box_powers(powers[:end], x[:end], x[offset : offset + end], w[:end], w[offset : offset + end], least)
                _reduce_max(powers, count, lanes)
                for k in range(lanes):
                    ratio = np.sqrt(powers[k])
                    white[k] = ratio if ratio > white[k] else white[k]
                    ratio *= factors[d * lanes + k]
                    scaled[k] = ratio if ratio > scaled[k] else scaled[k]
            trial += 1
