"""Learning: training examples a second by network and number of workers, stars a second that each shipped model scores.

Examples are random numbers of the networks' own shapes: how fast a network learns does not hang on what. Training runs
through Ray Train, as `survey train` does, and counts from the end of the first epoch, so that neither Ray's start nor
compilation is in it. Scores are those of `score_rows` and `find_anomalies`, on one core a process; boosted trees,
fitted and asked on as many rows, stand beside the networks.

    python -m benchmarks learning
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import one_thread_children, start_worker, usable_cores
from survey.config import Frozen, TrainConfig
from survey.learning.artifact import Artifact, load_artifact, shipped
from survey.learning.examples import Examples
from survey.learning.fit import Epoch, Job, fit_members
from survey.learning.floor import score_floor
from survey.learning.models import KINDS, period_net, pixel_cnn, resnet1d
from survey.learning.models.inception1d import Shape as SegmentShape
from survey.learning.score import score_rows

ROWS, QUICK_ROWS = 2048, 256
EPOCHS = 4
ROUNDS = 3
TREE_FEATURES = 64
WORKERS = (1, 2)

Figures = dict[str, Any]


@dataclass(frozen=True)
class Form:
    """A network's usual shape, and the shapes of one row of its inputs."""

    shape: Frozen
    inputs: Callable[[Any], tuple[tuple[int, ...], ...]]


FORMS = {
    "resnet1d": Form(
        resnet1d.Shape(global_bins=201, local_bins=61, secondary=True, scalars=4),
        lambda shape: ((1, shape.global_bins), (1 + shape.secondary, shape.local_bins), (shape.scalars,)),
    ),
    "inception1d": Form(SegmentShape(), lambda shape: ((shape.channels, shape.window),)),
    "period_net": Form(
        period_net.Shape(octave=75.0),
        lambda shape: ((len(period_net.CHANNELS), shape.bins * shape.finer), (1,)),
    ),
    "pixel_cnn": Form(pixel_cnn.Shape(), lambda shape: ((1, 24, 24),)),
}
"""By the name of the kind."""


def draw_examples(kind: str, rows: int, shape: Any = None) -> Examples:
    """Random rows of a kind, half of them positive."""
    form = FORMS[kind]
    draw = torch.Generator().manual_seed(7)
    parts = tuple(
        torch.rand((rows, *size), generator=draw) + 0.5 for size in form.inputs(form.shape if shape is None else shape)
    )
    targets = (torch.arange(rows) % 2).float()
    if kind == "period_net":
        bins = (form.shape if shape is None else shape).bins
        targets = torch.nn.functional.one_hot(torch.arange(rows) % bins, bins).float() * targets[:, None]
    return Examples(parts, targets)


def measure(quick: bool = False) -> Figures:
    """Training by network and workers, scoring by model and processes, and boosted trees."""
    rows = QUICK_ROWS if quick else ROWS
    cores = len(usable_cores()) or 1
    return {
        "rows": rows,
        "cores": cores,
        "training": [measure_training(kind, rows, WORKERS if cores > 1 else WORKERS[:1]) for kind in FORMS],
        "scoring": measure_scoring(rows, WORKERS if cores > 1 else WORKERS[:1]),
        "trees": measure_trees(rows),
    }


def measure_training(kind: str, rows: int, workers: tuple[int, ...], epochs: int = EPOCHS) -> Figures:
    """Examples a second by the number of workers, as text."""
    return {"kind": kind, "examples_per_s": {str(count): _train(kind, rows, count, epochs) for count in workers}}


