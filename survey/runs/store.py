"""The run folder: what was asked, what is done, and the catalogue it becomes.

    run.json                       configuration, hashes, versions, input, counts, depth kept by the detrender
    manifest.parquet               every target and its shard, ordered by what was observed
    searched/part-00000.parquet    one committed shard; part-00000-v2.parquet is its second version, and so on
    features/part-00000.parquet    the views of its candidates, where it has any
    telemetry/part-00000.parquet   all that may differ between equal runs
    progress.csv                   last stage and status of every target
    targets.parquet, candidates.parquet, features.parquet    the merged catalogue

A shard is committed when its file in searched/ exists; it is written last and in one step. The merged files follow from
the input, the configuration and the code alone: the same bytes however the run was cut, killed or spread.
"""

import contextlib
import csv
import importlib.metadata
import io
import json
import os
import platform
import re
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from survey import schema
from survey.config import Config, differences
from survey.errors import RunRefused, SurveyError, UsageError
from survey.runs.candidates import RANKED_BY, collect_signals, rank_order, with_ranks
from survey.runs.crossmatch import FOUND, READ, judge_signals, with_verdicts
from survey.runs.folder import Folder, locked, open_folder
from survey.runs.manifest import count_shards, cut_shards, explain_targets, hash_targets
from survey.runs.merged import Spool, as_done, read_ahead, write_merged
from survey.runs.proposals import load_proposal
from survey.runs.scores import flat_features, load_models
from survey.runs.stages import choose_window
from survey.signals.detrend import depth_retention
from survey.signals.search import resolve_engine
from survey.stars import catalogs
from survey.stars.targets import Target, make_target

RECORD = "run.json"
MANIFEST = "manifest.parquet"
TARGETS = "targets.parquet"
CANDIDATES = "candidates.parquet"
FEATURES = "features.parquet"
PROGRESS = "progress.csv"
PROGRESS_COLUMNS = ("target_id", "last_stage", "status", "best_period", "updated_at", "error")

PACKAGES = ("transit-survey", "astropy", "jax", "numba", "numpy", "polars", "pyarrow", "ray", "scipy")

COMMITS_AT_ONCE = 8
COMMIT_S = 0.05
"""A commit to a disk is waited for so long, which is more than it takes; to an object store several are under way."""

Key = TypeVar("Key")
Done = TypeVar("Done")

GROUP_ROWS = 16_384
"""Rows of a row group in the merged files."""

FEATURE_GROUP_ROWS = 1024
"""The same of features, whose rows are large."""

NOMINAL = {"tess": (27.4, 120.0), "kepler": (1460.0, 1765.5), "k2": (80.0, 1765.5)}
"""Baseline (d) and cadence (s) for which a run records the depth that its detrending keeps, by mission."""

RETENTION_DAYS = 120.0
"""Time over which the dips for this record are injected, at least."""

RETENTION_HOURS = (1.0, 2.0, 3.0, 6.0, 12.0, 24.0)

FILE_MB = {"tess": 2.0, "kepler": 0.5, "k2": 0.4}
"""Typical size of one light-curve file; of TESS at two minutes: those of full-frame images have 0.06 to 0.4."""

SECONDS_PER_STAR = {"tess": 0.07, "kepler": 5.0, "k2": 0.3}
"""Time of one core for a star: of a TESS sector at two minutes (BENCHMARKS.md), else an order of magnitude."""

_PART = re.compile(r"part-(\d{5,})(?:-v(\d+))?\.parquet")


@dataclass(frozen=True)
class Part:
    """The latest commit of a shard."""

    version: int
    statuses: Mapping[str, int]
    committed_at: datetime

    @property
    def pending(self) -> int:
        """Stars of it that were not asked for yet."""
        return self.statuses.get(schema.PENDING, 0)


