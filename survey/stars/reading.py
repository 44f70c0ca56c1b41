"""From the bytes of a file to a light curve: FITS of the archives, other people's FITS, CSV and plain columns.

What a file does not say of itself (mission, time 0, errors) is recognised, and what was recognised is reported. A file
that is no light curve raises BadFile with the reason, one with too few good cadences TooShort.

Columns and keywords: TESS Science Data Products Description (EXP-TESS-ARC-ICD-0014), Kepler Archive Manual
(KDMC-10008), and the notes on TESS-SPOC, QLP and TGLC at the archive.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from survey.config import FetchConfig
from survey.errors import BadFile, TooShort, UsageError
from survey.stars.fits import MAX_BYTES, MOST_COLUMNS, FitsTable, decompress, read_table
from survey.stars.lightcurve import DAY_S, Fluxes, LightCurve, Mask, Product, Star, Times
from survey.stars.products import recognise_product
from survey.stars.targets import MISSIONS

_TIME_NAMES: Final = (
    "TIME", "BTJD", "BKJD", "TBJD", "BJD", "BJD_TDB", "JD", "HJD", "MJD", "T", "DATE", "TIMES",
)  # fmt: skip
_CORRECTED_NAMES: Final = ("PDCSAP_FLUX", "KSPSAP_FLUX", "DET_FLUX", "CAL_PSF_FLUX", "FCOR", "CORR_FLUX")
_SIMPLE_NAMES: Final = ("SAP_FLUX", "APERTURE_FLUX")
_PLAIN_NAMES: Final = (
    "FLUX", "F", "NORM_FLUX", "NORMALIZED_FLUX", "NORMALISED_FLUX", "REL_FLUX", "RELATIVE_FLUX", "FLUX_NORM", "PDCSAP",
    "SAP", "FLUXES",
)  # fmt: skip
_ERROR_NAMES: Final = (
    "FLUX_ERR", "FLUX_ERROR", "FLUXERR", "FERR", "F_ERR", "E_FLUX", "EFLUX", "ERR", "ERROR", "SIGMA", "UNCERTAINTY",
    "FLUX_UNC", "FLUX_UNCERTAINTY", "NORM_FLUX_ERR",
)  # fmt: skip
_QUALITY_NAMES: Final = ("QUALITY", "SAP_QUALITY", "TESS_FLAGS")
_HEADER_ERRORS: Final = {"CAL_PSF_FLUX": "CPSF_ERR", "APERTURE_FLUX": "APER_ERR"}
"""TGLC has one error a light curve, in the header."""

_QLP_LOW_PRECISION: Final = {False: 1 << 12, True: 1 << 30}
"""QLP's own bit for cadences of low precision: 13 until sector 55, 31 from sector 56 on (True)."""

_MISSION_SPANS: Final = {"kepler": (2454953.0, 2456425.0), "k2": (2456650.0, 2458390.0), "tess": (2458320.0, 2470000.0)}
"""When each mission took data, BJD."""

POSSIBLE_BJD: Final = (2_400_000.0, 2_500_000.0)
"""1858 to 2132: other times are damaged, or no days."""

POSSIBLE_FLUX: Final = 1e30
"""In any unit, and its error; what is beyond is damaged or means infinity, and its square no 32-bit float holds."""

_ZEROS_BY_NAME: Final = (
    (re.compile(r"BTJD|TBJD|TJD"), 2457000.0),
    (re.compile(r"BKJD|KJD"), 2454833.0),
    (re.compile(r"MJD"), 2400000.5),
)
_ZERO_IN_WORDS = re.compile(r"B?JD\s*-\s*(2[45]\d{5}(?:\.\d+)?)")
_STAR_IN_NAME = re.compile(r"(TIC|KIC|EPIC|KPLR|KTWO)[\s_-]*0*(\d{1,16})(?!\d)", re.IGNORECASE)
_CATALOGUES: Final = {"TIC": "tess", "KIC": "kepler", "EPIC": "k2", "KPLR": "kepler", "KTWO": "k2"}

AUTHOR_OF_UPLOADS: Final = "upload"

UNNAMED: Final = "FILE"
"""Catalogue of the stars that only have a file name."""


_MOST_LINE: Final = 1 << 16
"""Characters; no line of a light curve is longer."""