def _train(kind: str, rows: int, workers: int, epochs: int) -> float:
    ends: list[float] = []

    def note(_: Epoch) -> None:
        ends.append(time.perf_counter())

    examples = draw_examples(kind, rows)
    training = np.arange(rows - rows // 8)
    job = Job(0, 0, training, np.arange(len(training), rows))
    config = TrainConfig(epochs=epochs, patience=epochs, workers=workers)
    with tempfile.TemporaryDirectory() as folder:
        fit_members(examples, kind, FORMS[kind].shape, [job], config, Path(folder), "speed", on_epoch=note)
    return len(training) * (len(ends) - 1) / (ends[-1] - ends[0])


def measure_scoring(rows: int, processes: tuple[int, ...]) -> list[Figures]:
    """Stars a second of every shipped model by the number of processes, as text."""
    found: dict[str, dict[str, float]] = {name: {} for name in shipped()}
    for count in processes:
        with one_thread_children():
            pools = [start_worker({core}) for core in usable_cores()[:count]] or [start_worker()]
            try:
                for name, by_count in found.items():
                    by_count[str(count)] = _score_together(pools, name, rows)
            finally:
                for pool in pools:
                    pool.shutdown()
    return [{"model": name, "stars_per_s": by_count} for name, by_count in found.items()]


def _score_together(pools: list[ProcessPoolExecutor], name: str, rows: int) -> float:
    futures: list[Future[float]] = [pool.submit(score_shipped, name, rows) for pool in pools]
    return sum(future.result() for future in futures)


def score_shipped(name: str, rows: int, rounds: int = ROUNDS) -> float:
    """Stars a second of one model in this process, the median of rounds."""
    score, count = _scorer(name, rows)
    score()
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        score()
        seconds.append(time.perf_counter() - begin)
    return count / statistics.median(seconds)


def _scorer(name: str, rows: int) -> tuple[Callable[[], Any], int]:
    """What scores some stars, and how many."""
    if name == "anomaly":
        return _anomaly_scorer(rows)
    artifact: Artifact = load_artifact(shipped()[name])
    examples = draw_examples(artifact.kind.name, rows, artifact.shape)
    stars = np.array([f"star {k}" for k in range(rows)])
    return lambda: score_rows(artifact, examples, stars), rows


def _anomaly_scorer(rows: int) -> tuple[Callable[[], Any], int]:
    """One star is a whole two-minute light curve of a sector here."""
    from survey.learning.anomaly import find_anomalies, load_detector

    model = load_detector(shipped()["anomaly"])
    sector = np.arange(0, 27.4, 120 / 86_400)
    flat = 1 + 1e-3 * np.random.default_rng(0).standard_normal(len(sector))
    count = max(1, rows // 128)
    return lambda: [find_anomalies(model, "star", sector, flat, 120.0) for _ in range(count)], count


def measure_trees(rows: int) -> Figures:
    """Boosted trees on as many rows of TREE_FEATURES numbers: rows a second, fitted and asked in two folds."""
    draw = np.random.default_rng(7)
    table, labels = draw.standard_normal((rows, TREE_FEATURES)).astype(np.float32), np.arange(rows) % 2 > 0
    begin = time.perf_counter()
    score_floor(table, labels, (np.arange(rows) // 2 % 2).astype(np.uint8))
    return {"features": TREE_FEATURES, "rows_per_s": rows / (time.perf_counter() - begin)}


def render(figures: Figures) -> str:
    training = "\n".join(_row(row["kind"], row["examples_per_s"]) for row in figures["training"])
    scoring = "\n".join(_row(row["model"], row["stars_per_s"]) for row in figures["scoring"])
    trees = figures["trees"]
    return (
        "## Learning\n\n"
        f"Random examples ({figures['rows']:,}) of the networks' own shapes, through Ray Train; the first epoch does\n"
        f"not count. On a machine of {figures['cores']} cores, which the workers share with Ray itself.\n\n"
        f"| network | examples/s, 1 worker | 2 workers | growth |\n|---|---|---|---|\n{training}\n\n"
        "Stars a second that the shipped models score, one core a process; a star is a row of views, segments, periods "
        "or pixels, for\n`anomaly` a two-minute light curve of a sector.\n\n"
        f"| model | stars/s, 1 process | 2 processes | growth |\n|---|---|---|---|\n{scoring}\n\n"
        f"Boosted trees beside them, two folds of {trees['features']} numbers a row, fitted and asked: "
        f"{trees['rows_per_s']:,.0f} rows/s on one core.\n\n"
        f"On a GPU: not measured; `python benchmarks/gpu_learning.py` measures it, with {len(KINDS)} networks.\n"
    )


def _row(name: str, by_count: dict[str, float]) -> str:
    one, two = by_count["1"], by_count.get("2")
    more = "| not measured | |" if two is None else f"| {two:,.0f} | {two / one:.2f} |"
    return f"| {name} | {one:,.0f} {more}"
