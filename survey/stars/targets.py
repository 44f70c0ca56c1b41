"""Which stars: names like "TIC 441462736", lists of them, and what distinguishes the three missions.

A number alone is never a target: 231663901 is a star of the TESS catalogue and another one of K2's [science rule 9].
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from survey.errors import UsageError

Resolve = Callable[[str], str]
"""From a name such as "TOI-700.02" to a target such as "TIC 150428135"; raises UsageError for unknown names."""


@dataclass(frozen=True)
class Mission:
    """What differs between the missions when a light curve is found and read.

    quality_masks: bits of the quality column that remove a cadence; integers pinned to those of lightkurve 2.6, because
    they changed between its versions and because Kepler's and TESS's bits mean different things [science rule 6].
    """

    name: str
    prefix: str
    """Catalogue of its stars, and first word of a target."""
    time_zero: float
    """BJD of time 0, days [science rule 1]."""
    time_system: str
    observation: str
    """What one stretch of data is called."""
    pixel_arcsec: float
    id_digits: int
    """Digits of a star's number in the archive's file names, and the most it can have."""
    quality_masks: Mapping[str, int] = field(hash=False)


_KEPLER_MASKS = {"none": 0, "default": 1130799, "hard": 1664431, "hardest": 2096639}
_TESS_MASKS = {"none": 0, "default": 17087, "hard": 24319, "hardest": 65535}

MISSIONS: Final[dict[str, Mission]] = {
    mission.name: mission
    for mission in (
        Mission("tess", "TIC", 2457000.0, "BTJD", "sector", 21.0, 16, _TESS_MASKS),
        Mission("kepler", "KIC", 2454833.0, "BKJD", "quarter", 3.98, 9, _KEPLER_MASKS),
        Mission("k2", "EPIC", 2454833.0, "BKJD", "campaign", 3.98, 9, _KEPLER_MASKS),
    )
}

MISSION_OF_PREFIX: Final[dict[str, Mission]] = {mission.prefix: mission for mission in MISSIONS.values()}


@dataclass(frozen=True, slots=True)
class Target:
    """One star of one mission; `observations` are the sectors, quarters or campaigns asked for, empty for all."""

    target_id: str
    mission: str
    observations: tuple[int, ...] = ()

    @property
    def number(self) -> int:
        """The star's number in its catalogue."""
        return int(self.target_id.rpartition(" ")[2])


@dataclass(frozen=True)
class ListedProduct:
    """One line of the archive's download script: a star in a sector, its file's name and address."""

    target: Target
    product: str
    url: str


_FORMS = "write TIC 441462736, KIC 757076, EPIC 201367065, TOI-700 or KOI-351"
_STAR = re.compile(r"(TIC|KIC|EPIC)[\s_:-]*([0-9]{1,20})(?:\.[0-9]{1,2})?", re.IGNORECASE)
NUMBER = re.compile(r"[0-9]+(?:\.0*)?")
_OBJECT_OF_INTEREST = re.compile(r"(?:TOI|KOI)[\s_-]*[0-9]+(?:\.[0-9]+)?|K[0-9]{5}(?:\.[0-9]+)?", re.IGNORECASE)
_LISTED_NUMBERS = re.compile(r"([0-9]{1,4})(?:\s*-\s*([0-9]{1,4}))?")
_SCRIPT_LINE = re.compile(r"""curl(?:\s+-[A-Za-z]?)*\s+-o\s+["']?([\w.-]+)["']?\s+["']?(https?://[^\s"']+)["']?""")
_TESS_PRODUCT = re.compile(r"tess[0-9]+-s([0-9]{4})-([0-9]{16})-[0-9]{4}-(?:s_lc|a_fast-lc)\.fits")


def make_target(mission: str, number: int, observations: Iterable[int] = ()) -> Target:
    """The target of a mission by its catalogue number. Raises UsageError for a number that no star can have."""
    known = MISSIONS[mission]
    if number <= 0 or len(str(number)) > known.id_digits:
        raise UsageError(f"{known.prefix} {number}: a number of {known.prefix} has 1 to {known.id_digits} digits")
    return Target(f"{known.prefix} {number}", mission, tuple(sorted(set(observations))))


def parse_target(text: str, *, resolve: Resolve | None = None) -> Target:
    """The star that a text names: a catalogue and a number, in any case and spacing, or a name that `resolve` knows.

    The number of a candidate (TIC 50365310.01) is that of its star. Raises UsageError, with what to write instead.
    """
    name = " ".join(text.split())
    if star := _STAR.fullmatch(name):
        mission = MISSION_OF_PREFIX[star[1].upper()]
        return make_target(mission.name, int(star[2]))
    if NUMBER.fullmatch(name):
        choices = " or ".join(f"{prefix} {name}" for prefix in MISSION_OF_PREFIX)
        raise UsageError(f"{name}: a number alone is a star in more than one catalogue: write {choices}")
    if not name:
        raise UsageError(f"empty target: {_FORMS}")
    if resolve is not None:
        return parse_target(resolve(name))
    if _OBJECT_OF_INTEREST.fullmatch(name):
        raise UsageError(
            f"{name}: TOI and KOI names need the catalogue tables: run `survey catalogs fetch`, or write the star's "
            "TIC or KIC number"
        )
    raise UsageError(f"{shorten(name)!r} is no target: {_FORMS}")


def parse_numbers(text: str) -> tuple[int, ...]:
    """Sectors, quarters or campaigns from "1,14-16" -> (1, 14, 15, 16): in order, each once. Raises UsageError."""
    numbers: set[int] = set()
    for part in text.split(","):
        found = _LISTED_NUMBERS.fullmatch(part.strip())
        if found is None:
            raise UsageError(f"{shorten(text)!r}: write numbers and ranges such as 1,14-16")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise UsageError(f"{part.strip()}: a range goes from the lower number to the higher, {last}-{first}")
        numbers.update(range(first, last + 1))
    return tuple(sorted(numbers))


def parse_download_script(text: str) -> tuple[ListedProduct, ...]:
    """The light curves of a sector's download script (tesscurl_sector_N_lc.sh), which is read and never run.

    Every line that calls curl must name one TESS light curve and its address; all other lines are passed over. Raises
    UsageError if one does not (a torn download, the script of other products) or if there is none (an error page).
    """
    listed = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith("curl"):
            continue
        call = _SCRIPT_LINE.fullmatch(line.strip())
        product = call and _TESS_PRODUCT.fullmatch(call[1])
        if not call or not product or not call[2].endswith(call[1]):
            raise UsageError(f"download script, line {number}: no TESS light curve and address: {shorten(line)!r}")
        target = make_target("tess", int(product[2]), [int(product[1])])
        listed.append(ListedProduct(target, call[1], call[2]))
    if not listed:
        raise UsageError(f"no line of the download script names a light curve; it begins {shorten(text)!r}")
    return tuple(listed)


def merge_targets(first: Target, second: Target) -> Target:
    """Both lines' observations; all, where one of them asks for all."""
    both = {*first.observations, *second.observations} if first.observations and second.observations else set()
    return Target(first.target_id, first.mission, tuple(sorted(both)))


def shorten(text: str) -> str:
    text = " ".join(text[:400].split())
    return text if len(text) <= 100 else text[:97] + "..."
