"""The network on views: shapes, missing scalars, size."""

import numpy as np
import pytest
import torch

from survey.config import TrainConfig
from survey.learning.models.resnet1d import Inputs, ResNet1D, Shape, block_widths, find_blocks, find_facts, vary
from tests.learning.test_members import make_rows

SHAPES = [
    Shape(global_bins=201, local_bins=61, secondary=True, scalars=3),
    Shape(global_bins=2048, local_bins=256, scalars=5),
    Shape(global_bins=2001, local_bins=201),
    Shape(global_bins=16, local_bins=16, scalars=1),
]


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
    network = ResNet1D(Shape(global_bins=32, local_bins=24, scalars=2)).eval()
    network.center[:] = torch.tensor([1.0, 5.0])
    views = torch.randn(1, 1, 32), torch.randn(1, 1, 24)
    known = network(*views, torch.tensor([[1.0, 5.0]]))
    missing = network(*views, torch.tensor([[1.0, torch.nan]]))
    assert torch.isfinite(missing).all()
    # The mean and "not measured" are told apart.
    assert missing.item() != known.item()


def test_spikes_say_no_more_than_that_they_are_there():
    network = ResNet1D(Shape(global_bins=32, local_bins=24)).eval()
    view = torch.zeros(1, 1, 32)
    view[0, 0, 3] = 50
    wilder = view * 100
    close, none = torch.zeros(1, 1, 24), torch.zeros(1, 0)
    assert network(view, close, none).item() == network(wilder, close, none).item()


def test_hidden_scalars_are_all_that_is_hidden():
    rows = make_rows()
    orbit, transit, scalars = vary(rows, np.random.default_rng(0), TrainConfig(missing_share=0.3)).inputs
    hidden = scalars.isnan()
    assert hidden.all(1).float().mean() == pytest.approx(0.3, abs=0.1)
    assert torch.equal(hidden.all(1), hidden.any(1))
    assert torch.isfinite(orbit).all()
    assert torch.isfinite(transit).all()
    assert not torch.equal(orbit, rows.inputs[0])


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.global_bins}-{shape.local_bins}")
def test_its_blocks_are_all_of_it_head_first(shape):
    network = ResNet1D(shape)
    blocks = find_blocks(network)
    owned = [id(part) for block in blocks for part in block.parameters()]
    assert sorted(owned) == sorted(id(part) for part in network.parameters())
    assert any(part is network.logit for part in blocks[0].modules())
    assert any(part is network.orbit.blocks[-1] for part in blocks[1].modules())


def test_facts_are_in_the_units_of_the_scalars():
    rows = make_rows()
    facts = find_facts(rows, Inputs(view_spec=None, scalars=("period", "centroid_offset")))
    assert facts["period"][5] == pytest.approx(10 ** rows.inputs[2][5, 0].item())
    assert facts["centroid_offset"][5] == rows.inputs[2][5, 1].item()
    assert (facts["view_scatter"] > 0).all()
