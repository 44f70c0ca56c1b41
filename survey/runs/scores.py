"""What the models of a sweep say of its signals and stars, the same bits whoever else is in the batch.

Signals are shown as views and difference images, in the form of schema.FEATURES, whether they come from the stages or
from a run folder; stars as light curves. A model that fails costs scores, never a star: what it did not score says why.
"""

import hashlib
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from survey import schema
from survey.config import ScoreConfig
from survey.errors import UsageError
from survey.signals.views import VIEW_SPECS

Row = dict[str, Any]
Floats = NDArray[np.float32]
Key = tuple[str, int]
"""Star and number of a signal."""

HIDDEN_SCALARS: Final = {"triage-201-61": frozenset({"snr"})}
"""Scalars that mean something else in the sets of a spec than in a sweep, and stay out: the S/N of Yu et al. (2019) is
that of VARTOOLS in FFI light curves, a tenth to two thirds of ours for the same transits."""

STACK: Final = (32, 24, 24)


@dataclass(frozen=True)
class Model:
    """A model that scores. name: one of schema.MODELS; spec: of the views that it reads, if it reads any."""

    name: str
    id: str
    artifact: Any
    spec: str | None = None


def load_models(score: ScoreConfig) -> tuple[Model, ...]:
    """The configured models, read once a process. Raises UsageError where one is missing, damaged or unfit."""
    given = {name: getattr(score, name) for name in schema.MODELS}
    return tuple(_load_as(name, model) for name, model in given.items() if model is not None)


def _load_as(name: str, given: str) -> Model:
    from survey.learning.artifact import MODEL, find_artifact

    try:
        folder = find_artifact(given)
        return _load(name, folder, hashlib.sha256((folder / MODEL).read_bytes()).hexdigest())
    except UsageError as error:
        raise UsageError(f"score.{name}: {error} (score.{name}=none does without)") from None
    except OSError as error:
        raise UsageError(f"score.{name}: cannot read {given}: {(error.strerror or str(error)).lower()}") from None


@lru_cache(maxsize=32)
def _load(name: str, folder: Path, model_id: str) -> Model:
    """model_id: part of the key, so that a model that was trained again is read again."""
    if name in STAR_MODELS:
        return Model(name, model_id, STAR_MODELS[name].load(folder))
    return Model(name, model_id, *SIGNAL_MODELS[name].load(folder))


def _load_classifier(task: str, folder: Path) -> tuple[Any, str]:
    from survey.learning.artifact import load_artifact

    artifact = load_artifact(folder)
    if artifact.record.task != task:
        raise UsageError(f"{folder} learnt {artifact.record.task}, not {task}")
    spec = getattr(artifact.inputs, "view_spec", None)
    if spec not in VIEW_SPECS:
        raise UsageError(
            f"{folder} reads {f'views of the form {spec}' if spec else 'no views of a known form'}; a sweep makes "
            f"{', '.join(VIEW_SPECS)}"
        )
    return artifact, str(spec)


def _load_pixels(folder: Path) -> tuple[Any, None]:
    return _load_network("pixel_cnn", folder), None


def _load_network(kind: str, folder: Path) -> Any:
    """Raises UsageError for a model of another kind."""
    from survey.learning.artifact import load_artifact

    artifact = load_artifact(folder)
    if artifact.record.kind != kind:
        raise UsageError(f"{folder} is of kind {artifact.record.kind}, not {kind}")
    return artifact


@dataclass
class Scored:
    """What the models say of one star. values: its columns; signals: fields of each TCE by number; used: ids by
    name of the models that gave a score; notes, tracebacks: of models that failed on its light curve, and at all."""

    values: Row = field(default_factory=dict)
    signals: dict[int, Row] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)


