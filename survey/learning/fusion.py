"""Late fusion: one score of a signal from the scores of several models and the figures of a few checks.

A logistic regression on what each of them says, in float64, whose coefficients stand in model.json for all to read.
What a signal lacks adds a constant of its own instead, fitted like the rest, so that no pixels are not bad pixels. As
in all models here, each fold of stars has a regression that never saw them; together they score new stars.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from survey.config import Config, Frozen, TrainConfig
from survey.errors import UsageError
from survey.learning.artifact import (
    Artifact,
    ModelRecord,
    check_place,
    first_words,
    know_stars,
    load_artifact,
    write_artifact,
)
from survey.learning.calibrate import CALIBRATORS, Calibration, calibrate_by_fold, fit_by_fold
from survey.learning.evaluate import Evaluation, draw_evaluation, interval_words, mean_spread, measure
from survey.learning.judge import beside, by_fold, decided_across
from survey.learning.lesson import Task
from survey.learning.metrics import DRAWS, average_precision, best_threshold
from survey.learning.score import Scores, mean_over_members, scatter_of_members
from survey.learning.sets.audit import names_of
from survey.learning.sets.labels import PLANETS, positive
from survey.learning.sets.table import LabelledTable, read_set
from survey.learning.train import Trained

Values = NDArray[np.float64]

LEAST_MEASURED: Final = 0.02
"""What enters a fusion must be measured in at least this share of the rows: pixels are rare, and tell much."""

STRENGTH: Final = 1.0
"""Of the penalty on coefficients, per standard deviation: what only makes noise is held near 0."""

CERTAIN: Final = 1e-6
"""Probabilities enter as log odds, cut so close to 0 and 1."""

CHECK: Final = "checks."
"""Before the name of a check, whose score is meant."""

Entry = Literal["plain", "logit", "log", "asinh"]

ENTRIES: Final[Mapping[str, Entry]] = {
    "triage_score": "plain",
    "vetting_score": "plain",
    "pixels_score": "plain",
    "star_probability": "logit",
    "period_probability": "logit",
    "anomaly_score": "plain",
    "mes": "log",
    "n_transits": "log",
    "planet_radius": "log",
    "rest_mes": "plain",
    "box_over_sine": "log",
    "checks.odd_even_differ": "asinh",
    "checks.secondary_eclipse": "asinh",
    "checks.centroid_offset": "asinh",
    "checks.v_shaped": "plain",
    "checks.depths_vary": "asinh",
    "checks.as_strong_nearby": "asinh",
}
"""What may enter, and how: columns of candidates.parquet and scores of its checks. Any other column whose name ends in
`_score` enters as it is."""

OWN_SCORE: Final = "fusion_score"

STAR_WIDE: Final = ("star_score",)
"""Scores that grow with the length of the light curve, whose probabilities are better."""

TASK: Final = Task("fusion", "planet candidates (PC, KP, CP) against the rest, by what several models say", PLANETS)


class Input(Frozen):
    """What enters a fusion: a column, or a check's score. low, high: of the training rows; beyond them nothing more is
    learnt from it, and a signal is flagged as outside the model's support."""

    name: str
    enter: Entry
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)


class Blend(Frozen):
    """One regression. bias plus, of each input, weight times its value, or `missing` where it has none.

    fold: the one whose stars it never saw.
    """

    fold: int = Field(ge=0, le=255)
    bias: float = Field(allow_inf_nan=False)
    weights: tuple[float, ...]
    missing: tuple[float, ...]

    @model_validator(mode="after")
    def _check(self) -> "Blend":
        if not np.isfinite([*self.weights, *self.missing]).all():
            raise ValueError("coefficients must be numbers")
        return self


# What enters


def choose_entries(rows: pa.Table) -> dict[str, Entry]:
    """What of the table may enter and is measured, not always the same, in enough of its rows."""
    others = [name for name in rows.column_names if name.endswith("_score") and name not in (*STAR_WIDE, OWN_SCORE)]
    entries: dict[str, Entry] = dict(ENTRIES)
    for name in others:
        entries.setdefault(name, "plain")
    chosen: dict[str, Entry] = {}
    for name, enter in entries.items():
        values = enter_values(rows, name, enter)
        known = values[np.isfinite(values)]
        if len(known) >= max(1.0, LEAST_MEASURED * len(rows)) and known.min() < known.max():
            chosen[name] = enter
    return chosen


