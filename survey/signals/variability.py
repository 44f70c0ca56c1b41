"""What the star itself does: its strongest periodic variation and its flares, before anything is detrended.

Stretches of at most STRETCH_DAYS, never reaching over two products, are averaged onto cells of CELL_DAYS and compared
with sines by the generalised Lomb-Scargle periodogram (Zechmeister and Kuerster 2009, A&A 496, 577; a free mean, equal
weights). On cells all its sums are Fourier transforms, so that it is exact and costs n log n. The stretches' powers are
added, each with its own amplitude and phase: spots come and go, and offsets between products do not matter.

What the variation looks like is measured in the stretch with most cadences, folded at the best period and at twice
that: two unequal minima, of a binary or of two groups of spots, leave most power at half the true period.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from survey.config import DetrendConfig
from survey.signals import detrend
from survey.signals.search.noise import MAD_TO_SIGMA, median

Floats = NDArray[np.float64]

CELL_DAYS = 15 / 1440
STRETCH_DAYS = 100.0
"""A Kepler quarter is one stretch."""

LEAST_CELLS = 50
"""A stretch with fewer says nothing about a period."""

OVERSAMPLING = 4
HIGHEST = 24.0
"""Per day: Nyquist's limit of half an hour."""

LEAST_CYCLES = 3
"""What a stretch does not show at least so often is not called periodic."""

CLIP_SIGMA = 5.0
"""Cells are held within so many robust sigmas for the periodogram: a sine never gets there, a flare or an eclipse would
otherwise count for more than all the rest."""


@dataclass(frozen=True)
class Variability:
    """Fields as `schema.VARIABILITY_FIELDS`; None where not measured."""

    variability_period: float | None = None
    variability_amplitude_ppm: float | None = None
    variability_power: float | None = None
    variability_harmonic: float | None = None
    variability_contrast: float | None = None
    variability_coherence: float | None = None
    variability_cycles: float | None = None
    variability_low_share: float | None = None
    variability_asymmetry: float | None = None
    variability_second_depth: float | None = None
    variability_second_phase: float | None = None
    variability_alternation_ppm: float | None = None
    variability_alternation_snr: float | None = None
    variability_rest_power: float | None = None
    variability_scatter_dex: float | None = None
    noise_burst: float | None = None
    noise_burst_time: float | None = None
    n_flares: int | None = None
    flare_amplitude_ppm: float | None = None


def measure_variability(
    time: NDArray[np.float64], flux: NDArray[np.floating], flux_err: NDArray[np.floating], starts: NDArray[np.int64]
) -> Variability:
    """The variation of a normalised, not detrended light curve (n,); starts: first cadence of every product."""
    values = flux.astype(np.float64)
    scatter = detrend.robust_scatter(values)
    found = _find_period(time, values, starts, scatter)
    return _find_bursts(time, values, flux_err, starts, found, _flare_window(found, scatter))


@dataclass(frozen=True)
class Cells:
    """One stretch: `first` and `stop` cadence, its cells by number about `time[first]`, values about their mean."""

    first: int
    stop: int
    days: float
    number: NDArray[np.int64]
    values: Floats


def _find_period(time: Floats, flux: Floats, starts: NDArray[np.int64], scatter: float) -> Variability:
    stretches = [cells for part in _cut(time, starts) if (cells := _fill_cells(time, flux, part)) is not None]
    if not stretches:
        return Variability()
    spectrum = Periodogram(stretches)
    explained = spectrum.explained([cells.values for cells in stretches])
    power = explained.sum(axis=0) / _variation([cells.values for cells in stretches])
    peak = _strongest(power, spectrum.least)
    if peak is None:
        return Variability()
    frequency = _between(spectrum.step, power, peak)
    shown = [k for k, cells in enumerate(stretches) if cells.days * frequency > LEAST_CYCLES - 0.5]
    main = max((stretches[k] for k in shown), key=lambda cells: cells.stop - cells.first)
    shape = _measure_shape(time[main.first : main.stop], flux[main.first : main.stop], 1 / frequency, scatter)
    amplitudes = np.sqrt(explained[shown, peak] / spectrum.sizes[shown, 0])
    assert shape.variability_period is not None
    return replace(
        shape,
        variability_power=float(power[peak]),
        variability_contrast=_contrast(power, peak, spectrum.frequencies, main.days),
        variability_coherence=_coherence(main, frequency),
        variability_cycles=main.days / shape.variability_period,
        variability_rest_power=_rest_power(spectrum, stretches, frequency, main.days),
        variability_scatter_dex=float(np.std(np.log10(np.maximum(amplitudes, 1e-9)))) if len(shown) > 1 else None,
    )


