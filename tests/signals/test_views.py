from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from survey.config import Config
from survey.runs.stages import flat_curve, make_detrend, make_fetch, rows_of, targets_table
from survey.signals.ephemeris import Ephemeris, fold
from survey.signals.views import VIEW_SPECS, make_views, place_bins
from survey.stars.sources import open_source

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
    form = VIEW_SPECS[spec]
    half = min(form.local_durations, orbit.period / orbit.duration / 2)
    return place_bins((-half, half), form.local_bins, form.local_bin_width)[0]


@pytest.mark.parametrize(
    ("spec", "wide", "close"),
    [("views-2048-256", 2048, 256), ("astronet-2001-201", 2001, 201), ("triage-201-61", 201, 61)],
)
def test_views_are_as_long_as_their_name_says(spec: str, wide: int, close: int) -> None:
    views = make_views(*boxed(), ORBIT, VIEW_SPECS[spec])
    for array in (views.global_view, views.global_scatter, views.global_empty):
        assert array.shape == (wide,)
    for array in (views.local_view, views.local_scatter, views.local_empty, views.secondary_view):
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
def test_empty_bins_hold_what_their_form_says_and_are_flagged(spec: str) -> None:
    time, flux = boxed()
    phase = fold(time, ORBIT.period, ORBIT.epoch) / ORBIT.duration
    dark = (phase > 1.0) & (phase < 1.8)
    views = make_views(time[~dark], flux[~dark], ORBIT, VIEW_SPECS[spec])
    inside, margin = offsets(spec), VIEW_SPECS[spec].local_bin_width / 2
    empty = (inside > 1.0 + margin) & (inside < 1.8 - margin)
    assert empty.any()
    assert views.local_empty[empty].all()
    assert not views.local_empty[(inside < 1.0 - margin) | (inside > 1.8 + margin)].any()
    held = views.local_view[views.local_empty]
    if VIEW_SPECS[spec].empty == "median":
        assert len(np.unique(held)) == 1
    else:
        np.testing.assert_allclose(np.diff(held), np.diff(held)[0], atol=1e-5)
        around = np.flatnonzero(views.local_empty)[[0, -1]] + [-1, 1]
        assert views.local_view[around].min() < held.min()
        assert held.max() < views.local_view[around].max()
    np.testing.assert_allclose(held, 0, atol=0.1)
    assert np.all(views.local_scatter[views.local_empty] == 0)


SECOND = 0.37
"""Phase of the second eclipse of `eclipses`."""


def eclipses(depth: float = DEPTH / 2, orbit: Ephemeris = ORBIT) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    time, flux = boxed(orbit)
    second = np.abs(fold(time, orbit.period, orbit.epoch + SECOND * orbit.period)) < orbit.duration / 2
    return time, flux - np.where(second, depth, 0.0).astype(np.float32)


@pytest.mark.parametrize("spec", SPECS)
def test_the_secondary_view_shows_the_deepest_dip_elsewhere(spec: str) -> None:
    views = make_views(*eclipses(), ORBIT, VIEW_SPECS[spec])
    assert views.secondary_phase == pytest.approx(SECOND, abs=0.1 * ORBIT.duration / ORBIT.period)
    centres, reach = place_bins((-4.0, 4.0), VIEW_SPECS[spec].local_bins, VIEW_SPECS[spec].local_bin_width)
    bottom = -1.0 if VIEW_SPECS[spec].normalise == "minimum" else -0.5
    np.testing.assert_allclose(views.secondary_view[np.abs(centres) < 0.5 - reach - 0.05], bottom, atol=0.15)
    np.testing.assert_allclose(views.secondary_view[np.abs(centres) > 0.5 + reach + 0.05], 0, atol=0.15)


@pytest.mark.parametrize("spec", SPECS)
def test_what_is_no_dip_makes_no_secondary(spec: str) -> None:
    """A rise of the same size is not what the view is centred on."""
    views = make_views(*eclipses(depth=-DEPTH), ORBIT, VIEW_SPECS[spec])
    assert views.secondary_phase != pytest.approx(SECOND, abs=0.01)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("orbit", [ORBIT, Ephemeris(0.6, 1501.3, 0.1), Ephemeris(3.7, 1501.3, 0.9)])
def test_the_transit_is_never_in_its_own_secondary_view(spec: str, orbit: Ephemeris) -> None:
    time, flux = boxed(orbit, depth=0.5)
    views = make_views(time, flux, orbit, VIEW_SPECS[spec])
    unit = 0.5 if VIEW_SPECS[spec].normalise == "depth" else 1.0
    flat = views.secondary_view * unit
    assert np.isfinite(flat).all()
    without = make_views(time, np.where(flux < 0.75, np.float32(0.9), flux), orbit, VIEW_SPECS[spec])
    if VIEW_SPECS[spec].normalise == "minimum":
        np.testing.assert_array_equal(views.secondary_view, without.secondary_view)


def test_where_only_the_transit_was_seen_there_is_no_secondary() -> None:
    time, flux = boxed()
    near = np.abs(fold(time, ORBIT.period, ORBIT.epoch)) < ORBIT.duration
    views = make_views(time[near], flux[near], ORBIT, VIEW_SPECS["triage-201-61"])
    assert views.secondary_phase is None
    assert not views.secondary_view.any()


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


@pytest.mark.verify
def test_views_are_those_that_the_classifiers_learnt_from(real_data: Path, archive: Path) -> None:
    """Stars of Yu et al. (2019) in 2-min light curves of the same sectors: theirs are of 30-min images."""
    config = Config()
    published = np.load(real_data / "views" / "astronet_vetting_views.npz", allow_pickle=False)
    source = open_source(f"mirror:{archive}", config)
    stars = {star.target_id: star for star in source.targets("tess")}
    names = np.array([f"TIC {number}" for number in published["tic_id"]])
    whole, close, second = [], [], []
    for k in np.flatnonzero(np.isin(names, list(stars)) & (published["label"] == "PC") & (published["period"] < 14)):
        (row,) = rows_of(make_detrend(config)(make_fetch(config, source)(targets_table([stars[names[k]]]))))
        curve = flat_curve(row, config)
        orbit = Ephemeris(*(float(published[name][k]) for name in ("period", "epoc", "duration")))
        views = make_views(curve.time, curve.flux, orbit, VIEW_SPECS["triage-201-61"])
        whole.append(np.corrcoef(views.global_view, published["global_view"][k])[0, 1])
        close.append(np.corrcoef(views.local_view, published["local_view"][k])[0, 1])
        if names[k] == "TIC 100100827":  # The one planet here whose own eclipse is seen.
            second.append(np.corrcoef(views.secondary_view, published["secondary_view"][k])[0, 1])
    print(f"{len(whole)} rows: median r {np.median(whole):.3f}, {np.median(close):.3f}; secondary {second}")
    assert len(whole) >= 10
    assert np.median(whole) > 0.97
    assert np.median(close) > 0.99
    assert min(second) > 0.9