def enter_values(rows: pa.Table, name: str, enter: Entry) -> Values:
    """(n,) values of an input as the regression takes them; NaN where a row, or the whole table, lacks it."""
    values = _check_scores(rows, name.removeprefix(CHECK)) if name.startswith(CHECK) else _column(rows, name)
    values = np.where(np.isfinite(values), values, np.nan)
    if enter == "logit":
        return np.asarray(logit(np.clip(values, CERTAIN, 1 - CERTAIN)))
    if enter == "log":
        return np.log10(np.where(values > 0, values, np.nan))
    return np.arcsinh(values) if enter == "asinh" else values


def _column(rows: pa.Table, name: str) -> Values:
    if name not in rows.column_names:
        return np.full(len(rows), np.nan)
    column = rows.column(name)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        raise UsageError(f"{name} holds {column.type}, not numbers")
    return np.asarray(pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy(), np.float64)


def _check_scores(rows: pa.Table, name: str) -> Values:
    """(n,) score of a check; NaN where it could not be made."""
    values = np.full(len(rows), np.nan)
    if "checks" in rows.column_names:
        for k, checks in enumerate(rows.column("checks").to_pylist()):
            scores = [check["score"] for check in checks or () if check["name"] == name and check["passed"] is not None]
            if scores and scores[0] is not None:
                values[k] = scores[0]
    return values


def enter_table(rows: pa.Table, inputs: Sequence[Input]) -> Values:
    """(n, k) values of all inputs, NaN where missing, not yet cut to the range of training."""
    columns = [enter_values(rows, part.name, part.enter) for part in inputs]
    return np.stack(columns, 1) if columns else np.empty((len(rows), 0))


# Regression


def fit_blend(values: Values, labels: NDArray[np.bool_], fold: int) -> Blend:
    """The regression of labels on (n, k) values, NaN where missing.

    Fitted on standardised values, with a penalty; kept in the units of the values.
    """
    missing = np.isnan(values)
    count = np.maximum((~missing).sum(0), 1)
    center = np.where(missing, 0.0, values).sum(0) / count
    level = np.where(missing, 0.0, values - center)
    scale = np.sqrt((level**2).sum(0) / count)
    scale[scale == 0] = 1.0
    table = np.concatenate([level / scale, missing.astype(np.float64)], 1)
    with threadpool_limits(1):
        found = LogisticRegression(C=1 / STRENGTH, solver="newton-cholesky", max_iter=200).fit(table, labels)
    slopes, flags = np.split(found.coef_[0], 2)
    weights = slopes / scale
    return Blend(
        fold=fold,
        bias=float(found.intercept_[0] - (weights * center).sum()),
        weights=tuple(weights.tolist()),
        missing=tuple((flags + weights * center).tolist()),
    )


def fit_blends(values: Values, labels: NDArray[np.bool_], folds: NDArray[np.integer]) -> tuple[Blend, ...]:
    """A regression for each fold, fitted on the others."""
    return tuple(
        fit_blend(values[folds != fold], labels[folds != fold], int(fold)) for fold in range(int(folds.max()) + 1)
    )


def apply_blend(blend: Blend, values: Values) -> Values:
    """(n,) log odds of (n, k) values, added up in the order of the inputs: the same bits whatever the rows beside."""
    total = np.full(len(values), blend.bias)
    for column, weight, missing in zip(values.T, blend.weights, blend.missing, strict=True):
        total += np.where(np.isnan(column), missing, weight * column)
    return total


def score_held(blends: Sequence[Blend], values: Values, folds: NDArray[np.integer]) -> Values:
    """(n,) out-of-fold log odds: of each row by the regression that never saw its star."""
    scores = np.empty(len(values))
    for blend in blends:
        held = folds == blend.fold
        scores[held] = apply_blend(blend, values[held])
    return scores


# The model


class Blends(Frozen):
    """`network` of a fusion's record. fold_calibrations: of each fold, fitted without its stars."""

    blends: tuple[Blend, ...] = Field(min_length=1, max_length=256)
    fold_calibrations: tuple[Calibration, ...]

    @model_validator(mode="after")
    def _check(self) -> "Blends":
        if [blend.fold for blend in self.blends] != list(range(len(self.fold_calibrations))):
            raise ValueError("there must be one regression and one calibration for each fold, in order")
        return self


class Inputs(Frozen):
    """`inputs` of a fusion's record. models: name and id of the models whose scores it was trained on."""

    columns: tuple[Input, ...] = Field(min_length=1, max_length=256)
    models: dict[str, str]


