"""A one-dimensional Inception-ResNet on windows of a light curve, which knows neither period nor epoch of a transit.

A stem of one convolution and a maximum over neighbouring bins, then two stacks of residual blocks, the second wider.
The branches of a block look through kernels of several widths, so that dips of an hour and of half a day are seen at
once (Szegedy et al. 2017; Ismail Fawaz et al. 2020 for series). Whole feature maps are dropped in training. What the
blocks found is averaged over time, and one layer makes a logit of it.

Widths of 64 and 96 channels with `pooling="mean"` are those of the seed of this design; `Shape`'s own are smaller,
and add the maximum over time to the mean: a single transit takes a hundredth of a window.
"""

from typing import Annotated, Final, Literal

import numpy as np
import pydantic
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from survey.config import Frozen, TrainConfig
from survey.learning.examples import Examples
from survey.learning.models.kind import Floats, Kind
from survey.signals.segments import SegmentSpec

STEM_KERNEL: Final = 7
STEM_POOL: Final = 4
"""Bins of which the stem keeps the maximum."""

NOISE: Final = 0.1
"""Standard deviations of noise added to segments in training, at most."""

STRETCH: Final = 0.15
"""Share by which the scale of a segment is changed in training, at most."""

Width = Annotated[int, Field(ge=2, le=512)]
Kernel = Annotated[int, Field(ge=1, le=127)]


class Shape(Frozen):
    """window, channels: of a segment; widths: channels of the two stacks; depth: blocks in each; kernels: of the
    branches of a block, in bins after the stem; spatial_dropout: share of feature maps that are dropped."""

    window: int = Field(1024, ge=16, le=16_384)
    channels: Literal[1, 2] = 2
    widths: tuple[Width, Width] = (16, 32)
    depth: int = Field(2, ge=1, le=8)
    kernels: tuple[Kernel, ...] = Field((3, 7, 15), min_length=1, max_length=6)
    pooling: Literal["mean", "mean_and_max"] = "mean_and_max"
    spatial_dropout: float = Field(0.1, ge=0, lt=1)
    dropout: float = Field(0.3, ge=0, lt=1)

    @pydantic.field_validator("kernels")
    @classmethod
    def _check_kernels(cls, kernels: tuple[int, ...]) -> tuple[int, ...]:
        if any(size % 2 == 0 for size in kernels):
            raise ValueError("kernels are odd, so that they have a middle")
        return kernels


class Block(nn.Module):
    """(batch, width, bins) to the same: branches behind a narrow layer, joined and added to what came in."""

    def __init__(self, width: int, kernels: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        narrow = max(1, width // 2)
        self.narrow = nn.Conv1d(width, narrow, 1, bias=False)
        self.narrow_norm = nn.BatchNorm1d(narrow)
        self.branches = nn.ModuleList(nn.Conv1d(narrow, narrow, size, padding="same", bias=False) for size in kernels)
        self.branch_norm = nn.BatchNorm1d(narrow * len(kernels))
        self.join = nn.Conv1d(narrow * len(kernels), width, 1, bias=False)
        self.join_norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, light: Tensor) -> Tensor:
        narrow = functional.relu(self.narrow_norm(self.narrow(light)))
        seen = torch.cat([branch(narrow) for branch in self.branches], 1)
        joined = self.join_norm(self.join(functional.relu(self.branch_norm(seen))))
        return functional.relu(light + self.dropout(joined))


class InceptionResNet1D(nn.Module):
    """(batch, channels, window) to (batch,) logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        first, second = shape.widths
        self.stem = nn.Conv1d(shape.channels, first, STEM_KERNEL, padding="same", bias=False)
        self.stem_norm = nn.BatchNorm1d(first)
        self.first = nn.Sequential(*(Block(first, shape.kernels, shape.spatial_dropout) for _ in range(shape.depth)))
        self.widen = nn.Conv1d(first, second, 1, bias=False)
        self.widen_norm = nn.BatchNorm1d(second)
        self.second = nn.Sequential(*(Block(second, shape.kernels, shape.spatial_dropout) for _ in range(shape.depth)))
        self.with_maximum = shape.pooling == "mean_and_max"
        self.dropout = nn.Dropout(shape.dropout)
        self.logit = nn.Linear(second * (1 + self.with_maximum), 1)

    def forward(self, light: Tensor) -> Tensor:
        # Depths span four decades: logarithms of the deep ones, the shallow ones as they are.
        found = functional.relu(self.stem_norm(self.stem(torch.asinh(light))))
        found = self.first(functional.max_pool1d(found, STEM_POOL))
        found = functional.relu(self.widen_norm(self.widen(functional.max_pool1d(found, 2))))
        found = self.second(found)
        pooled = [found.mean(-1)]
        if self.with_maximum:
            pooled.append(found.amax(-1))
        return self.logit(self.dropout(torch.cat(pooled, 1)))[:, 0]


def vary(batch: Examples, draw: np.random.Generator, config: TrainConfig) -> Examples:
    """Segments turned round in time, stretched a little in flux, with a little more noise where anything was measured.

    Bins without data stay 0, as they are in every segment.
    """
    (light,) = batch.inputs
    n, device = len(light), light.device
    turned = torch.as_tensor(draw.random(n) < 0.5, device=device)[:, None, None]
    scale = torch.as_tensor(1 + STRETCH * draw.uniform(-1, 1, n).astype(np.float32), device=device)[:, None, None]
    noise = torch.as_tensor(NOISE * draw.random(n, np.float32), device=device)[:, None, None]
    drawn = torch.as_tensor(draw.standard_normal(light.shape, np.float32), device=device)
    light = torch.where(turned, light.flip(-1), light) * scale
    return Examples((torch.where(light == 0, 0.0, light + noise * drawn),), batch.targets)


def find_blocks(network: nn.Module) -> list[nn.Module]:
    """The head, then the blocks from the last to the stem."""
    assert isinstance(network, InceptionResNet1D)
    stem = nn.ModuleList([network.stem, network.stem_norm])
    widen = nn.ModuleList([network.widen, network.widen_norm])
    return [network.logit, *reversed([stem, *network.first, widen, *network.second])]


def find_facts(examples: Examples, inputs: SegmentSpec) -> dict[str, Floats]:
    """How much of a segment was measured, and how deep and how high its flux goes, in logarithms of robust sigmas."""
    light = examples.inputs[0].numpy()
    flat = light[:, -1]
    return {
        "measured_share": (flat != 0).mean(-1),
        "deepest": np.log10(1 - flat.min(-1)),
        "highest": np.log10(1 + flat.max(-1)),
    }


def check(shape: Shape, inputs: SegmentSpec) -> None:
    if (shape.window, shape.channels) != (inputs.window, inputs.channels):
        read, cut = (f"{side.channels} x {side.window}" for side in (shape, inputs))
        raise ValueError(f"the network reads {read} bins, segments have {cut}")
    if shape.window < 2 * STEM_POOL:
        raise ValueError(f"a window of {shape.window} bins is too short for this network")


KIND: Final = Kind(
    name="inception1d",
    shape=Shape,
    inputs=SegmentSpec,
    make=InceptionResNet1D,
    loss=functional.binary_cross_entropy_with_logits,
    vary=vary,
    blocks=find_blocks,
    facts=find_facts,
    check=check,
    words="one-dimensional Inception-ResNet on segments of light curves",
    batch=16,
    limits=(
        "A segment says that a dip looks like a transit or an eclipse, not that it comes back, nor whose it is.",
        "Probabilities hold at the share of segments with transits of the training set; few real segments have one.",
    ),
)
