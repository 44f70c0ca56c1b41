"""The rows of the survey as Arrow schemas: one target in, exactly one row out, at every stage.

Each stage's schema extends the one before. Every field carries its unit and a description in its metadata, so the files
explain themselves (`survey.schema.describe`). Null means not measured; it is never replaced by 0.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

SCHEMA_VERSION = 1

STATUSES = ("ok", "no_data", "too_short", "bad_file", "fetch_failed", "failed")
"""Status words. Only `fetch_failed` is asked again on resume; `failed` is a defect of the survey itself."""

RETRIED_STATUSES = ("fetch_failed",)


def _field(name: str, kind: pa.DataType, description: str, unit: str = "", *, null: bool = True) -> pa.Field:
    return pa.field(name, kind, null, {"unit": unit, "description": description})


TARGET = pa.schema(
    [
        _field("target_id", pa.string(), 'catalogue and number, "TIC 441462736"', null=False),
        _field("mission", pa.string(), "tess, kepler or k2", null=False),
        _field("observations", pa.list_(pa.int32()), "sectors, quarters or campaigns asked for; empty: all there are"),
    ]
)

PRODUCT = pa.struct(
    [
        _field("product", pa.string(), "file name in the archive"),
        _field("sha256", pa.string(), "checksum of the file that was read"),
        _field("observation", pa.int32(), "sector, quarter or campaign; null for an uploaded file"),
        _field("author", pa.string(), "pipeline that made the light curve"),
        _field("pipeline", pa.string(), "its version, as the file says"),
        _field("flux_column", pa.string(), "column that was searched"),
        _field("quality_mask", pa.int32(), "bits that remove a cadence"),
        _field("cadence_s", pa.float64(), "time between cadences", "s"),
        _field("n_cadences", pa.int32(), "good cadences; those of one product are contiguous in the row's arrays"),
        _field("crowding", pa.float64(), "share of the aperture's light that is the target's (CROWDSAP)"),
        _field("camera", pa.int32(), "TESS camera or Kepler module"),
        _field("ccd", pa.int32(), "TESS CCD or Kepler output"),
    ]
)

STAR_FIELDS = [
    _field("magnitude", pa.float64(), "TESS or Kepler magnitude", "mag"),
    _field("teff", pa.float64(), "effective temperature", "K"),
    _field("radius", pa.float64(), "stellar radius", "solRad"),
    _field("logg", pa.float64(), "surface gravity", "dex(cm/s2)"),
    _field("ra", pa.float64(), "right ascension, J2000", "deg"),
    _field("dec", pa.float64(), "declination, J2000", "deg"),
]

LIGHT_CURVE = pa.schema(
    [
        *TARGET,
        _field("status", pa.string(), "ok, or why there is no result", null=False),
        _field("error", pa.string(), "the reason in words, null when ok"),
        _field("time", pa.list_(pa.float64()), "barycentric times (TDB) of good cadences since time_zero", "d"),
        _field("flux", pa.list_(pa.float32()), "flux over its median in each observation"),
        _field("flux_err", pa.list_(pa.float32()), "its standard error, same scale"),
        _field("cadence_s", pa.float64(), "longest time between cadences among the products", "s"),
        _field("time_zero", pa.float64(), "BJD of time 0: 2457000 (BTJD) or 2454833 (BKJD)", "d"),
        _field("n_cadences", pa.int32(), "good cadences"),
        _field("baseline_d", pa.float64(), "last time minus first", "d"),
        *STAR_FIELDS,
        _field("products", pa.list_(PRODUCT), "the files the light curve was made of, in order of time"),
        _field("notes", pa.list_(pa.string()), "what was left out of the light curve, and what was guessed"),
    ]
)

DETRENDED = pa.schema(
    [
        *LIGHT_CURVE,
        _field("trend", pa.list_(pa.float32()), "what was divided out, on the scale of flux; NaN: not usable"),
        _field("detrender", pa.string(), "method of detrending"),
        _field("window_d", pa.float64(), "window of the detrender", "d"),
        _field("scatter_ppm", pa.float64(), "robust point-to-point scatter after detrending", "ppm"),
    ]
)

TCE_FIELDS = [
    _field("number", pa.int32(), "order of detection in this star, from 1"),
    _field(
        "period",
        pa.float64(),
        "orbital period; of two transits the shortest that the data allow; null for a single transit",
        "d",
    ),
    _field("period_err", pa.float64(), "its standard error", "d"),
    _field("epoch", pa.float64(), "middle of the first transit after the first cadence, since time_zero", "d"),
    _field("epoch_err", pa.float64(), "its standard error", "d"),
    _field("epoch_bjd", pa.float64(), "the same as BJD (TDB)", "d"),
    _field("duration_h", pa.float64(), "from first to last contact", "h"),
    _field("depth_ppm", pa.float64(), "depth at the middle of the transit, from a trapezoid", "ppm"),
    _field("depth_err_ppm", pa.float64(), "its standard error, scaled by the noise at this duration", "ppm"),
    _field("snr", pa.float64(), "depth over its error in white noise"),
    _field(
        "mes", pa.float64(), "at detection: snr over the star's own noise at this duration (multiple-event statistic)"
    ),
    _field("pink_snr", pa.float64(), "at detection: signal-to-pink-noise, depth over its error in correlated noise"),
    _field(
        "fap", pa.float64(), "chance that noise like that of the upside-down light curve reaches this mes in a search"
    ),
    _field("sde", pa.float64(), "peak of the spectrum over its robust scatter (signal detection efficiency)"),
    _field("max_ses", pa.float64(), "at detection: largest single-event statistic"),
    _field("rest_mes", pa.float64(), "at detection: share of the mes that remains without the best event"),
    _field("box_over_sine", pa.float64(), "at detection: snr of the box over that of the best sine at P or a harmonic"),
    _field("inverted_mes", pa.float64(), "best mes of the same light curve turned upside down"),
    _field("n_transits", pa.int32(), "transits with data"),
    _field(
        "n_open_periods", pa.int32(), "periods that two transits leave open: fractions of their separation; else null"
    ),
    _field("scatter_beta", pa.float64(), "at detection: noise at this duration over white noise"),
]
TCE = pa.struct(TCE_FIELDS)

SEARCHED = pa.schema([*DETRENDED, _field("tces", pa.list_(TCE), "threshold-crossing events, in order of detection")])

VERDICT_FIELDS = [
    _field("is_candidate", pa.bool_(), "passes every test of the gate"),
    _field("flags", pa.list_(pa.string()), "the tests of the gate that it fails"),
]
DESCRIBED_TCE = pa.struct([*TCE_FIELDS, *VERDICT_FIELDS])
DESCRIBED = pa.schema(
    [*DETRENDED, _field("tces", pa.list_(DESCRIBED_TCE), "threshold-crossing events, in order of detection")]
)

SERIES_COLUMNS = ("time", "flux", "flux_err", "trend")
"""The long columns: they travel along the stream and are not kept in the run folder."""

KEPT = pa.schema([field for field in DESCRIBED if field.name not in SERIES_COLUMNS])
"""A row as `searched/` and `targets.parquet` hold it."""

CANDIDATE = pa.schema(
    [
        _field("rank", pa.int32(), "1 is the most convincing: candidates first, then by mes", null=False),
        *[field for field in LIGHT_CURVE if field.name in ("target_id", "mission")],
        *TCE_FIELDS,
        *VERDICT_FIELDS,
        *[KEPT.field(name) for name in ("time_zero", "n_cadences", "baseline_d", "scatter_ppm")],
        *STAR_FIELDS,
        _field("observed", pa.list_(pa.int32()), "sectors, quarters or campaigns searched"),
    ]
)

FEATURES = pa.schema(
    [
        TARGET.field("target_id"),
        TCE_FIELDS[0],
        _field("spec", pa.string(), "name of the ViewSpec", null=False),
        _field("global_view", pa.list_(pa.float32()), "one period folded"),
        _field("local_view", pa.list_(pa.float32()), "a few durations about the transit"),
        _field("global_scatter", pa.list_(pa.float32()), "scatter inside each bin of the global view"),
        _field("local_scatter", pa.list_(pa.float32()), "scatter inside each bin of the local view"),
        _field("global_empty", pa.list_(pa.bool_()), "bins without data, filled with the median"),
        _field("local_empty", pa.list_(pa.bool_()), "bins without data, filled with the median"),
        _field("scale_ppm", pa.float64(), "depth that the views were divided by", "ppm"),
    ]
)
"""One row a candidate: the views of its TCE."""


def describe(schema: pa.Schema) -> list[tuple[str, str, str, str]]:
    """(name, type, unit, description) of every field."""
    return [
        (field.name, str(field.type), field.metadata[b"unit"].decode(), field.metadata[b"description"].decode())
        for field in schema
    ]


def rows_table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table from dicts; absent keys become null, unknown ones are an error, arrays pass without copies into lists."""
    rows = list(rows)
    unknown = {key for row in rows for key in row} - set(schema.names)
    if unknown:
        raise KeyError(f"not in the schema: {sorted(unknown)}")
    columns = [_column([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_list(kind) and any(isinstance(value, np.ndarray) for value in values):
        return series_array(values, kind)
    return pa.array(values, kind)


def series_array(values: Sequence[np.ndarray | None], kind: pa.DataType) -> pa.ListArray:
    """A list column from one array (or None) a row."""
    lengths = [0 if value is None else len(value) for value in values]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    dtype = kind.value_type.to_pandas_dtype()
    flat = np.concatenate([np.asarray(value, dtype) for value in values if value is not None] or [np.empty(0, dtype)])
    mask = pa.array([value is None for value in values])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, kind.value_type), type=kind, mask=mask)


def series(table: pa.Table, name: str) -> Iterator[np.ndarray | None]:
    """The arrays of a list column, row by row, without copying."""
    for chunk in table.column(name).chunks:
        values = chunk.values.to_numpy(zero_copy_only=False)
        offsets = chunk.offsets.to_numpy()
        valid = chunk.is_valid().to_numpy(zero_copy_only=False)
        for row in range(len(chunk)):
            yield values[offsets[row] : offsets[row + 1]] if valid[row] else None


def extend(table: pa.Table, schema: pa.Schema, added: Iterable[Mapping[str, Any]]) -> pa.Table:
    """`table` with the columns that `schema` has beyond it (or replaces), one mapping of values a row."""
    rows = list(added)
    names = {key for row in rows for key in row}
    columns = [
        _column([row.get(field.name) for row in rows], field.type)
        if field.name in names or field.name not in table.column_names
        else table.column(field.name)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def check_rows(table: pa.Table, target_ids: Sequence[str]) -> None:
    """Every target exactly once, in order. Raises AssertionError: a stage lost or doubled a star."""
    got = table.column("target_id").to_pylist()
    if got != list(target_ids):
        missing, extra = set(target_ids) - set(got), [name for name in got if got.count(name) > 1]
        raise AssertionError(f"rows lost {sorted(missing)[:5]}, doubled {sorted(set(extra))[:5]}")


STAGE_TRACE = pa.struct(
    [
        _field("stage", pa.string(), "name of the stage"),
        _field(
            "seconds", pa.float64(), "wall time of the star in this stage; its share where a batch is searched", "s"
        ),
        _field("node", pa.string(), "host that did the work"),
        _field("traceback", pa.string(), "of an unexpected error"),
    ]
)
TRACE = _field("trace", pa.list_(STAGE_TRACE), "what happened on the way; becomes the telemetry, never a result")
VIEWS = _field("views", pa.list_(pa.struct(list(FEATURES)[1:])), "views of the candidates; become rows of FEATURES")
"""Columns of a travelling row that the commit takes off into tables of their own."""

MANIFEST = pa.schema([_field("shard", pa.int32(), "unit of the stream and of a commit", null=False), *TARGET])

TELEMETRY = pa.schema(
    [
        TARGET.field("target_id"),
        _field("shard", pa.int32(), "shard of the target", null=False),
        _field("attempt", pa.int32(), "1, and one more for every time that a failed fetch was asked again", null=False),
        _field("last_stage", pa.string(), "the stage that failed, or done", null=False),
        LIGHT_CURVE.field("status"),
        LIGHT_CURVE.field("error"),
        _field("best_period", pa.float64(), "period of the strongest TCE", "d"),
        _field("updated_at", pa.string(), "UTC, ISO 8601", null=False),
        TRACE,
    ]
)
"""One row a target and attempt: all that may differ between equal runs."""
