"""From labelled views to a model that knows what it is worth.

Stars are divided into folds. Each fold has members of its own, which never see its stars; the scores that they give to
those stars choose the threshold, fit the calibration and make every figure that is reported. All members together are
the model, and it remembers the fold of each star, so that it never scores a star by a member that saw it.
"""

import csv
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from survey.config import TrainConfig, hash_of
from survey.errors import UsageError
from survey.learning.artifact import (
    InputsRecord,
    MemberRecord,
    ModelRecord,
    ShapeRecord,
    check_place,
    know_stars,
    round_weights,
    write_artifact,
)
from survey.learning.calibrate import CALIBRATORS, Calibration, calibrate_by_fold, fit_by_fold
from survey.learning.card import make_card
from survey.learning.evaluate import Evaluation, as_row, draw_evaluation, measure
from survey.learning.fit import Epoch, Job, fit_members
from survey.learning.floor import score_floor
from survey.learning.folds import Folds, hold_back, make_folds
from survey.learning.members import Examples, Member, Weights, one_thread
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
from survey.learning.models.resnet1d import ResNet1D, Shape
from survey.learning.score import make_examples, mean_over_members, score_member
from survey.learning.sets.views import TASKS, Task, ViewSet

LEAST_MEASURED: Final = 0.1
"""A scalar enters a model when at least this share of the rows has it."""

LOG: Final = "training.csv"

METRICS: Final = "metrics.json"
METRICS_FIGURE: Final = "metrics.png"
CURVES: Final = "curves.json"
CURVES_FIGURE: Final = "curves.png"


@dataclass(frozen=True)
class Trained:
    """A model that was written. evaluation: out of fold."""

    id: str
    folder: Path
    evaluation: Evaluation


def train(
    views: ViewSet,
    task_name: str,
    config: TrainConfig,
    folder: Path,
    *,
    address: str = "local",
    log: Path | None = None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    draws: int = DRAWS,
) -> Trained:
    """Trains, measures and writes a model of a task. One that was interrupted goes on where it was.

    log: CSV that gets a line about it, `training.csv` beside the folder unless given. Raises UsageError for views that
    cannot be learnt from and for a folder that holds something else.
    """
    task = TASKS[task_name]
    check_place(folder)
    labels = views.labels(task)
    folds = make_folds(labels, views.stars, config.folds)
    scalars = choose_scalars(views, config)
    shape = Shape(views.global_view.shape[1], views.local_view.shape[1], views.secondary_view is not None, len(scalars))
    examples = make_examples(views, scalars, secondary=shape.secondary, labels=labels)
    jobs = make_jobs(labels, views.stars, folds, config)
    facts = {"task": task_name, "views": views.sha256, "settings": _settings(config)}
    storage = folder.with_name(f".{folder.name}.training")
    begun = datetime.now(UTC)
    members = fit_members(
        examples, shape, jobs, config, storage, hash_of(facts)[:16], address=address, on_epoch=on_epoch
    )
    seconds = (datetime.now(UTC) - begun).total_seconds()
    weights = tuple(round_weights(member.weights) for member in members)
    outcome = judge(views, labels, folds, examples, shape, jobs, weights, config, draws=draws)
    record = _make_record(task, shape, views, scalars, jobs, members, outcome, _training(views, config, shape, begun))
    title = f"{task_name}, out of fold, on {views.name}"
    evaluation = Evaluation(title, outcome.figures, labels, outcome.scores, outcome.probabilities)
    id_ = write_artifact(
        folder,
        record,
        weights,
        know_stars(views.stars, folds),
        make_card(record),
        files=_reports(jobs, members, evaluation),
    )
    append_log(log or folder.parent / LOG, run_row(id_, folder, record, members, seconds))
    shutil.rmtree(storage, ignore_errors=True)
    return Trained(id_, folder, evaluation)


def _make_record(
    task: Task,
    shape: Shape,
    views: ViewSet,
    scalars: tuple[str, ...],
    jobs: list[Job],
    members: list[Member],
    outcome: "Outcome",
    training: dict[str, Any],
) -> ModelRecord:
    return ModelRecord(
        name=task.name,
        task=task.name,
        meaning=task.meaning,
        network=ShapeRecord(**vars(shape)),
        inputs=InputsRecord(view_spec=views.view_spec, scalars=scalars),
        members=tuple(
            MemberRecord(fold=job.fold, seed=job.seed, epoch=member.epoch)
            for job, member in zip(jobs, members, strict=True)
        ),
        calibration=outcome.calibration,
        fold_calibrations=outcome.fold_calibrations,
        threshold=outcome.threshold,
        training=training,
        figures=outcome.figures,
    )


