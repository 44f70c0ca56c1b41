"""The models at hand, as they describe themselves: read from model.json alone, so that a table of them needs no torch.

For scoring, `artifact.load_artifact` reads and checks a whole model.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from survey.errors import UsageError

MODEL: Final = "model.json"

LARGEST: Final = 16 << 20
"""Bytes of a model.json at most."""

BARS: Final = {
    "triage": "0.975, and boosted trees",
    "vetting": "boosted trees",
    "segments": "boosted trees",
    "periods": "boosted trees",
    "pixels": "boosted trees",
    "anomaly": "points beyond 4 sigma",
    "fusion": "the best of its inputs",
}
"""What the average precision of each has to be above, for the model to be worth its weights."""


@dataclass(frozen=True)
class Description:
    """What a model says of itself. id: sha256 of model.json; calibrated: it gives probabilities, if not it only ranks;
    missions: whose light it has seen; trained_on: the set; simulated: what in it is, "" for nothing, None where the
    model does not say; figure: the measure that ranks, with low and high of its 95% interval where there is one; floor:
    the same measure of what it must beat, and gain: by how much it is above that."""

    name: str
    id: str
    folder: str
    task: str
    kind: str
    meaning: str
    calibrated: bool
    missions: Sequence[str]
    trained_on: str
    simulated: str | None
    stars: int | None
    rows: int | None
    inputs: str
    measure: str
    figure: Mapping[str, float | None] | None
    floor: float | None
    gain: Mapping[str, float | None] | None
    base_rate: float | None
    bar: str


def shipped() -> dict[str, Path]:
    """The models that come with the survey, by name."""
    root = Path(str(resources.files("survey.learning") / "weights"))
    return {path.parent.name: path.parent for path in sorted(root.glob(f"*/{MODEL}"))}


def describe(folder: str | Path) -> Description:
    """Raises UsageError where the folder holds no model that can be read."""
    folder = Path(folder)
    content, record = _read_record(folder)
    training, figures = _table(record, "training"), _figures(record)
    measure = next((name for name in MEASURES if isinstance(figures.get(name), dict | float)), "")
    return Description(
        name=str(record.get("name", folder.name)),
        id=hashlib.sha256(content).hexdigest(),
        folder=str(folder),
        task=str(record.get("task", "")),
        kind=str(record.get("kind", "")),
        meaning=str(record.get("meaning", "")),
        calibrated=record.get("calibrated") is not False,
        missions=[str(mission) for mission in record.get("missions") or ()],
        trained_on=_trained_on(training),
        simulated=_simulated(record, training),
        stars=training.get("stars"),
        rows=training.get("rows"),
        inputs=_input_words(record.get("inputs")),
        measure=MEASURES.get(measure, ""),
        figure=_interval(figures.get(measure)),
        floor=_floor(figures, measure),
        gain=_interval(_table(figures, "floor").get("gain")),
        base_rate=figures.get("base_rate"),
        bar=BARS.get(str(record.get("name")), ""),
    )


CARD: Final = "CARD.md"


def read_limits(folder: str | Path) -> list[str]:
    """What a model's card says of its limits, a paragraph each; none where it has no card."""
    try:
        card = (Path(folder) / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    said = card.partition("\n## Limits\n")[2].partition("\n## ")[0]
    return [" ".join(part.split()) for part in re.split(r"^- ", said, flags=re.MULTILINE)[1:]]


def read_figures(folder: str | Path) -> dict[str, Any]:
    """All that was measured of a model. Raises UsageError where the folder holds none that can be read."""
    return _table(_read_record(Path(folder))[1], "figures")


MEASURES: Final = {"average_precision": "average precision", "roc_auc": "area under the ROC curve"}
"""Of the figures of a model, those that rank, the best known first."""


def _read_record(folder: Path) -> tuple[bytes, dict[str, Any]]:
    path = folder / MODEL
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path}: too large")
        content = path.read_bytes()
        record = json.loads(content)
    except OSError as error:
        raise UsageError(
            f"no model in {folder}: cannot read {MODEL} ({(error.strerror or str(error)).lower()})"
        ) from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path}: not JSON") from None
    if not isinstance(record, dict):
        raise UsageError(f"{path}: no model's record")
    return content, record


