"""What the models say of signals and stars: the same bits in any company, and what fails costs scores, never a star."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from survey import schema
from survey.config import ScoreConfig
from survey.errors import UsageError
from survey.runs import scores
from survey.runs.scores import Light, Model, Scored, load_models, score_stars
from survey.signals.ephemeris import Ephemeris
from survey.signals.views import VIEW_SPECS, make_views
from tests.learning.models import copy_shipped

CLASSIFIERS = ScoreConfig(pixels=None, segments=None, periods=None, anomaly=None, fusion=None)
SPEC = "triage-201-61"


def make_star(number: int, signals: int = 1, mission: str = "tess", **tce: Any) -> dict[str, Any]:
    blank = {field.name: None for field in schema.DESCRIBED_TCE_FIELDS}
    tces = [
        blank | {"number": k + 1, "period": 2.0 + 0.1 * k, "duration_h": 2.4, "depth_ppm": 1e4, "snr": 30.0} | tce
        for k in range(signals)
    ]
    return {"target_id": f"TIC {number}", "mission": mission, "tces": tces}


def show(stars: Sequence[dict[str, Any]]) -> pa.Table:
    """Views of a box in noise of its own for every signal."""
    rows = []
    for star in stars:
        for tce in star["tces"]:
            seed = [int(star["target_id"].split()[1]), tce["number"]]
            time = np.arange(0, 20, 0.01)
            flux = np.random.default_rng(seed).normal(1, 1e-3, time.size)
            orbit = Ephemeris(2.0 + 0.1 * tce["number"], 1.0, 0.1)
            flux[np.abs((time - 1 + orbit.period / 2) % orbit.period - orbit.period / 2) < 0.05] -= 0.01
            views = vars(make_views(time, flux.astype(np.float32), orbit, VIEW_SPECS[SPEC]))
            rows.append({"target_id": star["target_id"], "number": tce["number"], "spec": SPEC, **views})
    return schema.rows_table(rows, schema.FEATURES)


@pytest.fixture(scope="module")
def models() -> tuple[Model, ...]:
    return load_models(CLASSIFIERS)


def test_signals_are_scored_the_same_bits_in_any_company(models: tuple[Model, ...]) -> None:
    stars = [make_star(900_000_000 + k, signals=10 if k == 3 else 1 + k % 3) for k in range(40)]
    together = score_stars(stars, show(stars), models)
    assert sum(len(star.signals) for star in together) > 64
    for star, scored in list(zip(stars, together, strict=True))[::7]:
        (alone,) = score_stars([star], show([star]), models)
        assert alone.signals == scored.signals
    turned = score_stars(stars[::-1], show(stars), models)
    assert [star.signals for star in turned[::-1]] == [star.signals for star in together]
    of_all = [signal for star in together for signal in star.signals.values()]
    assert all(signal["triage_probability"] > 0.5 for signal in of_all), "a deep box is a transit or an eclipse"
    assert all(signal["not_scored"] == () for signal in of_all)
    assert scores.models_used(together[0]) == [{"name": model.name, "id": model.id} for model in models]


def test_a_view_with_nan_is_not_scored_and_harms_no_other(models: tuple[Model, ...]) -> None:
    stars = [make_star(1, signals=2), make_star(2)]
    features = show(stars)
    rows = features.to_pylist()
    rows[1]["local_view"][7] = float("nan")
    found = score_stars(stars, schema.rows_table(rows, schema.FEATURES), models)
    whole = score_stars(stars, features, models)
    assert found[0].signals[2]["triage_score"] is None
    assert found[0].signals[2]["not_scored"] == tuple(f"{model.name}: what it would read holds NaN" for model in models)
    assert found[0].signals[1] == whole[0].signals[1]
    assert found[1].signals == whole[1].signals


def test_a_signal_without_views_says_so(models: tuple[Model, ...]) -> None:
    (found,) = score_stars([make_star(1)], schema.FEATURES.empty_table(), models)
    assert found.signals[1]["not_scored"] == ("triage: no views", "vetting: no views")
    assert found.used == {}


def test_without_models_everything_is_null() -> None:
    (found,) = score_stars([make_star(1)], show([make_star(1)]), ())
    assert set(found.signals[1].values()) == {None}


def test_a_model_that_fails_costs_its_scores_of_that_star_only(
    models: tuple[Model, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    stars = [make_star(k) for k in (1, 2, 3)]
    features, part = show(stars), scores.SIGNAL_MODELS["vetting"]
    whole = score_stars(stars, features, models)

    def fail_at_two(model: Model, cases: Sequence[scores.Case], views: Any) -> Any:
        if model.name == "vetting" and any(case.star["target_id"] == "TIC 2" for case in cases):
            raise ZeroDivisionError("a defect")
        return part.score(model, cases, views)

    monkeypatch.setitem(scores.SIGNAL_MODELS, "vetting", replace(part, score=fail_at_two))
    found = score_stars(stars, features, models)
    assert [star.signals for star in found[::2]] == [star.signals for star in whole[::2]]
    (signal,) = found[1].signals.values()
    assert signal["triage_score"] == whole[1].signals[1]["triage_score"]
    assert (signal["vetting_score"], signal["not_scored"]) == (None, ("vetting: ZeroDivisionError: a defect",))
    assert "fail_at_two" in found[1].tracebacks[0]
    assert list(found[1].used) == ["triage"]


def test_what_a_model_never_saw_is_named(models: tuple[Model, ...]) -> None:
    stars = [make_star(1, mission="kepler"), make_star(2, period=None), make_star(3, period=400.0), make_star(4)]
    named = [set(star.signals[1]["out_of_support"]) for star in score_stars(stars, show(stars), models)]
    assert named[0] >= {"triage: mission", "vetting: mission"}
    assert named[1] >= {"triage: single_transit", "vetting: single_transit"}
    assert named[2] >= {"triage: period", "vetting: period"}
    assert not named[3]


def test_a_signal_to_noise_of_another_meaning_is_not_shown(models: tuple[Model, ...]) -> None:
    weak, strong = make_star(1, snr=5.0), make_star(1, snr=500.0)
    longer = make_star(1, duration_h=24.0)
    (one,), (same,), (other,) = (score_stars([star], show([star]), models) for star in (weak, strong, longer))
    assert one.signals == same.signals
    assert one.signals[1]["triage_score"] != other.signals[1]["triage_score"]


def test_light_curves_are_scored_one_by_one_and_a_failure_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def score(model: Model, star: str, light: Light) -> tuple[dict[str, Any], tuple[str, ...]]:
        if star == "TIC 2":
            raise ZeroDivisionError("a defect")
        return {"star_score": float(light.flat[0]), "num_segments": len(light.time)}, ("cadence",)

    monkeypatch.setitem(scores.STAR_MODELS, "segments", SimpleNamespace(score=score))
    model = Model("segments", "ab" * 32, SimpleNamespace(record=SimpleNamespace(missions=("kepler",))))
    light = Light(np.arange(3.0), np.ones(3, np.float32), np.full(3, 0.5, np.float32), 120.0)
    stars = [make_star(1), make_star(2), make_star(3)]
    found = score_stars(stars, show([]), [model], lambda star: None if star["target_id"] == "TIC 3" else light)
    assert found[0].values == {
        "star_score": 0.5,
        "num_segments": 3,
        "star_out_of_support": ["segments: cadence", "segments: mission"],
    }
    assert found[1].notes == ["not scored by segments: ZeroDivisionError: a defect"]
    assert (found[1].values, found[2].values) == ({}, {})
    assert [list(one.used) for one in found] == [["segments"], [], []]


def test_a_fusion_reads_what_the_others_said(models: tuple[Model, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def score(model: Model, cases: Sequence[scores.Case], nothing: Any) -> Any:
        seen["fields"] = dict(cases[0].fields)
        return SimpleNamespace(probability=[np.nan], spread=[np.nan], score=[1.5], outside=[()])

    monkeypatch.setitem(scores.SIGNAL_MODELS, "fusion", replace(scores.SIGNAL_MODELS["fusion"], score=score))
    last = Model("fusion", "cd" * 32, SimpleNamespace(record=SimpleNamespace()))
    (found,) = score_stars([make_star(1)], show([make_star(1)]), (*models, last))
    assert seen["fields"]["vetting_score"] == found.signals[1]["vetting_score"] is not None
    signal = found.signals[1]
    assert (signal["fusion_score"], signal["fusion_probability"]) == (1.5, None), "not calibrated: no probability"


# Which models


def test_a_model_can_be_a_folder_and_is_read_again_when_it_is_another(tmp_path: Path) -> None:
    folder = copy_shipped("triage", tmp_path / "mine", task="vetting")
    config = CLASSIFIERS.model_copy(update={"triage": None, "vetting": str(folder)})
    (before,) = load_models(config)
    assert (before.name, before.spec) == ("vetting", SPEC)
    assert load_models(config)[0] is before
    copy_shipped("vetting", folder)
    assert load_models(config)[0].id != before.id


@pytest.mark.parametrize(
    ("mend", "words"),
    [
        (lambda folder: shutil.rmtree(folder), "no model"),
        (lambda folder: (folder / "weights.safetensors").write_bytes(b"x"), "damaged or altered"),
        (lambda folder: (folder / "model.json").write_text("{"), "model.json"),
    ],
)
def test_a_model_that_cannot_be_used_is_named(tmp_path: Path, mend: Any, words: str) -> None:
    folder = copy_shipped("vetting", tmp_path / "mine")
    mend(folder)
    with pytest.raises(UsageError, match=rf"score\.vetting: .*{words}.*score\.vetting=none does without"):
        load_models(CLASSIFIERS.model_copy(update={"vetting": str(folder)}))


def test_a_model_of_another_task_or_kind_is_refused() -> None:
    with pytest.raises(UsageError, match=r"score\.vetting: .* learnt triage, not vetting"):
        load_models(CLASSIFIERS.model_copy(update={"vetting": "triage"}))
    with pytest.raises(UsageError, match=r"score\.segments: .* is of kind resnet1d, not inception1d"):
        load_models(CLASSIFIERS.model_copy(update={"segments": "triage"}))


def test_scores_are_what_the_schema_names() -> None:
    assert Scored().values == {}
    names = {column for columns in scores.STAR_COLUMNS.values() for column in columns}
    assert names | {"star_out_of_support", "models"} == {field.name for field in schema.STAR_SCORE_FIELDS}
    assert set(scores.SIGNAL_MODELS) | set(scores.STAR_MODELS) == set(schema.MODELS)
    assert set(ScoreConfig.model_fields) == {*schema.MODELS, "stars"}
