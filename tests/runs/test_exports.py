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
from survey.config import Config
from survey.errors import UsageError
from survey.runs import exports, store, ucds
from survey.stars.simulate import InjectedSignal
from tests.runs import fakes


def make_check(name: str, value: float | None, **others: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "uncertainty": None, "unit": "", "score": value, "passed": None} | others


def make_centroid(method: str, **others: Any) -> dict[str, Any]:
    return dict.fromkeys((field.name for field in schema.CENTROID), None) | {"method": method} | others


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
        "planet_radius": 9.25,
        "planet_radius_err": 0.5,
        "equilibrium_temp": 812.4,
        "insolation": 70.5,
        "checks": [
            make_check("odd_even_differ", 35.5, uncertainty=60.25, unit="ppm", score=0.6, threshold=3.0),
            make_check("one_event", 0.7, threshold=0.5),
            make_check("too_long", None, unit="h", threshold=2.0),
        ],
        "centroids": [
            make_centroid("prf", offset_arcsec=1.5, offset_arcsec_err=0.75, offset_pixels=0.07, n_products=2),
            make_centroid("flux_weighted", problem="crowded"),
        ],
        "novelty": None,
        "ephemeris_match": False,
        "star_class": "planet_candidate",
        "class_evidence": ["two transits", "a flat bottom"],
    }
    return values | changes


@pytest.fixture
def candidates() -> pa.Table:
    rows = [
        make_tce(),
        make_tce(rank=2, target_id="KIC 757076", mission="kepler", time_zero=2454833.0, logg=None, observed=[1, 2, 3]),
        make_tce(
            rank=3,
            number=2,
            period=None,
            period_err=None,
            is_candidate=False,
            flags=["few_transits", "one_event"],
            checks=[make_check("v_shaped", 0.25, threshold=0.9)],
            centroids=None,
        ),
    ]
    return schema.rows_table(rows, schema.CANDIDATE)


def read_back(content: bytes, form: str, tmp_path: Any) -> Table:
    path = tmp_path / f"candidates.{form}"
    path.write_bytes(content)
    return Table.read(path, format={"ecsv": "ascii.ecsv", "votable": "votable"}[form])


ABOUT = {
    "survey_version": "1.2.3",
    "science_hash": "ab" * 32,
    "created_at": "2026-01-01T00:00:00+00:00",
    "citation": "survey cite",
}


@pytest.mark.parametrize("form", ["ecsv", "votable"])
def test_units_descriptions_and_values_survive(candidates: pa.Table, form: str, tmp_path: Any) -> None:
    table = read_back(exports.export(candidates, form, ABOUT), form, tmp_path)
    flat = exports.flatten(candidates)
    assert table.colnames == flat.column_names
    for name, _, unit, description in schema.describe(flat.schema):
        expected = None if not unit else units.Unit(1e-6 if unit == "ppm" else unit)
        assert table[name].unit == expected, name
        # VOTable breaks long descriptions into lines, also at hyphens.
        assert "".join(table[name].description.split()) == "".join(description.split())
    assert table["depth_ppm"].quantity[0].to(units.percent).value == pytest.approx(0.4321)
    assert table["planet_radius"].quantity[0].to(units.km).value == pytest.approx(9.25 * 6378.1)
    assert table["period"][0] == 14.276123456789
    assert table["epoch_bjd"][0] == 2458325.7301234
    assert [bool(value) for value in np.ma.getmaskarray(table["period"])] == [False, False, True]
    assert np.ma.getmaskarray(table["inverted_mes"]).all()
    assert np.ma.getmaskarray(table["logg"]).tolist() == [False, True, False]
    assert [str(value) for value in table["observed"]] == ["2 29", "1 2 3", "2 29"]
    assert str(table["flags"][2]) == "few_transits one_event"
    assert [bool(value) for value in table["is_candidate"]] == [True, True, False]


def test_every_format_ends_where_it_began(candidates: pa.Table, tmp_path: Any) -> None:
    """ECSV and VOTable hold the same values and gaps as the CSV, column by column."""
    rows = list(csv.DictReader(io.StringIO(exports.export(candidates, "csv").decode())))
    for form in ("ecsv", "votable"):
        table = read_back(exports.export(candidates, form), form, tmp_path)
        assert list(rows[0]) == table.colnames
        for name in table.colnames:
            missing = np.ma.getmaskarray(table[name])
            for row, value, gone in zip(rows, table[name], missing, strict=True):
                if row[name] == "":
                    # VOTable has no null text.
                    assert gone or str(value) == "", name
                elif table[name].dtype.kind == "f":
                    assert value == float(row[name]), name
                else:
                    assert str(value).lower() == row[name].lower(), name


