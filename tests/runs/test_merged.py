"""Tables that fit no memory: put aside, gathered again, and written in groups."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from survey.config import hash_of
from survey.errors import UsageError
from survey.runs import manifest, merged
from survey.runs.folder import open_folder
from survey.stars.targets import Target

KIND = pa.schema(
    [pa.field("number", pa.int32()), pa.field("words", pa.list_(pa.struct([pa.field("word", pa.string())])))]
)


def rows(first: int, count: int) -> pa.Table:
    numbers = range(first, first + count)
    words = [None if k % 5 == 0 else [{"word": f"w{k}"}] * (k % 3) for k in numbers]
    return pa.table([pa.array(numbers, pa.int32()), pa.array(words, KIND.field("words").type)], schema=KIND)


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(1, 12), st.integers(0, 2**32))
def test_rows_come_back_in_any_order(lengths: list[int], batch: int, seed: int) -> None:
    starts = np.cumsum([0, *lengths])
    tables = [rows(int(start), length) for start, length in zip(starts, lengths, strict=False)]
    whole = pa.concat_tables([KIND.empty_table(), *tables])
    places = np.random.default_rng(seed).permutation(len(whole))
    with pytest.MonkeyPatch.context() as patch, merged.Spool(KIND) as spool:
        patch.setattr(merged, "SPOOL_ROWS", batch)
        for table in tables:
            spool.add(table)
        assert spool.columns(["number"]).equals(whole.select(["number"]).combine_chunks())
        found = pa.concat_tables([KIND.empty_table(), *spool.take(places, 4)])
        folder = Path(spool._path).parent
    assert found.equals(whole.take(places))
    assert not folder.exists()


def test_of_wide_rows_no_more_is_kept_than_what_is_asked_for() -> None:
    wide = pa.table({"number": range(2000), "words": ["w" * 1000] * 2000})
    with merged.Spool(wide.schema) as spool:
        spool.add(wide)
        before = pa.total_allocated_bytes()
        numbers = spool.columns(["number"])
        assert pa.total_allocated_bytes() - before < 2 * numbers.nbytes
    assert numbers.equals(wide.select(["number"]))


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(1, 7))
def test_groups_have_one_length_whatever_the_tables_have(lengths: list[int], size: int) -> None:
    starts = np.cumsum([0, *lengths])
    tables = [rows(int(start), length) for start, length in zip(starts, lengths, strict=False)]
    groups = list(merged.regroup(tables, KIND, size))
    assert all(len(group) == size for group in groups[:-1])
    assert pa.concat_tables([KIND.empty_table(), *groups]).equals(pa.concat_tables([KIND.empty_table(), *tables]))


def test_quick_work_is_told_before_more_is_asked_for() -> None:
    told: list[int] = []

    def keys() -> Iterator[int]:
        for key in range(5):
            assert told == list(range(key))
            yield key

    for done in merged.as_done(lambda key: key, keys(), 3, 60.0):
        told.append(done)
    assert told == [0, 1, 2, 3, 4]


def test_of_slow_work_several_are_under_way_and_no_more() -> None:
    meeting = threading.Barrier(3, timeout=60)

    def work(key: int) -> int:
        meeting.wait()
        return key

    assert sorted(merged.as_done(work, range(9), 3, 0.0)) == list(range(9))


def test_work_under_way_is_waited_for_when_one_fails_or_nobody_asks_any_more() -> None:
    begun, ended, go = threading.Event(), [], threading.Event()

    def work(key: int) -> int:
        if key == 0:
            begun.set()
            go.wait(60)
            ended.append(key)
        elif key == 1:
            begun.wait(60)
            threading.Timer(0.1, go.set).start()
            raise UsageError("no")
        return key

    with pytest.raises(UsageError, match="no"):
        list(merged.as_done(work, range(9), 2, 0.0))
    assert ended == [0]
    begun.clear()
    go.clear()
    told = merged.as_done(work, [0, 5, 6], 3, 0.0)
    assert next(told) in (5, 6)
    threading.Timer(0.1, go.set).start()
    told.close()
    assert ended == [0, 0]


def test_a_merged_file_holds_no_trace_of_how_it_was_cut(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    for name, cuts in (("one", [40]), ("many", [1, 2, 30, 7])):
        starts = np.cumsum([0, *cuts])
        merged.write_merged(folder, name, KIND, (rows(int(a), n) for a, n in zip(starts, cuts, strict=False)), 16)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "many").read_bytes()
    assert pq.ParquetFile(tmp_path / "one").num_row_groups == 3


def test_files_are_read_ahead_in_order_and_not_all_at_once() -> None:
    lock, held, most = threading.Lock(), [0], [0]

    def read(key: int) -> int:
        with lock:
            held[0] += 1
            most[0] = max(most[0], held[0])
        return key

    seen = []
    for key in merged.read_ahead(read, range(200)):
        seen.append(key)
        with lock:
            held[0] -= 1
    assert seen == list(range(200))
    assert most[0] <= merged.AHEAD + 1

    def fail(key: int) -> int:
        raise OSError(f"at {key}")

    with pytest.raises(OSError, match="at 0"):
        list(merged.read_ahead(fail, range(3)))


TARGETS = st.builds(
    Target,
    st.one_of(st.integers(1, 10**15).map("TIC {}".format), st.integers(1, 99).map("KIC {}".format)),
    st.sampled_from(["tess", "kepler"]),
    st.lists(st.integers(1, 30), unique=True, max_size=3).map(lambda numbers: tuple(sorted(numbers))),
)


@given(st.lists(TARGETS, min_size=1, max_size=30, unique_by=lambda target: target.target_id), st.integers(1, 9))
def test_a_manifest_has_one_order_and_one_hash(targets: list[Target], at_once: int) -> None:
    table = manifest.cut_shards(targets, 4)
    ordered = sorted(targets, key=lambda star: (star.mission, star.observations, star.number, star.target_id))
    assert table.column("target_id").to_pylist() == [star.target_id for star in ordered]
    lines = [" ".join([star.target_id, star.mission, *map(str, star.observations)]) for star in ordered]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "LINES_AT_ONCE", at_once)
        assert manifest.hash_targets(table) == hash_of(lines)
    with pytest.raises(UsageError, match="more than once"):
        manifest.cut_shards([*targets, targets[0]], 4)
