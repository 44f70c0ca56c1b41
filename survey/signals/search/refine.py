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

PHASE_BINS_PER_DURATION = 6
WIDTH_STEP = 1.15
SPAN = 2.0
REACH = 1.5
"""Durations are refined up to this factor beyond those of the search on either side."""

HARMONICS = (1.0, 2.0, 0.5, 1 / 3, 0.25)
"""Multiples of the period at which a sine is fitted: pulsation and rotation hide at any of them."""

EVENT_COVERAGE = 0.3
"""An event counts as observed when it holds this share of the weight of a full one."""

WHOLE_COVERAGE = 0.5
"""A whole event holds this share of it: beside gaps, light curves ramp, and pieces of ramps pass for dips."""

PROFILE_EVENTS = 8
"""With fewer events the noise is measured beside the transits, with more after subtracting their mean profile."""


@dataclass(frozen=True)
class Box:
    """A box-shaped dip: period, middle of the first transit inside the data, duration; all days."""

    period: float
    epoch: float
    duration: float


@dataclass(frozen=True)
class Measure:
    """What a star's light curve says about one Box; depth is a fraction."""

    box: Box
    depth: float
    depth_err: float
    snr: float
    mes: float
    beta: float
    n_transits: int
    n_whole: int
    max_ses: float
    rest_mes: float
    top_share: float
    typical_share: float
    events: NDArray[np.int64]
    event_depths: Floats
    event_weights: Floats


def refine(dips: Dips, keep: Mask, period: float, period_step: float, rung: DensityRung) -> Box | None:
    """The best box within SPAN steps of a trial period, or None when nothing is left to fit there.

    First a grid of periods that drift by a quarter of the shortest duration over the whole baseline, then a finer one
    about its best with phases resolved to the duration found.
    """
    time, dip, weight = _kept(dips, keep)
    if len(time) < 10:
        return None
    shortest = max(rung.shortest / REACH * central_duration(period), dips.step)
    longest = min(rung.longest * REACH * central_duration(period), 0.4 * period)
    longest = max(longest, shortest)
    reference = float(time[0])
    step = period * shortest / 4 / max(time[-1] - reference, period)
    count = max(4, math.ceil(SPAN * period_step / step))
    step = SPAN * period_step / count
    periods = period + np.arange(-count, count + 1) * step
    coarse = _scan(time - reference, dip, weight, periods, shortest, shortest, longest)
    if coarse is None:
        return None
    periods = coarse.period + np.linspace(-step, step, 9)
    fine = _scan(
        time - reference, dip, weight, periods, shortest, max(shortest, coarse.duration / 1.5), coarse.duration * 1.3
    )
    best = fine or coarse
    return Box(best.period, first_transit(best.epoch + reference, best.period, reference), best.duration)


def first_transit(epoch: float, period: float, start: float) -> float:
    """The first mid-transit at or after `start`."""
    return epoch + math.ceil((start - epoch) / period) * period


def _kept(dips: Dips, keep: Mask) -> tuple[Floats, Floats, Floats]:
    time, dip, weight = dips.time[keep], dips.dip[keep], dips.weight[keep]
    if len(time):
        dip = dip - np.average(dip, weights=weight)
    return time, dip, weight


def _scan(
    time: Floats, dip: Floats, weight: Floats, periods: Floats, resolved: float, shortest: float, longest: float
) -> Box | None:
    n_widths = 1 + max(0, round(math.log(longest / shortest) / math.log(WIDTH_STEP)))
    durations = shortest * WIDTH_STEP ** np.arange(n_widths)
    power, k, phase, width = _scan_boxes(
        time, dip * weight, weight, periods, durations, resolved / PHASE_BINS_PER_DURATION
    )
    if power <= 0:
        return None
    return Box(float(periods[k]), phase, width)


