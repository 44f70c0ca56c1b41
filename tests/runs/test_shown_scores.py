"""Scores on the sheet and the page: each with its spread and what it means, and runs from before there were any."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from survey import schema
from survey.learning.shelf import describe, shipped
from survey.runs import page
from survey.runs.page import rows
from survey.runs.page.facts import Facts
from survey.runs.sheet import words
from tests.runs import fakes, test_sheet
from tests.runs.test_exports import make_tce as make_candidate
from tests.runs.test_page import fake_run, render
from tests.runs.test_sheet import draw, drawn_texts, make_centroid, make_row, make_tce

SCORES = {
    "triage_probability": 0.981,
    "triage_spread": 0.012,
    "triage_score": 4.2,
    "vetting_probability": None,
    "vetting_score": 1.234,
    "out_of_support": ["vetting: duration_h"],
    "not_scored": ["pixels: no pixel file"],
}
MODELS = [{"name": name, "id": f"{k}a3f91c0" * 8} for k, name in enumerate(words.SCORED)]
STAR = {
    "models": MODELS,
    "num_segments": 57,
    "star_score": 0.912,
    "star_probability": 0.0004,
    "period_probability": 0.71,
    "anomaly_score": 0.563,
    "anomalies": [{"begin": begin, "end": begin + 0.4, "n_points": 40, "votes": 0.8} for begin in (1003.1, 1006.0)],
    "star_out_of_support": ["periods: cadence_s"],
}


def test_each_score_is_said_with_what_it_is_worth() -> None:
    said = {score.model: score for score in words.scores(make_row(1000.0, **STAR), make_tce(**SCORES))}
    assert said["triage"].value == "0.981 ± 0.012"
    # Without a calibration there is no probability, only a rank.
    assert said["vetting"].value == "1.23, only ranks"
    assert said["vetting"].outside == ("duration h",)
    assert said["pixels"].value == "no pixel file"
    assert said["segments"] == words.Scored("segments", "any transit in 57 segments", "<0.001")
    assert said["periods"].outside == ("cadence s",)
    assert said["anomaly"].what == "strangeness, 2 stretches"


@pytest.mark.parametrize(
    ("value", "spread", "said"),
    [
        (0.5, None, "0.500"),
        (0.9999, 0.1, ">0.999"),
        (0.0, 0.0, "<0.001"),
        (0.25, 0.0314, "0.250 ± 0.031"),
        (None, None, words.NONE),
        (float("nan"), 0.1, words.NONE),
    ],
)
def test_probabilities_have_three_decimals(value: float | None, spread: float | None, said: str) -> None:
    assert words.probability(value, spread) == said


@pytest.mark.parametrize("signal", [True, False])
def test_the_sheet_says_them(signal: bool) -> None:
    tce = make_tce(**SCORES, centroids=[make_centroid()]) if signal else None
    figure = draw(make_row(1000.0, **STAR), tce)
    texts = list(drawn_texts(figure))
    said = [text.get_text() for text, _ in texts]
    assert ("0.981 ± 0.012" in said) is signal
    assert "any planet; outside: cadence s" in said
    assert any(f"triage {MODELS[0]['id'][:8]}" in text for text in said)
    assert any("strange stretches shaded" in axes.get_title(loc="left") for axes in figure.axes)
    assert all(box.x1 < figure.bbox.x1 and box.y0 > figure.bbox.y0 for _, box in texts)


def test_nothing_on_a_scored_sheet_collides(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = [f"{model}: a_long_name_of_something" for model in words.SCORED]
    star = STAR | {"star_out_of_support": strange}
    tce = make_tce(**(SCORES | {"out_of_support": strange}), centroids=[make_centroid()])
    monkeypatch.setitem(test_sheet.PAGES, "scored", (make_row(1000.0, **star), tce))
    test_sheet.test_nothing_on_a_page_collides_or_leaves_it("scored")


def test_a_star_that_was_not_scored_has_a_sheet_as_before() -> None:
    row, tce = make_row(1000.0), make_tce()
    for name in (*STAR, *SCORES):
        row.pop(name, None)
        tce.pop(name, None)
    assert words.scores(row, tce) == []
    said = [text.get_text() for text, _ in drawn_texts(draw(row, tce))]
    assert "Scores" not in said


@pytest.fixture
def scored(tmp_path: Path) -> Facts:
    """Of a run whose signals were scored, by the shipped triage among others."""
    about = page.read_facts(fake_run(tmp_path / "run", fakes.targets(40)))
    models = [{"name": "triage", "id": describe(shipped()["triage"]).id}, *MODELS[1:3]]
    signals = [make_candidate(**(SCORES | {"models": models, "star_score": 0.9})) for _ in range(3)]
    return replace(about, candidates=schema.rows_table(signals, schema.CANDIDATE))


def column(seen: Any, name: str) -> dict[str, Any] | None:
    return next((one for one in seen.table["columns"] if one["name"] == name), None)


def test_the_page_says_them(scored: Facts) -> None:
    seen = render(scored)
    found = column(seen, "triage_probability")
    assert found is not None
    assert found["values"] == [0.981] * 3
    assert found["error"] == "triage_spread"
    assert found["wide"]
    outside = column(seen, "out_of_support")
    assert outside is not None
    assert outside["words"] == ["vetting: duration_h"]
    # Nothing was given by the pixels, so that there is no column of nothing.
    assert column(seen, "pixels_probability") is None
    rate = describe(shipped()["triage"]).base_rate
    assert rate is not None
    assert f"{100 * rate:.1f}% were positive for triage" in seen.text
    assert f"vetting ( {MODELS[1]['id'][:8]} )" in seen.text


def test_a_page_of_a_run_without_scores_has_no_word_of_them(scored: Facts) -> None:
    names = [*SCORES, "triage_spread", "models", "star_score", "star_probability"]
    old = scored.candidates.drop_columns([name for name in names if name in scored.candidates.column_names])
    seen = render(replace(scored, candidates=old))
    assert column(seen, "triage_probability") is None
    assert "spread of a model's members" not in seen.text
    assert [one.name for one in rows.shown_columns(old)] == [
        one.name for one in rows.shown_columns(scored.candidates) if one.name not in names
    ]


def test_a_run_that_was_scored_again_has_a_page(scored: Facts) -> None:
    later = {"started_at": "2100-01-01T00:00:00+00:00", "host": "h", "rescored": ["score.triage: triage -> mine"]}
    scored.run.record["sessions"].append(later)
    assert page.source_of(scored.run.record) == "mirror:somewhere"
    assert "2100-01-01 00:00:00" in render(scored).text


def test_numbers_on_the_page_are_rounded() -> None:
    triage = next(one for one in rows.COLUMNS if one.name == "triage_probability")
    assert rows.rounded(0.98123456, triage) == 0.981
    assert rows.rounded(np.nan, triage) is None