@dataclass(frozen=True)
class Run:
    """An open run folder.

    parts: the latest commit of every committed shard; grows with `commit`. catalogs: folder of the tables that signals
    are compared with when the catalogue is written; None: with none.
    """

    folder: Folder
    config: Config
    record: dict[str, Any]
    manifest: pa.Table
    parts: dict[int, Part] = field(default_factory=dict)
    catalogs: Path | None = None

    @property
    def n_shards(self) -> int:
        return count_shards(self.manifest)

    def shard(self, number: int) -> pa.Table:
        """Its targets, as rows of schema.TARGET, in order."""
        first, last = np.searchsorted(self.manifest.column("shard").to_numpy(), [number, number + 1])
        return self.manifest.slice(first, last - first).select(schema.TARGET.names).cast(schema.TARGET)


@dataclass(frozen=True)
class RunStatus:
    targets: int
    targets_done: int
    shards: int
    shards_done: int
    counts: dict[str, int]
    stars_per_hour: float | None
    merged: bool

    @property
    def complete(self) -> bool:
        return self.shards_done == self.shards

    @property
    def failed(self) -> int:
        """Stars that got no answer though they should have: `failed` and `fetch_failed`."""
        return self.counts.get("failed", 0) + self.counts.get("fetch_failed", 0)


@dataclass(frozen=True)
class Plan:
    """What a sweep would do.

    gigabytes, core_hours (of one core): by what a star of its mission usually takes; cost_usd: of those at
    `run.usd_per_hour`; hours: to the end at the rate of the run's latest session, None before it has one;
    fetch_hours: the least that `run.requests_per_s` allows, one request a file.
    """

    targets: int
    targets_todo: int
    shards: int
    shards_done: int
    gigabytes: float
    core_hours: float
    cost_usd: float
    hours: float | None
    fetch_hours: float


def plan(root: str | os.PathLike[str], config: Config, targets: Sequence[Target]) -> Plan:
    """What a sweep of these targets into this folder would do; writes nothing and asks no archive.

    Raises RunRefused where the folder holds another run, UsageError where a model is missing or damaged.
    """
    folder = open_folder(root)
    manifest = cut_shards(targets, config.run.shard_size)
    record_models(config)
    parts: dict[int, Part] = {}
    rate = None
    if folder.exists(RECORD):
        run = load_run(root)
        _refuse_changes(run, as_recorded(config, run.record), manifest)
        manifest, parts, rate = run.manifest, run.parts, status(run).stars_per_hour
    return _reckon(manifest, parts, rate, config)


def plan_unlisted(mission: str, observations: Sequence[int], stars: int, config: Config) -> Plan:
    """What a new sweep of so many stars would do, whose names nobody has asked for."""
    targets = [make_target(mission, number, observations) for number in range(1, stars + 1)]
    return _reckon(cut_shards(targets, config.run.shard_size), {}, None, config)


def _reckon(manifest: pa.Table, parts: Mapping[int, Part], rate: float | None, config: Config) -> Plan:
    todo = manifest.filter(pc.is_in(manifest.column("shard"), pa.array(_unfinished(manifest, parts), pa.int32())))
    files = pc.max_element_wise(pc.list_value_length(todo.column("observations")), 1)
    counts = pa.table({"mission": todo.column("mission"), "files": files}).group_by("mission")
    totals = counts.aggregate([("files", "sum"), ("files", "count")]).to_pylist()
    seconds = sum(SECONDS_PER_STAR[row["mission"]] * row["files_count"] for row in totals)
    shards = count_shards(manifest)
    done = shards - len(_unfinished(manifest, parts))
    return Plan(
        targets=len(manifest),
        targets_todo=len(todo),
        shards=shards,
        shards_done=done,
        gigabytes=sum(FILE_MB[row["mission"]] * row["files_sum"] for row in totals) / 1000.0,
        core_hours=seconds / 3600.0,
        cost_usd=seconds / 3600.0 * config.run.usd_per_hour,
        hours=len(todo) / rate if rate else None,
        fetch_hours=sum(row["files_sum"] for row in totals) / config.run.requests_per_s / 3600.0,
    )