def test_checks_and_centroids_become_columns(candidates: pa.Table, tmp_path: Any) -> None:
    flat = exports.flatten(candidates)
    names = flat.column_names
    assert not {"checks", "centroids"} & set(names)
    assert flat.column("check_odd_even_differ").to_pylist() == [35.5, 35.5, None]
    assert flat.column("check_odd_even_differ_err").to_pylist() == [60.25, 60.25, None]
    assert flat.column("check_too_long").null_count == 3
    assert flat.column("check_v_shaped").to_pylist() == [None, None, 0.25]
    assert flat.column("centroid_prf_arcsec").to_pylist() == [1.5, 1.5, None]
    assert flat.column("centroid_prf_arcsec_err").to_pylist() == [0.75, 0.75, None]
    assert flat.column("centroid_flux_weighted_problem").to_pylist() == ["crowded", "crowded", None]
    assert flat.column("centroid_motion_arcsec").null_count == 3
    assert flat.column("class_evidence")[0].as_py() == "two transits a flat bottom"
    table = read_back(exports.export(candidates, "ecsv"), "ecsv", tmp_path)
    assert table["check_odd_even_differ_err"].unit == units.Unit(1e-6)
    assert table["check_too_long"].unit == units.hour
    assert table["centroid_prf_arcsec"].unit == units.arcsec
    assert "score of 3" in table["check_odd_even_differ"].description


def test_files_say_which_run_they_come_from(candidates: pa.Table, tmp_path: Any) -> None:
    from astropy.io.votable import parse

    table = read_back(exports.export(candidates, "ecsv", ABOUT), "ecsv", tmp_path)
    assert {name: table.meta[name] for name in ABOUT} == ABOUT
    infos = parse(io.BytesIO(exports.export(candidates, "votable", ABOUT))).resources[0].infos
    assert {info.name: info.value for info in infos} == ABOUT


def test_votable_follows_the_standard(candidates: pa.Table, tmp_path: Any) -> None:
    from astropy.io.votable import parse, validate

    path = tmp_path / "candidates.vot"
    path.write_bytes(exports.export(candidates, "votable", ABOUT))
    assert parse(path, verify="exception").version == "1.3"
    said = io.StringIO()
    assert validate(path, output=said, xmllint=False), said.getvalue()


def test_every_column_has_a_ucd_of_the_controlled_vocabulary(candidates: pa.Table) -> None:
    from astropy.io.votable import parse_single_table
    from astropy.io.votable.ucd import parse_ucd

    fields = parse_single_table(io.BytesIO(exports.export(candidates, "votable"))).fields
    found = {field.name: field.ucd for field in fields}
    assert list(found) == exports.flatten(candidates).column_names
    for name, ucd in found.items():
        assert ucd, name
        parse_ucd(ucd, check_controlled_vocabulary=True, has_colon=False)
    assert found["period"] == "time.period"
    assert found["period_err"] == "stat.error;time.period"
    assert (found["ra"], found["dec"]) == ("pos.eq.ra;meta.main", "pos.eq.dec;meta.main")
    assert found["check_v_shaped_err"] == "stat.error"
    assert [name for name, ucd in found.items() if ucd == "meta.id;meta.main"] == ["target_id"]
    assert set(ucds.UCDS) <= {*schema.CANDIDATE.names, *exports.STAR_CATALOGUE, "score_raw", "probability"}
    assert set(ucds.CENTROID_UCDS) == {field.name for field in schema.CENTROID} - {"method"}


def test_csv_has_one_plain_value_a_cell(candidates: pa.Table) -> None:
    rows = list(csv.DictReader(io.StringIO(exports.export(candidates, "csv").decode())))
    assert [row["target_id"] for row in rows] == ["TIC 441462736", "KIC 757076", "TIC 441462736"]
    assert float(rows[0]["period"]) == 14.276123456789
    assert rows[2]["period"] == ""
    assert rows[2]["flags"] == "few_transits one_event"


def test_parquet_is_the_table_with_its_metadata(candidates: pa.Table) -> None:
    back = pq.read_table(io.BytesIO(exports.export(candidates, "parquet")))
    assert back.equals(candidates)
    assert back.schema.field("depth_ppm").metadata[b"unit"] == b"ppm"


def test_ctoi_holds_tess_candidates_with_a_period(candidates: pa.Table) -> None:
    lines = exports.export(candidates, "ctoi").decode().splitlines()
    assert [line[0] for line in lines] == ["\\", "\\", "\\", "T"]
    names, cells = lines[2].removeprefix("\\ ").split("|"), lines[3].split("|")
    assert len(names) == len(cells) == 46
    row = dict(zip(names, cells, strict=True))
    assert row["target"] == "TIC441462736.01"
    assert float(row["epoch"]) == pytest.approx(2458325.730123, abs=1e-6)
    assert (row["flag"], row["disp"], row["prop_period"]) == ("newctoi", "PC", "0")
    assert float(row["duration"]) == 6.75
    assert 0 < len(row["notes"]) <= exports.CTOI_NOTES
    assert (row["radius"], row["radius_unc"]) == ("9.250", "0.500")
    assert (row["temp"], row["insol"]) == ("812", "70.500")
    assert row["r_planet"] == ""  # a ratio of radii, which was not measured


