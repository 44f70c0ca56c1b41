"""The search for a second dip: found where it is, as deep as it is, and seldom where there is none."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.config import GateConfig
from survey.signals.vetting import find_secondary
from tests.signals.vetting.curves import PLANET, draw_curve, scaled, with_signal

SEEDS = st.integers(0, 10_000)


@given(SEEDS, st.floats(0.08, 0.92), st.floats(1e-3, 2e-2))
@settings(deadline=None, max_examples=40)
def test_a_secondary_is_found_at_any_phase(seed: int, phase: float, depth: float) -> None:
    found = find_secondary(draw_curve(seed, 2e-2, secondary=(phase, depth)), PLANET)
    assert found is not None
    duty = PLANET.duration_h / 24 / PLANET.period
    assert abs(found.phase - phase) < 0.25 * duty
    assert abs(found.depth_ppm - 1e6 * depth) < 5 * found.depth_err_ppm + 0.05 * 1e6 * depth
    assert found.significance > GateConfig().secondary_sigma


@pytest.mark.parametrize(("red", "period"), [(0.0, 3.4567), (0.0, 0.9), (5e-4, 3.4567)])
def test_noise_has_no_secondary(red: float, period: float) -> None:
    """The strongest of all phases: above 4 in two per cent of the stars at most, and never above the gate."""
    tce = replace(PLANET, period=period)
    strongest = []
    for seed in range(150):
        found = find_secondary(draw_curve(seed, tce=tce, red=red), tce)
        assert found is not None
        strongest.append(found.significance)
    assert 1.0 < np.median(strongest) < 3.5
    assert np.mean(np.array(strongest) > 4) <= 0.02
    assert max(strongest) < GateConfig().secondary_sigma


def test_what_one_orbit_shows_is_no_eclipse() -> None:
    once = replace(PLANET, number=2, period=1000.0, epoch=PLANET.epoch + 1.4)
    found = find_secondary(with_signal(draw_curve(1, noise=1e-4), once, 2e-2), PLANET)
    assert found is not None
    assert found.significance < 3.5


def test_another_planet_is_no_eclipse_and_the_other_eclipse_is() -> None:
    planet = replace(PLANET, number=2, period=1.234, epoch=0.9)
    curve = with_signal(draw_curve(1, 5e-3), planet, 5e-3)
    alone = find_secondary(curve, PLANET, [PLANET, planet])
    assert alone is not None
    assert alone.significance < 5
    eclipse = replace(PLANET, number=2, epoch=PLANET.epoch + 0.4 * PLANET.period)
    found = find_secondary(with_signal(draw_curve(1, 5e-3), eclipse, 2e-3), PLANET, [PLANET, eclipse])
    assert found is not None
    assert found.phase == pytest.approx(0.4, abs=0.01)
    assert found.significance > 10


def test_eclipses_that_were_reported_as_single_transits_are_seen() -> None:
    singles = [
        replace(PLANET, number=2 + k, period=None, epoch=PLANET.epoch + (k + 0.5) * PLANET.period) for k in range(3)
    ]
    found = find_secondary(draw_curve(1, 5e-3, secondary=(0.5, 2e-3)), PLANET, [PLANET, *singles])
    assert found is not None
    assert found.phase == pytest.approx(0.5, abs=0.01)
    assert found.significance > 10


def test_a_single_transit_has_no_secondary() -> None:
    assert find_secondary(draw_curve(1), replace(PLANET, period=None)) is None


def test_a_dip_that_lasts_almost_an_orbit_leaves_no_room() -> None:
    assert find_secondary(draw_curve(1), replace(PLANET, period=0.2, duration_h=4.0)) is None


@given(SEEDS, st.floats(0.1, 10.0))
@settings(deadline=None, max_examples=15)
def test_significance_does_not_depend_on_the_unit_of_light(seed: int, factor: float) -> None:
    curve = draw_curve(seed, secondary=(0.3, 1e-3))
    one, other = find_secondary(curve, PLANET), find_secondary(scaled(curve, factor), PLANET)
    assert one is not None
    assert other is not None
    assert other.phase == pytest.approx(one.phase, abs=0.01)
    assert other.significance == pytest.approx(one.significance, rel=0.02)
    assert other.depth_ppm == pytest.approx(factor * one.depth_ppm, rel=0.02)