@dataclass(frozen=True)
class Bounds:
    """How large a light-curve file may be; larger ones are refused before they are parsed.

    unpacked: bytes after decompression; rows: of its table, or lines of its text.
    """

    unpacked: int = MAX_BYTES
    rows: int = 50_000_000


TRUSTED: Final = Bounds()
"""For files of the archives and of whoever runs this."""


@dataclass(frozen=True)
class _Series:
    """The columns of a file as they stand in it, and what the file says of itself."""

    time: NDArray[np.float64]
    flux: NDArray[np.floating]
    error: NDArray[np.floating] | None
    quality: NDArray[np.integer] | None
    flux_column: str
    time_words: str
    """Name and unit of the time column, upper case: they may tell what time 0 is."""
    zero: float | None = None
    mission: str | None = None
    target_id: str | None = None
    product: dict[str, Any] = field(default_factory=dict)
    """What goes into `Product` as it is."""
    star: Star = field(default_factory=Star)
    other_flags: NDArray[np.integer] | None = None


def read_light_curve(
    data: bytes,
    name: str,
    fetch: FetchConfig,
    *,
    mission: str | None = None,
    time_zero: float | None = None,
    bounds: Bounds = TRUSTED,
) -> LightCurve:
    """The good cadences of one file, in the file's own flux unit: one product, not yet normalised.

    data: the bytes of a FITS, CSV or text file, may be gzipped; name: its file name, which decides nothing but the
    author of an archive's product and, where the file does not say it, the star. mission, time_zero (BJD of time 0):
    what the caller knows better than the file; where neither says it, it is recognised and `notes` tells.

    Cadences go whose time or flux is not finite (or beyond POSSIBLE_FLUX) or whose quality has a bit of the mission's
    pinned mask. Times become days since the mission's own zero. Raises BadFile, and TooShort for fewer than two good
    cadences.
    """
    digest = hashlib.sha256(data).hexdigest()
    if len(data) > bounds.unpacked:
        raise BadFile(f"{name}: {len(data) >> 20} MB are more than any light curve has, refused")
    content = decompress(data, name, bounds.unpacked)
    if content.startswith(b"SIMPLE  =") or not is_text(content, name):
        table = read_table(content, name)
        _refuse_rows(table.n_rows, name, bounds)
        series = _series_of_table(table, fetch)
    else:
        series = _series_of_text(content, name, fetch, bounds)
    return _light_curve(series, name, digest, fetch, mission, time_zero)


def _refuse_rows(count: int, name: str, bounds: Bounds) -> None:
    if count > bounds.rows:
        raise BadFile(f"{name}: {count:,} rows, more than {bounds.rows:,}; average or cut the light curve")


def read_upload(
    path: str | Path, fetch: FetchConfig, *, mission: str | None = None, time_zero: float | None = None
) -> LightCurve:
    """The light curve of one file on disk, as `read_light_curve`; a star without a number is called "FILE <stem>".

    Raises UsageError if there is no such file.
    """
    return read_light_curve(read_file(path), Path(path).name, fetch, mission=mission, time_zero=time_zero)


