"""What a model is worth on labelled rows: one table of figures with intervals over stars, and one figure."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from survey.errors import UsageError
from survey.learning.artifact import Artifact
from survey.learning.lesson import Lesson, Scored, read_for
from survey.learning.metrics import (
    DRAWS,
    Interval,
    Labels,
    average_precision,
    bootstrap,
    brier,
    decide,
    expected_calibration_error,
    reliability,
    roc_auc,
)
from survey.learning.score import score_rows

UNKNOWN_STARS: Final = (
    "The model was trained elsewhere, on which stars is not known: where on these, the figures flatter it."
)


@dataclass(frozen=True)
class Evaluation:
    """figures: JSON values (S0.18); labels, scores and probabilities of the rows, for the figure."""

    title: str
    figures: dict[str, Any]
    labels: Labels
    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64]


def measure(
    labels: Labels,
    scores: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    stars: NDArray[Any],
    threshold: float,
    *,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """All figures of a set of rows as JSON values: ranking by score, decisions and calibration by probability.

    threshold: on the probability, chosen on other rows. Intervals: 95%, of a bootstrap over stars. What takes
    probabilities is None where they are NaN, as those of a model that was never calibrated are.
    """
    base_rate = float(labels.mean())
    precision = bootstrap(average_precision, labels, scores, stars, draws=draws)
    return {
        "rows": len(labels),
        "stars": len(np.unique(stars)),
        "positives": int(labels.sum()),
        "base_rate": base_rate,
        "average_precision": as_row(precision),
        "lift": precision.value / base_rate,
        "roc_auc": as_row(bootstrap(roc_auc, labels, scores, stars, draws=draws)),
        **_measure_chances(labels, probabilities, threshold),
    }


def _measure_chances(labels: Labels, probabilities: NDArray[np.float64], threshold: float) -> dict[str, Any]:
    """Decisions and calibration."""
    if np.isnan(probabilities).any():
        return dict.fromkeys((*decide(labels, probabilities, threshold).as_row(), "brier", "ece", "reliability"))
    curve = reliability(labels, probabilities)
    return {
        **decide(labels, probabilities, threshold).as_row(),
        "brier": brier(labels, probabilities),
        "ece": expected_calibration_error(labels, probabilities),
        "reliability": {
            "probability": curve.probabilities.tolist(),
            "share": curve.shares.tolist(),
            "rows": curve.counts.tolist(),
        },
    }


def as_row(interval: Interval) -> dict[str, float | None]:
    """value, low and high; None where there were no draws."""
    return {
        name: float(value) if np.isfinite(value) else None
        for name, value in (("value", interval.value), ("low", interval.low), ("high", interval.high))
    }


def evaluate(artifact: Artifact, lesson: Lesson, *, draws: int = DRAWS) -> Evaluation:
    """Figures of a model on labelled rows. Raises UsageError for rows that it cannot read, and for one class only.

    Stars that the model was trained on are scored by the members that never saw them; `seen_rows` counts their rows.
    """
    lesson = read_for(lesson, artifact)
    check_classes(lesson)
    found = score_rows(artifact, lesson.examples, lesson.stars, lesson.other_names)
    figures = {
        "model": artifact.record.name,
        "model_id": artifact.id,
        "task": lesson.task.name,
        "meaning": lesson.task.meaning,
        "set": lesson.set_name,
        "set_sha256": lesson.set_sha256,
        "simulated": lesson.simulated,
        **lesson.facts,
        "seen_rows": int(found.seen.sum()),
        "outside_rows": sum(map(bool, found.outside)),
        "notes": [*lesson.notes, *(() if artifact.record.calibrated else (UNKNOWN_STARS,))],
        **measure(lesson.labels, found.score, found.probability, lesson.stars, artifact.record.threshold, draws=draws),
        "spread": mean_spread(found.spread),
    }
    if lesson.measure is not None:
        folds = artifact.stars.folds_of(lesson.stars, lesson.other_names)
        figures["more"] = lesson.measure(Scored(found.outputs, found.score, found.probability, folds))
    title = f"{artifact.record.name} on {lesson.title}"
    return Evaluation(title, figures, lesson.labels, found.score, found.probability)


def mean_spread(spread: NDArray[np.float64]) -> float | None:
    """Of the rows that have one."""
    known = spread[np.isfinite(spread)]
    return float(known.mean()) if len(known) else None


def check_classes(lesson: Lesson) -> None:
    """Raises UsageError where there is nothing to tell apart."""
    if lesson.labels.all() or not lesson.labels.any():
        word = "positive" if lesson.labels.any() else "negative"
        raise UsageError(
            f"{lesson.set_name}: one class only for {lesson.task.name} ({lesson.task.meaning}): all rows are {word}"
        )


# Figure

BLUE: Final = "#1f6fb4"
GREY: Final = "#888888"


def draw_evaluation(evaluation: Evaluation) -> bytes:
    """PNG: precision over recall, the ROC curve, and what a probability is worth."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    figure.suptitle(_title(evaluation), fontsize=11)
    _draw_precision(left, evaluation)
    _draw_roc(middle, evaluation)
    _draw_reliability(right, evaluation)
    for axes in (left, middle, right):
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.01)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8, loc="lower right" if axes is middle else "best")
    sink = BytesIO()
    figure.savefig(sink, dpi=110, metadata={"Software": None})
    return sink.getvalue()


