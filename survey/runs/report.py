"""What leaves a run: candidates in the formats that others read, rows as JSON, and how many known signals came back.

`EXPORTS` maps the name of a format to a function from a table of schema.CANDIDATE to the bytes of a file. Units and
descriptions come from the schema; ECSV and VOTable carry them.
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
import pyarrow.parquet as pq

from survey import schema
from survey.errors import UsageError
from survey.runs import store
from survey.runs.store import Run
from survey.stars.simulate import InjectedSignal, match_signals


def read_candidates(run: Run, top: int | None = None) -> pa.Table:
    """The ranked candidates of a run as rows of schema.CANDIDATE; the first `top` of them.

    Raises UsageError where the run has not come to its catalogue yet.
    """
    if not run.folder.exists(store.CANDIDATES):
        done = store.status(run)
        raise UsageError(
            f"{run.folder.root} has no catalogue yet ({done.shards_done} of {done.shards} shards are done): run the "
            "same `survey sweep` again to finish it"
        )
    table = pq.read_table(pa.BufferReader(run.folder.read(store.CANDIDATES))).cast(schema.CANDIDATE)
    return table if top is None else table.slice(0, top)


# Exports


def export(candidates: pa.Table, form: str) -> bytes:
    """The bytes of a file in one of EXPORTS. Raises UsageError for an unknown format."""
    if form not in EXPORTS:
        raise UsageError(f"no format {form!r}: choose one of {', '.join(EXPORTS)}")
    return EXPORTS[form](candidates)


def to_parquet(candidates: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(candidates, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def to_csv(candidates: pa.Table) -> bytes:
    """Empty cells are null; lists are words separated by spaces."""
    frame = pl.from_arrow(flatten(candidates))
    assert isinstance(frame, pl.DataFrame)
    return frame.write_csv().encode()


def to_ecsv(candidates: pa.Table) -> bytes:
    text = io.StringIO()
    astropy_table(candidates).write(text, format="ascii.ecsv")
    return text.getvalue().encode()


VOTABLE_UNITS: Final = {"ppm": "10-6", "dex(cm/s2)": "[cm/s2]"}
"""How the CDS standard, which VOTable follows, writes the units of the schema that it spells differently."""


def to_votable(candidates: pa.Table) -> bytes:
    from astropy.io.votable.tree import Resource, TableElement, VOTableFile

    table = astropy_table(candidates)
    for column in table.columns.values():
        column.unit = None
    # Later versions of the format have no unit for a logarithm.
    votable = VOTableFile(version="1.3")
    element = TableElement.from_table(votable, table)
    units = {name: unit for name, _, unit, _ in schema.describe(candidates.schema)}
    for field in element.fields:
        unit = units[field.name]
        field.unit = VOTABLE_UNITS.get(unit, unit) or None
    resource = Resource()
    resource.tables.append(element)
    votable.resources.append(resource)
    sink = io.BytesIO()
    votable.to_xml(sink)
    return sink.getvalue()


def astropy_table(candidates: pa.Table) -> Any:
    """An `astropy.table.Table` with unit and description of every column; what is null is masked."""
    import astropy.units
    from astropy.table import MaskedColumn, Table

    flat = flatten(candidates)
    table = Table(meta={"description": "Threshold-crossing events, the most convincing first", "schema": "candidates"})
    for name, _, unit, description in schema.describe(candidates.schema):
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


def flatten(table: pa.Table) -> pa.Table:
    """Lists become words separated by spaces, so that every cell is one value."""
    for k, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            words = [None if value is None else " ".join(map(str, value)) for value in table.column(k).to_pylist()]
            table = table.set_column(
                k, pa.field(field.name, pa.string(), metadata=field.metadata), pa.array(words, pa.string())
            )
    return table


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


def to_ctoi(candidates: pa.Table) -> bytes:
    """ExoFOP-TESS's upload of community objects of interest: TESS candidates that pass the gate, with a period.

    Pipe-separated; lines that begin with a backslash are comments. Days, BJD (TDB), ppm, hours. ExoFOP asks for the
    next free number of the star, a paper and a tag of the uploader: those are for the uploader to fill in.
    """
    rows = [
        row
        for row in candidates.to_pylist()
        if row["is_candidate"] and row["mission"] == "tess" and row["period"] is not None
    ]
    lines = [
        "\\ Candidates of transit-survey in ExoFOP-TESS's format of planet parameters in bulk.",
        "\\ Before uploading: give each target its next free number, and fill in tag and paper.",
        "\\ " + "|".join(CTOI_COLUMNS),
        *("|".join(_ctoi_cells(row)) for row in rows),
    ]
    return ("\n".join(lines) + "\n").encode()


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
        "prop_period": "0",
        "notes": note[:CTOI_NOTES],
    }
    return [values.get(column, "") for column in CTOI_COLUMNS]


def _digits(value: float | None, places: int) -> str:
    return "" if value is None else f"{value:.{places}f}"


EXPORTS: Final[dict[str, Callable[[pa.Table], bytes]]] = {
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


# Progress


def stage_seconds(telemetry: pa.Table) -> dict[str, float]:
    """Mean seconds that a star spent in each stage that it came to, in the order of the stages."""
    spent: dict[str, list[float]] = {}
    for trace in telemetry.column("trace").to_pylist():
        for entry in trace or ():
            spent.setdefault(entry["stage"], []).append(entry["seconds"])
    return {stage: sum(seconds) / len(seconds) for stage, seconds in spent.items()}
