"""The network on segments: shapes, size, what training does to a segment."""

import numpy as np
import pytest
import torch

from survey.config import TrainConfig
from survey.learning.examples import Examples
from survey.learning.models.inception1d import KIND, InceptionResNet1D, Shape, find_blocks, find_facts, vary
from survey.signals.segments import SegmentSpec

SHAPES = [
    Shape(),
    Shape(window=128, channels=1, widths=(4, 6), depth=1, pooling="mean"),
    Shape(window=61, widths=(4, 6), kernels=(5, 9)),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.channels}x{shape.window}")
def test_one_logit_a_segment_and_gradients_everywhere(shape):
    network = InceptionResNet1D(shape)
    logits = network(torch.randn(4, shape.channels, shape.window))
    assert logits.shape == (4,)
    logits.square().sum().backward()
    assert all(part.grad is not None and torch.isfinite(part.grad).all() for part in network.parameters())


def test_a_deep_eclipse_stays_finite():
    light = torch.zeros(2, 2, 1024)
    light[:, :, 500:520] = -1e6
    assert torch.isfinite(InceptionResNet1D(Shape()).eval()(light)).all()


def test_the_first_stack_has_64_channels_and_the_second_96_where_asked():
    network = InceptionResNet1D(Shape(widths=(64, 96), pooling="mean"))
    assert network.stem.weight.shape == (64, 2, 7)
    assert [block.join.out_channels for block in (*network.first, *network.second)] == [64, 64, 96, 96]
    assert network.logit.in_features == 96


def test_it_is_small():
    assert sum(part.numel() for part in InceptionResNet1D(Shape()).parameters()) < 50_000


def test_blocks_from_the_head_backwards_are_all_of_it():
    network = InceptionResNet1D(Shape())
    parts = find_blocks(network)
    assert parts[0] is network.logit
    assert parts[1] is network.second[-1]
    held = {id(part) for block in parts for part in block.parameters()}
    assert held == {id(part) for part in network.parameters()}


def test_varied_segments_keep_their_gaps_and_their_dip():
    light = torch.zeros(16, 2, 64)
    light[:, :, 8:40] = 0.5
    light[:, 1, 20:23] = -20.0
    batch = Examples((light,), torch.ones(16))
    (varied,) = vary(batch, np.random.default_rng(0), TrainConfig()).inputs
    turned = (varied[:, 1, 41:44] < -10).all(1)
    assert 0 < turned.sum() < 16
    straight = torch.where(turned[:, None, None], varied.flip(-1), varied)
    assert not straight[:, :, :8].any()
    assert not straight[:, :, 40:].any()
    assert (straight[:, 1, 20:23] < -15).all()
    assert not torch.equal(straight[0], light[0])


def test_facts_say_what_is_measured_and_how_far_it_goes():
    light = torch.zeros(1, 2, 100)
    light[0, 1, :50] = 1.0
    light[0, 1, 3] = -99.0
    light[0, 1, 4] = 9.0
    found = find_facts(Examples((light,), torch.zeros(1)), SegmentSpec(window=100))
    assert found["measured_share"][0] == pytest.approx(0.5)
    assert found["deepest"][0] == pytest.approx(2.0)
    assert found["highest"][0] == pytest.approx(1.0)


def test_a_network_must_fit_its_segments():
    with pytest.raises(ValueError, match="reads 2 x 1024 bins, segments have 1 x 1024"):
        KIND.check(Shape(), SegmentSpec(channels=1))
    KIND.check(Shape(), SegmentSpec())
