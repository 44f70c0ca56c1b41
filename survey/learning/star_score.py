"""From the scores of a star's segments to one score of the star, whatever the number of segments.

A star is ranked by its best segments: the mean of the TOP highest scores, since with a stride of a quarter of the
window each transit stands in four of them. But the highest of many scores is high by chance: of two stars without
transits, that which was observed for longer wins [science rule 31]. So the score is compared with those of stars
without transits that have as many segments:

1. Null curves are flux without transits: that of stars without listed signals, flux with the transits cut out, flux
   upside down. Out of the segments of each, scored by networks that never saw its star, n are drawn, for n from 1 to
   as many as it has, and the mean of the highest is taken.
2. Over all null curves these means follow a normal distribution whose middle and logarithm of width are straight lines
   in log n. This takes in both that maxima grow with n and that stars differ: some are noisy in all their segments.
3. A star's level is by how many widths it lies above that middle. For the null it does not depend on n.
4. A logistic curve makes a probability of the level, fitted on the null curves and on those with transits. It holds
   where stars with transits are as frequent as in the training set.

Every curve counts as much as another, in 2 and in 4; the curves of one star are divided like the star.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pydantic
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import minimize

from survey.config import Frozen
from survey.errors import UsageError
from survey.learning.calibrate import Calibration, fit_temperature

Scores = NDArray[np.floating]

TOP: Final = 4
"""Highest segments of which the mean is taken."""

DRAWS: Final = 8
"""Draws of each number of segments out of each null curve."""

NARROWEST: Final = 1e-3
"""Least width of the null distribution, in logits."""


class StarCalibration(Frozen):
    """The null distribution of the score of a star with n segments, normal with the middle `middle` + `growth` ln n and
    the width exp(`width` + `widening` ln n), and the curve from levels to probabilities."""

    middle: float = Field(allow_inf_nan=False)
    growth: float = Field(allow_inf_nan=False)
    width: float = Field(ge=-10, le=10)
    widening: float = Field(ge=-2, le=2)
    probability: Calibration

    def level(self, score: Scores | float, n: Scores | int) -> NDArray[np.float64]:
        """Widths above the middle of the scores of null stars with n segments."""
        count = np.log(np.asarray(n, np.float64))
        middle, width = self.middle + self.growth * count, np.exp(self.width + self.widening * count)
        return np.asarray((np.asarray(score, np.float64) - middle) / width)


class StarRecord(Frozen):
    """What a model keeps for the scores of stars. calibrations: each fitted without the stars of its fold; the last
    one, on all, is for stars that the model was not trained on."""

    top: int = Field(ge=1, le=1000)
    calibrations: tuple[StarCalibration, ...] = Field(min_length=1, max_length=257)


def read_record(extra: dict[str, Any]) -> StarRecord:
    """Raises UsageError for a model that says nothing, or nonsense, of stars."""
    try:
        return StarRecord.model_validate(extra["stars"])
    except (KeyError, pydantic.ValidationError):
        raise UsageError(
            "the model is not calibrated for stars: train it on a set of segments with curves without transits"
        ) from None


def top_mean(scores: Scores, top: int = TOP) -> float:
    """Mean of the `top` highest of at least one score, or of all where there are fewer."""
    count = min(top, len(scores))
    return float(np.mean(np.sort(np.asarray(scores, np.float64))[-count:]))


@dataclass(frozen=True)
class Curve:
    """Segments of one light curve that were kept. scores: (n,); weights: how many segments each stands for; total: how
    many the curve has; fold: of its star."""

    scores: Scores
    weights: Scores
    total: int
    fold: int
    positive: bool


def fit_stars(curves: Sequence[Curve], top: int = TOP, seed: int = 0) -> StarRecord:
    """The calibrations for each fold and for all. Raises UsageError where there are fewer than two null curves, or no
    other, outside of some fold."""
    folds = range(1 + max((curve.fold for curve in curves), default=-1))
    parts = [[curve for curve in curves if curve.fold != fold] for fold in folds]
    return StarRecord(top=top, calibrations=tuple(_fit(part, top, seed) for part in [*parts, list(curves)]))


def _fit(curves: Sequence[Curve], top: int, seed: int) -> StarCalibration:
    null = [curve for curve in curves if not curve.positive]
    if len(null) < 2 or len(null) == len(curves):
        raise UsageError(
            f"{len(null)} curves without and {len(curves) - len(null)} with transits: too few to calibrate scores of "
            "stars"
        )
    draw = np.random.default_rng([seed, len(curves)])
    middle, growth, width, widening = _fit_null([_draw_means(curve, top, draw) for curve in null])
    plain = StarCalibration(
        middle=middle, growth=growth, width=width, widening=widening, probability=Calibration(method="temperature")
    )
    levels = [
        plain.level(np.array([_draw_mean(curve, curve.total, top, draw) for _ in range(DRAWS)]), curve.total)
        for curve in curves
    ]
    labels = np.repeat([curve.positive for curve in curves], DRAWS)
    return plain.model_copy(update={"probability": fit_temperature(np.concatenate(levels), labels)})


def _draw_means(curve: Curve, top: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """(m, 2) ln n and the mean of the highest scores, for n growing twofold to as many segments as the curve has."""
    numbers = [2**k for k in range(int(math.log2(curve.total)) + 1)]
    if numbers[-1] != curve.total:
        numbers.append(curve.total)
    return np.array([(math.log(n), _draw_mean(curve, n, top, draw)) for n in numbers for _ in range(DRAWS)])


def _draw_mean(curve: Curve, n: int, top: int, draw: np.random.Generator) -> float:
    share = curve.weights / curve.weights.sum()
    return top_mean(draw.choice(curve.scores, n, p=share), top)


def _fit_null(drawn: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Middle, growth, width and widening of greatest likelihood, where all curves count alike."""
    logs, means = np.concatenate(drawn).T
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in drawn])
    growth, middle = np.polyfit(logs, means, 1, w=np.sqrt(weights)) if np.ptp(logs) > 0 else (0.0, np.mean(means))

    def loss(free: NDArray[np.float64]) -> float:
        width = np.maximum(np.exp(np.clip(free[2] + free[3] * logs, -10, 10)), NARROWEST)
        return float(np.sum(weights * (0.5 * ((means - free[0] - free[1] * logs) / width) ** 2 + np.log(width))))

    start = np.array([middle, growth, math.log(max(float(np.std(means)), NARROWEST)), 0.0])
    options = {"xatol": 1e-5, "fatol": 1e-8, "maxiter": 4000, "maxfev": 4000}
    found = minimize(loss, start, method="Nelder-Mead", options=options).x
    if np.ptp(logs) == 0:
        found[[1, 3]] = 0.0
    return np.array([*found[:2], np.clip(found[2], -10, 10), np.clip(found[3], -2, 2)])
