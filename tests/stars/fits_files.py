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


def write(folder: Path, key: str, data: bytes) -> Path:
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
