"""The run folder: cut, commit, resume, refuse, merge."""

import csv
import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import sleep as wait
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from survey import schema
from survey.config import SCIENCE_VERSION, Config, load
from survey.errors import RunRefused, SurveyError, UsageError
from survey.runs import folder as folders
from survey.runs import merged, store
from survey.runs.candidates import rank_candidates
from survey.runs.crossmatch import MATCHED
from survey.runs.manifest import cut_shards
from survey.stars.targets import Target
from tests.learning.models import copy_shipped
from tests.runs import fakes

MERGED = (store.TARGETS, store.CANDIDATES, store.FEATURES)


def commit_all(run: store.Run, shards: Sequence[int] | None = None) -> None:
    for shard, table in store.todo(run).items():
        if shards is None or shard in shards:
            store.commit(run, shard, fakes.described(table, run.config))


def sweep(root: Path, config: Config, targets: Sequence[Target]) -> store.RunStatus:
    with store.open_run(root, config, targets) as run:
        commit_all(run)
        return store.merge(run)


def hashes(root: Path) -> dict[str, str]:
    return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in MERGED}


def read_progress(root: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((root / store.PROGRESS).read_text().splitlines()))


def test_short_lists_are_cut_finer_unless_told() -> None:
    many = [Target(f"TIC {number}", "tess") for number in range(1, 1001)]
    shards = {n: cut_shards(many[:n], None).column("shard")[-1].as_py() + 1 for n in (5, 64, 200, 1000)}
    assert shards == {5: 1, 64: 8, 200: 8, 1000: 16}
    assert cut_shards(many[:64], 64).column("shard")[-1].as_py() == 0


def test_a_shard_holds_stars_that_were_observed_alike() -> None:
    mixed = [
        Target("KIC 9", "kepler"),
        Target("TIC 5", "tess", (2,)),
        Target("TIC 40", "tess", (1,)),
        Target("TIC 7", "tess", (1,)),
    ]
    manifest = cut_shards(mixed, 2)
    assert manifest.column("target_id").to_pylist() == ["KIC 9", "TIC 7", "TIC 40", "TIC 5"]
    assert manifest.column("shard").to_pylist() == [0, 0, 1, 1]
    assert cut_shards(mixed[::-1], 2).equals(manifest)


def test_no_target_and_doubled_targets_are_refused() -> None:
    with pytest.raises(UsageError, match="no targets"):
        cut_shards([], 4)
    with pytest.raises(UsageError, match="TIC 7"):
        cut_shards([Target("TIC 7", "tess", (1,)), Target("TIC 7", "tess", (2,))], 4)


def test_every_target_has_one_row_whatever_became_of_it(tmp_path: Path) -> None:
    targets = fakes.targets(40)
    result = sweep(tmp_path / "run", Config(), targets)
    rows = pq.read_table(tmp_path / "run" / store.TARGETS).to_pylist()
    assert [row["target_id"] for row in rows] == [target.target_id for target in targets]
    words = {3: "no_data", 7: "bad_file", 9: "failed", 11: "too_short"}
    assert [row["status"] for row in rows] == [words.get(k % 13, "ok") for k in range(1, 41)]
    assert all((row["error"] is None) == (row["status"] == "ok") for row in rows)
    assert result.complete
    assert result.counts["failed"] == result.failed == 3
    assert sum(result.counts.values()) == 40


def test_merged_tables_have_their_declared_schemas(tmp_path: Path) -> None:
    sweep(tmp_path / "run", Config(), fakes.targets(20))
    for name, kind in zip(MERGED, (schema.KEPT, schema.CANDIDATE, schema.FEATURES), strict=True):
        found = pq.read_schema(tmp_path / "run" / name)
        assert found.equals(kind), name
        assert [field.metadata for field in found] == [field.metadata for field in kind], name


