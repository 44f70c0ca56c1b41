"""How far a run is while it goes on: read from its folder, by any process, without a lock and without Ray.

`Watch.look` reads only what was committed since the last look. What it finds is shown by `survey status`, and written
in Prometheus' words by `exposition`; the process that sweeps tells Ray the same (`runs.meters`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import pyarrow as pa

from survey.runs import store
from survey.runs.folder import find_holder
from survey.runs.stages import STAGES
from survey.runs.store import RunStatus

KEPT_FAILURES = 100
"""Failed stars of a shard that are kept with their words."""

FETCH_FAULTS: Final = (
    (re.compile(r"answered nobody|left alone"), "down"),
    (re.compile(r"the server answers (\d+)"), "http {}"),
    (re.compile(r"(?i)timed? ?out|still sending"), "timeout"),
    (re.compile(r"(?i)only \d+ of \d+ bytes|cut off|incomplete"), "truncated"),
    (re.compile(r"damaged on the way"), "damaged"),
    (re.compile(r"web page|lists nothing|broken list"), "no file"),
    (re.compile(r"(?i)connect|reset|refused|no route|unreachable|resolve|network"), "connection"),
)
"""What a failed fetch says, and the class that it belongs to; the first that fits."""

_EXCEPTION = re.compile(r"[A-Za-z_]\w*(?=: |$)")


class Fault(NamedTuple):
    """Of one class of failures. kind: of failed fetches and defects, else empty."""

    status: str
    stage: str
    kind: str


@dataclass(frozen=True)
class Failure:
    target_id: str
    fault: Fault
    error: str
    moment: str


@dataclass
class Pace:
    """Of one stage: how many stars came to it, and the seconds that they took there together."""

    stars: int = 0
    seconds: float = 0.0

    @property
    def seconds_per_star(self) -> float:
        return self.seconds / self.stars if self.stars else 0.0


@dataclass(frozen=True)
class Tally:
    """What the telemetry of some stars comes to. paces: by stage, in the order of the stages."""

    paces: dict[str, Pace] = field(default_factory=dict)
    faults: Counter[Fault] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True)
class Standing:
    """A run at one moment.

    recent: of the latest session that committed anything, which took pace_s; about: what decides the numbers; holder:
    who works on it; dashboard: of the Ray cluster of the latest session.
    """

    root: str
    reached: RunStatus
    total: Tally
    recent: Tally
    pace_s: float
    about: str
    holder: str | None
    dashboard: str | None
    last_commit: datetime | None

    @property
    def backlog(self) -> int:
        """Stars still to be done."""
        return self.reached.targets - self.reached.targets_done

    @property
    def remaining_s(self) -> float | None:
        rate = self.reached.stars_per_hour
        return 3600.0 * self.backlog / rate if rate and self.backlog else None

    @property
    def throughput(self) -> dict[str, float]:
        """Stars a second through every stage, in the latest session."""
        return {stage: pace.stars / self.pace_s for stage, pace in self.recent.paces.items()} if self.pace_s else {}


class Watch:
    """A run folder that is looked at again and again."""

    def __init__(self, root: str) -> None:
        """Raises UsageError where there is no run."""
        self.run = store.load_run(root)
        self._tallies: dict[int, tuple[int, Tally]] = {}

    def look(self) -> Standing:
        store.refresh(self.run)
        parts = self.run.parts
        fresh = [shard for shard, part in parts.items() if self._tallies.get(shard, (0,))[0] != part.version]
        for shard, telemetry in store.read_shards_telemetry(self.run, fresh):
            self._tallies[shard] = (parts[shard].version, tally(telemetry))
        shards, seconds = store.latest_session(self.run)
        record = self.run.record
        session = (record["sessions"] or [{}])[-1]
        science = f"science {record['science_hash'][:10]}, begun {record['created_at']}"
        return Standing(
            root=self.run.folder.root,
            reached=store.status(self.run),
            total=add_tallies(own for _, own in self._tallies.values()),
            recent=add_tallies(self._tallies[shard][1] for shard in shards),
            pace_s=seconds,
            about=f"engine {self.run.config.engine}, {science}",
            holder=find_holder(self.run.folder),
            dashboard=session.get("dashboard"),
            last_commit=max((part.committed_at for part in parts.values()), default=None),
        )


def tally(telemetry: pa.Table) -> Tally:
    """Of rows of schema.TELEMETRY, one a star."""
    paces: dict[str, Pace] = {}
    faults: Counter[Fault] = Counter()
    failures: list[Failure] = []
    columns = ["target_id", "last_stage", "status", "error", "updated_at", "trace"]
    for row in telemetry.select(columns).to_pylist():
        for entry in row["trace"] or ():
            pace = paces.setdefault(entry["stage"], Pace())
            pace.stars += 1
            pace.seconds += entry["seconds"]
        if row["status"] != "ok":
            fault = fault_of(row)
            faults[fault] += 1
            failures.append(Failure(row["target_id"], fault, row["error"] or "", row["updated_at"]))
    return Tally(_in_order(paces), faults, failures[-KEPT_FAILURES:])


def fault_of(row: Mapping[str, Any]) -> Fault:
    """Which class of failures a row of schema.TELEMETRY belongs to."""
    error = row["error"] or ""
    if row["status"] == "fetch_failed":
        found = ((pattern.search(error), name) for pattern, name in FETCH_FAULTS)
        kind = next((name.format(*match.groups()) for match, name in found if match), "other")
    else:
        match = _EXCEPTION.match(error) if row["status"] == "failed" else None
        kind = match.group() if match else ""
    return Fault(row["status"], row["last_stage"], kind)


def add_tallies(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for one in tallies:
        for stage, pace in one.paces.items():
            sum_ = total.paces.setdefault(stage, Pace())
            sum_.stars += pace.stars
            sum_.seconds += pace.seconds
        total.faults.update(one.faults)
        total.failures.extend(one.failures)
    total.failures.sort(key=lambda failure: failure.moment)
    return Tally(_in_order(total.paces), total.faults, total.failures)


def _in_order(paces: Mapping[str, Pace]) -> dict[str, Pace]:
    names = [stage.name for stage in STAGES]
    return {name: paces[name] for name in sorted(paces, key=lambda name: names.index(name) if name in names else 99)}


# Prometheus

Sample = tuple[Mapping[str, str], float]


def exposition(standing: Standing) -> str:
    """A run in Prometheus' text format, for the textfile collector of its node exporter.

    All are gauges, the counts too: a star whose fetch failed may be done the next time.
    """
    lines: list[str] = []
    for name, about, samples in _metrics(standing):
        lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge"]
        for labels, value in samples:
            told = ",".join(f'{key}="{_escape(text)}"' for key, text in {"run": standing.root, **labels}.items())
            lines.append(f"{name}{{{told}}} {value:.10g}")
    return "\n".join(lines) + "\n"


def _metrics(standing: Standing) -> Iterator[tuple[str, str, list[Sample]]]:
    reached = standing.reached
    fetches = Counter({fault.kind: 0 for fault in standing.total.faults if fault.status == "fetch_failed"})
    for fault, count in standing.total.faults.items():
        if fault.status == "fetch_failed":
            fetches[fault.kind] += count
    paces = standing.total.paces.items()
    yield "survey_targets", "Stars of the run.", [({}, reached.targets)]
    yield "survey_stars_total", "Stars done, by status.", [({"status": k}, n) for k, n in reached.counts.items()]
    yield "survey_stars_backlog", "Stars still to be done.", [({}, standing.backlog)]
    yield "survey_shards_backlog", "Shards still to be done.", [({}, reached.shards - reached.shards_done)]
    yield "survey_stage_seconds_sum", "Seconds spent in a stage.", [({"stage": k}, p.seconds) for k, p in paces]
    yield "survey_stage_seconds_count", "Stars that came to a stage.", [({"stage": k}, p.stars) for k, p in paces]
    yield (
        "survey_stage_stars_per_second",
        "Stars through a stage in a second of the latest session.",
        [({"stage": stage}, rate) for stage, rate in standing.throughput.items()],
    )
    yield (
        "survey_fetch_failures_total",
        "Stars whose fetch failed, by class.",
        [({"class": kind}, count) for kind, count in fetches.items()],
    )
    yield "survey_sweep_running", "1 while a process works on the run.", [({}, float(standing.holder is not None))]
    if standing.remaining_s is not None:
        yield "survey_remaining_seconds", "Estimated time to the end.", [({}, standing.remaining_s)]
    if standing.last_commit is not None:
        moment = standing.last_commit.astimezone(UTC).timestamp()
        yield "survey_last_commit_timestamp_seconds", "When a shard was last committed.", [({}, moment)]


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
