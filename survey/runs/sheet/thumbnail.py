"""A signal as a stamp: the fold about its transit, small enough to stand in a table by the hundred."""

import io
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from survey.config import Config
from survey.runs.sheet.folds import LEAST_IN_BIN, Bins, Floats, bin_means, fit_model, hours_from
from survey.runs.sheet.style import BINNED, FAINT, MODEL, POINTS
from survey.runs.stages import Row, flat_curve, tce_of
from survey.signals.views import VIEW_SPECS, place_bins

WIDTH, HEIGHT = 220, 80
SHARPNESS: Final = 2
"""Pixels of the picture for every pixel that it is shown with."""

COLOURS = 24
BINS = 48
REACH = 2.5
"""Half width of the fold, in durations."""


def draw_thumbnail(row: Row, tce: Mapping[str, Any]) -> bytes | None:
    """The fold of one signal as PNG, twice WIDTH x HEIGHT pixels: points where the row holds its light curve, bins,
    and the trapezoid.

    A row of the catalogue has no light curve: its `views` are drawn, where they hold this signal. None where there is
    neither.
    """
    if row.get("time") is not None:
        return _draw(*_fold_light(row, tce), tce)
    view = next((view for view in row.get("views") or () if view["number"] == tce["number"]), None)
    return None if view is None else _draw(np.empty(0), np.empty(0), _bins_of_view(view, tce), tce)


def _half_width(tce: Mapping[str, Any], durations: float = REACH) -> float:
    """Of the stamp, hours."""
    half = durations * tce["duration_h"]
    return float(half if tce["period"] is None else min(half, 12.0 * tce["period"]))


def _fold_light(row: Row, tce: Mapping[str, Any]) -> tuple[Floats, Floats, Bins]:
    orbit, half = tce_of(dict(tce)).ephemeris, _half_width(tce)
    hours, flux = hours_from(flat_curve(row, Config()), orbit, orbit.epoch, half)
    return hours, flux, bin_means(hours, flux, np.linspace(-half, half, BINS + 1))


def _bins_of_view(view: Mapping[str, Any], tce: Mapping[str, Any]) -> Bins:
    """The local view in hours and ppm, a few of its bins together."""
    spec = VIEW_SPECS[view["spec"]]
    flux = np.asarray(view["local_view"], np.float64) * view["scale_ppm"]
    half = _half_width(tce, spec.local_durations)
    hours, _ = place_bins((-half, half), len(flux), spec.local_bin_width * tce["duration_h"])
    seen = ~np.asarray(view["local_empty"], bool)
    shown = _half_width(tce, min(REACH, spec.local_durations))
    count = min(BINS, int(len(flux) * shown / half) // LEAST_IN_BIN)
    return bin_means(hours[seen], flux[seen], np.linspace(-shown, shown, count + 1))


def _draw(hours: Floats, flux: Floats, bins: Bins, tce: Mapping[str, Any]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100 * SHARPNESS)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    right = _half_width(tce)
    left = -right
    axes.plot([left, right], [0, 0], color=FAINT, lw=0.5)
    axes.plot(hours, flux, ",", color=POINTS, alpha=0.5)
    axes.plot(bins.x, bins.mean, "o", ms=2.2, mew=0, color=BINNED)
    model = fit_model(bins, tce["depth_ppm"], tce["duration_h"], 0.0)
    x = np.linspace(left, right, 201)
    axes.plot(x, model.at(x), color=MODEL, lw=1.1)
    axes.set_xlim(left, right)
    low, high = min([model.base - model.depth, *bins.mean]), max([0.0, *bins.mean])
    room = 0.12 * (high - low) or 1.0
    axes.set_ylim(low - room, high + room)
    canvas.draw()
    picture = (
        Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    )
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()
