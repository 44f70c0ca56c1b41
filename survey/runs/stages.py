"""The way of a star from its name to its described signals, written once.

A stage maps a table of stars to the same stars with more columns. `examine` folds one star over STAGES in this process;
`runs.stream` maps shards over the same STAGES. A star that fails keeps its row, with the reason, and costs no other.

    fetch -> detrend -> search -> describe
"""

import platform
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from survey import schema
from survey.config import Config, Engine
from survey.errors import StarError, TooShort
from survey.signals import detrend as detrending
from survey.signals.ephemeris import in_transit
from survey.signals.search import (
    FlatCurve,
    Tce,
    find_tces,
    longest_duration,
    remeasure,
    resolve_engine,
    stellar_density,
)
from survey.signals.vetting import judge
from survey.signals.views import VIEW_SPECS, make_views
from survey.stars import sources
from survey.stars.lightcurve import LightCurve
from survey.stars.sources import Source
from survey.stars.targets import Target

TCE_NAMES = tuple(field.name for field in fields(Tce))

Row = dict[str, Any]
Step = Callable[[pa.Table], pa.Table]

FETCHED = pa.schema([*schema.LIGHT_CURVE, schema.TRACE])
DETRENDED = pa.schema([*schema.DETRENDED, schema.TRACE])
SEARCHED = pa.schema([*schema.SEARCHED, schema.TRACE])
DESCRIBED = pa.schema([*schema.DESCRIBED, schema.VIEWS, schema.TRACE])


@dataclass(frozen=True)
class Stage:
    """`make(config, source)` gives the step, a function from table to table; only the first stage needs the source."""

    name: str
    schema: pa.Schema
    make: Callable[[Config, Source | None], Step]


def targets_table(targets: Iterable[Target]) -> pa.Table:
    """Rows of schema.TARGET."""
    return schema.rows_table(
        [{"target_id": t.target_id, "mission": t.mission, "observations": list(t.observations)} for t in targets],
        schema.TARGET,
    )


def examine(target: Target, config: Config, source: Source, stages: Sequence[Stage] | None = None) -> pa.Table:
    """The described row of one star, series included, without Ray; the same numbers as in a sweep."""
    table = targets_table([target])
    for stage in STAGES if stages is None else stages:
        table = stage.make(config, source)(table)
    return table


def rows_of(table: pa.Table) -> list[Row]:
    """A dict a row; the series stay arrays, without copies."""
    long = [name for name in schema.SERIES_COLUMNS if name in table.column_names]
    rows: list[Row] = table.drop_columns(long).to_pylist()
    for name in long:
        for row, values in zip(rows, schema.series(table, name), strict=True):
            row[name] = values
    return rows


def attempt(stage: str, work: Callable[[Row], Mapping[str, Any]], row: Row, spent: float = 0.0) -> Row:
    """The values that `work` adds to a star; whatever it raises becomes status, error and a traceback in the trace.

    spent: seconds that the star has already cost this stage. A star that failed before passes untouched.
    """
    before = {"status": row.get("status", "ok"), "error": row.get("error"), "trace": row.get("trace") or []}
    if before["status"] != "ok":
        return before
    begin = time.perf_counter()
    details = None
    try:
        values = {"status": "ok", "error": None, **work(row)}
    except StarError as error:
        values = {"status": error.status, "error": str(error) or error.status}
    except Exception as error:  # noqa: BLE001  a defect costs this star, not its neighbours
        values = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        details = traceback.format_exc()
    seconds = spent + time.perf_counter() - begin
    entry = {"stage": stage, "seconds": seconds, "node": platform.node(), "traceback": details}
    return {**values, "trace": [*before["trace"], entry]}


def make_fetch(config: Config, source: Source | None) -> Step:
    """Light curves from the source, a few at a time."""
    if source is None:
        raise ValueError("the fetch stage needs a source")

    def work(row: Row) -> Row:
        target = Target(row["target_id"], row["mission"], tuple(row["observations"] or ()))
        return row_of(sources.fetch(target, source, config))

    def step(table: pa.Table) -> pa.Table:
        rows = rows_of(table)
        with ThreadPoolExecutor(max(1, min(config.run.fetch_threads, len(rows)))) as pool:
            added = list(pool.map(partial(attempt, "fetch", work), rows))
        return schema.extend(table, FETCHED, added)

    return step


def row_of(lc: LightCurve) -> Row:
    """The values that a light curve gives its row."""
    return {
        "time": lc.time,
        "flux": lc.flux,
        "flux_err": lc.flux_err,
        "cadence_s": lc.cadence_s,
        "time_zero": lc.time_zero,
        "n_cadences": len(lc.time),
        "baseline_d": lc.baseline,
        **asdict(lc.star),
        "products": [asdict(product) for product in lc.products],
        "notes": list(lc.notes),
    }


def make_detrend(config: Config, source: Source | None = None) -> Step:
    """The trend beside the flux, under a window that leaves the longest transit searched alone."""

    def work(row: Row) -> Row:
        window = choose_window(row, config)
        values = detrend_row(row, config, window, None)
        if np.isfinite(values["trend"]).sum() < config.clean.min_cadences:
            raise TooShort(f"fewer than {config.clean.min_cadences} cadences can be detrended")
        return {**values, "detrender": config.detrend.method, "window_d": window}

    def step(table: pa.Table) -> pa.Table:
        return schema.extend(table, DETRENDED, [attempt("detrend", work, row) for row in rows_of(table)])

    return step


