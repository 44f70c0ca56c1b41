"""The network on views: shapes, missing scalars, size."""

import pytest
import torch

from survey.learning.models.resnet1d import ResNet1D, Shape, block_widths

SHAPES = [Shape(201, 61, True, 3), Shape(2048, 256, False, 5), Shape(2001, 201), Shape(16, 16, False, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.global_bins}-{shape.local_bins}")
def test_one_logit_a_row_and_gradients_everywhere(shape):
    network = ResNet1D(shape)
    rows = [
        torch.randn(4, 1, shape.global_bins),
        torch.randn(4, 1 + shape.secondary, shape.local_bins),
        torch.randn(4, shape.scalars),
    ]
    logits = network(*rows)
    assert logits.shape == (4,)
    logits.square().sum().backward()
    assert all(part.grad is not None and torch.isfinite(part.grad).all() for part in network.parameters())


def test_towers_end_with_a_few_bins():
    for bins in (16, 61, 81, 201, 256, 2048, 16_384):
        widths = block_widths(bins, (16, 24, 32, 48))
        left = (bins // 2 if bins > 128 else bins) / 2 ** len(widths)
        assert left <= 16
        assert list(widths) == sorted(widths)


def test_a_missing_scalar_is_neither_zero_nor_nan():
    torch.manual_seed(0)
    network = ResNet1D(Shape(32, 24, False, 2)).eval()
    network.center[:] = torch.tensor([1.0, 5.0])
    views = torch.randn(1, 1, 32), torch.randn(1, 1, 24)
    known = network(*views, torch.tensor([[1.0, 5.0]]))
    missing = network(*views, torch.tensor([[1.0, torch.nan]]))
    assert torch.isfinite(missing).all()
    # The mean and "not measured" are told apart.
    assert missing.item() != known.item()


def test_spikes_say_no_more_than_that_they_are_there():
    network = ResNet1D(Shape(32, 24)).eval()
    view = torch.zeros(1, 1, 32)
    view[0, 0, 3] = 50
    wilder = view * 100
    close, none = torch.zeros(1, 1, 24), torch.zeros(1, 0)
    assert network(view, close, none).item() == network(wilder, close, none).item()
