"""`find_tces`: every periodic dip of a batch of stars, strongest first.

A pass folds the whole batch at all trial periods. In every star the best peaks are refined and measured, the most
convincing one is taken, put on its true harmonic, masked, and the star goes into the next pass, until nothing exceeds
the threshold. Stars are independent: the batch only makes the folding fast.
"""

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from survey.config import Config, Engine, SearchConfig
from survey.errors import UsageError
from survey.signals.search import refine as fit
from survey.signals.search.curve import Dips, FlatCurve, Mask, make_dips
from survey.signals.search.plan import DensityRung, Plan, density_rung, plan_star
from survey.signals.search.refine import Box, Measure
from survey.signals.search.spectrum import SearchSegment, Spectrum, fold
from survey.signals.search.tce import Tce
from survey.signals.search.two_pass import strongest_box

Floats = NDArray[np.float64]

ENGINES = {"numba": "numba_engine", "jax": "jax_engine", "numpy": "reference"}

PEAK_FLOOR = 0.85
"""Peaks of the scaled spectrum are refined from this share of the threshold on: refining raises them."""

PEAK_STEPS = 4
"""Half width of a peak, in steps between trial periods."""

WHITE_PEAKS = 2
"""Peaks taken from the spectrum without noise scaling: a contact binary inflates its own noise."""

RIVAL_SHARE = 0.6
"""Peaks below this share of the highest wait for a later pass: no harmonic of the highest is among them."""

NOISE_MAXIMUM = 4.5
"""Typical maximum of a spectrum of pure noise: what every further block adds to the floor."""

LEAST_TYPICAL_SHARE = 0.4
LARGEST_TOP_SHARE = 0.75
"""An event check: the typical event is no much shallower than the mean, and no event makes up the whole signal."""

SAME_PEAK = 0.02
"""Peaks whose periods differ by less than this are fits to the same dips."""

LEAST_WHOLE = 2
"""Events that have to be whole, where two or more are asked for."""

EXTRA_PASSES = 6
"""Passes beyond `max_tces` that may be spent on single events and on what masks leave over."""

LEAST_KEPT = 0.35
"""A star is searched on while this share of it is not masked."""

RATIOS = (1.0, 2.0, 0.5, 3.0, 1 / 3)


def resolve_engine(engine: Engine, *, has_gpu: bool) -> Engine:
    """`auto` is JAX where there is a GPU, numba elsewhere."""
    if engine == "auto":
        return "jax" if has_gpu else "numba"
    return engine


def load_engine(engine: Engine) -> ModuleType:
    """The engine's module; its `search_segment` is documented in `reference`."""
    if engine not in ENGINES:
        raise UsageError(f"no engine {engine!r}: choose one of {', '.join(ENGINES)}")
    return importlib.import_module(f"survey.signals.search.{ENGINES[engine]}")


@dataclass
class Hunt:
    """A star while it is searched: what is masked, and what was found."""

    dips: Dips
    rung: DensityRung
    plan: Plan
    keep: Mask
    found: list[tuple[Measure, float | None]] = field(default_factory=list)
    passes: int = 0


def find_tces(curves: Sequence[FlatCurve], config: Config, engine: Engine = "numba") -> list[list[Tce]]:
    """The threshold-crossing events of each star, in order of detection.

    curves: detrended light curves of any cadence, baseline and mixture. Returns one list a star, at most
    `config.search.max_tces` long.
    """
    if config.search.method == "two_pass":
        return [_two_pass(curve, config.search) for curve in curves]
    hunts = [start_hunt(curve, config.search) for curve in curves]
    search = load_engine("numba" if engine == "auto" else engine).search_segment
    active = [hunt for hunt in hunts if hunt.plan.segments]
    while active:
        spectra = fold_batch(active, search)
        active = [
            hunt for hunt, spectrum in zip(active, spectra, strict=True) if take_best(hunt, spectrum, config.search)
        ]
    inverted = _inverted_mes([hunt for hunt in hunts if hunt.found], search, config.search)
    levels = iter(inverted)
    return [_report(hunt, next(levels) if hunt.found else None) for hunt in hunts]


def fold_batch(hunts: Sequence[Hunt], search: SearchSegment) -> list[Spectrum]:
    """One pass: the spectrum of every star as it is masked now."""
    return fold([(hunt.dips, hunt.keep, hunt.plan) for hunt in hunts], search)


def start_hunt(curve: FlatCurve, config: SearchConfig) -> Hunt:
    dips = make_dips(curve, config.max_gap_days)
    plan = plan_star(dips.baseline, curve.cadence, curve.density, config, dips.longest_block)
    return Hunt(dips, density_rung(curve.density), plan, np.ones(len(dips.time), bool))


