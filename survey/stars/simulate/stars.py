"""Simulated stars: drawn parameters, the light they send, and the signals in it."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from survey.stars import inject

Values = NDArray[np.float64]

TESS_CADENCE = 120 / 86400
KEPLER_CADENCE = 0.02043359821692
"""Days."""

TESS_PIXEL, KEPLER_PIXEL = 20.34, 3.97
"""Arcsec."""


SIGNAL_KINDS = ("planet", "eclipsing_binary", "background_binary", "contaminated")
"""The last two are eclipses of another star whose light falls into the aperture: one behind the target, and a bright
one beside it."""


@dataclass(frozen=True)
class InjectedSignal:
    """One periodic signal of a simulated star.

    kind: one of SIGNAL_KINDS; period: days; epoch: middle of the first event after the data begin, days since the
    mission's time zero; depth_ppm: at the middle of the event, as the light curve shows it; snr: expected, with the
    star's white and red noise.
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
    binary: str = ""
    rotation: tuple[float, float] = (0.0, 0.0008)
    rotation_days: tuple[float, float] = (8, 25)
    flares_a_day: float = 0.0
    damage: Literal["none", "truncated", "empty", "missing"] = "none"
    magnitudes: tuple[float, float] | None = None
    pixels: bool = False
    """Whether target pixel files lie beside the light curves."""


@dataclass(frozen=True)
class BinaryKind:
    """Where the two stars of a binary are seen: `place` "target", "background" (a faint star in the target's aperture),
    "bright" (the target is the bright binary of its field) or "beside" (that one shines into the target's aperture).

    depths: of the primary eclipse; secondaries: depth of the secondary over it; ingress: share of the duration.
    """

    place: Literal["target", "background", "bright", "beside"]
    periods: tuple[float, float]
    depths: tuple[float, float] = (0.03, 0.25)
    secondaries: tuple[float, float] = (0.1, 0.6)
    ingress: float = 0.4
    close: float = 0.004
    """Ellipsoidal variation at a period of a day."""


# Total eclipses by a cool companion: the star beside it shows what a planet would, but for where it comes from.
_BRIGHT: dict[str, Any] = {"periods": (1.5, 4.0), "depths": (0.08, 0.15), "secondaries": (0.01, 0.03), "ingress": 0.12}
BINARIES = {
    "unequal": BinaryKind("target", periods=(0.8, 5.0)),
    "equal": BinaryKind("target", periods=(2.0, 4.0), secondaries=(1.0, 1.0)),
    "background": BinaryKind(
        "background", periods=(1.0, 5.0), depths=(0.25, 0.45), secondaries=(0.0, 0.02), ingress=0.15, close=0.0
    ),
    "bright": BinaryKind("bright", **_BRIGHT),
    "beside": BinaryKind("beside", **_BRIGHT),
}
"""What `Kind.binary` may be."""


@dataclass(frozen=True)
class Neighbour:
    """A star in the cutout of another: arcsec eastwards and northwards of it, and its flux over the other's."""

    east: float
    north: float
    brightness: float


@dataclass(frozen=True)
class SimulatedStar:
    """Parameters as in the headers; mass in solar units; the first of the neighbours may be the one that varies."""

    number: int
    mission: str
    magnitude: float
    teff: float
    radius: float
    mass: float
    ra: float
    dec: float
    camera: int
    ccd: int
    neighbours: tuple[Neighbour, ...] = ()

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


@dataclass(frozen=True)
class Binary:
    """Two stars that eclipse each other: period, epoch of a primary eclipse and duration in days, depths as
    fractions."""

    period: float
    epoch: float
    duration: float
    depth: float
    secondary_depth: float
    ingress: float
    ellipsoidal: float

    def light(self, time: Values, exposure_s: float) -> Values:
        """Over that outside of eclipse, mean over each exposure."""

        def eclipses(time: ArrayLike) -> Values:
            return inject.eclipsing_binary(time, **asdict(self))

        return inject.average_over_exposure(eclipses, time, exposure_s)


def draw_star(kind: Kind, number: int, rng: np.random.Generator) -> SimulatedStar:
    """A main-sequence star; radius and mass by the rough power laws of that sequence."""
    teff = rng.uniform(3600, 6300)
    mass = (teff / 5772) ** 1.6
    kepler = kind.mission == "kepler"
    magnitudes = kind.magnitudes or ((11.5, 13.8) if kepler else (8.5, 11.8))
    return SimulatedStar(
        number=90_000_000 + number % 10_000_000 if kepler else number,
        mission=kind.mission,
        magnitude=round(rng.uniform(*magnitudes), 3),
        teff=round(teff, 1),
        radius=round(mass**0.9, 4),
        mass=mass,
        ra=round(rng.uniform(282, 298) if kepler else rng.uniform(300, 359), 6),
        dec=round(rng.uniform(38, 51) if kepler else rng.uniform(-70, -25), 6),
        camera=int(rng.integers(1, 5)),
        ccd=int(rng.integers(1, 5)),
        neighbours=tuple(_draw_neighbours(kind, rng)),
    )


