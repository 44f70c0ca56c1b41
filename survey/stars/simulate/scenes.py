"""What the detector sees of a simulated star: the pixels about it, its neighbours, and how much light each pixel
catches.

A star's image is a Gaussian core and a wide halo, summed over each pixel. The image moves by a few hundredths of a
pixel, so the light of a pixel is taken as linear in the motion: share + motion . gradient.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.stars.simulate.stars import KEPLER_PIXEL, TESS_PIXEL, SimulatedStar, Values


@dataclass(frozen=True)
class Detector:
    """Pixels of a mission. size: pixels along a side of a cutout; core, halo: widths of the image of a star, pixels;
    sky: background, electrons a second and pixel; roll: degrees that the sky turns from one observation to the
    next."""

    arcsec: float
    size: int
    core: float
    halo: float
    sky: float
    roll: float


DETECTORS = {
    "tess": Detector(arcsec=TESS_PIXEL, size=11, core=0.75, halo=2.5, sky=90.0, roll=27.7),
    "kepler": Detector(arcsec=KEPLER_PIXEL, size=6, core=0.55, halo=1.8, sky=200.0, roll=90.0),
}

HALO_SHARE = 0.08
"""Of a star's light."""


@dataclass(frozen=True)
class Scene:
    """The cutout of one star in one observation; positions are (column, row) from the middle of its first pixel.

    corner: column and row of that pixel on the detector; sky: (2, 2) arcsec eastwards and northwards a pixel along
    columns and rows; flags: (rows, columns) of the APERTURE extension; shares: (stars, 3, pixels) of the target and its
    neighbours in each pixel, in units of the target's flux: the light, and its change a pixel of motion along columns
    and rows.
    """

    target: tuple[float, float]
    corner: tuple[int, int]
    sky: Values
    flags: NDArray[np.int32]
    shares: Values
    background: float

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(pixels,): which pixels the light curve is made of."""
        inside: NDArray[np.bool_] = (self.flags & 2 != 0).ravel()
        return inside

    @property
    def caught(self) -> Values:
        """(stars, 3): the sums of `shares` over the aperture."""
        total: Values = self.shares[:, :, self.inside].sum(axis=2)
        return total

    @property
    def aperture_share(self) -> float:
        """FLFRCSAP."""
        return float(self.caught[0, 0])

    @property
    def crowding(self) -> float:
        """CROWDSAP."""
        return float(self.caught[0, 0] / self.caught[:, 0].sum())

    @property
    def dilution(self) -> float:
        """Light of the first neighbour in the aperture over that of the target."""
        return float(self.caught[1, 0] / self.caught[0, 0])

    @property
    def places(self) -> Values:
        """(pixels, 2): columns and rows of the pixels on the detector."""
        rows, columns = np.mgrid[: self.flags.shape[0], : self.flags.shape[1]]
        places: Values = np.column_stack([columns.ravel(), rows.ravel()]) + np.array(self.corner, float)
        return places

    def images(self, stars: Sequence[Values], motion: Values) -> Values:
        """(n, pixels) in units of the target's flux. stars: light of each star over its mean, (n,); motion: (n, 2)."""
        terms = np.concatenate([light[:, None] * _with_one(motion) for light in stars], axis=1)
        total: Values = terms @ self.shares.reshape(-1, self.shares.shape[2])
        return total

    def aperture_sum(self, stars: Sequence[Values], motion: Values, weights: Values | float = 1.0) -> Values:
        """(n,): the sum of `images` over the aperture, each pixel weighted, without making them."""
        sums = (self.shares * weights)[:, :, self.inside].sum(axis=2)
        moving = _with_one(motion)
        total = np.zeros(len(motion))
        for light, row in zip(stars, sums, strict=True):
            total += light * (moving @ row)
        return total

    def centres(self, stars: Sequence[Values], motion: Values) -> Values:
        """(n, 2): column and row of the centre of the light in the aperture, on the detector."""
        total = self.aperture_sum(stars, motion)
        moments = [self.aperture_sum(stars, motion, places) / total for places in self.places.T]
        return np.column_stack(moments)

    def centres_of(self, images: Values) -> Values:
        """The same of images as they were observed, (n, pixels)."""
        inside = images[:, self.inside]
        centres: Values = inside @ self.places[self.inside] / inside.sum(axis=1, keepdims=True)
        return centres

    def centre_noise(self, flux: float, noise: Values) -> Values:
        """(2,): scatter of the centre where that of the pixels is `noise`. flux: of the target, same unit."""
        total = flux * self.caught[:, 0].sum()
        light = self.shares[:, 0].sum(axis=0)[self.inside]
        places = self.places[self.inside]
        arms = places - light @ places / light.sum()
        scatter: Values = np.sqrt(noise[self.inside] ** 2 @ arms**2) / total
        return scatter

    def pixel_noise(self, flux: float, error: float) -> Values:
        """(pixels,): scatter of each pixel, of photons of stars and sky, where that of the aperture's sum is `error`.

        flux: of the target, same unit as error.
        """
        photons = flux * self.shares[:, 0].sum(axis=0) + self.background
        noise: Values = error * np.sqrt(photons / photons[self.inside].sum())
        return noise

    def keywords(self) -> dict[str, float | int]:
        """World coordinate system and aperture, as in the headers; the reference is the target."""
        arcsec = math.hypot(*self.sky[:, 0])
        cells = self.sky / arcsec * [[-1.0], [1.0]]
        return {
            "CRPIX1": self.target[0] + 1,
            "CRPIX2": self.target[1] + 1,
            "CDELT1": -arcsec / 3600,
            "CDELT2": arcsec / 3600,
            "PC1_1": float(cells[0, 0]),
            "PC1_2": float(cells[0, 1]),
            "PC2_1": float(cells[1, 0]),
            "PC2_2": float(cells[1, 1]),
            "CRVAL1P": self.corner[0],
            "CRVAL2P": self.corner[1],
            "NPIXSAP": int(np.count_nonzero(self.inside)),
            "CROWDSAP": round(self.crowding, 8),
            "FLFRCSAP": round(self.aperture_share, 8),
        }


