"""The ladder of plans: complete, fine enough, and the same for stars of one rung."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.config import SearchConfig
from survey.signals.search.plan import (
    DENSITY_RANGE,
    LARGEST_DUTY,
    baseline_rung,
    central_duration,
    density_rung,
    longest_duration,
    plan_star,
    stellar_density,
)


@settings(deadline=None, max_examples=40)
@given(
    baseline=st.floats(5, 1500),
    cadence=st.sampled_from([20.0, 120.0, 200.0, 600.0, 1765.5]),
    density=st.sampled_from([None, 0.1, 1.0, 20.0]),
)
def test_every_period_is_tried_within_a_fraction_of_a_duration(
    baseline: float, cadence: float, density: float | None
) -> None:
    config = SearchConfig()
    plan = plan_star(baseline, cadence / 86400, density, config, baseline)
    periods = plan.sorted_periods
    assert periods[0] <= config.period_min
    assert periods[-1] >= baseline / config.min_transits
    drift = np.diff(periods) / periods[:-1] * baseline
    bins = np.maximum(cadence / 86400 / 2, density_rung(density).shortest * central_duration(periods[:-1]) / 3)
    assert (drift < 3.2 * bins).all()


def test_stars_of_one_rung_share_a_plan() -> None:
    config = SearchConfig()
    plans = {id(plan_star(baseline, 120 / 86400, 1.0, config, baseline)) for baseline in (24.0, 26.3, 27.9)}
    assert len(plans) == 1


@given(st.floats(0.1, 5000))
def test_a_rung_is_not_shorter_than_the_baseline(baseline: float) -> None:
    assert baseline * (1 - 1e-6) <= baseline_rung(baseline) <= baseline * 1.2


def test_boxes_are_whole_strides_and_no_wider_than_a_duty_cycle() -> None:
    plan = plan_star(27.0, 120 / 86400, None, SearchConfig(), 27.0)
    for segment in plan.segments:
        assert all(width % stride == 0 for width, stride in zip(segment.widths, segment.strides, strict=True))
        assert segment.widths[-1] <= LARGEST_DUTY * segment.first


def test_rows_cover_the_baseline_and_ranges_join() -> None:
    """Nothing of the data is left out, and no period between two segments."""
    for baseline, cadence, density in [(27.4, 120.0, 1.0), (1470.0, 1765.5, None), (80.0, 1765.5, 0.02)]:
        plan = plan_star(baseline, cadence / 86400, density, SearchConfig(), baseline)
        for segment in plan.segments:
            assert segment.rows * segment.first >= 0.994 * segment.n_bins
            assert segment.first >= 31
        for left, right in itertools.pairwise(plan.segments):
            assert right.periods()[0] <= left.tau * left.last + 1e-9


@given(st.floats(0.001, 300.0))
def test_durations_of_a_known_density_reach_from_grazing_to_eccentric(density: float) -> None:
    rung, scale = density_rung(density), density ** (-1 / 3)
    if DENSITY_RANGE[0] < scale < DENSITY_RANGE[1]:
        assert rung.shortest < 0.61 * scale
        assert rung.longest > 1.18 * scale


def test_a_central_transit_of_the_sun_by_the_earth_lasts_13_hours() -> None:
    assert central_duration(365.25) * 24 == pytest.approx(13.0)
    assert stellar_density(1.0, 4.438) == pytest.approx(1.0)
    assert stellar_density(None, 4.4) is None
    assert stellar_density(1.0, float("nan")) is None


def test_the_longest_duration_follows_the_longest_period() -> None:
    config = SearchConfig(period_max=8.0)
    assert longest_duration(1000.0, config, 1.0) == pytest.approx(1.3 * central_duration(8.0))
    assert longest_duration(10.0, config, 1.0) == pytest.approx(1.3 * central_duration(5.0))
