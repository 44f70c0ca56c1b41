"""Labelled views of signals, read from files of several forms and checked before anything is learnt from them.

- npz: arrays `global_view` and `local_view` (n, bins), `label`, a star's number (`tic_id`, `kepid`, `epic`) or
  `target_id`, if there are any `secondary_view` and scalars: period (d), duration_h, depth_ppm, snr, centroid_offset.
  The layouts of AstroNet-Vetting (Yu et al. 2019) and Nigraha (Rao et al. 2021) are known by their arrays.
- Parquet: a set that `survey data` made, with folds and provenance.
- CSV: columns global_0.., local_0.., label (0 or 1), optional centroid_offset, other scalars and star; or `path` to
  one npz a row that holds `global_view` and `local_view`.

A file may divide its stars itself, by a column `fold` (0, 1 and so on): no star may be in two.

Views leave here with median 0 and minimum -1 where their layout says how, and exact copies are dropped.
"""

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
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
from survey.learning.folds import check_folds
from survey.learning.lesson import OWN, Lesson, Task, find_missions
from survey.learning.models import resnet1d
from survey.learning.models.resnet1d import Inputs, Shape
from survey.learning.sets.audit import names_of
from survey.learning.sets.labels import ECLIPSES, KNOWN, LETTERS, PLANETS, positive
from survey.learning.sets.table import LabelledTable, is_set, read_set
from survey.learning.views import check_views, make_examples

Floats = NDArray[np.float32]
Columns = Mapping[str, NDArray[Any]]

SCALARS: Final = ("period", "duration_h", "depth_ppm", "snr", "mes", "centroid_offset")
"""Scalars that a row may bring: days, hours, ppm; snr as the search of the file's makers measured it, mes as a sweep
does; the offset in the unit of the file."""

STAR_COLUMNS: Final = {"target_id": "", "star": "", "tic_id": "TIC ", "kepid": "KIC ", "epic": "EPIC "}
"""Columns that name the star of a row, and what is set before a bare number."""


TASKS: Final = {
    task.name: task
    for task in (
        Task("triage", "transits and eclipses (PC, KP, CP, EB, FP) against the rest", PLANETS | ECLIPSES),
        Task("vetting", "planet candidates (PC, KP, CP) against the rest", PLANETS),
    )
}


@dataclass(frozen=True)
class ViewSet:
    """Rows of labelled views. scalars: (n,) arrays by name, NaN where a row lacks one; kinds: labels as in the file.

    view_spec: the named form of the views, None for one that the survey does not make; copies: rows dropped as exact
    copies of others; notes: what a reader of figures measured on it ought to know; folds: (n,) where the file brings
    its own; simulated: what of it is, "" for nothing; other_names: further (n,) names of the stars, "" where there is
    none.
    """

    name: str
    sha256: str
    stars: NDArray[np.str_]
    kinds: NDArray[np.str_]
    global_view: Floats
    local_view: Floats
    secondary_view: Floats | None
    scalars: dict[str, NDArray[np.float64]]
    view_spec: str | None = None
    copies: int = 0
    notes: tuple[str, ...] = field(default=())
    folds: NDArray[np.uint8] | None = None
    simulated: str = ""
    other_names: tuple[NDArray[np.str_], ...] = ()

    def __len__(self) -> int:
        return len(self.stars)

    def labels(self, task: Task) -> NDArray[np.bool_]:
        """(n,) which rows are positive. Raises UsageError where only one class is there."""
        found = positive(self.kinds, task.positives)
        if found.all() or not found.any():
            kinds = ", ".join(np.unique(self.kinds).tolist())
            raise UsageError(
                f"{self.name}: one class only for {task.name} ({task.meaning}): all labels are among {kinds}"
            )
        return found

    def take(self, rows: NDArray[Any]) -> "ViewSet":
        return replace(
            self,
            stars=self.stars[rows],
            kinds=self.kinds[rows],
            global_view=self.global_view[rows],
            local_view=self.local_view[rows],
            secondary_view=None if self.secondary_view is None else self.secondary_view[rows],
            scalars={name: values[rows] for name, values in self.scalars.items()},
            folds=None if self.folds is None else self.folds[rows],
            other_names=tuple(names[rows] for names in self.other_names),
        )


