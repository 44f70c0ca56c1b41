"""Lists of stars: from text, CSV and Parquet files, and in memory.

A list may have millions of stars, so that none of them is an object for longer than it is made or asked for.
"""

import csv
import gzip
import io
import re
import sys
import zlib
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, overload

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from survey import schema
from survey.errors import UsageError
from survey.stars.targets import (
    MISSION_OF_PREFIX,
    NUMBER,
    Resolve,
    Target,
    merge_targets,
    parse_numbers,
    parse_target,
    shorten,
)

AT_ONCE = 1 << 16
"""Stars that are objects at a time."""


@dataclass(frozen=True, eq=False)
class Targets(Sequence[Target]):
    """Stars in columns, which take some 35 bytes each. table: rows of schema.TARGET, in the list's order."""

    table: pa.Table

    @classmethod
    def of(cls, targets: Iterable[Target]) -> "Targets":
        if isinstance(targets, Targets):
            return targets
        left = iter(targets)
        tables = [schema.TARGET.empty_table()]
        while some := list(islice(left, AT_ONCE)):
            tables.append(_tabulate(some))
        return cls(pa.concat_tables(tables))

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[Target]:
        for batch in self.table.to_batches(AT_ONCE):
            columns = (column.to_pylist() for column in batch.columns)
            for name, mission, observations in zip(*columns, strict=True):
                yield Target(name, mission, tuple(observations or ()))

    @overload
    def __getitem__(self, place: int) -> Target: ...
    @overload
    def __getitem__(self, place: slice) -> "Targets": ...
    def __getitem__(self, place: int | slice) -> "Target | Targets":
        chosen = range(len(self))[place]
        if isinstance(chosen, int):
            return next(iter(Targets(self.table.slice(chosen, 1))))
        if chosen.step == 1:
            return Targets(self.table.slice(chosen.start, len(chosen)))
        return Targets(self.table.take(np.asarray(chosen, np.int64)))

    def repeated(self) -> NDArray[np.int64]:
        """Places of the stars that stand in the list more than once, in order."""
        names = self.table.column("target_id")
        hashes = np.concatenate([np.empty(0, np.uint64), *(_hash(chunk) for chunk in names.chunks)])
        order = np.argsort(hashes)
        alike = np.flatnonzero(np.diff(hashes[order]) == 0)
        places = np.unique(order[np.concatenate([alike, alike + 1])])
        found = names.take(places).to_pylist()
        count = Counter(found)
        return places[[count[name] > 1 for name in found]]


def _hash(names: pa.Array) -> NDArray[np.uint64]:
    series = pl.from_arrow(names)
    assert isinstance(series, pl.Series)
    return series.hash().to_numpy()


def _tabulate(targets: Sequence[Target]) -> pa.Table:
    columns = zip(*((target.target_id, target.mission, target.observations) for target in targets), strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema.TARGET, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema.TARGET)


@dataclass(frozen=True)
class TargetList:
    """The stars of a list, each once and in the list's order; and its lines that are of no use, then those merged."""

    targets: Targets
    problems: tuple[str, ...] = ()


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
    word, entries = _entries(_read_bytes(source), label)
    numbers = array("q")
    faults: list[tuple[int, str]] = []

    def good() -> Iterator[Target]:
        for entry in entries:
            try:
                target = _parse_entry(entry, resolve, observations, mission)
            except UsageError as error:
                faults.append((entry.number, str(error)))
            else:
                numbers.append(entry.number)
                yield target

    listed = Targets.of(good())
    merged, repeats = _merge_repeated(listed, numbers, word)
    problems = tuple(f"{word} {number}: {text}" for number, text in [*faults, *repeats])
    if not merged:
        raise UsageError(f"{label}: no line names a target: " + ("; ".join(problems[:3]) or "it is empty"))
    return TargetList(merged, problems)


def _merge_repeated(listed: Targets, numbers: Sequence[int], word: str) -> tuple[Targets, list[tuple[int, str]]]:
    """Every star once, in the place of its first line; and what to say of its other lines, with their numbers."""
    merged: dict[str, Target] = {}
    first: dict[str, int] = {}
    again: dict[int, str] = {}
    places = listed.repeated()
    for place, target in zip(places.tolist(), Targets(listed.table.take(places)), strict=True):
        name = target.target_id
        if name not in merged:
            merged[name], first[name] = target, numbers[place]
        else:
            merged[name] = merge_targets(merged[name], target)
            again[place] = f"{name} again, as on {word} {first[name]}: merged"
    if not again:
        return listed, []
    once = (merged.get(star.target_id, star) for place, star in enumerate(listed) if place not in again)
    return Targets.of(once), [(numbers[place], text) for place, text in again.items()]


class _Entry(NamedTuple):
    """What one line of a list says: its number, the target's name, and the observations as written."""

    number: int
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


