"""Requests, checked, and answers, described: pydantic models of which the service's OpenAPI is made.

Requests are strict: a text is no number, true is none, and unknown keys are refused. Where they come as texts, as in a
query or a form, `Form.model_validate_strings` reads them under the same bounds. Answers are not validated on their way
out; the tests do that.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

import pyarrow as pa
import pydantic
from pydantic import ConfigDict, Field, WithJsonSchema

from survey import schema

LONGEST_WAIT: Final = 60.0
"""Seconds that a request may wait for its answer."""

SHORTEST_PERIOD: Final = 0.2
"""Days; no planet goes round faster, and a search takes the longer the shorter its periods."""

LONGEST_PERIOD: Final = 10_000.0
"""Days; longer than any light curve."""


class Request(pydantic.BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


Observation = Annotated[int, Field(ge=0, le=10_000)]
Period = Annotated[float, Field(ge=SHORTEST_PERIOD, le=LONGEST_PERIOD, description="days")]
Wait = Annotated[
    float,
    Field(ge=0, le=LONGEST_WAIT, description="seconds to wait for the answer; what takes longer goes on as a job"),
]
Contamination = Annotated[
    float, Field(ge=0.0001, le=0.5, description="share of the windows of quiet light that count as strange")
]
Window = Annotated[int, Field(ge=10, le=2000, description="points of a window")]


class Star(Request):
    """A star of the archive."""

    target: str = Field(
        min_length=1, max_length=64, description="TIC 441462736, KIC 757076, EPIC 201367065, TOI-700 or K00752.01"
    )
    observations: list[Observation] | None = Field(
        None, max_length=200, description="only these sectors, quarters or campaigns; null: all there are"
    )


class ScoreSettings(Request):
    """How a star is searched, and what of it is answered."""

    period_min: Period | None = Field(None, description="shortest period that is searched, days")
    period_max: Period | None = Field(None, description="longest period that is searched, days")
    plot: bool = Field(False, description="answer what a plot needs, too")
    format: Literal["json", "png"] = Field("json", description="png: the sheet of evidence of one signal")
    tce: int | None = Field(None, ge=1, le=100, description="the signal of the sheet; null: the strongest candidate")
    wait: Wait | None = Field(None, description=f"null: as the service is set, at most {LONGEST_WAIT:.0f} s")

    @pydantic.model_validator(mode="after")
    def _check_periods(self) -> Self:
        if self.period_min is not None and self.period_max is not None and self.period_min >= self.period_max:
            raise ValueError(f"period_min, {self.period_min:g} d, must be less than period_max, {self.period_max:g} d")
        return self


class AnomalySettings(Request):
    """What counts as strange."""

    model: str = Field(
        "anomaly",
        pattern=r"^(anomaly|own|detector-[0-9a-f]{8})$",
        description="anomaly: the one that comes with the survey; own: fit on the star itself; or a trained one's id",
    )
    contamination: Contamination | None = Field(None, description="null: as the model was trained")
    window: Window | None = Field(None, description="null: as the model was trained; another one only with own")
    vote_threshold: float | None = Field(
        None,
        ge=0.01,
        le=1,
        description="share of the windows over a point that must be strange to flag it; null: as the model was trained",
    )
    wait: Wait | None = Field(None, description=f"null: as the service is set, at most {LONGEST_WAIT:.0f} s")


class TrainSettings(Request):
    """How a detector of anomalies is trained."""

    contamination: Contamination | None = Field(None, description="null: 0.05")
    window: Window | None = Field(None, description="null: 50")


class UploadSettings(Request):
    """What the file itself may not say."""

    mission: Literal["tess", "kepler", "k2"] | None = Field(None, description="null: as the file says")
    time_zero: float | None = Field(
        None, ge=0, le=3_000_000, description="BJD of the file's time 0; null: as the file says"
    )


class ScoreRequest(ScoreSettings, Star): ...


class AnomalyRequest(AnomalySettings, Star): ...


class TrainRequest(TrainSettings):
    simulated: int = Field(100, ge=1, le=1000, description="simulated stars to learn from")


# The row


_KINDS: Final = (
    (pa.types.is_string, "string"),
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_integer, "integer"),
    (pa.types.is_floating, "number"),
)


def row_schema() -> dict[str, Any]:
    """The JSON schema of a star's row: schema.KEPT with its descriptions and units; nearly all of it may be null."""
    found = _object_schema(schema.KEPT)
    found["title"] = "Row"
    found["description"] = "What a sweep keeps of a star; null: not measured. Times are days since time_zero."
    found["properties"]["target_id"]["type"] = found["properties"]["status"]["type"] = "string"
    found["properties"]["status"]["enum"] = list(schema.STATUSES)
    return found


