"""Fine-tuning: what goes on from another model, in which folds, and what is said of it."""

import csv
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from survey.cli import main
from survey.config import TrainConfig
from survey.errors import UsageError
from survey.learning.artifact import load_artifact
from survey.learning.fit import Job, fit_members
from survey.learning.sets.views import make_lesson
from survey.learning.train import divide, find_starts, make_jobs
from tests.learning.models import FOLDS, STARS, write_small
from tests.learning.test_members import SHAPE, TRAINING, TUNING, VALIDATION, make_rows, same
from tests.learning.view_files import make_columns, write_npz

# Ray warns of its own parts.
pytestmark = pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*", r"ignore::FutureWarning:ray\..*")

CONFIG = TrainConfig(folds=2, seeds=3)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model of four members in two folds that knows the stars TIC 1 to TIC 40."""
    folder = tmp_path_factory.mktemp("base") / "small"
    write_small(folder)
    return load_artifact(folder)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_npz(tmp_path_factory.mktemp("views") / "own.npz", make_columns(rows=200, stars=90))


@pytest.fixture(scope="module")
def lesson(path, base):
    return make_lesson(path, "vetting", CONFIG).read_as(base.shape, base.inputs)


def test_known_stars_stay_in_the_folds_of_the_base(lesson, base):
    folds = divide(lesson, CONFIG, base)
    known = dict(zip(STARS.tolist(), FOLDS.tolist(), strict=True))
    seen = np.isin(lesson.stars, STARS)
    assert seen.any()
    assert (~seen).any()
    assert folds[seen].tolist() == [known[star] for star in lesson.stars[seen].tolist()]
    # New stars are dealt out evenly, in both classes.
    new = {star: int(fold) for star, fold in zip(lesson.stars[~seen], folds[~seen], strict=True)}
    assert abs(2 * sum(new.values()) - len(new)) <= 1
    assert all(0.2 < lesson.labels[folds == fold].mean() < 0.6 for fold in (0, 1))


def test_a_star_known_by_another_name_stays_in_the_fold_of_the_base(lesson, base):
    renamed = np.array([star.replace("TIC", "KIC") for star in lesson.stars])
    named = replace(lesson, stars=renamed, other_names=(np.full(len(renamed), ""), lesson.stars))
    seen = np.isin(lesson.stars, STARS)
    folds = divide(named, CONFIG, base)
    assert seen.any()
    assert folds[seen].tolist() == base.stars.folds_of(lesson.stars[seen]).tolist()
    # Half of the rows of a new star under its other name are of the same star.
    half = np.where(np.arange(len(renamed)) % 2, renamed, lesson.stars)
    mixed = divide(replace(named, stars=half), CONFIG, base)
    assert all(len(np.unique(mixed[lesson.stars == star])) == 1 for star in np.unique(lesson.stars))


def test_a_star_that_the_base_took_for_two_is_refused(lesson, base):
    one, other = STARS[FOLDS == 0][0], STARS[FOLDS == 1][0]
    names = np.where(lesson.stars == one, other, "")
    with pytest.raises(UsageError, match=f"small knows {one} by two names, in two folds"):
        divide(replace(lesson, other_names=(names,)), CONFIG, base)


def test_no_member_goes_on_from_one_that_saw_the_stars_it_is_judged_by(lesson, base):
    jobs = make_jobs(lesson, divide(lesson, CONFIG, base), CONFIG, base)
    assert [(job.fold, job.seed) for job in jobs] == [(fold, seed) for fold in (0, 1) for seed in (0, 1, 2)]
    member_folds = [member.fold for member in base.record.members]
    for job in jobs:
        (origin,) = [k for k, weights in enumerate(base.weights) if weights is job.start]
        assert member_folds[origin] == job.fold
    # There are two members a fold: the third goes on from the first again.
    assert jobs[2].start is jobs[0].start is not jobs[1].start
    assert find_starts(None, 0) == []


def test_a_base_with_other_folds_or_inputs_is_refused(lesson, base):
    with pytest.raises(UsageError, match="small divides its stars into 2 folds: give --folds 2"):
        divide(lesson, CONFIG.model_copy(update={"folds": 5}), base)
    with pytest.raises(UsageError, match="global_view has 32 bins, the model reads 201"):
        lesson.read_as(base.shape.model_copy(update={"global_bins": 201}), base.inputs)


def test_a_fold_of_one_class_is_refused(lesson, base):
    known = np.isin(lesson.stars, STARS)
    rows = np.flatnonzero(known & lesson.labels & (base.stars.folds_of(lesson.stars) == 0))
    rest = np.flatnonzero(base.stars.folds_of(lesson.stars) == 1)
    rows = np.concatenate([rows, rest])
    few = replace(lesson, stars=lesson.stars[rows], labels=lesson.labels[rows], examples=lesson.examples.take(rows))
    with pytest.raises(UsageError, match="fold 0 holds one class only"):
        divide(few, CONFIG, base)


def test_the_command_fine_tunes_and_names_the_base(path, base, tmp_path, local_ray, capsys):
    small, out = tmp_path / "small", tmp_path / "models" / "tuned"
    write_small(small)
    options = ["--folds", "2", "--seeds", "1", "--epochs", "3", "--freeze-epochs", "1", "--unfreeze-blocks", "1"]
    rates = ["--lr", "0.01", "--finetune-lr", "0.002", "--patience", "2", "--no-amp"]
    sets = ["--set", str(path), "--set", "train.batch=16", "--set", "train.average=0.8"]
    assert main(["train", "vetting", *sets, "--from", str(small), "--out", str(out), *options, *rates]) == 0
    assert "average precision" in capsys.readouterr().out
    model = load_artifact(out)
    record = model.record
    assert record.base == base.id
    assert base.id in (out / "CARD.md").read_text()
    # The scales of the scalars, and the stem, are still those of the base.
    for weights, before in zip(model.weights, base.weights, strict=False):
        assert all(np.array_equal(weights[name], before[name]) for name in ("center", "scale", "orbit.stem.weight"))
        assert not np.array_equal(weights["logit.weight"], before["logit.weight"])
    # All stars that the base knew are known, whether they are in the new set or not, and in the same folds.
    assert model.stars.folds_of(STARS).tolist() == FOLDS.tolist()
    assert len(model.stars.hashes) > len(STARS)
    low, high = base.record.support["period"]
    assert record.support["period"][0] <= low < high <= record.support["period"][1]
    assert record.missions == ("tess",)
    with (out.parent / "training.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["base"], row["set_freeze_epochs"], row["set_finetune_lr"]) == (base.id[:12], "1", "0.002")


def tuning_jobs(start):
    return [Job(0, seed, TRAINING, VALIDATION, start) for seed in range(2)]


@pytest.mark.verify
def test_a_worker_killed_in_the_second_stage_goes_on_from_its_checkpoint(tmp_path, local_ray, base):
    start = dict(base.weights[0])
    config = TUNING.model_copy(update={"epochs": 14, "patience": 14})
    killed, said = [], []

    def kill(epoch):
        said.append((epoch.seed, epoch.epoch))
        if not killed and epoch.seed == 1 and epoch.epoch > config.freeze_epochs:
            killed.append(epoch.pid)
            os.kill(epoch.pid, signal.SIGKILL)

    arguments = make_rows(), "resnet1d", SHAPE, tuning_jobs(start), config, tmp_path
    again = fit_members(*arguments, "killed", on_epoch=kill)
    assert killed
    assert len(set(said)) == 28
    assert said.count((1, 0)) == 1
    unkilled = fit_members(*arguments, "unkilled")
    assert all(same(a.weights, b.weights) for a, b in zip(again, unkilled, strict=True))


@pytest.mark.verify
def test_two_workers_fine_tune_together(tmp_path, local_ray, base):
    config = TUNING.model_copy(update={"workers": 2})
    (member,) = fit_members(
        make_rows(), "resnet1d", SHAPE, tuning_jobs(dict(base.weights[0]))[:1], config, tmp_path, "two"
    )
    assert len(member.curve) == config.epochs
    frozen = "orbit.stem.weight"
    assert np.array_equal(member.weights[frozen], base.weights[0][frozen])
