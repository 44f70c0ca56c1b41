"""One member of an ensemble: a network trained on some stars, stopped by others.

From scratch all of it learns at once, at a rate that rises and falls once. Fine-tuning begins with the weights of
another member and has two stages: first the head alone, the rest frozen, then the last few blocks with it, at a low
rate that is halved whenever the validation stars see nothing better. Everything random is drawn anew for each epoch
from the member's seeds and the epoch, so that a training that goes on from a checkpoint ends with the same bits as one
that was never interrupted. No Ray here: `fit` says when to report, how many share the work and on what device.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from survey.config import Frozen, TrainConfig
from survey.learning.examples import Examples
from survey.learning.metrics import average_precision, roc_auc
from survey.learning.models.kind import Kind

Rows = NDArray[np.intp]
Weights = dict[str, Tensor]

STEADY_EPOCHS: Final = 5
"""Epochs over which the validation figure is averaged."""

PLATEAU_EPOCHS: Final = 2
PLATEAU_FACTOR: Final = 0.5
"""In fine-tuning, the rate falls by the factor after more epochs than that without a better validation figure."""

LEAST_STEPS: Final = 20
LEAST_BATCH: Final = 8
"""Where a set is so small that an epoch would have fewer steps than that, batches are smaller, but never than that."""

SCORED_AT_ONCE: Final = 1024


@dataclass(frozen=True)
class Team:
    """The workers that share each batch.

    wrap: makes a network average its gradients over them; agree: the first one's figures, for all of them.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    wrap: Callable[[nn.Module], nn.Module] = lambda network: network
    agree: Callable[[dict[str, float]], dict[str, float]] = lambda figures: figures


@dataclass(frozen=True)
class Member:
    """A trained network: its weights, the epoch that they are of, and one row of figures an epoch."""

    weights: Weights
    epoch: int
    curve: list[dict[str, float]]


@dataclass(frozen=True)
class Progress:
    """A member after some epochs: all that training needs to go on. best: the weights to keep so far."""

    epoch: int
    weights: Weights
    averaged: Weights
    best: Weights
    best_epoch: int
    optimiser: dict[str, Any]
    schedule: dict[str, Any]
    curve: list[dict[str, float]]


@dataclass(frozen=True)
class Stage:
    """Epochs from `begin` up to `end`. blocks: how many parts of the network learn, counted from the head; None:
    all."""

    begin: int
    end: int
    rate: float
    blocks: int | None


def plan_stages(config: TrainConfig, *, fresh: bool) -> tuple[Stage, ...]:
    """One stage from scratch, two for fine-tuning."""
    if fresh:
        return (Stage(0, config.epochs, config.learning_rate, None),)
    frozen = min(config.freeze_epochs, config.epochs)
    stages = (
        Stage(0, frozen, config.learning_rate, 1),
        Stage(frozen, config.epochs, config.finetune_lr, 1 + config.unfreeze_blocks),
    )
    return tuple(stage for stage in stages if stage.begin < stage.end)