@lru_cache(1024)  # the stars of a list have few of them
def _parse_cell(text: str) -> tuple[int, ...]:
    """Observations as tables write them: 15, 15.0, "1,14-16", "[1, 14]", "1 14"; none for an empty cell."""
    parts = re.split(r"[\s,;|]+", text.strip("[]() "))
    return parse_numbers(",".join(part.removesuffix(".0") for part in parts)) if parts != [""] else ()


def _read_bytes(source: str | Path) -> bytes:
    if str(source) == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except FileNotFoundError:
        raise UsageError(f"no target list {source}: give a text, CSV or Parquet file, or - for input") from None
    except OSError as error:
        raise UsageError(f"target list {source}: {error.strerror}") from None


def _entries(content: bytes, label: str) -> tuple[str, Iterator[_Entry]]:
    """What the file calls its lines, and what they say."""
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(f"{label}: broken gzip file: {error}") from None
    if content.startswith(b"PAR1"):
        return "row", _parquet_entries(content, label)
    try:
        deque(_lines(content), 0)
    except UnicodeDecodeError:
        raise UsageError(f"{label} is no text, CSV or Parquet list of targets") from None
    lines = (line for line in _lines(content) if line.strip() and not line.lstrip().startswith("#"))
    first, second = next(lines, ""), next(lines, "")
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    columns = [cell.strip().strip('"') for cell in first.split(delimiter)]
    if any(column.lower() in _PREFIX_OF_COLUMN for column in columns):
        return "line", _csv_entries(_lines(content), delimiter, label)
    if 0 < first.count(delimiter) == second.count(delimiter):
        raise UsageError(f"{label}: {_no_column(columns)}")
    return "line", _text_entries(_lines(content))


def _lines(content: bytes) -> Iterator[str]:
    with io.TextIOWrapper(io.BytesIO(content), "utf-8-sig") as text:
        yield from (line.rstrip("\n") for line in text)


def _text_entries(lines: Iterable[str]) -> Iterator[_Entry]:
    for number, line in enumerate(lines, 1):
        if name := line.partition("#")[0].strip():
            yield _Entry(number, name)


def _csv_entries(lines: Iterable[str], delimiter: str, label: str) -> Iterator[_Entry]:
    # Comments become empty lines, so that the reader's line numbers are the file's.
    reader = csv.reader(("" if line.lstrip().startswith("#") else line for line in lines), delimiter=delimiter)
    rows = ([cell.strip() for cell in row] for row in reader)
    filled = (row for row in rows if any(row))
    try:
        name_index, prefix, observation_index = _find_columns(next(filled), label)
        for row in filled:
            name, observations = _cell(row, name_index), _cell(row, observation_index)
            yield _Entry(reader.line_num, _with_prefix(name, prefix), observations)
    except csv.Error as error:
        raise UsageError(f"{label}, line {reader.line_num}: {error}") from None


def _cell(row: Sequence[str], index: int | None) -> str:
    return row[index] if index is not None and index < len(row) else ""


def _parquet_entries(content: bytes, label: str) -> Iterator[_Entry]:
    try:
        columns = list(pl.read_parquet_schema(io.BytesIO(content)))
        name_index, prefix, observation_index = _find_columns(columns, label)
        indices = [name_index] if observation_index is None else [name_index, observation_index]
        rows = pl.read_parquet(io.BytesIO(content), columns=indices).iter_rows()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UsageError(f"{label}: broken Parquet file: {error}") from None
    for number, row in enumerate(rows, 1):
        name, *observations = ("" if value is None else str(value) for value in row)
        yield _Entry(number, _with_prefix(name, prefix), "".join(observations))


def _find_columns(columns: Sequence[str], label: str) -> tuple[int, str, int | None]:
    """Index of the target column, the catalogue of its bare numbers, and index of the observations.

    Raises UsageError where there is no such column.
    """
    lower = [column.lower() for column in columns]
    name = next((column for column in _PREFIX_OF_COLUMN if column in lower), None)
    if name is None:
        raise UsageError(f"{label}: {_no_column(columns)}")
    observations = next((lower.index(column) for column in _OBSERVATION_COLUMNS if column in lower), None)
    return lower.index(name), _PREFIX_OF_COLUMN[name], observations


def _no_column(columns: Sequence[str]) -> str:
    there = ", ".join(columns[:8]) + (", ..." if len(columns) > 8 else "")
    return f"no target column among {shorten(there)}: call one target_id, tic, kepid, epic, toi or koi"


def _with_prefix(name: str, prefix: str) -> str:
    """The number 441462736 of a column `tic` as "TIC 441462736"; what has its catalogue already stays."""
    if prefix in MISSION_OF_PREFIX and NUMBER.fullmatch(name):
        return f"{prefix} {name.partition('.')[0]}"
    return f"{prefix}-{name}" if prefix and name[:1].isdigit() else name
