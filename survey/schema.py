"""The rows of the survey as Arrow schemas: one target in, exactly one row out, at every stage.

Each stage's schema extends the one before. Every field carries its unit and a description in its metadata, so the files
explain themselves (`survey.schema.describe`). Null means not measured; it is never replaced by 0.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

SCHEMA_VERSION = 3

STATUSES = ("ok", "no_data", "too_short", "bad_file", "fetch_failed", "failed")
"""Status words. Only `fetch_failed` is asked again on resume; `failed` is a defect of the survey itself."""

PENDING = "pending"
"""A star that was not asked for yet, in a shard whose other stars were copied from an older run; in no catalogue."""

RETRIED_STATUSES = ("fetch_failed", PENDING)


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


def _tces(fields: Sequence[pa.Field]) -> pa.Field:
    return _field("tces", pa.list_(pa.struct(list(fields))), "threshold-crossing events, in order of detection")


SEARCHED = pa.schema([*DETRENDED, _tces(TCE_FIELDS)])

VARIABILITY_FIELDS = [
    _field("variability_period", pa.float64(), "period of the star's strongest periodic variation", "d"),
    _field("variability_amplitude_ppm", pa.float64(), "peak to peak, of the variation folded at that period", "ppm"),
    _field("variability_power", pa.float64(), "share of the light curve's variance that a sine explains, 0 to 1"),
    _field("variability_harmonic", pa.float64(), "power of the second harmonic over that of the first"),
    _field("variability_contrast", pa.float64(), "peak of the periodogram over the median power about it"),
    _field("variability_coherence", pa.float64(), "how strictly the variation keeps its phase, 0 to 1: a clock"),
    _field("variability_cycles", pa.float64(), "cycles in the stretch of data that the variation is measured in"),
    _field("variability_low_share", pa.float64(), "share of the period below the middle of its range; 0.5: a sine"),
    _field("variability_asymmetry", pa.float64(), "share of the folded amplitude that no mirror axis keeps, 0 to 1"),
    _field("variability_second_depth", pa.float64(), "depth of a second minimum over that of the first"),
    _field("variability_second_phase", pa.float64(), "phase of the second minimum after the first, 0 to 1"),
    _field("variability_alternation_ppm", pa.float64(), "difference of the minima of alternate cycles", "ppm"),
    _field("variability_alternation_snr", pa.float64(), "the same over its error; from 6 on the period is doubled"),
    _field("variability_rest_power", pa.float64(), "share of the remaining variance that an unrelated sine explains"),
    _field("variability_scatter_dex", pa.float64(), "scatter of the amplitude from product to product", "dex"),
    _field("noise_burst", pa.float64(), "noise in the noisiest half day over the typical noise"),
    _field("noise_burst_time", pa.float64(), "middle of that half day, since time_zero", "d"),
    _field("n_flares", pa.int32(), "flares: sudden brightenings with a slow decay"),
    _field("flare_amplitude_ppm", pa.float64(), "height of the greatest flare", "ppm"),
]
"""Of the whole light curve before detrending; null where not measured."""

CHECK = pa.struct(
    [
        _field("name", pa.string(), "the flaw that is looked for; as a flag where it was found"),
        _field("value", pa.float64(), "what was measured, in `unit`"),
        _field("uncertainty", pa.float64(), "its standard error, same unit"),
        _field("unit", pa.string(), "unit of value and uncertainty; empty for a ratio or a count"),
        _field("score", pa.float64(), "what is compared with the threshold"),
        _field("threshold", pa.float64(), "where the flaw begins"),
        _field("passed", pa.bool_(), "the flaw was not found; null: could not be measured"),
    ]
)
"""One check on one TCE."""

PLANET_FIELDS = [
    _field("planet_radius", pa.float64(), "from depth and stellar radius", "earthRad"),
    _field("planet_radius_err", pa.float64(), "its standard error, of the depth and the star", "earthRad"),
    _field("equilibrium_temp", pa.float64(), "of a black body on a circular orbit, heat spread evenly", "K"),
    _field("insolation", pa.float64(), "flux received over that of the Earth"),
]
CHECKS_FIELD = _field("checks", pa.list_(CHECK), "every check on this signal")
VETTED_TCE_FIELDS = [*TCE_FIELDS, *PLANET_FIELDS, CHECKS_FIELD]
VETTED = pa.schema([*DETRENDED, *VARIABILITY_FIELDS, _tces(VETTED_TCE_FIELDS)])

CENTROID = pa.struct(
    [
        _field("method", pa.string(), "prf, flux_weighted, prf_catalogue (difference image) or motion (of the light)"),
        _field("offset_pixels", pa.float64(), "distance of the source of the signal from the target", "pix"),
        _field("offset_pixels_err", pa.float64(), "its standard error", "pix"),
        _field("offset_arcsec", pa.float64(), "the same on the sky", "arcsec"),
        _field("offset_arcsec_err", pa.float64(), "its standard error", "arcsec"),
        _field("column_offset", pa.float64(), "source minus target along columns", "pix"),
        _field("row_offset", pa.float64(), "source minus target along rows", "pix"),
        _field("column_var", pa.float64(), "variance of column_offset", "pix2"),
        _field("row_var", pa.float64(), "variance of row_offset", "pix2"),
        _field("covariance", pa.float64(), "of column_offset and row_offset", "pix2"),
        _field("ra_offset_arcsec", pa.float64(), "eastwards, on the sky", "arcsec"),
        _field("dec_offset_arcsec", pa.float64(), "northwards", "arcsec"),
        _field("significance", pa.float64(), "offset over its error, with the covariance"),
        _field("n_products", pa.int32(), "files that it was measured in"),
        _field("problem", pa.string(), "why the offset is null or not to be trusted: saturated, crowded, low_snr, ..."),
    ]
)
CENTROIDS_FIELD = _field("centroids", pa.list_(CENTROID), "where the signal comes from; empty without pixels")
LOCATED_TCE_FIELDS = [*VETTED_TCE_FIELDS, CENTROIDS_FIELD]

PIXEL_PRODUCT = pa.struct(
    [
        _field("product", pa.string(), "file name in the archive"),
        _field("sha256", pa.string(), "checksum of the file that was read"),
        _field("observation", pa.int32(), "sector, quarter or campaign"),
    ]
)
PIXEL_PRODUCTS_FIELD = _field("pixel_products", pa.list_(PIXEL_PRODUCT), "the pixel files that were looked at")
LOCATED = pa.schema([*DETRENDED, *VARIABILITY_FIELDS, PIXEL_PRODUCTS_FIELD, _tces(LOCATED_TCE_FIELDS)])

VERDICT_FIELDS = [
    _field("is_candidate", pa.bool_(), "no flaw counts for the gate; candidates.parquet knows the whole sweep"),
    _field("flags", pa.list_(pa.string()), "the flaws that were found; in candidates.parquet those of the sweep too"),
    _field("not_transit_like", pa.bool_(), "a flaw of this class was found (classes of Thompson et al. 2018)"),
    _field("significant_secondary", pa.bool_(), "a flaw of this class was found"),
    _field("centroid_offset", pa.bool_(), "a flaw of this class was found; null: could not be measured"),
]
DESCRIBED_TCE_FIELDS = [*LOCATED_TCE_FIELDS, *VERDICT_FIELDS]
CLASS_FIELDS = [
    _field(
        "star_class",
        pa.string(),
        "what the star's own light shows (STAR_CLASSES), in candidates.parquet with what the whole sweep knows; null "
        "where nothing stands out, and where status is not ok",
    ),
    _field("class_evidence", pa.list_(pa.string()), "why, in words"),
]
STAR_CLASSES = (
    "planet_candidate",
    "eclipsing_binary",
    "contact_binary",
    "rotation",
    "pulsation",
    "flare",
    "single_event",
    "systematics",
)
DESCRIBED = pa.schema(
    [*DETRENDED, *VARIABILITY_FIELDS, PIXEL_PRODUCTS_FIELD, *CLASS_FIELDS, _tces(DESCRIBED_TCE_FIELDS)]
)


def _score_fields(model: str, what: str) -> list[pa.Field]:
    return [
        _field(f"{model}_probability", pa.float64(), f"{what}, calibrated where the model was trained"),
        _field(f"{model}_spread", pa.float64(), f"scatter of the members of {model}, as a probability"),
        _field(f"{model}_score", pa.float64(), f"mean logit of the members of {model}"),
    ]


SIGNAL_MODELS = ("triage", "vetting", "pixels", "fusion")
STAR_MODELS = ("segments", "periods", "anomaly")
MODELS = ("triage", "vetting", "pixels", *STAR_MODELS, "fusion")
"""What a sweep may score: each signal by its views, its pixels or all that is known; each star by its light curve."""

SCORE_FIELDS = [
    *_score_fields("triage", "probability of a transit or an eclipse, by the folded light"),
    *_score_fields("vetting", "probability of a planet, by the folded light"),
    *_score_fields("pixels", "probability of a planet, by its difference images"),
    *_score_fields("fusion", "probability of a planet, by the other scores and the checks"),
    _field(
        "out_of_support", pa.list_(pa.string()), 'what the models saw nothing like in training: "triage: period", ...'
    ),
    _field(
        "not_scored", pa.list_(pa.string()), 'why there is no score: "triage: no view", ...; empty where all scored'
    ),
]
SCORED_TCE_FIELDS = [*DESCRIBED_TCE_FIELDS, *SCORE_FIELDS]

ANOMALY = pa.struct(
    [
        _field("begin", pa.float64(), "first cadence, since time_zero", "d"),
        _field("end", pa.float64(), "last cadence, since time_zero", "d"),
        _field("n_points", pa.int32(), "strange cadences"),
        _field("votes", pa.float64(), "share of the windows about them that are strange"),
    ]
)
MODEL_USED = pa.struct(
    [
        _field("name", pa.string(), "what it scores: one of MODELS"),
        _field("id", pa.string(), "sha256 of its model.json"),
    ]
)
MODELS_FIELD = _field("models", pa.list_(MODEL_USED), "the models that scored this star and its signals")
STAR_SCORE_FIELDS = [
    _field("segment_times", pa.list_(pa.float64()), "middles of the segments that were scored, since time_zero", "d"),
    _field("segment_probabilities", pa.list_(pa.float64()), "score of each segment, 0 to 1: a transit lies in it"),
    _field("num_segments", pa.int32(), "segments that were scored"),
    _field("star_score", pa.float64(), "mean of the highest segment scores"),
    _field("star_score_max", pa.float64(), "highest segment score"),
    _field("star_probability", pa.float64(), "probability of any transit, calibrated for the number of segments"),
    _field("period_probs", pa.list_(pa.float64()), "weight of each bin of period, 0 to 1"),
    _field("period_probability", pa.float64(), "probability of any planet, by the model of periods"),
    _field("anomaly_score", pa.float64(), "how strange the strangest windows are"),
    _field("anomalies", pa.list_(ANOMALY), "stretches that stand out of strange windows"),
    _field("star_out_of_support", pa.list_(pa.string()), "as out_of_support, of the models of the whole light curve"),
    MODELS_FIELD,
]
SCORED = pa.schema(
    [
        *[field for field in DESCRIBED if field.name != "tces"],
        *STAR_SCORE_FIELDS,
        _tces(SCORED_TCE_FIELDS),
    ]
)

SERIES_COLUMNS = ("time", "flux", "flux_err", "trend")
"""The long columns: they travel along the stream and are not kept in the run folder."""

KEPT = pa.schema([field for field in SCORED if field.name not in SERIES_COLUMNS])
"""A row as `searched/` and `targets.parquet` hold it."""

MATCH_FIELDS = [
    _field("ephemeris_match", pa.bool_(), "another star of the sweep, or of a catalogue, is the source of the signal"),
    _field("match_kind", pa.string(), "contamination: one star's light in another's; systematics: shared by many"),
    _field("match_target", pa.string(), "the star that the signal comes from, or the strongest that shares it"),
    _field("match_ratio", pa.float64(), "period over that of match_target"),
    _field("match_separation_arcsec", pa.float64(), "distance of match_target on the sky", "arcsec"),
    _field("n_same_epoch", pa.int32(), "other stars of the sweep that dim at the same times"),
    _field(
        "novelty",
        pa.string(),
        "rediscovered: this signal is listed; known: its star is, this signal is not, or may be; new: neither; "
        "null where there are no catalogues",
    ),
    _field("known_name", pa.string(), "the listed signal that it is, or may be, or that is nearest in period"),
    _field("known_catalogue", pa.string(), "where it is listed"),
    _field("known_disposition", pa.string(), "what the catalogue calls it"),
    _field("known_ratio", pa.float64(), "period over the listed one"),
    _field("known_separation_arcsec", pa.float64(), "distance of the listed star; 0 for the star itself", "arcsec"),
]
"""What only the whole sweep, and the catalogues, can tell."""

CANDIDATE = pa.schema(
    [
        _field(
            "rank", pa.int32(), "1 is the most convincing: candidates first, then by vetting_score, mes", null=False
        ),
        *[field for field in LIGHT_CURVE if field.name in ("target_id", "mission")],
        *SCORED_TCE_FIELDS,
        *MATCH_FIELDS,
        *CLASS_FIELDS,
        *[KEPT.field(name) for name in ("time_zero", "n_cadences", "baseline_d", "scatter_ppm")],
        *STAR_FIELDS,
        _field("observed", pa.list_(pa.int32()), "sectors, quarters or campaigns searched"),
        *[field for field in STAR_SCORE_FIELDS if field.name in ("star_score", "star_probability", "models")],
    ]
)

IMAGE_FIELDS = [
    _field("image_product", pa.string(), "pixel file that the images below were made of: the clearest"),
    _field("image_rows", pa.int32(), "rows of the images", "pix"),
    _field("image_columns", pa.int32(), "columns of the images", "pix"),
    _field("image_target_row", pa.float64(), "where the target should be, from the middle of the first pixel", "pix"),
    _field("image_target_column", pa.float64(), "where the target should be", "pix"),
    _field("direct_image", pa.list_(pa.float32()), "mean out of transit, row by row; NaN: not observed", "electron/s"),
    _field("difference_image", pa.list_(pa.float32()), "out of transit minus in transit", "electron/s"),
    _field("difference_err", pa.list_(pa.float32()), "its standard error", "electron/s"),
    _field("pixel_stack", pa.list_(pa.float32()), "32 difference images of 24 x 24, standardised, in order of time"),
]

FEATURES = pa.schema(
    [
        TARGET.field("target_id"),
        TCE_FIELDS[0],
        _field("spec", pa.string(), "name of the ViewSpec", null=False),
        _field("global_view", pa.list_(pa.float32()), "one period folded"),
        _field("local_view", pa.list_(pa.float32()), "a few durations about the transit"),
        _field("secondary_view", pa.list_(pa.float32()), "a few durations about the deepest dip elsewhere"),
        _field("global_scatter", pa.list_(pa.float32()), "scatter inside each bin of the global view"),
        _field("local_scatter", pa.list_(pa.float32()), "scatter inside each bin of the local view"),
        _field("global_empty", pa.list_(pa.bool_()), "bins without data, filled with the median"),
        _field("local_empty", pa.list_(pa.bool_()), "bins without data, filled with the median"),
        _field("scale_ppm", pa.float64(), "depth that the views were divided by", "ppm"),
        _field("secondary_phase", pa.float64(), "of the dip in secondary_view, 0 to 1 after the transit; null: none"),
        *IMAGE_FIELDS,
    ]
)
"""One row a TCE and spec: of every TCE in the specs that the models read, and of those whose light passes the gate in
the configured one, with images where there are pixels."""


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


def pack(table: pa.Table) -> bytes:
    """As an Arrow stream, which `unpack` opens."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def unpack(packed: bytes | pa.Buffer) -> pa.Table:
    return pa.ipc.open_stream(packed).read_all()


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
VIEWS = _field("views", pa.list_(pa.struct(list(FEATURES)[1:])), "views of the signals; become rows of FEATURES")
IMAGES = _field("images", pa.list_(pa.struct([TCE_FIELDS[0], *IMAGE_FIELDS])), "images; become part of the views")
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

