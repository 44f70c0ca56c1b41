"""A labelled set as one Parquet file: rows of any kind, the star of each, its label and fold, and where all came from.

Columns of every set: `target_id` ("TIC 441462736"), `other_names` (the star's names in other catalogues), `label`
(letters of catalogues, or 0 and 1), `fold` (0 to 4: all rows of a star in one). Beside them lists of float32, which are
what a network reads, and facts of the row, as the kind of set has them.

The schema's metadata hold the kind and, as JSON, the provenance: configuration, sources with sha256, catalogues, counts
of stars and rows, what was left out and why, what is simulated ("" for nothing), missions, and the seed.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from survey import schema
from survey.errors import SurveyError, UsageError
from survey.learning.folds import make_folds, one_star
from survey.learning.sets.audit import COMMON, find_problems, mark_copies, names_of, refuse_problems
from survey.learning.sets.labels import rarer_half
from survey.stars.targets import MISSION_OF_PREFIX

KINDS: Final = ("views", "segments", "periods", "pixels", "fusion")
"""What the rows of a set may be."""

FOLDS: Final = 5
"""Groups of stars; fewer where a class has fewer stars."""

KIND_KEY: Final = b"survey.kind"
PROVENANCE_KEY: Final = b"survey.provenance"


@dataclass(frozen=True)
class LabelledTable:
    """A set as it was read and audited. sha256: of the file."""

    name: str
    sha256: str
    kind: str
    table: pa.Table
    provenance: dict[str, Any]


def write_set(path: str | Path, kind: str, table: pa.Table, provenance: Mapping[str, Any]) -> str:
    """Writes a set in one step, after the audit, and returns its sha256. `fold` is added where the table has none.

    provenance: at least `audit.PROVENANCE`; rows, stars, labels and missions are added to it. The bytes depend on the
    table and the provenance alone. Raises UsageError for a set that is not fit to learn from, and where the file cannot
    be written.
    """
    path = Path(path)
    check_place(path)
    said = dict(provenance)
    whole = _complete(table, path.name, int(said.get("seed", 0)))
    refuse_problems(path.name, find_problems(whole, said, kind))
    metadata = {KIND_KEY: kind.encode(), PROVENANCE_KEY: _json(said | count_set(whole))}
    whole = whole.replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    pq.write_table(whole, sink, row_group_size=GROUP_ROWS, **schema.PARQUET)
    content = sink.getvalue().to_pybytes()
    _write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


GROUP_ROWS: Final = 4096


def read_set(path: str | Path, kind: str | None = None) -> LabelledTable:
    """A set, audited. Raises UsageError for a file that is no set, one of another kind than `kind`, and for a set that
    is not fit to learn from: a star that crosses folds, for one."""
    found = open_set(path, kind)
    if kind is not None and found.kind != kind:
        raise UsageError(
            f"{found.name}: a set of {found.kind}, where one of {kind} is needed: `survey data {kind}` makes them"
        )
    refuse_problems(found.name, find_problems(found.table, found.provenance, found.kind))
    return found


def open_set(path: str | Path, kind: str | None = None) -> LabelledTable:
    """A set as it lies there, without the audit. Raises UsageError for a file that is none, naming the command that
    makes sets, of this kind if one is wanted."""
    path = Path(path)
    command = f"`survey data {kind}`" if kind else "`survey data`"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read a set from {path}: {(error.strerror or str(error)).lower()}") from None
    try:
        table = pq.read_table(pa.BufferReader(content))
        said = table.schema.metadata or {}
        kind, provenance = said[KIND_KEY].decode(), json.loads(said[PROVENANCE_KEY])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageError(
            f"{path.name}: not a readable Parquet file; {command} makes sets ({str(error).splitlines()[0]})"
        ) from None
    except KeyError:
        raise UsageError(f"{path.name}: no labelled set of this survey: {command} makes them") from None
    if kind not in KINDS or not isinstance(provenance, dict):
        raise UsageError(f"{path.name}: a set of {kind!r}; there are {', '.join(KINDS)}")
    return LabelledTable(path.name, hashlib.sha256(content).hexdigest(), kind, table, provenance)


def is_set(path: str | Path) -> bool:
    """Whether a file looks like Parquet."""
    try:
        with Path(path).open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        return False


def count_set(table: pa.Table) -> dict[str, Any]:
    """rows, stars, labels and missions of a set, for its provenance."""
    stars, others = names_of(table)
    labels, counts = np.unique(np.array(table.column("label").to_pylist(), str), return_counts=True)
    prefixes = {star.partition(" ")[0] for star in stars}
    return {
        "rows": len(table),
        "stars": len(np.unique(one_star(stars, others))),
        "labels": dict(zip(labels.tolist(), counts.tolist(), strict=True)),
        "missions": sorted(mission.name for prefix, mission in MISSION_OF_PREFIX.items() if prefix in prefixes),
    }


def drop_copies(table: pa.Table) -> tuple[pa.Table, int]:
    """The rows whose inputs are not those of an earlier row with the same label, and how many went."""
    first, labels = mark_copies(table), np.array(table.column("label").to_pylist(), str)
    kept = (first == np.arange(len(table))) | (labels != labels[first])
    return table.filter(pa.array(kept)), int((~kept).sum())


def check_place(path: Path) -> None:
    """Raises UsageError where a set cannot be written, so that none is made in vain."""
    if path.suffix.lower() != ".parquet":
        raise UsageError(f"{path}: a set is a Parquet file: end its name with .parquet")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give --out the name of a file")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UsageError(f"cannot write {path}: {parent} is no folder that can be written to")


def _complete(table: pa.Table, name: str, seed: int) -> pa.Table:
    """The table with the columns of every set first, in one order and type, and folds where it had none."""
    if lacking := [column for column in ("target_id", "label") if column not in table.column_names]:
        raise UsageError(f"{name}: no column {', '.join(lacking)}")
    if not len(table):
        raise UsageError(f"{name}: no rows")
    if "other_names" not in table.column_names:
        table = table.append_column("other_names", pa.array([[]] * len(table), pa.list_(pa.string())))
    if "fold" not in table.column_names:
        table = table.append_column("fold", pa.array(divide_stars(table, name, seed), pa.uint8()))
    common = [table.column(field.name).cast(field.type) for field in COMMON]
    rest = [name for name in table.column_names if name not in COMMON.names]
    fields = [*COMMON, *(table.schema.field(column) for column in rest)]
    columns = [*common, *(table.column(column) for column in rest)]
    # In new buffers, as the bytes must not depend on how the rows were put together.
    return pa.Table.from_arrays(columns, schema=pa.schema(fields)).take(np.arange(len(table))).combine_chunks()


def divide_stars(table: pa.Table, name: str = "the set", seed: int = 0) -> NDArray[np.uint8]:
    """(n,) folds of a labelled table: all rows of a star, under any of its names, in one, and classes in about equal
    shares. FOLDS of them, or as many as the class of fewer stars allows. Raises UsageError where that is not two."""
    stars, others = names_of(table)
    group = one_star(stars, others)
    rare = rarer_half(np.array(table.column("label").to_pylist(), str))
    fewest = min(len(np.unique(group[rare])), len(np.unique(group[~rare])))
    if fewest < 2:
        reason = "a class has one star only, and one must be held back" if fewest else "one class only"
        raise UsageError(f"{name}: {reason}: more stars are needed")
    return make_folds(rare, group, min(FOLDS, fewest), seed)


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _write_whole(path: Path, content: bytes) -> None:
    """The whole file or none of it: written beside, flushed to disk, renamed."""
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SurveyError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error
