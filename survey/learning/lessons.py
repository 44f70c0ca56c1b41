"""What can be trained: every model by its name, and how its labelled set is read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from survey.config import Config, TrainConfig
from survey.errors import UsageError
from survey.learning import anomaly
from survey.learning.artifact import Artifact
from survey.learning.evaluate import Evaluation, evaluate
from survey.learning.fusion import measure_fusion, train_fusion
from survey.learning.lesson import Lesson
from survey.learning.sets import periods, pixels, segments, views
from survey.learning.train import Trained, train


@dataclass(frozen=True)
class Craft:
    """How a model without a network is made from a file, or from none, into a folder, and measured, if it can be."""

    train: Callable[[Path | None, Config, Path], Trained]
    evaluate: Callable[[Artifact, Path, Config], Evaluation] | None = None


LESSONS: Final[dict[str, Callable[[Path, str, TrainConfig], Lesson]]] = {
    "triage": views.make_lesson,
    "vetting": views.make_lesson,
    "pixels": pixels.make_lesson,
    "periods": periods.make_lesson,
    "segments": segments.make_lesson,
}
"""Networks by the name of their task: what reads a file as a lesson in it."""

CRAFTS: Final[dict[str, Craft]] = {
    "fusion": Craft(train_fusion, measure_fusion),
}
"""Models that are no networks."""


def make_lesson(path: Path, task: str, config: TrainConfig) -> Lesson:
    """Raises UsageError for a task that is none, naming the choices."""
    if task not in LESSONS:
        raise UsageError(f"no network learns {task!r}: known are {', '.join(LESSONS)}")
    return LESSONS[task](path, task, config)


def train_model(
    name: str, path: Path | None, config: Config, folder: Path, *, base: Artifact | None = None, **how: Any
) -> Trained:
    """Trains any model by its name. base: the one to fine-tune; how: more for `train.train`.

    Raises UsageError for a name that is none, naming the choices.
    """
    if name in CRAFTS:
        if base is not None:
            raise UsageError(f"{name} is no network: it cannot be fine-tuned")
        return CRAFTS[name].train(path, config, folder)
    if name not in LESSONS:
        raise UsageError(f"no model {name!r} can be trained: known are {', '.join((*LESSONS, *CRAFTS))}")
    if path is None:
        raise UsageError(f"{name} learns from labelled rows: give --set FILE")
    return train(make_lesson(path, name, config.train), config.train, folder, base=base, **how)


def measure_model(artifact: Artifact, path: Path, config: Config) -> Evaluation:
    """Figures of any model on a labelled file of its own kind. Raises UsageError for one that has no such figures."""
    task = artifact.record.task
    if artifact.record.kind == anomaly.KIND:
        raise UsageError(
            f"{artifact.record.name} looks at light curves, not at labelled rows: it is measured by events put into "
            "those that it is trained on; `survey train anomaly` does, and writes the figures into CARD.md"
        )
    if task not in CRAFTS:
        return evaluate(artifact, make_lesson(path, task, config.train))
    measured = CRAFTS[task].evaluate
    if measured is None:
        raise UsageError(f"{artifact.record.name} cannot be measured on a labelled set")
    return measured(artifact, path, config)
