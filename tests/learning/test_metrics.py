"""Figures of merit: known answers, and what must hold whatever the scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from survey.learning import metrics

RNG = np.random.default_rng(0)

LABELS = np.array([True, False, True, True, False, False])
SCORES = np.array([0.9, 0.8, 0.7, 0.4, 0.3, 0.1])

rows = st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=40).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


def arrays(rows):
    return np.array([label for label, _ in rows]), np.array([score / 8 for _, score in rows])


def test_known_answers():
    # Positives stand at places 1, 3 and 4: precision 1, 2/3 and 3/4. Pairs in order: 3 + 2 + 2 of 9.
    assert metrics.average_precision(LABELS, SCORES) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert metrics.roc_auc(LABELS, SCORES) == pytest.approx(7 / 9)
    assert metrics.brier(LABELS, SCORES) == pytest.approx((0.01 + 0.64 + 0.09 + 0.36 + 0.09 + 0.01) / 6)


def test_a_decision_counts_rows_at_the_threshold_as_positive():
    decision = metrics.decide(LABELS, SCORES, 0.4)
    assert (decision.true_positives, decision.false_positives) == (3, 1)
    assert (decision.false_negatives, decision.true_negatives) == (0, 2)
    assert (decision.precision, decision.recall, decision.f1) == (0.75, 1.0, pytest.approx(6 / 7))


def test_what_cannot_be_divided_is_not_a_number_but_none():
    decision = metrics.decide(LABELS, SCORES, 2.0)
    assert decision.precision is None
    assert decision.as_row()["recall"] == 0


@given(rows)
def test_no_threshold_has_a_greater_f1_than_the_best(rows):
    labels, scores = arrays(rows)
    best = metrics.decide(labels, scores, metrics.best_threshold(labels, scores)).f1
    assert best is not None
    assert all((metrics.decide(labels, scores, score).f1 or 0) <= best + 1e-12 for score in scores)


@given(rows)
def test_ranking_knows_only_the_order(rows):
    labels, scores = arrays(rows)
    for metric in (metrics.roc_auc, metrics.average_precision):
        assert metric(labels, scores) == pytest.approx(metric(labels, np.exp(3 * scores)))
    assert metrics.roc_auc(labels, -scores) == pytest.approx(1 - metrics.roc_auc(labels, scores))


@given(rows, st.integers(1, 3))
def test_a_weight_is_a_row_that_many_times(rows, times):
    labels, scores = arrays(rows)
    weights = np.ones(len(labels))
    weights[0] = times
    repeated = np.repeat(np.arange(len(labels)), weights.astype(int))
    for metric in (metrics.roc_auc, metrics.average_precision, metrics.brier):
        assert metric(labels, scores, weights) == pytest.approx(metric(labels[repeated], scores[repeated]))


def test_one_class_only_is_refused():
    with pytest.raises(ValueError, match="one class only"):
        metrics.roc_auc(np.ones(4, bool), np.arange(4.0))


def test_true_probabilities_are_reliable_and_others_are_not():
    probabilities = RNG.random(20_000)
    labels = RNG.random(20_000) < probabilities
    assert metrics.expected_calibration_error(labels, probabilities) < 0.015
    # sqrt(p) lies 2/3 - 1/2 above p in the mean.
    assert metrics.expected_calibration_error(labels, np.sqrt(probabilities)) == pytest.approx(1 / 6, abs=0.02)
    curve = metrics.reliability(labels, probabilities)
    assert curve.counts.sum() == 20_000
    assert len(curve.counts) == metrics.RELIABILITY_BINS


def test_bins_without_rows_are_left_out():
    labels = RNG.random(100) < 0.3
    curve = metrics.reliability(labels, np.repeat([0.3, 1.0], 50))
    assert curve.counts.tolist() == [50, 50]
    assert curve.probabilities.tolist() == pytest.approx([0.3, 1.0])
    assert curve.shares.tolist() == [labels[:50].mean(), labels[50:].mean()]


def test_all_rows_of_a_star_are_drawn_together():
    stars = np.array(["a", "b", "a", "c", "c", "c"])
    weights = np.stack(list(metrics.star_weights(stars, draws=50)))
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()


def test_the_interval_is_as_wide_as_the_scatter_of_repeated_surveys():
    def survey(rng):
        labels = rng.random(400) < 0.3
        return labels, labels + rng.normal(0, 1, 400)

    rng = np.random.default_rng(3)
    scatter = np.std([metrics.average_precision(*survey(rng)) for _ in range(200)])
    labels, scores = survey(rng)
    found = metrics.bootstrap(metrics.average_precision, labels, scores, np.arange(400), draws=300)
    assert (found.high - found.low) / 3.92 == pytest.approx(scatter, rel=0.3)
    assert found.low < found.value < found.high


def test_rows_of_few_stars_tell_less():
    labels = np.repeat(RNG.random(60) < 0.5, 10)
    scores = labels + np.repeat(RNG.normal(0, 1, 60), 10)
    by_star = metrics.bootstrap(metrics.roc_auc, labels, scores, np.repeat(np.arange(60), 10), draws=200)
    by_row = metrics.bootstrap(metrics.roc_auc, labels, scores, np.arange(600), draws=200)
    assert by_star.high - by_star.low > 2 * (by_row.high - by_row.low)


def test_a_paired_difference_is_surer_than_two_intervals():
    labels = RNG.random(500) < 0.3
    worse = labels + RNG.normal(0, 1, 500)
    better = worse + 0.3 * labels
    stars = np.arange(500)
    gain = metrics.paired_bootstrap(metrics.average_precision, labels, better, worse, stars, draws=300)
    alone = metrics.bootstrap(metrics.average_precision, labels, better, stars, draws=300)
    assert 0 < gain.low < gain.value
    assert gain.high - gain.low < 0.5 * (alone.high - alone.low)