def read_file(path: str | Path) -> bytes:
    """The bytes of a file that a user named. Raises UsageError if it is not there, BadFile if it is far too large."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadFile(f"{path.name}: more than {MAX_BYTES >> 20} MB, refused")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def is_text(content: bytes, name: str) -> bool:
    suffix = Path(name.lower().removesuffix(".gz")).suffix
    if suffix in (".fits", ".fit", ".fts") or not content:
        return False
    head = content[:4096]
    return head.lstrip()[:1] != b"<" and b"\0" not in head


def _series_of_table(table: FitsTable, fetch: FetchConfig) -> _Series:
    names = {_plain_name(name): name for name in reversed(table.names)}
    time_name, flux_name, error_name, quality_name = _choose_columns(list(names), fetch, table.file)
    number = table.names.index(names[time_name]) + 1
    unit = table.header.text(f"TUNIT{number}") or ""
    days = table.column(names[time_name]).astype(np.float64)
    if (table.header.text("TIMEUNIT") or unit).strip().lower() in ("s", "sec", "second", "seconds"):
        days = days / DAY_S
    flux = _floats(table.column(names[flux_name]))
    error: NDArray[np.floating] | None = None
    header_error = table.header.number(_HEADER_ERRORS.get(flux_name, ""))
    if error_name is not None:
        error = _floats(table.column(names[error_name]))
    elif header_error is not None:
        error = np.full(table.n_rows, header_error, np.float32)
    whole, part = table.header.number("BJDREFI"), table.header.number("BJDREFF")
    return _Series(
        time=days,
        flux=flux,
        error=error,
        quality=None if quality_name is None else quality_flags(table, names[quality_name]),
        other_flags=quality_flags(table, names["TGLC_FLAGS"]) if "TGLC_FLAGS" in names else None,
        flux_column=names[flux_name],
        time_words=f"{names[time_name]} {unit}".upper(),
        zero=None if whole is None else whole + (part or 0.0),
        mission=table_mission(table),
        target_id=table_target(table),
        product=product_of(table),
        star=star_of(table),
    )


def _floats(values: NDArray[np.number]) -> NDArray[np.floating]:
    return np.asarray(values if values.dtype.kind == "f" else values.astype(np.float64))


def quality_flags(table: FitsTable, name: str) -> NDArray[np.integer]:
    values = table.column(name)
    if values.dtype.kind == "f":
        raise BadFile(f"{table.file}: column {name} should hold whole numbers (bits)")
    return np.asarray(values)


def _plain_name(name: str) -> str:
    """ "Time [BTJD]" and "time-btjd" alike as TIME_BTJD."""
    return re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")


def _choose_columns(names: Sequence[str], fetch: FetchConfig, file: str) -> tuple[str, str, str | None, str | None]:
    """Time, flux, error and quality among plain names (S4.2). Raises BadFile, naming the columns that are there."""
    time = _first(_TIME_NAMES, names) or next((name for name in names if name.startswith(("TIME_", "BJD_"))), None)
    corrected = (*_CORRECTED_NAMES, *_PLAIN_NAMES, *_SIMPLE_NAMES)
    simple = (*_SIMPLE_NAMES, *_PLAIN_NAMES, *_CORRECTED_NAMES)
    flux = _first(corrected if fetch.flux == "pdcsap" else simple, names)
    if time is None or flux is None:
        missing = "time" if time is None else "flux"
        there = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        raise BadFile(f"{file}: no {missing} column among {there}; call it {missing.upper()}")
    own = [name for name in (f"{flux}_ERR", f"{flux}_ERROR", f"{flux}_UNC") if name in names]
    error = own[0] if own else _first(_ERROR_NAMES, names) if flux in _PLAIN_NAMES else None
    return time, flux, error, _first(_QUALITY_NAMES, names)


def _first(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def table_mission(table: FitsTable) -> str | None:
    telescope = str(table.keyword("TELESCOP") or "").upper()
    if "TESS" in telescope:
        return "tess"
    if "KEPLER" in telescope:
        is_k2 = table.primary.get("MISSION") == "K2" or str(table.primary.get("OBJECT") or "").startswith("EPIC")
        return "k2" if is_k2 else "kepler"
    return None


def table_target(table: FitsTable) -> str | None:
    """The star that the headers name, "TIC 441462736"."""
    named = re.fullmatch(r"(TIC|KIC|EPIC) *0*(\d+)", str(table.keyword("OBJECT") or ""))
    if named:
        return f"{named[1]} {named[2]}"
    for key, prefix in (("TICID", "TIC"), ("KEPLERID", "EPIC" if table_mission(table) == "k2" else "KIC")):
        number = table.primary.get(key) or table.header.get(key)
        if str(number or "").isdecimal():
            return f"{prefix} {int(str(number))}"
    return None


def product_of(table: FitsTable) -> dict[str, Any]:
    primary = table.primary
    observations = (_small(primary.integer(key)) for key in ("SECTOR", "QUARTER", "CAMPAIGN"))
    version = primary.text("PROCVER") or primary.text("CALIB") or primary.text("CREATOR")
    camera, ccd = _small(primary.integer("CAMERA")), _small(primary.integer("CCD"))
    return {
        "observation": next((number for number in observations if number is not None), None),
        "pipeline": None if version is None else version.rpartition("/")[2],
        "crowding": table.header.number("CROWDSAP"),
        "camera": _small(primary.integer("MODULE")) if camera is None else camera,
        "ccd": _small(primary.integer("OUTPUT")) if ccd is None else ccd,
    }


def _small(value: int | None) -> int | None:
    """What is no number of a sector, quarter, campaign or detector is None."""
    return value if value is not None and 0 <= value < 100_000 else None


def star_of(table: FitsTable) -> Star:
    primary = table.primary
    magnitude = primary.number("TESSMAG")
    if magnitude is None:
        magnitude = primary.number("KEPMAG")
    return Star(
        # Catalogues write 99 or 999 for an unknown magnitude [science rule 25].
        magnitude=magnitude if magnitude is not None and magnitude < 90 else None,
        teff=_positive(primary.number("TEFF")),
        radius=_positive(primary.number("RADIUS")),
        logg=primary.number("LOGG"),
        ra=primary.number("RA_OBJ"),
        dec=primary.number("DEC_OBJ"),
    )


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _series_of_text(content: bytes, name: str, fetch: FetchConfig, bounds: Bounds) -> _Series:
    """Columns separated by commas, semicolons, tabs or spaces; with a header line, or time, flux and error in order."""
    lines = _read_lines(content, name, bounds)
    comments = [line.lstrip("# ") for line in lines[:100] if line.startswith("#")]
    rows = [line for line in lines if line and not line.startswith("#")]
    if not rows:
        raise BadFile(f"{name}: no line with values")
    delimiter = next((mark for mark in ",;\t" if mark in rows[0]), " ")
    titles = _cells(rows[0], delimiter)
    if len(titles) > MOST_COLUMNS:
        raise BadFile(f"{name}: {len(titles):,} columns, more than {MOST_COLUMNS}; keep time, flux and flux_err")
    if any(_is_number(cell) for cell in titles):
        titles = _titles_of_bare_columns(comments, delimiter, len(titles), fetch)
    else:
        rows = rows[1:]
    names = [_plain_name(title) or f"COLUMN{number}" for number, title in enumerate(titles, 1)]
    time_name, flux_name, error_name, quality_name = _choose_columns(names, fetch, name)
    if not rows:
        raise TooShort(f"{name}: a header and no values")
    places = {title: names.index(title) for title in (time_name, flux_name, error_name, quality_name) if title}
    values = _read_columns(rows, delimiter, places, name)
    return _Series(
        time=values[time_name],
        flux=values[flux_name],
        error=values[error_name] if error_name else None,
        quality=np.nan_to_num(values[quality_name]).astype(np.int64) if quality_name else None,
        flux_column=titles[places[flux_name]],
        time_words=" ".join((titles[places[time_name]], *comments)).upper(),
    )


def _read_lines(content: bytes, name: str, bounds: Bounds) -> list[str]:
    """The lines, stripped. Raises BadFile for bytes that are no text and for too many or too long lines."""
    _refuse_rows(max(content.count(b"\n"), content.count(b"\r")), name, bounds)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadFile(f"{name}: neither FITS nor text") from None
    if "\0" in text:
        raise BadFile(f"{name}: neither FITS nor text, it has NUL characters")
    lines = [line.strip() for line in text.splitlines()]
    _refuse_rows(len(lines), name, bounds)
    if (longest := max(map(len, lines), default=0)) > _MOST_LINE:
        raise BadFile(f"{name}: a line of {longest:,} characters; a light curve has a line for each time")
    return lines


def _titles_of_bare_columns(comments: Sequence[str], delimiter: str, n_columns: int, fetch: FetchConfig) -> list[str]:
    """Titles in a comment, as numpy.savetxt writes them; else time, flux, flux_err by their order."""
    for comment in reversed(comments):
        titles = _cells(comment, delimiter)
        if len(titles) == n_columns and _has_light_curve(titles, fetch):
            return titles
    return [*("time", "flux", "flux_err")[:n_columns], *(f"column{number}" for number in range(4, n_columns + 1))]


def _has_light_curve(titles: Sequence[str], fetch: FetchConfig) -> bool:
    try:
        _choose_columns([_plain_name(title) for title in titles], fetch, "")
    except BadFile:
        return False
    return True


def _cells(line: str, delimiter: str) -> list[str]:
    cells = line.split() if delimiter == " " else line.split(delimiter)
    return [cell.strip().strip('"') for cell in cells]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read_columns(
    rows: Sequence[str], delimiter: str, places: Mapping[str, int], name: str
) -> dict[str, NDArray[np.float64]]:
    """Columns by place, NaN where a cell is empty or no number. Raises BadFile if most of a column is no number."""
    lines = [",".join(row.split()) for row in rows] if delimiter == " " else rows
    try:
        frame = pl.read_csv(
            "\n".join(lines).encode(),
            has_header=False,
            infer_schema=False,
            separator="," if delimiter == " " else delimiter,
            truncate_ragged_lines=True,
        )
    except pl.exceptions.PolarsError as error:
        raise BadFile(f"{name}: {str(error).splitlines()[0]}") from None
    columns = {}
    for title, place in places.items():
        if place >= frame.width:
            raise BadFile(f"{name}: the header has a column {title} and the lines have not")
        text = frame.to_series(place).str.strip_chars().str.strip_chars('"')
        values = text.cast(pl.Float64, strict=False)
        if values.null_count() == len(values) and text.null_count() < len(text):
            raise BadFile(f"{name}: column {title} holds no numbers, but for instance {text.drop_nulls()[0][:40]!r}")
        columns[title] = values.fill_null(float("nan")).to_numpy().astype(np.float64)
    return columns


def _light_curve(
    series: _Series, name: str, digest: str, fetch: FetchConfig, mission: str | None, time_zero: float | None
) -> LightCurve:
    ref = recognise_product(name)
    star_in_name = _STAR_IN_NAME.search(name)
    notes: list[str] = []
    finite = np.isfinite(series.time)
    if not finite.any():
        raise TooShort(f"{name}: none of its {series.time.size} cadences has a time")
    mission = mission or series.mission or (ref.mission if ref else None)
    if mission is None and star_in_name:
        mission = _CATALOGUES[star_in_name[1].upper()]
    mission, zero = _recognise_time(series, series.time[finite], mission, time_zero, name, notes)
    finite &= possible_times(series.time, zero, name, notes)
    author = ref.author if ref else AUTHOR_OF_UPLOADS
    mask = 0 if series.quality is None else quality_mask(mission, author, fetch, series.product.get("observation"))
    error = None if series.error is None else _in_32_bits(series.error)
    series = replace(series, flux=_in_32_bits(series.flux), error=error)
    good = finite & (np.abs(series.flux) < POSSIBLE_FLUX)
    if series.quality is not None:
        good &= (series.quality & mask) == 0
    if series.other_flags is not None and fetch.quality != "none":
        good &= series.other_flags == 0
    n_good = int(np.count_nonzero(good))
    if n_good < 2:
        raise TooShort(f"{name}: {n_good} of {good.size} cadences have a time, a flux and no quality flag against them")
    time, flux, error = _ordered(series, good)
    if time.size < 2:
        raise TooShort(f"{name}: all its cadences have the same time")
    if shift := zero - MISSIONS[mission].time_zero:
        time = time + shift
    product = Product(
        product=name,
        sha256=digest,
        author=author,
        flux_column=series.flux_column,
        quality_mask=mask,
        cadence_s=round(float(np.median(np.diff(time))) * DAY_S, 1),
        n_cadences=time.size,
        **({"observation": ref.observation if ref else None, "pipeline": None} | series.product),
    )
    return LightCurve(
        target_id=series.target_id or (ref.target_id if ref else None) or _name_star(star_in_name, name),
        mission=mission,
        time=time,
        flux=flux,
        flux_err=_usable_errors(flux, error, name, notes, check_scale=ref is None),
        time_zero=MISSIONS[mission].time_zero,
        products=(product,),
        star=series.star,
        notes=tuple(notes),
    )


def possible_times(time: NDArray[np.float64], zero: float, name: str, notes: list[str]) -> Mask:
    """Which times lie within POSSIBLE_BJD; BadFile where most do not, as with seconds taken for days."""
    bjd = time + zero
    possible = (bjd > POSSIBLE_BJD[0]) & (bjd < POSSIBLE_BJD[1])
    finite = np.isfinite(time)
    lost = int(np.count_nonzero(finite & ~possible))
    if 2 * lost > np.count_nonzero(finite):
        raise BadFile(
            f"{name}: its times are about BJD {np.median(bjd[finite]):.8g}, in no year from 1858 to 2132: are they "
            f"days, and is time 0 at BJD {zero:.8g}?"
        )
    if lost:
        notes.append(f"{name}: {lost} cadences left out, their times are impossible")
    return possible


def _in_32_bits(values: NDArray[np.floating]) -> Fluxes:
    """What is too large for them becomes infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _ordered(series: _Series, good: Mask) -> tuple[Times, Fluxes, Fluxes | None]:
    """The good cadences in order of time, each time once."""
    time = series.time[good]
    flux = series.flux[good]
    error = None if series.error is None else series.error[good]
    steps = np.diff(time)
    if (steps <= 0).any():
        _, order = np.unique(time, return_index=True)
        time, flux, error = time[order], flux[order], None if error is None else error[order]
    return time, flux, error