def test_candidates_come_first_and_then_the_strongest(tmp_path: Path) -> None:
    sweep(tmp_path / "run", Config(), fakes.targets(40))
    rows = pq.read_table(tmp_path / "run" / store.CANDIDATES).to_pylist()
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    keys = [(not row["is_candidate"], -row["mes"]) for row in rows]
    assert keys == sorted(keys)
    assert {row["is_candidate"] for row in rows} == {True, False}
    assert all(row["observed"] == [int(row["target_id"].split()[1]) % 3] for row in rows)


def rank(rows: Sequence[dict[str, Any]]) -> list[str]:
    blank = dict.fromkeys(field.name for field in MATCHED)
    table = schema.rows_table([{**blank, "mission": "tess", **row} for row in rows], MATCHED)
    ranked = rank_candidates(table)
    assert ranked.column("rank").to_pylist() == list(range(1, len(rows) + 1))
    return ranked.column("target_id").to_pylist()


def test_signals_are_ranked_by_what_the_model_says_where_it_can() -> None:
    rows = [
        {"target_id": "no planet", "is_candidate": True, "mes": 500.0, "vetting_score": -6.0, "out_of_support": []},
        {"target_id": "not scored", "is_candidate": True, "mes": 9.0, "out_of_support": []},
        {"target_id": "planet", "is_candidate": True, "mes": 8.0, "vetting_score": 1.5, "out_of_support": []},
        {
            "target_id": "years",
            "is_candidate": True,
            "mes": 90.0,
            "vetting_score": -9.0,
            "out_of_support": ["vetting: period"],
        },
        {
            "target_id": "Kepler's",
            "is_candidate": True,
            "mes": 90.0,
            "vetting_score": 1.0,
            "out_of_support": ["vetting: mission"],
        },
        {"target_id": "fails", "is_candidate": False, "mes": 900.0, "vetting_score": 5.0, "out_of_support": []},
    ]
    expected = ["planet", "Kepler's", "years", "not scored", "no planet", "fails"]
    assert rank(rows) == rank(rows[::-1]) == expected
    without = [row | {"vetting_score": None, "out_of_support": None} for row in rows]
    assert rank(without) == ["no planet", "years", "Kepler's", "not scored", "planet", "fails"]


def test_a_run_keeps_to_the_models_that_it_began_with(tmp_path: Path) -> None:
    mine, root, targets = tmp_path / "mine", tmp_path / "run", fakes.targets(20)
    copy_shipped("triage", mine, task="vetting")
    config = load(overrides=[f"score.vetting={mine}"])
    with store.open_run(root, config, targets) as run:
        commit_all(run, [0])
        models = run.record["models"]
    written = hashlib.sha256((mine / "model.json").read_bytes()).hexdigest()
    assert models["vetting"] == {"model": str(mine), "id": written}
    copy_shipped("vetting", mine)
    with (
        pytest.raises(RunRefused, match=r"score\.vetting: model \w{10} -> \w{10}"),
        store.open_run(root, config, targets),
    ):
        pass
    with pytest.raises(RunRefused, match=r"score\.vetting: .* -> None"):
        store.plan(root, load(overrides=["score.vetting=none"]), targets)
    copy_shipped("triage", mine, task="vetting")
    with store.open_run(root, config, targets) as run:
        commit_all(run)
        assert store.merge(run).complete


def test_a_model_that_cannot_be_read_ends_a_sweep_before_it_begins(tmp_path: Path) -> None:
    mine, root = copy_shipped("vetting", tmp_path / "mine"), tmp_path / "run"
    (mine / "weights.safetensors").write_bytes(b"damaged")
    config = load(overrides=[f"score.vetting={mine}"])
    with pytest.raises(UsageError, match=r"score\.vetting: .*weights.safetensors: damaged"):
        store.plan(root, config, fakes.targets(3))
    with pytest.raises(UsageError, match="damaged"), store.open_run(root, config, fakes.targets(3)):
        pass
    assert not (root / store.RECORD).exists()


