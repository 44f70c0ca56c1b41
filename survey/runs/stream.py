"""A sweep as a stream of shards through Ray Data, mapped over the very stages that `examine` folds.

One Ray Data row is one shard: its number and its table as Arrow IPC. So nothing depends on how Ray cuts blocks, and the
shard is the unit of the stream, of a retry and of the commit. Fetching and computing are operators of their own; this
process takes the finished shards and commits them, so that a shard without a file is a shard to do again and nothing
is written after the driver has gone.
"""

import contextlib
import logging
import os
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
import ray.data
import ray.util.client
from ray.data.context import DataContext
from ray.data.exceptions import ExecutionTimeoutError, SystemException
from ray.exceptions import RayError

from survey import schema
from survey.config import Config
from survey.errors import SurveyError, UsageError
from survey.interruption import handlers_kept
from survey.runs import limits, store
from survey.runs.meters import Meters
from survey.runs.stages import STAGES, Stage, Step
from survey.runs.store import Run, RunStatus
from survey.stars.cache import open_cache
from survey.stars.sources import Source, open_source

SHARD = pa.schema([pa.field("shard", pa.int32()), pa.field("payload", pa.large_binary())])

LOGICAL_CPUS = 8
"""Of a local Ray, at least: Ray Data takes whole CPUs for its own small tasks and stalls where there are only two."""

THREADS_S = 6.0
"""Longest wait for the threads of a stream that was interrupted."""

_REASON = re.compile(r"(?!ray\.)[\w.]*(Error|Exception): ")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
KEPT_MEMORY = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
WORKER_ENVIRONMENT = dict.fromkeys(THREADS, "1") | dict.fromkeys(KEPT_MEMORY, str(64 * 2**20))
"""Of the workers: one thread each, as the stars are spread over processes; and memory kept from star to star, since
taking it from the system again costs a fifth of the search."""


@dataclass(frozen=True)
class Progress:
    """shards and stars: done of those that this sweep had to do; seconds: since it began."""

    shards: int
    shards_total: int
    stars: int
    stars_total: int
    seconds: float
    counts: dict[str, int]

    @property
    def stars_per_hour(self) -> float:
        return 3600.0 * self.stars / self.seconds if self.seconds > 0 else 0.0

    @property
    def remaining_s(self) -> float | None:
        """Estimated time to the end; None before the first shard."""
        return self.seconds * (self.stars_total - self.stars) / self.stars if self.stars else None


def sweep(
    run: Run,
    source: str,
    *,
    cache: str | None = None,
    address: str = "local",
    stages: Sequence[Stage] = STAGES,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> RunStatus:
    """Does what is missing of an open run, commits it shard by shard and merges the catalogue.

    source: as for `open_source`; cache: folder of fetched light curves; address: `local` for a Ray of its own, `auto`
    or ray://host:port for a cluster. An interruption at any moment loses no committed shard.
    Raises SurveyError where the disk is full or the stream fails.
    """
    missing = store.todo(run)
    if missing:
        with started(run.config, address) as dashboard:
            store.note_dashboard(run, dashboard)
            _stream(run, missing, Feed(source, cache, stages, address != "local"), on_progress)
    return store.merge(run)


@contextlib.contextmanager
def started(config: Config, address: str = "local") -> Iterator[str | None]:
    """Ray for the length of the block; one that runs in this process already is used and left running.

    Gives the place of its dashboard, where it has one.
    """
    if ray.is_initialized():
        yield None
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's core would tell the terminal about every actor that it could not restart if its arguments were lost.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    common: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "runtime_env": {"env_vars": WORKER_ENVIRONMENT},
    }
    if address == "local":
        common |= {
            "num_cpus": max(LOGICAL_CPUS, 2 * (os.cpu_count() or 1)),
            "object_store_memory": config.run.object_store_mb << 20,
            "include_dashboard": False,
        }
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        with _without_core_note(), handlers_kept():
            context = ray.init(address=address, **common)
    except ConnectionError as error:
        raise UsageError(f"no Ray cluster at {address}: {error}") from error
    try:
        yield context.dashboard_url
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _without_core_note() -> Iterator[None]:
    """Passes on what is said on stderr, but for the line in which Ray's core tells that it was asked to be quiet."""
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            said.seek(0)
            os.write(2, b"".join(line for line in said if b"RAY_BACKEND_LOG_LEVEL" not in line))