def choose_window(row: Row, config: Config) -> float:
    """The detrender's window in days: as configured, or three times the longest duration searched in this star."""
    if config.detrend.method == "savgol":
        return float(config.detrend.window_cadences * row["cadence_s"] / 86_400.0)
    if config.detrend.window_days is not None:
        return config.detrend.window_days
    longest = longest_duration(row["baseline_d"], config.search, stellar_density(row["radius"], row["logg"]))
    return max(config.detrend.min_window_days, 3.0 * longest)


def detrend_row(row: Row, config: Config, window: float, masked: NDArray[np.bool_] | None) -> Row:
    """Trend and scatter of a light curve's row; `masked` cadences do not enter the trend."""
    trend = detrending.detrend(
        row["time"], row["flux"], _starts(row), config.detrend, window_days=window, in_transit=masked
    )
    flat = row["flux"] / trend
    return {"trend": trend, "scatter_ppm": 1e6 * detrending.robust_scatter(flat[np.isfinite(flat)])}


def _starts(row: Row) -> NDArray[np.int64]:
    """Index of the first cadence of every product."""
    counts = [product["n_cadences"] for product in row["products"]]
    return np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)


ABSURD_FLUX = 100.0
"""No star is this many times brighter or darker than its own trend; a damaged number is."""


def flat_curve(row: Row, config: Config) -> FlatCurve:
    """What is searched: flux over trend, finite and clipped upwards."""
    flat = row["flux"] / row["trend"]
    usable = np.abs(flat) < ABSURD_FLUX
    usable[usable] = detrending.clip_outliers(
        flat[usable], config.clean.clip_upper_sigma, config.clean.clip_lower_sigma
    )
    before = np.concatenate([[0], np.cumsum(usable)])
    return FlatCurve(
        time=row["time"][usable],
        flux=flat[usable],
        flux_err=(row["flux_err"] / row["trend"])[usable],
        cadence=row["cadence_s"] / 86_400.0,
        density=stellar_density(row["radius"], row["logg"]),
        starts=tuple(int(start) for start in np.unique(before[_starts(row)]) if start < before[-1]),
    )


def make_search(config: Config, source: Source | None = None) -> Step:
    """Threshold-crossing events of the whole batch at once; stars that have any are detrended and measured again."""
    engine = resolve_engine(config.engine, has_gpu=False)

    def measure(found: list[Tce] | None, row: Row) -> Row:
        tces = find_tces([flat_curve(row, config)], config, engine)[0] if found is None else found
        again: Row = {}
        if tces and config.detrend.second_pass:
            again = detrend_row(row, config, row["window_d"], transit_mask(row["time"], tces, config))
            tces = remeasure(flat_curve({**row, **again}, config), tces, config.search)
        return {**again, "tces": [tce.as_row(row["time_zero"]) for tce in tces]}

    def step(table: pa.Table) -> pa.Table:
        rows = rows_of(table)
        curves = {k: flat_curve(row, config) for k, row in enumerate(rows) if row["status"] == "ok"}
        begin = time.perf_counter()
        found = dict(zip(curves, _search_together(list(curves.values()), config, engine), strict=True))
        share = (time.perf_counter() - begin) / max(1, len(curves))
        added = [
            {
                "trend": row["trend"],
                "scatter_ppm": row["scatter_ppm"],
                **attempt("search", partial(measure, found.get(k)), row, share),
            }
            for k, row in enumerate(rows)
        ]
        return schema.extend(table, SEARCHED, added)

    return step


def _search_together(curves: list[FlatCurve], config: Config, engine: Engine) -> Sequence[list[Tce] | None]:
    """The TCEs of every curve; None for all where the batch failed, so that each is searched alone and one answers."""
    try:
        return find_tces(curves, config, engine) if curves else []
    except Exception:  # noqa: BLE001  searched again star by star, where the error has a name
        return [None] * len(curves)


def transit_mask(times: NDArray[np.float64], tces: Iterable[Tce], config: Config) -> NDArray[np.bool_]:
    """Cadences inside a found transit, widened by `detrend.mask_durations`."""
    masked = np.zeros(len(times), bool)
    for tce in tces:
        masked |= in_transit(times, tce.ephemeris, config.detrend.mask_durations)
    return masked


def make_describe(config: Config, source: Source | None = None) -> Step:
    """The gate's verdict on every TCE, and the views of those that pass."""
    spec = VIEW_SPECS[config.views.spec]

    def work(row: Row) -> Row:
        found = [Tce(**{name: values[name] for name in TCE_NAMES}) for values in row["tces"]]
        tces, views = [], []
        curve = flat_curve(row, config) if found else None
        for values, tce, flags in zip(row["tces"], found, judge(found, config.gate), strict=True):
            tces.append({**values, "is_candidate": not flags, "flags": list(flags)})
            if not flags and curve is not None:
                folded = make_views(curve.time, curve.flux, tce.ephemeris, spec)
                views.append({"number": tce.number, "spec": spec.name, **asdict(folded)})
        return {"tces": tces, "views": views}

    def step(table: pa.Table) -> pa.Table:
        rows = rows_of(table)
        added = [{"tces": None, "views": None, **attempt("describe", work, row)} for row in rows]
        return schema.extend(table, DESCRIBED, added)

    return step


STAGES: tuple[Stage, ...] = (
    Stage("fetch", FETCHED, make_fetch),
    Stage("detrend", DETRENDED, make_detrend),
    Stage("search", SEARCHED, make_search),
    Stage("describe", DESCRIBED, make_describe),
)
