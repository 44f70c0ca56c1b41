"""Small FITS files for the tests, written by astropy."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

TESS_NAME = "tess2018206045859-s0001-0000000000000123-0120-s_lc.fits"
KEPLER_NAME = "kplr000000123-2009166043257_llc.fits"


def fits_bytes(
    columns: Mapping[str, Any],
    *,
    primary: Mapping[str, Any] | None = None,
    header: Mapping[str, Any] | None = None,
    extname: str | None = "LIGHTCURVE",
    before: Sequence[Any] = (),
    checksum: bool = False,
) -> bytes:
    """A primary header, the HDUs `before`, and a binary table. columns: name -> values or a fits.Column."""
    made = [
        values if isinstance(values, fits.Column) else fits.Column(name, _format(np.asarray(values)), array=values)
        for name, values in columns.items()
    ]
    table = fits.BinTableHDU.from_columns(made, name=extname)
    table.header.update(header or {})
    first = fits.PrimaryHDU()
    first.header.update(primary or {})
    file = io.BytesIO()
    fits.HDUList([first, *before, table]).writeto(file, checksum=checksum)
    return file.getvalue()


def _format(values: np.ndarray) -> str:
    return {"f8": "D", "f4": "E", "i2": "I", "i4": "J", "i8": "K", "u1": "B"}[values.dtype.str[1:]]


def spoc_bytes(
    n: int = 1000,
    *,
    tic: int = 123,
    sector: int = 1,
    start: float = 1325.3,
    cadence_s: float = 120.0,
    quality: Any = None,
    flux: Any = None,
    **primary: Any,
) -> bytes:
    """A TESS light curve as SPOC writes them, in short."""
    rng = np.random.default_rng(tic + sector)
    time = start + np.arange(n) * cadence_s / 86_400
    flux = 1000.0 + rng.standard_normal(n) if flux is None else flux
    return fits_bytes(
        {
            "TIME": time,
            "CADENCENO": np.arange(n, dtype=np.int32),
            "SAP_FLUX": np.asarray(flux, np.float32) * np.float32(0.9),
            "SAP_FLUX_ERR": np.full(n, 2.0, np.float32),
            "PDCSAP_FLUX": np.asarray(flux, np.float32),
            "PDCSAP_FLUX_ERR": np.full(n, 1.0, np.float32),
            "QUALITY": np.zeros(n, np.int32) if quality is None else np.asarray(quality, np.int32),
        },
        primary={
            "TELESCOP": "TESS", "OBJECT": f"TIC {tic}", "TICID": tic, "SECTOR": sector, "CAMERA": 2, "CCD": 3,
            "PROCVER": "spoc-5.0.10", "TESSMAG": 10.5, "TEFF": 5800.0, "RADIUS": 1.1, "LOGG": 4.4, "RA_OBJ": 10.0,
            "DEC_OBJ": -20.0, **primary,
        },
        header={"BJDREFI": 2457000, "BJDREFF": 0.0, "TIMEUNIT": "d", "CROWDSAP": 0.97},
        checksum=True,
    )  # fmt: skip


def kepler_bytes(
    n: int = 1000, *, kic: int = 123, quarter: int = 1, start: float = 131.5, cadence_s: float = 1765.46, **primary: Any
) -> bytes:
    """A Kepler or (MISSION="K2") K2 light curve, in short."""
    rng = np.random.default_rng(kic + quarter)
    flux = (5000.0 + rng.standard_normal(n)).astype(np.float32)
    return fits_bytes(
        {
            "TIME": start + np.arange(n) * cadence_s / 86_400,
            "PDCSAP_FLUX": flux,
            "PDCSAP_FLUX_ERR": np.full(n, 1.0, np.float32),
            "SAP_QUALITY": np.zeros(n, np.int32),
        },
        primary={
            "TELESCOP": "Kepler", "MISSION": "Kepler", "OBJECT": f"KIC {kic}", "KEPLERID": kic, "QUARTER": quarter,
            "KEPMAG": 12.5, **primary,
        },
        header={"BJDREFI": 2454833, "BJDREFF": 0.0},
        checksum=True,
    )  # fmt: skip


def with_card(data: bytes, key: str, value: str) -> bytes:
    """The file with the value of the last card of that name replaced, and no checksums."""
    place = data.rindex(f"{key:8}=".encode())
    data = data[:place] + f"{key:8}= {value:>20}".encode("latin-1") + data[place + 30 :]
    return data.replace(b"CHECKSUM=", b"COMMENT  ").replace(b"DATASUM =", b"COMMENT  ")


SKY = ((12.8, 15.6), (-14.9, 11.7))
"""Arcsec eastwards and northwards a pixel along columns and rows, in the files that `pixel_bytes` makes."""


def pixel_bytes(
    n: int = 50,
    *,
    mission: str = "tess",
    number: int = 123,
    observation: int = 1,
    shape: tuple[int, int] = (11, 13),
    columns: Mapping[str, Any] | None = None,
    primary: Mapping[str, Any] | None = None,
    header: Mapping[str, Any] | None = None,
    aperture: Any = None,
    has_aperture: bool = True,
    checksum: bool = True,
) -> bytes:
    """A target pixel file of TESS, Kepler or K2, in short: (rows, columns) images of rising flux, their WCS as SKY.

    columns: what takes the place of its columns, None to leave one out; aperture: its bits, the middle by default.
    """
    size = shape[0] * shape[1]
    images = np.arange(n * size, dtype=np.float32).reshape(n, *shape)
    made = {
        "TIME": 1325.3 + np.arange(n) / 720,
        "CADENCENO": np.arange(n, dtype=np.int32),
        "RAW_CNTS": images.astype(np.int32),
        "FLUX": images,
        "FLUX_ERR": images / 100,
        "QUALITY": np.zeros(n, np.int32),
        "POS_CORR1": np.linspace(0, 0.1, n, dtype=np.float32),
        "POS_CORR2": np.linspace(0.2, 0, n, dtype=np.float32),
    } | dict(columns or {})
    made = {name: values for name, values in made.items() if values is not None}
    tables = [
        values if isinstance(values, fits.Column) else _image_column(name, values) if np.ndim(values) == 3 else
        fits.Column(name, _format(np.asarray(values)), array=values)
        for name, values in made.items()
    ]  # fmt: skip
    table = fits.BinTableHDU.from_columns(tables, name="PIXELS" if mission == "tess" else "TARGETTABLES")
    table.header.update({"BJDREFI": 2457000 if mission == "tess" else 2454833, "BJDREFF": 0.0, "TIMEUNIT": "d"})
    bits = np.ones(shape, np.int32)
    bits[4:7, 5:8] = 3
    image = fits.ImageHDU(bits if aperture is None else aperture, name="APERTURE")
    if "FLUX" in made:
        table.header.update(world_keys(list(made).index("FLUX") + 1))
    image.header.update(world_keys(None))
    table.header.update(header or {})
    first = fits.PrimaryHDU()
    prefix, word = {"tess": ("TIC", "SECTOR"), "kepler": ("KIC", "QUARTER"), "k2": ("EPIC", "CAMPAIGN")}[mission]
    star = {"TICID" if mission == "tess" else "KEPLERID": number, "OBJECT": f"{prefix} {number}", word: observation}
    of_mission = {
        "tess": {"TELESCOP": "TESS", "TESSMAG": 10.5, "PMRA": 311.2, "PMDEC": 1048.8},
        "kepler": {"TELESCOP": "Kepler", "MISSION": "Kepler", "KEPMAG": 12.5, "PMRA": 0.0, "PMDEC": 0.0},
        "k2": {"TELESCOP": "Kepler", "MISSION": "K2", "KEPMAG": 13.5, "PMRA": None, "PMDEC": None},
    }[mission]
    first.header.update({**star, **of_mission, "RA_OBJ": 84.29, "DEC_OBJ": -80.46, **(primary or {})})
    file = io.BytesIO()
    fits.HDUList([first, table, image] if has_aperture else [first, table]).writeto(file, checksum=checksum)
    return file.getvalue()


def _image_column(name: str, values: Any) -> Any:
    kind = {"f4": "E", "f8": "D", "i4": "J"}[values.dtype.str[1:]]
    _, rows, columns = values.shape
    return fits.Column(name, f"{rows * columns}{kind}", dim=f"({columns},{rows})", array=values)


def world_keys(column: int | None) -> dict[str, Any]:
    """Keywords of the images of a column (1CRPX5 ...), or of an image extension (CRPIX1 ...)."""
    values: dict[str, Any] = {}
    for axis, (kind, place, pole, corner) in enumerate(
        (("RA---TAN", 6.5, 84.3, 1624), ("DEC--TAN", 5.25, -80.461, 257))
    ):
        first = f"{axis + 1}"
        keys = (
            ("CTYPE" + first, "CRPIX" + first, "CRVAL" + first, "CDELT" + first, f"CRVAL{first}P", f"CRPIX{first}P")
            if column is None
            else (
                *(f"{first}{word}{column}" for word in ("CTYP", "CRPX", "CRVL", "CDLT")),
                f"{first}CRV{column}P",
                f"{first}CRP{column}P",
            )
        )
        step = (-1, 1)[axis] * 21 / 3600
        values |= dict(zip(keys, (kind, place, pole, step, corner, 1), strict=True))
        for other in (0, 1):
            key = f"PC{axis + 1}_{other + 1}" if column is None else f"{axis + 1}{other + 1}PC{column}"
            values[key] = SKY[axis][other] / 3600 / step
    return values


def write(folder: Path, key: str, data: bytes) -> Path:
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
