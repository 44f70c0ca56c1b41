"""What the panels of the sheet are drawn with: points, bars, limits, units, and words in an empty panel."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from survey.runs.sheet.evidence import Evidence
from survey.runs.sheet.folds import Bins, Floats, hours_from
from survey.runs.sheet.style import FAINT, POINTS
from survey.runs.sheet.timeline import round_step_up

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PERCENT_FROM: Final = 8000.0
"""Folds that reach this depth (ppm) are drawn in percent."""


TICKS_PER_INCH: Final = 1.45
"""Of hours, on either side of the middle, at most."""


def put_note(axes: "Axes", text: str) -> None:
    axes.set_title(text, loc="right", fontsize=6.0, fontweight="normal", color=FAINT)


def hours_axis(axes: "Axes", half: float) -> None:
    """Hours from the middle of the panel, in round steps that its width has room for."""
    axes.set_xlim(-half, half)
    inches = axes.get_window_extent().width / axes.figure.dpi
    step = round_step_up(half / (TICKS_PER_INCH * inches))
    step /= 2.0 if step > half else 1.0
    ticks = np.arange(-int(half / step), int(half / step) + 1) * step
    axes.set_xticks(ticks, [f"{tick:g} h".replace("-", "−") if tick else "0" for tick in ticks.tolist()])


def say_why(axes: "Axes", text: str) -> None:
    """An empty panel that says why it is empty."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_facecolor("#f5f6f8")
    axes.text(0.5, 0.5, text, size=6.0, color=FAINT, ha="center", va="center", transform=axes.transAxes)


def draw_points(
    axes: "Axes", x: Floats, y: Floats, *, color: str = POINTS, size: float | None = None, alpha: float = 0.7
) -> None:
    axes.plot(x, y, ".", ms=size or marker_size(len(x)), color=color, alpha=alpha, mew=0, rasterized=True)


def draw_near(
    axes: "Axes", evidence: Evidence, middle: float, factor: float, half: float, *, faint: bool = False
) -> Floats:
    """Draws the cadences within `half` hours of `middle` (d); returns their flux in ppm."""
    assert evidence.orbit is not None
    assert evidence.alone is not None
    hours, flux = hours_from(evidence.alone, evidence.orbit, middle, half)
    draw_points(axes, hours, flux / factor, alpha=0.3 if faint else 0.7)
    return flux


def draw_bars(
    axes: "Axes", bins: Bins, factor: float, colour: str, size: float, *, form: str = "o", faint: bool = False
) -> None:
    """Points with their errors. Lines and markers of their own: errorbar() takes five times as long."""
    from matplotlib.collections import LineCollection

    y, error = bins.mean / factor, bins.error / factor
    bars = np.stack([np.stack([bins.x, y - error], axis=-1), np.stack([bins.x, y + error], axis=-1)], axis=1)
    alpha = 0.35 if faint else 1.0
    axes.add_collection(LineCollection(list(bars), colors=colour, linewidths=0.7, alpha=alpha))
    filling = {"mew": 0.0} if form == "o" else {"mew": 0.7, "mfc": "white"}
    axes.plot(bins.x, y, form, ms=size, color=colour, alpha=alpha, **filling)


def unit_of_folds(evidence: Evidence, flux: Floats | None) -> tuple[float, str]:
    """What a fold in ppm is divided by, and the unit that it then has."""
    if evidence.tce is not None:
        return unit_for(abs(evidence.tce["depth_ppm"]))
    return unit_for(float(np.percentile(np.abs(flux), 99)) if flux is not None else 0.0)


def unit_for(largest: float) -> tuple[float, str]:
    return (1e4, "%") if largest >= PERCENT_FROM else (1.0, "ppm")


def fold_limits(flux: Floats, bins: Bins, evidence: Evidence, factor: float) -> tuple[float, float]:
    """Room for the depth, the bins and the scatter, not for single outliers."""
    assert evidence.tce is not None
    low, high = np.percentile(flux, [1.0, 99.0]) if len(flux) else (-1.0, 1.0)
    depth = abs(evidence.tce["depth_ppm"])
    low, high = max(low, -6.0 * depth), min(high, 6.0 * depth)
    low, high = min(low, -1.25 * depth, *bins.mean), max(high, 0.25 * depth, *bins.mean)
    room = 0.06 * (high - low)
    return (low - room) / factor, (high + room) / factor


def bin_limits(groups: Sequence[Bins], evidence: Evidence) -> tuple[float, float]:
    """Room for all bins and for the depth, ppm."""
    assert evidence.tce is not None
    lows = [level for bins in groups for level in bins.mean - bins.error]
    highs = [level for bins in groups for level in bins.mean + bins.error]
    return padded([*lows, -evidence.tce["depth_ppm"]], [*highs, 0.0])


def padded(lows: Any, highs: Any) -> tuple[float, float]:
    low, high = min(lows, default=-1.0), max(highs, default=1.0)
    room = 0.08 * (high - low) or 1.0
    return low - room, high + room


def light_limits(values: Floats, margin: float) -> tuple[float, float]:
    """All but the highest outliers, with a margin; dips are never cut off."""
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(np.percentile(finite, 99.9))
    room = margin * (high - low) or 1e-6
    return low - room, high + 3.0 * room


def marker_size(count: int) -> float:
    """Diameter of a marker: smaller, the more there are."""
    return float(np.clip(150.0 / math.sqrt(max(count, 1)), 1.15, 3.0))
