"""Folds: no star on both sides, and an auditor that finds one that is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from survey.errors import UsageError
from survey.learning.folds import check_folds, hold_back, make_folds


def rows(count=400, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random(count) < 0.2, np.array([f"TIC {k}" for k in rng.integers(0, 150, count)])


@given(st.integers(2, 6), st.integers(0, 5))
def test_every_star_is_in_one_fold_and_positives_in_all(count, seed):
    labels, stars = rows(seed=seed)
    folds = make_folds(labels, stars, count, seed)
    assert all(len(set(folds[stars == star])) == 1 for star in np.unique(stars))
    shares = [labels[folds == fold].mean() for fold in range(count)]
    assert max(shares) - min(shares) < 0.1
    assert np.array_equal(folds, make_folds(labels, stars, count, seed))


def test_stars_that_only_say_when_to_stop_are_not_learnt_from():
    labels, stars = rows()
    kept, held = hold_back(labels, stars, np.arange(100, 400), 0.2, seed=1)
    assert not set(stars[kept]) & set(stars[held])
    assert sorted([*kept, *held]) == list(range(100, 400))
    assert 0.1 < len(held) / 300 < 0.3


def test_where_a_class_has_few_stars_more_are_held_back():
    stars = np.array([f"TIC {k}" for k in range(60)])
    labels = np.arange(60) < 3
    kept, held = hold_back(labels, stars, np.arange(60), 0.1, seed=0)
    assert labels[held].sum() == 1
    assert len(kept) == 40


def test_too_few_stars_are_said_so():
    labels = np.array([True, True, False, False, False])
    with pytest.raises(UsageError, match="1 stars with a positive row cannot be divided among 2 folds"):
        make_folds(labels, np.array(["a", "a", "b", "c", "d"]), 2)


def test_a_star_in_two_folds_is_found():
    stars = np.array(["TIC 1", "TIC 2", "TIC 1", "TIC 3"])
    check_folds(np.array([0, 1, 0, 1]), stars)
    with pytest.raises(UsageError, match=r"cross folds.*: TIC 1$"):
        check_folds(np.array([0, 1, 1, 1]), stars)


def test_a_star_under_two_names_is_one_star():
    stars = np.array(["TIC 1", "KIC 9", "TIC 3", "TIC 4"])
    twin = np.array(["", "Kepler-1", "Kepler-1", ""])
    other = np.array(["HD 5", "", "HD 5", ""])
    check_folds(np.array([0, 0, 0, 1]), stars, (twin, other))
    with pytest.raises(UsageError, match="TIC 3"):
        check_folds(np.array([0, 0, 1, 1]), stars, (twin,))
    with pytest.raises(UsageError, match=r"TIC 1|KIC 9"):
        # Neither shares a name with the other, but both do with TIC 3.
        check_folds(np.array([0, 1, 0, 1]), stars, (twin, other))
