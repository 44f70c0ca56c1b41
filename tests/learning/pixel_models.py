"""A small set of difference images, and an untrained model of them in a folder."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from survey.learning.artifact import MemberRecord, ModelRecord, know_stars, round_weights, write_artifact
from survey.learning.calibrate import Calibration
from survey.learning.models.pixel_cnn import KIND, SIZE, Inputs, Shape

SHAPE = Shape()

STARS = np.array([f"KIC {k}" for k in range(9_967_701, 9_967_741)])

FOLDS = (np.arange(40) % 2).astype(np.uint8)


def draw_stack(
    rng: np.random.Generator, row: float = 0, column: float = 0, shape: tuple[int, int, int] = (32, 24, 24)
) -> np.ndarray:
    """Difference images with a source so far from the pixel in the middle."""
    _, rows, columns = shape
    down, right = np.indices((rows, columns), float)
    source = 5 * np.exp(-((down - rows // 2 - row) ** 2 + (right - columns // 2 - column) ** 2) / 1.5)
    return (source + rng.normal(0, 1.0, shape)).astype(np.float32)


def pixel_record(**changes: Any) -> ModelRecord:
    record = {
        "name": "pixels",
        "task": "pixels",
        "meaning": "signals of the target itself against those that are not",
        "kind": KIND.name,
        "network": SHAPE.model_dump(mode="json"),
        "inputs": Inputs().model_dump(mode="json"),
        "members": tuple(MemberRecord(fold=k % 2, seed=k // 2, epoch=1) for k in range(4)),
        "calibration": Calibration(method="temperature", temperature=0.1),
        "fold_calibrations": tuple(Calibration(method="temperature", temperature=0.1) for k in range(2)),
        "threshold": 0.45,
        "support": {"image_peak": (2.0, 24.0), "image_pixels": (16, SIZE * SIZE)},
        "training": {},
        "figures": {},
    }
    return ModelRecord(**(record | changes))


def write_pixel_model(folder: Path, **changes: Any) -> str:
    torch.manual_seed(3)
    weights = tuple(round_weights(KIND.make(SHAPE).state_dict()) for _ in range(4))
    return write_artifact(folder, pixel_record(**changes), weights, know_stars(STARS, FOLDS), "# pixels\n")
