"""From a peak of the spectrum to a measured signal: exact weights, exact times, one star at a time."""

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from survey.signals.search.curve import Dips, Mask
from survey.signals.search.noise import noise_ratios
from survey.signals.search.plan import DensityRung, central_duration

Floats = NDArray[np.float64]

_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy"}

COARSE_BINS = 3
"""Phase bins across the shortest duration where a box is first looked for; those of the engines."""

WIDTH_STEP = 1.2
SPAN = 2.0
REACH = 1.5
"""Durations are refined up to this factor beyond those of the search on either side."""

WINDOW = 2.0
"""Half width of the stretches about the transits that the finer scan looks at, in durations."""

LEVELS = ((8, 4), (16, 12))
"""(phase bins, steps of drift over the baseline) across the duration in the two finer scans."""

HARMONICS = (1.0, 2.0, 0.5, 1 / 3, 0.25)
"""Multiples of the period at which a sine is fitted: pulsation and rotation hide at any of them."""

SINE_BINS = 64

EVENT_COVERAGE = 0.3
"""An event counts as observed when it holds this share of the weight of a full one."""

WHOLE_COVERAGE = 0.5
"""A whole event holds this share of it: beside gaps, light curves ramp, and pieces of ramps pass for dips."""

MISSING_DEPTH = 0.25
MISSING_SIGMAS = 5.0
"""A missing event is shallower than this share of the usual depth, beyond doubt."""

PROFILE_EVENTS = 8
"""With fewer events the noise is measured beside the transits, with more after subtracting their mean profile."""

LEAST_BINS = 10


@dataclass(frozen=True)
class Box:
    """A box-shaped dip: period, middle of the first transit inside the data, duration; all days."""

    period: float
    epoch: float
    duration: float


@dataclass(frozen=True)
class Measure:
    """What a star's light curve says about one Box; depth is a fraction.

    event_weights: sum of 1 / variance in each event; full_weight: that of an event without gaps.
    """

    box: Box
    depth: float
    depth_err: float
    snr: float
    mes: float
    pink_snr: float
    beta: float
    n_transits: int
    n_whole: int
    n_missing: int
    max_ses: float
    rest_mes: float
    top_share: float
    typical_share: float
    events: NDArray[np.int64]
    event_depths: Floats
    event_weights: Floats
    full_weight: float


# --- the best box --------------------------------------------------------------------------------------------------


def refine(dips: Dips, keep: Mask, period: float, period_step: float, rung: DensityRung) -> Box | None:
    """The best box within SPAN steps of a trial period, or None when nothing is left to fit there.

    The trial period tells where the dips are: one fold of every stretch finds phase and duration. From then on only
    bins near those dips are looked at, on a grid of periods, phases and durations that is refined once.
    """
    shortest = max(rung.shortest / REACH * central_duration(period), dips.step)
    longest = min(rung.longest * REACH * central_duration(period), 0.4 * period)
    power, best_period, epoch, duration = _refine(
        (dips.time, dips.dip, dips.weight, keep),
        np.array(dips.blocks),
        period,
        SPAN * period_step,
        shortest,
        max(shortest, longest),
    )
    if power <= 0:
        return None
    return Box(best_period, first_transit(epoch, best_period, float(dips.time[np.argmax(keep)])), duration)


def first_transit(epoch: float, period: float, start: float) -> float:
    """The first mid-transit at or after `start`."""
    return epoch + math.ceil((start - epoch) / period) * period


