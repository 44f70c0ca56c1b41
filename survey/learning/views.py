"""Scores of folded views: what the sweep asks of a classifier of signals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from survey.errors import UsageError
from survey.learning.artifact import Artifact
from survey.learning.examples import Examples
from survey.learning.models.resnet1d import LEAST_LOG
from survey.learning.score import Scores, score_rows

Floats = NDArray[np.float32]


def score_views(
    artifact: Artifact,
    stars: NDArray[Any],
    global_view: Floats,
    local_view: Floats,
    secondary_view: Floats | None,
    scalars: Mapping[str, NDArray[np.float64]],
    view_spec: str | None = None,
) -> Scores:
    """Scores of n signals. stars: (n,) names; views: (n, bins), median 0 and minimum -1; scalars: (n,) by name
    (period in days, duration_h, depth_ppm, snr, centroid_offset), NaN where not measured; one that is not given is
    missing.

    view_spec: the form of the views, where it has a name. Raises UsageError for views of another form than the model's.
    """
    check_views(artifact.shape, artifact.inputs, global_view, local_view, secondary_view, view_spec)
    secondary = secondary_view if artifact.shape.secondary else None
    examples = make_examples(global_view, local_view, secondary, scalars, artifact.inputs.scalars)
    return score_rows(artifact, examples, stars)


def check_views(
    shape: Any,
    inputs: Any,
    global_view: Floats,
    local_view: Floats,
    secondary_view: Floats | None,
    view_spec: str | None,
) -> None:
    """Raises UsageError naming in what the views differ from those that a network reads."""
    for kind, found, bins in (
        ("global_view", global_view, shape.global_bins),
        ("local_view", local_view, shape.local_bins),
    ):
        if found.shape[1] != bins:
            raise UsageError(f"{kind} has {found.shape[1]} bins, the model reads {bins}")
    if shape.secondary and secondary_view is None:
        raise UsageError("no secondary_view, which the model reads")
    if inputs.view_spec and view_spec and inputs.view_spec != view_spec:
        raise UsageError(f"views of the form {view_spec}, the model reads {inputs.view_spec}")


def make_examples(
    global_view: Floats,
    local_view: Floats,
    secondary_view: Floats | None,
    scalars: Mapping[str, NDArray[np.float64]],
    names: Sequence[str],
    labels: NDArray[np.bool_] | None = None,
) -> Examples:
    """The tensors that a network reads: orbit (n, 1, bins), transit (n, 1 or 2, bins), scalars (n, k) in the order of
    the names; one that is not given is NaN in every row."""
    rows = len(global_view)
    transit = [local_view] if secondary_view is None else [local_view, secondary_view]
    numbers = [_enter(name, scalars.get(name, np.full(rows, np.nan))) for name in names]
    columns = np.stack(numbers, 1) if numbers else np.empty((rows, 0), np.float32)
    return Examples(
        (
            torch.from_numpy(global_view)[:, None],
            torch.from_numpy(np.stack(transit, 1)),
            torch.from_numpy(columns),
        ),
        torch.from_numpy((np.zeros(rows) if labels is None else labels).astype(np.float32)),
    )


def _enter(name: str, values: NDArray[np.float64]) -> NDArray[np.float32]:
    """A scalar as the network sees it. Lengths of time and depths that are not above 0 were not measured."""
    if name not in LEAST_LOG:
        return values.astype(np.float32)
    measured = np.isfinite(values) & ((values > 0) | (name == "snr"))
    logs = np.log10(np.maximum(np.where(measured, values, 1.0), LEAST_LOG[name]))
    return np.where(measured, logs, np.nan).astype(np.float32)
