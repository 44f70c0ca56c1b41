"""The events of one signal, one by one: how deep each transit is, and how deep the same measurement is between them.

A depth is fitted by weighted least squares: a constant light and the trapezoid of the signal, averaged over the bins,
on the stretch about one event. Every event thus has its own light on both sides, odd and even alike [science rule 22].
The same fit at places where nothing transits gives the noise of these depths as the star makes it, red or white.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from survey.signals.ephemeris import Ephemeris, fold, in_transit
from survey.signals.search import FlatCurve, Tce
from survey.signals.search.curve import Dips, Mask, make_dips
from survey.signals.search.noise import robust_scatter
from survey.signals.search.refine import Box, measure, typical_weight
from survey.signals.search.tce import ONCE
from survey.signals.search.trapezoid import Trapezoid, fit_trapezoid, trapezoid_at

Floats = NDArray[np.float64]

_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy"}

REACH = 1.5
"""Half width of the stretch that a depth is fitted on, in durations."""

LEAST_INSIDE = 0.3
LEAST_BESIDE = 0.3
"""An event is measured where these shares of the transit, and of a duration on one side of it, were observed."""

MASK_WIDTH = 1.5
"""What is left out for another signal, in its durations."""

MOST_PLACES = 600
"""Places between the transits that the noise is taken from, evenly spread: enough for three per cent."""

LEAST_PLACES = 20
"""With fewer places, the noise ratio of the detection stands."""

SHAPE_ERROR = 0.02
"""What the trapezoid may be wrong about one depth, as a share of it: limb, cadence, a transit out of time."""

LONGEST_GAP = 100.0
"""Days without data that cut the curve in stretches, which matters to a search only."""

RETIMES = 4
"""Steps within a duration at which a transit is looked for before and after its time."""

SAME_RATIOS = (1.0, 2.0, 0.5)
"""Of two periods that keep step: an eclipse may be reported at twice or half the orbit's."""

MOST_SHARED = 0.5
"""Of the transits of one signal, what may be left out for another."""

MOST_DUTY = 0.25
"""A signal that lasts longer than this share of its period is a wave: leaving it out would leave nothing."""


EVENT_SNR = 8.0
"""A transit has a shape of its own from this SNR on."""

MOST_SHAPES = 12
"""Transits whose own shape is fitted: the clearest."""

WIDTHS = (1.0, 0.75, 0.5)
SHIFTS = (-0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75)
"""Boxes from which the shape of one transit is fitted, in durations of the signal."""


class Shape(NamedTuple):
    """Duration from first to last contact, days; share of it that the ingress takes, and its error."""

    duration: float
    ingress_share: float
    ingress_err: float


@dataclass(frozen=True)
class Events:
    """Transits with data, in order of time, (events,) each.

    number: 0 at the epoch; depth: a fraction; error: with the star's noise; inside, before, after: share observed of
    the transit, and of a duration before and after it.
    """

    number: NDArray[np.int64]
    middle: Floats
    depth: Floats
    error: Floats
    inside: Floats
    before: Floats
    after: Floats


