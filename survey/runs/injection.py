"""The planet that an injection run puts into a star: a pure function of the star, the seed and the cells.

Nothing of it is kept with the star: `runs.recovery` draws it again, from the same columns of the star's row.
"""

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np

from survey.config import InjectConfig
from survey.signals.search import stellar_density
from survey.signals.vetting.planet import SUN_IN_EARTHS
from survey.stars import inject
from survey.stars.lightcurve import LightCurve


@dataclass(frozen=True)
class Planet:
    """period, epoch, duration: days; epoch: since the time zero of the star; radius: Earth radii."""

    period: float
    epoch: float
    duration: float
    radius: float
    ratio: float
    impact: float


def draw_planet(target_id: str, radius: float | None, logg: float | None, config: InjectConfig) -> Planet | None:
    """The star's planet; None where its orbit would lie inside the star, or where it is as large as the star.

    radius: of the star (solar), logg: cgs; the Sun's where they are not known.
    """
    name = int.from_bytes(hashlib.sha256(target_id.encode()).digest()[:8])
    rng = np.random.default_rng([config.seed, name])
    period, size = _draw_between(config.periods, rng), _draw_between(config.radii, rng)
    impact, phase = config.max_impact * float(rng.random()), float(rng.random())
    ratio = size / (SUN_IN_EARTHS * (radius or 1.0))
    if ratio >= 1:
        return None
    try:
        duration = inject.transit_duration(period, stellar_density(radius, logg) or 1.0, ratio, impact)
    except ValueError:
        return None
    return Planet(period, phase * period, duration, size, ratio, impact)


def _draw_between(borders: tuple[float, ...], rng: np.random.Generator) -> float:
    """Of a cell as good as any other, and evenly in the logarithm inside it."""
    cell = int(rng.integers(len(borders) - 1))
    low, high = math.log(borders[cell]), math.log(borders[cell + 1])
    return math.exp(low + (high - low) * float(rng.random()))


def inject_planet(lc: LightCurve, config: InjectConfig) -> LightCurve:
    """The light curve with the star's planet in it, smeared over the exposures of each product; `notes` say so."""
    planet = draw_planet(lc.target_id, lc.star.radius, lc.star.logg, config)
    if planet is None:
        return replace(lc, notes=(*lc.notes, "nothing was injected: the orbit would lie inside the star"))
    starts = lc.starts()[1:]
    parts = [
        inject.transit_model(
            times,
            period=planet.period,
            epoch=planet.epoch,
            duration=planet.duration,
            radius_ratio=planet.ratio,
            impact=planet.impact,
            exposure_s=product.cadence_s,
        )
        for times, product in zip(np.split(lc.time, starts), lc.products, strict=True)
    ]
    note = f"injected: a planet of {planet.radius:.3g} Earth radii every {planet.period:.5g} d"
    return replace(lc, flux=(lc.flux * np.concatenate(parts)).astype(np.float32), notes=(*lc.notes, note))
