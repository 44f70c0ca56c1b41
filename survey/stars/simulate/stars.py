"""Simulated stars: drawn parameters, the light they send, and the signals in it."""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from survey.stars import inject

Values = NDArray[np.float64]

TESS_CADENCE = 120 / 86400
KEPLER_CADENCE = 0.02043359821692
"""Days."""


@dataclass(frozen=True)
class InjectedSignal:
    """One periodic signal of a simulated star.

    kind: "planet" or "eclipsing_binary"; period: days; epoch: middle of the first event after the data begin, days
    since the mission's time zero; depth_ppm: at the middle of the event; snr: expected, with the star's white and red
    noise.
    """

    target_id: str
    kind: str
    period: float
    epoch: float
    duration_h: float
    depth_ppm: float
    snr: float


@dataclass(frozen=True)
class Kind:
    """What a kind of simulated star has: ranges are (least, greatest), drawn evenly, or in the logarithm for SNR and
    period."""

    mission: Literal["tess", "kepler"] = "tess"
    observations: tuple[int, ...] = (1,)
    planets: int = 0
    snr: tuple[float, float] = (16, 90)
    periods: tuple[float, float] = (0.7, 8.0)
    binary: Literal["none", "unequal", "equal"] = "none"
    rotation: tuple[float, float] = (0.0, 0.0008)
    rotation_days: tuple[float, float] = (8, 25)
    flares_a_day: float = 0.0
    damage: Literal["none", "truncated", "empty", "missing"] = "none"


@dataclass(frozen=True)
class SimulatedStar:
    """Parameters as in the headers; mass in solar units; crowding, aperture_share: CROWDSAP and FLFRCSAP."""

    number: int
    mission: str
    magnitude: float
    teff: float
    radius: float
    mass: float
    ra: float
    dec: float
    crowding: float
    aperture_share: float
    camera: int
    ccd: int

    @property
    def target_id(self) -> str:
        return f"TIC {self.number}" if self.mission == "tess" else f"KIC {self.number}"

    @property
    def density(self) -> float:
        """In solar units."""
        return self.mass / self.radius**3

    @property
    def logg(self) -> float:
        return 4.438 + math.log10(self.mass / self.radius**2)

    @property
    def flux(self) -> float:
        """Electrons per second: the zero points are those of real products."""
        return 10 ** (0.4 * ((20.44 if self.mission == "tess" else 25.33) - self.magnitude))

    @property
    def white_noise(self) -> float:
        """Scatter of one cadence as a fraction: photons, background and read-out, and a floor; fits real products of
        either mission within a third."""
        seconds, background = (95.04, 3e5) if self.mission == "tess" else (1625.3, 6e7)
        electrons = self.flux * seconds
        return math.hypot(math.sqrt(electrons + background) / electrons, 6e-5 if self.mission == "tess" else 2e-5)

    @property
    def red_noise(self) -> float:
        return 2e-5 + 0.05 * self.white_noise if self.mission == "tess" else 1e-5 + 0.15 * self.white_noise


def draw_star(kind: Kind, number: int, rng: np.random.Generator) -> SimulatedStar:
    """A main-sequence star; radius and mass by the rough power laws of that sequence."""
    teff = rng.uniform(3600, 6300)
    mass = (teff / 5772) ** 1.6
    kepler = kind.mission == "kepler"
    return SimulatedStar(
        number=90_000_000 + number % 10_000_000 if kepler else number,
        mission=kind.mission,
        magnitude=round(rng.uniform(11.5, 13.8) if kepler else rng.uniform(8.5, 11.8), 3),
        teff=round(teff, 1),
        radius=round(mass**0.9, 4),
        mass=mass,
        ra=round(rng.uniform(282, 298) if kepler else rng.uniform(300, 359), 6),
        dec=round(rng.uniform(38, 51) if kepler else rng.uniform(-70, -25), 6),
        crowding=round(rng.uniform(0.85, 0.999), 5),
        aperture_share=round(rng.uniform(0.75, 0.95), 5),
        camera=int(rng.integers(1, 5)),
        ccd=int(rng.integers(1, 5)),
    )


