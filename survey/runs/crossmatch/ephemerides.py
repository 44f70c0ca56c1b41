"""Periodic signals as arrays, and whether two of them are one: period ratio, epoch, and the odds of chance."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from survey.signals.ephemeris import fold

Values = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

RATIOS: Final = ((1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (3, 2), (2, 3), (4, 1), (1, 4))
"""Period of the one over that of the other: a search finds every second event, or half the true period."""

SIGMAS = 4.0
"""Standard errors by which two numbers may differ and be the same."""

UNKNOWN_PERIOD_ERR = 1e-5
"""Relative error of a listed period that comes without one."""

DENSITY_WIDTH = 0.1
"""Half width in ln P over which the density of periods is taken."""

LEAST_DENSITY = 1 / 7
"""Per unit of ln P: that of periods spread evenly from half a day to two years."""


@dataclass(frozen=True)
class Signals:
    """(n,) each, NaN where not known. Times in days, epochs BJD, depths ppm, positions degrees.

    baseline: from the first to the last time of the data.
    """

    period: Values
    period_err: Values
    epoch: Values
    epoch_err: Values
    duration: Values
    depth: Values
    magnitude: Values
    baseline: Values
    ra: Values
    dec: Values

    def __len__(self) -> int:
        return len(self.period)

    @property
    def strength(self) -> Values:
        """Light that is lost in an event, on one scale for all: depth times flux.

        A star of unknown magnitude is taken for one like the others, so that strengths have one order.
        """
        known = self.magnitude[np.isfinite(self.magnitude)]
        magnitude = np.where(np.isfinite(self.magnitude), self.magnitude, np.median(known) if len(known) else 0.0)
        return np.nan_to_num(self.depth) * 10 ** (-0.4 * magnitude)


def signals_of(table: pl.DataFrame) -> Signals:
    """From columns called like the fields, with duration_h, depth_ppm and epoch_bjd; absent ones are not known."""
    renamed = table.select(pl.all().exclude("epoch", "duration", "depth")).rename(
        {"epoch_bjd": "epoch", "depth_ppm": "depth"}
    )
    named = renamed.with_columns(duration=pl.col("duration_h") / 24.0)

    def column(name: str) -> Values:
        if name not in named.columns:
            return np.full(named.height, np.nan)
        return named[name].cast(pl.Float64).fill_null(np.nan).to_numpy()

    return Signals(**{field.name: column(field.name) for field in fields(Signals)})


class Comparison(NamedTuple):
    """Of pairs of signals, (m,) each.

    ratio: the simple ratio nearest to that of the periods; same_period: they are in it; same_epoch: events coincide;
    comparable: epochs are known, and well enough to tell; chance: probability that two unrelated signals would agree as
    well or better, in what could be compared.
    """

    ratio: Values
    same_period: Mask
    same_epoch: Mask
    comparable: Mask
    chance: Values


def compare(one: Signals, i: Indices, other: Signals, j: Indices, density: Values) -> Comparison:
    """Compares `one` at i with `other` at j, (m,) each.

    Periods agree where the events drift apart by less than half a duration over the time that both were observed, or
    by no more than SIGMAS standard errors. If the periods are p u and q u, events coincide where the epochs differ by a
    multiple of u; the difference is carried over the time between the epochs with the better period and its error.
    As in Coughlin et al. (2014, AJ 147, 119) the significance follows from how seldom two random numbers agree as well:
    the interval within which the periods agree times the density of periods (`density` of `one` at i, per unit of
    ln P), times the share of u within which the epochs agree. Agreement better than the errors does not count, and a
    ratio other than 1 has to share half the odds with all the others.
    """
    ratios = np.array([p / q for p, q in RATIOS])
    logs = np.log(one.period[i] / other.period[j])
    nearest = np.abs(logs[:, None] - np.log(ratios)).argmin(axis=1)
    p, q = np.array(RATIOS, float)[nearest].T
    relative_one, relative_other = one.period_err[i] / one.period[i], other.period_err[j] / other.period[j]
    relative_one, relative_other = (
        np.where(err > 0, err, UNKNOWN_PERIOD_ERR) for err in (relative_one, relative_other)
    )
    duration = np.nan_to_num(np.fmax(one.duration[i], other.duration[j]))

    apart = np.abs(logs - np.log(ratios[nearest]))
    apart_err = np.hypot(relative_one, relative_other)
    span = np.fmin(one.baseline[i], other.baseline[j])
    same_period = apart <= np.fmin(np.fmax(SIGMAS * apart_err, duration / 2 / span), PERIODS_APART)

    unit = np.where(relative_one < relative_other, one.period[i] / p, other.period[j] / q)
    elapsed = one.epoch[i] - other.epoch[j]
    late = np.abs(fold(elapsed, unit, 0.0))
    carried = elapsed * np.fmin(relative_one, relative_other)
    late_err = np.sqrt(np.nan_to_num(one.epoch_err[i]) ** 2 + np.nan_to_num(other.epoch_err[j]) ** 2 + carried**2)
    comparable = SIGMAS * late_err < unit / 4
    same_epoch = comparable & (late <= np.fmax(SIGMAS * late_err, np.fmin(duration / 2, unit / 5)))

    by_period = np.fmin(1.0, 2 * np.fmax(apart, apart_err) * density[i])
    by_epoch = np.where(comparable, np.fmin(1.0, 2 * np.fmax(late, late_err) / unit), 1.0)
    odds = np.where(nearest == 0, 2, 2 * (len(RATIOS) - 1))
    return Comparison(ratios[nearest], same_period, same_epoch, comparable, odds * by_period * by_epoch)


PERIODS_APART = 0.01
"""However large their errors, periods that differ by more than this share are not called the same."""


def density_of_periods(signals: Signals) -> Values:
    """Share of all signals per unit of ln P, at the period of each, (n,)."""
    logs = np.log(signals.period)
    ordered = np.sort(logs[np.isfinite(logs)])
    near = np.searchsorted(ordered, logs + DENSITY_WIDTH) - np.searchsorted(ordered, logs - DENSITY_WIDTH)
    return np.fmax(near / max(1, len(ordered)) / (2 * DENSITY_WIDTH), LEAST_DENSITY)


def codes_of(values: Sequence[str] | pl.Series) -> Indices:
    """A number for each name, equal for equal names, in order of the names."""
    return np.unique(np.asarray(values), return_inverse=True)[1].astype(np.int64)


def each_once(numbers: Indices) -> Indices:
    """The distinct ones of non-negative numbers, in order; several times as quick as np.unique where there are many."""
    ordered = np.sort(numbers)
    return ordered[np.diff(ordered, prepend=-1) > 0]
