import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from survey.signals.ephemeris import Ephemeris, fold
from survey.signals.views import VIEW_SPECS, make_views

ORBIT = Ephemeris(3.7, 1501.3, 0.15)
DEPTH = 0.01
SIGMA = 5e-4
SPECS = list(VIEW_SPECS)


def boxed(
    orbit: Ephemeris = ORBIT, *, days: float = 27.0, depth: float = DEPTH, sigma: float = SIGMA, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    time = 1500.0 + np.arange(0.0, days, 120 / 86_400)
    time = time[(time < 1513) | (time > 1514)]
    flux = 1 + sigma * np.random.default_rng(seed).standard_normal(len(time))
    flux -= depth * (np.abs(fold(time, orbit.period, orbit.epoch)) < orbit.duration / 2)
    return time, flux.astype(np.float32)


def offsets(spec: str, orbit: Ephemeris = ORBIT) -> NDArray[np.float64]:
    """Centres of the local bins, in durations."""
    bins = VIEW_SPECS[spec].local_bins
    half = min(VIEW_SPECS[spec].local_durations, orbit.period / orbit.duration / 2)
    return half * (2 * (np.arange(bins) + 0.5) / bins - 1)


@pytest.mark.parametrize(
    ("spec", "wide", "close"),
    [("views-2048-256", 2048, 256), ("astronet-2001-201", 2001, 201), ("triage-201-61", 201, 61)],
)
def test_views_are_as_long_as_their_name_says(spec: str, wide: int, close: int) -> None:
    views = make_views(*boxed(), ORBIT, VIEW_SPECS[spec])
    for array in (views.global_view, views.global_scatter, views.global_empty):
        assert array.shape == (wide,)
    for array in (views.local_view, views.local_scatter, views.local_empty):
        assert array.shape == (close,)
    assert views.global_view.dtype == views.local_view.dtype == np.float32
    assert views.global_empty.dtype == bool


@pytest.mark.parametrize("spec", SPECS)
def test_a_box_is_at_minus_one_in_the_middle_and_the_rest_at_zero(spec: str) -> None:
    views = make_views(*boxed(), ORBIT, VIEW_SPECS[spec])
    away = np.abs(offsets(spec))
    margin = VIEW_SPECS[spec].local_bin_width / 2
    np.testing.assert_allclose(views.local_view[away < 0.5 - margin], -1, atol=0.1)
    np.testing.assert_allclose(views.local_view[away > 0.5 + margin], 0, atol=0.1)
    assert views.scale_ppm == pytest.approx(1e6 * DEPTH, rel=0.05)
    middle = len(views.global_view) // 2
    assert (
        abs(int(np.argmin(views.global_view)) - middle)
        <= 1 + len(views.global_view) * 0.5 * ORBIT.duration / ORBIT.period
    )
    assert np.median(views.global_view) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("spec", [name for name in SPECS if VIEW_SPECS[name].normalise == "minimum"])
def test_published_views_have_median_zero_and_minimum_minus_one(spec: str) -> None:
    views = make_views(*boxed(), ORBIT, VIEW_SPECS[spec])
    for view in (views.global_view, views.local_view):
        assert np.median(view) == pytest.approx(0, abs=1e-6)
        assert view.min() == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize("spec", SPECS)
@given(cycles=st.integers(-30, 30), shift=st.floats(-400, 400))
@settings(max_examples=15, deadline=None)
def test_views_do_not_care_which_transit_is_the_first_nor_when_time_began(spec: str, cycles: int, shift: float) -> None:
    time, flux = boxed()
    views = make_views(time, flux, ORBIT, VIEW_SPECS[spec])
    moved = Ephemeris(ORBIT.period, ORBIT.epoch + shift + cycles * ORBIT.period, ORBIT.duration)
    again = make_views(time + shift, flux, moved, VIEW_SPECS[spec])
    # Rounding may carry a cadence over the border of a bin, or of the transit.
    assert np.mean(np.abs(again.local_view - views.local_view) > 1e-3) < 0.2
    np.testing.assert_allclose(again.local_view, views.local_view, atol=0.1)
    assert again.scale_ppm == pytest.approx(views.scale_ppm, rel=0.02)


@pytest.mark.parametrize("spec", SPECS)
def test_the_order_of_the_cadences_is_of_no_matter(spec: str) -> None:
    time, flux = boxed()
    order = np.random.default_rng(1).permutation(len(time))
    views, mixed = (make_views(time[k], flux[k], ORBIT, VIEW_SPECS[spec]) for k in (np.arange(len(time)), order))
    np.testing.assert_array_equal(views.global_view, mixed.global_view)
    np.testing.assert_array_equal(views.local_view, mixed.local_view)


@pytest.mark.parametrize("spec", SPECS)
def test_empty_bins_hold_the_median_and_are_flagged(spec: str) -> None:
    time, flux = boxed()
    phase = fold(time, ORBIT.period, ORBIT.epoch) / ORBIT.duration
    dark = (phase > 1.0) & (phase < 1.8)
    views = make_views(time[~dark], flux[~dark], ORBIT, VIEW_SPECS[spec])
    inside, margin = offsets(spec), VIEW_SPECS[spec].local_bin_width / 2
    empty = (inside > 1.0 + margin) & (inside < 1.8 - margin)
    assert empty.any()
    assert views.local_empty[empty].all()
    assert not views.local_empty[(inside < 1.0 - margin) | (inside > 1.8 + margin)].any()
    assert len(np.unique(views.local_view[views.local_empty])) == 1
    np.testing.assert_allclose(views.local_view[views.local_empty], 0, atol=0.02)
    assert np.all(views.local_scatter[views.local_empty] == 0)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("share", [0.1, 0.25, 0.45])
def test_a_wide_transit_is_shown_once(spec: str, share: float) -> None:
    orbit = Ephemeris(3.7, 1501.3, 3.7 * share)
    views = make_views(*boxed(orbit), orbit, VIEW_SPECS[spec])
    dips = np.diff((views.local_view < (views.local_view.min() + views.local_view.max()) / 2).astype(int))
    assert np.count_nonzero(dips == 1) <= 1
    assert np.isfinite(views.local_view).all()
    assert not views.local_empty.any()


@pytest.mark.parametrize("spec", SPECS)
def test_a_single_transit_makes_views(spec: str) -> None:
    orbit = Ephemeris(300.0, 1506.0, 0.4)
    time, flux = boxed(orbit)
    views = make_views(time, flux, orbit, VIEW_SPECS[spec])
    assert views.global_empty.mean() > 0.9
    for view in (views.global_view, views.local_view):
        assert np.isfinite(view).all()
    assert views.scale_ppm == pytest.approx(1e6 * DEPTH, rel=0.1)
    assert np.median(views.local_view[np.abs(offsets(spec, orbit)) < 0.4]) == pytest.approx(-1, abs=0.1)


@pytest.mark.parametrize("spec", SPECS)
@given(depth=st.floats(-0.02, 0.5), seed=st.integers(0, 50))
@settings(max_examples=15, deadline=None)
def test_the_scale_turns_the_local_view_into_flux_again(spec: str, depth: float, seed: int) -> None:
    time, flux = boxed(depth=depth, seed=seed)
    views = make_views(time, flux, ORBIT, VIEW_SPECS[spec])
    assert views.scale_ppm > 0
    inside = np.abs(offsets(spec)) < 0.5 - VIEW_SPECS[spec].local_bin_width / 2
    measured = np.median(views.local_view[inside]) * views.scale_ppm / 1e6
    assert measured == pytest.approx(-depth, abs=3 * SIGMA)


@pytest.mark.parametrize("spec", SPECS)
def test_no_cadence_in_transit_still_makes_views(spec: str) -> None:
    time, flux = boxed()
    out = np.abs(fold(time, ORBIT.period, ORBIT.epoch)) > ORBIT.duration
    views = make_views(time[out], flux[out], ORBIT, VIEW_SPECS[spec])
    assert np.isfinite(views.local_view).all()
    assert views.local_empty.any()


@pytest.mark.parametrize("spec", SPECS)
def test_the_scatter_is_that_of_the_cadences(spec: str) -> None:
    views = make_views(*boxed(), ORBIT, VIEW_SPECS[spec])
    full = views.local_scatter[np.abs(offsets(spec)) > 0.7] * views.scale_ppm / 1e6
    assert np.median(full) == pytest.approx(SIGMA, rel=0.3)


def test_without_cadences_there_are_no_views() -> None:
    with pytest.raises(ValueError, match="no cadences"):
        make_views(np.empty(0), np.empty(0, np.float32), ORBIT, VIEW_SPECS["views-2048-256"])
