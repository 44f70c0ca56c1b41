"""Each check by itself: the flaw that it finds, and what it leaves alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.config import GateConfig
from survey.signals.search import FlatCurve, Tce
from survey.signals.variability import Variability
from survey.signals.vetting import FLAWS, Report, judge, vet
from survey.signals.vetting.checks import least_scatter
from survey.stars.inject import transit_duration
from survey.stars.lightcurve import Star
from tests.signals.vetting.curves import PLANET, draw_curve, with_signal

SUN = Star(magnitude=10.0, teff=5772.0, radius=1.0, logg=4.438)

HOT = replace(PLANET, period=2.5, epoch=1.0, duration_h=24 * transit_duration(2.5, 1.0, 0.1), depth_ppm=1e4)
"""A hot Jupiter, central."""

GRAZING = replace(HOT, duration_h=1.2, depth_ppm=6e3)


def report(
    tce: Tce = PLANET,
    curve: FlatCurve | None = None,
    *,
    others: tuple[Tce, ...] = (),
    star: Star = SUN,
    variability: Variability | None = None,
) -> Report:
    curve = draw_curve(1, 1e-6 * tce.depth_ppm, tce=tce) if curve is None else curve
    return vet(curve, [tce, *others], star, variability or Variability(), GateConfig())[0]


def flags(*args: object, **options: object) -> tuple[str, ...]:
    return judge(report(*args, **options).checks, GateConfig()).flags  # type: ignore[arg-type]


def test_a_planet_has_no_flags_and_every_check_is_there() -> None:
    checks = report().checks
    assert judge(checks, GateConfig()).flags == ()
    assert tuple(check.name for check in checks) == FLAWS
    assert len({check.name for check in checks}) == len(checks)


def test_a_star_without_tces_has_no_reports() -> None:
    assert vet(draw_curve(1), [], SUN, Variability(), GateConfig()) == []


def test_a_star_of_which_nothing_is_known_is_no_flaw() -> None:
    checks = {check.name: check for check in report(star=Star()).checks}
    assert judge(checks.values(), GateConfig()).flags == ()
    assert checks["too_large"].passed is None
    assert checks["too_long"].value is None


# --- the detection ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "change"),
    [
        ("low_mes", {"mes": 7.0, "inverted_mes": 1.0}),
        ("few_transits", {"n_transits": 1}),
        ("one_event", {"rest_mes": 0.4}),
        ("sine_like", {"box_over_sine": 1.1}),
        ("as_strong_inverted", {"inverted_mes": 25.0}),
        ("chance", {"fap": 0.02}),
    ],
)
def test_each_flaw_of_a_detection_has_its_flag(flag: str, change: dict[str, float]) -> None:
    assert flags(replace(PLANET, **change)) == (flag,)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["rest_mes", "box_over_sine", "inverted_mes", "fap", "sde"])
def test_a_check_that_was_not_made_does_not_count(name: str) -> None:
    assert flags(replace(PLANET, **{name: None})) == ()  # type: ignore[arg-type]


def test_a_single_transit_is_flagged_as_such_and_nothing_else() -> None:
    single = replace(PLANET, period=None, period_err=None, n_transits=1, rest_mes=None, box_over_sine=None)
    curve = with_signal(draw_curve(1, 0.0), replace(PLANET, period=1000.0), 2e-3)
    assert flags(single, curve) == ("single_transit",)


@pytest.mark.parametrize(
    ("n_open", "mes", "expected"),
    [(1, 24.0, ()), (None, 24.0, ()), (2, 24.0, ("two_transits",)), (1, 8.0, ("two_transits",))],
)
def test_two_transits_pass_only_where_both_are_sure_and_leave_one_period(
    n_open: int | None, mes: float, expected: tuple[str, ...]
) -> None:
    pair = replace(PLANET, period=14.0, n_transits=2, n_open_periods=n_open, mes=mes, rest_mes=0.7)
    assert flags(pair) == expected


def test_few_transits_that_are_like_their_surroundings_do_not_stand_out() -> None:
    """Three dips with others as deep within a day of them, and a quiet star elsewhere."""
    rng = np.random.default_rng(1)
    tce = replace(PLANET, period=9.0, epoch=2.0, n_transits=3)
    curve = draw_curve(1, tce=tce, noise=2e-4)
    assert flags(tce, curve) == ()
    waves = np.repeat(rng.choice([-2e-3, 2e-3], 1 + len(curve.time) // 12), 12)[: len(curve.time)]
    apart = np.abs((curve.time - 2.0 + 4.5) % 9.0 - 4.5)
    wild = replace(curve, flux=(curve.flux + np.where((apart > 0.1) & (apart < 1.0), waves, 0.0)).astype(np.float32))
    assert "as_strong_nearby" in flags(tce, wild)


def test_transits_beside_gaps_are_gappy() -> None:
    curve = draw_curve(1)
    period, epoch, duration = PLANET.ephemeris
    phase = (curve.time - epoch) % period
    gone = (phase > duration / 4) & (phase < 2 * duration)
    cut = replace(curve, time=curve.time[~gone], flux=curve.flux[~gone], flux_err=curve.flux_err[~gone])
    assert "gappy" in flags(PLANET, cut)


def test_the_mask_of_another_planet_makes_no_gaps() -> None:
    other = replace(PLANET, number=2, period=PLANET.period / 3, epoch=PLANET.epoch + 0.12, mes=20.0)
    assert flags(PLANET, with_signal(draw_curve(1), other, 2e-3), others=(other,)) == ()


# --- depths -----------------------------------------------------------------------------------------------------------


def test_depths_that_vary_are_flagged() -> None:
    curve = draw_curve(1, lambda number: np.where(number % 3 == 0, 5e-3, 1e-3))
    assert "depths_vary" in flags(PLANET, curve)


def test_a_planet_that_others_pull_at_keeps_its_depth() -> None:
    """Transits late or early by half a duration, one of eight missing."""
    curve = draw_curve(1, 0.0, noise=2e-4)
    late = (0.5, -0.4, 0.3, -0.5, 0.2, 0.4, -0.3)
    for number, share in enumerate(late):
        middle = PLANET.epoch + number * PLANET.period + share * PLANET.duration_h / 24
        curve = with_signal(curve, replace(PLANET, period=1000.0, epoch=middle), 2e-3)
    assert "depths_vary" not in flags(PLANET, curve)


def test_sectors_of_unlike_depth_are_flagged_and_one_in_five_is_forgiven() -> None:
    tce = replace(PLANET, n_transits=39)
    starts = tuple(range(0, 5 * 3888, 3888))
    days = 5 * 27.0

    def sectors(depths: tuple[float, ...]) -> FlatCurve:
        return draw_curve(
            1,
            lambda number: np.array(depths)[np.clip((number * tce.period + tce.epoch) // 27, 0, 4).astype(int)],
            days=days,
            starts=starts,
        )

    assert "products_differ" in flags(tce, sectors((1e-3, 2e-3, 3e-3, 1e-3, 4e-3)))
    assert flags(tce, sectors((2e-3, 2e-3, 2e-3, 0.0, 2e-3))) == ()


@given(st.integers(3, 60), st.integers(0, 10_000), st.floats(0.01, 100.0))
@settings(deadline=None, max_examples=40)
def test_least_scatter_is_below_the_true_one(size: int, seed: int, unit: float) -> None:
    """And 0 for equal values, but for one in a thousand."""
    rng = np.random.default_rng(seed)
    errors = unit * rng.uniform(0.5, 2.0, size)
    assert least_scatter(errors * np.clip(rng.standard_normal(size), -1.5, 1.5), errors) == 0.0
    scattered = 10 * unit * np.clip(rng.standard_normal(size), -2.0, 2.0)
    assert least_scatter(scattered, errors) <= float(np.std(scattered, ddof=1))


# --- the star ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [1.0, 2.0, 0.5, 1.012])
def test_what_is_left_of_a_variation_is_no_candidate(ratio: float) -> None:
    wave = replace(PLANET, number=2, mes=60.0, box_over_sine=0.8, duration_h=30.0)
    left = replace(PLANET, period=PLANET.period * ratio)
    assert "variable_star" in flags(left, others=(wave,))


def test_another_period_of_a_variable_star_may_be_a_planet() -> None:
    wave = replace(PLANET, number=2, mes=60.0, box_over_sine=0.8, duration_h=30.0)
    assert flags(replace(PLANET, period=PLANET.period * 1.31), others=(wave,)) == ()


@pytest.mark.parametrize(
    ("period", "amplitude", "box_over_sine", "expected"),
    [
        (PLANET.period, 5000.0, 1.4, ("at_rotation",)),
        (2 * PLANET.period, 5000.0, 1.4, ("at_rotation",)),
        (PLANET.period, 5000.0, 3.0, ()),
        (PLANET.period, 500.0, 1.4, ()),
        (1.3 * PLANET.period, 5000.0, 1.4, ()),
    ],
)
def test_a_wave_at_the_period_of_rotation_is_no_planet_and_a_box_is(
    period: float, amplitude: float, box_over_sine: float, expected: tuple[str, ...]
) -> None:
    variability = Variability(variability_period=period, variability_amplitude_ppm=amplitude, variability_power=0.9)
    assert flags(replace(PLANET, box_over_sine=box_over_sine), variability=variability) == expected


# --- two stars --------------------------------------------------------------------------------------------------------


def test_odd_and_even_eclipses_differ() -> None:
    curve = draw_curve(1, lambda number: np.where(number % 2 == 1, 2e-3, 1.2e-3), noise=1e-4)
    found = {check.name: check for check in report(PLANET, curve).checks}["odd_even_differ"]
    assert found.passed is False
    assert found.value == pytest.approx(800, abs=4 * (found.uncertainty or 0))


@pytest.mark.parametrize(
    ("depth", "phase", "expected"),
    [
        (5e-3, 0.5, ("secondary_eclipse",)),
        (3e-3, 0.23, ("secondary_eclipse",)),
        (2e-4, 0.5, ()),
        (0.0, 0.5, ()),
    ],
)
def test_a_secondary_is_an_eclipse_unless_a_planet_can_send_back_that_light(
    depth: float, phase: float, expected: tuple[str, ...]
) -> None:
    """A hot Jupiter of 1% at 2.5 d may reflect 0.01 / (a/R)^2 = 170 ppm at most; it sends back 90 here."""
    depth = 9e-5 if depth == 2e-4 else depth
    curve = draw_curve(1, 1e-2, tce=HOT, noise=3e-5, secondary=(phase, depth))
    assert flags(HOT, curve) == expected


def test_the_eclipse_of_a_planet_is_measured_though_it_passes() -> None:
    curve = draw_curve(1, 1e-2, tce=HOT, noise=3e-5, secondary=(0.5, 9e-5))
    found = {check.name: check for check in report(HOT, curve).checks}["secondary_eclipse"]
    assert found.passed is True
    assert found.score is not None
    assert found.score > found.threshold
    assert found.value == pytest.approx(90, abs=20)


def test_a_secondary_too_bright_for_a_planet_is_an_eclipse() -> None:
    curve = draw_curve(1, 1e-2, tce=HOT, noise=3e-5, secondary=(0.5, 6e-4))
    assert flags(HOT, curve) == ("secondary_eclipse",)


def test_the_other_eclipse_of_an_orbit_is_no_second_planet() -> None:
    other = replace(PLANET, number=2, mes=100.0, epoch=PLANET.epoch + 0.4 * PLANET.period)
    assert "secondary_of_another" in flags(PLANET, others=(other,))
    resonant = replace(other, period=PLANET.period * 1.02)
    assert "secondary_of_another" not in flags(PLANET, others=(resonant,))


def test_two_equal_stars_at_half_their_period_last_too_long_for_a_v() -> None:
    duration = transit_duration(5.0, 1.0, 0.7, 0.5)
    equal = replace(PLANET, period=2.5, duration_h=24 * duration, depth_ppm=3e4, depth_err_ppm=100.0)
    curve = draw_curve(1, 3e-2, tce=equal, ingress=0.4)
    found = flags(equal, curve)
    assert "equal_eclipses" in found
    assert judge(report(equal, curve).checks, GateConfig()).significant_secondary


def test_a_grazing_planet_is_v_shaped_and_a_candidate() -> None:
    curve = draw_curve(1, 6e-3, tce=GRAZING, ingress=0.5, noise=2e-4, cadence=2 / 1440)
    verdict = judge(report(GRAZING, curve).checks, GateConfig())
    assert verdict.flags == ("v_shaped",)
    assert verdict.is_candidate


# --- the planet -------------------------------------------------------------------------------------------------------


def test_transits_that_come_early_and_late_are_neither_too_long_nor_v_shaped() -> None:
    """The fold of transits that wander by their own length lasts twice as long as any of them."""
    duration_h = 24 * transit_duration(5.0, 1.0, 0.05)
    days = 100.0
    curve = draw_curve(1, 0.0, days=days, noise=2e-4)
    for number in range(19):
        middle = 3.0 + 5.0 * number + duration_h / 24 * 0.9 * np.sin(0.7 * number)
        once = replace(PLANET, period=1000.0, epoch=middle, duration_h=duration_h)
        curve = with_signal(curve, once, 2.5e-3)
    smeared = replace(PLANET, period=5.0, epoch=3.0, duration_h=2.2 * duration_h, depth_ppm=2000.0, n_transits=19)
    assert flags(smeared, curve) == ()
    alike = draw_curve(1, 2e-3, tce=smeared, days=days, noise=2e-4, ingress=0.4)
    assert set(flags(smeared, alike)) >= {"too_long", "equal_eclipses"}


def test_a_weaker_signal_of_the_same_dips_takes_none_of_them_away() -> None:
    weaker = replace(PLANET, number=2, mes=9.0, period=PLANET.period * 1.01)
    found = {check.name: check for check in report(PLANET, others=(weaker,)).checks}
    assert found["odd_even_differ"].passed is True
    assert found["depths_vary"].passed is True


def test_a_star_is_too_large_for_a_planet() -> None:
    deep = replace(HOT, depth_ppm=1e5)
    assert flags(deep, draw_curve(1, 0.1, tce=deep)) == ("too_large",)
    assert flags(deep, draw_curve(1, 0.1, tce=deep), star=replace(SUN, radius=0.4, logg=4.84)) == ()


def test_a_transit_that_no_orbit_explains_is_too_long() -> None:
    long = replace(PLANET, duration_h=9.0)
    found = report(long, draw_curve(1, tce=long, noise=2e-4))
    assert judge(found.checks, GateConfig()).flags == ("too_long",)


def test_eccentric_planets_and_misjudged_stars_are_not_too_long() -> None:
    central = 24 * transit_duration(PLANET.period or 0.0, 1.0, 0.045)
    long = replace(PLANET, duration_h=1.5 * central)
    assert flags(long, draw_curve(1, tce=long)) == ()


def test_the_planet_of_a_sun() -> None:
    """A hot Jupiter of a tenth of the Sun's radius at 2.5 d: a/R = 4.208 * 2.5^(2/3) = 7.75."""
    found = report(HOT)
    assert found.planet_radius == pytest.approx(10.91, abs=0.01)
    assert found.planet_radius_err == pytest.approx(2.18, abs=0.02)
    assert found.equilibrium_temp == pytest.approx(5772 * (2 * 7.751) ** -0.5, rel=1e-3)
    assert found.insolation == pytest.approx((215.03 / 7.751) ** 2, rel=1e-3)