@dataclass(frozen=True)
class Light:
    """What the checks on one signal look at. keep: bins outside the transits of the star's other signals; starts: time
    at which each product begins."""

    tce: Tce
    dips: Dips
    keep: Mask
    starts: Floats

    @property
    def orbit(self) -> Ephemeris:
        return self.tce.ephemeris

    @cached_property
    def shape(self) -> Trapezoid | None:
        """The trapezoid of the signal; None where no box can be measured."""
        measured = measure(self.dips, self.keep, Box(*self.orbit))
        return None if measured is None else fit_trapezoid(self.dips, self.keep, measured)

    @cached_property
    def event_shape(self) -> Shape | None:
        """Median shape of the clearest transits, each fitted by itself; None where single transits are too faint.

        Transits that come early or late smear their fold, which is then longer and more V-shaped than any of them.
        """
        clear = self.events.depth > EVENT_SNR * self.events.error
        order = np.argsort(-(self.events.depth / self.events.error)[clear], kind="stable")[:MOST_SHAPES]
        shapes = [shape for k in order if (shape := self._shape_of(self.events.middle[clear][k])) is not None]
        if not shapes:
            return None
        duration, share, error = np.median(np.array(shapes), axis=0)
        return Shape(float(duration), float(share), float(error) / math.sqrt(len(shapes)))

    def _shape_of(self, middle: float) -> Shape | None:
        """The shape of the transit near one time."""
        reach = 2 * REACH * self.orbit.duration
        first, stop = np.searchsorted(self.dips.time, [middle - reach, middle + reach])
        part, keep = slice(first, stop), self.keep[first:stop]
        dips = Dips(
            self.dips.time[part],
            self.dips.dip[part],
            self.dips.weight[part],
            self.dips.cell[part],
            self.dips.step,
            ((0, int(stop - first)),),
        )
        boxes = [
            Box(ONCE, middle + shift * self.orbit.duration, width * self.orbit.duration)
            for width in WIDTHS
            for shift in SHIFTS
        ]
        fits = [found for box in boxes if (found := measure(dips, keep, box)) is not None]
        best = max(fits, key=lambda found: found.snr, default=None)
        fitted = None if best is None else fit_trapezoid(dips, keep, best)
        if fitted is None or not math.isfinite(fitted.ingress_err):
            return None
        return Shape(fitted.duration, fitted.ingress / fitted.duration, fitted.ingress_err / fitted.duration)

    @cached_property
    def noise(self) -> float:
        """Error of the depth of an event over that in white noise, at least 1."""
        places = self.dips.time[self.keep]
        apart = np.abs(fold(places, self.orbit.period, self.orbit.epoch)) > 2 * REACH * self.orbit.duration
        places = places[apart]
        sample = self.fit_at(places[:: max(1, len(places) // MOST_PLACES)])
        white = (sample.depth / sample.error).astype(np.float32)
        if len(white) < LEAST_PLACES:
            return max(1.0, self.tce.scatter_beta)
        return max(1.0, float(robust_scatter(white)))

    @cached_property
    def elsewhere(self) -> Mask:
        """Bins outside the transits of this signal, too."""
        return self.keep & ~in_transit(self.dips.time, self.orbit, MASK_WIDTH)

    @cached_property
    def events(self) -> Events:
        """The transits of the signal."""
        return self.events_at(0.0)

    @cached_property
    def retimed_depths(self) -> tuple[Floats, Floats]:
        """(depth, error) of every transit at the time, within a duration of its own, at which it is strongest."""
        events = self.events
        depth, white = events.depth.copy(), events.error / self.noise
        for step in range(-RETIMES, RETIMES + 1):
            moved = self.fit_at(events.middle + step / RETIMES * self.orbit.duration)
            better = moved.depth / moved.error > (depth / white)[moved.number]
            place = moved.number[better]
            depth[place], white[place] = moved.depth[better], moved.error[better]
        return depth, with_shape_error(depth, white * self.noise)

    def events_at(self, phase: float) -> Events:
        """The same measurement in every orbit at a phase from 0 (the transit) to 1; else without the transits."""
        period, epoch, _ = self.orbit
        first, last = ((time - epoch) / period for time in (self.dips.time[0], self.dips.time[-1]))
        number = np.arange(math.floor(first) - 1, math.ceil(last) + 1)
        keep = self.keep if phase == 0 else self.elsewhere
        events = self.fit_at(epoch + (number + phase) * period, keep)
        return replace(events, number=number[events.number], error=events.error * self.noise)

    def fit_at(self, middles: Floats, keep: Mask | None = None) -> Events:
        """The trapezoid of the signal at any times; errors as in white noise; those not observed are left out.

        number: place among the times; keep: bins that count, unless those of the light.
        """
        duration = self.orbit.duration
        ingress = 0.1 * duration if self.shape is None else min(max(self.shape.ingress, 0.02 * duration), duration / 2)
        full = typical_weight(self.dips) * max(duration / self.dips.step, 1.0)
        star = (self.dips.time, self.dips.dip, self.dips.weight, self.keep if keep is None else keep)
        depth, error, inside, before, after = _fit_depths(star, middles, duration, ingress, self.dips.step / 2, full)
        seen = np.isfinite(error)
        return Events(
            np.flatnonzero(seen), middles[seen], depth[seen], error[seen], inside[seen], before[seen], after[seen]
        )


def look_at(curve: FlatCurve, tce: Tce, others: Sequence[Tce] = (), dips: Dips | None = None) -> Light:
    """The light of one signal without the star's `others`; `dips`: the curve on its grid, where that is known.

    Left in are those that keep this signal's period, and single events: they may be its other eclipse. So are waves,
    and what coincides with most of this signal.
    """
    dips = make_dips(curve, LONGEST_GAP) if dips is None else dips
    keep = np.ones(len(dips.time), bool)
    inside = in_transit(dips.time, tce.ephemeris)
    for other in others:
        dips_at_times = other.period is not None and other.duration_h / 24 < MOST_DUTY * other.period
        if other.number != tce.number and dips_at_times and not shares_period(other, tce, dips.baseline):
            masked = in_transit(dips.time, other.ephemeris, MASK_WIDTH)
            if np.count_nonzero(masked & inside) <= MOST_SHARED * np.count_nonzero(inside):
                keep &= ~masked
    return Light(tce, dips, keep, curve.time[list(curve.starts)])


def shares_period(one: Tce, other: Tce, baseline: float) -> bool:
    """Whether two signals keep step over the whole light curve, as two eclipses of one orbit do."""
    if one.period is None or other.period is None:
        return False
    drift = min(one.duration_h, other.duration_h) / 48
    return any(abs(one.period / (ratio * other.period) - 1) * baseline < drift for ratio in SAME_RATIOS)


@numba.njit(**_OPTIONS)
def _fit_depths(star, middles, duration, ingress, half_bin, full):  # type: ignore[no-untyped-def]
    """(depth, white error, share inside, before, after) of a trapezoid at each of `middles`, over a constant light.

    Shares are those observed, whether kept or not; depths are NaN where too little is kept.
    """
    time, dip, weight, keep = star
    size = middles.size
    depths, errors = np.full(size, np.nan), np.full(size, np.nan)
    shares = np.zeros((3, size))
    for k in range(size):
        ones, shapes, squares, light, both = 0.0, 0.0, 0.0, 0.0, 0.0
        kept = np.zeros(3)
        for i in range(np.searchsorted(time, middles[k] - REACH * duration), time.size):
            x = time[i] - middles[k]
            if x > REACH * duration:
                break
            w = weight[i]
            part = 0 if abs(x) < duration / 2 else 1 if x < 0 else 2
            shares[part, k] += w / full
            if not keep[i]:
                continue
            kept[part] += w / full
            shape = trapezoid_at(x, duration, ingress, half_bin)
            ones += w
            shapes += w * shape
            squares += w * shape * shape
            light += w * dip[i]
            both += w * shape * dip[i]
        curvature = ones * squares - shapes * shapes
        if kept[0] > LEAST_INSIDE and max(kept[1], kept[2]) > LEAST_BESIDE and curvature > 1e-9 * ones * ones:
            depths[k] = (ones * both - shapes * light) / curvature
            errors[k] = math.sqrt(ones / curvature)
    return depths, errors, shares[0], shares[1], shares[2]


# --- depths of groups of events --------------------------------------------------------------------------------------


class OddEven(NamedTuple):
    """Depths of the odd and of the even transits, the one at the epoch being even, and their standard errors."""

    odd_ppm: float
    odd_err_ppm: float
    even_ppm: float
    even_err_ppm: float


class ProductDepth(NamedTuple):
    """Depth and standard error in one product: its place in the light curve's products, and its transits."""

    product: int
    n_transits: int
    depth_ppm: float
    depth_err_ppm: float


def odd_even(curve: FlatCurve, tce: Tce, others: Sequence[Tce] = ()) -> OddEven | None:
    """Odd against even depths, each event against its own light; None with fewer than two of either [rule 22].

    others: all signals of the star, whose transits are left out. Errors are those of the star's noise, or those that
    the scatter of the depths within either group asks for where that is larger.
    """
    return split_odd_even(look_at(curve, tce, others).events)


def depths_by_product(curve: FlatCurve, tce: Tce, others: Sequence[Tce] = ()) -> list[ProductDepth]:
    """The depth in each product (sector, quarter) that holds a transit, in order of time."""
    return split_products(look_at(curve, tce, others))


def split_odd_even(events: Events) -> OddEven | None:
    odd = events.number % 2 == 1
    if min(odd.sum(), (~odd).sum()) < 2:
        return None
    means = [mean_depth(events, group) for group in (odd, ~odd)]
    errors = with_shape_error(events.depth, events.error)
    pulls = [((events.depth - mean) / errors)[group] for group, (mean, _) in zip((odd, ~odd), means, strict=True)]
    scatter = math.sqrt(float(np.square(np.concatenate(pulls)).sum()) / (len(odd) - 2))
    (one, one_err), (other, other_err) = ((1e6 * mean, 1e6 * error * max(1.0, scatter)) for mean, error in means)
    return OddEven(one, one_err, other, other_err)


def split_products(light: Light) -> list[ProductDepth]:
    events = light.events
    product = np.searchsorted(light.starts, events.middle, side="right") - 1
    depths = []
    for place in np.unique(product):
        depth, error = mean_depth(events, product == place)
        depths.append(ProductDepth(int(max(place, 0)), int((product == place).sum()), 1e6 * depth, 1e6 * error))
    return depths


def mean_depth(events: Events, group: Mask) -> tuple[float, float]:
    """Weighted mean depth of some events and its standard error, fractions."""
    weights = 1 / with_shape_error(events.depth, events.error)[group] ** 2
    return float(np.average(events.depth[group], weights=weights)), float(1 / math.sqrt(weights.sum()))


def with_shape_error(depth: Floats, error: Floats) -> Floats:
    """Errors of depths with that of the trapezoid itself."""
    errors: Floats = np.hypot(error, SHAPE_ERROR * float(np.median(depth))) if len(depth) else error
    return errors
