"""Names of stars, lists of them, and the archive's download scripts."""

import gzip
import io
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from survey.errors import UsageError
from survey.stars.targets import (
    MISSION_OF_PREFIX,
    MISSIONS,
    ListedProduct,
    Target,
    make_target,
    parse_download_script,
    parse_numbers,
    parse_target,
    read_targets,
)


def resolve(name: str) -> str:
    """Stands for the catalogue tables."""
    stars = {"TOI-700": "TIC 150428135", "TOI-700.02": "TIC 150428135", "K00351.01": "KIC 11442793"}
    if name not in stars:
        raise UsageError(f"{name} is in no table")
    return stars[name]


@pytest.mark.parametrize(
    ("text", "target_id", "mission"),
    [
        ("TIC 441462736", "TIC 441462736", "tess"),
        ("tic441462736", "TIC 441462736", "tess"),
        ("  TIC\t 441462736 ", "TIC 441462736", "tess"),
        ("TIC-441462736", "TIC 441462736", "tess"),
        ("TIC_0000000441462736", "TIC 441462736", "tess"),
        ("TIC 50365310.01", "TIC 50365310", "tess"),
        ("KIC 757076", "KIC 757076", "kepler"),
        ("kic 000757076", "KIC 757076", "kepler"),
        ("EPIC 201367065", "EPIC 201367065", "k2"),
    ],
)
def test_a_name_in_any_spelling_is_one_target(text: str, target_id: str, mission: str) -> None:
    assert parse_target(text) == Target(target_id, mission)


@given(st.sampled_from(sorted(MISSIONS)), st.integers(1, 10**9 - 1))
def test_target_ids_parse_to_themselves(mission: str, number: int) -> None:
    target = make_target(mission, number)
    assert parse_target(target.target_id) == target
    assert target.number == number
    assert target.target_id.split()[0] == MISSIONS[mission].prefix


@pytest.mark.parametrize("text", ["231663901", " 231663901 ", "231663901.0", "0"])
def test_a_number_alone_is_refused_with_the_choices(text: str) -> None:
    with pytest.raises(UsageError, match=r"TIC .* or KIC .* or EPIC") as error:
        parse_target(text)
    assert f"TIC {text.strip()}" in str(error.value)


@given(st.text(max_size=60).filter(lambda text: text.strip()[:3].upper() not in ("TIC", "KIC", "EPI")))
def test_any_other_text_is_refused_in_words(text: str) -> None:
    with pytest.raises(UsageError):
        parse_target(text)


@pytest.mark.parametrize(
    "text", ["", "TIC", "TIC 12a", "TIC 0", "TIC 12345678901234567", "KIC 1234567890", "TIC ٣٤", "T1C 5", "TIC 1 2"]
)
def test_malformed_names_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_target(text)


def test_an_endless_number_is_refused_shortly() -> None:
    with pytest.raises(UsageError) as error:
        parse_target("TIC " + "9" * 10_000)
    assert len(str(error.value)) < 300


def test_names_of_candidates_go_through_the_tables() -> None:
    assert parse_target("TOI-700.02", resolve=resolve) == Target("TIC 150428135", "tess")
    assert parse_target("K00351.01", resolve=resolve) == Target("KIC 11442793", "kepler")
    with pytest.raises(UsageError, match="in no table"):
        parse_target("TOI-701", resolve=resolve)


@pytest.mark.parametrize("text", ["TOI-700.02", "TOI 700", "toi700", "KOI-351", "K00351.01"])
def test_without_tables_names_of_candidates_say_how_to_get_them(text: str) -> None:
    with pytest.raises(UsageError, match="survey catalogs fetch"):
        parse_target(text)


