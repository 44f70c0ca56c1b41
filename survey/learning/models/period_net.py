"""A one-dimensional network on a star's folded spectrum: which periods it has, as weights over bins of period.

What a spectrum shows of a planet looks the same at any period: a narrow peak above what noise makes of the star, and
echoes at fixed distances in the logarithm, at half, twice, a third and three times the period. So the network slides
over the logarithm of the period, and is shown the spectrum at those harmonics beside it.
"""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from survey.config import Frozen, TrainConfig
from survey.learning.examples import Examples
from survey.learning.models.kind import Floats, Kind
from survey.signals.search.profile import CHANNELS, PeriodBins

HARMONICS: Final = (1 / 3, 1 / 2, 2.0, 3.0)
"""Multiples of a period at which the spectrum is shown beside it."""

NEVER: Final = -12.0
"""Logit of a bin that the light curve is too short for."""

RARE: Final = -4.5
"""Logit of every bin before anything is learnt: few of them hold a planet."""

STRETCH: Final = 0.15
"""A spectrum may be this much higher or lower in training, in logarithms: noise is not known better."""

NOISE: Final = 0.05
"""Logarithms of noise that is added to a spectrum in training."""


class Shape(Frozen):
    """d = `bins` bins of period, each seen as `finer` parts; `octave`: parts to the double period; width: channels
    between the layers; dilations: of the blocks."""

    bins: int = Field(100, ge=1, le=4096)
    finer: int = Field(4, ge=1, le=16)
    octave: float = Field(gt=0, le=65_536)
    width: int = Field(16, ge=1, le=512)
    dilations: tuple[int, ...] = Field((1, 3, 9), min_length=1, max_length=8)
    dropout: float = Field(0.2, ge=0, lt=1)

    def model_post_init(self, context: object) -> None:
        if not all(1 <= step <= 1024 for step in self.dilations):
            raise ValueError("dilations are 1 to 1024")


class Inputs(Frozen):
    """Periods (days) of the bins, each seen as `finer` parts of a `profile.make_profile`."""

    low: float = Field(1.0, gt=0, allow_inf_nan=False)
    high: float = Field(40.0, gt=0, allow_inf_nan=False)
    bins: int = Field(100, ge=1, le=4096)
    finer: int = Field(4, ge=1, le=16)

    def model_post_init(self, context: object) -> None:
        if not self.high > self.low:
            raise ValueError(f"the longest period, {self.high:g} d, is not above the shortest, {self.low:g} d")

    def period_bins(self) -> PeriodBins:
        return PeriodBins(self.low, self.high, self.bins)

    def shape(self) -> Shape:
        """The shape of a network for these inputs."""
        octave = math.log(2) / self.period_bins().finer(self.finer).log_width
        return Shape(bins=self.bins, finer=self.finer, octave=octave)


def check(shape: Shape, inputs: Inputs) -> None:
    wanted = inputs.shape()
    if (shape.bins, shape.finer) != (wanted.bins, wanted.finer) or not math.isclose(shape.octave, wanted.octave):
        raise ValueError("the network's bins are not those of its inputs")


class Block(nn.Module):
    """Two convolutions of one dilation beside a short cut."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.wide = nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation, bias=False)
        self.wide_norm = nn.BatchNorm1d(width)
        self.mix = nn.Conv1d(width, width, 1, bias=False)
        self.mix_norm = nn.BatchNorm1d(width)

    def forward(self, found: Tensor) -> Tensor:
        more = self.mix_norm(self.mix(functional.relu(self.wide_norm(self.wide(found)))))
        return functional.relu(found + more)


class PeriodNet(nn.Module):
    """(batch, channels, bins x finer) profiles and (batch, 1) log10 baselines to (batch, bins) logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        shown = 2 * len(CHANNELS) + len(HARMONICS) + 1
        self.stem = nn.Conv1d(shown, shape.width, 5, padding=2, bias=False)
        self.stem_norm = nn.BatchNorm1d(shape.width)
        self.near = nn.Sequential(*(Block(shape.width, dilation) for dilation in shape.dilations))
        self.whole = nn.Linear(2 * shape.width, shape.width)
        self.far = Block(shape.width, 1)
        self.dropout = nn.Dropout(shape.dropout)
        self.weight = nn.Conv1d(2 * shape.width, 1, 1)
        assert self.weight.bias is not None
        nn.init.constant_(self.weight.bias, RARE)

    def forward(self, profiles: Tensor, baselines: Tensor) -> Tensor:
        shown = self._show(profiles, baselines)
        found = self.near(functional.relu(self.stem_norm(self.stem(shown))))
        star = functional.relu(self.whole(torch.cat([found.mean(-1), found.amax(-1)], 1)))
        found = self.dropout(self.far(found + star[:, :, None]))
        parts = found.unflatten(-1, (self.shape.bins, self.shape.finer))
        logits = self.weight(torch.cat([parts.amax(-1), parts.mean(-1)], 1))[:, 0]
        covered = profiles[:, -1].unflatten(-1, (self.shape.bins, self.shape.finer)).amax(-1) > 0
        return torch.where(covered, logits, NEVER)

    def _show(self, profiles: Tensor, baselines: Tensor) -> Tensor:
        """The spectra in logarithms and over their own maxima, the first at its harmonics, the length of the data."""
        spectra, covered = profiles[:, :-1], profiles[:, -1:]
        logs = spectra.clamp(min=0).log1p()
        highest = logs.amax(-1, keepdim=True)
        echoes = [_moved(logs[:, :1], round(self.shape.octave * math.log2(ratio))) for ratio in HARMONICS]
        length = baselines[:, :, None].expand(-1, -1, logs.shape[-1])
        return torch.cat([logs, covered, (logs - highest) * covered, highest[:, :1] * covered, *echoes, length], 1)


