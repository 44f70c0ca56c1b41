"""`find_tces`: every periodic dip of a batch of stars, strongest first.

A pass folds the whole batch at all trial periods. In every star the best peaks are refined and measured, the most
convincing one is taken, put on its true harmonic, masked, and the star goes into the next pass, until nothing exceeds
the threshold. What no period explains is looked for last: deep events that come once or twice. Stars are independent:
the batch only makes the folding fast.
"""

import importlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from survey.config import Config, Engine, SearchConfig
from survey.errors import UsageError
from survey.signals.search import refine as fit
from survey.signals.search.curve import Dips, FlatCurve, Mask, make_dips
from survey.signals.search.plan import (
    DensityRung,
    Plan,
    Ranges,
    central_duration,
    density_rung,
    longest_period,
    plan_star,
    restrict,
)
from survey.signals.search.refine import Box, Measure
from survey.signals.search.significance import block_maxima, false_alarm_probability
from survey.signals.search.single import Event, are_alike, isolated_events, last_alike, open_periods
from survey.signals.search.spectrum import SearchSegment, Spectrum, fold
from survey.signals.search.tce import ONCE, Tce
from survey.signals.search.trapezoid import fit_trapezoid
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

MISSING_SHARE = 0.2
"""Of the events of a signal, this share may be missing where there is data: systematics hide some."""

SINGLE_PERIOD = 10.0
"""Isolated events are looked for from the shortest duration tried at this period (d) on."""

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


@dataclass(frozen=True)
class Found:
    """A signal; sde: of the spectrum it was found in; open_periods: those that two transits leave open."""

    measure: Measure
    sde: float | None = None
    open_periods: int | None = None
    isolated: bool = False


@dataclass
class Hunt:
    """A star while it is searched: what is masked, what was found, and the spectrum of what is left at the end."""

    dips: Dips
    rung: DensityRung
    plan: Plan
    keep: Mask
    found: list[Found] = field(default_factory=list)
    passes: int = 0
    left: Spectrum | None = None


def find_tces(
    curves: Sequence[FlatCurve],
    config: Config,
    engine: Engine = "numba",
    ranges: Sequence[Ranges | None] | None = None,
) -> list[list[Tce]]:
    """The threshold-crossing events of each star, in order of detection; isolated events last.

    curves: detrended light curves of any cadence, baseline and mixture. ranges: for each star the periods that are
    tried, None for all; sde and fap are then those of these periods alone. Returns one list a star, at most
    `config.search.max_tces` long.
    """
    if config.search.method == "two_pass":
        return [_two_pass(curve, config.search) for curve in curves]
    chosen = [None] * len(curves) if ranges is None else ranges
    hunts = [start_hunt(curve, config.search, part) for curve, part in zip(curves, chosen, strict=True)]
    search = load_engine("numba" if engine == "auto" else engine).search_segment
    active = [hunt for hunt in hunts if hunt.plan.segments]
    while active:
        spectra = fold_batch(active, search)
        active = [
            hunt for hunt, spectrum in zip(active, spectra, strict=True) if take_best(hunt, spectrum, config.search)
        ]
    unfinished = [hunt for hunt in hunts if hunt.found and hunt.left is None]
    for hunt, spectrum in zip(unfinished, fold_batch(unfinished, search), strict=True):
        hunt.left = spectrum
    return [_report(hunt, config.search) for hunt in hunts]


def fold_batch(hunts: Sequence[Hunt], search: SearchSegment) -> list[Spectrum]:
    """One pass: the spectrum of every star as it is masked now."""
    return fold([(hunt.dips, hunt.keep, hunt.plan) for hunt in hunts], search)


def start_hunt(curve: FlatCurve, config: SearchConfig, ranges: Ranges | None = None) -> Hunt:
    dips = make_dips(curve, config.max_gap_days)
    plan = plan_star(dips.baseline, curve.cadence, curve.density, config, dips.longest_block)
    if ranges is not None:
        plan = restrict(plan, ranges)
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
        hunt.left = spectrum
        return False
    periodic = [found for measured in measures if (found := _as_periodic(hunt, measured, config)) is not None]
    if periodic:
        clearest = max(periodic, key=lambda measured: measured.mes)
        best = true_harmonic(hunt, best_fit(clearest, periodic), config)
        known = next((old for old in hunt.found if is_same_signal(old.measure.box, best.box, hunt.dips.baseline)), None)
        if known is None:
            hunt.found.append(_settle_two(hunt, best, detection_efficiency(spectrum), config))
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
    floor = _peak_floor(hunt, config)
    peaks = distinct_peaks(spectrum.plan, spectrum.scaled, floor, config.peaks)
    white = distinct_peaks(spectrum.plan, spectrum.white, max(floor, config.threshold), WHITE_PEAKS)
    peaks += [trial for trial in white if not any(_within_width(spectrum.plan, trial, peak) for peak in peaks)]
    return _refine_all(hunt, peaks)


