"""The way of a star from its name to its scored signals, written once.

A stage maps a table of stars to the same stars with more columns. `examine` folds one star over STAGES in this process;
`runs.stream` maps shards over the same STAGES. A star that fails keeps its row, with the reason, and costs no other.

    fetch -> detrend -> search -> vet -> pixels -> describe -> score

Only `fetch` and `pixels` ask the source: the light curve of every star, and pixel files for the few whose signals pass
the checks on their light.
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
from survey.config import Config
from survey.errors import FetchFailed, StarError, TooShort
from survey.runs import scores
from survey.runs.injection import inject_planet
from survey.runs.proposals import make_proposal
from survey.signals import detrend as detrending
from survey.signals.ephemeris import in_transit
from survey.signals.pixels import Location, locate
from survey.signals.search import (
    FlatCurve,
    Tce,
    find_tces,
    longest_duration,
    remeasure,
    resolve_engine,
    stellar_density,
)
from survey.signals.variability import Variability, measure_variability
from survey.signals.vetting import Check, Verdict, classify, judge, vet
from survey.signals.views import VIEW_SPECS, Views, make_views
from survey.stars import sources
from survey.stars.lightcurve import LightCurve, Star
from survey.stars.pixels import LightCentre, TargetPixels
from survey.stars.sources import Source
from survey.stars.targets import Target

TCE_NAMES = tuple(field.name for field in fields(Tce))
STAR_NAMES = tuple(field.name for field in fields(Star))
VARIABILITY_NAMES = tuple(field.name for field in fields(Variability))

Row = dict[str, Any]
Step = Callable[[pa.Table], pa.Table]

FETCHED = pa.schema([*schema.LIGHT_CURVE, schema.TRACE])
DETRENDED = pa.schema([*schema.DETRENDED, schema.TRACE])
SEARCHED = pa.schema([*schema.SEARCHED, schema.TRACE])
VETTED = pa.schema([*schema.VETTED, schema.TRACE])
LOCATED = pa.schema([*schema.LOCATED, schema.IMAGES, schema.TRACE])
DESCRIBED = pa.schema([*schema.DESCRIBED, schema.VIEWS, schema.TRACE])
SCORED = pa.schema([*schema.SCORED, schema.VIEWS, schema.TRACE])


@dataclass(frozen=True)
class Stage:
    """`make(config, source)` gives the step, a function from table to table.

    asks: whether the stage asks the source; the others get None.
    """

    name: str
    schema: pa.Schema
    make: Callable[[Config, Source | None], Step]
    asks: bool = False


def targets_table(targets: Iterable[Target]) -> pa.Table:
    """Rows of schema.TARGET."""
    return schema.rows_table(
        [{"target_id": t.target_id, "mission": t.mission, "observations": list(t.observations)} for t in targets],
        schema.TARGET,
    )


def examine(target: Target, config: Config, source: Source, stages: Sequence[Stage] | None = None) -> pa.Table:
    """The scored row of one star, series included, without Ray; the same numbers as in a sweep."""
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
    details = []
    try:
        values = {"status": "ok", "error": None, **work(row)}
    except StarError as error:
        values = {"status": error.status, "error": str(error) or error.status}
    except Exception as error:  # noqa: BLE001  a defect costs this star, not its neighbours
        values = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        details = [traceback.format_exc()]
    return {**values, "trace": [*before["trace"], _entry(stage, spent + time.perf_counter() - begin, details)]}


def _entry(stage: str, seconds: float, tracebacks: Sequence[str]) -> Row:
    """Of schema.TRACE."""
    details = "\n".join(tracebacks) or None
    return {"stage": stage, "seconds": seconds, "node": platform.node(), "traceback": details}


def make_fetch(config: Config, source: Source | None) -> Step:
    """Light curves from the source, a few at a time."""
    if source is None:
        raise ValueError("the fetch stage needs a source")

    def work(row: Row) -> Row:
        target = Target(row["target_id"], row["mission"], tuple(row["observations"] or ()))
        lc = sources.fetch(target, source, config)
        return row_of(lc if config.inject is None else inject_planet(lc, config.inject))

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


def light_of(row: Row) -> scores.Light:
    """What the models of light curves see, of a row with its first trend: nothing is clipped."""
    flat = row["flux"] / row["trend"]
    usable = np.abs(flat) < ABSURD_FLUX
    return scores.Light(row["time"][usable], row["flux"][usable], flat[usable], row["cadence_s"])


def first_trend(row: Row, config: Config) -> NDArray[np.float32]:
    """The trend before any signal was known. Sets are made with it: the second one would show a model its answer."""
    if not row["tces"] or not config.detrend.second_pass:
        trend: NDArray[np.float32] = row["trend"]
        return trend
    first: NDArray[np.float32] = detrend_row(row, config, row["window_d"], None)["trend"]
    return first


def make_search(config: Config, source: Source | None = None) -> Step:
    """Threshold-crossing events of the whole batch at once; stars that have any are detrended and measured again."""
    engine = resolve_engine(config.engine, has_gpu=False)
    propose = make_proposal(config.search)

    def find(rows: Sequence[Row], curves: Sequence[FlatCurve]) -> list[list[Tce]]:
        ranges = None if propose is None else [propose(row["target_id"], light_of(row)) for row in rows]
        return find_tces(curves, config, engine, ranges)

    def measure(found: list[Tce] | None, row: Row) -> Row:
        tces = find([row], [flat_curve(row, config)])[0] if found is None else found
        again: Row = {}
        masked = transit_mask(row["time"], tces, config)
        # Waves that were taken for transits may cover everything: nothing is left then to detrend by.
        if tces and config.detrend.second_pass and masked.mean() < MOST_MASKED:
            again = detrend_row(row, config, row["window_d"], masked)
            tces = remeasure(flat_curve({**row, **again}, config), tces, config.search)
        return {**again, "tces": [tce.as_row(row["time_zero"]) for tce in tces]}

    def step(table: pa.Table) -> pa.Table:
        rows = rows_of(table)
        curves = {k: flat_curve(row, config) for k, row in enumerate(rows) if row["status"] == "ok"}
        begin = time.perf_counter()
        together = partial(find, [rows[k] for k in curves], list(curves.values()))
        found = dict(zip(curves, _search_together(together, len(curves)), strict=True))
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


def _search_together(find: Callable[[], list[list[Tce]]], count: int) -> Sequence[list[Tce] | None]:
    """The TCEs of every curve; None for all where the batch failed, so that each is searched alone and one answers."""
    try:
        return find() if count else []
    except Exception:  # noqa: BLE001  searched again star by star, where the error has a name
        return [None] * count


MOST_MASKED = 0.8
"""A second detrending needs more than what is left beside transits that cover this share of the light curve."""


def transit_mask(times: NDArray[np.float64], tces: Iterable[Tce], config: Config) -> NDArray[np.bool_]:
    """Cadences inside a found transit, widened by `detrend.mask_durations`."""
    masked = np.zeros(len(times), bool)
    for tce in tces:
        masked |= in_transit(times, tce.ephemeris, config.detrend.mask_durations)
    return masked


def make_vet(config: Config, source: Source | None = None) -> Step:
    """What the star itself does, and every check on the light of its signals."""

    def work(row: Row) -> Row:
        variability = measure_variability(row["time"], row["flux"], row["flux_err"], _starts(row))
        found = [tce_of(values) for values in row["tces"]]
        reports = vet(flat_curve(row, config), found, star_of(row), variability, config.gate) if found else []
        tces = [{**values, **report.as_row()} for values, report in zip(row["tces"], reports, strict=True)]
        return {**asdict(variability), "tces": tces}

    def step(table: pa.Table) -> pa.Table:
        return schema.extend(table, VETTED, [{"tces": None, **attempt("vet", work, row)} for row in rows_of(table)])

    return step


def tce_of(values: Row) -> Tce:
    return Tce(**{name: values[name] for name in TCE_NAMES})


def star_of(row: Row) -> Star:
    return Star(**{name: row[name] for name in STAR_NAMES})


def verdict_of(tce: Row, config: Config) -> Verdict:
    """The gate's verdict on a vetted TCE, as far as it has been tested."""
    return judge([Check(**check) for check in tce["checks"]], config.gate)