def read_views(path: str | Path, *, labelled: bool = True) -> ViewSet:
    """The labelled views of a file, checked, without exact copies. Raises UsageError saying what is wrong with it.

    labelled: False takes files without labels too, and keeps every row; a label that lacks is "0".
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read views from {path}: {(error.strerror or str(error)).lower()}") from None
    if is_set(path):
        return _read_parquet(read_set(path, "views"))
    columns = _read_csv(path) if path.suffix.lower() == ".csv" else _read_npz(path)
    if not labelled and "global_view" in columns:
        columns.setdefault("label", np.zeros(len(np.atleast_1d(columns["global_view"]))))
        columns.pop("fold", None)
    for layout, known in LAYOUTS.items():
        if known <= columns.keys():
            views = READERS[layout](columns, path.name)
            break
    else:
        raise UsageError(f"{path.name}: {_lacking(columns)}")
    views = replace(views, sha256=hashlib.sha256(content).hexdigest())
    _check(views)
    return _without_copies(views) if labelled else views


def _lacking(columns: Columns) -> str:
    wanted = ("global_view", "local_view", "label")
    missing = [name for name in wanted if name not in columns]
    there = ", ".join(sorted(columns)[:12]) or "nothing"
    return f"no {', '.join(missing)}; it holds {there}"


# Files


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an npz; pickled objects are refused."""
    try:
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise UsageError(f"{path.name}: one bare array, not an npz of named ones")
            return {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path.name}: not a readable npz of plain arrays ({error})") from None


def _read_csv(path: Path) -> dict[str, NDArray[Any]]:
    """A CSV's columns, the bins of each view joined into one array."""
    try:
        table = polars.read_csv(path, infer_schema_length=None)
    except (polars.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path.name}: not a readable CSV ({str(error).splitlines()[0]})") from None
    if table.is_empty():
        raise UsageError(f"{path.name}: no rows")
    columns = {name: table[name].to_numpy() for name in table.columns if not name.startswith(("global_", "local_"))}
    if "path" in columns:
        return columns | _join_files(path, columns["path"])
    for view in ("global", "local"):
        names = [name for name in table.columns if name.startswith(f"{view}_")]
        if not names:
            raise UsageError(f"{path.name}: no columns {view}_0, {view}_1, ... and no path to npz files")
        lacking = sorted({f"{view}_{k}" for k in range(len(names))} - set(names))
        if lacking:
            raise UsageError(f"{path.name}: {len(names)} columns {view}_*, but no {lacking[0]}")
        ordered = table.select(f"{view}_{k}" for k in range(len(names)))
        words = [name for name, kind in ordered.schema.items() if not kind.is_numeric()]
        if words:
            raise UsageError(f"{path.name}: {words[0]} holds something else than numbers")
        columns[f"{view}_view"] = ordered.to_numpy()
    return columns


def _join_files(path: Path, names: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The views of one npz a row, whose paths count from the CSV's folder."""
    rows = [_read_npz(path.parent / str(name)) for name in names]
    joined = {}
    for view in ("global_view", "local_view", "secondary_view"):
        held = [row[view] for row in rows if view in row]
        if view == "secondary_view" and not held:
            continue
        if len(held) != len(rows):
            lacking = next(name for name, row in zip(names, rows, strict=True) if view not in row)
            raise UsageError(f"{path.name}: {lacking} holds no {view}")
        lengths = {array.shape for array in held}
        if len(lengths) > 1:
            raise UsageError(f"{path.name}: {view} has different lengths: {_shapes(lengths)}")
        joined[view] = np.stack(held)
    return joined


def _shapes(shapes: set[tuple[int, ...]]) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in sorted(shapes))


def _read_parquet(found: LabelledTable) -> ViewSet:
    """A set of `sets.table`, which has been audited: it has folds and no copies."""
    table = found.table
    columns = {
        name: np.stack(table.column(name).to_numpy()) if name in VIEWS else table.column(name).to_numpy()
        for name in ("target_id", "label", *VIEWS, *SCALARS)
        if name in table.column_names
    }
    lacking = {"global_view", "local_view"} - columns.keys()
    if lacking:
        raise UsageError(f"{found.name}: {_lacking(columns)}")
    simulated = found.provenance["simulated"]
    views = replace(
        _read_house(columns, found.name),
        sha256=found.sha256,
        view_spec=found.provenance.get("view_spec"),
        notes=(*found.provenance.get("notes", ()), *([f"Simulated: {simulated}."] if simulated else [])),
        folds=table.column("fold").to_numpy(),
        simulated=simulated,
        other_names=names_of(table)[1],
    )
    _check(views)
    return views


