"""The archive's products: what their names say, the folders they lie in, and which of them is read.

Keys are those of the public archive, the same on disk, behind HTTP and in S3 (t: TIC, 16 digits; k: KIC, 9; e: EPIC):

    tess/public/tid/s{sector}/{t[:4]}/{t[4:8]}/{t[8:12]}/{t[12:]}/tess{stamp}-s{sector}-{t}-{scid}-s_lc.fits
    kepler/public/lightcurves/{k[:4]}/{k}/kplr{k}-{stamp}_llc.fits
    k2/public/lightcurves/c{campaign}/{e[:4]}00000/{e[4:6]}000/ktwo{e}-c{campaign}_llc.fits

Pixel files: those of TESS lie beside the light curves, as `-s_tp.fits` (20 s: `-a_fast-tp.fits`); those of Kepler and
K2 in the same folders below `target_pixel_files` instead of `lightcurves`, as `_lpd-targ.fits.gz`.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from survey.config import FetchConfig
from survey.stars.targets import Target

CadenceName = Literal["20s", "2min", "ffi", "30min", "1min"]

INJECTED = "injected"
"""Author of a product with a signal put in by the archive: it never stands in for the star's own light."""

QUARTER_STAMPS: Final[dict[int, str]] = {
    0: "2009131105131", 1: "2009166043257", 2: "2009259160929", 3: "2009350155506", 4: "2010078095331",
    5: "2010174085026", 6: "2010265121752", 7: "2010355172524", 8: "2011073133259", 9: "2011177032512",
    10: "2011271113734", 11: "2012004120508", 12: "2012088054726", 13: "2012179063303", 14: "2012277125453",
    15: "2013011073258", 16: "2013098041711", 17: "2013131215648",
}  # fmt: skip
"""End of each Kepler quarter (year, day of year, hours, minutes, seconds), as its long-cadence files are stamped."""

CUT = "cut"
"""Author of a pixel file of which somebody cut out some cadences: it never stands in for the whole one."""

MODULE_3_STAMP: Final = "2010009091648"
"""Quarter 4 of the stars on module 3, which failed during it."""

K2_CAMPAIGNS: Final = (0, 1, 2, 3, 4, 5, 6, 7, 8, 91, 92, 101, 102, 111, 112, 12, 13, 14, 15, 16, 17, 18, 19)
"""K2's campaigns; 9, 10 and 11 were interrupted and have two parts each."""


Kind = Literal["light", "pixels"]
"""What a file holds of its star."""

_FOLDERS: Final[dict[Kind, str]] = {"light": "lightcurves", "pixels": "target_pixel_files"}
_ENDINGS: Final[dict[Kind, str]] = {"light": "llc.fits", "pixels": "lpd-targ.fits.gz"}
"""Kepler and K2: where the files lie, and how the names of those of long cadence end."""


@dataclass(frozen=True)
class ProductRef:
    """One light-curve or pixel file of an archive.

    key: its place below the root of its source; target_id: None where only the file's header says it; observation:
    sector, quarter or campaign; part: sets apart files that share an observation without being copies (the months of
    Kepler's short cadence).
    """

    key: str
    mission: str
    target_id: str | None
    observation: int | None
    author: str
    cadence: CadenceName
    part: str = ""
    said_mission: str | None = None
    """What an uploader says of a file, and so needs no guess."""
    said_time_zero: float | None = None

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]


def tess_folder(tic: int, sector: int) -> str:
    digits = f"{tic:016d}"
    return f"tess/public/tid/s{sector:04d}/{digits[:4]}/{digits[4:8]}/{digits[8:12]}/{digits[12:]}/"


def tess_pixels(key: str) -> str:
    """The pixel file that a light curve of TESS was made from."""
    return key.replace("_lc.fits", "_tp.fits").replace("-lc.fits", "-tp.fits")


def kepler_folder(kic: int, kind: Kind = "light") -> str:
    digits = f"{kic:09d}"
    return f"kepler/public/{_FOLDERS[kind]}/{digits[:4]}/{digits}/"


def k2_folder(epic: int, campaign: int, kind: Kind = "light") -> str:
    return f"k2/public/{_FOLDERS[kind]}/c{campaign}/{epic // 100_000 * 100_000}/{epic % 100_000 // 1000 * 1000:05d}/"


def k2_name(epic: int, campaign: int, kind: Kind = "light") -> str:
    return f"ktwo{epic:09d}-c{campaign:02d}_{_ENDINGS[kind]}"


def kepler_names(kic: int, kind: Kind = "light") -> list[tuple[int, str]]:
    """(quarter, name) of every long-cadence file that a star may have."""
    stamps = [*QUARTER_STAMPS.items(), (4, MODULE_3_STAMP)]
    return sorted((quarter, f"kplr{kic:09d}-{stamp}_{_ENDINGS[kind]}") for quarter, stamp in stamps)


def quarter_of(stamp: str) -> int | None:
    """The Kepler quarter of a file's stamp: the first that ends no more than a day before it, or "q02" itself.

    Short-cadence files are stamped at the end of each month, the last some minutes after the quarter's own stamp.
    """
    if stamp.startswith("q"):
        return int(stamp[1:])
    day = int(stamp[:7])
    return next((quarter for quarter, end in QUARTER_STAMPS.items() if day <= int(end[:7]) + 1), None)


_Build = Callable[[str, re.Match[str]], ProductRef]


def _tess(key: str, found: re.Match[str]) -> ProductRef:
    cadence: CadenceName = "20s" if found["fast"] else "2min"
    return ProductRef(key, "tess", f"TIC {int(found['id'])}", int(found["sector"]), "SPOC", cadence)


