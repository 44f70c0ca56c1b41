"""Sweeps that are killed, on a Ray of their own: nothing lost, nothing doubled, the same bytes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from survey.config import load
from survey.runs import store
from tests.runs import fakes
from tests.runs.test_store import hashes

pytestmark = pytest.mark.verify

ROOT = Path(__file__).parents[2]
COUNT = 120


@contextmanager
def driver(run: Path, *overrides: str, slow_s: float = 0.3) -> Iterator[subprocess.Popen[bytes]]:
    """The process of a sweep; what it leaves behind is ended by its id."""
    mirror = run.parent / "mirror"
    mirror.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.runs.driver", str(run), str(mirror), str(COUNT), *overrides],
        cwd=ROOT,
        env=os.environ | {fakes.SLOW: str(slow_s)},
        start_new_session=True,
    )
    family: dict[int, psutil.Process] = {}
    process.family = family  # type: ignore[attr-defined]
    try:
        yield process
    finally:
        remember(process)
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(list(family.values()), timeout=20)
        for left in alive:
            left.kill()


def remember(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The driver's descendants, among them Ray's workers."""
    if process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            process.family[child.pid] = child  # type: ignore[attr-defined]
    return list(process.family.values())  # type: ignore[attr-defined]


def wait_until(process: subprocess.Popen[bytes], done: Callable[[], bool], limit_s: float = 120.0) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        assert process.poll() is None, "the driver ended by itself"
        assert time.monotonic() < deadline
        remember(process)
        time.sleep(0.05)


def committed(run: Path) -> int:
    return len(list((run / "searched").glob("part-*.parquet")))


def reference(root: Path) -> dict[str, str]:
    config = load(overrides=["run.shard_size=50"])
    with store.open_run(root, config, fakes.targets(COUNT)) as run:
        for shard, table in store.todo(run).items():
            store.commit(run, shard, fakes.described(table, config))
        store.merge(run)
    return hashes(root)


def check(run: Path) -> None:
    ids = pq.read_table(run / store.TARGETS).column("target_id").to_pylist()
    assert ids == [target.target_id for target in fakes.targets(COUNT)]
    assert hashes(run) == reference(run.parent / "reference")


def test_a_driver_killed_twice_leaves_the_same_bytes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for commits, actors in ((3, 2), (8, 1)):
        with driver(run, "run.shard_size=6", f"run.search_actors={actors}") as process:
            wait_until(process, lambda commits=commits: committed(run) >= commits)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        assert committed(run) < COUNT // 6
        assert not (run / store.TARGETS).exists()
    with driver(run, "run.search_actors=3", slow_s=0) as process:
        assert process.wait(180) == 0
    check(run)


def test_an_interrupt_ends_the_sweep_and_the_next_one_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with driver(run, "run.shard_size=6") as process:
        wait_until(process, lambda: committed(run) >= 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    with driver(run, slow_s=0) as process:
        assert process.wait(180) == 0
    check(run)


@pytest.mark.parametrize("operator", [0, 1])
def test_a_killed_worker_costs_one_shard(tmp_path: Path, operator: int) -> None:
    run = tmp_path / "run"
    with driver(run, "run.shard_size=6", "run.search_actors=1") as process:
        wait_until(process, lambda: committed(run) >= 2)
        workers = [child for child in remember(process) if "MapWorker" in " ".join(child.cmdline())]
        assert len(workers) == 2
        workers[operator].kill()
        assert process.wait(180) == 0
    check(run)
