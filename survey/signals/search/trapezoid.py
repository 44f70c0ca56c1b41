"""The ephemeris of a signal: a trapezoid fitted to the dips about its transits by weighted least squares.

A trapezoid has the flanks that a box lacks, and flanks are what times are measured on (Carter et al. 2008). The model
is averaged over each bin of the light curve, so that it has no corners and that a coarse cadence is allowed for: with
R2(u) = max(u, 0)^2 / 2, the mean of a trapezoid over [x - h, x + h] is a sum of eight R2.
"""

import math
from dataclasses import dataclass

import numba
import numpy as np

from survey.signals.search.curve import Dips, Mask
from survey.signals.search.refine import Measure, first_transit, weighted_mean

_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy"}

WINDOW = 1.5
"""Half width of what is fitted, in durations of the box."""

STEPS = 12

# Base, depth, shift, drift, half width at half depth, ingress; in depths and durations of the box. Where the data say
# nothing, the priors stand: a transit of a box's width with the ingress of a small planet.
PRIOR_MEANS = (0.0, 1.0, 0.0, 0.0, 0.5, 0.12)
PRIOR_ERRORS = (0.5, 1.0, 0.3, 0.6, 0.08, 0.06)
DRIFT = 3
SHORTEST_INGRESS = 0.02

SHAPE_DOUBT = 8.0
"""Errors grow by the root of 1 + (this / MES)^2: the shape that times are measured with was fitted to the same
noise."""

GRID = 16
REACH = 8.0
"""Epochs and drifts are weighed on a grid of 2 GRID + 1 values each, this many standard errors of the fit to either
side: of a weak signal the flanks fit noise, and chi square has more than one minimum."""

GROUPS = 24
"""Events that are neighbours in time are weighed together, in this many groups."""

FINE = 200
"""Steps of a duration in which the shape is tabulated."""


@dataclass(frozen=True)
class Trapezoid:
    """period, epoch (first transit in the data), duration (first to last contact), ingress: days; depth: of the floor,
    a fraction; standard errors of four of them, NaN for the period of a single transit and for what was not fitted."""

    period: float
    epoch: float
    duration: float
    ingress: float
    depth: float
    period_err: float
    epoch_err: float
    depth_err: float
    ingress_err: float = math.nan


def fit_trapezoid(dips: Dips, keep: Mask, measured: Measure) -> Trapezoid:
    """The trapezoid that fits best near a box, or the box itself, with wide errors, where none settles on the dip.

    Errors are those of noise that is white but for the star's noise ratio at this duration.
    """
    box = measured.box
    star = (dips.time, dips.dip, dips.weight, keep)
    number, offset, dip, weight = _gather(star, box.period, box.epoch, min(WINDOW * box.duration, box.period / 2))
    if not (measured.depth > 0 and len(number) >= len(PRIOR_MEANS)):
        return _of_box(measured)
    middle = float(np.average(number, weights=weight))
    span = max(float(np.abs(number - middle).max()), 1.0)
    scaled = (
        (number - middle) / span,
        offset / box.duration,
        dip / measured.depth,
        weight * (measured.depth / measured.beta) ** 2,
        dips.step / (2 * box.duration),
    )
    prior_errors = np.array(PRIOR_ERRORS)
    if number[0] == number[-1]:
        prior_errors[DRIFT] = 1e-9
    values, covariance = _fit(*scaled, np.array(PRIOR_MEANS), prior_errors)
    _, floor, shift, _, half, ingress = values
    errors = np.sqrt(np.diag(covariance))
    if not (np.isfinite(errors).all() and floor > 0 and abs(shift) < 1):
        return _of_box(measured)
    shift, drift, shift_var, drift_var, covariance_of_both = _weigh(*scaled, values, errors)
    lever = middle / span
    epoch_var = shift_var + lever**2 * drift_var - 2 * lever * covariance_of_both
    period = float(box.period + drift * box.duration / span)
    epoch = float(box.epoch + (shift - drift * lever) * box.duration)
    doubt = box.duration * math.hypot(1.0, SHAPE_DOUBT / measured.mes)
    return Trapezoid(
        period=period,
        epoch=first_transit(epoch, period, float(dips.time[np.argmax(keep)])),
        duration=float((2 * half + ingress) * box.duration),
        ingress=float(ingress * box.duration),
        depth=float(floor * measured.depth),
        period_err=math.sqrt(drift_var) / span * doubt if number[0] != number[-1] else math.nan,
        epoch_err=math.sqrt(max(epoch_var, 0.0)) * doubt,
        depth_err=float(errors[1] * measured.depth),
        ingress_err=float(errors[5] * box.duration),
    )


