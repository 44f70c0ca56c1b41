"""HTTP, `survey score` and the streamed sweep give one row for a star, compared as the text of its JSON."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from serve.desk import Desk
from serve.examiner import Examiner
from serve.routes import make_api
from serve.settings import Settings
from survey.config import Config
from survey.runs.exports import plain_row
from survey.stars.sources import open_source
from tests.serve.asking import Client
from tests.serve.live import Live, run_service

pytestmark = pytest.mark.verify

SEVERAL = 9
"""Stars that are asked for at once of the real service, of all three missions."""


def text(row: Any) -> str:
    return json.dumps(row, sort_keys=True, allow_nan=False)


def survey(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "survey", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(archive: Path) -> str:
    return f"mirror:{archive}"


@pytest.fixture(scope="module")
def names(source: str) -> list[str]:
    """Every star of the archive."""
    return list(dict.fromkeys(star.target_id for star in open_source(source, Config()).targets(None)))


@pytest.fixture(scope="module")
def printed(source: str, names: list[str]) -> dict[str, str]:
    """What `survey score --json` says of each."""
    return {row["target_id"]: text(row) for row in json.loads(survey("score", *names, "--source", source, "--json"))}


@pytest.fixture(scope="module")
def live(source: str) -> Iterator[Live]:
    with run_service("--source", source) as made:
        yield made


def score(live: Live, name: str) -> str:
    with live.client() as client:
        response = live.settle(client.get(f"/v1/score/{name.replace(' ', '%20')}?wait=60"))
    assert response.status_code == 200, response.text
    return text(response.json()["row"])


def test_the_command_and_the_sweep_say_the_same(
    source: str, names: list[str], printed: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "stars.txt").write_text("\n".join(names))
    survey("sweep", "--targets", str(tmp_path / "stars.txt"), "--source", source, "--out", str(tmp_path / "run"))
    streamed = {
        row["target_id"]: text(plain_row(row)) for row in pq.read_table(tmp_path / "run/targets.parquet").to_pylist()
    }
    assert len(names) == len(streamed) == len(printed)
    assert [name for name in names if streamed[name] != printed[name]] == []


def test_every_star_of_the_archive_has_the_same_row_over_http(
    source: str, names: list[str], printed: dict[str, str]
) -> None:
    settings = Settings(source=source, laptop=True, wait_s=600)
    desk = Desk(settings)
    examiner = Examiner(settings, desk)
    client = Client(make_api(settings, examiner, desk))
    found = {name: text(client.get(f"/v1/score/{name.replace(' ', '%20')}").json()["row"]) for name in names}
    assert [name for name in names if found[name] != printed[name]] == []
    client.close()
    examiner.close()


def test_stars_of_all_missions_at_once_have_the_same_rows_on_ray(
    live: Live, names: list[str], printed: dict[str, str]
) -> None:
    """One of them twice."""
    asked = [*names[:: max(1, len(names) // SEVERAL)]]
    asked = [*asked, asked[0]]
    assert {name.split()[0] for name in asked} == {"TIC", "KIC", "EPIC"}
    with ThreadPoolExecutor(len(asked)) as pool:
        found = list(pool.map(lambda name: score(live, name), asked))
    assert [name for name, row in zip(asked, found, strict=True) if row != printed[name]] == []


def test_files_that_are_sent_have_the_rows_of_the_command(live: Live, archive: Path, tmp_path: Path) -> None:
    """A TESS, a Kepler and a K2 file, and one of them as CSV."""
    files = [min((archive / mission).rglob("*lc.fits*")) for mission in ("tess", "kepler", "k2")]
    row = pq.read_table(_columns(files[0], tmp_path)).to_pydict()
    (tmp_path / "light.csv").write_text(
        "time,flux\n" + "\n".join(f"{time!r},{flux!r}" for time, flux in zip(row["time"], row["flux"], strict=True))
    )
    given = {"mission": "tess", "time_zero": "2457000"}
    sent = [(file, {}) for file in files] + [(tmp_path / "light.csv", given)]

    def send(one: Any) -> str:
        file, form = one
        with live.client() as client:
            data = {**form, "wait": "60"}
            files = {"file": (file.name, file.read_bytes())}
            response = live.settle(client.post("/v1/score/file", files=files, data=data))
        assert response.status_code == 200, response.text
        return text(response.json()["row"])

    with ThreadPoolExecutor(len(sent)) as pool:
        found = list(pool.map(send, sent))
    for (file, form), row_text in zip(sent, found, strict=True):
        words = [word for key, value in form.items() for word in (f"--{key.replace('_', '-')}", value)]
        (wanted,) = json.loads(survey("score", str(file), "--json", *words))
        assert row_text == text(wanted), file.name


def _columns(file: Path, folder: Path) -> Path:
    """The light of a file that the survey has read."""
    import pyarrow as pa

    from survey.runs.stages import STAGES, examine

    source = open_source(f"file:{file}", Config())
    table = examine(next(iter(source.targets(None))), Config(), source, STAGES[:1])
    kept = {name: pa.array(table.column(name)[0].as_py()) for name in ("time", "flux")}
    pq.write_table(pa.table(kept), folder / "light.parquet")
    return folder / "light.parquet"