def test_scores_of_another_model_than_the_run_s_are_not_committed(tmp_path: Path) -> None:
    with store.open_run(tmp_path / "run", Config(), fakes.targets(4)) as run:
        rows = fakes.described(store.todo(run)[0], run.config)
        place = rows.schema.get_field_index("models")
        foreign = pa.array([[{"name": "vetting", "id": "another"}]] * len(rows), schema.MODELS_FIELD.type)
        with pytest.raises(SurveyError, match=r"score\.vetting: a worker read another model"):
            store.commit(run, 0, rows.set_column(place, schema.MODELS_FIELD, foreign))
        assert not run.parts


def test_a_run_of_another_schema_is_not_read(tmp_path: Path) -> None:
    sweep(tmp_path, Config(), fakes.targets(3))
    record = json.loads((tmp_path / store.RECORD).read_text())
    (tmp_path / store.RECORD).write_text(json.dumps(record | {"schema_version": 2}))
    with pytest.raises(RunRefused, match="its tables have schema 2"):
        store.load_run(tmp_path)


def test_features_are_the_views_of_the_candidates(tmp_path: Path) -> None:
    sweep(tmp_path / "run", Config(), fakes.targets(40))
    candidates = pq.read_table(tmp_path / "run" / store.CANDIDATES).to_pylist()
    features = pq.read_table(tmp_path / "run" / store.FEATURES).to_pylist()
    expected = {(row["target_id"], row["number"]) for row in candidates if row["is_candidate"]}
    assert {(row["target_id"], row["number"]) for row in features} == expected
    assert all(len(row["global_view"]) == 8 for row in features)


TOI = """toi,tid,tfopwg_disp,pl_tranmid,pl_orbper
1.01,2,PC,2459303.1,1.0
2.01,4,CP,2459303.1,7.7
"""


def write_tables(folder: Path, date: str, rows: str = TOI) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"nasa_toi_{date}.csv").write_text(rows)
    return folder


def read_novelty(root: Path) -> dict[tuple[str, int], tuple[str, str]]:
    rows = pq.read_table(root / store.CANDIDATES).to_pylist()
    return {(row["target_id"], row["number"]): (row["novelty"], row["known_name"]) for row in rows}


def test_signals_are_compared_with_the_tables_at_hand(tmp_path: Path) -> None:
    folder, root = write_tables(tmp_path / "tables", "2026-01-01"), tmp_path / "run"
    for name, size in (("run", 30), ("again", 7)):
        config = load(overrides=[f"run.shard_size={size}"])
        with store.open_run(tmp_path / name, config, fakes.targets(30), catalogs=folder) as run:
            commit_all(run)
            store.merge(run)
    assert hashes(tmp_path / "again") == hashes(root)
    novelty = read_novelty(root)
    assert novelty["TIC 2", 1] == ("known", "TOI-1.01"), "the fakes have no epoch to compare"
    assert novelty["TIC 4", 1] == ("known", "TOI-2.01")
    assert novelty["TIC 8", 1] == ("new", None)
    content = (folder / "nasa_toi_2026-01-01.csv").read_bytes()
    [table] = json.loads((root / store.RECORD).read_text())["catalogs"]
    assert table == {"name": "toi", "file": "nasa_toi_2026-01-01.csv", "sha256": hashlib.sha256(content).hexdigest()}


def test_without_tables_nothing_is_known(tmp_path: Path) -> None:
    sweep(tmp_path, Config(), fakes.targets(30))
    assert set(read_novelty(tmp_path).values()) == {(None, None)}
    assert json.loads((tmp_path / store.RECORD).read_text())["catalogs"] == []


