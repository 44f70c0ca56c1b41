"""The whole program on real TESS, Kepler and K2 light curves: known planets come back, false ones stay out."""

import csv
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from survey.config import Config
from survey.stars.sources import open_source
from tests.false_alarms import make_false, pass_the_gate, search, single_observations

pytestmark = pytest.mark.verify

PERIOD_TOLERANCE = 1e-3
SCRAMBLES = 6


@pytest.fixture(scope="module")
def swept(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over every star of the archive, by the command itself."""
    folder = tmp_path_factory.mktemp("real")
    stars = open_source(f"mirror:{archive}", Config()).targets(None)
    (folder / "stars.txt").write_text("\n".join(dict.fromkeys(star.target_id for star in stars)))
    command = [sys.executable, "-m", "survey", "sweep", "--targets", str(folder / "stars.txt")]
    command += ["--source", f"mirror:{archive}", "--out", str(folder / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


def test_every_light_curve_file_belongs_to_a_row(swept: Path, archive: Path) -> None:
    rows = {row["target_id"]: row for row in pq.read_table(swept / "targets.parquet").to_pylist()}
    assert {row["status"] for row in rows.values()} == {"ok"}
    source = open_source(f"mirror:{archive}", Config())
    belonging = {ref.name for star in source.targets(None) if star.target_id in rows for ref in source.find(star)}
    files = {path.name for path in archive.rglob("*lc.fits*") if path.is_file()}
    assert len(files) > 100
    assert files <= belonging
    read = {product["product"] for row in rows.values() for product in row["products"]}
    assert len(files - read) <= 2, "what stands beside a better product of the same observation"


def test_known_signals_come_back(swept: Path, real_data: Path) -> None:
    wanted = _read(real_data / "real_star_test.csv")
    found = {
        row["target_id"]: [tce["period"] for tce in row["tces"] or []]
        for row in pq.read_table(swept / "targets.parquet").to_pylist()
    }
    missed = [
        f"{signal['target_id']} {signal['name']} at {signal['period']} d; found {found.get(signal['target_id'])}"
        for signal in wanted
        if not any(_matches(period, signal) for period in found.get(signal["target_id"], []))
    ]
    print(f"{len(wanted) - len(missed)} of {len(wanted)} known signals came back; missed: {missed or 'none'}")
    assert len(wanted) == 33
    assert len(missed) <= 1, missed


def _read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def _matches(period: float, signal: dict[str, str]) -> bool:
    ratios = [1.0, *({"P/2": 0.5, "2P": 2.0}[alias] for alias in signal["alias_allowed"].split(",") if alias)]
    return any(abs(period / (float(signal["period"]) * ratio) - 1) < PERIOD_TOLERANCE for ratio in ratios)


def test_stars_without_catalogued_signal_are_listed(swept: Path, real_data: Path) -> None:
    """Not all of them are quiet (data/README.md): the list is for people; its length is what must not grow unseen."""
    known = {row["target_id"] for row in _read(real_data / "known_signals.csv")}
    candidates = pq.read_table(swept / "candidates.parquet").to_pylist()
    passed = [
        f"{row['target_id']} {row['period']:.4f} d, MES {row['mes']:.1f}"
        for row in candidates
        if row["is_candidate"] and row["target_id"].split()[1] not in known
    ]
    print("candidates without a catalogued signal:", *passed, sep="\n  ")
    assert len({line.split(" d,")[0].rsplit(" ", 1)[0] for line in passed}) <= 8, passed


def test_inverted_and_scrambled_curves_rarely_pass_the_gate(archive: Path) -> None:
    """One curve an observation, K2 apart."""
    config = Config()
    source = open_source(f"mirror:{archive}", config)
    stars = {star.target_id: star for star in source.targets(None) if star.mission != "k2"}
    curves = single_observations(source, stars.values(), config)
    false = make_false(curves, config, SCRAMBLES)
    passed = pass_the_gate(search(false, config), config)
    share = sum(passed) / len(passed)
    print(f"{sum(passed)} of {len(passed)} inverted and scrambled curves pass the gate ({share:.1%})")
    assert len(passed) >= 500
    assert share <= 0.10