def _object_schema(fields: Any) -> dict[str, Any]:
    """fields: pyarrow fields; all of them are always there."""
    properties = {field.name: _field_schema(field) for field in fields}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _field_schema(field: pa.Field) -> dict[str, Any]:
    metadata: Mapping[bytes, bytes] = field.metadata or {}
    unit = metadata.get(b"unit", b"").decode()
    described = {"description": metadata.get(b"description", b"").decode(), **({"x-unit": unit} if unit else {})}
    return _type_schema(field.type, null=True) | described


def _type_schema(kind: pa.DataType, *, null: bool) -> dict[str, Any]:
    if pa.types.is_list(kind):
        found: dict[str, Any] = {"type": "array", "items": _type_schema(kind.value_type, null=not _is_struct(kind))}
    elif pa.types.is_struct(kind):
        found = _object_schema(list(kind))
    else:
        found = {"type": next(word for is_kind, word in _KINDS if is_kind(kind))}
    return found | {"type": [found["type"], "null"]} if null else found


def _is_struct(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind.value_type)


# Answers


class Answer(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid")


Numbers = list[float | None]
"""Null for what is not measured; the lists of one object are equally long."""


class LightSeries(Answer):
    """Flux about 1 before detrending, and what was divided out."""

    time: Numbers
    flux: Numbers
    trend: Numbers


class IntervalSeen(Answer):
    """A run of flagged points. peak: where it is furthest from the star's median, by `sigmas` (negative: below)."""

    begin: float
    end: float
    peak: float
    kind: Literal["dip", "brightening", "noise"]
    sigmas: float | None
    votes: float | None = Field(description="mean share of the windows over it that are strange")
    n_points: int


class AnomaliesSeen(Answer):
    """What is unlike the light of quiet stars."""

    score: float | None = Field(description="of the star, ranking only: 0 is usual")
    intervals: list[IntervalSeen]
    points: list[int] = Field(description="flagged points, as places in light.time")


class SpectrumSeen(Answer):
    """The highest signal-to-noise ratio of the search about each period."""

    period: Numbers = Field(description="days, ascending")
    power: Numbers


class BinsSeen(Answer):
    hours: Numbers
    flux: Numbers
    error: Numbers


class LineSeen(Answer):
    hours: Numbers
    flux: Numbers


class CloseSeen(Answer):
    """The fold about the transit: hours from its middle, flux over trend."""

    hours: Numbers
    flux: Numbers
    bins: BinsSeen
    model: LineSeen = Field(description="a trapezoid of the signal's depth and duration, averaged over a cadence")


class WideSeen(Answer):
    """The whole orbit in bins; phase 0 is the transit."""

    phase: Numbers
    flux: Numbers
    error: Numbers


class SignalSeen(Answer):
    """One signal, folded without the transits of the others."""

    number: int
    label: str
    period: float | None
    epoch: float
    duration_h: float
    depth_ppm: float
    is_candidate: bool
    close: CloseSeen
    wide: WideSeen | None = Field(description="null for a single transit")


class PlotAnswer(Answer):
    """Arrays to draw, rounded to what a screen shows; times in days since time_zero."""

    time_zero: float = Field(description="BJD of time 0")
    cadence_s: float
    binned_min: float | None = Field(description="light is averaged over so many minutes; null: it is not")
    light: LightSeries
    anomalies: AnomaliesSeen | None = Field(description="null where no model looked for any")
    spectrum: SpectrumSeen | None = Field(description="null where the light is too short for any period")
    signals: list[SignalSeen]


class ModelUsed(Answer):
    name: str
    id: str


class Provenance(Answer):
    survey_version: str
    science_hash: str = Field(description="of all that decides the numbers: settings, code, models")
    source: str = Field(description="where the light curve came from")
    models: list[ModelUsed]
    request_id: str
    seconds: float


class ScoreAnswer(Answer):
    """What a sweep says of a star: the same numbers, bit for bit."""

    target_id: str
    status: Literal["ok", "no_data", "too_short", "bad_file", "fetch_failed", "failed"]
    error: str | None
    row: Annotated[dict[str, Any], WithJsonSchema(row_schema())] = Field(
        description="the object that `survey score --json` prints for the star"
    )
    plot: PlotAnswer | None
    provenance: Provenance
    meanings: dict[str, str] = Field(description="what each score of the row is: a calibrated probability, or a rank")


class FlaggedPoints(Answer):
    """Every flagged cadence; flux over trend."""

    time: list[float]
    flux: list[float]


class AnomalyAnswer(Answer):
    """What is strange in a star's light."""

    target_id: str
    status: Literal["ok", "no_data", "too_short", "bad_file", "fetch_failed", "failed"]
    error: str | None
    row: dict[str, Any] = Field(description="the object that `survey anomalies --json` prints for the star")
    flagged: FlaggedPoints | None
    plot: PlotAnswer | None
    provenance: Provenance
    meanings: dict[str, str]


class JobAnswer(Answer):
    """Work that outlasted its request; ask status_url again."""

    id: str
    kind: Literal["score", "train"]
    state: Literal["running", "done", "failed"]
    stage: str | None = Field(description="what is being done")
    seconds: float
    error: str | None
    result: dict[str, Any] | None = Field(description="the answer, where it is JSON")
    status_url: str
    result_url: str | None = Field(description="where the answer alone is, once it is there")


class Fault(Answer):
    code: str
    message: str = Field(description="what to do")
    request_id: str


class ErrorAnswer(Answer):
    error: Fault


class IntervalOfFigure(Answer):
    """A figure and its 95% interval."""

    value: float | None
    low: float | None
    high: float | None


class ModelAnswer(Answer):
    """A model, as it describes itself."""

    name: str
    id: str = Field(description="sha256 of its model.json")
    task: str
    version: str = Field(description="the first letters of the id")
    about: str = Field(description="what it tells apart")
    kind: str
    trained_on: str
    simulated: str | None = Field(description="what of that is; empty: nothing; null: it does not say")
    stars: int | None
    rows: int | None
    seen_by: list[str] = Field(description="missions whose light it has seen")
    inputs: str
    calibrated: bool = Field(description="whether it gives probabilities; if not, it only ranks")
    measure: str
    figure: IntervalOfFigure | None = Field(description="of stars that it was not trained on")
    base_rate: float | None = Field(description="share of positives, where it was measured")
    floor: float | None = Field(description="the same measure of what it must beat")
    limits: list[str]
    figures: dict[str, Any] = Field(description="all that was measured, as its record holds it")


class ModelsAnswer(Answer):
    models: list[ModelAnswer]


class RunAnswer(Answer):
    name: str
    created_at: str
    survey_version: str
    science_hash: str
    missions: dict[str, int]
    targets: int
    counts: dict[str, int] = Field(description="stars by status")
    signals: int
    passed: int = Field(description="signals that pass the gate")


class CandidatesAnswer(Answer):
    """The most convincing signals of a run, in the order of their ranks."""

    run: RunAnswer
    candidates: list[dict[str, Any]]
