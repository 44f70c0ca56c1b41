"""The stream on a real local Ray: same rows as `examine`, nothing lost, nothing fused, resumable."""

import errno
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from survey import schema
from survey.config import Config, load
from survey.errors import SurveyError
from survey.runs import folder as folders
from survey.runs import store, stream
from survey.runs.stages import examine, targets_table
from survey.stars.lists import read_targets
from survey.stars.simulate import write_archive
from survey.stars.sources import open_source
from survey.stars.targets import Target
from tests.runs import fakes
from tests.runs.test_store import hashes

pytestmark = [
    pytest.mark.usefixtures("local_ray"),
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*", r"ignore::FutureWarning:ray\..*"),
]

SMALL = load(overrides=["run.shard_size=5", "run.search_actors=2"])


@pytest.fixture
def empty_mirror(tmp_path: Path) -> str:
    (tmp_path / "mirror").mkdir()
    return f"mirror:{tmp_path / 'mirror'}"


def operators(config: Config, source: str) -> list[str]:
    """Names of the physical operators of a stream, as Ray has planned them."""
    from ray.data._internal.logical.optimizers import get_execution_plan

    feed = stream.Feed(source, None, fakes.FAKES)
    dataset = stream.build({0: fakes_table(3), 1: fakes_table(3)}, config, feed)
    plan = get_execution_plan(dataset._logical_plan)
    physical = plan[0] if isinstance(plan, tuple) else plan
    names, operator = [], physical.dag
    while operator.input_dependencies:
        names.append(operator.name)
        operator = operator.input_dependencies[0]
    return names[::-1]


def fakes_table(count: int) -> pa.Table:
    return targets_table(fakes.targets(count))


def test_fetching_is_never_fused_into_searching(empty_mirror: str) -> None:
    assert Counter(name.split("(")[0] for name in operators(SMALL, empty_mirror)) == {"MapBatches": 2}
    with_gpu = load(overrides=["run.gpus_per_search=0.5"])
    assert Counter(name.split("(")[0] for name in operators(with_gpu, empty_mirror)) == {"MapBatches": 4}


def test_a_sweep_gives_the_rows_that_examine_gives(tmp_path: Path, empty_mirror: str) -> None:
    targets = fakes.targets(33)
    seen: list[stream.Progress] = []
    with store.open_run(tmp_path / "run", SMALL, targets) as run:
        result = stream.sweep(run, empty_mirror, stages=fakes.FAKES, on_progress=seen.append)
        config = run.config
    assert result.complete
    assert result.merged
    swept = pq.read_table(tmp_path / "run" / store.TARGETS).cast(schema.KEPT)
    alone = [examine(target, config, None, fakes.FAKES).select(schema.KEPT.names) for target in targets]
    assert swept.equals(pa.concat_tables(alone).cast(schema.KEPT))
    assert (seen[0].shards, seen[0].stars, seen[0].remaining_s) == (0, 0, None)
    assert (seen[-1].shards, seen[-1].shards_total, seen[-1].stars) == (7, 7, 33)
    assert seen[-1].counts == result.counts
    assert seen[-1].remaining_s == 0


def manifest_targets(run: store.Run) -> list[Target]:
    rows = run.manifest.to_pylist()
    return [Target(row["target_id"], row["mission"], tuple(row["observations"])) for row in rows]


def sweep_here(root: Path, targets: Sequence[Target], config: Config = SMALL) -> dict[str, str]:
    """The same run without Ray: checksums of its merged files."""
    with store.open_run(root, config, targets) as run:
        for shard, table in store.todo(run).items():
            store.commit(run, shard, fakes.described(table, run.config))
        store.merge(run)
    return hashes(root)


