"""Overlapping windows of a light curve on an even grid: what a network reads that knows nothing of periods.

A star's light is averaged into bins of `grid_s`, or of its own cadence where that is longer. Stretches between holes
longer than a quarter of a window have each a grid of their own, counted from their first cadence, so that nothing
depends on the zero of time. Windows of `window` bins follow each other by a stride; a last one ends with the stretch,
and a stretch shorter than a window stands in the middle of one. Bins without data are filled and marked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from survey.config import Frozen
from survey.signals.ephemeris import Ephemeris, fold, transit_number

Times = NDArray[np.float64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

DAY_S: Final = 86_400.0

GAUSSIAN_MAD: Final = 1.4826
"""Standard deviation of a Gaussian over its median absolute deviation."""

LEAST_COVER: Final = 0.5
"""A transit of which less than this share is measured neither makes a segment positive nor leaves it negative."""

POSITIVE, NEGATIVE, DOUBTFUL = 1, 0, -1


class SegmentSpec(Frozen):
    """How light becomes segments.

    channels: 1 for flattened flux, 2 for raw and flattened. level: zscore divides by a robust standard deviation,
    centre only takes the median away (then in parts per thousand). least_share: of the bins of a window that must be
    measured.
    """

    window: int = Field(1024, ge=16, le=16_384)
    stride: int | None = Field(None, ge=1, le=16_384)
    """None: a quarter of the window."""
    channels: Literal[1, 2] = 2
    level: Literal["zscore", "centre"] = "zscore"
    grid_s: float = Field(600.0, ge=10, le=86_400)
    least_share: float = Field(0.2, gt=0, le=1)

    @property
    def step(self) -> int:
        """Bins from one window to the next; windows that do not overlap would leave transits cut in two."""
        return min(self.stride or max(1, self.window // 4), self.window)


@dataclass(frozen=True)
class Segments:
    """n windows. light: (n, channels, window), levelled, 0 where nothing was measured before or after the stretch;
    measured: (n, window); begin: (n,) time of the middle of the first bin; bin_d: width of a bin, days."""

    light: Floats
    measured: Mask
    begin: Times
    bin_d: float

    def __len__(self) -> int:
        return len(self.begin)

    @property
    def middle(self) -> Times:
        """(n,) times of the middles."""
        return self.begin + (self.measured.shape[1] - 1) / 2 * self.bin_d

    def times(self) -> Times:
        """(n, window) times of the middles of the bins."""
        return self.begin[:, None] + np.arange(self.measured.shape[1]) * self.bin_d


def cut_segments(
    time: Times, raw: NDArray[np.floating], flat: NDArray[np.floating], cadence_s: float, spec: SegmentSpec
) -> Segments:
    """All segments of a light curve, in order of time.

    time: (n,) days, rising; raw: flux about 1; flat: flux over its trend; cadences that are NaN in any of them are
    left out. A light curve with too little in any window has no segments.
    """
    known = np.isfinite(time) & np.isfinite(flat) & np.isfinite(raw)
    times = time[known]
    fluxes = (flat[known],) if spec.channels == 1 else (raw[known], flat[known])
    width = max(spec.grid_s, cadence_s) / DAY_S
    borders = np.flatnonzero(np.diff(times) > spec.window // 4 * width) + 1
    parts = [
        _cut_stretch(times[part], [flux[part] for flux in fluxes], width, cadence_s / DAY_S, spec)
        for part in np.split(np.arange(len(times)), borders)
        if len(part)
    ] or [(np.empty((0, spec.channels, spec.window)), np.empty((0, spec.window), bool), np.empty(0))]
    light, measured, begin = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Segments(_level(light, measured, spec), measured, begin, width)


def _cut_stretch(
    times: Times, fluxes: list[NDArray[np.floating]], width: float, cadence: float, spec: SegmentSpec
) -> tuple[NDArray[np.float64], Mask, Times]:
    """light, measured and begin of the windows over a stretch without long holes that hold enough.

    Bins without data take no memory but inside of these windows.
    """
    # Half a cadence of room, so that jitter of the time stamps moves no cadence over a border.
    room = cadence / 2
    cells, first = np.unique(np.floor((times - times[0] + room) / width).astype(np.int64), return_index=True)
    counts = np.diff(np.append(first, len(times)))
    last = max(0, cells[-1] + 1 - spec.window)
    starts = np.unique(np.append(np.arange(0, last + 1, spec.step), last))
    starts -= max(0, spec.window - cells[-1] - 1) // 2
    filled = np.searchsorted(cells, starts + spec.window) - np.searchsorted(cells, starts)
    starts = starts[filled >= spec.least_share * spec.window]
    bins = starts[:, None] + np.arange(spec.window)
    measured = cells[np.minimum(np.searchsorted(cells, bins), len(cells) - 1)] == bins
    means = [np.add.reduceat(flux.astype(np.float64) - 1.0, first) / counts for flux in fluxes]
    light = np.stack([np.interp(bins, cells, mean) for mean in means], 1)
    return light, measured, times[0] - room + width / 2 + starts * width


def _level(light: NDArray[np.float64], measured: Mask, spec: SegmentSpec) -> Floats:
    """Each channel less its median, and over its robust standard deviation; that of a constant flux is 1.

    Outside of a stretch, before the first and after the last measured bin, light is 0. The flattened channel is 0 in
    every bin without data: a straight line over noise would look like a smooth bit of star.
    """
    if not len(light):
        return light.astype(np.float32)
    values = np.where(measured[:, None], light, np.nan)
    centre = np.nanmedian(values, axis=-1, keepdims=True)
    scale = np.full_like(centre, 1e-3)
    if spec.level == "zscore":
        scale = GAUSSIAN_MAD * np.nanmedian(np.abs(values - centre), axis=-1, keepdims=True)
        scale = np.where(scale > 0, scale, 1.0)
    levelled = (light - centre) / scale
    inside = np.maximum.accumulate(measured, 1) & np.maximum.accumulate(measured[:, ::-1], 1)[:, ::-1]
    levelled[:, :-1][~np.broadcast_to(inside[:, None], levelled[:, :-1].shape)] = 0.0
    levelled[:, -1][~measured] = 0.0
    return levelled.astype(np.float32)


def label_segments(segments: Segments, signals: Sequence[Ephemeris]) -> NDArray[np.int8]:
    """(n,) POSITIVE where at least half of a predicted transit of any signal is measured inside the segment, NEGATIVE
    where nothing of any is, DOUBTFUL between [science rule 30]."""
    cover = np.zeros(len(segments))
    for signal in signals:
        np.maximum(cover, best_cover(segments, signal), out=cover)
    return np.where(cover >= LEAST_COVER, POSITIVE, np.where(cover > 0, DOUBTFUL, NEGATIVE)).astype(np.int8)


def best_cover(segments: Segments, signal: Ephemeris) -> NDArray[np.float64]:
    """(n,) share of the duration that is measured of the transit that each segment shows best; 0 where it has none."""
    cover = np.zeros(len(segments))
    if not len(segments):
        return cover
    times = segments.times()
    from_middle = np.abs(fold(times, signal.period, signal.epoch))
    longest = min(segments.bin_d, signal.duration)
    shared = np.clip((signal.duration + segments.bin_d) / 2 - from_middle, 0.0, longest)
    shared = np.where(segments.measured, shared, 0.0).ravel()
    number = transit_number(times, signal).ravel()
    row = np.repeat(np.arange(len(segments)), times.shape[1])
    first = np.flatnonzero(np.append(True, (np.diff(number) != 0) | (np.diff(row) != 0)))
    np.maximum.at(cover, row[first], np.add.reduceat(shared, first) / signal.duration)
    return cover


WIDTHS: Final = (2, 4, 8, 16, 32, 64)
"""Bins over which running means are taken: from 20 minutes to 32 hours."""


def excursions(flat: Floats) -> Floats:
    """(n, 2 x widths) deepest and highest running means of (n, window) levelled flux, in errors of such a mean if the
    noise were white: a search for a box that comes once."""
    sums = np.cumsum(np.pad(flat.astype(np.float64), ((0, 0), (1, 0))), axis=1)
    found = []
    for width in (width for width in WIDTHS if width <= flat.shape[1]):
        means = (sums[:, width:] - sums[:, :-width]) / np.sqrt(width)
        found += [means.min(1), means.max(1)]
    return np.stack(found, 1).astype(np.float32)


def tabulate_segments(light: Floats) -> Floats:
    """(n, k) figures of (n, channels, window) segments, for learners that read tables: excursions, what lies beside the
    deepest dip, moments, quantiles, the share measured."""
    flat = light[:, -1].astype(np.float64)
    n = len(flat)
    padded = np.pad(flat, ((0, 0), (16, 16)))
    lowest = np.argmin(flat, axis=1)
    beside = padded[np.arange(n)[:, None], lowest[:, None] + np.arange(33)]
    deviation = flat - flat.mean(1, keepdims=True)
    scale = np.maximum(deviation.std(1), 1e-9)
    lagged = (deviation[:, 1:] * deviation[:, :-1]).mean(1) / scale**2
    moments = [scale, (deviation**3).mean(1) / scale**3, (deviation**4).mean(1) / scale**4, lagged]
    quantiles = np.quantile(light, (0.0, 0.01, 0.05, 0.25, 0.75, 0.95, 0.99, 1.0), axis=2)
    shares = [(flat != 0).mean(1), (flat < -3).mean(1), (flat < -5).mean(1), (flat > 3).mean(1)]
    columns = [excursions(light[:, -1]), beside, np.stack([*moments, *shares], 1)]
    columns += [quantiles.transpose(1, 2, 0).reshape(n, -1)]
    return np.concatenate(columns, 1).astype(np.float32)
