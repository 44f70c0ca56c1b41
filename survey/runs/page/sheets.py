"""The sheets of a run's signals: their stars are examined again, as the run recorded it, and drawn into report/sheets.

A star whose light curve cannot be had again, or whose signal the search does not find again, is told with the reason
and costs no other.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from survey import schema
from survey.config import Config
from survey.errors import StarError, UsageError
from survey.runs import store
from survey.runs.folder import open_folder
from survey.runs.sheet import Evidence, draw_thumbnail, gather_evidence, sheet_name, write_sheet
from survey.runs.stages import Row, examine, rows_of
from survey.runs.store import Run
from survey.stars.cache import open_cache
from survey.stars.pixels import LightCentre
from survey.stars.sources import Source, fetch_light_centres, open_source
from survey.stars.targets import Target

SHEETS: Final = "report/sheets"

SUFFIXES: Final = (".png", ".pdf", ".json")
"""Of the files that a sheet is kept in."""

THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

WORTH_PROCESSES: Final = 6
"""Stars to draw that make up for starting processes, some seconds each."""

AGAIN_DURATIONS: Final = 0.2
"""A signal that was found again begins within so many of its durations of where it was found before."""

Key = tuple[str, int]
"""Star and number of a signal."""


@dataclass(frozen=True)
class Drawn:
    """What became of the signals that were to be drawn. files: names in report/sheets; reasons: why there is none."""

    files: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    reasons: dict[Key, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Errand:
    """One star and its signals, rows of schema.CANDIDATE."""

    target: Target
    signals: tuple[Row, ...]


@dataclass(frozen=True)
class Desk:
    """Where the light curves come from, where the sheets go, and under which configuration."""

    root: str
    config: Config
    source: str
    cache: str | None


def draw_sheets(
    run: Run,
    signals: Sequence[Row],
    source: str,
    cache: str | None = None,
    *,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Drawn:
    """Writes the sheets of signals (rows of schema.CANDIDATE) into RUN/report/sheets.

    source: as for `open_source`; cache: folder of fetched light curves; workers: processes, by default one a core, and
    this one alone for a few stars; on_progress is told how many of the stars are done. Raises UsageError where the
    folder cannot be written.
    """
    desk = Desk(run.folder.root if not run.folder.local else run.folder.base, run.config, source, cache)
    open_source(source, run.config)
    errands = _errands(run, signals)
    drawn = Drawn()
    on_progress(0, len(errands))
    for done, part in enumerate(_draw_all(desk, errands, workers or _usual_workers(len(errands))), 1):
        drawn.files.update(part.files)
        drawn.reasons.update(part.reasons)
        on_progress(done, len(errands))
    return drawn


def _usual_workers(stars: int) -> int:
    return 1 if stars < WORTH_PROCESSES else os.cpu_count() or 1


def _errands(run: Run, signals: Sequence[Row]) -> list[Errand]:
    """Stars in the order of their best signals, each with the observations that were asked for."""
    stars: dict[str, list[Row]] = {}
    for signal in signals:
        stars.setdefault(signal["target_id"], []).append(signal)
    named = run.manifest.filter(pc.is_in(run.manifest.column("target_id"), pa.array(list(stars), pa.string())))
    targets = {
        row["target_id"]: Target(row["target_id"], row["mission"], tuple(row["observations"] or ()))
        for row in named.to_pylist()
    }
    return [Errand(targets[name], tuple(rows)) for name, rows in stars.items()]


def _draw_all(desk: Desk, errands: Sequence[Errand], workers: int) -> Iterator[Drawn]:
    """As they are done, in any order."""
    if min(len(errands), workers) < 2:
        for errand in errands:
            yield draw_star(desk, errand)
        return
    with _one_thread_each(), ProcessPoolExecutor(min(workers, len(errands)), get_context("spawn")) as pool:
        waiting = {pool.submit(draw_star, desk, errand): errand for errand in errands}
        try:
            for done in as_completed(waiting):
                yield _result(done, waiting[done])
        finally:
            pool.shutdown(cancel_futures=True)


def _result(done: "Future[Drawn]", errand: Errand) -> Drawn:
    try:
        return done.result()
    except BrokenProcessPool:
        return _told(errand.signals, "the process that drew it was killed: is there memory enough?")


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes begun inside the block keep to one thread: there is one for every core."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name in THREADS:
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def draw_star(desk: Desk, errand: Errand) -> Drawn:
    """The sheets of one star's signals, written; in a process of its own."""
    cache = None if desk.cache is None else open_cache(desk.cache, max_gb=desk.config.run.cache_gb)
    source = open_source(desk.source, desk.config, cache=cache)
    row = rows_of(examine(errand.target, desk.config, source))[0]
    if row["status"] != "ok":
        return _told(errand.signals, f"{row['status']}: {row['error']}")
    centres = _light_centres(errand.target, source, desk.config)
    drawn = Drawn()
    again = {tce["number"]: tce for tce in row["tces"]}
    for signal in errand.signals:
        key = (signal["target_id"], signal["number"])
        tce = again.get(signal["number"])
        if tce is None or not _is_same(signal, tce):
            drawn.reasons[key] = f"the search of {desk.source} does not find this signal again: have its files changed?"
            continue
        star = {**row, **{name: signal[name] for name in CLASSED}}
        evidence = gather_evidence(star, {**tce, **{name: signal[name] for name in SWEPT}}, desk.config, centres)
        drawn.files[key] = _write(desk, evidence, sheet_name(row, tce))
    return drawn


