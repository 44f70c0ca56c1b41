"""Training through Ray Train: one run fits all members, on one worker or many, CPU or GPU.

Small sets are put into Ray's memory once, as tensors; a checkpoint after every epoch holds the finished
members and the state of the current one. So a worker that dies costs an epoch, and a training that was interrupted goes
on when the same command is run again. The only module of learning that knows Ray.
"""

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from survey.config import Frozen, TrainConfig
from survey.errors import SurveyError, UsageError
from survey.interruption import handlers_kept
from survey.learning.examples import Examples
from survey.learning.members import Member, Progress, Team, Weights, train_member
from survey.learning.models import KINDS

LOGICAL_CPUS: Final = 8
"""Of a local Ray, at least: a small machine would wait for itself."""

OBJECT_STORE_BYTES: Final = 400 << 20

LOOK_EVERY_S: Final = "0.2"

POLL_S: Final = 0.5

STATE: Final = "state.pt"


@dataclass(frozen=True)
class Job:
    """One member to train: the fold that is held out, the seed, and rows to learn from and to stop by.

    start: weights to fine-tune, None to train from scratch.
    """

    fold: int
    seed: int
    training: NDArray[np.intp]
    validation: NDArray[np.intp]
    start: Weights | None = None


@dataclass(frozen=True)
class Epoch:
    """What is said after an epoch. pid: of the worker."""

    member: int
    members: int
    fold: int
    seed: int
    epoch: int
    epochs: int
    loss: float
    validation_ap: float
    pid: int


def fit_members(
    examples: Examples,
    kind: str,
    shape: Frozen,
    jobs: Sequence[Job],
    config: TrainConfig,
    storage: Path,
    name: str,
    *,
    address: str = "local",
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> list[Member]:
    """The trained members, in the order of the jobs.

    kind: of the network, by its name; storage: folder of the checkpoints, shared by all nodes; name: of this training
    in it, under which it goes on; address: `local` for a Ray of its own, `auto` or host:port for a cluster. Raises
    SurveyError where training failed.
    """
    if config.batch < config.workers:
        raise UsageError(f"a batch of {config.batch} rows cannot be shared by {config.workers} workers")
    with started(address):
        import ray.train
        from ray.train.torch import TorchTrainer

        class Trainer(TorchTrainer):
            def _register_sigint_handler(self, controller: Any) -> None:
                """Ray would end the process with 0; an interruption is the caller's to see."""

        board = ray.remote(num_cpus=0)(Board).remote()
        task = {
            "examples": ray.put(examples),
            "kind": kind,
            "shape": shape,
            "jobs": ray.put(list(jobs)),
            "config": config,
            "board": board,
        }
        trainer = Trainer(
            _work,
            train_loop_config=task,
            scaling_config=ray.train.ScalingConfig(num_workers=config.workers, use_gpu=config.gpu),
            run_config=ray.train.RunConfig(
                name=name,
                storage_path=str(storage.absolute()),
                failure_config=ray.train.FailureConfig(max_failures=config.attempts - 1),
                checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            ),
        )
        with _followed(board, on_epoch):
            try:
                result = trainer.fit()
            except ray.train.TrainingFailedError as error:
                raise SurveyError(f"training failed: {_reason(error)}; run again to go on") from error
        with result.checkpoint.as_directory() as folder:
            return _load(folder)[0]


def _reason(error: Exception) -> str:
    """The last line that says something, of pages of traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "Error" in line.split(":")[0] and not line.startswith("ray.")]
    return (named or lines or [type(error).__name__])[-1]


class Board:
    """An actor on which the first worker writes what the driver shows."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []

    def add(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)

    def take(self) -> list[Epoch]:
        taken, self.epochs = self.epochs, []
        return taken


@contextlib.contextmanager
def _followed(board: Any, on_epoch: Callable[[Epoch], None]) -> Iterator[None]:
    """Hands on what is written on the board, while the block runs."""
    import ray

    ended = threading.Event()

    def follow() -> None:
        while True:
            last = ended.wait(POLL_S)
            for epoch in ray.get(board.take.remote()):
                on_epoch(epoch)
            if last:
                return

    thread = threading.Thread(target=follow, name="epochs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def started(address: str) -> Iterator[None]:
    """Ray for the length of the block; one that runs in this process already is used and left running."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    # A worker that has reported waits until Ray Train looks at it, every 2 s unless told: longer than a short epoch.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", LOOK_EVERY_S)
    import ray

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield
        return
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        common |= {
            "num_cpus": max(LOGICAL_CPUS, 2 * (os.cpu_count() or 1)),
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
    try:
        with handlers_kept():
            ray.init(address=address, **common)
    except ConnectionError as error:
        raise UsageError(f"no Ray cluster at {address}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


# In the workers


def _work(task: dict[str, Any]) -> None:
    """Trains what is left of the jobs; every worker runs this, and each takes its part of every batch."""
    import ray
    import ray.train

    config, board = task["config"], task["board"]
    examples, jobs = ray.get(task["examples"]), ray.get(task["jobs"])
    team = _team()
    done, progress = _latest()

    def report(progress: Progress | None, figures: dict[str, float]) -> None:
        _report(team, done, progress, figures)

    for number in range(len(done), len(jobs)):
        job = jobs[number]

        def tell(progress: Progress, job: Job = job, number: int = number) -> None:
            report(progress, progress.curve[-1])
            if team.rank == 0:
                board.add.remote(_epoch(progress, job, number, len(jobs), config))

        done.append(
            train_member(
                examples,
                KINDS[task["kind"]],
                task["shape"],
                job.training,
                job.validation,
                config,
                (job.seed, job.fold),
                start=job.start,
                team=team,
                progress=progress,
                on_epoch=tell,
            )
        )
        progress = None
        report(None, done[-1].curve[-1])


def _epoch(progress: Progress, job: Job, number: int, members: int, config: TrainConfig) -> Epoch:
    figures = progress.curve[-1]
    return Epoch(
        number,
        members,
        job.fold,
        job.seed,
        progress.epoch,
        config.epochs,
        figures["loss"],
        figures["validation_ap"],
        os.getpid(),
    )


def _team() -> Team:
    import ray.train
    import ray.train.collective
    import ray.train.torch

    context = ray.train.get_context()
    rank, size, device = context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device()
    if size == 1:
        return Team(rank, size, device)
    return Team(rank, size, device, ray.train.torch.prepare_model, ray.train.collective.broadcast_from_rank_zero)


def _report(team: Team, done: Sequence[Member], progress: Progress | None, figures: dict[str, float]) -> None:
    """A checkpoint from the first worker, figures from all."""
    import ray.train

    if team.rank:
        ray.train.report(figures)
        return
    with tempfile.TemporaryDirectory() as folder:
        state = {"done": [_state(member) for member in done], "now": None if progress is None else _state(progress)}
        torch.save(state, Path(folder) / STATE)
        ray.train.report(figures, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _state(part: Member | Progress) -> dict[str, Any]:
    return {field.name: getattr(part, field.name) for field in fields(part)}


def _latest() -> tuple[list[Member], Progress | None]:
    """Finished members and the state of the current one, from the last checkpoint."""
    import ray.train

    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return [], None
    with checkpoint.as_directory() as folder:
        return _load(folder)


def _load(folder: str) -> tuple[list[Member], Progress | None]:
    state = torch.load(Path(folder) / STATE, map_location="cpu", weights_only=True)
    done = [Member(**member) for member in state["done"]]
    return done, None if state["now"] is None else Progress(**state["now"])