@numba.njit(**_OPTIONS)
def _refine(star, blocks, period, span, shortest, longest):  # type: ignore[no-untyped-def]
    """(squared SNR, period, mid-transit time, duration) of the best box with periods within `span` of `period`."""
    time, dip, weight, keep = star
    count, total, mean = weighted_mean(dip, weight, keep)
    if count < LEAST_BINS:
        return 0.0, period, 0.0, 0.0
    best_power, epoch, duration = 0.0, 0.0, 0.0
    for k in range(blocks.shape[0]):
        first, stop = blocks[k]
        middle = (time[first] + time[stop - 1]) / 2
        part = (time[first:stop], dip[first:stop], weight[first:stop], keep[first:stop])
        power, phase, width = _scan_phases(part, mean, middle, period, shortest, longest)
        if power > best_power:
            best_power, duration = power, width
            epoch = phase
    if best_power <= 0:
        return 0.0, period, 0.0, 0.0
    near = _gather(star, mean, period, span, epoch, WINDOW * duration)
    baseline = max(time[-1] - time[0], period)
    drift, shift, power = 0.0, 0.0, 0.0
    half_span = span
    for level in range(2):
        bins, steps = LEVELS[level]
        step = period * duration / (steps * baseline)
        n_steps = max(1, math.ceil(half_span / step))
        low = max(shortest, duration / 1.5)
        high = min(longest, duration * 1.5)
        power, drift, shift, duration = _scan_drifts(
            near, total, drift, half_span / n_steps, n_steps, shift, duration, bins, low, high
        )
        if power <= 0:
            return 0.0, period, 0.0, 0.0
        half_span = half_span / n_steps
    return power, period + drift, epoch + shift, duration


@numba.njit(**_OPTIONS)
def weighted_mean(dip, weight, keep):  # type: ignore[no-untyped-def]
    """(number, total weight, mean dip) of the bins that are kept."""
    count, total, mean = 0, 0.0, 0.0
    for i in range(dip.size):
        if keep[i]:
            count += 1
            total += weight[i]
            mean += weight[i] * dip[i]
    return count, total, mean / total if total > 0 else 0.0


@numba.njit(**_OPTIONS)
def _scan_phases(star, mean, zero, period, shortest, longest):  # type: ignore[no-untyped-def]
    """(squared SNR, mid-transit time, duration) of the best box at one period; time counts from `zero`."""
    time, dip, weight, keep = star
    n = max(math.ceil(period / shortest * COARSE_BINS), 8)
    tau = period / n
    widest = max(1, min(round(longest / tau) + 1, n - 1))
    x_sums, w_sums = np.zeros(n + widest + 1), np.zeros(n + widest + 1)
    frequency = 1.0 / period
    for i in range(time.size):
        if keep[i]:
            cycles = (time[i] - zero) * frequency
            j = min(int((cycles - math.floor(cycles)) * n), n - 1)
            x_sums[j + 1] += weight[i] * (dip[i] - mean)
            w_sums[j + 1] += weight[i]
    for j in range(widest):
        x_sums[n + j + 1], w_sums[n + j + 1] = x_sums[j + 1], w_sums[j + 1]
    for j in range(n + widest):
        x_sums[j + 1] += x_sums[j]
        w_sums[j + 1] += w_sums[j]
    total = w_sums[n]
    best_power, best_phase, best_width = 0.0, 0.0, 0.0
    width = max(1, round(shortest / tau))
    while True:
        power, j = _best_box(x_sums, w_sums, n, width, total, 0.3 * total * width / n)
        if power > best_power:
            best_power, best_phase, best_width = power, (j + 0.5 * width) * tau, width * tau
        if width >= widest:
            return best_power, zero + best_phase, best_width
        width = min(widest, max(width + 1, round(width * WIDTH_STEP)))


@numba.njit(inline="always", **_OPTIONS)
def _best_box(x_sums, w_sums, n, width, total, least):  # type: ignore[no-untyped-def]
    """(squared SNR, first bin) of the best of `n` boxes of one width in running sums; `least`: weight it must hold."""
    best, place = 0.0, 0
    for j in range(n):
        x = x_sums[j + width] - x_sums[j]
        w = w_sums[j + width] - w_sums[j]
        if x > 0 and w > least and w < 0.9 * total and x * x * total > best * (w * (total - w)):
            best, place = x * x * total / (w * (total - w)), j
    return best, place


@numba.njit(**_OPTIONS)
def _gather(star, mean, period, span, epoch, half):  # type: ignore[no-untyped-def]
    """Bins that lie within `half` days of a transit at any period within `span`.

    Returns (transit number, days from it, weight * dip, weight), transits counted from `epoch`.
    """
    time, dip, weight, keep = star
    number, offset = np.empty(time.size), np.empty(time.size)
    signal, weights = np.empty(time.size), np.empty(time.size)
    count = 0
    for i in range(time.size):
        cycle = math.floor((time[i] - epoch) / period + 0.5)
        x = time[i] - epoch - cycle * period
        if keep[i] and abs(x) < half + abs(cycle) * span:
            number[count], offset[count] = cycle, x
            signal[count], weights[count] = weight[i] * (dip[i] - mean), weight[i]
            count += 1
    return number[:count], offset[:count], signal[:count], weights[:count]


