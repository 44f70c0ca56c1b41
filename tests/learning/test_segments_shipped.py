"""The shipped model of segments: does a star with transits rank above one without?"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from survey.config import load
from survey.learning.artifact import Artifact, find_artifact, load_artifact
from survey.learning.metrics import roc_auc
from survey.learning.segments import SegmentScores, score_segments
from survey.runs.sets.curves import Curves, Listed
from survey.runs.stages import Row, detrend_row
from survey.signals.ephemeris import Ephemeris, in_transit
from survey.stars.sources import open_source

CONFIG = load()


@pytest.fixture(scope="module")
def model() -> Artifact:
    return load_artifact(find_artifact("segments"))


def test_it_is_whole_small_and_above_the_simplest_of_scores(model: Artifact) -> None:
    figures = model.record.figures
    folder = find_artifact("segments")
    assert (folder / "weights.safetensors").stat().st_size < 2 << 20
    assert "injected" in model.record.simulated
    assert set(model.record.missions) == {"tess", "kepler", "k2"}
    assert figures["average_precision"]["low"] > figures["more"]["deepest_dip"]["average_precision"]
    assert figures["roc_auc"]["low"] > figures["more"]["deepest_dip"]["roc_auc"]


def test_simulated_stars_with_transits_rank_above_their_mirrored_flux(model: Artifact) -> None:
    scores: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        time = 1500 + np.arange(27 * 144) / 144
        flat = 1 + 5e-4 * rng.standard_normal(len(time))
        signal = Ephemeris(rng.uniform(2, 12), 1500 + rng.uniform(0, 2), rng.uniform(0.08, 0.2))
        flat[in_transit(time, signal)] -= 2e-3
        raw = flat * (1 + 3e-3 * np.sin(2 * np.pi * time / rng.uniform(3, 15)))
        for transits, sign in ((True, 1), (False, -1)):
            found = score_segments(model, f"TIC {seed}", time, 1 + sign * (raw - 1), 1 + sign * (flat - 1), 600.0)
            assert found.star_probability is not None
            scores[transits].append(found.star_probability)
    assert min(scores[True]) > max(scores[False])


@pytest.mark.verify
def test_the_archives_hosts_rank_above_their_mirrored_flux_and_above_quiet_stars(
    model: Artifact, archive: Path, real_data: Path
) -> None:
    """By members that never saw the star. Hosts: the stars of the 33 signals that a sweep must find; quiet: those of
    which no catalogue lists anything, whatever else they do."""
    with (real_data / "real_star_test.csv").open(newline="") as file:
        hosts = {row["target_id"] for row in csv.DictReader(file)}
    listed = Listed(real_data / "catalogs", CONFIG)
    levels: dict[str, list[float]] = {"hosts": [], "mirrored": [], "quiet": []}
    for row in _rows(archive):
        if row["target_id"] in hosts:
            levels["hosts"].append(_level(score_row(model, row)))
            levels["mirrored"].append(_level(score_row(model, mirror(row))))
        elif not listed.signals_of(row):
            levels["quiet"].append(_level(score_row(model, row)))
    assert [len(levels[name]) for name in ("hosts", "mirrored", "quiet")] == [20, 20, 24]
    assert separation(levels["hosts"], levels["mirrored"]) >= 0.9
    assert separation(levels["hosts"], levels["quiet"]) >= 0.85


def _rows(archive: Path) -> Iterator[Row]:
    source = open_source(f"mirror:{archive}", CONFIG)
    yield from Curves(list(source.targets(None)), source, CONFIG, threads=1)


def mirror(row: Row) -> Row:
    """The light curve upside down about 1, its trend estimated anew."""
    upside_down: dict[str, Any] = {**row, "flux": (2.0 - row["flux"]).astype(np.float32)}
    return upside_down | detrend_row(upside_down, CONFIG, row["window_d"], None)


def score_row(model: Artifact, row: Row) -> SegmentScores:
    flat = row["flux"] / row["trend"]
    return score_segments(model, row["target_id"], row["time"], row["flux"], flat, row["cadence_s"])


def _level(found: SegmentScores) -> float:
    assert found.star_level is not None
    return found.star_level


def separation(positive: list[float], negative: list[float]) -> float:
    labels = np.repeat([True, False], [len(positive), len(negative)])
    return roc_auc(labels, np.array([*positive, *negative]))
