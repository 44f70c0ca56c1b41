"""Labelled difference images: from a manifest of stacks, from a sweep, or from what was put into pixels.

A stack is an array (T, rows, columns) of difference images in order of time, 32 of 24 x 24 pixels where the survey
made it, or one image (rows, columns); as a file `pixdiff_KEPID.npy`. What a network reads is one image of 24 x 24: the
median over time, of mean 0 and variance 1. The middle of a smaller or larger cutout comes into pixel 12, counted from
0, where the target is in the stacks of the survey; beside a cutout there is its mean.

A manifest is a CSV with a row a file: `file` (or `path`), `label` (letters of the catalogues, or 0 and 1) and the star
(`kepid`, `tic_id`, `epic` or `target_id`). A list of labels that names no stacks becomes one by the stars' numbers in
the names of the files (`match_stacks`).
"""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars
import pyarrow as pa
import torch
from numpy.typing import NDArray

from survey.config import TrainConfig
from survey.errors import UsageError
from survey.learning.examples import Examples
from survey.learning.lesson import OWN, Lesson, Scored, Task
from survey.learning.metrics import average_precision, best_threshold, roc_auc
from survey.learning.models.pixel_cnn import KIND, LEAST_SIDE, SIZE, Inputs, Shape
from survey.learning.sets.audit import names_of
from survey.learning.sets.labels import KNOWN, LETTER_OF, PLANETS, positive
from survey.learning.sets.table import drop_copies, read_set, write_set
from survey.signals.difference import ABSURD

Floats = NDArray[np.float32]

TASK: Final = Task("pixels", "signals of the target itself (PC, KP, CP) against those that are not", PLANETS)

MOST_SIDE: Final = 1024
MOST_FRAMES: Final = 100_000

LEAST_RANGE: Final = 1e-100
"""Pixels that differ by less are alike: the squares of such numbers are 0."""

FILE_COLUMNS: Final = ("file", "path", "filename")
STAR_COLUMNS: Final = {"target_id": "", "kepid": "KIC ", "tic_id": "TIC ", "epic": "EPIC "}
"""Columns that name a row's star, and what is set before a bare number."""

ROW: Final = pa.schema(
    [
        pa.field("target_id", pa.string(), False),
        pa.field("other_names", pa.list_(pa.string())),
        pa.field("label", pa.string(), False),
        pa.field("image", pa.list_(pa.float32()), False),
        pa.field("file", pa.string()),
        pa.field("mission", pa.string()),
        pa.field("origin", pa.string(), False),
        pa.field("centroid_offset", pa.float64()),
        pa.field("centroid_significance", pa.float64()),
        pa.field("true_offset", pa.float64()),
        pa.field("strength", pa.float64()),
    ]
)
"""Beside the image (24 x 24): the file or product; origin: "file", "run", "injected" (into real pixels) or "simulated";
centroid_offset (pixels) and centroid_significance (sigmas) as `signals.pixels` measures them; true_offset (pixels) and
strength (S/N) of what was put in."""

_NUMBER = re.compile(r"\d{3,}")


# Images


def standard_image(stack: NDArray[Any], name: str = "the stack") -> Floats:
    """(24, 24) image that a network reads, of a stack (T, rows, columns) or one image (rows, columns).

    Pixels that are not finite were not observed. Raises UsageError for other shapes, and where no two pixels differ.
    """
    image = _standardise(_centre(_collapse(_check_stack(stack, name))))
    if not image.any():
        raise UsageError(
            f"{name}: {'all its pixels are alike' if np.isfinite(stack).any() else 'no pixel is a number'}"
        )
    return image


def standard_images(stacks: NDArray[np.floating]) -> Floats:
    """(n, 24, 24) images of stacks (n, T, rows, columns); all 0 where no two pixels differ."""
    images = [_standardise(_centre(_collapse(stack))) for stack in stacks]
    return np.array(images, np.float32).reshape(-1, SIZE, SIZE)