def read_settings(artifact: Artifact) -> tuple[Blends, Inputs]:
    """Raises UsageError for a model that is no fusion, or a damaged one."""
    record = artifact.record
    if record.kind != "fusion":
        raise UsageError(f"{record.name} is no fusion but of kind {record.kind}")
    try:
        blends, inputs = Blends.model_validate(record.network), Inputs.model_validate(record.inputs)
    except ValidationError as error:
        raise UsageError(f"{record.name}: {first_words(error)}") from None
    for blend in blends.blends:
        if not len(blend.weights) == len(blend.missing) == len(inputs.columns):
            raise UsageError(f"{record.name}: coefficients for another number of inputs than {len(inputs.columns)}")
    return blends, inputs


def load_fusion(folder: str | Path) -> Artifact:
    """Raises UsageError for a folder that holds no fusion, or a damaged one."""
    artifact = load_artifact(folder)
    read_settings(artifact)
    return artifact


def score_fusion(artifact: Artifact, rows: pa.Table) -> Scores:
    """Scores of rows with the columns of candidates.parquet; what is not there counts as missing.

    Stars that it was trained on are scored by the regression that never saw them. What lies beyond the training enters
    at its edge and is named in `outside`, as is every model whose scores come from another one than in training.
    Raises UsageError for columns that are no numbers, and for a model that is no fusion.
    """
    settings, inputs = read_settings(artifact)
    entered = enter_table(rows, inputs.columns)
    low, high = (np.array([getattr(part, edge) for part in inputs.columns]) for edge in ("low", "high"))
    values = np.clip(entered, low, high)
    fold = artifact.stars.folds_of(*names_of(rows))
    used = np.stack([(fold < 0) | (fold == blend.fold) for blend in settings.blends])
    each = np.stack([apply_blend(blend, values) for blend in settings.blends])
    calibrations = (*settings.fold_calibrations, artifact.record.calibration)
    score = mean_over_members(each, used)
    chances = calibrate_by_fold(calibrations, each, fold)
    spread = scatter_of_members(chances, used)
    outside = _outside(rows, inputs, (entered < low) | (entered > high))
    return Scores(score, score, calibrate_by_fold(calibrations, score, fold), spread, fold >= 0, outside)


def _outside(rows: pa.Table, inputs: Inputs, beyond: NDArray[np.bool_]) -> tuple[tuple[str, ...], ...]:
    used = rows.column("models").to_pylist() if "models" in rows.column_names else [None] * len(rows)
    names = [part.name.removeprefix(CHECK) for part in inputs.columns]
    return tuple(
        (
            *(name for name, flag in zip(names, flags, strict=True) if flag),
            *(
                f"another {model['name']}"
                for model in models or ()
                if inputs.models.get(model["name"], model["id"]) != model["id"]
            ),
        )
        for flags, models in zip(beyond, used, strict=True)
    )


# Training


@dataclass(frozen=True)
class Rows:
    """A labelled table as regressions read it: (n,) stars, further names of them ("" where there is none), labels and
    folds, (n, k) values of the inputs."""

    found: LabelledTable
    stars: NDArray[np.str_]
    other_names: tuple[NDArray[np.str_], ...]
    labels: NDArray[np.bool_]
    folds: NDArray[np.uint8]
    inputs: Inputs
    values: Values

    @property
    def names(self) -> list[str]:
        return [part.name for part in self.inputs.columns]


def train_fusion(path: Path | None, config: Config, folder: Path, *, draws: int = DRAWS) -> Trained:
    """Trains, measures and writes a fusion from a labelled table (a set of kind `fusion`).

    Raises UsageError for a table that cannot be learnt from and for a folder that holds something else.
    """
    if path is None:
        raise UsageError("fusion learns from labelled rows: give --set FILE")
    check_place(folder)
    begun = datetime.now(UTC)
    rows = read_rows(path)
    outcome = judge_blends(rows, config.train, draws=draws)
    figures, name = outcome.figures, rows.found.name
    record = _make_record(rows, outcome, config.train, begun)
    title = f"fusion, out of fold, on {name}"
    evaluation = Evaluation(title, figures, rows.labels, outcome.scores, outcome.probabilities)
    files = {"metrics.json": json.dumps(figures, indent=1).encode(), "metrics.png": draw_evaluation(evaluation)}
    known = know_stars(rows.stars, rows.folds, rows.other_names)
    id_ = write_artifact(folder, record, (), known, _make_card(record), files=files)
    return Trained(id_, folder, evaluation)


