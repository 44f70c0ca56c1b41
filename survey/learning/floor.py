"""The floor: gradient boosting on the very numbers that a network sees. A network below it is not worth its weights."""

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from survey.learning.members import Examples


def score_floor(examples: Examples, folds: NDArray[np.integer]) -> NDArray[np.float64]:
    """(n,) out-of-fold scores (log odds) of boosted trees on views and scalars, NaN where a scalar is missing.

    On one thread: its threads wait for each other by spinning, which takes hours where cores are shared.
    """
    rows = len(examples.labels)
    parts = (examples.orbit, examples.transit, examples.scalars)
    table = np.concatenate([part.numpy().reshape(rows, -1) for part in parts], 1)
    labels = examples.labels.numpy() > 0.5
    scores = np.empty(rows)
    for fold in np.unique(folds):
        held = folds == fold
        trees = HistGradientBoostingClassifier(
            max_iter=400, learning_rate=0.06, max_leaf_nodes=31, l2_regularization=1.0, random_state=0
        )
        with threadpool_limits(1):
            scores[held] = trees.fit(table[~held], labels[~held]).decision_function(table[held])
    return scores
