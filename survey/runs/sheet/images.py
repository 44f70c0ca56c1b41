"""Where the signal comes from: the panels of pixels."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from survey.runs.sheet import words
from survey.runs.sheet.evidence import Evidence
from survey.runs.sheet.strokes import say_why
from survey.runs.sheet.style import IMAGE_COLOURS, MODEL, RULE, TARGET
from survey.runs.sheet.timeline import Axis, round_step

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_direct(axes: "Axes", evidence: Evidence, axis: Axis) -> None:
    """The star out of transit; without pixels where the light's centre points to, if that was measured."""
    centroid = evidence.centroid
    if evidence.image is None and centroid is not None and centroid["ra_offset_arcsec"] is not None:
        _draw_offset(axes, centroid)
    else:
        _draw_image(axes, evidence, "direct_image", "Direct image")


def draw_difference(axes: "Axes", evidence: Evidence, axis: Axis) -> None:
    _draw_image(axes, evidence, "difference_image", "Difference")


def _draw_image(axes: "Axes", evidence: Evidence, name: str, title: str) -> None:
    view, centroid = evidence.image, evidence.centroid
    axes.set_title(title)
    if view is None:
        say_why(axes, evidence.why_no_image())
        return
    rows, columns = view["image_rows"], view["image_columns"]
    image = np.asarray(view[name], np.float64).reshape(rows, columns)
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, [2, 99.5]) if len(finite) else (0.0, 1.0)
    axes.imshow(
        image, origin="lower", cmap=IMAGE_COLOURS, vmin=low, vmax=max(high, low + 1e-9), interpolation="nearest"
    )
    axes.set_anchor("NW")
    axes.set_facecolor(RULE)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    at = (view["image_target_column"], view["image_target_row"])
    axes.set_xlabel(f"pixels of {words.pixel_size(evidence.row)}″" if name == "direct_image" else words.place(centroid))
    if None not in at:
        _mark_source(axes, at, centroid)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(-0.5, rows - 0.5)


def _mark_source(axes: "Axes", target: tuple[float, float], centroid: Mapping[str, Any] | None) -> None:
    """A cross on the target, and the source of the signal within three standard errors."""
    from matplotlib.patches import Ellipse

    for colour, width in (("white", 1.8), (TARGET, 0.9)):
        axes.plot(*target, "+", ms=7, mew=width, color=colour)
    if centroid is None or centroid["column_offset"] is None:
        return
    middle = (target[0] + centroid["column_offset"], target[1] + centroid["row_offset"])
    width, height, angle = error_ellipse(centroid, 3.0)
    for colour, line in (("white", 2.0), (MODEL, 1.0)):
        axes.add_patch(Ellipse(middle, width, height, angle=angle, fill=False, lw=line, color=colour))
        axes.plot(*middle, "o", ms=0.6 + line, mew=0, color=colour)


def _draw_offset(axes: "Axes", centroid: Mapping[str, Any]) -> None:
    """The place of the signal on the sky, north up and east to the left, within one and three standard errors."""
    from matplotlib.patches import Circle

    east, north = centroid["ra_offset_arcsec"], centroid["dec_offset_arcsec"]
    error = centroid["offset_arcsec_err"] or 0.0
    for sigmas in (1.0, 3.0):
        axes.add_patch(
            Circle((east, north), sigmas * error, fill=False, lw=0.9, color=MODEL, ls="-" if sigmas > 1 else ":")
        )
    axes.plot(east, north, "o", ms=2.2, mew=0, color=MODEL)
    axes.plot(0.0, 0.0, "+", ms=7, mew=1.0, color=TARGET)
    reach = 1.15 * max(abs(east) + 3.0 * error, abs(north) + 3.0 * error, 1e-3)
    axes.set_aspect("equal", adjustable="box", anchor="NW")
    axes.set_xlim(reach, -reach)
    axes.set_ylim(-reach, reach)
    step = round_step(reach / 1.5)
    for pin in (axes.set_xticks, axes.set_yticks):
        pin([-step, 0.0, step], [f"−{step:g}″", "0", f"{step:g}″"])
    axes.set_title(f"By {words.method(centroid)}")
    axes.set_xlabel(words.place(centroid))


def error_ellipse(centroid: Any, sigmas: float) -> tuple[float, float, float]:
    """Full width, full height (pixels) and angle (degrees) of the ellipse of so many standard deviations."""
    column, row, both = (centroid[name] or 0.0 for name in ("column_var", "row_var", "covariance"))
    values, vectors = np.linalg.eigh(np.array([[column, both], [both, row]]))
    width, height = 2.0 * sigmas * np.sqrt(np.maximum(values[::-1], 0.0))
    return float(width), float(height), math.degrees(math.atan2(vectors[1, 1], vectors[0, 1]))
