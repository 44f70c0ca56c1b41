"""The shipped model of difference images: what its figures say, and what it says of real pixel files."""

from pathlib import Path

import numpy as np
import pytest

from survey.config import FetchConfig, PixelsConfig
from survey.learning.artifact import Artifact, find_artifact, load_artifact
from survey.learning.pixels import score_stacks
from survey.learning.score import Scores
from survey.learning.sets.pixel_injections import inject_cutout, simulate_cutout
from survey.signals.ephemeris import Ephemeris
from survey.signals.pixels import locate
from survey.stars.pixels import TargetPixels, read_pixels

KEPLER_8_B = Ephemeris(3.522498429, 121.1194228, 3.19843 / 24)
KOI_6771 = Ephemeris(0.700606479, 131.59767, 0.993 / 24)


@pytest.fixture(scope="module")
def model() -> Artifact:
    return load_artifact(find_artifact("pixels"))


def stack_of(pixels: TargetPixels, signal: Ephemeris, known: tuple[Ephemeris, ...] = ()) -> np.ndarray:
    images = locate([pixels], [], signal, known, PixelsConfig()).images
    assert images is not None
    return images.pixel_stack


def score(model: Artifact, cases: list[tuple[TargetPixels, Ephemeris, tuple[Ephemeris, ...]]]) -> Scores:
    stacks = np.array([stack_of(*case) for case in cases])
    return score_stacks(model, np.array([pixels.target_id for pixels, *_ in cases]), stacks)


def read_real(archive: Path, name: str) -> TargetPixels:
    (path,) = archive.rglob(name)
    return read_pixels(path.read_bytes(), path.name, FetchConfig())


def test_it_is_small_simulated_and_above_what_needs_no_learning(model):
    folder = find_artifact("pixels")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2 << 20
    record, figures = model.record, model.record.figures
    assert record.training["weights"] == 25_633
    assert record.training["settings"]["folds"] == len(record.fold_calibrations) == 5
    assert record.training["settings"]["patience"] == 8
    assert "simulated pixels" in record.simulated
    assert "real target pixel files" in record.simulated
    brightest = figures["more"]["brightest_pixel_alone"]
    assert figures["average_precision"]["low"] > brightest["average_precision"]
    assert figures["roc_auc"]["low"] > brightest["roc_auc"]
    card = (folder / "CARD.md").read_text()
    assert "Comparable? No" in card
    assert record.simulated in card


def test_it_tells_targets_from_neighbours_in_pixels_it_has_not_seen(model):
    """Simulated stars beyond those of the training set."""
    made = [
        simulate_cutout(900_000 + k, ("tess", "kepler")[k // 2 % 2], k % 2 == 0, np.random.default_rng([77, k]))
        for k in range(16)
    ]
    found = score(model, [(one.pixels, one.dip.signal, one.known) for one in made])
    assert not found.seen.any()
    own = np.array([one.dip.on_target for one in made])
    assert np.mean((found.probability >= model.record.threshold) == own) >= 13 / 16


@pytest.mark.verify
def test_kepler_8_b_is_on_its_target(model, archive):
    pixels = read_real(archive, "kplr006922244-2010078095331_lpd-targ.fits.gz")
    found = score(model, [(pixels, KEPLER_8_B, ())])
    # By members that never saw the star, nor dips that were put into its pixels.
    assert found.seen.all()
    assert found.probability[0] >= model.record.threshold


@pytest.mark.verify
def test_a_background_binary_is_off_its_target(model, archive):
    """KOI-6771, with the flag of a resolved offset in the Robovetter's table of DR25, is 2 pixels from KIC 6804648."""
    pixels = read_real(archive, "kplr006804648-q10_1000cad_lpd-targ.fits")
    found = score(model, [(pixels, KOI_6771, ())])
    assert found.seen.all()
    assert found.probability[0] < model.record.threshold


@pytest.mark.verify
def test_new_dips_in_real_pixels_are_told_apart_out_of_fold(model, archive):
    """On Kepler-8 and KIC 6804648, drawn with seeds of their own, clear ones."""
    known = {"kplr006922244*targ.fits.gz": (KEPLER_8_B,), "kplr006804648*targ.fits": (KOI_6771,)}
    cases, own = [], []
    for name, signals in known.items():
        pixels = read_real(archive, name)
        for k in range(40):
            made = inject_cutout(pixels, signals, k % 2 == 0, np.random.default_rng([4321, k]))
            if made.dip.strength > 30:
                cases.append((made.pixels, made.dip.signal, made.known))
                own.append(made.dip.on_target)
    found = score(model, cases)
    assert found.seen.all()
    called = found.probability >= model.record.threshold
    assert np.mean(called == np.array(own)) > 0.85
