"""Files in the archives' own formats: the bytes of TESS 2-min SPOC and Kepler long-cadence light curves and target
pixel files.

`light_curve_file` and `target_pixel_file` fill in the headers of real files. Of a target pixel file's images only FLUX
and FLUX_ERR are there, to keep it small; RAW_CNTS is a column without values, so that FLUX is the fifth as readers
expect. Written by hand, not through astropy, because a simulated sweep needs thousands of files: 3 ms instead of 60.
Format: FITS 4.0 (Pence et al. 2010), TESS Science Data Products Description (EXP-TESS-ARC-ICD-0014), Kepler
Archive Manual (KDMC-10008). Like the real ones, the files carry CHECKSUM without DATASUM: the 32-bit ones' complement
sum over the bytes of a HDU is 0xFFFFFFFF.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from survey.stars.fits import ones_complement_sum
from survey.stars.simulate.headers import COLUMNS, HEADERS, MISSION_COLUMNS, PIXEL_COLUMNS

Keyword = str | int | float | bool

Cards = dict[str, tuple[bytes, str]]
"""Keyword -> the card as it stands when no value is given, and its comment."""

_BLOCK = 2880
_CARD = 80

_NUMPY_FORMATS = {"D": ">f8", "E": ">f4", "J": ">i4"}

ROW = np.dtype([(name, _NUMPY_FORMATS[kind]) for name, kind, *_ in COLUMNS])
"""One cadence of the LIGHTCURVE extension, big-endian as in the file; Kepler's file calls QUALITY SAP_QUALITY."""


def light_curve_file(
    mission: str, keywords: Mapping[str, Keyword], rows: NDArray[np.void], aperture: NDArray[np.int32]
) -> bytes:
    """The bytes of a light-curve file: primary header, LIGHTCURVE table, APERTURE image.

    mission: "tess" (2-min SPOC) or "kepler" (long cadence); keywords: header values by name, put into every HDU that
    has the card; rows: (n,) of `ROW`; aperture: (rows, columns) pixel flags. Raises KeyError for a keyword that the
    format lacks.
    """
    headers = [_cards(mission, hdu) for hdu in range(3)]
    unknown = keywords.keys() - set().union(*headers)
    if unknown:
        raise KeyError(f"the {mission} format has no keyword {', '.join(sorted(unknown))}")
    return _file(headers, keywords, rows, aperture)


def pixel_row(shape: tuple[int, int]) -> np.dtype[np.void]:
    """One cadence of a target pixel file's table, of images of (rows, columns)."""
    shapes = {"RAW_CNTS": (0,), "FLUX": shape, "FLUX_ERR": shape}
    return np.dtype(
        [(name, _NUMPY_FORMATS.get(kind[-1], ">f4"), shapes.get(name, ())) for name, kind, *_ in PIXEL_COLUMNS]
    )


def target_pixel_file(
    mission: str, keywords: Mapping[str, Keyword], rows: NDArray[np.void], aperture: NDArray[np.int32]
) -> bytes:
    """The bytes of a target pixel file; as `light_curve_file`, with rows of `pixel_row(aperture.shape)`.

    Keywords that only light curves have are left out; those of the world coordinate system are repeated for each column
    of images.
    """
    primary, table, image = (_cards(mission, hdu, "tp") for hdu in range(3))
    table = {key: card for key, card in table.items() if key != "CHECKSUM"}
    for number, (_, kind, *_) in enumerate(PIXEL_COLUMNS, start=1):
        if kind == "pixels":
            table |= _image_column_cards(number, image, keywords, aperture.shape)
    table["CHECKSUM"] = image["CHECKSUM"]
    return _file([primary, table, image], keywords, rows, aperture)


def _file(
    headers: Sequence[Cards], keywords: Mapping[str, Keyword], rows: NDArray[np.void], aperture: NDArray[np.int32]
) -> bytes:
    primary, table, image = headers
    shape = {"NAXIS1": aperture.shape[1], "NAXIS2": aperture.shape[0]}
    table_shape = {"NAXIS1": rows.itemsize, "NAXIS2": len(rows)}
    return b"".join(
        (
            hdu(primary, keywords, b""),
            hdu(table, {**keywords, **table_shape}, rows.tobytes()),
            hdu(image, {**keywords, **shape}, aperture.astype(">i4").tobytes()),
        )
    )


_COLUMN_WCS = {
    "WCSN{}P": "WCSNAMEP", "WCAX{}P": "WCSAXESP", "1CTY{}P": "CTYPE1P", "2CTY{}P": "CTYPE2P", "1CUN{}P": "CUNIT1P",
    "2CUN{}P": "CUNIT2P", "1CRV{}P": "CRVAL1P", "2CRV{}P": "CRVAL2P", "1CDL{}P": "CDELT1P", "2CDL{}P": "CDELT2P",
    "1CRP{}P": "CRPIX1P", "2CRP{}P": "CRPIX2P", "WCAX{}": "WCSAXES", "1CTYP{}": "CTYPE1", "2CTYP{}": "CTYPE2",
    "1CRPX{}": "CRPIX1", "2CRPX{}": "CRPIX2", "1CRVL{}": "CRVAL1", "2CRVL{}": "CRVAL2", "1CUNI{}": "CUNIT1",
    "2CUNI{}": "CUNIT2", "1CDLT{}": "CDELT1", "2CDLT{}": "CDELT2", "11PC{}": "PC1_1", "12PC{}": "PC1_2",
    "21PC{}": "PC2_1", "22PC{}": "PC2_2",
}  # fmt: skip
"""Keyword of a column of images -> the same of the APERTURE image (Greisen and Calabretta 2002, table 2)."""