@pytest.mark.parametrize(
    ("changes", "listed"),
    [
        ({}, True),
        ({"novelty": "new"}, True),
        ({"novelty": "known", "known_ratio": None}, False),
        ({"novelty": "known", "known_ratio": 1.004}, False),
        ({"novelty": "known", "known_ratio": 0.4996}, False),
        ({"novelty": "known", "known_ratio": 2.37}, True),
        ({"novelty": "rediscovered"}, False),
        ({"ephemeris_match": None}, True),
        ({"ephemeris_match": True}, False),
        ({"is_candidate": False}, False),
        ({"depth_ppm": -3.0}, False),
    ],
)
def test_ctoi_leaves_out_what_is_known_or_another_stars(changes: dict[str, Any], listed: bool) -> None:
    table = schema.rows_table([make_tce(**changes)], schema.CANDIDATE)
    lines = exports.export(table, "ctoi").decode().splitlines()
    assert sum(line.startswith("TIC") for line in lines) == listed


@pytest.mark.parametrize("form", list(exports.EXPORTS))
def test_a_run_without_signals_exports_too(form: str, tmp_path: Any) -> None:
    content = exports.export(schema.CANDIDATE.empty_table(), form)
    assert content
    if form in ("ecsv", "votable"):
        names = [name for name in schema.CANDIDATE.names if name not in ("checks", "centroids")]
        found = read_back(content, form, tmp_path).colnames
        assert [name for name in found if not name.startswith("centroid_") or name in names] == names


def test_an_unknown_format_is_refused_with_the_choices(candidates: pa.Table) -> None:
    with pytest.raises(UsageError, match="csv, ecsv, votable"):
        exports.export(candidates, "xlsx")


def test_json_has_no_nan_and_no_numpy() -> None:
    value = {
        "a": math.nan,
        "b": np.float32(1.5),
        "c": np.array([1.0, np.inf]),
        "d": [np.int64(3), None, np.bool_(True)],
    }
    assert json.loads(exports.to_json(value)) == {"a": None, "b": 1.5, "c": [1.0, None], "d": [3, None, True]}


def test_a_plain_row_leaves_the_long_series_out() -> None:
    row = {name: np.zeros(3) for name in schema.SERIES_COLUMNS} | {"target_id": "TIC 1", "trace": [], "views": []}
    assert exports.plain_row(row) == {"target_id": "TIC 1"}


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
    recovered = exports.recover(truth, schema.rows_table(rows, schema.CANDIDATE))
    assert [(one.verdict, one.rank) for one in recovered] == [
        ("found", 1),
        ("missed", None),
        ("alias", 2),
        ("missed", None),
    ]
    counts = dict(exports.count_recovered(recovered))
    assert counts["planet"] == {"injected": 3, "found": 1, "missed": 2, "candidate": 1}
    assert counts["eclipsing_binary"] == {"injected": 1, "alias": 1, "candidate": 0}
    assert counts["all"]["injected"] == 4
    assert list(counts)[-1] == "all"


def test_stars_are_listed_by_their_score(tmp_path: Any) -> None:
    config = Config()
    with store.open_run(tmp_path, config, fakes.targets(30)) as run:
        for shard, table in store.todo(run).items():
            store.commit(run, shard, fakes.described(table, config))
        store.merge(run)
    stars = exports.read_stars(store.load_run(tmp_path))
    assert stars.column_names[:4] == ["target_id", "mission", "num_segments", "star_score"]
    scores = stars.column("star_score").to_pylist()
    assert scores == sorted(scores, reverse=True)
    assert 0 < len(stars) < 30, "stars without light have no score"
    words = exports.export(stars, "csv").decode().splitlines()
    assert words[0].startswith("target_id,mission,num_segments,star_score,")
    assert len(exports.read_stars(run, threshold=0.5)) == 0, "none has a probability"
    for form in ("ecsv", "votable"):
        assert exports.export(stars, form)


def test_signals_are_listed_by_the_score_of_a_model(candidates: pa.Table) -> None:
    scores, chances = pa.array([0.5, 2.0, None]), pa.array([0.3, 0.8, None])
    for name, values in (("vetting_score", scores), ("vetting_probability", chances)):
        candidates = candidates.set_column(
            candidates.schema.get_field_index(name), candidates.schema.field(name), values
        )
    ranked = exports.rank_by(candidates, "vetting")
    assert ranked.column("score_raw").to_pylist() == [2.0, 0.5]
    assert ranked.column("rank").to_pylist() == candidates.column("rank").to_pylist()[1::-1]
    assert exports.rank_by(candidates, "vetting", 0.5).column("probability").to_pylist() == [0.8]
    assert exports.flatten(ranked).schema.field("probability").metadata[b"ucd"] == b"stat.probability"
    with pytest.raises(UsageError, match="no signal here was scored by pixels"):
        exports.rank_by(candidates, "pixels")
