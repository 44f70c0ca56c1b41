"""One member: what it learns, what it repeats, and where it goes on."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from survey.config import TrainConfig
from survey.learning.members import Examples, score_examples, train_member
from survey.learning.metrics import average_precision
from survey.learning.models.resnet1d import ResNet1D, Shape
from tests.learning.view_files import GLOBAL, LOCAL, make_columns

CONFIG = TrainConfig(epochs=6, batch=16, average=0.8)

SHAPE = Shape(GLOBAL, LOCAL, False, 2, channels=(4, 6), hidden=8)


def make_rows(seed: int = 0) -> Examples:
    columns = make_columns(rows=200, seed=seed)
    scalars = np.log10(np.stack([columns["period"], columns["duration_h"]], 1)).astype(np.float32)
    return Examples(
        torch.from_numpy(columns["global_view"])[:, None],
        torch.from_numpy(columns["local_view"])[:, None],
        torch.from_numpy(scalars),
        torch.from_numpy((columns["label"] == "PC").astype(np.float32)),
    )


TRAINING, VALIDATION = np.arange(140), np.arange(140, 200)


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns_to_see_dips_and_repeats_itself():
    rows = make_rows()
    member = train_member(rows, SHAPE, TRAINING, VALIDATION, CONFIG, (0, 0))
    network = ResNet1D(SHAPE)
    network.load_state_dict(member.weights)
    held = make_rows(seed=9)
    labels = held.labels.numpy() > 0.5
    assert average_precision(labels, score_examples(network, held)) > 0.9
    assert [row["epoch"] for row in member.curve] == list(range(len(member.curve)))
    assert member.curve[-1]["loss"] < member.curve[0]["loss"]
    assert same(member.weights, train_member(rows, SHAPE, TRAINING, VALIDATION, CONFIG, (0, 0)).weights)
    assert not same(member.weights, train_member(rows, SHAPE, TRAINING, VALIDATION, CONFIG, (1, 0)).weights)


def test_it_goes_on_where_it_was_to_the_very_same_bits():
    rows, kept = make_rows(), []
    whole = train_member(
        rows, SHAPE, TRAINING, VALIDATION, CONFIG, (0, 0), on_epoch=lambda now: kept.append(copy.deepcopy(now))
    )
    again = train_member(rows, SHAPE, TRAINING, VALIDATION, CONFIG, (0, 0), progress=kept[1])
    assert same(whole.weights, again.weights)
    assert whole.curve == again.curve
    # A training whose last epoch was kept has nothing left to do.
    ended = train_member(rows, SHAPE, TRAINING, VALIDATION, CONFIG, (0, 0), progress=kept[-1])
    assert same(whole.weights, ended.weights)


def test_rows_that_are_held_out_leave_no_trace():
    rows = make_rows()
    spoilt = replace(rows, orbit=rows.orbit.clone(), scalars=rows.scalars.clone())
    spoilt.orbit[100:140] = 1e6
    spoilt.scalars[100:140] = 1e6
    config = TrainConfig(epochs=1, batch=16)
    first, second = (train_member(part, SHAPE, TRAINING[:100], VALIDATION, config, (0, 0)) for part in (rows, spoilt))
    assert same(first.weights, second.weights)


def test_the_scales_are_those_of_the_training_rows():
    rows = make_rows()
    rows.scalars[3, 1] = torch.nan
    member = train_member(rows, SHAPE, TRAINING, VALIDATION, TrainConfig(epochs=1, batch=16), (0, 0))
    known = rows.scalars[:140, 1].numpy()
    assert member.weights["center"][1] == pytest.approx(np.nanmean(known), rel=1e-5)
    assert member.weights["scale"][1] == pytest.approx(np.nanstd(known, ddof=1), rel=1e-5)


def test_it_stops_when_the_validation_stars_see_nothing_better():
    rows = make_rows()
    # Where no order can be better than another, the first epoch stays the best.
    blind = replace(rows, orbit=torch.zeros_like(rows.orbit), transit=torch.zeros_like(rows.transit))
    blind = replace(blind, scalars=torch.zeros_like(rows.scalars))
    config = TrainConfig(epochs=30, batch=16, patience=2)
    member = train_member(blind, SHAPE, TRAINING, VALIDATION, config, (0, 0))
    assert (member.epoch, len(member.curve)) == (0, 3)


def test_weighted_sampling_draws_the_share_that_was_asked_for():
    from survey.learning.members import _draw_rows

    labels = torch.zeros(1000)
    labels[:50] = 1
    draw = np.random.default_rng(0)
    drawn = _draw_rows(draw, np.arange(1000), labels, 0.5)
    assert labels[drawn].mean() == pytest.approx(0.5, abs=0.06)
    assert sorted(_draw_rows(draw, np.arange(1000), labels, None)) == list(range(1000))


def test_hidden_scalars_are_all_that_is_hidden():
    from survey.learning.members import _vary

    rows = make_rows()
    shown = _vary(rows, np.random.default_rng(0), 0.3)
    hidden = shown.scalars.isnan()
    assert hidden.all(1).float().mean() == pytest.approx(0.3, abs=0.1)
    assert torch.equal(hidden.all(1), hidden.any(1))
    assert torch.isfinite(shown.orbit).all()
    assert not torch.equal(shown.orbit, rows.orbit)