@numba.njit(**_OPTIONS)
def _scan_drifts(  # type: ignore[no-untyped-def]
    near, total, drift, step, n_steps, shift, duration, bins, shortest, longest
):
    """(squared SNR, drift, shift, duration) of the best box about `shift`, with the period longer by `drift`."""
    number, offset, signal, weight = near
    tau = duration / bins
    half = WINDOW * duration
    n = 2 * math.ceil(half / tau)
    narrowest, widest = max(1, math.ceil(shortest / tau - 1e-9)), max(1, min(math.floor(longest / tau + 1e-9), n - 1))
    x_sums, w_sums = np.empty(n + 1), np.empty(n + 1)
    best_power, best_drift, best_shift, best_duration = 0.0, drift, shift, duration
    for k in range(-n_steps, n_steps + 1):
        x_sums[:] = 0
        w_sums[:] = 0
        here = drift + k * step
        for i in range(number.size):
            place = (offset[i] - number[i] * here - shift + half) / tau
            if 0 <= place < n:
                j = int(place)
                x_sums[j + 1] += signal[i]
                w_sums[j + 1] += weight[i]
        for j in range(n):
            x_sums[j + 1] += x_sums[j]
            w_sums[j + 1] += w_sums[j]
        width = narrowest
        while width <= widest:
            # The dip is there: a box need not be covered evenly, but must hold a fair share of what the window holds.
            power, j = _best_box(x_sums, w_sums, n - width + 1, width, total, 0.3 * w_sums[n] * width / n)
            if power > best_power:
                best_power, best_drift = power, here
                best_shift, best_duration = shift - half + (j + 0.5 * width) * tau, width * tau
            width = max(width + 1, round(width * 1.1))
    return best_power, best_drift, best_shift, best_duration


# --- its events and its noise --------------------------------------------------------------------------------------


def measure(dips: Dips, keep: Mask, box: Box) -> Measure | None:
    """Depth, noise and events of a box, each cadence inside or outside; None when either is empty.

    snr: depth over its white-noise error. beta: robust scatter of the single-event statistic at this duration once the
    signal is taken out, at least 1. mes = snr / beta; pink_snr: see `pink_noise_snr`. rest_mes: share of the mes
    without the best event; top_share: share of the signal in the best event; typical_share: median over mean depth of
    the events; n_whole: events that are well covered and have data right before and after; n_missing: well covered
    events without the dip that the others have.
    """
    star = (dips.time, dips.dip, dips.weight, keep)
    w_in, w_out, depth, first, signals, weights, before, after = _sum_events(star, box.period, box.epoch, box.duration)
    if w_in <= 0 or w_out <= 0:
        return None
    white_err = math.sqrt(1 / w_in + 1 / w_out)
    full = typical_weight(dips) * max(box.duration / dips.step, 1.0)
    seen = np.flatnonzero(weights > EVENT_COVERAGE * full)
    if not len(seen):
        return None
    whole = (weights > WHOLE_COVERAGE * full) & (np.minimum(before, after) > EVENT_COVERAGE * full)
    signals, weights = signals[seen], weights[seen]
    depths = signals / weights
    usual = float(np.median(depths))
    beta = noise_ratio(dips, keep, box, len(seen))
    gone = usual - np.maximum(MISSING_SIGMAS * beta / np.sqrt(weights), (1 - MISSING_DEPTH) * usual)
    missing = (depths < gone) & (weights > WHOLE_COVERAGE * full)
    single = signals / np.sqrt(weights)
    best = int(np.argmax(single))
    signal, weight = float(signals.sum()), float(weights.sum())
    rest_weight = weight - weights[best]
    total = signal / math.sqrt(weight)
    rest = (signal - signals[best]) / math.sqrt(rest_weight) if rest_weight > 0 else 0.0
    snr = float(depth / white_err)
    return Measure(
        box=box,
        depth=depth,
        depth_err=white_err * beta,
        snr=snr,
        mes=snr / beta,
        pink_snr=pink_noise_snr(depth, weights, full, w_out, beta),
        beta=beta,
        n_transits=len(seen),
        n_whole=int(np.count_nonzero(whole)),
        n_missing=int(np.count_nonzero(missing)),
        max_ses=float(single[best]) / beta,
        rest_mes=float(rest / total) if total > 0 else 0.0,
        top_share=float(signals[best] / signal) if signal > 0 else 1.0,
        typical_share=usual * weight / signal if signal > 0 else 0.0,
        events=seen + first,
        event_depths=depths,
        event_weights=weights,
        full_weight=full,
    )