@numba.njit(**_OPTIONS)
def _scan_boxes(time, signal, weight, periods, durations, bin_width):  # type: ignore[no-untyped-def]
    """(power, index of period, mid-transit time, duration) of the box with the highest squared SNR."""
    best_power, best_k, best_epoch, best_duration = 0.0, 0, 0.0, 0.0
    total = weight.sum()
    for k in range(periods.size):
        period = periods[k]
        n = max(math.ceil(period / bin_width), 8)
        tau = period / n
        widest = min(round(durations[-1] / tau) + 1, n - 1)
        x_sums, w_sums = np.zeros(n + widest + 1), np.zeros(n + widest + 1)
        frequency = 1.0 / period
        for i in range(time.size):
            cycles = time[i] * frequency
            j = min(int((cycles - math.floor(cycles)) * n), n - 1)
            x_sums[j + 1] += signal[i]
            w_sums[j + 1] += weight[i]
        for j in range(widest):
            x_sums[n + j + 1], w_sums[n + j + 1] = x_sums[j + 1], w_sums[j + 1]
        for j in range(n + widest):
            x_sums[j + 1] += x_sums[j]
            w_sums[j + 1] += w_sums[j]
        last_width = 0
        for d in range(durations.size):
            width = max(1, min(round(durations[d] / tau), widest))
            if width == last_width:
                continue
            last_width = width
            least = 0.3 * total * width / n
            for j in range(n):
                x = x_sums[j + width] - x_sums[j]
                w = w_sums[j + width] - w_sums[j]
                if x > 0 and w > least and w < 0.9 * total:
                    power = x * x * total / (w * (total - w))
                    if power > best_power:
                        best_power, best_k = power, k
                        best_epoch, best_duration = (j + 0.5 * width) * tau, width * tau
    return best_power, best_k, best_epoch, best_duration


def measure(dips: Dips, keep: Mask, box: Box) -> Measure | None:
    """Depth, noise and events of a box, each cadence inside or outside; None when either is empty.

    snr: depth over its white-noise error. beta: robust scatter of the single-event statistic at this duration once the
    signal is taken out, at least 1. mes = snr / beta. rest_mes: share of the mes without the best event; top_share:
    share of the signal in the best event; typical_share: median over mean depth of the events; n_whole: events that
    are well covered and have data right before and after.
    """
    time, dip, weight = _kept(dips, keep)
    number = np.round((time - box.epoch) / box.period).astype(np.int64)
    inside = np.abs(time - box.epoch - number * box.period) < box.duration / 2
    w_in, w_out = weight[inside].sum(), weight[~inside].sum()
    if w_in <= 0 or w_out <= 0:
        return None
    base = float(np.average(dip[~inside], weights=weight[~inside]))
    depth = float(np.average(dip[inside], weights=weight[inside]) - base)
    white_err = math.sqrt(1 / w_in + 1 / w_out)
    events, index = np.unique(number[inside], return_inverse=True)
    weights: Floats = np.bincount(index, weight[inside]).astype(np.float64)
    signals = np.bincount(index, weight[inside] * (dip[inside] - base))
    full = np.median(weight) * max(box.duration / dips.step, 1.0)
    seen = weights > EVENT_COVERAGE * full
    if not seen.any():
        return None
    n_whole = _count_whole(time - box.epoch, weight, box, events[weights > WHOLE_COVERAGE * full], full)
    events, weights, signals = events[seen], weights[seen], signals[seen]
    depths = signals / weights
    beta = noise_ratio(dips, keep, box, len(events))
    single = signals / np.sqrt(weights)
    best = int(np.argmax(single))
    rest_weight = weights.sum() - weights[best]
    total = signals.sum() / math.sqrt(weights.sum())
    rest = (signals.sum() - signals[best]) / math.sqrt(rest_weight) if rest_weight > 0 else 0.0
    snr = float(depth / white_err)
    mean_depth = signals.sum() / weights.sum()
    return Measure(
        box=box,
        depth=depth,
        depth_err=white_err * beta,
        snr=snr,
        mes=snr / beta,
        beta=beta,
        n_transits=len(events),
        n_whole=n_whole,
        max_ses=float(single[best]) / beta,
        rest_mes=float(rest / total) if total > 0 else 0.0,
        top_share=float(signals[best] / signals.sum()) if signals.sum() > 0 else 1.0,
        typical_share=float(np.median(depths) / mean_depth) if mean_depth > 0 else 0.0,
        events=events,
        event_depths=depths,
        event_weights=weights,
    )


