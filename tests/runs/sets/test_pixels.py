"""Difference images of a run, with the labels of catalogues; and pixel files among other files."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from survey.config import Config
from survey.errors import UsageError
from survey.learning.sets.pixels import standard_image
from survey.runs import store
from survey.runs.sets.pixels import find_cutouts, read_cutouts, run_rows
from survey.stars.simulate import read_truth
from tests.runs.sets.test_views import write_tables
from tests.runs.small_run import make_run

KINDS = ("planet_with_pixels", "background_binary")

SETTINGS = ("views.spec=triage-201-61", "score.triage=none", "score.vetting=none", "score.pixels=none")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pixels") / "mirror"


@pytest.fixture(scope="module")
def run(mirror: Path) -> store.Run:
    return make_run(mirror.parent / "run", mirror, KINDS, SETTINGS)


def test_signals_of_a_run_come_with_their_labels_and_images(run, mirror, tmp_path):
    folder = write_tables(tmp_path / "catalogs", read_truth(mirror / "truth.csv"), mirror / "stars.csv")
    rows, said = run_rows(run, folder)
    kept = pq.read_table(pa.BufferReader(run.folder.read(store.FEATURES))).to_pylist()
    stacks = {row["target_id"]: row["pixel_stack"] for row in kept if row["number"] == 1}
    # The first planet of the table is called a false positive there.
    assert {row["label"] for row in rows} >= {"FP", "EB"}
    for row in rows:
        assert row["origin"] == "run"
    first = next(row for row in rows if row["label"] == "FP")
    stack = np.float32(stacks[first["target_id"]]).reshape(32, 24, 24)
    np.testing.assert_array_equal(first["image"], standard_image(stack))
    assert said["sources"][0]["run"] == run.record["science_hash"]


def test_a_run_without_labels_makes_no_set(run, tmp_path):
    with pytest.raises(UsageError):
        run_rows(run, tmp_path)


def test_pixel_files_are_found_among_others(mirror, tmp_path, run):
    (found,) = {path.name for path in find_cutouts([mirror]) if "_tp" in path.name and "900000001" in path.name}
    assert len(find_cutouts([mirror])) == 2
    (path,) = mirror.rglob(found)
    ((pixels, known),), said = read_cutouts(find_cutouts([path, mirror])[:1], None, Config())
    assert (pixels.product, known, list(said)) == (found, [], ["sources", "left_out"])
    with pytest.raises(UsageError, match="holds no target pixel file"):
        find_cutouts([tmp_path])
    (tmp_path / "odd_tp.fits").write_bytes(b"no FITS")
    with pytest.raises(UsageError, match=r"cannot read .*odd_tp\.fits"):
        read_cutouts([tmp_path / "odd_tp.fits"], None, Config())