def _hlsp(author: str) -> _Build:
    def build(key: str, found: re.Match[str]) -> ProductRef:
        number = found.groupdict().get("id")
        target_id = None if number is None else f"TIC {int(number)}"
        return ProductRef(key, "tess", target_id, int(found["sector"]), author, "ffi")

    return build


def _author(found: re.Match[str]) -> str | None:
    """What was done to a file after the mission had made it."""
    if not found["change"]:
        return None
    return INJECTED if found["change"].startswith("_INJECTED") else CUT


def _kepler(key: str, found: re.Match[str]) -> ProductRef:
    author = _author(found) or "Kepler"
    long = found["cadence"] == "l"
    quarter = quarter_of(found["stamp"])
    return ProductRef(
        key, "kepler", f"KIC {int(found['id'])}", quarter, author, "30min" if long else "1min",
        "" if long else found["stamp"],
    )  # fmt: skip


def _k2(key: str, found: re.Match[str]) -> ProductRef:
    author = _author(found) or "K2"
    cadence: CadenceName = "30min" if found["cadence"] == "l" else "1min"
    return ProductRef(key, "k2", f"EPIC {int(found['id'])}", int(found["campaign"]), author, cadence)


_TESS = r"tess\d{13}-s(?P<sector>\d{4})-(?P<id>\d{16})-\d{4}-"
_KEPLER = r"kplr(?P<id>\d{9})-(?P<stamp>\d{13}|q\d\d)"
_K2 = r"ktwo(?P<id>\d{9})-c(?P<campaign>\d{2,3})"
_INJECTED = r"(?P<change>_INJECTED[^_.]*)?"
_CUT = r"(?P<change>_\d+cad)?"
_FORMS: Final[tuple[tuple[str, _Build, Kind], ...]] = (
    (_TESS + r"(?:s_lc|(?P<fast>a_fast-lc))", _tess, "light"),
    (r"hlsp_tess-spoc_tess_phot_(?P<id>\d{16})-s(?P<sector>\d{4})_tess_v\d+_lc", _hlsp("TESS-SPOC"), "light"),
    (r"hlsp_qlp_tess_ffi_s(?P<sector>\d{4})-(?P<id>\d{16})_tess_v\d+_llc", _hlsp("QLP"), "light"),
    (r"hlsp_tglc_tess_ffi_gaiaid-\d+-s(?P<sector>\d{4})-cam\d-ccd\d_tess_v\d+_llc", _hlsp("TGLC"), "light"),
    (_KEPLER + _INJECTED + r"_(?P<cadence>[ls])lc", _kepler, "light"),
    (_K2 + _INJECTED + r"_(?P<cadence>[ls])lc", _k2, "light"),
    (_TESS + r"(?:s_tp|(?P<fast>a_fast-tp))", _tess, "pixels"),
    (_KEPLER + _CUT + r"_(?P<cadence>[ls])pd-targ", _kepler, "pixels"),
    (_K2 + _CUT + r"_(?P<cadence>[ls])pd-targ", _k2, "pixels"),
)
_PATTERNS: Final = tuple((re.compile(form + r"\.fits(\.gz)?"), build, kind) for form, build, kind in _FORMS)


def recognise_product(key: str, kind: Kind = "light") -> ProductRef | None:
    """What the name of a file says, None if it is no light curve (or no target pixel file) of a known archive."""
    name = key.rpartition("/")[2]
    for pattern, build, holds in _PATTERNS:
        if holds == kind and (found := pattern.fullmatch(name)):
            return build(key, found)
    return None


def is_wanted(observation: int | None, wanted: Collection[int]) -> bool:
    """Whether an observation was asked for; campaign 10 means both of its parts, 101 and 102."""
    if not wanted or observation in wanted:
        return True
    return observation in (91, 92, 101, 102, 111, 112) and observation // 10 in wanted


def rank_products(
    refs: Iterable[ProductRef], target: Target, fetch: FetchConfig
) -> dict[int | None, list[tuple[ProductRef, ...]]]:
    """For every observation asked for, its products in order of preference: cadence, author, latest version.

    TESS: 2 min (or 20 s first, as configured) before full-frame images; Kepler and K2: long before short cadence, the
    months of which count together. Authors come in the order of the configuration, others after them and products with
    injected signals last of all. Pixel files are ranked alike. The order depends on nothing but the names.
    """
    ranked: dict[int | None, list[tuple[ProductRef, ...]]] = {}
    groups: dict[tuple[int, int, int, str], dict[str, ProductRef]] = {}
    for ref in sorted(refs, key=lambda ref: (ref.name, ref.key)):
        if is_wanted(ref.observation, target.observations):
            observation = -1 if ref.observation is None else ref.observation
            rank = (observation, *_preference(ref, fetch), ref.author)
            # Sorted by name, so that a later version takes the place of an earlier one.
            groups.setdefault(rank, {})[ref.part] = ref
    for (observation, *_), parts in sorted(groups.items()):
        ranked.setdefault(None if observation < 0 else observation, []).append(tuple(parts.values()))
    return ranked


def _preference(ref: ProductRef, fetch: FetchConfig) -> tuple[int, int]:
    cadences: Sequence[CadenceName] = ("20s", "2min", "ffi", "30min", "1min")
    if not fetch.fast_cadence:
        cadences = ("2min", "20s", "ffi", "30min", "1min")
    authors = fetch.authors
    author = authors.index(ref.author) if ref.author in authors else len(authors) + (ref.author == INJECTED)
    if ref.author == INJECTED:
        return len(cadences), author
    return cadences.index(ref.cadence), author


def choose_products(refs: Iterable[ProductRef], target: Target, fetch: FetchConfig) -> list[ProductRef]:
    """The best product of every observation asked for, in order of observation."""
    return [ref for alternatives in rank_products(refs, target, fetch).values() for ref in alternatives[0]]
