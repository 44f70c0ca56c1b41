"""Other models, or another gate, for a finished run: nothing is fetched or searched again.

Views, images, checks and the scores of light curves stand in the run folder; light curves do not. Each shard gets a new
version, then the catalogue is written anew. The record says that it is being done until all of it is: a run that was
interrupted meanwhile is rescored again from the versions that it had.
"""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from survey import schema
from survey.config import SCIENCE_VERSION, Config, change, differences
from survey.errors import RunRefused, UsageError
from survey.runs import store
from survey.runs.exports import read_candidates
from survey.runs.folder import locked, open_folder
from survey.runs.scores import STAR_COLUMNS, STAR_MODELS, Model, Scored, load_models, score_stars
from survey.runs.stages import VARIABILITY_NAMES, rows_of, star_of, tce_of
from survey.runs.store import Run
from survey.signals.variability import Variability
from survey.signals.vetting import Check, classify, judge
from survey.signals.vetting.rejudge import SETTINGS, judge_again

Row = dict[str, Any]

ALLOWED: Final = (
    *(f"score.{name}" for name in schema.MODELS),
    "classes.",
    *(f"gate.{name}" for name in sorted(SETTINGS)),
)
"""Settings, or beginnings of their names, that nothing depends on but scores and verdicts."""


@dataclass(frozen=True)
class Rescored:
    """candidates: rows of schema.CANDIDATE; changes: `key: old -> new`; kept: star models whose scores stay, as they
    need the light; unseen: signals that pass only now, so that nobody has looked at their pixels."""

    candidates: pa.Table
    changes: tuple[str, ...]
    kept: tuple[str, ...]
    unseen: int


