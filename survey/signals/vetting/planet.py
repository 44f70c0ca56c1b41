"""The planet that a signal would be: its size, its orbit, what it receives; and what it cannot be."""

import math
from dataclasses import dataclass

from survey.signals.search import Tce, stellar_density
from survey.stars.lightcurve import Star

SUN_IN_EARTHS = 109.076
"""Radius of the Sun over that of the Earth (nominal values, IAU 2015 B3)."""

SUN_TEMPERATURE = 5772.0
EARTH_ORBIT = 215.03
"""Astronomical unit over the radius of the Sun."""

AXIS_AT_ONE_DAY = 4.2080
"""Semi-major axis over the star's radius, for a period of one day and the density of the Sun (Kepler's third law)."""

STAR_RADIUS_ERROR = 0.2
"""Relative error of stellar radii, which the files do not give. Most are better; those of old headers, and of the
Kepler Input Catalog, can be off by a factor of two."""

STAR_DURATION_ERROR = 0.1
"""Relative error of durations that follow from log g and radius: 0.1 dex and a tenth."""


@dataclass(frozen=True)
class Planet:
    """What follows if the signal is a planet on a circular orbit; None where the star is not known well enough.

    ratio: its radius over the star's, from the depth alone (limb darkening, blends and grazing are neglected [science
    rule 20]); radius, radius_err: Earth radii; axis: semi-major axis over the star's radius; longest_h: hours from
    first to last contact across the star's middle; temperature: K, of a black body that spreads its heat; insolation:
    over the Earth's.
    """

    ratio: float | None
    radius: float | None
    radius_err: float | None
    axis: float | None
    longest_h: float | None
    temperature: float | None
    insolation: float | None


def imagine_planet(tce: Tce, star: Star) -> Planet:
    ratio = math.sqrt(tce.depth_ppm / 1e6) if tce.depth_ppm > 0 else None
    radius = radius_err = None
    if ratio is not None and star.radius is not None and 0 < star.radius < math.inf:
        radius = SUN_IN_EARTHS * star.radius * ratio
        radius_err = radius * math.hypot(tce.depth_err_ppm / (2 * tce.depth_ppm), STAR_RADIUS_ERROR)
    axis = orbit_axis(tce.period, stellar_density(star.radius, star.logg))
    longest = temperature = insolation = None
    if axis is not None and tce.period is not None and ratio is not None and axis > 1 + ratio:
        longest = 24 * tce.period / math.pi * math.asin((1 + ratio) / axis)
    if axis is not None and star.teff is not None and star.teff > 0:
        temperature = star.teff * math.sqrt(0.5 / axis)
        insolation = (star.teff / SUN_TEMPERATURE) ** 4 * (EARTH_ORBIT / axis) ** 2
    return Planet(ratio, radius, radius_err, axis, longest, temperature, insolation)


def orbit_axis(period: float | None, density: float | None) -> float | None:
    """Semi-major axis over the star's radius; period in days, density over the Sun's."""
    if period is None or density is None:
        return None
    return AXIS_AT_ONE_DAY * density ** (1 / 3) * period ** (2 / 3)


def shape_duration(period: float | None, axis: float | None, ratio: float, ingress_share: float) -> float | None:
    """Hours from first to last contact of a planet of this radius ratio whose ingress takes this share of them.

    With r = 1 - 2 share, the squared impact parameter is ((1 - k)^2 - r^2 (1 + k)^2) / (1 - r^2) (Seager &
    Mallen-Ornelas 2003, eq. 7, for orbits wide against the star).
    """
    flat = max(1 - 2 * ingress_share, 0.0)
    if period is None or axis is None or axis <= 1 + ratio or flat >= 1:
        return None
    squared = ((1 - ratio) ** 2 - flat**2 * (1 + ratio) ** 2) / (1 - flat**2)
    chord = math.sqrt((1 + ratio) ** 2 - max(squared, 0.0))
    return 24 * period / math.pi * math.asin(min(chord / axis, 1.0))
