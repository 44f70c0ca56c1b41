"""The log of trainings: a CSV with a line a training, of the same columns for every kind of model."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from survey.config import TrainConfig
from survey.errors import UsageError
from survey.learning.artifact import ModelRecord
from survey.learning.members import Member

FACTS: Final = ("window", "stride", "sampling", "hard_neg_frac", "view_spec", "scalars")
"""What a set may say of itself beyond its rows; empty where it does not."""

SETTINGS: Final = tuple(f"set_{name}" for name in TrainConfig.model_fields if name != "attempts")

COLUMNS: Final = (
    *("run", "begun", "task", "kind", "base", "missions", "set", "simulated", *FACTS, "stars", "rows", "positives"),
    *SETTINGS,
    *("train_loss", "learnt_loss", "learnt_auc", "learnt_ap"),
    *("validation_loss", "validation_auc", "validation_ap"),
    *("test_loss", "test_auc", "test_ap", "base_rate", "lift", "floor_ap"),
    *("seconds", "model", "notes"),
)
"""train: means over the last epoch kept, as rows were varied; learnt: of the same rows afterwards, as they are;
validation: of the stars that said when to stop; test: out of fold. auc: area under the ROC curve; ap: average
precision."""


def run_row(id_: str, folder: Path, record: ModelRecord, members: list[Member], seconds: float) -> dict[str, Any]:
    """One line: what was trained on what, how, and how it fared on each part of the stars."""
    said, figures = record.training, record.figures
    known = {**record.inputs, **said["facts"]}
    kept = [member.curve[member.epoch] for member in members]
    learnt = figures["learnt"]
    found = {
        "run": id_[:12],
        "begun": said["begun"],
        "task": record.task,
        "kind": record.kind,
        "base": record.base[:12],
        "missions": " ".join(record.missions),
        "set": said["set"],
        "simulated": record.simulated,
        **{name: _word(known.get(name)) for name in FACTS},
        "stars": said["stars"],
        "rows": said["rows"],
        "positives": figures["positives"],
        **{f"set_{name}": value for name, value in said["settings"].items()},
        "train_loss": _mean(kept, "loss"),
        "learnt_loss": round(learnt["loss"], 6),
        "learnt_auc": round(learnt["roc_auc"], 6),
        "learnt_ap": round(learnt["average_precision"], 6),
        "validation_loss": _mean(kept, "validation_loss"),
        "validation_auc": _mean(kept, "validation_auc"),
        "validation_ap": _mean(kept, "validation_ap"),
        "test_loss": round(figures["loss"], 6),
        "test_auc": round(figures["roc_auc"]["value"], 6),
        "test_ap": round(figures["average_precision"]["value"], 6),
        "base_rate": round(figures["base_rate"], 6),
        "lift": round(figures["lift"], 3),
        "floor_ap": round(figures["floor"]["average_precision"], 6),
        "seconds": round(seconds, 1),
        "model": str(folder),
        "notes": "; ".join(said["notes"]),
    }
    return {name: found[name] for name in COLUMNS}


def _word(value: Any) -> Any:
    if value is None:
        return ""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _mean(rows: list[dict[str, float]], name: str) -> float:
    return round(float(np.mean([row[name] for row in rows])), 6)


def append_log(path: Path, row: Mapping[str, Any]) -> None:
    """Adds a line to a CSV, with a heading where it is new. Raises UsageError where it has other columns."""
    check_log(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.is_file() or path.stat().st_size == 0
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if new:
                writer.writeheader()
            writer.writerow(row)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None


def check_log(path: Path) -> None:
    """Raises UsageError for a file that is no log of trainings, so that none is trained in vain."""
    try:
        if not path.is_file() or path.stat().st_size == 0:
            return
        with path.open(newline="") as file:
            heading = next(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None
    if tuple(heading) != COLUMNS:
        raise UsageError(f"{path} is no log of trainings of this version: choose another --log")