def _image_column_cards(number: int, image: Cards, keywords: Mapping[str, Keyword], shape: tuple[int, ...]) -> Cards:
    dim = f"TDIM{number}"
    cards: Cards = {dim: (_card(dim, f"({shape[1]},{shape[0]})", "column dimensions: pixel aperture array"), "")}
    form = f"TFORM{number}"
    cards[form] = (_card(form, f"{shape[0] * shape[1]}E", "column format: image of 32-bit floating point"), "")
    for stem, key in _COLUMN_WCS.items():
        text, comment = image[key]
        card = _card(key, keywords[key], comment) if key in keywords else text
        cards[stem.format(number)] = (stem.format(number).encode().ljust(8) + card[8:], "")
    return cards


def table_file(
    columns: Mapping[str, NDArray[np.float64]], keywords: Mapping[str, Keyword], units: Mapping[str, str]
) -> bytes:
    """The bytes of a plain FITS file with one LIGHTCURVE table of float64 columns.

    columns: name -> (n,) values; keywords: of the extension's header; units: name -> unit.
    """
    n = len(next(iter(columns.values())))
    rows = np.empty(n, np.dtype([(name, ">f8") for name in columns]))
    for name, values in columns.items():
        rows[name] = values
    primary: dict[str, Keyword] = {"SIMPLE": True, "BITPIX": 8, "NAXIS": 0, "EXTEND": True, "CHECKSUM": "0" * 16}
    table: dict[str, Keyword] = {"XTENSION": "BINTABLE", "BITPIX": 8, "NAXIS": 2, "NAXIS1": rows.itemsize, "NAXIS2": n}
    table |= {"PCOUNT": 0, "GCOUNT": 1, "TFIELDS": len(columns)}
    for number, name in enumerate(columns, start=1):
        table |= {f"TTYPE{number}": name, f"TFORM{number}": "D"}
        if name in units:
            table[f"TUNIT{number}"] = units[name]
    table |= {"EXTNAME": "LIGHTCURVE", **keywords, "CHECKSUM": "0" * 16}
    return _plain_hdu(primary, b"") + _plain_hdu(table, rows.tobytes())


def _plain_hdu(keywords: Mapping[str, Keyword], data: bytes) -> bytes:
    return hdu({key: (_card(key, value, ""), "") for key, value in keywords.items()}, {}, data)


def hdu(cards: Cards, keywords: Mapping[str, Keyword], data: bytes) -> bytes:
    """Header and data, each filled up to blocks of 2,880 bytes, with a valid CHECKSUM if there is such a card."""
    header = bytearray()
    place = None
    for key, (text, comment) in cards.items():
        if key == "CHECKSUM":
            place = len(header)
        header += _card(key, keywords[key], comment) if key in keywords else text
    header += b"END".ljust(_CARD)
    header += b" " * (-len(header) % _BLOCK)
    data += bytes(-len(data) % _BLOCK)
    if place is not None:
        total = ones_complement_sum(header, ones_complement_sum(data))
        header[place + 11 : place + 27] = encode_checksum(total)
    return bytes(header) + data


def encode_checksum(total: int) -> bytes:
    """The 16 characters of CHECKSUM that bring a HDU with the sum `total` (and zeros there) to 0xFFFFFFFF.

    Source: FITS standard 4.0, appendix J: each byte of the complement is spread over four characters without
    punctuation.
    """
    letters = np.empty((4, 4), np.uint8)
    for column, value in enumerate((~total & 0xFFFFFFFF).to_bytes(4, "big")):
        quarters = [value // 4 + ord("0") + (value % 4 if row == 0 else 0) for row in range(4)]
        while any(quarter in _PUNCTUATION for quarter in quarters):
            for row in (0, 2):
                if quarters[row] in _PUNCTUATION or quarters[row + 1] in _PUNCTUATION:
                    quarters[row] += 1
                    quarters[row + 1] -= 1
        letters[:, column] = quarters
    return np.roll(letters.ravel(), 1).tobytes()


_PUNCTUATION = frozenset(b":;<=>?@[\\]^_`")


@cache
def _cards(mission: str, number: int, form: str = "lc") -> Cards:
    """The cards of one HDU of a format, in order. form: "lc" or "tp"."""
    cards: Cards = {}
    for line in HEADERS[mission, form][number].splitlines():
        if line == "COLUMNS":
            cards |= _column_cards(mission, form)
        else:
            comment = line.partition(" / ")[2]
            cards[line[:8].rstrip()] = (line.encode().ljust(_CARD)[:_CARD], comment)
    return cards


def _column_cards(mission: str, form: str) -> Cards:
    special = {key: of for key, of in MISSION_COLUMNS[mission].items() if form == "lc" or key != "QUALITY"}
    cards: Cards = {}
    for number, column in enumerate(COLUMNS if form == "lc" else PIXEL_COLUMNS, start=1):
        name, kind, unit, display = special.get(column[0], column)
        for stem, value in (("TTYPE", name), ("TFORM", kind), ("TUNIT", unit), ("TDISP", display)):
            if value:
                cards[f"{stem}{number}"] = (_card(f"{stem}{number}", value, ""), "")
    return cards


def _card(key: str, value: Keyword, comment: str) -> bytes:
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        quoted = "'" + value.replace("'", "''").ljust(8) + "'"
        text = f"{quoted:<20}"
    elif isinstance(value, int):
        text = f"{value:>20d}"
    else:
        text = f"{float(value)!r:>20}".upper()
    card = f"{key:<8}= {text}" + (f" / {comment}" if comment else "")
    return card.encode("ascii").ljust(_CARD)[:_CARD]
