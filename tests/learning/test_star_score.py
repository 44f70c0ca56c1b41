"""One score of a star from any number of segments."""

import numpy as np
import pytest

from survey.errors import UsageError
from survey.learning.star_score import Curve, StarRecord, fit_stars, read_record, top_mean


def null_curve(rng: np.random.Generator, n: int, fold: int = 0, positive: bool = False) -> Curve:
    """Segments of a star without transits, each star as noisy as it is; or with a transit in a tenth of them."""
    scores = rng.normal(-3, 0.4) + rng.normal(0, 1, n)
    if positive:
        scores[: max(1, n // 10)] += 5
    return Curve(scores, np.ones(n), n, fold, positive)


@pytest.fixture(scope="module")
def record() -> StarRecord:
    rng = np.random.default_rng(0)
    numbers = np.exp(rng.uniform(np.log(8), np.log(400), 120)).astype(int)
    return fit_stars([null_curve(rng, n, k % 3, positive=k % 2 == 0) for k, n in enumerate(numbers)])


def test_ten_times_the_segments_are_no_evidence(record):
    """Stars without transits: their best scores grow with the number of segments, their levels do not."""
    rng = np.random.default_rng(1)
    calibration = record.calibrations[-1]
    raw, levels, alarms = {}, {}, {}
    for n in (20, 200):
        best = np.array([top_mean(null_curve(rng, n).scores) for _ in range(2000)])
        raw[n] = np.median(best)
        levels[n] = calibration.level(best, n)
        alarms[n] = np.mean(best > -1.0)
    assert raw[200] - raw[20] > 0.7
    assert alarms[200] > 3 * alarms[20]
    for n in (20, 200):
        assert np.median(levels[n]) == pytest.approx(0, abs=0.25)
        assert np.std(levels[n]) == pytest.approx(1, abs=0.25)
        assert np.mean(levels[n] > 2) == pytest.approx(0.023, abs=0.02)


def test_probabilities_rise_with_the_score_and_tell_transits_from_none(record):
    calibration = record.calibrations[-1]
    rng = np.random.default_rng(2)
    of = {
        positive: np.mean(
            [
                calibration.probability.probability(
                    calibration.level(top_mean(null_curve(rng, 60, positive=positive).scores), 60)
                )
                for _ in range(200)
            ]
        )
        for positive in (True, False)
    }
    assert of[True] > 0.9
    assert of[False] < 0.25
    assert (np.diff(calibration.level(np.linspace(-5, 5, 20), 30)) > 0).all()


def test_rows_that_stand_for_many_count_as_many():
    """Hard rows were all kept, of the others one in ten: the null is that of the whole curve."""
    rng = np.random.default_rng(3)
    whole, thinned = [], []
    for k in range(60):
        curve = null_curve(rng, 200, k % 2, positive=k >= 50)
        whole.append(curve)
        hard = np.argsort(-curve.scores)[:20]
        rest = rng.choice(np.setdiff1d(np.arange(200), hard), 18, replace=False)
        kept = np.concatenate([hard, rest])
        thinned.append(Curve(curve.scores[kept], np.repeat([1.0, 10.0], [20, 18]), 200, k % 2, k >= 50))
    full, fewer = (fit_stars(curves).calibrations[-1] for curves in (whole, thinned))
    for n in (4, 50):
        assert fewer.level(0.0, n) == pytest.approx(full.level(0.0, n), rel=0.15)


def test_each_fold_is_calibrated_without_its_stars():
    rng = np.random.default_rng(4)
    curves = [null_curve(rng, 50, k % 2, positive=k % 4 < 2) for k in range(40)]
    loud = [
        Curve(curve.scores + 100, curve.weights, curve.total, 0, curve.positive) if curve.fold == 0 else curve
        for curve in curves
    ]
    before, after = fit_stars(curves), fit_stars(loud)
    assert len(before.calibrations) == 3
    assert after.calibrations[0] == before.calibrations[0]
    assert after.calibrations[1] != before.calibrations[1]


def test_the_best_of_few_is_their_mean():
    assert top_mean(np.array([1.0, 3.0])) == 2.0
    assert top_mean(np.arange(10.0)) == 7.5


def test_too_few_curves_and_foreign_records_are_refused():
    rng = np.random.default_rng(5)
    with pytest.raises(UsageError, match="0 curves without and 2 with transits"):
        fit_stars([null_curve(rng, 10, k, positive=k > 0) for k in (1, 0, 2)])
    for extra in ({}, {"stars": {"top": 4, "calibrations": []}}, {"stars": {"top": 0}}):
        with pytest.raises(UsageError, match="not calibrated for stars"):
            read_record(extra)


def test_a_record_survives_json(record):
    assert read_record({"stars": record.model_dump(mode="json")}) == record