def test_a_finished_run_is_compared_with_newer_tables(tmp_path: Path) -> None:
    folder, root = write_tables(tmp_path / "tables", "2026-01-01"), tmp_path / "run"
    sweep(root, Config(), fakes.targets(30))
    before = hashes(root)
    table = store.match_again(root, folder)
    after = hashes(root)
    assert {name for name in MERGED if after[name] != before[name]} == {store.CANDIDATES}
    assert table.equals(pq.read_table(root / store.CANDIDATES))
    assert read_novelty(root)["TIC 8", 1] == ("new", None)
    write_tables(folder, "2026-02-01", TOI + "3.01,8,PC,2459303.1,1.0\n")
    store.match_again(root, folder)
    assert read_novelty(root)["TIC 8", 1] == ("known", "TOI-3.01")
    assert json.loads((root / store.RECORD).read_text())["catalogs"][0]["file"] == "nasa_toi_2026-02-01.csv"
    store.match_again(root, write_tables(tmp_path / "old", "2026-01-01"))
    assert hashes(root) == after


def test_only_finished_runs_are_compared(tmp_path: Path) -> None:
    folder, root = write_tables(tmp_path / "tables", "2026-01-01"), tmp_path / "run"
    config = load(overrides=["run.shard_size=10"])
    with store.open_run(root, config, fakes.targets(30)) as run:
        commit_all(run, shards=[1])
        with pytest.raises(RunRefused):
            store.match_again(root, folder)
    with pytest.raises(UsageError, match="2 of 3 shards"):
        store.match_again(root, folder)


@pytest.mark.parametrize("shard_size", [1, 7, 64])
def test_merged_files_are_the_same_bytes_however_the_run_was_cut(
    tmp_path: Path, shard_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "GROUP_ROWS", 16)
    targets = [*fakes.targets(50), *fakes.targets(20, "kepler")]
    sweep(tmp_path / "one", Config(), targets)
    config = load(overrides=[f"run.shard_size={shard_size}"])
    with store.open_run(tmp_path / "two", config, targets) as run:
        commit_all(run, shards=range(0, run.n_shards, 2))
    with store.open_run(tmp_path / "two", config, targets[::-1]) as run:
        assert set(store.todo(run)) == set(range(1, run.n_shards, 2))
        commit_all(run)
        store.merge(run)
    assert hashes(tmp_path / "two") == hashes(tmp_path / "one")


def test_only_failed_fetches_are_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outage = tmp_path / "outage"
    outage.touch()
    monkeypatch.setenv(fakes.OUTAGE, str(outage))
    targets, root = fakes.targets(40), tmp_path / "run"
    config = load(overrides=["run.shard_size=10"])
    assert sweep(root, config, targets).counts["fetch_failed"] == 3
    outage.unlink()
    with store.open_run(root, config, targets) as run:
        assert {shard: table.column("target_id").to_pylist() for shard, table in store.todo(run).items()} == {
            0: ["TIC 5"],
            1: ["TIC 18"],
            3: ["TIC 31"],
        }
        commit_all(run)
        result = store.merge(run)
    assert "fetch_failed" not in result.counts
    assert (root / "searched" / "part-00003-v2.parquet").exists()
    sweep(tmp_path / "at once", config, targets)
    assert hashes(root) == hashes(tmp_path / "at once")
    with store.open_run(root, config, targets) as run:
        assert not store.todo(run)
        attempts = store.read_telemetry(run).to_pylist()
    assert [row["attempt"] for row in attempts if row["target_id"] == "TIC 31"] == [1, 2]


def test_a_lost_or_doubled_star_is_never_committed(tmp_path: Path) -> None:
    with store.open_run(tmp_path, Config(), fakes.targets(6)) as run:
        rows = fakes.described(run.shard(0), run.config)
        with pytest.raises(AssertionError, match="TIC 6"):
            store.commit(run, 0, rows.slice(0, 5))
        with pytest.raises(AssertionError, match="TIC 1"):
            store.commit(run, 0, rows.take([0, 0, 2, 3, 4, 5]))
        assert store.todo(run).keys() == {0}


@pytest.mark.parametrize(
    ("override", "words"),
    [("search.period_max=20", "search.period_max: None -> 20.0"), ("gate.mes=9", "gate.mes: 7.1 -> 9.0")],
)
def test_a_changed_configuration_is_refused_and_named(tmp_path: Path, override: str, words: str) -> None:
    sweep(tmp_path, Config(), fakes.targets(3))
    changed = load(overrides=[override])
    with pytest.raises(RunRefused, match=words), store.open_run(tmp_path, changed, fakes.targets(3)):
        pass
    with pytest.raises(RunRefused, match=words):
        store.plan(tmp_path, changed, fakes.targets(3))


