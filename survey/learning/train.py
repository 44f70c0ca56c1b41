"""From labelled rows to a model that knows what it is worth.

Stars are divided into folds. Each fold has members of its own, which never see its stars; the scores that they give to
those stars choose the threshold, fit the calibration and make every figure that is reported. All members together are
the model, and it remembers the fold of each star, so that it never scores a star by a member that saw it. A model that
is fine-tuned from another one keeps the folds of the stars that the other knew: each of its members goes on from one
that had not seen them either.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from survey.config import TrainConfig, hash_of
from survey.errors import UsageError
from survey.learning.artifact import (
    Artifact,
    MemberRecord,
    ModelRecord,
    check_place,
    hash_stars,
    join_stars,
    know_stars,
    round_weights,
    write_artifact,
)
from survey.learning.card import make_card
from survey.learning.evaluate import Evaluation, check_classes, draw_evaluation
from survey.learning.fit import Epoch, Job, fit_members
from survey.learning.folds import Folds, check_folds, hold_back, make_folds, name_once
from survey.learning.judge import Outcome, judge
from survey.learning.lesson import Lesson, read_for
from survey.learning.members import Member
from survey.learning.metrics import DRAWS
from survey.learning.runlog import append_log, check_log, run_row

LOG: Final = "training.csv"

METRICS: Final = "metrics.json"
METRICS_FIGURE: Final = "metrics.png"
CURVES: Final = "curves.json"
CURVES_FIGURE: Final = "curves.png"

FROM_ELSEWHERE: Final = (
    "It was fine-tuned from weights that were trained elsewhere: where on stars of this set, the figures flatter it."
)

SUPPORT_PERCENTILES: Final = (0.1, 99.9)

Support = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Trained:
    """A model that was written. evaluation: out of fold; None for a model that is measured otherwise."""

    id: str
    folder: Path
    evaluation: Evaluation | None


def train(
    lesson: Lesson,
    config: TrainConfig,
    folder: Path,
    *,
    base: Artifact | None = None,
    address: str = "local",
    log: Path | None = None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    draws: int = DRAWS,
) -> Trained:
    """Trains, measures and writes a model of a task. One that was interrupted goes on where it was.

    base: the model to fine-tune; log: CSV that gets a line about it, `training.csv` beside the folder unless given.
    Raises UsageError for rows that cannot be learnt from and for a folder that holds something else.
    """
    check_place(folder)
    if base is not None:
        lesson = read_for(lesson, base)
        if not base.record.calibrated:
            lesson = replace(lesson, notes=(*lesson.notes, FROM_ELSEWHERE))
    check_classes(lesson)
    check_log(log or folder.parent / LOG)
    folds = divide(lesson, config, base)
    config = config.model_copy(update={"folds": int(folds.max()) + 1})
    jobs = make_jobs(lesson, folds, config, base)
    begun = datetime.now(UTC)
    storage = folder.with_name(f".{folder.name}.training")
    name = _name_training(lesson, config, base)
    members = fit_members(
        lesson.examples, lesson.kind.name, lesson.shape, jobs, config, storage, name, address=address, on_epoch=on_epoch
    )
    seconds = (datetime.now(UTC) - begun).total_seconds()
    weights = tuple(round_weights(member.weights) for member in members)
    known = know_stars(lesson.stars, folds, lesson.other_names)
    outcome = judge(lesson, folds, jobs, weights, config, draws=draws)
    record = _make_record(lesson, config, jobs, members, outcome, base, begun)
    title = f"{lesson.task.name}, out of fold, on {lesson.title}"
    evaluation = Evaluation(title, outcome.figures, lesson.labels, outcome.scores, outcome.probabilities)
    id_ = write_artifact(
        folder,
        record,
        weights,
        known if base is None else join_stars(base.stars, known),
        make_card(record),
        files=_reports(jobs, members, evaluation),
    )
    append_log(log or folder.parent / LOG, run_row(id_, folder, record, members, seconds))
    shutil.rmtree(storage, ignore_errors=True)
    return Trained(id_, folder, evaluation)


def _name_training(lesson: Lesson, config: TrainConfig, base: Artifact | None) -> str:
    """The name under which a training goes on: another one wherever other weights would come of it."""
    facts = {
        "task": lesson.task.name,
        "set": lesson.set_sha256,
        "inputs": lesson.inputs.model_dump(mode="json"),
        "shape": lesson.shape.model_dump(mode="json"),
        "settings": _settings(config),
        "base": base.id if base else "",
    }
    return hash_of(facts)[:16]


# Which stars are held out of what


def divide(lesson: Lesson, config: TrainConfig, base: Artifact | None = None) -> Folds:
    """(n,) folds: those of the base for stars that it knows, those of the set where it brings its own, else new ones.
    There may be fewer than `config.folds`, where the set has fewer.

    Raises UsageError where a star would cross folds, and where a fold would lack a class.
    """
    if base is not None and base.record.calibrated:
        folds = _divide_after(lesson, config, base)
    elif lesson.folds is not None:
        folds = (lesson.folds % config.folds).astype(np.uint8)
    else:
        return make_folds(lesson.labels, name_once(lesson.stars, lesson.other_names), config.folds)
    check_folds(folds, lesson.stars, lesson.other_names)
    for fold in range(int(folds.max()) + 1):
        held = lesson.labels[folds == fold]
        if not held.any() or held.all():
            raise UsageError(f"{lesson.set_name}: fold {fold} holds one class only: give fewer --folds, or more stars")
    return folds


def _divide_after(lesson: Lesson, config: TrainConfig, base: Artifact) -> Folds:
    """Folds that follow the base, whichever of its names it knows a star by; stars that are new to it are dealt out in
    turn, the positive ones first. Raises UsageError where it knows two names of a star and took them for two stars."""
    count = len(base.record.fold_calibrations)
    if count != config.folds:
        raise UsageError(f"{base.record.name} divides its stars into {count} folds: give --folds {count}")
    known = np.stack([base.stars.folds_of(names) for names in (lesson.stars, *lesson.other_names)])
    stars, place = np.unique(name_once(lesson.stars, lesson.other_names), return_inverse=True)
    folds = np.full(len(stars), -1, np.int16)
    np.maximum.at(folds, place, known.max(0))
    crossing = ((known >= 0) & (known != folds[place])).any(0)
    if crossing.any():
        star = lesson.stars[np.argmax(crossing)]
        raise UsageError(f"{lesson.set_name}: {base.record.name} knows {star} by two names, in two folds: leave it out")
    positive = np.zeros(len(stars), bool)
    np.logical_or.at(positive, place, lesson.labels)
    new = np.flatnonzero(folds < 0)
    folds[new[np.lexsort((hash_stars(stars[new]), ~positive[new]))]] = np.arange(len(new)) % count
    return folds[place].astype(np.uint8)


def make_jobs(lesson: Lesson, folds: Folds, config: TrainConfig, base: Artifact | None = None) -> list[Job]:
    """One job a fold and seed. Of the stars of the other folds, some only say when to stop."""
    jobs = []
    stars = name_once(lesson.stars, lesson.other_names)
    for fold in range(config.folds):
        rows = np.flatnonzero(folds != fold)
        training, validation = hold_back(lesson.labels, stars, rows, config.validation_share, seed=fold)
        starts = find_starts(base, fold)
        jobs += [
            Job(fold, seed, training, validation, starts[seed % len(starts)] if starts else None)
            for seed in range(config.seeds)
        ]
    return jobs


def find_starts(base: Artifact | None, fold: int) -> list[dict[str, Any]]:
    """Weights of the members of the base that never saw the stars of a fold; all of one from elsewhere, whose stars
    nobody knows."""
    if base is None:
        return []
    members = zip(base.weights, base.record.members, strict=True)
    return [weights for weights, member in members if member.fold == fold or not base.record.calibrated]


# What is kept of it


def _make_record(
    lesson: Lesson,
    config: TrainConfig,
    jobs: list[Job],
    members: list[Member],
    outcome: Outcome,
    base: Artifact | None,
    begun: datetime,
) -> ModelRecord:
    return ModelRecord(
        name=lesson.task.name,
        task=lesson.task.name,
        meaning=lesson.task.meaning,
        kind=lesson.kind.name,
        network=lesson.shape.model_dump(mode="json"),
        inputs=lesson.inputs.model_dump(mode="json"),
        members=tuple(
            MemberRecord(fold=job.fold, seed=job.seed, epoch=member.epoch)
            for job, member in zip(jobs, members, strict=True)
        ),
        calibration=outcome.calibration,
        fold_calibrations=outcome.fold_calibrations,
        threshold=outcome.threshold,
        support=_widen(find_support(lesson), base.record.support if base else {}),
        missions=tuple(sorted({*lesson.missions, *(base.record.missions if base else ())})),
        simulated=_join_words(lesson.simulated, base.record.simulated if base else ""),
        base=base.id if base else "",
        extra=outcome.extra,
        training=_training(lesson, config, begun),
        figures=outcome.figures,
    )


def _join_words(own: str, inherited: str) -> str:
    return "; ".join(words for words in (own, inherited if inherited != own else "") if words)


def find_support(lesson: Lesson) -> Support:
    """Lowest and highest value of each fact of the rows, without the last thousandth on either side."""
    support = {}
    for name, values in lesson.kind.facts(lesson.examples, lesson.inputs).items():
        known = values[np.isfinite(values)].astype(np.float64)
        if len(known):
            low, high = np.percentile(known, SUPPORT_PERCENTILES)
            support[name] = (float(low), float(high))
    return support


def _widen(own: Support, inherited: Support) -> Support:
    """Ranges that hold both, of the facts in the first."""
    both = {name: (*own[name], *inherited.get(name, ())) for name in own}
    return {name: (min(values), max(values)) for name, values in both.items()}


def _settings(config: TrainConfig) -> dict[str, Any]:
    """What decides the weights; how the work is spread does not belong to it."""
    return config.model_dump(mode="json", exclude={"attempts"})


def _training(lesson: Lesson, config: TrainConfig, begun: datetime) -> dict[str, Any]:
    return {
        "set": lesson.set_name,
        "set_sha256": lesson.set_sha256,
        "source": lesson.source,
        "rows": len(lesson.stars),
        "stars": len(np.unique(lesson.stars)),
        "facts": lesson.facts,
        "notes": list(lesson.notes),
        "settings": _settings(config),
        "begun": begun.isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("transit-survey", "torch", "scikit-learn", "numpy")},
        "weights": sum(part.numel() for part in lesson.kind.make(lesson.shape).parameters()),
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
