"""Dips put into pixels: they are where they are said to be, and nothing else tells one label from the other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from survey.config import PixelsConfig
from survey.errors import UsageError
from survey.learning.sets.pixel_injections import (
    DEEPEST,
    DISTANCES,
    STRENGTHS,
    draw_dip,
    inject_cutout,
    injected_rows,
    move_image,
    simulate_cutout,
)
from survey.learning.sets.pixels import brightest_distance
from survey.signals.ephemeris import in_transit
from survey.signals.pixels import locate
from tests.signals.cutouts import Dimming, make_cutout

QUIET = make_cutout([Dimming(5.2, 4.8, 20_000), Dimming(8.0, 2.0, 3000)], cadence_s=1800.0, jitter=0.005)


def test_dips_are_drawn_within_their_bounds():
    times = np.arange(0, 27, 0.02)
    dips = [draw_dip(times, np.random.default_rng(seed)) for seed in range(300)]
    assert all(3 * dip.signal.period <= 27.1 and dip.signal.duration <= 0.2 * dip.signal.period for dip in dips)
    assert all(STRENGTHS[0] <= dip.strength <= STRENGTHS[1] for dip in dips)
    distances = np.array([np.hypot(*dip.place) for dip in dips])
    assert DISTANCES[0] <= distances.min() < 1.2
    assert 6 < distances.max() <= DISTANCES[1]
    assert not any(dip.on_target for dip in dips)
    with pytest.raises(UsageError, match="too few for three transits"):
        draw_dip(np.arange(0, 1, 0.02), np.random.default_rng(0))


@pytest.mark.parametrize("mission", ["tess", "kepler"])
def test_what_was_put_in_is_where_the_survey_finds_it(mission):
    """The survey's own fit, where it finds a place within the cutout, agrees with the truth."""
    apart = []
    for number in range(10):
        made = simulate_cutout(number, mission, number % 2 == 0, np.random.default_rng(number))
        assert made.dip.on_target == (number % 2 == 0)
        assert made.pixels.flux.shape[1:] == made.pixels.aperture.shape
        found = locate([made.pixels], [], made.dip.signal, [], PixelsConfig()).centroids[0]
        if found.problem is None:
            offset = np.array([found.column_offset, found.row_offset])
            apart.append(float(np.hypot(*(offset - made.dip.place))) / max(0.1, found.offset_pixels_err))
    assert len(apart) >= 5
    assert np.median(apart) < 3


def test_the_same_seed_makes_the_same_pixels():
    made, again = (simulate_cutout(3, "kepler", False, np.random.default_rng(5)) for _ in range(2))
    assert made.dip == again.dip
    np.testing.assert_array_equal(made.pixels.flux, again.pixels.flux)


@pytest.mark.parametrize("on_target", [True, False])
def test_a_real_cutout_loses_what_was_asked_and_nothing_between(on_target):
    made = inject_cutout(QUIET, [], on_target, np.random.default_rng(1))
    lost = (QUIET.flux - made.pixels.flux).sum(axis=(1, 2))
    inside = in_transit(QUIET.time, made.dip.signal)
    assert np.abs(lost[~inside]).max() < 0.5
    assert 0 < lost.max() < (1.1 * DEEPEST if on_target else 20) * 20_000
    brightest = np.unravel_index(np.argmax((QUIET.flux - made.pixels.flux)[np.argmax(lost)]), QUIET.aperture.shape)
    across, up = made.dip.place
    assert made.dip.on_target == on_target
    assert np.hypot(brightest[1] - 5 - across, brightest[0] - 5 - up) < 1


def test_an_image_moves_by_whole_pixels():
    image = np.arange(12.0).reshape(3, 4)
    assert move_image(image, 1, -1).tolist() == [[0, 4, 5, 6], [0, 8, 9, 10], [0, 0, 0, 0]]
    assert not move_image(image, 0, 3).any()
    assert not move_image(image, -7, 0).any()


def test_no_light_no_dip():
    with pytest.raises(UsageError, match="no light at its target"):
        inject_cutout(replace(QUIET, flux=np.zeros_like(QUIET.flux)), [], True, np.random.default_rng(0))


def test_the_light_of_a_brighter_star_is_not_the_targets():
    outshone = make_cutout([Dimming(5.2, 4.8, 500), Dimming(7.2, 4.8, 50_000)], cadence_s=1800.0)
    with pytest.raises(UsageError, match="another star outshines its target"):
        inject_cutout(outshone, [], True, np.random.default_rng(0))


def test_rows_are_half_on_the_target_and_told_by_their_images_alone():
    rows = list(injected_rows([(QUIET, [])], 24, 12, seed=0))
    assert len(rows) == 36
    own = np.array([row["label"] == "1" for row in rows])
    assert own.sum() == 18
    strengths = np.log([row["strength"] for row in rows])
    assert abs(strengths[own].mean() - strengths[~own].mean()) < 1.0
    assert all((row["true_offset"] == 0) == is_own for row, is_own in zip(rows, own, strict=True))
    assert {(row["origin"], row["mission"]) for row in rows} == {
        ("simulated", "tess"),
        ("simulated", "kepler"),
        ("injected", "tess"),
    }
    distances = brightest_distance(np.array([row["image"] for row in rows]))
    assert np.median(distances[own]) < 1 < np.median(distances[~own])
    # A row of a real file does not hang on how many simulated stars there are.
    (first,) = injected_rows([(QUIET, [])], 0, 1, seed=0)
    np.testing.assert_array_equal(first["image"], rows[24]["image"])


@pytest.mark.verify
def test_dips_put_into_real_pixels_are_found_there(archive: Path):
    from survey.config import Config
    from survey.runs.sets.pixels import find_cutouts, read_cutouts

    cutouts, said = read_cutouts(find_cutouts([archive]), archive.parent / "catalogs", Config())
    assert len(cutouts) == len(said["sources"]) == 5
    # KIC 12644774 lies in the wing of Kepler-16.
    assert [one["target_id"] for one in said["left_out"]] == ["KIC 12644774"]
    # Kepler-8 b is known, so that its transits do not pass for those put in.
    known = {pixels.target_id: signals for pixels, signals in cutouts}
    assert any(abs(signal.period - 3.5225) < 1e-3 for signal in known["KIC 6922244"])
    rows = list(injected_rows(cutouts, 0, 16, seed=7))
    measured = [row for row in rows if row["centroid_offset"] is not None and row["strength"] > 30]
    assert len(measured) > 15
    apart = [abs(row["centroid_offset"] - row["true_offset"]) for row in measured]
    assert np.median(apart) < 0.3
