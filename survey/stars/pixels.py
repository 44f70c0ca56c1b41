"""Target pixel files, and the motion of the light's centre that light-curve files carry.

Columns and keywords: TESS Science Data Products Description (EXP-TESS-ARC-ICD-0014), Kepler Archive Manual
(KDMC-10008). World coordinates: gnomonic projection of Calabretta & Greisen (2002), section 5.1.3.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from survey.config import FetchConfig
from survey.errors import BadFile, TooShort
from survey.stars.fits import FitsTable, Header, decompress, read_image, read_table
from survey.stars.lightcurve import Mask, Times
from survey.stars.products import recognise_product
from survey.stars.reading import (
    is_text,
    possible_times,
    product_of,
    quality_flags,
    quality_mask,
    star_of,
    table_mission,
    table_target,
)
from survey.stars.targets import MISSIONS

Floats = NDArray[np.float32]

SATURATION: Final = {"tess": 2.0e5 / 1.98, "kepler": 1.05e6 / 6.0198, "k2": 1.05e6 / 6.0198}
"""Electrons a second above which a pixel bleeds: the full well over one exposure.

TESS: 200,000 electrons in 1.98 s (Sullivan et al. 2015; Vanderspek et al. 2018, TESS Instrument Handbook); Kepler:
about 1.05 million in 6.02 s, from 0.9 to 1.3 over its detectors (Van Cleve & Caldwell 2016, KSCI-19033).
"""

_PROPER_MOTION_ARCSEC: Final = {"tess": 1e-3, "kepler": 1.0, "k2": 1.0}
"""Unit of PMRA and PMDEC, arcsec a year: TESS gives thousandths."""

_J2000: Final = 2451545.0
_IN_OPTIMAL_APERTURE: Final = 2
_LARGEST: Final = 10_000
"""No detector has as many columns or rows."""

_FLAT: Final = 1e-6
"""A pixel of fewer square arcsec has no sides."""


@dataclass(frozen=True)
class TargetPixels:
    """The good cadences of one target pixel file.

    Positions are in pixels, (column, row), from the middle of the lower-left pixel of the cutout.

    time: (n,) days since the mission's zero; flux, flux_err: (n, rows, columns), electrons a second, background taken
    off, NaN where not observed; aperture: (rows, columns) the pixels of the archive's light curve, none where it made
    none; target: where the star is at the time of observation, proper motion included, None without a world coordinate
    system; sky: (2, 2) arcsec eastwards (first row) and northwards a pixel along columns and rows, None without;
    pointing: (n, 2) motion of the image (POS_CORR), NaN where not known, None without; corner: (column, row) of the
    lower-left pixel on the detector; pixel_arcsec: size of a pixel; saturation: electrons a second above which a pixel
    of this mission bleeds.
    """

    product: str
    sha256: str
    target_id: str
    mission: str
    observation: int | None
    time: NDArray[np.float64]
    flux: Floats
    flux_err: Floats
    aperture: NDArray[np.bool_]
    target: tuple[float, float] | None
    sky: NDArray[np.float64] | None
    pointing: NDArray[np.float64] | None
    corner: tuple[int, int]
    pixel_arcsec: float
    saturation: float
    magnitude: float | None = None


@dataclass(frozen=True)
class LightCentre:
    """What a light-curve file says of the centre of the light in the aperture, good cadences only.

    centre: (n, 2) columns and rows on the detector (MOM_CENTR1, MOM_CENTR2; pixels, counted as `TargetPixels.corner`);
    pointing: (n, 2) POS_CORR1, 2, NaN where not known, or None; background: (n,) SAP_BKG, electrons a second, or None;
    crowding: CROWDSAP or None; target: column and row on the detector where the star is, sky: (2, 2), both as of
    `TargetPixels` and None without a world coordinate system.
    """

    product: str
    sha256: str
    observation: int | None
    time: NDArray[np.float64]
    centre: NDArray[np.float64]
    pointing: NDArray[np.float64] | None
    background: NDArray[np.float64] | None
    crowding: float | None
    pixel_arcsec: float
    target: tuple[float, float] | None = None
    sky: NDArray[np.float64] | None = None


def read_pixels(data: bytes, name: str, fetch: FetchConfig) -> TargetPixels:
    """The good cadences of a target pixel file of TESS, Kepler or K2, in order of time.

    data: the file's bytes, may be gzipped. Cadences go without a time, with a bit of the mission's pinned quality mask
    or without any observed pixel. Raises BadFile, and TooShort for fewer than two good cadences.
    """
    digest = hashlib.sha256(data).hexdigest()
    content = decompress(data, name)
    table = read_table(content, name)
    _require(table, "TIME", "FLUX", "FLUX_ERR", "QUALITY")
    known = recognise_product(name, "pixels")
    mission = table_mission(table) or (known.mission if known else None)
    if mission is None:
        raise BadFile(f"{name}: neither its header nor its name says which mission it is of")
    time, good = _good_times(table, mission, "QUALITY", fetch)
    flux = _images(table, "FLUX", good)
    seen = ~np.isnan(flux).all(axis=(1, 2))
    good[good] = seen
    order = _in_order(time[good])
    if order.size < 2:
        raise TooShort(f"{name}: {order.size} of {good.size} cadences have a time, pixels and no flag against them")
    frame = _frame_of_column(table.header, table.column_number("FLUX"))
    if frame.corner is None:
        raise BadFile(f"{name}: its header does not say where on the detector its pixels lie (1CRV5P, 2CRV5P)")
    error = _images(table, "FLUX_ERR", good)
    if error.shape[1:] != flux.shape[1:]:
        raise BadFile(f"{name}: images of {flux.shape[1:]} pixels (rows, columns), errors of {error.shape[1:]}")
    return TargetPixels(
        product=name,
        sha256=digest,
        target_id=_star(table, known.target_id if known else None),
        mission=mission,
        observation=_observation(table, known.observation if known else None),
        time=time[good][order],
        flux=flux[seen][order],
        flux_err=error[order],
        aperture=_aperture(content, name, flux.shape[1:]),
        target=_find_star(table, frame, mission, float(np.median(time[good]))),
        sky=frame.sky,
        pointing=_pointing(table, good, order),
        corner=frame.corner,
        pixel_arcsec=MISSIONS[mission].pixel_arcsec,
        saturation=SATURATION[mission],
        magnitude=star_of(table).magnitude,
    )


def read_light_centre(data: bytes, name: str, fetch: FetchConfig) -> LightCentre | None:
    """The centroid columns of a light-curve file, good cadences in order of time; None where it has (or knows) none.

    data: the file's bytes, may be gzipped. Raises BadFile, and TooShort for a file without times.
    """
    content = decompress(data, name)
    if is_text(content, name):
        return None
    table = read_table(content, name)
    quality = next((column for column in ("QUALITY", "SAP_QUALITY") if column in table.names), None)
    mission = table_mission(table)
    if mission is None or quality is None or not {"TIME", "MOM_CENTR1", "MOM_CENTR2"} <= set(table.names):
        return None
    time, good = _good_times(table, mission, quality, fetch)
    centre = _columns(table, "MOM_CENTR1", "MOM_CENTR2")
    good &= ~np.isnan(centre).any(axis=1)
    order = _in_order(time[good])
    if order.size < 2:
        return None
    known = recognise_product(name)
    aperture = read_image(content, name, "APERTURE")
    frame = None if aperture is None else _frame_of_image(aperture.header)
    return LightCentre(
        product=name,
        sha256=hashlib.sha256(data).hexdigest(),
        observation=_observation(table, known.observation if known else None),
        time=time[good][order],
        centre=centre[good][order],
        pointing=_pointing(table, good, order),
        background=_columns(table, "SAP_BKG")[good][order, 0] if "SAP_BKG" in table.names else None,
        crowding=table.header.number("CROWDSAP"),
        pixel_arcsec=MISSIONS[mission].pixel_arcsec,
        target=None if frame is None else _find_on_detector(table, frame, mission, float(np.median(time[good]))),
        sky=None if frame is None else frame.sky,
    )


def _require(table: FitsTable, *columns: str) -> None:
    if missing := [column for column in columns if column not in table.names]:
        raise BadFile(f"{table.file}: no column {' and '.join(missing)}, so this is no target pixel file")


def _good_times(table: FitsTable, mission: str, quality: str, fetch: FetchConfig) -> tuple[Times, Mask]:
    """Times of all cadences in days since the mission's zero, and which of them count."""
    whole, part = table.header.number("BJDREFI"), table.header.number("BJDREFF")
    zero = MISSIONS[mission].time_zero
    own_zero = zero if whole is None else whole + (part or 0.0)
    time = table.column("TIME").astype(np.float64)
    if not np.isfinite(time).any():
        raise TooShort(f"{table.file}: none of its {time.size} cadences has a time")
    mask = quality_mask(mission, "", fetch, None)
    good = possible_times(time, own_zero, table.file, []) & ((quality_flags(table, quality) & mask) == 0)
    return time + (own_zero - zero), good


