"""From scores to probabilities: a score of 0.8 should be right four times in five.

A calibration is fitted on scores of stars that no member of the model had seen (out of fold), and judged on stars that
it has not seen itself [science rules 29, 32]. Both kinds are a few numbers that stand in the model's JSON.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from survey.config import Frozen
from survey.learning.metrics import Labels, Scores

Method = Literal["isotonic", "temperature"]


class Calibration(Frozen):
    """Knots of a rising line from scores (logits) to probabilities, or temperature and shift of a logistic curve."""

    method: Method
    scores: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()
    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)
    shift: float = Field(0.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check(self) -> "Calibration":
        if self.method == "isotonic":
            knots, levels = np.array(self.scores), np.array(self.probabilities)
            if len(knots) == 0 or len(knots) != len(levels):
                raise ValueError("an isotonic calibration needs as many probabilities as scores, and at least one")
            if not (np.isfinite(knots).all() and (np.diff(knots) > 0).all()):
                raise ValueError("the scores of an isotonic calibration must rise")
            if not ((np.diff(levels) >= 0).all() and (levels >= 0).all() and (levels <= 1).all()):
                raise ValueError("the probabilities of an isotonic calibration must not fall, and lie in 0..1")
        return self

    def probability(self, scores: Scores) -> NDArray[np.float64]:
        """Calibrated probabilities of scores of any shape; they never fall where scores rise."""
        values = np.asarray(scores, np.float64)
        if self.method == "isotonic":
            return np.interp(values, self.scores, self.probabilities)
        return np.asarray(expit(values / self.temperature + self.shift))


PRIOR_ROWS: Final = 2.0
"""Rows at the base rate that every step of an isotonic calibration has beside its own: few rows prove little."""


def fit_isotonic(scores: Scores, labels: Labels) -> Calibration:
    """The best rising steps (Zadrozny & Elkan 2002), joined by lines; a step of few rows is drawn to the base rate."""
    values = np.asarray(scores, np.float64)
    fitted = IsotonicRegression().fit(values, labels).predict(values)
    _, step = np.unique(fitted, return_inverse=True)
    base_rate = (labels.sum() + 1) / (len(labels) + 2)
    rows = np.bincount(step) + PRIOR_ROWS
    levels = (np.bincount(step, labels) + PRIOR_ROWS * base_rate) / rows
    levels = IsotonicRegression().fit_transform(np.arange(len(levels)), levels, sample_weight=rows)
    ends = np.full((len(levels), 2), [np.inf, -np.inf])
    np.minimum.at(ends[:, 0], step, values)
    np.maximum.at(ends[:, 1], step, values)
    knots, first = np.unique(ends.ravel(), return_index=True)
    return Calibration(
        method="isotonic",
        scores=tuple(knots.tolist()),
        probabilities=tuple(np.maximum.accumulate(np.repeat(levels, 2)[first]).tolist()),
    )


def fit_temperature(scores: Scores, labels: Labels) -> Calibration:
    """Temperature (Guo et al. 2017) and shift of a logistic curve; Platt's (1999) targets keep it finite."""
    values = np.asarray(scores, np.float64)
    positives = int(labels.sum())
    high, low = (positives + 1) / (positives + 2), 1 / (len(labels) - positives + 2)
    targets = np.where(labels, high, low)

    def loss(free: NDArray[np.float64]) -> float:
        logits = values * np.exp(-free[0]) + free[1]
        return float(np.mean(np.logaddexp(0, logits) - targets * logits))

    found = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12, "maxiter": 2000})
    return Calibration(method="temperature", temperature=float(np.exp(found.x[0])), shift=float(found.x[1]))


def fit_by_fold(scores: Scores, labels: Labels, folds: NDArray[np.integer], method: Method) -> tuple[Calibration, ...]:
    """A calibration for each fold of out-of-fold scores, fitted on the other folds."""
    return tuple(
        CALIBRATORS[method](scores[folds != fold], labels[folds != fold]) for fold in range(int(folds.max()) + 1)
    )


def calibrate_by_fold(
    calibrations: Sequence[Calibration], scores: Scores, folds: NDArray[np.integer]
) -> NDArray[np.float64]:
    """(..., n) probabilities of (..., n) scores, by the calibration of the fold of each of the n rows."""
    probabilities = np.empty(scores.shape)
    for fold in np.unique(folds):
        held = folds == fold
        probabilities[..., held] = calibrations[fold].probability(scores[..., held])
    return probabilities


CALIBRATORS: Final[dict[Method, Callable[[Any, Any], Calibration]]] = {
    "isotonic": fit_isotonic,
    "temperature": fit_temperature,
}
