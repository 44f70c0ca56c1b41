import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.stars import inject

PLANET = {"period": 3.7, "epoch": 1.3, "duration": 0.12, "radius_ratio": 0.09, "impact": 0.35}
MODELS = pytest.mark.parametrize("model", [inject.transit_model, inject.small_planet_transit])


def near_transit(points: int = 401) -> np.ndarray:
    return PLANET["epoch"] + np.linspace(-0.08, 0.08, points)


def integrated_flux(separation: float, radius_ratio: float, limb: tuple[float, float]) -> float:
    """Brute force: limb-darkened light summed over the part of the planet's disk that lies on the star."""
    radii = (np.arange(600) + 0.5) / 600 * radius_ratio
    angles = (np.arange(1200) + 0.5) / 1200 * 2 * np.pi
    x = separation + radii[:, None] * np.cos(angles)
    distance = np.hypot(x, radii[:, None] * np.sin(angles))
    one_minus_mu = 1 - np.sqrt(np.clip(1 - distance**2, 0, 1))
    intensity = np.where(distance < 1, 1 - limb[0] * one_minus_mu - limb[1] * one_minus_mu**2, 0.0)
    hidden = np.sum(intensity * radii[:, None]) * (radius_ratio / 600) * (2 * np.pi / 1200)
    return 1 - hidden / (np.pi * (1 - limb[0] / 3 - limb[1] / 6))


@pytest.mark.parametrize("impact", [0.0, 0.5, 0.92, 1.04])
def test_transit_model_equals_numeric_integration(impact):
    limb = (0.4, 0.2)
    planet = PLANET | {"impact": impact}
    times = PLANET["epoch"] + np.linspace(0, 0.06, 9)
    flux = inject.transit_model(times, **planet, limb_darkening=limb)
    speed = 2 * np.sqrt((1 + PLANET["radius_ratio"]) ** 2 - impact**2) / PLANET["duration"]
    separations = np.hypot(speed * (times - PLANET["epoch"]), impact)
    expected = [integrated_flux(separation, PLANET["radius_ratio"], limb) for separation in separations]
    assert np.allclose(flux, expected, rtol=0, atol=2e-6)


@MODELS
@pytest.mark.parametrize("radius_ratio", [0.01, 0.05, 0.1])
def test_uniform_star_gives_a_box_of_the_radius_ratio_squared(model, radius_ratio):
    planet = PLANET | {"radius_ratio": radius_ratio, "impact": 0.0}
    flux = model(near_transit(), **planet, limb_darkening=(0.0, 0.0))
    assert flux.min() == pytest.approx(1 - radius_ratio**2, abs=1e-10)
    full = np.abs(near_transit() - PLANET["epoch"]) < 0.5 * 0.12 * (1 - radius_ratio) / (1 + radius_ratio)
    assert np.ptp(flux[full]) < 1e-10


@MODELS
def test_flux_is_one_outside_first_and_fourth_contact(model):
    flux = model(near_transit(), **PLANET)
    inside = np.abs(near_transit() - PLANET["epoch"]) < PLANET["duration"] / 2 - 1e-6
    assert np.all(flux[inside] < 1)
    assert np.all(flux[~inside] == 1)


@MODELS
def test_every_period_has_the_same_transit_late_in_a_mission(model):
    """float64 throughout: a single-precision time of day 100,000 is 11 minutes off."""
    late = near_transit() + 27_000 * PLANET["period"]
    assert np.allclose(model(late, **PLANET), model(near_transit(), **PLANET), rtol=0, atol=1e-8)


@MODELS
def test_long_exposure_is_the_mean_of_short_ones(model):
    times = near_transit(41)
    smeared = model(times, **PLANET, exposure_s=1800.0, supersample=60)
    fine = np.mean([model(times + offset, **PLANET) for offset in (np.arange(600) / 600 - 0.5) * 1800 / 86400], axis=0)
    assert np.allclose(smeared, fine, rtol=0, atol=1e-5)
    assert np.abs(smeared - model(times, **PLANET)).max() > 1e-3


@MODELS
def test_default_supersampling_is_good_to_a_percent_of_the_depth(model):
    coarse = model(near_transit(), **PLANET, exposure_s=1800.0)
    fine = model(near_transit(), **PLANET, exposure_s=1800.0, supersample=200)
    assert np.abs(coarse - fine).max() < 0.01 * (1 - fine.min())


@settings(max_examples=25, deadline=None)
@given(
    radius_ratio=st.floats(0.01, 0.1),
    impact=st.floats(0, 0.8),
    limb=st.tuples(st.floats(0, 0.5), st.floats(0, 0.4)),
)
def test_small_planet_transit_is_close_to_the_exact_model(radius_ratio, impact, limb):
    planet = PLANET | {"radius_ratio": radius_ratio, "impact": impact, "limb_darkening": limb}
    exact = inject.transit_model(near_transit(), **planet)
    quick = inject.small_planet_transit(near_transit(), **planet)
    assert np.abs(exact - quick).max() < 0.06 * (1 - exact.min())


def test_jax_keeps_its_single_precision_elsewhere():
    import jax.numpy as jnp

    assert inject.transit_model(near_transit(), **PLANET).dtype == np.float64
    assert jnp.arange(3.0).dtype == jnp.float32


@MODELS
@pytest.mark.parametrize("wrong", [{"impact": 1.2}, {"duration": 4.0}, {"duration": 0.0}, {"radius_ratio": 0.0}])
def test_planets_that_cannot_transit_are_refused(model, wrong):
    with pytest.raises(ValueError, match=r"does not (transit|fit)"):
        model(near_transit(), **(PLANET | wrong))