def _check_stack(stack: NDArray[Any], name: str) -> NDArray[Any]:
    """(T, rows, columns)"""
    if stack.dtype.kind not in "fiu" or stack.ndim not in (2, 3):
        raise UsageError(
            f"{name}: {stack.dtype} of shape {stack.shape}: difference images are numbers of shape (T, rows, columns)"
        )
    frames, *sides = stack.shape if stack.ndim == 3 else (1, *stack.shape)
    if not 1 <= frames <= MOST_FRAMES or not all(LEAST_SIDE <= side <= MOST_SIDE for side in sides):
        raise UsageError(
            f"{name}: {frames} images of {sides[0]} x {sides[1]} pixels: sides of {LEAST_SIDE} to {MOST_SIDE} pixels "
            "are possible"
        )
    return stack.reshape(frames, *sides)


def _collapse(stack: NDArray[Any]) -> NDArray[np.float64]:
    """(rows, columns) median over time of what was observed, less its mean; 0 where nothing was."""
    frames = stack.astype(np.float64)
    frames[~(np.abs(frames) < ABSURD)] = np.nan
    seen = np.isfinite(frames).any(axis=0)
    image = np.zeros(seen.shape)
    level = np.nanmedian(frames[:, seen], axis=0) if seen.any() else np.zeros(1)
    if np.ptp(level) > 0:
        image[seen] = level - level.mean()
    return image


