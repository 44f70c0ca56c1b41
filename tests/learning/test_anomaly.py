"""Strange windows: what is learnt of quiet light, what is found, what is kept in a file and what is refused."""

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import IsolationForest

from survey.config import AnomalyConfig
from survey.errors import UsageError
from survey.learning import anomaly, artifact
from survey.learning.anomaly import find_anomalies, fit_model, load_detector, score_star, simulate_lights
from survey.learning.anomaly_trials import sample_light
from survey.learning.models.anomaly import (
    Detector,
    Light,
    _draw_windows,
    _score_raw,
    above_usual,
    check_forest,
    fit_detector,
)
from survey.signals.window_stats import STATISTICS, measure_windows

CONFIG = AnomalyConfig(trees=30, windows=400)
CADENCE = 1800.0
WORDS = "6 stars with noise alone"


def make_light(star="quiet", days=40.0, cadence_s=CADENCE, seed=0, noise=1e-3):
    rng = np.random.default_rng([seed, len(star)])
    time = 1500 + np.arange(0, days, cadence_s / 86_400)
    return Light(star, time, 1 + noise * rng.standard_normal(len(time)), cadence_s)


@pytest.fixture(scope="module")
def model():
    return fit_model([make_light(f"TIC {k}", seed=k) for k in range(7)], CONFIG)


def find(model, light, **thresholds):
    return find_anomalies(model, light.star, light.time, light.flat, light.cadence_s, **thresholds)


def change(light, start, stop, depth):
    flat = light.flat.copy()
    flat[start:stop] -= depth
    return Light(light.star, light.time, flat, light.cadence_s)


def test_a_dip_a_flare_and_a_stray_are_found_and_told_apart(model):
    light = make_light("TIC 99", seed=99)
    light = change(light, 400, 408, 0.01)
    light = change(light, 900, 904, -0.03)
    light = change(light, 1400, 1401, 0.05)
    found = find(model, light)
    by_place = {round(part.peak, 1): part for part in found.intervals}
    kinds = [
        next(part.kind for part in found.intervals if part.begin <= light.time[place] <= part.end)
        for place in (403, 901, 1400)
    ]
    assert kinds == ["dip", "brightening", "noise"]
    assert len(by_place) <= 5
    for place, sign in ((403, -1), (901, 1), (1400, -1)):
        part = next(part for part in found.intervals if part.begin <= light.time[place] <= part.end)
        assert np.sign(part.sigmas) == sign
        assert abs(part.peak - light.time[place]) < 0.2


def test_an_inverted_star_has_dips_for_flares(model):
    light = change(make_light("TIC 98", seed=98), 700, 708, 0.02)
    upside_down = Light(light.star, light.time, 2 - light.flat, light.cadence_s)
    for each, kind in ((light, "dip"), (upside_down, "brightening")):
        assert kind in [part.kind for part in find(model, each).intervals if part.begin <= light.time[703] <= part.end]


def test_the_strange_star_scores_above_the_quiet_one(model):
    quiet = find(model, make_light("TIC 97", seed=97))
    light = make_light("TIC 97", seed=97)
    restless = find(model, Light("b", light.time, light.flat + 0.003 * np.sin(light.time * 9), CADENCE))
    assert restless.score > quiet.score + 0.3
    assert restless.strange.mean() < 0.2, "what a star always does is not strange for it"


def test_a_flare_of_a_spotted_star_is_found_over_its_spots(model):
    light = make_light("TIC 97", seed=97, noise=2e-4)
    spotted = Light("b", light.time, light.flat + 0.003 * np.sin(light.time * 6), CADENCE)
    found = find(model, change(spotted, 900, 906, -0.03))
    hit = [part for part in found.intervals if part.begin <= light.time[902] <= part.end]
    assert [part.kind for part in hit] == ["brightening"]
    assert found.flagged.mean() < 0.2


def test_flags_follow_from_votes_and_intervals_from_flags(model):
    found = find(model, change(make_light("TIC 96", seed=96), 500, 508, 0.02))
    assert found.flagged.any()
    assert (found.votes[found.flagged] >= 0.3).all()
    np.testing.assert_array_equal(found.strange, found.scores >= found.threshold)
    assert sum(part.n_points for part in found.intervals) == found.flagged.sum()
    assert find(model, make_light("TIC 96", seed=96), vote_threshold=1.0).flagged.sum() <= found.flagged.sum()


