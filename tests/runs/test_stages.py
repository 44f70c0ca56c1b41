"""The stages on stars made here: what each adds, what a failing star becomes, and that neighbours change nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from survey import schema
from survey.config import Config, load
from survey.errors import FetchFailed, NoData, TooShort
from survey.learning.anomaly import find_anomalies, load_detector
from survey.learning.artifact import find_artifact
from survey.runs import lights, scores, stages
from survey.runs.stages import STAGES, Row, examine, rows_of, targets_table
from survey.signals.ephemeris import Ephemeris
from survey.signals.search import FlatCurve, Tce
from survey.stars.lightcurve import LightCurve, Product, Star
from survey.stars.pixels import LightCentre, TargetPixels
from survey.stars.sources import Source
from survey.stars.targets import Target
from tests.signals.cutouts import Dimming, make_cutout, make_light_centre

CONFIG = load(overrides=["search.period_min=1", "search.period_max=6"])
PERIOD, DURATION, DEPTH = 3.3, 3.0 / 24, 3e-3


def make_curve(target: Target) -> LightCurve:
    """27 d of 10-min cadences in two products; odd numbers have a planet, all a slow variation."""
    number = int(target.target_id.split()[1])
    if number == 104:
        raise NoData("TIC 104: no light curve")
    if number == 106:
        raise FetchFailed("no route to host")
    if number == 108:
        raise ZeroDivisionError("a defect")
    rng = np.random.default_rng(number)
    times = 2000.0 + np.arange(0, 27, 1 / 144)
    times = times[(times < 2013) | (times > 2014)]
    flux = 1 + 2e-3 * np.sin(2 * np.pi * times / 9.1) + rng.normal(0, 4e-4, times.size)
    if number % 2:
        phase = (times - 2001.7 + PERIOD / 2) % PERIOD - PERIOD / 2
        flux[np.abs(phase) < DURATION / 2] -= DEPTH
    half = int((times < 2013).sum())
    products = tuple(
        Product(f"{number}-{k}.fits", "0" * 64, k, "SPOC", None, "PDCSAP_FLUX", 17087, 600.0, count)
        for k, count in enumerate((half, times.size - half), 1)
    )
    return LightCurve(
        target.target_id,
        "tess",
        times,
        flux.astype(np.float32),
        np.full(times.size, 4e-4, np.float32),
        2457000.0,
        products,
        Star(magnitude=10.0, radius=1.0, logg=4.44),
        notes=("a note",),
    )


class Stub:
    """Stands for a source: `make_curve` does not ask it."""

    name = "stub"


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setattr(stages.sources, "fetch", lambda target, source, config: make_curve(target))
    show_pixels(monkeypatch, [], [])
    return Stub()  # type: ignore[return-value]


def show_pixels(
    monkeypatch: pytest.MonkeyPatch,
    pixels: list[TargetPixels],
    centres: list[LightCentre],
    left_out: Sequence[str] = (),
) -> list[tuple[str, str]]:
    """Give every star these; returns what is asked for, (kind, target)."""
    asked: list[tuple[str, str]] = []

    def give(kind: str, files: Any) -> Any:
        return lambda target, source, config: asked.append((kind, target.target_id)) or files

    monkeypatch.setattr(stages.sources, "fetch_pixels", give("pixels", (pixels, list(left_out))))
    monkeypatch.setattr(stages.sources, "fetch_light_centres", give("centres", centres))
    return asked


def targets(*numbers: int) -> list[Target]:
    return [Target(f"TIC {number}", "tess") for number in numbers]


def fold(chosen: Sequence[Target], source: Source, config: Config = CONFIG) -> list[pa.Table]:
    """The tables after every stage."""
    tables = [targets_table(chosen)]
    for stage in STAGES:
        tables.append(stage.make(config, source)(tables[-1]))
    return tables[1:]


def without_trace(table: pa.Table) -> pa.Table:
    return table.drop_columns(["trace"])


@pytest.mark.parametrize("numbers", [(101, 102, 104), (104, 106), (108,)])
def test_every_stage_keeps_its_schema_whatever_fails(stub: Source, numbers: tuple[int, ...]) -> None:
    for stage, table in zip(STAGES, fold(targets(*numbers), stub), strict=True):
        assert table.schema.equals(stage.schema), stage.name
        schema.check_rows(table, [f"TIC {number}" for number in numbers])


def test_a_planet_comes_back_as_a_candidate_with_views(stub: Source) -> None:
    row = rows_of(examine(Target("TIC 101", "tess"), CONFIG, stub))[0]
    assert row["status"] == "ok"
    tce = row["tces"][0]
    assert tce["period"] == pytest.approx(PERIOD, rel=1e-3)
    assert (tce["epoch"] - 2001.7) / PERIOD == pytest.approx(round((tce["epoch"] - 2001.7) / PERIOD), abs=0.005)
    assert tce["epoch_bjd"] == tce["epoch"] + 2457000.0
    assert tce["depth_ppm"] == pytest.approx(1e6 * DEPTH, rel=0.1)
    assert tce["is_candidate"]
    assert tce["flags"] == []
    shown = [(view["number"], view["spec"]) for view in row["views"]]
    of_candidates = {(one["number"], "views-2048-256") for one in row["tces"] if one["is_candidate"]}
    assert set(shown) == of_candidates | {(one["number"], "triage-201-61") for one in row["tces"]}
    assert len(shown) == len(set(shown))
    assert len(row["views"][0]["global_view"]) == 2048
    assert row["notes"] == ["a note"]
    assert row["scatter_ppm"] == pytest.approx(400, rel=0.15)


def test_a_quiet_star_has_an_empty_list_and_not_null(stub: Source) -> None:
    row = rows_of(examine(Target("TIC 102", "tess"), CONFIG, stub))[0]
    assert (row["status"], row["error"], row["tces"], row["views"]) == ("ok", None, [], [])


def test_what_failed_is_a_row_with_its_reason(stub: Source) -> None:
    rows = rows_of(fold(targets(101, 104, 106, 108), stub)[-1])
    assert [row["status"] for row in rows] == ["ok", "no_data", "fetch_failed", "failed"]
    assert [row["error"] for row in rows] == [
        None,
        "TIC 104: no light curve",
        "no route to host",
        "ZeroDivisionError: a defect",
    ]
    assert rows[1]["tces"] is None
    assert rows[1]["trace"][0]["traceback"] is None
    assert "make_curve" in rows[3]["trace"][0]["traceback"]
    assert [entry["stage"] for entry in rows[0]["trace"]] == [stage.name for stage in STAGES]
    assert [entry["stage"] for entry in rows[3]["trace"]] == ["fetch"]


def test_neighbours_in_a_batch_change_no_bit(stub: Source) -> None:
    chosen = targets(101, 102, 103, 104, 105)
    together = without_trace(fold(chosen, stub)[-1])
    alone = pa.concat_tables([without_trace(examine(target, CONFIG, stub)) for target in chosen])
    assert together.equals(alone)


def test_a_batch_that_cannot_be_searched_is_searched_star_by_star(
    stub: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = targets(101, 102, 103)
    expected = without_trace(fold(chosen, stub)[-1])
    search = stages.find_tces

    def fragile(curves: Sequence[FlatCurve], *settings: Any) -> list[list[Tce]]:
        if len(curves) > 1 or curves[0].flux[0] == poison:
            raise FloatingPointError("the engine gave up")
        return search(curves, *settings)

    monkeypatch.setattr(stages, "find_tces", fragile)
    poison = -1.0
    assert without_trace(fold(chosen, stub)[-1]).equals(expected)
    detrended = rows_of(fold(chosen, stub)[1])[1]
    poison = stages.flat_curve(detrended, CONFIG).flux[0]
    rows = rows_of(fold(chosen, stub)[-1])
    assert [row["status"] for row in rows] == ["ok", "failed", "ok"]
    assert rows[1]["error"] == "FloatingPointError: the engine gave up"
    assert rows[2]["tces"] == rows_of(expected)[2]["tces"]


def test_stars_with_signals_are_detrended_again_with_these_masked(stub: Source) -> None:
    _, detrended, searched, *_ = fold(targets(101, 102), stub)
    first, second = list(schema.series(detrended, "trend")), list(schema.series(searched, "trend"))
    assert not np.array_equal(first[0], second[0], equal_nan=True)
    np.testing.assert_array_equal(first[1], second[1])
    once = load(overrides=["search.period_min=1", "search.period_max=6", "detrend.second_pass=false"])
    _, before, after, *_ = fold(targets(101), stub, once)
    assert before.column("trend").equals(after.column("trend"))


def test_the_window_is_three_times_the_longest_duration_searched(stub: Source) -> None:
    row = rows_of(fold(targets(102), stub)[0])[0]
    longest = stages.longest_duration(row["baseline_d"], CONFIG.search, stages.stellar_density(1.0, 4.44))
    wide = CONFIG.detrend.min_window_days
    assert stages.choose_window(row, CONFIG) == max(wide, 3 * longest)
    given = load(overrides=["detrend.window_days=2.5"])
    assert stages.choose_window(row, given) == 2.5
    long_periods = load(overrides=["search.period_max=200"])
    far = {**row, "baseline_d": 1400.0, "radius": None}
    assert stages.choose_window(far, long_periods) > wide


def test_the_transit_mask_is_wider_than_the_transit(stub: Source) -> None:
    row = rows_of(examine(Target("TIC 101", "tess"), CONFIG, stub))[0]
    tce = Tce(**{name: row["tces"][0][name] for name in stages.TCE_NAMES})
    masked = stages.transit_mask(row["time"], [tce], CONFIG)
    expected = CONFIG.detrend.mask_durations * tce.duration_h / 24 / tce.period
    assert masked.mean() == pytest.approx(expected, rel=0.2)
    assert not stages.transit_mask(row["time"], [], CONFIG).any()


def test_a_star_that_no_trend_fits_is_too_short(stub: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(times: np.ndarray, *args: object, **options: object) -> np.ndarray:
        return np.full(len(times), np.nan, np.float32)

    monkeypatch.setattr(stages.detrending, "detrend", nothing)
    monkeypatch.setattr(stages.detrending, "robust_scatter", lambda flat: float("nan"))
    row = rows_of(examine(Target("TIC 101", "tess"), CONFIG, stub))[0]
    assert row["status"] == TooShort.status
    assert row["tces"] is None


def test_the_fetch_stage_needs_a_source() -> None:
    with pytest.raises(ValueError, match="source"):
        stages.make_fetch(CONFIG, None)


def test_absurd_numbers_are_not_searched() -> None:
    """A flipped bit in a file without checksums may make any number of a flux."""
    flux = np.ones(500, np.float32)
    flux[[7, 9]] = -3e30, 2e20
    row = {
        "time": np.arange(500) / 48.0,
        "flux": flux,
        "flux_err": np.full(500, 1e-3, np.float32),
        "trend": np.ones(500, np.float32),
        "cadence_s": 1800.0,
        "radius": None,
        "logg": None,
        "products": [{"n_cadences": 500}],
    }
    curve = stages.flat_curve(row, Config())
    assert len(curve.time) == 498
    assert np.all(curve.flux == 1)


def test_a_single_transit_has_no_period_and_is_scored_by_the_light_about_it(
    stub: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_one_dip(target: Target, source: Source, config: Config) -> LightCurve:
        curve = make_curve(target)
        dip = np.where(np.abs(curve.time - 2006.5) < 0.06, 8e-3, 0).astype(np.float32)
        return replace(curve, flux=curve.flux - dip)

    monkeypatch.setattr(stages.sources, "fetch", with_one_dip)
    (row,) = rows_of(fold(targets(102), stub)[-1])
    (single,) = row["tces"]
    assert (single["period"], single["period_err"], single["n_transits"]) == (None, None, 1)
    assert single["epoch_bjd"] == pytest.approx(2459006.5, abs=0.01)
    assert single["depth_ppm"] == pytest.approx(8e3, rel=0.1)
    assert (single["is_candidate"], single["flags"]) == (False, ["single_transit"])
    (view,) = row["views"]
    assert view["spec"] == "triage-201-61"
    assert abs(int(np.argmin(view["global_view"])) - 100) <= 1
    assert np.median(np.abs(view["global_view"])) < 0.2
    assert single["triage_probability"] > 0.3
    assert {"triage: single_transit", "vetting: single_transit"} <= set(single["out_of_support"])


SIGNAL = Ephemeris(PERIOD, 2001.7, DURATION)
ON_TARGET = (Dimming(5.2, 4.8, 10_000, DEPTH),)
ON_NEIGHBOUR = (Dimming(5.2, 4.8, 10_000), Dimming(7.1, 6.2, 2000, 0.05))


def find_planet(source: Source, config: Config = CONFIG) -> Row:
    """The described row of the star with a planet."""
    row = rows_of(examine(Target("TIC 101", "tess"), config, source))[0]
    assert (row["status"], row["error"]) == ("ok", None)
    return row


def test_pixels_show_whether_a_signal_is_the_targets(stub: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = show_pixels(monkeypatch, [make_cutout(ON_TARGET, signal=SIGNAL)], [])
    row = find_planet(stub)
    tce = row["tces"][0]
    assert asked == [("pixels", "TIC 101")]
    assert (tce["is_candidate"], tce["centroid_offset"]) == (True, False)
    assert [one["method"] for one in tce["centroids"]] == ["prf", "flux_weighted", "prf_catalogue"]
    assert row["pixel_products"] == [{"product": "cutout-1-0.fits", "sha256": "0" * 64, "observation": 1}]
    view = row["views"][0]
    assert (view["number"], view["image_rows"], view["image_columns"]) == (1, 11, 11)
    assert (len(view["difference_image"]), len(view["pixel_stack"])) == (121, 32 * 24 * 24)


def test_a_signal_of_a_neighbour_is_no_candidate_but_keeps_its_images(
    stub: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_pixels(monkeypatch, [make_cutout(ON_NEIGHBOUR, signal=SIGNAL)], [])
    row = find_planet(stub)
    tce = row["tces"][0]
    assert (tce["is_candidate"], tce["centroid_offset"], tce["flags"]) == (False, True, ["centroid_offset"])
    assert np.argmax(row["views"][0]["difference_image"]) == 6 * 11 + 7


def test_without_pixels_a_signal_has_no_place(stub: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = show_pixels(monkeypatch, [], [])
    row = find_planet(stub)
    tce = row["tces"][0]
    assert asked == [("pixels", "TIC 101"), ("centres", "TIC 101")]
    assert (tce["centroids"], tce["centroid_offset"], row["pixel_products"]) == ([], None, [])
    assert "centroid_offset" not in [check["name"] for check in tce["checks"]]
    assert row["views"][0]["difference_image"] is None


def test_pixel_files_that_are_left_out_are_told(stub: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    show_pixels(monkeypatch, [], [], left_out=["a_tp.fits: truncated"])
    assert find_planet(stub)["notes"] == ["a note", "left out: a_tp.fits: truncated"]


def test_the_motion_of_the_light_stands_in_for_pixels(stub: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    centre = make_light_centre(make_cutout(ON_TARGET, signal=SIGNAL))
    show_pixels(monkeypatch, [], [centre])
    row = find_planet(stub)
    (centroid,) = row["tces"][0]["centroids"]
    assert (centroid["method"], centroid["problem"]) == ("motion", None)
    assert centroid["significance"] < 3
    assert [product["product"] for product in row["pixel_products"]] == ["curve-1-0.fits"]


@pytest.mark.parametrize(("number", "use"), [(102, "true"), (101, "false")])
def test_pixels_are_asked_only_for_signals_that_pass_the_gate(
    stub: Source, monkeypatch: pytest.MonkeyPatch, number: int, use: str
) -> None:
    asked = show_pixels(monkeypatch, [make_cutout(ON_TARGET)], [])
    config = load(overrides=["search.period_min=1", "search.period_max=6", f"pixels.use={use}"])
    row = rows_of(examine(Target(f"TIC {number}", "tess"), config, stub))[0]
    assert (row["status"], asked) == ("ok", [])
    assert [tce["centroids"] for tce in row["tces"]] == [[] for _ in row["tces"]]


def test_pixels_that_cannot_be_had_now_are_asked_again(stub: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(target: Target, source: Source, config: Config) -> None:
        raise FetchFailed("the archive is away")

    monkeypatch.setattr(stages.sources, "fetch_pixels", fail)
    planet, quiet = rows_of(fold(targets(101, 102), stub)[-1])
    assert (planet["status"], planet["tces"]) == ("fetch_failed", None)
    assert planet["error"] == "pixel files: the archive is away (pixels.use=false does without them)"
    assert (quiet["status"], quiet["tces"]) == ("ok", [])
    assert planet["status"] in schema.RETRIED_STATUSES


def test_pixels_are_asked_of_the_observations_that_were_searched(stub: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        stages.sources, "fetch_pixels", lambda target, source, config: asked.append(target.observations) or ([], [])
    )
    find_planet(stub)
    assert asked == [(1, 2)]


def test_the_pixels_stage_needs_a_source() -> None:
    with pytest.raises(ValueError, match="source"):
        stages.make_pixels(CONFIG, None)


def test_waves_taken_for_transits_that_cover_everything_leave_the_first_trend(
    stub: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all of it masked there is nothing to detrend by a second time."""

    def find_waves(curves: Sequence[FlatCurve], *settings: Any) -> list[list[Tce]]:
        (found,) = find(curves, *settings)
        return [[replace(tce, duration_h=0.8 * 24 * PERIOD) for tce in found]]

    find = stages.find_tces
    monkeypatch.setattr(stages, "find_tces", find_waves)
    row = rows_of(examine(Target("TIC 101", "tess"), CONFIG, stub))[0]
    assert (row["status"], row["error"]) == ("ok", None)
    assert np.isfinite(row["trend"]).sum() > 3000
    assert row["tces"][0]["duration_h"] == pytest.approx(0.8 * 24 * PERIOD)