def test_overlap_area_at_its_limits():
    distances = np.array([0.0, 0.5, 1.0 + 0.2, 1.5])
    assert np.allclose(inject.overlap_area(distances, 0.2), [np.pi * 0.04, np.pi * 0.04, 0, 0], atol=1e-7)
    # Two unit disks, one radius apart: a classical lens.
    lens = 2 * np.pi / 3 - np.sqrt(3) / 2
    assert inject.overlap_area(np.array([1.0]), 1.0)[0] == pytest.approx(lens, abs=1e-12)


def test_duration_of_the_earth_before_the_sun():
    assert inject.transit_duration(365.256, 1.0, 0.00917) * 24 == pytest.approx(13.1, abs=0.1)
    grazing = inject.transit_duration(365.256, 1.0, 0.00917, impact=0.9)
    assert grazing == pytest.approx(13.1 / 24 * np.sqrt(1.00917**2 - 0.81) / 1.00917, rel=0.01)
    with pytest.raises(ValueError, match="inside a star"):
        inject.transit_duration(0.05, 0.1)


def test_trapezoid_runs_from_box_to_v():
    times = np.linspace(-0.5, 0.5, 100_001)
    shape = {"period": 1.0, "epoch": 0.0, "duration": 0.2, "depth": 0.01}
    for ingress in (0.0, 0.1, 0.5):
        lost = 1 - inject.trapezoid_transit(times, **shape, ingress=ingress)
        assert lost.max() == pytest.approx(0.01)
        assert lost.mean() == pytest.approx(0.01 * 0.2 * (1 - ingress), rel=1e-3)
    with pytest.raises(ValueError, match="ingress"):
        inject.trapezoid_transit(times, **shape, ingress=0.6)


def test_binary_has_both_eclipses_and_a_double_wave():
    binary = {"period": 2.0, "epoch": 0.3, "duration": 0.2, "depth": 0.1, "secondary_depth": 0.04}
    flux = inject.eclipsing_binary(np.array([0.3, 1.3, 0.8, 2.3]), **binary, ellipsoidal=0.01)
    assert flux == pytest.approx([0.9 * 0.99, 0.96 * 0.99, 1.01, 0.9 * 0.99])
    eccentric = inject.eclipsing_binary(np.array([0.3 + 0.7, 1.3]), **binary, secondary_phase=0.35)
    assert eccentric == pytest.approx([0.96, 1.0])


def test_flare_rises_steeply_to_its_amplitude_and_halves_within_its_width():
    times = np.arange(0, 1, 1e-5)
    flare = inject.flares(times, peaks=0.4, amplitudes=0.05, widths=0.01)
    assert times[flare.argmax()] == pytest.approx(0.4, abs=2e-5)
    assert flare.max() == pytest.approx(0.05, rel=0.01)
    above = times[flare > flare.max() / 2]
    assert np.ptp(above) == pytest.approx(0.01, rel=0.1)
    assert 0.4 - above[0] < above[-1] - 0.4
    assert np.all(flare[times < 0.38] == 0)
    assert np.all(flare >= 0)


def test_drawn_flares_come_at_their_rate():
    times = np.arange(0, 400, 0.01)
    brightening = inject.draw_flares(times, rate=0.5, smallest=0.01, rng=np.random.default_rng(1))
    starts = np.count_nonzero(np.diff((brightening > 0.005).astype(int)) == 1)
    assert 120 < starts < 260


def test_rotation_repeats_with_its_period():
    times = np.arange(0, 60, 0.01)
    flux = inject.rotation(times, period=5.0, amplitude=0.01, rng=np.random.default_rng(2))
    power = np.abs(np.fft.rfft(flux - flux.mean()))
    peak = np.fft.rfftfreq(len(times), 0.01)[power.argmax()]
    assert peak == pytest.approx(1 / 5, abs=0.02)
    assert 0.005 < flux.std() < 0.02


@pytest.mark.parametrize("timescale", [0.05, 0.4])
def test_red_noise_has_its_scatter_and_its_memory(timescale):
    rng = np.random.default_rng(3)
    times = np.arange(0, 2000 * timescale, 0.02)
    noise = inject.red_noise(times, scatter=3.0, timescale=timescale, rng=rng)
    assert noise.std() == pytest.approx(3.0, rel=0.06)
    for lag in (1, 5):
        correlation = np.mean(noise[lag:] * noise[:-lag]) / 9.0
        assert correlation == pytest.approx(np.exp(-lag * 0.02 / timescale), abs=0.06)


def test_red_noise_forgets_over_a_gap_and_is_continuous_elsewhere():
    times = np.concatenate([np.arange(0, 1, 1e-4), 500 + np.arange(0, 1, 1e-4)])
    pairs = np.array(
        [inject.red_noise(times, scatter=1.0, timescale=2.0, rng=np.random.default_rng(seed))[[9999, 10000]]
         for seed in range(300)]
    )  # fmt: skip
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.2
    assert pairs.std() == pytest.approx(1.0, rel=0.12)
    stretched = inject.red_noise(np.arange(0, 200, 1e-3), scatter=1.0, timescale=1.0, rng=np.random.default_rng(4))
    assert np.abs(np.diff(stretched)).max() < 6 * np.sqrt(2e-3)


def test_noise_depends_on_the_generator_alone():
    times = np.arange(0, 10, 0.02)
    for draw in (
        lambda rng: inject.red_noise(times, scatter=1.0, timescale=0.3, rng=rng),
        lambda rng: inject.rotation(times, period=2.0, amplitude=0.1, rng=rng),
        lambda rng: inject.draw_flares(times, rate=1.0, smallest=0.1, rng=rng),
    ):
        assert np.array_equal(draw(np.random.default_rng(5)), draw(np.random.default_rng(5)))
        assert not np.array_equal(draw(np.random.default_rng(5)), draw(np.random.default_rng(6)))
