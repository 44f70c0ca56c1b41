"""A small untrained model in a folder, and shipped ones under another task."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from survey.learning.artifact import (
    MemberRecord,
    ModelRecord,
    know_stars,
    round_weights,
    write_artifact,
)
from survey.learning.calibrate import Calibration
from survey.learning.models.resnet1d import ResNet1D, Shape
from survey.learning.shelf import MODEL, shipped
from tests.learning.view_files import GLOBAL, LOCAL

SCALARS = ("period", "snr")

STARS = np.array([f"TIC {k}" for k in range(1, 41)])

SHAPE = Shape(global_bins=GLOBAL, local_bins=LOCAL, scalars=len(SCALARS), channels=(4, 6), hidden=8)

FOLDS = (np.arange(40) % 2).astype(np.uint8)


def small_weights(members: int = 4) -> tuple[dict[str, torch.Tensor], ...]:
    torch.manual_seed(0)
    return tuple(round_weights(ResNet1D(SHAPE).state_dict()) for _ in range(members))


def small_record(**changes: Any) -> ModelRecord:
    record = {
        "name": "small",
        "task": "vetting",
        "meaning": "planets against the rest",
        "kind": "resnet1d",
        "network": SHAPE.model_dump(mode="json"),
        "inputs": {"view_spec": None, "scalars": list(SCALARS)},
        "members": tuple(MemberRecord(fold=k % 2, seed=k // 2, epoch=1) for k in range(4)),
        "calibration": Calibration(method="temperature", temperature=2.0),
        "fold_calibrations": tuple(Calibration(method="temperature", temperature=k + 1.0) for k in range(2)),
        "threshold": 0.5,
        "support": {"period": (1.5, 9.5), "view_scatter": (0.1, 1.0)},
        "training": {},
        "figures": {},
    }
    return ModelRecord(**(record | changes))


def write_small(folder: Path, **parts: Any) -> str:
    return write_artifact(folder, small_record(), small_weights(), know_stars(STARS, FOLDS), "# small\n", parts)


def copy_shipped(name: str, folder: Path, task: str | None = None) -> Path:
    """A shipped model in another place, and as if it had learnt another task."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(shipped()[name], folder)
    record = json.loads((folder / MODEL).read_text())
    (folder / MODEL).write_text(json.dumps(record | {"task": task or record["task"]}))
    return folder