def _of_box(measured: Measure) -> Trapezoid:
    """A box as a trapezoid without flanks; each transit is known to a quarter of its duration."""
    box, events = measured.box, measured.events
    error = box.duration / 4
    spread = math.sqrt(float(((events - events.mean()) ** 2).sum()))
    return Trapezoid(
        period=box.period,
        epoch=box.epoch,
        duration=box.duration,
        ingress=0.0,
        depth=measured.depth,
        period_err=error / spread if spread > 0 else math.nan,
        epoch_err=error,
        depth_err=measured.depth_err,
    )


@numba.njit(**_OPTIONS)
def _gather(star, period, epoch, half):  # type: ignore[no-untyped-def]
    """(transit number, days from it, dip, weight) of the bins within `half` days of a transit."""
    time, dip, weight, keep = star
    mean = weighted_mean(dip, weight, keep)[2]
    number, offset = np.empty(time.size), np.empty(time.size)
    dips, weights = np.empty(time.size), np.empty(time.size)
    count = 0
    for i in range(time.size):
        cycle = math.floor((time[i] - epoch) / period + 0.5)
        x = time[i] - epoch - cycle * period
        if keep[i] and abs(x) < half:
            number[count], offset[count], dips[count], weights[count] = cycle, x, dip[i] - mean, weight[i]
            count += 1
    return number[:count], offset[:count], dips[:count], weights[:count]


@numba.njit(**_OPTIONS)
def _fit(number, offset, dip, weight, bin_half, means, errors):  # type: ignore[no-untyped-def]
    """Levenberg-Marquardt from the prior means. Returns (parameters, covariance)."""
    values = means.copy()
    chi2, normal, gradient = _normal_equations(number, offset, dip, weight, bin_half, values, means, errors)
    damping = 1e-3
    for _ in range(STEPS):
        damped = normal.copy()
        for k in range(values.size):
            damped[k, k] *= 1 + damping
        trial = values + np.linalg.solve(damped, gradient)
        trial[4] = min(max(trial[4], 0.1), 1.2)
        trial[5] = min(max(trial[5], SHORTEST_INGRESS), 2 * trial[4])
        trial_chi2, trial_normal, trial_gradient = _normal_equations(
            number, offset, dip, weight, bin_half, trial, means, errors
        )
        if trial_chi2 < chi2:
            gain = chi2 - trial_chi2
            values, chi2, normal, gradient = trial, trial_chi2, trial_normal, trial_gradient
            damping *= 0.1
            if gain < 1e-3:
                break
        else:
            damping *= 10
            if damping > 1e6:
                break
    return values, np.linalg.inv(normal)


@numba.njit(inline="always", **_OPTIONS)
def _ramp(u):  # type: ignore[no-untyped-def]
    return u if u > 0 else 0.0


@numba.njit(inline="always", **_OPTIONS)
def _step_mean(u, h):  # type: ignore[no-untyped-def]
    """Integral of the unit step over [u - h, u + h]: the derivative of `_ramp_mean`."""
    return _ramp(u + h) - _ramp(u - h)


@numba.njit(inline="always", **_OPTIONS)
def _ramp_mean(u, h):  # type: ignore[no-untyped-def]
    """Integral of max(u, 0) over [u - h, u + h]."""
    above, below = _ramp(u + h), _ramp(u - h)
    return 0.5 * (above * above - below * below)


@numba.njit(inline="always", **_OPTIONS)
def _shape(x, inner, outer, h):  # type: ignore[no-untyped-def]
    """The trapezoid averaged over a bin, times ingress and bin."""
    flanks = _ramp_mean(x + outer, h) + _ramp_mean(x - outer, h)
    return flanks - _ramp_mean(x + inner, h) - _ramp_mean(x - inner, h)


@numba.njit(inline="always", **_OPTIONS)
def trapezoid_at(x, duration, ingress, half_bin):  # type: ignore[no-untyped-def]
    """A trapezoid of depth 1, averaged over a bin of two `half_bin`, `x` days from its middle."""
    outer = 0.5 * duration
    if abs(x) >= outer + half_bin:
        return 0.0
    return _shape(x, outer - ingress, outer, half_bin) / (ingress * 2 * half_bin)


