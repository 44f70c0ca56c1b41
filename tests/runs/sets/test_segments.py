"""`survey data segments`, from a simulated archive and a catalogue to a file that can be learnt from."""

from pathlib import Path

import numpy as np
import pytest

from survey.cli import main
from survey.learning.sets.table import read_set
from survey.stars import simulate

KINDS = ("quiet", "planet", "rotation", "planet", "missing")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated archive, and in `catalogs` a table that lists its planets, one of them at the wrong time."""
    folder = tmp_path_factory.mktemp("segments")
    truth = simulate.write_archive(folder / "mirror", kinds=KINDS)
    lines = ["toi,tid,pl_tranmid,pl_orbper,pl_trandurh,pl_trandep,tfopwg_disp,ra,dec"]
    for k, signal in enumerate(truth):
        epoch = signal.epoch + 2457000 + (0.5 * signal.period if k == 1 else 0.0)
        facts = (signal.target_id[4:], epoch, signal.period, signal.duration_h, signal.depth_ppm)
        lines.append(f"{k + 1}.01,{','.join(map(str, facts))},PC,{10 * k},0")
    (folder / "catalogs").mkdir()
    (folder / "catalogs" / "toi_2026-01-01.csv").write_text("\n".join(lines) + "\n")
    return folder


def make_set(mirror: Path, out: Path, *options: str) -> int:
    places = ["--source", f"mirror:{mirror / 'mirror'}", "--catalogs", str(mirror / "catalogs"), "--out", str(out)]
    return main(["data", "segments", *places, "--targets", str(mirror / "mirror" / "targets.txt"), *options])


@pytest.fixture(scope="module")
def made(mirror: Path) -> Path:
    out = mirror / "segments.parquet"
    assert make_set(mirror, out, "--window", "256", "--inject", "2", "--per-star", "60") == 0
    return out


def test_labels_follow_the_catalogue_and_nothing_is_hidden(made: Path) -> None:
    found = read_set(made, "segments")
    curves, labels = (np.array(found.table.column(name).to_pylist()) for name in ("curve", "label"))
    stars = np.array(found.table.column("target_id").to_pylist())
    assert len(set(stars)) == 3
    assert set(stars[(curves == "real") & (labels == "1")]) == {"TIC 900000002"}
    assert np.char.startswith(curves, "injected").any()
    said = found.provenance
    assert {one["target_id"]: one["reason"][:20] for one in said["left_out"]} == {
        "TIC 900000004": "its listed signal of",
        "TIC 900000005": "TIC 900000005: no li",
    }
    assert said["configuration"]["segments"]["spec"]["window"] == 256
    assert said["catalogues"][0]["file"] == "toi_2026-01-01.csv"
    assert len(said["sources"][0]["products"]) >= 4
    assert "injected into real flux" in said["simulated"]


def test_the_same_command_writes_the_same_bytes(mirror: Path, made: Path) -> None:
    again = mirror / "again.parquet"
    assert (
        make_set(mirror, again, "--window", "256", "--inject", "2", "--per-star", "60", "--set", "run.fetch_threads=1")
        == 0
    )
    assert again.read_bytes() == made.read_bytes()


def test_the_whole_set_is_bounded(mirror: Path) -> None:
    out = mirror / "few.parquet"
    assert make_set(mirror, out, "--window", "256", "--inject", "6", "--rows", "60", "--negatives", "2") == 0
    table = read_set(out, "segments").table
    assert len(table) <= 60
    assert max(np.unique(table.column("target_id").to_pylist(), return_counts=True)[1]) <= 12


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--window", "20000"), "spec.window"),
        (("--hard", "0.5", "--hard-from", "nowhere"), "nowhere"),
        (("--window", "8192"), "a class has one star only"),
    ],
)
def test_what_cannot_be_made_is_said_and_nothing_is_written(
    mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    assert make_set(mirror, tmp_path / "no.parquet", "--inject", "0", *options) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
