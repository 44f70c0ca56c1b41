"""What there is to learn: labelled rows of any kind in the one form that training and measuring take."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from survey.config import Frozen
from survey.errors import UsageError
from survey.learning.artifact import Artifact
from survey.learning.examples import Examples
from survey.learning.models.kind import Kind
from survey.stars.targets import MISSION_OF_PREFIX

OWN: Final = "The user's own labelled rows; whether they are of real stars or simulated, the file does not say."


@dataclass(frozen=True)
class Task:
    """What a model tells apart: the labels of letters that count as positive; a label 1 is positive in any case."""

    name: str
    meaning: str
    positives: frozenset[str]


@dataclass(frozen=True)
class Scored:
    """Rows of a lesson by members that never saw their stars. outputs: (n, ...) means over the members; scores and
    probabilities: (n,); folds: (n,) in which each star was held out, -1 for stars that the model does not know."""

    outputs: NDArray[np.floating]
    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    folds: NDArray[np.integer]


@dataclass(frozen=True)
class Lesson:
    """n rows to learn from. stars, labels: (n,), labels being what is ranked and measured; examples: what the network
    of `kind` and `shape` reads and aims at. other_names: further (n,) names of the stars, "" where there is none, as
    `folds.check_folds` takes them. table: (n, k) numbers that boosted trees learn from beside it, NaN where
    missing. blind: the same examples with all scalars hidden, where the network has any, and their table. folds: (n,)
    where the set brings its own. set_name, set_sha256: of the file; simulated: what in it is simulated, "" for
    nothing; source: where it comes from and under what licence; facts: more about it for the record, such as counts
    of labels, window or stride; notes: what a reader of figures measured on it ought to know. read_as: the same rows
    as a network of another shape and inputs reads them, for sets that can be read in several ways. measure: more
    figures of the rows once they are scored, shown as they are; keep: what else of the scores the model keeps, as its
    `extra`.
    """

    task: Task
    kind: Kind
    shape: Frozen
    inputs: Frozen
    stars: NDArray[np.str_]
    labels: NDArray[np.bool_]
    examples: Examples
    table: NDArray[np.float32]
    set_name: str
    set_sha256: str
    missions: tuple[str, ...] = ()
    simulated: str = ""
    folds: NDArray[np.uint8] | None = None
    blind: tuple[Examples, NDArray[np.float32]] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: str = OWN
    other_names: tuple[NDArray[np.str_], ...] = ()
    read_as: Callable[[Any, Any], "Lesson"] | None = None
    measure: Callable[[Scored], dict[str, Any]] | None = None
    keep: Callable[[Scored], dict[str, Any]] | None = None

    @property
    def title(self) -> str:
        """The set's name, and that it is simulated where it is."""
        return f"{self.set_name} (simulated)" if self.simulated else self.set_name


def read_for(lesson: Lesson, artifact: Artifact) -> Lesson:
    """The rows as a model reads them. Raises UsageError naming in what they differ from those it was trained on."""
    name = artifact.record.name
    if lesson.kind.name != artifact.record.kind:
        raise UsageError(f"{lesson.set_name}: rows for {lesson.kind.name}, {name} is of kind {artifact.record.kind}")
    if lesson.read_as is not None:
        return lesson.read_as(artifact.shape, artifact.inputs)
    found, wanted = lesson.inputs.model_dump(), artifact.inputs.model_dump()
    for key, value in wanted.items():
        if found[key] != value:
            raise UsageError(f"{lesson.set_name}: {key} is {found[key]}, {name} reads {value}")
    return lesson


def find_missions(stars: NDArray[Any]) -> tuple[str, ...]:
    """Missions of stars by their names ("TIC 441462736"), in order; others have none."""
    prefixes = {str(star).partition(" ")[0] for star in stars}
    return tuple(sorted(mission.name for prefix, mission in MISSION_OF_PREFIX.items() if prefix in prefixes))