@contextlib.contextmanager
def open_run(
    root: str | os.PathLike[str],
    config: Config,
    targets: Sequence[Target],
    *,
    source: Mapping[str, Any] | None = None,
    asked: Mapping[str, Any] | None = None,
    catalogs: Path | None = None,
) -> Iterator[Run]:
    """Creates the run, or opens it again to go on, and holds its lock for the length of the block.

    source: `Source.describe()`; asked: what the user gave (target list, sector, ...), for the record; catalogs: as in
    `Run`. `engine = "auto"` is settled here, once for the whole run. Raises RunRefused where another process has the
    folder or where it holds a run of another configuration, target list or science version; UsageError where it cannot
    be written.
    """
    folder = open_folder(root)
    with locked(folder):
        if folder.exists(RECORD):
            run = load_run(root)
            if "rescoring" in run.record:
                raise RunRefused(half_rescored(run))
            resolved = as_recorded(config, run.record)
            _refuse_changes(run, resolved, cut_shards(targets, config.run.shard_size))
            run = replace(run, config=resolved, catalogs=catalogs)
        else:
            run = replace(_create(folder, config, targets, dict(asked or {})), catalogs=catalogs)
        del targets
        run.record["sessions"].append({"host": platform.node(), "source": dict(source or {})})
        start_clock(run)
        write_record(run)
        if run.parts and folder.local:
            write_progress(run)
        yield run


def load_run(root: str | os.PathLike[str]) -> Run:
    """An existing run, to look at. Raises UsageError where there is none."""
    folder = open_folder(root)
    if not folder.exists(RECORD) or not folder.exists(MANIFEST):
        raise UsageError(f"no run in {folder.root}: start one with `survey sweep --out {folder.root}`")
    record = json.loads(folder.read(RECORD).to_pybytes())
    try:
        config = Config.model_validate(record["configuration"])
    except ValueError as error:
        raise RunRefused(f"{folder.root} was made by another version of the survey: {error}") from None
    if record["schema_version"] != schema.SCHEMA_VERSION:
        raise RunRefused(
            f"{folder.root} was made by another version of the survey: its tables have schema "
            f"{record['schema_version']}, this one's {schema.SCHEMA_VERSION}; sweep again into another --out"
        )
    manifest = pq.read_table(pa.BufferReader(folder.read(MANIFEST)), schema=schema.MANIFEST)
    return Run(folder, config, record, manifest, _read_parts(folder))


def _create(folder: Folder, config: Config, targets: Sequence[Target], asked: dict[str, Any]) -> Run:
    engine = resolve_engine(config.engine, has_gpu=config.run.gpus_per_search > 0)
    config = config.model_copy(update={"engine": engine})
    models = record_models(config)
    manifest = cut_shards(targets, config.run.shard_size)
    missions = Counter(manifest.column("mission").to_pylist())
    record = {
        "created_at": now(),
        "schema_version": schema.SCHEMA_VERSION,
        "science_version": config.science()["science_version"],
        "science_hash": config.science_hash(),
        "configuration": config.model_dump(mode="json"),
        "models": models,
        "versions": versions(),
        "input": asked,
        "targets": len(manifest),
        "targets_hash": hash_targets(manifest),
        "missions": dict(sorted(missions.items())),
        "depth_retention": {mission: _retention(mission, config) for mission in sorted(missions)},
        "sessions": [],
    }
    run = Run(folder, config, record, manifest)
    folder.write(MANIFEST, _parquet(manifest))
    return run


def record_models(config: Config) -> dict[str, dict[str, str]]:
    """Name and id of every model that scores, and of the one that proposes what is searched. Raises UsageError where
    one is missing or damaged."""
    found = {
        model.name: {"model": getattr(config.score, model.name), "id": model.id} for model in load_models(config.score)
    }
    if config.search.proposal is not None:
        found["proposal"] = {"model": config.search.proposal, "id": load_proposal(config.search.proposal).id}
    return found


