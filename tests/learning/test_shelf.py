"""The table of models: what each says of itself, and whether its files are as it says."""

import json
import shutil
from pathlib import Path

import pytest

from survey.cli import main
from survey.errors import UsageError
from survey.learning.shelf import check_files, describe, describe_known, shipped
from tests.learning.models import write_small


@pytest.fixture
def small(tmp_path: Path) -> Path:
    write_small(tmp_path / "small")
    return tmp_path / "small"


def test_a_model_says_what_it_was_trained_on_and_how_it_fared():
    found = describe(shipped()["triage"])
    record = json.loads((shipped()["triage"] / "model.json").read_text())
    assert found.figure == record["figures"]["average_precision"]
    assert found.floor == record["figures"]["floor"]["average_precision"]
    assert found.base_rate == record["figures"]["base_rate"]
    assert found.stars == record["training"]["stars"]
    assert found.simulated == ""
    assert "period" in found.inputs
    assert describe_known([found.id, "0" * 64]) == {found.id: found}


def test_the_id_is_the_one_that_scores_name(small, tmp_path):
    assert describe(small).id == write_small(tmp_path / "again")


def test_a_model_without_figures_only_ranks(small, capsys):
    found = describe(small)
    assert found.figure is None
    assert found.base_rate is None
    assert main(["models", str(small)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "only ranks" in said
    assert found.id[:8] in said


def test_every_shipped_model_is_whole(capsys):
    for folder in shipped().values():
        assert check_files(folder) == []
    assert main(["models", "check"]) == 0
    assert "every file as its model says" in capsys.readouterr().out


def test_the_table_has_a_row_a_model(capsys):
    assert main(["models", "--json"]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert found.keys() == shipped().keys()
    assert all(row["figure"] is None or row["figure"]["value"] > 0 for row in found.values())
    assert all(row["id"] == describe(row["folder"]).id for row in found.values())


@pytest.mark.parametrize("harm", ["altered", "lacking", "unlisted", "no json", "elsewhere"])
def test_what_is_not_whole_is_named(small, harm, capsys):
    card, record = small / "CARD.md", small / "model.json"
    if harm == "altered":
        card.write_text("better than it was\n")
    elif harm == "lacking":
        card.unlink()
    elif harm == "unlisted":
        (small / "extra.pkl").write_bytes(b"")
    elif harm == "no json":
        record.write_text("{")
    else:
        outside = json.loads(record.read_text())
        outside["files"]["../CARD.md"] = "0" * 64
        record.write_text(json.dumps(outside))
    named = {"unlisted": "extra.pkl", "no json": "not JSON", "elsewhere": "'../CARD.md' is no name"}.get(
        harm, "CARD.md"
    )
    assert any(named in problem for problem in check_files(small))
    assert main(["models", "check", str(small)]) == 1
    assert named in " ".join(capsys.readouterr().err.split())


def test_a_folder_without_a_model_is_refused(tmp_path, small):
    with pytest.raises(UsageError, match=r"no model in .*nowhere: cannot read model\.json"):
        describe(tmp_path / "nowhere")
    shutil.rmtree(small)
    small.mkdir()
    (small / "model.json").write_text("[1]")
    with pytest.raises(UsageError, match="no model's record"):
        describe(small)