@numba.njit(**_OPTIONS)
def _sum_events(star, period, epoch, duration):  # type: ignore[no-untyped-def]
    """Sums inside and outside the transits, and in each event.

    Returns (weight inside, weight outside, depth, number of the first event, then for every event: signal over the
    level outside, weight, weight in the duration before and in the one after).
    """
    time, dip, weight, keep = star
    first = math.floor((time[0] - epoch) / period + 0.5)
    n = math.floor((time[-1] - epoch) / period + 0.5) - first + 1
    signals, weights, before, after = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    x_in, w_in, x_out, w_out = 0.0, 0.0, 0.0, 0.0
    half = duration / 2
    for i in range(time.size):
        if not keep[i]:
            continue
        cycle = math.floor((time[i] - epoch) / period + 0.5)
        x = time[i] - epoch - cycle * period
        k = cycle - first
        if abs(x) < half:
            signals[k] += weight[i] * dip[i]
            weights[k] += weight[i]
            x_in += weight[i] * dip[i]
            w_in += weight[i]
            continue
        x_out += weight[i] * dip[i]
        w_out += weight[i]
        if -3 * half <= x < 0:
            before[k] += weight[i]
        elif 0 < x < 3 * half:
            after[k] += weight[i]
    if w_in <= 0 or w_out <= 0:
        return w_in, w_out, 0.0, first, signals, weights, before, after
    base = x_out / w_out
    for k in range(n):
        signals[k] -= weights[k] * base
    return w_in, w_out, x_in / w_in - base, first, signals, weights, before, after


def typical_weight(dips: Dips) -> float:
    """Median weight of a step of the grid where there is data, from a thousand places."""
    return float(_typical_weight(dips.weight, dips.cell))


