"""Exports keep units, nulls and every digit; JSON is valid; recovered signals are counted right."""

import csv
import io
import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.table import Table

from survey import schema
from survey.errors import UsageError
from survey.runs import report
from survey.stars.simulate import InjectedSignal


def make_tce(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "rank": 1,
        "target_id": "TIC 441462736",
        "mission": "tess",
        "number": 1,
        "period": 14.276123456789,
        "period_err": 1.2e-4,
        "epoch": 1325.7301234,
        "epoch_err": 2e-3,
        "epoch_bjd": 2458325.7301234,
        "duration_h": 6.75,
        "depth_ppm": 4321.0,
        "depth_err_ppm": 55.5,
        "snr": 80.1,
        "mes": 77.7,
        "sde": 31.0,
        "max_ses": 50.0,
        "rest_mes": 0.7,
        "box_over_sine": 2.5,
        "inverted_mes": None,
        "n_transits": 2,
        "scatter_beta": 1.02,
        "is_candidate": True,
        "flags": [],
        "time_zero": 2457000.0,
        "n_cadences": 18000,
        "baseline_d": 27.1,
        "scatter_ppm": 420.0,
        "magnitude": 9.7,
        "teff": 5080.0,
        "radius": 2.9,
        "logg": 3.6,
        "ra": 352.71,
        "dec": -21.80,
        "observed": [2, 29],
    }
    return values | changes


@pytest.fixture
def candidates() -> pa.Table:
    rows = [
        make_tce(),
        make_tce(rank=2, target_id="KIC 757076", mission="kepler", time_zero=2454833.0, logg=None, observed=[1, 2, 3]),
        make_tce(
            rank=3, number=2, period=None, period_err=None, is_candidate=False, flags=["few_transits", "one_event"]
        ),
    ]
    return schema.rows_table(rows, schema.CANDIDATE)


def read_back(content: bytes, form: str, tmp_path: Any) -> Table:
    path = tmp_path / f"candidates.{form}"
    path.write_bytes(content)
    return Table.read(path, format={"ecsv": "ascii.ecsv", "votable": "votable"}[form])


@pytest.mark.parametrize("form", ["ecsv", "votable"])
def test_units_descriptions_and_values_survive(candidates: pa.Table, form: str, tmp_path: Any) -> None:
    table = read_back(report.export(candidates, form), form, tmp_path)
    assert table.colnames == candidates.schema.names
    for name, _, unit, description in schema.describe(candidates.schema):
        expected = None if not unit else units.Unit(1e-6 if unit == "ppm" else unit)
        assert table[name].unit == expected, name
        # VOTable breaks long descriptions into lines, also at hyphens.
        assert "".join(table[name].description.split()) == "".join(description.split())
    assert table["depth_ppm"].quantity[0].to(units.percent).value == pytest.approx(0.4321)
    assert table["period"][0] == 14.276123456789
    assert table["epoch_bjd"][0] == 2458325.7301234
    assert [bool(value) for value in np.ma.getmaskarray(table["period"])] == [False, False, True]
    assert np.ma.getmaskarray(table["inverted_mes"]).all()
    assert np.ma.getmaskarray(table["logg"]).tolist() == [False, True, False]
    assert [str(value) for value in table["observed"]] == ["2 29", "1 2 3", "2 29"]
    assert str(table["flags"][2]) == "few_transits one_event"
    assert [bool(value) for value in table["is_candidate"]] == [True, True, False]


def test_votable_follows_the_standard(candidates: pa.Table, tmp_path: Any) -> None:
    from astropy.io.votable import parse, validate

    path = tmp_path / "candidates.vot"
    path.write_bytes(report.export(candidates, "votable"))
    assert parse(path, verify="exception").version == "1.3"
    said = io.StringIO()
    assert validate(path, output=said, xmllint=False), said.getvalue()


def test_csv_has_one_plain_value_a_cell(candidates: pa.Table) -> None:
    rows = list(csv.DictReader(io.StringIO(report.export(candidates, "csv").decode())))
    assert [row["target_id"] for row in rows] == ["TIC 441462736", "KIC 757076", "TIC 441462736"]
    assert float(rows[0]["period"]) == 14.276123456789
    assert rows[2]["period"] == ""
    assert rows[2]["flags"] == "few_transits one_event"


def test_parquet_is_the_table_with_its_metadata(candidates: pa.Table) -> None:
    back = pq.read_table(io.BytesIO(report.export(candidates, "parquet")))
    assert back.equals(candidates)
    assert back.schema.field("depth_ppm").metadata[b"unit"] == b"ppm"


