"""Scores: the same bits whatever is scored beside, and no star by a member that saw it."""

from dataclasses import replace

import numpy as np
import pytest

from survey.errors import UsageError
from survey.learning.artifact import load_artifact
from survey.learning.members import one_thread
from survey.learning.score import find_outside, score_member
from survey.learning.sets.views import read_views
from survey.learning.views import make_examples
from survey.learning.views import score_views as score_arrays
from tests.learning.models import write_small
from tests.learning.view_files import make_columns, write_npz


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "small"
    write_small(folder)
    return load_artifact(folder)


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    return read_views(write_npz(tmp_path_factory.mktemp("views") / "own.npz", make_columns(rows=150, stars=80)))


def score_views(model, views):
    return score_arrays(
        model,
        views.stars,
        views.global_view,
        views.local_view,
        views.secondary_view,
        views.scalars,
        views.view_spec,
    )


def examples_of(views, names):
    return make_examples(views.global_view, views.local_view, None, views.scalars, names)


def test_a_score_does_not_depend_on_what_is_beside_it(model, views):
    whole = score_views(model, views)
    order = np.random.default_rng(1).permutation(len(views))
    shuffled = score_views(model, views.take(order))
    alone = [score_views(model, views.take(np.array([k]))) for k in range(70)]
    for name in ("score", "probability", "spread"):
        assert np.array_equal(getattr(whole, name)[order], getattr(shuffled, name))
        assert np.array_equal(getattr(whole, name)[:70], [getattr(found, name)[0] for found in alone])
    assert len(np.unique(whole.score)) > 140


def test_known_stars_are_scored_by_members_that_never_saw_them(model, views):
    found = score_views(model, views)
    examples = examples_of(views, model.inputs.scalars)
    with one_thread():
        logits = np.stack([score_member(model.network(k), examples, model.kind.batch) for k in range(4)]).astype(
            np.float64
        )
    number = np.array([int(star.removeprefix("TIC ")) for star in views.stars])
    # Stars 1 to 40 are known, in folds 0, 1, 0, 1...; members 0 and 2 are of fold 0.
    first, second = number % 2 == 1, number % 2 == 0
    known = number <= 40
    assert np.array_equal(found.seen, known)
    assert known.any()
    assert (~known).any()
    first_one, second_one = model.record.fold_calibrations
    for rows, members, calibration in (
        (known & first, [0, 2], first_one),
        (known & second, [1, 3], second_one),
        (~known, [0, 1, 2, 3], model.record.calibration),
    ):
        expected = logits[members][:, rows]
        np.testing.assert_allclose(found.score[rows], expected.mean(0))
        np.testing.assert_allclose(found.probability[rows], calibration.probability(expected.mean(0)))
        np.testing.assert_allclose(found.spread[rows], calibration.probability(expected).std(0), rtol=1e-9)


def test_scalars_that_are_missing_change_a_score_and_do_not_spoil_it(model, views):
    bare = replace(views, scalars={})
    found = score_views(model, bare)
    assert np.isfinite(found.probability).all()
    assert not np.array_equal(found.score, score_views(model, views).score)
    # A period of 0 was not measured, an S/N of 0 was.
    zero = replace(views, scalars={"period": np.zeros(len(views)), "snr": np.zeros(len(views))})
    scalars = examples_of(zero, ("period", "snr")).inputs[2]
    assert scalars[:, 0].isnan().all()
    assert (scalars[:, 1] == -1).all()


def test_views_of_another_form_are_refused(model, views):
    with pytest.raises(UsageError, match="global_view has 31 bins, the model reads 32"):
        score_views(model, replace(views, global_view=views.global_view[:, 1:]))
    inputs = {**model.record.inputs, "view_spec": "triage-201-61"}
    other = replace(model, record=model.record.model_copy(update={"inputs": inputs}))
    with pytest.raises(UsageError, match="views of the form mine, the model reads triage-201-61"):
        score_views(other, replace(views, view_spec="mine"))


def test_rows_outside_of_what_the_model_has_seen_are_flagged(model, views):
    periods = views.scalars["period"].copy()
    periods[:3] = 0.2, 400.0, np.nan
    wild = views.global_view.copy()
    wild[4] = 100 * (np.arange(wild.shape[1]) % 2)
    found = score_views(model, replace(views, scalars={**views.scalars, "period": periods}, global_view=wild))
    assert found.outside[:3] == (("period",), ("period",), ())
    assert "view_scatter" in found.outside[4]
    within = (periods[5:] >= 1.5) & (periods[5:] <= 9.5)
    assert [("period" in names) for names in found.outside[5:]] == (~within).tolist()
    # A fact that the support does not know flags nothing.
    bare = replace(model, record=model.record.model_copy(update={"support": {"other": (0.0, 0.0)}}))
    assert set(find_outside(bare, examples_of(views, model.inputs.scalars))) == {()}


def test_no_rows_have_no_scores(model, views):
    found = score_views(model, views.take(np.array([], int)))
    assert (found.outputs.shape, found.score.shape, found.outside) == ((0,), (0,), ())
