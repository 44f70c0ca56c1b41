"""A one-dimensional residual network on the views of a signal and a few scalars beside them.

One tower of residual blocks (He et al. 2016) reads the global view, another the local view with the secondary view as
its second channel; mean and maximum along each tower, and the scalars with flags of what is missing, go through one
hidden layer to one logit, as in Shallue & Vanderburg (2018) and Yu et al. (2019).
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pydantic
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from survey.config import Frozen, TrainConfig
from survey.learning.examples import Examples
from survey.learning.models.kind import Kind

CLIP: Final = 3.0
"""Views are cut at this many depths: a spike says no more than that there is one."""

SCALAR_CLIP: Final = 5.0
"""Scalars are cut at this many standard deviations."""

SHORTEST: Final = 8
"""A tower halves its view until fewer than twice this many bins are left."""


class Shape(Frozen):
    """What a network reads: bins of both views, whether there is a secondary view, number of scalars.

    channels: of the blocks of a tower; hidden: width of the last layer.
    """

    global_bins: int = Field(ge=16, le=16_384)
    local_bins: int = Field(ge=16, le=16_384)
    secondary: bool = False
    scalars: int = Field(0, ge=0, le=64)
    channels: tuple[int, ...] = Field((16, 24, 32, 48), min_length=1, max_length=8)
    hidden: int = Field(64, ge=1, le=4096)
    dropout: float = Field(0.3, ge=0, lt=1)

    @pydantic.field_validator("channels")
    @classmethod
    def _check_channels(cls, channels: tuple[int, ...]) -> tuple[int, ...]:
        if not all(1 <= width <= 1024 for width in channels):
            raise ValueError("channels are 1 to 1024")
        return channels


class Inputs(Frozen):
    """What the network is shown: the form of the views and the scalars, in order."""

    view_spec: str | None
    scalars: tuple[str, ...]


LEAST_LOG: Final = {"period": 1e-3, "duration_h": 1e-2, "depth_ppm": 1.0, "snr": 0.1, "mes": 1.0}
"""Scalars that enter as logarithms, and the least value that each is set to."""

STEM_BINS: Final = 128
"""Longer views are halved by the first layer already."""


class Block(nn.Module):
    """Two convolutions beside a short cut, to half the length."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.shrink = nn.Conv1d(before, after, 5, stride=2, padding=2, bias=False)
        self.shrink_norm = nn.BatchNorm1d(after)
        self.keep = nn.Conv1d(after, after, 5, padding=2, bias=False)
        self.keep_norm = nn.BatchNorm1d(after)
        self.short_cut = nn.Conv1d(before, after, 1, stride=2, bias=False)

    def forward(self, light: Tensor) -> Tensor:
        found = functional.relu(self.shrink_norm(self.shrink(light)))
        return functional.relu(self.short_cut(light) + self.keep_norm(self.keep(found)))


class Tower(nn.Module):
    """Blocks that halve (batch, views, bins) until few bins are left: (batch, 2 x channels) means and maxima."""

    def __init__(self, views: int, bins: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        widths = block_widths(bins, channels)
        self.stem = nn.Conv1d(views, widths[0], 7, stride=2 if bins > STEM_BINS else 1, padding=3, bias=False)
        self.stem_norm = nn.BatchNorm1d(widths[0])
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip((widths[0], *widths[:-1]), widths, strict=True)))
        self.features = 2 * widths[-1]

    def forward(self, views: Tensor) -> Tensor:
        found = self.blocks(functional.relu(self.stem_norm(self.stem(views))))
        return torch.cat([found.mean(-1), found.amax(-1)], 1)


def block_widths(bins: int, channels: tuple[int, ...]) -> tuple[int, ...]:
    """Channels of the blocks of a tower for a view of so many bins: long views begin with more of the narrow ones."""
    left = bins // 2 if bins > STEM_BINS else bins
    count = 1
    while left // 2**count >= 2 * SHORTEST:
        count += 1
    return (channels[0],) * (count - len(channels)) + channels[:count]