# --- from a spectrum to a signal -----------------------------------------------------------------------------------


def take_best(hunt: Hunt, spectrum: Spectrum, config: SearchConfig) -> bool:
    """Take the most convincing signal of one spectrum and mask it; False when the star is done."""
    hunt.passes += 1
    measures = [
        measured
        for box in refine_peaks(hunt, spectrum, config)
        if (measured := fit.measure(hunt.dips, hunt.keep, box)) is not None and measured.mes >= config.threshold
    ]
    if not measures:
        return False
    periodic = [measured for measured in measures if is_periodic(measured, config)]
    if periodic:
        clearest = max(periodic, key=lambda measured: measured.mes)
        best = true_harmonic(hunt, best_fit(clearest, periodic), config)
        known = next((old for old, _ in hunt.found if is_same_signal(old.box, best.box, hunt.dips.baseline)), None)
        if known is None:
            hunt.found.append((best, detection_efficiency(spectrum)))
        hunt.keep = hunt.keep & ~fit.in_transit(hunt.dips, best.box, 1.5 if known is None else 2.5)
    else:
        _mask_event(hunt, max(measures, key=lambda measured: measured.mes))
    return (
        len(hunt.found) < config.max_tces
        and hunt.passes < config.max_tces + EXTRA_PASSES
        and float(hunt.keep.mean()) > LEAST_KEPT
    )


def refine_peaks(hunt: Hunt, spectrum: Spectrum, config: SearchConfig) -> list[Box]:
    """Boxes at the distinct peaks of both spectra, refined."""
    floor = math.hypot(PEAK_FLOOR * config.threshold, NOISE_MAXIMUM * math.sqrt(len(hunt.dips.blocks) - 1))
    peaks = distinct_peaks(spectrum.plan, spectrum.scaled, floor, config.peaks)
    white = distinct_peaks(spectrum.plan, spectrum.white, max(floor, config.threshold), WHITE_PEAKS)
    peaks += [trial for trial in white if not any(_within_width(spectrum.plan, trial, peak) for peak in peaks)]
    boxes = [
        fit.refine(hunt.dips, hunt.keep, spectrum.plan.periods[trial], spectrum.plan.steps[trial], hunt.rung)
        for trial in peaks
    ]
    return [box for box in boxes if box is not None]


def distinct_peaks(plan: Plan, values: NDArray[np.floating], floor: float, count: int) -> list[int]:
    """Trials of the highest values from `floor` on, none within the width of a higher one."""
    values = values.copy()
    floor = max(floor, RIVAL_SHARE * float(values.max()))
    peaks: list[int] = []
    while len(peaks) < count:
        trial = int(np.argmax(values))
        if values[trial] < floor:
            break
        peaks.append(trial)
        period, near = plan.periods[trial], PEAK_STEPS * plan.steps[trial]
        low, high = np.searchsorted(plan.sorted_periods, [period - near, period + near])
        values[plan.order[low:high]] = 0.0
    return peaks


def _within_width(plan: Plan, trial: int, peak: int) -> bool:
    return abs(plan.periods[trial] - plan.periods[peak]) <= PEAK_STEPS * plan.steps[peak]


def is_periodic(measured: Measure, config: SearchConfig) -> bool:
    """At least `min_transits` events, two of them whole, all alike, and none of them the whole signal."""
    return (
        measured.n_transits >= config.min_transits
        and measured.n_whole >= min(config.min_transits, LEAST_WHOLE)
        and measured.typical_share > LEAST_TYPICAL_SHARE
        and measured.top_share < LARGEST_TOP_SHARE
    )


def best_fit(measured: Measure, others: Sequence[Measure]) -> Measure:
    """Of several fits to the same dips the one with the highest SNR: a lower noise level makes no worse fit better."""
    period = measured.box.period
    same = [other for other in others if abs(other.box.period / period - 1) < SAME_PEAK]
    return max(same, key=lambda other: other.snr)


def _mask_event(hunt: Hunt, measured: Measure) -> None:
    """Take the strongest single event out: it would dominate every period it can be folded into."""
    best = int(np.argmax(measured.event_depths * np.sqrt(measured.event_weights)))
    box = measured.box
    middle = box.epoch + measured.events[best] * box.period
    hunt.keep = hunt.keep & (np.abs(hunt.dips.time - middle) > max(box.duration, 2 * hunt.dips.step))


def detection_efficiency(spectrum: Spectrum) -> float | None:
    """SDE: the peak over the median of the scaled spectrum, in robust standard deviations."""
    tried = spectrum.scaled[spectrum.scaled > 0]
    if len(tried) < 10:
        return None
    median = float(np.median(tried))
    spread = 1.4826 * float(np.median(np.abs(tried - median)))
    return (float(tried.max()) - median) / spread if spread > 0 else None


