"""Time as it is drawn: without the long holes of a light curve."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

GAP_DAYS = 8.0
"""A longer hole in time is cut out of the drawing of a light curve, and marked."""


@dataclass(frozen=True)
class Axis:
    """Time without its long holes: `place` puts times on the drawing; breaks: where holes were cut out."""

    starts: Floats
    stops: Floats
    offsets: Floats
    pause: float

    def place(self, time: Floats) -> Floats:
        block = np.clip(np.searchsorted(self.starts, time, side="right") - 1, 0, None)
        shown: Floats = time - self.offsets[block]
        return shown

    def breaks(self) -> Floats:
        middle: Floats = (self.starts - self.offsets)[1:] - 0.5 * self.pause
        return middle

    def limits(self) -> tuple[float, float]:
        """Left and right edge of the drawing, with a little room."""
        first, last = self.place(np.array([self.starts[0], self.stops[-1]])).tolist()
        margin = 0.006 * (last - first) or 0.5
        return first - margin, last + margin

    def ticks(self, count: int = 10) -> tuple[Floats, list[str]]:
        """Places and labels of round times inside the blocks, about `count` in all."""
        lengths = self.stops - self.starts
        step = round_step(float(lengths.sum()) / count)
        times: list[float] = []
        for start, stop in zip(self.starts, self.stops, strict=True):
            inside = np.arange(np.ceil(start / step), np.floor(stop / step) + 1) * step
            times += inside.tolist() or [0.5 * (start + stop)]
        shown = self.place(np.asarray(times))
        apart = (shown[-1] - shown[0]) / (1.75 * count) if len(shown) > 1 else 0.0
        kept: list[int] = []
        for k, place in enumerate(shown):
            if not kept or place - shown[kept[-1]] >= apart:
                kept.append(k)
        return shown[kept], [f"{times[k]:.10g}" if step < 1 else f"{times[k]:.0f}" for k in kept]


def cut_gaps(time: Floats, gap_days: float = GAP_DAYS) -> Axis:
    """The drawing's axis of sorted times: holes longer than `gap_days` shrink to 1% of what was observed."""
    edges = np.flatnonzero(np.diff(time) > gap_days)
    starts = time[np.concatenate([[0], edges + 1])]
    stops = time[np.concatenate([edges, [len(time) - 1]])]
    pause = max(0.01 * float(np.sum(stops - starts)), 1e-3)
    offsets = np.concatenate([[0.0], np.cumsum(starts[1:] - stops[:-1] - pause)])
    return Axis(starts, stops, offsets, pause)


def round_step(step: float) -> float:
    """The nearest of 1, 2, 5, 10 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(max(step, 1e-6)))
    return float(power * min((1.0, 2.0, 5.0, 10.0), key=lambda m: abs(np.log(m * power / step))))


def round_step_up(step: float) -> float:
    """The next of 1, 2, 5, 10 times a power of ten that is no less."""
    power = 10.0 ** np.floor(np.log10(max(step, 1e-6)))
    return float(power * next(m for m in (1.0, 2.0, 5.0, 10.0) if m * power >= step * (1 - 1e-9)))
