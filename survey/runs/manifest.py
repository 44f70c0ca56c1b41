"""The manifest of a run: every target and its shard, as a table.

A sector has up to two million stars: nothing here holds an object a star for longer than it is made.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from survey import schema
from survey.errors import UsageError
from survey.stars.targets import Target

USUAL_SHARD = 64
FEWEST_SHARDS = 8
LEAST_SHARD = 8
"""Unless told otherwise, a short list is cut into about FEWEST_SHARDS shards of no fewer stars than LEAST_SHARD."""

LINES_AT_ONCE = 1 << 16


def cut_shards(targets: Iterable[Target], shard_size: int | None) -> pa.Table:
    """The manifest: targets in order of mission, observations and number, so that a shard holds stars of one kind.

    Raises UsageError for no target at all, and for a target that stands twice in the list.
    """
    table = _sort(_tabulate(targets))
    if not len(table):
        raise UsageError("no targets: nothing to search")
    size = shard_size or min(USUAL_SHARD, max(LEAST_SHARD, math.ceil(len(table) / FEWEST_SHARDS)))
    shards = pa.array(np.arange(len(table)) // size, pa.int32())
    return pa.Table.from_arrays([shards, *table.columns], schema=schema.MANIFEST)


def count_shards(manifest: pa.Table) -> int:
    return int(manifest.column("shard")[-1].as_py()) + 1


def _tabulate(targets: Iterable[Target]) -> pa.Table:
    """Rows of schema.TARGET."""
    columns: tuple[list[Any], ...] = ([], [], [])
    for target in targets:
        for column, value in zip(columns, (target.target_id, target.mission, target.observations), strict=True):
            column.append(value)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema.TARGET, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema.TARGET)


def _sort(table: pa.Table) -> pa.Table:
    """In the order of a manifest. Raises UsageError for targets that stand twice."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    doubled = frame.filter(pl.col("target_id").is_duplicated())["target_id"].unique(maintain_order=True)
    if len(doubled):
        raise UsageError(f"targets given more than once: {', '.join(doubled[:5])}; give each with all its observations")
    number = pl.col("target_id").str.extract(r"(\d+)$").cast(pl.Int64, strict=False).fill_null(-1)
    places = frame.select(
        pl.arg_sort_by("mission", pl.col("observations").rank("dense"), number, "target_id")
    ).to_series()
    return table.take(places.to_numpy()).combine_chunks()


# What identifies it


def hash_targets(manifest: pa.Table) -> str:
    """sha256 of the JSON list of its lines, target by target."""
    digest = hashlib.sha256(b"[")
    for k, lines in enumerate(_lines(manifest)):
        digest.update((b"," if k else b"") + json.dumps(lines, separators=(",", ":")).encode()[1:-1])
    digest.update(b"]")
    return digest.hexdigest()


def explain_targets(before: pa.Table, after: pa.Table) -> str:
    """What one list of targets has and another has not."""
    old, new = ({line for lines in _lines(manifest) for line in lines} for manifest in (before, after))
    parts = []
    for word, lines in (("added", new - old), ("missing", old - new)):
        if lines:
            shown = sorted(lines)[:3] + ["..."] * (len(lines) > 3)
            parts.append(f"{len(lines)} {word} ({', '.join(shown)})")
    return f"the target list: {', '.join(parts)}"


def _lines(manifest: pa.Table) -> Iterator[list[str]]:
    """A line a target, "TIC 7 tess 14 15", some at a time."""
    for batch in manifest.to_batches(LINES_AT_ONCE):
        observations = pc.binary_join(batch.column("observations").cast(pa.list_(pa.string())), " ")
        words = pc.binary_join_element_wise(batch.column("target_id"), batch.column("mission"), observations, " ")
        yield pc.utf8_rtrim(words, " ").to_pylist()