def is_same_signal(old: Box, new: Box, baseline: float) -> bool:
    """Whether two periods, or simple multiples of them, stay within a duration of each other over the baseline."""
    drift = max(old.duration, new.duration)
    return any(abs(new.period / (ratio * old.period) - 1) * baseline < drift for ratio in RATIOS)


# --- harmonics -----------------------------------------------------------------------------------------------------

ODD_EVEN_SIGMAS = 5.0
ODD_EVEN_DIFFERENCE = 0.15
SHORTER_GAIN = 1.1


def true_harmonic(hunt: Hunt, measured: Measure, config: SearchConfig) -> Measure:
    """The measure at P, P/2, P/3, 2P or 3P, whichever the events speak for.

    A shorter period must raise the MES; a longer one must explain events of unlike depths (an eclipsing binary whose
    primary and secondary eclipses were folded together, or transits folded with nothing).
    """
    for divisor in (3, 2):
        period = measured.box.period / divisor
        if period < config.period_min:
            continue
        shorter = _refit(hunt, replace(measured.box, period=period), config)
        if shorter is not None and is_periodic(shorter, config) and shorter.mes > SHORTER_GAIN * measured.mes:
            return shorter
    for multiple in (2, 3):
        phase = _deepest_phase(measured, multiple)
        if phase is None:
            continue
        box = measured.box
        longer = _refit(hunt, Box(box.period * multiple, box.epoch + phase * box.period, box.duration), config)
        if longer is not None and is_periodic(longer, config) and longer.mes >= config.threshold:
            return longer
    return measured


def _deepest_phase(measured: Measure, multiple: int) -> int | None:
    """Which of every `multiple` events are deeper than the others beyond doubt; None when all are alike."""
    groups = [measured.events % multiple == phase for phase in range(multiple)]
    if any(group.sum() < 2 for group in groups):
        return None
    means, errors = zip(*(_group_depth(measured, group) for group in groups), strict=True)
    deepest, shallowest = int(np.argmax(means)), int(np.argmin(means))
    second = sorted(means)[-2] if multiple == 3 else means[shallowest]
    difference = means[deepest] - second
    sigma = math.hypot(errors[deepest], max(errors))
    if difference > ODD_EVEN_SIGMAS * sigma and difference > ODD_EVEN_DIFFERENCE * means[deepest]:
        return deepest
    return None


def _group_depth(measured: Measure, group: Mask) -> tuple[float, float]:
    """Mean depth of some events and its error, from white noise and from their own scatter, whichever is larger."""
    depths, weights = measured.event_depths[group], measured.event_weights[group]
    mean = float(np.average(depths, weights=weights))
    white = measured.beta / math.sqrt(weights.sum())
    scatter = float(np.std(depths, ddof=1)) / math.sqrt(len(depths))
    return mean, max(white, scatter)


def _refit(hunt: Hunt, box: Box, config: SearchConfig) -> Measure | None:
    """Measure a box after letting period, epoch and duration settle close to where they are."""
    step = box.period * box.duration / (2 * max(hunt.dips.baseline, box.period))
    better = fit.refine(hunt.dips, hunt.keep, box.period, step, hunt.rung)
    settled = fit.measure(hunt.dips, hunt.keep, better) if better is not None else None
    exact = fit.measure(hunt.dips, hunt.keep, box)
    fits = [m for m in (settled, exact) if m is not None]
    return max((m for m in fits if is_periodic(m, config)), key=lambda m: m.snr, default=exact)


# --- what is reported ----------------------------------------------------------------------------------------------


def _inverted_mes(hunts: Sequence[Hunt], search: SearchSegment, config: SearchConfig) -> list[float]:
    """The best MES of each star's light curve turned upside down, its signals masked."""
    flipped = []
    for hunt in hunts:
        keep = np.ones(len(hunt.dips.time), bool)
        for measured, _ in hunt.found:
            keep &= ~fit.in_transit(hunt.dips, measured.box, 1.5)
        flipped.append(Hunt(replace(hunt.dips, dip=-hunt.dips.dip), hunt.rung, hunt.plan, keep))
    return [
        _best_mes(hunt, spectrum, config)
        for hunt, spectrum in zip(flipped, fold_batch(flipped, search) if flipped else [], strict=True)
    ]


def _best_mes(hunt: Hunt, spectrum: Spectrum, config: SearchConfig) -> float:
    measures = [fit.measure(hunt.dips, hunt.keep, box) for box in refine_peaks(hunt, spectrum, config)]
    levels = [m.mes for m in measures if m is not None and is_periodic(m, config)]
    return max(levels, default=min(float(spectrum.scaled.max()), PEAK_FLOOR * config.threshold))