def train_member(
    examples: Examples,
    kind: Kind,
    shape: Frozen,
    training: Rows,
    validation: Rows,
    config: TrainConfig,
    seeds: Sequence[int],
    *,
    start: Weights | None = None,
    team: Team | None = None,
    progress: Progress | None = None,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> Member:
    """Trains to the last epoch, or until the validation rows have seen nothing better for `config.patience` epochs.

    What is kept is the running mean of the weights after the best epoch: that of the greatest average precision on the
    validation rows, as a mean over that epoch and the few before it. start: weights to fine-tune; progress: where to go
    on.
    """
    team = team or Team()
    with one_thread() if team.device.type == "cpu" else contextlib.nullcontext():
        torch.manual_seed(int(np.random.default_rng(list(seeds)).integers(2**31)))
        pupil = _Pupil(examples, kind, shape, training, config, seeds, start, team)
        if progress is not None:
            pupil.go_on(progress)
        judge, held = kind.make(shape), examples.take(validation)
        while not pupil.is_done():
            loss = pupil.learn()
            judge.load_state_dict(pupil.averaged)
            figures = {"epoch": pupil.epoch, "loss": loss} | judge_examples(kind, judge, held)
            on_epoch(pupil.note(team.agree(figures)))
        return Member(pupil.best, pupil.best_epoch, pupil.curve)


class _Pupil:
    """A network while it learns. epoch: the last one that was learnt, -1 before the first."""

    def __init__(
        self,
        examples: Examples,
        kind: Kind,
        shape: Frozen,
        training: Rows,
        config: TrainConfig,
        seeds: Sequence[int],
        start: Weights | None,
        team: Team,
    ) -> None:
        self.kind, self.training, self.config, self.seeds, self.team = kind, training, config, seeds, team
        self.network = kind.make(shape).to(team.device)
        if start is None:
            kind.prepare(self.network, examples.take(training))
        else:
            self.network.load_state_dict(start)
        self.examples = examples.to(team.device)
        self.positive = find_positives(examples)
        self.batch = min(config.batch, max(LEAST_BATCH, team.size, len(training) // LEAST_STEPS))
        self.steps = max(1, len(training) // self.batch)
        self.stages = plan_stages(config, fresh=start is None)
        self.averaged = _copy(self.network)
        self.best, self.best_epoch = self.averaged, -1
        self.curve: list[dict[str, float]] = []
        self.epoch = -1
        self._enter(self.stages[0])

    def _enter(self, stage: Stage) -> None:
        """Lets the blocks of a stage learn, and nothing else."""
        self.stage = stage
        self.learning = [self.network] if stage.blocks is None else self.kind.blocks(self.network)[: stage.blocks]
        self.network.requires_grad_(False)
        for part in self.learning:
            part.requires_grad_(True)
        free = [part for part in self.network.parameters() if part.requires_grad]
        self.optimiser = torch.optim.AdamW(free, stage.rate, weight_decay=self.config.weight_decay)
        self.schedule: OneCycleLR | ReduceLROnPlateau
        if stage.blocks is None:
            self.schedule = OneCycleLR(self.optimiser, stage.rate, total_steps=self.config.epochs * self.steps + 1)
        else:
            self.schedule = ReduceLROnPlateau(self.optimiser, "max", PLATEAU_FACTOR, PLATEAU_EPOCHS)
        self.shared = self.team.wrap(self.network)

    def go_on(self, progress: Progress) -> None:
        self.network.load_state_dict(progress.weights)
        self._enter(next(stage for stage in self.stages if stage.begin <= progress.epoch < stage.end))
        self.optimiser.load_state_dict(progress.optimiser)
        self.schedule.load_state_dict(progress.schedule)
        self.averaged = {name: value.to(self.team.device) for name, value in progress.averaged.items()}
        self.best, self.best_epoch = progress.best, progress.best_epoch
        self.curve, self.epoch = list(progress.curve), progress.epoch

    def is_done(self) -> bool:
        """The stage in which all learn that ever will is the one whose patience counts."""
        waited = self.epoch - max(self.best_epoch, self.stages[-1].begin - 1)
        return self.epoch + 1 >= self.config.epochs or waited >= self.config.patience

    def learn(self) -> float:
        """The mean loss of one more epoch."""
        self.epoch += 1
        if self.epoch >= self.stage.end:
            self._enter(next(stage for stage in self.stages if stage.begin == self.epoch))
        draw = np.random.default_rng([*self.seeds, self.epoch])
        torch.manual_seed(int(draw.integers(2**31)) + self.team.rank)
        order = draw_rows(draw, self.training, self.positive, self.config.positive_share)
        losses = []
        for step in range(self.steps):
            rows = order[step * self.batch : (step + 1) * self.batch]
            batch = self.kind.vary(self.examples.take(rows), draw, self.config)
            losses.append(self._step(batch.take(np.arange(len(rows))[self.team.rank :: self.team.size])))
            if isinstance(self.schedule, OneCycleLR):
                self.schedule.step()
            self._average(self.epoch * self.steps + step)
        return float(torch.stack(losses).mean())

    def _step(self, batch: Examples) -> Tensor:
        # What is frozen keeps the running means of its batch norms too.
        self.network.eval()
        for part in self.learning:
            part.train()
        device = batch.targets.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.config.amp and device == "cuda"):
            outputs = self.shared(*batch.inputs)
        loss = self.kind.loss(outputs.float(), batch.targets)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def _average(self, step: int) -> None:
        """The running mean forgets fast at first: weights from before the first steps are worth nothing."""
        decay = min(self.config.average, (1 + step) / (10 + step))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.averaged[name].lerp_(value.detach(), 1 - decay)
            else:
                self.averaged[name].copy_(value)

    def note(self, figures: dict[str, float]) -> Progress:
        """Keeps the weights of the epoch where its figures are the best."""
        self.curve.append(figures)
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(figures["validation_ap"])
        if self.best_epoch < 0 or _level(self.curve) > _level(self.curve[: self.best_epoch + 1]):
            self.best = {name: value.detach().cpu().clone() for name, value in self.averaged.items()}
            self.best_epoch = self.epoch
        return Progress(
            self.epoch,
            _copy(self.network),
            self.averaged,
            self.best,
            self.best_epoch,
            self.optimiser.state_dict(),
            self.schedule.state_dict(),
            self.curve,
        )


def _level(curve: Sequence[dict[str, float]]) -> float:
    """Validation figure of the last epoch of a curve; a mean, as that of few stars jumps about."""
    return float(np.mean([figures["validation_ap"] for figures in curve[-STEADY_EPOCHS:]]))


def _copy(network: nn.Module) -> Weights:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def find_positives(examples: Examples) -> NDArray[np.bool_]:
    """(n,) rows with any target above 0."""
    return (examples.targets.reshape(len(examples), -1) > 0).any(1).cpu().numpy()


def draw_rows(draw: np.random.Generator, rows: Rows, positive: NDArray[np.bool_], positive_share: float | None) -> Rows:
    """The rows of an epoch, in the order they are shown in."""
    if positive_share is None:
        return draw.permutation(rows)
    drawn = positive[rows]
    weights = np.where(drawn, positive_share / drawn.sum(), (1 - positive_share) / (~drawn).sum())
    return draw.choice(rows, len(rows), p=weights)


def judge_examples(kind: Kind, network: nn.Module, held: Examples) -> dict[str, float]:
    """Loss, average precision and area under the ROC curve of rows that do not decide the weights."""
    outputs = score_examples(network, held)
    scores, positive = kind.reduce(outputs), find_positives(held)
    return {
        "validation_loss": float(kind.loss(torch.as_tensor(outputs), held.targets)),
        "validation_ap": average_precision(positive, scores),
        "validation_auc": roc_auc(positive, scores),
    }


def score_examples(network: nn.Module, examples: Examples) -> NDArray[np.float32]:
    """(n, ...) outputs in large batches: fast, for judging a training; `score` makes the ones that are reported."""
    network.eval()
    with torch.no_grad():
        parts = [
            network(*examples.take(np.arange(k, min(k + SCORED_AT_ONCE, len(examples)))).inputs)
            for k in range(0, len(examples), SCORED_AT_ONCE)
        ]
    return torch.cat(parts).numpy()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread for the length of the block: sums come in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