@numba.njit(**_OPTIONS)
def _normal_equations(number, offset, dip, weight, h, values, means, errors):  # type: ignore[no-untyped-def]
    """(chi square, normal matrix, gradient) of the trapezoid and its priors."""
    base, depth, shift, drift, half, ingress = values
    inner, outer = half - ingress / 2, half + ingress / 2
    norm = 1.0 / (ingress * 2 * h)
    size = values.size
    normal, gradient, slope = np.zeros((size, size)), np.zeros(size), np.empty(size)
    chi2 = 0.0
    for k in range(size):
        pull = (means[k] - values[k]) / errors[k]
        chi2 += pull * pull
        normal[k, k] = 1 / errors[k] ** 2
        gradient[k] = pull / errors[k]
    slope[0] = 1.0
    for i in range(offset.size):
        x = offset[i] - shift - drift * number[i]
        shape, by_time, by_outer, by_inner = 0.0, 0.0, 0.0, 0.0
        if abs(x) < outer + h:
            outer_left, outer_right = _step_mean(x + outer, h), _step_mean(x - outer, h)
            inner_left, inner_right = _step_mean(x + inner, h), _step_mean(x - inner, h)
            shape = norm * _shape(x, inner, outer, h)
            by_time = -norm * (outer_left - inner_left - inner_right + outer_right)
            by_outer = norm * (outer_left - outer_right)
            by_inner = norm * (inner_right - inner_left)
        slope[1] = shape
        slope[2] = depth * by_time
        slope[3] = slope[2] * number[i]
        slope[4] = depth * (by_outer + by_inner)
        slope[5] = depth * ((by_outer - by_inner) / 2 - shape / ingress)
        residual = dip[i] - base - depth * shape
        chi2 += weight[i] * residual * residual
        for k in range(size):
            pull = weight[i] * slope[k]
            gradient[k] += pull * residual
            for m in range(k + 1):
                normal[k, m] += pull * slope[m]
    for k in range(size):
        for m in range(k):
            normal[m, k] = normal[k, m]
    return chi2, normal, gradient


@numba.njit(**_OPTIONS)
def _weigh(number, offset, dip, weight, h, values, errors):  # type: ignore[no-untyped-def]
    """Mean shift and drift, their variances and covariance, over the likelihood about a fit whose shape is kept."""
    base, depth, shift, drift, half, ingress = values
    inner, outer = half - ingress / 2, half + ingress / 2
    norm = 1.0 / (ingress * 2 * h)
    edge = outer + h
    shape = np.zeros(int(edge * FINE) + 2)
    for k in range(shape.size):
        x = k / FINE
        if x < edge:
            shape[k] = norm * _shape(x, inner, outer, h)
    t_step, q_step = REACH * errors[2] / GRID, REACH * errors[3] / GRID
    # Shifts that a group may have: those of the epoch, and on either side those of the drift.
    s_size = 2 * (GRID + math.ceil(GRID * q_step / t_step)) + 3
    middle = s_size // 2
    table, means, filled = np.zeros((GROUPS, s_size)), np.zeros(GROUPS), np.zeros(GROUPS)
    for i in range(offset.size):
        g = min(int((number[i] + 1) / 2 * GROUPS), GROUPS - 1)
        means[g] += number[i]
        filled[g] += 1
        x = offset[i] - shift - drift * number[i]
        residual = dip[i] - base
        for s in range(s_size):
            place = abs(x - (s - middle) * t_step)
            if place < edge:
                model = depth * shape[int(place * FINE + 0.5)]
                table[g, s] += weight[i] * model * (residual - 0.5 * model)
    size = 2 * GRID + 1
    gains = np.zeros((size, size))
    for g in range(GROUPS):
        if filled[g] > 0:
            lever = means[g] / filled[g] * q_step / t_step
            for a in range(size):
                for b in range(size):
                    place = middle + (a - GRID) + (b - GRID) * lever
                    s = int(place)
                    above = place - s
                    gains[a, b] += (1 - above) * table[g, s] + above * table[g, s + 1]
    top = gains.max()
    total, t_sum, q_sum, tt_sum, qq_sum, tq_sum = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for a in range(size):
        for b in range(size):
            share = math.exp(gains[a, b] - top)
            t, q = (a - GRID) * t_step, (b - GRID) * q_step
            total += share
            t_sum += share * t
            q_sum += share * q
            tt_sum += share * t * t
            qq_sum += share * q * q
            tq_sum += share * t * q
    t_mean, q_mean = t_sum / total, q_sum / total
    # Where one place of the grid has all the weight, the grid's own resolution is what is known.
    return (
        shift + t_mean,
        drift + q_mean,
        max(tt_sum / total - t_mean**2, 0.0) + t_step**2 / 12,
        max(qq_sum / total - q_mean**2, 0.0) + q_step**2 / 12,
        tq_sum / total - t_mean * q_mean,
    )
