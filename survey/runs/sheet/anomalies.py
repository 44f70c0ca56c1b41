"""A light curve with what is strange in it in red."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from survey.errors import SurveyError
from survey.runs.sheet.style import BINNED, FAILED, FAINT, POINTS, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from survey.learning.anomaly import Anomalies

RED: Final = "#d81b1b"
DPI: Final = 130
SIGNS: Final = {"dip": "▼", "brightening": "▲", "noise": "•"}
NAMED: Final = 40
"""With more intervals their signs would cover each other."""


def draw_anomalies(
    found: "Anomalies", time: NDArray[np.float64], flat: NDArray[np.floating], time_zero: float, path: Path
) -> None:
    """Writes a PNG: detrended light (d,), flagged points in red, and the scores of the windows below.

    Raises SurveyError where it cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**STYLE, "font.size": 8.5, "axes.titlesize": 9.5, "axes.labelsize": 8.5}):
        figure = Figure(figsize=(11, 5.2), layout="constrained")
        light, scores = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
        _draw_light(light, found, time, flat)
        _draw_scores(scores, found)
        scores.set_xlabel(f"time (BJD - {time_zero:.0f})")
        try:
            figure.savefig(path, format="png", dpi=DPI, metadata={"Software": None})
        except OSError as error:
            raise SurveyError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error


def _draw_light(axes: "Axes", found: "Anomalies", time: NDArray[np.float64], flat: NDArray[np.floating]) -> None:
    size = 1.2 if len(time) > 5000 else 2.6
    flagged = found.flagged
    axes.plot(time[~flagged], flat[~flagged], ".", ms=size, color=POINTS, mew=0)
    axes.plot(time[flagged], flat[flagged], ".", ms=size + 0.6, color=RED, mew=0, label="flagged")
    top = float(np.max(flat)) if len(flat) else 1.0
    for part in found.intervals if len(found.intervals) <= NAMED else ():
        axes.annotate(
            SIGNS[part.kind], (part.peak, top), (0, 3), "data", "offset points", color=RED, ha="center", fontsize=6
        )
    score = "no stretch is as long as a window" if found.score is None else f"score {found.score:.2f}"
    count = int(flagged.sum())
    axes.set_title(f"{found.star}: {score}, {count:,} of {len(time):,} points flagged (▼ dip, ▲ brightening, • noise)")
    axes.set_ylabel("flux over trend")


def _draw_scores(axes: "Axes", found: "Anomalies") -> None:
    axes.plot(found.middles, found.scores, ".", ms=3, color=BINNED, mew=0)
    axes.plot(found.middles[found.strange], found.scores[found.strange], ".", ms=4, color=RED, mew=0)
    axes.axhline(found.threshold, color=FAILED, lw=0.8, ls="--")
    axes.axhline(0, color=FAINT, lw=0.5)
    axes.set_ylabel("window score")
