"""What the chaos shares: stars, their catalogue as it comes out undisturbed, and the ledger of what was done."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.ledger import Ledger
from tests.chaos.scale import SCALE, scaled
from tests.chaos.stars import sweep_here, write_stars


@pytest.fixture(scope="session")
def n_stars() -> int:
    return scaled(2000)


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory, n_stars: int) -> Path:
    folder = tmp_path_factory.mktemp("chaos") / "mirror"
    write_stars(folder, n_stars)
    return folder


@pytest.fixture(scope="session")
def undisturbed(mirror: Path) -> dict[str, str]:
    """Hashes of the merged files."""
    return sweep_here(mirror.parent / "undisturbed", mirror)


@pytest.fixture(scope="session")
def ledger() -> Iterator[Ledger]:
    kept = Ledger()
    yield kept
    if SCALE >= 1:
        kept.write()
