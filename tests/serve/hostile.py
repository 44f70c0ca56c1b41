"""Files and names that somebody might send to a service that reads light curves.

REFUSED: file name, how its bytes are made, words of the reason. STRANGE: what may be read or refused, and must break
nothing. NAMES go with content that can be read (`light_text`).
"""

import gzip
import io
import pickle
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from astropy.io import fits

from tests.stars.fits_files import fits_bytes, spoc_bytes, with_card

LARGEST = 20 << 20
"""Bytes that the service takes."""

NAMES = (
    "",
    ".",
    "..",
    "/",
    "../../etc/passwd",
    "..\\..\\windows\\system32\\config.csv",
    "a/b/c.csv",
    "/dev/zero",
    "nul\0in the middle.csv",
    "two\nlines\r\n.csv",
    "x" * 10_000 + ".csv",
    "=HYPERLINK(\"http://example.org\",\"x\").csv",
    "+1+1.csv",
    "-1.csv",
    "@SUM(A1).csv",
    "<script>alert(1)</script>.csv",
    "%s%n%x {0} ${HOME} `id` $(id).csv",
    "turned\u202evsc.exe",
    "half \ud800 a character.csv",
    "\u0661\u0662 TIC \u0663.csv",
    "TIC 99999999999999999999999.csv",
    "\x1b[31mred.csv",
)  # fmt: skip


@dataclass(frozen=True)
class Hostile:
    name: str
    make: Callable[[], bytes]
    words: str = ""


def light_text(n: int = 3000) -> bytes:
    """A light curve of n 2-min cadences as CSV: what is hostile in the name of a file goes with good content."""
    lines = (f"{2000 + k / 720:.6f},{1 + 1e-4 * (k % 7):.5f}" for k in range(n))
    return ("time,flux\n" + "\n".join(lines)).encode()


