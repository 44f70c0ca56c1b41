"""Scores of an artifact, the same bits for a row whatever comes before, after or beside it.

Every batch has the same padded shape, in float32 and on one thread [science rule 37]. A star that the model was trained
on is scored only by those members, and calibrated only by those stars, that had nothing to do with it, so that neither
figures nor catalogues flatter known stars.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from survey.learning.artifact import Artifact
from survey.learning.calibrate import calibrate_by_fold
from survey.learning.examples import Examples
from survey.learning.members import one_thread


@dataclass(frozen=True)
class Scores:
    """Of n rows. outputs: (n, ...) means of what the members say; score: (n,) means of what they rank by; probability:
    calibrated; spread: standard deviation of the members' probabilities, NaN where one alone scores; seen: stars that
    the model was trained on, scored by those members that did not see them; outside: names of the facts of each row
    that lie outside the model's support. Where a model was never calibrated, probability and spread are NaN: its scores
    only rank."""

    outputs: NDArray[np.float64]
    score: NDArray[np.float64]
    probability: NDArray[np.float64]
    spread: NDArray[np.float64]
    seen: NDArray[np.bool_]
    outside: tuple[tuple[str, ...], ...]


def score_rows(
    artifact: Artifact, examples: Examples, stars: NDArray[Any], others: Sequence[NDArray[Any]] = ()
) -> Scores:
    """Scores of all rows. stars: (n,) names, by which stars that were trained on are known; others: further (n,) names
    of them, "" where there is none."""
    record, kind = artifact.record, artifact.kind
    fold = artifact.stars.folds_of(stars, others)
    member_folds = np.array([member.fold for member in record.members])
    used = (fold < 0)[None, :] | (member_folds[:, None] == fold[None, :])
    with one_thread():
        outputs = np.stack([_score_some(artifact, k, examples, rows) for k, rows in enumerate(used)])
    ranks = np.stack([kind.reduce(part) for part in outputs])
    # A fold of -1, of a star that is not known, is the last: the calibration by all folds.
    calibrations = (*record.fold_calibrations, record.calibration)
    score = mean_over_members(ranks, used)
    each = calibrate_by_fold(calibrations, ranks, fold)
    spread = scatter_of_members(each, used)
    unknown = np.full(len(score), np.nan)
    return Scores(
        mean_over_members(outputs, used),
        score,
        calibrate_by_fold(calibrations, score, fold) if record.calibrated else unknown,
        spread if record.calibrated else unknown,
        fold >= 0,
        find_outside(artifact, examples),
    )


def _score_some(artifact: Artifact, member: int, examples: Examples, rows: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(n, ...) outputs of a member; 0 for rows that it has no part in."""
    found = score_member(artifact.network(member), examples.take(np.flatnonzero(rows)), artifact.kind.batch)
    outputs = np.zeros((len(rows), *found.shape[1:]), np.float32)
    outputs[rows] = found
    return outputs


def mean_over_members(values: NDArray[np.floating], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n, ...) means of the (members, n, ...) values that are used, added up in the order of the members."""
    counts = used.reshape(*used.shape, *(1,) * (values.ndim - 2))
    total = np.zeros(values.shape[1:])
    for row, counted in zip(values, counts, strict=True):
        total += np.where(counted, row.astype(np.float64), 0.0)
    return np.asarray(total / counts.sum(0))


def scatter_of_members(chances: NDArray[np.float64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n,) standard deviations of the (members, n) probabilities that are used; NaN where that is one alone, which
    tells nothing of how far others would be from it."""
    scatter = np.sqrt(mean_over_members((chances - mean_over_members(chances, used)) ** 2, used))
    return np.where(used.sum(0) > 1, scatter, np.nan)


def find_outside(artifact: Artifact, examples: Examples) -> tuple[tuple[str, ...], ...]:
    """For each row the names of its facts beyond those of all but a few rows of the training set."""
    facts = artifact.kind.facts(examples, artifact.inputs)
    flags = {
        name: (facts[name] < low) | (facts[name] > high)
        for name, (low, high) in artifact.record.support.items()
        if name in facts
    }
    return tuple(tuple(name for name, flag in flags.items() if flag[k]) for k in range(len(examples)))


def score_member(network: nn.Module, examples: Examples, batch: int) -> NDArray[np.float32]:
    """(n, ...) outputs in batches of one padded shape: `Kind.batch` rows."""
    network.eval()
    parts = []
    with torch.inference_mode():
        for begin in range(0, max(1, len(examples)), batch):
            rows = slice(begin, min(begin + batch, len(examples)))
            outputs = network(*(_pad(part[rows], batch) for part in examples.inputs))
            parts.append(outputs.numpy()[: rows.stop - begin])
    return np.concatenate(parts)


def _pad(part: Tensor, rows: int) -> Tensor:
    if len(part) == rows:
        return part.contiguous()
    padded = part.new_zeros((rows, *part.shape[1:]))
    padded[: len(part)] = part
    return padded