@numba.njit(**_OPTIONS)
def _typical_weight(weight, cell):  # type: ignore[no-untyped-def]
    # Several bins together: where cadence and grid are alike, one bin may hold two cadences and the next one none.
    together = min(8, weight.size - 1)
    if together < 1:
        return weight[0]
    stride = max(1, weight.size // 1000)
    sample = np.empty((weight.size - together - 1) // stride + 1)
    for k in range(sample.size):
        i = k * stride
        sample[k] = weight[i : i + together].sum() / (cell[i + together] - cell[i])
    return np.median(sample)


def pink_noise_snr(depth: float, weights: Floats, full: float, w_out: float, beta: float) -> float:
    """Signal-to-pink-noise ratio: depth over its error in noise that is correlated within an event (Pont, Zucker &
    Queloz 2006, eq. 7).

    The mean of an event with weight w has the variance 1/w of white noise and that of the red noise, (beta^2 - 1) /
    full: beta is the scatter of whole events, of weight `full`, over white. Averaging cadences helps against the
    first only. Where all events are whole this equals the MES; events that gaps cut short count for more in
    the MES than they should.
    """
    red = (beta**2 - 1) / full
    variance = float((weights**2 * (1 / weights + red)).sum() / weights.sum() ** 2)
    return depth / math.sqrt(variance + beta**2 / w_out)


def noise_ratio(dips: Dips, keep: Mask, box: Box, n_events: int) -> float:
    """Noise at the box's duration over white noise, with the box's own signal taken out."""
    cell, residual, weight = _residuals(
        (dips.time, dips.dip, dips.weight, keep),
        dips.cell,
        box.period,
        box.epoch,
        box.duration,
        n_events >= PROFILE_EVENTS,
    )
    if len(residual) < LEAST_BINS:
        return 1.0
    width = max(1, round(box.duration / dips.step))
    return float(noise_ratios(cell, residual, weight, np.array([width]))[0])


@numba.njit(**_OPTIONS)
def _residuals(star, cell, period, epoch, duration, subtract):  # type: ignore[no-untyped-def]
    """(cell, dip, weight) without the signal: its mean profile subtracted, or two durations about it left out."""
    time, dip, weight, keep = star
    n = max(8, math.ceil(4 * period / duration))
    profile = _profile(star, period, epoch, n) if subtract else np.zeros(1)
    cells, residual, weights = np.empty(time.size, np.int64), np.empty(time.size), np.empty(time.size)
    count = 0
    for i in range(time.size):
        if not keep[i]:
            continue
        cycles = (time[i] - epoch) / period
        phase = cycles - math.floor(cycles)
        if subtract:
            place = phase * n - 0.5
            j = math.floor(place)
            above = place - j
            model = (1 - above) * profile[(j + n) % n] + above * profile[(j + 1) % n]
        elif min(phase, 1 - phase) * period > duration:
            model = 0.0
        else:
            continue
        cells[count], residual[count], weights[count] = cell[i], dip[i] - model, weight[i]
        count += 1
    return cells[:count], residual[:count], weights[:count]


@numba.njit(**_OPTIONS)
def _profile(star, period, epoch, n):  # type: ignore[no-untyped-def]
    """The mean dip in `n` bins of phase."""
    time, dip, weight, keep = star
    x, w = np.zeros(n), np.zeros(n)
    for i in range(time.size):
        if keep[i]:
            cycles = (time[i] - epoch) / period
            j = min(int((cycles - math.floor(cycles)) * n), n - 1)
            x[j] += weight[i] * dip[i]
            w[j] += weight[i]
    for j in range(n):
        x[j] = x[j] / w[j] if w[j] > 0 else 0.0
    return x


def box_over_sine(dips: Dips, keep: Mask, measured: Measure) -> float:
    """SNR of the box over that of the best sine at a harmonic of its period: below about 1.2 it is no transit."""
    box = measured.box
    best = max(_sine_snr(dips, keep, box.epoch, box.period * multiple) for multiple in HARMONICS)
    return measured.snr / best if best > 0 else math.inf


def _sine_snr(dips: Dips, keep: Mask, epoch: float, period: float) -> float:
    """Square root of the gain in chi square of a weighted sine over a constant, from phase bins."""
    x, w = _fold_means((dips.time, dips.dip, dips.weight, keep), epoch, period, SINE_BINS)
    angle = 2 * np.pi * (np.arange(SINE_BINS) + 0.5) / SINE_BINS
    design = np.stack([np.ones(SINE_BINS), np.sin(angle), np.cos(angle)])
    normal = (design * w) @ design.T
    right = design @ x
    solution = np.linalg.lstsq(normal, right, rcond=None)[0]
    gain = solution @ right - x.sum() ** 2 / w.sum()
    return math.sqrt(max(gain, 0.0))


@numba.njit(**_OPTIONS)
def _fold_means(star, epoch, period, n):  # type: ignore[no-untyped-def]
    """(weight * dip, weight) in `n` bins of phase, dips over their mean."""
    time, dip, weight, keep = star
    mean = weighted_mean(dip, weight, keep)[2]
    x, w = np.zeros(n), np.zeros(n)
    for i in range(time.size):
        if keep[i]:
            cycles = (time[i] - epoch) / period
            j = min(int((cycles - math.floor(cycles)) * n), n - 1)
            x[j] += weight[i] * (dip[i] - mean)
            w[j] += weight[i]
    return x, w


def in_transit(dips: Dips, box: Box, width: float) -> Mask:
    """Bins within `width` durations about a transit, and at least one bin on either side of it."""
    phase = np.abs((dips.time - box.epoch + box.period / 2) % box.period - box.period / 2)
    return phase < max(width * box.duration, box.duration + 2 * dips.step) / 2