def read_rows(path: Path) -> Rows:
    """Raises UsageError for a table without scores, of one class, or scored by several models of one name."""
    found = read_set(path, "fusion")
    stars, labels = _label(found)
    folds = found.table.column("fold").to_numpy().astype(np.uint8)
    for fold in range(int(folds.max()) + 1):
        for part in (labels[folds == fold], labels[folds != fold]):
            if part.all() or not part.any():
                raise UsageError(f"{found.name}: one class only in or beside fold {fold}: more stars are needed")
    entries = choose_entries(found.table)
    if not entries:
        raise UsageError(f"{found.name}: no score of a model and no check, such as {', '.join(list(ENTRIES)[:4])}")
    values = np.stack([enter_values(found.table, name, enter) for name, enter in entries.items()], 1)
    edges = np.stack([np.nanmin(values, 0), np.nanmax(values, 0)], 1).tolist()
    columns = tuple(
        Input(name=name, enter=enter, low=low, high=high)
        for (name, enter), (low, high) in zip(entries.items(), edges, strict=True)
    )
    return Rows(
        found, stars, names_of(found.table)[1], labels, folds, Inputs(columns=columns, models=_models_of(found)), values
    )


def _label(found: LabelledTable) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
    """(n,) stars and labels. Raises UsageError for one class only."""
    stars, labels = (np.array(found.table.column(name).to_pylist(), str) for name in ("target_id", "label"))
    planets = positive(labels, TASK.positives)
    if planets.all() or not planets.any():
        raise UsageError(f"{found.name}: one class only for {TASK.name} ({TASK.meaning})")
    return stars, planets


def _models_of(found: LabelledTable) -> dict[str, str]:
    """Name and id of the models that scored the set."""
    if "models" not in found.table.column_names:
        return {}
    pairs = {(one["name"], one["id"]) for models in found.table.column("models").to_pylist() for one in models or ()}
    several = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if several:
        raise UsageError(f"{found.name}: scores of more than one model called {several[0]}: give rows scored by one")
    return dict(sorted(pairs))


@dataclass(frozen=True)
class Outcome:
    """Regressions of all folds, and what they are worth on the stars that each never saw."""

    blends: tuple[Blend, ...]
    scores: Values
    probabilities: Values
    calibration: Calibration
    fold_calibrations: tuple[Calibration, ...]
    threshold: float
    figures: dict[str, Any]


def judge_blends(rows: Rows, config: TrainConfig, *, draws: int = DRAWS) -> Outcome:
    """Figures beside those of the best single input, as the same regression makes it of that input alone."""
    values, labels, folds = rows.values, rows.labels, rows.folds
    blends = fit_blends(values, labels, folds)
    scores = score_held(blends, values, folds)
    fold_calibrations = fit_by_fold(scores, labels, folds, config.calibration)
    probabilities = calibrate_by_fold(fold_calibrations, scores, folds)
    threshold = best_threshold(labels, probabilities)
    alone = {name: _score_alone(values[:, [k]], labels, folds) for k, name in enumerate(rows.names)}
    each = {name: average_precision(labels, found) for name, found in alone.items()}
    best = max(each, key=lambda name: each[name])
    floor = beside(labels, scores, alone[best], folds, rows.stars, draws)
    figures = measure(labels, scores, probabilities, rows.stars, threshold, draws=draws) | {
        "across_folds": decided_across(labels, probabilities, folds),
        "by_fold": by_fold(labels, scores, folds),
        "alone": each,
        "best_alone": best,
        "floor": floor | {"name": f"{best} alone, same folds"},
    }
    calibration = CALIBRATORS[config.calibration](scores, labels)
    return Outcome(blends, scores, probabilities, calibration, fold_calibrations, threshold, figures)


def _score_alone(values: Values, labels: NDArray[np.bool_], folds: NDArray[np.uint8]) -> Values:
    return score_held(fit_blends(values, labels, folds), values, folds)


