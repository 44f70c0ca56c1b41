"""Windows of a light curve: coverage, levels, gaps, labels."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.signals.ephemeris import Ephemeris
from survey.signals.segments import DAY_S, DOUBTFUL, SegmentSpec, best_cover, cut_segments, label_segments

SPEC = SegmentSpec(window=64)
CADENCE_S = 600.0


def observed(seed: int, n: int = 900, lost: float = 0.1, cadence_s: float = CADENCE_S):
    """Times of (n,) cadences without some, one short and one long gap among them, and noise about 1."""
    rng = np.random.default_rng(seed)
    kept = rng.random(n) >= lost
    for length in (10, 40):
        begin = rng.integers(0, n - length)
        kept[begin : begin + length] = False
    kept[0] = True
    time = 1500.0 + np.flatnonzero(kept) * cadence_s / DAY_S
    flat = 1 + 1e-3 * rng.standard_normal(len(time))
    return time, flat * (1 + 0.01 * np.sin(time)), flat


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 900), st.sampled_from([1, 7, 16, 64]), st.sampled_from([0.0, 0.3]))
def test_every_cadence_that_a_window_may_hold_is_held(seed, n, stride, lost):
    time, raw, flat = observed(seed, max(n, 50), lost)
    spec = SegmentSpec(window=64, stride=stride, least_share=0.2)
    segments = cut_segments(time, raw, flat, CADENCE_S, spec)
    held = np.zeros(len(time), bool)
    for begin in segments.begin:
        held |= (time > begin - 0.51 * segments.bin_d) & (time < begin + 63.51 * segments.bin_d)
    # By hand: a cadence may be missed only where all windows of its stretch about it hold too little.
    borders = np.flatnonzero(np.diff(time) > 16 * segments.bin_d) + 1
    for stretch in np.split(np.arange(len(time)), borders):
        bins = np.round((time[stretch] - time[stretch[0]]) / segments.bin_d).astype(int)
        last = max(0, bins[-1] + 1 - 64)
        for cadence, place in zip(stretch, bins, strict=True):
            if held[cadence]:
                continue
            starts = [s for s in {*range(0, last + 1, spec.step), last} if s <= place < s + 64]
            assert starts
            assert all(((bins >= s) & (bins < s + 64)).sum() < 0.2 * 64 for s in starts)
    assert (segments.measured.mean(1) >= 0.2).all()


def test_windows_follow_by_a_stride_and_the_last_ends_with_the_light():
    time = 1500 + np.arange(300) * CADENCE_S / DAY_S
    flux = 1 + 1e-3 * np.random.default_rng(0).standard_normal(300)
    segments = cut_segments(time, flux, flux, CADENCE_S, SPEC)
    starts = np.round((segments.begin - time[0]) / segments.bin_d).astype(int)
    assert starts.tolist() == [*range(0, 225, 16), 236]
    assert segments.middle == pytest.approx((time[starts] + time[starts + 63]) / 2)
    assert segments.measured.all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(-1000, 1000))
def test_a_shift_in_time_changes_nothing(seed, days):
    time, raw, flat = observed(seed)
    here = cut_segments(time, raw, flat, CADENCE_S, SPEC)
    there = cut_segments(time + days, raw, flat, CADENCE_S, SPEC)
    assert there.begin == pytest.approx(here.begin + days)
    assert np.array_equal(here.measured, there.measured)
    assert np.array_equal(here.light, there.light)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.floats(0.3, 30.0),
    st.floats(0, 1),
    st.floats(0.01, 0.25),
    st.sampled_from([120.0, 600.0]),
)
def test_labels_agree_with_a_walk_over_all_transits(seed, period, phase, duration, cadence_s):
    time, raw, flat = observed(seed, n=700, cadence_s=cadence_s)
    signal = Ephemeris(period, 1500 + phase * period, duration)
    segments = cut_segments(time, raw, flat, cadence_s, SPEC)
    found = best_cover(segments, signal)
    labels = label_segments(segments, [signal])
    half = segments.bin_d / 2
    for k, (bins, measured) in enumerate(zip(segments.times(), segments.measured, strict=True)):
        best = 0.0
        first = int(np.floor((bins[0] - signal.epoch) / period)) - 1
        for number in range(first, int((bins[-1] - signal.epoch) / period) + 2):
            middle = signal.epoch + number * period
            low = np.maximum(bins - half, middle - duration / 2)
            high = np.minimum(bins + half, middle + duration / 2)
            best = max(best, np.clip(high - low, 0, None)[measured].sum() / duration)
        assert found[k] == pytest.approx(best, abs=1e-6)
        if abs(best - 0.5) > 1e-6 and not 0 < best < 1e-6:
            assert labels[k] == (1 if best > 0.5 else DOUBTFUL if best > 0 else 0)


def test_a_transit_in_a_gap_does_not_count():
    time = 1500 + np.arange(300) * CADENCE_S / DAY_S
    flux = 1 + 1e-3 * np.random.default_rng(0).standard_normal(300)
    signal = Ephemeris(100.0, time[150], 0.05)
    kept = np.abs(time - signal.epoch) > 0.05
    assert label_segments(cut_segments(time, flux, flux, CADENCE_S, SPEC), [signal]).any()
    assert not label_segments(cut_segments(time[kept], flux[kept], flux[kept], CADENCE_S, SPEC), [signal]).any()


def test_levels_are_robust_and_gaps_are_filled():
    time, raw, flat = observed(3)
    flat[400:406] -= 0.05
    segments = cut_segments(time, raw, flat, CADENCE_S, SPEC)
    for light, measured in zip(segments.light, segments.measured, strict=True):
        assert np.median(light[1][measured]) == pytest.approx(0, abs=1e-5)
        assert np.median(np.abs(light[1][measured])) == pytest.approx(1 / 1.4826, rel=1e-4)
        assert not light[1][~measured].any()
    assert segments.light[:, 1].min() < -30
    assert (~segments.measured).any()


def test_centring_keeps_depths():
    time = 1500 + np.arange(64) * CADENCE_S / DAY_S
    flat = np.ones(64)
    flat[30:33] = 0.99
    (light,) = cut_segments(time, flat, flat, CADENCE_S, SegmentSpec(window=64, channels=1, level="centre")).light
    assert light.shape == (1, 64)
    assert light[0, 31] == pytest.approx(-10, abs=1e-3)


def test_fast_cadences_are_binned_and_slow_ones_kept():
    for cadence_s, width_s in ((20.0, 600.0), (120.0, 600.0), (600.0, 600.0), (1765.5, 1765.5)):
        n = int(200 * width_s / cadence_s)
        time = 1500 + np.arange(n) * cadence_s / DAY_S
        jitter = 0.1 * cadence_s / DAY_S * np.random.default_rng(0).uniform(-1, 1, n)
        flux = 1 + 1e-4 * np.arange(n) * cadence_s / width_s
        segments = cut_segments(time + jitter, flux, flux, cadence_s, SegmentSpec(window=64, level="centre"))
        assert segments.bin_d == width_s / DAY_S
        assert segments.measured.all()
        assert np.diff(segments.light[0, 1]) == pytest.approx(0.1, abs=0.011)


def test_a_short_light_curve_stands_in_the_middle_of_a_window():
    time = 1500 + np.arange(40) * CADENCE_S / DAY_S
    flux = 1 + 1e-3 * np.random.default_rng(0).standard_normal(40)
    segments = cut_segments(time, flux, flux, CADENCE_S, SPEC)
    assert len(segments) == 1
    assert np.flatnonzero(segments.measured[0]).tolist() == list(range(12, 52))
    assert not segments.light[0][:, ~segments.measured[0]].any()
    assert segments.times()[0, 12] == pytest.approx(time[0])


@pytest.mark.parametrize(
    ("time", "flux", "count"),
    [
        (np.empty(0), np.empty(0), 0),
        (np.array([1500.0]), np.array([1.0]), 0),
        (1500 + np.arange(500) / 144, np.full(500, np.nan), 0),
        (1500 + np.arange(500) / 144, np.ones(500), 29),
        (1500 + np.arange(500) * 100.0, np.ones(500), 0),
    ],
)
def test_odd_light_curves(time, flux, count):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        segments = cut_segments(time, flux, flux, CADENCE_S, SPEC)
        assert len(label_segments(segments, [Ephemeris(1.0, 1500.0, 0.1)])) == len(segments)
    assert len(segments) == count
    assert np.isfinite(segments.light).all()
