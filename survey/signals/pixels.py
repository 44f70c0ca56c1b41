"""Where on the sky a signal comes from: difference images and the motion of the light's centre.

The star that dims is where the difference image (out of transit less in transit) is bright. Its place is measured twice
in every pixel file: `prf`, by a fit of the pixel response, and `flux_weighted`, as the centre of gravity. The offset is
that from the target as the same method sees it in the direct image, as the errors of method and coordinates are then
the same and fall out (Bryson et al. 2013, PASP 125, 889). `prf_catalogue` is the offset from the target's catalogued
place instead; it is what is left where neighbours spoil the target's image (`crowded`). Offsets of several files are
averaged on the sky.

Without pixels, the motion of the light's centre tells (`motion`). Of the flux F in the aperture, with its centre at C,
a source at x loses the share d, so that the centre moves to C' = (C - d x) / (1 - d), and

    x - C = -(C' - C) (1 - d) / d.

An offset that cannot be trusted is null, and `problem` says why: `saturated`, `crowded`, `low_snr` (no source in the
difference image), `off_image` (the source lies beyond the pixels), `no_coordinates`, `no_transits` (none with cadences
enough).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from survey.config import PixelsConfig
from survey.signals.difference import WHITE_IMAGES, Difference, difference
from survey.signals.ephemeris import Ephemeris
from survey.signals.prf import USUAL_SIGMA, Grid, Source, Star, find_star, fit_source, gravity_centre, source_gains
from survey.signals.vetting.report import Check
from survey.stars.pixels import LightCentre, TargetPixels

Floats = NDArray[np.float32]
Array = NDArray[np.float64]

FRAMES = 32
SIZE = 24
"""Images of a pixel stack, and their side in pixels."""

FLOOR_ARCSEC = {"kepler": 0.0667, "tess": 2.5, "k2": 0.4}
"""Least error of an offset along an axis, as the missions' own Data Validation adds in quadrature (Twicken et al. 2018,
PASP 130, 064502, and the TESS data release notes); for K2, whose image rolls, a tenth of a pixel."""

CATALOGUE_PIXELS = 0.25
"""The same of an offset from the catalogued place, in pixels: on six Kepler files the fitted place of the target and
that of the file's coordinates differ by 0.2 rms along an axis."""

AWAY_PIXELS = 0.1
"""Error of the place of a source a pixel or more from the target, along an axis: there the faults of the assumed pixel
response no longer fall out. Measured with transits given to whole-pixel shifts of the stars of real Kepler files."""

CROWDED_PIXELS = 0.75
"""A star further than this from the catalogued place is not the target, or not alone."""

SATURATION_REACH = 3.0
"""Pixels: saturated light this near the target spoils its place."""

SAME_PIXELS = 1.0
"""Pixels: within this of the target, a source's centre of gravity is taken over the target's pixels."""

EDGE = 0.5
"""Pixels: a source this far beyond the middles of the outermost pixels is off the image."""

KNOWN_SHARE = 0.8
"""Pointing known for a smaller share of the cadences is not used."""

LEAST_OWN = 0.25
"""Of the square of a source's strength at least this much is taken to be its own, and not due to the search for it."""

UNSURE_PIXELS = 2.0
"""An offset from the light's motion with a greater error, along an axis, says nothing."""

LEAST_CROWDING = 0.5
"""With less of the aperture's light from the target, the light's centre says little of it."""

STRAY_PIXELS = 1.0
"""How far the light of other stars in the aperture lies from the target, typically, along an axis."""


@dataclass(frozen=True)
class Centroid:
    """One measurement of the place of a signal; fields as `schema.CENTROID`."""

    method: str
    offset_pixels: float | None = None
    offset_pixels_err: float | None = None
    offset_arcsec: float | None = None
    offset_arcsec_err: float | None = None
    column_offset: float | None = None
    row_offset: float | None = None
    column_var: float | None = None
    row_var: float | None = None
    covariance: float | None = None
    ra_offset_arcsec: float | None = None
    dec_offset_arcsec: float | None = None
    significance: float | None = None
    n_products: int = 0
    problem: str | None = None


