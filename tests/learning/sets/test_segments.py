"""Sets of segments: what a star's listings become, which segments are kept, how they are read again."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from survey.config import DetrendConfig, TrainConfig
from survey.errors import UsageError
from survey.learning.artifact import know_stars
from survey.learning.lesson import Scored
from survey.learning.sets.segments import (
    Known,
    Listing,
    SegmentSetConfig,
    judge_listings,
    make_lesson,
    segment_rows,
    star_curves,
)
from survey.learning.sets.table import write_set
from survey.signals.ephemeris import Ephemeris, in_transit
from survey.signals.segments import SegmentSpec

SPEC = SegmentSpec(window=128)
CONFIG = SegmentSetConfig(spec=SPEC, inject=2, per_star=60)
SIGNAL = Ephemeris(3.1, 1501.0, 0.12)
DEPTH = 0.01


def make_row(star: str = "TIC 1", depth: float = DEPTH, seed: int = 0, days: float = 20.0) -> dict[str, Any]:
    """A detrended light curve of 10-min cadences with transits of SIGNAL."""
    rng = np.random.default_rng(seed)
    time = 1500 + np.arange(int(days * 144)) / 144
    flux = 1 + 1e-3 * rng.standard_normal(len(time))
    flux[in_transit(time, SIGNAL)] -= depth
    return {
        "target_id": star,
        "time": time,
        "flux": flux.astype(np.float32),
        "trend": np.ones(len(time), np.float32),
        "cadence_s": 600.0,
        "window_d": 1.0,
        "products": [{"n_cadences": len(time)}],
    }


def rows_of(row: dict[str, Any], known: Known, config: SegmentSetConfig = CONFIG, **more: Any) -> pa.Table:
    found = segment_rows(row, known, config, DetrendConfig(), **more)
    assert found is not None
    return found


HOST = Known([SIGNAL], [SIGNAL], True)
QUIET = Known([], [], True)


def test_a_planet_that_is_seen_labels_and_is_cut_out():
    known = judge_listings(make_row(), [Listing(SIGNAL, "CP", DEPTH)])
    assert known == HOST


def test_a_planet_too_small_to_be_seen_is_only_cut_out():
    known = judge_listings(make_row(depth=0.0), [Listing(SIGNAL, "CP", 1e-5)])
    assert known == Known([], [SIGNAL], True)


def test_transits_that_must_be_seen_and_are_not_refuse_the_star():
    late = SIGNAL._replace(epoch=SIGNAL.epoch + 1.0)
    with pytest.raises(UsageError, match=r"3\.1000 d is not in this light"):
        judge_listings(make_row(), [Listing(late, "CP", DEPTH)])
    with pytest.raises(UsageError, match="without period, epoch or duration"):
        judge_listings(make_row(), [Listing(None, "PC", DEPTH)])


def test_the_same_signal_in_another_catalogue_counts_once():
    other = Listing(SIGNAL._replace(period=2 * SIGNAL.period, epoch=1502.0), "EB", np.nan)
    assert judge_listings(make_row(), [Listing(SIGNAL, "CP", DEPTH), other]) == HOST


def test_eclipses_leave_no_quiet_flux_and_false_alarms_count_nothing():
    assert not judge_listings(make_row(), [Listing(SIGNAL, "EB", np.nan)]).quiet
    assert judge_listings(make_row(depth=0), [Listing(SIGNAL, "FA", DEPTH)]) == QUIET


def test_every_curve_has_its_labels():
    table = rows_of(make_row(), HOST)
    curves, labels = (np.array(table.column(name).to_pylist()) for name in ("curve", "label"))
    assert set(curves) == {"real", "quiet", "mirrored", "injected 0", "injected 1"}
    assert set(labels[np.isin(curves, ["quiet", "mirrored"])]) == {"0"}
    assert set(labels[np.char.startswith(curves, "injected")]) == {"1"}
    assert set(labels[curves == "real"]) == {"0", "1"}
    flat = np.stack(table.column("flat").to_pylist())
    assert (flat[(curves == "real") & (labels == "1")].min(1) < -6).all()
    assert (flat[curves == "quiet"].min(1) > -6).all()


def test_nothing_negative_comes_from_a_star_with_eclipses():
    table = rows_of(make_row(), Known([SIGNAL], [SIGNAL], False))
    assert set(table.column("label").to_pylist()) == {"1"}
    assert set(table.column("curve").to_pylist()) == {"real"}


def test_caps_ratios_and_hard_ones_are_kept():
    asked = SegmentSetConfig(spec=SPEC.model_copy(update={"stride": 8}), inject=6, per_star=80, hard_share=0.5)
    table = rows_of(make_row(), HOST, asked)
    labels, hard = np.array(table.column("label").to_pylist()), np.array(table.column("hard").to_pylist())
    assert len(table) == 80
    assert (labels == "0").sum() == 40
    assert hard.sum() == 20
    assert not hard[labels == "1"].any()
    few = rows_of(make_row(), HOST, asked.model_copy(update={"negatives_per_positive": 3.0}), most=40)
    assert [few.column("label").to_pylist().count(label) for label in "01"] == [30, 10]


def test_weights_say_how_many_segments_a_row_stands_for():
    asked = SegmentSetConfig(spec=SPEC.model_copy(update={"stride": 8}), inject=0, mirror=False, per_star=40)
    table = rows_of(make_row(), QUIET, asked)
    weights, total = table.column("weight").to_numpy(), table.column("curve_segments")[0].as_py()
    assert len(table) == 40
    assert weights.sum() == pytest.approx(total)
    assert (weights[np.array(table.column("hard").to_pylist())] == 1).all()


def test_hard_ones_are_what_a_model_takes_for_transits():
    asked = SegmentSetConfig(spec=SPEC, inject=0, mirror=False, hard_share=1.0)
    table = rows_of(make_row(), QUIET, asked, most=5, hardness=lambda star, segments: segments.begin)
    begins = rows_of(make_row(), QUIET, asked).column("begin").to_numpy()
    assert table.column("begin").to_pylist() == np.sort(begins)[-5:].tolist()


def test_a_star_does_not_depend_on_others_nor_on_the_run():
    first, again = (rows_of(make_row(), HOST) for _ in range(2))
    assert first.equals(again)
    assert not first.equals(rows_of(make_row("TIC 2"), HOST))


def test_a_star_without_light_has_no_rows():
    row = make_row() | {"flux": np.full(2880, np.nan, np.float32)}
    assert segment_rows(row, QUIET, CONFIG, DetrendConfig()) is None


@pytest.fixture(scope="module")
def set_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sets") / "segments.parquet"
    tables = [
        rows_of(
            make_row(f"TIC {k}", DEPTH if k % 2 else 0.0, k),
            HOST if k % 2 else QUIET,
            other_names=[f"KIC {k}"] * (k > 2),
        )
        for k in range(1, 11)
    ]
    configuration = {"segments": CONFIG.model_dump(mode="json")}
    provenance = {"configuration": configuration, "sources": [], "simulated": "all of it", "seed": 0}
    write_set(path, "segments", pa.concat_tables(tables), provenance)
    return path


def test_a_set_is_read_as_a_lesson(set_file):
    lesson = make_lesson(set_file, "segments", TrainConfig())
    assert lesson.examples.inputs[0].shape == (len(lesson.stars), 2, 128)
    assert lesson.shape.window == lesson.inputs.window == 128
    assert lesson.simulated == "all of it"
    assert lesson.table.shape[0] == len(lesson.stars)
    assert np.isfinite(lesson.table).all()
    assert {"window": 128, "stride": 32, "hard_neg_frac": 0.25}.items() <= lesson.facts.items()
    with pytest.raises(UsageError, match="teaches segments, not vetting"):
        make_lesson(set_file, "vetting", TrainConfig())


def test_a_lesson_knows_its_stars_by_all_their_names(set_file):
    lesson = make_lesson(set_file, "segments", TrainConfig())
    stars = know_stars(lesson.stars, lesson.folds, lesson.other_names)
    names = np.array([f"TIC {k}" for k in range(3, 11)])
    assert stars.folds_of(names).min() >= 0
    assert stars.folds_of(np.char.replace(names, "TIC", "KIC")).tolist() == stars.folds_of(names).tolist()
    assert stars.folds_of(np.array(["KIC 1", ""])).tolist() == [-1, -1]


def test_scores_of_a_lesson_calibrate_stars_and_are_compared_with_dips(set_file):
    lesson = make_lesson(set_file, "segments", TrainConfig())
    scores = np.where(lesson.labels, 2.0, -2.0) + np.random.default_rng(0).standard_normal(len(lesson.stars))
    scored = Scored(scores, scores, 1 / (1 + np.exp(-scores)), lesson.folds.astype(int))
    kept = lesson.keep(scored)
    assert len(kept["stars"]["calibrations"]) == len(np.unique(lesson.folds)) + 1
    figures = lesson.measure(scored)
    assert figures["as_observed"]["rows"] < figures["deepest_dip"]["rows"] == len(lesson.stars)
    assert figures["as_observed"]["roc_auc"] > 0.9


def test_a_curve_with_injections_has_its_quiet_segments_beside(set_file):
    import pyarrow.parquet as pq

    table = pq.read_table(set_file)
    n = len(table)
    scored = Scored(np.zeros(n), np.arange(n, dtype=float), np.zeros(n), table.column("fold").to_numpy().astype(int))
    curves = star_curves(scored, table, SPEC)
    rows = table.select(["target_id", "curve", "label"]).to_pylist()
    assert len(curves) == len({(row["target_id"], row["curve"]) for row in rows}) > 35
    positives = {(row["target_id"], row["curve"]) for row in rows if row["label"] == "1"}
    assert sum(curve.positive for curve in curves) == len(positives) > 15
    for curve in curves:
        assert curve.weights.sum() <= curve.total * 1.001
        assert len(np.unique(curve.scores)) == len(curve.scores)
    assert any(curve.positive and len(curve.scores) > 20 for curve in curves)
