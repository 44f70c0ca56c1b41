"""Random stars on the bins of a segment, for the engines."""

from typing import Protocol

import numpy as np


class Bins(Protocol):
    """What of a segment decides the shapes."""

    @property
    def n_bins(self) -> int: ...

    @property
    def widths(self) -> tuple[int, ...]: ...


def make_lanes(segment: Bins, lanes: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(signal, weight, inverse_beta) with a fifth of the bins empty, and a seventh at the start of the first lane."""
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.2, 1.0, (lanes, segment.n_bins)) * (rng.random((lanes, segment.n_bins)) > 0.2)
    weight[0, : segment.n_bins // 7] = 0
    weight /= weight.sum(axis=1, keepdims=True)
    signal = rng.standard_normal(weight.shape) * np.sqrt(weight)
    inverse_beta = rng.uniform(0.2, 1.0, (lanes, len(segment.widths)))
    return signal.astype(np.float32), weight.astype(np.float32), inverse_beta.astype(np.float32)