@dataclass(frozen=True)
class Images:
    """Fields as `schema.IMAGE_FIELDS`; images (rows, columns), stack (32, 24, 24)."""

    image_product: str
    image_target_row: float | None
    image_target_column: float | None
    direct_image: Floats
    difference_image: Floats
    difference_err: Floats
    pixel_stack: Floats

    def as_row(self) -> dict[str, Any]:
        rows, columns = self.direct_image.shape
        flat = {
            name: np.ravel(value) if isinstance(value, np.ndarray) else value for name, value in asdict(self).items()
        }
        return flat | {"image_rows": rows, "image_columns": columns}


@dataclass(frozen=True)
class Location:
    """Where a signal comes from. checks: the flaw `centroid_offset`, if there was anything to measure it in."""

    centroids: tuple[Centroid, ...] = ()
    checks: tuple[Check, ...] = ()
    images: Images | None = field(default=None, repr=False)


class _Offset(NamedTuple):
    """Source less target in one file: (2,) pixels along columns and rows, its covariance; or why there is none.

    scale: (2, 2) arcsec on the sky a pixel; on_sky: whether its axes are east and north; floor: least error along an
    axis, arcsec; strength: the source's flux over its error; elsewhere: how sure, in sigmas, it is not the target.
    """

    problem: str | None
    scale: Array
    on_sky: bool
    floor: float
    strength: float = 0.0
    elsewhere: float = 0.0
    offset: Array = np.zeros(2)
    covariance: Array = np.zeros((2, 2))


class _File(NamedTuple):
    """What one pixel file says of a signal. observed: (rows, columns) the pixels that are the columns of `change`."""

    pixels: TargetPixels
    observed: NDArray[np.bool_]
    change: Difference
    offsets: dict[str, _Offset]


METHODS = ("prf", "flux_weighted", "prf_catalogue")


def locate(
    pixels: Sequence[TargetPixels],
    centres: Sequence[LightCentre],
    signal: Ephemeris,
    others: Sequence[Ephemeris],
    config: PixelsConfig,
    depth: float | None = None,
) -> Location:
    """Where one signal comes from; cadences in the transits of `others` are left out.

    depth: that of the transit in the target's own light, for `centres`, which count only where there are no pixels.
    """
    files = [found for one in pixels if (found := _examine(one, signal, others, config)) is not None]
    if files:
        offsets = {method: [file.offsets[method] for file in files] for method in METHODS}
        images = _images(max(files, key=lambda file: file.offsets["prf"].strength))
    elif pixels:
        offsets, images = {method: [] for method in METHODS}, None
    elif centres:
        offsets, images = {"motion": [_motion(one, signal, others, config, depth) for one in centres]}, None
    else:
        return Location()
    centroids = [_average(method, found) for method, found in offsets.items()]
    return Location(tuple(centroids), (_check(centroids, offsets, config),), images)


def _examine(
    pixels: TargetPixels, signal: Ephemeris, others: Sequence[Ephemeris], config: PixelsConfig
) -> _File | None:
    """The difference image of one file and the places in it; None without transits."""
    flux = pixels.flux.reshape(len(pixels.time), -1)
    observed = np.isfinite(flux).sum(axis=0) > len(flux) / 2
    flux = flux if observed.all() else flux[:, observed]
    change = difference(pixels.time, flux, _known(pixels.pointing), signal, others)
    if change is None:
        return None
    shape = pixels.aperture.shape
    rows, columns = np.indices(shape).reshape(2, -1)[:, observed].astype(np.float64)
    offsets = _offsets(pixels, change, Grid(columns, rows), config)
    return _File(pixels, observed.reshape(shape), change, offsets)


def _known(pointing: Array | None) -> Array | None:
    """The motion of the image, unless that would cost many cadences."""
    return pointing if pointing is not None and np.isfinite(pointing).mean() > KNOWN_SHARE else None