def versions() -> dict[str, str]:
    """Versions of what the numbers come from."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _retention(mission: str, config: Config) -> dict[str, Any]:
    """Share of a transit's depth that the detrending keeps, by duration, at the mission's cadence and baseline."""
    baseline, cadence = NOMINAL[mission]
    window = choose_window({"baseline_d": baseline, "cadence_s": cadence, "radius": None, "logg": None}, config)
    times = np.arange(0.0, max(baseline, RETENTION_DAYS), cadence / 86_400.0)
    kept = depth_retention(times, config.detrend, RETENTION_HOURS, window)
    return {
        "cadence_s": cadence,
        "window_d": round(window, 6),
        "depth_kept": {
            f"{hours:g} h": round(float(share), 4) if np.isfinite(share) else None
            for hours, share in zip(RETENTION_HOURS, kept, strict=True)
        },
    }


def as_recorded(config: Config, record: Mapping[str, Any]) -> Config:
    """The configuration with the engine that the run began with, where it says `auto`."""
    if config.engine != "auto":
        return config
    return config.model_copy(update={"engine": record["configuration"]["engine"]})


def _refuse_changes(run: Run, config: Config, manifest: pa.Table) -> None:
    changes = science_changes(run, config)
    if hash_targets(manifest) != run.record["targets_hash"]:
        changes.append(explain_targets(run.manifest, manifest))
    if changes:
        listed = "; ".join(changes)
        raise RunRefused(
            f"{run.folder.root} holds another run: {listed}. Choose another --out, or run as before to go on"
        )


def science_changes(run: Run, config: Config) -> list[str]:
    """`key: old -> new` for all that decides a number and is not as it was in the run."""
    before = run.config.science() | {"science_version": run.record["science_version"]}
    return differences(before, config.science()) + model_changes(run.record, config)


def half_rescored(run: Run) -> str:
    """What to say of a run whose rescoring was interrupted."""
    root = run.folder.root
    return f"{root} was being rescored, and that was interrupted: `survey rescore {root}` with the same --set ends it"


def model_changes(record: Mapping[str, Any], config: Config) -> list[str]:
    """`score.NAME: model OLD -> NEW` for every model that is another one under the same name."""
    before = {name: model["id"] for name, model in record["models"].items()}
    after = {name: model["id"] for name, model in record_models(config).items()}
    return [
        f"score.{name}: model {before[name][:10]} -> {after[name][:10]}"
        for name in before.keys() & after.keys()
        if before[name] != after[name]
    ]


def write_record(run: Run) -> None:
    run.folder.write(RECORD, json.dumps(run.record, indent=1).encode() + b"\n")


def start_clock(run: Run) -> None:
    """The rate of this session counts from now on; `write_record` keeps it."""
    run.record["sessions"][-1] |= {"started_at": now(), "done_before": _count_settled(run)}


def note_dashboard(run: Run, dashboard: str | None) -> None:
    """Says where the Ray of this session shows itself."""
    if dashboard and run.record["sessions"]:
        run.record["sessions"][-1]["dashboard"] = dashboard
        write_record(run)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


# Shards


def part_name(table: str, shard: int, version: int) -> str:
    suffix = f"-v{version}" if version > 1 else ""
    return f"{table}/part-{shard:05d}{suffix}.parquet"


def _part_versions(folder: Folder, table: str) -> list[tuple[int, int]]:
    """(shard, version) of every file of a table, in order."""
    matches = filter(None, map(_PART.fullmatch, folder.names(table)))
    return sorted((int(match.group(1)), int(match.group(2) or 1)) for match in matches)


def refresh(run: Run) -> None:
    """Takes in what another process has committed since."""
    run.record.update(json.loads(run.folder.read(RECORD).to_pybytes()))
    run.parts.update(_read_parts(run.folder, run.parts))


def _read_parts(folder: Folder, known: Mapping[int, Part] = MappingProxyType({})) -> dict[int, Part]:
    """The latest commits, but for those that are known."""
    latest = dict(_part_versions(folder, "searched"))
    latest = {k: version for k, version in latest.items() if k not in known or known[k].version != version}

    def read(shard: int) -> Part:
        table = _read(folder, "searched", shard, latest[shard], columns=["status"])
        committed_at = folder.modified(part_name("searched", shard, latest[shard]))
        return Part(latest[shard], Counter(table.column("status").to_pylist()), committed_at)

    with ThreadPoolExecutor(8) as pool:
        return dict(zip(latest, pool.map(read, latest), strict=True))


def _read(folder: Folder, table: str, shard: int, version: int, columns: Sequence[str] | None = None) -> pa.Table:
    return pq.read_table(pa.BufferReader(folder.read(part_name(table, shard, version))), columns=columns)


def _count_stars(run: Run) -> int:
    """Stars that were asked for."""
    return sum(sum(part.statuses.values()) - part.pending for part in run.parts.values())


def _count_settled(run: Run) -> int:
    """Those that are not asked for again."""
    again = (sum(part.statuses.get(word, 0) for word in schema.RETRIED_STATUSES) for part in run.parts.values())
    return sum(sum(part.statuses.values()) for part in run.parts.values()) - sum(again)


def _count_done(run: Run) -> int:
    return sum(not part.pending for part in run.parts.values())


def _unfinished(manifest: pa.Table, parts: Mapping[int, Part]) -> list[int]:
    return [
        shard
        for shard in range(count_shards(manifest))
        if shard not in parts or any(parts[shard].statuses.get(word) for word in schema.RETRIED_STATUSES)
    ]


def todo(run: Run) -> dict[int, pa.Table]:
    """Targets still to be done, by shard: whole shards without a commit, and of the others what is asked again."""
    return {shard: _missing(run, shard) for shard in _unfinished(run.manifest, run.parts)}


def _missing(run: Run, shard: int) -> pa.Table:
    targets = run.shard(shard)
    if shard not in run.parts:
        return targets
    done = _read(run.folder, "searched", shard, run.parts[shard].version, columns=["status"])
    return targets.filter(pc.is_in(done.column("status"), pa.array(schema.RETRIED_STATUSES)))


def commit(run: Run, shard: int, rows: pa.Table) -> pa.Table:
    """Commits the described rows of a shard (of its missing targets, where it was committed before).

    Raises AssertionError where a target is lost or doubled, SurveyError where the disk is full. Returns the telemetry.
    """
    version = run.parts[shard].version + 1 if shard in run.parts else 1
    schema.check_rows(rows, _missing(run, shard).column("target_id").to_pylist())
    kept, features = (
        rows.select(schema.KEPT.names).cast(schema.KEPT),
        flat_features(rows.column("views"), rows.column("target_id")),
    )
    telemetry = _telemetry(rows, shard, version)
    if version > 1:
        kept = _overlay(_read(run.folder, "searched", shard, version - 1), kept)
        features = _overlay_features(_read_features(run, shard), features, kept)
    schema.check_rows(kept, run.shard(shard).column("target_id").to_pylist())
    _check_models(run, kept)
    run.folder.write(part_name("telemetry", shard, version), _parquet(telemetry))
    write_shard(run, shard, kept, features)
    return telemetry


def commit_each(commit: Callable[[Key], Done], shards: Iterable[Key]) -> Generator[Done, None, None]:
    """Commits shards as they come and gives what `commit` gives, `as_done`. To be closed before the run is."""
    return as_done(commit, shards, COMMITS_AT_ONCE, COMMIT_S)


def commit_copies(run: Run, shard: int, copied: pa.Table, features: pa.Table) -> None:
    """Commits rows of an older run, of some targets of a shard without a commit; the others are pending.

    copied: rows of schema.KEPT with their trace; features: those of its signals.
    """
    targets = run.shard(shard)
    pending = [{**target, "status": schema.PENDING} for target in targets.to_pylist()]
    kept = _overlay(schema.rows_table(pending, schema.KEPT), copied.select(schema.KEPT.names).cast(schema.KEPT))
    schema.check_rows(kept, targets.column("target_id").to_pylist())
    run.folder.write(part_name("telemetry", shard, 1), _parquet(_telemetry(copied, shard, 1)))
    write_shard(run, shard, kept, _overlay_features(schema.FEATURES.empty_table(), features, kept))


def write_shard(run: Run, shard: int, kept: pa.Table, features: pa.Table) -> None:
    """The next version of a shard: it counts when the last of its files is there."""
    version = run.parts[shard].version + 1 if shard in run.parts else 1
    name = part_name("features", shard, version)
    # A session that died before its commit may have left some, of stars that cannot be fetched now.
    if len(features) or run.folder.exists(name):
        run.folder.write(name, _parquet(features))
    run.folder.write(part_name("searched", shard, version), _parquet(kept))
    run.parts[shard] = Part(version, Counter(kept.column("status").to_pylist()), datetime.now(UTC))


def read_shard(run: Run, shard: int, version: int) -> tuple[pa.Table, pa.Table]:
    """Rows of schema.KEPT, and of schema.FEATURES, of one version of a shard."""
    kept = _read(run.folder, "searched", shard, version).cast(schema.KEPT)
    return kept, _read_features(run, shard, version)


def _check_models(run: Run, kept: pa.Table) -> None:
    """Raises SurveyError where a worker has other models under the same names."""
    known = {(name, model["id"]) for name, model in run.record["models"].items()}
    used = {(one["name"], one["id"]) for models in kept.column("models").to_pylist() for one in models or ()}
    if used - known:
        name = min(used - known)[0]
        raise SurveyError(f"score.{name}: a worker read another model there than the one that the run began with")


def _overlay(before: pa.Table, after: pa.Table) -> pa.Table:
    """`before` with the rows of the targets in `after` replaced, in the order of before."""
    both = pa.concat_tables([before.cast(schema.KEPT), after])
    place = {name: k for k, name in enumerate(both.column("target_id").to_pylist())}
    return both.take([place[name] for name in before.column("target_id").to_pylist()]).combine_chunks()


def _overlay_features(before: pa.Table, after: pa.Table, kept: pa.Table) -> pa.Table:
    both = pa.concat_tables([before, after])
    order = {name: k for k, name in enumerate(kept.column("target_id").to_pylist())}
    keys = list(zip(both.column("target_id").to_pylist(), both.column("number").to_pylist(), strict=True))
    places = sorted(range(len(keys)), key=lambda k: (order[keys[k][0]], keys[k][1]))
    return both.take(pa.array(places, pa.int64())).combine_chunks()


def _read_features(run: Run, shard: int, version: int | None = None) -> pa.Table:
    name = part_name("features", shard, version or run.parts[shard].version)
    if not run.folder.exists(name):
        return schema.FEATURES.empty_table()
    return pq.read_table(pa.BufferReader(run.folder.read(name))).cast(schema.FEATURES)


def _telemetry(rows: pa.Table, shard: int, version: int) -> pa.Table:
    updated_at = now()
    entries = []
    for row in rows.select(["target_id", "status", "error", "tces", "trace"]).to_pylist():
        trace, tces = row["trace"] or [], row["tces"] or []
        best = max(tces, key=lambda tce: tce["mes"] or 0.0, default=None)
        entries.append(
            {
                "target_id": row["target_id"],
                "shard": shard,
                "attempt": version,
                "last_stage": "done" if row["status"] == "ok" else trace[-1]["stage"] if trace else "fetch",
                "status": row["status"],
                "error": row["error"],
                "best_period": best["period"] if best else None,
                "updated_at": updated_at,
                "trace": trace,
            }
        )
    return schema.rows_table(entries, schema.TELEMETRY)


def read_telemetry(run: Run) -> pa.Table:
    """Telemetry of every commit, in order of shard and version."""
    tables = read_ahead(lambda part: _read(run.folder, "telemetry", *part), _part_versions(run.folder, "telemetry"))
    return pa.concat_tables([schema.TELEMETRY.empty_table(), *(table.cast(schema.TELEMETRY) for table in tables)])


def read_shards_telemetry(run: Run, shards: Collection[int]) -> Iterator[tuple[int, pa.Table]]:
    """Telemetry of some shards, shard by shard: the last attempt at each of their targets, in the order of the
    run."""
    versions: dict[int, list[tuple[int, int]]] = {shard: [] for shard in shards}
    for shard, version in _part_versions(run.folder, "telemetry"):
        if shard in versions:
            versions[shard].append((shard, version))

    def read(shard: int) -> pa.Table:
        tables = [_read(run.folder, "telemetry", *part).cast(schema.TELEMETRY) for part in versions[shard]]
        return pa.concat_tables([schema.TELEMETRY.empty_table(), *tables])

    for shard, table in zip(versions, read_ahead(read, versions), strict=True):
        last = {name: k for k, name in enumerate(table.column("target_id").to_pylist())}
        names = run.shard(shard).column("target_id").to_pylist()
        yield shard, table.take(pa.array([last[name] for name in names if name in last], pa.int64()))


# The progress table (S0.22)


def progress_lines(telemetry: pa.Table) -> str:
    """Lines of progress.csv, without its header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in telemetry.select(PROGRESS_COLUMNS).to_pylist():
        period = "" if row["best_period"] is None else f"{row['best_period']:.6f}"
        error = " ".join((row["error"] or "").split())
        writer.writerow([row["target_id"], row["last_stage"], row["status"], period, row["updated_at"], error])
    return text.getvalue()