def test_a_star_keeps_its_row_when_every_model_fails(stub: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> Any:
        raise ZeroDivisionError("a defect")

    whole = rows_of(examine(Target("TIC 101", "tess"), CONFIG, stub))[0]
    for name, part in scores.SIGNAL_MODELS.items():
        monkeypatch.setitem(scores.SIGNAL_MODELS, name, replace(part, score=fail))
    for name, model in scores.STAR_MODELS.items():
        monkeypatch.setitem(scores.STAR_MODELS, name, replace(model, score=fail))
    row = rows_of(examine(Target("TIC 101", "tess"), CONFIG, stub))[0]
    (tce,), (before,) = row["tces"], whole["tces"]
    assert (row["status"], row["error"]) == ("ok", None)
    assert before["vetting_probability"] > 0
    assert whole["num_segments"] > 0
    assert (tce["vetting_probability"], row["star_score"], row["models"]) == (None, None, [])
    assert tce["not_scored"][:2] == [f"{name}: ZeroDivisionError: a defect" for name in ("triage", "vetting")]
    assert "not scored by segments: ZeroDivisionError: a defect" in row["notes"]
    assert "in fail" in row["trace"][-1]["traceback"]
    unscored = {field.name for field in schema.SCORE_FIELDS}
    assert {name: tce[name] for name in tce if name not in unscored} == {
        name: before[name] for name in before if name not in unscored
    }


def test_only_stars_with_signals_have_their_light_curves_scored_unless_told(stub: Source) -> None:
    quiet = Target("TIC 102", "tess")
    row = rows_of(examine(quiet, CONFIG, stub))[0]
    assert (row["tces"], row["num_segments"], row["models"]) == ([], None, [])
    told = load(overrides=["search.period_min=1", "search.period_max=6", "score.stars=all"])
    row = rows_of(examine(quiet, told, stub))[0]
    assert row["num_segments"] > 0
    assert [model["name"] for model in row["models"]] == ["segments", "periods", "anomaly"]


def test_models_of_light_curves_see_the_light_that_they_learnt_from(stub: Source) -> None:
    """Sets and `survey anomalies` detrend once; the second trend of a star with signals is not for them."""
    target = Target("TIC 101", "tess")
    row, detrended = rows_of(examine(target, CONFIG, stub))[0], lights.detrended_row(target, stub, CONFIG)
    assert row["tces"]
    assert not np.array_equal(row["trend"], detrended["trend"], equal_nan=True)
    light = lights.light_of(detrended)
    found = find_anomalies(load_detector(find_artifact("anomaly")), light.star, light.time, light.flat, light.cadence_s)
    assert row["anomaly_score"] == found.score
    assert [(part["begin"], part["end"]) for part in row["anomalies"]] == [
        (part.begin, part.end) for part in found.intervals
    ]
