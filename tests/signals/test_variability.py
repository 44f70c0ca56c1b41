"""The star's own variation: what was put in comes back, and nothing else does."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from survey import schema
from survey.signals.variability import STRETCH_DAYS, Variability, measure_variability
from survey.stars import inject

Values = NDArray[np.float64]

NOISE = 5e-4
START = np.zeros(1, np.int64)


def times(days: float = 27.0, cadence: float = 10 / 1440, begin: float = 1500.0) -> Values:
    return begin + np.arange(0, days, cadence)


def measure(time: Values, flux: Values, starts: NDArray[np.int64] = START, noise: float = NOISE) -> Variability:
    noisy = flux + noise * np.random.default_rng(3).standard_normal(len(time))
    errors = np.full(len(time), max(noise, 1e-6), np.float32)
    return measure_variability(time, noisy.astype(np.float32), errors, starts)


def sine(time: Values, period: float, amplitude: float, phase: float = 0.3) -> Values:
    return 1 + amplitude * np.sin(2 * np.pi * (time / period + phase))


def test_fields_are_those_of_the_schema() -> None:
    names = [field.name for field in dataclasses.fields(Variability)]
    assert names == [field.name for field in schema.VARIABILITY_FIELDS]


@settings(max_examples=60, deadline=None)
@given(
    period=st.floats(0.1, 8.0),
    amplitude=st.floats(1e-3, 0.1),
    phase=st.floats(0.0, 1.0),
    cadence=st.sampled_from([2 / 1440, 10 / 1440, 29.4244 / 1440]),
)
def test_a_sine_comes_back(period: float, amplitude: float, phase: float, cadence: float) -> None:
    # With fewer cadences a cycle the two minima of a strong wave may be sampled unequally, and its period is doubled.
    assume(period > 15 * cadence)
    time = times(cadence=cadence)
    found = measure(time, sine(time, period, amplitude, phase))
    assert found.variability_period == pytest.approx(period, rel=0.05 * period / 27 + 1e-3)
    assert found.variability_amplitude_ppm == pytest.approx(2e6 * amplitude, rel=0.08, abs=1e6 * NOISE)
    power = 0.5 * amplitude**2 / (0.5 * amplitude**2 + NOISE**2)
    assert found.variability_power is not None
    assert found.variability_power >= 0.9 * power
    assert amplitude > 40 * NOISE or found.n_flares == 0


def test_white_noise_stands_out_nowhere() -> None:
    found = measure(times(), np.ones(len(times())))
    assert found.variability_power is not None
    assert found.variability_power < 0.01
    assert found.n_flares == 0
    assert found.noise_burst == pytest.approx(1, abs=0.6)


def test_unequal_minima_double_the_period() -> None:
    time = times()
    wave = 1 - 0.1 * np.cos(4 * np.pi * time / 0.8) - 0.01 * np.cos(2 * np.pi * time / 0.8)
    found = measure(time, wave)
    assert found.variability_period == pytest.approx(0.8, rel=1e-3)
    assert found.variability_alternation_ppm == pytest.approx(20_000, rel=0.1)
    assert found.variability_second_depth == pytest.approx(0.9, abs=0.03)
    assert found.variability_second_phase == pytest.approx(0.5, abs=0.02)
    assert found.variability_asymmetry == pytest.approx(0, abs=0.02)
    equal = measure(time, 1 - 0.1 * np.cos(4 * np.pi * time / 0.8))
    assert equal.variability_period == pytest.approx(0.4, rel=1e-3)


def test_shape_tells_eclipses_from_waves() -> None:
    time = times()
    dips = inject.eclipsing_binary(time, period=2.7, epoch=1501.0, duration=0.2, depth=0.3, secondary_depth=0.15)
    binary, wave = measure(time, dips), measure(time, sine(time, 2.7, 0.1))
    assert binary.variability_low_share is not None
    assert wave.variability_low_share is not None
    assert binary.variability_low_share < 0.15
    assert wave.variability_low_share == pytest.approx(0.5, abs=0.05)
    assert binary.variability_second_depth == pytest.approx(0.5, abs=0.1)
    assert wave.variability_asymmetry == pytest.approx(0, abs=0.03)
    assert binary.n_flares == 0


def test_a_clock_is_told_from_spots_that_drift() -> None:
    time = times(90.0, 30 / 1440)
    clock = measure(time, sine(time, 2.0, 0.01))
    drift = 1 + 0.01 * np.sin(2 * np.pi * (time / 2.0 + 0.4 * np.sin(2 * np.pi * time / 45.0)))
    wandering = measure(time, drift)
    assert clock.variability_coherence == pytest.approx(1, abs=0.01)
    assert wandering.variability_coherence is not None
    assert wandering.variability_coherence < 0.9


def test_a_second_period_is_seen() -> None:
    time = times()
    one = measure(time, sine(time, 0.83, 0.01))
    two = measure(time, sine(time, 0.83, 0.01) + sine(time, 0.61, 0.006) - 1)
    assert one.variability_rest_power is not None
    assert two.variability_rest_power is not None
    assert one.variability_rest_power < 0.02
    assert two.variability_rest_power > 0.9


FLARE_PEAKS = np.array([1503.2, 1507.7, 1511.1, 1518.4, 1522.9])


def flaring(time: Values) -> Values:
    return inject.flares(time, peaks=FLARE_PEAKS, amplitudes=np.full(5, 0.03), widths=np.full(5, 0.01))


@pytest.mark.parametrize("period", [0.6, 5.0])
def test_flares_are_counted_and_vanish_upside_down(period: float) -> None:
    time = times(cadence=2 / 1440)
    flux = sine(time, period, 0.01) + flaring(time)
    found, inverted = measure(time, flux), measure(time, 2 - flux)
    assert found.n_flares == len(FLARE_PEAKS)
    assert found.flare_amplitude_ppm == pytest.approx(30_000, rel=0.2)
    assert inverted.n_flares == 0
    assert inverted.flare_amplitude_ppm is None
    assert found.variability_period == pytest.approx(period, rel=0.02)
    assert inverted.variability_period == pytest.approx(period, rel=0.02)


@pytest.mark.parametrize("cadence", [2 / 1440, 30 / 1440])
def test_what_is_no_flare(cadence: float) -> None:
    time = times(cadence=cadence)
    rng = np.random.default_rng(8)
    rays = np.ones(len(time))
    struck = 7 * rng.choice(len(time) // 7, 40, replace=False)
    rays[struck] += rng.uniform(0.005, 0.5, 40)
    jump = np.where(time > 1510.3, 1.02, 1.0)
    thermal = jump + 0.02 * np.exp(-np.clip(time - 1515.6, 0, None) / 0.5) * (time > 1515.6)
    transits = inject.trapezoid_transit(time, period=3.1, epoch=1501.0, duration=0.15, depth=0.02)
    asteroid = 1 + 0.02 * np.exp(-0.5 * ((time - 1512.0) / 0.05) ** 2)
    assert (measure(time, rays).variability_amplitude_ppm or 0.0) < 3000
    for flux in (rays, jump, transits, 2 - transits, asteroid):
        assert measure(time, flux).n_flares == 0
    assert (measure(time, thermal).n_flares or 0) <= 1


def test_a_strong_binary_flares_nowhere() -> None:
    time = times(cadence=2 / 1440)
    for period, duration in ((0.9, 0.12), (2.97, 0.3)):
        dips = inject.eclipsing_binary(
            time, period=period, epoch=1501.0, duration=duration, depth=0.4, secondary_depth=0.35
        )
        assert measure(time, dips).n_flares == 0


def test_outliers_do_not_matter() -> None:
    time = times()
    flux = sine(time, 1.3, 0.005)
    spoiled = flux.copy()
    spoiled[[100, 2000]] = [1e6, -1e6]
    clean, found = measure(time, flux), measure(time, spoiled)
    assert found.variability_period == pytest.approx(clean.variability_period, rel=1e-3)
    assert found.variability_amplitude_ppm == pytest.approx(clean.variability_amplitude_ppm, rel=0.05)


@settings(max_examples=25, deadline=None)
@given(
    period=st.floats(0.2, 4.0),
    cycles=st.integers(1, 400),
    hole=st.floats(3.0, 20.0),
    length=st.floats(0.1, 3.0),
    level=st.floats(0.98, 1.02),
)
def test_gaps_and_levels_of_products_do_not_matter(
    period: float, cycles: int, hole: float, length: float, level: float
) -> None:
    """A hole in the data, and a pause of whole cycles before the second of two products with another level."""
    time = times()
    flux = sine(time, period, 0.01)
    keep = (time < 1500 + hole) | (time > 1500 + hole + length)
    later = np.concatenate([time[keep], time + 30 + cycles * period])
    both = np.concatenate([flux[keep], flux * level])
    starts = np.array([0, np.count_nonzero(keep)])
    whole, found = measure(time, flux), measure(later, both, starts)
    assert found.variability_period == pytest.approx(whole.variability_period, rel=0.02 * period / 27 + 1e-3)
    assert found.variability_amplitude_ppm == pytest.approx(whole.variability_amplitude_ppm, rel=0.05)
    assert found.variability_scatter_dex == pytest.approx(0, abs=0.02)


def test_a_constant_pause_between_products_changes_no_period() -> None:
    time = times()
    flux = np.tile(sine(time, 1.7, 0.01), 2)
    starts = np.array([0, len(time)])
    found = {measure(np.concatenate([time, time + 27 + pause]), flux, starts) for pause in (0.0, 10.0, 700.0)}
    assert len({variability.variability_power for variability in found}) == 1
    assert len({variability.variability_period for variability in found}) == 1


def test_amplitudes_that_change_from_product_to_product() -> None:
    time = times()
    both = np.concatenate([time, time + 400.0])
    flux = np.concatenate([sine(time, 3.0, 0.05), sine(time, 3.0, 0.01)])
    found = measure(both, flux, np.array([0, len(time)]))
    assert found.variability_scatter_dex == pytest.approx(0.5 * np.log10(5), abs=0.03)
    assert measure(time, flux[: len(time)]).variability_scatter_dex is None


def test_long_light_curves_are_cut_into_stretches() -> None:
    """The cost must grow as the data, not with the frequencies times the data; nor does phase matter over years."""
    time = times(380.0, 30 / 1440)
    found = measure(time, sine(time, 7.3, 0.01))
    assert found.variability_period == pytest.approx(7.3, rel=0.01)
    assert found.variability_cycles is not None
    assert found.variability_cycles <= STRETCH_DAYS / 7.3 + 1


def test_noise_comes_in_a_burst() -> None:
    time = times(cadence=2 / 1440)
    flux = np.ones(len(time))
    near = np.abs(time - 1513.0) < 0.6
    flux[near] += 0.02 * np.random.default_rng(1).standard_normal(np.count_nonzero(near))
    found = measure(time, flux)
    assert found.noise_burst is not None
    assert found.noise_burst > 10
    assert found.noise_burst_time == pytest.approx(1513.0, abs=0.6)


@pytest.mark.parametrize("n", [1, 2, 60, 100, 500])
def test_short_and_constant_light_curves(n: int) -> None:
    time = times()[:n]
    found = measure(time, np.ones(n), noise=0.0)
    assert found.variability_period is None
    assert found.noise_burst is None
    assert not found.n_flares
    measure(time, sine(time, 0.2, 0.1))


def test_nearly_constant_with_one_step() -> None:
    """Most cells alike: no robust sigma."""
    time = times()
    found = measure(time, np.where(time > 1520.0, 1.5, 1.0), noise=0.0)
    assert not found.n_flares


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 3000), wild=st.floats(0, 1e6))
def test_any_finite_light_curve_is_measured(seed: int, n: int, wild: float) -> None:
    """Warnings are errors: no overflow, no division by nothing, no square root of less than it."""
    rng = np.random.default_rng(seed)
    time = np.sort(rng.uniform(0, rng.choice([1.0, 30.0, 400.0]), n))
    flux = (1 + rng.standard_cauchy(n) * rng.choice([0.0, 1e-4, wild])).astype(np.float32)
    starts = np.unique(np.concatenate([[0], rng.integers(0, n, 3)]))
    found = measure_variability(time, flux, np.full(n, 1e-3, np.float32), starts)
    again = measure_variability(time.copy(), flux.copy(), np.full(n, 1e-3, np.float32), starts)
    assert found == again
    assert all(value is None or np.isfinite(value) for value in dataclasses.asdict(found).values())
