"""The bodies of answers. JSON is encoded here, once: what carries it on sees bytes.

Numbers of a row have all their digits, those of a plot the ones that a screen shows.
"""

import gc
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from serve.answers.plots import FLUX_DIGITS, TIME_DIGITS, plot_light, plot_values, rounded
from serve.cases import AnomalyQuestion
from survey import schema
from survey.config import Config
from survey.errors import UsageError
from survey.learning.shelf import describe, describe_known, read_figures, read_limits
from survey.runs import sheet, store
from survey.runs.exports import describe_run, plain, plain_row, read_candidates
from survey.runs.lights import look_at_light
from survey.runs.stages import Row
from survey.stars.pixels import LightCentre

if TYPE_CHECKING:
    from survey.learning.anomaly import AnomalyModel


def to_bytes(value: Any) -> bytes:
    """JSON without white space, floats with all their digits; value: without NaN and NumPy (`exports.plain`)."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def score_answer(row: Row, config: Config, *, plot: bool, source: str, request_id: str, seconds: float) -> bytes:
    """What a sweep says of a star, as forms.ScoreAnswer.

    row: of stages.SCORED, with its series where there is a plot; source: where its light came from; seconds: since the
    request came.
    """
    kept = plain_row(row)
    return to_bytes(
        {
            "target_id": row["target_id"],
            "status": row["status"],
            "error": row["error"],
            "row": kept,
            "plot": plot_values(row, config) if plot and row["status"] == "ok" else None,
            "provenance": _provenance(config, source, row.get("models"), request_id, seconds),
            "meanings": meanings(kept),
        }
    )


def _provenance(
    config: Config, source: str, models: Sequence[Mapping[str, Any]] | None, request_id: str, seconds: float
) -> dict[str, Any]:
    return {
        "survey_version": version("transit-survey"),
        "science_hash": config.science_hash(),
        "source": source,
        "models": list(models or ()),
        "request_id": request_id,
        "seconds": round(seconds, 3),
    }


# What the scores mean

STATISTICS: Final = ("mes", "snr", "pink_snr", "sde", "fap")
"""Of a signal, beside what the models say of it."""

STAR_RANKS: Final = ("segment_probabilities", "star_score", "star_score_max", "period_probs", "anomaly_score")


def meanings(row: Mapping[str, Any]) -> dict[str, str]:
    """A sentence for every score that a plain row has, by its field: a calibrated probability, or for ranking only.

    The words are those of the schema.
    """
    tces = row["tces"] or ()
    rates = base_rates(tuple(used["id"] for used in row["models"] or ()))
    found = {
        field.name: _meaning(field, rates)
        for field in schema.SCORED_TCE_FIELDS
        if _is_score(field.name) and any(tce[field.name] is not None for tce in tces)
    }
    return found | {
        field.name: _meaning(field, rates)
        for field in schema.STAR_SCORE_FIELDS
        if _is_score(field.name) and row[field.name] is not None
    }


def _is_score(name: str) -> bool:
    return name in (*STATISTICS, *STAR_RANKS) or name.endswith(("_probability", "_score"))


MODEL_OF: Final = {"star_probability": "segments", "period_probability": "periods"}


def _meaning(field: pa.Field, rates: Mapping[str, float]) -> str:
    said = field.metadata[b"description"].decode()
    if field.name in STATISTICS:
        return f"Statistic of the detection: {said.removeprefix('at detection: ')}."
    if not field.name.endswith("_probability"):
        return f"Ranking only, no probability: {said}."
    rate = rates.get(MODEL_OF.get(field.name, field.name.removesuffix("_probability")))
    at = "" if rate is None else f"; it holds where {100 * rate:.1f}% are positive, as in its training"
    return f"Calibrated {said.removesuffix(', calibrated where the model was trained')}{at}."


@lru_cache(maxsize=64)
def base_rates(ids: tuple[str, ...]) -> dict[str, float]:
    """Share of positives in the training of the shipped models among those of such ids, by their names."""
    return {one.name: one.base_rate for one in describe_known(ids).values() if one.base_rate is not None}


# The sheet

_DRAWING: Final = threading.Lock()
"""matplotlib's settings belong to the process: one page at a time."""