SWEPT: Final = ("rank", *(field.name for field in [*schema.VERDICT_FIELDS, *schema.MATCH_FIELDS]))
"""What the whole sweep has to say of a signal, for its sheet."""

CLASSED: Final = tuple(field.name for field in schema.CLASS_FIELDS)
"""The same of its star."""


def _light_centres(target: Target, source: Source, config: Config) -> list[LightCentre]:
    """For the background; a sheet is worth drawing without."""
    try:
        return fetch_light_centres(target, source, config)
    except StarError:
        return []


def _told(signals: Sequence[Row], reason: str) -> Drawn:
    return Drawn(reasons={(signal["target_id"], signal["number"]): reason for signal in signals})


def _is_same(before: Row, after: Row) -> bool:
    tolerance = AGAIN_DURATIONS * before["duration_h"] / 24.0
    if (before["period"] is None) != (after["period"] is None):
        return False
    near = abs(before["epoch"] - after["epoch"]) <= tolerance
    return near and (before["period"] is None or abs(before["period"] - after["period"]) <= tolerance)


def _write(desk: Desk, evidence: Evidence, name: str) -> tuple[str, ...]:
    """Drawn beside first: the run may be in an object store. Raises UsageError where the run cannot be written."""
    folder = open_folder(desk.root)
    with tempfile.TemporaryDirectory(prefix="survey-sheet-") as beside:
        files = write_sheet(evidence, Path(beside) / f"{name}.png")
        for file in files:
            folder.write(f"{SHEETS}/{file.name}", file.read_bytes())
    return tuple(file.name for file in files)


def existing_sheets(run: Run) -> set[str]:
    """Names, without suffix, of the sheets in report/sheets that are no older than the catalogue."""
    catalogue = run.folder.modified(store.CANDIDATES)
    names = [name for name in run.folder.names(SHEETS) if name.endswith(".png")]
    return {name.removesuffix(".png") for name in names if run.folder.modified(f"{SHEETS}/{name}") >= catalogue}


def without_sheet(run: Run, signals: Sequence[Row]) -> list[Row]:
    """Those still to be drawn: a report that was interrupted goes on where it was."""
    there = existing_sheets(run)
    return [signal for signal in signals if sheet_name(signal, signal) not in there]


def thumbnails(run: Run, signals: Sequence[Row]) -> dict[Key, bytes]:
    """PNG of the signals whose views the run keeps; asks no source."""
    if not signals or not run.folder.exists(store.FEATURES):
        return {}
    wanted = {(signal["target_id"], signal["number"]): signal for signal in signals}
    stars = pa.array(sorted({star for star, _ in wanted}), pa.string())
    file = pa.BufferReader(run.folder.read(store.FEATURES))
    table = pq.read_table(file, columns=list(VIEW_COLUMNS), filters=pc.field("target_id").isin(stars))
    found = {}
    for view in table.to_pylist():
        key = (view["target_id"], view["number"])
        if (
            key in wanted
            and key not in found
            and (drawn := draw_thumbnail({**wanted[key], "views": [view]}, wanted[key])) is not None
        ):
            found[key] = drawn
    return found


VIEW_COLUMNS: Final = ("target_id", "number", "spec", "local_view", "local_empty", "scale_ppm")


def signals_of(candidates: pa.Table, target_id: str) -> list[Row]:
    """All signals of one star. Raises UsageError where it has none."""
    rows: list[Row] = candidates.filter(pc.equal(candidates.column("target_id"), target_id)).to_pylist()
    if not rows:
        raise UsageError(f"{target_id} has no signal in this run: `survey plot` draws its light curve")
    return rows


def best_signals(candidates: pa.Table, most: int) -> list[Row]:
    """The first `most` candidates by rank."""
    passing = candidates.filter(candidates.column("is_candidate").fill_null(False))
    rows: list[Row] = passing.slice(0, most).to_pylist()
    return rows
