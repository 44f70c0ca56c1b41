"""Injected transits come back with the right numbers; noise, glitches and sines do not."""

from dataclasses import astuple

import numpy as np
import pytest

from survey.config import Config, SearchConfig
from survey.errors import UsageError
from survey.signals.search import FlatCurve, find_tces, remeasure, resolve_engine
from survey.signals.search.find import load_engine
from survey.signals.vetting import judge

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


def test_a_planet_comes_back_with_its_numbers() -> None:
    period, epoch, hours, depth = 3.4567, 1326.2, 2.4, 2e-3
    (tces,) = find_tces([make_curve(make_times(27), [(period, epoch, hours, depth)])], CONFIG)
    assert len(tces) == 1
    tce = tces[0]
    assert tce.period == pytest.approx(period, rel=3e-4)
    assert abs(tce.epoch - epoch) < hours / 24 / 10
    assert tce.duration_h == pytest.approx(hours, rel=0.15)
    assert tce.depth_ppm == pytest.approx(depth * 1e6, rel=0.1)
    assert tce.n_transits == 8
    assert tce.mes > 20
    assert abs(tce.period - period) < 5 * tce.period_err + 1e-5
    assert judge(tces, CONFIG.gate) == [()]


def test_several_planets_of_one_star_come_back_one_after_another() -> None:
    signals = [(2.1, 1326.0, 2.0, 2.5e-3), (5.03, 1327.1, 2.6, 2.0e-3), (8.7, 1329.9, 3.0, 2.2e-3)]
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
    (tces,) = find_tces([FlatCurve(curve.time, flux, curve.flux_err, CADENCE, 1.0)], CONFIG)
    assert [tce.period for tce in tces] == pytest.approx([4.2], rel=1e-3)


def test_a_sine_does_not_pass_the_gate() -> None:
    time = make_times(27)
    noise = 1e-3 * np.random.default_rng(5).standard_normal(len(time))
    for period in (0.83, 2.2):
        flux = 1 + 5e-3 * np.sin(2 * np.pi * time / period) + noise
        (tces,) = find_tces([FlatCurve(time, flux, np.full(len(time), 1e-3), CADENCE, 1.0)], CONFIG)
        assert tces
        assert all(judge(tces, CONFIG.gate))


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
