"""Cutouts made here, not by the survey's own simulator: stars of a core and wings, jitter, photons, transits."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from survey.signals.ephemeris import Ephemeris, in_transit
from survey.stars.pixels import LightCentre, TargetPixels

SIGNAL = Ephemeris(period=3.3, epoch=2000.7, duration=0.125)
SCALES = {"tess": 21.0, "kepler": 3.98, "k2": 3.98}


class Dimming(NamedTuple):
    """A star of the cutout: place (column, row), flux in electrons a second, and the depth of its transits."""

    column: float
    row: float
    flux: float
    depth: float = 0.0


def star_image(shape: tuple[int, int], column: float, row: float, sigma: float = 0.65) -> np.ndarray:
    """(rows, columns) of sum 1: not the shape that the survey fits."""
    rows, columns = shape
    core = np.outer(_strip(rows, row, sigma), _strip(columns, column, 1.1 * sigma))
    return 0.85 * core + 0.15 * np.outer(_strip(rows, row, 2 * sigma), _strip(columns, column, 2 * sigma))


def _strip(size: int, middle: float, sigma: float) -> np.ndarray:
    edges = (np.arange(size + 1) - 0.5 - middle) / sigma
    return np.diff(ndtr(edges))


def make_cutout(
    stars: Sequence[Dimming],
    seed: int = 0,
    *,
    mission: str = "tess",
    shape: tuple[int, int] = (11, 11),
    days: float = 27.0,
    cadence_s: float = 600.0,
    jitter: float = 0.01,
    noise: float = 10.0,
    red: float = 0.0,
    signal: Ephemeris = SIGNAL,
    sky: np.ndarray | None = None,
    observation: int = 1,
) -> TargetPixels:
    """The cutout about the first star, with a gap in the middle.

    jitter: pixels, of a cadence, and twice that of slow waves; noise: electrons a second beside the photons'; red:
    amplitude of the stars' own slow variation.
    """
    rng = np.random.default_rng(seed)
    times = 2000.0 + np.arange(0.0, days, cadence_s / 86_400)
    times = times[(times < 2000 + 0.46 * days) | (times > 2000 + 0.5 * days)]
    motion = rng.normal(0, jitter, (len(times), 2)) + 2 * jitter * np.sin(2 * np.pi * times[:, None] / [0.7, 5.0])
    flux = np.zeros((len(times), *shape))
    inside = in_transit(times, signal)
    for column, row, light, depth in stars:
        image = star_image(shape, column, row)
        along, across = (
            (star_image(shape, column + step[0], row + step[1]) - image) / 0.01 for step in ((0.01, 0), (0, 0.01))
        )
        level = light * (1 - depth * inside) * (1 + red * np.sin(2 * np.pi * times / 2.1 + column))
        flux += level[:, None, None] * (image + motion[:, :1, None] * along + motion[:, 1:, None] * across)
    error = np.sqrt(np.maximum(flux, 0) / 60 + noise**2)
    scale = SCALES[mission]
    return TargetPixels(
        product=f"cutout-{observation}-{seed}.fits",
        sha256="0" * 64,
        target_id="TIC 101",
        mission=mission,
        observation=observation,
        time=times,
        flux=(flux + rng.normal(size=flux.shape) * error).astype(np.float32),
        flux_err=error.astype(np.float32),
        aperture=star_image(shape, stars[0].column, stars[0].row) > 0.02,
        target=(stars[0].column, stars[0].row),
        sky=scale * np.eye(2)[::-1] if sky is None else sky,
        pointing=motion + rng.normal(0, jitter / 10, motion.shape),
        corner=(100, 200),
        pixel_arcsec=scale,
        saturation=1.5e5,
    )


def make_light_centre(cutout: TargetPixels, crowding: float | None = 1.0) -> LightCentre:
    """The centre of the light in the aperture of a cutout, as its light-curve file has it."""
    rows, columns = np.nonzero(cutout.aperture)
    light = cutout.flux[:, rows, columns].astype(np.float64)
    points = np.stack([columns, rows], axis=1) + np.array(cutout.corner)
    return LightCentre(
        product=cutout.product.replace("cutout", "curve"),
        sha256="1" * 64,
        observation=cutout.observation,
        time=cutout.time,
        centre=light @ points / light.sum(axis=1, keepdims=True),
        pointing=cutout.pointing,
        background=None,
        crowding=crowding,
        pixel_arcsec=cutout.pixel_arcsec,
        sky=cutout.sky,
    )
