"""Lists of stars: read from files, and held in columns."""

import gzip
import io
import sys
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from survey.errors import UsageError
from survey.stars.lists import Targets, read_targets
from survey.stars.targets import Target, make_target
from tests.stars.test_targets import resolve


def write(folder: Path, text: str, name: str = "targets.txt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def ids(targets: Iterable[Target]) -> list[str]:
    return [target.target_id for target in targets]


def test_a_text_list_keeps_its_order_and_tells_what_is_wrong(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "# my stars\n\nTIC 3 # bright\nKIC 757076\n231663901\nTIC 3\nhello, world\nTIC 2\nTOI-700.02\n",
    )
    listed = read_targets(path, resolve=resolve)
    assert ids(listed.targets) == ["TIC 3", "KIC 757076", "TIC 2", "TIC 150428135"]
    lines = [problem.partition(":")[0] for problem in listed.problems]
    assert lines == ["line 5", "line 7", "line 6"]
    assert "a number alone" in listed.problems[0]
    assert "TIC 3 again, as on line 3" in listed.problems[2]


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
    assert tuple(listed.targets) == (Target("TIC 1", "tess", observations),)


def test_lines_of_one_star_are_merged_with_their_observations(tmp_path: Path) -> None:
    listed = read_targets(write(tmp_path, "tic,sector\n1,5\n2,5\n1,3\n2,\n", "stars.csv"))
    assert [target.observations for target in listed.targets] == [(3, 5), ()]
    assert len(listed.problems) == 2


@pytest.mark.parametrize("kind", [pl.Int64, pl.Float64, pl.String])
def test_parquet_tables(tmp_path: Path, kind: type[pl.DataType]) -> None:
    table = pl.DataFrame({"sectors": [[1, 2], [], None], "tic": [12345678, 9, None]}).cast({"tic": kind})
    table.write_parquet(tmp_path / "stars.parquet")
    listed = read_targets(tmp_path / "stars.parquet")
    assert tuple(listed.targets) == (Target("TIC 12345678", "tess", (1, 2)), Target("TIC 9", "tess"))
    assert [problem.partition(":")[0] for problem in listed.problems] == ["row 3"]


def test_a_table_of_targets_gives_the_same_targets_back(tmp_path: Path) -> None:
    targets = (Target("TIC 5", "tess", (1, 14)), Target("KIC 6", "kepler"), Target("EPIC 7", "k2", (0,)))
    rows = [{"target_id": t.target_id, "mission": t.mission, "observations": list(t.observations)} for t in targets]
    pl.DataFrame(rows, schema_overrides={"observations": pl.List(pl.Int32)}).write_parquet(tmp_path / "t.parquet")
    assert tuple(read_targets(tmp_path / "t.parquet").targets) == targets


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
        (b'"a,tic",ra\n1,2\n', "no target column among a,tic, ra"),
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


# -------------------------------------------------------------------------------------------------------------- columns

STARS = st.builds(
    make_target, st.sampled_from(["tess", "kepler", "k2"]), st.integers(1, 40), st.lists(st.integers(0, 90), max_size=3)
)


@given(st.lists(STARS, max_size=30), st.integers(1, 7))
def test_columns_are_a_sequence_of_targets(stars: list[Target], at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("survey.stars.lists.AT_ONCE", at_once)
        listed = Targets.of(stars)
        assert list(listed) == stars
        assert [listed[place] for place in range(-len(stars), len(stars))] == stars * 2
        for part in (slice(None, 3), slice(2, None), slice(None, None, -1), slice(5, 1, -2), slice(1, -1, 3)):
            assert list(listed[part]) == stars[part]
        names = [star.target_id for star in stars]
        assert listed.repeated().tolist() == [k for k, name in enumerate(names) if names.count(name) > 1]
    with pytest.raises(IndexError):
        listed[len(stars)]


def test_a_list_of_two_sectors_asks_for_each_star_once(tmp_path: Path) -> None:
    lines = [f"{number},{sector}" for sector in (14, 15) for number in range(1, 101)]
    listed = read_targets(write(tmp_path, "\n".join(["tic,sector", *lines]), "stars.csv"))
    assert list(listed.targets) == [Target(f"TIC {number}", "tess", (14, 15)) for number in range(1, 101)]
    assert listed.problems[0] == "line 102: TIC 1 again, as on line 2: merged"
    assert len(listed.problems) == 100


def test_long_lists_take_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("survey.stars.lists.AT_ONCE", 100)
    stars = 20_000
    lines = (f"{100_000_000 + 7 * k},{14 + k % 3}" for k in range(stars))
    path = write(tmp_path, "\n".join(["tic,sector", *lines]), "stars.csv")
    read_targets(write(tmp_path, "TIC 1"))  # what is imported late is not counted
    tracemalloc.start()
    listed = read_targets(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(listed.targets) == stars
    assert listed.targets.table.nbytes < 40 * stars
    assert peak < 100 * stars