RECOVERY = pa.schema(
    [
        TARGET.field("target_id"),
        TARGET.field("mission"),
        LIGHT_CURVE.field("status"),
        _field("period", pa.float64(), "of the injected planet; null: its orbit would lie inside the star", "d"),
        _field("epoch_bjd", pa.float64(), "middle of one of its transits, BJD (TDB)", "d"),
        _field(
            "radius", pa.float64(), "of the planet, for the star's radius or, where it is unknown, the Sun's", "Rearth"
        ),
        _field("radius_ratio", pa.float64(), "planet over star"),
        _field("impact", pa.float64(), "impact parameter"),
        _field("duration_h", pa.float64(), "first to fourth contact", "h"),
        _field("snr", pa.float64(), "expected of all its transits, in white noise of the star's scatter"),
        _field(
            "verdict", pa.string(), "found, alias (at a harmonic) or missed; null: nothing was injected or searched"
        ),
        _field("is_candidate", pa.bool_(), "the TCE that it became passes the gate"),
        _field("mes", pa.float64(), "of that TCE"),
        _field("found_period", pa.float64(), "of that TCE", "d"),
    ]
)
"""One row a star of an injection run."""

RECOVERY_CELL = pa.schema(
    [
        _field("period_min", pa.float64(), "border of the cell", "d", null=False),
        _field("period_max", pa.float64(), "border of the cell", "d", null=False),
        _field("radius_min", pa.float64(), "border of the cell", "Rearth", null=False),
        _field("radius_max", pa.float64(), "border of the cell", "Rearth", null=False),
        _field("injected", pa.int32(), "planets injected and searched for", null=False),
        _field("found", pa.int32(), "of them with a TCE at their period", null=False),
        _field("found_share", pa.float64(), "found over injected"),
        _field("found_low", pa.float64(), "lower end of its 95% interval (Wilson 1927)"),
        _field("found_high", pa.float64(), "upper end"),
        _field("candidates", pa.int32(), "of them found and passed by the gate", null=False),
        _field("candidate_share", pa.float64(), "candidates over injected: the completeness"),
        _field("candidate_low", pa.float64(), "lower end of its 95% interval (Wilson 1927)"),
        _field("candidate_high", pa.float64(), "upper end"),
    ]
)
"""One row a cell of period and radius."""

PARQUET: dict[str, Any] = {
    "version": "2.6",
    "data_page_version": "1.0",
    "compression": "zstd",
    "compression_level": 3,
    "data_page_size": 1 << 20,
    "write_batch_size": 1024,
    "use_dictionary": True,
    "write_statistics": True,
    "store_schema": True,
}
"""How files are written: pinned, so that equal rows are equal bytes."""
