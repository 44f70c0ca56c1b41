"""Where in a star's light a transit is, segment by segment, and what that says of the star.

All segments of a star are scored, whatever their number, over all sectors, quarters and campaigns. The star's own score
is the mean of the probabilities of its best segments; `star_probability` takes into account how many there were
(`star_score`).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from survey.errors import UsageError
from survey.learning.artifact import Artifact
from survey.learning.examples import Examples
from survey.learning.models import inception1d
from survey.learning.score import Scores, score_rows
from survey.learning.sets.segments import Hardness
from survey.learning.star_score import read_record, top_mean
from survey.signals.segments import Segments, SegmentSpec, cut_segments


@dataclass(frozen=True)
class SegmentScores:
    """Scores of the n segments of a star, and of the star.

    middle: (n,) days, as the light curve's times; probability: (n,) that a transit or an eclipse is inside; spread:
    (n,) standard deviation over the members. star_score: mean of the `top` highest probabilities; star_max: the
    highest; star_level: how far the star's best segments stand above those of stars without transits that have as many,
    in standard deviations; star_probability: calibrated from it. None for a star without a segment. outside: facts of
    any segment that lie outside of what the model was trained on.
    """

    middle: NDArray[np.float64]
    probability: NDArray[np.float64]
    spread: NDArray[np.float64]
    top: int
    star_score: float | None
    star_max: float | None
    star_level: float | None
    star_probability: float | None
    outside: tuple[str, ...]

    @property
    def number(self) -> int:
        return len(self.middle)


def score_segments(
    artifact: Artifact,
    star: str,
    time: NDArray[np.float64],
    raw: NDArray[np.floating],
    flat: NDArray[np.floating],
    cadence_s: float,
) -> SegmentScores:
    """Scores of a light curve: time (d), raw flux about 1, flux over its trend. A star that the model was trained on is
    scored by those members that never saw it. Raises UsageError for a model of something else than segments."""
    spec, record = _spec(artifact), read_record(artifact.record.extra)
    segments = cut_segments(time, raw, flat, cadence_s, spec)
    if not len(segments):
        none = np.empty(0)
        return SegmentScores(none, none, none, record.top, None, None, None, None, ())
    scores = score_cut(artifact, star, segments)
    fold = int(artifact.stars.folds_of(np.array([star]))[0])
    calibration = record.calibrations[fold if fold < len(record.calibrations) else -1]
    level = float(calibration.level(top_mean(scores.score, record.top), len(segments)))
    return SegmentScores(
        middle=segments.middle,
        probability=scores.probability,
        spread=scores.spread,
        top=record.top,
        star_score=top_mean(scores.probability, record.top),
        star_max=float(scores.probability.max()),
        star_level=level,
        star_probability=float(calibration.probability.probability(np.array(level))),
        outside=tuple(sorted({name for names in scores.outside for name in names})),
    )


def score_cut(artifact: Artifact, star: str, segments: Segments) -> Scores:
    """Scores of segments that were cut as the model wants them."""
    examples = Examples((torch.from_numpy(segments.light),), torch.zeros(len(segments)))
    return score_rows(artifact, examples, np.full(len(segments), star))


def hardness_by(artifact: Artifact, spec: SegmentSpec) -> Hardness:
    """What a model takes for a transit, to mine hard negatives by. Raises UsageError where it reads other segments."""
    wanted = _spec(artifact)
    if spec.model_copy(update={"stride": wanted.stride}) != wanted:
        raise UsageError(
            f"{artifact.record.name} reads segments of another form: --window {wanted.window} --channels "
            f"{wanted.channels} --level {wanted.level}"
        )

    def hardness(star: str, segments: Segments) -> NDArray[np.floating]:
        return score_cut(artifact, star, segments).score if len(segments) else np.empty(0)

    return hardness


def _spec(artifact: Artifact) -> SegmentSpec:
    if artifact.record.kind != inception1d.KIND.name:
        raise UsageError(f"{artifact.record.name} is a model of {artifact.record.kind}, not of segments")
    spec: SegmentSpec = artifact.inputs
    return spec