def _with_one(motion: Values) -> Values:
    return np.column_stack([np.ones(len(motion)), motion])


def make_scene(star: SimulatedStar, observation: int, detector: Detector | None = None) -> Scene:
    """The cutout of a star in a sector or quarter: where the star falls depends on nothing but its number and this.

    detector: None for the usual one of the star's mission.
    """
    rng = np.random.default_rng([star.number, observation])
    detector = detector or DETECTORS[star.mission]
    column, row = ((detector.size - 1) / 2 + float(part) for part in rng.uniform(-0.45, 0.45, 2))
    corner = (int(rng.integers(60, 1060)), int(rng.integers(60, 960)))
    sky = _sky_matrix(detector.arcsec, math.radians(detector.roll * observation + 90 * star.ccd), star.mission)
    offsets = [np.zeros(2), *(np.linalg.solve(sky, (one.east, one.north)) for one in star.neighbours)]
    brightness = [1.0, *(one.brightness for one in star.neighbours)]
    shares = np.array(
        [
            flux * _image(column + offset[0], row + offset[1], detector)
            for flux, offset in zip(brightness, offsets, strict=True)
        ]
    )
    return Scene((column, row), corner, sky, _flags(star, column, row, detector.size), shares, detector.sky)


def _sky_matrix(arcsec: float, roll: float, mission: str) -> Values:
    """(2, 2) arcsec a pixel; Kepler's images show the sky mirrored against those of TESS."""
    across = -1.0 if mission == "tess" else 1.0
    turned = [[-across * math.cos(roll), math.sin(roll)], [across * math.sin(roll), math.cos(roll)]]
    return arcsec * np.array(turned)


def _image(column: float, row: float, detector: Detector) -> Values:
    """(3, pixels): a star's light in each pixel, and how it changes with the star's column and row."""
    step = 0.01

    def light(column: float, row: float) -> Values:
        total = np.zeros((detector.size, detector.size))
        for width, share in ((detector.core, 1 - HALO_SHARE), (detector.halo, HALO_SHARE)):
            along, across = (_strips(place, width, detector.size) for place in (row, column))
            total += share * np.outer(along, across)
        return total.ravel()

    by_column = (light(column + step, row) - light(column - step, row)) / (2 * step)
    by_row = (light(column, row + step) - light(column, row - step)) / (2 * step)
    return np.array([light(column, row), by_column, by_row])


def _strips(place: float, width: float, size: int) -> Values:
    """Shares of a Gaussian between the edges of the pixels along one axis."""
    edges = [math.erf((edge - 0.5 - place) / (width * math.sqrt(2))) for edge in range(size + 1)]
    return np.diff(edges) / 2


def _flags(star: SimulatedStar, column: float, row: float, size: int) -> NDArray[np.int32]:
    """1 collected, 2 in the optimal aperture; of TESS also 8 in the centroid's, 256 on this CCD's output."""
    rows, columns = np.mgrid[:size, :size]
    bright = np.hypot(columns - column, rows - row) < 1.2 + 0.25 * max(14 - star.magnitude, 0) ** 0.5
    base = 257 if star.mission == "tess" else 1
    return np.where(bright, base | (10 if star.mission == "tess" else 2), base).astype(np.int32)