VIEWS: Final = ("global_view", "local_view", "secondary_view")


def tabulate_views(views: ViewSet, simulated: str = "", seed: int = 0) -> tuple[pa.Table, dict[str, Any]]:
    """Views of a file of any form as `sets.table.write_set` takes them: rows, and where they come from.

    simulated: what of them is, in words; seed: of the folds, where the file brings none.
    """
    columns: dict[str, Any] = {"target_id": views.stars, "label": views.kinds}
    if views.other_names:
        names = [[name for name in row if name] for row in zip(*views.other_names, strict=True)]
        columns["other_names"] = pa.array(names, pa.list_(pa.string()))
    if views.folds is not None:
        columns["fold"] = pa.array(views.folds, pa.uint8())
    for name in VIEWS:
        if (view := getattr(views, name)) is not None:
            columns[name] = pa.array(list(view), pa.list_(pa.float32()))
    for name, values in views.scalars.items():
        columns[name] = pa.array(values, pa.float64(), mask=~np.isfinite(values))
    return pa.table(columns), {
        "configuration": {},
        "sources": [{"file": views.name, "sha256": views.sha256}],
        "simulated": simulated,
        "seed": seed,
        "view_spec": views.view_spec,
        "notes": list(views.notes),
        "copies_dropped": views.copies,
    }


# Layouts


def _read_house(columns: Columns, name: str) -> ViewSet:
    stars, notes = _stars(columns, len(columns["label"]))
    return ViewSet(
        name=name,
        sha256="",
        stars=stars,
        kinds=_kinds(columns["label"], name),
        global_view=_view(columns["global_view"], name, "global_view"),
        local_view=_view(columns["local_view"], name, "local_view"),
        secondary_view=_view(columns["secondary_view"], name, "secondary_view")
        if "secondary_view" in columns
        else None,
        scalars={scalar: _numbers(columns[scalar], name, scalar) for scalar in SCALARS if scalar in columns},
        view_spec=str(columns["view_spec"]) if "view_spec" in columns and columns["view_spec"].ndim == 0 else None,
        notes=notes,
        folds=_folds(columns["fold"], name) if "fold" in columns else None,
    )


def _read_astronet(columns: Columns, name: str) -> ViewSet:
    """Yu et al. (2019): 201 and 61 bins, secondary; duration in days.

    Its `transit_depth` was kept in float32 about -51,882.9, where half of all depths are one number: it is left out.
    """
    house = _read_house({key: value for key, value in columns.items() if key != "duration"}, name)
    scalars = {
        "period": _numbers(columns["period"], name, "period"),
        "duration_h": 24 * _numbers(columns["duration"], name, "duration"),
        "snr": _numbers(columns["sn"], name, "sn"),
    }
    notes = (
        "Depths are left out: the file keeps them in too few digits, about an offset that is 50,000 times larger.",
    )
    return replace(house, scalars=scalars, view_spec="triage-201-61", notes=house.notes + notes)


def _read_nigraha(columns: Columns, name: str) -> ViewSet:
    """Rao et al. (2021): 201 and 81 bins with minimum -1 and the star's light at +1; duration in hours, depth as the
    light that is left."""
    house = _read_house(columns, name)
    scalars = {
        "period": _numbers(columns["period"], name, "period"),
        "duration_h": _numbers(columns["duration"], name, "duration"),
        "depth_ppm": 1e6 * (1 - _numbers(columns["depth"], name, "depth")),
        "snr": _numbers(columns["snr"], name, "snr"),
    }
    orbit, transit = ((view - np.float32(1)) / np.float32(2) for view in (house.global_view, house.local_view))
    return replace(house, global_view=orbit, local_view=transit, scalars=scalars)


LAYOUTS: Final[dict[str, frozenset[str]]] = {
    "astronet": frozenset({"global_view", "local_view", "secondary_view", "label", "period", "duration", "sn"}),
    "nigraha": frozenset({"global_view", "local_view", "odd_even_view", "label", "period", "duration", "depth", "snr"}),
    "house": frozenset({"global_view", "local_view", "label"}),
}
"""Arrays by which each layout is known, the most particular first."""

