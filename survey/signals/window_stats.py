"""What a short stretch of light looks like: 14 statistics of each window that slides over a light curve.

Cadences are first averaged onto cells of `cell_minutes`, so that a window is about as long in every cadence of TESS;
slower cadences are cells themselves. Cells are counted in sigmas of their star, by what changes from one cell to the
next, so that one model fits all stars; by the spread about the median, a star that varies all the time would hide it.
No window reaches over a hole in time, and a stretch between holes that is shorter than a window has none.

Windows overlap. What is found of windows comes back to the cadences by votes: the share of the windows over a cadence
that were found strange. They are as wide as windows; which of the cells it is, `stands_out` says.
"""

import itertools
import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from survey.signals.detrend import robust_scatter
from survey.signals.search.noise import MAD_TO_SIGMA
from survey.stars.lightcurve import DAY_S, find_gaps

Floats = NDArray[np.float64]

STATISTICS = (
    "mean",  # of the window's cells, in sigmas, as all others without another unit
    "median",
    "scatter",  # standard deviation
    "spread",  # median absolute deviation, as a standard deviation
    "lowest",
    "highest",
    "skewness",  # third moment over scatter^3
    "kurtosis",  # fourth moment over scatter^4, less the 3 of Gaussian noise
    "slope",  # rise over half a window, by least squares
    "bend",  # coefficient of the parabola beside it
    "correlation",  # of neighbours, -1 to 1
    "steps",  # scatter from cell to cell: root mean square of the steps, over the root of 2
    "dip",  # lowest mean of RUN cells in a row, times the root of RUN
    "rise",  # highest
)

RUN = 5

LEAST_POINTS = 10
"""A window of fewer cells has no statistics worth the name."""

GAP_DAYS = 0.5
GAP_CADENCES = 5.0
"""A hole is longer than both."""

LEAST_FILLED = 0.5
"""A cell with fewer cadences than this share of the usual is as noisy as they are few: it is left out."""

OWN_CELLS = 0.67
"""Cadences longer than this share of a cell are cells themselves."""

EVENT_WIDTHS = (1, 5, 9)
"""Cells in a row whose median may stand out: one alone, fifty minutes, an hour and a half."""

EVENT_SIGMA = 4.0
"""Of the same medians elsewhere in the light curve."""

FURTHEST = 1e4
"""Sigmas: nothing is counted as further away."""


@dataclass(frozen=True)
class Windows:
    """A light curve cut into windows of `points` cells.

    times, departures: (m,) of the cells, days and sigmas from the star's median; cells: (n,) the cell of each cadence,
    -1 for those left out; starts: first cell of each stretch without a hole; firsts: (w,) first cell of each window.
    """

    points: int
    times: Floats
    departures: Floats
    cells: NDArray[np.int64]
    starts: NDArray[np.int64]
    firsts: NDArray[np.int64]

    @property
    def middles(self) -> Floats:
        """(w,) days."""
        return (self.times[self.firsts] + self.times[self.firsts + self.points - 1]) / 2


def cut_windows(
    time: Floats, flat: NDArray[np.floating], cadence_s: float, *, points: int, step: int, cell_minutes: float
) -> Windows:
    """Windows of `points` cells, `step` apart, of a detrended light curve (n,); the last of a stretch ends with it.

    time: days, rising; flat: about 1; values that are not finite are left out. Raises ValueError for other arrays.
    """
    if time.shape != flat.shape or time.ndim != 1 or bool((np.diff(time) < 0).any()):
        raise ValueError("time must rise, and flux have a value for each time")
    if points < LEAST_POINTS or not 1 <= step <= points:
        raise ValueError(f"windows are {LEAST_POINTS} cells or more, and no step is longer than a window")
    usable = np.flatnonzero(np.isfinite(flat) & np.isfinite(time))
    gap = max(GAP_DAYS, GAP_CADENCES * cadence_s / DAY_S)
    width = max(cell_minutes * 60.0, cadence_s) / DAY_S
    cells, starts, count = np.full(len(time), -1), [0], 0
    borders = [0, *find_gaps(time[usable], gap).tolist(), len(usable)]
    for begin, stop in itertools.pairwise(borders):
        part = usable[begin:stop]
        numbers, found = _number_cells(time[part], width)
        cells[part] = np.where(numbers < 0, -1, numbers + count)
        count += found
        starts.append(count)
    held = cells >= 0
    sizes = np.maximum(np.bincount(cells[held], minlength=count), 1)
    times = np.bincount(cells[held], time[held], count) / sizes
    means = np.bincount(cells[held], flat[held].astype(np.float64) - 1.0, count) / sizes
    firsts = [_place_windows(start, stop, points, step) for start, stop in itertools.pairwise(starts)]
    return Windows(points, times, _in_sigmas(means), cells, np.array(starts[:-1]), np.concatenate(firsts))