def test_what_is_flagged_is_the_event_and_not_the_window(model):
    light = make_light("TIC 96", seed=96)
    for start, stop, depth in ((500, 508, 0.01), (900, 901, 0.05), (1300, 1303, -0.02)):
        found = find(model, change(light, start, stop, depth))
        near = np.flatnonzero(found.flagged[start - 40 : stop + 40]) + start - 40
        assert set(range(start, stop)) <= set(near.tolist()) <= set(range(start - 1, stop + 1))
        assert (found.votes[start - 20 : stop + 20] >= 0.3).sum() > 40 + stop - start - 10, "the windows are wider"


def test_strange_windows_of_which_nothing_stands_out_flag_no_point(model):
    light = make_light("TIC 96", seed=96)
    flat = light.flat.copy()
    flat[700:780] = 1 + 1.5e-3 * np.tile((1.0, -1.0), 40)
    found = find(model, Light(light.star, light.time, flat, CADENCE))
    middle = slice(710, 770)
    assert (found.votes[middle] >= 0.3).all()
    assert not found.flagged[middle].any()
    assert not [part for part in found.intervals if light.time[710] < part.peak < light.time[770]]


def test_contamination_moves_the_threshold_and_no_score(model):
    light = make_light("TIC 95", seed=95)
    few, many = find(model, light, contamination=0.01), find(model, light, contamination=0.2)
    np.testing.assert_array_equal(few.scores, many.scores)
    assert few.threshold > many.threshold
    assert few.score == many.score
    assert few.strange.sum() < many.strange.sum()


def test_quiet_windows_that_no_detector_saw_are_strange_as_often_as_asked():
    lights = [make_light(f"TIC {k}", seed=k, days=60) for k in range(12)]
    model = fit_model(lights, AnomalyConfig(trees=30, windows=2000, contamination=0.1))
    strange = np.concatenate([find(model, make_light(f"TIC {k}", seed=k, days=60)).strange for k in range(50, 58)])
    assert strange.mean() == pytest.approx(0.1, abs=0.05)


def test_the_same_bits_in_any_company(model):
    light = make_light("TIC 94", seed=94)
    statistics = measure_windows(model.detector.inputs.cut(light))
    flat = model.detector.scale.flatten(statistics, *model.detector.scale.usual(statistics))
    together = _score_raw(model.detector.forest, model.detector.neighbours, flat)
    alone = np.concatenate(
        [_score_raw(model.detector.forest, model.detector.neighbours, flat[k : k + 1]) for k in range(len(flat))],
        axis=1,
    )
    np.testing.assert_array_equal(together, alone)
    assert find(model, light).score == find(model, light).score


def test_training_is_repeatable_and_does_not_hang_on_the_order_of_stars():
    lights = [make_light(f"TIC {k}", seed=k) for k in range(6)]
    one, other = fit_model(lights, CONFIG), fit_model(lights[::-1], CONFIG)
    light = make_light("TIC 93", seed=93)
    np.testing.assert_array_equal(find(one, light).scores, find(other, light).scores)
    assert one.record == other.record


def test_every_star_counts_alike():
    stars = np.array(["long"] * 1800 + ["short"] * 120)
    statistics = np.random.default_rng(0).standard_normal((1920, len(STATISTICS)))
    statistics[stars == "short"] += 100
    detector = fit_detector(statistics, stars, CONFIG)
    assert len(detector.known) == 400
    assert (stars[_draw_windows(stars, 400, 0)] == "short").sum() == 120


def test_a_star_score_does_not_grow_with_time(model):
    scores = [find(model, make_light("TIC 92", days=days, seed=92)).score for days in (20, 400)]
    assert abs(scores[1] - scores[0]) < 0.3
    assert score_star(np.empty(0)) is None
    assert score_star(np.array([2.0])) == 2.0
    assert score_star(np.arange(100.0)) == pytest.approx(97.0)


def test_few_windows_are_measured_by_quiet_stars(model):
    assert above_usual(np.ones(9)).max() == 1.0
    assert above_usual(np.ones(10)).max() == 0.0
    found = find(model, make_light("TIC 91", days=2.0, seed=91))
    usual = model.detector.scale.usual(np.ones((9, 14)))
    np.testing.assert_array_equal(usual, (model.detector.scale.centre, model.detector.scale.spread))
    assert found.score is not None


