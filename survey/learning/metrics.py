"""How good scores are: ranking, decisions, calibration, and how sure all of it is.

Rows of one star are not independent, so intervals come from a bootstrap over stars: a draw gives each star a whole
weight that all of its rows share. Average precision moves with the share of positives, so that share (`base_rate`) and
the lift over it stand beside it [science rules 29, 32, 33].
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

Scores = NDArray[np.floating]
Labels = NDArray[np.bool_]
Weights = NDArray[np.floating]
Metric = Callable[[Labels, Scores, Weights | None], float]

DRAWS: Final = 1000
LEVEL: Final = 0.95
RELIABILITY_BINS: Final = 10


def roc_auc(labels: Labels, scores: Scores, weights: Weights | None = None) -> float:
    """Chance that a positive scores above a negative, ties counting half. Raises ValueError for one class only."""
    _check_classes(labels, weights)
    return float(roc_auc_score(labels, scores, sample_weight=weights))


def average_precision(labels: Labels, scores: Scores, weights: Weights | None = None) -> float:
    """Mean precision over the positives, best first, without interpolation. Raises ValueError for one class only."""
    _check_classes(labels, weights)
    return float(average_precision_score(labels, scores, sample_weight=weights))


def _check_classes(labels: Labels, weights: Weights | None) -> None:
    counted = labels if weights is None else labels[weights > 0]
    if counted.size == 0 or counted.all() or not counted.any():
        raise ValueError("one class only: a ranking needs positives and negatives")


def brier(labels: Labels, probabilities: Scores, weights: Weights | None = None) -> float:
    """Mean squared error of probabilities (Brier 1950)."""
    return float(np.average((probabilities - labels) ** 2, weights=weights))


def expected_calibration_error(labels: Labels, probabilities: Scores, weights: Weights | None = None) -> float:
    """Mean distance of the share of positives from the probability, over bins of equal width (Naeini et al. 2015)."""
    curve = reliability(labels, probabilities, weights)
    return float(np.average(np.abs(curve.shares - curve.probabilities), weights=curve.counts))


@dataclass(frozen=True)
class Reliability:
    """Mean probability, share of positives and weight of each bin of equal width that holds any rows."""

    probabilities: Scores
    shares: Scores
    counts: Weights


def reliability(
    labels: Labels, probabilities: Scores, weights: Weights | None = None, bins: int = RELIABILITY_BINS
) -> Reliability:
    """What a probability is worth, in bins of equal width."""
    weights = np.ones(len(labels)) if weights is None else weights
    place = np.minimum((probabilities * bins).astype(np.intp), bins - 1)
    counts = np.bincount(place, weights)
    kept = counts > 0
    total = np.where(kept, counts, 1.0)
    mean = np.bincount(place, weights * probabilities) / total
    share = np.bincount(place, weights * labels) / total
    return Reliability(mean[kept], share[kept], counts[kept].astype(np.float64))


@dataclass(frozen=True)
class Decision:
    """What a threshold on the score does: rows at or above it are called positive."""

    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def precision(self) -> float | None:
        called = self.true_positives + self.false_positives
        return self.true_positives / called if called else None

    @property
    def recall(self) -> float | None:
        positives = self.true_positives + self.false_negatives
        return self.true_positives / positives if positives else None

    @property
    def f1(self) -> float | None:
        weight = 2 * self.true_positives + self.false_positives + self.false_negatives
        return 2 * self.true_positives / weight if weight else None

    def as_row(self) -> dict[str, Any]:
        return asdict(self) | {"precision": self.precision, "recall": self.recall, "f1": self.f1}


def decide(labels: Labels, scores: Scores, threshold: float) -> Decision:
    called = scores >= threshold
    return Decision(
        threshold,
        int(np.count_nonzero(called & labels)),
        int(np.count_nonzero(called & ~labels)),
        int(np.count_nonzero(~called & labels)),
        int(np.count_nonzero(~called & ~labels)),
    )


def best_threshold(labels: Labels, scores: Scores) -> float:
    """The threshold of the greatest F1: to be chosen on validation rows, never on those it is judged by."""
    _check_classes(labels, None)
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    total = precision[:-1] + recall[:-1]
    f1 = np.divide(2 * precision[:-1] * recall[:-1], total, out=np.zeros_like(total), where=total > 0)
    return float(thresholds[int(np.argmax(f1))])


@dataclass(frozen=True)
class Interval:
    """A measured value and the central interval of its bootstrap draws."""

    value: float
    low: float
    high: float


def star_weights(stars: NDArray[Any], draws: int = DRAWS, seed: int = 0) -> Iterator[NDArray[np.float64]]:
    """For each draw of a bootstrap over stars the (n,) weights of the rows: how often the star of each was drawn."""
    _, place = np.unique(stars, return_inverse=True)
    count = int(place.max()) + 1
    rng = np.random.default_rng(seed)
    for drawn in rng.multinomial(count, np.full(count, 1 / count), size=draws):
        yield drawn[place].astype(np.float64)


def bootstrap(
    metric: Metric, labels: Labels, scores: Scores, stars: NDArray[Any], *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """The metric with its interval over draws of stars; draws that hold one class only are left out."""
    return _interval(
        metric(labels, scores, None), _draw(lambda w: metric(labels, scores, w), labels, stars, draws, seed)
    )


def paired_bootstrap(
    metric: Metric,
    labels: Labels,
    scores: Scores,
    others: Scores,
    stars: NDArray[Any],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """How much better `scores` are than `others` on the same rows: both see the same draws of stars."""

    def difference(weights: Weights | None) -> float:
        return metric(labels, scores, weights) - metric(labels, others, weights)

    return _interval(difference(None), _draw(difference, labels, stars, draws, seed))


def _draw(
    measure: Callable[[Weights], float], labels: Labels, stars: NDArray[Any], draws: int, seed: int
) -> list[float]:
    found = []
    for weights in star_weights(stars, draws, seed):
        counted = labels[weights > 0]
        if counted.any() and not counted.all():
            found.append(measure(weights))
    return found


def _interval(value: float, draws: Sequence[float]) -> Interval:
    if not draws:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))