def score_stars(
    stars: Sequence[Row],
    features: pa.Table,
    models: Sequence[Model],
    light_of: Callable[[Row], "Light | None"] = lambda star: None,
) -> list[Scored]:
    """What the models say of every star, in order.

    stars: rows with target_id, mission and tces; features: rows of schema.FEATURES, those of other stars count nothing;
    light_of: the light curve of a star, None where that is not to be scored.
    """
    blank: Row = {name.name: None for name in schema.SCORE_FIELDS}
    if any(model.name in SIGNAL_MODELS for model in models):
        blank |= {"out_of_support": (), "not_scored": ()}
    found = [Scored(signals={tce["number"]: dict(blank) for tce in star["tces"]}) for star in stars]
    cases = {
        (star["target_id"], tce["number"]): Case(star, tce, scored)
        for star, scored in zip(stars, found, strict=True)
        for tce in star["tces"]
    }
    if of_light := [model for model in models if model.name in STAR_MODELS]:
        for star, scored in zip(stars, found, strict=True):
            light = light_of(star)
            for model in of_light:
                _score_light(model, star, light, scored)
    for model in models:
        if model.name in SIGNAL_MODELS:
            for key, answer in _ask(model, features, cases).items():
                _note(model, cases[key], answer)
    return found


@dataclass(frozen=True)
class Case:
    """A signal, its star, and what is known of the star so far."""

    star: Row
    tce: Row
    scored: Scored

    @property
    def fields(self) -> Row:
        """Of schema.SCORE_FIELDS, so far."""
        return self.scored.signals[self.tce["number"]]


Answer = Row | str
"""probability, spread, score and outside of a signal; or why there are none."""


def _note(model: Model, case: Case, answer: Answer) -> None:
    fields = case.fields
    if isinstance(answer, str):
        fields["not_scored"] += (f"{model.name}: {answer}",)
        return
    outside = [*answer["outside"], *_outside_sweep(model, case)]
    fields["out_of_support"] += tuple(f"{model.name}: {word}" for word in outside)
    fields |= {f"{model.name}_{word}": answer[word] for word in ("probability", "spread", "score")}
    case.scored.used[model.name] = model.id


def _outside_sweep(model: Model, case: Case) -> list[str]:
    """What no network sees by itself: another mission's light, and that there was one transit only."""
    return _outside_missions(model, case.star) + (["single_transit"] if case.tce["period"] is None else [])


def _outside_missions(model: Model, star: Row) -> list[str]:
    """A model whose record does not say what it was trained on is held against nothing."""
    missions = getattr(model.artifact.record, "missions", ())
    return ["mission"] if missions and star["mission"] not in missions else []


def _ask(model: Model, features: pa.Table, cases: Mapping[Key, Case]) -> dict[Key, Answer]:
    """The model's answer on every signal. Where a batch fails, each star is asked for alone and answers for itself."""
    part = SIGNAL_MODELS[model.name]
    shown = part.show(model, features, cases)
    answers: dict[Key, Answer] = dict.fromkeys(cases, part.absent)
    answers |= {key: "what it would read holds NaN" for key in shown.keys if key in cases}
    rows = [k for k in np.flatnonzero(shown.whole).tolist() if shown.keys[k] in cases]
    try:
        return answers | _score(model, shown, rows, cases)
    except Exception:  # noqa: BLE001  asked again star by star, where the error has a name
        for name in dict.fromkeys(shown.keys[k][0] for k in rows):
            answers |= _score_alone(model, shown, [k for k in rows if shown.keys[k][0] == name], cases)
        return answers


def _score_alone(model: Model, shown: "Shown", rows: Sequence[int], cases: Mapping[Key, Case]) -> dict[Key, Answer]:
    try:
        return _score(model, shown, rows, cases)
    except Exception as error:  # noqa: BLE001  a defect costs scores, not the star
        cases[shown.keys[rows[0]]].scored.tracebacks.append(traceback.format_exc())
        return dict.fromkeys((shown.keys[k] for k in rows), f"{type(error).__name__}: {error}")


def _score(model: Model, shown: "Shown", rows: Sequence[int], cases: Mapping[Key, Case]) -> dict[Key, Answer]:
    if not rows:
        return {}
    keys = [shown.keys[k] for k in rows]
    arrays = tuple(np.ascontiguousarray(array[list(rows)]) for array in shown.arrays)
    scores = SIGNAL_MODELS[model.name].score(model, [cases[key] for key in keys], arrays)
    return {
        key: {
            "probability": _known(scores.probability[k]),
            "spread": _known(scores.spread[k]),
            "score": _known(scores.score[k]),
            "outside": scores.outside[k],
        }
        for k, key in enumerate(keys)
    }


def _known(value: float) -> float | None:
    """A model without calibration has no probabilities."""
    return float(value) if np.isfinite(value) else None


# What each kind of model reads


