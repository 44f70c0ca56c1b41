"""What a report tells, read from the run folder: the tables, and what follows from them in words and counts."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from survey.config import Config
from survey.learning.shelf import describe_known
from survey.runs import exports, store
from survey.runs.store import Run, RunStatus
from survey.stars.targets import MISSIONS

CLASSED: Final = ["target_id", "star_class"]

STAR_COLUMNS: Final = ("target_id", "mission", "status", "error", "notes", "star_class", "n_cadences")


@dataclass(frozen=True)
class Facts:
    """candidates: schema.CANDIDATE; targets: STAR_COLUMNS of every star; telemetry: every attempt."""

    run: Run
    status: RunStatus
    candidates: pa.Table
    targets: pa.Table
    telemetry: pa.Table

    @property
    def name(self) -> str:
        return self.run.folder.root.rstrip("/").rpartition("/")[2] or self.run.folder.root


def read_facts(run: Run) -> Facts:
    """Raises UsageError where the run has not come to its catalogue yet."""
    candidates = exports.read_candidates(run)
    file = pq.ParquetFile(pa.BufferReader(run.folder.read(store.TARGETS)))
    targets = file.read([name for name in STAR_COLUMNS if name in file.schema_arrow.names])
    return Facts(run, store.status(run), candidates, targets, store.read_telemetry(run))


def count(values: pa.ChunkedArray) -> list[tuple[Any, int]]:
    """(value, how often), the most frequent first."""
    return sorted(Counter(values.to_pylist()).items(), key=lambda pair: (-pair[1], str(pair[0])))


def count_classes(facts: Facts) -> list[tuple[str | None, int]]:
    """(class, searched stars of it), the most frequent first; None: nothing stands out.

    A star with signals has the class that the whole sweep leaves it, which the candidates say.
    """
    searched = facts.targets.filter(pc.equal(facts.targets.column("status"), "ok"))
    classes = {row["target_id"]: row["star_class"] for row in searched.select(CLASSED).to_pylist()}
    classes |= {row["target_id"]: row["star_class"] for row in facts.candidates.select(CLASSED).to_pylist()}
    return count(pa.chunked_array([pa.array(classes.values(), pa.string())]))


@dataclass(frozen=True)
class UsedModel:
    """A model that scored the run. base_rate: of its training, None where the model is not at hand or says none."""

    name: str
    id: str
    meaning: str
    base_rate: float | None


def used_models(candidates: pa.Table) -> list[UsedModel]:
    """The models that the signals were scored by; none of a run of before there were scores."""
    if "models" not in candidates.column_names:
        return []
    used = {(model["name"], model["id"]) for found in candidates.column("models").to_pylist() for model in found or ()}
    known = describe_known([id_ for _, id_ in used])
    return [
        UsedModel(name, id_, said.meaning if said else "", said.base_rate if said else None)
        for name, id_ in sorted(used)
        for said in [known.get(id_)]
    ]


def count_flags(candidates: pa.Table) -> list[tuple[str, int]]:
    """(flag, signals that have it), the most frequent first."""
    flags = Counter(flag for value in candidates.column("flags").to_pylist() for flag in value or ())
    return sorted(flags.items(), key=lambda pair: (-pair[1], pair[0]))


# What ran


def settings(config: Config) -> list[tuple[str, str, str | None]]:
    """(dotted name, value, default where it differs) of the whole configuration."""
    usual = dict(_flat(Config().model_dump(mode="json")))
    return [
        (name, _value_words(value), None if usual.get(name) == value else _value_words(usual.get(name)))
        for name, value in _flat(config.model_dump(mode="json"))
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _value_words(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def asked_words(record: Mapping[str, Any]) -> str:
    """Which stars were asked for."""
    asked = record["input"]
    parts = []
    if asked.get("targets"):
        parts.append("standard input" if asked["targets"] == "-" else f"the list {asked['targets']}")
    if asked.get("observations"):
        word = MISSIONS[asked.get("mission") or "tess"].observation
        parts.append(f"{word} {', '.join(map(str, asked['observations']))}")
    elif asked.get("mission"):
        parts.append(f"stars of {asked['mission']}")
    if asked.get("limit"):
        parts.append(f"the first {asked['limit']:,}")
    return ", ".join(parts) or "every star of the source"


def source_of(record: Mapping[str, Any]) -> str | None:
    """The source that the run was last started with, as `open_source` takes it."""
    for session in reversed(record["sessions"]):
        if session.get("source", {}).get("source"):
            return str(session["source"]["source"])
    return None


# How it went in time


@dataclass(frozen=True)
class Timeline:
    """Working time without the pauses between sessions.

    seconds: of every commit, ascending; stars: done by then, shape (n,); breaks: seconds at which a session began.
    """

    seconds: NDArray[np.float64]
    stars: NDArray[np.float64]
    breaks: tuple[float, ...]


def timeline(record: Mapping[str, Any], telemetry: pa.Table) -> Timeline | None:
    """From when each session began and when its shards were committed; None where nothing was."""
    done = Counter(telemetry.column("updated_at").to_pylist())
    commits = sorted((datetime.fromisoformat(text), stars) for text, stars in done.items())
    searched = [session for session in record["sessions"] if "rescored" not in session]
    starts = sorted(datetime.fromisoformat(session["started_at"]) for session in searched)
    seconds: list[float] = []
    breaks: list[float] = []
    worked = 0.0
    for k, begin in enumerate(starts):
        end = starts[k + 1] if k + 1 < len(starts) else None
        own = [at for at, _ in commits if (at >= begin or k == 0) and (end is None or at < end)]
        if own:
            breaks.append(worked)
            seconds += [worked + max((at - begin).total_seconds(), 0.0) for at in own]
            worked = seconds[-1]
    if not seconds:
        return None
    return Timeline(np.array(seconds), np.cumsum([float(stars) for _, stars in commits]), tuple(breaks[1:]))


@dataclass(frozen=True)
class StageTime:
    """Seconds that stars spent in a stage."""

    stage: str
    stars: int
    mean: float
    median: float
    slow: float
    total: float
    share: float


def stage_times(telemetry: pa.Table) -> list[StageTime]:
    """In the order of the stages; slow: the 95th percentile; share: of the time of all stages."""
    spent: dict[str, list[float]] = {}
    for trace in telemetry.column("trace").to_pylist():
        for entry in trace or ():
            spent.setdefault(entry["stage"], []).append(entry["seconds"])
    whole = sum(map(sum, spent.values())) or 1.0
    return [
        StageTime(
            stage,
            len(seconds),
            float(np.mean(seconds)),
            float(np.median(seconds)),
            float(np.percentile(seconds, 95)),
            sum(seconds),
            sum(seconds) / whole,
        )
        for stage, seconds in spent.items()
    ]


def n_nodes(telemetry: pa.Table) -> int:
    return len({entry["node"] for trace in telemetry.column("trace").to_pylist() for entry in trace or ()})


# What failed


@dataclass(frozen=True)
class Reason:
    """Stars that have no result for one reason. words: what varies between their errors is an ellipsis."""

    status: str
    words: str
    targets: tuple[str, ...]
    traceback: str | None = None


STATUS_ORDER: Final = ("failed", "fetch_failed", "bad_file", "too_short", "no_data")
"""The gravest first."""

_VARIES: Final = re.compile(r"(?<![A-Za-z_])[\d.,:+-]*\d[\d.,:+-]*(?![A-Za-z_])|\S*[/_]\S*\d\S*|\S*\d\S*\.\w+:?")
"""Numbers, paths and names of files in an error."""


def reasons(targets: pa.Table, telemetry: pa.Table) -> list[Reason]:
    """Stars without a result by status and reason, the gravest status and the most frequent reason first."""
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in targets.select(["target_id", "status", "error"]).to_pylist():
        if row["status"] != "ok":
            error = _without_star(row["error"] or row["status"], row["target_id"])
            groups.setdefault((row["status"], _VARIES.sub("…", error)), []).append((row["target_id"], error))
    tracebacks = _tracebacks(telemetry)
    found = []
    for (status, general), stars in groups.items():
        words = stars[0][1] if len({error for _, error in stars}) == 1 else general
        ids = tuple(star for star, _ in stars)
        found.append(Reason(status, words, ids, next((tracebacks[star] for star in ids if star in tracebacks), None)))
    order = {status: k for k, status in enumerate(STATUS_ORDER)}
    return sorted(found, key=lambda one: (order.get(one.status, 0), -len(one.targets), one.words))


def remarks(targets: pa.Table) -> list[Reason]:
    """Stars that were searched, by what was left out of their light curves or guessed."""
    groups: dict[str, list[str]] = {}
    for row in targets.select(["target_id", "notes"]).to_pylist():
        for note in row["notes"] or ():
            stars = groups.setdefault(_VARIES.sub("…", _without_star(note, row["target_id"])), [])
            if stars[-1:] != [row["target_id"]]:
                stars.append(row["target_id"])
    found = [Reason("ok", words, tuple(stars)) for words, stars in groups.items()]
    return sorted(found, key=lambda one: (-len(one.targets), one.words))


def _without_star(error: str, target_id: str) -> str:
    return " ".join(error.replace(f"{target_id}: ", "").replace(target_id, "the star").split())


def _tracebacks(telemetry: pa.Table) -> dict[str, str]:
    return {
        row["target_id"]: entry["traceback"]
        for row in telemetry.select(["target_id", "trace"]).to_pylist()
        for entry in row["trace"] or ()
        if entry["traceback"]
    }


# When the signals dim

FEW_TRANSITS: Final = 10
"""Signals with more transits than this say little about one night."""

EVENTS: Final = 4 * FEW_TRANSITS
"""Of one signal at most; more are predicted than seen where its data have long holes."""


def event_times(candidates: pa.Table, mission: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Times (d since the mission's time zero) at which signals of at most FEW_TRANSITS dim, and whether each passed.

    From the epoch on, one every period as long as the star's data last.
    """
    names = ("mission", "epoch", "period", "baseline_d", "n_transits", "is_candidate")
    times: list[NDArray[np.float64]] = [np.empty(0)]
    passed: list[NDArray[np.bool_]] = [np.empty(0, bool)]
    for row in candidates.select(names).to_pylist():
        if row["mission"] != mission or row["epoch"] is None or (row["n_transits"] or 0) > FEW_TRANSITS:
            continue
        own = np.array([row["epoch"]])
        if row["period"] and row["baseline_d"]:
            last = row["baseline_d"] / row["period"]
            own = row["epoch"] + row["period"] * np.arange(min(max(1.0, np.ceil(last)), EVENTS))
        times.append(own)
        passed.append(np.full(len(times[-1]), bool(row["is_candidate"])))
    return np.concatenate(times), np.concatenate(passed)


def numbers(candidates: pa.Table, name: str) -> NDArray[np.float64]:
    """A column as floats; NaN where it is null."""
    values: NDArray[np.float64] = candidates.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values


def is_candidate(candidates: pa.Table) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = candidates.column("is_candidate").fill_null(False).to_numpy(zero_copy_only=False)
    return found.astype(bool)
