"""Which stars: names like "TIC 441462736", lists of them, and what distinguishes the three missions.

A number alone is never a target: 231663901 is a star of the TESS catalogue and another one of K2's [science rule 9].
"""

import csv
import gzip
import io
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

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
class TargetList:
    """The stars of a list, each once and in the list's order, and what was wrong with its lines."""

    targets: tuple[Target, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListedProduct:
    """One line of the archive's download script: a star in a sector, its file's name and address."""

    target: Target
    product: str
    url: str


_FORMS = "write TIC 441462736, KIC 757076, EPIC 201367065, TOI-700 or KOI-351"
_STAR = re.compile(r"(TIC|KIC|EPIC)[\s_:-]*([0-9]{1,20})(?:\.[0-9]{1,2})?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+(?:\.0*)?")
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
    if _NUMBER.fullmatch(name):
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
    raise UsageError(f"{_shorten(name)!r} is no target: {_FORMS}")


def parse_numbers(text: str) -> tuple[int, ...]:
    """Sectors, quarters or campaigns from "1,14-16" -> (1, 14, 15, 16): in order, each once. Raises UsageError."""
    numbers: set[int] = set()
    for part in text.split(","):
        found = _LISTED_NUMBERS.fullmatch(part.strip())
        if found is None:
            raise UsageError(f"{_shorten(text)!r}: write numbers and ranges such as 1,14-16")
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
            raise UsageError(f"download script, line {number}: no TESS light curve and address: {_shorten(line)!r}")
        target = make_target("tess", int(product[2]), [int(product[1])])
        listed.append(ListedProduct(target, call[1], call[2]))
    if not listed:
        raise UsageError(f"no line of the download script names a light curve; it begins {_shorten(text)!r}")
    return tuple(listed)


def read_targets(
    source: str | Path,
    *,
    resolve: Resolve | None = None,
    observations: Sequence[int] = (),
    mission: str | None = None,
) -> TargetList:
    """Stars from a text file (one a line, `#` comments), a CSV or Parquet table, or "-" for standard input.

    What a file holds decides how it is read, not its name; any of them may be gzipped. A table has a column of names
    (`target_id`, `target`, ...) or of one catalogue's numbers (`tic`, `kepid`, `epic`, ...), and may have one of
    observations (`sector`, `quarter`, ...), which `observations` overrides. `mission`: stars of others are left out.

    A star that comes again is merged with its first line. That, and every line that cannot be read, stands in
    `problems` and stops nothing. Raises UsageError if there is no such file, no target column or no good line at all.
    """
    label = "standard input" if str(source) == "-" else str(source)
    entries = _entries(_read_bytes(source), label)
    targets: dict[str, Target] = {}
    first_lines: dict[str, str] = {}
    problems = []
    for entry in entries:
        try:
            target = _parse_entry(entry, resolve, observations, mission)
        except UsageError as error:
            problems.append(f"{entry.line}: {error}")
            continue
        known = targets.setdefault(target.target_id, target)
        if known is not target:
            problems.append(f"{entry.line}: {target.target_id} again, as on {first_lines[target.target_id]}: merged")
            targets[target.target_id] = merge_targets(known, target)
        else:
            first_lines[target.target_id] = entry.line
    if not targets:
        raise UsageError(f"{label}: no line names a target: " + ("; ".join(problems[:3]) or "it is empty"))
    return TargetList(tuple(targets.values()), tuple(problems))


@dataclass(frozen=True)
class _Entry:
    """What one line of a list says: its place, the target's name, and the observations as written."""

    line: str
    name: str
    observations: str = ""


_PREFIX_OF_COLUMN: Final[dict[str, str]] = {
    "target_id": "", "target": "",
    "tic_id": "TIC", "ticid": "TIC", "tic": "TIC", "tid": "TIC", "tess_id": "TIC",
    "kepid": "KIC", "kic_id": "KIC", "kicid": "KIC", "kic": "KIC", "kepler_id": "KIC",
    "epic_id": "EPIC", "epicid": "EPIC", "epic": "EPIC", "epic_number": "EPIC", "epic_hostname": "EPIC",
    "toi": "TOI", "koi": "KOI", "kepoi_name": "KOI",
    "star_id": "", "star": "", "object": "", "name": "",
}  # fmt: skip
"""Column names that hold targets, the surest first, and the catalogue that a column's bare numbers belong to."""
_OBSERVATION_COLUMNS = ("observations", "sectors", "sector", "quarters", "quarter", "campaigns", "campaign")


def _parse_entry(entry: _Entry, resolve: Resolve | None, observations: Sequence[int], mission: str | None) -> Target:
    target = parse_target(entry.name, resolve=resolve)
    if mission is not None and target.mission != mission:
        raise UsageError(f"{target.target_id} is not of the mission {mission}: left out")
    chosen = tuple(observations) or _parse_cell(entry.observations)
    return Target(target.target_id, target.mission, tuple(sorted(set(chosen))))


def _parse_cell(text: str) -> tuple[int, ...]:
    """Observations as tables write them: 15, 15.0, "1,14-16", "[1, 14]", "1 14"; none for an empty cell."""
    parts = re.split(r"[\s,;|]+", text.strip("[]() "))
    return parse_numbers(",".join(part.removesuffix(".0") for part in parts)) if parts != [""] else ()


def merge_targets(first: Target, second: Target) -> Target:
    """Both lines' observations; all, where one of them asks for all."""
    both = {*first.observations, *second.observations} if first.observations and second.observations else set()
    return Target(first.target_id, first.mission, tuple(sorted(both)))


def _read_bytes(source: str | Path) -> bytes:
    if str(source) == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except FileNotFoundError:
        raise UsageError(f"no target list {source}: give a text, CSV or Parquet file, or - for input") from None
    except OSError as error:
        raise UsageError(f"target list {source}: {error.strerror}") from None


def _entries(content: bytes, label: str) -> Iterator[_Entry]:
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(f"{label}: broken gzip file: {error}") from None
    if content.startswith(b"PAR1"):
        return _parquet_entries(content, label)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{label} is no text, CSV or Parquet list of targets") from None
    lines = text.splitlines()
    first, second, *_ = [*(line for line in lines if line.strip() and not line.lstrip().startswith("#")), "", ""]
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    columns = [cell.strip().strip('"') for cell in first.split(delimiter)]
    if any(column.lower() in _PREFIX_OF_COLUMN for column in columns):
        return _csv_entries(lines, delimiter, label)
    if 0 < first.count(delimiter) == second.count(delimiter):
        raise UsageError(f"{label}: {_no_column(columns)}")
    return _text_entries(lines)


def _text_entries(lines: Sequence[str]) -> Iterator[_Entry]:
    for number, line in enumerate(lines, 1):
        if name := line.partition("#")[0].strip():
            yield _Entry(f"line {number}", name)


def _csv_entries(lines: Sequence[str], delimiter: str, label: str) -> Iterator[_Entry]:
    # Comments become empty lines, so that the reader's line numbers are the file's.
    reader = csv.reader(("" if line.lstrip().startswith("#") else line for line in lines), delimiter=delimiter)
    rows = ([cell.strip() for cell in row] for row in reader)
    filled = (row for row in rows if any(row))
    try:
        name_index, prefix, observation_index = _find_columns(next(filled))
        for row in filled:
            name, observations = _cell(row, name_index), _cell(row, observation_index)
            yield _Entry(f"line {reader.line_num}", _with_prefix(name, prefix), observations)
    except csv.Error as error:
        raise UsageError(f"{label}, line {reader.line_num}: {error}") from None


def _cell(row: Sequence[str], index: int | None) -> str:
    return row[index] if index is not None and index < len(row) else ""


def _parquet_entries(content: bytes, label: str) -> Iterator[_Entry]:
    try:
        columns = list(pl.read_parquet_schema(io.BytesIO(content)))
        if not any(column.lower() in _PREFIX_OF_COLUMN for column in columns):
            raise UsageError(f"{label}: {_no_column(columns)}")
        name_index, prefix, observation_index = _find_columns(columns)
        indices = [name_index] if observation_index is None else [name_index, observation_index]
        rows = pl.read_parquet(io.BytesIO(content), columns=indices).rows()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UsageError(f"{label}: broken Parquet file: {error}") from None
    for number, row in enumerate(rows, 1):
        name, *observations = ("" if value is None else str(value) for value in row)
        yield _Entry(f"row {number}", _with_prefix(name, prefix), "".join(observations))


def _find_columns(columns: Sequence[str]) -> tuple[int, str, int | None]:
    """Index of the target column, the catalogue of its bare numbers, and index of the observations."""
    lower = [column.lower() for column in columns]
    name = next(column for column in _PREFIX_OF_COLUMN if column in lower)
    observations = next((lower.index(column) for column in _OBSERVATION_COLUMNS if column in lower), None)
    return lower.index(name), _PREFIX_OF_COLUMN[name], observations


def _no_column(columns: Sequence[str]) -> str:
    there = ", ".join(columns[:8]) + (", ..." if len(columns) > 8 else "")
    return f"no target column among {_shorten(there)}: call one target_id, tic, kepid, epic, toi or koi"


def _with_prefix(name: str, prefix: str) -> str:
    """The number 441462736 of a column `tic` as "TIC 441462736"; what has its catalogue already stays."""
    if prefix in MISSION_OF_PREFIX and _NUMBER.fullmatch(name):
        return f"{prefix} {name.partition('.')[0]}"
    return f"{prefix}-{name}" if prefix and name[:1].isdigit() else name


def _shorten(text: str) -> str:
    text = " ".join(text[:400].split())
    return text if len(text) <= 100 else text[:97] + "..."