def write_progress(run: Run) -> None:
    """progress.csv anew from the telemetry: one line a target, its last attempt."""
    with run.folder.writing(PROGRESS) as file:
        file.write((",".join(PROGRESS_COLUMNS) + "\n").encode())
        for _, telemetry in read_shards_telemetry(run, range(run.n_shards)):
            file.write(progress_lines(telemetry).encode())


def append_progress(run: Run, telemetry: pa.Table) -> None:
    """Adds lines while the run goes on; on an object store the table is written at the end only."""
    if not run.folder.local:
        return
    path = Path(run.folder.path(PROGRESS))
    with run.folder.explained(), path.open("a", encoding="utf-8") as file:
        if file.tell() == 0:
            file.write(",".join(PROGRESS_COLUMNS) + "\n")
        file.write(progress_lines(telemetry))


def status(run: Run) -> RunStatus:
    """How far a run is. stars_per_hour: since the latest start that committed anything."""
    counts: Counter[str] = Counter()
    for part in run.parts.values():
        counts.update(part.statuses)
    return RunStatus(
        targets=len(run.manifest),
        targets_done=_count_stars(run),
        shards=run.n_shards,
        shards_done=_count_done(run),
        counts={word: counts[word] for word in schema.STATUSES if counts[word]},
        stars_per_hour=_rate(run),
        merged=all(run.folder.exists(name) for name in (TARGETS, FEATURES, CANDIDATES)),
    )


