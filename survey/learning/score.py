"""Scores of an artifact, the same bits for a signal whatever comes before, after or beside it.

Every batch has the same padded shape, in float32 and on one thread [science rule 37]. A star that the model was trained
on is scored only by those members, and calibrated only by those stars, that had nothing to do with it, so that neither
figures nor catalogues flatter known stars.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from survey.errors import UsageError
from survey.learning.artifact import Artifact
from survey.learning.calibrate import calibrate_by_fold
from survey.learning.members import Examples, one_thread
from survey.learning.sets.views import ViewSet

BATCH: Final = 64

LEAST_LOG: Final = {"period": 1e-3, "duration_h": 1e-2, "depth_ppm": 1.0, "snr": 0.1}
"""Scalars that enter as logarithms, and the least value that each is set to."""


@dataclass(frozen=True)
class Scores:
    """(n,) arrays. score: mean logit of the members; probability: calibrated; spread: standard deviation of the
    members' probabilities; seen: stars that the model was trained on, scored by those members that did not see them."""

    score: NDArray[np.float64]
    probability: NDArray[np.float64]
    spread: NDArray[np.float64]
    seen: NDArray[np.bool_]


def make_examples(
    views: ViewSet, scalars: Sequence[str], *, secondary: bool, labels: NDArray[np.bool_] | None = None
) -> Examples:
    """The tensors that a network reads; a scalar that the views lack is NaN in every row."""
    transit = [views.local_view]
    if secondary and views.secondary_view is not None:
        transit.append(views.secondary_view)
    numbers = [_enter(name, views.scalars.get(name, np.full(len(views), np.nan))) for name in scalars]
    columns = np.stack(numbers, 1) if numbers else np.empty((len(views), 0), np.float32)
    return Examples(
        torch.from_numpy(views.global_view)[:, None],
        torch.from_numpy(np.stack(transit, 1)),
        torch.from_numpy(columns),
        torch.from_numpy((np.zeros(len(views)) if labels is None else labels).astype(np.float32)),
    )


def _enter(name: str, values: NDArray[np.float64]) -> NDArray[np.float32]:
    """A scalar as the network sees it. Lengths of time and depths that are not above 0 were not measured."""
    if name not in LEAST_LOG:
        return values.astype(np.float32)
    measured = np.isfinite(values) & ((values > 0) | (name == "snr"))
    logs = np.log10(np.maximum(np.where(measured, values, 1.0), LEAST_LOG[name]))
    return np.where(measured, logs, np.nan).astype(np.float32)


def score_views(artifact: Artifact, views: ViewSet) -> Scores:
    """Scores of all rows. Raises UsageError for views of another form than the model's."""
    check_views(artifact, views)
    examples = make_examples(views, artifact.record.inputs.scalars, secondary=artifact.record.network.secondary)
    fold = artifact.stars.folds_of(views.stars)
    member_folds = np.array([member.fold for member in artifact.record.members])
    used = (fold < 0)[None, :] | (member_folds[:, None] == fold[None, :])
    logits = np.zeros(used.shape, np.float32)
    with one_thread():
        for k, rows in enumerate(used):
            logits[k, rows] = score_member(artifact.network(k), examples.take(np.flatnonzero(rows)))
    # A fold of -1, of a star that is not known, is the last: the calibration by all folds.
    calibrations = (*artifact.record.fold_calibrations, artifact.record.calibration)
    score = mean_over_members(logits, used)
    each = calibrate_by_fold(calibrations, logits, fold)
    spread = np.sqrt(mean_over_members((each - mean_over_members(each, used)) ** 2, used))
    return Scores(score, calibrate_by_fold(calibrations, score, fold), spread, fold >= 0)


def mean_over_members(values: NDArray[np.floating], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n,) means of the (members, n) values that are used, added up in the order of the members."""
    total = np.zeros(values.shape[1])
    for row, counts in zip(values, used, strict=True):
        total += np.where(counts, row.astype(np.float64), 0.0)
    return total / used.sum(0)


def check_views(artifact: Artifact, views: ViewSet) -> None:
    """Raises UsageError naming in what the views differ from those that the model was trained with."""
    wanted, spec = artifact.record.network, artifact.record.inputs.view_spec
    for kind, found, bins in (
        ("global_view", views.global_view, wanted.global_bins),
        ("local_view", views.local_view, wanted.local_bins),
    ):
        if found.shape[1] != bins:
            raise UsageError(f"{views.name}: {kind} has {found.shape[1]} bins, {artifact.record.name} reads {bins}")
    if wanted.secondary and views.secondary_view is None:
        raise UsageError(f"{views.name}: no secondary_view, which {artifact.record.name} reads")
    if spec and views.view_spec and spec != views.view_spec:
        raise UsageError(f"{views.name}: views of the form {views.view_spec}, {artifact.record.name} reads {spec}")


def score_member(network: torch.nn.Module, examples: Examples) -> NDArray[np.float32]:
    """(n,) logits in batches of one padded shape."""
    network.eval()
    logits = np.empty(len(examples.labels), np.float32)
    with torch.inference_mode():
        for begin in range(0, len(logits), BATCH):
            rows = slice(begin, min(begin + BATCH, len(logits)))
            parts = [_pad(part[rows]) for part in (examples.orbit, examples.transit, examples.scalars)]
            logits[rows] = network(*parts).numpy()[: rows.stop - begin]
    return logits


def _pad(part: Tensor) -> Tensor:
    if len(part) == BATCH:
        return part.contiguous()
    padded = part.new_zeros((BATCH, *part.shape[1:]))
    padded[: len(part)] = part
    return padded
