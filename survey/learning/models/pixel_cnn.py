"""A small two-dimensional network on the difference image of a signal: does the light that is lost come from the
target?

Three convolutions of 3 x 3 with their biases, each with batch normalisation, the first two with a maximum over 2 x 2
pixels, then the mean over what is left and two linear layers: 25,633 parameters whatever the size of the image. The
mean forgets places, but the rim of zeros that a convolution sets about an image does not: how far a source lies from
the rim tells it from one in the middle, where the target is.
"""

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from survey.config import Frozen, TrainConfig
from survey.learning.examples import Examples
from survey.learning.models.kind import Floats, Kind

SIZE: Final = 24
"""Pixels along a side of the images that are learnt from; the target is in pixel 12 of either axis, counted from 0."""

LEAST_SIDE: Final = 4
"""Shorter sides are nothing after two halvings."""

JITTER: Final = 1
"""Pixels by which images are moved in training along an axis, either way: coordinates of targets are a little off."""

JITTER_SHARE: Final = 0.3
"""Images of a batch that are moved: of all of them, none would show that a pixel beside the target is beside it."""

NOISE: Final = 0.1
"""Standard deviations of an image that are added to it as noise in training, at most."""


class Shape(Frozen):
    """channels: of the three convolutions; hidden: width of the layer before the last."""

    channels: tuple[int, int, int] = (16, 32, 64)
    hidden: int = Field(32, ge=1, le=1024)
    dropout: float = Field(0.3, ge=0, lt=1)

    def model_post_init(self, context: object) -> None:
        if not all(1 <= width <= 512 for width in self.channels):
            raise ValueError("channels are 1 to 512")


class Inputs(Frozen):
    """How an image is made from a stack of difference images: `sets.pixels.make_images`."""

    image: Literal["median-24"] = "median-24"


class PixelCNN(nn.Module):
    """(batch, 1, rows, columns), standardised, at least LEAST_SIDE pixels a side, to (batch,) logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        first, second, third = shape.channels
        self.first = nn.Sequential(nn.Conv2d(1, first, 3, padding=1), nn.BatchNorm2d(first), nn.ReLU(), nn.MaxPool2d(2))
        self.second = nn.Sequential(
            nn.Conv2d(first, second, 3, padding=1), nn.BatchNorm2d(second), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.third = nn.Sequential(
            nn.Conv2d(second, third, 3, padding=1), nn.BatchNorm2d(third), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(shape.dropout),
            nn.Linear(third, shape.hidden),
            nn.ReLU(),
            nn.Linear(shape.hidden, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.third(self.second(self.first(images))))
        return logits[:, 0]


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(outputs, targets)


def vary(batch: Examples, draw: np.random.Generator, config: TrainConfig) -> Examples:
    """The batch with images mirrored and turned about the target, noisy, and some of them moved by a pixel."""
    (images,) = batch.inputs
    n, device = len(batch), images.device
    for turn in (_mirror_rows, _mirror_columns, _swap_axes):
        chosen = torch.as_tensor(draw.random(n) < 0.5, device=device)[:, None, None, None]
        images = torch.where(chosen, turn(images), images)
    steps = draw.integers(-JITTER, JITTER + 1, (n, 2)) * (draw.random(n) < JITTER_SHARE)[:, None]
    images = torch.stack([_move(image, *step) for image, step in zip(images, steps.tolist(), strict=True)])
    levels = torch.as_tensor(draw.uniform(0, NOISE, (n, 1, 1, 1)).astype(np.float32), device=device)
    noise = torch.as_tensor(draw.standard_normal(images.shape, np.float32), device=device)
    return Examples((images + levels * noise,), batch.targets)


def _mirror_rows(images: Tensor) -> Tensor:
    """Pixel i to SIZE - i: the target's, SIZE / 2, stays."""
    return images.flip(-2).roll(1, -2)


def _mirror_columns(images: Tensor) -> Tensor:
    return images.flip(-1).roll(1, -1)


def _swap_axes(images: Tensor) -> Tensor:
    return images.transpose(-1, -2)


def _move(image: Tensor, down: int, right: int) -> Tensor:
    """An image moved by a pixel at most; what enters is 0, the mean."""
    if not down and not right:
        return image
    rows, columns = image.shape[-2:]
    wide = functional.pad(image, (1, 1, 1, 1))
    return wide[..., 1 - down : 1 - down + rows, 1 - right : 1 - right + columns]


def blocks(network: nn.Module) -> list[nn.Module]:
    assert isinstance(network, PixelCNN)
    return [network.head, network.third, network.second, network.first]


def facts(examples: Examples, inputs: Inputs) -> Mapping[str, Floats]:
    """The brightest and the faintest pixel, in standard deviations, and how many were observed: beside a cutout all
    pixels are one number, that of the corner unless the cutout reaches there."""
    images = examples.inputs[0][:, 0].flatten(1)
    return {
        "image_peak": images.amax(1).numpy(),
        "image_trough": images.amin(1).numpy(),
        "image_pixels": (images != images[:, :1]).sum(1).numpy().astype(np.float32),
    }


KIND = Kind(
    name="pixel_cnn",
    shape=Shape,
    inputs=Inputs,
    make=PixelCNN,
    loss=loss,
    vary=vary,
    blocks=blocks,
    facts=facts,
    words="convolutional, on one difference image of 24 x 24 pixels, the median over the transits",
    limits=(
        "It has seen one image: neither the light curve nor where the star itself lies within its pixel. A source "
        "within a pixel of the target is the target to it.",
    ),
)