def _figures(record: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a record; of a detector of anomalies those of windows with injected ones, in the same form."""
    figures = _table(record, "figures")
    windows = _table(_table(figures, "injected"), "windows")
    if not windows:
        return figures
    model, baseline = (_table(windows, name).get("average_precision") for name in ("model", "baseline"))
    floor = baseline.get("value") if isinstance(baseline, dict) else None
    return {"average_precision": model, "floor": {"average_precision": floor}, "base_rate": windows.get("base_rate")}


def _table(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = record.get(name)
    return found if isinstance(found, dict) else {}


def _trained_on(training: Mapping[str, Any]) -> str:
    imported = training.get("imported")
    if isinstance(imported, dict):
        return f"elsewhere: imported from {imported.get('file')}"
    curves = training.get("light_curves")
    return str(training.get("set") or (f"{curves} light curves" if curves else ""))


def _simulated(record: Mapping[str, Any], training: Mapping[str, Any]) -> str | None:
    """None of weights from elsewhere."""
    said = record.get("simulated")
    return said if isinstance(said, str) and "imported" not in training else None


def _input_words(inputs: Any) -> str:
    """triage-201-61; period, duration_h, snr"""
    if not isinstance(inputs, dict):
        return ""
    values = {name: value for name, value in inputs.items() if value not in (None, [], "")}
    words = [
        ", ".join(map(_called, value))
        if isinstance(value, list)
        else str(value)
        if name in NAMES
        else f"{name} {value}"
        for name, value in values.items()
        if not isinstance(value, dict)
    ]
    return "; ".join(words)


def _called(value: Any) -> str:
    return str(value.get("name", "")) if isinstance(value, dict) else str(value)


NAMES: Final = ("view_spec",)
"""Inputs whose value says enough."""


def _interval(found: Any) -> dict[str, float | None] | None:
    if isinstance(found, dict) and isinstance(found.get("value"), float):
        return {name: found.get(name) for name in ("value", "low", "high")}
    return {"value": found, "low": None, "high": None} if isinstance(found, float) else None


def _floor(figures: Mapping[str, Any], measure: str) -> float | None:
    floor = figures.get("floor")
    found = floor.get(measure) if isinstance(floor, dict) else None
    return found if isinstance(found, float) else None


# Whole


def check_files(folder: str | Path) -> list[str]:
    """What is wrong with the files of a model, in words: damaged, altered, lacking, or there without being listed."""
    folder = Path(folder)
    try:
        _, record = _read_record(folder)
    except UsageError as error:
        return [str(error)]
    files = _table(record, "files")
    if not files:
        return [f"{folder / MODEL}: lists no files"]
    problems = [problem for name, digest in sorted(files.items()) for problem in _check_file(folder, name, digest)]
    there = sorted(path.name for path in folder.iterdir())
    return problems + [f"{folder / name}: not listed in {MODEL}" for name in there if name not in (MODEL, *files)]


def _check_file(folder: Path, name: str, digest: Any) -> Iterable[str]:
    if Path(name).name != name:
        yield f"{folder / MODEL}: {name!r} is no name of a model's file"
        return
    try:
        with (folder / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        yield f"cannot read {folder / name}: {(error.strerror or str(error)).lower()}"
        return
    if found != digest:
        yield f"{folder / name}: damaged or altered, its sha256 is not the one in {MODEL}"


def describe_known(ids: Sequence[str]) -> dict[str, Description]:
    """The shipped models among those of such ids."""
    found = [describe(folder) for folder in shipped().values()]
    return {one.id: one for one in found if one.id in ids}
