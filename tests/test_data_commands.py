"""`survey data`: sets are made, shown and refused by the command itself, and nothing half-written stays behind."""

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from survey.cli import main
from survey.config import TrainConfig
from survey.learning.artifact import know_stars
from survey.learning.sets.table import read_set, write_set
from survey.learning.sets.views import make_lesson
from survey.runs import store
from tests.learning.view_files import make_columns, write_csv, write_npz
from tests.runs.small_run import make_run

KINDS = ("planet", "planets", "eclipsing_binary", "quiet", "planet", "truncated", "eclipsing_binary", "rotation")
ALL_VIEWS = ("views.spec=triage-201-61", "views.signals=all", "score.triage=none", "score.vetting=none")


class Said(NamedTuple):
    code: int
    out: str
    err: str


Survey = Callable[..., Said]


@pytest.fixture
def survey(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Survey:
    """Runs the command in this process, far from the user's folders."""
    monkeypatch.setenv("SURVEY_CATALOGS", str(tmp_path / "none"))

    def run(*words: object) -> Said:
        code = main([str(word) for word in words])
        sys.stdout.flush()
        said = capfd.readouterr()
        return Said(code, said.out, " ".join(said.err.split()))

    return run


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; beside it the archive, and a TOI table of its planets and binaries."""
    folder = tmp_path_factory.mktemp("data")
    make_run(folder / "run", folder / "mirror", KINDS, ALL_VIEWS)
    lines = ["toi,tid,pl_tranmid,pl_orbper,pl_trandurh,tfopwg_disp"]
    for k, row in enumerate(csv.DictReader((folder / "mirror" / "truth.csv").read_text().splitlines())):
        word = "CP" if row["kind"] == "planet" else "FP"
        epoch = float(row["epoch"]) + 2457000
        lines.append(f"{k + 1}.01,{row['target_id'][4:]},{epoch},{row['period']},{row['duration_h']},{word}")
    (folder / "catalogs").mkdir()
    (folder / "catalogs" / "toi_2026-01-01.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_views_of_a_run(survey: Survey, swept: Path, tmp_path: Path) -> None:
    out = tmp_path / "sets" / "views.parquet"
    said = survey("data", "views", swept / "run", "--out", out, "--catalogs", swept / "catalogs")
    assert said.code == 0, said.err
    assert "CP 4" in said.out
    assert "views.parquet is fit to learn from" in said.out
    found = read_set(out, "views")
    assert found.provenance["missions"] == ["tess"]
    assert str(swept) not in str(found.provenance), "no folder of this machine"
    assert survey("data", "audit", out).code == 0
    again = tmp_path / "again.parquet"
    survey("data", "views", swept / "run", "--out", again, "--catalogs", swept / "catalogs")
    assert again.read_bytes() == out.read_bytes()
    fewer = tmp_path / "fewer.parquet"
    words = ("--catalogs", swept / "catalogs", "--max-per-class", 2, "--unlisted", "skip")
    survey("data", "views", swept / "run", "--out", fewer, *words)
    assert max(read_set(fewer).provenance["labels"].values()) == 2


def test_what_no_set_can_be_made_of_is_refused(survey: Survey, swept: Path, tmp_path: Path) -> None:
    out = tmp_path / "views.parquet"
    known = ("--catalogs", swept / "catalogs")
    cases = {
        "no catalogue table in": ("views", swept / "run", "--out", out),
        "no catalogue table in  ": ("views", swept / "run", "--out", out, "--catalogs", tmp_path),
        "no run in": ("views", tmp_path / "nowhere", "--out", out, *known),
        "end its name with .parquet": ("views", swept / "run", "--out", tmp_path / "views.csv", *known),
        "is a folder": ("views", swept / "run", "--out", tmp_path.with_suffix(".parquet"), *known),
        "holds no views of the form views-2048-256, only triage-201-61": (
            "views", swept / "run", "--out", out, *known, "--spec", "views-2048-256",
        ),
    }  # fmt: skip
    tmp_path.with_suffix(".parquet").mkdir()
    for words, arguments in cases.items():
        said = survey("data", *arguments)
        assert (said.code, words.strip() in said.err) == (2, True), (words, said)
    assert not out.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_not_finished_is_refused(survey: Survey, swept: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.mkdir()
    for name in (store.RECORD, store.MANIFEST):
        (part / name).write_bytes((swept / "run" / name).read_bytes())
    words = ("data", "views", part, "--out", tmp_path / "v.parquet", "--catalogs", swept / "catalogs")
    said = survey(*words)
    assert (said.code, "is not finished (0 of 2 shards are done): run the same" in said.err) == (2, True), said
    (part / store.TARGETS).write_bytes((swept / "run" / store.TARGETS).read_bytes())
    assert "is not finished" in survey(*words).err, "there are no features"


def test_own_views_become_a_set(survey: Survey, tmp_path: Path) -> None:
    table = write_csv(tmp_path / "own.csv", rows=24, star=[f"TIC {k // 2}" for k in range(24)])
    out = tmp_path / "own.parquet"
    said = survey("data", "import", table, "--out", out, "--simulated", "the noise")
    assert said.code == 0, said.err
    assert "24, 12" in said.out
    assert "the noise" in said.out
    found = read_set(out, "views")
    assert found.provenance["sources"][0]["file"] == "own.csv"
    assert found.table.column("centroid_offset").to_pylist() == [0.5] * 24
    stars, folds = found.table.column("target_id").to_pylist(), found.table.column("fold").to_pylist()
    assert len(set(zip(stars, folds, strict=True))) == 12
    columns = write_npz(tmp_path / "own.npz", make_columns())
    assert survey("data", "import", columns, "--out", tmp_path / "npz.parquet").code == 0
    assert survey("data", "audit", table, columns, out).code == 0


def test_own_folds_and_names_are_kept(survey: Survey, tmp_path: Path) -> None:
    stars, own = [f"TIC {k // 2}" for k in range(24)], [k // 2 % 3 for k in range(24)]
    table = write_csv(tmp_path / "own.csv", rows=24, star=stars, fold=own)
    out, named, again = (tmp_path / f"{name}.parquet" for name in ("own", "named", "again"))
    assert survey("data", "import", table, "--out", out).code == 0
    found = read_set(out, "views")
    assert found.table.column("fold").to_pylist() == own
    # A set that is imported again keeps its folds, and the other names of its stars.
    names = [[f"KIC {k // 2}"] if k < 12 else [] for k in range(24)]
    columns = found.table.drop_columns(["other_names"]).append_column("other_names", pa.array(names))
    write_set(named, "views", columns, found.provenance)
    assert survey("data", "import", named, "--out", again).code == 0
    kept = read_set(again, "views").table
    assert (kept.column("fold").to_pylist(), kept.column("other_names").to_pylist()) == (own, names)
    lesson = make_lesson(again, "vetting", TrainConfig())
    stars = know_stars(lesson.stars, lesson.folds, lesson.other_names)
    assert stars.folds_of(np.array(["TIC 5", "KIC 5", "KIC 6"])).tolist() == [2, 2, -1]


@pytest.mark.parametrize(
    ("folds", "words"),
    [
        ([k % 2 for k in range(24)], "stars cross folds"),
        ([256, *[0] * 23], "fold 256 in row 0: folds are whole numbers, 0 to 255"),
        ([0.5, *[0] * 23], "fold 0.5 in row 0"),
        (["", *[0] * 23], "fold nan in row 0"),
        (["left", *[0] * 23], "fold holds something else than numbers"),
        ([0] * 24, "folds 0: they must be 0, 1 and so on"),
        ([k // 2 % 2 * 2 for k in range(24)], "folds 0, 2: they must be 0, 1 and so on"),
    ],
)
def test_own_folds_that_are_wrong_are_refused(survey: Survey, tmp_path: Path, folds: list[Any], words: str) -> None:
    table = write_csv(tmp_path / "own.csv", rows=24, star=[f"TIC {k // 2}" for k in range(24)], fold=folds)
    said = survey("data", "import", table, "--out", tmp_path / "own.parquet")
    assert (said.code, words in " ".join(said.err.split())) == (2, True), said
    assert [path.name for path in tmp_path.iterdir()] == ["own.csv"]


@pytest.mark.parametrize(
    ("find", "put", "words"),
    [
        ("label", "class", "no label"),
        ("global_7,", "other,", "2047 columns global_*, but no global_7"),
        ("local_", "close_", "no columns local_0"),
        (",0.5,1,", ",0.5,3,", "label 3 in row 1: labels are 0 or 1"),
        (",0.5,1,", ",0.5,0,", "one class only"),
    ],
)
def test_own_views_that_are_wrong_are_refused(survey: Survey, tmp_path: Path, find: str, put: str, words: str) -> None:
    table = write_csv(tmp_path / "own.csv", star=[f"TIC {k}" for k in range(12)])
    table.write_text(table.read_text().replace(find, put))
    said = survey("data", "import", table, "--out", tmp_path / "own.parquet")
    assert (said.code, words in said.err) == (2, True), said
    assert [path.name for path in tmp_path.iterdir()] == ["own.csv"]


def test_views_of_another_length_are_refused(survey: Survey, tmp_path: Path) -> None:
    for k in range(4):
        np.savez(tmp_path / f"{k}.npz", global_view=np.zeros(64 + k // 3), local_view=np.zeros(32))
    (tmp_path / "own.csv").write_text("path,label,star\n" + "".join(f"{k}.npz,{k % 2},TIC {k}\n" for k in range(4)))
    said = survey("data", "import", tmp_path / "own.csv", "--out", tmp_path / "own.parquet")
    assert (said.code, "global_view has different lengths: 64, 65" in said.err) == (2, True), said
    assert not (tmp_path / "own.parquet").exists()


def test_the_auditor_names_everything_that_is_wrong(survey: Survey, tmp_path: Path) -> None:
    table = write_npz(tmp_path / "own.npz", make_columns())
    out = tmp_path / "own.parquet"
    survey("data", "import", table, "--out", out)
    rows = pq.read_table(out)
    folds = rows.column("fold").to_numpy().copy()
    stars = rows.column("target_id").to_pylist()
    row = next(k for k, star in enumerate(stars) if stars.count(star) > 1)
    folds[row] = (folds[row] + 1) % 5
    labels = ["?", *rows.column("label").to_pylist()[1:]]
    place = rows.column_names.index
    spoiled = rows.set_column(place("fold"), "fold", [folds]).set_column(place("label"), "label", [labels])
    pq.write_table(spoiled, out)
    said = survey("data", "audit", out)
    assert said.code == 2
    assert "own.parquet: stars cross folds" in said.out
    assert "own.parquet: label '?' in row 0: known are APC" in said.out
    assert "is fit" not in said.out
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1")
    said = survey("data", "audit", table, broken)
    assert (said.code, "broken.parquet: not a readable Parquet file" in said.out) == (2, True)
    assert said.out.count("broken.parquet:") == 1
    assert "own.npz is fit to learn from" in said.out


def test_listed_stars_for_a_sweep(survey: Survey, swept: Path, tmp_path: Path) -> None:
    out = tmp_path / "stars.txt"
    said = survey("data", "targets", "toi", "--catalogs", swept / "catalogs", "--out", out, "--max-per-class", 2)
    assert said.code == 0, said.err
    assert said.out.strip().endswith("CP 2, FP 2")
    assert [line.split("#")[1].strip() for line in out.read_text().splitlines()].count("CP") == 2
    dry = survey(
        "sweep", "--targets", out, "--source", f"mirror:{swept / 'mirror'}", "--out", tmp_path / "r", "--dry-run"
    )
    assert (dry.code, "4 (4 of tess)" in dry.out) == (0, True), dry
    said = survey("data", "targets", "koi", "--catalogs", swept / "catalogs", "--out", tmp_path / "koi.txt")
    assert (said.code, "no table koi among the catalogues (toi)" in said.err) == (2, True)


def run_alone(*words: object) -> str:
    """A command in a process of its own, as Ray's warnings are not ours."""
    done = subprocess.run(
        [sys.executable, "-m", "survey", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.verify
def test_a_demo_set_is_learnt_from(tmp_path: Path) -> None:
    """S0.13: a synthetic set from nothing, and a model from it, by two commands."""
    out = tmp_path / "demo.parquet"
    assert "96/96 simulated stars searched" in run_alone("data", "demo", "--stars", 96, "--out", out)
    found = read_set(out, "views")
    assert found.provenance["simulated"] == "all stars and signals"
    assert found.provenance["labels"].keys() >= {"PC", "EB", "J", "V"}
    settings = ("--seeds", 1, "--epochs", 3, "--folds", 2, "--set", "train.batch=16")
    run_alone("train", "triage", "--set", out, "--out", tmp_path / "model", *settings)
    assert "simulated" in (tmp_path / "model" / "CARD.md").read_text().lower()
    assert "by members that never saw them" in run_alone("evaluate", tmp_path / "model", "--set", out)