def zeros_bomb() -> bytes:
    """1 GB of zeros in 1 MB, as one stream."""
    packer = zlib.compressobj(9, wbits=-15)
    part = packer.compress(bytes(16 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return gzip.compress(b"")[:10] + part * 64


def repeated(part: bytes, count: int) -> bytes:
    """A gzip file of many streams, which unpacks to `count` times that part."""
    return gzip.compress(part) * count


def hdu(*cards: str) -> bytes:
    """A header without data."""
    text = "".join(f"{card:80}" for card in (*cards, "END"))
    return text.encode().ljust(-(-len(text) // 2880) * 2880)


PRIMARY = hdu("SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0")
EMPTY = hdu("XTENSION= 'IMAGE   '", "BITPIX  =                    8", "NAXIS   =                    0")
ENDLESS = "".join(f"{f'KEY{k}':8}= {k:>20}".ljust(80) for k in range(36 * 200)).encode()


def many_axes() -> bytes:
    axes = [f"NAXIS{k:<3}= {1 << 40:>20}" for k in range(1, 1000)]
    return PRIMARY + hdu("XTENSION= 'BINTABLE'", "BITPIX  =                    8", f"NAXIS   = {999:>20}", *axes)


def no_rows_wide() -> bytes:
    """A table of 2^40 rows of no bytes each."""
    cards = ("BITPIX  =                    8", "NAXIS   =                    2", "NAXIS1  =                    0")
    columns = ("TTYPE1  = 'TIME    '", "TFORM1  = '0D      '", "TTYPE2  = 'FLUX    '", "TFORM2  = '0E      '")
    return PRIMARY + hdu("XTENSION= 'BINTABLE'", *cards, f"NAXIS2  = {1 << 40:>20}", "TFIELDS =          2", *columns)


def changed(key: str, value: str) -> Callable[[], bytes]:
    return lambda: with_card(spoc_bytes(50), key, value)


def doubled(key: str, value: str) -> bytes:
    """A second card of that name in the table's header."""
    data = with_card(spoc_bytes(50), "EXTNAME", "''")
    place = data.rindex(b"EXTNAME =")
    return data[:place] + f"{key:8}= {value:>20}".ljust(80).encode() + data[place + 80 :]


def variable_length() -> bytes:
    rows = np.empty(20, object)
    rows[:] = [np.arange(k % 4, dtype=np.float32) for k in range(20)]
    flux = fits.Column("FLUX", "PE()", array=rows)
    return fits_bytes({"TIME": 1400.0 + np.arange(20) / 720, "FLUX": flux})


def compressed_image() -> bytes:
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((64, 64), np.int16))]).writeto(file)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("lc.csv", light_text(100))
    return file.getvalue()


def table(times: np.ndarray, flux: np.ndarray, **primary: object) -> bytes:
    return fits_bytes({"TIME": times, "FLUX": flux}, primary={"TELESCOP": "TESS", **primary})


TIMES = 1400.0 + np.arange(3000) / 720
FLUX = np.full(3000, 1000.0, np.float32) + np.arange(3000, dtype=np.float32) % 7

REFUSED = {
    "gzip bomb": Hostile("bomb.fits.gz", zeros_bomb, "decompresses to more than 256 MB"),
    "gzip bomb of many streams": Hostile("a.csv.gz", lambda: repeated(bytes(16 << 20), 64), "more than 256 MB"),
    "gzip in gzip": Hostile("a.fits.gz", lambda: gzip.compress(gzip.compress(spoc_bytes(50))), "gzipped twice"),
    "gzip bomb in gzip": Hostile("a.fits.gz", lambda: gzip.compress(zeros_bomb()), "gzipped twice"),
    "truncated gzip": Hostile("a.csv.gz", lambda: gzip.compress(light_text())[:-9], "truncated gzip"),
    "compressed table": Hostile("a.fits", lambda: fits_bytes({"TIME": TIMES}, header={"ZTABLE": True}), "funpack"),
    "compressed image": Hostile("a.fits.fz", compressed_image, "funpack"),
    "more rows than bytes": Hostile("a.fits", changed("NAXIS2", "99999999999"), "truncated"),
    "rows without number": Hostile("a.fits", changed("NAXIS2", "9" * 20), "NAXIS2 is 9999"),
    "negative rows": Hostile("a.fits", changed("NAXIS2", "-50"), "NAXIS2 is -50"),
    "negative width": Hostile("a.fits", changed("NAXIS1", "-8"), "NAXIS1 is -8"),
    "wide rows": Hostile("a.fits", changed("NAXIS1", "1099511627776"), "truncated"),
    "rows of another width": Hostile("a.fits", changed("NAXIS1", "35"), "rows of 35 bytes"),
    "wide column": Hostile("a.fits", changed("TFORM1", "'9999999999999999D'"), "but columns of"),
    "negative column": Hostile("a.fits", changed("TFORM1", "'-5D'"), "TFORM1 is '-5D'"),
    "many columns": Hostile("a.fits", changed("TFIELDS", "10000"), "TFIELDS is 10000"),
    "enormous heap": Hostile("a.fits", changed("PCOUNT", "1099511627776"), "truncated"),
    "negative heap": Hostile("a.fits", changed("PCOUNT", "-1"), "PCOUNT -1"),
    "many groups": Hostile("a.fits", changed("GCOUNT", "1000000"), "GCOUNT is 1000000"),
    "columns of variable length": Hostile("a.fits", variable_length, "FLUX holds"),
    "many axes": Hostile("a.fits", many_axes, "announce more than any file holds"),
    "rows of no bytes": Hostile("a.fits", no_rows_wide, "rows|holds"),
    "many extensions": Hostile("a.fits", lambda: PRIMARY + EMPTY * 7000, "more than 1000 extensions"),
    "very many extensions": Hostile("a.fits.gz", lambda: repeated(PRIMARY * 1000, 80), "more than 1000 extensions"),
    "header without end": Hostile("a.fits", lambda: PRIMARY[:240] + ENDLESS, "a header has no end"),
    "header of 50 MB": Hostile("a.fits.gz", lambda: gzip.compress(PRIMARY[:240]) + repeated(ENDLESS, 90), "cards"),
    "rows told twice": Hostile("a.fits", lambda: doubled("NAXIS2", "7"), "NAXIS2 stands in it twice"),
    "form told twice": Hostile("a.fits", lambda: doubled("TFORM1", "'J'"), "TFORM1 stands in it twice"),
    "no times": Hostile("a.fits", lambda: table(np.full(3000, np.nan), FLUX), "has a time"),
    "infinite times": Hostile("a.fits", lambda: table(np.full(3000, np.inf), FLUX), "has a time"),
    "one time": Hostile("a.fits", lambda: table(np.full(3000, 1400.0), FLUX), "the same time"),
    "times of 1e300": Hostile("a.fits", lambda: table(np.full(3000, 1e300), FLUX), "in no year"),
    "one line of 20 MB": Hostile("a.csv", lambda: b"1," * (LARGEST // 2), "a line of 20,971,5"),
    "one line of spaces": Hostile("a.txt", lambda: b"1" + b" " * (LARGEST - 2) + b"1", "a line of 20,971,5"),
    "5,000,000 rows": Hostile("a.csv", lambda: b"1,2\n" * 5_000_000, "5,000,000 rows, more than 2,000,000"),
    "rows by vertical tabs": Hostile("a.csv", lambda: b"1\v" * (LARGEST // 2), "rows, more than 2,000,000"),
    "a million columns": Hostile("a.csv", lambda: b"time,flux" + b",x" * 1_000_000 + b"\n1,2\n", "a line of 2,000,009"),
    "a thousand columns": Hostile("a.csv", lambda: b"time,flux" + b",x" * 1000 + b"\n1,2\n", "1,002 columns"),
    "a million values": Hostile("a.csv", lambda: b"time,flux\n" + b"1," * 1_000_000, "a line of"),
    "NUL bytes": Hostile("a.csv", lambda: light_text() + bytes(10) + b"\n1,2\n", "NUL"),
    "UTF-16": Hostile("a.csv", lambda: light_text().decode().encode("utf-16"), "UTF-16"),
    "no text": Hostile("a.csv", lambda: bytes(range(1, 256)) * 100, "neither FITS nor text"),
    "empty": Hostile("a.csv", lambda: b"", "empty"),
    "empty FITS": Hostile("a.fits", lambda: b"", "empty"),
    "gzip of nothing": Hostile("a.fits.gz", lambda: gzip.compress(b""), "empty"),
    "PNG": Hostile("a.fits", lambda: b"\x89PNG\r\n\x1a\n" + bytes(100), "a picture"),
    "zip": Hostile("a.csv", zipped, "a zip archive"),
    "pickle": Hostile("a.fits", lambda: pickle.dumps({"time": TIMES, "flux": FLUX}), "not a FITS file"),
    "web page": Hostile("a.csv", lambda: b"<html><script>alert(1)</script></html>", "web page"),
    "too large": Hostile("a.csv", lambda: b"1,2\n" * (LARGEST // 4 + 1), "more than 20 MB"),
}  # fmt: skip


STRANGE = {
    "flux of 1e38": Hostile("a.fits", lambda: table(TIMES, np.full(3000, 3e38, np.float32))),
    "flux of 1e300": Hostile("a.fits", lambda: table(TIMES, np.full(3000, 1e300))),
    "flux over all powers": Hostile("a.fits", lambda: table(TIMES, np.geomspace(1e-44, 3e38, 3000))),
    "denormal flux": Hostile("a.fits", lambda: table(TIMES, np.full(3000, 1e-45, np.float32))),
    "flux of nothing": Hostile("a.fits", lambda: table(TIMES, np.zeros(3000, np.float32))),
    "negative flux": Hostile("a.fits", lambda: table(TIMES, -FLUX)),
    "some times of 1e300": Hostile("a.fits", lambda: table(np.where(TIMES > 1403, 1e300, TIMES), FLUX)),
    "some infinite times": Hostile("a.fits", lambda: table(np.where(TIMES > 1403, -np.inf, TIMES), FLUX)),
    "times of three centuries": Hostile("a.fits", lambda: table(np.linspace(-5e4, 4e4, 3000), FLUX)),
    "times in a microsecond": Hostile("a.fits", lambda: table(1400 + np.arange(3000) * 1e-11, FLUX)),
    "times backwards": Hostile("a.fits", lambda: table(TIMES[::-1], FLUX)),
    "sector that is none": Hostile("a.fits", lambda: table(TIMES, FLUX, SECTOR=99999999999, CAMERA=-1e300)),
    "number that is none": Hostile("a.fits", lambda: spoc_bytes(50).replace(b"TIC 123'", b"TIC \xb2\xb3 '")),
    "digit that is none": Hostile("a.fits", lambda: with_card(table(TIMES, FLUX, TICID=1), "TICID", "'\xb2'")),
    "zero of 1e300": Hostile("a.fits", lambda: integers({"TZERO2": 1e300})),
    "zero of 2^63": Hostile("a.fits", lambda: integers({"TZERO2": 2**63})),
    "scale of 1e300": Hostile("a.fits", lambda: integers({"TSCAL2": 1e300})),
    "null beyond the integers": Hostile("a.fits", lambda: integers({"TNULL2": 10**30})),
    "days since 1e300": Hostile("a.fits", lambda: with_card(spoc_bytes(50), "BJDREFI", "1E300")),
    "doubled description": Hostile("a.fits", lambda: doubled("TUNIT1", "'parsec'")),
    "quotes never closed": Hostile("a.csv", lambda: light_text().replace(b"\n2001", b'\n"2001', 1)),
    "quotes everywhere": Hostile("a.csv", lambda: light_text().replace(b",", b'","')),
    "quotes of 8 MB": Hostile("a.csv", lambda: b'time,flux\n"' + b"1,2\n" * 1_900_000),
    "numbers that are none": Hostile("a.csv", lambda: light_text() + b"\n1e999,1\nnan,inf\n0x10,1_000\n-,+\n"),
    "long numbers": Hostile("a.csv", lambda: light_text() + b"\n" + b"9" * 60_000 + b",1." + b"0" * 5000),
    "ragged lines": Hostile("a.csv", lambda: light_text() + b"\n1\n1,2,3,4,5,6\n,,,,\n"),
    "a formula": Hostile("a.csv", lambda: light_text().replace(b"flux", b"=flux")),
    "comments only of time": Hostile("a.txt", lambda: b"# JD - " * 9000 + b"\n1 2\n2 3\n"),
}  # fmt: skip


def integers(header: dict[str, object]) -> bytes:
    """A table whose flux is whole numbers, under a header that says strange things of them."""
    return fits_bytes({"TIME": TIMES, "FLUX": np.arange(3000, dtype=np.int32)}, header=header)