def test_ctoi_holds_tess_candidates_with_a_period(candidates: pa.Table) -> None:
    lines = report.export(candidates, "ctoi").decode().splitlines()
    assert [line[0] for line in lines] == ["\\", "\\", "\\", "T"]
    names, cells = lines[2].removeprefix("\\ ").split("|"), lines[3].split("|")
    assert len(names) == len(cells) == 46
    row = dict(zip(names, cells, strict=True))
    assert row["target"] == "TIC441462736.01"
    assert float(row["epoch"]) == pytest.approx(2458325.730123, abs=1e-6)
    assert (row["flag"], row["disp"], row["prop_period"]) == ("newctoi", "PC", "0")
    assert float(row["duration"]) == 6.75
    assert 0 < len(row["notes"]) <= report.CTOI_NOTES


@pytest.mark.parametrize("form", list(report.EXPORTS))
def test_a_run_without_signals_exports_too(form: str, tmp_path: Any) -> None:
    content = report.export(schema.CANDIDATE.empty_table(), form)
    assert content
    if form in ("ecsv", "votable"):
        assert read_back(content, form, tmp_path).colnames == schema.CANDIDATE.names


def test_an_unknown_format_is_refused_with_the_choices(candidates: pa.Table) -> None:
    with pytest.raises(UsageError, match="csv, ecsv, votable"):
        report.export(candidates, "xlsx")


def test_json_has_no_nan_and_no_numpy() -> None:
    value = {
        "a": math.nan,
        "b": np.float32(1.5),
        "c": np.array([1.0, np.inf]),
        "d": [np.int64(3), None, np.bool_(True)],
    }
    assert json.loads(report.to_json(value)) == {"a": None, "b": 1.5, "c": [1.0, None], "d": [3, None, True]}


def test_a_plain_row_leaves_the_long_series_out() -> None:
    row = {name: np.zeros(3) for name in schema.SERIES_COLUMNS} | {"target_id": "TIC 1", "trace": [], "views": []}
    assert report.plain_row(row) == {"target_id": "TIC 1"}


def test_recovered_signals_are_counted_by_kind() -> None:
    def signal(target: str, kind: str, period: float) -> InjectedSignal:
        return InjectedSignal(target, kind, period, 1326.0, 3.0, 1000.0, 20.0)

    truth = [
        signal("TIC 1", "planet", 3.0),
        signal("TIC 2", "planet", 5.0),
        signal("TIC 3", "eclipsing_binary", 2.0),
        signal("TIC 4", "planet", 7.0),
    ]
    rows = [
        make_tce(rank=1, target_id="TIC 1", period=3.0001, epoch=1329.0, duration_h=3.0),
        make_tce(rank=2, target_id="TIC 3", period=1.0, epoch=1327.0, duration_h=3.0, is_candidate=False),
        make_tce(rank=3, target_id="TIC 4", period=7.0, epoch=1328.0, duration_h=3.0),
        make_tce(rank=4, target_id="TIC 2", period=None),
    ]
    recovered = report.recover(truth, schema.rows_table(rows, schema.CANDIDATE))
    assert [(one.verdict, one.rank) for one in recovered] == [
        ("found", 1),
        ("missed", None),
        ("alias", 2),
        ("missed", None),
    ]
    counts = dict(report.count_recovered(recovered))
    assert counts["planet"] == {"injected": 3, "found": 1, "missed": 2, "candidate": 1}
    assert counts["eclipsing_binary"] == {"injected": 1, "alias": 1, "candidate": 0}
    assert counts["all"]["injected"] == 4
    assert list(counts)[-1] == "all"


def test_seconds_by_stage_are_means_over_the_stars_that_came_to_it() -> None:
    def tried(*entries: tuple[str, float]) -> dict[str, Any]:
        trace = [{"stage": stage, "seconds": seconds, "node": "here", "traceback": None} for stage, seconds in entries]
        return {"target_id": "TIC 1", "shard": 0, "attempt": 1, "last_stage": "done", "status": "ok", "trace": trace}

    rows = [tried(("fetch", 1.0), ("search", 4.0)), tried(("fetch", 3.0))]
    telemetry = schema.rows_table([row | {"updated_at": "2026-01-01T00:00:00+00:00"} for row in rows], schema.TELEMETRY)
    assert report.stage_seconds(telemetry) == {"fetch": 2.0, "search": 4.0}
