"""What a model says of a file of its own kind of input: stacks of difference images, or folded views."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from survey.errors import UsageError
from survey.learning.artifact import Artifact
from survey.learning.models import pixel_cnn, resnet1d
from survey.learning.pixels import score_stacks
from survey.learning.score import Scores
from survey.learning.sets.pixels import read_stack, standard_image, star_in_name
from survey.learning.sets.views import read_views
from survey.learning.views import score_views


@dataclass(frozen=True)
class Prediction:
    """One row of a file. row: its number, None where the file is one row; star: None where nothing names it;
    probability, spread: None where the model was never calibrated; word: what it comes to at the threshold; seen: the
    model was trained on the star, and this is by those of its members that were not; outside: facts that lie beyond
    the training set."""

    file: str
    row: int | None
    star: str | None
    score: float
    probability: float | None
    spread: float | None
    threshold: float
    word: str | None
    seen: bool
    outside: tuple[str, ...]


@dataclass(frozen=True)
class Words:
    """How a task's answers are called. symbol: of the probability."""

    symbol: str
    positive: str
    negative: str


WORDS: Final = {
    "pixels": Words("p_pixel", "ON TARGET", "FALSE POSITIVE"),
    "triage": Words("p_triage", "TRANSIT OR ECLIPSE", "NEITHER"),
    "vetting": Words("p_vetting", "PLANET CANDIDATE", "FALSE POSITIVE"),
}


def words_of(artifact: Artifact) -> Words:
    task = artifact.record.task
    return WORDS.get(task, Words(f"p_{task}", "POSITIVE", "NEGATIVE"))


def predict(artifact: Artifact, path: Path, threshold: float | None = None) -> list[Prediction]:
    """A model's word on every row of a file. threshold: on the probability, None for the model's own.

    Raises UsageError for models that read light curves, and for files that cannot be read or are of another form.
    """
    kind = artifact.record.kind
    if kind not in READERS:
        raise UsageError(f"{artifact.record.name} reads light curves, not files of views or images ({kind})")
    rows, stars, scores = READERS[kind](artifact, path)
    limit = artifact.record.threshold if threshold is None else threshold
    words = words_of(artifact)
    found = []
    for k, (row, star) in enumerate(zip(rows, stars, strict=True)):
        probability = _known(scores.probability[k])
        word = None if probability is None else words.positive if probability >= limit else words.negative
        found.append(
            Prediction(
                file=path.name,
                row=row,
                star=star,
                score=float(scores.score[k]),
                probability=probability,
                spread=_known(scores.spread[k]),
                threshold=limit,
                word=word,
                seen=bool(scores.seen[k]),
                outside=scores.outside[k],
            )
        )
    return found


def _known(value: np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None


Read = tuple[list[int | None], list[str | None], Scores]
"""Rows, stars and scores."""


def _read_stack(artifact: Artifact, path: Path) -> Read:
    stack = read_stack(path)
    standard_image(stack, path.name)  # refuses an image without anything in it, which a sweep would score
    star = star_in_name(path)
    return (
        [None],
        [star],
        score_stacks(artifact, np.array([star or path.name]), stack.reshape(1, -1, *stack.shape[-2:])),
    )


def _read_views(artifact: Artifact, path: Path) -> Read:
    views = read_views(path, labelled=False)
    try:
        scores = score_views(
            artifact,
            views.stars,
            views.global_view,
            views.local_view,
            views.secondary_view,
            views.scalars,
            views.view_spec,
        )
    except UsageError as error:
        raise UsageError(f"{path.name}: {error}") from None
    return list(range(len(views))), _named(views.stars), scores


def _named(stars: NDArray[Any]) -> list[str | None]:
    """Rows of a file that names no stars are "row 0", "row 1", ..."""
    return [None if str(star).startswith("row ") else str(star) for star in stars]


READERS: Final[dict[str, Callable[[Artifact, Path], Read]]] = {
    pixel_cnn.KIND.name: _read_stack,
    resnet1d.KIND.name: _read_views,
}