def _peak_floor(hunt: Hunt, config: SearchConfig) -> float:
    return math.hypot(PEAK_FLOOR * config.threshold, NOISE_MAXIMUM * math.sqrt(len(hunt.dips.blocks) - 1))


def _refine_all(hunt: Hunt, trials: Sequence[int]) -> list[Box]:
    plan = hunt.plan
    boxes = [fit.refine(hunt.dips, hunt.keep, plan.periods[k], plan.steps[k], hunt.rung) for k in trials]
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
    """At least `min_transits` events, two of them whole, all alike, few of them missing, and none the whole signal."""
    return (
        measured.n_transits >= config.min_transits
        and measured.n_whole >= min(config.min_transits, LEAST_WHOLE)
        and measured.n_missing <= MISSING_SHARE * measured.n_transits
        and measured.typical_share > LEAST_TYPICAL_SHARE
        and measured.top_share < LARGEST_TOP_SHARE
        and (measured.n_transits != 2 or are_alike(measured))
    )


def _as_periodic(hunt: Hunt, measured: Measure, config: SearchConfig) -> Measure | None:
    """The signal itself where it is periodic, or a multiple of its period where that is."""
    return measured if is_periodic(measured, config) else longer_harmonic(hunt, measured, config)


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
    return longer_harmonic(hunt, measured, config) or measured


def longer_harmonic(hunt: Hunt, measured: Measure, config: SearchConfig) -> Measure | None:
    """The measure at 2P or 3P where every second or third event is deeper than the others."""
    for multiple in (2, 3):
        phase = _deepest_phase(measured, multiple)
        if phase is None:
            continue
        box = measured.box
        longer = _refit(hunt, Box(box.period * multiple, box.epoch + phase * box.period, box.duration), config)
        if longer is not None and is_periodic(longer, config) and longer.mes >= config.threshold:
            return longer
    return None


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
    near = better is not None and _same_transits(better, box, float(hunt.dips.time.mean()))
    settled = fit.measure(hunt.dips, hunt.keep, better) if better is not None and near else None
    exact = fit.measure(hunt.dips, hunt.keep, box)
    fits = [m for m in (settled, exact) if m is not None]
    return max((m for m in fits if is_periodic(m, config)), key=lambda m: m.snr, default=exact)


def _same_transits(one: Box, other: Box, middle: float) -> bool:
    """Whether two boxes of about one period overlap amid the data: a secondary eclipse is another signal."""
    event = one.epoch + round((middle - one.epoch) / one.period) * one.period
    apart = abs((event - other.epoch + other.period / 2) % other.period - other.period / 2)
    return apart < (one.duration + other.duration) / 2


# --- one or two transits -------------------------------------------------------------------------------------------


def _settle_two(hunt: Hunt, measured: Measure, sde: float | None, config: SearchConfig) -> Found:
    """A signal of two transits with the shortest period that the data leave open, and how many there are."""
    if measured.n_transits != 2:
        return Found(measured, sde)
    box = measured.box
    first, second = (box.epoch + number * box.period for number in measured.events.tolist())
    periods = open_periods(hunt.dips, first, second, box.duration, config.period_min)
    settled = fit.measure(hunt.dips, hunt.keep, Box(periods[-1], first, box.duration)) if periods else None
    if settled is None or settled.n_transits != 2:
        return Found(measured, sde)
    return Found(settled, sde, len(periods))


def find_isolated(hunt: Hunt, config: SearchConfig) -> list[Found]:
    """Events that no signal explains: two that can be of one planet as one signal, the others one by one."""
    keep = _without(hunt, hunt.found)
    if keep.mean() < LEAST_KEPT:
        return []
    dips, rung = hunt.dips, hunt.rung
    longest = longest_period(dips.baseline, config)
    events = isolated_events(
        dips,
        keep,
        rung.shortest * central_duration(min(SINGLE_PERIOD, longest)),
        rung.longest * central_duration(longest),
        config.single_threshold,
    )
    if len(events) == 2 and (pair := _pair(hunt, keep, events[0], events[1], config)) is not None:
        return [pair]
    single = (fit.measure(dips, keep, Box(ONCE, event.middle, event.duration)) for event in events)
    return [
        Found(measured, isolated=True)
        for measured in single
        if measured is not None and measured.mes >= config.single_threshold
    ]


def _pair(hunt: Hunt, keep: Mask, one: Event, other: Event, config: SearchConfig) -> Found | None:
    """Two events as one signal, where they are alike and some period fits both."""
    duration = (one.duration + other.duration) / 2
    periods = open_periods(hunt.dips, one.middle, other.middle, duration, config.period_min)
    if not (periods and last_alike(one, other)):
        return None
    measured = fit.measure(hunt.dips, keep, Box(periods[-1], one.middle, duration))
    if measured is None or measured.n_transits != 2:
        return None
    return Found(measured, None, len(periods), isolated=True) if are_alike(measured) else None


# --- what is reported ----------------------------------------------------------------------------------------------


