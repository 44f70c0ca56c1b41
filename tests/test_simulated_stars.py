"""The twin of the test on real stars that needs no files: what was injected comes back, what was not stays out."""

from pathlib import Path

import pytest

from survey.config import Config
from survey.runs.stages import STAGES, rows_of, targets_table
from survey.stars.simulate import match_signals, read_truth, write_archive
from survey.stars.sources import Source, open_source
from survey.stars.targets import Target, read_targets
from tests.false_alarms import make_false, pass_the_gate, search, single_observations

KINDS = ["planet"] * 6 + ["planets", "eclipsing_binary", "sectors_years_apart", "rotation", "flares", "quiet", "quiet"]


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


def test_injected_signals_come_back(archive: Path, source: Source, stars: list[Target]) -> None:
    table = targets_table(stars)
    for stage in STAGES:
        table = stage.make(Config(), source)(table)
    found = [
        (row["target_id"], tce["period"], tce["epoch"], tce["duration_h"] / 24)
        for row in rows_of(table)
        for tce in row["tces"]
        if tce["is_candidate"]
    ]
    truth = read_truth(archive / "truth.csv")
    injected = [(signal.target_id, signal.period, signal.epoch, signal.duration_h / 24) for signal in truth]
    missed = [
        signal for signal, match in zip(truth, match_signals(injected, found), strict=True) if match.found is None
    ]
    assert len(truth) >= len(KINDS) - 4
    assert not missed


def test_inverted_and_scrambled_curves_rarely_pass_the_gate(source: Source, stars: list[Target]) -> None:
    config = Config()
    curves = single_observations(source, stars, config)
    passed = pass_the_gate(search(make_false(curves, config, scrambles=2), config), config)
    assert len(passed) == 3 * len(curves)
    assert sum(passed) <= 0.1 * len(passed)
