"""Fusion: better than each of its parts where they know different things, no worse where they are noise."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit, logit

from survey.cli import main
from survey.config import Config, TrainConfig
from survey.errors import UsageError
from survey.learning.artifact import load_artifact
from survey.learning.fusion import (
    Blends,
    apply_blend,
    choose_entries,
    enter_values,
    fit_blend,
    load_fusion,
    measure_fusion,
    read_settings,
    score_fusion,
    train_fusion,
)
from survey.learning.sets.table import read_set, write_set
from tests.learning.models import write_small

MODELS = [{"name": "vetting", "id": "a" * 64}, {"name": "pixels", "id": "b" * 64}]

SAID = {"configuration": {}, "sources": [], "simulated": "all scores", "seed": 0}

CONFIG = Config(train=TrainConfig(calibration="temperature"))


def make_rows(rows: int = 600, seed: int = 0, **columns: Any) -> pa.Table:
    """Signals whose folded light tells half of what they are, and whose pixels, where there are any, the other half."""
    rng = np.random.default_rng(seed)
    planet = rng.random(rows) < 0.3
    light = rng.normal(0, 1.3, rows) + 1.5 * planet
    pixels = rng.normal(0, 1.3, rows) + 1.5 * planet
    pixels[rng.random(rows) < 0.4] = np.nan
    stars = rng.integers(1, rows, rows)
    made = {
        "target_id": [f"TIC {k}" for k in stars],
        "other_names": [[f"KIC {k}"] for k in stars],
        "label": np.where(planet, "PC", "EB").tolist(),
        "vetting_score": light,
        "vetting_probability": expit(light),
        "pixels_score": pa.array(pixels, pa.float64(), from_pandas=True),
        "mes": rng.lognormal(2.5, 0.3, rows),
        "checks": [[{"name": "odd_even_differ", "score": float(x), "passed": x < 3}] for x in rng.exponential(1, rows)],
        "models": [MODELS] * rows,
    }
    return pa.table(made | columns)


def put(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, values)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("fusion")
    write_set(folder / "set.parquet", "fusion", make_rows(), SAID)
    train_fusion(folder / "set.parquet", CONFIG, folder / "model", draws=100)
    return folder / "set.parquet", folder / "model"


def test_stars_are_known_by_all_their_names(made):
    table = read_set(made[0]).table
    others = np.array([names[0] for names in table["other_names"].to_pylist()])
    assert load_artifact(made[1]).stars.folds_of(others).tolist() == table["fold"].to_pylist()


def test_it_beats_each_part_alone(made):
    figures = load_artifact(made[1]).record.figures
    assert figures["best_alone"] in ("vetting_score", "pixels_score")
    assert figures["average_precision"]["value"] > max(figures["alone"].values()) + 0.03
    assert figures["floor"]["gain"]["low"] > 0
    assert figures["ece"] < 0.06


def test_it_is_no_worse_where_the_others_are_noise(tmp_path):
    rng = np.random.default_rng(1)
    noise = {f"noise{k}_score": rng.normal(0, 50, 600) for k in range(5)}
    nothing = pa.nulls(600, pa.float64())
    write_set(tmp_path / "set.parquet", "fusion", make_rows(pixels_score=nothing, **noise), SAID)
    figures = train_fusion(tmp_path / "set.parquet", CONFIG, tmp_path / "model", draws=50).evaluation.figures
    assert set(noise) < set(figures["alone"])
    assert figures["average_precision"]["value"] > figures["alone"]["vetting_score"] - 0.02


def test_coefficients_are_those_of_the_raw_numbers():
    rng = np.random.default_rng(2)
    values = rng.normal([100.0, -3.0], [20.0, 0.1], (20_000, 2))
    missing = rng.random(20_000) < 0.3
    odds = 0.05 * (values[:, 0] - 100) + np.where(missing, -0.7, 8.0 * (values[:, 1] + 3))
    values[missing, 1] = np.nan
    blend = fit_blend(values, rng.random(20_000) < expit(odds), 0)
    np.testing.assert_allclose(blend.weights, [0.05, 8.0], rtol=0.05)
    # What is missing stands for -0.7, not for the value 0.
    np.testing.assert_allclose(apply_blend(blend, np.array([[100.0, -3.0], [100.0, np.nan]])), [0, -0.7], atol=0.1)


def test_no_regression_judges_the_stars_it_was_fitted_on(made, tmp_path):
    """Labels that nothing tells must not be told, however many inputs there are to learn them by heart from."""
    rng = np.random.default_rng(3)
    chance = {f"c{k}_score": rng.normal(size=200) for k in range(20)}
    write_set(tmp_path / "set.parquet", "fusion", make_rows(200, vetting_score=rng.normal(size=200), **chance), SAID)
    figures = train_fusion(tmp_path / "set.parquet", CONFIG, tmp_path / "model", draws=20).evaluation.figures
    assert figures["average_precision"]["value"] < figures["base_rate"] + 0.35


def test_the_model_is_numbers_in_json(made):
    model = load_fusion(made[1])
    assert {path.name for path in made[1].iterdir()} == {"model.json", *model.record.files}
    assert not any(name.endswith((".skops", "weights.safetensors")) for name in model.record.files)
    blends, inputs = read_settings(model)
    assert inputs.models == {"vetting": "a" * 64, "pixels": "b" * 64}
    assert len(blends.blends) == 5
    assert json.loads((made[1] / "model.json").read_text())["network"]["blends"][0]["weights"] == list(
        blends.blends[0].weights
    )
    card = (made[1] / "CARD.md").read_text()
    assert "| checks.odd_even_differ | asinh |" in card
    assert "| simulated | all scores |" in card


def test_a_score_is_the_same_bits_beside_other_rows(made):
    model, rows = load_fusion(made[1]), make_rows(50, seed=7)
    whole = score_fusion(model, rows)
    for k in (0, 17, 49):
        alone = score_fusion(model, rows.slice(k, 1))
        assert alone.score[0] == whole.score[k]
        assert alone.probability[0] == whole.probability[k]
        assert alone.outside[0] == whole.outside[k]


def test_known_stars_are_scored_as_in_the_figures(made):
    model = load_fusion(made[1])
    again = measure_fusion(model, made[0], CONFIG, draws=20)
    assert again.figures["seen_rows"] == again.figures["rows"] == 600
    for name in ("brier", "ece", "true_positives"):
        assert again.figures[name] == pytest.approx(model.record.figures[name])
    assert again.figures["average_precision"]["value"] == model.record.figures["average_precision"]["value"]


def test_what_is_lacking_counts_as_missing(made):
    model, rows = load_fusion(made[1]), make_rows(40, seed=8)
    bare = score_fusion(model, rows.select(["target_id", "vetting_score"]))
    assert np.isfinite(bare.probability).all()
    # One regression alone, which scores a star that the others saw, tells nothing of their scatter.
    assert np.array_equal(np.isnan(bare.spread), bare.seen)
    assert (bare.spread[~bare.seen] > 0).all()
    nulls = score_fusion(model, put(rows, "pixels_score", pa.nulls(40, pa.float64())))
    without = score_fusion(model, rows.drop_columns(["pixels_score"]))
    np.testing.assert_array_equal(nulls.score, without.score)


def test_what_lies_beyond_the_training_is_named(made):
    model = load_fusion(made[1])
    rows = make_rows(3, seed=9, mes=[1e6, 12.0, 12.0], target_id=["TIC 1000001", "TIC 1000002", "TIC 1000003"])
    other = [[{"name": "vetting", "id": "c" * 64}], MODELS, None]
    found = score_fusion(model, put(rows, "models", pa.array(other)))
    assert found.outside == (("mes", "another vetting"), (), ())
    edge = next(part.high for part in read_settings(model)[1].columns if part.name == "mes")
    at_edge = score_fusion(model, put(rows, "mes", pa.array([10.0**edge, 12.0, 12.0])))
    assert at_edge.score[0] == pytest.approx(found.score[0])


def test_numbers_enter_as_they_should():
    rows = pa.table({"p": [0.5, 1.0, None], "mes": [10.0, 0.0, -1.0], "words": ["a", "b", "c"], "whole": [1, 2, None]})
    np.testing.assert_allclose(enter_values(rows, "p", "logit"), [0, logit(1 - 1e-6), np.nan])
    np.testing.assert_allclose(enter_values(rows, "mes", "log"), [1, np.nan, np.nan])
    np.testing.assert_allclose(enter_values(rows, "whole", "plain"), [1, 2, np.nan])
    assert np.isnan(enter_values(rows, "nowhere", "plain")).all()
    assert np.isnan(enter_values(rows, "checks.odd_even_differ", "asinh")).all()
    with pytest.raises(UsageError, match="words holds string, not numbers"):
        enter_values(rows, "words", "plain")


def test_only_what_is_measured_and_varies_enters():
    rows = make_rows(100, mes=np.full(100, 7.0), fusion_score=np.arange(100.0), star_score=np.arange(100.0))
    assert set(choose_entries(rows)) == {"vetting_score", "pixels_score", "checks.odd_even_differ"}


@pytest.mark.parametrize("change", [{"weights": [1.0]}, {"bias": float("nan")}, {"fold": 3}])
def test_a_damaged_record_is_refused(made, change):
    model = load_artifact(made[1])
    network = json.loads(json.dumps(model.record.network))
    network["blends"][0] |= change
    broken = type(model)(model.id, model.record.model_copy(update={"network": network}), (), model.stars)
    with pytest.raises(UsageError, match="fusion: "):
        read_settings(broken)
    assert Blends.model_validate(model.record.network)


def test_another_model_is_no_fusion(tmp_path):
    write_small(tmp_path / "small")
    with pytest.raises(UsageError, match="is no fusion but of kind resnet1d"):
        load_fusion(tmp_path / "small")


def test_scores_of_two_models_of_one_name_are_refused(tmp_path):
    models = [MODELS, [{"name": "vetting", "id": "c" * 64}]] * 50
    write_set(tmp_path / "set.parquet", "fusion", make_rows(100, models=models), SAID)
    with pytest.raises(UsageError, match="more than one model called vetting"):
        train_fusion(tmp_path / "set.parquet", CONFIG, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.verify
def test_the_commands_train_and_measure_it(made, tmp_path, capsys):
    out = tmp_path / "model"
    assert main(["train", "fusion", "--set", str(made[0]), "--out", str(out)]) == 0
    assert main(["evaluate", str(out), "--set", str(made[0]), "--json"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(out), "--set", str(made[0])]) == 0
    assert "average precision" in capsys.readouterr().out
    assert main(["train", "fusion", "--out", str(out)]) == 2
