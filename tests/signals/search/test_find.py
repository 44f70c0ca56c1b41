"""Injected transits come back with the right numbers; noise, glitches and sines do not."""

from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.config import Config, SearchConfig
from survey.errors import UsageError
from survey.signals.search import FlatCurve, find, find_tces, remeasure, resolve_engine
from survey.signals.search.curve import make_dips
from survey.signals.search.find import load_engine
from survey.signals.search.single import open_periods
from survey.signals.search.spectrum import fold
from survey.signals.search.tce import Tce
from survey.signals.variability import Variability
from survey.signals.vetting import judge, vet
from survey.stars import inject
from survey.stars.lightcurve import Star

CADENCE = 2.0 / 1440.0
CONFIG = Config()


def make_times(days: float, cadence: float = CADENCE, start: float = 1325.3) -> np.ndarray:
    time = np.arange(0, days, cadence)
    gap = (time > 0.47 * days) & (time < 0.47 * days + 1.0)
    return start + time[~gap]


def make_curve(
    time: np.ndarray,
    signals: list[tuple[float, float, float, float]],
    noise: float = 1e-3,
    seed: int = 0,
    **more: object,
) -> FlatCurve:
    """signals: (period d, epoch d, duration h, depth)."""
    flux = 1 + noise * np.random.default_rng(seed).standard_normal(len(time))
    for period, epoch, hours, depth in signals:
        phase = np.abs((time - epoch + period / 2) % period - period / 2)
        flux[phase < hours / 48] -= depth
    cadence = float(np.median(np.diff(time)))
    return FlatCurve(time, flux.astype(np.float32), np.full(len(time), noise, np.float32), cadence, 1.0, **more)  # type: ignore[arg-type]


def flags_of(curve: FlatCurve, tces: list[Tce]) -> list[tuple[str, ...]]:
    """What the gate holds against each signal, nothing being known of the star."""
    reports = vet(curve, tces, Star(), Variability(), CONFIG.gate)
    return [judge(report.checks, CONFIG.gate).flags for report in reports]


def test_a_planet_comes_back_with_its_numbers() -> None:
    period, epoch, hours, depth = 3.4567, 1326.2, 2.4, 2e-3
    curve = make_curve(make_times(27), [(period, epoch, hours, depth)])
    (tces,) = find_tces([curve], CONFIG)
    assert len(tces) == 1
    tce = tces[0]
    assert tce.period == pytest.approx(period, rel=3e-4)
    assert abs(tce.epoch - epoch) < hours / 24 / 10
    assert tce.duration_h == pytest.approx(hours, rel=0.15)
    assert tce.depth_ppm == pytest.approx(depth * 1e6, rel=0.1)
    assert tce.n_transits == 8
    assert tce.mes > 20
    assert abs(tce.period - period) < 5 * tce.period_err + 1e-5
    assert flags_of(curve, tces) == [()]


def test_several_planets_of_one_star_come_back_one_after_another() -> None:
    signals = [(2.1, 1326.0, 2.0, 2.5e-3), (5.03, 1327.1, 2.6, 2.0e-3), (8.7, 1328.9, 3.0, 2.2e-3)]
    (tces,) = find_tces([make_curve(make_times(27), signals)], CONFIG)
    found = sorted(tce.period for tce in tces[:3])
    np.testing.assert_allclose(found, [2.1, 5.03, 8.7], rtol=1e-3)
    assert [tce.number for tce in tces] == list(range(1, len(tces) + 1))


def test_white_noise_gives_nothing() -> None:
    curves = [make_curve(make_times(27), [], seed=seed) for seed in range(12)]
    assert sum(len(tces) for tces in find_tces(curves, CONFIG)) == 0