@dataclass(frozen=True)
class Shown:
    """What a model reads of n signals. arrays: each (n, ...); whole: (n,) finite throughout."""

    keys: list[Key]
    arrays: tuple[Floats, ...]
    whole: NDArray[np.bool_]


def _show_views(model: Model, features: pa.Table, cases: Mapping[Key, Case]) -> Shown:
    rows = features.filter(pc.equal(features.column("spec"), model.spec)).combine_chunks()
    return _show(rows, tuple(_matrix(rows, name) for name in ("global_view", "local_view", "secondary_view")))


def _show_stacks(model: Model, features: pa.Table, cases: Mapping[Key, Case]) -> Shown:
    rows = features.filter(pc.is_valid(features.column("pixel_stack"))).combine_chunks()
    return _show(rows, (_matrix(rows, "pixel_stack").reshape(-1, *STACK),))


def _show_all(model: Model, features: pa.Table, cases: Mapping[Key, Case]) -> Shown:
    """What a fusion reads stands in the rows themselves."""
    return Shown(list(cases), (), np.ones(len(cases), bool))


def _show(rows: pa.Table, arrays: tuple[Floats, ...]) -> Shown:
    keys = list(zip(rows.column("target_id").to_pylist(), rows.column("number").to_pylist(), strict=True))
    whole = np.ones(len(keys), bool)
    for array in arrays:
        whole &= np.isfinite(array.reshape(len(keys), -1)).all(1) if keys else True
    return Shown(keys, arrays, whole)


def _matrix(rows: pa.Table, name: str) -> Floats:
    """A column of equally long lists as (n, length)."""
    lists = list(schema.series(rows, name))
    return np.stack([np.asarray(values, np.float32) for values in lists]) if lists else np.empty((0, 0), np.float32)


SCALARS: Final = ("period", "duration_h", "depth_ppm", "snr")


def known_scalars(tces: Sequence[Mapping[str, Any]], spec: str | None) -> dict[str, NDArray[np.float64]]:
    """(n,) scalars of signals that a model of views of this form may see, NaN where not measured."""
    return {
        name: np.array([np.nan if tce[name] is None else tce[name] for tce in tces], np.float64)
        for name in SCALARS
        if name not in HIDDEN_SCALARS.get(spec or "", frozenset())
    }


def _score_views(model: Model, cases: Sequence[Case], views: tuple[Floats, ...]) -> Any:
    from survey.learning.views import score_views

    scalars = known_scalars([case.tce for case in cases], model.spec)
    stars = np.array([case.star["target_id"] for case in cases])
    return score_views(model.artifact, stars, views[0], views[1], views[2], scalars, model.spec)


def _score_stacks(model: Model, cases: Sequence[Case], stacks: tuple[Floats, ...]) -> Any:
    from survey.learning.pixels import score_stacks

    return score_stacks(model.artifact, np.array([case.star["target_id"] for case in cases]), stacks[0])


def _score_all(model: Model, cases: Sequence[Case], nothing: tuple[Floats, ...]) -> Any:
    from survey.learning.fusion import score_fusion

    rows = [
        {name: case.star.get(name) for name in FUSED.names}
        | case.scored.values
        | case.tce
        | case.fields
        | {"models": models_used(case.scored)}
        for case in cases
    ]
    return score_fusion(
        model.artifact, schema.rows_table([{name: row[name] for name in FUSED.names} for row in rows], FUSED)
    )


FUSED: Final = pa.schema(
    [
        schema.TARGET.field("target_id"),
        *schema.SCORED_TCE_FIELDS,
        *[
            field
            for field in schema.STAR_SCORE_FIELDS
            if field.name in ("star_score", "star_probability", "period_probability", "anomaly_score")
        ],
    ]
)


def _load_fusion(folder: Path) -> tuple[Any, None]:
    from survey.learning.fusion import load_fusion

    return load_fusion(folder), None


@dataclass(frozen=True)
class SignalModel:
    """load: (artifact, spec of its views) of a folder; show: what it reads; score: Scores of n cases; absent: why a
    signal has none to show."""

    load: Callable[[Path], tuple[Any, str | None]]
    show: Callable[[Model, pa.Table, Mapping[Key, Case]], Shown]
    score: Callable[[Model, Sequence[Case], tuple[Floats, ...]], Any]
    absent: str


