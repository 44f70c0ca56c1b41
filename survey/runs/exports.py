"""What leaves a run: candidates in the formats that others read, rows as JSON, and how many known signals came back.

`EXPORTS` maps the name of a format to a function from a table of schema.CANDIDATE to the bytes of a file. Units and
descriptions come from the schema, UCDs from `ucds`; ECSV and VOTable carry them.
"""

import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from survey import schema
from survey.errors import UsageError
from survey.runs import store
from survey.runs.crossmatch.ephemerides import RATIOS
from survey.runs.store import Run
from survey.runs.ucds import CENTROID_UCDS, ucd_of
from survey.stars.simulate import InjectedSignal, match_signals


def read_candidates(run: Run, top: int | None = None, columns: Sequence[str] | None = None) -> pa.Table:
    """The ranked candidates of a run as rows of schema.CANDIDATE; the first `top` of them, some columns of it.

    Raises UsageError where the run has not come to its catalogue yet.
    """
    if not run.folder.exists(store.CANDIDATES):
        done = store.status(run)
        raise UsageError(
            f"{run.folder.root} has no catalogue yet ({done.shards_done} of {done.shards} shards are done): run the "
            "same `survey sweep` again to finish it"
        )
    if run.record.get("rescoring", {}).get("merging"):
        raise UsageError(store.half_rescored(run))
    names = list(schema.CANDIDATE.names if columns is None else columns)
    kind = pa.schema([schema.CANDIDATE.field(name) for name in names])
    table = pq.read_table(pa.BufferReader(run.folder.read(store.CANDIDATES)), columns=names).select(names).cast(kind)
    return table if top is None else table.slice(0, top)


def rank_by(candidates: pa.Table, model: str, threshold: float | None = None) -> pa.Table:
    """The signals that a model scored, the best first; those of this probability at least, where one is given.

    Beside the rest stand score_raw and probability, the model's (`schema.SIGNAL_MODELS`). Ranks stay those of the run.
    Raises UsageError where the run was not scored by it, or, for a threshold, where it is not calibrated.
    """
    scores, probabilities = candidates.column(f"{model}_score"), candidates.column(f"{model}_probability")
    if len(candidates) and scores.null_count == len(candidates):
        raise UsageError(f"no signal here was scored by {model}: `survey rescore RUN --set score.{model}=...` does it")
    place = candidates.schema.get_field_index("number") + 1
    for name, source in (("probability", f"{model}_probability"), ("score_raw", f"{model}_score")):
        field = candidates.schema.field(source).with_name(name)
        candidates = candidates.add_column(place, field, candidates.column(source))
    kept = pc.is_valid(scores)
    if threshold is not None:
        if len(candidates) and probabilities.null_count == len(candidates):
            raise UsageError(f"{model} gives no probabilities here: leave out --threshold")
        kept = pc.fill_null(pc.greater_equal(probabilities, threshold), False)
    return candidates.filter(kept).sort_by([("score_raw", "descending"), ("rank", "ascending")])


STAR_CATALOGUE: Final = (
    "target_id",
    "mission",
    "num_segments",
    "star_score",
    "star_score_max",
    "star_probability",
    "period_probability",
    "anomaly_score",
    "star_out_of_support",
    "models",
)


def read_stars(run: Run, threshold: float | None = None) -> pa.Table:
    """Stars by star_score, the highest first; those of this star_probability at least, where one is given.

    Raises UsageError where the run has not come to its catalogue, or has no score of any star.
    """
    read_candidates(run)
    table = pq.read_table(pa.BufferReader(run.folder.read(store.TARGETS)), columns=list(STAR_CATALOGUE))
    scored = table.filter(pc.is_valid(table.column("star_score"))).select(STAR_CATALOGUE)
    if not len(scored):
        raise UsageError(f"{run.folder.root}: no star was scored by segments: sweep with --set score.segments=segments")
    if threshold is not None:
        scored = scored.filter(pc.fill_null(pc.greater_equal(scored.column("star_probability"), threshold), False))
    return scored.sort_by([("star_score", "descending")])


# Exports