class ResNet1D(nn.Module):
    """(batch, 1, global bins), (batch, 1 or 2, local bins) and (batch, scalars) to (batch,) logits.

    Scalars that are NaN are missing. `center` and `scale`, mean and standard deviation of the scalars of the training
    rows, belong to the weights.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.orbit = Tower(1, shape.global_bins, shape.channels)
        self.transit = Tower(2 if shape.secondary else 1, shape.local_bins, shape.channels)
        self.register_buffer("center", torch.zeros(shape.scalars))
        self.register_buffer("scale", torch.ones(shape.scalars))
        features = self.orbit.features + self.transit.features
        self.facts = nn.Linear(2 * shape.scalars, 32) if shape.scalars else None
        self.hidden = nn.Linear(features + (32 if shape.scalars else 0), shape.hidden)
        self.dropout = nn.Dropout(shape.dropout)
        self.logit = nn.Linear(shape.hidden, 1)

    def forward(self, orbit: Tensor, transit: Tensor, scalars: Tensor) -> Tensor:
        found = [self.orbit(orbit.clamp(-CLIP, CLIP)), self.transit(transit.clamp(-CLIP, CLIP))]
        if self.facts is not None:
            missing = scalars.isnan()
            level = ((scalars - self.center) / self.scale).clamp(-SCALAR_CLIP, SCALAR_CLIP)
            level = torch.where(missing, 0.0, level)
            found.append(functional.relu(self.facts(torch.cat([level, missing.to(level.dtype)], 1))))
        return self.logit(self.dropout(functional.relu(self.hidden(torch.cat(found, 1)))))[:, 0]


# How it learns

ROLL_ORBIT: Final = 3
ROLL_TRANSIT: Final = 1
"""Bins by which views are moved in training, either way: the epoch of a real signal is a little off."""

VIEW_NOISE: Final = 0.02
"""Depths of noise added to views in training."""

SCALAR_NOISE: Final = 0.05
"""Standard deviations of noise added to scalars in training."""


def check(shape: Shape, inputs: Inputs) -> None:
    if len(inputs.scalars) != shape.scalars:
        raise ValueError(f"{len(inputs.scalars)} names for {shape.scalars} scalars")


def set_scales(network: nn.Module, examples: Examples) -> None:
    """Mean and standard deviation of each scalar over the rows that have it."""
    assert isinstance(network, ResNet1D)
    scalars = examples.inputs[2]
    for k in range(scalars.shape[1]):
        known = scalars[:, k][~scalars[:, k].isnan()]
        if len(known) > 1:
            network.center[k] = known.mean()
            network.scale[k] = known.std().clamp(min=1e-6)


def vary(batch: Examples, draw: np.random.Generator, config: TrainConfig) -> Examples:
    """The batch with views turned round in time, moved and noisy, and with scalars hidden."""
    orbit, transit, scalars = batch.inputs
    n, device = len(batch), orbit.device
    turned = torch.as_tensor(draw.random(n) < 0.5, device=device)[:, None, None]
    hidden = torch.as_tensor(draw.random(n) < config.missing_share, device=device)[:, None]
    orbit = torch.where(turned, orbit.flip(-1), orbit)
    transit = torch.where(turned, transit.flip(-1), transit)
    orbit = orbit.roll(int(draw.integers(-ROLL_ORBIT, ROLL_ORBIT + 1)), -1)
    transit = transit.roll(int(draw.integers(-ROLL_TRANSIT, ROLL_TRANSIT + 1)), -1)
    orbit, transit = (
        view + VIEW_NOISE * torch.as_tensor(draw.standard_normal(view.shape, np.float32), device=device)
        for view in (orbit, transit)
    )
    noise = torch.as_tensor(draw.standard_normal(scalars.shape, np.float32), device=device)
    scalars = torch.where(hidden, torch.nan, scalars + SCALAR_NOISE * noise)
    return Examples((orbit, transit, scalars), batch.targets)


def find_blocks(network: nn.Module) -> list[nn.Module]:
    """The head, then the blocks of both towers from the last to the first, then their stems."""
    assert isinstance(network, ResNet1D)
    towers = (network.orbit, network.transit)
    head = [network.hidden, network.dropout, network.logit]
    depth = max(len(tower.blocks) for tower in towers)
    return [
        nn.ModuleList([*head, network.facts] if network.facts is not None else head),
        *(nn.ModuleList([t.blocks[-k] for t in towers if len(t.blocks) >= k]) for k in range(1, depth + 1)),
        nn.ModuleList([part for tower in towers for part in (tower.stem, tower.stem_norm)]),
    ]


def find_facts(examples: Examples, inputs: Any) -> Mapping[str, NDArray[np.floating]]:
    """The scalars in their own units, and how far the global view scatters, in depths."""
    orbit, _, scalars = (part.numpy() for part in examples.inputs)
    entered = {name: scalars[:, k].astype(np.float64) for k, name in enumerate(inputs.scalars)}
    named = {name: 10**values if name in LEAST_LOG else values for name, values in entered.items()}
    return named | {"view_scatter": np.clip(orbit[:, 0], -CLIP, CLIP).std(-1, dtype=np.float64)}


KIND: Final = Kind(
    name="resnet1d",
    shape=Shape,
    inputs=Inputs,
    make=ResNet1D,
    loss=functional.binary_cross_entropy_with_logits,
    vary=vary,
    blocks=find_blocks,
    facts=find_facts,
    prepare=set_scales,
    check=check,
    words="residual network on a global and a local view, and on scalars any of which may be missing",
    limits=("It has seen the light curve alone: neither pixels nor neighbours. A blend looks like a planet to it.",),
)
