"""Robust scatter by counting, and the noise of a star at every duration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from survey.signals.search.curve import point_scatter
from survey.signals.search.noise import MAD_TO_SIGMA, median, noise_ratios, robust_scatter

numbers = arrays.arrays(np.float32, st.integers(1, 60), elements=st.floats(-1e6, 1e6, width=32))


@given(numbers)
def test_the_median_is_that_of_sorting(values: np.ndarray) -> None:
    assert median(values.copy()) == pytest.approx(np.median(values.astype(float)), rel=1e-6, abs=1e-6)


def test_robust_scatter_is_the_scaled_median_absolute_deviation() -> None:
    values = np.random.default_rng(1).standard_normal(4001).astype(np.float32)
    expected = MAD_TO_SIGMA * np.median(np.abs(values - np.median(values)))
    values_with_outliers = np.concatenate([values, np.full(40, 1e6, np.float32), np.full(40, -1e6, np.float32)])
    assert robust_scatter(values.copy()) == pytest.approx(expected, rel=1e-5)
    assert robust_scatter(values_with_outliers) == pytest.approx(1.0, rel=0.06)


def test_white_noise_has_the_noise_of_white_noise_at_every_duration() -> None:
    rng = np.random.default_rng(3)
    weight = rng.uniform(0.5, 2.0, 12_000)
    dip = rng.standard_normal(weight.size) / np.sqrt(weight)
    cell = np.cumsum(1 + (rng.random(weight.size) < 0.001) * 400)
    ratios = noise_ratios(cell, dip, weight, np.array([3, 6, 12, 24]))
    assert (ratios < 1.12).all()
    scaled = noise_ratios(cell, 2.5 * dip, weight, np.array([3, 6, 12, 24]))
    np.testing.assert_allclose(scaled, 2.5, rtol=0.12)


def test_correlated_noise_grows_with_duration_as_it_should() -> None:
    """Steps of a random telegraph of m points: over w << m points the sum grows like w, white noise like sqrt(w)."""
    rng = np.random.default_rng(5)
    dip = np.repeat(rng.standard_normal(3000), 40)
    ratios = noise_ratios(np.arange(dip.size), dip, np.ones(dip.size), np.array([1, 4, 16]))
    np.testing.assert_allclose(ratios, [1.0, 2.0, 3.7], rtol=0.12)


def test_a_hole_in_the_data_holds_no_events() -> None:
    rng = np.random.default_rng(7)
    dip = rng.standard_normal(4000)
    together = noise_ratios(np.arange(4000), dip, np.ones(4000), np.array([5, 10]))
    apart = np.arange(4000) + (np.arange(4000) >= 2000) * 10_000_000
    np.testing.assert_allclose(noise_ratios(apart, dip, np.ones(4000), np.array([5, 10])), together, rtol=0.05)


def test_too_few_points_count_as_white() -> None:
    assert (noise_ratios(np.empty(0, np.int64), np.empty(0), np.empty(0), np.array([1, 2])) == 1).all()
    assert (noise_ratios(np.arange(5), np.arange(5.0), np.ones(5), np.array([1, 2])) == 1).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_scatter_from_point_to_point_is_that_of_the_noise(seed: int) -> None:
    """To one per cent, under slow variation, with gaps, outliers and deep eclipses."""
    rng = np.random.default_rng(seed)
    flux = 1 + 2e-3 * rng.standard_normal(20_000) + 0.05 * np.sin(np.arange(20_000) / 900)
    assert point_scatter(flux) == pytest.approx(2e-3, rel=0.015)
    flux[rng.random(flux.size) < 0.01] = np.nan
    flux[rng.random(flux.size) < 0.005] += 0.3
    flux[5000::4000] -= 0.2
    assert point_scatter(flux) == pytest.approx(2e-3, rel=0.02)
    assert point_scatter(flux.astype(np.float32)) == pytest.approx(point_scatter(flux), rel=1e-3)
    assert point_scatter(np.ones(50)) == 1.0