def test_a_changed_science_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(tmp_path, Config(), fakes.targets(3))
    monkeypatch.setattr("survey.config.SCIENCE_VERSION", 99)
    with (
        pytest.raises(RunRefused, match=f"science_version: {SCIENCE_VERSION} -> 99"),
        store.open_run(tmp_path, Config(), fakes.targets(3)),
    ):
        pass


def test_a_changed_target_list_is_refused_and_named(tmp_path: Path) -> None:
    sweep(tmp_path, Config(), fakes.targets(3))
    other = [*fakes.targets(2), Target("TIC 77", "tess")]
    with (
        pytest.raises(RunRefused, match=r"1 added \(TIC 77 tess\), 1 missing \(TIC 3 tess\)"),
        store.open_run(tmp_path, Config(), other),
    ):
        pass


def test_how_a_run_is_scheduled_may_change(tmp_path: Path) -> None:
    sweep(tmp_path, Config(), fakes.targets(30))
    changed = load(overrides=["run.shard_size=3", "run.search_actors=1"])
    with store.open_run(tmp_path, changed, fakes.targets(30)) as run:
        assert run.n_shards == 4
        assert run.config.run.search_actors == 1
        assert not store.todo(run)


def test_the_engine_is_settled_once(tmp_path: Path) -> None:
    with store.open_run(tmp_path, load(engine="numpy"), fakes.targets(3)) as run:
        assert run.config.engine == "numpy"
    with store.open_run(tmp_path, load(), fakes.targets(3)) as run:
        assert run.config.engine == "numpy"
    with store.open_run(tmp_path / "new", load(), fakes.targets(3)) as run:
        assert run.config.engine != "auto"
        assert run.record["configuration"]["engine"] == run.config.engine


def test_the_record_says_what_was_done(tmp_path: Path) -> None:
    targets = [*fakes.targets(20), *fakes.targets(5, "k2")]
    with store.open_run(tmp_path, Config(), targets, source={"name": "fake"}, asked={"targets": "list.txt"}) as run:
        commit_all(run)
        store.merge(run)
    record = json.loads((tmp_path / store.RECORD).read_text())
    assert record["targets"] == 25
    assert record["missions"] == {"k2": 5, "tess": 20}
    assert record["science_hash"] == run.config.science_hash()
    assert record["input"] == {"targets": "list.txt"}
    assert record["sessions"][0]["source"] == {"name": "fake"}
    assert {"numpy", "pyarrow", "python"} <= record["versions"].keys()
    assert list(record["depth_retention"]["tess"]["depth_kept"]) == ["1 h", "2 h", "3 h", "6 h", "12 h", "24 h"]
    assert record["counts"]["targets"] == 25
    assert record["counts"]["tces"] == len(pq.read_table(tmp_path / store.CANDIDATES))


def test_progress_has_the_last_stage_and_status_of_every_target(tmp_path: Path) -> None:
    config = load(overrides=["run.shard_size=10"])
    with store.open_run(tmp_path, config, fakes.targets(30)) as run:
        for shard in (2, 0):
            store.append_progress(run, store.commit(run, shard, fakes.described(run.shard(shard), config)))
        lines = read_progress(tmp_path)
        assert [line["target_id"] for line in lines] == [f"TIC {k}" for k in (*range(21, 31), *range(1, 11))]
        commit_all(run)
        store.merge(run)
    lines = read_progress(tmp_path)
    assert tuple(lines[0]) == store.PROGRESS_COLUMNS
    assert [line["target_id"] for line in lines] == [f"TIC {k}" for k in range(1, 31)]
    assert (lines[0]["last_stage"], lines[0]["status"], lines[0]["best_period"]) == ("done", "ok", "1.000000")
    assert (lines[8]["last_stage"], lines[8]["status"]) == ("fetch", "failed")
    assert "ZeroDivisionError" in lines[8]["error"]


