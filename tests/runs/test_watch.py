"""A run is looked at by others while it goes on."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from survey.config import load
from survey.errors import UsageError
from survey.runs import store
from survey.runs.folder import LOCK
from survey.runs.watch import Fault, Standing, Watch, exposition, fault_of
from tests.runs import fakes

CONFIG = load(overrides=["run.shard_size=13"])
STARS = 39
"""Three shards; of every thirteen stars each fate comes once."""


@pytest.fixture
def outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sign = tmp_path / "outage"
    monkeypatch.setenv(fakes.OUTAGE, str(sign))
    sign.touch()
    return sign


def commit(run: store.Run, *shards: int) -> None:
    missing = store.todo(run)
    for shard in shards:
        store.commit(run, shard, fakes.described(missing[shard], CONFIG))


def test_a_run_is_watched_while_it_goes_on(tmp_path: Path, outage: Path) -> None:
    root = tmp_path / "run"
    with store.open_run(root, CONFIG, fakes.targets(STARS)) as run:
        watch = Watch(str(root))
        first = watch.look()
        assert (first.backlog, first.remaining_s, first.last_commit) == (STARS, None, None)
        assert first.holder is not None
        commit(run, 0)
        second = watch.look()
        assert second.reached.targets_done == 13
        assert second.reached.counts["fetch_failed"] == 1
        assert second.total.paces["fetch"].stars == 13
        assert second.total.paces["search"].stars == 13 - len(fakes.FATES) - 1
        assert second.total.faults[Fault("fetch_failed", "fetch", "connection")] == 1
        assert second.total.faults[Fault("failed", "fetch", "ZeroDivisionError")] == 1
        commit(run, 1, 2)
        assert watch.look().backlog == 0
    outage.unlink()
    with store.open_run(root, CONFIG, fakes.targets(STARS)) as run:
        commit(run, 0, 1, 2)
        store.merge(run)
    last = watch.look()
    assert last.holder is None
    assert last.reached.merged
    assert not [fault for fault in last.total.faults if fault.status == "fetch_failed"]
    assert last.total.paces["fetch"].stars == STARS
    assert [failure.target_id for failure in last.total.failures] == [
        f"TIC {number}" for number in range(1, STARS + 1) if number % 13 in (3, 7, 9, 11)
    ]


def test_what_was_seen_is_not_read_again(tmp_path: Path, outage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, int]] = []
    plainly = store._read

    def noting(folder: object, table: str, shard: int, version: int, *rest: object, **more: object) -> object:
        read.append((table, shard))
        return plainly(folder, table, shard, version, *rest, **more)  # type: ignore[arg-type]

    with store.open_run(tmp_path, CONFIG, fakes.targets(STARS)) as run:
        commit(run, 0)
        watch = Watch(str(tmp_path))
        watch.look()
        commit(run, 1)
        monkeypatch.setattr(store, "_read", noting)
        standing = watch.look()
    assert set(read) == {("searched", 1), ("telemetry", 1)}
    assert standing.reached.targets_done == 26


def test_a_holder_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    lock = tmp_path / LOCK
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with store.open_run(tmp_path, CONFIG, fakes.targets(STARS)):
        named = lock.read_text()
    lock.write_text(re.sub(r'"pid": \d+', f'"pid": {gone.pid}', named))
    assert Watch(str(tmp_path)).look().holder is None


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="survey sweep"):
        Watch(str(tmp_path))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("a_lc.fits: the server answers 503 (4 attempts)", "http 503"),
        ("a_lc.fits: Read timed out. (read timeout=60.0) (4 attempts)", "timeout"),
        ("a_lc.fits: only 100 of 2000 bytes came (1 attempt)", "truncated"),
        ("damaged on the way? MD5 is not that of the header", "damaged"),
        ("the server sends a web page instead of the file", "no file"),
        ("('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))", "connection"),
        ("something new", "other"),
    ],
)
def test_failed_fetches_have_classes(error: str, kind: str) -> None:
    assert fault_of({"status": "fetch_failed", "last_stage": "fetch", "error": error}).kind == kind


SAMPLE = re.compile(r'([a-z_]+)\{((?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+)\} (-?[0-9.e+-]+)')


def samples(standing: Standing) -> dict[str, float]:
    """The values by name and labels, without the run's."""
    found = {}
    for line in exposition(standing).splitlines():
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            found[match[1] + "".join(part for part in match[2].split(",") if not part.startswith("run="))] = float(
                match[3]
            )
    return found


def test_a_run_in_prometheus_words(tmp_path: Path, outage: Path) -> None:
    root = tmp_path / 'a "run"'
    with store.open_run(root, CONFIG, fakes.targets(STARS)) as run:
        commit(run, 0, 1)
        standing = Watch(str(root)).look()
    text = exposition(standing)
    assert text.count("# TYPE ") == text.count("# HELP ") == len(set(re.findall(r"# TYPE (\S+) gauge", text)))
    found = samples(standing)
    assert found['survey_stars_totalstatus="ok"'] == standing.reached.counts["ok"]
    assert found['survey_fetch_failures_totalclass="connection"'] == 2
    assert found["survey_shards_backlog"] == 1
    assert found["survey_stars_backlog"] == 13
    assert found['survey_stage_seconds_countstage="fetch"'] == 26
    assert found["survey_sweep_running"] == 1
