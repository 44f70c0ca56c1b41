"""One member: what it learns, what it repeats, and where it goes on."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from survey.config import TrainConfig
from survey.learning.examples import Examples
from survey.learning.members import draw_rows, find_positives, plan_stages, score_examples, train_member
from survey.learning.metrics import average_precision
from survey.learning.models.resnet1d import KIND, ResNet1D, Shape
from tests.learning.view_files import GLOBAL, LOCAL, make_columns

CONFIG = TrainConfig(epochs=6, batch=16, average=0.8)

SHAPE = Shape(global_bins=GLOBAL, local_bins=LOCAL, scalars=2, channels=(4, 6), hidden=8)


def make_rows(seed: int = 0) -> Examples:
    columns = make_columns(rows=200, seed=seed)
    scalars = np.log10(np.stack([columns["period"], columns["duration_h"]], 1)).astype(np.float32)
    views = (torch.from_numpy(columns[name])[:, None] for name in ("global_view", "local_view"))
    return Examples(
        (*views, torch.from_numpy(scalars)), torch.from_numpy((columns["label"] == "PC").astype(np.float32))
    )


TRAINING, VALIDATION = np.arange(140), np.arange(140, 200)


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns_to_see_dips_and_repeats_itself():
    rows = make_rows()
    member = train_member(rows, KIND, SHAPE, TRAINING, VALIDATION, CONFIG, (0, 0))
    network = ResNet1D(SHAPE)
    network.load_state_dict(member.weights)
    held = make_rows(seed=9)
    assert average_precision(find_positives(held), score_examples(network, held)) > 0.9
    assert [row["epoch"] for row in member.curve] == list(range(len(member.curve)))
    assert member.curve[-1]["loss"] < member.curve[0]["loss"]
    assert same(member.weights, train_member(rows, KIND, SHAPE, TRAINING, VALIDATION, CONFIG, (0, 0)).weights)
    assert not same(member.weights, train_member(rows, KIND, SHAPE, TRAINING, VALIDATION, CONFIG, (1, 0)).weights)


def test_a_small_set_is_learnt_with_the_settings_as_they_come():
    member = train_member(make_rows(), KIND, SHAPE, TRAINING, VALIDATION, TrainConfig(), (0, 0))
    network = ResNet1D(SHAPE)
    network.load_state_dict(member.weights)
    held = make_rows(seed=9)
    assert average_precision(find_positives(held), score_examples(network, held)) > 0.9


def test_it_goes_on_where_it_was_to_the_very_same_bits():
    rows, kept = make_rows(), []
    whole = train_member(
        rows, KIND, SHAPE, TRAINING, VALIDATION, CONFIG, (0, 0), on_epoch=lambda now: kept.append(copy.deepcopy(now))
    )
    again = train_member(rows, KIND, SHAPE, TRAINING, VALIDATION, CONFIG, (0, 0), progress=kept[1])
    assert same(whole.weights, again.weights)
    assert whole.curve == again.curve
    # A training whose last epoch was kept has nothing left to do.
    ended = train_member(rows, KIND, SHAPE, TRAINING, VALIDATION, CONFIG, (0, 0), progress=kept[-1])
    assert same(whole.weights, ended.weights)


def test_rows_that_are_held_out_leave_no_trace():
    rows = make_rows()
    spoilt = replace(rows, inputs=tuple(part.clone() for part in rows.inputs))
    for part in spoilt.inputs:
        part[100:140] = 1e6
    config = TrainConfig(epochs=1, batch=16)
    first, second = (
        train_member(part, KIND, SHAPE, TRAINING[:100], VALIDATION, config, (0, 0)) for part in (rows, spoilt)
    )
    assert same(first.weights, second.weights)


def test_the_scales_are_those_of_the_training_rows():
    rows = make_rows()
    rows.inputs[2][3, 1] = torch.nan
    member = train_member(rows, KIND, SHAPE, TRAINING, VALIDATION, TrainConfig(epochs=1, batch=16), (0, 0))
    known = rows.inputs[2][:140, 1].numpy()
    assert member.weights["center"][1] == pytest.approx(np.nanmean(known), rel=1e-5)
    assert member.weights["scale"][1] == pytest.approx(np.nanstd(known, ddof=1), rel=1e-5)


def test_it_stops_when_the_validation_stars_see_nothing_better():
    rows = make_rows()
    # Where no order can be better than another, the first epoch stays the best.
    blind = replace(rows, inputs=tuple(torch.zeros_like(part) for part in rows.inputs))
    config = TrainConfig(epochs=30, batch=16, patience=2)
    member = train_member(blind, KIND, SHAPE, TRAINING, VALIDATION, config, (0, 0))
    assert (member.epoch, len(member.curve)) == (0, 3)


def test_weighted_sampling_draws_the_share_that_was_asked_for():
    positive = np.arange(1000) < 50
    draw = np.random.default_rng(0)
    drawn = draw_rows(draw, np.arange(1000), positive, 0.5)
    assert positive[drawn].mean() == pytest.approx(0.5, abs=0.06)
    assert sorted(draw_rows(draw, np.arange(1000), positive, None)) == list(range(1000))


def test_a_row_is_positive_where_any_of_its_targets_is():
    rows = make_rows()
    many = replace(rows, targets=torch.tensor([[0.0, 0.0], [0.2, 0.0], [0.0, 1.0]]))
    assert find_positives(many).tolist() == [False, True, True]
    assert find_positives(rows).tolist() == (rows.targets > 0).tolist()


TUNING = TrainConfig(epochs=6, freeze_epochs=2, unfreeze_blocks=1, finetune_lr=1e-3, batch=16, average=0.8, patience=6)


@pytest.fixture(scope="module")
def start():
    """Weights that have seen other rows."""
    return train_member(make_rows(seed=7), KIND, SHAPE, TRAINING, VALIDATION, CONFIG, (0, 0)).weights


def tune(start, config=TUNING, **more):
    return train_member(make_rows(), KIND, SHAPE, TRAINING, VALIDATION, config, (0, 0), start=start, **more)


def changed(first, second):
    """Tensors that differ."""
    return {name for name in first if not torch.equal(first[name], second[name])}


HEAD = ("facts.", "hidden.", "logit.")


def test_fine_tuning_changes_the_head_first_and_then_the_last_blocks(start):
    kept = []
    tune(start, on_epoch=lambda now: kept.append(copy.deepcopy(now)))
    first = changed(start, kept[1].weights)
    assert first
    assert all(name.startswith(HEAD) for name in first)
    later = changed(start, kept[-1].weights)
    last_block = ("orbit.blocks.1.", "transit.blocks.0.")
    assert any(name.startswith(last_block) and name.endswith("running_mean") for name in later)
    assert all(name.startswith((*HEAD, *last_block)) for name in later)
    # The scales stay those that the other weights were learnt with.
    assert not later & {"center", "scale"}


def test_the_stages_of_a_training():
    assert [(stage.begin, stage.end, stage.blocks) for stage in plan_stages(TUNING, fresh=True)] == [(0, 6, None)]
    first, second = plan_stages(TUNING, fresh=False)
    assert (first.begin, first.end, first.blocks, first.rate) == (0, 2, 1, TUNING.learning_rate)
    assert (second.begin, second.end, second.blocks, second.rate) == (2, 6, 2, 1e-3)
    short = TUNING.model_copy(update={"epochs": 1})
    assert [stage.end for stage in plan_stages(short, fresh=False)] == [1]
    assert len(plan_stages(TUNING.model_copy(update={"freeze_epochs": 0}), fresh=False)) == 1


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_fine_tuning_goes_on_from_any_epoch_to_the_very_same_bits(start, epoch):
    kept = []
    whole = tune(start, on_epoch=lambda now: kept.append(copy.deepcopy(now)))
    again = tune(start, progress=kept[epoch])
    assert same(whole.weights, again.weights)
    assert whole.curve == again.curve


def test_the_rate_of_fine_tuning_falls_where_nothing_gets_better(start):
    rows = make_rows()
    blind = replace(rows, inputs=tuple(torch.zeros_like(part) for part in rows.inputs))
    kept = []
    config = TUNING.model_copy(update={"epochs": 20, "patience": 9})
    train_member(
        blind, KIND, SHAPE, TRAINING, VALIDATION, config, (0, 0), start=start, on_epoch=lambda now: kept.append(now)
    )
    rates = [now.optimiser["param_groups"][0]["lr"] for now in kept]
    assert rates[2] == 1e-3
    assert rates[-1] < 1e-3
    # Patience counts from where the second stage begins.
    assert len(kept) == config.freeze_epochs + config.patience
