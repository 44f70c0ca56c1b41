"""Tables of a whole run that fit no memory: written in groups of rows, and put aside on a disk in between."""

import contextlib
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from itertools import islice
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from survey import schema
from survey.interruption import interruption_deferred
from survey.runs.folder import Folder

Key = TypeVar("Key")
Read = TypeVar("Read")

AHEAD = 16
"""Files that are read before they are needed: a store far away answers slowly, but many at once."""

SPOOL_ROWS = 4096
"""Rows of a batch of a spool, about."""


def read_ahead(read: Callable[[Key], Read], keys: Iterable[Key], at_once: int = AHEAD) -> Iterator[Read]:
    """What `read` gives for each key, in order, some of them read while others are worked on."""
    waiting: list[Future[Read]] = []
    left = iter(keys)
    with ThreadPoolExecutor(at_once) as pool:
        while waiting := [*waiting, *(pool.submit(read, key) for key in islice(left, at_once - len(waiting)))]:
            yield waiting.pop(0).result()


def as_done(
    work: Callable[[Key], Read], keys: Iterable[Key], at_once: int, patience_s: float
) -> Generator[Read, None, None]:
    """What `work` gives for each key, as it ends. Before the next key is asked for, work has `patience_s`: what is
    quick is given at once, of what is slow several are under way, and given when the next key is there. To be closed:
    it waits for those under way then."""
    under_way: set[Future[Read]] = set()
    with ThreadPoolExecutor(at_once) as pool:
        for key in keys:
            with interruption_deferred():  # else work may be begun of which nobody knows
                under_way.add(pool.submit(work, key))
            limit = None if len(under_way) == at_once else patience_s
            done, under_way = wait(under_way, limit, FIRST_COMPLETED)
            yield from (future.result() for future in done)
        yield from (future.result() for future in as_completed(under_way))


def write_merged(folder: Folder, name: str, kind: pa.Schema, tables: Iterable[pa.Table], rows: int) -> None:
    """Row groups of fixed length whatever the tables' lengths, so that the cuts of the run leave no trace."""
    with folder.writing(name) as file, pq.ParquetWriter(file, kind, **schema.PARQUET) as writer:
        for group in regroup(tables, kind, rows):
            writer.write_table(group, row_group_size=rows)
            pa.default_memory_pool().release_unused()  # else what one group took is kept beside what the next one takes


def regroup(tables: Iterable[pa.Table], kind: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of so many, the last one shorter."""
    waiting, count = [kind.empty_table()], 0
    for table in tables:
        waiting.append(table)
        count += len(table)
        while count >= rows:
            joined = pa.concat_tables(waiting)
            yield _fresh(joined.slice(0, rows))
            waiting, count = [_fresh(joined.slice(rows))], count - rows
    if count:
        yield _fresh(pa.concat_tables(waiting))


def _fresh(table: pa.Table) -> pa.Table:
    """The same rows in new buffers without offsets: what is encoded must not depend on how they were sliced."""
    return table.take(np.arange(len(table))).combine_chunks()


class Spool:
    """Rows of one kind, put on a disk in order and taken from it in any other; memory holds a few batches of them."""

    def __init__(self, kind: pa.Schema) -> None:
        self._kind = kind
        self._waiting: list[pa.Table] = []
        self._lengths: list[int] = []

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="survey-signals-")
        self._path = str(Path(self._folder.name, "rows.arrow"))
        self._writer = pa.ipc.new_file(self._path, self._kind)
        return self

    def __exit__(self, *raised: object) -> None:
        self._writer.close()
        self._folder.cleanup()

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table)
        if sum(map(len, self._waiting)) >= SPOOL_ROWS:
            self._flush()

    def _flush(self) -> None:
        rows = pa.concat_tables([self._kind.empty_table(), *self._waiting]).combine_chunks()
        if len(rows):
            self._writer.write_table(rows)
            self._lengths.append(len(rows))
        self._waiting = []

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of all rows, in memory. Nothing can be added any more."""
        with self._reading(sorted(map(self._kind.get_field_index, names))) as reader:
            # Arrow reads a batch whole, and what is taken of it would keep all of it.
            batches = (reader.get_batch(k) for k in range(reader.num_record_batches))
            parts = [_fresh(pa.Table.from_batches([batch])) for batch in batches]
            return pa.concat_tables([reader.schema.empty_table(), *parts]).select(list(names)).combine_chunks()

    def take(self, places: NDArray[np.int64], rows: int) -> Iterator[pa.Table]:
        """The rows at those places, in their order, so many at a time. Nothing can be added any more."""
        with self._reading() as reader:
            starts = np.cumsum([0, *self._lengths])
            for first in range(0, len(places), rows):
                yield _gather(reader, starts, places[first : first + rows])

    @contextlib.contextmanager
    def _reading(self, fields: list[int] | None = None) -> Iterator[Any]:
        """The file, of which no more is in memory than what is asked for."""
        self._flush()
        self._writer.close()
        with pa.OSFile(self._path) as file:
            yield pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields))


def _gather(reader: Any, starts: NDArray[np.int64], places: NDArray[np.int64]) -> pa.Table:
    owners = np.searchsorted(starts, places, side="right") - 1
    order = np.argsort(owners, kind="stable")
    parts = [
        reader.get_batch(int(owner)).take(pa.array(places[owners == owner] - starts[owner]))
        for owner in np.unique(owners)
    ]
    return pa.Table.from_batches(parts).combine_chunks().take(np.argsort(order, kind="stable"))
