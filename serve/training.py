"""Detectors of anomalies that are trained on request, in a process of their own."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve import answers
from serve.settings import Settings
from survey import config as configs
from survey import schema
from survey.learning.anomaly import train_anomaly_detector
from survey.runs.lights import light_of
from survey.runs.stages import rows_of


@dataclass(frozen=True)
class Trained:
    """values: what the detector is and its figures; files: by name."""

    values: dict[str, Any]
    files: dict[str, bytes]


def train_detector(
    settings: Settings, name: str, simulated: int | None, packed: Sequence[bytes], overrides: Sequence[str]
) -> Trained:
    """A new detector, called `name`.

    simulated: so many stars in which nothing happens; or packed: detrended rows of quiet stars as Arrow streams. Raises
    UsageError for too little light.
    """
    config = configs.change(settings.read_config(), overrides).anomaly
    rows = [rows_of(schema.unpack(one))[0] for one in packed]
    lights = [light_of(row) for row in rows] if simulated is None else simulated
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, name)
        train_anomaly_detector(lights, config, made)
        return Trained(answers.describe_model(made), {path.name: path.read_bytes() for path in made.iterdir()})