def test_missions_have_their_own_time_zero_and_masks() -> None:
    tess, kepler, k2 = (MISSIONS[name] for name in ("tess", "kepler", "k2"))
    assert (tess.time_zero, kepler.time_zero, k2.time_zero) == (2457000.0, 2454833.0, 2454833.0)
    assert kepler.time_zero - tess.time_zero == -2167  # BTJD = BKJD - 2167
    assert tess.quality_masks == {"none": 0, "default": 17087, "hard": 24319, "hardest": 65535}
    assert kepler.quality_masks == {"none": 0, "default": 1130799, "hard": 1664431, "hardest": 2096639}
    assert k2.quality_masks == kepler.quality_masks
    assert sum(1 << (bit - 1) for bit in (1, 2, 3, 4, 5, 6, 8, 10, 15)) == tess.quality_masks["default"]
    assert [mission.observation for mission in (tess, kepler, k2)] == ["sector", "quarter", "campaign"]
    assert {prefix: mission.name for prefix, mission in MISSION_OF_PREFIX.items()} == {
        "TIC": "tess",
        "KIC": "kepler",
        "EPIC": "k2",
    }


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("15", (15,)), ("1,14-16", (1, 14, 15, 16)), (" 3 , 1-2, 2 ", (1, 2, 3)), ("0", (0,)), ("5-5", (5,))],
)
def test_numbers_and_ranges(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_numbers(text) == numbers


@pytest.mark.parametrize("text", ["", "1,", "a", "16-14", "1-", "-1", "1--3", "1.5", "1-99999999", "1 2"])
def test_malformed_numbers_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_numbers(text)


@given(st.sets(st.integers(0, 9999), min_size=1, max_size=30))
def test_numbers_written_singly_come_back(numbers: set[int]) -> None:
    assert parse_numbers(",".join(map(str, numbers))) == tuple(sorted(numbers))


# ---------------------------------------------------------------------------------------------------------------- lists


def write(folder: Path, text: str, name: str = "targets.txt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def ids(targets: tuple[Target, ...]) -> list[str]:
    return [target.target_id for target in targets]


def test_a_text_list_keeps_its_order_and_tells_what_is_wrong(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "# my stars\n\nTIC 3 # bright\nKIC 757076\n231663901\nTIC 3\nhello, world\nTIC 2\nTOI-700.02\n",
    )
    listed = read_targets(path, resolve=resolve)
    assert ids(listed.targets) == ["TIC 3", "KIC 757076", "TIC 2", "TIC 150428135"]
    lines = [problem.partition(":")[0] for problem in listed.problems]
    assert lines == ["line 5", "line 6", "line 7"]
    assert "a number alone" in listed.problems[0]
    assert "TIC 3 again, as on line 3" in listed.problems[1]


def test_observations_asked_for_hold_for_every_star(tmp_path: Path) -> None:
    path = write(tmp_path, "tic,sector\n1,5\n2,6\n", "stars.csv")
    assert [target.observations for target in read_targets(path, observations=[15, 1, 15]).targets] == [(1, 15)] * 2


def test_stars_of_other_missions_are_left_out_and_told(tmp_path: Path) -> None:
    listed = read_targets(write(tmp_path, "TIC 1\nKIC 2\n"), mission="tess")
    assert ids(listed.targets) == ["TIC 1"]
    assert listed.problems == ("line 2: KIC 2 is not of the mission tess: left out",)


@pytest.mark.parametrize(
    ("header", "cell", "target_id"),
    [
        ("target", "TIC 7", "TIC 7"),
        ("target_id", "kic 7", "KIC 7"),
        ("TIC", "7", "TIC 7"),
        ("tic_id", "TIC 7", "TIC 7"),
        ("ticid", "7.0", "TIC 7"),
        ("tid", "7", "TIC 7"),
        ("kepid", "000000007", "KIC 7"),
        ("KIC", "7", "KIC 7"),
        ("epic", "201367065", "EPIC 201367065"),
        ("epic_hostname", "EPIC 201367065", "EPIC 201367065"),
        ("toi", "700.02", "TIC 150428135"),
        ("kepoi_name", "K00351.01", "KIC 11442793"),
    ],
)
def test_the_column_of_a_table_gives_the_catalogue(tmp_path: Path, header: str, cell: str, target_id: str) -> None:
    text = f"# a comment\nremark,{header},score\na,{cell},0.5\n"
    assert ids(read_targets(write(tmp_path, text, "stars.csv"), resolve=resolve).targets) == [target_id]


def test_a_table_tells_problems_by_the_line_of_the_file(tmp_path: Path) -> None:
    text = '# from the archive\nremark;target\n"two\nlines";TIC 1\nshort\n# note\nx;99\ny;TIC 1\nz;TIC 2;more\n'
    listed = read_targets(write(tmp_path, text, "stars.csv"))
    assert ids(listed.targets) == ["TIC 1", "TIC 2"]
    assert [problem.partition(":")[0] for problem in listed.problems] == ["line 5", "line 7", "line 8"]


def test_a_number_in_a_column_of_names_stays_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a number alone"):
        read_targets(write(tmp_path, "target\n231663901\n"))


@pytest.mark.parametrize(
    ("cell", "observations"),
    [
        ("15", (15,)),
        ("15.0", (15,)),
        ('"1,14-16"', (1, 14, 15, 16)),
        ('"[9, 36]"', (9, 36)),
        ("9 36", (9, 36)),
        ("", ()),
    ],
)
def test_tables_may_name_observations(tmp_path: Path, cell: str, observations: tuple[int, ...]) -> None:
    listed = read_targets(write(tmp_path, f"tic,sector\n1,{cell}\n", "stars.csv"))
    assert listed.targets == (Target("TIC 1", "tess", observations),)


def test_lines_of_one_star_are_merged_with_their_observations(tmp_path: Path) -> None:
    listed = read_targets(write(tmp_path, "tic,sector\n1,5\n2,5\n1,3\n2,\n", "stars.csv"))
    assert [target.observations for target in listed.targets] == [(3, 5), ()]
    assert len(listed.problems) == 2


@pytest.mark.parametrize("kind", [pl.Int64, pl.Float64, pl.String])
def test_parquet_tables(tmp_path: Path, kind: type[pl.DataType]) -> None:
    table = pl.DataFrame({"sectors": [[1, 2], [], None], "tic": [12345678, 9, None]}).cast({"tic": kind})
    table.write_parquet(tmp_path / "stars.parquet")
    listed = read_targets(tmp_path / "stars.parquet")
    assert listed.targets == (Target("TIC 12345678", "tess", (1, 2)), Target("TIC 9", "tess"))
    assert [problem.partition(":")[0] for problem in listed.problems] == ["row 3"]


def test_a_table_of_targets_gives_the_same_targets_back(tmp_path: Path) -> None:
    targets = (Target("TIC 5", "tess", (1, 14)), Target("KIC 6", "kepler"), Target("EPIC 7", "k2", (0,)))
    rows = [{"target_id": t.target_id, "mission": t.mission, "observations": list(t.observations)} for t in targets]
    pl.DataFrame(rows, schema_overrides={"observations": pl.List(pl.Int32)}).write_parquet(tmp_path / "t.parquet")
    assert read_targets(tmp_path / "t.parquet").targets == targets


@pytest.mark.parametrize(
    "content", [b"TIC 1\nTIC 2\n", b"\xef\xbb\xbftic\r\n1\r\n2\r\n", gzip.compress(b"TIC 1\nTIC 2\n")]
)
def test_standard_input_holds_any_of_them(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert ids(read_targets("-").targets) == ["TIC 1", "TIC 2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"# nothing\n", "empty"),
        (b"hello\n12\n", "line 1: 'hello' is no target.*line 2: 12: a number alone"),
        (b"ra,dec\n1,2\n", "no target column among ra, dec"),
        (b"tic,ra\n", "empty"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "no text, CSV or Parquet"),
        (b"PAR1 and nothing more", "broken Parquet"),
        (gzip.compress(b"TIC 1\n")[:-6], "broken gzip"),
        (b'tic\n"' + b"1" * 200_000 + b'"\n', "field larger"),
    ],
)
def test_lists_without_a_target_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "list"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_targets(path)


def test_parquet_without_target_column_names_its_columns(tmp_path: Path) -> None:
    pl.DataFrame({"ra": [1.0], "dec": [2.0]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UsageError, match="no target column among ra, dec"):
        read_targets(tmp_path / "t.parquet")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no target list"):
        read_targets(tmp_path / "absent.txt")
    with pytest.raises(UsageError, match="target list"):
        read_targets(tmp_path)


# ----------------------------------------------------------------------------------------------------- download scripts

PRODUCT = "tess2019226182529-s0015-0000000{:09d}-0151-s_lc.fits"
URL = "https://archive.example/api/v0.1/Download/file/?uri=mast:TESS/product/{}"


def script(*numbers: int) -> str:
    products = [PRODUCT.format(number) for number in numbers]
    return "#!/bin/sh\n" + "".join(f"curl -C - -L -o {product} {URL.format(product)}\n" for product in products)


def test_a_download_script_gives_targets_products_and_addresses() -> None:
    first, second = parse_download_script(script(441462736, 7))
    product = PRODUCT.format(441462736)
    assert first == ListedProduct(Target("TIC 441462736", "tess", (15,)), product, URL.format(product))
    assert second.target == Target("TIC 7", "tess", (15,))


def test_fast_cadence_scripts_are_read_too() -> None:
    product = "tess2020186164531-s0027-0000000001727745-0189-a_fast-lc.fits"
    (listed,) = parse_download_script(f"curl -C - -L -o '{product}' '{URL.format(product)}'\r\n")
    assert listed.target == Target("TIC 1727745", "tess", (27,))


def test_a_download_script_is_never_run(tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    text = f"touch {witness}\n" + script(7) + f"$(touch {witness})\n"
    assert [listed.target.number for listed in parse_download_script(text)] == [7]
    assert not witness.exists()


@pytest.mark.parametrize(
    "line",
    [
        script(7).splitlines()[1][:-20],  # torn
        f"curl -C - -L -o ../../etc/{PRODUCT.format(7)} {URL.format(PRODUCT.format(7))}",
        f"curl -C - -L -o {PRODUCT.format(7)} {URL.format(PRODUCT.format(8))}",
        f"curl -C - -L -o {PRODUCT.format(7)} file:///{PRODUCT.format(7)}",
        f"curl -C - -L -o {PRODUCT.format(7)} {URL.format(PRODUCT.format(7))}; rm -rf .",
        script(7).splitlines()[1].replace("-s_lc", "-s_tp"),
        script(7).splitlines()[1].replace("0000000000000007", "0000000000000000"),
    ],
)
def test_a_line_that_is_no_light_curve_stops_the_script(line: str) -> None:
    with pytest.raises(UsageError):
        parse_download_script(script(1) + line + "\n")


@pytest.mark.parametrize("text", ["", "#!/bin/sh\n", "<html><body>502 Bad Gateway</body></html>"])
def test_a_script_without_light_curves_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="download script"):
        parse_download_script(text)
