"""Light curves whose planets are known because they were put there: transits injected into what real stars do."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from survey.config import DetrendConfig, SearchConfig
from survey.signals.detrend import detrend
from survey.signals.ephemeris import Ephemeris, in_transit
from survey.signals.search.plan import longest_duration, stellar_density
from survey.stars.inject import small_planet_transit, transit_duration
from survey.stars.lightcurve import DAY_S, LightCurve, invert, scramble, take

Floats = NDArray[np.float64]

MASK_DURATIONS: Final = 2.0
"""Width of what is cut out about a listed transit, in its durations: transits come early and late."""

LEAST_SNR, MOST_SNR = 5.0, 300.0
"""Signal-to-noise ratio of all transits of an injected planet together, by the star's own noise at their duration;
drawn evenly in its logarithm."""

MOST_IMPACT: Final = 0.9
LARGEST_RATIO: Final = 0.2
"""Impact parameters are drawn evenly; what would have to be larger than this share of its star is not injected."""

DENSITY_SPREAD: Final = 0.3
"""Standard deviation of the logarithm of the density about the star's, or the Sun's where it is not known."""

LEAST_APART: Final = 4 / 3
"""Ratio of neighbouring periods about one star, at least."""

LEAST_TRANSITS: Final = 2

SHORTEST_STRETCH: Final = 14.0
"""Days: stretches of a long light curve are drawn between this and its whole length, evenly in the logarithm."""

FLIPPED_SHARE, SCRAMBLED_SHARE = 0.25, 0.25
"""Light curves that are turned upside down, and whose days change places: real noise that nobody has seen before."""


@dataclass(frozen=True)
class Planet:
    """Days; period_err: None where it is not known. epoch and what follows: of injected planets only."""

    period: float
    period_err: float | None = None
    epoch: float | None = None
    duration_h: float | None = None
    radius_ratio: float | None = None
    impact: float | None = None
    snr: float | None = None


@dataclass(frozen=True)
class StarLight:
    """A star as it was observed. flux of `light`: about 1, not detrended. planets: those listed, none for a star
    without; masked: listed ephemerides in the time of the light curve; quiet: whether nothing else is in it that looks
    like a transit, so that it may be injected into."""

    light: LightCurve
    other_names: tuple[str, ...] = ()
    planets: tuple[Planet, ...] = ()
    masked: tuple[Ephemeris, ...] = ()
    quiet: bool = True

    def background(self) -> LightCurve:
        """The light without the listed transits."""
        inside = np.zeros(len(self.light.time), bool)
        for ephemeris in self.masked:
            inside |= in_transit(self.light.time, ephemeris, MASK_DURATIONS)
        return take(self.light, ~inside)


def flatten(light: LightCurve) -> Floats:
    """Flux over its trend, by the survey's own detrender; NaN where there is no trend."""
    density = stellar_density(light.star.radius, light.star.logg)
    config = DetrendConfig()
    window = max(config.min_window_days, 3 * longest_duration(light.baseline, SearchConfig(), density))
    return np.asarray(light.flux / detrend(light.time, light.flux, light.starts(), config, window_days=window), float)


def draw_background(light: LightCurve, least_cadences: int, draw: np.random.Generator) -> tuple[LightCurve, str]:
    """A stretch of a light curve, and how it was made: as observed, inverted or scrambled."""
    if light.baseline > SHORTEST_STRETCH:
        length = np.exp(draw.uniform(np.log(SHORTEST_STRETCH), np.log(light.baseline)))
        begin = light.time[0] + draw.uniform(0, light.baseline - length)
        inside = (light.time >= begin) & (light.time <= begin + length)
        light = take(light, inside) if inside.sum() >= least_cadences else light
    made = draw.random()
    if made < FLIPPED_SHARE:
        return invert(light), "inverted"
    if made < FLIPPED_SHARE + SCRAMBLED_SHARE:
        return scramble(light, draw), "scrambled"
    return light, "as observed"


def inject_planets(
    light: LightCurve, longest: float, shortest: float, most: int, draw: np.random.Generator
) -> tuple[LightCurve, tuple[Planet, ...]]:
    """Up to `most` planets of `shortest` to `longest` days in front of a star; half as many stars with each further
    one. What does not transit twice while the star is observed is left out."""
    flat = flatten(light)
    density = stellar_density(light.star.radius, light.star.logg) or 1.0
    density *= float(np.exp(draw.normal(0, DENSITY_SPREAD)))
    shares = 0.5 ** np.arange(most)
    planets: list[Planet] = []
    flux = light.flux.astype(float)
    for _ in range(1 + draw.choice(most, p=shares / shares.sum())):
        period = float(np.exp(draw.uniform(np.log(shortest), np.log(longest))))
        planet = _draw_planet(light, flat, period, density, draw)
        if planet is None or any(max(period / p.period, p.period / period) < LEAST_APART for p in planets):
            continue
        flux *= _dimmed(light, planet)
        planets.append(planet)
    return replace(light, flux=flux.astype(np.float32)), tuple(planets)


def _draw_planet(
    light: LightCurve, flat: Floats, period: float, density: float, draw: np.random.Generator
) -> Planet | None:
    """A planet of a drawn signal-to-noise ratio; None where it would be too large, or is not seen to transit twice."""
    impact, snr = draw.uniform(0, MOST_IMPACT), np.exp(draw.uniform(np.log(LEAST_SNR), np.log(MOST_SNR)))
    epoch = light.time[0] + draw.uniform(0, period)
    duration = transit_duration(period, max(density, 0.02), 0.0, impact)
    inside = in_transit(light.time, Ephemeris(period, epoch, duration))
    n_transits = len(np.unique(np.round((light.time[inside] - epoch) / period)))
    if n_transits < LEAST_TRANSITS:
        return None
    depth = snr * event_noise(flat, duration * DAY_S / light.cadence_s) / np.sqrt(n_transits)
    ratio = float(np.sqrt(depth))
    if not 0 < ratio <= LARGEST_RATIO:
        return None
    duration = transit_duration(period, max(density, 0.02), ratio, impact)
    return Planet(period, 0.0, float(epoch), 24 * duration, ratio, float(impact), float(snr))


def event_noise(flat: Floats, cadences: float) -> float:
    """Robust standard deviation of means over so many neighbouring cadences; NaN where there are too few."""
    count = max(1, round(cadences))
    known = flat[np.isfinite(flat)]
    whole = len(known) // count * count
    if whole < 10 * count:
        return float("nan")
    means = known[:whole].reshape(-1, count).mean(1)
    return float(1.4826 * np.median(np.abs(means - np.median(means))))


def _dimmed(light: LightCurve, planet: Planet) -> Floats:
    """Relative flux of the star with the planet, each product smeared over its own exposure [science rule 4]."""
    assert planet.epoch is not None
    assert planet.duration_h is not None
    assert planet.radius_ratio is not None
    assert planet.impact is not None
    parts = np.split(light.time, light.starts()[1:])
    return np.concatenate(
        [
            small_planet_transit(
                times,
                period=planet.period,
                epoch=planet.epoch,
                duration=planet.duration_h / 24,
                radius_ratio=planet.radius_ratio,
                impact=planet.impact,
                exposure_s=product.cadence_s,
            )
            for times, product in zip(parts, light.products, strict=True)
        ]
    )