def choose_scalars(views: ViewSet, config: TrainConfig) -> tuple[str, ...]:
    """The scalars that enough rows have."""
    if config.inputs == "views":
        return ()
    return tuple(name for name, values in views.scalars.items() if np.isfinite(values).mean() >= LEAST_MEASURED)


def make_jobs(labels: Labels, stars: NDArray[Any], folds: Folds, config: TrainConfig) -> list[Job]:
    """One job a fold and seed. Of the stars of the other folds, some only say when to stop."""
    jobs = []
    for fold in range(config.folds):
        rows = np.flatnonzero(folds != fold)
        training, validation = hold_back(labels, stars, rows, config.validation_share, seed=fold)
        jobs += [Job(fold, seed, training, validation) for seed in range(config.seeds)]
    return jobs


# What it is worth


@dataclass(frozen=True)
class Outcome:
    """Out-of-fold scores and probabilities of all rows, what the model keeps to make decisions, and all figures."""

    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    calibration: Calibration
    fold_calibrations: tuple[Calibration, ...]
    threshold: float
    figures: dict[str, Any]


def judge(
    views: ViewSet,
    labels: Labels,
    folds: Folds,
    examples: Examples,
    shape: Shape,
    jobs: list[Job],
    weights: tuple[Weights, ...],
    config: TrainConfig,
    *,
    draws: int = DRAWS,
) -> Outcome:
    """Figures of out-of-fold scores, beside boosted trees on the same numbers and folds.

    The calibration and the threshold by which a fold is judged come from the other folds. Those that the model keeps
    come from all.
    """
    logits = score_folds(examples, folds, shape, jobs, weights)
    used = np.isfinite(logits)
    scores = mean_over_members(logits, used)
    calibration = CALIBRATORS[config.calibration](scores, labels)
    fold_calibrations = fit_by_fold(scores, labels, folds, config.calibration)
    probabilities = calibrate_by_fold(fold_calibrations, scores, folds)
    threshold = best_threshold(labels, probabilities)
    stars = views.stars
    figures = measure(labels, scores, probabilities, stars, threshold, draws=draws) | {
        "across_folds": decided_across(labels, probabilities, folds),
        "by_fold": by_fold(labels, scores, folds),
        "single_member": single_members(labels, logits, folds, jobs),
        "spread": float(np.nanstd(calibrate_by_fold(fold_calibrations, logits, folds), axis=0).mean()),
        "floor": beside(labels, scores, score_floor(examples, folds), folds, stars, draws),
        "uncalibrated": _uncalibrated(labels, scores),
    }
    if shape.scalars:
        blind = replace(examples, scalars=torch.full_like(examples.scalars, torch.nan))
        alone = mean_over_members(score_folds(blind, folds, shape, jobs, weights), used)
        floor = score_floor(replace(examples, scalars=examples.scalars[:, :0]), folds)
        figures["views_alone"] = {
            "average_precision": average_precision(labels, alone),
            "by_fold": by_fold(labels, alone, folds),
            "floor": beside(labels, alone, floor, folds, stars, draws),
        }
    return Outcome(scores, probabilities, calibration, fold_calibrations, threshold, figures)


def score_folds(
    examples: Examples, folds: Folds, shape: Shape, jobs: list[Job], weights: tuple[Weights, ...]
) -> NDArray[np.float32]:
    """(members, n) logits of every row by the members of its own fold; NaN by the others, which saw its star."""
    logits = np.full((len(jobs), len(folds)), np.nan, np.float32)
    with one_thread():
        for k, job in enumerate(jobs):
            held = np.flatnonzero(folds == job.fold)
            network = ResNet1D(shape)
            network.load_state_dict(weights[k])
            logits[k, held] = score_member(network, examples.take(held))
    return logits


def by_fold(labels: Labels, scores: NDArray[np.float64], folds: Folds) -> dict[str, Any]:
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


def single_members(labels: Labels, logits: NDArray[np.float32], folds: Folds, jobs: list[Job]) -> dict[str, float]:
    """Mean and standard deviation over all members of the average precision in their own fold."""
    held = [folds == job.fold for job in jobs]
    found = [average_precision(labels[rows], logits[k, rows]) for k, rows in enumerate(held)]
    return {"mean": float(np.mean(found)), "std": float(np.std(found))}


