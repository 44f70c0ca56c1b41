"""Labelled scores from a scored run: what the models said, under the labels of the catalogues."""

from pathlib import Path

import pytest

from survey.errors import UsageError
from survey.learning.fusion import CIRCULAR, notes_of
from survey.learning.sets.table import read_set, write_set
from survey.runs import exports, store
from survey.runs.sets.fusion import scores_by_catalogues
from survey.stars.simulate import InjectedSignal, read_truth
from tests.runs.sets.test_views import write_tables
from tests.runs.small_run import make_run

KINDS = ("planet", "eclipsing_binary", "planet", "quiet", "planet", "eclipsing_binary")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fusion") / "mirror"


@pytest.fixture(scope="module")
def run(mirror: Path) -> store.Run:
    return make_run(mirror.parent / "run", mirror, KINDS, ("pixels.use=false",))


@pytest.fixture(scope="module")
def truth(run: store.Run, mirror: Path) -> list[InjectedSignal]:
    return read_truth(mirror / "truth.csv")


def test_rows_hold_what_the_models_said(run, truth, mirror, tmp_path):
    folder = write_tables(tmp_path / "catalogs", truth, mirror / "stars.csv")
    table, said = scores_by_catalogues(run, folder)
    candidates = {(row["target_id"], row["number"]): row for row in exports.read_candidates(run).to_pylist()}
    rows = table.to_pylist()
    assert {row["label"] for row in rows} >= {"CP"}
    assert "J" not in {row["label"] for row in rows}
    for row in rows:
        found = candidates[row["target_id"], row["number"]]
        for name in ("triage_score", "vetting_probability", "mes", "checks", "models", "star_probability"):
            assert row[name] == found[name]
    assert said["simulated"] == ""
    assert said["configuration"]["unlisted"] == "skip"


def test_labels_that_the_checks_gave_are_said_to_flatter(run, truth, mirror, tmp_path):
    folder = write_tables(tmp_path / "catalogs", truth, mirror / "stars.csv")
    for unlisted in (True, False):
        table, said = scores_by_catalogues(run, folder, unlisted=unlisted)
        # One row more, of a star of its own, so that there are two classes in two folds whatever was found.
        more = [{**table.to_pylist()[0], "target_id": f"TIC {k}", "label": "FP", "mes": 7.0 + k} for k in range(1, 9)]
        write_set(
            tmp_path / "set.parquet", "fusion", type(table).from_pylist([*table.to_pylist(), *more], table.schema), said
        )
        assert (CIRCULAR in notes_of(read_set(tmp_path / "set.parquet", "fusion"))) is unlisted


def test_a_run_without_scores_says_how_to_make_them(mirror, truth, tmp_path):
    folder = write_tables(tmp_path / "catalogs", truth, mirror / "stars.csv")
    without = tuple(f"score.{name}=none" for name in ("triage", "vetting", "segments", "periods", "anomaly"))
    bare = make_run(tmp_path / "run", tmp_path / "mirror", KINDS[:2], ("pixels.use=false", *without))
    with pytest.raises(UsageError, match="holds no scores: `survey rescore"):
        scores_by_catalogues(bare, folder)