@dataclass(frozen=True)
class Feed:
    """What the stream is made of. source: as for `open_source`; cache: folder of fetched light curves; shared: whether
    its Ray is a cluster's, whose object stores are its own affair, and not one of `run.object_store_mb`."""

    source: str
    cache: str | None
    stages: Sequence[Stage]
    shared: bool = False


def _stream(run: Run, missing: dict[int, pa.Table], feed: Feed, on_progress: Callable[[Progress], None]) -> None:
    account = Account(run, missing, on_progress)
    iterate = _iterate_afar if ray.util.client.ray.is_connected() else _iterate
    stream = iterate(missing, run.config, feed)

    def commit(batch: pa.Table) -> None:
        account.add(store.commit(run, *unpack(batch)))

    with (
        _explained(),
        _threads_ended(),
        contextlib.closing(stream) as shards,
        contextlib.closing(store.commit_each(commit, shards)) as committed,
    ):
        done = sum(1 for _ in committed)
    if done != len(missing):
        raise SurveyError(f"the stream ended after {done} of {len(missing)} shards; run again to go on")


class Account:
    """Tells of every commit when it is there, whichever thread made it: in progress.csv, to Prometheus and to the
    user."""

    def __init__(self, run: Run, missing: dict[int, pa.Table], on_progress: Callable[[Progress], None]) -> None:
        self._run, self._on_progress = run, on_progress
        self._begin = time.monotonic()
        self._shards, self._stars = len(missing), sum(len(table) for table in missing.values())
        self._done, self._counts = 0, Counter[str]()
        self._one_at_a_time = threading.Lock()
        self._meters = Meters(run.folder.root)
        self._meters.set_backlog(self._shards, self._stars, None)
        on_progress(self._progress())

    def add(self, telemetry: pa.Table) -> None:
        with self._one_at_a_time:
            store.append_progress(self._run, telemetry)
            self._done += 1
            self._counts.update(telemetry.column("status").to_pylist())
            progress = self._progress()
            self._meters.count(telemetry)
            self._meters.set_backlog(self._shards - self._done, self._stars - progress.stars, progress.remaining_s)
            self._on_progress(progress)

    def _progress(self) -> Progress:
        seconds = time.monotonic() - self._begin if self._done else 0.0
        return Progress(self._done, self._shards, sum(self._counts.values()), self._stars, seconds, dict(self._counts))


def _iterate(missing: dict[int, pa.Table], config: Config, feed: Feed) -> Generator[pa.Table, None, None]:
    """The finished shards, as they come."""
    asks_network = feed.source == "mast" or "://" in feed.source
    with limits.kept(config) if asks_network else contextlib.nullcontext() as keeper:
        dataset = build(missing, config, feed, keeper)
        yield from dataset.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0)


class Afar:
    """The stream inside the cluster, for a driver that is only its client: Ray Data does not run through ray://."""

    def __init__(self, *arguments: Any) -> None:
        self.shards = _iterate(*arguments)

    def take(self) -> pa.Table | None:
        return next(self.shards, None)


def _iterate_afar(*arguments: Any) -> Generator[pa.Table, None, None]:
    afar = ray.remote(num_cpus=0)(Afar).remote(*arguments)
    while (batch := ray.get(afar.take.remote())) is not None:
        yield batch


@contextlib.contextmanager
def _threads_ended() -> Iterator[None]:
    """Gives the threads of an interrupted stream time to end, so that none of them meets a Ray that is shut down.

    Ray ends the process at once, with exit code 1, when one does.
    """
    before = set(threading.enumerate())
    try:
        yield
    except BaseException:  # an interruption above all; it goes on afterwards
        deadline = time.monotonic() + THREADS_S
        for thread in set(threading.enumerate()) - before:
            thread.join(max(0.0, deadline - time.monotonic()))
        raise


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turns Ray's pages into the one line that names the reason."""
    try:
        yield
    except (RayError, ExecutionTimeoutError, SystemException) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        named = [line for line in lines if _REASON.match(line)]
        reason = (named or lines)[-1 if named else 0]
        raise SurveyError(f"the stream failed: {reason}. What was committed is safe; run again to go on") from error


