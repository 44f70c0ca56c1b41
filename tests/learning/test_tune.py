"""The search for settings: by star, repeatable, goes on where it was, and says what it gained on stars it never saw."""

import csv
import json
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest

from survey.cli import main
from survey.config import TrainConfig, load
from survey.errors import UsageError
from survey.learning import tune as tuning
from survey.learning.lessons import make_lesson
from survey.learning.train import divide
from survey.learning.tune import SPACE, Choice, draw_settings, read_space, tune
from tests.learning.view_files import make_columns, write_npz

# Ray warns of its own parts.
pytestmark = pytest.mark.filterwarnings(
    r"ignore::DeprecationWarning:ray\..*",
    r"ignore::FutureWarning:ray\..*",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)

CONFIG = TrainConfig(folds=3, seeds=1, epochs=2, batch=16, average=0.5)

SMALL = {"learning_rate": Choice(values=(1e-6, 4e-3, 1e-2)), "batch": Choice(values=(16, 32))}


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    path = write_npz(tmp_path_factory.mktemp("views") / "own.npz", make_columns(rows=240))
    return make_lesson(path, "vetting", CONFIG)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, lesson, local_ray):
    out = tmp_path_factory.mktemp("tuned") / "best.toml"
    said = []
    return tune(lesson, CONFIG, SMALL, 3, out, on_trial=said.append, draws=50), out, said


def test_trials_are_drawn_one_by_one():
    few, many = draw_settings(SPACE, 5, 3), draw_settings(SPACE, 20, 3)
    assert many[:5] == few
    assert few[0] == {}
    assert draw_settings(SPACE, 5, 4)[1:] != few[1:]
    for settings in many:
        TrainConfig(**settings)
    rates = np.log10([settings["learning_rate"] for settings in many[1:]])
    assert rates.min() > np.log10(5e-4) - 1e-9
    assert rates.max() < np.log10(2e-2) + 1e-9
    assert np.ptp(rates) > 0.8


def test_no_trial_sees_the_stars_put_aside(lesson, monkeypatch, tmp_path):
    """What a trial trains on, stops by and is judged by leaves out the fold that tells what was gained."""
    seen = []

    def note(examples, kind, shape, training, validation, config, seeds):
        seen.append((set(training.tolist()) | set(validation.tolist()), seeds[1]))
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "train_member", note)
    folds = divide(lesson, CONFIG)
    for fold in (1, 2):
        rows = np.flatnonzero((folds != fold) & (folds != tuning.ASIDE))
        with pytest.raises(KeyboardInterrupt):
            tuning._train_and_score(lesson, rows, np.flatnonzero(folds == fold), CONFIG, fold)
    stars = {fold: set(lesson.stars[folds == fold].tolist()) for fold in range(3)}
    for rows, fold in seen:
        learnt = set(lesson.stars[sorted(rows)].tolist())
        assert not learnt & stars[tuning.ASIDE]
        assert not learnt & stars[fold]


def test_the_best_is_the_best_of_those_that_came_to_the_end(tuned):
    found, _, said = tuned
    assert [trial.number for trial in found.trials] == [0, 1, 2]
    whole = [trial for trial in found.trials if trial.complete]
    assert found.best in whole
    assert found.best.mean == max(trial.mean for trial in whole)
    assert sorted(trial.number for trial in said) == [0, 1, 2]
    assert all(len(trial.figures) == 2 for trial in whole)
    # Asynchronous halving stops some after the first fold.
    assert all(1 <= len(trial.figures) <= 2 for trial in found.trials)
    low, high = found.aside["gain"]["low"], found.aside["gain"]["high"]
    assert low <= found.aside["best"] - found.aside["before"] <= high


def test_the_best_settings_are_a_preset(tuned):
    found, out, _ = tuned
    text = out.read_text()
    config = load(str(out)).train
    expected = CONFIG.model_copy(update=found.best.settings)
    assert (config.learning_rate, config.batch) == (expected.learning_rate, expected.batch)
    assert tomllib.loads(text).keys() == {"train"}
    assert f"On {found.aside['stars']} stars that no trial saw" in text


