"""What the benchmarks' verdicts rest on: injected strengths, what counts as found, intervals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import learning, targets
from benchmarks.contestants import Best, ofir_periods
from benchmarks.recovery import is_found, wilson
from benchmarks.samples import SAMPLES, SIGMA, make_star
from benchmarks.simulated import TESS_2MIN, Transits, draw_transits, make_curve, transit_dips
from survey.learning.artifact import shipped
from survey.learning.models import KINDS

TIME = TESS_2MIN.times(np.random.default_rng(0))
CURVE = make_curve(TIME, np.ones(len(TIME)), SIGMA, TESS_2MIN)


@given(st.integers(0, 10_000))
def test_injected_transits_have_the_snr_they_are_said_to_have(seed: int) -> None:
    planet = draw_transits(TIME, TESS_2MIN, (5.0, 12.0), np.random.default_rng(seed))
    dips = transit_dips(TIME, planet, TESS_2MIN.cadence_s, SIGMA)
    assert math.sqrt(float(((dips / SIGMA) ** 2).sum())) == pytest.approx(planet.snr)
    away = np.abs((TIME - planet.epoch + planet.period / 2) % planet.period - planet.period / 2)
    assert not dips[away > planet.duration / 2 + TESS_2MIN.cadence].any()


@given(
    st.floats(1.2, 12.0),
    st.floats(0.0, 1.0),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.integers(0, 5),
    st.floats(-0.45, 0.45),
)
def test_a_peak_at_the_injected_ephemeris_is_found_at_its_ratio_alone(
    period: float, phase: float, ratio: float, event: int, late: float
) -> None:
    planet = Transits(period, TIME[0] + phase * period, 0.1, 0.0, 10.0)
    peak = Best(ratio * period, planet.epoch + event * period + late * planet.duration, 0.1, 9.0)
    assert is_found(peak, planet, CURVE, ratio)
    assert not any(is_found(peak, planet, CURVE, other) for other in {0.5, 1.0, 2.0} - {ratio})
    elsewhere = peak._replace(epoch=peak.epoch + 0.3 * min(period, peak.period))
    assert not is_found(elsewhere, planet, CURVE, ratio)


def test_a_peak_without_epoch_is_judged_by_its_period() -> None:
    planet = Transits(3.0, TIME[0] + 1.0, 0.1, 0.0, 10.0)
    assert is_found(Best(3.02, math.nan, math.nan, 9.0), planet, CURVE)
    assert not is_found(Best(3.04, math.nan, math.nan, 9.0), planet, CURVE)


def test_wilson_intervals_are_those_of_the_textbooks() -> None:
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


@pytest.mark.parametrize("key", ["tess_white", "tess_red", "k2_red"])
def test_a_star_of_a_sample_is_the_same_whenever_it_is_asked_for(key: str) -> None:
    (first, planet), (again, same) = make_star(SAMPLES[key], 7, True), make_star(SAMPLES[key], 7, True)
    assert planet == same
    assert planet is not None
    np.testing.assert_array_equal(first.flux, again.flux)
    quiet, nothing = make_star(SAMPLES[key], 7, False)
    assert nothing is None
    assert not np.array_equal(quiet.time, first.time)


def test_the_rivals_grid_drifts_by_less_than_a_transit_over_the_baseline() -> None:
    periods = ofir_periods(27.4, 0.5, 13.0)
    assert periods[0] == pytest.approx(0.5, abs=1e-3)
    assert periods[-1] == pytest.approx(13.0)
    drift = np.diff(periods) / periods[1:] * 27.4
    duration = 13 / 24 * (periods[1:] / 365.25) ** (1 / 3)
    assert (drift < duration).all()


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_network_reads_and_learns_from_the_examples_of_its_benchmark(kind: str) -> None:
    examples, network = learning.draw_examples(kind, 8), KINDS[kind].make(learning.FORMS[kind].shape)
    loss = KINDS[kind].loss(network(*examples.inputs), examples.targets)
    loss.backward()
    assert math.isfinite(loss.item())


def test_all_that_is_shipped_is_scored_and_the_report_has_a_line_for_each() -> None:
    scoring = [
        {"model": name, "stars_per_s": {"1": learning.score_shipped(name, 16, rounds=1), "2": 30.0}}
        for name in shipped()
    ]
    training = [{"kind": kind, "examples_per_s": {"1": 10.0}} for kind in KINDS]
    trees = {"features": 64, "rows_per_s": 100.0}
    said = learning.render({"rows": 16, "cores": 2, "training": training, "scoring": scoring, "trees": trees})
    assert all(f"| {name} |" in said for name in (*shipped(), *KINDS))
    assert all(row["stars_per_s"]["1"] > 0 for row in scoring)


@pytest.mark.verify
def test_a_run_without_light_curves_goes_through_every_step() -> None:
    [figures] = targets.measure({40: 16})
    assert (figures["make_plan_shards"], figures["reopen_todo"], figures["tell_status_done"]) == (3, 1, 40)
    assert figures["merge_tces"] > 0
    assert "| 40 | 3 of 16 |" in targets.render([figures])