def _offsets(pixels: TargetPixels, change: Difference, grid: Grid, config: PixelsConfig) -> dict[str, _Offset]:
    """The offset by each of METHODS."""
    scale = np.eye(2) * pixels.pixel_arcsec if pixels.sky is None else pixels.sky
    found = _Offset("low_snr", scale, pixels.sky is not None, FLOOR_ARCSEC[pixels.mission])
    expected = _expected(pixels)
    if change.direct[grid.distances(expected) <= SATURATION_REACH].max(initial=0.0) > pixels.saturation:
        return dict.fromkeys(METHODS, found._replace(problem="saturated"))
    star = find_star(change.direct, change.white, grid, expected)
    widths = np.full(2, USUAL_SIGMA) if star is None else star.widths
    if star is not None and np.hypot(*(star.place - expected)) > CROWDED_PIXELS:
        star = None
    target = expected if star is None else star.place
    source = fit_source(change.value, change.white, grid, target, widths)
    if source is None:
        return dict.fromkeys(METHODS, found)
    strength, _ = _judge(source, change)
    best, here = source_gains(change.value, change.white, grid, np.stack([source.place, target]), widths)
    elsewhere = strength * np.sqrt(max(0.0, 1 - here / best)) if best > 0 else 0.0
    found = found._replace(strength=strength, elsewhere=float(elsewhere))
    if strength < config.min_snr:
        return dict.fromkeys(METHODS, found)
    if not _inside(source.place, pixels.aperture.shape):
        return dict.fromkeys(METHODS, found._replace(problem="off_image"))
    return _compare(pixels, change, grid, found, star, source)


def _compare(
    pixels: TargetPixels, change: Difference, grid: Grid, found: _Offset, star: Star | None, source: Source
) -> dict[str, _Offset]:
    """The offsets of a source from the target's star in the direct image, None where it is crowded."""
    offsets = dict.fromkeys(METHODS, found._replace(problem="crowded"))
    offsets["prf_catalogue"] = found._replace(problem="no_coordinates")
    if pixels.target is not None:
        unsure = found._replace(floor=CATALOGUE_PIXELS * pixels.pixel_arcsec)
        offsets["prf_catalogue"] = _offset(unsure, source, np.array(pixels.target), change)
    if star is None:
        return offsets
    offsets["prf"] = _offset(found, source, star.place, change)
    # The same pixels for both, where they may be the same: what a window cuts off then falls out.
    around = star.place if np.hypot(*(source.place - star.place)) < SAME_PIXELS else source.place
    centre = gravity_centre(change.value - source.level, change.white, grid, around)
    seen = gravity_centre(change.direct - star.level, change.white, grid, star.place)
    if seen is not None and centre is not None:
        offsets["flux_weighted"] = _offset(found, centre, seen.place, change)
    return offsets


def _expected(pixels: TargetPixels) -> Array:
    """Where the target should be: by its coordinates, else in the middle of the aperture."""
    if pixels.target is not None:
        return np.array(pixels.target)
    rows, columns = np.nonzero(pixels.aperture if pixels.aperture.any() else np.ones_like(pixels.aperture))
    return np.array([columns.mean(), rows.mean()])


def _inside(place: Array, shape: tuple[int, ...]) -> bool:
    rows, columns = shape
    return bool(-EDGE <= place[0] <= columns - 1 + EDGE and -EDGE <= place[1] <= rows - 1 + EDGE)


def _judge(source: Source, change: Difference) -> tuple[float, Array]:
    """(flux over its error, covariance (2, 2) of the place), both under the noise that the noise images show.

    Their mean squares count beside the errors of independent pixels, as much as WHITE_IMAGES of them. The place was
    sought where the flux is greatest, which adds 3 to the square of its expected strength.
    """
    errors = np.einsum("ip,jp->ji", source.response, change.noise)
    count = WHITE_IMAGES + len(errors)
    flux = (WHITE_IMAGES + np.sum(errors[:, 0] ** 2) / source.covariance[0, 0]) / count
    inverse = np.linalg.inv(source.covariance[1:, 1:])
    place = (WHITE_IMAGES + np.einsum("ji,jk,ik->", errors[:, 1:], errors[:, 1:], inverse) / 2) / count
    strength = float(source.flux / np.sqrt(flux * source.covariance[0, 0]))
    own = max(LEAST_OWN, 1 - 3 / strength**2)
    return strength, place / own * source.covariance[1:, 1:]