SIGNAL_MODELS: Final = {
    **{
        task: SignalModel(partial(_load_classifier, task), _show_views, _score_views, "no views")
        for task in ("triage", "vetting")
    },
    "pixels": SignalModel(_load_pixels, _show_stacks, _score_stacks, "no difference images"),
    "fusion": SignalModel(_load_fusion, _show_all, _score_all, ""),
}


def flat_features(views: pa.ChunkedArray, target_ids: pa.ChunkedArray) -> pa.Table:
    """Views nested in the rows of stars (schema.VIEWS) as rows of schema.FEATURES."""
    nested = views.combine_chunks()
    flat = pc.list_flatten(nested)
    owners = target_ids.take(pc.list_parent_indices(nested))
    columns = [owners.combine_chunks(), *(pc.struct_field(flat, name) for name in schema.FEATURES.names[1:])]
    return pa.Table.from_arrays(columns, schema=schema.FEATURES)


def models_used(scored: Scored) -> list[Row]:
    """For the column `models` of a star."""
    return [{"name": name, "id": scored.used[name]} for name in schema.MODELS if name in scored.used]


# Light curves


@dataclass(frozen=True)
class Light:
    """time: (d,) days since time_zero; raw: flux about 1; flat: flux over trend, finite and not clipped upwards."""

    time: NDArray[np.float64]
    raw: Floats
    flat: Floats
    cadence_s: float


def _score_light(model: Model, star: Row, light: Light | None, scored: Scored) -> None:
    if light is None or len(light.time) == 0:
        return
    try:
        values, outside = STAR_MODELS[model.name].score(model, star["target_id"], light)
    except Exception as error:  # noqa: BLE001  a defect costs scores, not the star
        scored.tracebacks.append(traceback.format_exc())
        scored.notes.append(f"not scored by {model.name}: {type(error).__name__}: {error}")
        return
    words = [f"{model.name}: {word}" for word in (*outside, *_outside_missions(model, star))]
    scored.values |= values | {"star_out_of_support": [*scored.values.get("star_out_of_support", ()), *words]}
    scored.used[model.name] = model.id


def _score_segments(model: Model, star: str, light: Light) -> tuple[Row, Sequence[str]]:
    from survey.learning.segments import score_segments

    found = score_segments(model.artifact, star, light.time, light.raw, light.flat, light.cadence_s)
    return {
        "segment_times": found.middle,
        "segment_probabilities": found.probability,
        "num_segments": found.number,
        "star_score": found.star_score,
        "star_score_max": found.star_max,
        "star_probability": found.star_probability,
    }, found.outside


def _score_periods(model: Model, star: str, light: Light) -> tuple[Row, Sequence[str]]:
    from survey.learning.periods import score_periods

    found = score_periods(model.artifact, star, light.time, light.flat, light.cadence_s)
    return {"period_probs": found.probabilities, "period_probability": _known(found.probability)}, found.outside


def _find_anomalies(model: Model, star: str, light: Light) -> tuple[Row, Sequence[str]]:
    from survey.learning.anomaly import find_anomalies

    found = find_anomalies(model.artifact, star, light.time, light.flat, light.cadence_s)
    stretches = [
        {"begin": part.begin, "end": part.end, "n_points": part.n_points, "votes": part.votes}
        for part in found.intervals
    ]
    return {"anomaly_score": None if found.score is None else _known(found.score), "anomalies": stretches}, ()


def _load_detector(folder: Path) -> Any:
    from survey.learning.anomaly import load_detector

    return load_detector(folder)


@dataclass(frozen=True)
class StarModel:
    """load: the model of a folder; score: columns of a star, and what in its light the model never saw."""

    load: Callable[[Path], Any]
    score: Callable[[Model, str, Light], tuple[Row, Sequence[str]]]


STAR_COLUMNS: Final = {
    "segments": (
        "segment_times",
        "segment_probabilities",
        "num_segments",
        "star_score",
        "star_score_max",
        "star_probability",
    ),
    "periods": ("period_probs", "period_probability"),
    "anomaly": ("anomaly_score", "anomalies"),
}
"""Model of light curves -> what it says of a star."""

STAR_MODELS: Final = {
    "segments": StarModel(partial(_load_network, "inception1d"), _score_segments),
    "periods": StarModel(partial(_load_network, "period_net"), _score_periods),
    "anomaly": StarModel(_load_detector, _find_anomalies),
}