def _report(hunt: Hunt, inverted_mes: float | None) -> list[Tce]:
    tces = []
    for number, (measured, sde) in enumerate(hunt.found, start=1):
        keep = np.ones(len(hunt.dips.time), bool)
        for other, _ in hunt.found:
            if other is not measured:
                keep &= ~fit.in_transit(hunt.dips, other.box, 1.5)
        tces.append(_make_tce(number, measured, hunt.dips, keep, sde, inverted_mes))
    return tces


def _make_tce(
    number: int, measured: Measure, dips: Dips, keep: Mask, sde: float | None, inverted_mes: float | None
) -> Tce:
    period_err, epoch_err = ephemeris_errors(measured, dips.step)
    return Tce(
        number=number,
        period=measured.box.period,
        period_err=period_err,
        epoch=measured.box.epoch,
        epoch_err=epoch_err,
        duration_h=measured.box.duration * 24,
        depth_ppm=measured.depth * 1e6,
        depth_err_ppm=measured.depth_err * 1e6,
        snr=measured.snr,
        mes=measured.mes,
        sde=sde,
        max_ses=measured.max_ses,
        rest_mes=measured.rest_mes,
        box_over_sine=fit.box_over_sine(dips, keep, measured),
        inverted_mes=inverted_mes,
        n_transits=measured.n_transits,
        scatter_beta=measured.beta,
    )


BOX_LOSS = 2.5
BOX_FLOOR = 0.03
"""What a box costs in timing: a factor on the error, and durations that no SNR can better. On 46 injected signals they
put 68% of the period errors below 0.94 and 95% below 2.2 standard errors."""


def ephemeris_errors(measured: Measure, step: float) -> tuple[float, float]:
    """Standard errors (d) of period and epoch, from those of single mid-times in a linear fit.

    A mid-time is known to sqrt(tau T / 2) / Q (Carter et al. 2008, eq. 23), T the duration, Q the event's SNR, and tau
    the ingress, here a tenth of the duration and at least one bin. That holds for the right model; a box is not.
    """
    box = measured.box
    ingress = max(0.1 * box.duration, step)
    single = max(measured.snr / measured.beta / math.sqrt(measured.n_transits), 1e-9)
    middle = math.hypot(BOX_LOSS * math.sqrt(ingress * box.duration / 2) / single, BOX_FLOOR * box.duration)
    numbers = measured.events - measured.events.mean()
    spread = float((numbers**2).sum())
    if spread == 0:
        return math.nan, middle
    period_err = middle / math.sqrt(spread)
    return period_err, middle * math.sqrt(1 / measured.n_transits + float(measured.events.mean()) ** 2 / spread)


def remeasure(curve: FlatCurve, tces: Sequence[Tce], config: SearchConfig) -> list[Tce]:
    """The same signals in a curve that was detrended with their transits masked: what they are, not whether they are.

    Period, epoch, duration, depth and snr may settle. What the detection rests on (mes and its parts, sde,
    inverted_mes) stays as it was: a trend that was interpolated through a dip deepens noise as well as transits.
    """
    hunt = start_hunt(curve, config)
    boxes = [Box(tce.period, tce.epoch, tce.duration_h / 24) for tce in tces]
    again = []
    for tce, box in zip(tces, boxes, strict=True):
        keep = np.ones(len(hunt.dips.time), bool)
        for other in boxes:
            if other is not box:
                keep &= ~fit.in_transit(hunt.dips, other, 1.5)
        settled = _refit(replace(hunt, keep=keep), box, config)
        again.append(tce if settled is None else _as_now(tce, settled, hunt.dips, keep))
    return again


def _as_now(tce: Tce, settled: Measure, dips: Dips, keep: Mask) -> Tce:
    now = _make_tce(tce.number, settled, dips, keep, tce.sde, tce.inverted_mes)
    return replace(
        now,
        mes=tce.mes,
        max_ses=tce.max_ses,
        rest_mes=tce.rest_mes,
        box_over_sine=tce.box_over_sine,
        scatter_beta=tce.scatter_beta,
    )


def _two_pass(curve: FlatCurve, config: SearchConfig) -> list[Tce]:
    """The seeds' search: one signal, from two fixed period grids of astropy's box least squares."""
    hunt = start_hunt(curve, config)
    box = strongest_box(hunt.dips, hunt.rung, config)
    measured = fit.measure(hunt.dips, hunt.keep, box) if box is not None else None
    if measured is None or measured.mes < config.threshold:
        return []
    return [_make_tce(1, measured, hunt.dips, hunt.keep, None, None)]
