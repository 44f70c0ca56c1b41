"""Which settings of a training do best: random search, poor trials stopped early, on Ray Tune.

One fold of the stars is put aside and seen by no trial. A trial trains a member for each of the other folds in turn, on
what is left of them, and is judged by the stars of that fold; after each fold the poorer half of the trials so far is
stopped (Li et al. 2020, asynchronous successive halving, with folds for its resource). The first trial is the settings
as they are. What was put aside then tells what the search gained, which the trials themselves would flatter.

Each fold that is done is a line of JSON in the storage, so a search that was interrupted goes on when it is started
again. Given the seed, trials are the same whatever their number; with one at a time, so is which of them are stopped.
"""

import csv
import io
import json
import logging
import os
import shutil
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydantic
from numpy.typing import NDArray

from survey.config import Frozen, TrainConfig, hash_of
from survey.errors import SurveyError, UsageError
from survey.learning.evaluate import as_row, check_classes
from survey.learning.fit import started
from survey.learning.folds import hold_back
from survey.learning.lesson import Lesson
from survey.learning.members import train_member
from survey.learning.metrics import DRAWS, average_precision, paired_bootstrap
from survey.learning.score import score_member
from survey.learning.train import divide

ASIDE: Final = 0
"""The fold that no trial sees."""

LEAST_FOLDS: Final = 3

HALVING: Final = 2
"""After each fold, one trial in so many goes on."""

FIXED: Final = frozenset(
    {"folds", "seeds", "workers", "gpu", "amp", "attempts", "inputs", "calibration"}
    | {"freeze_epochs", "unfreeze_blocks", "finetune_lr"}
)
"""Settings that say what is learnt from, how the work is spread, or how to fine-tune: they are not searched."""

Settings = dict[str, Any]


class Choice(Frozen):
    """A setting's values: those of a list, or all from low to high, evenly in the logarithm if `log`."""

    values: tuple[float | int | str | bool, ...] = ()
    low: float | int | None = None
    high: float | int | None = None
    log: bool = False

    @pydantic.model_validator(mode="after")
    def _check(self) -> "Choice":
        if bool(self.values) == (self.low is not None and self.high is not None):
            raise ValueError("give a list of values, or low and high")
        if self.low is not None and self.high is not None and not (0 if self.log else -np.inf) < self.low < self.high:
            raise ValueError("low must be below high, and above 0 for log")
        return self

    def draw(self, rng: np.random.Generator) -> Any:
        if self.values:
            return self.values[int(rng.integers(len(self.values)))]
        assert self.low is not None
        assert self.high is not None
        if self.log:
            value = float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))
        else:
            value = float(rng.uniform(self.low, self.high))
        return round(value) if isinstance(self.low, int) and isinstance(self.high, int) else float(f"{value:.3g}")


SPACE: Final[Mapping[str, Choice]] = {
    "average": Choice(values=(0.9, 0.97, 0.99, 0.995)),
    "batch": Choice(values=(32, 64, 128, 256)),
    "learning_rate": Choice(low=5e-4, high=2e-2, log=True),
    "missing_share": Choice(low=0.0, high=0.3),
    "weight_decay": Choice(low=1e-4, high=1e-1, log=True),
}
"""What is searched where nobody says otherwise."""


def read_space(path: str | Path) -> dict[str, Choice]:
    """A space of TOML: under [train], each setting with a list of values or `{low = 1e-3, high = 1e-2, log = true}`.

    Raises UsageError naming the setting that cannot be searched.
    """
    path = Path(path)
    try:
        found = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read a space from {path}: {error}") from None
    settings = found.get("train")
    if not isinstance(settings, dict) or not settings or found.keys() != {"train"}:
        raise UsageError(f"{path.name}: a space has one table, [train], with at least one setting")
    return {name: _read_choice(name, value, path.name) for name, value in sorted(settings.items())}


def _read_choice(name: str, value: Any, file: str) -> Choice:
    searched = sorted(TrainConfig.model_fields.keys() - FIXED)
    if name not in searched:
        raise UsageError(f"{file}: train.{name} is not searched; there are: {', '.join(searched)}")
    try:
        choice = Choice(**value) if isinstance(value, dict) else Choice(values=value)
    except (pydantic.ValidationError, TypeError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, pydantic.ValidationError) else error
        raise UsageError(f"{file}: train.{name}: {why}") from None
    for edge in (*choice.values, choice.low, choice.high):
        if edge is not None:
            _settle(TrainConfig(), {name: edge})
    return choice


def draw_settings(space: Mapping[str, Choice], trials: int, seed: int) -> list[Settings]:
    """Settings of each trial: none for the first, which leaves all as it is. Each is drawn on its own."""
    drawn = []
    for trial in range(1, trials):
        rng = np.random.default_rng([seed, trial])
        drawn.append({name: choice.draw(rng) for name, choice in sorted(space.items())})
    return [{}, *drawn]


