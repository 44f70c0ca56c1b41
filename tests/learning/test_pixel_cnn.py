"""The network on difference images: its size, what it reads, and what is done to images in training."""

import numpy as np
import pytest
import torch

from survey.config import TrainConfig
from survey.learning.examples import Examples
from survey.learning.models import pixel_cnn
from survey.learning.models.pixel_cnn import KIND, SIZE, Inputs, PixelCNN, Shape


def test_it_has_25_633_parameters():
    """Three convolutions with biases (160, 4,640, 18,496), their normalisations (32, 64, 128), and 2,080 and 33."""
    assert sum(part.numel() for part in PixelCNN(Shape()).parameters()) == 25_633


@pytest.mark.parametrize("sides", [(4, 4), (4, 6), (5, 5), (11, 11), (24, 24), (30, 28)])
def test_images_of_any_size_have_one_logit_and_gradients_everywhere(sides):
    network = PixelCNN(Shape())
    logits = network(torch.randn(5, 1, *sides))
    assert logits.shape == (5,)
    logits.square().sum().backward()
    assert all(part.grad is not None and torch.isfinite(part.grad).all() for part in network.parameters())


def test_it_can_be_made_without_memory():
    with torch.device("meta"):
        assert {part.device.type for part in KIND.make(Shape()).parameters()} == {"meta"}


@pytest.mark.parametrize("settings", [{"channels": (16, 32)}, {"channels": (16, 32, 1 << 20)}, {"hidden": 0}])
def test_a_file_cannot_ask_for_any_shape(settings):
    with pytest.raises(ValueError, match=r"channels|hidden"):
        Shape.model_validate(settings)


def vary(images: torch.Tensor, seed: int = 0) -> torch.Tensor:
    examples = Examples((images,), torch.zeros(len(images)))
    return pixel_cnn.vary(examples, np.random.default_rng(seed), TrainConfig()).inputs[0]


def test_training_leaves_a_target_within_a_pixel_of_its_place():
    images = torch.zeros(400, 1, SIZE, SIZE)
    images[:, :, 12, 12] = 20
    places = vary(images).flatten(1).argmax(1)
    away = torch.stack([places // SIZE - 12, places % SIZE - 12]).abs().amax(0)
    assert away.max() == 1
    assert 0.15 < (away > 0).float().mean() < 0.4


def test_training_turns_and_mirrors_about_the_target():
    images = torch.zeros(400, 1, SIZE, SIZE)
    images[:, :, 17, 14] = 20
    places = vary(images).flatten(1).argmax(1)
    found = set(zip((places // SIZE).tolist(), (places % SIZE).tolist(), strict=True))
    assert {(12 + a, 12 + b) for x, y in ((5, 2), (2, 5)) for a in (x, -x) for b in (y, -y)} <= found


def test_variations_are_noisy_and_repeatable():
    images = torch.zeros(3, 1, SIZE, SIZE)
    assert torch.equal(vary(images), vary(images))
    assert 0 < vary(images).std() < pixel_cnn.NOISE
    assert not torch.equal(vary(images), vary(images, 1))


def test_facts_say_what_an_image_is_like():
    images = torch.full((2, 1, SIZE, SIZE), -0.1)
    images[0, 0, 10:15, 10:14] = torch.arange(20.0).reshape(5, 4)
    facts = pixel_cnn.facts(Examples((images,), torch.zeros(2)), Inputs())
    assert facts["image_peak"].tolist() == pytest.approx([19, -0.1])
    assert facts["image_trough"].tolist() == pytest.approx([-0.1, -0.1])
    assert facts["image_pixels"].tolist() == [20, 0]
