"""What a sweep tells Prometheus while it goes on, through Ray: it stands on Ray's own port, beside Ray's own figures.

Ray puts `ray_` before each name. `runs.watch` says the same of a run folder, without Ray.
"""

import pyarrow as pa
from ray.util import metrics

from survey.runs.watch import fault_of

STAGE_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Upper ends of the histogram's bins."""


class Meters:
    """Of one sweep, kept by its driver: what is counted is committed."""

    def __init__(self, run: str) -> None:
        """run: place of the run folder, the label of all."""
        self._label = {"run": run}
        self._stars = metrics.Counter("survey_stars_total", "Stars done, by status.", ("run", "status"))
        self._faults = metrics.Counter(
            "survey_fetch_failures_total", "Stars whose fetch failed, by class.", ("run", "class")
        )
        self._seconds = metrics.Histogram(
            "survey_stage_seconds", "Seconds of a star in a stage.", list(STAGE_SECONDS), ("run", "stage")
        )
        self._shards_left = metrics.Gauge("survey_shards_backlog", "Shards still to be done.", ("run",))
        self._stars_left = metrics.Gauge("survey_stars_backlog", "Stars still to be done.", ("run",))
        self._seconds_left = metrics.Gauge("survey_remaining_seconds", "Estimated time to the end.", ("run",))

    def count(self, telemetry: pa.Table) -> None:
        """Adds the stars of a commit, rows of schema.TELEMETRY."""
        for row in telemetry.to_pylist():
            self._stars.inc(1, {**self._label, "status": row["status"]})
            if row["status"] == "fetch_failed":
                self._faults.inc(1, {**self._label, "class": fault_of(row).kind})
            for entry in row["trace"] or ():
                self._seconds.observe(max(0.0, entry["seconds"]), {**self._label, "stage": entry["stage"]})

    def set_backlog(self, shards: int, stars: int, remaining_s: float | None) -> None:
        self._shards_left.set(shards, self._label)
        self._stars_left.set(stars, self._label)
        if remaining_s is not None:
            self._seconds_left.set(remaining_s, self._label)