def _settle(config: TrainConfig, settings: Settings) -> TrainConfig:
    try:
        return TrainConfig.model_validate(config.model_dump() | settings)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"train.{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None


# The search


@dataclass(frozen=True)
class Trial:
    """One trial: its settings, and the average precision of each fold that it came to. complete: of all of them."""

    number: int
    settings: Settings
    figures: tuple[float, ...]
    complete: bool

    @property
    def mean(self) -> float:
        return float(np.mean(self.figures))


@dataclass(frozen=True)
class Tuned:
    """What a search found. trials: in the order they were drawn; gain: over the settings as they were, on the stars put
    aside: average precision of both, and of their difference an interval over stars."""

    best: Trial
    trials: tuple[Trial, ...]
    aside: dict[str, Any]


def tune(
    lesson: Lesson,
    config: TrainConfig,
    space: Mapping[str, Choice],
    trials: int,
    out: Path,
    *,
    seed: int = 0,
    address: str = "local",
    on_trial: Callable[[Trial], None] = lambda trial: None,
    draws: int = DRAWS,
) -> Tuned:
    """Searches, and writes the best settings to `out` (TOML) and all trials to a CSV of the same name.

    config: where the search begins; `workers` of its trials run at a time. Raises UsageError for what cannot be learnt
    from, and SurveyError where a trial failed: run again to go on.
    """
    if out.suffix != ".toml":
        raise UsageError(f"{out}: the best settings are written as TOML: give --out a name that ends with .toml")
    if config.folds < LEAST_FOLDS:
        raise UsageError(
            f"a search takes at least {LEAST_FOLDS} folds: one is put aside, and the others judge each other"
        )
    check_classes(lesson)
    folds = divide(lesson, config)
    drawn = draw_settings(space, trials, seed)
    configs = [_settle(config, settings) for settings in drawn]
    storage = out.with_name(f".{out.stem}.tuning") / hash_of(_facts(lesson, config, drawn))[:16]
    storage.mkdir(parents=True, exist_ok=True)
    counted = config.folds - 1

    def read(number: int) -> Trial:
        return _read_trial(storage, number, drawn[number], counted)

    _run_trials(lesson, folds, configs, storage, config, address, lambda number: on_trial(read(number)))
    found = tuple(read(number) for number in range(trials))
    best = max((trial for trial in found if trial.complete), key=lambda trial: (trial.mean, -trial.number))
    tuned = Tuned(best, found, _compare_aside(lesson, folds, configs[0], configs[best.number], draws))
    _write(out, _toml(tuned, lesson, configs[best.number], space))
    _write(out.with_suffix(".csv"), _table(found, sorted(space)))
    shutil.rmtree(storage.parent)
    return tuned


def _facts(lesson: Lesson, config: TrainConfig, drawn: Sequence[Settings]) -> dict[str, Any]:
    """What decides the figures of the trials."""
    settings = config.model_dump(mode="json", exclude={"workers", "gpu", "attempts"})
    return {"task": lesson.task.name, "set": lesson.set_sha256, "settings": settings, "trials": list(drawn)}


def _run_trials(
    lesson: Lesson,
    folds: NDArray[np.integer],
    configs: Sequence[TrainConfig],
    storage: Path,
    config: TrainConfig,
    address: str,
    on_trial: Callable[[int], None],
) -> None:
    """All trials to their end, under the scheduler. Raises SurveyError where one failed."""
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # Ray would end the search as if it were done.
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    with started(address):
        from ray import tune as ray_tune
        from ray.tune.schedulers import ASHAScheduler

        class Told(ray_tune.Callback):
            def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
                on_trial(trial.config["trial"])

        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        work = ray_tune.with_parameters(
            try_settings, lesson=lesson, folds=folds, configs=list(configs), storage=str(storage.absolute())
        )
        tuner = ray_tune.Tuner(
            ray_tune.with_resources(work, {"gpu": 1, "cpu": 1} if config.gpu else {"cpu": 1}),
            param_space={"trial": ray_tune.grid_search(list(range(len(configs))))},
            tune_config=ray_tune.TuneConfig(
                metric="figure",
                mode="max",
                scheduler=ASHAScheduler(
                    time_attr="folds", max_t=config.folds - 1, grace_period=1, reduction_factor=HALVING
                ),
                max_concurrent_trials=config.workers,
                reuse_actors=True,
            ),
            run_config=ray_tune.RunConfig(
                name="ray", storage_path=str(storage.absolute()), verbose=0, callbacks=[Told()]
            ),
        )
        results = tuner.fit()
    if results.errors:
        lines = [line.strip() for line in str(results.errors[0]).splitlines() if line.strip()]
        raise SurveyError(f"a trial failed: {lines[-1]}; run again to go on")