def test_the_earth_is_as_warm_as_it_is() -> None:
    earth = replace(PLANET, period=365.25, depth_ppm=84.05, duration_h=13.0, n_transits=4)
    found = vet(draw_curve(1, 0.0, days=30.0), [earth], SUN, Variability(), GateConfig())[0]
    assert found.planet_radius == pytest.approx(1.0, abs=1e-3)
    assert found.insolation == pytest.approx(1.0, abs=0.01)
    assert found.equilibrium_temp == pytest.approx(278.5, abs=1.0)


# --- all together -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("red", [0.0, 2e-4])
def test_planets_in_noise_keep_every_check(red: float) -> None:
    """Of 120 planets of a total SNR of about 9 to 30, at most one in twenty fails any check of the light."""
    rng = np.random.default_rng(7)
    failed: list[str] = []
    for seed in range(120):
        depth = rng.uniform(4e-4, 1.3e-3)
        tce = replace(PLANET, period=rng.uniform(1.0, 8.0), depth_ppm=1e6 * depth)
        curve = draw_curve(seed, depth, tce=tce, red=red)
        failed += flags(tce, curve)
    assert len(failed) <= 6, failed


@given(
    st.integers(0, 10_000),
    st.floats(0.3, 60.0),
    st.floats(0.001, 0.5),
    st.floats(-5.0, 40.0),
    st.integers(-10_000, 900_000),
    st.integers(3, 4000),
)
@settings(deadline=None, max_examples=60)
def test_any_signal_of_any_light_curve_has_a_report_of_finite_numbers(
    seed: int, period: float, duty: float, epoch: float, depth_ppm: int, size: int
) -> None:
    """Whatever a search may claim, and however little was observed."""
    rng = np.random.default_rng(seed)
    curve = draw_curve(seed, 1e-3)
    kept = np.sort(rng.choice(len(curve.time), min(size, len(curve.time)), replace=False))
    curve = replace(curve, time=curve.time[kept], flux=curve.flux[kept], flux_err=curve.flux_err[kept])
    tce = replace(PLANET, period=period, epoch=epoch, duration_h=24 * duty * period, depth_ppm=float(depth_ppm))
    single = replace(tce, number=2, period=None, rest_mes=None)
    for found in vet(curve, [tce, single], SUN, Variability(), GateConfig()):
        for check in found.checks:
            numbers = [number for number in (check.value, check.uncertainty, check.score) if number is not None]
            assert np.isfinite(numbers).all(), check
            assert (check.passed is None) or check.score is not None, check


def test_reports_do_not_depend_on_what_else_is_vetted() -> None:
    other = replace(PLANET, number=2, period=1.9, epoch=0.3, mes=15.0)
    curve = with_signal(draw_curve(1), other, 1e-3)
    both = vet(curve, [PLANET, other], SUN, Variability(), GateConfig())
    turned = vet(curve, [other, PLANET], SUN, Variability(), GateConfig())
    assert both == turned[::-1]
    assert both == vet(curve, [PLANET, other], SUN, Variability(), GateConfig())
