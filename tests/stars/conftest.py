"""Real files for the tests of the stars."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real stars: SURVEY_TEST_DATA, else ../shared/data beside the project."""
    default = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("SURVEY_TEST_DATA", default))
    if not (folder / "archive").is_dir():
        pytest.skip(f"no real stars in {folder} (set SURVEY_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def archive(real_data: Path) -> Path:
    """Real light curves under the archive's own keys."""
    return real_data / "archive"