def _offset(found: _Offset, source: Source, reference: Array, change: Difference) -> _Offset:
    _, covariance = _judge(source, change)
    offset = source.place - reference
    covariance += np.eye(2) * (AWAY_PIXELS * min(1.0, float(np.hypot(*offset)))) ** 2
    return found._replace(problem=None, offset=offset, covariance=covariance)


def _motion(
    centre: LightCentre, signal: Ephemeris, others: Sequence[Ephemeris], config: PixelsConfig, depth: float | None
) -> _Offset:
    """Source less centre of light, from the motion of this centre in transit (see above).

    The centre of light lies off the target by the light of others; crowding says how much of it there is. Of a source
    outside the aperture only the light that falls inside counts: its offset is the least there can be.
    """
    scale = np.eye(2) * centre.pixel_arcsec if centre.sky is None else centre.sky
    floor = FLOOR_ARCSEC["tess" if centre.pixel_arcsec > 10 else "kepler"]
    nothing = _Offset("no_transits", scale, centre.sky is not None, floor)
    change = difference(centre.time, centre.centre, _known(centre.pointing), signal, others)
    if change is None:
        return nothing
    if centre.crowding is None or not LEAST_CROWDING <= centre.crowding <= 1:
        return nothing._replace(problem="crowded")
    if depth is None or not 0 < depth < 1:
        return nothing._replace(problem="low_snr")
    lost = depth * centre.crowding
    lever = (1 - lost) / lost
    covariance = np.einsum("ji,jk->ik", change.noise, change.noise) + WHITE_IMAGES * np.diag(change.err**2)
    covariance *= lever**2 / (WHITE_IMAGES + len(change.noise))
    covariance += np.eye(2) * ((1 - centre.crowding) * STRAY_PIXELS) ** 2
    # The centre moved by in less out, the opposite of the difference, and the source lies opposite to the motion.
    if np.diag(covariance).max() > UNSURE_PIXELS**2:
        return nothing._replace(problem="low_snr")
    strength = float(1 / np.sqrt(np.trace(covariance)))
    return nothing._replace(problem=None, offset=change.value * lever, covariance=covariance, strength=strength)


def _average(method: str, offsets: Sequence[_Offset]) -> Centroid:
    """The mean on the sky, each file with the weight of its covariance, which is inflated where the files disagree.

    Files whose orientation is not known cannot be averaged: the strongest counts.
    """
    strongest = max(offsets, key=lambda one: one.strength, default=None)
    used = [one for one in offsets if one.problem is None]
    if not used:
        return Centroid(method, problem="no_transits" if strongest is None else strongest.problem)
    best = max(used, key=lambda one: one.strength)
    if not all(one.on_sky for one in used):
        used = [best]
    points = np.array([one.scale @ one.offset for one in used])
    inverses = np.linalg.inv(np.array([one.scale @ one.covariance @ one.scale.T for one in used]))
    covariance = np.linalg.inv(inverses.sum(axis=0))
    mean = covariance @ np.einsum("nij,nj->i", inverses, points)
    if len(used) > 1:
        chi2 = np.einsum("ni,nij,nj->", points - mean, inverses, points - mean)
        covariance *= max(1.0, chi2 / (2 * len(used) - 2))
    covariance += np.eye(2) * best.floor**2
    return _centroid(method, mean, covariance, best, len(used))


