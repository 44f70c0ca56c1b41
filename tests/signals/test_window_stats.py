"""The statistics of sliding windows: their definitions, what they must not depend on, and the votes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from survey.signals import window_stats
from survey.signals.window_stats import STATISTICS, count_votes, cut_windows, find_runs, measure_windows, stands_out

FAST = 120.0
SLOW = 1765.5
COLUMN = {name: k for k, name in enumerate(STATISTICS)}
ODD = ("mean", "median", "skewness", "slope", "bend")
MIRRORED = (("lowest", "highest"), ("dip", "rise"))


def make_light(days=10.0, cadence_s=SLOW, seed=1, noise=1e-3):
    rng = np.random.default_rng(seed)
    time = 1500 + np.arange(0, days, cadence_s / 86_400)
    return time, 1 + noise * rng.standard_normal(len(time))


def cut(time, flat, cadence_s=SLOW, points=50, step=10, cell_minutes=10.0):
    return cut_windows(time, flat, cadence_s, points=points, step=step, cell_minutes=cell_minutes)


def measure(time, flat, cadence_s=SLOW, **kwargs):
    return measure_windows(cut(time, flat, cadence_s, **kwargs))


def test_there_are_fourteen_and_each_is_what_its_name_says():
    time, flat = make_light()
    windows = cut(time, flat)
    measured = measure_windows(windows)
    assert len(STATISTICS) == 14
    assert measured.shape == (len(windows.firsts), 14)
    first = int(windows.firsts[3])
    x = windows.departures[first : first + 50]
    place = np.linspace(-1, 1, 50)
    bend, slope, _ = np.polyfit(place, x, 2)
    runs = np.convolve(x, np.ones(5), "valid") / np.sqrt(5)
    known = {
        "mean": x.mean(),
        "median": np.median(x),
        "scatter": x.std(),
        "spread": 1.4826 * np.median(np.abs(x - np.median(x))),
        "lowest": x.min(),
        "highest": x.max(),
        "skewness": stats.skew(x),
        "kurtosis": stats.kurtosis(x),
        "slope": slope,
        "bend": bend,
        "correlation": np.sum((x[1:] - x.mean()) * (x[:-1] - x.mean())) / np.sum((x - x.mean()) ** 2),
        "steps": np.sqrt(np.mean(np.diff(x) ** 2) / 2),
        "dip": runs.min(),
        "rise": runs.max(),
    }
    np.testing.assert_allclose(measured[3], [known[name] for name in STATISTICS], rtol=1e-9, atol=1e-12)


def test_cells_are_in_sigmas_of_their_star():
    time, flat = make_light(days=60)
    departures = cut(time, flat).departures
    assert np.median(departures) == pytest.approx(0, abs=1e-12)
    assert np.std(departures) == pytest.approx(1, abs=0.05)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.floats(1e-2, 10),
    level=st.floats(-0.01, 0.01),
    shift=st.floats(-2000, 2000),
    cadence_s=st.sampled_from((20.0, FAST, 600.0, SLOW)),
)
def test_neither_scale_nor_level_nor_time_zero_matters(seed, scale, level, shift, cadence_s):
    time, flat = make_light(2 if cadence_s < 600 else 8, cadence_s, seed)
    plain = measure(time, flat, cadence_s, cell_minutes=10)
    other = measure(time - time[0] + shift, 1 + level + scale * (flat - 1), cadence_s, cell_minutes=10)
    np.testing.assert_allclose(other, plain, rtol=1e-6, atol=1e-7)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), depth=st.floats(0, 0.05))
def test_an_inverted_star_has_mirrored_statistics(seed, depth):
    time, flat = make_light(seed=seed)
    flat[100:110] -= depth
    up, down = measure(time, flat), measure(time, 2 - flat)
    for name, column in COLUMN.items():
        if name in ODD:
            np.testing.assert_allclose(down[:, column], -up[:, column], atol=1e-7)
        elif not any(name in pair for pair in MIRRORED):
            np.testing.assert_allclose(down[:, column], up[:, column], atol=1e-7)
    for low, high in MIRRORED:
        np.testing.assert_allclose(down[:, COLUMN[low]], -up[:, COLUMN[high]], atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(
    holes=st.lists(st.tuples(st.floats(0, 20), st.floats(0.1, 3)), max_size=4),
    points=st.integers(10, 60),
    step=st.integers(1, 10),
    cadence_s=st.sampled_from((600.0, SLOW)),
)
def test_windows_cover_every_long_stretch_and_no_hole(holes, points, step, cadence_s):
    time, flat = make_light(20, cadence_s)
    keep = np.ones(len(time), bool)
    for begin, days in holes:
        keep &= (time - 1500 < begin) | (time - 1500 > begin + days)
    time, flat = time[keep], flat[keep]
    windows = cut(time, flat, cadence_s, points=points, step=step)
    for first in windows.firsts:
        assert np.diff(windows.times[first : first + points]).max() <= 0.5 + 1e-9
    of_cells, of_cadences = count_votes(windows, np.ones(len(windows.firsts), bool))
    stretches = np.split(np.arange(len(time)), np.flatnonzero(np.diff(time) > 0.5) + 1)
    for stretch in stretches:
        expected = 1.0 if len(stretch) >= points else np.nan
        np.testing.assert_array_equal(of_cadences[stretch], expected)
    assert len(of_cells) == len(windows.times)


@pytest.mark.parametrize(
    ("cadence_s", "minutes"), [(20.0, 10), (58.8, 10), (FAST, 10), (200.0, 10), (600.0, 10), (SLOW, 29.4)]
)
def test_fast_cadences_share_cells_and_slow_ones_do_not(cadence_s, minutes):
    time, flat = make_light(6, cadence_s)
    windows = cut(time, flat, cadence_s)
    assert np.median(np.diff(windows.times)) * 1440 == pytest.approx(minutes, rel=0.02)
    if cadence_s >= 600:
        np.testing.assert_array_equal(windows.cells, np.arange(len(time)))
    assert (windows.cells >= 0).mean() > 0.98


def test_a_cell_that_is_hardly_filled_is_left_out():
    time, flat = make_light(6, 20.0)
    lost = np.zeros(len(time), bool)
    lost[60 * 5 + 2 : 60 * 5 + 30] = True
    windows = cut(time[~lost], flat[~lost], 20.0)
    assert (windows.cells == -1).sum() == 2
    assert np.isnan(count_votes(windows, np.ones(len(windows.firsts), bool))[1][windows.cells == -1]).all()


def test_votes_are_shares_of_the_windows_over_a_point():
    time, flat = make_light()
    windows = cut(time, flat)
    strange = np.random.default_rng(5).random(len(windows.firsts)) < 0.3
    of_cells, of_cadences = count_votes(windows, strange)
    for cell in range(len(windows.times)):
        over = (windows.firsts <= cell) & (cell < windows.firsts + 50)
        assert of_cells[cell] == pytest.approx(strange[over].mean())
    np.testing.assert_array_equal(of_cadences, of_cells)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=480, max_size=480))
def test_runs_hold_all_that_is_flagged_and_end_at_holes(bits):
    time, flat = make_light()
    time[200:] += 3
    windows = cut(time, flat)
    flagged = np.array(bits + [True] * (len(windows.times) - len(bits)))
    again = np.zeros(len(flagged), bool)
    for first, stop in find_runs(windows, flagged):
        assert flagged[first:stop].all()
        assert not first < 200 < stop
        assert first in (0, 200) or not flagged[first - 1]
        again[first:stop] = True
    np.testing.assert_array_equal(again, flagged)


@pytest.mark.parametrize("count", [0, 1, 2, 49])
def test_too_short_a_star_has_no_windows(count):
    time, flat = make_light()
    windows = cut(time[:count], flat[:count])
    assert measure_windows(windows).shape == (0, 14)
    assert np.isnan(count_votes(windows, np.empty(0, bool))[1]).all()
    assert find_runs(windows, np.zeros(len(windows.times), bool)) == []


def test_a_constant_star_has_statistics_of_nothing():
    time, _ = make_light()
    measured = measure(time, np.ones(len(time)))
    assert measured.shape[0] > 0
    np.testing.assert_array_equal(measured, 0)


def test_damaged_numbers_stay_bounded():
    time, flat = make_light()
    flat[[10, 200]] = 1e30, -1e30
    flat[300:320] = np.nan
    measured = measure(time, flat)
    assert np.isfinite(measured).all()
    assert measured[:, COLUMN["highest"]].max() == window_stats.FURTHEST


def test_nonsense_is_refused():
    time, flat = make_light()
    with pytest.raises(ValueError, match="rise"):
        cut(time[::-1], flat)
    with pytest.raises(ValueError, match="rise"):
        cut(time, flat[:-1])
    with pytest.raises(ValueError, match="windows"):
        cut(time, flat, points=5)
    with pytest.raises(ValueError, match="step"):
        cut(time, flat, step=51)


def test_cells_of_an_event_stand_out_and_those_about_it_do_not():
    time, flat = make_light(days=40, seed=3)
    flat[300] += 0.02
    flat[700:709] -= 0.0027
    found = stands_out(cut(time, flat))
    assert found[300]
    assert found[702:707].all()
    for about in (slice(290, 300), slice(301, 311), slice(690, 698), slice(711, 720)):
        assert not found[about].any()
    assert found.sum() < 20
    assert not stands_out(cut(time, np.ones_like(flat))).any()
    assert len(stands_out(cut(time[:0], flat[:0]))) == 0


def test_what_a_star_does_all_the_time_does_not_stand_out():
    time, flat = make_light(days=40, noise=2e-4)
    spotted = flat + 0.003 * np.sin(6 * time)
    assert not stands_out(cut(time, spotted)).any()
    spotted[500:505] += 0.03
    np.testing.assert_array_equal(np.flatnonzero(stands_out(cut(time, spotted))), np.arange(500, 505))


def test_medians_do_not_reach_over_a_hole():
    time, flat = make_light(days=40)
    time = np.concatenate([time[:900], time[900:] + 5])
    flat[894:900] -= 0.02
    found = stands_out(cut(time, flat))
    assert found[894:900].all()
    assert not found[900:].any()