def _rate(run: Run) -> float | None:
    """Stars that were settled in an hour of the latest session."""
    session, shards, seconds = _latest_session(run)
    if "done_before" in session:
        stars = _count_settled(run) - session["done_before"]
    else:
        stars = sum(sum(run.parts[shard].statuses.values()) for shard in shards)
    return 3600.0 * stars / seconds if stars > 0 and seconds else None


def latest_session(run: Run) -> tuple[list[int], float]:
    """The shards committed since the latest start that committed any, and the seconds from that start to the last of
    them; nothing where that cannot be told."""
    return _latest_session(run)[1:]


def _latest_session(run: Run) -> tuple[dict[str, Any], list[int], float]:
    for session in reversed(run.record["sessions"]):
        if "rescored" in session:
            break  # The files of the shards are younger than their search.
        begin = datetime.fromisoformat(session["started_at"])
        since = {shard: part.committed_at for shard, part in run.parts.items() if part.committed_at >= begin}
        seconds = max(((moment - begin).total_seconds() for moment in since.values()), default=0.0)
        if seconds > 0:
            return session, sorted(since), seconds
    return {}, [], 0.0


# The catalogue


def merge(run: Run) -> RunStatus:
    """Writes targets, candidates and features of a complete run. Raises UsageError where shards are missing."""
    refuse_unfinished(run)
    with Spool(FOUND) as found:
        _write_merged(run, TARGETS, schema.KEPT, _collecting(run, found))
        there = set(run.folder.names("features"))
        views = [name for name in _latest_names(run, "features") if name.partition("/")[2] in there]
        _write_merged(run, FEATURES, schema.FEATURES, _decoded(run, views, schema.FEATURES), FEATURE_GROUP_ROWS)
        _write_candidates(run, found)
    write_progress(run)
    return status(run)