def _variation(values: list[Floats]) -> float:
    """Sum of squares, by sums that do not depend on the number of threads."""
    return sum(float(np.sum(np.square(of_stretch))) for of_stretch in values)


def _cut(time: Floats, starts: NDArray[np.int64]) -> Iterator[slice]:
    """Products, the long ones in equal parts."""
    for product in detrend.split_at_gaps(time, starts, math.inf):
        first, last = time[product.start], time[product.stop - 1]
        parts = max(1, math.ceil((last - first) / STRETCH_DAYS))
        edges = first + (last - first) * np.arange(1, parts) / parts
        inner = product.start + np.searchsorted(time[product], edges)
        bounds = [product.start, *inner.tolist(), product.stop]
        yield from (slice(a, b) for a, b in itertools.pairwise(bounds))


def _fill_cells(time: Floats, flux: Floats, part: slice) -> Cells | None:
    times, values = time[part], flux[part]
    if len(times) < LEAST_CELLS:
        return None
    number = ((times - times[0]) / CELL_DAYS + 0.5).astype(np.int64)
    first = np.flatnonzero(np.diff(number, prepend=-1))
    means = np.add.reduceat(values, first) / np.diff(np.append(first, len(values)))
    means -= np.median(means)
    reach = CLIP_SIGMA * MAD_TO_SIGMA * np.median(np.abs(means))
    means = np.clip(means, -reach, reach)
    if len(means) < LEAST_CELLS or not np.any(means):
        return None
    return Cells(part.start, part.stop, float(times[-1] - times[0]), number[first], means - means.mean())


