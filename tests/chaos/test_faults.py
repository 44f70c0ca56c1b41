"""Every system call of a commit and of a merge fails once, in every way; the next session makes all good."""

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from survey.runs import store
from tests.chaos.apart import run_apart
from tests.chaos.faults import DEATH, WAYS, Way
from tests.chaos.ledger import Ledger
from tests.chaos.scale import SEED, scaled
from tests.chaos.sessions import REFUSED, faulty_session, sweep_fakes
from tests.runs.test_store import hashes

pytestmark = [pytest.mark.verify, pytest.mark.chaos, pytest.mark.timeout(3600)]

NEVER = Way(0, None)


@dataclass(frozen=True)
class Scene:
    """A run folder before the session, which of its calls fail, and what it becomes. outage: while this file is there
    some stars cannot be fetched."""

    before: Path
    outage: Path
    calls: list[str]
    merged: dict[str, str]
    names: set[str]


def names_in(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def set_scene(folder: Path, begun: bool) -> Scene:
    """begun: whether the session comes after one that ended without some of the stars, which it commits again."""
    outage, before, after, log = (folder / name for name in ("outage", "before", "after", "log"))
    if begun:
        outage.touch()
        assert run_apart(faulty_session, before, outage, None, NEVER, log) == 0
        outage.unlink()
        shutil.copytree(before, after)
    else:
        before.mkdir()
    assert run_apart(faulty_session, after, outage, None, NEVER, log) == 0
    return Scene(before, outage, log.read_text().splitlines(), hashes(after), names_in(after))


@pytest.fixture(scope="module", params=["first session", "stars asked again"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return set_scene(tmp_path_factory.mktemp("scene"), request.param == "stars asked again")


def draw_faults(calls: list[str]) -> list[tuple[int, str]]:
    """Number of the call, from 1, and the way it fails: all that there are, or a share of them."""
    every = [
        (number, way)
        for number, call in enumerate(calls, 1)
        for way in WAYS
        if call.startswith("write") or WAYS[way].done in (0, 1)
    ]
    return sorted(random.Random(SEED).sample(every, min(len(every), scaled(len(every)))))


def look(root: Path) -> None:
    """What another process sees meanwhile: whole files only."""
    for name in names_in(root):
        if name.endswith(".parquet") and not Path(name).name.startswith("."):
            pq.read_table(root / name)
    if (root / store.RECORD).exists():
        store.load_run(root)


def committed(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "searched").glob("part-*.parquet")}


def test_the_calls_of_a_commit_are_seen(scene: Scene) -> None:
    """Each file is opened, written, flushed to the disk and renamed, and its folder flushed, in this order."""
    for table in ("telemetry", "features", "searched"):
        [part] = {call.split()[1] for call in scene.calls if f" {table}/.part-00000" in call}
        kinds = [call.split()[0] for call in scene.calls if call.endswith(part)]
        assert list(dict.fromkeys(kinds)) == ["open", "write", "fsync", "close", "replace"]
        place = scene.calls.index(f"replace {part}")
        assert scene.calls[place + 1 : place + 4] == [f"open {table}", f"fsync {table}", f"close {table}"]
    assert {call.split()[0] for call in scene.calls} == {
        "open",
        "write",
        "fsync",
        "close",
        "replace",
        "mkdir",
        "ftruncate",
    }


def find_wrong(scene: Scene, root: Path, way: Way, status: int) -> Iterator[str]:
    """What is not as it should be after a failure, and after the session that follows."""
    if status not in ((DEATH,) if way.number is None else (0, REFUSED)):
        yield f"it ended with status {status}"
    look(root)
    if not committed(scene.before).items() <= committed(root).items():
        yield "a commit is lost"
    sweep_fakes(root)
    if hashes(root) != scene.merged:
        yield "other bytes"
    if names_in(root) != scene.names:
        yield f"other files: {names_in(root) ^ scene.names}"


def test_after_any_failure_the_next_session_makes_all_good(
    scene: Scene, tmp_path: Path, ledger: Ledger, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)  # no power is cut
    ended: Counter[int] = Counter()
    wrong = []
    root, log = tmp_path / "run", tmp_path / "log"
    for number, name in draw_faults(scene.calls):
        shutil.copytree(scene.before, root)
        status = run_apart(faulty_session, root, scene.outage, number, WAYS[name], log)
        wrong += [f"{scene.calls[number - 1]}: {name}: {why}" for why in find_wrong(scene, root, WAYS[name], status)]
        ended[status] += 1
        shutil.rmtree(root)
    assert not wrong
    assert ended[DEATH]
    assert ended[REFUSED]
    ledger.note(
        f"a system call fails ({request.node.callspec.id})",
        f"{len(scene.calls)} calls in {len(WAYS)} ways: {sum(ended.values())} failures, {ended[DEATH]} of them deaths",
        "the same bytes after the next session, no other file; what was committed before stays",
    )
