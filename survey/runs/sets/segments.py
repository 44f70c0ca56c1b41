"""Sets of labelled segments from stars, a source of light curves and the catalogues."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from survey.config import Config
from survey.errors import UsageError
from survey.learning.sets.segments import Hardness, Known, Listing, SegmentSetConfig, judge_listings, segment_rows
from survey.learning.sets.table import check_place, drop_copies, write_set
from survey.runs.sets.curves import Curves, Listed
from survey.runs.stages import Row
from survey.signals.ephemeris import Ephemeris
from survey.stars.sources import Source
from survey.stars.targets import MISSION_OF_PREFIX, Target

ONCE_DAYS: Final = 1e6
"""Stands for the period of a transit that is listed once."""


@dataclass(frozen=True)
class SegmentSet:
    """A set that was written. left_out: target_id and reason of stars that have no row in it."""

    path: Path
    sha256: str
    rows: int
    positives: int
    stars: int
    left_out: list[dict[str, str]]


def write_segments(
    path: Path,
    targets: Sequence[Target],
    source: Source,
    listed: Listed,
    config: Config,
    asked: SegmentSetConfig,
    *,
    hardness: Hardness | None = None,
    hard_from: str | None = None,
    on_star: Callable[[str], None] = lambda target_id: None,
) -> SegmentSet:
    """Segments of all stars, one star after the other; no more than `asked.rows` are ever held.

    hardness: what ranks negatives, with hard_from, the id of the model that it comes from. Raises UsageError where
    nothing is left to learn from, or the file cannot be written.
    """
    check_place(path)
    curves = Curves(targets, source, config)
    tables: list[pa.Table] = []
    most = max(2, asked.rows // max(1, len(targets)))
    for row in curves:
        on_star(row["target_id"])
        try:
            known = known_of(row, listed)
        except UsageError as error:
            curves.leave_out(row, str(error))
            continue
        rows = segment_rows(
            row, known, asked, config.detrend, other_names=listed.names_of(row), most=most, hardness=hardness
        )
        if rows is None:
            curves.leave_out(row, "no segment of it is measured well enough, or none has a sure label")
        else:
            tables.append(rows)
    if not tables:
        raise UsageError("no star gave a segment: " + "; ".join(_reasons(curves)))
    table, copies = drop_copies(pa.concat_tables(tables))
    provenance: dict[str, Any] = {
        **curves.provenance(),
        **listed.provenance(),
        "configuration": {
            "segments": asked.model_dump(mode="json"),
            "detrend": config.detrend.model_dump(mode="json"),
            "fetch": config.fetch.model_dump(mode="json"),
            "clean": config.clean.model_dump(mode="json"),
        },
        "copies_dropped": copies,
        "hard_from": hard_from,
        "simulated": simulated_words(table),
        "seed": asked.seed,
    }
    sha256 = write_set(path, "segments", table, provenance)
    labels = np.array(table.column("label").to_pylist(), str)
    stars = len(set(table.column("target_id").to_pylist()))
    return SegmentSet(path, sha256, len(table), int((labels == "1").sum()), stars, curves.left_out)


def known_of(row: Row, listed: Listed) -> Known:
    """What the catalogues list of a star, judged by its light. Raises UsageError for a star that cannot be used."""
    listings = []
    for one in listed.signals_of(row):
        signal = None
        if one.epoch is not None and one.duration_h is not None:
            shift = MISSION_OF_PREFIX[one.target_id.partition(" ")[0]].time_zero - row["time_zero"]
            signal = Ephemeris(one.period or ONCE_DAYS, one.epoch + shift, one.duration_h / 24)
        depth = np.nan if one.depth_ppm is None else one.depth_ppm / 1e6
        listings.append(Listing(signal, one.disposition or "", depth))
    return judge_listings(row, listings)


def simulated_words(table: pa.Table) -> str:
    """What in a set is simulated, "" for nothing: 6,000 of 8,000 rows, of which 3,000 have injected transits and ..."""
    curves = np.array(table.column("curve").to_pylist(), str)
    injected, mirrored = np.char.startswith(curves, "injected"), curves == "mirrored"
    if not (injected | mirrored).any():
        return ""
    parts = [
        f"{count:,} {what}"
        for count, what in (
            (int(injected.sum()), "have transits or eclipses injected into real flux"),
            (int(mirrored.sum()), "are real flux turned upside down"),
        )
        if count
    ]
    return f"of {len(table):,} segments {' and '.join(parts)}"


def _reasons(curves: Curves) -> list[str]:
    return [f"{one['target_id']}: {one['reason']}" for one in curves.left_out[:3]] or ["no stars"]