def make_pixels(config: Config, source: Source | None) -> Step:
    """Where the signals come from whose light passes the gate; signals without pixels keep an empty list."""
    if source is None:
        raise ValueError("the pixels stage needs a source")

    def work(row: Row) -> Row:
        gated = [values for values in row["tces"] if config.pixels.use and verdict_of(values, config).is_candidate]
        target = Target(row["target_id"], row["mission"], _observed(row) or tuple(row["observations"] or ()))
        pixels, left_out = _fetch_pixels(target, source, config) if gated else ([], [])
        centres = sources.fetch_light_centres(target, source, config) if gated and not pixels else []
        places = dict.fromkeys((values["number"] for values in row["tces"]), Location())
        for values in gated:
            others = [tce_of(other).ephemeris for other in row["tces"] if other is not values]
            depth = 1e-6 * values["depth_ppm"]
            places[values["number"]] = locate(pixels, centres, tce_of(values).ephemeris, others, config.pixels, depth)
        return {
            "notes": [*row["notes"], *(f"left out: {reason}" for reason in left_out)],
            "pixel_products": [*map(_pixel_product, pixels), *map(_pixel_product, centres)],
            "images": [{"number": k, **place.images.as_row()} for k, place in places.items() if place.images],
            "tces": [_located(values, places[values["number"]]) for values in row["tces"]],
        }

    def step(table: pa.Table) -> pa.Table:
        added = [{"tces": None, "images": None, **attempt("pixels", work, row)} for row in rows_of(table)]
        return schema.extend(table, LOCATED, added)

    return step