def _moved(spectra: Tensor, steps: int) -> Tensor:
    """What stands `steps` parts further on, the best of it and its neighbours; 0 beyond the ends."""
    best = functional.max_pool1d(spectra, 3, stride=1, padding=1)
    length = best.shape[-1]
    steps = max(-length, min(length, steps))
    if steps >= 0:
        return functional.pad(best[..., steps:], (0, steps))
    return functional.pad(best[..., :steps], (-steps, 0))


def any_period(outputs: Tensor) -> Tensor:
    """(n,) logits that there is a planet at all, were the (n, d) bins independent of each other."""
    nothing = functional.softplus(outputs).sum(-1).clamp(min=LEAST_ODDS)
    return nothing + (-torch.expm1(-nothing)).log()


LEAST_ODDS: Final = 1e-12


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of every bin, and of there being a planet at all: the bins hardly notice stars without one."""
    each = functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").sum(-1)
    whether = targets.amax(-1).gt(0).to(outputs.dtype)
    star = functional.binary_cross_entropy_with_logits(any_period(outputs), whether, reduction="none")
    return (each + star).mean()


def reduce(outputs: Floats) -> Floats:
    """`any_period` of (..., d) arrays."""
    nothing = np.maximum(np.logaddexp(0, np.asarray(outputs, np.float64)).sum(-1), LEAST_ODDS)
    return nothing + np.log(-np.expm1(-nothing))


def vary(batch: Examples, draw: np.random.Generator, config: TrainConfig) -> Examples:
    """The batch with spectra a little higher or lower as a whole, and noisy."""
    profiles, baselines = batch.inputs
    n, device = len(batch), profiles.device
    levels = draw.uniform(-STRETCH, STRETCH, (n, 1, 1)) + NOISE * draw.standard_normal(profiles.shape)
    factors = torch.as_tensor(np.exp(levels).astype(np.float32), device=device)
    return Examples((torch.cat([profiles[:, :-1] * factors[:, :-1], profiles[:, -1:]], 1), baselines), batch.targets)


def blocks(network: nn.Module) -> list[nn.Module]:
    assert isinstance(network, PeriodNet)
    return [network.weight, network.far, network.whole, network.near, network.stem]


def facts(examples: Examples, inputs: Inputs) -> Mapping[str, Floats]:
    """How long the light curve is, how much higher the spectrum is than noise makes it, and the same upside down."""
    profiles, baselines = examples.inputs
    highest = profiles.amax(-1)
    return {
        "log_baseline_d": baselines[:, 0].numpy(),
        "highest_snr": highest[:, CHANNELS.index("scaled")].numpy(),
        "highest_inverted": highest[:, CHANNELS.index("inverted")].numpy(),
    }


def make_examples(
    profiles: NDArray[np.float32], baselines: NDArray[np.float64], weights: NDArray[np.float32]
) -> Examples:
    """(n, channels, parts) profiles, (n,) baselines in days and (n, d) weights as the network reads them."""
    logs = np.log10(np.maximum(baselines, 0.1)).astype(np.float32)[:, None]
    return Examples(
        (torch.from_numpy(np.ascontiguousarray(profiles)), torch.from_numpy(logs)), torch.from_numpy(weights)
    )


KIND = Kind(
    name="period_net",
    shape=Shape,
    inputs=Inputs,
    make=PeriodNet,
    loss=loss,
    vary=vary,
    blocks=blocks,
    facts=facts,
    reduce=reduce,
    check=check,
    batch=1,
    words="convolutional, along the logarithm of the period on the spectrum of the fast folding search",
    limits=(
        "It says nothing of periods outside its bins, nor of those that fit into the light curve less than twice.",
        "It has seen no eclipsing binaries: they are periods to it as much as planets are.",
    ),
)
