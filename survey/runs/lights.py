"""Detrended light as the models of anomalies read it, and what they find in it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from survey.config import AnomalyConfig, Config
from survey.runs import stages
from survey.runs.stages import STAGES, Row, examine, rows_of
from survey.signals.ephemeris import Ephemeris, in_transit
from survey.stars.sources import Source
from survey.stars.targets import Target

if TYPE_CHECKING:
    from survey.learning.anomaly import Anomalies, AnomalyModel
    from survey.learning.models.anomaly import Light

OWN: Final = "own"
"""A detector that is fitted on the star itself."""

CUT_DURATIONS = 2.0
"""Width of what is cut out about a listed transit, in its durations."""


def detrended_row(target: Target, source: Source, config: Config) -> Row:
    """A star's row of schema.DETRENDED, series as arrays; one that failed has status and error."""
    return rows_of(examine(target, config, source, STAGES[:2]))[0]


def light_of(row: Row, transits: Sequence[Ephemeris] = ()) -> "Light":
    """The light of a detrended row as in a sweep, flares and all, without the listed transits."""
    from survey.learning.models.anomaly import Light

    seen = stages.light_of(row)
    kept = np.ones(len(seen.time), bool)
    for ephemeris in transits:
        kept &= ~in_transit(seen.time, ephemeris, CUT_DURATIONS)
    products = ", ".join(product["product"] for product in row["products"])
    return Light(row["target_id"], seen.time[kept], seen.flat[kept], seen.cadence_s, products)


@dataclass(frozen=True)
class Look:
    """What is strange in the light of one star. model: id of the detector, or OWN."""

    light: "Light"
    found: "Anomalies"
    model: str
    time_zero: float

    def as_values(self) -> dict[str, Any]:
        """As `survey anomalies --json` and the service give it."""
        found = self.found
        return {
            "target_id": self.light.star,
            "status": "ok",
            "error": None,
            "score": found.score,
            "seen_in_training": found.seen,
            "model": self.model,
            "contamination_threshold": found.threshold,
            "time_zero": self.time_zero,
            "n_windows": len(found.scores),
            "n_strange_windows": int(found.strange.sum()),
            "n_points": len(found.votes),
            "n_points_looked_at": int(np.isfinite(found.votes).sum()),
            "n_flagged_points": int(found.flagged.sum()),
            "intervals": [asdict(interval) for interval in found.intervals],
        }


def look_at_light(
    row: Row,
    model: "AnomalyModel | None",
    config: AnomalyConfig,
    *,
    contamination: float | None = None,
    window: int | None = None,
    vote_threshold: float | None = None,
) -> Look:
    """What a detector finds in a detrended row that is ok; None: one that is fitted on the star itself, in windows of
    `window` points. contamination, vote_threshold: as in `find_anomalies`.

    Raises UsageError for a star with too little light to be its own model.
    """
    from survey.learning.anomaly import find_anomalies, fit_model

    light = light_of(row)
    given = choose(config, contamination=contamination, window=window, vote_threshold=vote_threshold)
    detector = fit_model([light], given) if model is None else model
    found = find_anomalies(
        detector,
        light.star,
        light.time,
        light.flat,
        light.cadence_s,
        contamination=contamination,
        vote_threshold=vote_threshold,
    )
    return Look(light, found, detector.id or OWN, row["time_zero"])


def choose(config: AnomalyConfig, **values: Any) -> AnomalyConfig:
    """With the values that are not None."""
    return config.model_copy(update={name: value for name, value in values.items() if value is not None})