def _in_order(time: Times) -> NDArray[np.intp]:
    """The order of some times, each taken once."""
    return np.unique(time, return_index=True)[1]


def _images(table: FitsTable, name: str, rows: Mask) -> Floats:
    values = table.images(name, rows)
    values[np.isinf(values)] = np.nan
    return values


def _columns(table: FitsTable, *names: str) -> NDArray[np.float64]:
    """Columns side by side, (n, columns), NaN where not known."""
    values = np.stack([table.column(name).astype(np.float64) for name in names], axis=1)
    values[np.isinf(values)] = np.nan
    return values


def _pointing(table: FitsTable, good: Mask, order: NDArray[np.intp]) -> NDArray[np.float64] | None:
    """Motion of the image along columns and rows, (n, 2); None where the file does not have or know it."""
    if not {"POS_CORR1", "POS_CORR2"} <= set(table.names):
        return None
    values = _columns(table, "POS_CORR1", "POS_CORR2")[good][order]
    return None if np.isnan(values).all() else values


def _star(table: FitsTable, named: str | None) -> str:
    target_id = table_target(table) or named
    if target_id is None:
        raise BadFile(f"{table.file}: neither its header nor its name says which star it is of")
    return target_id


def _observation(table: FitsTable, named: int | None) -> int | None:
    stated = product_of(table)["observation"]
    return named if stated is None else int(stated)


