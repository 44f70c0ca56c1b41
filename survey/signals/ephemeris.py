"""When a planet transits: period, epoch and duration, and what follows from them for a list of times."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]


class Ephemeris(NamedTuple):
    """A periodic dip. All in days; `epoch` is the middle of a transit on the time scale of the light curve."""

    period: float
    epoch: float
    duration: float


def fold(time: Times, period: float, epoch: float) -> Times:
    """Days from the nearest transit, in [-period/2, period/2).

    time (n,) and epoch in days, on the same scale. Raises ValueError for a period that is not positive.
    """
    if not period > 0:
        raise ValueError(f"a period must be above zero, not {period:g} d")
    shifted = np.asarray(time, np.float64) - epoch
    phase = shifted - period * np.floor(shifted / period + 0.5)
    # The product above is rounded, so a time half a period away can land a hair outside.
    phase[phase >= period / 2] -= period
    phase[phase < -period / 2] = -period / 2
    return phase


def transit_number(time: Times, ephemeris: Ephemeris) -> NDArray[np.int64]:
    """The transit nearest to each time (n,), counted from the one at the epoch."""
    return np.floor((np.asarray(time, np.float64) - ephemeris.epoch) / ephemeris.period + 0.5).astype(np.int64)


def in_transit(time: Times, ephemeris: Ephemeris, width: float = 1.0) -> NDArray[np.bool_]:
    """True for times (n,) within `width` durations, centred on a transit."""
    return np.abs(fold(time, ephemeris.period, ephemeris.epoch)) <= 0.5 * width * ephemeris.duration
