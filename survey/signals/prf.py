"""Stars on pixels: where the light of an image comes from, by least squares and by its centre of gravity.

The pixel response (PRF) is taken as a Gaussian integrated over the pixels, as wide along columns and along rows as the
star of the direct image is. Real ones have wings and corners, so that a fitted place may be off by a few tenths of a
pixel; but by the same in the direct and in the difference image where both are weighted alike, and the difference of
the two places is good to hundredths.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]

USUAL_SIGMA = 0.7
"""Pixels: a common width of Kepler's and of TESS's response; where fits start, and where none succeeds."""

SIGMAS = (0.3, 2.0)
"""Pixels: between these a fitted width stays."""

NEAR = 1.5
"""Pixels: stars closer than this are one star; also the reach of a centre of gravity."""

NEIGHBOUR_SHARE = 0.1
"""What exceeds the fit of the target by this share of its brightest pixel is fitted as a star of its own."""

MARGIN = 2.0
"""Pixels: a fitted star stays within this of the observed ones."""

MOST_NEIGHBOURS = 4
MOST_STEPS = 40
CONVERGED = 1e-4
"""A fit ends when a step lowers chi2 by less than this share of it."""


class Grid(NamedTuple):
    """The observed pixels of an image: columns and rows (p,) of their middles."""

    columns: Array
    rows: Array

    def distances(self, place: Array) -> Array:
        return np.hypot(self.columns - place[0], self.rows - place[1])


class Star(NamedTuple):
    """The star of a direct image: place (2,) and widths (2,) in pixels; level of the image beside it."""

    place: Array
    widths: Array
    level: float


class Source(NamedTuple):
    """Where the light of an image comes from.

    place: (2,) pixels; flux: its light; level: that of the image beside it; covariance: (3, 3) of flux, column and row,
    as of independent pixels; response: (3, p) what a unit of noise in every pixel does to these.
    """

    place: Array
    flux: float
    level: float
    covariance: Array
    response: Array


def find_star(direct: Array, err: Array, grid: Grid, target: Array) -> Star | None:
    """The star nearest to `target` (2,) in a direct image; None where the fit finds none.

    Bright neighbours are fitted with it, each where the image most exceeds the fit before, and a constant.
    """
    away = grid.distances(target)
    peak = int(np.argmax(np.where(away <= NEAR, direct, -np.inf)))
    if away[peak] > NEAR:
        return None
    starts = [peak]
    for _ in range(1 + MOST_NEIGHBOURS):
        values, model, _ = _fit(direct, err, grid, np.transpose(grid)[starts], None)
        excess = np.where(away > NEAR, direct - model, -np.inf)
        brightest = int(np.argmax(excess))
        if excess[brightest] < NEIGHBOUR_SHARE * direct[peak] or brightest in starts:
            break
        starts.append(brightest)
    star = Star(values[1:3], values[-2:], float(values[-3]))
    sharp = np.all((star.widths > SIGMAS[0]) & (star.widths < SIGMAS[1]))
    return star if values[0] > 0 and sharp else None


def fit_source(image: Array, err: Array, grid: Grid, start: Array, widths: Array) -> Source | None:
    """The one source of a difference image, with a constant; None where no place fits a positive one.

    The search begins at `start`, or at the pixel where a source explains most.
    """
    starts = np.concatenate([[start], np.transpose(grid)])
    gains = source_gains(image, err, grid, starts, widths)
    best = int(np.argmax(gains))
    if not gains[best] > 0:
        return None
    values, _, slopes = _fit(image, err, grid, starts[[best]], widths)
    weighted = slopes / err[:, None]
    covariance = _invert(np.einsum("pi,pj->ij", weighted, weighted))
    response = np.einsum("ij,pj->ip", covariance, weighted / err[:, None])[:3]
    if not (values[0] > 0 and covariance[0, 0] > 0 and _is_sound(covariance[1:3, 1:3])):
        return None
    return Source(values[1:3], float(values[0]), float(values[3]), covariance[:3, :3], response)


def source_gains(image: Array, err: Array, grid: Grid, places: Array, widths: Array) -> Array:
    """How much of chi2 a source at each place (k, 2) explains, beside a constant; 0 where it would be negative."""
    weights = err**-2.0
    shapes = _integral(grid.columns, places[:, [0]], widths[0])[0] * _integral(grid.rows, places[:, [1]], widths[1])[0]
    shapes -= (np.einsum("kp,p->k", shapes, weights) / weights.sum())[:, None]
    overlap = np.einsum("kp,p->k", shapes, weights * image)
    norm = np.einsum("kp,kp,p->k", shapes, shapes, weights)
    return np.where(overlap > 0, overlap**2 / np.where(norm > 0, norm, np.inf), 0.0)


def gravity_centre(image: Array, err: Array, grid: Grid, around: Array) -> Source | None:
    """The centre of gravity of the pixels within reach of the pixel at `around`; None without light.

    Its covariance is that of a ratio of sums.
    """
    inside = grid.distances(np.round(around)) <= NEAR
    flux = float(image[inside].sum())
    if not (flux > 0 and inside.sum() > 2):
        return None
    points = np.stack([grid.columns[inside], grid.rows[inside]])
    place = np.sum(points * image[inside], axis=1) / flux
    response = np.zeros((3, len(image)))
    response[0, inside] = 1.0
    response[1:, inside] = (points - place[:, None]) / flux
    covariance = np.einsum("ip,jp,p->ij", response, response, err**2)
    return Source(place, flux, 0.0, covariance, response) if _is_sound(covariance[1:, 1:]) else None


def _is_sound(covariance: Array) -> bool:
    """Whether a place is known in both directions; in a single row of pixels it is not."""
    least, greatest = np.linalg.eigvalsh(covariance)
    return bool(least > 1e-9 * greatest)


def _integral(coordinates: Array, middle: Array | float, sigma: float) -> tuple[Array, Array, Array]:
    """A unit Gaussian over each pixel, and its derivatives by the middle and by sigma."""
    upper, lower = (coordinates + 0.5 - middle) / sigma, (coordinates - 0.5 - middle) / sigma
    above, below = np.exp(-(upper**2) / 2) / np.sqrt(2 * np.pi), np.exp(-(lower**2) / 2) / np.sqrt(2 * np.pi)
    return ndtr(upper) - ndtr(lower), (below - above) / sigma, (lower * below - upper * above) / sigma


def _evaluate(values: Array, grid: Grid, widths: Array | None) -> tuple[Array, Array]:
    """The model (p,) and its slopes (p, k). values: flux, column, row of each star, the constant, free widths."""
    sigma = values[-2:] if widths is None else widths
    stars = values[: -3 if widths is None else -1].reshape(-1, 3)
    model = np.full(len(grid.columns), values[3 * len(stars)])
    slopes = np.ones((len(model), len(values)))
    spread = np.zeros((2, len(model)))
    for k, (flux, column, row) in enumerate(stars):
        across, across_place, across_width = _integral(grid.columns, column, sigma[0])
        along, along_place, along_width = _integral(grid.rows, row, sigma[1])
        model += flux * across * along
        slopes[:, 3 * k] = across * along
        slopes[:, 3 * k + 1] = flux * across_place * along
        slopes[:, 3 * k + 2] = flux * across * along_place
        spread += flux * np.stack([across_width * along, across * along_width])
    if widths is None:
        slopes[:, -2:] = spread.T
    return model, slopes


def _fit(image: Array, err: Array, grid: Grid, starts: Array, widths: Array | None) -> tuple[Array, Array, Array]:
    """Least squares (Levenberg and Marquardt) for stars at `starts` (s, 2): values, model and slopes of `_evaluate`."""
    heights = [image[np.argmin(grid.distances(start))] for start in starts]
    fluxes = np.maximum(heights, np.median(err)) * 2 * np.pi * USUAL_SIGMA**2
    free = [0.0] if widths is not None else [0.0, USUAL_SIGMA, USUAL_SIGMA]
    values = np.concatenate([np.column_stack([fluxes, starts]).ravel(), free])
    model, slopes = _evaluate(values, grid, widths)
    chi2, damping = np.sum(((image - model) / err) ** 2), 1e-3
    for _ in range(MOST_STEPS):
        weighted = slopes / err[:, None]
        normal = np.einsum("pi,pj->ij", weighted, weighted)
        normal[np.diag_indices_from(normal)] *= 1 + damping
        tried = values + _invert(normal) @ np.einsum("pi,p->i", weighted, (image - model) / err)
        tried[1 : 3 * len(starts) : 3] = _within(tried[1 : 3 * len(starts) : 3], grid.columns)
        tried[2 : 3 * len(starts) : 3] = _within(tried[2 : 3 * len(starts) : 3], grid.rows)
        if widths is None:
            tried[-2:] = np.clip(tried[-2:], *SIGMAS)
        tried_model, tried_slopes = _evaluate(tried, grid, widths)
        tried_chi2 = np.sum(((image - tried_model) / err) ** 2)
        if tried_chi2 > chi2 or not np.isfinite(tried_chi2):
            damping *= 10
            if damping > 1e6:
                break
            continue
        done = chi2 - tried_chi2 < CONVERGED * min(1.0, tried_chi2)
        values, model, slopes, chi2, damping = tried, tried_model, tried_slopes, tried_chi2, damping / 10
        if done:
            break
    return values, model, slopes


def _within(places: Array, pixels: Array) -> Array:
    return np.clip(places, pixels.min() - MARGIN, pixels.max() + MARGIN)


def _invert(normal: Array) -> Array:
    """Pseudo-inverse of a normal matrix whose parameters have very different units."""
    scale = np.sqrt(np.diag(normal))
    scale[scale == 0] = 1.0
    return np.linalg.pinv(normal / np.outer(scale, scale), hermitian=True) / np.outer(scale, scale)
