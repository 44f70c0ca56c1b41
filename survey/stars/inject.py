"""Signals of known shape, as relative flux on arrays of times: what is injected to measure what the survey finds.

Transits come in two makes: `transit_model`, exact, by jaxoplanet in float64; and `small_planet_transit`, plain NumPy,
good to a few percent of the depth, for the simulated archives, which must not wait for a compiler. Both take the
planet as (period, epoch, duration, radius ratio, impact parameter), move it along a straight chord in front of the
star, and average over the exposure: without that smearing the measured completeness of a survey is too good.

Everything is multiplied or added by the caller: transits, eclipses and rotation are factors around 1, flares and red
noise are offsets around 0. Times and periods are in days, exposures in seconds.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]

SUN_LIKE_LIMB = (0.35, 0.25)
"""Quadratic limb darkening of a Sun-like star in the TESS band (Claret 2017, table 15, rounded)."""

_SUPERSAMPLE_S = 120.0
"""Exposures are cut into pieces no longer than this."""


def transit_model(
    time: ArrayLike,
    *,
    period: float,
    epoch: float,
    duration: float,
    radius_ratio: float,
    impact: float = 0.0,
    limb_darkening: tuple[float, float] = SUN_LIKE_LIMB,
    exposure_s: float = 0.0,
    supersample: int | None = None,
) -> Values:
    """Flux of a star with one transiting planet, 1 outside the transits.

    time: (n,) mid-exposure times, same zero as epoch (mid-transit); duration: first to fourth contact; radius_ratio:
    planet over star; impact: in stellar radii; limb_darkening: quadratic coefficients; exposure_s: 0 for instantaneous
    flux; supersample: pieces an exposure is cut into, None for pieces of two minutes. Raises ValueError for a planet
    that does not transit. Source: Agol, Luger and Foreman-Mackey 2020, AJ 159, 123, as coded in jaxoplanet.
    """
    _check_planet(period, duration, radius_ratio, impact)
    import jax  # seconds to import; only injections need it
    from jaxoplanet.core.limb_dark import light_curve

    def dimming(separations: Values) -> Values:
        with jax.enable_x64(True):
            # jax compiles once a shape: fill up to a power of two, far off the disk.
            padded = np.full(max(256, 1 << (len(separations) - 1).bit_length()), 10.0)
            padded[: len(separations)] = separations
            loss = jax.jit(light_curve)(np.asarray(limb_darkening, float), padded, float(radius_ratio))
            return np.asarray(loss, float)[: len(separations)]

    return _transits(time, period, epoch, duration, radius_ratio, impact, exposure_s, supersample, dimming)


def small_planet_transit(
    time: ArrayLike,
    *,
    period: float,
    epoch: float,
    duration: float,
    radius_ratio: float,
    impact: float = 0.0,
    limb_darkening: tuple[float, float] = SUN_LIKE_LIMB,
    exposure_s: float = 0.0,
    supersample: int | None = None,
) -> Values:
    """`transit_model` without JAX, for planets small against their star.

    The area hidden is exact, the light of the star is taken as uniform behind the planet, as bright as behind the
    middle of the hidden part (Mandel and Agol 2002, section 5): within 6% of the depth for radius ratios up to 0.1 and
    impact parameters up to 0.8.
    """
    _check_planet(period, duration, radius_ratio, impact)
    first, second = limb_darkening
    mean_intensity = 1 - first / 3 - second / 6

    def dimming(separations: Values) -> Values:
        middle = np.where(separations > 1 - radius_ratio, (1 + separations - radius_ratio) / 2, separations)
        one_minus_mu = 1 - np.sqrt(np.clip(1 - middle**2, 0, 1))
        intensity = 1 - first * one_minus_mu - second * one_minus_mu**2
        return -overlap_area(separations, radius_ratio) / np.pi * intensity / mean_intensity

    return _transits(time, period, epoch, duration, radius_ratio, impact, exposure_s, supersample, dimming)


def _check_planet(period: float, duration: float, radius_ratio: float, impact: float) -> None:
    if not 0 < duration < period:
        raise ValueError(f"a transit of {duration} d does not fit a period of {period} d")
    if radius_ratio <= 0 or not 0 <= impact < 1 + radius_ratio:
        raise ValueError(f"a planet of {radius_ratio} stellar radii at impact parameter {impact} does not transit")


def _transits(
    time: ArrayLike,
    period: float,
    epoch: float,
    duration: float,
    radius_ratio: float,
    impact: float,
    exposure_s: float,
    supersample: int | None,
    dimming: Callable[[Values], Values],
) -> Values:
    """1 plus `dimming` (of the distance of the centres, in stellar radii), averaged over the exposure."""
    time = np.asarray(time, float)
    offsets = _exposure_offsets(exposure_s, supersample)
    speed = 2 * math.sqrt((1 + radius_ratio) ** 2 - impact**2) / duration
    flux = np.ones(time.shape)
    from_middle = phase_days(time, period, epoch)
    inside = np.flatnonzero(np.abs(from_middle) < duration / 2 + exposure_s / 172800)
    if inside.size:
        separations = np.hypot(speed * (from_middle[inside, None] + offsets), impact)
        flux[inside] += dimming(separations.ravel()).reshape(separations.shape).mean(axis=1)
    return flux


def _exposure_offsets(exposure_s: float, supersample: int | None) -> Values:
    """Middles of the pieces of an exposure, days from its own middle."""
    pieces = supersample or max(1, math.ceil(exposure_s / _SUPERSAMPLE_S))
    offsets: Values = ((np.arange(pieces) + 0.5) / pieces - 0.5) * exposure_s / 86400
    return offsets


def average_over_exposure(
    model: Callable[[ArrayLike], Values], time: ArrayLike, exposure_s: float, supersample: int | None = None
) -> Values:
    """What a detector that gathers light for `exposure_s` sees of `model`: its mean over each exposure."""
    time = np.asarray(time, float)
    offsets = _exposure_offsets(exposure_s, supersample)
    total: Values = np.sum([model(time + offset) for offset in offsets], axis=0)
    return total / len(offsets)


def overlap_area(separations: Values, radius: float) -> Values:
    """Area that a disk of `radius` shares with the unit disk at distances `separations` of the centres."""
    distance = np.clip(separations, 1e-12, None)
    small = np.arccos(np.clip((distance**2 + radius**2 - 1) / (2 * distance * radius), -1, 1))
    large = np.arccos(np.clip((distance**2 + 1 - radius**2) / (2 * distance), -1, 1))
    kite = (1 + radius - distance) * (distance + radius - 1) * (distance - radius + 1) * (distance + radius + 1)
    lens: Values = radius**2 * small + large - 0.5 * np.sqrt(np.clip(kite, 0, None))
    return lens


def transit_duration(period: float, density: float, radius_ratio: float = 0.0, impact: float = 0.0) -> float:
    """First to fourth contact on a circular orbit, days.

    period: days; density: of the star, in solar units. Source: Winn 2010, eq. 14, with a/R from Kepler's third law.
    """
    semi_major = 4.2080 * density ** (1 / 3) * period ** (2 / 3)
    if semi_major <= 1 + radius_ratio:
        raise ValueError(f"an orbit of {period} d lies inside a star of {density} solar densities")
    cos_inclination = impact / semi_major
    chord = math.sqrt(max(0.0, (1 + radius_ratio) ** 2 - impact**2))
    return period / math.pi * math.asin(min(1.0, chord / (semi_major * math.sqrt(1 - cos_inclination**2))))


def phase_days(time: ArrayLike, period: float, epoch: float) -> Values:
    """Time from the nearest event, in [-period/2, period/2)."""
    phase: Values = (np.asarray(time, float) - epoch + period / 2) % period - period / 2
    return phase


def trapezoid_transit(
    time: ArrayLike, *, period: float, epoch: float, duration: float, depth: float, ingress: float = 0.1
) -> Values:
    """Flux with trapezoidal dips: `depth` is the fraction lost at the bottom, `ingress` the share of the duration that
    each flank takes (0 a box, 0.5 a V)."""
    if not 0 <= ingress <= 0.5:
        raise ValueError(f"ingress is a share of the duration from 0 (box) to 0.5 (V), not {ingress}")
    edge = duration / 2 - np.abs(phase_days(time, period, epoch))
    dip: Values = np.clip(edge / (ingress * duration), 0, 1) if ingress else (edge > 0).astype(float)
    return 1 - depth * dip


def eclipsing_binary(
    time: ArrayLike,
    *,
    period: float,
    epoch: float,
    duration: float,
    depth: float,
    secondary_depth: float,
    secondary_phase: float = 0.5,
    ellipsoidal: float = 0.0,
    ingress: float = 0.4,
) -> Values:
    """Flux of a detached or close binary: V-like primary and secondary eclipses on the double wave of tidally drawn
    stars.

    epoch: middle of the primary; secondary_phase: where the secondary lies (0.5 on a circular orbit); ellipsoidal: half
    amplitude of the double wave, with the eclipses in its minima.
    """
    shape = {"period": period, "duration": duration, "ingress": ingress}
    primary = trapezoid_transit(time, epoch=epoch, depth=depth, **shape)
    secondary = trapezoid_transit(time, epoch=epoch + secondary_phase * period, depth=secondary_depth, **shape)
    wave = 1 - ellipsoidal * np.cos(4 * np.pi * phase_days(time, period, epoch) / period)
    flux: Values = primary * secondary * wave
    return flux


def rotation(time: ArrayLike, *, period: float, amplitude: float, rng: np.random.Generator) -> Values:
    """Flux of a spotted star: a wave and its first harmonics whose strength drifts as spots come and go.

    amplitude: half the range of the fundamental, as a fraction; spots live about four rotations.
    """
    time = np.asarray(time, float)
    flux = np.ones(time.shape)
    for harmonic, share in ((1, 1.0), (2, 0.4), (3, 0.1)):
        life = 4 * period * rng.uniform(0.7, 1.5)
        strength = 1 + 0.3 * np.sin(2 * np.pi * (time / life + rng.random()))
        flux += amplitude * share * strength * np.sin(2 * np.pi * (harmonic * time / period + rng.random()))
    return flux


def flares(time: ArrayLike, *, peaks: ArrayLike, amplitudes: ArrayLike, widths: ArrayLike) -> Values:
    """Brightening, as a fraction of the star's flux, of flares with the classical shape: a steep rise, two decays.

    peaks: times of maximum; amplitudes: at maximum; widths: full time at half maximum, days. Source: Davenport et al.
    2014, ApJ 797, 122, eq. 1 and 4.
    """
    time = np.asarray(time, float)
    brightening = np.zeros(time.shape)
    for peak, amplitude, width in zip(
        np.atleast_1d(peaks), np.atleast_1d(amplitudes), np.atleast_1d(widths), strict=True
    ):
        near = np.flatnonzero((time > peak - width) & (time < peak + 20 * width))
        phase = (time[near] - peak) / width
        rise = np.polynomial.polynomial.polyval(phase, (1.0, 1.941, -0.175, -2.246, -1.125))
        decay = 0.6890 * np.exp(-1.600 * phase) + 0.3030 * np.exp(-0.2783 * phase)
        brightening[near] += amplitude * np.where(phase < 0, np.clip(rise, 0, None), decay)
    return brightening


def draw_flares(time: ArrayLike, *, rate: float, smallest: float, rng: np.random.Generator) -> Values:
    """`flares` at random times: `rate` a day, with energies from a power law above the amplitude `smallest`."""
    time = np.asarray(time, float)
    number = rng.poisson(rate * (time[-1] - time[0]))
    amplitudes = np.minimum(smallest * rng.pareto(1.0, number) + smallest, 2.0)
    return flares(
        time,
        peaks=rng.uniform(time[0], time[-1], number),
        amplitudes=amplitudes,
        widths=rng.uniform(0.003, 0.012, number) * (amplitudes / smallest) ** 0.3,
    )


def red_noise(time: ArrayLike, *, scatter: float, timescale: float, rng: np.random.Generator) -> Values:
    """Ornstein-Uhlenbeck noise: standard deviation `scatter`, correlation exp(-|dt| / timescale).

    Exact for any sorted times. An OU process is Brownian motion in stretched time, which overflows after some hundred
    timescales; so it is drawn in stretches, each going on from the last value.
    """
    time = np.asarray(time, float)
    noise = np.empty(time.shape)
    if not noise.size:
        return noise
    age = (time - time[0]) / timescale
    stretch = np.floor(age / 50)
    bounds = [0, *(np.flatnonzero(np.diff(stretch)) + 1), len(age)]
    last, last_age = scatter * rng.standard_normal(), 0.0
    for start, stop in itertools.pairwise(bounds):
        since = age[start:stop] - last_age
        jump = math.exp(-since[0])
        first = jump * last + scatter * math.sqrt(1 - jump**2) * rng.standard_normal()
        growth = since - since[0]
        steps = np.diff(np.exp(2 * growth), prepend=1.0)
        walk = np.cumsum(np.sqrt(steps) * rng.standard_normal(stop - start))
        noise[start:stop] = np.exp(-growth) * (first + scatter * walk)
        last, last_age = noise[stop - 1], age[stop - 1]
    return noise
