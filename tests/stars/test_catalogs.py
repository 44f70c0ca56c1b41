"""Catalogues: reading what the archives write, fetching over a loopback server, names, known signals in our units."""

import gzip
import os
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from survey.config import RunConfig
from survey.errors import FetchFailed, UsageError
from survey.stars import catalogs
from survey.stars.catalogs import (
    CATALOGUES,
    FetchedTable,
    KnownSignal,
    default_folder,
    fetch_catalogs,
    find_table,
    known_signals,
    load_table,
    resolver,
    signals_table,
)
from survey.stars.lists import read_targets
from survey.stars.targets import parse_target

# Rows of the archives' own tables. TOI-2140.01 and K00001.01 are one planet, seen by both missions (TrES-2 b).
TOI = """rowid,toi,tid,tfopwg_disp,rastr,pl_tranmid,pl_orbper,pl_trandurh,pl_trandep,st_tmag
1,700.01,150428135,CP,06h28m23.23s,2459303.1570620,16.0511060,2.1400000,651.3000000,10.9098000
2,700.02,150428135,CP,06h28m23.23s,2458330.4861550,37.4236838,3.2960000,748.1000000,10.9098000
3,1301.02,239816000,PC,,2458999.4623850,,8.0555709,1200.0000000,
4,2140.01,399860444,KP,19h07m14.05s,2459012.5109630,2.4706114,1.7944860,14310.7159758,10.8540000
5,1078.01,370133522,CP,,2458654.1033200,0.5182425,0.8565249,831.8920424,
"""
KOI = """kepid,kepoi_name,kepler_name,koi_disposition,koi_period,koi_time0bk,koi_duration,koi_depth
11446443,K00001.01,Kepler-1 b,CONFIRMED,2.470613377,122.7633050,1.74319,1.4231e+04
11442793,K00351.06,Kepler-90 b,CONFIRMED,7.008217870,137.67164,3.812,1.164e+02
11442793,K00351.01,Kepler-90 h,CONFIRMED,331.597273200,140.498929,14.404,8.3221e+03
12254688,K02384.01,,CANDIDATE,62.682576900,182.22959,2.327,3.989e+02
"""
K2 = """pl_name,hostname,epic_hostname,disposition,default_flag,pl_orbper,pl_tranmid,pl_tsystemref,pl_trandur,pl_trandep
K2-18 b,K2-18,EPIC 201912552,CONFIRMED,1,32.93963,2457264.39144,BJD,2.663,0.3
K2-18 b,K2-18,EPIC 201912552,CONFIRMED,0,32.94,,,,
K2-24 b,K2-24,EPIC 203771098,CONFIRMED,1,20.88508,2456905.79,HJD,5.5,
EPIC 203581469.01,EPIC 203581469,,FALSE POSITIVE,1,22.79840,,,,
"""
PLANETS = """pl_name,hostname,tic_id,pl_orbper,pl_tranmid,pl_tranmid_systemref,pl_trandur,pl_trandep,pl_bmasse
GJ 1252 b,GJ 1252,TIC 370133522,0.51823310,2458668.097440,BJD,0.7240000,0.083189,2.09
HD 99 b,HD 99,TIC 99,4.00000000,2458700.500000,BJD-TDB,3.0860000,0.649000,
HD 99 c,HD 99,TIC 99,9.00000000,2458701.500000,JD,,,
"""
TESS_EBS = """tess_id,signal_id,bjd0,period,prim_width_pf,prim_depth_pf
117544915,1,1324.3546347182105,2.968452032519855,0.0802029387801003,0.3805709877836709
300560295,1,1603.5672758000009,20.588775984783160,,
"""
KEPLER_EBS = """##
## Kepler Eclipsing Binary Catalog
##
#KIC,period,period_err,pdepth,sdepth,morph,Teff,SC,
9472174,0.1257653,0.0000001,0.0462,-1.0000,0.78,10645.0000,True,
10453521,0.2307783,0.0000067,0.0000,-1.0000,0.36,6541.0000,False,
"""
TABLES = {"toi": TOI, "cumulative": KOI, "k2pandc": K2, "pscomppars": PLANETS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """All six tables, in the forms that they come in."""
    nasa = "# This file was produced by the NASA Exoplanet Archive\n#\n# COLUMN toi: TESS Object, of Interest\n#\n"
    (tmp_path / "nasa_toi_2026-07-23.csv.gz").write_bytes(gzip.compress((nasa + TOI).encode()))
    (tmp_path / "cumulative_2025.04.04_07.26.51.csv").write_text(nasa + KOI)
    (tmp_path / "nasa_k2pandc.csv").write_text(K2)
    pl.read_csv(PLANETS.encode()).write_parquet(tmp_path / "PSCompPars_2024-12-07.parquet")
    (tmp_path / "tess_ebs.csv").write_text(TESS_EBS)
    (tmp_path / "kepler_ebs.csv.gz").write_bytes(gzip.compress(KEPLER_EBS.encode()))
    return tmp_path


@pytest.fixture(scope="session")
def real_folder() -> Path:
    data = Path(os.environ.get("SURVEY_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (data / "catalogs").is_dir():
        pytest.skip(f"no real tables in {data / 'catalogs'}: set SURVEY_TEST_DATA")
    return data / "catalogs"


# --------------------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("name", CATALOGUES)
def test_every_table_loads_typed(folder: Path, name: str) -> None:
    table = load_table(name, folder)
    catalogue = CATALOGUES[name]
    assert set(table.columns) == {*catalogue.integers, *catalogue.words, *catalogue.numbers}
    assert all(table.schema[column] == pl.Float64 for column in catalogue.numbers)
    assert all(table[column].null_count() == 0 for column in catalogue.integers)
    assert table.height >= 2


def test_a_header_written_as_comment_is_a_header(folder: Path) -> None:
    assert load_table("kepler_ebs", folder)["KIC"].to_list() == [9472174, 10453521]


def test_numbers_survive_in_full_precision(folder: Path) -> None:
    assert load_table("toi", folder)["pl_tranmid"][0] == 2459303.157062


def test_the_newest_file_by_its_date_wins(tmp_path: Path) -> None:
    names = ["nasa_toi.csv", "nasa_toi_2024-12-07.csv", "TOI_2026.07.23_10.15.02.csv", "nasa_toi_2025-01-31.parquet"]
    for name in [*names, "nasa_toi_2027-01-01.csv.part", "nasa_toi_notes.csv", "my_toi_2028-01-01.csv"]:
        (tmp_path / name).write_text(TOI)
    order = [names[2], names[3], names[1], names[0]]
    for name in order:
        assert find_table("toi", tmp_path) == tmp_path / name
        (tmp_path / name).unlink()
    assert find_table("toi", tmp_path) is None


def test_a_replaced_file_is_read_anew(folder: Path) -> None:
    assert load_table("tess_ebs", folder).height == 2
    (folder / "tess_ebs.csv").write_text(TESS_EBS + "5,1,1325.0,1.0,,\n")
    assert load_table("tess_ebs", folder).height == 3
    assert len(known_signals(folder, "TIC 5")) == 1


@pytest.mark.parametrize(
    "content", [b"", b"<html>\nno such, table\n</html>\n", b"toi,tid\n1.01,2\n", TOI.splitlines()[0].encode()]
)
def test_a_file_that_is_no_table_is_named_with_the_way_out(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "nasa_toi.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"nasa_toi\.csv cannot be read.*survey catalogs fetch"):
        load_table("toi", tmp_path)


def test_broken_gzip_and_parquet_are_named_too(tmp_path: Path) -> None:
    (tmp_path / "nasa_toi.csv.gz").write_bytes(gzip.compress(TOI.encode())[:-9])
    (tmp_path / "pscomppars.parquet").write_bytes(b"PAR1")
    for name in ("toi", "planets"):
        with pytest.raises(UsageError, match="cannot be read"):
            load_table(name, tmp_path)


def test_an_absent_table_says_how_to_get_it(tmp_path: Path) -> None:
    for empty in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError, match=r"no toi table in .*survey catalogs fetch"):
            load_table("toi", empty)
        with pytest.raises(UsageError, match="survey catalogs fetch"):
            known_signals(empty, "TIC 5")


def test_the_folder_is_the_environments_or_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURVEY_CATALOGS", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("SURVEY_CATALOGS")
    assert default_folder().name == "catalogs"
    assert default_folder().is_absolute()


# ---------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "target_id"),
    [
        ("TOI-700", "TIC 150428135"),
        ("TOI 700.02", "TIC 150428135"),
        ("toi700.2", "TIC 150428135"),
        ("KOI-351", "KIC 11442793"),
        ("KOI-351.01", "KIC 11442793"),
        ("koi 351.06", "KIC 11442793"),
        ("K00351.01", "KIC 11442793"),
        ("K00351", "KIC 11442793"),
        ("Kepler-90 h", "KIC 11442793"),
        ("kepler 90", "KIC 11442793"),
        ("Kepler-1", "KIC 11446443"),
        ("K2-18 b", "EPIC 201912552"),
        ("K2-18", "EPIC 201912552"),
        ("GJ 1252", "TIC 370133522"),
        ("gj1252b", "TIC 370133522"),
    ],
)
def test_names_lead_to_stars(folder: Path, name: str, target_id: str) -> None:
    assert resolver(folder)(name) == target_id
    assert parse_target(name, resolve=resolver(folder)).target_id == target_id


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("TOI-700.99", r"TIC 150428135 has no candidate \.99, only \.01, \.02"),
        ("TOI-99999", "in none of the tables"),
        ("KOI-2", "in none of the tables"),
        ("Kepler-9", "in none of the tables"),
        ("hello", "in none of the tables.*survey catalogs fetch"),
    ],
)
def test_unknown_names_say_what_to_do(folder: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolver(folder)(name)


def test_without_the_table_a_name_says_which_is_missing(folder: Path) -> None:
    (folder / "cumulative_2025.04.04_07.26.51.csv").unlink()
    resolve = resolver(folder)
    assert resolve("TOI-700") == "TIC 150428135"
    with pytest.raises(UsageError, match=r"lacks the tables koi: run `survey catalogs fetch`"):
        resolve("KOI-351")


def test_a_list_may_mix_names_and_numbers(folder: Path) -> None:
    path = folder / "list.txt"
    path.write_text("TOI-700.01\nTOI-700.02\nTIC 5\nTOI-9999\n")
    listed = read_targets(path, resolve=resolver(folder))
    assert [target.target_id for target in listed.targets] == ["TIC 150428135", "TIC 5"]
    assert [problem.partition(":")[0] for problem in listed.problems] == ["line 4", "line 2"]


# -------------------------------------------------------------------------------------------------------------- signals


def test_toi_epochs_become_btjd_in_the_tables_units(folder: Path) -> None:
    first, second = known_signals(folder, "tic150428135")
    assert first == KnownSignal(
        "TIC 150428135", "TOI-700.01", 16.051106, first.epoch, 2.14, 651.3, "CP", "toi", magnitude=10.9098
    )
    assert first.epoch == pytest.approx(2303.157062, abs=1e-8)
    assert (second.name, second.period) == ("TOI-700.02", 37.4236838)


def test_koi_epochs_are_bkjd_already(folder: Path) -> None:
    inner, outer = known_signals(folder, "KIC 11442793")
    assert inner.period == 7.00821787
    assert outer == KnownSignal(
        "KIC 11442793", "K00351.01/Kepler-90 h", 331.5972732, 140.498929, 14.404, 8322.1, "CONFIRMED", "koi"
    )
    assert known_signals(folder, "KIC 12254688")[0].name == "K02384.01"


def drift_of_epochs(folder: Path) -> float:
    """Days between the transits of TrES-2 b by TESS's table and by Kepler's, carried to the same time."""
    toi, *_ = (signal for signal in known_signals(folder, "TIC 399860444") if signal.name == "TOI-2140.01")
    koi, *_ = known_signals(folder, "KIC 11446443")
    assert toi.epoch is not None
    assert koi.epoch is not None
    assert koi.period is not None
    elapsed = toi.epoch - (koi.epoch - 2167)  # BTJD = BKJD - 2167
    return abs(elapsed - round(elapsed / koi.period) * koi.period)


def test_toi_and_koi_of_one_planet_agree(folder: Path) -> None:
    assert drift_of_epochs(folder) < 0.002


def test_k2_depths_are_percent_and_epochs_only_of_bjd(folder: Path) -> None:
    (signal,) = known_signals(folder, "EPIC 201912552")
    assert signal.epoch == pytest.approx(2431.39144, abs=1e-8)
    assert (signal.duration_h, signal.depth_ppm) == (2.663, 3000.0)
    (other,) = known_signals(folder, "EPIC 203771098")
    assert (other.period, other.epoch, other.depth_ppm) == (20.88508, None, None)
    assert known_signals(folder, "EPIC 203581469")[0].disposition == "FALSE POSITIVE"


def test_planets_of_the_composite_table_stand_once(folder: Path) -> None:
    (toi,) = known_signals(folder, "TIC 370133522")
    assert toi.catalogue == "toi"
    inner, outer = known_signals(folder, "TIC 99")
    assert inner.epoch == pytest.approx(1700.5)
    assert inner.depth_ppm == pytest.approx(6490.0)
    assert outer.epoch is None


def test_eclipsing_binaries_in_our_units(folder: Path) -> None:
    (binary,) = known_signals(folder, "TIC 117544915")
    assert (binary.disposition, binary.epoch) == ("EB", 1324.3546347182105)
    assert binary.duration_h == pytest.approx(5.713885839)
    assert binary.depth_ppm == pytest.approx(380570.9878)
    (kepler,) = known_signals(folder, "KIC 9472174")
    assert (kepler.period, kepler.epoch, kepler.depth_ppm) == (0.1257653, None, pytest.approx(46200.0))
    assert known_signals(folder, "KIC 10453521")[0].depth_ppm is None


def test_what_a_table_does_not_say_is_null(folder: Path) -> None:
    (single,) = known_signals(folder, "TIC 239816000")
    assert single.period is None
    assert single.epoch == pytest.approx(1999.462385)
    assert known_signals(folder, "TIC 1") == []


def test_positions_errors_and_brightness_come_along_and_serve_all_signals_of_a_star(tmp_path: Path) -> None:
    koi = KOI.replace("koi_depth\n", "koi_depth,koi_period_err1,koi_time0bk_err1,ra,dec,koi_kepmag\n")
    (tmp_path / "cumulative.csv").write_text(
        koi.replace("1.4231e+04\n", "1.4231e+04,2e-8,9e-6,286.80847,49.316399,11.338\n")
    )
    (tmp_path / "kepler_ebs.csv").write_text(KEPLER_EBS + "11446443,2.4706,0.0001,0.0142,-1,0.1,5000,True,\n")
    koi_of_it, binary = sorted(known_signals(tmp_path, "KIC 11446443"), key=lambda signal: signal.catalogue != "koi")
    assert (koi_of_it.period_err, koi_of_it.epoch_err) == (2e-8, 9e-6)
    assert (binary.period_err, binary.epoch_err) == (1e-4, None)
    assert {(signal.ra, signal.dec, signal.magnitude) for signal in (koi_of_it, binary)} == {
        (286.80847, 49.316399, 11.338)
    }
    assert known_signals(tmp_path, "KIC 9472174")[0].ra is None


def test_all_signals_are_one_table(folder: Path) -> None:
    table = signals_table(folder)
    assert table.height == 5 + 4 + 3 + 2 + 2 + 2
    assert table.columns == list(KnownSignal.__dataclass_fields__)
    assert set(signals_table(folder, mission="tess")["catalogue"]) == {"toi", "planets", "tess_ebs"}


# ------------------------------------------------------------------------------------------------------------- fetching

Answer = tuple[int, dict[str, str], bytes]


class Archive(ThreadingHTTPServer):
    """A table service on the loopback; `answer` may be replaced, `queries` lists what was asked."""

    answer: Callable[[str, int], Answer]
    queries: list[tuple[str, str]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/TAP"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Archive

    def do_GET(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        fields = dict(urllib.parse.parse_qsl(parts.query))
        self.server.queries.append((parts.path, fields["query"]))
        table = fields["query"].split()[3]
        asked = sum(query.split()[3] == table for _, query in self.server.queries)
        status, headers, body = self.server.answer(table, asked)
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def archive() -> Iterator[Archive]:
    with Archive(("127.0.0.1", 0), Handler) as server:
        server.queries = []
        server.answer = lambda table, asked: (200, {}, TABLES[table].encode())
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


HASTY = RunConfig(attempts=3, backoff_s=0.001, timeout_s=10)


def test_fetched_tables_are_what_the_survey_reads(archive: Archive, tmp_path: Path) -> None:
    there = tmp_path / "new" / "catalogs"
    fetched = fetch_catalogs(there, base_url=archive.url + "/", run=HASTY)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert [table.path.name for table in fetched] == [
        f"nasa_toi_{today}.csv.gz",
        f"koi_cumulative_{today}.csv.gz",
        f"nasa_k2pandc_{today}.csv.gz",
        f"pscomppars_{today}.csv.gz",
    ]
    assert fetched[0] == FetchedTable("toi", fetched[0].path, 5, fetched[0].path.stat().st_size)
    assert sorted(there.iterdir()) == sorted(table.path for table in fetched)
    assert {path for path, _ in archive.queries} == {"/TAP/sync"}
    assert "select * from k2pandc where default_flag=1" in [query for _, query in archive.queries]
    assert resolver(there)("TOI-700.02") == "TIC 150428135"
    assert known_signals(there, "EPIC 201912552")[0].depth_ppm == 3000.0
    stored = gzip.decompress(fetched[0].path.read_bytes()).decode().splitlines()
    assert stored[0].startswith("# Fetched ")
    assert "rastr" not in stored[1]


def test_packed_answers_are_unpacked(archive: Archive, tmp_path: Path) -> None:
    archive.answer = lambda table, asked: (200, {"Content-Encoding": "gzip"}, gzip.compress(TABLES[table].encode()))
    assert fetch_catalogs(tmp_path, base_url=archive.url, names=["toi"], run=HASTY)[0].rows == 5


@pytest.mark.parametrize(
    "trouble",
    [
        (503, {"Retry-After": "0"}, b""),
        (429, {}, b"slow down"),
        (200, {"Content-Length": "100000"}, TOI[:100].encode()),  # torn
        (200, {"Content-Encoding": "gzip"}, gzip.compress(TOI.encode())[:-20]),
    ],
)
def test_passing_trouble_is_asked_again(archive: Archive, tmp_path: Path, trouble: Answer) -> None:
    archive.answer = lambda table, asked: trouble if asked < 3 else (200, {}, TOI.encode())
    assert fetch_catalogs(tmp_path, base_url=archive.url, names=["toi"], run=HASTY)[0].rows == 5
    assert len(archive.queries) == 3


def test_lasting_trouble_ends_after_the_attempts(archive: Archive, tmp_path: Path) -> None:
    archive.answer = lambda table, asked: (500, {}, b"")
    with pytest.raises(FetchFailed, match=r"HTTP 500 .* 3 times"):
        fetch_catalogs(tmp_path, base_url=archive.url, names=["toi"], run=HASTY)
    assert len(archive.queries) == 3


def test_a_refused_query_is_not_asked_again(archive: Archive, tmp_path: Path) -> None:
    archive.answer = lambda table, asked: (400, {}, b"ERROR unknown table")
    with pytest.raises(FetchFailed, match="HTTP 400"):
        fetch_catalogs(tmp_path, base_url=archive.url, names=["toi"], run=HASTY)
    assert len(archive.queries) == 1


@pytest.mark.parametrize(
    "body", [b"<html><body>Maintenance, please wait</body></html>", b"toi,tid\n", b"a,b\n1,2\n", b""]
)
def test_what_is_no_table_replaces_nothing(archive: Archive, folder: Path, body: bytes) -> None:
    before = sorted(folder.iterdir())
    archive.answer = lambda table, asked: (200, {}, body)
    with pytest.raises(FetchFailed, match="toi: the answer is no such table"):
        fetch_catalogs(folder, base_url=archive.url, names=["toi"], run=HASTY)
    assert sorted(folder.iterdir()) == before
    assert load_table("toi", folder).height == 5


def test_one_failing_table_does_not_keep_the_others_away(archive: Archive, tmp_path: Path) -> None:
    archive.answer = lambda table, asked: (404, {}, b"") if table == "toi" else (200, {}, TABLES[table].encode())
    with pytest.raises(FetchFailed, match=r"from\+toi.*fetched: koi, k2, planets"):
        fetch_catalogs(tmp_path, base_url=archive.url, run=HASTY)
    assert find_table("koi", tmp_path) is not None


def test_no_network_is_told(archive: Archive, tmp_path: Path) -> None:
    archive.server_close()
    with pytest.raises(FetchFailed, match=r"refused.*3 times"):
        fetch_catalogs(tmp_path, base_url=archive.url, names=["toi"], run=HASTY)


def test_requests_that_cannot_be_carried_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose among toi, koi, k2, planets"):
        fetch_catalogs(tmp_path, base_url="http://127.0.0.1:9", names=["tess_ebs"])
    with pytest.raises(UsageError, match="http"):
        fetch_catalogs(tmp_path, base_url=tmp_path.as_uri())
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="folder of the catalogues"):
        fetch_catalogs(tmp_path / "file" / "catalogs", base_url="http://127.0.0.1:9")


def test_a_write_that_fails_leaves_no_part(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(catalogs.os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        fetch_catalogs(tmp_path, base_url=archive.url, names=["toi"], run=HASTY)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------------------- real tables


@pytest.mark.parametrize("name", CATALOGUES)
def test_real_tables_load(real_folder: Path, name: str) -> None:
    table = load_table(name, real_folder)
    assert table.height > 300
    assert all(table[column].null_count() < table.height for column in CATALOGUES[name].required)
    assert all(table[column].null_count() == 0 for column in CATALOGUES[name].integers)


def test_real_toi_and_koi_of_one_planet_agree(real_folder: Path) -> None:
    assert drift_of_epochs(real_folder) < 0.002


def test_positions_are_of_one_epoch(real_folder: Path) -> None:
    """Stars that moved seconds of arc since 2000 stand at the same place in all tables."""
    table = signals_table(real_folder)
    tois, binaries = (table.filter(pl.col("catalogue") == name) for name in ("toi", "tess_ebs"))
    moved = (
        load_table("toi", real_folder)
        .filter(pl.col("st_pmra").abs() > 100)
        .select(target_id=pl.format("TIC {}", "tid"))
    )
    both = moved.unique().join(tois, on="target_id").join(binaries, on="target_id", suffix="_eb")
    assert both.height > 10
    apart = both.select(
        (pl.col("ra") - pl.col("ra_eb")) * pl.col("dec").radians().cos(), pl.col("dec") - pl.col("dec_eb")
    )
    assert np.median(np.hypot(*apart.to_numpy().T)) * 3600 < 0.1


def test_real_names(real_folder: Path) -> None:
    resolve = resolver(real_folder)
    tois = load_table("toi", real_folder)
    assert all(resolve(f"TOI-{toi:.2f}") == f"TIC {tid}" for toi, tid in tois.select("toi", "tid").rows()[::50])
    assert resolve("TOI-755.01") == resolve("TOI-755") == "TIC 73228647"
    assert resolve("Kepler-167 e") == resolve("K00490.02") == resolve("KOI-490") == "KIC 3239945"


def test_real_signals_are_those_of_the_list_of_known_signals(real_folder: Path) -> None:
    listed = pl.read_csv(real_folder.parent / "known_signals.csv").filter(
        pl.col("catalogue") != "aedattilo_K2_candidates.csv"
    )
    prefixes = {"TESS": "TIC", "Kepler": "KIC"}
    assert listed.height > 40
    for row in listed.iter_rows(named=True):
        signals = known_signals(real_folder, f"{prefixes[row['mission']]} {row['target_id']}")
        expected = np.array([row[name] for name in ("period_d", "epoch", "duration_h", "depth_catalogue_ppm")], float)
        found = [np.array([s.period, s.epoch, s.duration_h, s.depth_ppm], float) for s in signals]
        assert any(np.allclose(values, expected, rtol=1e-9, atol=0, equal_nan=True) for values in found), row["name"]