def beside(
    labels: Labels,
    scores: NDArray[np.float64],
    floor: NDArray[np.float64],
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


def decided_across(labels: Labels, probabilities: NDArray[np.float64], folds: Folds) -> dict[str, float | None]:
    """Precision, recall and F1 where the threshold of each fold is the best of the other folds."""
    called = np.zeros(len(labels), bool)
    for fold in np.unique(folds):
        held = folds == fold
        called[held] = probabilities[held] >= best_threshold(labels[~held], probabilities[~held])
    return {name: value for name, value in decide(labels, called, 0.5).as_row().items() if name in SHARES}


SHARES: Final = ("precision", "recall", "f1")


def _uncalibrated(labels: Labels, scores: NDArray[np.float64]) -> dict[str, float]:
    plain = expit(scores)
    return {"brier": brier(labels, plain), "ece": expected_calibration_error(labels, plain)}


# What is kept of it


def _settings(config: TrainConfig) -> dict[str, Any]:
    """What decides the weights; how the work is spread does not belong to it."""
    return config.model_dump(mode="json", exclude={"attempts"})


def _training(views: ViewSet, config: TrainConfig, shape: Shape, begun: datetime) -> dict[str, Any]:
    kinds, counts = np.unique(views.kinds, return_counts=True)
    return {
        "views": views.name,
        "views_sha256": views.sha256,
        "rows": len(views),
        "stars": len(np.unique(views.stars)),
        "copies_dropped": views.copies,
        "kinds": dict(zip(kinds.tolist(), counts.tolist(), strict=True)),
        "notes": list(views.notes),
        "settings": _settings(config),
        "weights": sum(part.numel() for part in ResNet1D(shape).parameters()),
        "begun": begun.isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("transit-survey", "torch", "scikit-learn", "numpy")},
    }


def _reports(jobs: list[Job], members: list[Member], evaluation: Evaluation) -> dict[str, bytes]:
    curves = [
        {"fold": job.fold, "seed": job.seed, "kept": member.epoch, "epochs": member.curve}
        for job, member in zip(jobs, members, strict=True)
    ]
    return {
        METRICS: _json(evaluation.figures),
        METRICS_FIGURE: draw_evaluation(evaluation),
        CURVES: _json(curves),
        CURVES_FIGURE: draw_curves(curves),
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"


def draw_curves(curves: list[dict[str, Any]]) -> bytes:
    """PNG: loss and average precision of every member over its epochs; a dot where its weights were kept."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for curve in curves:
        epochs = [row["epoch"] for row in curve["epochs"]]
        colour = f"C{curve['fold'] % 10}"
        left.plot(epochs, [row["loss"] for row in curve["epochs"]], color=colour, lw=1)
        left.plot(epochs, [row["validation_loss"] for row in curve["epochs"]], color=colour, lw=1, ls=":")
        precision = [row["validation_ap"] for row in curve["epochs"]]
        right.plot(epochs, precision, color=colour, lw=1)
        right.plot(curve["kept"], precision[curve["kept"]], "o", color=colour, ms=4)
    left.set_ylabel("loss; dotted: of validation stars")
    right.set_ylabel("average precision of validation stars")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.25)
    sink = BytesIO()
    figure.savefig(sink, dpi=110, metadata={"Software": None})
    return sink.getvalue()


def run_row(id_: str, folder: Path, record: ModelRecord, members: list[Member], seconds: float) -> dict[str, Any]:
    """One line of the run log: what was trained on what, how, and how it fared on each part of the stars."""
    facts, figures = record.training, record.figures
    kept = [member.curve[member.epoch] for member in members]
    return {
        "run": id_[:12],
        "begun": facts["begun"],
        "task": record.task,
        "views": facts["views"],
        "view_spec": record.inputs.view_spec or "",
        "scalars": " ".join(record.inputs.scalars),
        "stars": facts["stars"],
        "rows": facts["rows"],
        "positives": figures["positives"],
        **{f"set_{name}": value for name, value in facts["settings"].items()},
        "train_loss": _mean(kept, "loss"),
        "validation_loss": _mean(kept, "validation_loss"),
        "validation_auc": _mean(kept, "validation_auc"),
        "validation_ap": _mean(kept, "validation_ap"),
        "test_auc": round(figures["roc_auc"]["value"], 6),
        "test_ap": round(figures["average_precision"]["value"], 6),
        "base_rate": round(figures["base_rate"], 6),
        "lift": round(figures["lift"], 3),
        "floor_ap": round(figures["floor"]["average_precision"], 6),
        "seconds": round(seconds, 1),
        "model": str(folder),
        "notes": "; ".join(facts["notes"]),
    }


def _mean(rows: list[dict[str, float]], name: str) -> float:
    return round(float(np.mean([row[name] for row in rows])), 6)


def append_log(path: Path, row: Mapping[str, Any]) -> None:
    """Adds a line to a CSV, with a heading where it is new. Raises UsageError where it has other columns."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.is_file() or path.stat().st_size == 0
        if not new:
            with path.open(newline="") as file:
                heading = next(csv.reader(file))
            if heading != list(row):
                raise UsageError(f"{path} is no log of trainings of this version: choose another --log")
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None
