"""The notebook runs from top to bottom and finds what was put into its star."""

import csv
import json
from pathlib import Path

import nbclient
import nbformat
import pytest

from survey.stars.sources import demo_archive
from tests.conftest import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "one_star.ipynb"

REPORT = """import json
print(json.dumps([lc.target_id, sorted(tce.period for tce in tces), [tce["period"] for tce in row["tces"]]]))"""


def injected(target_id: str) -> list[float]:
    """Periods (d) of the signals in a star of the demo, shortest first."""
    with (demo_archive() / "truth.csv").open() as file:
        return sorted(float(row["period"]) for row in csv.DictReader(file) if row["target_id"] == target_id)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(REPORT))
    folder = tmp_path_factory.mktemp("notebook")
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def test_the_notebook_runs(ran: nbformat.NotebookNode) -> None:
    target_id, found, examined = json.loads(ran.cells[-1].outputs[-1]["text"])
    assert found == pytest.approx(injected(target_id), rel=2e-3)
    assert sorted(examined) == pytest.approx(found, rel=2e-3)


def test_the_notebook_draws_its_figures(ran: nbformat.NotebookNode) -> None:
    figures = [out for cell in ran.cells for out in cell.get("outputs", []) if "image/png" in out.get("data", {})]
    assert len(figures) == 2


def test_the_kept_notebook_was_run_and_names_no_machine() -> None:
    text = Path(NOTEBOOK).read_text()
    cells = [cell for cell in nbformat.reads(text, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert not [place for place in ("home", "root", "tmp", "work") if f"/{place}/" in text]
