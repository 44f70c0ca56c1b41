"""From a peak to numbers: boxes, events, noise and the trapezoid that times are measured with."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.signals.search import FlatCurve, trapezoid
from survey.signals.search import refine as fit
from survey.signals.search.curve import Dips, make_dips
from survey.signals.search.plan import density_rung
from survey.signals.search.refine import Box, Measure
from survey.stars import inject

CADENCE = 5.0 / 1440.0
SUNLIKE = density_rung(1.0)
SHAPES = st.fixed_dictionaries(
    {"seed": st.integers(0, 2**32 - 1), "period": st.floats(0.8, 11.0), "duty": st.floats(0.01, 0.2)}
)


def make_star(dip: np.ndarray, time: np.ndarray, noise: float, seed: int) -> Dips:
    flux = 1 - dip + noise * np.random.default_rng(seed).standard_normal(len(time))
    return make_dips(FlatCurve(time, flux, np.full(len(time), noise), CADENCE, 1.0), 200.0)


def make_times(days: float = 27.0, seed: int = 0, holes: int = 1) -> np.ndarray:
    time = 1325.3 + np.arange(0, days, CADENCE)
    for hole in np.random.default_rng(seed).uniform(time[0], time[-1], holes):
        time = time[np.abs(time - hole) > 0.5]
    return time


@settings(deadline=None, max_examples=30)
@given(shape=SHAPES)
def test_measure_is_what_sums_over_cadences_say(shape: dict[str, float]) -> None:
    """Random gaps, weights, masks and boxes against plain NumPy."""
    rng = np.random.default_rng(int(shape["seed"]))
    time = make_times(seed=int(shape["seed"]))
    noise = 1e-3 * rng.uniform(0.5, 2.0, len(time))
    flux = 1 + noise * rng.standard_normal(len(time))
    dips = make_dips(FlatCurve(time, flux, noise, CADENCE, 1.0), 200.0)
    keep = rng.random(len(dips.time)) > 0.1
    box = Box(shape["period"], float(time[0] + shape["period"] * rng.random()), shape["period"] * shape["duty"])
    number = np.floor((dips.time - box.epoch) / box.period + 0.5)
    inside = keep & (np.abs(dips.time - box.epoch - number * box.period) < box.duration / 2)
    outside = keep & ~inside
    measured = fit.measure(dips, keep, box)
    if not inside.any():
        assert measured is None
        return
    base = np.average(dips.dip[outside], weights=dips.weight[outside])
    depth = np.average(dips.dip[inside], weights=dips.weight[inside]) - base
    error = math.sqrt(1 / dips.weight[inside].sum() + 1 / dips.weight[outside].sum())
    if measured is None:
        full = np.median(dips.weight[keep]) * box.duration / dips.step
        assert all(dips.weight[inside & (number == k)].sum() < 0.4 * full for k in np.unique(number))
        return
    assert measured.depth == pytest.approx(depth, rel=1e-6, abs=1e-12)
    assert measured.snr == pytest.approx(depth / error, rel=1e-6, abs=1e-9)
    assert measured.mes * measured.beta == pytest.approx(measured.snr)
    for event, own, weight in zip(measured.events, measured.event_depths, measured.event_weights, strict=True):
        here = inside & (number == event)
        assert weight == pytest.approx(dips.weight[here].sum())
        assert own == pytest.approx(np.average(dips.dip[here], weights=dips.weight[here]) - base, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_a_peak_is_refined_to_the_box_that_is_there(seed: int) -> None:
    """From a trial period that is half a duration off over the baseline, at the cost of little signal."""
    rng = np.random.default_rng(seed)
    period = float(rng.uniform(0.9, 11))
    hours = 13 * (period / 365.25) ** (1 / 3)
    time = make_times(seed=seed)
    true = Box(period, float(time[0] + rng.uniform(0, period)), hours * rng.uniform(0.5, 1.2) / 24)
    number = np.floor((time - true.epoch) / period + 0.5)
    inside = np.abs(time - true.epoch - number * period) < true.duration / 2
    dips = make_star(np.where(inside, 1e-3, 0), time, 1e-3 * math.sqrt(inside.sum()) / 15, seed)
    keep = np.ones(len(dips.time), bool)
    step = period * true.duration / 27
    box = fit.refine(dips, keep, period + rng.uniform(-0.5, 0.5) * step, step, SUNLIKE)
    best, here = (fit.measure(dips, keep, which) for which in (box, true) if which is not None)
    assert best is not None
    assert here is not None
    assert best.snr > 0.96 * here.snr
    assert dips.time[0] <= best.box.epoch < dips.time[0] + best.box.period


def test_data_sets_years_apart_are_refined_in_phase() -> None:
    time = np.concatenate([make_times(), 740 + make_times(seed=1)])
    period, epoch = 2.5404679, 1326.9
    dip = 1 - inject.small_planet_transit(time, period=period, epoch=epoch, duration=0.11, radius_ratio=0.04)
    dips = make_star(dip, time, 1e-3, 4)
    keep = np.ones(len(dips.time), bool)
    box = fit.refine(dips, keep, period + 2e-3, 4e-3, SUNLIKE)
    assert box is not None
    assert abs(box.period - period) * 300 < 0.1 * box.duration


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.999999])
def test_the_typical_weight_does_not_depend_on_how_cadences_fall_on_the_grid(shift: float) -> None:
    """With cadences as long as a step of the grid, rounding puts two in one bin and none in the next."""
    time = (np.arange(3000) + shift) / 144
    even = make_dips(FlatCurve(time, 1 + 1e-3 * np.sin(time * 1e5), np.full(len(time), 1e-3), 600 / 86400), 200.0)
    assert fit.typical_weight(even) == pytest.approx(even.weight.sum() / (even.cell[-1] + 1), rel=0.02)


def test_nothing_is_refined_or_measured_where_nothing_is_kept() -> None:
    dips = make_star(np.zeros(len(make_times())), make_times(), 1e-3, 0)
    keep = np.zeros(len(dips.time), bool)
    assert fit.refine(dips, keep, 3.0, 1e-3, SUNLIKE) is None
    assert fit.measure(dips, keep, Box(3.0, 1326.0, 0.1)) is None


def test_an_event_without_the_dip_is_missing() -> None:
    time = make_times(holes=0)
    box = Box(5.0, 1327.0, 0.12)
    number = np.floor((time - box.epoch) / box.period + 0.5)
    inside = np.abs(time - box.epoch - number * box.period) < box.duration / 2
    whole = make_star(np.where(inside, 3e-3, 0), time, 1e-3, 1)
    without = make_star(np.where(inside & (number != 2), 3e-3, 0), time, 1e-3, 1)
    keep = np.ones(len(whole.time), bool)
    counts = [measured.n_missing for dips in (whole, without) if (measured := fit.measure(dips, keep, box))]
    assert counts == [0, 1]


# --- pink noise ----------------------------------------------------------------------------------------------------


def test_in_white_noise_the_pink_snr_is_the_white_one() -> None:
    weights = np.array([3.0, 1.0, 2.5])
    white = 1e-2 / math.sqrt(1 / weights.sum() + 1 / 100)
    assert fit.pink_noise_snr(1e-2, weights, 3.0, 100.0, 1.0) == pytest.approx(white)


@given(beta=st.floats(1.0, 20.0), events=st.integers(1, 50))
def test_with_whole_events_the_pink_snr_is_the_mes(beta: float, events: int) -> None:
    weights = np.full(events, 3.0)
    white = 1e-2 / math.sqrt(1 / weights.sum() + 1 / 500)
    assert fit.pink_noise_snr(1e-2, weights, 3.0, 500.0, beta) == pytest.approx(white / beta)


def test_red_noise_averages_over_events_and_not_within_them() -> None:
    """Monte Carlo: the scatter of a depth over uneven events in white noise with an offset of each event."""
    rng = np.random.default_rng(2)
    points, beta = np.array([20, 20, 8, 14]), 3.0
    red = math.sqrt((beta**2 - 1) / 20)
    events = [rng.standard_normal((20_000, n)).sum(axis=1) + n * red * rng.standard_normal(20_000) for n in points]
    scatter = np.std(np.sum(events, axis=0) / points.sum())
    assert 1 / fit.pink_noise_snr(1.0, points.astype(float), 20.0, 1e12, beta) == pytest.approx(scatter, rel=0.03)


# --- the trapezoid -------------------------------------------------------------------------------------------------


def test_the_normal_equations_are_derivatives_of_chi_square() -> None:
    rng = np.random.default_rng(0)
    number, offset = np.repeat([-1.0, 0.0, 1.0], 60), np.tile(np.linspace(-1.5, 1.5, 60), 3) + 1e-3
    dip, weight = (np.abs(offset) < 0.5) + 0.1 * rng.standard_normal(180), rng.uniform(20, 60, 180)
    priors = np.array(trapezoid.PRIOR_MEANS), np.array(trapezoid.PRIOR_ERRORS)
    values = np.array([0.03, 0.9, 0.05, 0.02, 0.45, 0.2])

    def chi2(at: np.ndarray) -> float:
        return float(trapezoid._normal_equations(number, offset, dip, weight, 0.03, at, *priors)[0])

    _, normal, gradient = trapezoid._normal_equations(number, offset, dip, weight, 0.03, values, *priors)
    steps = 1e-5 * np.eye(6)
    slopes = [(chi2(values + step) - chi2(values - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(-2 * gradient, slopes, rtol=1e-5, atol=1e-3)
    assert np.all(np.linalg.eigvalsh(normal) > 0)


@settings(deadline=None, max_examples=25)
@given(
    period=st.floats(1.0, 9.0),
    ingress=st.floats(0.05, 0.4),
    depth=st.floats(1e-3, 2e-2),
    phase=st.floats(0.0, 1.0),
)
def test_a_trapezoid_without_noise_comes_back(period: float, ingress: float, depth: float, phase: float) -> None:
    time = make_times()
    duration = 0.13
    fine = time[:, None] + np.linspace(-0.5, 0.5, 41)[1::2] * CADENCE
    epoch = float(time[0] + phase * period)
    flux = inject.trapezoid_transit(
        fine, period=period, epoch=epoch, duration=duration, depth=depth, ingress=ingress
    ).mean(axis=1)
    dips = make_dips(FlatCurve(time, flux, np.full(len(time), 1e-5), CADENCE, 1.0), 200.0)
    dips = replace(dips, weight=np.full(len(dips.time), 1e10))
    keep = np.ones(len(dips.time), bool)
    box = Box(period * (1 + 2e-5), fit.first_transit(epoch + 0.003, period, float(time[0])), duration * (1 - ingress))
    measured = fit.measure(dips, keep, box)
    assert measured is not None
    got = trapezoid.fit_trapezoid(dips, keep, replace(measured, beta=1.0))
    assert abs(got.period - period) * 27 / period < 0.02 * duration
    assert abs((got.epoch - epoch + period / 2) % period - period / 2) < 0.01 * duration
    assert got.duration == pytest.approx(duration, rel=0.02)
    assert got.depth == pytest.approx(depth, rel=0.01)


def injected(seed: int, snr: float) -> tuple[Dips, Measure, tuple[float, float, float, float]]:
    """A limb-darkened planet in one sector, its box, and (period, epoch, duration, depth) in truth."""
    rng = np.random.default_rng(seed)
    time, impact = make_times(seed=seed), rng.uniform(0, 0.8)
    period = float(np.exp(rng.uniform(0, np.log(12))))
    epoch, duration = 1325.3 + rng.uniform(0, period), inject.transit_duration(period, 1.0, 0.05, impact)
    dip = 1 - inject.small_planet_transit(
        time, period=period, epoch=epoch, duration=duration, radius_ratio=0.05, impact=impact, exposure_s=300
    )
    dips = make_star(dip, time, math.sqrt(float((dip**2).sum())) / snr, seed)
    keep = np.ones(len(dips.time), bool)
    step = 0.4 * duration * period / 27
    box = fit.refine(dips, keep, period + rng.uniform(-1, 1) * step, step, SUNLIKE)
    assert box is not None
    measured = fit.measure(dips, keep, box)
    assert measured is not None
    return dips, measured, (period, epoch, duration, float(dip.max()))


@pytest.mark.parametrize("snr", [9.0, 30.0])
def test_errors_of_the_ephemeris_are_what_they_say(snr: float) -> None:
    periods, epochs, drifts = [], [], []
    for seed in range(120):
        dips, measured, (period, epoch, duration, _) = injected(seed, snr)
        got = trapezoid.fit_trapezoid(dips, np.ones(len(dips.time), bool), measured)
        away = (got.epoch - epoch + period / 2) % period - period / 2
        if abs(away) < duration / 2:
            periods.append(abs(got.period - period) / got.period_err)
            epochs.append(abs(away) / got.epoch_err)
            drifts.append(abs(got.period - period) * 27 / period / duration)
    assert len(periods) > 100, "the others fit noise"
    for errors in (periods, epochs):
        assert 0.55 < np.mean(np.array(errors) < 1) < 0.85
        assert np.mean(np.array(errors) < 3) > 0.92
    assert np.median(drifts) < 1.2 / snr


def test_the_depth_is_nearer_the_truth_than_that_of_the_box() -> None:
    ratios = []
    for seed in range(40):
        dips, measured, (_, _, duration, depth) = injected(seed, 60.0)
        got = trapezoid.fit_trapezoid(dips, np.ones(len(dips.time), bool), measured)
        ratios.append((got.depth / depth, measured.depth / depth, got.duration / duration))
    shape, box, lasting = np.median(ratios, axis=0)
    assert abs(shape - 1) < abs(box - 1) - 0.02
    assert lasting == pytest.approx(1, abs=0.04)


def test_what_is_no_dip_keeps_its_box() -> None:
    time = make_times()
    dips = make_star(np.zeros(len(time)), time, 1e-3, 3)
    keep = np.ones(len(dips.time), bool)
    measured = fit.measure(dips, keep, Box(3.0, 1326.0, 0.12))
    assert measured is not None
    flat = trapezoid.fit_trapezoid(dips, keep, replace(measured, depth=-1e-5))
    assert (flat.period, flat.epoch, flat.duration, flat.depth) == (3.0, 1326.0, 0.12, -1e-5)
    assert flat.period_err > 0


@pytest.mark.parametrize("seed", range(8))
def test_the_deepest_eclipses_have_errors_above_zero(seed: int) -> None:
    """At an SNR of a thousand the fit is finer than any grid about it."""
    rng = np.random.default_rng(seed)
    time = make_times(seed=seed)
    true = Box(float(rng.uniform(1.0, 6.0)), float(time[0] + rng.uniform(0, 1)), 0.12)
    phase = np.abs((time - true.epoch + true.period / 2) % true.period - true.period / 2)
    dips = make_star(0.3 * np.clip((0.07 - phase) / 0.03, 0, 1), time, 2e-4, seed)
    keep = np.ones(len(dips.time), bool)
    measured = fit.measure(dips, keep, true)
    assert measured is not None
    shape = trapezoid.fit_trapezoid(dips, keep, measured)
    assert 0 < shape.period_err < 1e-3
    assert 0 < shape.epoch_err < 1e-2
    assert shape.period == pytest.approx(true.period, abs=1e-3)
