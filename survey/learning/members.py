"""One member of an ensemble: a network trained on some stars, stopped by others.

Everything random is drawn anew for each epoch from the member's seeds and the epoch, so that a training that goes on
from a checkpoint ends with the same bits as one that was never interrupted. No Ray here: `fit` says when to report, how
many share the work and on what device.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from survey.config import TrainConfig
from survey.learning.metrics import average_precision, roc_auc
from survey.learning.models.resnet1d import ResNet1D, Shape

Rows = NDArray[np.intp]
Weights = dict[str, Tensor]

ROLL_ORBIT: Final = 3
ROLL_TRANSIT: Final = 1
"""Bins by which views are moved in training, either way: the epoch of a real signal is a little off."""

VIEW_NOISE: Final = 0.02
"""Depths of noise added to views in training."""

SCALAR_NOISE: Final = 0.05
"""Standard deviations of noise added to scalars in training."""

STEADY_EPOCHS: Final = 5
"""Epochs over which the validation figure is averaged."""

SCORED_AT_ONCE: Final = 1024


@dataclass(frozen=True)
class Examples:
    """Rows to learn from, as tensors: orbit (n, 1, bins), transit (n, 1 or 2, bins), scalars (n, k), labels (n,)."""

    orbit: Tensor
    transit: Tensor
    scalars: Tensor
    labels: Tensor

    def take(self, rows: Rows | Tensor) -> "Examples":
        index = torch.as_tensor(rows)
        return Examples(self.orbit[index], self.transit[index], self.scalars[index], self.labels[index])

    def to(self, device: torch.device) -> "Examples":
        return Examples(*(part.to(device) for part in (self.orbit, self.transit, self.scalars, self.labels)))


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


def train_member(
    examples: Examples,
    shape: Shape,
    training: Rows,
    validation: Rows,
    config: TrainConfig,
    seeds: Sequence[int],
    *,
    team: Team | None = None,
    progress: Progress | None = None,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> Member:
    """Trains to the last epoch, or until the validation rows have seen nothing better for `config.patience` epochs.

    What is kept is the running mean of the weights after the best epoch: that of the greatest average precision on the
    validation rows, as a mean over that epoch and the few before it. progress: where to go on.
    """
    team = team or Team()
    with one_thread() if team.device.type == "cpu" else contextlib.nullcontext():
        return _train(examples, shape, training, validation, config, seeds, team, progress, on_epoch)


def _train(
    examples: Examples,
    shape: Shape,
    training: Rows,
    validation: Rows,
    config: TrainConfig,
    seeds: Sequence[int],
    team: Team,
    progress: Progress | None,
    on_epoch: Callable[[Progress], None],
) -> Member:
    torch.manual_seed(int(np.random.default_rng(list(seeds)).integers(2**31)))
    network = ResNet1D(shape).to(team.device)
    _set_scales(network, examples.scalars[torch.as_tensor(training)])
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    steps = max(1, len(training) // config.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=config.epochs * steps + 1
    )
    averaged = _copy(network)
    best, best_epoch, curve, first = averaged, -1, [], 0
    if progress is not None:
        network.load_state_dict(progress.weights)
        optimiser.load_state_dict(progress.optimiser)
        schedule.load_state_dict(progress.schedule)
        averaged, best, best_epoch = progress.averaged, progress.best, progress.best_epoch
        curve, first = list(progress.curve), progress.epoch + 1
    judge = ResNet1D(shape)
    held = examples.take(validation)
    examples = examples.to(team.device)
    averaged = {name: value.to(team.device) for name, value in averaged.items()}
    shared = team.wrap(network)
    for epoch in range(first, config.epochs):
        if epoch - 1 - best_epoch >= config.patience:
            break
        draw = np.random.default_rng([*seeds, epoch])
        torch.manual_seed(int(draw.integers(2**31)) + team.rank)
        order = _draw_rows(draw, training, examples.labels, config.positive_share)
        losses = []
        for step in range(steps):
            rows = order[step * config.batch : (step + 1) * config.batch]
            batch = _vary(examples.take(rows), draw, config.missing_share)
            losses.append(_learn(shared, optimiser, batch.take(np.arange(len(rows))[team.rank :: team.size]), config))
            schedule.step()
            _average(averaged, network, config.average)
        judge.load_state_dict(averaged)
        figures = team.agree({"epoch": epoch, "loss": float(torch.stack(losses).mean())} | _judge(judge, held))
        curve.append(figures)
        if best_epoch < 0 or _level(curve) > _level(curve[: best_epoch + 1]):
            best, best_epoch = {name: value.detach().cpu().clone() for name, value in averaged.items()}, epoch
        progress = Progress(
            epoch, _copy(network), averaged, best, best_epoch, optimiser.state_dict(), schedule.state_dict(), curve
        )
        on_epoch(progress)
    return Member(best, best_epoch, curve)


def _level(curve: Sequence[dict[str, float]]) -> float:
    """Validation figure of the last epoch of a curve; a mean, as that of few stars jumps about."""
    return float(np.mean([figures["validation_ap"] for figures in curve[-STEADY_EPOCHS:]]))


def _copy(network: nn.Module) -> Weights:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _set_scales(network: ResNet1D, scalars: Tensor) -> None:
    """Mean and standard deviation of each scalar over the training rows that have it."""
    for k in range(scalars.shape[1]):
        known = scalars[:, k][~scalars[:, k].isnan()]
        if len(known) > 1:
            network.center[k] = known.mean()
            network.scale[k] = known.std().clamp(min=1e-6)


def _draw_rows(draw: np.random.Generator, rows: Rows, labels: Tensor, positive_share: float | None) -> Rows:
    """The rows of an epoch, in the order they are shown in."""
    if positive_share is None:
        return draw.permutation(rows)
    positive = labels[torch.as_tensor(rows)].cpu().numpy() > 0.5
    weights = np.where(positive, positive_share / positive.sum(), (1 - positive_share) / (~positive).sum())
    return draw.choice(rows, len(rows), p=weights)


def _vary(batch: Examples, draw: np.random.Generator, missing_share: float) -> Examples:
    """The batch with views turned round in time, moved and noisy, and with scalars hidden."""
    n, device = len(batch.labels), batch.orbit.device
    turned = torch.as_tensor(draw.random(n) < 0.5, device=device)[:, None, None]
    hidden = torch.as_tensor(draw.random(n) < missing_share, device=device)[:, None]
    orbit = torch.where(turned, batch.orbit.flip(-1), batch.orbit)
    transit = torch.where(turned, batch.transit.flip(-1), batch.transit)
    orbit = orbit.roll(int(draw.integers(-ROLL_ORBIT, ROLL_ORBIT + 1)), -1)
    transit = transit.roll(int(draw.integers(-ROLL_TRANSIT, ROLL_TRANSIT + 1)), -1)
    orbit, transit = (
        view + VIEW_NOISE * torch.as_tensor(draw.standard_normal(view.shape, np.float32), device=device)
        for view in (orbit, transit)
    )
    noise = torch.as_tensor(draw.standard_normal(batch.scalars.shape, np.float32), device=device)
    return Examples(orbit, transit, torch.where(hidden, torch.nan, batch.scalars + SCALAR_NOISE * noise), batch.labels)


def _learn(network: nn.Module, optimiser: torch.optim.Optimizer, batch: Examples, config: TrainConfig) -> Tensor:
    network.train()
    half = config.amp and batch.orbit.device.type == "cuda"
    with torch.autocast(batch.orbit.device.type, torch.bfloat16, enabled=half):
        logits = network(batch.orbit, batch.transit, batch.scalars)
    loss = functional.binary_cross_entropy_with_logits(logits.float(), batch.labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()


def _average(averaged: Weights, network: nn.Module, decay: float) -> None:
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            averaged[name].lerp_(value.detach(), 1 - decay)
        else:
            averaged[name].copy_(value)


def _judge(network: ResNet1D, held: Examples) -> dict[str, float]:
    logits = score_examples(network, held)
    labels = held.labels.numpy() > 0.5
    loss = functional.binary_cross_entropy_with_logits(torch.as_tensor(logits), held.labels)
    return {
        "validation_loss": float(loss),
        "validation_ap": average_precision(labels, logits),
        "validation_auc": roc_auc(labels, logits),
    }


def score_examples(network: ResNet1D, examples: Examples) -> NDArray[np.float32]:
    """(n,) logits in large batches: fast, for judging a training; `score` makes the ones that are reported."""
    network.eval()
    with torch.no_grad():
        parts = [
            network(part.orbit, part.transit, part.scalars)
            for part in (
                examples.take(np.arange(k, min(k + SCORED_AT_ONCE, len(examples.labels))))
                for k in range(0, len(examples.labels), SCORED_AT_ONCE)
            )
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
