"""The engine in plain NumPy: what the fast engines are tested against, and the shortest statement of the algorithm."""

import numpy as np
from numpy.typing import NDArray

from survey.signals.search.plan import Segment

Floats = NDArray[np.float32]

COVERAGE = 0.3
"""A box counts only if it holds more than this share of the weight that even coverage would give it."""

FULLEST = 0.9
"""A box with more than this share of all weight leaves nothing to compare it with."""


def search_segment(signal: Floats, weight: Floats, inverse_beta: Floats, segment: Segment) -> tuple[Floats, Floats]:
    """Highest signal-to-noise ratio of a box at every trial period.

    signal, weight: (bins, lanes), a lane being one star; weights sum to 1 in a lane, signal is the weighted dip, scaled
    so that its variance is `weight`. inverse_beta: (widths, lanes), white noise over the star's own at each width.
    Returns (white, scaled), each (trials, lanes): the best ratio over epochs and widths, and the best of ratio times
    inverse_beta. The statistic is X / sqrt(W (1 - W)), Kovacs et al. (2002), with X and W the sums inside the box.
    """
    white, scaled = [], []
    for period in range(segment.first, segment.last):
        folded_signal = fold_rows(_as_rows(signal, period, segment.rows))[segment.drifts]
        folded_weight = fold_rows(_as_rows(weight, period, segment.rows))[segment.drifts]
        best = [
            _best_box(folded_signal, folded_weight, width, stride)
            for width, stride in zip(segment.widths, segment.strides, strict=True)
        ]
        white.append(np.max(best, axis=0))
        scaled.append(np.max(np.array(best) * inverse_beta[:, None, :], axis=0))
    return np.concatenate(white), np.concatenate(scaled)


def fold_rows(rows: Floats) -> Floats:
    """Sums of 2^k rows under every drift of 0 to 2^k - 1 bins from the first row to the last; (drift, phase, lane).

    Fast folding (Staelin 1969): the two halves are folded alone, and under a drift s the second half is both drifted by
    s // 2 within itself and moved as a whole by what is left, (s + 1) // 2.
    """
    if len(rows) == 1:
        return rows
    half = len(rows) // 2
    early, late = fold_rows(rows[:half]), fold_rows(rows[half:])
    return np.stack([early[s // 2] + np.roll(late[s // 2], -((s + 1) // 2), axis=0) for s in range(2 * half)])


def _as_rows(bins: Floats, period: int, rows: int) -> Floats:
    padded = np.zeros((rows * period, bins.shape[1]), bins.dtype)
    used = min(len(bins), len(padded))
    padded[:used] = bins[:used]
    return padded.reshape(rows, period, -1)


def _best_box(signal: Floats, weight: Floats, width: int, stride: int) -> Floats:
    """(drifts, lanes): the best box of one width over its epochs."""
    period = signal.shape[1]
    inside = (np.arange(0, period, stride)[:, None] + np.arange(width)) % period
    x = signal[:, inside].sum(axis=2)
    w = weight[:, inside].sum(axis=2)
    usable = (w > COVERAGE * width / period) & (w < FULLEST) & (x > 0)
    spread = np.sqrt(np.where(usable, w * (1 - w), 1))
    return np.where(usable, x / spread, 0).max(axis=1).astype(np.float32)