def export(candidates: pa.Table, form: str, about: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a file in one of EXPORTS; ECSV and VOTable say what it is about.

    Raises UsageError for an unknown format.
    """
    if form not in EXPORTS:
        raise UsageError(f"no format {form!r}: choose one of {', '.join(EXPORTS)}")
    return EXPORTS[form](candidates, about or {})


def describe_run(run: Run) -> dict[str, str]:
    """What a file that leaves the run says of it: its makers, numbers and how to cite what it rests on."""
    return {
        "survey_version": run.record["versions"]["transit-survey"],
        "science_hash": run.record["science_hash"],
        "created_at": run.record["created_at"],
        "citation": "`survey cite RUN` lists the data and methods to cite",
    }


def to_parquet(candidates: pa.Table, about: Mapping[str, str]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(candidates, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def to_csv(candidates: pa.Table, about: Mapping[str, str]) -> bytes:
    """Empty cells are null; lists are words separated by spaces."""
    frame = pl.from_arrow(flatten(candidates))
    assert isinstance(frame, pl.DataFrame)
    return frame.write_csv().encode()


def to_ecsv(candidates: pa.Table, about: Mapping[str, str]) -> bytes:
    """The header is astropy's; the lines below it are written as astropy would, in a tenth of the time."""
    flat = flatten(candidates)
    empty = astropy_table(flat.slice(0, 0))
    empty.meta |= about
    header = io.StringIO()
    empty.write(header, format="ascii.ecsv")
    frame = pl.from_arrow(flat)
    assert isinstance(frame, pl.DataFrame)
    words = frame.with_columns(
        pl.col(pl.Boolean).cast(pl.String).str.to_titlecase(),
        pl.col(pl.String).replace("", None),
    )
    return header.getvalue().encode() + words.write_csv(include_header=False, separator=" ", null_value='""').encode()


VOTABLE_UNITS: Final = {"ppm": "10-6", "dex(cm/s2)": "[cm/s2]", "earthRad": "Rgeo"}
"""How the CDS standard, which VOTable follows, writes the units of the schema that it spells differently."""


def to_votable(candidates: pa.Table, about: Mapping[str, str]) -> bytes:
    """Every column with its unit and its UCD (IVOA, UCD1+)."""
    from astropy.io.votable.tree import Info, Resource, TableElement, VOTableFile

    flat = flatten(candidates)
    table = astropy_table(flat)
    for column in table.columns.values():
        column.unit = None
    # Later versions of the format have no unit for a logarithm.
    votable = VOTableFile(version="1.3")
    element = TableElement.from_table(votable, table)
    for field in element.fields:
        described = flat.schema.field(field.name).metadata
        unit = described[b"unit"].decode()
        field.unit = VOTABLE_UNITS.get(unit, unit) or None
        field.ucd = described[b"ucd"].decode()
    resource = Resource()
    resource.infos.extend(Info(name=name, value=value) for name, value in about.items())
    resource.tables.append(element)
    votable.resources.append(resource)
    sink = io.BytesIO()
    votable.to_xml(sink)
    return sink.getvalue()


def astropy_table(flat: pa.Table) -> Any:
    """An `astropy.table.Table` of a flat table: unit and description of every column; what is null is masked."""
    import astropy.units
    from astropy.table import MaskedColumn, Table

    table = Table(meta={"description": "Threshold-crossing events, the most convincing first", "schema": "candidates"})
    for name, _, unit, description in schema.describe(flat.schema):
        column = flat.column(name).combine_chunks()
        missing = column.is_null().to_numpy(zero_copy_only=False)
        values = column.fill_null(_filler(column.type)).to_numpy(zero_copy_only=False)
        if pa.types.is_string(column.type):
            values = values.astype(str)
        table[name] = MaskedColumn(
            values,
            mask=missing,
            # A part in a million has no name among astropy's own units.
            unit=astropy.units.Unit(1e-6 if unit == "ppm" else unit) if unit else None,
            description=description,
        )
    return table


def _filler(kind: pa.DataType) -> Any:
    if pa.types.is_string(kind):
        return ""
    if pa.types.is_boolean(kind):
        return False
    return math.nan if pa.types.is_floating(kind) else 0


def flatten(candidates: pa.Table) -> pa.Table:
    """The same with one value a cell: two columns a check (`check_v_shaped`, `..._err`), a column for every field of
    each way to find the centroid (`centroid_prf_arcsec`), other lists as words separated by spaces.

    Every field has its unit, description and UCD as metadata.
    """
    columns: list[tuple[pa.Field, pa.Array]] = []
    for field, column in zip(candidates.schema, candidates.columns, strict=True):
        if field.name in _SPREADS:
            columns += _SPREADS[field.name](column.to_pylist())
            continue
        metadata = {"ucd": ucd_of(field.name), **(field.metadata or {})}
        kind = field.type
        if pa.types.is_list(kind):
            words = [None if value is None else " ".join(map(str, value)) for value in column.to_pylist()]
            kind, column = pa.string(), pa.array(words, pa.string())
        columns.append((pa.field(field.name, kind, field.nullable, metadata), column))
    return pa.table([column for _, column in columns], schema=pa.schema([field for field, _ in columns]))


Rows = Sequence[Sequence[Mapping[str, Any]] | None]
Spread = Iterator[tuple[pa.Field, pa.Array]]


def _spread_checks(rows: Rows) -> Spread:
    """Of every check that any signal had, in order of appearance: what was measured, and its error."""
    by_name = [{check["name"]: check for check in row or ()} for row in rows]
    found = {name: check for checks in reversed(by_name) for name, check in checks.items()}
    for name in dict.fromkeys(name for checks in by_name for name in checks):
        check = found[name]
        mine = [checks.get(name) for checks in by_name]
        words = f"what the check {name.replace('_', ' ')} measured"
        for part, ending, told, ucd in (
            ("value", "", f"{words}; the flaw begins at a score of {check['threshold']:.6g}", "stat.value"),
            ("uncertainty", "_err", f"standard error of {words}", "stat.error"),
        ):
            metadata = {"unit": check["unit"] or "", "description": told, "ucd": ucd}
            values = pa.array([None if one is None else one[part] for one in mine], pa.float64())
            yield pa.field(f"check_{name}{ending}", pa.float64(), metadata=metadata), values


CENTROID_METHODS: Final = ("prf", "flux_weighted", "prf_catalogue", "motion")


def _spread_centroids(rows: Rows) -> Spread:
    by_method = [{centroid["method"]: centroid for centroid in row or ()} for row in rows]
    for method in CENTROID_METHODS:
        mine = [centroids.get(method) for centroids in by_method]
        for field in schema.CENTROID:
            if field.name == "method":
                continue
            told = field.metadata[b"description"].decode()
            metadata = {
                "unit": field.metadata[b"unit"],
                "description": f"centroid by {method.replace('_', ' ')}: {told}",
                "ucd": CENTROID_UCDS[field.name],
            }
            name = f"centroid_{method}_{field.name.removeprefix('offset_')}"
            values = pa.array([None if one is None else one[field.name] for one in mine], field.type)
            yield pa.field(name, field.type, metadata=metadata), values


def _name_models(rows: Rows) -> Spread:
    """One cell: name:id of each."""
    words = [None if row is None else " ".join(f"{one['name']}:{one['id']}" for one in row) for row in rows]
    metadata = {"ucd": ucd_of("models"), **(schema.MODELS_FIELD.metadata or {})}
    yield pa.field("models", pa.string(), metadata=metadata), pa.array(words, pa.string())


_SPREADS: Final[dict[str, Callable[[Rows], Spread]]] = {
    "checks": _spread_checks,
    "centroids": _spread_centroids,
    "models": _name_models,
}


CTOI_COLUMNS: Final = (
    "target", "flag", "disp", "discovery", "candname", "period", "period_unc", "epoch", "epoch_unc", "depth",
    "depth_unc", "duration", "duration_unc", "inc", "inc_unc", "imp", "imp_unc", "r_planet", "r_planet_err", "ar_star",
    "ar_star_err", "radius", "radius_unc", "mass", "mass_unc", "temp", "temp_unc", "insol", "insol_unc", "dens",
    "dens_unc", "sma", "sma_unc", "ecc", "ecc_unc", "arg_peri", "arg_peri_err", "time_peri", "time_peri_unc", "vsa",
    "vsa_unc", "tag", "group", "prop_period", "paper", "notes",
)  # fmt: skip
"""Columns of ExoFOP-TESS's template for planet parameters in bulk (params_planet_YYYYMMDD_001.txt), in its spelling."""

CTOI_NOTES = 120
"""Characters that a note may have."""


def to_ctoi(candidates: pa.Table, about: Mapping[str, str]) -> bytes:
    """ExoFOP-TESS's upload of community objects of interest: TESS candidates with a period that are new, as far as is
    known, and no other star's light.

    Pipe-separated; lines that begin with a backslash are comments. Days, BJD (TDB), ppm, hours, Earth radii. ExoFOP
    asks for the next free number of the star, a paper and a tag of the uploader: those are for the uploader to fill in.
    """
    lines = [
        "\\ Candidates of transit-survey in ExoFOP-TESS's format of planet parameters in bulk.",
        "\\ Before uploading: give each target its next free number, and fill in tag and paper.",
        "\\ " + "|".join(CTOI_COLUMNS),
        *("|".join(_ctoi_cells(row)) for row in candidates.to_pylist() if _is_new(row)),
    ]
    return ("\n".join(lines) + "\n").encode()


def _is_new(row: Mapping[str, Any]) -> bool:
    """ExoFOP wants period, epoch, depth and duration, and no signal that is listed; a listed star may have others."""
    return bool(
        row["is_candidate"]
        and row["mission"] == "tess"
        and (row["novelty"] in ("new", None) or (row["novelty"] == "known" and _is_unlike(row["known_ratio"])))
        and not row["ephemeris_match"]
        and all(row[name] is not None and row[name] > 0 for name in ("period", "epoch_bjd", "depth_ppm", "duration_h"))
    )


LISTED_WITHIN: Final = 0.01
"""Relative distance from a simple ratio of the periods within which a signal may be the listed one."""


def _is_unlike(ratio: float | None) -> bool:
    """Whether the period is none of those that the listed signal could have been found at."""
    simple = (first / second for first, second in RATIOS)
    return ratio is not None and all(abs(ratio / one - 1) > LISTED_WITHIN for one in simple)


def _ctoi_cells(row: Mapping[str, Any]) -> list[str]:
    sectors = " ".join(map(str, row["observed"] or ()))
    note = f"transit-survey: MES {row['mes']:.1f}, {row['n_transits']} transits, sectors {sectors or 'unknown'}"
    values = {
        "target": f"{row['target_id'].replace(' ', '')}.{row['number']:02d}",
        "flag": "newctoi",
        "disp": "PC",
        "period": _digits(row["period"], 8),
        "period_unc": _digits(row["period_err"], 8),
        "epoch": _digits(row["epoch_bjd"], 6),
        "epoch_unc": _digits(row["epoch_err"], 6),
        "depth": _digits(row["depth_ppm"], 1),
        "depth_unc": _digits(row["depth_err_ppm"], 1),
        "duration": _digits(row["duration_h"], 3),
        "radius": _digits(row["planet_radius"], 3),
        "radius_unc": _digits(row["planet_radius_err"], 3),
        "temp": _digits(row["equilibrium_temp"], 0),
        "insol": _digits(row["insolation"], 3),
        "prop_period": "0",
        "notes": note[:CTOI_NOTES],
    }
    return [values.get(column, "") for column in CTOI_COLUMNS]


def _digits(value: float | None, places: int) -> str:
    return "" if value is None else f"{value:.{places}f}"


EXPORTS: Final[dict[str, Callable[[pa.Table, Mapping[str, str]], bytes]]] = {
    "csv": to_csv,
    "ecsv": to_ecsv,
    "votable": to_votable,
    "parquet": to_parquet,
    "ctoi": to_ctoi,
}


# A star as JSON


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A described row as JSON values: without the long series and the trace, numbers that are not finite as null."""
    left_out = {*schema.SERIES_COLUMNS, schema.TRACE.name, schema.VIEWS.name}
    kept = {name: plain(value) for name, value in row.items() if name not in left_out}
    assert isinstance(kept, dict)
    return kept


def plain(value: Any) -> Any:
    """The value as JSON can hold it: no NumPy, no NaN."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json(value: Any) -> str:
    """Valid JSON of anything `plain` takes."""
    return json.dumps(plain(value), indent=2, allow_nan=False, ensure_ascii=False)


# Known signals


@dataclass(frozen=True)
class Recovered:
    """One injected signal and the TCE that it became; rank and period are None where it was missed."""

    signal: InjectedSignal
    verdict: str
    rank: int | None
    period: float | None
    is_candidate: bool


def recover(truth: Sequence[InjectedSignal], candidates: pa.Table) -> list[Recovered]:
    """Each injected signal beside the TCE that matches it, in the order of `truth`."""
    rows = [row for row in candidates.to_pylist() if row["period"] is not None]
    found = [(row["target_id"], row["period"], row["epoch"], row["duration_h"] / 24.0) for row in rows]
    known = [(signal.target_id, signal.period, signal.epoch, signal.duration_h / 24.0) for signal in truth]
    recovered = []
    for signal, match in zip(truth, match_signals(known, found), strict=True):
        row = None if match.found is None else rows[match.found]
        recovered.append(
            Recovered(
                signal,
                match.verdict,
                None if row is None else row["rank"],
                None if row is None else row["period"],
                row is not None and bool(row["is_candidate"]),
            )
        )
    return recovered


def count_recovered(recovered: Iterable[Recovered]) -> Iterator[tuple[str, Counter[str]]]:
    """(kind, counts of "injected", "found", "alias", "missed", "candidate") for every kind of signal, then for all."""
    kinds: dict[str, Counter[str]] = {}
    for one in recovered:
        for kind in (one.signal.kind, "all"):
            counts = kinds.setdefault(kind, Counter())
            counts["injected"] += 1
            counts[one.verdict] += 1
            counts["candidate"] += one.is_candidate
    yield from ((kind, counts) for kind, counts in kinds.items() if kind != "all")
    if "all" in kinds:
        yield "all", kinds["all"]