def sheet_png(row: Row, config: Config, tce: int | None, centres: Sequence[LightCentre] = ()) -> bytes:
    """The sheet of evidence of one signal, by default of the strongest candidate, as PNG; without any of the star.

    centres: what the light-curve files say of the background. Raises UsageError for a star without light, and for a
    signal that it does not have.
    """
    if row["status"] != "ok":
        raise UsageError(f"{row['target_id']}: nothing to draw: {row['error'] or row['status']}")
    signals = sheet.choose_signals(row, tce)
    signal = max(signals, key=lambda one: (one and one["mes"]) or 0.0)
    evidence = sheet.gather_evidence(row, signal, config, centres if signal else ())
    with _DRAWING:
        page = sheet.render_sheet(evidence)
    # A figure is full of circles: its 20 MB would wait for a collection that comes after many more.
    gc.collect()
    return page


# Anomalies


def anomaly_answer(
    row: Row,
    model: "AnomalyModel | None",
    config: Config,
    question: AnomalyQuestion,
    *,
    source: str,
    request_id: str,
    seconds: float,
) -> bytes:
    """What is strange in a star, as forms.AnomalyAnswer. row: of stages.DETRENDED; model: None: fitted on it.

    Raises UsageError for windows that the model does not know, and for too little light to be its own model.
    """
    known = None if model is None else model.detector.inputs.points
    if known is not None and question.window not in (None, known):
        raise UsageError(
            f'{question.model} knows windows of {known} points: ask with "model": "own" for windows of '
            f"{question.window}, fitted on the star itself, or train a detector with them"
        )
    about = {name: row[name] for name in ("target_id", "status", "error")}
    answer = {**about, "row": about, "flagged": None, "plot": None, "meanings": {}}
    if row["status"] == "ok":
        look = look_at_light(
            row,
            model,
            config.anomaly,
            contamination=question.contamination,
            window=question.window,
            vote_threshold=question.vote_threshold,
        )
        flagged = look.found.flagged
        answer |= {
            "row": plain(look.as_values()),
            "flagged": {
                "time": rounded(look.light.time[flagged], TIME_DIGITS),
                "flux": rounded(look.light.flat[flagged], FLUX_DIGITS),
            },
            "plot": plot_light(row, (look.found, look.light.time)),
            "meanings": {"score": _meaning(schema.SCORED.field("anomaly_score"), {})},
        }
    models = [{"name": question.model, "id": model.id}] if model is not None else []
    return to_bytes(answer | {"provenance": _provenance(config, source, models, request_id, seconds)})


# Lists


def models_answer(described: Sequence[Mapping[str, Any]]) -> bytes:
    """Models that `describe_model` has described, as forms.ModelsAnswer."""
    return to_bytes({"models": described})


def describe_model(folder: str | Path) -> dict[str, Any]:
    """forms.ModelAnswer of the model in a folder; where that is, it does not say. Raises UsageError for no model."""
    said = asdict(describe(folder))
    names = ("name", "id", "task", "kind", "calibrated", "trained_on", "simulated", "stars", "rows", "inputs")
    figures = ("measure", "figure", "base_rate", "floor")
    return plain({name: said[name] for name in (*names, *figures)}) | {
        "version": said["id"][:8],
        "about": said["meaning"],
        "seen_by": said["missions"],
        "limits": read_limits(folder),
        "figures": plain(read_figures(folder)),
    }


SHOWN: Final = (
    *("rank", "target_id", "mission", "number", "period", "epoch_bjd", "duration_h", "depth_ppm", "planet_radius"),
    *("mes", "snr", "n_transits", "triage_probability", "vetting_probability", "pixels_probability"),
    *("fusion_probability", "is_candidate", "flags", "star_class", "novelty", "known_name", "star_probability"),
    *("magnitude", "observed"),
)
"""Columns of schema.CANDIDATE that a list of results has."""


def candidates_answer(root: str | os.PathLike[str], limit: int) -> bytes:
    """The first signals of a run and what the run is, as forms.CandidatesAnswer; root: a folder or URL.

    Raises UsageError where there is no run, or none that has come to its catalogue.
    """
    run = store.load_run(root)
    candidates = read_candidates(run, columns=SHOWN)
    done = store.status(run)
    about = describe_run(run)
    return to_bytes(
        {
            "run": {
                "name": run.folder.root.rstrip("/").rpartition("/")[2],
                **{name: about[name] for name in ("created_at", "survey_version", "science_hash")},
                "missions": run.record["missions"],
                "targets": done.targets,
                "counts": done.counts,
                "signals": len(candidates),
                "passed": pc.sum(candidates.column("is_candidate")).as_py() or 0,
            },
            "candidates": plain(candidates.slice(0, limit).to_pylist()),
        }
    )