def _number_cells(times: Floats, width: float) -> tuple[NDArray[np.int64], int]:
    """The cell of each cadence of a stretch, counted from 0 without gaps, -1 in a cell that is hardly filled; how many
    cells."""
    cadence = float(np.median(np.diff(times))) if len(times) > 1 else width
    if cadence > OWN_CELLS * width:
        return np.arange(len(times)), len(times)
    # Half a cadence of room, so that jitter of the time stamps moves no cadence over a border.
    places = ((times - times[0] + cadence / 2) / width).astype(np.int64)
    _, numbers, sizes = np.unique(places, return_inverse=True, return_counts=True)
    filled = sizes >= LEAST_FILLED * np.median(sizes)
    order = np.where(filled, np.cumsum(filled) - 1, -1)
    return order[numbers], int(filled.sum())


def _in_sigmas(means: Floats) -> Floats:
    """Departures from the median over the scatter from cell to cell; 0 for a star that never changes."""
    if not len(means):
        return means
    rest = means - np.median(means)
    sigma = robust_scatter(means) or float(np.std(rest))
    return np.clip(rest / sigma, -FURTHEST, FURTHEST) if sigma > 0 else np.zeros_like(rest)


def _place_windows(start: int, stop: int, points: int, step: int) -> NDArray[np.int64]:
    last = stop - points
    if last < start:
        return np.empty(0, np.int64)
    return np.union1d(np.arange(start, last + 1, step), [last])


def measure_windows(windows: Windows) -> Floats:
    """(w, 14) STATISTICS of each window."""
    return _measure(windows.departures, windows.firsts, windows.points)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _measure(values, firsts, points):  # type: ignore[no-untyped-def]
    place = np.linspace(-1.0, 1.0, points)
    bow = place * place - np.mean(place * place)
    line, arc = np.sum(place * place), np.sum(bow * bow)
    out = np.zeros((firsts.size, 14))
    for k in range(firsts.size):
        x = values[firsts[k] : firsts[k] + points]
        mean, middle = np.mean(x), np.median(x)
        rest = x - mean
        variance = np.mean(rest * rest)
        steps = x[1:] - x[:-1]
        out[k, 0], out[k, 1] = mean, middle
        out[k, 2] = math.sqrt(variance)
        out[k, 3] = MAD_TO_SIGMA * np.median(np.abs(x - middle))
        out[k, 4], out[k, 5] = np.min(x), np.max(x)
        if variance > 0:
            out[k, 6] = np.mean(rest**3) / variance**1.5
            out[k, 7] = np.mean(rest**4) / variance**2 - 3.0
            out[k, 10] = np.sum(rest[1:] * rest[:-1]) / (points * variance)
        out[k, 8] = np.sum(place * rest) / line
        out[k, 9] = np.sum(bow * rest) / arc
        out[k, 11] = math.sqrt(np.mean(steps * steps) / 2)
        low, high = np.inf, -np.inf
        for i in range(points - RUN + 1):
            run = np.sum(x[i : i + RUN]) / math.sqrt(RUN)
            low, high = min(low, run), max(high, run)
        out[k, 12], out[k, 13] = low, high
    return out


def stands_out(windows: Windows) -> NDArray[np.bool_]:
    """(m,) whether a cell, or the median of the EVENT_WIDTHS about it, lies EVENT_SIGMA from the star's median.

    Medians keep the edges of an event, and a lone cell hardly moves those about it. Their sigma is their own spread in
    this star, no less than that of a mean of white noise: what a star does all the time does not stand out.
    """
    found = np.zeros(len(windows.times), bool)
    if not len(found):
        return found
    borders = np.append(windows.starts, len(found))
    for width in EVENT_WIDTHS:
        medians = np.abs(_running_median(windows.departures, borders, width))
        found |= medians >= EVENT_SIGMA * max(MAD_TO_SIGMA * float(np.median(medians)), width**-0.5)
    return found


@numba.njit(nogil=True, cache=True)
def _running_median(values, borders, width):  # type: ignore[no-untyped-def]
    """(m,) of the `width` values about each, fewer at the borders of a stretch."""
    out = values.copy()
    half = width // 2
    for part in range(len(borders) - 1):
        begin, stop = borders[part], borders[part + 1]
        for k in range(begin, stop):
            out[k] = np.median(values[max(begin, k - half) : min(stop, k + half + 1)])
    return out


def count_votes(windows: Windows, strange: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Share of the windows over each cell (m,), and over each cadence (n,), that are `strange` (w,); NaN where there
    are none."""
    edges = np.zeros((2, len(windows.times) + 1))
    for row, counted in zip(edges, (np.ones(len(strange)), strange.astype(float)), strict=True):
        np.add.at(row, windows.firsts, counted)
        np.add.at(row, windows.firsts + windows.points, -counted)
    over, found = np.cumsum(edges, axis=1)[:, :-1]
    of_cells = np.divide(found, over, out=np.full(len(over), np.nan), where=over > 0)
    of_cadences = np.append(of_cells, np.nan)[windows.cells]
    return of_cells, of_cadences


def find_runs(windows: Windows, flagged: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, stop) cells of the runs of `flagged` cells (m,), none over a hole."""
    begins = np.zeros(len(flagged) + 1, bool)
    begins[windows.starts], begins[-1] = True, True
    before, after = np.append(False, flagged[:-1]), np.append(flagged[1:], False)
    first = np.flatnonzero(flagged & (begins[:-1] | ~before))
    stop = np.flatnonzero(flagged & (begins[1:] | ~after)) + 1
    return list(zip(first.tolist(), stop.tolist(), strict=True))
