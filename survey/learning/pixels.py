"""Scores of difference images: is it the target that dims?"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from survey.errors import UsageError
from survey.learning.artifact import Artifact
from survey.learning.examples import Examples
from survey.learning.models.pixel_cnn import KIND
from survey.learning.score import Scores, score_rows
from survey.learning.sets.pixels import standard_images


def score_stacks(artifact: Artifact, stars: NDArray[Any], stacks: NDArray[np.floating]) -> Scores:
    """Scores of n stacks (n, T, rows, columns), such as `pixel_stack` of a sweep, (n, 32, 24, 24); stars: (n,) names.

    A stack without any light is scored too, and marked as outside the model's support. Raises UsageError for a model of
    another kind.
    """
    if artifact.record.kind != KIND.name:
        raise UsageError(
            f"{artifact.record.name} is a model of another kind ({artifact.record.kind}): it reads no pixels"
        )
    images = torch.from_numpy(standard_images(stacks))[:, None]
    return score_rows(artifact, Examples((images,), torch.zeros(len(images))), stars)