def rescore(root: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Rescored:
    """Scores and judges the signals of a complete run again. overrides: `key=value` of settings in ALLOWED.

    Raises UsageError for other settings, for a model that reads what the run does not keep and where shards are
    missing; RunRefused where another process has the run, or another version of the survey made it.
    """
    with locked(open_folder(root)):
        run = store.load_run(root)
        config = _new_config(run, overrides)
        models = load_models(config.score)
        versions = _begin(run, models)
        unseen = sum(_rescore_shard(run, shard, version, config, models) for shard, version in versions.items())
        changes = (*differences(run.config.science(), config.science()), *store.model_changes(run.record, config))
        candidates = _write_catalogue(run, config, changes)
    return Rescored(candidates, changes, tuple(name for name in STAR_MODELS if name in run.record["models"]), unseen)


def _new_config(run: Run, overrides: Sequence[str]) -> Config:
    if run.record["science_version"] != SCIENCE_VERSION:
        raise RunRefused(
            f"{run.folder.root} was made by another version of the survey (science {run.record['science_version']}, "
            f"this is {SCIENCE_VERSION}): sweep again into another --out"
        )
    config = change(run.config, overrides)
    changed = [line.partition(":")[0] for line in differences(run.config.science(), config.science())]
    others = [key for key in changed if not key.startswith(ALLOWED)]
    if others:
        raise UsageError(
            f"{others[0]} needs the light curves: sweep again with --set {others[0]}=... into another --out"
        )
    for name in STAR_MODELS:
        new = getattr(config.score, name)
        if new is not None and new != getattr(run.config.score, name):
            raise UsageError(
                f"score.{name} reads light curves, which a run does not keep: sweep again with --set "
                f"score.{name}={new} into another --out (score.{name}=none takes its scores out)"
            )
    return config


def _begin(run: Run, models: Sequence[Model]) -> dict[int, int]:
    """Says in the record what is about to happen; the version of each shard to start from."""
    store.refuse_unfinished(run)
    _refuse_unreadable(run, models)
    begun = run.record.get("rescoring")
    versions = begun["versions"] if begun else {str(shard): part.version for shard, part in run.parts.items()}
    run.record["rescoring"] = {"versions": versions, "merging": bool(begun and begun["merging"])}
    store.write_record(run)
    return {int(shard): version for shard, version in sorted(versions.items(), key=lambda item: int(item[0]))}


def _refuse_unreadable(run: Run, models: Sequence[Model]) -> None:
    """Raises UsageError where a model reads views that the run does not hold, saying what to do."""
    if not run.folder.exists(store.FEATURES):
        return
    file = pa.BufferReader(run.folder.read(store.FEATURES))
    there = sorted(set(pq.read_table(file, columns=["spec"]).column("spec").to_pylist()))
    for model in models:
        if there and model.spec is not None and model.spec not in there:
            raise UsageError(
                f"score.{model.name} reads views of the form {model.spec}, and {run.folder.root} holds "
                f"{', '.join(there)}: sweep again with --set score.{model.name}=... into another --out"
            )


CHANGED: Final = (
    "star_class",
    "class_evidence",
    *(column for columns in STAR_COLUMNS.values() for column in columns),
    "star_out_of_support",
    "models",
    "tces",
)


def _rescore_shard(run: Run, shard: int, version: int, config: Config, models: Sequence[Model]) -> int:
    """Writes a shard's next version; how many signals pass only now, without pixels that anybody looked at."""
    table, features = store.read_shard(run, shard, version)
    rows = rows_of(table)
    judged = [_judge(row, config) if row["status"] == "ok" else row for row in rows]
    alive = [row for row in judged if row["status"] == "ok"]
    scored = iter(score_stars(alive, features, [model for model in models if model.name not in STAR_MODELS]))
    added = [_with_scores(row, next(scored), config) if row["status"] == "ok" else row for row in judged]
    changed = [{name: row[name] for name in CHANGED} for row in added]
    store.write_shard(run, shard, schema.extend(table, schema.KEPT, changed), features)
    before = [tce for row in rows for tce in row["tces"] or ()]
    after = [tce for row in added for tce in row["tces"] or ()]
    new = [tce for old, tce in zip(before, after, strict=True) if tce["is_candidate"] and not old["is_candidate"]]
    return sum(not tce["centroids"] for tce in new) if config.pixels.use else 0


def _judge(row: Row, config: Config) -> Row:
    """Verdicts and class under a gate, of a star whose signals were checked."""
    checks = [[judge_again(Check(**check), config.gate) for check in tce["checks"]] for tce in row["tces"]]
    verdicts = [judge(of_signal, config.gate) for of_signal in checks]
    found = [tce_of(tce) for tce in row["tces"]]
    variability = Variability(**{name: row[name] for name in VARIABILITY_NAMES})
    star_class, evidence = classify(found, checks, verdicts, variability, star_of(row), config.classes)
    tces = [
        {**tce, **verdict.as_row(), "checks": [asdict(check) for check in of_signal]}
        for tce, of_signal, verdict in zip(row["tces"], checks, verdicts, strict=True)
    ]
    return {**row, "star_class": star_class, "class_evidence": list(evidence), "tces": tces}


def _with_scores(row: Row, scored: Scored, config: Config) -> Row:
    """Scores of the signals anew; those of the light curve as they were, but for models that are given up."""
    given_up = [name for name in STAR_MODELS if getattr(config.score, name) is None]
    kept = {
        one["name"]: one["id"] for one in row["models"] if one["name"] in STAR_MODELS and one["name"] not in given_up
    }
    used = kept | scored.used
    outside = [word for word in row["star_out_of_support"] or () if word.partition(":")[0] in kept]
    return {
        **row,
        **{column: None for name in given_up for column in STAR_COLUMNS[name]},
        "star_out_of_support": outside if kept else None,
        "models": [{"name": name, "id": used[name]} for name in schema.MODELS if name in used],
        "tces": [{**tce, **scored.signals[tce["number"]]} for tce in row["tces"]],
    }


def _write_catalogue(run: Run, config: Config, changes: Sequence[str]) -> pa.Table:
    """The catalogue anew; before it the record of what it will be, and after it that nothing is left to do."""
    record = run.record
    kept = {name: model for name, model in record["models"].items() if name in STAR_MODELS}
    record["models"] = {name: kept.get(name, model) for name, model in store.record_models(config).items()}
    record["configuration"] = config.model_dump(mode="json")
    record["science_hash"] = config.science_hash()
    record["sessions"].append({"started_at": store.now(), "host": platform.node(), "rescored": list(changes)})
    record["rescoring"]["merging"] = True
    store.write_record(run)
    store.merge(replace(run, config=config))
    del record["rescoring"]
    store.write_record(run)
    return read_candidates(run)
