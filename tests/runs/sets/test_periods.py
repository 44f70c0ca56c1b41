"""`survey data periods`, from an archive and a catalogue to a file and to samples."""

import json
from pathlib import Path

import numpy as np
import pytest

from survey.cli import main
from survey.learning.sets.table import read_set
from survey.signals.search.profile import PeriodBins
from survey.stars import simulate

KINDS = ("quiet", "planet", "rotation", "planet", "missing", "quiet")

BINS = PeriodBins(1.0, 40.0, 60)

CONFIG = {
    "username": "nobody",
    "negative_sample_count": 3,
    "synthetic_samples_count": 4,
    "valid_lightcurve_lenght_threshold": 1000,
    "distribution_params": {"period": {"min": 1, "max": 40, "bins": BINS.count}},
}


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated archive, a catalogue that lists its first planet and calls the second an eclipse, and a config."""
    folder = tmp_path_factory.mktemp("periods")
    truth = simulate.write_archive(folder / "mirror", kinds=KINDS)
    lines = ["toi,tid,pl_tranmid,pl_orbper,pl_trandurh,pl_trandep,tfopwg_disp,ra,dec"]
    for k, signal in enumerate(truth):
        facts = (signal.target_id[4:], signal.epoch + 2457000, signal.period, signal.duration_h, signal.depth_ppm)
        lines.append(f"{k + 1}.01,{','.join(map(str, facts))},{'FP' if k else 'CP'},{10 * k},0")
    (folder / "catalogs").mkdir()
    (folder / "catalogs" / "toi_2026-01-01.csv").write_text("\n".join(lines) + "\n")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def test_a_simulated_archive_becomes_a_set(mirror: Path) -> None:
    out, npz = mirror / "periods.parquet", mirror / "npz"
    places = ["--source", f"mirror:{mirror / 'mirror'}", "--targets", str(mirror / "mirror" / "targets.txt")]
    files = ["--catalogs", str(mirror / "catalogs"), "--config", str(mirror / "config.json"), "--npz", str(npz)]
    assert main(["data", "periods", *places, *files, "--out", str(out)]) == 0
    found = read_set(out, "periods")
    rows = found.table.to_pylist()
    (host,) = (row for row in rows if row["origin"] == "positive")
    assert host["target_id"] == "TIC 900000002"
    near = int(BINS.place(host["planets"][0]["period"]))
    assert sum(host["weights"][max(0, near - 1) : near + 2]) == pytest.approx(1.0)
    assert all(not any(row["weights"]) for row in rows if row["origin"] == "negative")
    left_out = {one["target_id"]: one["reason"] for one in found.provenance["left_out"]}
    assert "FP" in left_out["TIC 900000004"], "neither a planet nor a star without a signal"
    assert "TIC 900000005" in left_out
    assert not any(row["target_id"] in left_out for row in rows)
    assert "injected" in found.provenance["simulated"]
    assert "nobody" not in json.dumps(found.provenance)
    samples = list(npz.rglob("*.npz"))
    assert len(samples) >= len(rows)
    with np.load(samples[0]) as sample:
        assert (sample["arr_0"].shape, sample["arr_1"].shape) == ((1500,), (BINS.count,))
    again = ["--samples", str(npz), "--config", str(mirror / "config.json"), "--out", str(mirror / "again.parquet")]
    assert main(["data", "periods", *again]) == 0
    assert len(read_set(mirror / "again.parquet", "periods").table) == len(samples)


@pytest.mark.verify
def test_the_archive_becomes_a_set(archive: Path, real_data: Path, tmp_path: Path) -> None:
    stars = ("KIC 11446443", "KIC 6922244", "TIC 38846515", "TIC 117544915", "TIC 200319843", "KIC 4265377")
    (tmp_path / "stars.txt").write_text("\n".join(stars))
    out = tmp_path / "periods.parquet"
    words = ["--source", f"mirror:{archive}", "--catalogs", str(real_data / "catalogs"), "--out", str(out)]
    counts = ["--negatives", "4", "--synthetics", "4"]
    assert main(["data", "periods", *words, *counts, "--targets", str(tmp_path / "stars.txt")]) == 0
    rows = read_set(out, "periods").table.to_pylist()
    positives = {row["target_id"]: row["planets"][0]["period"] for row in rows if row["origin"] == "positive"}
    assert positives == {
        "KIC 11446443": pytest.approx(2.4706, abs=1e-3),
        "KIC 6922244": pytest.approx(3.5225, abs=1e-3),
        "TIC 38846515": pytest.approx(2.8494, abs=1e-3),
    }
    assert "TIC 117544915" not in {row["target_id"] for row in rows}, "an eclipsing binary"