def _fetch_pixels(target: Target, source: Source, config: Config) -> tuple[list[TargetPixels], list[str]]:
    try:
        return sources.fetch_pixels(target, source, config)
    except FetchFailed as error:
        raise FetchFailed(f"pixel files: {error} (pixels.use=false does without them)") from error


def _observed(row: Row) -> tuple[int, ...]:
    """What the light curve was made of: where it is known, no archive need be asked for it again."""
    return tuple(sorted({product["observation"] for product in row["products"]} - {None}))


def _located(tce: Row, place: Location) -> Row:
    checks = [*tce["checks"], *(asdict(check) for check in place.checks)]
    return {**tce, "checks": checks, "centroids": [asdict(centroid) for centroid in place.centroids]}


def _pixel_product(file: TargetPixels | LightCentre) -> Row:
    return {field.name: getattr(file, field.name) for field in schema.PIXEL_PRODUCT}


def make_describe(config: Config, source: Source | None = None) -> Step:
    """The gate's verdict on every TCE, the class of the star, and views: of every signal in the specs that the models
    read, of those whose light passes in the configured one too."""
    read = {model.spec: None for model in scores.load_models(config.score) if model.spec}

    def work(row: Row) -> Row:
        checks = [[Check(**check) for check in values["checks"]] for values in row["tces"]]
        verdicts = [judge(of_signal, config.gate) for of_signal in checks]
        variability = Variability(**{name: row[name] for name in VARIABILITY_NAMES})
        found = [tce_of(values) for values in row["tces"]]
        star_class, evidence = classify(found, checks, verdicts, variability, star_of(row), config.classes)
        images = {image["number"]: image for image in row["images"]}
        shown = [
            verdict.is_candidate or tce.number in images or config.views.signals == "all"
            for tce, verdict in zip(found, verdicts, strict=True)
        ]
        return {
            "star_class": star_class,
            "class_evidence": list(evidence),
            "tces": [{**tce, **verdict.as_row()} for tce, verdict in zip(row["tces"], verdicts, strict=True)],
            "views": _fold_signals(row, found, shown, images, read, config) if found else [],
        }

    def step(table: pa.Table) -> pa.Table:
        added = [{"tces": None, "views": None, **attempt("describe", work, row)} for row in rows_of(table)]
        return schema.extend(table, DESCRIBED, added)

    return step


