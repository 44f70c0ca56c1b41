"""The Local Outlier Factor beside that of scikit-learn."""

import numpy as np
import pytest
from sklearn.neighbors import LocalOutlierFactor

from survey.learning.models.neighbours import fit_neighbours


@pytest.mark.parametrize(("known", "columns", "count"), [(300, 14, 20), (40, 2, 5), (21, 3, 20)])
def test_factors_are_those_of_scikit_learn(known, columns, count):
    rng = np.random.default_rng(known)
    quiet, asked = rng.standard_normal((known, columns)), 3 * rng.standard_normal((50, columns))
    theirs = LocalOutlierFactor(n_neighbors=count, novelty=True).fit(quiet)
    ours = fit_neighbours(quiet, count)
    np.testing.assert_allclose(ours.factors(asked), -theirs.score_samples(asked), rtol=1e-9)
    alone = np.concatenate([ours.factors(asked[k : k + 1]) for k in range(len(asked))])
    np.testing.assert_array_equal(ours.factors(asked), alone)


def test_points_that_are_all_alike_have_finite_factors():
    same = fit_neighbours(np.ones((30, 3)), 5)
    np.testing.assert_allclose(same.factors(np.ones((2, 3))), 1.0)
    assert np.isfinite(same.factors(np.full((1, 3), 9.0))).all()
    assert len(same.factors(np.empty((0, 3)))) == 0
