"""A small untrained model of periods in a folder."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from survey.learning.artifact import (
    Artifact,
    MemberRecord,
    ModelRecord,
    know_stars,
    load_artifact,
    round_weights,
    write_artifact,
)
from survey.learning.calibrate import Calibration
from survey.learning.models.period_net import Inputs, PeriodNet
from survey.learning.periods import BinRecord

INPUTS = Inputs(low=1.0, high=40.0, bins=50, finer=2)
SHAPE = INPUTS.shape().model_copy(update={"width": 4, "dilations": (1,)})


def write_periods_model(folder: Path, **changes: Any) -> Artifact:
    plain = Calibration(method="temperature")
    record: dict[str, Any] = {
        "name": "small",
        "task": "periods",
        "meaning": "a planet of one of these periods",
        "kind": "period_net",
        "network": SHAPE.model_dump(mode="json"),
        "inputs": INPUTS.model_dump(mode="json"),
        "members": tuple(MemberRecord(fold=k % 2, seed=0, epoch=1) for k in range(2)),
        "calibration": plain,
        "fold_calibrations": (plain, plain),
        "threshold": 0.5,
        "support": {"log_baseline_d": (1.0, 3.5)},
        "extra": BinRecord(bins=plain, fold_bins=(plain, plain)).model_dump(mode="json"),
        "training": {},
        "figures": {},
    }
    torch.manual_seed(0)
    weights = tuple(round_weights(PeriodNet(SHAPE).state_dict()) for _ in range(2))
    known = know_stars(np.array(["TIC 1", "TIC 2"]), np.array([0, 1], np.uint8))
    write_artifact(folder, ModelRecord(**(record | changes)), weights, known, "# small\n", {})
    return load_artifact(folder)
