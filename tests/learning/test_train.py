"""From views to a model: through Ray Train, honestly measured, and by the commands."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from survey.cli import main
from survey.config import TrainConfig, load
from survey.errors import UsageError
from survey.learning.artifact import load_artifact
from survey.learning.evaluate import evaluate
from survey.learning.fit import Job, fit_members
from survey.learning.members import find_positives, score_examples
from survey.learning.metrics import average_precision
from survey.learning.models.resnet1d import ResNet1D
from survey.learning.runlog import append_log
from survey.learning.sets.views import choose_scalars, make_lesson, read_views
from survey.learning.train import divide, make_jobs, train
from tests.learning.test_members import SHAPE, TRAINING, VALIDATION, make_rows, same
from tests.learning.view_files import make_columns, write_npz

# Ray warns of its own parts.
pytestmark = pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*", r"ignore::FutureWarning:ray\..*")

SMALL = TrainConfig(folds=2, seeds=2, epochs=3, batch=16, average=0.8)


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    path = write_npz(tmp_path_factory.mktemp("views") / "own.npz", make_columns(rows=240))
    return make_lesson(path, "vetting", SMALL)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, lesson, local_ray):
    folder = tmp_path_factory.mktemp("models") / "vetting"
    said = []
    result = train(lesson, SMALL, folder, on_epoch=said.append, draws=50)
    return result, said


def test_no_member_learns_from_the_stars_that_it_is_judged_by(lesson):
    folds = np.arange(240) % 2
    jobs = make_jobs(replace(lesson, stars=np.array([f"star {k}" for k in range(240)])), folds, SMALL)
    assert [(job.fold, job.seed) for job in jobs] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for job in jobs:
        assert (folds[job.training] != job.fold).all()
        assert (folds[job.validation] != job.fold).all()
        assert not set(job.training) & set(job.validation)


def test_a_set_that_brings_folds_is_divided_by_them(lesson):
    own = (np.unique(lesson.stars, return_inverse=True)[1] % 4).astype(np.uint8)
    brought = replace(lesson, folds=own)
    assert np.array_equal(divide(brought, SMALL), own % 2)
    assert divide(brought, SMALL.model_copy(update={"folds": 9})).max() == 3
    crossing = own.copy()
    star = next(star for star in lesson.stars if (lesson.stars == star).sum() > 1)
    crossing[np.flatnonzero(lesson.stars == star)[0]] += 1
    with pytest.raises(UsageError, match=f"stars cross folds.*{star}"):
        divide(replace(lesson, folds=crossing), SMALL)
    with pytest.raises(UsageError, match="fold 0 holds one class only"):
        divide(replace(lesson, folds=lesson.labels.astype(np.uint8), stars=np.arange(240).astype(str)), SMALL)


def test_the_folder_holds_a_model_its_figures_and_its_course(trained):
    result, said = trained
    model = load_artifact(result.folder)
    assert model.id == result.id
    names = {path.name for path in result.folder.iterdir()}
    assert names == {"model.json", *model.record.files}
    assert {"CARD.md", "metrics.json", "metrics.png", "curves.json", "curves.png"} <= names
    assert json.loads((result.folder / "metrics.json").read_text()) == model.record.figures
    assert len(said) == sum(len(curve["epochs"]) for curve in json.loads((result.folder / "curves.json").read_text()))
    # Nothing of the checkpoints is left.
    assert sorted(path.name for path in result.folder.parent.iterdir()) == ["training.csv", "vetting"]


def test_the_figures_are_those_of_stars_it_has_not_seen(trained, lesson):
    result, _ = trained
    model = load_artifact(result.folder)
    figures = model.record.figures
    assert figures["average_precision"]["value"] > 0.9
    assert figures["lift"] == pytest.approx(figures["average_precision"]["value"] / figures["base_rate"])
    assert figures["average_precision"]["low"] <= figures["average_precision"]["value"]
    assert {"floor", "by_fold", "single_member", "blind", "across_folds", "learnt"} <= figures.keys()
    # Measured again on the training file, every star is scored by those members that had not seen it.
    again = evaluate(model, lesson, draws=50)
    assert again.figures["seen_rows"] == again.figures["rows"] == figures["rows"]
    for name in ("average_precision", "brier", "ece", "true_positives", "spread"):
        assert again.figures[name] == pytest.approx(figures[name])
    assert np.array_equal(again.scores, result.evaluation.scores)


@pytest.mark.verify
def test_what_is_only_noise_is_measured_as_noise(tmp_path, local_ray):
    columns = make_columns(rows=240)
    columns["label"] = np.random.default_rng(4).permutation(columns["label"])
    config = SMALL.model_copy(update={"seeds": 1})
    noise = make_lesson(write_npz(tmp_path / "noise.npz", columns), "vetting", config)
    figures = train(noise, config, tmp_path / "model", draws=200).evaluation.figures
    assert figures["roc_auc"]["low"] < 0.5 < figures["roc_auc"]["high"] + 0.05
    assert figures["lift"] < 1.4


def test_the_card_says_data_figures_and_limits(trained):
    result, _ = trained
    card = (result.folder / "CARD.md").read_text()
    figures = result.evaluation.figures
    for words in ("own.npz", f"{figures['stars']:,} stars", f"{figures['average_precision']['value']:.3f}"):
        assert words in card
    for heading in ("## Data and licence", "## How well it does", "## Limits"):
        assert heading in card


def test_a_line_a_training_in_the_log(trained, tmp_path):
    result, _ = trained
    with (result.folder.parent / "training.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["run"] == result.id[:12]
    assert (row["task"], row["set"], row["rows"], row["set_seeds"]) == ("vetting", "own.npz", "240", "2")
    assert (row["missions"], row["simulated"], row["base"], row["window"]) == ("tess", "", "", "")
    assert row["scalars"] == "period duration_h snr"
    assert float(row["learnt_ap"]) > 0.9
    assert float(row["test_ap"]) == pytest.approx(result.evaluation.figures["average_precision"]["value"], abs=1e-5)
    log = tmp_path / "log.csv"
    append_log(log, row)
    append_log(log, {**row, "notes": "x, y"})
    with log.open() as file:
        first, second = csv.DictReader(file)
    assert (first, second["notes"]) == (row, "x, y")
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="no log of trainings"):
        append_log(other, row)
    assert other.read_text() == "a,b\n1,2\n"


def judge_member(member, held):
    """Average precision on rows that nobody saw."""
    network = ResNet1D(SHAPE)
    network.load_state_dict(member.weights)
    return average_precision(find_positives(held), score_examples(network, held))


def small_jobs():
    return [Job(0, seed, TRAINING, VALIDATION) for seed in range(2)]


@pytest.mark.verify
def test_a_killed_worker_goes_on_from_its_checkpoint(tmp_path, local_ray):
    config = TrainConfig(epochs=20, patience=20, batch=16, average=0.8)
    killed, said = [], []

    def kill(epoch):
        said.append((epoch.seed, epoch.epoch))
        if not killed and epoch.seed == 1:
            killed.append(epoch.pid)
            os.kill(epoch.pid, signal.SIGKILL)

    again = fit_members(make_rows(), "resnet1d", SHAPE, small_jobs(), config, tmp_path, "killed", on_epoch=kill)
    assert killed
    assert len(set(said)) == 40
    # The first member was done: nobody trained it twice.
    assert said.count((0, 0)) == 1
    unkilled = fit_members(make_rows(), "resnet1d", SHAPE, small_jobs(), config, tmp_path, "unkilled")
    assert all(same(a.weights, b.weights) for a, b in zip(again, unkilled, strict=True))


@pytest.mark.verify
def test_an_interrupted_training_goes_on(tmp_path, local_ray):
    config = TrainConfig(epochs=2, batch=16)
    first = fit_members(make_rows(), "resnet1d", SHAPE, small_jobs(), config, tmp_path, "one")
    said = []
    again = fit_members(make_rows(), "resnet1d", SHAPE, small_jobs(), config, tmp_path, "one", on_epoch=said.append)
    assert said == []
    assert all(same(a.weights, b.weights) for a, b in zip(first, again, strict=True))


@pytest.mark.verify
def test_two_workers_share_the_work_and_agree(tmp_path, local_ray):
    config = TrainConfig(epochs=8, batch=16, workers=2, average=0.8)
    said = []
    rows = make_rows()
    (shared,) = fit_members(rows, "resnet1d", SHAPE, small_jobs()[:1], config, tmp_path, "two", on_epoch=said.append)
    assert [epoch.epoch for epoch in said] == list(range(8))
    alone = config.model_copy(update={"workers": 1})
    (single,) = fit_members(rows, "resnet1d", SHAPE, small_jobs()[:1], alone, tmp_path, "one")
    held = make_rows(seed=9)
    figures = [judge_member(member, held) for member in (shared, single)]
    assert min(figures) > 0.9
    assert max(figures) - min(figures) < 0.05
    few = TrainConfig(batch=2, workers=3)
    with pytest.raises(UsageError, match="a batch of 2 rows cannot be shared by 3 workers"):
        fit_members(make_rows(), "resnet1d", SHAPE, small_jobs(), few, tmp_path, "few")


def test_the_commands_train_and_evaluate(tmp_path, local_ray, capsys):
    views = write_npz(tmp_path / "own.npz", make_columns(rows=160))
    out = tmp_path / "models" / "triage"
    options = ["--folds", "2", "--seeds", "1", "--epochs", "2", "--set", "train.batch=16", "--inputs", "views"]
    assert main(["train", "triage", "--views", str(views), "--out", str(out), *options]) == 0
    said = capsys.readouterr().out
    assert "member 1/2 (fold 0, seed 0), epoch" in said
    assert "average precision" in said
    assert load_artifact(out).inputs.scalars == ()
    figure = tmp_path / "figures" / "triage.png"
    assert main(["evaluate", str(out), "--views", str(views), "--json", "--figure", str(figure)]) == 0
    figures = json.loads(capsys.readouterr().out)
    for name in ("precision", "recall", "f1", "roc_auc", "average_precision", "base_rate", "true_positives"):
        assert figures[name] is not None
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert main(["evaluate", str(out), "--views", str(views)]) == 0
    assert "by members that never saw them" in capsys.readouterr().out


def test_what_cannot_be_trained_is_refused_before_it_is(tmp_path, capsys):
    views = write_npz(tmp_path / "own.npz", make_columns(rows=160))
    one = write_npz(tmp_path / "one.npz", make_columns() | {"label": np.array(["J"] * 160)})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    cases = {
        "one class only": ["train", "triage", "--views", str(one), "--out", str(tmp_path / "m")],
        "holds something else": ["train", "triage", "--views", str(views), "--out", str(tmp_path / "mine")],
        "cannot read views": ["train", "triage", "--views", str(tmp_path / "no.npz"), "--out", str(tmp_path / "m")],
        "unknown key train.color": ["train", "vetting", "--views", str(views), "--out", "m", "--set", "train.color=1"],
        "no model": ["evaluate", str(tmp_path / "none"), "--views", str(views)],
        "known are triage, vetting": ["train", "gossip", "--set", str(views), "--out", str(tmp_path / "m")],
        "give --set FILE": ["train", "triage", "--out", str(tmp_path / "m")],
        "one labelled set at a time": ["train", "triage", "--set", "a", "--views", "b", "--out", str(tmp_path / "m")],
        "give the labelled set to measure on": ["evaluate", "triage"],
    }
    for words, command in cases.items():
        assert main(command) == 2
        assert words in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "one.npz", "own.npz"]


def test_a_scalar_that_few_rows_have_is_left_out(tmp_path):
    columns = make_columns()
    columns["depth_ppm"] = np.where(np.arange(160) < 8, 500.0, np.nan)
    views = read_views(write_npz(tmp_path / "own.npz", columns))
    assert choose_scalars(views, SMALL) == ("period", "duration_h", "snr")
    assert choose_scalars(views, SMALL.model_copy(update={"inputs": "views"})) == ()
    assert make_lesson(tmp_path / "own.npz", "vetting", SMALL).inputs.scalars == ("period", "duration_h", "snr")


def test_how_models_are_trained_changes_no_catalogue():
    assert load(overrides=["train.epochs=3"]).science_hash() == load().science_hash()


@pytest.mark.verify
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_stopped_ends_in_order(tmp_path, number):
    views = write_npz(tmp_path / "own.npz", make_columns(rows=160))
    options = ["--folds", "2", "--seeds", "1", "--epochs", "5000", "--set", "train.batch=16", "--inputs", "views"]
    command = ["train", "triage", "--views", str(views), "--out", str(tmp_path / "triage"), *options]
    with subprocess.Popen(
        [sys.executable, "-m", "survey", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        first = process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=600)
    assert "member 1/2" in first
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert not (tmp_path / "triage").exists()