def test_all_trials_stand_in_the_csv(tuned):
    found, out, _ = tuned
    with out.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == [0, 1, 2]
    assert [float(row["average_precision"]) for row in rows] == pytest.approx([t.mean for t in found.trials], abs=1e-6)
    assert rows[0]["learning_rate"] == ""
    assert {row["state"] for row in rows} <= {"complete", "stopped"}
    # Nothing of the search is left.
    assert sorted(path.name for path in out.parent.iterdir()) == ["best.csv", "best.toml"]


@pytest.mark.verify
def test_a_search_goes_on_where_it_was_to_the_same_end(tuned, lesson, tmp_path, local_ray):
    found, _, _ = tuned
    out = tmp_path / "best.toml"
    drawn = draw_settings(SMALL, 3, 0)
    storage = tmp_path / ".best.tuning" / tuning.hash_of(tuning._facts(lesson, CONFIG, drawn))[:16]
    storage.mkdir(parents=True)
    # Figures that no training gives: had they been made again, they would be others.
    kept = [0.123, 0.124]
    (storage / "trial-0000.json").write_text(json.dumps(kept))
    again = tune(lesson, CONFIG, SMALL, 3, out, draws=20)
    assert list(again.trials[0].figures) == kept
    assert again.trials[1].figures[0] == found.trials[1].figures[0]
    assert not (tmp_path / ".best.tuning").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[train]\nfolds = [3, 4]", "train.folds is not searched; there are: average, batch"),
        ("[train]\nbatch = {low = 8}", "train.batch: .*give a list of values, or low and high"),
        ("[train]\nlearning_rate = {low = 0.0, high = 1.0, log = true}", "low must be below high"),
        ("[train]\nlearning_rate = [-1.0]", r"train\.learning_rate: input should be greater than 0"),
        ("[train]\nbatch = 3", "train.batch"),
        ("[search]\nx = 1", "a space has one table"),
        ("[train", "cannot read a space"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(tmp_path, text, words):
    (tmp_path / "space.toml").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_space(tmp_path / "space.toml")


def test_a_space_is_read(tmp_path):
    (tmp_path / "space.toml").write_text("[train]\nbatch = {low = 8, high = 64}\naverage = [0.5, 0.9]\n")
    space = read_space(tmp_path / "space.toml")
    batches = {settings["batch"] for settings in draw_settings(space, 30, 0)[1:]}
    assert all(isinstance(batch, int) and 8 <= batch <= 64 for batch in batches)
    assert len(batches) > 5


def test_what_cannot_be_searched_is_refused(lesson, tmp_path, capsys):
    with pytest.raises(UsageError, match=r"ends with \.toml"):
        tune(lesson, CONFIG, SMALL, 2, tmp_path / "best.json")
    with pytest.raises(UsageError, match="at least 3 folds"):
        tune(lesson, CONFIG.model_copy(update={"folds": 2}), SMALL, 2, tmp_path / "best.toml")
    assert main(["tune", "vetting", "--out", str(tmp_path / "best.toml")]) == 2
    assert "give --set FILE" in " ".join(capsys.readouterr().err.split())


@pytest.mark.verify
def test_the_command_searches(tmp_path, capsys, local_ray):
    path = write_npz(tmp_path / "views.npz", make_columns(rows=240))
    (tmp_path / "space.toml").write_text("[train]\nlearning_rate = [1e-6, 1e-2]\n")
    out = tmp_path / "best.toml"
    small = ["--epochs", "2", "--set", "train.folds=3", "--set", "train.batch=16", "--set", "train.average=0.5"]
    words = ["--set", str(path), "--space", str(tmp_path / "space.toml"), "--trials", "3", *small, "--out", str(out)]
    assert main(["tune", "vetting", *words]) == 0
    said = capsys.readouterr().out
    assert "that no trial saw" in said
    assert "trial 0: AP" in said
    assert load(str(out)).train.learning_rate in (1e-6, 1e-2, CONFIG.learning_rate)


@pytest.mark.verify
def test_a_search_that_is_interrupted_keeps_what_it_has(tmp_path):
    path = write_npz(tmp_path / "views.npz", make_columns(rows=240))
    out = tmp_path / "best.toml"
    words = ["--epochs", "4000", "--trials", "3", "--set", "train.folds=3", "--set", "train.batch=16"]
    with subprocess.Popen(
        [sys.executable, "-m", "survey", "tune", "vetting", "--set", str(path), *words, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 600
        while not list(tmp_path.glob(".best.tuning/*/ray/*")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert list(tmp_path.glob(".best.tuning/*"))
    assert not out.exists()