READERS: Final[dict[str, Callable[[Columns, str], ViewSet]]] = {
    "astronet": _read_astronet,
    "nigraha": _read_nigraha,
    "house": _read_house,
}


def _stars(columns: Columns, rows: int) -> tuple[NDArray[np.str_], tuple[str, ...]]:
    for column, prefix in STAR_COLUMNS.items():
        if column in columns:
            return np.array([_star(value, prefix) for value in columns[column].tolist()]), ()
    note = "No column names the star: every row counts as a star of its own, so rows of one star may cross folds."
    return np.array([f"row {k}" for k in range(rows)]), (note,)


def _star(value: Any, prefix: str) -> str:
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return f"{prefix}{text}" if text.isdigit() else text


def _kinds(labels: NDArray[Any], name: str) -> NDArray[np.str_]:
    """Labels as words; numbers must be 0 or 1."""
    if labels.dtype.kind in "fiub":
        values = labels.astype(np.float64)
        wrong = ~np.isin(values, [0.0, 1.0])
        if wrong.any():
            raise UsageError(f"{name}: label {values[wrong][0]:g} in row {int(np.argmax(wrong))}: labels are 0 or 1")
        return np.where(values == 1, "1", "0")
    words = np.array([str(word).strip().upper() for word in labels.tolist()])
    wrong = ~np.isin(words, KNOWN)
    if wrong.any():
        known = ", ".join(sorted(LETTERS))
        raise UsageError(f"{name}: label '{words[wrong][0]}' in row {int(np.argmax(wrong))}: known are 0, 1, {known}")
    return words


def _view(view: NDArray[Any], name: str, kind: str) -> Floats:
    if view.dtype.kind not in "fiu" or view.ndim != 2:
        raise UsageError(f"{name}: {kind} must be numbers of shape (rows, bins), not {view.dtype} of {view.shape}")
    return np.ascontiguousarray(view, np.float32)


def _numbers(values: NDArray[Any], name: str, column: str) -> NDArray[np.float64]:
    """A scalar's column; None becomes NaN, which means not measured."""
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{name}: {column} holds something else than numbers") from None


MOST_FOLDS: Final = 256