def _count_whole(time: Floats, weight: Floats, box: Box, events: NDArray[np.int64], full: float) -> int:
    """How many of the events have data right before and right after them; `time` counts from the epoch."""
    whole = 0
    for middle in events * box.period:
        first, start, stop, last = np.searchsorted(time, middle + box.duration * np.array([-1.5, -0.5, 0.5, 1.5]))
        before, after = weight[first:start].sum(), weight[stop:last].sum()
        whole += bool(min(before, after) > EVENT_COVERAGE * full)
    return whole


def noise_ratio(dips: Dips, keep: Mask, box: Box, n_events: int) -> float:
    """Noise at the box's duration over white noise, with the box's own signal taken out."""
    time, dip, weight = _kept(dips, keep)
    if n_events >= PROFILE_EVENTS:
        residual = dip - _profile(time, dip, weight, box)
        cell = dips.cell[keep]
    else:
        phase = np.abs((time - box.epoch + box.period / 2) % box.period - box.period / 2)
        beside = phase > box.duration
        residual, weight, cell = dip[beside], weight[beside], dips.cell[keep][beside]
    if len(residual) < 10:
        return 1.0
    width = max(1, round(box.duration / dips.step))
    return float(noise_ratios(cell, residual, weight, np.array([width]))[0])


def _profile(time: Floats, dip: Floats, weight: Floats, box: Box) -> Floats:
    """The mean dip at each cadence's phase, from bins of a quarter duration joined by straight lines."""
    n = max(8, math.ceil(4 * box.period / box.duration))
    phase = ((time - box.epoch) / box.period) % 1.0
    index = np.minimum((phase * n).astype(np.int64), n - 1)
    total = np.bincount(index, weight, n)
    mean = np.bincount(index, weight * dip, n) / np.where(total > 0, total, 1)
    return np.interp(phase, (np.arange(n) + 0.5) / n, mean, period=1.0)


def box_over_sine(dips: Dips, keep: Mask, measured: Measure) -> float:
    """SNR of the box over that of the best sine at a harmonic of its period: below about 1.2 it is no transit."""
    time, dip, weight = _kept(dips, keep)
    box = measured.box
    best = max(_sine_snr(time - box.epoch, dip, weight, box.period * multiple) for multiple in HARMONICS)
    return measured.snr / best if best > 0 else math.inf


def _sine_snr(time: Floats, dip: Floats, weight: Floats, period: float, bins: int = 64) -> float:
    """Square root of the gain in chi square of a weighted sine over a constant, from phase bins."""
    index = np.minimum(((time / period) % 1.0 * bins).astype(np.int64), bins - 1)
    w = np.bincount(index, weight, bins)
    x = np.bincount(index, weight * dip, bins)
    angle = 2 * np.pi * (np.arange(bins) + 0.5) / bins
    design = np.stack([np.ones(bins), np.sin(angle), np.cos(angle)])
    normal = (design * w) @ design.T
    right = design @ x
    solution = np.linalg.lstsq(normal, right, rcond=None)[0]
    gain = solution @ right - x.sum() ** 2 / w.sum()
    return math.sqrt(max(gain, 0.0))


def in_transit(dips: Dips, box: Box, width: float) -> Mask:
    """Bins within `width` durations about a transit, and at least one bin on either side of it."""
    phase = np.abs((dips.time - box.epoch + box.period / 2) % box.period - box.period / 2)
    return phase < max(width * box.duration, box.duration + 2 * dips.step) / 2
