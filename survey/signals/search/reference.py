"""The engine in plain NumPy: what the fast engines are tested against, and the shortest statement of the algorithm.

With w_i the weights of a star's bins (their sum is 1) and d_i its dips, less their mean, a box that holds the bins B of
a fold explains chi square by X^2 / (W (1 - W)), X = sum_B w_i d_i, W = sum_B w_i: box least squares (Kovacs, Zucker &
Mazeh 2002, A&A 391, 369). The sums X and W of every phase and every trial period come from fast folding (Staelin 1969,
Proc. IEEE 57, 724; with boxes: Shahaf et al. 2022, MNRAS 513, 2732), on periods as fine as Ofir (2014, A&A 561, A138)
asks for.
"""

import numpy as np
from numpy.typing import NDArray

from survey.signals.search.plan import Segment

Floats = NDArray[np.float32]

COVERAGE = 0.3
"""A box counts only if it, and what is outside of it, hold more than this share of the weight that even coverage
would give the box."""


def search_segment(signal: Floats, weight: Floats, inverse_beta: Floats, segment: Segment) -> Floats:
    """Highest signal-to-noise ratio of a box at every trial period.

    signal, weight: (lanes, bins), a lane being one stretch of one star; weights sum to 1 in a lane, signal is the
    weighted dip, scaled so that its variance is `weight`. inverse_beta: (lanes, widths), white noise over its own
    at each width. Returns (3, lanes, trials): the best ratio over epochs and widths; the best of ratio times
    inverse_beta; and the latter of the light curve turned upside down. None is below 0. The statistic is
    X / sqrt(W (1 - W)), Kovacs et al. (2002), with X and W the sums inside the box.
    """
    peaks = []
    for period in range(segment.first, segment.last):
        folded_signal = fold_rows(_as_rows(signal.T, period, segment.rows))[segment.drifts]
        folded_weight = fold_rows(_as_rows(weight.T, period, segment.rows))[segment.drifts]
        best = np.array(
            [
                _best_boxes(folded_signal, folded_weight, width, stride)
                for width, stride in zip(segment.widths, segment.strides, strict=True)
            ]
        )
        scaled = (best * inverse_beta.T[:, None, None, :]).max(axis=0)
        peaks.append(np.concatenate([best[:, :1].max(axis=0), scaled]))
    return np.concatenate(peaks, axis=1).transpose(0, 2, 1)


def fold_rows(rows: Floats) -> Floats:
    """Sums of R rows under every drift of 0 to R - 1 bins from the first row to the last; (drift, phase, lane).

    Fast folding (Staelin 1969): the two halves are folded alone, and under a drift s the second half is both drifted by
    s // 2 within itself and moved as a whole by what is left, (s + 1) // 2. Three rows are folded one by one.
    """
    if len(rows) == 1:
        return rows
    if len(rows) == 3:
        return np.stack([rows[0] + (_moved(rows[1], (s + 1) // 2) + _moved(rows[2], s)) for s in range(3)])
    half = len(rows) // 2
    early, late = fold_rows(rows[:half]), fold_rows(rows[half:])
    return np.stack([early[s // 2] + _moved(late[s // 2], (s + 1) // 2) for s in range(2 * half)])


def _moved(row: Floats, drift: int) -> Floats:
    return np.roll(row, -drift, axis=0)


def _as_rows(bins: Floats, period: int, rows: int) -> Floats:
    padded = np.zeros((rows * period, bins.shape[1]), bins.dtype)
    used = min(len(bins), len(padded))
    padded[:used] = bins[:used]
    return padded.reshape(rows, period, -1)


def _best_boxes(signal: Floats, weight: Floats, width: int, stride: int) -> Floats:
    """(2, drifts, lanes): the best dip and the best rise of one width over its epochs."""
    period = signal.shape[1]
    inside = (np.arange(0, period, stride)[:, None] + np.arange(width)) % period
    x = signal[:, inside].sum(axis=2)
    w = weight[:, inside].sum(axis=2)
    variance, least = w * (1 - w), COVERAGE * width / period
    usable = variance > least * (1 - least)
    ratio = np.where(usable, x / np.sqrt(np.where(usable, variance, 1)), 0)
    return np.maximum([ratio.max(axis=1), (-ratio).max(axis=1)], 0).astype(np.float32)
