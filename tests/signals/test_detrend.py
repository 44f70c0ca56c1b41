from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from survey.config import DetrendConfig
from survey.signals.detrend import (
    DETRENDERS,
    bin_means,
    clip_outliers,
    depth_retention,
    detrend,
    robust_scatter,
    split_at_gaps,
)

CONFIG = DetrendConfig()
SLIDING = ("biweight", "median")
SIGMA = 1e-3


def two_minutes(days: float = 12.0, *, gap: tuple[float, float] | None = None) -> NDArray[np.float64]:
    time = 1500.0 + np.arange(0.0, days, 120 / 86_400)
    return time if gap is None else time[(time < 1500 + gap[0]) | (time > 1500 + gap[1])]


def noisy(time: NDArray[np.float64], seed: int = 0) -> NDArray[np.float32]:
    return (1 + SIGMA * np.random.default_rng(seed).standard_normal(len(time))).astype(np.float32)


def by(method: str) -> DetrendConfig:
    return DetrendConfig.model_validate({"method": method})


def trend_of(
    time: NDArray[np.float64],
    flux: NDArray[np.float32],
    method: str = "biweight",
    *,
    starts: Sequence[int] = (0,),
    window_days: float = 1.0,
    in_transit: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    return detrend(time, flux, starts, by(method), window_days=window_days, in_transit=in_transit)


@pytest.mark.parametrize("method", DETRENDERS)
@given(level=st.floats(0.01, 1e5))
@settings(max_examples=10, deadline=None)
def test_the_trend_of_a_constant_is_the_constant(method: str, level: float) -> None:
    time = two_minutes(4.0)
    flux = np.full(len(time), level, np.float32)
    np.testing.assert_allclose(trend_of(time, flux, method), flux, rtol=1e-6)


@pytest.mark.parametrize("method", DETRENDERS)
@given(scale=st.floats(1e-3, 1e4), seed=st.integers(0, 100))
@settings(max_examples=10, deadline=None)
def test_the_trend_scales_with_the_flux(method: str, scale: float, seed: int) -> None:
    time = two_minutes(4.0)
    flux = noisy(time, seed)
    scaled = trend_of(time, (flux * np.float32(scale)).astype(np.float32), method)
    np.testing.assert_allclose(scaled, trend_of(time, flux, method) * scale, rtol=1e-5)


@pytest.mark.parametrize("method", SLIDING)
@given(shift=st.integers(-2000, 2000))
@settings(max_examples=10, deadline=None)
def test_the_trend_does_not_care_about_the_zero_of_time(method: str, shift: int) -> None:
    time = two_minutes(4.0)
    flux = noisy(time)
    # A rounded time may fall into the next bin: a small part of the scatter, no more.
    np.testing.assert_allclose(trend_of(time + shift, flux, method), trend_of(time, flux, method), atol=0.3 * SIGMA)


@pytest.mark.parametrize("method", SLIDING)
def test_a_slow_sine_is_recovered(method: str) -> None:
    time = two_minutes(24.0)
    sine = 1 + 0.02 * np.sin(2 * np.pi * time / 8)
    trend = trend_of(time, (sine * noisy(time)).astype(np.float32), method)
    inner = (time > time[0] + 0.5) & (time < time[-1] - 0.5)
    # A window of an eighth of the period flattens a sine by 2.6%.
    assert np.abs(trend - sine)[inner].max() < 0.04 * 0.02
    assert np.abs(trend - sine)[~inner].max() < 0.02 * 2 * np.pi / 8 * 0.5


# lightkurve's filter takes its 3 sigma from a whole product, both sides of a gap.
@pytest.mark.parametrize(
    ("method", "border"), [("biweight", "gap"), ("median", "gap")] + [(method, "product") for method in DETRENDERS]
)
def test_nothing_mixes_across_gaps_and_products(method: str, border: str) -> None:
    time = two_minutes(10.0, gap=(5.0, 6.0)) if border == "gap" else two_minutes(10.0)
    flux = noisy(time)
    cut = int(np.searchsorted(time, 1505.5))
    starts = [0] if border == "gap" else [0, cut]
    other = flux.copy()
    other[cut:] = 5 * other[cut:][::-1]
    np.testing.assert_array_equal(
        trend_of(time, flux, method, starts=starts)[:cut], trend_of(time, other, method, starts=starts)[:cut]
    )


@pytest.mark.parametrize("method", DETRENDERS)
def test_masked_transits_are_passed_beneath(method: str) -> None:
    time = two_minutes()
    flux = noisy(time)
    inside = np.abs((time - 1501) % 3 - 1.5) < 0.15
    deep = np.where(inside, np.float32(0.7), flux)
    trend = trend_of(time, deep, method, in_transit=inside)
    assert np.isfinite(trend).all()
    np.testing.assert_allclose(trend[inside], 1, atol=3 * SIGMA)
    nothing = np.where(inside, np.float32(np.nan), flux)
    np.testing.assert_array_equal(trend, trend_of(time, nothing, method))


@pytest.mark.parametrize("method", DETRENDERS)
@given(seed=st.integers(0, 1000), share=st.floats(0.0, 0.9))
@settings(max_examples=15, deadline=None)
def test_no_nan_is_invented_inside(method: str, seed: int, share: float) -> None:
    time = two_minutes(5.0, gap=(2.0, 3.0))
    flux = noisy(time, seed)
    rng = np.random.default_rng(seed)
    flux[rng.random(len(time)) < share] = np.nan
    middle = int(rng.integers(len(time)))
    flux[middle : middle + 200] = np.nan
    assert np.isfinite(trend_of(time, flux, method)).all()


@pytest.mark.parametrize("method", DETRENDERS)
def test_without_cadences_there_is_no_trend(method: str) -> None:
    time = two_minutes(2.0)
    assert np.isnan(trend_of(time, np.full(len(time), np.nan, np.float32), method)).all()
    assert np.isnan(trend_of(time[:2], noisy(time[:2]), method)).all()
    assert len(trend_of(time[:0], noisy(time[:0]), method)) == 0


def test_the_trend_of_one_stretch_is_the_same_beside_any_other() -> None:
    time = two_minutes()
    flux = noisy(time)
    alone = trend_of(time, flux)
    more = np.concatenate([time, time + 100])
    np.testing.assert_array_equal(
        trend_of(more, np.concatenate([flux, 3 * flux]), starts=[0, len(time)])[: len(time)], alone
    )


def test_windows_hold_what_a_plain_computation_says() -> None:
    """Sorted windows and Newton's steps against medians and reweighting written out, at every node."""
    time, flux = two_minutes(3.0), noisy(two_minutes(3.0))
    flux[::50] += 0.02
    config = DetrendConfig(bin_minutes=0)
    trend = detrend(time, flux, [0], config, window_days=0.5)
    nodes = np.linspace(time[0], time[-1], int(np.ceil((time[-1] - time[0]) / (0.5 / 32))) + 1)
    for node in nodes[(nodes > time[0] + 0.25) & (nodes < time[-1] - 0.25)][::7]:
        values = flux[np.abs(time - node) <= 0.25].astype(float)
        location = np.median(values)
        cut = 5 * np.median(np.abs(values - location))
        for _ in range(100):
            weights = np.clip(1 - ((values - location) / cut) ** 2, 0, None) ** 2
            location = np.sum(weights * values) / np.sum(weights)
        assert np.interp(node, time, trend) == pytest.approx(location, abs=0.01 * SIGMA)


def retention(depth: float, durations_h: list[float], window: float = 1.0) -> list[float]:
    """Depth kept of boxes `depth` times the noise of a two-minute cadence."""
    time = two_minutes(120.0)
    noise = noisy(time).astype(float)
    plain, kept = trend_of(time, noise.astype(np.float32), window_days=window), []
    for hours in durations_h:
        inside = np.abs((time - time[0]) % 3 - 1.5) < hours / 48
        trend = trend_of(time, (noise - depth * SIGMA * inside).astype(np.float32), window_days=window)
        kept.append(1 - float(np.mean((plain - trend)[inside])) / (depth * SIGMA))
    return kept


def test_a_dip_of_an_eighth_of_the_window_is_kept() -> None:
    """Shallow dips enter the location like any noise (a mean would lose an eighth); deep ones are left out."""
    shallow, middling, deep = (retention(depth, [3.0])[0] for depth in (1.0, 2.0, 5.0))
    assert 0.88 < shallow < middling < deep
    assert middling > 0.95
    assert deep > 0.99


def test_longer_dips_keep_less() -> None:
    kept = depth_retention(two_minutes(60.0), CONFIG, [0.5, 1, 2, 3, 6, 8, 12], 1.0)
    assert kept[0] > 0.98
    assert np.all(np.diff(kept) < 0)
    wider = depth_retention(two_minutes(60.0), CONFIG, [0.5, 1, 2, 3, 6, 8, 12], 2.0)
    assert np.all(wider > kept)


def test_retention_of_what_does_not_fit_is_unknown() -> None:
    kept = depth_retention(two_minutes(2.0), CONFIG, [1, 200], 1.0)
    assert np.isfinite(kept).tolist() == [True, False]


def test_the_classic_filter_eats_shallow_transits() -> None:
    """101 cadences of 2 minutes: a bare, noiseless filter keeps 0.38, 0.16, 0.11 and 0.05 of a box.

    Leaving outliers out, as flatten does, adds a little; how much depends on the depth over the noise.
    """
    kept = depth_retention(two_minutes(30.0), by("savgol"), [1, 2, 3, 6], 0.14)
    bare = np.array([0.38, 0.16, 0.11, 0.05])
    assert np.all((kept > bare - 0.02) & (kept < bare + 0.08))


@pytest.mark.parametrize("gap", [None, (5.0, 6.0)])
def test_savgol_is_what_lightkurve_does(gap: tuple[float, float] | None) -> None:
    lightkurve = import_lightkurve()
    time = two_minutes(10.0, gap=gap)
    inside = np.abs((time - 1501) % 3 - 1.5) < 0.06
    flux = ((1 + 0.01 * np.sin(time)) * noisy(time) * (1 - 0.01 * inside)).astype(np.float32)
    flux[::700] *= np.float32(1.02)
    rival = lightkurve.LightCurve(time=time, flux=flux.astype(float)).flatten(
        window_length=101, polyorder=2, return_trend=True
    )[1]
    # float32 of the trend is all the difference: 6e-8, a ten-thousandth of the scatter.
    np.testing.assert_allclose(trend_of(time, flux, "savgol"), rival.flux.value, atol=2e-7)


def import_lightkurve() -> ModuleType:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightkurve
    return lightkurve


def wotan_trend(time: NDArray[np.float64], flux: NDArray[np.float32], window: float) -> NDArray[np.float64]:
    from wotan import flatten  # type: ignore[import-untyped]

    return flatten(time, flux, method="biweight", window_length=window, break_tolerance=0.5, return_trend=True)[1]


def full_windows(time: NDArray[np.float64], window: float = 1.0) -> NDArray[np.bool_]:
    """Cadences with data all over the window about them."""
    holes = np.flatnonzero(np.diff(time) > 0.5)
    edges = np.concatenate([[time[0], time[-1]], time[holes], time[holes + 1]])
    return np.abs(time[:, None] - edges).min(axis=1) > 0.55 * window


def test_ends_of_stretches_follow_the_slope_of_the_star() -> None:
    """A plain location lags behind at every edge by a quarter window's change; what is left here is a tenth of that."""
    time = two_minutes(24.0, gap=(11.0, 12.2))
    star = 1 + 0.005 * np.sin(2 * np.pi * time / 8.0)
    trend = trend_of(time, (star * noisy(time)).astype(np.float32))
    lag = 0.005 * 2 * np.pi / 8.0 * 0.25
    edges = ~full_windows(time, 0.2)
    assert np.abs((trend - star)[edges]).mean() < 0.3 * lag
    assert np.abs(wotan_trend(time, (star * noisy(time)).astype(np.float32), 1.0) - star)[edges].mean() > 0.4 * lag


@pytest.mark.parametrize("period", [3.0, 8.0])
@pytest.mark.parametrize(("bin_minutes", "typical", "largest"), [(0.0, 0.1, 0.3), (10.0, 0.2, 0.6)])
def test_the_trend_agrees_with_wotan(period: float, bin_minutes: float, typical: float, largest: float) -> None:
    """In units of a cadence's noise, where the windows are full. Bins are less noisy than cadences, so more of the
    star's slope is cut off."""
    time = two_minutes(24.0, gap=(11.0, 12.2))
    flux = ((1 + 0.005 * np.sin(2 * np.pi * time / period)) * noisy(time)).astype(np.float32)
    config = DetrendConfig(bin_minutes=bin_minutes)
    away = (detrend(time, flux, [0], config, window_days=1.0) - wotan_trend(time, flux, 1.0)) / SIGMA
    away = away[full_windows(time)]
    assert np.sqrt(np.mean(away**2)) < typical
    assert np.abs(away).max() < largest


def test_the_trend_does_not_follow_flares() -> None:
    time = two_minutes()
    flux = noisy(time)
    quiet = trend_of(time, flux)
    for start in range(300, len(time), 900):
        flux[start : start + 15] += 0.05
    assert np.abs(trend_of(time, flux) - quiet).max() < 0.5 * SIGMA


@given(st.lists(st.floats(0.001, 1.5), min_size=1, max_size=60), st.data())
def test_stretches_cover_all_and_never_reach_over_a_hole(steps: list[float], draw: st.DataObject) -> None:
    time = np.cumsum(steps)
    starts = sorted(draw.draw(st.sets(st.integers(0, len(time) - 1), max_size=3)) | {0})
    stretches = split_at_gaps(time, starts, 0.5)
    covered = np.concatenate([np.arange(part.start, part.stop) for part in stretches])
    assert covered.tolist() == list(range(len(time)))
    for part in stretches:
        assert not np.any(np.diff(time[part]) > 0.5)
        assert not any(part.start < start < part.stop for start in starts)


@given(st.integers(1, 400), st.just(0.0) | st.floats(1e-4, 0.2))
def test_bins_hold_means_and_forget_no_cadence(count: int, width: float) -> None:
    time = np.cumsum(np.random.default_rng(count).uniform(0.001, 0.01, count))
    flux = np.random.default_rng(count).standard_normal(count)
    times, means = bin_means(time, flux, width)
    assert np.all(np.diff(times) > 0)
    assert len(times) <= count
    if width == 0:
        np.testing.assert_array_equal(means, flux)
    cells = ((time - time[0]) / width).astype(int) if width > 0 else np.arange(count)
    np.testing.assert_allclose(means, [flux[cells == cell].mean() for cell in np.unique(cells)], atol=1e-9)


def test_outliers_above_go_and_dips_stay() -> None:
    flat = noisy(two_minutes(5.0)).astype(float)
    flat[100:110] = 1.05
    flat[1000:1060] = 0.3
    keep = clip_outliers(flat, 4.0)
    assert not keep[100:110].any()
    assert keep[flat < 1].all()
    assert np.mean(keep) > 0.995
    assert not clip_outliers(flat, 4.0, 4.0)[1000:1060].any()


@given(period=st.floats(0.1, 3.0), amplitude=st.floats(0.0, 0.3), phase=st.floats(0, 6.3))
@settings(deadline=None)
def test_crests_of_a_sine_stay(period: float, amplitude: float, phase: float) -> None:
    time = two_minutes(6.0)
    flat = 1 + amplitude * np.sin(2 * np.pi * time / period + phase) + noisy(time) - 1
    assert np.mean(clip_outliers(flat, 4.0)) > 0.999


def test_the_scatter_is_that_of_the_noise_whatever_the_trend() -> None:
    time = two_minutes()
    flux = noisy(time) * (1 + 0.05 * np.sin(time)).astype(np.float32)
    flux[500:560] -= np.float32(0.1)
    assert robust_scatter(flux) == pytest.approx(SIGMA, rel=0.05)
    assert robust_scatter(flux[:1]) == 0.0


@pytest.mark.verify
def test_real_stars_are_detrended_as_by_wotan(archive: Path) -> None:
    """Every TESS 2-minute star of the archive, cadence by cadence; the default bins on those that are not variable."""
    from survey.config import Config
    from survey.stars.sources import fetch, open_source

    source, config = open_source(f"mirror:{archive}", Config()), Config()
    unbinned: dict[str, float] = {}
    binned: dict[str, float] = {}
    for target in source.targets("tess"):
        lc = fetch(target, source, config)
        if lc.cadence_s > 200:
            continue
        scatter = robust_scatter(lc.flux)
        parts = split_at_gaps(lc.time, lc.starts(), CONFIG.gap_days)
        rival = np.concatenate([wotan_trend(lc.time[part], lc.flux[part], 1.0) for part in parts])
        for minutes, found in ((0.0, unbinned), (10.0, binned)):
            trend = detrend(lc.time, lc.flux, lc.starts(), DetrendConfig(bin_minutes=minutes), window_days=1.0)
            assert np.isfinite(trend).all()
            found[target.target_id] = float(np.sqrt(np.mean((trend - rival) ** 2)) / scatter)
    assert len(unbinned) >= 20
    typical, quiet = sorted(unbinned.values()), sorted(binned.values())
    assert typical[len(typical) // 2] < 0.06, unbinned
    assert quiet[len(quiet) // 2] < 0.08, binned
    assert quiet[int(0.8 * len(quiet))] < 0.2, binned
