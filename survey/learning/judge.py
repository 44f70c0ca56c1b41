"""What a training is worth: figures of every star by members that never saw it, beside boosted trees."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from survey.config import TrainConfig
from survey.learning.calibrate import CALIBRATORS, Calibration, calibrate_by_fold, fit_by_fold
from survey.learning.evaluate import as_row, mean_spread, measure
from survey.learning.examples import Examples
from survey.learning.fit import Job
from survey.learning.floor import score_floor
from survey.learning.folds import Folds
from survey.learning.lesson import Lesson, Scored
from survey.learning.members import Weights, find_positives, one_thread, score_examples
from survey.learning.metrics import (
    DRAWS,
    Labels,
    average_precision,
    best_threshold,
    brier,
    decide,
    expected_calibration_error,
    paired_bootstrap,
    roc_auc,
)
from survey.learning.score import mean_over_members, scatter_of_members, score_member

Floats = NDArray[np.floating]

SHARES: Final = ("precision", "recall", "f1")


@dataclass(frozen=True)
class Outcome:
    """Out-of-fold scores and probabilities of all rows, what the model keeps to make decisions, and all figures."""

    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    calibration: Calibration
    fold_calibrations: tuple[Calibration, ...]
    threshold: float
    figures: dict[str, Any]
    extra: dict[str, Any]


def judge(
    lesson: Lesson,
    folds: Folds,
    jobs: list[Job],
    weights: tuple[Weights, ...],
    config: TrainConfig,
    *,
    draws: int = DRAWS,
) -> Outcome:
    """Figures of out-of-fold scores, beside boosted trees on the same folds.

    The calibration and the threshold by which a fold is judged come from the other folds. Those that the model keeps
    come from all.
    """
    labels, stars, kind = lesson.labels, lesson.stars, lesson.kind
    outputs = score_folds(lesson, lesson.examples, folds, jobs, weights)
    used = np.stack([folds == job.fold for job in jobs])
    ranks = np.where(used, np.stack([kind.reduce(part) for part in outputs]), np.nan)
    scores = mean_over_members(ranks, used)
    calibration = CALIBRATORS[config.calibration](scores, labels)
    fold_calibrations = fit_by_fold(scores, labels, folds, config.calibration)
    probabilities = calibrate_by_fold(fold_calibrations, scores, folds)
    threshold = best_threshold(labels, probabilities)
    scored = Scored(mean_over_members(outputs, used), scores, probabilities, folds)
    mean_outputs = torch.from_numpy(scored.outputs.astype(np.float32))
    figures = measure(labels, scores, probabilities, stars, threshold, draws=draws) | {
        "loss": float(kind.loss(mean_outputs, lesson.examples.targets)),
        "across_folds": decided_across(labels, probabilities, folds),
        "by_fold": by_fold(labels, scores, folds),
        "single_member": single_members(labels, ranks, folds, jobs),
        "spread": mean_spread(scatter_of_members(calibrate_by_fold(fold_calibrations, ranks, folds), used)),
        "floor": beside(labels, scores, score_floor(lesson.table, labels, folds), folds, stars, draws),
        "uncalibrated": _uncalibrated(labels, scores),
        "learnt": measure_learnt(lesson, jobs, weights),
    }
    if lesson.blind is not None:
        examples, table = lesson.blind
        hidden = score_folds(lesson, examples, folds, jobs, weights)
        alone = mean_over_members(np.stack([kind.reduce(part) for part in hidden]), used)
        figures["blind"] = {
            "average_precision": average_precision(labels, alone),
            "by_fold": by_fold(labels, alone, folds),
            "floor": beside(labels, alone, score_floor(table, labels, folds), folds, stars, draws),
        }
    if lesson.measure is not None:
        figures["more"] = lesson.measure(scored)
    extra = lesson.keep(scored) if lesson.keep is not None else {}
    return Outcome(scores, probabilities, calibration, fold_calibrations, threshold, figures, extra)


def score_folds(
    lesson: Lesson, examples: Examples, folds: Folds, jobs: list[Job], weights: tuple[Weights, ...]
) -> NDArray[np.float32]:
    """(members, n, ...) outputs of every row by the members of its own fold; 0 by the others, which saw its star."""
    each = []
    network = lesson.kind.make(lesson.shape)
    with one_thread():
        for job, member in zip(jobs, weights, strict=True):
            held = np.flatnonzero(folds == job.fold)
            network.load_state_dict(member)
            found = score_member(network, examples.take(held), lesson.kind.batch)
            outputs = np.zeros((len(folds), *found.shape[1:]), np.float32)
            outputs[held] = found
            each.append(outputs)
    return np.stack(each)


def measure_learnt(lesson: Lesson, jobs: list[Job], weights: tuple[Weights, ...]) -> dict[str, float]:
    """Means over the members of loss and ranking on the very rows that they learnt from: what is above the figures of
    other stars was learnt by heart."""
    kind, found = lesson.kind, []
    network = kind.make(lesson.shape)
    with one_thread():
        for job, member in zip(jobs, weights, strict=True):
            network.load_state_dict(member)
            rows = lesson.examples.take(job.training)
            outputs, positive = score_examples(network, rows), find_positives(rows)
            ranks = kind.reduce(outputs)
            found.append(
                {
                    "loss": float(kind.loss(torch.from_numpy(outputs), rows.targets)),
                    "average_precision": average_precision(positive, ranks),
                    "roc_auc": roc_auc(positive, ranks),
                }
            )
    return {name: float(np.mean([row[name] for row in found])) for name in found[0]}


def by_fold(labels: Labels, scores: Floats, folds: Folds) -> dict[str, Any]:
    """Average precision and area under the ROC curve of each fold, with mean and standard deviation over them."""
    each = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
    found = {
        "average_precision": [average_precision(labels[rows], scores[rows]) for rows in each],
        "roc_auc": [roc_auc(labels[rows], scores[rows]) for rows in each],
    }
    return {
        name: {"mean": float(np.mean(values)), "std": float(np.std(values)), "folds": values}
        for name, values in found.items()
    }


def single_members(labels: Labels, ranks: Floats, folds: Folds, jobs: list[Job]) -> dict[str, float]:
    """Mean and standard deviation over all members of the average precision in their own fold."""
    held = [folds == job.fold for job in jobs]
    found = [average_precision(labels[rows], ranks[k, rows]) for k, rows in enumerate(held)]
    return {"mean": float(np.mean(found)), "std": float(np.std(found))}


def beside(
    labels: Labels,
    scores: Floats,
    floor: Floats,
    folds: Folds,
    stars: NDArray[Any],
    draws: int,
) -> dict[str, Any]:
    """The floor's figures, and by how much the average precision is above it: a paired bootstrap over stars."""
    return {
        "by_fold": by_fold(labels, floor, folds),
        "average_precision": average_precision(labels, floor),
        "gain": as_row(paired_bootstrap(average_precision, labels, scores, floor, stars, draws=draws)),
    }


def decided_across(labels: Labels, probabilities: Floats, folds: Folds) -> dict[str, float | None]:
    """Precision, recall and F1 where the threshold of each fold is the best of the other folds."""
    called = np.zeros(len(labels), bool)
    for fold in np.unique(folds):
        held = folds == fold
        called[held] = probabilities[held] >= best_threshold(labels[~held], probabilities[~held])
    return {name: value for name, value in decide(labels, called, 0.5).as_row().items() if name in SHARES}


def _uncalibrated(labels: Labels, scores: Floats) -> dict[str, float]:
    plain = expit(scores)
    return {"brier": brier(labels, plain), "ece": expected_calibration_error(labels, plain)}