def _name_star(found: re.Match[str] | None, name: str) -> str:
    """The catalogue number in a file's name, else the name itself as "FILE <stem>"."""
    if found is not None:
        return f"{MISSIONS[_CATALOGUES[found[1].upper()]].prefix} {int(found[2])}"
    return f"{UNNAMED} {Path(name.removesuffix('.gz')).stem}"


def quality_mask(mission: str, author: str, fetch: FetchConfig, sector: object) -> int:
    """The pinned bits; QLP's own bit for low precision counts from "hard" on, as in lightkurve."""
    mask = MISSIONS[mission].quality_masks[fetch.quality]
    if author == "QLP" and fetch.quality in ("hard", "hardest"):
        mask |= _QLP_LOW_PRECISION[isinstance(sector, int) and sector >= 56]
    return mask


def _usable_errors(flux: Fluxes, error: Fluxes | None, name: str, notes: list[str], *, check_scale: bool) -> Fluxes:
    """Positive errors: those of the file, or the scatter from point to point where it has none or none that fit."""
    usable = None if error is None else (error > 0) & (error < POSSIBLE_FLUX)
    if error is not None and usable is not None and usable.any():
        typical = float(np.median(error[usable]))
        if not check_scale or 0.05 < typical / _point_scatter(flux) < 20:
            return error if usable.all() else np.where(usable, error, np.float32(typical))
        notes.append(f"{name}: its errors ({typical:g}) do not fit the scatter of its flux, which is used instead")
    return np.full(flux.size, _point_scatter(flux), np.float32)