@pytest.mark.parametrize("count", [0, 1, 49])
def test_nothing_to_look_at_is_no_score(model, count):
    light = make_light("TIC 90")
    found = find(model, Light("TIC 90", light.time[:count], light.flat[:count], CADENCE))
    assert found.score is None
    assert not found.flagged.any()
    assert found.intervals == ()
    assert np.isnan(found.votes).all()


def test_constant_broken_and_gappy_light_is_survived(model):
    light = make_light("TIC 89")
    constant = find(model, Light("c", light.time, np.ones(len(light.time)), CADENCE))
    assert constant.score is not None
    assert np.isfinite(constant.scores).all()
    broken = light.flat.copy()
    broken[100:300] = np.nan
    broken[5] = np.inf
    found = find(model, Light("n", light.time, broken, CADENCE))
    assert np.isnan(found.votes[100:300]).all()
    assert np.isfinite(found.scores).all()
    assert np.isnan(find(model, Light("n", light.time, np.full(len(light.time), np.nan), CADENCE)).votes).all()
    apart = np.concatenate([light.time[:60], light.time[60:80] + 10_000, light.time[80:] + 20_000])
    gappy = find(model, Light("g", apart, light.flat, CADENCE))
    assert np.isnan(gappy.votes[60:80]).all()
    assert np.isfinite(gappy.votes[:60]).all()


def test_fast_cadence_gives_the_same_windows_as_its_means(model):
    light = make_light("TIC 88", days=12, cadence_s=20.0)
    found = find(model, light)
    assert len(found.flagged) == len(light.time)
    assert len(found.scores) == pytest.approx(12 * 144 / 10 - 4, abs=2)


def test_too_little_light_is_refused(tmp_path):
    with pytest.raises(UsageError, match="too few"):
        anomaly.train_detector([make_light("TIC 1", days=3)], CONFIG, tmp_path / "m")
    with pytest.raises(UsageError, match="too few"):
        fit_model([], CONFIG)
    constant = make_light("TIC 2")
    with pytest.raises(UsageError, match="too few"):
        fit_model([Light("TIC 2", constant.time, np.ones(len(constant.time)), CADENCE)] * 9, CONFIG)
    assert not (tmp_path / "m").exists()


# Files


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "mine"
    return anomaly.train_detector(simulate_lights(6, 1), CONFIG, folder, simulated=WORDS), folder


def test_a_model_is_read_as_it_was_written(written, tmp_path):
    model, folder = written
    read = load_detector(folder)
    light, _ = sample_light("complex_system", 0, [5])
    one, other = find(model, light), find(read, light)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert read.id == model.id
    assert one.intervals == other.intervals
    assert len(one.intervals) > 3
    again = anomaly.train_detector(
        simulate_lights(6, 1), CONFIG, tmp_path / "mine", simulated="6 stars with noise alone"
    )
    assert again.id == model.id, "the same training gives the same bytes"


def test_the_card_says_what_is_simulated_and_the_figures_stand_beside_a_baseline(written):
    model, folder = written
    card = (folder / "CARD.md").read_text()
    assert f"Simulated: {WORDS}" in card
    figures = model.record.figures
    for trial in ("injected", "samples"):
        for unit in ("windows", "points"):
            found = figures[trial][unit]
            assert 0 < found["base_rate"] < 0.5
            assert found["model"]["average_precision"]["value"] > found["base_rate"]
            assert set(found["baseline"]) == set(found["model"])
            assert found != figures["chosen_on"][trial][unit], "the events are others than those of the choice"
    assert figures["samples"]["windows"]["model"]["precision"] > 0.5
    assert figures["samples"]["points"]["model"]["precision"] > 0.5
    assert "figures on those stars are optimistic" in " ".join(card.split())


def test_stars_of_the_training_are_known(written):
    model, _ = written
    light, _ = sample_light("normal_star", 0, [1])
    assert find(model, light).seen
    assert not find(model, make_light("TIC 5")).seen


