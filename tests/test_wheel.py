"""The wheel holds all that a survey needs: in an empty environment it runs the demo from an empty folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

TORCH = "torch==2.13.0"


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    """What a command prints; it must end with 0."""
    # Nothing of this checkout or its environment may help.
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "SURVEY"))
    }
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=kept | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Built from a copy: setuptools leaves files beside the sources, and takes old ones along the next time.
    sources = folder / "sources"
    for package in ("survey", "jobs"):
        shutil.copytree(ROOT / package, sources / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources / name)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, sources, folder=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.verify
def test_the_wheel_holds_code_presets_and_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = [path for package in ("survey", "jobs") for path in (ROOT / package).rglob("*.py")]
    assert not [path for path in sources if str(path.relative_to(ROOT)) not in names]
    pages = {f"survey/runs/page/page.{ending}" for ending in ("html", "css", "js")}
    weights = {f"survey/learning/weights/{name}/model.json" for name in ("triage", "vetting")}
    assert weights <= names
    assert {"jobs/presets/classic.toml", "survey/py.typed", *pages} <= names
    assert any(name.endswith("LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "docs/", "benchmarks/"))]


PATIENTLY = ("--quiet", "--retries=10", "--timeout=120")


@pytest.mark.verify
def test_the_installed_wheel_runs_the_demo(wheel: Path, tmp_path: Path) -> None:
    empty, cache = tmp_path / "empty", tmp_path / "cache"
    empty.mkdir()
    run(sys.executable, "-m", "venv", tmp_path / "venv", folder=empty)
    bin_ = tmp_path / "venv" / "bin"
    run(bin_ / "python", "-m", "pip", "install", *PATIENTLY, TORCH, folder=empty)
    run(bin_ / "python", "-m", "pip", "install", *PATIENTLY, "-c", ROOT / "constraints.txt", wheel, folder=empty)
    said = run(bin_ / "survey", "sweep", "--demo", folder=empty, XDG_CACHE_HOME=str(cache))
    assert "injected signals were found" in said
    found, injected = map(int, said.split(" injected signals were found")[0].split("\n")[-1].split(" of "))
    assert found >= 0.9 * injected
    assert (empty / "runs" / "demo" / "candidates.parquet").is_file()
    run(bin_ / "survey", "report", "runs/demo", "--sheets", "1", folder=empty, XDG_CACHE_HOME=str(cache))
    assert (empty / "runs" / "demo" / "report" / "index.html").stat().st_size > 50_000
    preset = "import survey.config; print(survey.config.load('classic').search.method)"
    assert run(bin_ / "python", "-c", preset, folder=empty).strip() == "two_pass"