def _aperture(content: bytes, name: str, shape: tuple[int, ...]) -> Mask:
    image = read_image(content, name, "APERTURE")
    if image is None:
        raise BadFile(f"{name}: no extension APERTURE, so this is no target pixel file")
    if image.pixels.shape != shape:
        raise BadFile(f"{name}: its aperture has {image.pixels.shape} pixels (rows, columns), its images have {shape}")
    return (image.pixels & _IN_OPTIMAL_APERTURE) != 0


@dataclass(frozen=True)
class _Frame:
    """Where the pixels of an image lie: on the detector, and on the sky by a gnomonic projection (TAN).

    corner: column and row of the lower-left pixel on the detector; pole: right ascension and declination of the
    reference point, degrees; place: (2,) column and row where it lies, from the middle of the lower-left pixel; sky:
    (2, 2) arcsec a pixel. None for what the header does not say.
    """

    corner: tuple[int, int] | None
    pole: tuple[float, float]
    place: NDArray[np.float64]
    sky: NDArray[np.float64] | None

    def locate(self, ra: float, dec: float) -> tuple[float, float] | None:
        """Column and row of a place on the sky (degrees); None for the half of it that cannot be projected."""
        turn, height, pole = math.radians(ra - self.pole[0]), math.radians(dec), math.radians(self.pole[1])
        depth = math.sin(pole) * math.sin(height) + math.cos(pole) * math.cos(height) * math.cos(turn)
        if self.sky is None or depth <= 0:
            return None
        east = math.cos(height) * math.sin(turn) / depth
        north = (math.cos(pole) * math.sin(height) - math.sin(pole) * math.cos(height) * math.cos(turn)) / depth
        place = self.place + np.linalg.solve(self.sky, 3600 * np.degrees([east, north]))
        return float(place[0]), float(place[1])


def _frame_of_column(header: Header, number: int) -> _Frame:
    """That of the images in a table's column: 1CRPX5 is for the first axis of the fifth column."""
    words = ("{}CTYP", "{}CRPX", "{}CRVL", "{}CDLT", "{}{}PC")
    return _frame(header, f"{{}}CRV{number}P", f"{{}}CRP{number}P", *(f"{word}{number}" for word in words))


def _frame_of_image(header: Header) -> _Frame:
    return _frame(header, "CRVAL{}P", "CRPIX{}P", "CTYPE{}", "CRPIX{}", "CRVAL{}", "CDELT{}", "PC{}_{}")


def _frame(header: Header, corner: str, first: str, kind: str, place: str, pole: str, step: str, turn: str) -> _Frame:
    """From the keywords of that form, the numbers of the axes left out."""

    def numbers(form: str) -> NDArray[np.float64]:
        return np.array([header.number(form.format(axis)) for axis in (1, 2)], np.float64)

    turns = [header.number(turn.format(axis, other)) for axis in (1, 2) for other in (1, 2)]
    sky = 3600 * numbers(step)[:, None] * np.array(turns, np.float64).reshape(2, 2)
    is_plane = [header.text(kind.format(axis)) for axis in (1, 2)] == ["RA---TAN", "DEC--TAN"]
    known = np.isfinite([*sky.ravel(), *numbers(place), *numbers(pole)]).all()
    lowest = numbers(corner) - np.nan_to_num(numbers(first), nan=1.0) + 1
    return _Frame(
        corner=(round(lowest[0]), round(lowest[1])) if (np.abs(lowest) < _LARGEST).all() else None,
        pole=(float(numbers(pole)[0]), float(numbers(pole)[1])),
        place=numbers(place) - 1,
        sky=sky if is_plane and known and abs(np.linalg.det(sky)) > _FLAT else None,
    )


def _find_star(table: FitsTable, frame: _Frame, mission: str, time: float) -> tuple[float, float] | None:
    """Where the star was at a time: RA_OBJ and DEC_OBJ are those of the year 2000, proper motion carries it on.

    PMRA is along the great circle. Without it a star like GJ 9827 stands 1.8 pixels beside its own light.
    """
    star = star_of(table)
    if star.ra is None or star.dec is None or not abs(star.dec) < 90:
        return None
    years = (time + MISSIONS[mission].time_zero - _J2000) / 365.25
    unit = _PROPER_MOTION_ARCSEC[mission] / 3600
    east, north = (years * unit * (table.primary.number(key) or 0.0) for key in ("PMRA", "PMDEC"))
    return frame.locate(star.ra + east / math.cos(math.radians(star.dec)), star.dec + north)


def _find_on_detector(table: FitsTable, frame: _Frame, mission: str, time: float) -> tuple[float, float] | None:
    place = _find_star(table, frame, mission, time)
    if place is None or frame.corner is None:
        return None
    return frame.corner[0] + place[0], frame.corner[1] + place[1]
