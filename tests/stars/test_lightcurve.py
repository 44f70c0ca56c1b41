"""What is done to light curves before any trend is removed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.errors import BadFile
from survey.stars.lightcurve import (
    LightCurve,
    Product,
    Star,
    bin_in_time,
    drop_edges,
    fill_gaps,
    find_gaps,
    invert,
    normalise,
    scramble,
    stitch,
    take,
)


def product(name: str = "a", n: int = 0, *, cadence_s: float = 120.0, observation: int | None = 1) -> Product:
    return Product(name, "0" * 64, observation, "SPOC", None, "PDCSAP_FLUX", 17087, cadence_s, n)


def curve(time, flux=None, *, name="a", error=1.0, cadence_s=120.0, observation=1, **fields) -> LightCurve:
    time = np.asarray(time, np.float64)
    flux = np.ones(time.size) if flux is None else np.asarray(flux)
    made = LightCurve(
        "TIC 1", "tess", time, flux.astype(np.float32), np.full(time.size, error, np.float32), 2457000.0,
        (product(name, time.size, cadence_s=cadence_s, observation=observation),),
    )  # fmt: skip
    return replace(made, **fields)


def is_consistent(lc: LightCurve) -> bool:
    sizes = {lc.time.size, lc.flux.size, lc.flux_err.size, sum(product.n_cadences for product in lc.products)}
    kinds = (lc.time.dtype, lc.flux.dtype, lc.flux_err.dtype)
    return len(sizes) == 1 and kinds == (np.float64, np.float32, np.float32) and bool(np.all(np.diff(lc.time) > 0))


def test_take_keeps_count_of_every_product():
    lc = stitch([curve([1, 2, 3]), curve([4, 5], name="b"), curve([6], name="c")])
    kept = take(lc, np.array([True, False, True, False, False, True]))
    assert is_consistent(kept)
    assert [(product.product, product.n_cadences) for product in kept.products] == [("a", 2), ("c", 1)]
    assert take(lc, np.ones(6, bool)) is lc


def test_each_product_is_divided_by_its_own_median():
    lc = normalise(stitch([curve([1, 2, 3], [10, 20, 30], error=2), curve([4, 5, 6], [5, 5, 5.5], error=1, name="b")]))
    np.testing.assert_allclose(lc.flux, [0.5, 1, 1.5, 1, 1, 1.1], rtol=1e-6)
    np.testing.assert_allclose(lc.flux_err, [0.1] * 3 + [0.2] * 3, rtol=1e-6)
    assert is_consistent(lc)


@pytest.mark.parametrize("flux", [[0, 0, 0], [-3, -2, -1]])
def test_a_median_that_is_not_positive_cannot_be_divided_by(flux):
    with pytest.raises(BadFile, match="a: the median of PDCSAP_FLUX is"):
        normalise(curve([1, 2, 3], flux))


def test_stitching_is_in_order_of_time_and_merges_stars():
    early = curve([1, 2], name="early", star=Star(teff=5000.0, magnitude=10.0))
    late = curve([3, 4], name="late", star=Star(teff=5100.0))
    lc = stitch([late, early])
    assert [product.product for product in lc.products] == ["early", "late"]
    assert lc.starts().tolist() == [0, 2]
    assert (lc.star.teff, lc.star.magnitude) == (5100.0, 10.0)
    assert is_consistent(lc)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(2, 30)), min_size=1, max_size=5), st.randoms())
def test_no_stretch_of_time_counts_twice(spans, random):
    curves = [curve(start + np.arange(n) + number / 10, name=f"{number}") for number, (start, n) in enumerate(spans)]
    lc = stitch(curves)
    assert is_consistent(lc)
    left_out = sum(one.time.size for one in curves) - lc.time.size
    assert bool(lc.notes) == (left_out > 0)
    shuffled = list(curves)
    random.shuffle(shuffled)
    np.testing.assert_array_equal(stitch(shuffled).time, lc.time)


def test_only_one_star_is_stitched():
    with pytest.raises(ValueError, match="not one star"):
        stitch([curve([1, 2]), curve([3, 4], target_id="TIC 2")])


def test_gaps_and_their_edges():
    time = np.concatenate([np.arange(0, 2, 0.1), np.arange(5, 7, 0.1)])
    assert find_gaps(time, 0.5).tolist() == [20]
    assert find_gaps(time, 4).tolist() == []
    lc = drop_edges(curve(time), hours=11, gap_days=0.5)
    assert is_consistent(lc)
    assert (lc.time[0], lc.time[-1]) == pytest.approx((0.5, 6.4))
    assert not ((lc.time > 1.45) & (lc.time < 5.45)).any()
    assert drop_edges(curve(time), hours=0, gap_days=0.5).time.size == time.size


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 4), st.integers(500, 3000), st.integers(1000, 1500), st.integers(0, 10_000))
def test_binning_keeps_weighted_means_and_limits(n_products, n, limit, seed):
    rng = np.random.default_rng(seed)
    curves = []
    for number in range(n_products):
        time = number * 30 + np.sort(rng.choice(4000, n, replace=False)) * 120 / 86_400
        one = curve(time, 1 + rng.normal(0, 0.01, n), name=f"{number}")
        curves.append(replace(one, flux_err=rng.uniform(0.5, 2, n).astype(np.float32)))
    lc = stitch(curves)
    binned = bin_in_time(lc, limit)
    assert is_consistent(binned)
    assert binned.time.size <= limit or lc.time.size <= limit
    assert len(binned.products) == n_products
    if lc.time.size > limit:
        assert binned.cadence_s > lc.cadence_s
        assert binned.cadence_s % 120 == 0
        weight, binned_weight = 1 / lc.flux_err.astype(float) ** 2, 1 / binned.flux_err.astype(float) ** 2
        assert binned_weight.sum() == pytest.approx(weight.sum(), rel=1e-4)
        assert (binned_weight * binned.flux).sum() == pytest.approx((weight * lc.flux).sum(), rel=1e-4)
        assert (binned_weight * binned.time).sum() == pytest.approx((weight * lc.time).sum(), rel=1e-4)


def test_binning_averages_instead_of_leaving_out():
    rng = np.random.default_rng(0)
    n = 90_000
    flux = 1 + rng.normal(0, 1e-3, n)
    flux[1000:1030] -= 5e-3
    lc = bin_in_time(curve(np.arange(n) * 20 / 86_400, flux, error=1e-3, cadence_s=20.0), 30_000)
    assert lc.cadence_s == 60.0
    assert lc.time.size == 30_000
    assert np.std(lc.flux) == pytest.approx(1e-3 / np.sqrt(3), rel=0.03)
    assert lc.flux_err[0] == pytest.approx(1e-3 / np.sqrt(3))
    assert np.mean(lc.flux[334:343]) == pytest.approx(0.995, abs=1e-3)


def test_coarse_products_stay_when_fine_ones_are_binned():
    fine = curve(np.arange(4000) * 20 / 86_400, cadence_s=20.0)
    coarse = curve(100 + np.arange(100) / 48, cadence_s=1800.0, name="ffi")
    lc = bin_in_time(stitch([fine, coarse]), 2000)
    assert is_consistent(lc)
    assert [product.cadence_s for product in lc.products] == [60.0, 1800.0]
    assert lc.products[1].n_cadences == 100


def test_gaps_are_filled_with_straight_lines():
    time, flux, filled = fill_gaps(
        np.array([0.0, 1, 4, 5, 50, 51]), np.array([0, 1, 4, 5, 0, 0], np.float32), longest_days=10
    )
    assert time.tolist() == [0, 1, 2, 3, 4, 5, 50, 51]
    assert flux.tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    assert filled.tolist() == [False, False, True, True, False, False, False, False]
    assert fill_gaps(np.array([1.0]), np.array([1], np.float32), longest_days=1)[2].tolist() == [False]


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, 300), min_size=20))
def test_filling_leaves_what_was_measured(places):
    time = np.array(sorted(places)) * 0.02
    flux = np.sin(time).astype(np.float32)
    even, values, filled = fill_gaps(time, flux, longest_days=100)
    np.testing.assert_array_equal(even[~filled], time)
    np.testing.assert_array_equal(values[~filled], flux)
    assert np.all(np.diff(even) > 0)


def test_inverting_turns_dips_over():
    lc = curve([1, 2, 3], [1, 0.9, 1.05])
    np.testing.assert_allclose(invert(lc).flux, [1, 1.1, 0.95], rtol=1e-6)
    np.testing.assert_allclose(invert(invert(lc)).flux, lc.flux, rtol=1e-6)


def test_scrambling_keeps_the_noise_and_breaks_the_period():
    rng = np.random.default_rng(5)
    time = np.arange(0, 27, 1 / 144)
    transit = (time % 3.1) < 0.1
    rotation = 0.01 * np.sin(2 * np.pi * time / 9)
    lc = curve(time, 1 + rotation + rng.normal(0, 2e-4, time.size) - 0.01 * transit, cadence_s=600.0)
    scrambled = scramble(lc, np.random.default_rng(1))
    assert is_consistent(scrambled)
    np.testing.assert_array_equal(scrambled.time, lc.time)
    assert np.std(np.diff(scrambled.flux)) == pytest.approx(np.std(np.diff(lc.flux)), rel=0.1)
    assert np.mean(lc.flux[transit] - 1 - rotation[transit]) < -0.009
    assert np.mean(scrambled.flux[transit] - 1 - rotation[transit]) > -0.006
    # The slow variation stays where it was: no steps at the seams.
    assert np.corrcoef(scrambled.flux[~transit], lc.flux[~transit])[0, 1] > 0.8
    np.testing.assert_array_equal(scramble(lc, np.random.default_rng(1)).flux, scrambled.flux)
    assert (scramble(lc, np.random.default_rng(2)).flux != scrambled.flux).any()


def test_what_is_too_short_to_scramble_stays():
    lc = curve(np.arange(50) / 720)
    assert scramble(lc, np.random.default_rng(0)) is lc