def _fold_signals(
    row: Row,
    found: Sequence[Tce],
    shown: Sequence[bool],
    images: Mapping[int, Row],
    read: Iterable[str],
    config: Config,
) -> list[Row]:
    """Rows of schema.VIEWS: each signal in the specs that models read; where it is shown, in the configured one,
    too, with its images."""
    curve = flat_curve(row, config)
    views = []
    for tce, is_shown in zip(found, shown, strict=True):
        for name in dict.fromkeys([*[config.views.spec] * is_shown, *read]):
            beside = images.get(tce.number, {}) if name == config.views.spec else {}
            views.append({**beside, "number": tce.number, "spec": name, **asdict(fold_views(tce, curve, name))})
    return views


SINGLE_REACH = 50.0
"""Durations to either side of a single transit that its views show; of what repeats they show the orbit."""


def fold_views(tce: Tce, curve: FlatCurve, spec: str) -> Views:
    """The views of a signal in the form of this name; those of a single transit are of the light about it."""
    time, flux, orbit = curve.time, curve.flux, tce.ephemeris
    if tce.period is None:
        near = np.abs(time - orbit.epoch) <= SINGLE_REACH * orbit.duration
        time, flux = time[near], flux[near]
        reach = max(2.0 * orbit.duration, float(np.abs(time - orbit.epoch).max(initial=0.0)))
        orbit = orbit._replace(period=np.nextafter(2.0 * reach, np.inf))
    return make_views(time, flux, orbit, VIEW_SPECS[spec])


def make_score(config: Config, source: Source | None = None) -> Step:
    """What the models say of every signal of the batch, and of the light curves of its stars."""
    models = scores.load_models(config.score)

    def light(row: Row) -> scores.Light | None:
        if not row["tces"] and config.score.stars != "all":
            return None
        return light_of({**row, "trend": first_trend(row, config)})

    def step(table: pa.Table) -> pa.Table:
        rows = rows_of(table.drop_columns(["views"]))
        alive = [row for row in rows if row["status"] == "ok"]
        begin = time.perf_counter()
        features = scores.flat_features(table.column("views"), table.column("target_id"))
        found = iter(scores.score_stars(alive, features, models, light))
        share = (time.perf_counter() - begin) / max(1, len(alive))
        added = [
            {"tces": None, "notes": row["notes"], "trace": row["trace"]}
            if row["status"] != "ok"
            else _scored_row(row, next(found), share)
            for row in rows
        ]
        return schema.extend(table, SCORED, added)

    return step


def _scored_row(row: Row, scored: scores.Scored, seconds: float) -> Row:
    """The columns of a star that has been scored. seconds: what that took."""
    return {
        **scored.values,
        "models": scores.models_used(scored),
        "notes": [*(row["notes"] or ()), *scored.notes],
        "tces": [{**tce, **scored.signals[tce["number"]]} for tce in row["tces"]],
        "trace": [*row["trace"], _entry("score", seconds, scored.tracebacks)],
    }


STAGES: tuple[Stage, ...] = (
    Stage("fetch", FETCHED, make_fetch, asks=True),
    Stage("detrend", DETRENDED, make_detrend),
    Stage("search", SEARCHED, make_search),
    Stage("vet", VETTED, make_vet),
    Stage("pixels", LOCATED, make_pixels, asks=True),
    Stage("describe", DESCRIBED, make_describe),
    Stage("score", SCORED, make_score),
)
