"""Calibration: scores become probabilities that hold on stars which it has not seen."""

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from survey.learning.calibrate import CALIBRATORS, Calibration, calibrate_by_fold, fit_by_fold
from survey.learning.metrics import expected_calibration_error

METHODS = tuple(CALIBRATORS)


def overconfident(rows=20_000, seed=0):
    """Labels, and logits that are three times too large and shifted."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, rows)
    return rng.random(rows) < expit(logits), 3 * logits + 1


@pytest.mark.parametrize("method", METHODS)
def test_overconfident_scores_become_probabilities(method):
    labels, scores = overconfident()
    fitted = CALIBRATORS[method](scores, labels)
    others, new_scores = overconfident(seed=1)
    assert expected_calibration_error(others, expit(new_scores)) > 0.1
    assert expected_calibration_error(others, fitted.probability(new_scores)) < 0.02


def test_the_temperature_is_that_of_the_scores():
    labels, scores = overconfident(200_000)
    fitted = CALIBRATORS["temperature"](scores, labels)
    assert (fitted.temperature, fitted.shift) == (pytest.approx(3, rel=0.03), pytest.approx(-1 / 3, abs=0.03))


@pytest.mark.parametrize("method", METHODS)
@given(st.lists(st.tuples(st.floats(-20, 20), st.booleans()), min_size=2, max_size=30))
def test_a_probability_never_falls_as_the_score_rises_nor_is_certain(method, rows):
    scores, labels = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    fitted = CALIBRATORS[method](scores, labels)
    found = fitted.probability(np.linspace(-25, 25, 101))
    assert (np.diff(found) >= -1e-12).all()  # interpolation rounds
    assert ((found >= 0) & (found <= 1)).all()
    if method == "isotonic":
        assert 0 < found[0] <= found[-1] < 1


@pytest.mark.parametrize("method", METHODS)
def test_it_survives_its_json(method):
    labels, scores = overconfident(300)
    fitted = CALIBRATORS[method](scores, labels)
    again = Calibration.model_validate_json(fitted.model_dump_json())
    assert np.array_equal(again.probability(scores), fitted.probability(scores))


def test_a_fold_is_judged_by_the_others():
    labels, scores = overconfident(400)
    folds = np.arange(400) % 4
    before = calibrate_by_fold(fit_by_fold(scores, labels, folds, "isotonic"), scores, folds)
    # Its own labels do not matter to a fold, and do to the others.
    flipped = np.where(folds == 2, ~labels, labels)
    after = calibrate_by_fold(fit_by_fold(scores, flipped, folds, "isotonic"), scores, folds)
    assert np.array_equal(before[folds == 2], after[folds == 2])
    assert not np.array_equal(before[folds != 2], after[folds != 2])


@pytest.mark.parametrize(
    "broken",
    [
        {"scores": (), "probabilities": ()},
        {"scores": (0.0, 1.0), "probabilities": (0.5,)},
        {"scores": (1.0, 0.0), "probabilities": (0.1, 0.5)},
        {"scores": (0.0, 1.0), "probabilities": (0.5, 0.1)},
        {"scores": (0.0, 1.0), "probabilities": (0.5, 1.1)},
        {"scores": (0.0, float("nan")), "probabilities": (0.5, 0.6)},
    ],
)
def test_a_calibration_that_is_none_is_refused(broken):
    with pytest.raises(pydantic.ValidationError):
        Calibration(method="isotonic", **broken)


def test_few_rows_at_the_top_prove_little():
    labels = np.append(np.zeros(997, bool), [True, True, True])
    fitted = CALIBRATORS["isotonic"](np.arange(1000.0), labels)
    assert fitted.probability(np.array([999.0])) == pytest.approx((3 + 2 * 4 / 1002) / 5)