def _make_record(rows: Rows, outcome: Outcome, config: TrainConfig, begun: datetime) -> ModelRecord:
    found = rows.found
    return ModelRecord(
        name=TASK.name,
        task=TASK.name,
        meaning=TASK.meaning,
        kind="fusion",
        network=Blends(blends=outcome.blends, fold_calibrations=outcome.fold_calibrations).model_dump(mode="json"),
        inputs=rows.inputs.model_dump(mode="json"),
        calibration=outcome.calibration,
        threshold=outcome.threshold,
        missions=tuple(found.provenance.get("missions", ())),
        simulated=str(found.provenance["simulated"]),
        training={
            "set": found.name,
            "set_sha256": found.sha256,
            "rows": len(rows.stars),
            "stars": outcome.figures["stars"],
            "notes": notes_of(found),
            "settings": {"calibration": config.calibration, "strength": STRENGTH},
            "begun": begun.isoformat(timespec="seconds"),
            "versions": {name: version(name) for name in ("transit-survey", "scikit-learn", "numpy")},
        },
        figures=outcome.figures,
    )


def notes_of(found: LabelledTable) -> list[str]:
    """What a reader of figures measured on a table ought to know."""
    circular = found.provenance["configuration"].get("unlisted") == "J"
    return [*NOTES, *([CIRCULAR] if circular else [])]


CIRCULAR: Final = (
    "Rows labelled J are signals that the gate refused: the checks that told them so are among the inputs, so that the "
    "figures flatter the fusion."
)

NOTES: Final = (
    "The scores that enter may be those of models that were trained on stars of this set. Each such star was scored by "
    "members that had not seen it, but the folds of the models need not be those of the fusion.",
)


def measure_fusion(artifact: Artifact, path: Path, config: Config, *, draws: int = DRAWS) -> Evaluation:
    """Figures of a fusion on another labelled table. Raises UsageError for a table that it cannot read."""
    found = read_set(path, "fusion")
    stars, labels = _label(found)
    scores = score_fusion(artifact, found.table)
    figures = {
        "model": artifact.record.name,
        "model_id": artifact.id,
        "task": TASK.name,
        "meaning": TASK.meaning,
        "set": found.name,
        "set_sha256": found.sha256,
        "simulated": str(found.provenance["simulated"]),
        "seen_rows": int(scores.seen.sum()),
        "outside_rows": sum(map(bool, scores.outside)),
        "notes": notes_of(found),
        **measure(labels, scores.score, scores.probability, stars, artifact.record.threshold, draws=draws),
        "spread": mean_spread(scores.spread),
    }
    return Evaluation(f"{artifact.record.name} on {found.name}", figures, labels, scores.score, scores.probability)


CARD: Final = """# {name}

Tells {meaning}: a logistic regression, fitted out of fold by star.

| | |
|---|---|
| trained on | {set}: {rows:,} rows of {stars:,} stars |
| simulated | {simulated} |
| models whose scores enter | {models} |
| base rate | {base_rate:.3f} |

## How well it does

Out of fold, intervals: 95%, of a bootstrap over stars. Beside it each input alone, by the same regression.

| figure | value |
|---|---|
| average precision | {precision} |
| area under the ROC curve | {auc} |
| Brier score, ECE | {brier:.4f}, {ece:.4f} |
| gain over {best} alone | {gain} |
{alone}

## Coefficients

Log odds of the first fold's regression: the bias is {bias:.3f}; each input adds its weight times its value, or, where
it is missing, a constant.

| input | enters as | weight | where missing |
|---|---|---|---|
{coefficients}

## Limits

- A probability holds at the base rate of the training set, and for scores of the very models named above.
{limits}
"""


def _make_card(record: ModelRecord) -> str:
    figures, training = record.figures, record.training
    inputs, blend = Inputs.model_validate(record.inputs), Blends.model_validate(record.network).blends[0]
    coefficients = zip(inputs.columns, blend.weights, blend.missing, strict=True)
    return CARD.format(
        name=record.name,
        meaning=record.meaning,
        set=training["set"],
        rows=training["rows"],
        stars=training["stars"],
        simulated=record.simulated or "nothing",
        models=", ".join(f"{name} {id_[:12]}" for name, id_ in inputs.models.items()) or "not said",
        base_rate=figures["base_rate"],
        precision=interval_words(figures["average_precision"]),
        auc=interval_words(figures["roc_auc"]),
        brier=figures["brier"],
        ece=figures["ece"],
        best=figures["best_alone"],
        gain=interval_words(figures["floor"]["gain"]),
        alone="\n".join(
            f"| average precision of {name} alone | {value:.3f} |" for name, value in figures["alone"].items()
        ),
        bias=blend.bias,
        coefficients="\n".join(f"| {part.name} | {part.enter} | {w:+.4g} | {m:+.4g} |" for part, w, m in coefficients),
        limits="\n".join(f"- {note}" for note in training["notes"]),
    )