def _title(evaluation: Evaluation) -> str:
    figures = evaluation.figures
    return (
        f"{evaluation.title}: {figures['rows']:,} rows of {figures['stars']:,} stars, {figures['positives']:,} positive"
    )


def interval_words(row: Mapping[str, float | None]) -> str:
    """0.977 (0.971 to 0.982)"""
    if row["low"] is None or row["high"] is None:
        return f"{row['value']:.3f}"
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def _draw_precision(axes: Any, evaluation: Evaluation) -> None:
    from sklearn.metrics import precision_recall_curve

    figures = evaluation.figures
    precision, recall, _ = precision_recall_curve(evaluation.labels, evaluation.scores)
    words = f"average precision {interval_words(figures['average_precision'])}"
    axes.step(recall, precision, where="post", color=BLUE, label=words)
    axes.axhline(figures["base_rate"], color=GREY, ls="--", label=f"base rate {figures['base_rate']:.3f}")
    if figures.get("precision") is not None and figures["recall"] is not None:
        words = f"threshold {figures['threshold']:.2f}: F1 {figures['f1']:.3f}"
        axes.plot(figures["recall"], figures["precision"], "o", color="black", ms=5, label=words)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")


def _draw_roc(axes: Any, evaluation: Evaluation) -> None:
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(evaluation.labels, evaluation.scores)
    axes.plot(false, true, color=BLUE, label=f"area {interval_words(evaluation.figures['roc_auc'])}")
    axes.plot([0, 1], [0, 1], color=GREY, ls="--", label="chance")
    axes.set_xlabel("share of negatives called positive")
    axes.set_ylabel("share of positives called positive")


def _draw_reliability(axes: Any, evaluation: Evaluation) -> None:
    figures = evaluation.figures
    curve = figures["reliability"]
    if curve is None:
        axes.plot([0, 1], [0, 1], color=GREY, ls="--", label="not calibrated: scores only rank")
        return
    words = f"ECE {figures['ece']:.3f}, Brier {figures['brier']:.3f}"
    axes.plot(curve["probability"], curve["share"], "o-", color=BLUE, ms=4, label=words)
    axes.plot([0, 1], [0, 1], color=GREY, ls="--", label="as promised")
    axes.set_xlabel("probability")
    axes.set_ylabel("share of positives")


def write_figure(evaluation: Evaluation, path: Path) -> None:
    """Raises UsageError where the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw_evaluation(evaluation))
    except OSError as error:
        raise UsageError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None
