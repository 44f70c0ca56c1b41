"""The floor: gradient boosting on the very numbers that a network sees. A network below it is not worth its weights."""

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits


def score_floor(
    table: NDArray[np.float32], labels: NDArray[np.bool_], folds: NDArray[np.integer]
) -> NDArray[np.float64]:
    """(n,) out-of-fold scores (log odds) of boosted trees on (n, k) numbers, NaN where one is missing.

    On one thread: its threads wait for each other by spinning, which takes hours where cores are shared.
    """
    scores = np.empty(len(labels))
    for fold in np.unique(folds):
        held = folds == fold
        trees = HistGradientBoostingClassifier(
            max_iter=400, learning_rate=0.06, max_leaf_nodes=31, l2_regularization=1.0, random_state=0
        )
        with threadpool_limits(1):
            scores[held] = trees.fit(table[~held], labels[~held]).decision_function(table[held])
    return scores
