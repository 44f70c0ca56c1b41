"""What makes a labelled set unfit to learn from, in words: every problem is found before anything is written or learnt.

Columns of float32 lists are what a network reads: one length for all rows, no NaN, no two rows alike. Other columns are
facts of a row, where null means not measured.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from survey.errors import UsageError
from survey.learning.folds import check_folds
from survey.learning.sets.labels import KNOWN

COMMON: Final = pa.schema(
    [
        pa.field("target_id", pa.string(), False),
        pa.field("other_names", pa.list_(pa.string())),
        pa.field("label", pa.string(), False),
        pa.field("fold", pa.uint8(), False),
    ]
)
"""Columns of every set."""

INPUTS: Final[dict[str, dict[str, pa.DataType]]] = {
    "views": dict.fromkeys(("global_view", "local_view", "secondary_view"), pa.float32()),
    "segments": dict.fromkeys(("flat", "raw"), pa.float32()),
    "periods": {"profile": pa.float32(), "weights": pa.float64()},
    "pixels": {"image": pa.float32()},
    "fusion": {},
}
"""Columns of lists that sets of a kind are learnt from, and the numbers in them."""

OPTIONAL: Final = ("secondary_view", "raw")
"""Those that a set may lack."""

PROVENANCE: Final = ("configuration", "sources", "simulated", "seed")
"""What the provenance of every set says at least."""

SHOWN: Final = 3
"""Rows that a problem names."""


def find_problems(table: pa.Table, provenance: Mapping[str, Any], kind: str) -> list[str]:
    """Everything that is wrong with a set of a kind, in words; nothing where it is fit to learn from."""
    lacking = [name for name in COMMON.names if name not in table.column_names]
    if lacking:
        return [f"no column {', '.join(lacking)}"]
    if not len(table):
        return ["no rows"]
    return [*check_inputs(table, kind), *(problem for check in CHECKS for problem in check(table, provenance))]


def refuse_problems(name: str, problems: Sequence[str]) -> None:
    """Raises UsageError naming what is wrong with the set `name`, if anything is."""
    if problems:
        raise UsageError(f"{name}: {'; '.join(problems)}")


def inputs_of(table: pa.Table) -> list[str]:
    """The columns that a network reads."""
    return [field.name for field in table.schema if _is_list(field.type) and field.type.value_type == pa.float32()]


def names_of(table: pa.Table) -> tuple[NDArray[np.str_], tuple[NDArray[np.str_], ...]]:
    """(n,) star of each row and its further names, "" where there is none, as `folds.check_folds` takes them."""
    stars = np.array([star or "" for star in table.column("target_id").to_pylist()], str)
    if "other_names" not in table.column_names:
        return stars, ()
    others = [names or [] for names in table.column("other_names").to_pylist()]
    count = max((len(names) for names in others), default=0)
    return stars, tuple(np.array([names[k] if k < len(names) else "" for names in others], str) for k in range(count))


def mark_copies(table: pa.Table) -> NDArray[np.intp]:
    """(n,) the first row with the same inputs, bit by bit: of no copy that is the row itself.

    A set without inputs is compared in all its columns, but for labels and folds.
    """
    columns = inputs_of(table) or [name for name in table.column_names if name not in ("label", "fold", "other_names")]
    rows = [_row_bytes(table.column(name)) for name in columns]
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(_digest(parts), k) for k, parts in enumerate(zip(*rows, strict=True))], np.intp)


def _row_bytes(column: pa.ChunkedArray) -> Iterator[bytes]:
    if not _is_list(column.type):
        yield from (repr(value).encode() for value in column.to_pylist())
        return
    for chunk in column.chunks:
        values = chunk.flatten().to_numpy(zero_copy_only=False)
        ends = np.cumsum(pc.fill_null(pc.list_value_length(chunk), 0).to_numpy())
        yield from (part.tobytes() for part in np.split(values, ends[:-1]))


def _digest(parts: Sequence[bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind))


def _shown(rows: NDArray[Any]) -> str:
    """rows 3, 5, 8 and 4 more"""
    more = f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    return f"row{'s' * (len(rows) > 1)} {', '.join(map(str, rows[:SHOWN]))}{more}"


# Checks


def check_inputs(table: pa.Table, kind: str) -> Iterator[str]:
    """Every input that the kind has is there, as lists of its numbers."""
    for name, number in INPUTS[kind].items():
        if name not in table.column_names:
            if name not in OPTIONAL:
                yield f"no column {name}, which a set of {kind} is learnt from"
            continue
        found = table.schema.field(name).type
        if not _is_list(found) or found.value_type != number:
            yield f"{name} holds {found}, not lists of {number}"


def check_provenance(table: pa.Table, provenance: Mapping[str, Any]) -> Iterator[str]:
    lacking = [name for name in PROVENANCE if name not in provenance]
    if lacking:
        yield f"nothing is said of where it comes from: no {', '.join(lacking)} in the provenance"


def check_stars(table: pa.Table, provenance: Mapping[str, Any]) -> Iterator[str]:
    """Every row has a star and a fold, and no star, under any of its names, is in two folds."""
    stars, others = names_of(table)
    nameless = np.flatnonzero(stars == "")
    if len(nameless):
        yield f"no star in {_shown(nameless)}"
        return
    if table.column("fold").null_count:
        yield f"no fold in {_shown(np.flatnonzero(table.column('fold').is_null()))}"
        return
    folds = table.column("fold").to_numpy()
    try:
        check_folds(folds, stars, others)
    except UsageError as error:
        yield str(error)
    there = np.unique(folds)
    if len(there) < 2 or there[-1] != len(there) - 1:
        yield f"folds {', '.join(map(str, there))}: they must be 0, 1 and so on, at least two, none without a row"


def check_labels(table: pa.Table, provenance: Mapping[str, Any]) -> Iterator[str]:
    labels = np.array(table.column("label").to_pylist(), object)
    wrong = np.flatnonzero(~np.isin(labels.astype(str), KNOWN))
    if len(wrong):
        yield f"label {labels[wrong[0]]!r} in {_shown(wrong)}: known are {', '.join(KNOWN)}"
    elif len(np.unique(labels.astype(str))) < 2:
        yield f"one class only: every label is {labels[0]}"


def check_numbers(table: pa.Table, provenance: Mapping[str, Any]) -> Iterator[str]:
    """No NaN and no infinity anywhere; no input without numbers."""
    for field in table.schema:
        column = table.column(field.name).combine_chunks()
        values = column.flatten() if _is_list(field.type) else column
        if not pa.types.is_floating(values.type):
            continue
        bad = pc.fill_null(pc.invert(pc.is_finite(values)), False).to_numpy(zero_copy_only=False)
        if bad.any():
            rows = pc.list_parent_indices(column).to_numpy() if _is_list(field.type) else np.arange(len(column))
            where = "" if _is_list(field.type) else "; what was not measured is null"
            yield f"{field.name} holds NaN or infinity in {_shown(np.unique(rows[bad]))}{where}"
    for name in inputs_of(table):
        column = table.column(name).combine_chunks()
        if column.null_count or column.flatten().null_count:
            yield f"{name} holds nulls: an input has a number everywhere"


def check_lengths(table: pa.Table, provenance: Mapping[str, Any]) -> Iterator[str]:
    for name in inputs_of(table):
        lengths = np.unique(pc.fill_null(pc.list_value_length(table.column(name)), 0).to_numpy())
        if len(lengths) > 1:
            yield f"{name} has different lengths: {', '.join(map(str, lengths[:5]))}{', ...' * (len(lengths) > 5)}"
        elif lengths[0] == 0:
            yield f"{name} is empty"


def check_copies(table: pa.Table, provenance: Mapping[str, Any]) -> Iterator[str]:
    first = mark_copies(table)
    copies = np.flatnonzero(first != np.arange(len(first)))
    if not len(copies):
        return
    labels = np.array(table.column("label").to_pylist(), object).astype(str)
    differing = copies[labels[copies] != labels[first[copies]]]
    one = int((differing if len(differing) else copies)[0])
    words = f" under the labels {labels[first[one]]} and {labels[one]}" if len(differing) else ""
    yield f"{len(copies):,} copies of other rows; {first[one]} and {one} are the same{words}: take one out"


CHECKS: Final = (check_provenance, check_stars, check_labels, check_numbers, check_lengths, check_copies)
