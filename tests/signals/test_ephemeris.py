import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from survey.signals.ephemeris import Ephemeris, fold, in_transit, transit_number

TIMES = np.sort(np.random.default_rng(1).uniform(1000.0, 1100.0, 500))
periods = st.floats(0.3, 80.0)
epochs = st.floats(900.0, 1200.0)


@given(periods, epochs)
def test_a_folded_time_lies_within_half_a_period_and_a_whole_number_of_periods_away(
    period: float, epoch: float
) -> None:
    days = fold(TIMES, period, epoch)
    assert np.all((days >= -period / 2) & (days < period / 2))
    cycles = (TIMES - epoch - days) / period
    np.testing.assert_allclose(cycles, np.round(cycles), atol=1e-8)


@given(periods, epochs, st.integers(-50, 50))
def test_the_fold_does_not_care_which_transit_the_epoch_is(period: float, epoch: float, cycles: int) -> None:
    change = fold(TIMES, period, epoch + cycles * period) - fold(TIMES, period, epoch)
    np.testing.assert_allclose((change + period / 2) % period - period / 2, 0, atol=1e-8)


@given(periods, epochs, st.floats(-500.0, 500.0))
def test_the_fold_does_not_care_about_the_zero_of_time(period: float, epoch: float, shift: float) -> None:
    change = fold(TIMES + shift, period, epoch + shift) - fold(TIMES, period, epoch)
    np.testing.assert_allclose((change + period / 2) % period - period / 2, 0, atol=1e-8)


@given(periods, epochs)
def test_time_is_number_times_period_plus_fold(period: float, epoch: float) -> None:
    ephemeris = Ephemeris(period, epoch, 0.1)
    again = epoch + transit_number(TIMES, ephemeris) * period + fold(TIMES, period, epoch)
    away = (again - TIMES) / period
    np.testing.assert_allclose(away, np.round(away), atol=1e-8)
    assert np.mean(np.abs(away) < 1e-8) > 0.99  # only a time half a period off may go to either neighbour


@pytest.mark.parametrize(
    ("width", "expected"), [(1.0, [0, 1, 1, 1, 0]), (2.0, [1, 1, 1, 1, 1]), (0.2, [0, 0, 1, 0, 0])]
)
def test_in_transit_is_within_half_the_widened_duration(width: float, expected: list[int]) -> None:
    times = 10.0 + 3 * 2.5 + np.array([-0.09, -0.04, 0.0, 0.04, 0.09])
    assert in_transit(times, Ephemeris(2.5, 10.0, 0.1), width).tolist() == [bool(k) for k in expected]


def test_transits_are_numbered_from_the_epoch() -> None:
    times = np.array([7.6, 9.9, 10.0, 12.4, 12.6])
    assert transit_number(times, Ephemeris(2.5, 10.0, 0.1)).tolist() == [-1, 0, 0, 1, 1]
