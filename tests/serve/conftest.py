"""Services in this process: one over simulated stars with a real examiner, and others whose examiner is told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serve.desk import Desk
from serve.examiner import Examiner
from serve.routes import make_api
from serve.settings import KEYS, Settings
from survey.stars import simulate
from tests.serve.asking import Client, Told, make_client

KINDS = ("planets", "quiet", "truncated", "empty", "missing", "kepler_planet")
KEYS_KNOWN = ("key-of-the-first-client", "key-of-the-second-client")
QUICK = ("search.period_max=6", "search.max_tces=3")


@pytest.fixture(autouse=True)
def _no_keys_of_mine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEYS, raising=False)


@dataclass(frozen=True)
class Stars:
    """An archive of simulated stars. names: by kind."""

    mirror: Path
    names: dict[str, str]

    @property
    def source(self) -> str:
        return f"mirror:{self.mirror}"

    def file(self, kind: str) -> Path:
        """The first light curve of a star."""
        number = self.names[kind].split()[1]
        return min(path for path in self.mirror.rglob("*lc.fits*") if number in path.name)


@pytest.fixture(scope="session")
def stars(tmp_path_factory: pytest.TempPathFactory) -> Stars:
    mirror = tmp_path_factory.mktemp("served") / "mirror"
    simulate.write_archive(mirror, kinds=KINDS)
    names = [line for line in (mirror / "targets.txt").read_text().splitlines() if line and not line.startswith("#")]
    return Stars(mirror, dict(zip(KINDS, names, strict=True)))


@pytest.fixture(scope="session")
def settings(stars: Stars) -> Settings:
    return Settings(source=stars.source, overrides=QUICK, laptop=True, wait_s=600)


@pytest.fixture(scope="session")
def desk(settings: Settings) -> Desk:
    return Desk(settings)


@pytest.fixture(scope="session")
def examiner(settings: Settings, desk: Desk) -> Iterator[Examiner]:
    """A real one, over the simulated stars."""
    made = Examiner(settings, desk)
    yield made
    made.close()


@pytest.fixture(scope="module")
def service(settings: Settings, desk: Desk, examiner: Examiner) -> Iterator[Client]:
    """A whole service in this process."""
    client = Client(make_api(settings, examiner, desk))
    yield client
    client.close()


@pytest.fixture(scope="session")
def _told() -> Told:
    return Told()


@pytest.fixture
def told(_told: Told) -> Told:
    """The examiner behind the services below, as new."""
    vars(_told).update(vars(Told()))
    return _told


@pytest.fixture(scope="session")
def _open_service(_told: Told) -> Iterator[Client]:
    client = make_client(_told)
    yield client
    client.close()


@pytest.fixture
def open_service(_open_service: Client, told: Told) -> Client:
    """A laptop's, without a key."""
    return _open_service


@pytest.fixture(scope="session")
def _keyed(_told: Told) -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEYS, ",".join(KEYS_KNOWN))
        client = make_client(_told, key=KEYS_KNOWN[0], laptop=False)
    yield client
    client.close()


@pytest.fixture
def keyed(_keyed: Client, told: Told) -> Client:
    """One for others, which knows KEYS_KNOWN and is asked with the first of them."""
    return _keyed


@pytest.fixture
def serve_told(told: Told) -> Iterator[Callable[..., Client]]:
    """Makes other services around it."""
    made: list[Client] = []

    def make(examiner: Any = None, **given: Any) -> Client:
        made.append(make_client(examiner or told, **given))
        return made[-1]

    yield make
    for client in made:
        client.close()