def draw_light(
    star: SimulatedStar, kind: Kind, time: Values, good: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[Values, list[InjectedSignal]]:
    """Relative flux of a star as it would be without noise of the detector, and the signals in it."""
    flux = inject.rotation(
        time, period=rng.uniform(*kind.rotation_days), amplitude=rng.uniform(*kind.rotation), rng=rng
    )
    if kind.flares_a_day:
        flux += inject.draw_flares(time, rate=kind.flares_a_day, smallest=0.004, rng=rng)
    signals = []
    if kind.binary != "none":
        dips, signal = _draw_binary(star, kind, time, good, rng)
        flux *= dips
        signals.append(signal)
    for period in _draw_periods(kind, rng):
        dips, signal = _draw_planet(star, kind, period, time, good, rng)
        flux *= dips
        signals.append(signal)
    return flux, signals


def _draw_periods(kind: Kind, rng: np.random.Generator) -> list[float]:
    """One period a planet, in equal parts of the logarithm so that no two planets collide."""
    edges = np.geomspace(*kind.periods, kind.planets + 1)
    return [float(inner * (outer / inner) ** rng.uniform(0.1, 0.9)) for inner, outer in itertools.pairwise(edges)]


def _draw_planet(
    star: SimulatedStar, kind: Kind, period: float, time: Values, good: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[Values, InjectedSignal]:
    """A planet of the size that gives the SNR drawn."""
    epoch = time[0] + period * rng.uniform(0.05, 0.95)
    impact = rng.uniform(0, 0.7)
    aim = math.exp(rng.uniform(*np.log(kind.snr)))

    def transit(radius_ratio: float) -> tuple[float, Values, float]:
        duration = inject.transit_duration(period, star.density, radius_ratio, impact)
        dips = inject.small_planet_transit(
            time,
            period=period,
            epoch=epoch,
            duration=duration,
            radius_ratio=radius_ratio,
            impact=impact,
            exposure_s=_cadence_s(star),
        )
        return duration, dips, _expected_snr(star, time, dips, good, period, epoch)

    _, _, snr = transit(0.05)
    duration, dips, snr = transit(float(np.clip(0.05 * math.sqrt(aim / snr), 0.008, 0.12)))
    return dips, _signal(star, "planet", period, epoch, duration, 1 - dips.min(), snr)


def _draw_binary(
    star: SimulatedStar, kind: Kind, time: Values, good: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[Values, InjectedSignal]:
    period = math.exp(rng.uniform(*np.log((2.0, 4.0) if kind.binary == "equal" else (0.8, 5.0))))
    epoch = time[0] + period * rng.uniform(0.05, 0.95)
    depth = rng.uniform(0.03, 0.25)
    duration = inject.transit_duration(period, star.density, 0.7, 0.5)
    secondary_depth = depth * (1.0 if kind.binary == "equal" else rng.uniform(0.1, 0.6))

    def eclipses(time: ArrayLike) -> Values:
        return inject.eclipsing_binary(
            time,
            period=period,
            epoch=epoch,
            duration=duration,
            depth=depth,
            secondary_depth=secondary_depth,
            ellipsoidal=0.004 / period**2,
        )

    dips = inject.average_over_exposure(eclipses, time, _cadence_s(star))
    snr = _expected_snr(star, time, dips, good, period, epoch)
    return dips, _signal(star, "eclipsing_binary", period, epoch, duration, 1 - dips.min(), snr)


def _signal(
    star: SimulatedStar, kind: str, period: float, epoch: float, duration: float, depth: float, snr: float
) -> InjectedSignal:
    return InjectedSignal(
        star.target_id,
        kind,
        round(period, 7),
        round(float(epoch), 6),
        round(duration * 24, 4),
        round(float(depth) * 1e6, 1),
        round(float(snr), 2),
    )


def _expected_snr(
    star: SimulatedStar, time: Values, dips: Values, good: NDArray[np.bool_], period: float, epoch: float
) -> float:
    """Depth over its error, white noise averaging over cadences and red noise over events (Pont et al. 2006)."""
    inside = np.flatnonzero(good & (dips < 1))
    if not inside.size:
        return 1e-3
    lost = 1 - dips[inside]
    events = len(np.unique(np.round((time[inside] - epoch) / period)))
    white = math.sqrt(float(np.sum(lost**2))) / star.white_noise
    red = float(lost.mean()) * math.sqrt(events) / star.red_noise
    return white * red / math.hypot(white, red)


def _cadence_s(star: SimulatedStar) -> float:
    return 86400 * (TESS_CADENCE if star.mission == "tess" else KEPLER_CADENCE)
