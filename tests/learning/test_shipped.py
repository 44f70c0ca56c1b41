"""The models that come with the survey: whole, small, and as good as their cards say."""

import json

import pytest

from survey.cli import main
from survey.config import Config
from survey.learning.artifact import find_artifact, load_artifact, shipped
from survey.learning.lessons import measure_model

NAMES = ("triage", "vetting")

LARGEST_BYTES = 3 << 20

LEAST_PRECISION = {"triage": 0.975, "vetting": 0.53}
"""Average precision over five folds of stars that is asked of each."""


def test_all_are_there():
    assert set(NAMES) <= set(shipped())


@pytest.mark.parametrize("name", NAMES)
def test_each_is_whole_and_small_and_above_its_bar(name):
    folder = find_artifact(name)
    assert sum(path.stat().st_size for path in folder.iterdir()) < LARGEST_BYTES
    model = load_artifact(folder)
    figures = model.record.figures
    assert model.record.task == name
    assert model.record.training["settings"]["folds"] == 5
    assert figures["by_fold"]["average_precision"]["mean"] >= LEAST_PRECISION[name]
    # Better than boosted trees on the same numbers, beyond the scatter of a paired bootstrap.
    assert figures["floor"]["gain"]["low"] > 0
    assert figures["blind"]["floor"]["gain"]["low"] > 0
    card = (folder / "CARD.md").read_text()
    assert f"{figures['by_fold']['average_precision']['mean']:.4f}" in card


@pytest.mark.verify
@pytest.mark.parametrize("name", NAMES)
def test_its_figures_are_measured_again(name, real_data, capsys):
    path = real_data / "views" / "astronet_vetting_views.npz"
    model = load_artifact(find_artifact(name))
    again = measure_model(model, path, Config()).figures
    assert again["seen_rows"] == again["rows"] == 12_786
    for figure in ("base_rate", "lift", "brier", "ece", "f1"):
        assert again[figure] == pytest.approx(model.record.figures[figure], rel=1e-4), figure
    assert main(["evaluate", name, "--set", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["model_id"] == model.id
    assert said["average_precision"]["value"] == pytest.approx(
        model.record.figures["average_precision"]["value"], rel=1e-5
    )