def rewrite(folder, target, changed=None, **parts):
    """A copy of a model with other parts or settings, its sha256 put right: what a hostile author would send."""
    target.mkdir()
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    contents |= {f"{name}.skops": content for name, content in parts.items()}
    record = json.loads(contents.pop("model.json"))
    if changed is not None:
        changed(record)
    record["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    contents["model.json"] = json.dumps(record).encode()
    for name, content in contents.items():
        (target / name).write_bytes(content)
    return target


def fit_forest(columns=14):
    windows = np.random.default_rng(0).standard_normal((300, columns))
    return IsolationForest(n_estimators=3, random_state=0).fit(windows)


class Foreign:
    """No type that a model may hold."""


def hostile_parts():
    yield "holds types that no model may", {"forest": skops.io.dumps(Foreign())}
    yield "not a skops file", {"forest": b"PK\x05\x06" + bytes(18)}
    yield "not a skops file", {"forest": b"no zip"}
    yield "no Isolation Forest", {"forest": skops.io.dumps(np.zeros(3))}
    yield "no Isolation Forest", {"forest": skops.io.dumps(fit_forest(columns=3))}
    yield "no table of windows", {"windows": skops.io.dumps([1, 2])}
    yield "windows must be finite", {"windows": skops.io.dumps(np.full((100, 14), np.nan, np.float32))}
    yield "windows must be finite", {"windows": skops.io.dumps(np.zeros((5, 14), np.float32))}
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("schema.json", b"[" * 200_000)
    yield "not a skops file", {"forest": bomb.getvalue()}
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 44,)})
    packed_array = io.BytesIO(skops.io.dumps(np.zeros(3)))
    with zipfile.ZipFile(packed_array) as source:
        contents = {name: source.read(name) for name in source.namelist()}
    liar = io.BytesIO()
    with zipfile.ZipFile(liar, "w") as packed:
        for name, content in contents.items():
            packed.writestr(name, header.getvalue() if name.endswith(".npy") else content)
    yield "not a skops file", {"windows": liar.getvalue()}


@pytest.mark.parametrize(("words", "parts"), list(hostile_parts()))
def test_hostile_parts_are_refused(written, tmp_path, words, parts):
    with pytest.raises(UsageError, match=words):
        load_detector(rewrite(written[1], tmp_path / "hostile", **parts))


def set_scale(name, value):
    return lambda record: record["network"]["scale"].update({name: value})


@pytest.mark.parametrize(
    "changed",
    [
        set_scale("spread", [0.0] * 14),
        set_scale("centre", [0.0]),
        set_scale("quiet", [1.0, 0.0]),
        set_scale("forest", [0.0, -1.0]),
        lambda record: record["network"].update(statistics=["mean"]),
        lambda record: record["network"].update(neighbours=10**9),
        lambda record: record["network"].pop("scale"),
        lambda record: record["inputs"].update(points=10**9),
        lambda record: record["training"].pop("settings"),
        lambda record: record.update(kind="fusion", task="fusion"),
    ],
)
def test_damaged_settings_are_refused(written, tmp_path, changed):
    with pytest.raises(UsageError):
        load_detector(rewrite(written[1], tmp_path / "damaged", changed))


def test_trees_that_lead_out_of_themselves_are_refused():
    check_forest(fit_forest())
    for name, value in (("left_child", 10**6), ("right_child", 0), ("feature", 99), ("threshold", np.inf)):
        forest = fit_forest()
        tree = forest.estimators_[1].tree_
        state = tree.__getstate__()
        nodes = state["nodes"].copy()
        inner = np.flatnonzero(nodes["left_child"] >= 0)[-1]
        nodes[name][inner] = value
        state["nodes"] = nodes
        tree.__setstate__(state)
        with pytest.raises(ValueError, match="leads out"):
            check_forest(forest)
    forest = fit_forest()
    forest._decision_path_lengths = tuple(part[:1] for part in forest._decision_path_lengths)
    with pytest.raises(ValueError, match="depths"):
        check_forest(forest)


def test_a_model_of_another_kind_is_refused():
    with pytest.raises(UsageError, match="kind"):
        load_detector(artifact.find_artifact("triage"))


def test_the_shipped_detector():
    folder = artifact.find_artifact("anomaly")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1 << 20
    model = load_detector(folder)
    assert isinstance(model.detector, Detector)
    assert not model.record.simulated
    assert set(model.record.missions) == {"tess", "kepler", "k2"}
    quiet, _ = sample_light("normal_star", 3, [7])
    loud, _ = sample_light("stellar_flares", 3, [7])
    assert find(model, loud).score > find(model, quiet).score
    assert {part.kind for part in find(model, loud).intervals} >= {"brightening"}