def _centroid(method: str, mean: Array, covariance: Array, best: _Offset, count: int) -> Centroid:
    """A measurement in arcsec, and in pixels of the strongest file."""
    back = np.linalg.inv(best.scale)
    column, row = back @ mean
    in_pixels = back @ covariance @ back.T
    distance = float(np.hypot(*mean))
    along = mean / distance if distance > 0 else np.array([1.0, 0.0])
    err = float(np.sqrt(along @ covariance @ along))
    share = float(np.hypot(column, row)) / distance if distance > 0 else float(np.sqrt(abs(np.linalg.det(back))))
    return Centroid(
        method,
        offset_pixels=distance * share,
        offset_pixels_err=err * share,
        offset_arcsec=distance,
        offset_arcsec_err=err,
        column_offset=float(column),
        row_offset=float(row),
        column_var=float(in_pixels[0, 0]),
        row_var=float(in_pixels[1, 1]),
        covariance=float(in_pixels[0, 1]),
        ra_offset_arcsec=float(mean[0]) if best.on_sky else None,
        dec_offset_arcsec=float(mean[1]) if best.on_sky else None,
        significance=float(np.sqrt(mean @ np.linalg.inv(covariance) @ mean)),
        n_products=count,
    )


def _check(centroids: Sequence[Centroid], offsets: Mapping[str, Sequence[_Offset]], config: PixelsConfig) -> Check:
    """The flaw that the source is not the target: the offset is sure, and more than the images' faults can make.

    Where neighbours spoil the target's image, its catalogued place counts; of a source beyond the pixels the distance
    is not known, only that no source at the target explains the difference.
    """
    found = {one.method: one for one in centroids}
    chosen = found.get("prf") or found["motion"]
    if chosen.problem == "crowded" and "prf_catalogue" in found:
        chosen = found["prf_catalogue"]
    score, far = chosen.significance, (chosen.offset_pixels or 0.0) > config.max_offset_pixels
    if chosen.problem == "off_image":
        score, far = max(one.elsewhere for one in offsets["prf"]), True
    passed = None if score is None else not (score > config.max_offset_sigma and far)
    return Check(
        "centroid_offset",
        chosen.offset_arcsec,
        chosen.offset_arcsec_err,
        "arcsec",
        score,
        config.max_offset_sigma,
        passed,
    )


def _images(file: _File) -> Images:
    """The images of one file, NaN where not observed."""

    def image(values: Array) -> Floats:
        full = np.full(file.observed.shape, np.nan, np.float32)
        full[file.observed] = values
        return full

    column, row = (None, None) if file.pixels.target is None else file.pixels.target
    return Images(
        image_product=file.pixels.product,
        image_target_row=row,
        image_target_column=column,
        direct_image=image(file.change.direct),
        difference_image=image(file.change.value),
        difference_err=image(file.change.err),
        pixel_stack=_stack(file),
    )


def _stack(file: _File) -> Floats:
    """FRAMES difference images in order of time, SIZE pixels a side, each of mean 0 and variance 1.

    More transits than frames are averaged in groups of neighbours; of fewer, each stands for as many frames as the
    others, or one more. Pixels keep their size; the target's is in the middle, beside the cutout is its mean.
    """
    images, weights = file.change.transits, file.change.weights
    if len(images) > FRAMES:
        groups = np.array_split(np.arange(len(images)), FRAMES)
        images = np.array([np.average(images[group], axis=0, weights=weights[group]) for group in groups])
    images = images[np.arange(FRAMES) * len(images) // FRAMES]
    rows, columns = np.nonzero(file.observed)
    size = np.array(file.observed.shape[::-1])
    column, row = np.clip(np.round(_expected(file.pixels)), 0, size - 1).astype(int)
    rows, columns = rows - row + SIZE // 2, columns - column + SIZE // 2
    within = (rows >= 0) & (rows < SIZE) & (columns >= 0) & (columns < SIZE)
    images = images[:, within] - images[:, within].mean(axis=1, keepdims=True)
    stack = np.zeros((FRAMES, SIZE, SIZE))
    stack[:, rows[within], columns[within]] = images
    spread = stack.std(axis=(1, 2), keepdims=True)
    return (stack / np.where(spread > 0, spread, 1.0)).astype(np.float32)