def test_telemetry_has_the_seconds_of_every_stage_and_the_traceback(tmp_path: Path) -> None:
    sweep(tmp_path, Config(), fakes.targets(12))
    rows = {row["target_id"]: row for row in store.read_telemetry(store.load_run(tmp_path)).to_pylist()}
    assert [entry["stage"] for entry in rows["TIC 1"]["trace"]] == ["fetch", "detrend", "search", "describe", "score"]
    assert all(entry["seconds"] >= 0 and entry["node"] for entry in rows["TIC 1"]["trace"])
    assert "defect at 9" in rows["TIC 9"]["trace"][-1]["traceback"]


def test_status_of_a_half_done_run(tmp_path: Path) -> None:
    config = load(overrides=["run.shard_size=10"])
    with store.open_run(tmp_path, config, fakes.targets(30)) as run:
        commit_all(run, shards=[1])
        with pytest.raises(UsageError, match="2 of 3 shards"):
            store.merge(run)
    result = store.status(store.load_run(tmp_path))
    assert (result.shards_done, result.shards, result.targets_done, result.targets) == (1, 3, 10, 30)
    assert not result.complete
    assert not result.merged


def peak_of_merge(root: Path, count: int) -> int:
    """Most bytes that Arrow had at once."""
    config = load(overrides=["run.shard_size=50"])
    with store.open_run(root, config, fakes.targets(count)) as run:
        commit_all(run)
        usual = pa.default_memory_pool()
        counted = pa.proxy_memory_pool(usual)
        pa.set_memory_pool(counted)
        try:
            store.merge(run)
        finally:
            pa.set_memory_pool(usual)
    peak: int = counted.max_memory()
    return peak


def test_a_merge_takes_no_more_memory_for_more_stars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "GROUP_ROWS", 100)
    monkeypatch.setattr(store, "FEATURE_GROUP_ROWS", 50)
    monkeypatch.setattr(merged, "SPOOL_ROWS", 50)
    monkeypatch.setattr(merged.read_ahead, "__defaults__", (2,))
    few, many = peak_of_merge(tmp_path / "few", 400), peak_of_merge(tmp_path / "many", 2000)
    assert pq.read_metadata(tmp_path / "many" / store.TARGETS).num_row_groups == 20
    assert many < 2 * few, "five times the stars; a little grows with the signals"


def test_a_plan_writes_nothing_and_knows_what_is_done(tmp_path: Path) -> None:
    config = load(overrides=["run.shard_size=10", "run.usd_per_hour=2"])
    plan = store.plan(tmp_path / "run", config, fakes.targets(30))
    assert (plan.targets, plan.targets_todo, plan.shards, plan.shards_done) == (30, 30, 3, 0)
    assert plan.gigabytes == pytest.approx(0.06)
    assert plan.core_hours == pytest.approx(30 * store.SECONDS_PER_STAR["tess"] / 3600)
    assert plan.cost_usd == pytest.approx(2 * plan.core_hours)
    assert plan.hours is None
    assert plan.fetch_hours == pytest.approx(30 / config.run.requests_per_s / 3600)
    assert not (tmp_path / "run").exists()
    with store.open_run(tmp_path / "run", config, fakes.targets(30)) as run:
        commit_all(run, shards=[1])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    plan = store.plan(tmp_path / "run", config, fakes.targets(30))
    assert (plan.targets_todo, plan.shards_done) == (20, 1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def _hold(root: str, ready: Any, leave: Any) -> None:
    with store.open_run(root, Config(), fakes.targets(3)):
        ready.set()
        leave.wait(60)


def test_of_two_processes_one_wins_and_the_other_says_so(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(tmp_path), ready, leave))
    other.start()
    assert ready.wait(60)
    with (
        pytest.raises(RunRefused, match=f"process {other.pid} on "),
        store.open_run(tmp_path, Config(), fakes.targets(3)),
    ):
        pass
    other.kill()
    other.join()
    with store.open_run(tmp_path, Config(), fakes.targets(3)) as run:
        assert run.n_shards == 1