class Periodogram:
    """The generalised Lomb-Scargle periodogram of stretches with their cells fixed.

    frequencies: (m,) per day, `step` apart; least: the first that the longest stretch shows LEAST_CYCLES of.
    """

    def __init__(self, stretches: list[Cells]) -> None:
        longest = max(int(cells.number[-1]) + 1 for cells in stretches)
        self.numbers = [cells.number for cells in stretches]
        self.length = scipy.fft.next_fast_len(OVERSAMPLING * longest, real=True)
        self.step = 1.0 / (self.length * CELL_DAYS)
        count = min(int(HIGHEST / self.step) + 1, self.length // 4)
        self.frequencies = self.step * np.arange(count)
        days = np.array([cells.days for cells in stretches])
        self.least = math.ceil(LEAST_CYCLES / days.max() / self.step)
        self.shown = self.frequencies >= 1 / days[:, None]
        self.sizes = np.array([len(cells.number) for cells in stretches], float)[:, None]
        transform = self._transform([np.ones(len(number)) for number in self.numbers])
        waves, twice = transform[:, :count] / self.sizes, transform[:, : 2 * count : 2] / self.sizes
        self.cos2 = (1 + twice.real) / 2 - waves.real**2
        self.sin2 = (1 - twice.real) / 2 - waves.imag**2
        self.cross = -twice.imag / 2 + waves.real * waves.imag
        self.determinant = self.cos2 * self.sin2 - self.cross**2

    def _transform(self, values: list[Floats]) -> NDArray[np.complex128]:
        rows = np.zeros((len(values), self.length))
        for row, number, of_stretch in zip(rows, self.numbers, values, strict=True):
            row[number] = of_stretch
        transform: NDArray[np.complex128] = scipy.fft.rfft(rows, axis=1)
        return transform

    def explained(self, values: list[Floats]) -> Floats:
        """The part of each stretch's sum of squares that a sine explains (stretches, m); values: of the cells, of
        mean 0."""
        waves = self._transform(values)[:, : len(self.frequencies)] / self.sizes
        cos, sin = waves.real, -waves.imag
        drop = self.sin2 * cos**2 + self.cos2 * sin**2 - 2 * self.cross * cos * sin
        usable = self.shown & (self.determinant > 1e-6)
        share: Floats = np.divide(drop, self.determinant, out=np.zeros_like(drop), where=usable)
        return np.maximum(share, 0.0) * self.sizes


def _strongest(power: Floats, least: int) -> int | None:
    """The highest peak from `least` on; the flank of a stronger one below is none."""
    inner = power[max(1, least) : -1]
    peaks = (inner >= power[max(1, least) - 1 : -2]) & (inner > power[max(1, least) + 1 :])
    if not peaks.any():
        return None
    return max(1, least) + int(np.argmax(np.where(peaks, inner, 0.0)))


def _between(step: float, power: Floats, peak: int) -> float:
    """The frequency of a peak between the steps, by a parabola."""
    left, top, right = power[peak - 1 : peak + 2]
    bend = left - 2 * top + right
    return float(step * (peak + (0.5 * (left - right) / bend if bend < 0 else 0.0)))


REST_BINS = 32


def _rest_power(spectrum: Periodogram, stretches: list[Cells], frequency: float, days: float) -> float | None:
    """Share of what folding at twice the period leaves that the strongest sine unrelated to the first explains."""
    unrelated = ~_related(spectrum.frequencies, frequency, days)
    rests = [_without_fold(cells, frequency / 2) for cells in stretches]
    total = _variation(rests)
    if not unrelated[spectrum.least :].any() or not total > 0:
        return None
    return float(np.max((spectrum.explained(rests).sum(axis=0) / total)[spectrum.least :][unrelated[spectrum.least :]]))


def _without_fold(cells: Cells, frequency: float) -> Floats:
    place = (cells.number * (CELL_DAYS * frequency) % 1.0 * REST_BINS).astype(np.int64)
    means = np.bincount(place, cells.values, REST_BINS) / np.maximum(np.bincount(place, minlength=REST_BINS), 1)
    return cells.values - means[place]


def _related(frequencies: Floats, frequency: float, days: float) -> NDArray[np.bool_]:
    """Frequencies that a variation at `frequency` may itself put power at: its own width and that of its multiples."""
    multiple = np.maximum(np.round(2 * frequencies / frequency), 1.0) * frequency / 2
    return np.abs(frequencies - multiple) < 1.5 / days


def _contrast(power: Floats, peak: int, frequencies: Floats, days: float) -> float:
    """A peak over the median power within a factor of two, its own width apart."""
    frequency = frequencies[peak]
    near = (frequencies > frequency / 2) & (frequencies < frequency * 2)
    near &= np.abs(frequencies - frequency) > 1.5 / days
    return float(power[peak] / max(np.median(power[near]), 1e-12)) if near.any() else 0.0


MOST_PARTS = 8


def _coherence(cells: Cells, frequency: float) -> float | None:
    """Length of the mean of the complex amplitudes of parts of a stretch, over their mean length: 1 for one clock."""
    parts = min(MOST_PARTS, int(cells.days * frequency / LEAST_CYCLES))
    if parts < 2:
        return None
    waves = cells.values * np.exp(-2j * np.pi * frequency * CELL_DAYS * cells.number)
    part = np.minimum(cells.number * parts // (int(cells.number[-1]) + 1), parts - 1)
    sums = np.bincount(part, waves.real, parts) + 1j * np.bincount(part, waves.imag, parts)
    return float(abs(sums.sum()) / max(np.abs(sums).sum(), 1e-30))


MOST_BINS = 48
"""Bins of one period."""

ALTERNATION_SNR = 6.0
"""Where the cycles differ by turns at least so surely, the period is doubled."""


def _measure_shape(time: Floats, flux: Floats, period: float, scatter: float) -> Variability:
    """The folded variation: its period, doubled where the cycles alternate, amplitude and form."""
    half = int(np.clip(len(time) // 20, 8, MOST_BINS))
    keep = ~_lone_spikes(flux, scatter)
    times, values = time[keep] - time[0], flux[keep]
    means, errors, places = _fold(times, values - _level_of_cycles(times, values, 2 * period), 2 * period, 2 * half)
    halves = _smooth(means).reshape(2, half)
    lowest = int(np.argmin(halves.mean(axis=0)))
    difference = float(abs(halves[0, lowest] - halves[1, lowest]))
    # Where cadence and period beat, alternate cycles are sampled at other phases of a bin.
    slope = np.abs(halves - np.roll(halves, 1, axis=1))[:, [lowest, (lowest + 1) % half]].max()
    shift = float(slope * abs(places[lowest] - places[lowest + half]))
    error = float(math.hypot(errors[lowest] / math.sqrt(3), errors[lowest + half] / math.sqrt(3), shift))
    snr = difference / error if error > 0 else 0.0
    doubled = snr >= ALTERNATION_SNR
    curve = halves.ravel() if doubled else halves.mean(axis=0)
    harmonic, asymmetry = _measure_symmetry(curve)
    depth, phase = _second_minimum(curve)
    return Variability(
        variability_period=2 * period if doubled else period,
        variability_amplitude_ppm=1e6 * float(np.ptp(curve)),
        variability_harmonic=harmonic,
        variability_low_share=float(np.mean(curve < 0.5 * (curve.min() + curve.max()))),
        variability_asymmetry=asymmetry,
        variability_second_depth=depth,
        variability_second_phase=phase,
        variability_alternation_ppm=1e6 * difference,
        variability_alternation_snr=snr,
    )


LEAST_OF_CYCLE = 0.8


def _level_of_cycles(times: Floats, flux: Floats, period: float) -> Floats:
    """The slow drift: straight lines between the means of whole cycles, which hold every phase alike."""
    cycle = (times / period).astype(np.int64)
    counts = np.bincount(cycle)
    whole = np.flatnonzero(counts >= LEAST_OF_CYCLE * counts.max())
    means = np.bincount(cycle, flux)[whole] / counts[whole]
    return np.interp(times, (whole + 0.5) * period, means)


SPIKE_SIGMA = 10.0


def _lone_spikes(flux: Floats, scatter: float) -> NDArray[np.bool_]:
    """Cadences far above or below both of their neighbours: cosmic rays, which a bin of few cadences cannot tell."""
    steps = np.diff(flux)
    far = np.minimum(np.abs(steps[:-1]), np.abs(steps[1:])) > SPIKE_SIGMA * scatter
    lone = np.zeros(len(flux), bool)
    lone[1:-1] = far & (steps[:-1] * steps[1:] < 0)
    return lone


def _smooth(curve: Floats) -> Floats:
    """Mean of three neighbours on a circle."""
    smoothed: Floats = (np.roll(curve, 1) + curve + np.roll(curve, -1)) / 3
    return smoothed


SYMMETRY_HARMONICS = 6
AXES = np.exp(1j * np.outer(np.linspace(0, 2 * np.pi, 256, endpoint=False), np.arange(1, SYMMETRY_HARMONICS + 1)))


def _measure_symmetry(curve: Floats) -> tuple[float, float]:
    """Power of the second harmonic over the first, and the share of the amplitude that no mirror axis keeps."""
    waves = np.fft.rfft(curve)[1 : SYMMETRY_HARMONICS + 1]
    total = float(np.sum(np.abs(waves) ** 2))
    if not total > 0:
        return 0.0, 0.0
    odd = float(np.sum((AXES[:, : len(waves)] * waves).imag ** 2, axis=1).min())
    return float(abs(waves[1]) ** 2 / max(abs(waves[0]) ** 2, 1e-30)), math.sqrt(odd / total)


def _second_minimum(curve: Floats) -> tuple[float | None, float | None]:
    """Depth of the other minimum over that of the deepest, both below the lower of the maxima between them, and its
    phase after it; None where there is none."""
    folded = np.roll(curve, -int(np.argmin(curve)))
    before, after = np.maximum.accumulate(folded), np.maximum.accumulate(folded[::-1])[::-1]
    shoulders = np.minimum(before, after)
    depths = shoulders - folded
    least = max(1, len(folded) // 8)
    place = least + int(np.argmax(depths[least : len(folded) - least + 1]))
    if not depths[place] > 0:
        return None, None
    return float(depths[place] / (shoulders[place] - folded[0])), place / len(folded)


FOLD_CLIP = 4.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _fold(times, flux, period, n_bins):  # type: ignore[no-untyped-def]
    """Mean of every phase bin, without what lies far from its neighbours in phase, its standard error, and the mean
    place of its cadences within it (0 to 1).

    Cycles are what is independent, not cadences: the error is the scatter over the root of the number of cycles.
    """
    place, within, held = np.empty(times.size, np.int64), np.zeros(n_bins), np.zeros(n_bins)
    for i in range(times.size):
        phase = times[i] / period
        steps = (phase - np.floor(phase)) * n_bins
        place[i] = min(int(steps), n_bins - 1)
        within[place[i]] += steps - place[i]
        held[place[i]] += 1.0
    means, scatters = np.zeros(n_bins), np.full(n_bins, np.inf)
    for _ in range(3):
        counts, sums, squares = np.zeros(n_bins), np.zeros(n_bins), np.zeros(n_bins)
        for i in range(times.size):
            k = place[i]
            offset = flux[i] - means[k]
            if abs(offset) <= FOLD_CLIP * scatters[k]:
                counts[k] += 1.0
                sums[k] += offset
                squares[k] += offset * offset
        for k in range(n_bins):
            if counts[k] > 0:
                shift = sums[k] / counts[k]
                means[k] += shift
                scatters[k] = math.sqrt(max(squares[k] / counts[k] - shift * shift, 0.0))
    cycles = max(1.0, (times[-1] - times[0]) / period)
    errors = np.empty(n_bins)
    for k in range(n_bins):
        within[k] /= max(1.0, held[k])
        if counts[k] == 0:
            means[k] = means[k - 1]
        errors[k] = scatters[k] / math.sqrt(max(1.0, min(cycles, counts[k])))
    return means, errors, within


FLARE_WINDOW_DAYS = 0.3
FLARE_WINDOW_CADENCES = 8
FLARE_WINDOW_BINS = 15
FLARE_PEAK = 5.0
FLARE_EDGE = 2.5
"""Sigmas: a flare peaks above the one and lasts while it is above the other."""

FLARE_TAIL = 0.7
"""Its last half is on average at most this share of the first: a dip upside down, or an asteroid, is its own mirror."""

FLARE_HOURS = 8.0
FAST_CADENCE = 10 / 1440
"""Days: of faster cadences a flare must hold three, of slower ones two."""

EDGE_CHANGE = 3.0
"""Sigmas that a level may change by at an edge, where only one side of it is known."""

NOISE_BLOCK_DAYS = 0.5


SAMPLES = 2000


def _find_bursts(
    time: Floats,
    flux: Floats,
    flux_err: NDArray[np.floating],
    starts: NDArray[np.int64],
    found: Variability,
    window: float,
) -> Variability:
    """What was found, with the flares and the noisiest half day; window: days over which the level is taken."""
    some = slice(None, None, max(1, len(time) // SAMPLES))
    cadence = float(np.median(np.diff(time)[some])) if len(time) > 1 else 0.0
    if not cadence > 0:
        return found
    window = max(window, FLARE_WINDOW_CADENCES * cadence)
    config = DetrendConfig(method="median", bin_minutes=1440 * window / FLARE_WINDOW_BINS)
    trend = detrend.detrend(time, flux.astype(np.float32), starts, config, window_days=window)
    level: Floats = np.where(np.isfinite(trend), trend.astype(np.float64), flux)
    rest = flux - level
    typical, noise = _local_noise(time, rest, NOISE_BLOCK_DAYS)
    usual = float(np.quantile(np.abs(rest[some]), 0.95)) / 2
    sigma = np.maximum(noise, max(typical, usual, float(np.median(flux_err[some])), 1e-9))
    # The crests of a wave stand above their median in every cycle (`usual`; two sigma where there is only noise), and a
    # window that holds a cadence more on one side is off by up to half a cadence's change.
    sigma = np.hypot(sigma, 0.25 * np.gradient(level))
    least = 3 if cadence < FAST_CADENCE else 2
    for stretch in detrend.split_at_gaps(time, starts, config.gap_days):
        rest[stretch][_doubtful_edges(time[stretch], level[stretch], sigma[stretch], window)] = np.nan
    count, strongest = _count_flares(time, rest, level, sigma, cadence, least)
    return replace(
        found,
        noise_burst=float(noise.max() / typical) if typical > 0 else None,
        noise_burst_time=float(time[np.argmax(noise)] + NOISE_BLOCK_DAYS / 2) if typical > 0 else None,
        n_flares=int(count),
        flare_amplitude_ppm=1e6 * strongest if count else None,
    )


def _flare_window(found: Variability, scatter: float) -> float:
    """Days over which the level is taken; a variation that shows from cadence to cadence keeps its crests."""
    if found.variability_period is None or found.variability_amplitude_ppm is None:
        return FLARE_WINDOW_DAYS
    shows = 1e-6 * found.variability_amplitude_ppm > 2 * scatter
    return min(FLARE_WINDOW_DAYS, found.variability_period / 8) if shows else FLARE_WINDOW_DAYS


def _doubtful_edges(times: Floats, level: Floats, sigma: Floats, window: float) -> NDArray[np.bool_]:
    """Cadences of a stretch whose level is known from one side only, where it changes within a window."""
    first, last = times < times[0] + window / 2, times > times[-1] - window / 2
    begin, end = times < times[0] + window, times > times[-1] - window
    first &= bool(np.ptp(level[begin]) > EDGE_CHANGE * sigma[0])
    last &= bool(np.ptp(level[end]) > EDGE_CHANGE * sigma[-1])
    return first | last


def _local_noise(time: Floats, rest: Floats, days: float) -> tuple[float, Floats]:
    """The typical noise and, for each cadence, that of its block of `days`."""
    block = ((time - time[0]) / days).astype(np.int64)
    bounds = np.append(np.flatnonzero(np.diff(block, prepend=-1)), len(time))
    noises = _block_medians(np.abs(rest).astype(np.float32), bounds) * MAD_TO_SIGMA
    return float(np.median(noises)), np.repeat(noises, np.diff(bounds))


@numba.njit(nogil=True, cache=True)
def _block_medians(values, bounds):  # type: ignore[no-untyped-def]
    medians = np.empty(bounds.size - 1)
    for k in range(bounds.size - 1):
        medians[k] = median(values[bounds[k] : bounds[k + 1]])
    return medians


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _count_flares(times, rest, level, sigma, cadence, least):  # type: ignore[no-untyped-def]
    """Number and greatest height of the runs of cadences that rise fast, out of the quiet, and decay slowly.

    rest: flux less level; NaN where the level is in doubt, out of which nothing may rise. A flare stands above the
    level on either side: the end of an eclipse stands above one only. What remains of it without the highest cadence
    must be as sure: a cosmic ray is one cadence.
    """
    count, strongest = 0, 0.0
    n = times.size
    i = 2
    while i < n:
        if not rest[i] >= FLARE_EDGE * sigma[i]:
            i += 1
            continue
        first, last, peak = i, i, i
        while i < n and i - last <= 2 and times[i] - times[last] < 3.5 * cadence:
            if rest[i] >= FLARE_EDGE * sigma[i]:
                last = i
                if rest[i] > rest[peak]:
                    peak = i
            i += 1
        i = last + 1
        length = last - first + 1
        if length < least or times[last] - times[first] > FLARE_HOURS / 24:
            continue
        if times[first] - times[first - 2] > 3.5 * cadence or last - peak <= peak - first:
            continue
        if math.isnan(rest[first - 1]) or math.isnan(rest[min(last + 1, n - 1)]):
            continue
        above = level[peak] + rest[peak] - max(level[first - 2], level[min(last + 2, n - 1)])
        if min(above, rest[peak]) < FLARE_PEAK * sigma[peak]:
            continue
        besides = (_mean(rest, first, last + 1) * length - rest[peak]) / math.sqrt(length - 1.0)
        if besides < FLARE_PEAK * sigma[peak]:
            continue
        half = length // 2
        if _mean(rest, last + 1 - half, last + 1) < FLARE_TAIL * _mean(rest, first, first + half):
            count += 1
            strongest = max(strongest, rest[peak])
    return count, strongest


@numba.njit(nogil=True, cache=True)
def _mean(values, low, high):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(low, high):
        total += values[i]
    return total / (high - low)
