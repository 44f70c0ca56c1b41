"""Scores of all segments of a star, by an untrained model: what must hold whatever the weights."""

import numpy as np
import pytest
import torch

from survey.errors import UsageError
from survey.learning.artifact import (
    Artifact,
    MemberRecord,
    ModelRecord,
    know_stars,
    load_artifact,
    round_weights,
    write_artifact,
)
from survey.learning.calibrate import Calibration
from survey.learning.models.inception1d import InceptionResNet1D, Shape
from survey.learning.segments import hardness_by, score_segments
from survey.learning.star_score import StarCalibration, StarRecord
from survey.signals.segments import SegmentSpec, cut_segments
from tests.learning.models import write_small

SPEC = SegmentSpec(window=64)
SHAPE = Shape(window=64, widths=(4, 6), depth=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Artifact:
    folder = tmp_path_factory.mktemp("models") / "segments"
    plain = Calibration(method="temperature")
    stars = [StarCalibration(middle=k, growth=0.5, width=0.0, widening=0.0, probability=plain) for k in range(3)]
    record = ModelRecord(
        name="small",
        task="segments",
        meaning="a transit inside",
        kind="inception1d",
        network=SHAPE.model_dump(mode="json"),
        inputs=SPEC.model_dump(mode="json"),
        members=tuple(MemberRecord(fold=k % 2, seed=0, epoch=1) for k in range(2)),
        calibration=plain,
        fold_calibrations=(plain, plain),
        threshold=0.5,
        support={"deepest": (0.0, 1.5)},
        extra={"stars": StarRecord(top=4, calibrations=tuple(stars)).model_dump(mode="json")},
        training={},
        figures={},
    )
    torch.manual_seed(0)
    weights = tuple(round_weights(InceptionResNet1D(SHAPE).state_dict()) for _ in range(2))
    known = know_stars(np.array(["TIC 1", "TIC 2"]), np.array([0, 1], np.uint8))
    write_artifact(folder, record, weights, known, "# small\n", {})
    return load_artifact(folder)


def light(n: int = 600, seed: int = 0):
    time = 1500 + np.arange(n) / 144
    flat = 1 + 1e-3 * np.random.default_rng(seed).standard_normal(n)
    return time, flat * (1 + 0.01 * np.sin(time)), flat


def test_all_segments_of_a_star_and_the_star(model):
    time, raw, flat = light()
    found = score_segments(model, "TIC 9", time, raw, flat, 600.0)
    assert found.middle == pytest.approx(cut_segments(time, raw, flat, 600.0, SPEC).middle)
    assert found.number == len(found.probability) == len(found.spread) > 30
    best = np.sort(found.probability)[::-1]
    assert found.star_score == pytest.approx(best[:4].mean())
    assert found.star_max == best[0]
    logits = np.log(best[:4] / (1 - best[:4]))
    assert found.star_level == pytest.approx(logits.mean() - 2 - 0.5 * np.log(found.number))
    assert found.star_probability == pytest.approx(1 / (1 + np.exp(-found.star_level)))


def test_a_star_that_was_trained_on_is_judged_by_its_own_fold(model):
    time, raw, flat = light()
    mine, other, unknown = (score_segments(model, star, time, raw, flat, 600.0) for star in ("TIC 1", "TIC 2", "TIC 9"))
    assert not np.array_equal(mine.probability, other.probability)
    assert np.isnan(mine.spread).all(), "one member only has not seen it"
    assert unknown.spread.any()
    top = np.sort(mine.probability)[-4:]
    logits = np.log(top / (1 - top))
    assert mine.star_level == pytest.approx(logits.mean() - 0 - 0.5 * np.log(mine.number))


def test_the_rest_of_the_light_changes_no_bit_of_a_segment(model):
    time, raw, flat = light(64 + 16 * 39)
    whole = score_segments(model, "TIC 9", time, raw, flat, 600.0)
    alone = score_segments(model, "TIC 9", time[160:224], raw[160:224], flat[160:224], 600.0)
    assert whole.probability[10] == alone.probability[0]


@pytest.mark.parametrize(
    "flux", [np.full(600, np.nan), np.where(np.arange(600) == 5, 1.0, np.nan)], ids=["all NaN", "one cadence"]
)
def test_a_star_without_segments_has_no_score(model, flux):
    found = score_segments(model, "TIC 9", light()[0], flux, flux, 600.0)
    assert (found.number, found.star_score, found.star_max, found.star_probability) == (0, None, None, None)
    assert found.outside == ()


def test_constant_flux_and_absurd_depths_have_scores(model):
    time, _, flat = light()
    steady = score_segments(model, "TIC 9", time, np.ones(600), np.ones(600), 600.0)
    assert np.ptp(steady.probability) == 0
    flat[300] = -50.0
    deep = score_segments(model, "TIC 9", time, flat, flat, 600.0)
    assert np.isfinite(deep.probability).all()
    assert deep.outside == ("deepest",)


def test_models_of_something_else_are_refused(model, tmp_path):
    write_small(tmp_path / "views")
    with pytest.raises(UsageError, match="of resnet1d, not of segments"):
        score_segments(load_artifact(tmp_path / "views"), "TIC 9", *light(), 600.0)
    with pytest.raises(UsageError, match="--window 64 --channels 2"):
        hardness_by(model, SegmentSpec(window=128))


def test_hardness_is_the_score_of_each_segment(model):
    time, raw, flat = light()
    segments = cut_segments(time, raw, flat, 600.0, SPEC)
    rank = hardness_by(model, SPEC.model_copy(update={"stride": 8}))("TIC 9", segments)
    found = score_segments(model, "TIC 9", time, raw, flat, 600.0)
    assert np.argsort(rank).tolist() == np.argsort(found.probability).tolist()
