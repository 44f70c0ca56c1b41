"""What there is to learn: labelled rows of any kind in the one form that training and measuring take."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from survey.config import Frozen
from survey.learning.examples import Examples
from survey.learning.models.kind import Kind


@dataclass(frozen=True)
class Task:
    """What a model tells apart: the labels of letters that count as positive; a label 1 is positive in any case."""

    name: str
    meaning: str
    positives: frozenset[str]


@dataclass(frozen=True)
class Lesson:
    """n rows to learn from. stars, labels: (n,), labels being what is ranked and measured; examples: what the network of
    `kind` and `shape` reads and aims at. table: (n, k) numbers that boosted trees learn from beside it, NaN where
    missing. blind: the same examples with all scalars hidden, where the network has any, and their table. folds: (n,)
    where the set brings its own. set_name, set_sha256: of the file; simulated: what in it is simulated, "" for nothing.
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