def test_what_a_killed_process_left_half_written_is_swept_away(tmp_path: Path) -> None:
    sweep(tmp_path, Config(), fakes.targets(3))
    half = tmp_path / "searched" / ".part-00000.parquet.99.tmp"
    half.write_bytes(b"PAR1")
    with store.open_run(tmp_path, Config(), fakes.targets(3)):
        assert not half.exists()


def test_views_that_a_killed_process_left_are_not_taken_for_the_next_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TIC 44 has signals with views; when it is asked again it cannot be fetched."""
    targets, write_part = fakes.targets(1, first=44), store.Folder.write

    def die(folder: store.Folder, name: str, content: bytes) -> None:
        if name.startswith("searched/"):
            raise KeyboardInterrupt
        write_part(folder, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(store.Folder, "write", die)
        with pytest.raises(KeyboardInterrupt), store.open_run(tmp_path, Config(), targets) as run:
            commit_all(run)
    assert len(pq.read_table(tmp_path / "features" / "part-00000.parquet")) == 2
    outage = tmp_path / "outage"
    outage.touch()
    monkeypatch.setenv(fakes.OUTAGE, str(outage))
    assert sweep(tmp_path, Config(), targets).counts == {"fetch_failed": 1}
    assert len(pq.read_table(tmp_path / store.FEATURES)) == 0


def test_an_unwritable_run_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(UsageError, match=r"cannot write to .*file"),
        store.open_run(tmp_path / "file", Config(), fakes.targets(3)),
    ):
        pass


def test_a_full_disk_keeps_what_was_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(overrides=["run.shard_size=10"])
    with store.open_run(tmp_path, config, fakes.targets(30)) as run:
        commit_all(run, shards=[0])

        def fail(handle: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(folders.os, "fsync", fail)
        with pytest.raises(SurveyError, match=r"full.*run again"):
            commit_all(run)
        monkeypatch.undo()
        assert not list(tmp_path.rglob("*.tmp"))
    with store.open_run(tmp_path, config, fakes.targets(30)) as run:
        assert set(store.todo(run)) == {1, 2}


def test_there_is_no_run_where_nothing_was_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run in"):
        store.load_run(tmp_path)
    with pytest.raises(UsageError, match="cannot open"):
        store.load_run("nonsense://bucket/run")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of an empty bucket of a loopback object store."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    # The servers of one process share what they hold.
    for path, method in (("moto-api/reset", "POST"), ("survey", "PUT")):
        urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/{path}", method=method)).close()
    monkeypatch.setattr(folders, "SETTLE_S", 0.0)
    yield "s3://survey"
    server.stop()


def test_a_run_folder_may_be_an_object_store(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, root, targets = load(overrides=["run.shard_size=10"]), f"{bucket}/runs/one", fakes.targets(30)
    with store.open_run(root, config, targets) as run:
        commit_all(run, shards=[1])
    outage = tmp_path / "outage"
    outage.touch()
    monkeypatch.setenv(fakes.OUTAGE, str(outage))
    with store.open_run(root, config, targets) as run:
        assert set(store.todo(run)) == {0, 2}
        commit_all(run)
        assert store.merge(run).counts["fetch_failed"] == 1
    outage.unlink()
    with store.open_run(root, config, targets) as run:
        commit_all(run)
        store.merge(run)
        names = [run.folder.names(), run.folder.names("searched")]
        remote = {name: hashlib.sha256(run.folder.read(name)).hexdigest() for name in MERGED}
    assert names[0] == sorted([*MERGED, folders.LOCK, store.MANIFEST, store.PROGRESS, store.RECORD])
    assert names[1] == ["part-00000-v2.parquet", *(f"part-0000{k}.parquet" for k in range(3))]
    sweep(tmp_path / "here", config, targets)
    assert remote == hashes(tmp_path / "here")


def leave_lock(place: folders.Folder, pid: int = 7) -> bytes:
    lock = json.dumps({"pid": pid, "host": "elsewhere"}).encode()
    place.write(folders.LOCK, lock)
    return lock


def test_an_object_store_has_a_lock_too(bucket: str) -> None:
    place = folders.open_folder(f"{bucket}/run")
    with folders.locked(place):
        assert b"elsewhere" not in place.read(folders.LOCK).to_pybytes()
        with pytest.raises(RunRefused, match=f"process {os.getpid()}"), folders.locked(place):
            pass
    assert not place.exists(folders.LOCK)


def test_a_holder_elsewhere_is_refused_to_when_it_shows_itself(
    bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = folders.open_folder(f"{bucket}/run")
    leave_lock(place)
    # Times of the store are whole seconds.
    monkeypatch.setattr(folders.time, "sleep", lambda seconds: (wait(1.1), leave_lock(place)))
    with pytest.raises(RunRefused, match="process 7 on elsewhere"), folders.locked(place):
        pass
    assert "may be in use by process 7 on elsewhere" in caplog.text
    assert place.exists(folders.LOCK)


def test_the_lock_of_one_who_is_silent_is_taken(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folders.open_folder(f"{bucket}/run")
    leave_lock(place)
    monkeypatch.setattr(folders, "STALE_AFTER_S", 3.0)
    monkeypatch.setattr(folders, "LOOK_S", 0.1)
    with folders.locked(place):
        pass
    assert not place.exists(folders.LOCK)


def test_a_holder_renews_its_own_lock_and_no_other(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "RENEW_S", 0.05)
    place = folders.open_folder(f"{bucket}/run")
    with folders.locked(place):
        first = place.modified(folders.LOCK)
        deadline = time.monotonic() + 60
        while place.modified(folders.LOCK) == first and time.monotonic() < deadline:
            wait(0.1)
        assert place.modified(folders.LOCK) > first
        other = leave_lock(place)
        taken = place.modified(folders.LOCK)
        wait(2.2)
        assert (place.read(folders.LOCK).to_pybytes(), place.modified(folders.LOCK)) == (other, taken)
    assert place.read(folders.LOCK).to_pybytes() == other


def test_who_is_interrupted_while_it_takes_a_lock_leaves_none(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    place = folders.open_folder(f"{bucket}/run")
    monkeypatch.setattr(folders.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt), folders.locked(place):
        pass
    assert not place.exists(folders.LOCK)


def test_an_upload_is_never_interrupted(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes while a file is on its way: it is there as a whole, and the interruption is seen."""
    place = folders.open_folder(f"{bucket}/run")
    begun, copy = threading.Event(), shutil.copyfileobj

    def copy_slowly(*given: Any) -> None:
        begun.set()
        wait(0.5)
        copy(*given)

    monkeypatch.setattr(folders.shutil, "copyfileobj", copy_slowly)
    main = threading.main_thread().ident
    assert main is not None
    threading.Thread(target=lambda: (begun.wait(60), signal.pthread_kill(main, signal.SIGINT))).start()
    with pytest.raises(KeyboardInterrupt):
        place.write("file", b"whole" * 1000)
    assert place.read("file").to_pybytes() == b"whole" * 1000


def test_of_two_who_begin_at_once_on_an_object_store_the_last_has_it(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folders.open_folder(f"{bucket}/run")
    monkeypatch.setattr(folders.time, "sleep", lambda seconds: leave_lock(place))
    with pytest.raises(RunRefused, match="process 7 on elsewhere"), folders.locked(place):
        pass
    assert b"elsewhere" in place.read(folders.LOCK).to_pybytes()


def test_a_failed_upload_leaves_no_half_of_a_file(bucket: str) -> None:
    place = folders.open_folder(f"{bucket}/run")
    with pytest.raises(ZeroDivisionError), place.writing("file") as file:
        file.write(b"half" * (1 // 0))
    assert not place.exists("file")
