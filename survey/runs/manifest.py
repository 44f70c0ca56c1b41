"""The manifest of a run: every target and its shard, as a table.

A sector has up to two million stars: nothing here holds an object a star for longer than it is made.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from survey import schema
from survey.errors import UsageError
from survey.stars.lists import Targets
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
    listed = Targets.of(targets)
    if not listed:
        raise UsageError("no targets: nothing to search")
    _refuse_repeated(listed)
    table = _sort(listed.table)
    size = shard_size or min(USUAL_SHARD, max(LEAST_SHARD, math.ceil(len(table) / FEWEST_SHARDS)))
    shards = pa.array(np.arange(len(table)) // size, pa.int32())
    return pa.Table.from_arrays([shards, *table.columns], schema=schema.MANIFEST)


def count_shards(manifest: pa.Table) -> int:
    return int(manifest.column("shard")[-1].as_py()) + 1


def _refuse_repeated(listed: Targets) -> None:
    names = listed.table.column("target_id").take(listed.repeated()).to_pylist()
    if names:
        shown = ", ".join(list(dict.fromkeys(names))[:5])
        raise UsageError(f"targets given more than once: {shown}; give each with all its observations")


def _sort(table: pa.Table) -> pa.Table:
    """By mission, observations, number and name. What is sorted are numbers: words of a million stars take much more
    memory."""
    names = table.column("target_id")
    mission = _ranks(table.column("mission"), str)
    observations = _ranks(_words_of_observations(table), lambda words: [int(word) for word in words.split()])
    number = np.concatenate([_numbers(chunk) for chunk in names.chunks])
    order = np.lexsort((number, observations, mission))
    alike = np.all([np.diff(key[order]) == 0 for key in (number, observations, mission)], axis=0)
    edges = np.flatnonzero(np.diff(alike, prepend=False, append=False))
    for first, last in edges.reshape(-1, 2):
        order[first : last + 1] = sorted(order[first : last + 1], key=lambda place: names[place].as_py())
    return table.take(order).combine_chunks()


def _ranks(words: pa.ChunkedArray, key: Callable[[str], Any]) -> NDArray[np.int32]:
    """Of words that are few, the place of each in their order."""
    coded = words.dictionary_encode().combine_chunks()
    known = coded.dictionary.to_pylist()
    ranks = np.empty(len(known), np.int32)
    ranks[sorted(range(len(known)), key=lambda code: key(known[code]))] = np.arange(len(known))
    return ranks[coded.indices.to_numpy()]


def _numbers(names: pa.Array) -> NDArray[np.int64]:
    """The number at the end of each name, -1 without one."""
    found = pc.struct_field(pc.extract_regex(names, r"(?:^|\D)(?P<number>\d{1,18})$"), "number")
    return pc.fill_null(pc.cast(found, pa.int64()), -1).to_numpy()


def _words_of_observations(table: pa.Table) -> pa.ChunkedArray:
    """Of each star its observations, as "14 15"; made some at a time."""
    batches = table.select(["observations"]).to_batches(LINES_AT_ONCE)
    return pa.chunked_array([_join(batch.column("observations")) for batch in batches], pa.string())


def _join(observations: pa.ListArray) -> pa.Array:
    return pc.fill_null(pc.binary_join(observations.cast(pa.list_(pa.string())), " "), "")


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
        observations = _join(batch.column("observations"))
        words = pc.binary_join_element_wise(batch.column("target_id"), batch.column("mission"), observations, " ")
        yield pc.utf8_rtrim(words, " ").to_pylist()
