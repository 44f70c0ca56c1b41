"""The gate, test by test."""

from dataclasses import replace

import pytest

from survey.config import GateConfig
from survey.signals.search import Tce
from survey.signals.vetting import judge

PLANET = Tce(
    number=1,
    period=3.4567,
    period_err=1e-4,
    epoch=1326.2,
    epoch_err=1e-3,
    duration_h=2.4,
    depth_ppm=2000.0,
    depth_err_ppm=80.0,
    snr=25.0,
    mes=24.0,
    pink_snr=23.5,
    fap=1e-60,
    sde=12.0,
    max_ses=9.0,
    rest_mes=0.93,
    box_over_sine=3.2,
    inverted_mes=5.0,
    n_transits=8,
    n_open_periods=None,
    scatter_beta=1.05,
)


def test_a_planet_has_no_flags() -> None:
    assert judge([PLANET], GateConfig()) == [()]


@pytest.mark.parametrize(
    ("flag", "change"),
    [
        ("low_mes", {"mes": 7.0, "inverted_mes": 1.0}),
        ("few_transits", {"n_transits": 1}),
        ("one_event", {"rest_mes": 0.4}),
        ("sine_like", {"box_over_sine": 1.1}),
        ("as_strong_inverted", {"inverted_mes": 21.0}),
        ("chance", {"fap": 0.02}),
    ],
)
def test_each_failure_has_its_flag(flag: str, change: dict[str, float]) -> None:
    assert judge([replace(PLANET, **change)], GateConfig()) == [(flag,)]


def test_a_single_transit_is_flagged_as_such_and_nothing_else() -> None:
    single = replace(PLANET, period=None, period_err=None, n_transits=1, rest_mes=None, box_over_sine=None)
    assert judge([single], GateConfig()) == [("single_transit",)]
    wave = replace(PLANET, mes=60.0, box_over_sine=0.8)
    assert judge([wave, single], GateConfig()) == [("sine_like",), ("single_transit",)]


@pytest.mark.parametrize(
    ("n_open", "mes", "flags"),
    [(1, 24.0, ()), (None, 24.0, ()), (2, 24.0, ("two_transits",)), (1, 9.5, ("two_transits",))],
)
def test_two_transits_are_a_candidate_only_where_both_are_sure_and_leave_one_period(
    n_open: int | None, mes: float, flags: tuple[str, ...]
) -> None:
    pair = replace(PLANET, n_transits=2, n_open_periods=n_open, mes=mes, rest_mes=0.7)
    assert judge([pair], GateConfig()) == [flags]


def test_a_test_that_was_not_made_does_not_count() -> None:
    assert judge([replace(PLANET, inverted_mes=None)], GateConfig()) == [()]


@pytest.mark.parametrize("ratio", [1.0, 2.0, 0.5, 1.012])
def test_what_is_left_of_a_variation_is_no_candidate(ratio: float) -> None:
    wave = replace(PLANET, mes=60.0, box_over_sine=0.8)
    left = replace(PLANET, number=2, period=PLANET.period * ratio)
    assert judge([wave, left], GateConfig()) == [("sine_like",), ("variable_star",)]


def test_another_period_of_a_variable_star_may_be_a_planet() -> None:
    wave = replace(PLANET, mes=60.0, box_over_sine=0.8)
    other = replace(PLANET, number=2, period=PLANET.period * 1.31)
    assert judge([wave, other], GateConfig()) == [("sine_like",), ()]
