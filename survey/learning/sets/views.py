"""Labelled views of signals, read from files of several forms and checked before anything is learnt from them.

- npz: arrays `global_view` and `local_view` (n, bins), `label`, a star's number (`tic_id`, `kepid`, `epic`) or
  `target_id`, if there are any `secondary_view` and scalars: period (d), duration_h, depth_ppm, snr, centroid_offset.
  The layouts of AstroNet-Vetting (Yu et al. 2019) and Nigraha (Rao et al. 2021) are known by their arrays.
- CSV: columns global_0.., local_0.., label (0 or 1), optional centroid_offset, other scalars and star; or `path` to
  one npz a row that holds `global_view` and `local_view`.

Views leave here with median 0 and minimum -1 where their layout says how, and exact copies are dropped.
"""

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars
from numpy.typing import NDArray

from survey.errors import UsageError

Floats = NDArray[np.float32]
Columns = Mapping[str, NDArray[Any]]

SCALARS: Final = ("period", "duration_h", "depth_ppm", "snr", "centroid_offset")
"""Scalars that a row may bring: days, hours, ppm, none, and the offset in the unit of the file."""

PLANETS: Final = frozenset({"PC", "KP", "CP", "APC"})
ECLIPSES: Final = frozenset({"EB", "FP"})
REST: Final = frozenset({"J", "V", "IS", "O", "FA"})

STAR_COLUMNS: Final = {"target_id": "", "star": "", "tic_id": "TIC ", "kepid": "KIC ", "epic": "EPIC "}
"""Columns that name the star of a row, and what is set before a bare number."""


@dataclass(frozen=True)
class Task:
    """What a model tells apart: the labels of letters that count as positive; a label 1 is positive in any case."""

    name: str
    meaning: str
    positives: frozenset[str]


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
    copies of others; notes: what a reader of figures measured on it ought to know.
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

    def __len__(self) -> int:
        return len(self.stars)

    def labels(self, task: Task) -> NDArray[np.bool_]:
        """(n,) which rows are positive. Raises UsageError where only one class is there."""
        positive = np.isin(self.kinds, [*task.positives, "1"])
        if positive.all() or not positive.any():
            kinds = ", ".join(np.unique(self.kinds).tolist())
            raise UsageError(
                f"{self.name}: one class only for {task.name} ({task.meaning}): all labels are among {kinds}"
            )
        return positive

    def take(self, rows: NDArray[Any]) -> "ViewSet":
        return replace(
            self,
            stars=self.stars[rows],
            kinds=self.kinds[rows],
            global_view=self.global_view[rows],
            local_view=self.local_view[rows],
            secondary_view=None if self.secondary_view is None else self.secondary_view[rows],
            scalars={name: values[rows] for name, values in self.scalars.items()},
        )


def read_views(path: str | Path) -> ViewSet:
    """The labelled views of a file, checked, without exact copies. Raises UsageError saying what is wrong with it."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read views from {path}: {(error.strerror or str(error)).lower()}") from None
    columns = _read_csv(path) if path.suffix.lower() == ".csv" else _read_npz(path)
    for layout, known in LAYOUTS.items():
        if known <= columns.keys():
            views = READERS[layout](columns, path.name)
            break
    else:
        raise UsageError(f"{path.name}: {_lacking(columns)}")
    views = replace(views, sha256=hashlib.sha256(content).hexdigest())
    _check(views)
    return _without_copies(views)


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
    wrong = ~np.isin(words, [*PLANETS, *ECLIPSES, *REST, "0", "1"])
    if wrong.any():
        known = ", ".join(sorted(PLANETS | ECLIPSES | REST))
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
    for column, values in {"stars": views.stars, **views.scalars}.items():
        if values.shape != views.kinds.shape:
            raise UsageError(f"{views.name}: {values.size:,} values of {column}, but {len(views.kinds):,} labels")
    if len(views.kinds) == 0:
        raise UsageError(f"{views.name}: no rows")


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
