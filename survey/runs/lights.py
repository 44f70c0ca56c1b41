"""Detrended light as the models of anomalies read it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from survey.config import Config
from survey.runs import stages
from survey.runs.stages import STAGES, Row, examine, rows_of
from survey.signals.ephemeris import Ephemeris, in_transit
from survey.stars.sources import Source
from survey.stars.targets import Target

if TYPE_CHECKING:
    from survey.learning.models.anomaly import Light

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
