"""Labelled scores from a finished run: what its models and checks say of each signal, and what catalogues say it is.

Labels are those of `views`; each row holds the columns of candidates.parquet, and of its star what the models
of whole light curves say.
"""

from collections import Counter
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from survey import schema
from survey.errors import UsageError
from survey.runs import store
from survey.runs.candidates import collect_signals
from survey.runs.crossmatch import crossmatch
from survey.runs.sets.curves import Listed
from survey.runs.sets.views import (
    ViewsTable,
    cap_classes,
    failed_stars,
    judge_by_catalogue,
    names_of_stars,
    not_transit_like,
    refuse_unfinished,
    sources_of,
)
from survey.runs.stages import Row
from survey.runs.store import Run

OF_STAR: Final = ("star_score", "star_probability", "period_probability", "anomaly_score")

SCHEMA: Final = pa.schema(
    [
        pa.field("target_id", pa.string()),
        pa.field("other_names", pa.list_(pa.string())),
        pa.field("label", pa.string()),
        *schema.SCORED_TCE_FIELDS,
        *[field for field in schema.STAR_SCORE_FIELDS if field.name in OF_STAR],
        schema.MODELS_FIELD,
        pa.field("why", pa.string()),
    ]
)
"""Rows of a set of scores. why: where the label comes from."""


def scores_by_catalogues(
    run: Run, folder: Path | None, *, unlisted: bool = False, max_per_class: int | None = None, seed: int = 0
) -> ViewsTable:
    """The scored signals of a run that the catalogues in a folder know.

    unlisted, max_per_class: as in `views.views_by_catalogues`; signals that the gate refused are told by the
    very checks that enter a fusion, so that they flatter it. Raises UsageError where the run is not finished
    or was not scored, or the folder lacks tables.
    """
    refuse_unfinished(run)
    listed = Listed(folder, run.config)
    no_transits = not_transit_like(listed, folder)
    stars = pq.read_table(pa.BufferReader(run.folder.read(store.TARGETS))).cast(schema.KEPT)
    found = crossmatch(collect_signals(stars), listed.table, run.config).to_pylist()
    if not any(row["models"] for row in found):
        raise UsageError(f"{run.folder.root} holds no scores: `survey rescore {run.folder.root}` makes them")
    of_star = {row["target_id"]: row for row in stars.select(["target_id", *OF_STAR]).to_pylist()}
    left_out: Counter[str] = Counter()
    rows = []
    for row in found:
        verdict = judge_by_catalogue(row, no_transits, unlisted=unlisted)
        if verdict.letter is None:
            left_out[verdict.why] += 1
        else:
            rows.append(row | of_star[row["target_id"]] | {"label": verdict.letter, "why": verdict.why})
    kept = cap_classes(rows, max_per_class, seed)
    left_out["more of its class than were asked for"] += len(rows) - len(kept)
    names = names_of_stars(kept, found, listed)
    table = schema.rows_table([_row(row, names) for row in kept], SCHEMA)
    settings = {"unlisted": "J" if unlisted else "skip", "max_per_class": max_per_class}
    provenance: dict[str, Any] = {
        "configuration": {"run": run.config.science(), **settings},
        "sources": sources_of(run, stars, set(table.column("target_id").to_pylist())),
        "left_out": failed_stars(stars),
        "signals_left_out": {reason: count for reason, count in sorted(left_out.items()) if count},
        "seed": seed,
        "simulated": "",
        **listed.provenance(),
    }
    return ViewsTable(table, provenance)


def _row(row: Row, names: dict[str, list[str]]) -> Row:
    return {name: row[name] for name in SCHEMA.names if name != "other_names"} | {
        "other_names": names.get(row["target_id"], [])
    }