def try_settings(
    task: Mapping[str, Any], lesson: Lesson, folds: NDArray[np.integer], configs: Sequence[TrainConfig], storage: str
) -> None:
    """A trial, in a worker: fold after fold, each reported; those that were done before are not done again."""
    from ray import tune as ray_tune

    number = task["trial"]
    path = _file(Path(storage), number)
    figures = json.loads(path.read_text()) if path.exists() else []
    for done, fold in enumerate((fold for fold in range(configs[number].folds) if fold != ASIDE), 1):
        if len(figures) < done:
            rows = np.flatnonzero((folds != fold) & (folds != ASIDE))
            held = np.flatnonzero(folds == fold)
            scores = _train_and_score(lesson, rows, held, configs[number], fold)
            figures.append(average_precision(lesson.labels[held], scores))
            _write(path, json.dumps(figures))
        ray_tune.report({"folds": done, "figure": float(np.mean(figures[:done]))})


def _file(storage: Path, number: int) -> Path:
    return storage / f"trial-{number:04d}.json"


def _read_trial(storage: Path, number: int, settings: Settings, folds: int) -> Trial:
    figures = tuple(json.loads(_file(storage, number).read_text()))
    return Trial(number, settings, figures, len(figures) == folds)


def _train_and_score(
    lesson: Lesson, rows: NDArray[np.intp], held: NDArray[np.intp], config: TrainConfig, fold: int
) -> NDArray[np.float64]:
    """(held,) scores of a member that was trained on the rows, some of whose stars said when to stop."""
    training, validation = hold_back(lesson.labels, lesson.stars, rows, config.validation_share, seed=fold)
    member = train_member(lesson.examples, lesson.kind, lesson.shape, training, validation, config, (0, fold))
    network = lesson.kind.make(lesson.shape)
    network.load_state_dict(member.weights)
    outputs = score_member(network, lesson.examples.take(held), lesson.kind.batch)
    return np.asarray(lesson.kind.reduce(outputs), np.float64)


def _compare_aside(
    lesson: Lesson, folds: NDArray[np.integer], before: TrainConfig, after: TrainConfig, draws: int
) -> dict[str, Any]:
    """What the best settings are worth beside those of the start, on the stars that no trial saw."""
    rows, held = np.flatnonzero(folds != ASIDE), np.flatnonzero(folds == ASIDE)
    labels, stars = lesson.labels[held], lesson.stars[held]
    old = _train_and_score(lesson, rows, held, before, ASIDE)
    new = old if before == after else _train_and_score(lesson, rows, held, after, ASIDE)
    return {
        "stars": len(np.unique(stars)),
        "before": average_precision(labels, old),
        "best": average_precision(labels, new),
        "gain": as_row(paired_bootstrap(average_precision, labels, new, old, stars, draws=draws)),
    }


# What is kept of it


def _toml(tuned: Tuned, lesson: Lesson, config: TrainConfig, space: Mapping[str, Choice]) -> str:
    """A preset for `survey train`, with what it is worth in its head."""
    best, aside = tuned.best, tuned.aside
    gain = aside["gain"]
    values = config.model_dump(mode="json", include=set(space))
    lines = [
        f"# The best of {len(tuned.trials)} trials for {lesson.task.name} on {lesson.set_name} "
        f"(sha256 {lesson.set_sha256[:12]}).",
        f"# Average precision, mean of {len(best.figures)} folds: {best.mean:.4f}; before: {tuned.trials[0].mean:.4f}.",
        f"# On {aside['stars']:,} stars that no trial saw: {aside['best']:.4f}; before: {aside['before']:.4f}; "
        f"gain {_gain_words(gain)}.",
        "[train]",
        *(f"{name} = {json.dumps(value)}" for name, value in sorted(values.items()) if value is not None),
    ]
    return "\n".join(lines) + "\n"


def _gain_words(gain: Mapping[str, float | None]) -> str:
    if gain["low"] is None or gain["high"] is None:
        return f"{gain['value']:+.4f}"
    return f"{gain['value']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f})"


def _table(trials: Sequence[Trial], names: Sequence[str]) -> str:
    """CSV, a line a trial; an empty setting is that of the start."""
    count = max(len(trial.figures) for trial in trials)
    sink = io.StringIO()
    table = csv.writer(sink, lineterminator="\n")
    table.writerow(["trial", *names, "average_precision", "folds", *(f"fold_{k + 1}" for k in range(count)), "state"])
    for trial in trials:
        each = [f"{value:.6f}" for value in trial.figures] + [""] * (count - len(trial.figures))
        state = "complete" if trial.complete else "stopped"
        settings = [trial.settings.get(name, "") for name in names]
        table.writerow([trial.number, *settings, f"{trial.mean:.6f}", len(trial.figures), *each, state])
    return sink.getvalue()


def _write(path: Path, text: str) -> None:
    """A file that appears whole. Raises UsageError where it cannot be written."""
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text)
        os.replace(part, path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None