def match_again(root: str | os.PathLike[str], folder: Path) -> pa.Table:
    """Writes the candidates of a complete run anew, compared with the tables in a folder, and returns them.

    Nothing is searched again. Raises UsageError where there is no run or shards are missing, RunRefused where another
    process has it.
    """
    with locked(open_folder(root)):
        run = replace(load_run(root), catalogs=folder)
        refuse_unfinished(run)
        with Spool(FOUND) as found:
            for _ in _collecting(run, found):
                pass
            _write_candidates(run, found)
        return pq.read_table(pa.BufferReader(run.folder.read(CANDIDATES))).cast(schema.CANDIDATE)


def refuse_unfinished(run: Run) -> None:
    missing = run.n_shards - _count_done(run)
    if missing:
        raise UsageError(f"{run.folder.root}: {missing} of {run.n_shards} shards are not done yet; run the sweep again")


def _collecting(run: Run, found: Spool) -> Iterator[pa.Table]:
    """The rows of every shard in order; their signals go to `found`."""
    for table in _decoded(run, _latest_names(run, "searched"), schema.KEPT):
        found.add(collect_signals(table))
        yield table


def _latest_names(run: Run, table: str) -> list[str]:
    """Of the files of the latest commits, shard by shard; of features not all are there."""
    return [part_name(table, shard, run.parts[shard].version) for shard in range(run.n_shards)]