def _folds(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """(n,) folds as the file has them."""
    folds = _numbers(values, name, "fold")
    wrong = ~np.isin(folds, np.arange(MOST_FOLDS))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UsageError(
            f"{name}: fold {folds.flat[row]:g} in row {row}: folds are whole numbers, 0 to {MOST_FOLDS - 1}"
        )
    return folds.astype(np.uint8)


# Checks

LEAST_BINS: Final = 16
MOST_BINS: Final = 16_384


def _check(views: ViewSet) -> None:
    """Raises UsageError for views and columns of unequal or impossible length, and for NaN in views."""
    shapes = {"global_view": views.global_view, "local_view": views.local_view}
    if views.secondary_view is not None:
        shapes["secondary_view"] = views.secondary_view
    for kind, view in shapes.items():
        if len(view) != len(views.kinds):
            raise UsageError(f"{views.name}: {len(view):,} rows of {kind}, but {len(views.kinds):,} labels")
        if not LEAST_BINS <= view.shape[1] <= MOST_BINS:
            raise UsageError(
                f"{views.name}: {kind} has {view.shape[1]} bins: {LEAST_BINS} to {MOST_BINS:,} are possible"
            )
        bad = ~np.isfinite(view).all(1)
        if bad.any():
            raise UsageError(
                f"{views.name}: {kind} holds NaN or infinity in {bad.sum():,} rows, first {np.argmax(bad)}"
            )
    if views.secondary_view is not None and views.secondary_view.shape[1] != views.local_view.shape[1]:
        raise UsageError(f"{views.name}: secondary_view must have as many bins as local_view")
    folds = {} if views.folds is None else {"fold": views.folds}
    for column, values in {"stars": views.stars, **folds, **views.scalars}.items():
        if values.shape != views.kinds.shape:
            raise UsageError(f"{views.name}: {values.size:,} values of {column}, but {len(views.kinds):,} labels")
    if len(views.kinds) == 0:
        raise UsageError(f"{views.name}: no rows")
    if views.folds is not None:
        try:
            check_folds(views.folds, views.stars, views.other_names)
        except UsageError as error:
            raise UsageError(f"{views.name}: {error}") from None


def _without_copies(views: ViewSet) -> ViewSet:
    """The set without rows whose views are bit by bit those of an earlier row.

    Raises UsageError where copies bear different labels: one of them must be wrong.
    """
    first: dict[bytes, int] = {}
    kept = np.ones(len(views), bool)
    for k in range(len(views)):
        earlier = first.setdefault(views.global_view[k].tobytes() + views.local_view[k].tobytes(), k)
        kept[k] = earlier == k
        if earlier != k and views.kinds[k] != views.kinds[earlier]:
            raise UsageError(
                f"{views.name}: rows {earlier} and {k} have the same views but labels "
                f"{views.kinds[earlier]} and {views.kinds[k]}: take one out"
            )
    return replace(views.take(kept), copies=int((~kept).sum()))


# Lessons

LEAST_MEASURED: Final = 0.1
"""A scalar enters a model when at least this share of the rows has it."""

SOURCES: Final = {
    "b36efae813a54779": (
        "Real TESS light curves of sectors 1-5, events found and labelled by eye by Yu et al. (2019, "
        "AJ 158, 25); from the repository yuliang419/Astronet-Vetting (GPL); TESS data are in the public domain.",
        "Labels are of 2019: some candidates were since found to be false positives. J merges stellar variation with "
        "systematics.",
    ),
    "782a511738e9ecae": (
        "Real TESS light curves, labelled events of Rao et al. (2021, MNRAS 502, 2845); from the repository "
        "ExoplanetML/Nigraha (MIT); TESS data are in the public domain.",
        "Labels come from several lists; FP are community dispositions of 2020.",
    ),
}
"""Known files of views by the first 16 digits of their sha256: where they come from, their licence, their limits."""


def make_lesson(path: str | Path, task_name: str, config: TrainConfig) -> Lesson:
    """The views of a file as a task for the network on views. Raises UsageError for a file that is not fit for it."""
    views = read_views(path)
    scalars = choose_scalars(views, config)
    shape = Shape(
        global_bins=views.global_view.shape[1],
        local_bins=views.local_view.shape[1],
        secondary=views.secondary_view is not None,
        scalars=len(scalars),
    )
    return _make_lesson(views, TASKS[task_name], shape, Inputs(view_spec=views.view_spec, scalars=scalars))


def choose_scalars(views: ViewSet, config: TrainConfig) -> tuple[str, ...]:
    """The scalars that enough rows have."""
    if config.inputs == "views":
        return ()
    return tuple(name for name, values in views.scalars.items() if np.isfinite(values).mean() >= LEAST_MEASURED)


def _make_lesson(views: ViewSet, task: Task, shape: Shape, inputs: Inputs) -> Lesson:
    try:
        check_views(shape, inputs, views.global_view, views.local_view, views.secondary_view, views.view_spec)
    except UsageError as error:
        raise UsageError(f"{views.name}: {error}") from None
    labels = views.labels(task)
    secondary = views.secondary_view if shape.secondary else None
    examples = make_examples(views.global_view, views.local_view, secondary, views.scalars, inputs.scalars, labels)
    table = np.concatenate([part.numpy().reshape(len(views), -1) for part in examples.inputs], 1)
    source, caveat = SOURCES.get(views.sha256[:16], (OWN, ""))
    kinds, counts = np.unique(views.kinds, return_counts=True)
    return Lesson(
        task=task,
        kind=resnet1d.KIND,
        shape=shape,
        inputs=inputs,
        stars=views.stars,
        other_names=views.other_names,
        labels=labels,
        examples=examples,
        table=table,
        set_name=views.name,
        set_sha256=views.sha256,
        missions=find_missions(views.stars),
        simulated=views.simulated,
        folds=views.folds,
        blind=_hide_scalars(examples, table) if inputs.scalars else None,
        facts={"labels": dict(zip(kinds.tolist(), counts.tolist(), strict=True)), "copies_dropped": views.copies},
        notes=(*((caveat,) if caveat else ()), *views.notes),
        source=source,
        read_as=partial(_make_lesson, views, task),
    )


def _hide_scalars(examples: Examples, table: Floats) -> tuple[Examples, Floats]:
    orbit, transit, scalars = examples.inputs
    hidden = Examples((orbit, transit, torch.full_like(scalars, torch.nan)), examples.targets)
    return hidden, table[:, : -scalars.shape[1]]