def _draw_neighbours(kind: Kind, rng: np.random.Generator) -> Iterator[Neighbour]:
    """Three faint stars; before them the binary behind the target, if that is what the kind has."""
    pixel = KEPLER_PIXEL if kind.mission == "kepler" else TESS_PIXEL
    if kind.binary == "background":
        yield _neighbour(pixel * rng.uniform(1.2, 2.2), 10 ** rng.uniform(-2.0, -1.7), rng)
    for _ in range(3):
        yield _neighbour(pixel * rng.uniform(1.0, 5.0), 10 ** rng.uniform(-3.0, -1.3), rng)


def _neighbour(distance: float, brightness: float, rng: np.random.Generator) -> Neighbour:
    angle = rng.uniform(0, 2 * np.pi)
    return Neighbour(distance * math.sin(angle), distance * math.cos(angle), brightness)


def draw_bright_binary(kind: Kind, start: float, rng: np.random.Generator) -> tuple[SimulatedStar, Binary]:
    """The bright eclipsing binary of a field. start: time at which the data begin, days."""
    star = draw_star(kind, 0, rng)
    return star, draw_binary(star, kind, start, rng)


def put_beside(star: SimulatedStar, bright: SimulatedStar, rng: np.random.Generator) -> SimulatedStar:
    """The star, moved to 75 to 98 arcsec from a bright one, which becomes the first of its neighbours."""
    source = _neighbour(rng.uniform(75, 98), bright.flux / star.flux, rng)
    dec = bright.dec - source.north / 3600
    ra = bright.ra - source.east / 3600 / math.cos(math.radians(dec))
    return replace(
        star,
        ra=round(ra, 6),
        dec=round(dec, 6),
        camera=bright.camera,
        ccd=bright.ccd,
        neighbours=(source, *star.neighbours),
    )


def draw_binary(star: SimulatedStar, kind: Kind, start: float, rng: np.random.Generator) -> Binary:
    of = BINARIES[kind.binary]
    period = math.exp(rng.uniform(*np.log(of.periods)))
    epoch = start + period * rng.uniform(0.05, 0.95)
    depth = rng.uniform(*of.depths)
    return Binary(
        period=period,
        epoch=epoch,
        duration=inject.transit_duration(period, star.density, 0.7, 0.5),
        depth=depth,
        secondary_depth=depth * rng.uniform(*of.secondaries),
        ingress=of.ingress,
        ellipsoidal=of.close / period**2,
    )


class Light(NamedTuple):
    """What the stars of a cutout send, over their mean: the target, and its first neighbour, (n,) each."""

    target: Values
    source: Values


def draw_light(
    star: SimulatedStar,
    kind: Kind,
    time: Values,
    good: NDArray[np.bool_],
    rng: np.random.Generator,
    *,
    dilution: float = 1.0,
    bright: Binary | None = None,
) -> tuple[Light, list[InjectedSignal]]:
    """The light as it would be without noise of the detector, and the signals in it.

    dilution: light of the first neighbour in the aperture over that of the target; bright: the binary of the star's
    field.
    """
    flux = inject.rotation(
        time, period=rng.uniform(*kind.rotation_days), amplitude=rng.uniform(*kind.rotation), rng=rng
    )
    if kind.flares_a_day:
        flux += inject.draw_flares(time, rate=kind.flares_a_day, smallest=0.004, rng=rng)
    source = np.ones(len(time))
    signals = []
    if kind.binary:
        binary = bright or draw_binary(star, kind, float(time[0]), rng)
        dips = binary.light(time, _cadence_s(star))
        word, own = _BINARY_SIGNALS[BINARIES[kind.binary].place]
        if own:
            flux *= dips
        else:
            source, dips = dips, 1 + dilution * (dips - 1)
        snr = _expected_snr(star, time, dips, good, binary.period, binary.epoch)
        signals.append(_signal(star, word, binary.period, binary.epoch, binary.duration, 1 - dips.min(), snr))
    for period in _draw_periods(kind, rng):
        dips, signal = _draw_planet(star, kind, period, time, good, rng)
        flux *= dips
        signals.append(signal)
    return Light(flux, source), signals


_BINARY_SIGNALS = {
    "target": ("eclipsing_binary", True),
    "bright": ("eclipsing_binary", True),
    "background": ("background_binary", False),
    "beside": ("contaminated", False),
}
"""Place of a binary -> the kind of its signal, and whether it is the target's own."""


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
