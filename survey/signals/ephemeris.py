"""When a signal is in transit."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]


class Ephemeris(NamedTuple):
    """Period, a mid-transit time, and the duration from first to last contact; all days."""

    period: float
    epoch: float
    duration: float


def fold(times: Times, period: float, epoch: float) -> Times:
    """Days from the nearest mid-transit, in [-period / 2, period / 2)."""
    return (times - epoch + period / 2) % period - period / 2


def transit_number(times: Times, ephemeris: Ephemeris) -> NDArray[np.int64]:
    """Number of the transit nearest to each time; 0 at the epoch."""
    return np.floor((times - ephemeris.epoch) / ephemeris.period + 0.5).astype(np.int64)


def in_transit(times: Times, ephemeris: Ephemeris, width: float = 1.0) -> NDArray[np.bool_]:
    """Whether each time lies within `width` durations centred on a transit."""
    return np.abs(fold(times, ephemeris.period, ephemeris.epoch)) < width * ephemeris.duration / 2
