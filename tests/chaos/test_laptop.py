"""Sweeps with a Ray of their own, which goes with the driver: killed and interrupted."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from survey.config import load
from survey.runs import store
from tests.chaos.cluster import end_all
from tests.chaos.stars import NO_MODELS
from tests.conftest import ROOT
from tests.runs import fakes
from tests.runs.test_store import hashes

pytestmark = pytest.mark.verify

COUNT, SHARD = 120, 6


@dataclass
class Driver:
    """family: its descendants, among them Ray's workers; what it leaves behind is ended by its id."""

    run: Path
    process: subprocess.Popen[bytes]
    family: dict[int, psutil.Process] = field(default_factory=dict)

    def committed(self) -> int:
        return len(list((self.run / "searched").glob("part-*.parquet")))

    def look(self) -> None:
        if self.process.poll() is None:
            found = psutil.Process(self.process.pid).children(recursive=True)
            self.family |= {child.pid: child for child in found}

    def wait_until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 300
        while not done():
            assert self.process.poll() is None, "the driver ended by itself"
            assert time.monotonic() < deadline
            self.look()
            time.sleep(0.05)


@contextmanager
def driver_of(run: Path, *overrides: str, slow_s: float = 0.3) -> Iterator[Driver]:
    mirror = run.parent / "mirror"
    mirror.mkdir(exist_ok=True)
    settings = [f"run.shard_size={SHARD}", *NO_MODELS, *overrides]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.runs.driver", str(run), str(mirror), str(COUNT), *settings],
        cwd=ROOT,
        env=os.environ | {fakes.SLOW: str(slow_s)},
        start_new_session=True,
    )
    driver = Driver(run, process)
    try:
        yield driver
    finally:
        driver.look()
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(list(driver.family.values()), timeout=20)
        end_all(alive)


def check(run: Path) -> None:
    """Every target once, and the bytes of a run in this process."""
    root = run.parent / "undisturbed"
    config = load(overrides=["run.shard_size=50", *NO_MODELS])
    with store.open_run(root, config, fakes.targets(COUNT)) as undisturbed:
        for shard, table in store.todo(undisturbed).items():
            store.commit(undisturbed, shard, fakes.described(table, config))
        store.merge(undisturbed)
    ids = pq.read_table(run / store.TARGETS).column("target_id").to_pylist()
    assert ids == [target.target_id for target in fakes.targets(COUNT)]
    assert hashes(run) == hashes(root)


def test_a_driver_killed_with_its_ray_leaves_the_same_bytes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with driver_of(run) as driver:
        driver.wait_until(lambda: driver.committed() >= 3)
        driver.process.kill()
        assert driver.process.wait() == -signal.SIGKILL
    assert driver.committed() < COUNT // SHARD
    assert not (run / store.TARGETS).exists()
    with driver_of(run, "run.search_actors=3", slow_s=0) as driver:
        assert driver.process.wait(300) == 0
    check(run)


def test_an_interrupt_ends_the_sweep_and_the_next_one_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with driver_of(run) as driver:
        driver.wait_until(lambda: driver.committed() >= 2)
        driver.process.send_signal(signal.SIGINT)
        assert driver.process.wait(300) == 130
    with driver_of(run, slow_s=0) as driver:
        assert driver.process.wait(300) == 0
    check(run)