def _without(hunt: Hunt, signals: Iterable[Found]) -> Mask:
    """What lies outside the transits of these signals."""
    keep = np.ones(len(hunt.dips.time), bool)
    for signal in signals:
        keep &= ~fit.in_transit(hunt.dips, signal.measure.box, 1.5)
    return keep


def _report(hunt: Hunt, config: SearchConfig) -> list[Tce]:
    inverted_mes = maxima = None
    if hunt.left is not None and hunt.found:
        inverted_mes = _inverted_mes(hunt, hunt.left, config)
        maxima = block_maxima(hunt.left.inverted[hunt.plan.order])
    isolated = find_isolated(hunt, config) if hunt.plan.segments else []
    hunt.found += isolated[: config.max_tces - len(hunt.found)]
    tces = []
    for number, signal in enumerate(hunt.found, start=1):
        keep = _without(hunt, (other for other in hunt.found if other is not signal))
        tce = _make_tce(number, signal.measure, hunt.dips, keep)
        if not signal.isolated:
            fap = None if maxima is None else false_alarm_probability(tce.mes, maxima)
            tce = replace(tce, sde=signal.sde, inverted_mes=inverted_mes, fap=fap)
        tces.append(replace(tce, n_open_periods=signal.open_periods))
    return tces


def _inverted_mes(hunt: Hunt, spectrum: Spectrum, config: SearchConfig) -> float:
    """The best MES of the light curve turned upside down, its signals masked."""
    flipped = replace(hunt, dips=replace(hunt.dips, dip=-hunt.dips.dip))
    peaks = distinct_peaks(spectrum.plan, spectrum.inverted, _peak_floor(hunt, config), config.peaks)
    measures = [fit.measure(flipped.dips, hunt.keep, box) for box in _refine_all(flipped, peaks)]
    levels = [m.mes for m in measures if m is not None and is_periodic(m, config)]
    return max(levels, default=min(float(spectrum.inverted.max()), PEAK_FLOOR * config.threshold))


def _make_tce(number: int, measured: Measure, dips: Dips, keep: Mask) -> Tce:
    """What the light curve itself says: the ephemeris and depth of a trapezoid, the statistics of the box."""
    box = measured.box
    single = box.period >= ONCE
    shape = fit_trapezoid(dips, keep, measured)
    return Tce(
        number=number,
        period=None if single else shape.period,
        period_err=None if single else shape.period_err,
        epoch=shape.epoch,
        epoch_err=shape.epoch_err,
        duration_h=shape.duration * 24,
        depth_ppm=shape.depth * 1e6,
        depth_err_ppm=shape.depth_err * 1e6,
        snr=measured.snr,
        mes=measured.mes,
        pink_snr=measured.pink_snr,
        fap=None,
        sde=None,
        max_ses=measured.max_ses,
        rest_mes=None if single else measured.rest_mes,
        box_over_sine=None if single else fit.box_over_sine(dips, keep, measured),
        inverted_mes=None,
        n_transits=measured.n_transits,
        n_open_periods=None,
        scatter_beta=measured.beta,
    )


def remeasure(curve: FlatCurve, tces: Sequence[Tce], config: SearchConfig) -> list[Tce]:
    """The same signals in a curve that was detrended with their transits masked: what they are, not whether they are.

    Period, epoch, duration, depth and snr may settle. What the detection rests on (mes and its parts, sde,
    inverted_mes) stays as it was: a trend that was interpolated through a dip deepens noise as well as transits.
    """
    hunt = start_hunt(curve, config)
    boxes = [Box(*tce.ephemeris) for tce in tces]
    again = []
    for tce, box in zip(tces, boxes, strict=True):
        keep = np.ones(len(hunt.dips.time), bool)
        for other in boxes:
            if other is not box:
                keep &= ~fit.in_transit(hunt.dips, other, 1.5)
        if tce.period is None:
            settled = fit.measure(hunt.dips, keep, box)
        else:
            settled = _refit(replace(hunt, keep=keep), box, config)
        again.append(tce if settled is None else _as_now(tce, settled, hunt.dips, keep))
    return again


def _as_now(tce: Tce, settled: Measure, dips: Dips, keep: Mask) -> Tce:
    names = ("period", "period_err", "epoch", "epoch_err", "duration_h", "depth_ppm", "depth_err_ppm", "snr")
    now = _make_tce(tce.number, settled, dips, keep)
    return replace(tce, n_transits=now.n_transits, **{name: getattr(now, name) for name in names})


def _two_pass(curve: FlatCurve, config: SearchConfig) -> list[Tce]:
    """The seeds' search: one signal, from two fixed period grids of astropy's box least squares."""
    hunt = start_hunt(curve, config)
    box = strongest_box(hunt.dips, hunt.rung, config)
    measured = fit.measure(hunt.dips, hunt.keep, box) if box is not None else None
    if measured is None or measured.mes < config.threshold:
        return []
    return [_make_tce(1, measured, hunt.dips, hunt.keep)]
