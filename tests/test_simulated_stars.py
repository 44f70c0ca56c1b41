"""The twin of the test on real stars that needs no files: what was injected comes back, what was not stays out."""

from pathlib import Path

import pytest

from survey.config import Config
from survey.runs.stages import STAGES, Row, rows_of, targets_table
from survey.stars.lists import read_targets
from survey.stars.simulate import match_signals, read_truth, write_archive
from survey.stars.sources import Source, open_source
from survey.stars.targets import Target
from tests.false_alarms import make_false, pass_the_gate, single_observations, vet_curves, vet_stars

BINARIES = ["eclipsing_binary"] * 3 + ["equal_binary"] * 2
KINDS = ["planet"] * 6 + ["planets", "sectors_years_apart", "rotation", "flares", "quiet", "quiet", *BINARIES]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    write_archive(folder, seed=11, kinds=KINDS)
    return folder


@pytest.fixture(scope="module")
def source(archive: Path) -> Source:
    return open_source(f"mirror:{archive}", Config())


@pytest.fixture(scope="module")
def stars(archive: Path) -> list[Target]:
    return list(read_targets(archive / "targets.txt").targets)


@pytest.fixture(scope="module")
def found(source: Source, stars: list[Target]) -> list[Row]:
    """Every TCE of the whole way through the stages, with the name of its star."""
    table = targets_table(stars)
    for stage in STAGES:
        table = stage.make(Config(), source)(table)
    return [{**tce, "target_id": row["target_id"]} for row in rows_of(table) for tce in row["tces"]]


def test_injected_planets_come_back_as_candidates(archive: Path, found: list[Row]) -> None:
    planets = [signal for signal in read_truth(archive / "truth.csv") if signal.kind == "planet"]
    injected = [(signal.target_id, signal.period, signal.epoch, signal.duration_h / 24) for signal in planets]
    candidates = [
        (tce["target_id"], tce["period"], tce["epoch"], tce["duration_h"] / 24) for tce in found if tce["is_candidate"]
    ]
    missed = [
        signal
        for signal, match in zip(planets, match_signals(injected, candidates), strict=True)
        if match.found is None
    ]
    assert len(planets) == 9
    assert not missed
    assert len(candidates) == len(planets)


def test_injected_binaries_come_back_as_eclipses(archive: Path, found: list[Row]) -> None:
    binaries = {signal.target_id for signal in read_truth(archive / "truth.csv") if signal.kind == "eclipsing_binary"}
    strongest = {tce["target_id"]: tce for tce in found if tce["number"] == 1 and tce["target_id"] in binaries}
    assert len(strongest) == len(BINARIES)
    assert [name for name, tce in strongest.items() if not tce["significant_secondary"]] == []
    assert [tce["target_id"] for tce in found if tce["is_candidate"] and tce["target_id"] in binaries] == []


def test_inverted_and_scrambled_curves_rarely_pass_the_gate(source: Source, stars: list[Target]) -> None:
    config = Config()
    curves = single_observations(source, stars, config)
    false = make_false(curves, vet_stars(source, stars, config), config, scrambles=2)
    passed = pass_the_gate(vet_curves(false, config), config)
    assert len(passed) == 3 * len(curves) - 2 * len(BINARIES)
    assert sum(passed) <= 0.05 * len(passed)
