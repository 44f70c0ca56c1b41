"""Light curves for benchmarks: when each mission looks, noise, and limb-darkened transits of a known strength."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.signals.search import FlatCurve
from survey.signals.search.plan import central_duration
from survey.stars import inject

Floats = NDArray[np.float64]

SECTOR = 27.4
"""Days of a TESS sector."""


@dataclass(frozen=True)
class Window:
    """When a star is observed: cadence in seconds; (start, length) of stretches without data, days."""

    name: str
    cadence_s: float
    baseline: float
    holes: tuple[tuple[float, float], ...]
    period_min: float = 0.5
    period_max: float = 13.0

    @property
    def cadence(self) -> float:
        return self.cadence_s / 86_400

    def times(self, rng: np.random.Generator) -> Floats:
        """Days since the first cadence; one in a hundred cadences is lost to its quality flag."""
        time = np.arange(0, self.baseline, self.cadence)
        kept = rng.random(len(time)) > 0.01
        for start, length in self.holes:
            kept &= (time < start) | (time >= start + length)
        return time[kept]


def sector_holes(start: float = 0.0) -> tuple[tuple[float, float], ...]:
    """The downlink in the middle of a sector, and an hour after each momentum dump."""
    dumps = (3.1, 6.2, 9.3, 17.5, 20.6, 23.7)
    return ((start, 0.15), (start + 13.2, 1.2), *((start + dump, 0.04) for dump in dumps))


def tess(cadence_s: float, name: str) -> Window:
    return Window(name, cadence_s, SECTOR, sector_holes())


def tess_visits(starts: tuple[float, ...], name: str) -> Window:
    """Sectors that begin on these days, and nothing between them."""
    holes = [hole for start in starts for hole in sector_holes(start)]
    ends = [start + SECTOR for start in starts]
    holes += [(end, start - end) for end, start in zip(ends, starts[1:], strict=False) if start > end]
    return Window(name, 120.0, ends[-1], tuple(holes))


def kepler(baseline: float, name: str, period_max: float, cadence_s: float = 1765.5) -> Window:
    """Monthly downlinks, two days between quarters, and one safe mode."""
    months = [(30.0 * month + 29.2, 0.8) for month in range(math.ceil(baseline / 30))]
    quarters = [(90.0 * quarter + 88.3, 1.7) for quarter in range(math.ceil(baseline / 90))]
    return Window(name, cadence_s, baseline, (*months, *quarters, (480.0, 13.0)), period_max=period_max)


TESS_2MIN = tess(120.0, "TESS 2 min, one sector")
TESS_200S = tess(200.0, "TESS 200 s, one sector")
K2 = Window("K2, 80 d", 1765.5, 80.0, ((0.0, 0.5), (41.2, 1.3)), period_max=40.0)
KEPLER = kepler(1470.0, "Kepler, four years", 400.0)
TEN_SECTORS = tess_visits(
    tuple(365.0 * year + SECTOR * sector for year in range(5) for sector in (0, 1)),
    "TESS 2 min, ten sectors in five years",
)


@dataclass(frozen=True)
class Transits:
    """An injected planet of a Sun-like star: days; snr: of a matched filter in white noise."""

    period: float
    epoch: float
    duration: float
    impact: float
    snr: float


def draw_transits(
    time: Floats, window: Window, snr: tuple[float, float], rng: np.random.Generator, least: int = 2
) -> Transits:
    """Log-uniform period, even impact parameter and SNR; at least `least` transits that are half in the data."""
    while True:
        period = math.exp(rng.uniform(math.log(1.1 * window.period_min), math.log(0.95 * window.period_max)))
        impact = rng.uniform(0, 0.9)
        duration = central_duration(period) * math.sqrt(1 - impact**2)
        epoch = time[0] + rng.uniform(0, period)
        planet = Transits(period, epoch, duration, impact, rng.uniform(*snr))
        if count_transits(time, planet, window.cadence) >= least:
            return planet


def count_transits(time: Floats, planet: Transits, cadence: float) -> int:
    """Transits with half of their cadences or more."""
    number = np.round((time - planet.epoch) / planet.period)
    inside = np.abs(time - planet.epoch - number * planet.period) < planet.duration / 2
    _, cadences = np.unique(number[inside], return_counts=True)
    return int((cadences >= 0.5 * max(planet.duration / cadence, 1.0)).sum())


def transit_dips(time: Floats, planet: Transits, cadence_s: float, sigma: float) -> Floats:
    """What the planet takes away from the star's light, scaled to its SNR in white noise of `sigma` a cadence."""
    dips = 1 - inject.small_planet_transit(
        time,
        period=planet.period,
        epoch=planet.epoch,
        duration=planet.duration,
        radius_ratio=0.03,
        impact=planet.impact,
        exposure_s=cadence_s,
    )
    return dips * planet.snr * sigma / math.sqrt(float((dips**2).sum()))


def make_curve(time: Floats, flux: Floats, sigma: float, window: Window) -> FlatCurve:
    """A light curve of a star of solar density, whose errors are right."""
    return FlatCurve(time, flux, np.full(len(time), sigma), window.cadence, 1.0)


def white_curves(window: Window, count: int, seed: int = 1, sigma: float = 1e-3) -> list[FlatCurve]:
    """Stars of white noise, every second one with transits of SNR 12, each with cadences of its own."""
    curves = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        time = window.times(rng)
        flux = 1 + sigma * rng.standard_normal(len(time))
        if number % 2:
            planet = draw_transits(time, window, (12.0, 12.0), rng)
            flux -= transit_dips(time, planet, window.cadence_s, sigma)
        curves.append(make_curve(time, flux, sigma, window))
    return curves