def _point_scatter(flux: Fluxes) -> float:
    """Robust scatter from one cadence to the next; never zero."""
    steps = np.abs(np.diff(flux.astype(np.float64)))
    scatter = 1.4826 * float(np.median(steps)) / math.sqrt(2)
    return scatter if scatter > 0 else max(float(np.std(steps)), abs(float(np.median(flux))) * 1e-6, 1e-30)


def _recognise_time(
    series: _Series, time: Times, mission: str | None, time_zero: float | None, name: str, notes: list[str]
) -> tuple[str, float]:
    """Mission and BJD of time 0; what is neither given nor in the file is guessed, and noted [science rule 1]."""
    middle = float(np.median(time))
    zero = time_zero if time_zero is not None else series.zero
    if zero is None:
        zero = _zero_in_words(series.time_words, middle)
    if zero is None and middle > 2_400_000:
        zero = 0.0
    if zero is None and 50_000 < middle < 70_000:
        zero = 2400000.5
        notes.append(f"{name}: times near {middle:.0f} taken as MJD; give time_zero to be sure")
    if mission is None:
        mission = _guess_mission(time, None if zero is None else middle + zero)
        notes.append(f"{name}: mission recognised as {mission} by its times and cadence; give the mission to be sure")
    if zero is None:
        zero = MISSIONS[mission].time_zero
        system = MISSIONS[mission].time_system
        notes.append(f"{name}: time 0 taken as BJD {zero:.1f} ({system}); give time_zero to be sure")
    return mission, zero


def _zero_in_words(words: str, middle: float) -> float | None:
    if middle > 2_400_000:
        return 0.0
    if found := _ZERO_IN_WORDS.search(words):
        return float(found[1])
    return next((zero for pattern, zero in _ZEROS_BY_NAME if pattern.search(words)), None)


def _guess_mission(time: Times, bjd: float | None) -> str:
    cadence_s = float(np.median(np.diff(np.sort(time)))) * DAY_S if time.size > 1 else 0.0
    is_kepler = abs(cadence_s - 1765.4) < 10 or abs(cadence_s - 58.85) < 0.5
    if bjd is None:
        # Kepler's four years end at BKJD 1591.
        bjd = float(np.median(time)) + 2454833.0 if is_kepler else _MISSION_SPANS["tess"][0]
    within = [mission for mission, (first, last) in _MISSION_SPANS.items() if first <= bjd <= last]
    if len(within) > 1:
        return "k2" if is_kepler else "tess"
    return within[0] if within else ("kepler" if is_kepler else "tess")