def test_the_row_of_a_sweep_is_the_row_of_examine_bit_for_bit(tmp_path: Path) -> None:
    """The keystone: the real stages on true files, streamed in shards with neighbours and folded one by one."""
    write_archive(
        tmp_path / "archive", kinds=["planet", "quiet", "eclipsing_binary", "planets", "truncated", "missing"]
    )
    text = f"mirror:{tmp_path / 'archive'}"
    targets = read_targets(tmp_path / "archive" / "targets.txt").targets
    with store.open_run(tmp_path / "run", load(overrides=["run.shard_size=4"]), targets) as run:
        result = stream.sweep(run, text)
        config = run.config
    assert result.counts == {"ok": 4, "no_data": 1, "bad_file": 1}
    source = open_source(text, config)
    rows = [examine(target, config, source) for target in manifest_targets(run)]
    swept = pq.read_table(tmp_path / "run" / store.TARGETS).cast(schema.KEPT)
    alone = pa.concat_tables([row.select(schema.KEPT.names) for row in rows]).cast(schema.KEPT)
    assert swept.equals(alone)
    views = [
        {"target_id": row["target_id"][0].as_py(), **view} for row in rows for view in row["views"][0].as_py() or ()
    ]
    assert pq.read_table(tmp_path / "run" / store.FEATURES).to_pylist() == views
    assert len(views) >= 3


def test_a_sweep_with_fractions_of_a_gpu_gives_the_same_files(tmp_path: Path, empty_mirror: str) -> None:
    targets = fakes.targets(12)
    config = load(overrides=["run.shard_size=3", "run.gpus_per_search=0.5", "run.fetch_actors=2"], engine="numpy")
    with store.open_run(tmp_path / "gpu", config, targets) as run:
        stream.sweep(run, empty_mirror, stages=fakes.FAKES)
    assert hashes(tmp_path / "gpu") == sweep_here(tmp_path / "here", targets, load(engine="numpy"))


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path: Path, empty_mirror: str) -> None:
    targets = fakes.targets(30)

    def interrupt(progress: stream.Progress) -> None:
        if progress.shards == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), store.open_run(tmp_path / "run", SMALL, targets) as run:
        stream.sweep(run, empty_mirror, stages=fakes.FAKES, on_progress=interrupt)
    done = store.status(store.load_run(tmp_path / "run")).shards_done
    assert 2 <= done < 6  # those under way are committed, too
    with store.open_run(tmp_path / "run", SMALL, targets) as run:
        assert len(store.todo(run)) == 6 - done
        assert stream.sweep(run, empty_mirror, stages=fakes.FAKES).complete
    assert hashes(tmp_path / "run") == sweep_here(tmp_path / "here", targets)


def test_a_finished_run_starts_nothing(tmp_path: Path, empty_mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep_here(tmp_path, fakes.targets(10))
    monkeypatch.setattr(stream, "build", None)
    with store.open_run(tmp_path, SMALL, fakes.targets(10)) as run:
        assert stream.sweep(run, empty_mirror, stages=fakes.FAKES).complete


def test_a_full_disk_ends_the_sweep_and_loses_nothing(
    tmp_path: Path, empty_mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill(progress: stream.Progress) -> None:
        if progress.shards == 2:
            monkeypatch.setattr(folders.os, "fsync", fail)

    with pytest.raises(SurveyError, match="full"), store.open_run(tmp_path / "run", SMALL, fakes.targets(30)) as run:
        stream.sweep(run, empty_mirror, stages=fakes.FAKES, on_progress=fill)
    assert 2 <= store.status(store.load_run(tmp_path / "run")).shards_done < 6


def test_a_stage_that_breaks_ends_the_sweep_with_its_reason(tmp_path: Path, empty_mirror: str) -> None:
    broken = (*fakes.FAKES[:3], fakes.BROKEN)
    with (
        pytest.raises(SurveyError, match=r"the whole shard.*run again"),
        store.open_run(tmp_path / "run", SMALL, fakes.targets(5)) as run,
    ):
        stream.sweep(run, empty_mirror, stages=broken)
