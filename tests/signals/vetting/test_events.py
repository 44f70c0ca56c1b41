"""Depths of events and of groups of them: right within their errors, whatever the noise."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.signals.vetting import depths_by_product, odd_even
from survey.signals.vetting.events import look_at
from tests.signals.vetting.curves import CADENCE, PLANET, draw_curve, scaled, with_signal

SEEDS = st.integers(0, 10_000)


@given(SEEDS, st.floats(5e-4, 5e-2), st.floats(-0.5, 0.5))
@settings(deadline=None, max_examples=40)
def test_odd_and_even_depths_are_right_within_their_errors(seed: int, depth: float, difference: float) -> None:
    curve = draw_curve(seed, lambda number: depth * (1 + difference * (number % 2)))
    found = odd_even(curve, PLANET)
    assert found is not None
    assert abs(found.odd_ppm - 1e6 * depth * (1 + difference)) < 5 * found.odd_err_ppm
    assert abs(found.even_ppm - 1e6 * depth) < 5 * found.even_err_ppm


@pytest.mark.parametrize("red", [0.0, 5e-4])
def test_the_errors_are_those_of_the_star(red: float) -> None:
    """Pulls of a zero difference, in white noise and in red noise as strong as the white one of a cadence."""
    pulls = []
    for seed in range(150):
        found = odd_even(draw_curve(seed, red=red, noise=5e-4), PLANET)
        assert found is not None
        pulls.append((found.odd_ppm - found.even_ppm) / np.hypot(found.odd_err_ppm, found.even_err_ppm))
    assert 0.6 < np.std(pulls) < 1.2
    assert abs(np.mean(pulls)) < 0.3


def test_red_noise_makes_the_errors_larger() -> None:
    quiet, restless = (odd_even(draw_curve(3, red=red), PLANET) for red in (0.0, 1e-3))
    assert quiet is not None
    assert restless is not None
    assert restless.odd_err_ppm > 3 * quiet.odd_err_ppm


def test_there_is_no_odd_and_even_without_two_of_each() -> None:
    assert odd_even(draw_curve(1, days=10.0), PLANET) is None


def test_depths_that_vary_by_themselves_are_no_difference_of_odd_and_even() -> None:
    rng = np.random.default_rng(0)
    depths = 2e-3 * (1 + 0.3 * rng.standard_normal(100))
    found = odd_even(draw_curve(0, lambda number: depths[number.astype(int) + 1], days=100.0, noise=5e-5), PLANET)
    assert found is not None
    assert found.odd_err_ppm > 50
    assert abs(found.odd_ppm - found.even_ppm) < 3 * np.hypot(found.odd_err_ppm, found.even_err_ppm)


def test_each_product_has_its_depth() -> None:
    middle = 13.5
    curve = draw_curve(
        5, lambda number: np.where(number * PLANET.period + PLANET.epoch < middle, 2e-3, 3e-3), noise=1e-4
    )
    curve = replace(curve, starts=(0, round(middle / CADENCE)))
    first, second = depths_by_product(curve, PLANET)
    assert (first.product, first.n_transits, second.product, second.n_transits) == (0, 4, 1, 4)
    assert abs(first.depth_ppm - 2000) < 5 * first.depth_err_ppm
    assert abs(second.depth_ppm - 3000) < 5 * second.depth_err_ppm
    assert first.depth_err_ppm < 100


def test_a_product_without_transits_is_left_out() -> None:
    tce = replace(PLANET, period=20.0)
    curve = replace(draw_curve(5, tce=tce, days=30.0), starts=(0, round(10 / CADENCE), round(20 / CADENCE)))
    assert [depth.product for depth in depths_by_product(curve, tce)] == [0, 2]


def test_other_signals_are_left_out() -> None:
    """A deeper planet whose transits fall beside every one of this one's."""
    other = replace(PLANET, number=2, period=PLANET.period / 3 * 1.01, epoch=PLANET.epoch + 0.09)
    curve = with_signal(draw_curve(2, noise=1e-4), other, 1e-2)
    alone, together = odd_even(curve, PLANET, [PLANET, other]), odd_even(curve, PLANET)
    assert alone is not None
    assert together is not None
    assert abs(alone.even_ppm - 2000) < 5 * alone.even_err_ppm
    assert abs(together.even_ppm - 2000) > 300


@given(SEEDS, st.floats(0.1, 10.0))
@settings(deadline=None, max_examples=15)
def test_depths_scale_with_the_light(seed: int, factor: float) -> None:
    curve = draw_curve(seed)
    one, other = odd_even(curve, PLANET), odd_even(scaled(curve, factor), PLANET)
    assert one is not None
    assert other is not None
    assert np.array(other) == pytest.approx(factor * np.array(one), rel=2e-3, abs=1e-3 * one.odd_err_ppm)


def test_a_transit_beside_a_hole_is_seen_to_be() -> None:
    curve = draw_curve(1)
    period, epoch, duration = PLANET.ephemeris
    gone = (curve.time > epoch + period + duration / 4) & (curve.time < epoch + period + 3 * duration)
    light = look_at(
        replace(curve, time=curve.time[~gone], flux=curve.flux[~gone], flux_err=curve.flux_err[~gone]), PLANET
    )
    beside = light.events.number == 1
    assert light.events.after[beside] < 0.1
    assert light.events.inside[beside] == pytest.approx(0.75, abs=0.1)
    assert light.events.after[~beside] == pytest.approx(1.0, abs=0.1)


def test_a_late_transit_keeps_its_depth() -> None:
    curve = draw_curve(1, lambda number: np.where(number == 2, 0.0, 2e-3), noise=1e-4)
    late = replace(PLANET, period=1000.0, epoch=PLANET.epoch + 2 * PLANET.period + 0.7 * PLANET.duration_h / 24)
    light = look_at(with_signal(curve, late, 2e-3), PLANET)
    assert light.events.depth[2] < 1e-3
    depth, error = light.retimed_depths
    assert depth == pytest.approx(2e-3, abs=6 * float(error.max()))
