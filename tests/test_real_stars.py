"""The whole program on real TESS, Kepler and K2 light curves: known planets come back, false ones stay out."""

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from survey.config import Config
from survey.runs.stages import verdict_of
from survey.stars.lightcurve import LightCurve, Product, normalise
from survey.stars.sources import open_source
from tests.false_alarms import make_false, pass_the_gate, single_observations, vet_curves, vet_stars

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


def test_planets_pass_the_gate(swept: Path, real_data: Path) -> None:
    candidates = [row for row in pq.read_table(swept / "candidates.parquet").to_pylist() if row["is_candidate"]]
    passed = {row["target_id"]: [] for row in candidates}
    for row in candidates:
        passed[row["target_id"]].append(row["period"])
    planets = [signal for signal in _read(real_data / "real_star_test.csv") if signal["disposition"] != "EB"]
    lost = [
        f"{signal['target_id']} {signal['name']}"
        for signal in planets
        if not any(_matches(period, signal) for period in passed.get(signal["target_id"], []))
    ]
    print(f"{len(planets) - len(lost)} of {len(planets)} planets pass the gate; lost: {lost or 'none'}")
    assert len(planets) == 31
    assert not lost


def test_binaries_and_known_false_positives_do_not_pass(swept: Path, real_data: Path) -> None:
    """Those whose light curve is in the archive; their signals are called eclipses, or what they are instead."""
    known = [
        signal
        for signal in _read(real_data / "known_signals.csv")
        if signal["disposition"] in ("EB", "FALSE POSITIVE") and signal["data_kind"] in ("kepler_llc", "tess_spoc_2min")
    ]
    numbers = {signal["target_id"] for signal in known}
    rows = [
        row
        for row in pq.read_table(swept / "candidates.parquet").to_pylist()
        if row["target_id"].split()[1] in numbers and row["target_id"].split()[0] in ("TIC", "KIC")
    ]
    assert len(numbers) == 5
    assert {row["target_id"].split()[1] for row in rows} == numbers
    assert not [row["target_id"] for row in rows if row["is_candidate"]]
    eclipses = {row["target_id"] for row in rows if row["significant_secondary"]}
    assert eclipses >= {"TIC 117544915", "TIC 425064757"}


def test_spurious_signals_of_years_do_not_pass(swept: Path) -> None:
    """Kepler-18 has three planets; over four years its noise makes signals of hundreds of days besides."""
    rows = [row for row in pq.read_table(swept / "candidates.parquet").to_pylist() if row["target_id"] == "KIC 8644288"]
    assert len(rows) > 3
    assert sorted(round(row["period"], 1) for row in rows if row["is_candidate"]) == [3.5, 7.6, 14.9]


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
    false = make_false(curves, vet_stars(source, stars.values(), config), config, SCRAMBLES)
    passed = pass_the_gate(vet_curves(false, config), config)
    share = sum(passed) / len(passed)
    print(f"{sum(passed)} of {len(passed)} inverted and scrambled curves pass the gate ({share:.1%})")
    assert len(passed) >= 500
    assert share <= 0.03


# --- light curves in other formats -----------------------------------------------------------------------------------


def _in_quarters(name: str, time: np.ndarray, flux: np.ndarray) -> LightCurve:
    """A light curve of a Kepler star that nothing is known of, cut into products where days are missing."""
    usable = np.isfinite(time) & np.isfinite(flux)
    order = np.argsort(time[usable])
    time, flux = time[usable][order], flux[usable][order]
    starts = [0]
    for start in (np.flatnonzero(np.diff(time) > 0.8) + 1).tolist():
        if time[start] - time[starts[-1]] > 80 and len(time) - start > 100:
            starts.append(start)
    counts = np.diff([*starts, len(time)]).tolist()
    products = tuple(Product(name, "", None, "", None, "flux", 0, 1765.5, count) for count in counts)
    flux = (flux / np.median(flux)).astype(np.float32)
    return normalise(LightCurve(name, "kepler", time, flux, np.full_like(flux, 1e-4), 2454833.0, products))


def _read_columns(path: Path, separator: str | None) -> LightCurve:
    with gzip.open(path, "rt") as file:
        values = np.array([[float(word) for word in line.split(separator)[:2]] for line in file if line.strip()])
    return _in_quarters(path.name, values[:, 0], values[:, 1])


def _vetted(curve: LightCurve) -> list[tuple[dict[str, Any], Any]]:
    (row,) = vet_curves([curve], Config())
    return [(tce, verdict_of(tce, Config())) for tce in row["tces"]]


@pytest.mark.parametrize(
    ("name", "periods"),
    [
        ("KOI-0001.01_KIC011446443", [2.47061]),
        ("KOI-0004.01_KIC003861595", [3.84937]),
        ("KOI-0005.01_KIC008554498", [4.78033]),
        ("KOI-0012.01_KIC005812701", [17.85522]),
        ("KOI-0041.01_KIC006521045", [6.88707, 12.81590, 35.33319]),
    ],
)
def test_planets_of_four_years_pass_and_nothing_else_does(real_data: Path, name: str, periods: list[float]) -> None:
    """Kepler-1 b to Kepler-100 d, some with an eclipse of their own: Kepler-1658 b's is seen."""
    curve = _read_columns(real_data / "text" / "kepler_koi_full_pdcsap" / f"{name}.csv.gz", ",")
    passed = sorted(tce["period"] for tce, verdict in _vetted(curve) if verdict.is_candidate)
    assert passed == pytest.approx(periods, rel=1e-3)


@pytest.mark.parametrize("name", ["kplr10727668", "kplr5957123"])
def test_kepler_binaries_of_years_do_not_pass(real_data: Path, name: str) -> None:
    """KOI 6081, a false positive with a significant secondary, and a binary of the Kepler catalogue."""
    found = _vetted(_read_columns(real_data / "text" / "kepler_eb" / f"{name}.dat.gz", None))
    assert found
    assert not any(verdict.is_candidate for _, verdict in found)
    assert found[0][1].significant_secondary


def test_labelled_binaries_of_one_quarter_do_not_pass(real_data: Path) -> None:
    """All but KIC 1571511: its other star is as small as a planet."""
    with gzip.open(real_data / "text" / "kepler_q17_labelled" / "kepler_q17_sample.jsonl.gz", "rt") as file:
        stars = [json.loads(line) for line in file]
    binaries = [star for star in stars if star["label"] == "eb"]
    assert len(binaries) == 4
    passed = [
        star["name"]
        for star in binaries
        for _, verdict in _vetted(
            _in_quarters(star["name"], np.array(star["time"], float), np.array(star["flux"], float))
        )
        if verdict.is_candidate
    ]
    assert [name.split("-")[0] for name in passed] == ["kplr001571511"]
