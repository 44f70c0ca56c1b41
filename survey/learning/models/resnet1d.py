"""A one-dimensional residual network on the views of a signal and a few scalars beside them.

One tower of residual blocks (He et al. 2016) reads the global view, another the local view with the secondary view as
its second channel; mean and maximum along each tower, and the scalars with flags of what is missing, go through one
hidden layer to one logit, as in Shallue & Vanderburg (2018) and Yu et al. (2019).
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

CLIP: Final = 3.0
"""Views are cut at this many depths: a spike says no more than that there is one."""

SCALAR_CLIP: Final = 5.0
"""Scalars are cut at this many standard deviations."""

SHORTEST: Final = 8
"""A tower halves its view until fewer than twice this many bins are left."""


@dataclass(frozen=True)
class Shape:
    """What a network reads: bins of both views, whether there is a secondary view, number of scalars.

    channels: of the blocks of a tower; hidden: width of the last layer.
    """

    global_bins: int
    local_bins: int
    secondary: bool = False
    scalars: int = 0
    channels: tuple[int, ...] = (16, 24, 32, 48)
    hidden: int = 64
    dropout: float = 0.3


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