def _centre(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The middle SIZE x SIZE pixels; beside a smaller image, 0."""
    rows, columns = (np.arange(side) - side // 2 + SIZE // 2 for side in image.shape)
    inside = [(place >= 0) & (place < SIZE) for place in (rows, columns)]
    centred = np.zeros((SIZE, SIZE))
    centred[np.ix_(rows[inside[0]], columns[inside[1]])] = image[np.ix_(*inside)]
    return centred


def _standardise(image: NDArray[np.float64]) -> Floats:
    """Of mean 0 and variance 1; all 0 where no two pixels differ."""
    if np.ptp(image) < LEAST_RANGE:
        return np.zeros(image.shape, np.float32)
    return ((image - image.mean()) / image.std()).astype(np.float32)


# Files


def read_stack(path: str | Path) -> NDArray[Any]:
    """The array of an .npy file. Raises UsageError for anything else; pickled objects are refused."""
    path = Path(path)
    try:
        # Mapped, a file that promises more than it holds is found out before memory is taken for it.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        pickled = any(word in str(error) for word in ("pickle", "Python objects"))
        reason = "a pickle, which is never loaded" if pickled else _first_line(error)
        raise UsageError(f"{path}: not a readable .npy of plain numbers ({reason})") from None
    if not isinstance(array, np.ndarray):
        raise UsageError(f"{path}: several arrays, where one of shape (T, rows, columns) is needed: give an .npy")
    return np.array(_check_stack(array, path.name))


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def star_in_name(path: Path) -> str | None:
    """pixdiff_9967771_clean.npy is of KIC 9967771; None where the name holds no number of a star."""
    found = _NUMBER.search(path.stem)
    return f"KIC {int(found[0])}" if found else None


def convert_stacks(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Writes the standard image (1, 24, 24) of each stack as NAME_clean.npy into a folder and returns their paths.

    Raises UsageError before anything is written where any stack is not fit, or two would have one name.
    """
    images = {folder / f"{path.stem}_clean.npy": standard_image(read_stack(path), path.name)[None] for path in paths}
    if len(images) < len(paths):
        raise UsageError("two stacks of one name: convert them into folders of their own")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, image in images.items():
            np.save(path, image, allow_pickle=False)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {(error.strerror or str(error)).lower()}") from None
    return list(images)


# Manifests


def read_manifest(path: str | Path) -> list[dict[str, Any]]:
    """file (Path), label and target_id of each row; paths count from the manifest's folder.

    Raises UsageError for a manifest that lacks columns or files, or whose labels are not known.
    """
    path = Path(path)
    table = _read_labels(path)
    column = next((name for name in FILE_COLUMNS if name in table.columns), None)
    if column is None:
        raise UsageError(
            f"{path.name}: no column {' or '.join(FILE_COLUMNS[:2])} with the stacks; it has {', '.join(table.columns)}"
        )
    files = [path.parent / str(name) for name in table[column]]
    lacking = [file for file in files if not file.is_file()]
    if lacking:
        raise UsageError(f"{path.name}: {len(lacking)} of {len(files)} files are not there, first {lacking[0]}")
    rows = zip(files, table["label"], table["target_id"], strict=True)
    return [{"file": file, "label": label, "target_id": star} for file, label, star in rows]


def match_stacks(labels: str | Path, folder: str | Path) -> list[dict[str, Any]]:
    """The rows of a manifest made of a list of labels by star (such as `residual_manifest.csv`) and a folder of
    stacks, matched by the numbers of the stars; stars without a stack are left out.

    Raises UsageError where none match, or one star has labels that contradict each other.
    """
    table = _read_labels(Path(labels))
    known: dict[str, str] = {}
    for star, label in zip(table["target_id"], table["label"], strict=True):
        if known.setdefault(star, label) != label:
            raise UsageError(f"{Path(labels).name}: {star} is {known[star]} in one row and {label} in another")
    files = sorted(Path(folder).glob("*.npy"))
    by_number = {star.rpartition(" ")[2]: star for star in known}
    rows = []
    for file in files:
        number = (star_in_name(file) or "").rpartition(" ")[2]
        if number in by_number:
            star = by_number[number]
            rows.append({"file": file, "label": known[star], "target_id": star})
    if not rows:
        raise UsageError(f"{folder}: none of its {len(files)} .npy files is of a star of {Path(labels).name}")
    return rows


def write_manifest(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A manifest as `read_manifest` reads it. Raises UsageError where it cannot be written."""
    path = Path(path)
    names = [os.path.relpath(row["file"], path.parent) for row in rows]
    table = polars.DataFrame(
        {"file": names, "target_id": [row["target_id"] for row in rows], "label": [row["label"] for row in rows]}
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table.write_csv(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None


def _read_labels(path: Path) -> polars.DataFrame:
    """A CSV with its `target_id` and `label` in the words of the survey."""
    try:
        table = polars.read_csv(path, infer_schema_length=0)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    except (polars.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name}: not a readable CSV ({_first_line(error)})") from None
    if table.is_empty():
        raise UsageError(f"{path.name}: no rows")
    star = next((name for name in STAR_COLUMNS if name in table.columns), None)
    if star is None or "label" not in table.columns:
        lacking = "label" if star else f"one of {', '.join(STAR_COLUMNS)}"
        raise UsageError(f"{path.name}: no column {lacking}; it has {', '.join(table.columns) or 'none'}")
    labels = [_label(word, path.name, row) for row, word in enumerate(table["label"])]
    stars = [_star(name, STAR_COLUMNS[star], path.name, row) for row, name in enumerate(table[star])]
    return table.with_columns(polars.Series("target_id", stars), polars.Series("label", labels))


def _label(word: str | None, name: str, row: int) -> str:
    text = (word or "").strip().upper()
    text = text[: -len(".0")] if text in ("0.0", "1.0") else LETTER_OF.get(text, text)
    if text not in KNOWN:
        raise UsageError(f"{name}: label '{word or ''}' in row {row}: known are {', '.join(KNOWN)}")
    return text


def _star(name: str | None, prefix: str, file: str, row: int) -> str:
    text = (name or "").strip().removesuffix(".0")
    if not text:
        raise UsageError(f"{file}: row {row} names no star")
    return f"{prefix}{int(text)}" if text.isdigit() else text


def manifest_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a set from those of a manifest: each file's standard image."""
    return [
        {
            "target_id": row["target_id"],
            "label": row["label"],
            "image": standard_image(read_stack(row["file"]), Path(row["file"]).name),
            "file": Path(row["file"]).name,
            "origin": "file",
        }
        for row in rows
    ]


# Sets


def write_pixels(path: str | Path, rows: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any]) -> str:
    """Writes rows (as ROW, what is lacking null) as a set and returns its sha256; exact copies are dropped.

    Raises UsageError for a set that is not fit to learn from.
    """
    columns = {field.name: pa.array([_plain(row.get(field.name)) for row in rows], field.type) for field in ROW}
    table, copies = drop_copies(pa.table(columns, schema=ROW))
    origins = {row["origin"] for row in rows}
    said = {"simulated": simulated_words(origins), "copies_dropped": copies}
    return write_set(path, "pixels", table, said | dict(provenance))


def _plain(value: Any) -> Any:
    return value.ravel() if isinstance(value, np.ndarray) else value


def simulated_words(origins: Iterable[str]) -> str:
    """What of a set is simulated, in words; nothing where all rows are real signals."""
    return "; ".join(words for origin, words in SIMULATED.items() if origin in set(origins))


SIMULATED: Final = {
    "simulated": "dips in simulated pixels of simulated stars",
    "injected": "dips put into real target pixel files",
}


def describe_file(path: Path) -> dict[str, str]:
    """A source for a set's provenance."""
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


# Lessons


def make_lesson(path: str | Path, task_name: str, config: TrainConfig) -> Lesson:
    """What there is to learn in a set of pixels. Boosted trees read numbers of the image and, where it was measured,
    the offset of the centroid; `blind` leaves out the latter, which the network never sees."""
    found = read_set(path, "pixels")
    table = found.table
    images = _images(table, found.name)
    kinds = np.array(table.column("label").to_pylist(), str)
    labels = positive(kinds, TASK.positives)
    examples = Examples((torch.from_numpy(images)[:, None],), torch.from_numpy(labels.astype(np.float32)))
    numbers = image_numbers(images)
    centroids = np.stack([_column(table, name) for name in ("centroid_offset", "centroid_significance")], axis=1)
    origins = np.array(table.column("origin").to_pylist(), str)
    simulated = str(found.provenance["simulated"])
    return Lesson(
        task=TASK,
        kind=KIND,
        shape=Shape(),
        inputs=Inputs(),
        stars=np.array(table.column("target_id").to_pylist(), str),
        other_names=names_of(table)[1],
        labels=labels,
        examples=examples,
        table=np.concatenate([numbers, centroids], axis=1),
        blind=(examples, numbers),
        folds=table.column("fold").to_numpy().astype(np.uint8),
        set_name=found.name,
        set_sha256=found.sha256,
        missions=tuple(sorted({*found.provenance["missions"], *table.column("mission").drop_null().to_pylist()})),
        simulated=simulated,
        source=SIMULATED_SOURCE if simulated else OWN,
        facts={"labels": _counted(kinds), "origins": _counted(origins)},
        notes=(SIMULATED_NOTE, PUBLISHED_NOTE) if simulated else (),
        measure=partial(_measure, labels, origins, brightest_distance(images), centroids[:, 0]),
    )


SIMULATED_SOURCE: Final = (
    "Difference images made by this survey of dips that were put into simulated pixels of simulated stars, TESS and "
    "Kepler, and into real target pixel files, where there are any; pixels of Kepler and K2 are in the public domain."
)

SIMULATED_NOTE: Final = (
    "Labels are of dips that were put in: what they tell is whether the light lost is the target's, not whether a "
    "planet takes it. Eclipses of the target itself count as its own."
)

PUBLISHED_NOTE: Final = (
    "A network of this form was published with a PR-AUC of 0.632 ± 0.138 and a ROC-AUC of 0.644 ± 0.095 over five "
    "folds of 97 real Kepler images (54 false positives, 43 confirmed planets). Comparable? No: those are real labels, "
    "these are injections."
)


def _counted(words: NDArray[np.str_]) -> dict[str, int]:
    return dict(zip(*(part.tolist() for part in np.unique(words, return_counts=True)), strict=True))


def _measure(
    labels: NDArray[np.bool_], origins: NDArray[np.str_], distances: Floats, offsets: Floats, scored: Scored
) -> dict[str, Any]:
    """Figures beside what needs no learning: the brightest pixel, and the survey's own fit where it found a place; of
    each origin; and of each fold with the accuracy at the threshold that is best for the other folds."""
    placed = np.isfinite(offsets)
    figures: dict[str, Any] = {"brightest_pixel_alone": _rank(labels, -distances)}
    if placed.any():
        figures["centroid_fit_alone_where_it_has_a_place"] = _rank(labels[placed], -offsets[placed])
        figures["network_there"] = _rank(labels[placed], scored.scores[placed])
    if len(set(origins)) > 1:
        for origin in sorted(set(origins)):
            of = origins == origin
            figures[f"network_on_{origin}"] = _rank(labels[of], scored.scores[of])
            figures[f"brightest_pixel_on_{origin}"] = _rank(labels[of], -distances[of])
    if (scored.folds >= 0).all() and len(set(scored.folds.tolist())) > 1:
        figures["folds"] = _measure_folds(labels, scored)
    return figures


def _rank(labels: NDArray[np.bool_], scores: NDArray[np.floating]) -> dict[str, float | int | None]:
    both = labels.any() and not labels.all()
    return {
        "rows": len(labels),
        "average_precision": average_precision(labels, scores) if both else None,
        "roc_auc": roc_auc(labels, scores) if both else None,
    }


def _measure_folds(labels: NDArray[np.bool_], scored: Scored) -> dict[str, list[Any]]:
    """Columns of a table with a row a fold."""
    rows = []
    for fold in np.unique(scored.folds):
        held = scored.folds == fold
        called = scored.probabilities[held] >= best_threshold(labels[~held], scored.probabilities[~held])
        rows.append(_rank(labels[held], scored.scores[held]) | {"accuracy": float(np.mean(called == labels[held]))})
    return {name: [row[name] for row in rows] for name in rows[0]}


def _images(table: pa.Table, name: str) -> Floats:
    """(n, 24, 24)"""
    if "image" not in table.column_names:
        raise UsageError(f"{name}: no column image")
    flat = table.column("image").combine_chunks()
    values = flat.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    if len(values) != len(flat) * SIZE * SIZE:
        raise UsageError(f"{name}: images are not of {SIZE} x {SIZE} pixels")
    return np.ascontiguousarray(values.reshape(-1, SIZE, SIZE))


def _column(table: pa.Table, name: str) -> Floats:
    """(n,) NaN where not measured."""
    if name not in table.column_names:
        return np.full(len(table), np.nan, np.float32)
    return np.array([np.nan if value is None else value for value in table.column(name).to_pylist()], np.float32)


def brightest_distance(images: Floats) -> Floats:
    """(n,) pixels from the target to the brightest pixel: what anybody would look at first."""
    row, column = np.divmod(images.reshape(len(images), -1).argmax(axis=1), SIZE)
    return np.hypot(row - SIZE // 2, column - SIZE // 2).astype(np.float32)


def image_numbers(images: Floats) -> Floats:
    """(n, 8) simple numbers of images: distance of the brightest pixel and of the centre of gravity of the bright ones
    from the target, light in the target's pixel and within 1.5 and 3 of it, brightest and faintest pixel, number of
    pixels observed."""
    rows, columns = np.indices((SIZE, SIZE)) - SIZE // 2
    flat = images.reshape(len(images), -1).astype(np.float64)
    bright = np.where(flat > 0.5 * flat.max(axis=1, keepdims=True), flat, 0.0)
    total = np.maximum(bright.sum(axis=1), 1e-12)
    gravity = np.hypot(bright @ rows.ravel() / total, bright @ columns.ravel() / total)
    within = [flat @ (np.hypot(rows, columns) <= reach).ravel() for reach in (0.5, 1.5, 3.0)]
    seen = (flat != flat[:, :1]).sum(axis=1)
    numbers = [brightest_distance(images), gravity, *within, flat.max(axis=1), flat.min(axis=1), seen]
    return np.stack(numbers, axis=1).astype(np.float32)