def build(missing: dict[int, pa.Table], config: Config, feed: Feed, keeper: str | None = None) -> ray.data.Dataset:
    """The lazy stream: a row a shard in, a row a shard out, without the long series.

    keeper: name of the actor that keeps the limits of what is asked of an archive; None where none is asked.
    Every operator has resources of its own, so that Ray does not fuse a fetch into a search.
    """
    _configure(config, feed.shared)
    items = [{"shard": shard, "payload": schema.pack(table)} for shard, table in missing.items()]
    dataset = ray.data.from_items(items, override_num_blocks=len(items))
    groups = group_stages(feed.stages, config, len(items))
    for k, (group, resources) in enumerate(groups):
        dataset = dataset.map_batches(
            Worker,
            fn_constructor_args=(
                [stage.make for stage in group],
                config,
                (feed.source, feed.cache, keeper) if any(stage.asks for stage in group) else None,
                k == len(groups) - 1,
            ),
            batch_size=1,
            batch_format="pyarrow",
            udf_modifying_row_count=False,
            **resources,
        )
    return dataset


def group_stages(
    stages: Sequence[Stage], config: Config, n_shards: int
) -> list[tuple[Sequence[Stage], dict[str, Any]]]:
    """Which stages share an actor, and what it takes.

    Without a GPU all but fetching lives with the search, which spares processes and copies of the light curves; with
    one nothing else may hold the GPU up.
    """
    fetchers, searchers = min(config.run.fetch_actors, n_shards), min(config.run.search_actors, n_shards)
    fetch = (stages[:1], {"num_cpus": 0.5, "concurrency": fetchers})
    gpus = config.run.gpus_per_search
    if not gpus:
        return [fetch, (stages[1:], {"num_cpus": 1, "concurrency": searchers})]
    detrend = (stages[1:2], {"num_cpus": 1, "concurrency": searchers})
    search = (stages[2:3], {"num_cpus": 0.25, "num_gpus": gpus, "concurrency": searchers})
    return [fetch, detrend, search, (stages[3:], {"num_cpus": 0.75, "concurrency": searchers})]


def _configure(config: Config, shared: bool) -> None:
    """Ray Data's settings; they are captured when a dataset is made."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = 0
    context.execution_no_progress_timeout_s = config.run.stall_s
    limit = None if shared else 0.5 * (config.run.object_store_mb << 20)
    limits = context.execution_options.resource_limits
    context.execution_options.resource_limits = limits.copy(object_store_memory=limit)


class Worker:
    """An actor's steps on the payload of one shard. opened: source, cache and keeper of limits, for those that ask."""

    def __init__(
        self,
        makers: Sequence[Callable[[Config, Source | None], Step]],
        config: Config,
        opened: tuple[str, str | None, str | None] | None,
        last: bool,
    ) -> None:
        source = None
        if opened is not None:
            text, cache, keeper = opened
            source = open_source(
                text,
                config,
                cache=None if cache is None else open_cache(cache, max_gb=config.run.cache_gb),
                limiter=None if keeper is None else limits.join(keeper, config),
            )
        self.steps = [make(config, source) for make in makers]
        self.last = last

    def __call__(self, batch: pa.Table) -> pa.Table:
        shard, table = unpack(batch)
        for step in self.steps:
            table = step(table)
        if self.last:
            table = table.drop_columns([name for name in schema.SERIES_COLUMNS if name in table.column_names])
        return pa.Table.from_pydict({"shard": [shard], "payload": [schema.pack(table)]}, schema=SHARD)


def unpack(batch: pa.Table) -> tuple[int, pa.Table]:
    """Number and table of the shard in a batch of one row."""
    payload = batch.column("payload")[0].as_buffer()
    return batch.column("shard")[0].as_py(), schema.unpack(payload)
