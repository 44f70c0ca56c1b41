"""The shipped model of periods: on simulated planets always, on the archive's hosts where there is one."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from survey.config import Config
from survey.learning.artifact import Artifact, find_artifact, load_artifact
from survey.learning.metrics import average_precision, roc_auc
from survey.learning.periods import PeriodScores, score_periods
from survey.learning.sets.period_lights import flatten
from survey.runs.sets.curves import Curves
from survey.runs.sets.periods import light_curve
from survey.stars.lightcurve import LightCurve, invert
from survey.stars.sources import open_source
from tests.signals.search.test_profile import light

LARGEST = 1_500_000
"""Bytes of the whole folder."""


@pytest.fixture(scope="module")
def model() -> Artifact:
    return load_artifact(find_artifact("periods"))


def test_it_is_small_and_says_what_is_simulated(model) -> None:
    folder = find_artifact("periods")
    assert sum(path.stat().st_size for path in folder.iterdir()) < LARGEST
    assert "injected" in model.record.simulated
    assert "imulated" in (folder / "CARD.md").read_text()
    assert set(model.record.missions) == {"tess", "kepler", "k2"}


@pytest.mark.parametrize(("days", "cadence_s", "period"), [(27.0, 120.0, 4.3), (90.0, 1765.5, 17.2)])
def test_a_simulated_planet_is_told_from_the_same_light_upside_down(model, days, cadence_s, period) -> None:
    time, flat = light(days, cadence_s, [period])
    found, flipped = (score_periods(model, "TIC 9", time, flux, cadence_s) for flux in (flat, 2 - flat))
    assert found.probability > flipped.probability
    assert abs(found.best[0] - np.searchsorted(found.edges, period) + 1) <= 1
    nothing = score_periods(model, "TIC 9", *light(days, cadence_s, []), cadence_s)
    assert nothing.probability < found.probability


@pytest.fixture(scope="module")
def hosts(real_data: Path, archive: Path) -> list[LightCurve]:
    """The archive's stars with planets that the model has bins for."""
    with (real_data / "real_star_test.csv").open() as file:
        planets = [row for row in csv.DictReader(file) if row["disposition"] != "EB"]
    stars = {row["target_id"] for row in planets if 1 <= float(row["period"]) <= 40}
    source = open_source(f"mirror:{archive}", Config())
    targets = {star.target_id: replace(star, observations=()) for star in source.targets(None)}
    wanted = [targets[name] for name in sorted(stars)]
    return [light_curve(row) for row in Curves(wanted, source, Config(), threads=1)]


def score(model: Artifact, star: LightCurve) -> PeriodScores:
    return score_periods(model, star.target_id, star.time, flatten(star), star.cadence_s)


@pytest.mark.verify
def test_hosts_rank_above_their_light_upside_down(model, hosts) -> None:
    """Out of fold: stars that the model was trained on are scored by the members that never saw them."""
    upright, flipped = ([score(model, one) for one in stars] for stars in (hosts, [invert(star) for star in hosts]))
    labels = np.repeat([True, False], len(hosts))
    levels = np.array([found.probability for found in (*upright, *flipped)])
    auc, precision = roc_auc(labels, levels), average_precision(labels, levels)
    print(f"{len(hosts)} hosts against their {len(hosts)} inverted curves: AUC {auc:.3f}, AP {precision:.3f}")
    assert len(hosts) >= 16
    assert auc >= 0.9
