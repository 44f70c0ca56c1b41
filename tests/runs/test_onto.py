"""A run on top of an older one: the same bytes as one from nothing, and only what changed is searched."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from survey.config import Config, load
from survey.errors import RunRefused
from survey.runs import onto, rescore, store
from survey.runs.stages import STAGES
from survey.stars import simulate
from survey.stars.sources import Source, open_source
from survey.stars.targets import Target
from tests.runs import fakes
from tests.runs.small_run import quick
from tests.runs.test_store import hashes

KINDS = ("consecutive_sectors", "planet", "planet", "consecutive_sectors", "planet_with_pixels", "quiet", "quiet")
GROWN, SAME, REPLACED, NEW, PIXELS, GONE, QUIET = (f"TIC {number}" for number in range(900_000_001, 900_000_008))


@dataclass(frozen=True)
class Mirrors:
    """The archive before the second sector, and after it."""

    before: Path
    after: Path


@pytest.fixture(scope="module")
def mirrors(tmp_path_factory: pytest.TempPathFactory) -> Mirrors:
    """GROWN gets a second sector and NEW has only that, REPLACED has another file of the same name, GONE is gone."""
    folder = tmp_path_factory.mktemp("mirrors")
    before, after, other = folder / "before", folder / "after", folder / "other"
    simulate.write_archive(after, kinds=KINDS)
    simulate.write_archive(other, kinds=KINDS, seed=5)
    shutil.rmtree(after / "missions")
    light(after, NEW, 1).unlink()
    shutil.copytree(after, before)
    for path in (before / "tess/public/tid/s0002").rglob("*.fits"):
        path.unlink()
    shutil.copy(light(other, REPLACED, 1), light(after, REPLACED, 1))
    light(after, GONE, 1).unlink()
    return Mirrors(before, after)


def light(mirror: Path, target_id: str, sector: int) -> Path:
    number = f"{int(target_id.split()[1]):016d}"
    [path] = (mirror / f"tess/public/tid/s{sector:04d}").rglob(f"*{number}*_lc.fits")
    return path


def finish(run: store.Run, source: Source) -> list[str]:
    """Searches what is missing, here and without Ray; the stars that it was."""
    searched = []
    for shard, table in store.todo(run).items():
        searched += table.column("target_id").to_pylist()
        for stage in STAGES:
            table = stage.make(run.config, source)(table)
        store.commit(run, shard, table)
    store.merge(run)
    return searched


def sweep(root: Path, mirror: Path, targets: Sequence[Target], *overrides: str) -> list[str]:
    source = open_source(f"mirror:{mirror}", Config())
    with store.open_run(root, quick(*overrides), targets) as run:
        return finish(run, source)


def listed(mirror: Path, *sectors: int) -> list[Target]:
    return list(open_source(f"mirror:{mirror}", Config()).targets("tess", sectors))


def sweep_onto(root: Path, old: Path, mirror: Path, look: onto.LookName, *overrides: str) -> list[str]:
    """Adds sector 2, as the command does."""
    source, older, asked = open_source(f"mirror:{mirror}", Config()), store.load_run(old), listed(mirror, 2)
    config = store.as_recorded(quick(*overrides), older.record)
    onto.refuse_unlike(older, config)
    check = onto.LOOKS[look](source, config, onto.Asked({star.target_id for star in asked}, (2,), "tess"))
    with store.open_run(root, config, onto.join_targets(older, asked, (2,), "tess")) as run:
        onto.copy_unchanged(run, older, check)
        return finish(run, source)


@pytest.fixture(scope="module")
def old(mirrors: Mirrors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs") / "old"
    targets = [*listed(mirrors.before, 1), Target("TIC 4", "tess", (1,))]
    assert len(sweep(root, mirrors.before, targets)) == 7
    return root


def test_a_sector_added_gives_the_bytes_of_a_sweep_from_nothing(mirrors: Mirrors, old: Path, tmp_path: Path) -> None:
    searched = sweep_onto(tmp_path / "new", old, mirrors.after, "content", "run.shard_size=3")
    assert set(searched) == {GROWN, REPLACED, NEW, GONE, "TIC 4"}
    targets = [*listed(mirrors.after, 1, 2), Target(GONE, "tess", (1, 2)), Target("TIC 4", "tess", (1, 2))]
    sweep(tmp_path / "nothing", mirrors.after, targets)
    assert hashes(tmp_path / "new") == hashes(tmp_path / "nothing")
    rows = {row["target_id"]: row for row in pq.read_table(tmp_path / "new" / store.TARGETS).to_pylist()}
    assert {name: row["status"] for name, row in rows.items() if row["status"] != "ok"} == {
        GONE: "no_data",
        "TIC 4": "no_data",
    }
    assert [product["observation"] for product in rows[GROWN]["products"]] == [1, 2]
    assert all(row["observations"] == [1, 2] for row in rows.values())
    assert rows[PIXELS]["pixel_products"]