def _decoded(run: Run, names: Sequence[str], kind: pa.Schema) -> Iterator[pa.Table]:
    """The tables in these files, which are asked for ahead. They are decoded here and in one thread, as Arrow keeps for
    every thread that decodes what was freed again."""
    for data in read_ahead(run.folder.read, names):
        yield pq.read_table(pa.BufferReader(data), use_threads=False).cast(kind)


def _write_candidates(run: Run, found: Spool) -> None:
    """Matches the signals of the whole run with one another and with the catalogues, and writes them ranked.

    Only what signals are compared by is held in memory. The record says which tables they were compared with.
    """
    tables = {} if run.catalogs is None else catalogs.signal_tables(run.catalogs)
    listed = catalogs.signals_table(run.catalogs) if tables else None
    verdicts = judge_signals(found.columns(READ), listed, run.config)
    ranked_by = found.columns(RANKED_BY)
    places = rank_order(ranked_by.append_column("is_candidate", verdicts.column("is_candidate")))

    def ranked() -> Iterator[pa.Table]:
        first = 0
        for signals in found.take(places, GROUP_ROWS):
            matched = with_verdicts(signals, verdicts.take(places[first : first + len(signals)]))
            yield with_ranks(matched, first + 1)
            first += len(signals)

    _write_merged(run, CANDIDATES, schema.CANDIDATE, ranked())
    reached = status(run)
    run.record["catalogs"] = catalogs.describe_tables(tables)
    run.record["counts"] = {
        "targets": reached.targets,
        **reached.counts,
        "tces": len(verdicts),
        "candidates": pc.sum(verdicts.column("is_candidate"), min_count=0).as_py(),
    }
    write_record(run)


def _write_merged(run: Run, name: str, kind: pa.Schema, tables: Iterable[pa.Table], rows: int | None = None) -> None:
    write_merged(run.folder, name, kind, tables, rows or GROUP_ROWS)


def _parquet(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    writer: Callable[..., None] = pq.write_table
    writer(table, sink, row_group_size=max(1, len(table)), **schema.PARQUET)
    return sink.getvalue()