def test_red_noise_is_not_promoted() -> None:
    rng = np.random.default_rng(3)
    curves = []
    for _ in range(6):
        time = make_times(27)
        steps = rng.standard_normal(len(time) // 90 + 2)
        red = 6e-4 * np.interp(np.arange(len(time)) / 90, np.arange(len(steps)), steps)
        flux = 1 + red + 1e-3 * rng.standard_normal(len(time))
        curves.append(FlatCurve(time, flux.astype(np.float32), np.full(len(time), 1e-3, np.float32), CADENCE, 1.0))
    assert sum(tce.mes >= 8 for tces in find_tces(curves, CONFIG) for tce in tces) == 0


def test_a_single_deep_event_is_no_planet_and_does_not_hide_one() -> None:
    curve = make_curve(make_times(27), [(4.2, 1327.0, 2.4, 2e-3)])
    flux = np.array(curve.flux)
    flux[np.abs(curve.time - 1334.0) < 0.08] -= 0.05
    curve = replace(curve, flux=flux)
    (tces,) = find_tces([curve], CONFIG)
    planet, single = tces
    assert planet.period == pytest.approx(4.2, rel=1e-3)
    assert (single.period, single.n_transits) == (None, 1)
    assert flags_of(curve, tces) == [(), ("single_transit",)]


def test_a_sine_does_not_pass_the_gate() -> None:
    time = make_times(27)
    noise = 1e-3 * np.random.default_rng(5).standard_normal(len(time))
    for period in (0.83, 2.2):
        flux = 1 + 5e-3 * np.sin(2 * np.pi * time / period) + noise
        curve = FlatCurve(time, flux, np.full(len(time), 1e-3), CADENCE, 1.0)
        (tces,) = find_tces([curve], CONFIG)
        assert tces
        assert all(flags_of(curve, tces))


def test_eclipses_of_unlike_depth_come_back_at_the_orbital_period() -> None:
    orbit = 3.1
    signals = [(orbit, 1326.0, 2.4, 2.0e-2), (orbit, 1326.0 + orbit / 2, 2.4, 1.2e-2)]
    (tces,) = find_tces([make_curve(make_times(27), signals)], CONFIG)
    assert tces[0].period == pytest.approx(orbit, rel=1e-3)
    assert tces[0].depth_ppm == pytest.approx(2.0e4, rel=0.1)


def test_sectors_years_apart_are_searched_together() -> None:
    time = np.concatenate([make_times(26, start=1570.7), make_times(26, start=2308.1)])
    period, epoch = 2.5404679, 1572.64
    curve = make_curve(time, [(period, epoch, 2.2, 6e-4)], starts=(0, len(make_times(26))))
    (tces,) = find_tces([curve], CONFIG)
    assert tces
    assert tces[0].period == pytest.approx(period, abs=5 * tces[0].period_err + 2e-5)


def test_batch_mates_do_not_change_a_star() -> None:
    curves = [
        make_curve(make_times(27), [(1.7 + 0.9 * k, 1326.0, 2.2, 2.5e-3)], seed=k, noise=1e-3 * (1 + 0.1 * k))
        for k in range(3)
    ]
    curves.append(make_curve(make_times(60, 30 / 1440), [(6.0, 1327.0, 4.0, 2e-3)], seed=9))
    together = find_tces(curves, CONFIG)
    alone = [find_tces([curve], CONFIG)[0] for curve in curves]
    assert [[astuple(tce) for tce in tces] for tces in together] == [[astuple(tce) for tce in tces] for tces in alone]


@pytest.mark.parametrize("engine", ["jax", "numpy"])
def test_engines_find_the_same_signal(engine: str) -> None:
    config = Config(search=SearchConfig(period_min=3.0, period_max=6.0, max_tces=1))
    curve = make_curve(make_times(20, 20 / 1440), [(4.4, 1326.9, 3.0, 3e-3)])
    expected = find_tces([curve], config, "numba")[0][0]
    got = find_tces([curve], config, engine)[0][0]  # type: ignore[arg-type]
    assert got.period == pytest.approx(expected.period, rel=1e-6)
    assert got.mes == pytest.approx(expected.mes, rel=1e-3)


def test_the_two_pass_grid_finds_a_planet_of_one_sector() -> None:
    config = Config(search=SearchConfig(method="two_pass", period_max=13.0, coarse_periods=500, refine_periods=300))
    curve = make_curve(make_times(27, 10 / 1440), [(4.2, 1327.0, 2.4, 4e-3)])
    (tces,) = find_tces([curve], config)
    assert [tce.period for tce in tces] == pytest.approx([4.2], rel=2e-3)


def test_a_light_curve_shorter_than_the_shortest_period_has_no_tces() -> None:
    time = np.arange(0, 0.4, CADENCE)
    assert find_tces([FlatCurve(time, np.ones(len(time)), np.full(len(time), 1e-3), CADENCE)], CONFIG) == [[]]


def test_remeasuring_the_same_curve_keeps_the_signal() -> None:
    curve = make_curve(make_times(27), [(3.4567, 1326.2, 2.4, 2e-3)])
    (tces,) = find_tces([curve], CONFIG)
    (again,) = remeasure(curve, tces, CONFIG.search)
    assert again.period == pytest.approx(tces[0].period, rel=1e-4)
    assert again.mes == pytest.approx(tces[0].mes, rel=0.05)
    assert again.inverted_mes == tces[0].inverted_mes


def test_auto_takes_the_gpu_where_there_is_one() -> None:
    assert resolve_engine("auto", has_gpu=True) == "jax"
    assert resolve_engine("auto", has_gpu=False) == "numba"
    assert resolve_engine("numpy", has_gpu=True) == "numpy"
    with pytest.raises(UsageError, match="choose one of"):
        load_engine("cuda")  # type: ignore[arg-type]


def test_ramps_beside_gaps_are_no_events() -> None:
    """Two dips that lie half in gaps fit a period, but nothing shows that the light came back after them."""
    time = make_times(40, 10 / 1440)
    time = time[(np.abs(time - 1336.1) > 0.5) & (np.abs(time - 1352.1) > 0.5)]
    flux = 1 + 5e-4 * np.random.default_rng(8).standard_normal(len(time))
    for edge in (1335.6, 1351.6):
        flux[(time > edge - 0.15) & (time <= edge)] -= 4e-3
    curve = FlatCurve(time, flux, np.full(len(time), 5e-4), 10 / 1440, 1.0)
    assert find_tces([curve], CONFIG) == [[]]


# --- how many passes -----------------------------------------------------------------------------------------------


def count_folds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of stars of every call of `fold` from now on."""
    stars: list[int] = []

    def counted(batch: list[object], search: object) -> list[object]:
        if batch:
            stars.append(len(batch))
        return fold(batch, search)  # type: ignore[arg-type,return-value]

    monkeypatch.setattr(find, "fold", counted)
    return stars


def test_a_quiet_star_costs_one_fold_and_a_planet_two(monkeypatch: pytest.MonkeyPatch) -> None:
    stars = count_folds(monkeypatch)
    quiet = [make_curve(make_times(27), [], seed=seed) for seed in range(2)]
    planet = make_curve(make_times(27), [(3.4567, 1326.2, 2.4, 2e-3)])
    found = find_tces([*quiet, planet], CONFIG)
    assert [len(tces) for tces in found] == [0, 0, 1]
    assert stars == [3, 1]


def test_a_hunt_that_ends_early_is_folded_once_more_for_the_inverted_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    planet = make_curve(make_times(27), [(3.4567, 1326.2, 2.4, 2e-3)])
    (full,) = find_tces([planet], CONFIG)
    stars = count_folds(monkeypatch)
    (early,) = find_tces([planet], Config(search=SearchConfig(max_tces=1)))
    assert stars == [1, 1]
    assert (early[0].inverted_mes, early[0].fap) == (full[0].inverted_mes, full[0].fap)


# --- harmonics -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("secondary", [0.1, 0.3, 0.7])
def test_an_eclipsing_binary_comes_back_at_its_period(seed: int, secondary: float) -> None:
    rng = np.random.default_rng([seed, round(10 * secondary)])
    time, period = make_times(27, 10 / 1440), float(np.exp(rng.uniform(np.log(1.1), np.log(8))))
    epoch, depth = 1325.3 + period * rng.uniform(), rng.uniform(0.02, 0.2)
    flux = inject.eclipsing_binary(
        time,
        period=period,
        epoch=epoch,
        duration=0.9 * period**0.33 / 8,
        depth=depth,
        secondary_depth=secondary * depth,
    )
    flux += 1e-3 * rng.standard_normal(len(time))
    (tces,) = find_tces([FlatCurve(time, flux, np.full(len(time), 1e-3), 10 / 1440, 1.0)], CONFIG)
    assert tces[0].period == pytest.approx(period, rel=1e-3)
    away = (tces[0].epoch - epoch + period / 2) % period - period / 2
    assert abs(away) < 0.02, "the epoch is that of the primary"


@pytest.mark.parametrize("seed", range(16))
def test_a_planet_comes_back_at_its_period_and_not_at_a_harmonic(seed: int) -> None:
    rng = np.random.default_rng(seed)
    time, period = make_times(27, 10 / 1440), float(np.exp(rng.uniform(np.log(0.6), np.log(8.5))))
    for hole in rng.uniform(1326, 1351, 3):
        time = time[np.abs(time - hole) > 0.3]
    epoch, duration = 1325.3 + period * rng.uniform(), inject.transit_duration(period, 1.0, 0.05, 0.3)
    dip = 1 - inject.small_planet_transit(
        time, period=period, epoch=epoch, duration=duration, radius_ratio=0.05, impact=0.3, exposure_s=600
    )
    noise = float(np.sqrt((dip**2).sum())) / rng.uniform(12, 40)
    flux = 1 - dip + noise * rng.standard_normal(len(time))
    (tces,) = find_tces([FlatCurve(time, flux, np.full(len(time), noise), 10 / 1440, 1.0)], CONFIG)
    assert tces[0].period == pytest.approx(period, rel=2e-3)


# --- one or two transits -------------------------------------------------------------------------------------------


def with_dips(
    middles: list[float], depth: float = 6e-3, days: float = 27, hours: float = 5, seed: int = 0
) -> FlatCurve:
    """Transits at these times, on white noise of a thousandth."""
    curve = make_curve(make_times(days, 10 / 1440), [], seed=seed)
    flux = np.array(curve.flux, float)
    for middle in middles:
        flux *= inject.trapezoid_transit(curve.time, period=1e4, epoch=middle, duration=hours / 24, depth=depth)
    return replace(curve, flux=flux)


@pytest.mark.parametrize("seed", range(6))
def test_a_single_transit_is_reported_as_such(seed: int) -> None:
    middle = float(np.random.default_rng(seed).choice([1327.5, 1331.2, 1336.0, 1341.7, 1348.9]))
    curve = with_dips([middle], seed=seed)
    (tces,) = find_tces([curve], CONFIG)
    (single,) = tces
    assert (single.period, single.period_err, single.n_transits, single.n_open_periods) == (None, None, 1, None)
    assert abs(single.epoch - middle) < 4 * single.epoch_err
    assert single.epoch_err < 0.02
    assert single.duration_h == pytest.approx(5, rel=0.15)
    assert single.depth_ppm == pytest.approx(6e3, rel=0.1)
    assert single.mes == pytest.approx(single.max_ses, rel=0.02)
    assert single.mes > CONFIG.search.single_threshold
    assert flags_of(curve, tces) == [("single_transit",)]


def test_a_second_look_at_a_single_transit_keeps_it_single() -> None:
    curve = with_dips([1331.2])
    (tces,) = find_tces([curve], CONFIG)
    (again,) = remeasure(curve, tces, CONFIG.search)
    assert again.period is None
    assert again.epoch == pytest.approx(tces[0].epoch, abs=0.01)
    assert (again.mes, again.max_ses) == (tces[0].mes, tces[0].max_ses)
    assert again.as_row(2457000.0)["epoch_bjd"] == again.epoch + 2457000.0


def test_two_transits_have_a_period_that_the_data_allow() -> None:
    """17.4 d apart: half of that would show a transit where there is data, so that one period is left."""
    curve = with_dips([1328.0, 1345.4])
    (tces,) = find_tces([curve], CONFIG)
    assert [tce.period for tce in tces] == pytest.approx([17.4], abs=0.01)
    assert (tces[0].n_transits, tces[0].n_open_periods) == (2, 1)
    assert flags_of(curve, tces) == [()]


@settings(deadline=None, max_examples=40)
@given(
    cadence=st.sampled_from([2.0, 5.0, 10.0, 29.4]),
    first=st.floats(0.2, 9.5),
    separation=st.floats(4.0, 17.0),
    hole=st.floats(1.0, 26.0),
)
def test_open_periods_are_those_that_no_data_contradict(
    cadence: float, first: float, separation: float, hole: float
) -> None:
    """Against transit times counted one by one, whatever the cadence and wherever the gap."""
    time = np.arange(0, 27, cadence / 1440)
    time = time[np.abs(time - hole) > 0.8]
    dips = make_dips(FlatCurve(time, 1 + 1e-3 * np.sin(1e5 * time), np.full(len(time), 1e-3), cadence / 1440), 200.0)
    found = open_periods(dips, first, first + separation, 0.2, 0.5)
    for count in range(1, int(separation / 0.6) + 1):
        middles = first + separation / count * np.arange(-60, 60)
        middles = middles[(np.abs(middles - first) > 0.01) & (np.abs(middles - first - separation) > 0.01)]
        seen = (middles > 0.2) & (middles < 26.8) & (np.abs(middles - hole) > 1.0)
        hidden = (middles < -0.15) | (middles > 27.15) | (np.abs(middles - hole) < 0.65)
        if seen.any() or hidden.all():
            is_open = any(abs(period * count / separation - 1) < 1e-9 for period in found)
            assert is_open == (not seen.any())


def test_two_transits_about_a_gap_leave_periods_open() -> None:
    """The gap hides the middle: half the separation fits as well, is more likely, and is no candidate's period yet."""
    time = make_times(27, 10 / 1440)
    gap = 0.5 * (time[np.argmax(np.diff(time))] + time[np.argmax(np.diff(time)) + 1])
    curve = with_dips([gap - 8.0, gap + 8.0])
    (tces,) = find_tces([curve], CONFIG)
    assert [tce.period for tce in tces] == pytest.approx([8.0], abs=0.01)
    assert tces[0].n_open_periods == 2
    assert flags_of(curve, tces) == [("two_transits",)]


def test_two_transits_that_no_period_fits_are_two_single_ones() -> None:
    """7 d apart, with data where the next one would have been."""
    (tces,) = find_tces([with_dips([1334.0, 1341.0])], CONFIG)
    assert [tce.period for tce in tces] == [None, None]
    assert [tce.epoch for tce in tces] == pytest.approx([1334.0, 1341.0], abs=0.02)


def test_two_unlike_transits_are_not_one_planet() -> None:
    deep, shallow = with_dips([1328.0], depth=2e-2), with_dips([1345.4], depth=6e-3)
    both = replace(deep, flux=deep.flux * shallow.flux / make_curve(make_times(27, 10 / 1440), []).flux)
    (tces,) = find_tces([both], CONFIG)
    assert [tce.period for tce in tces] == [None, None]


def distort(curve: FlatCurve, kind: str) -> FlatCurve:
    """What looks like a transit and is none."""
    since = curve.time - 1331.0
    if kind == "step":
        return replace(curve, flux=curve.flux - np.where((since > 0) & (since < 3), 5e-3 * (1 - since / 3), 0))
    if kind == "ramp after a gap":
        keep = (since < -1) | (since > 0)
        flux = curve.flux - np.where(since > 0, 8e-3 * np.exp(-np.maximum(since, 0) / 0.15), 0)
        return replace(curve, time=curve.time[keep], flux=flux[keep], flux_err=curve.flux_err[keep])
    if kind == "half in a gap":
        keep = (since < 0) | (since > 1)
        flux = curve.flux - np.where(np.abs(since) < 0.2, 8e-3, 0)
        return replace(curve, time=curve.time[keep], flux=flux[keep], flux_err=curve.flux_err[keep])
    if kind == "flare":
        flux = curve.flux + inject.flares(curve.time, peaks=[1331.0], amplitudes=[0.3], widths=[0.01])
        flux = np.minimum(flux, 1 + 4e-3)
        return replace(curve, flux=flux - np.where((since > 0.05) & (since < 0.4), 6e-3 * np.exp(-since / 0.1), 0))
    waves = 4e-3 * np.sin(2 * np.pi * since / 0.5) * np.exp(-((since / 0.4) ** 2))
    return replace(curve, flux=curve.flux - waves)


@pytest.mark.parametrize("kind", ["step", "ramp after a gap", "half in a gap", "flare", "wave"])
def test_what_is_no_transit_is_no_single_transit(kind: str) -> None:
    curve = make_curve(make_times(27, 10 / 1440), [])
    assert find_tces([distort(curve, kind)], CONFIG) == [[]]


def test_the_threshold_of_single_events_holds() -> None:
    curve = with_dips([1331.2])
    (single,) = find_tces([curve], CONFIG)[0]
    assert find_tces([curve], Config(search=SearchConfig(single_threshold=single.mes + 1))) == [[]]


def test_a_second_look_does_not_take_the_secondary_eclipse_for_the_primary() -> None:
    """Two signals of one binary, the second a remnant beside the primary eclipse: both stay where they are."""
    period, first = 1.6, 1325.9
    time = np.arange(1325.3, 1352.0, 2 / 1440)
    flux = np.ones(len(time)) + 3e-4 * np.random.default_rng(2).standard_normal(len(time))
    for epoch, depth in ((first, 0.1), (first + period / 2, 0.04)):
        phase = np.abs((time - epoch + period / 2) % period - period / 2)
        flux[phase < 0.05] -= depth
    curve = FlatCurve(time, flux, np.full(len(time), 3e-4), 2 / 1440, 1.0)
    (tces,) = find_tces([curve], CONFIG)
    primary = tces[0]
    remnant = replace(primary, number=2, epoch=first + 0.06)
    again = remeasure(curve, [primary, remnant], CONFIG.search)
    assert primary.period == pytest.approx(period, rel=1e-3)
    for tce in again:
        assert abs((tce.epoch - first + period / 2) % period - period / 2) < 0.1
