"""A sweep over several nodes whose drivers, workers and raylets are killed while they are at work, and resumed."""

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.chaos.cluster import Cluster, Node, cluster_of, end_all, wait_for
from tests.chaos.ledger import Kill, Ledger
from tests.chaos.scale import SEED, scaled
from tests.chaos.stars import SHARD, check_run
from tests.conftest import ROOT

pytestmark = [pytest.mark.verify, pytest.mark.chaos, pytest.mark.timeout(3600)]

KILLS = {"driver": 20, "worker": 40, "raylet": 10}

SLOW_S = 1.0
"""Longer that the search of a shard takes: a kill has to find it at work."""

LATEST = 0.85
"""Of the shards; the kills are drawn before, so that there is work left for the last of them."""

LONGEST_WAIT_S = 0.8
QUIET_S = 600.0
"""No shard for so long: the sweep hangs."""


@dataclass(frozen=True)
class Moment:
    """When to kill: so many shards are committed, and a while has passed."""

    shards: int
    wait_s: float
    what: str


def draw_moments(n_shards: int, rng: random.Random) -> list[Moment]:
    kinds = [what for what, full in KILLS.items() for _ in range(scaled(full))]
    rng.shuffle(kinds)
    shards = sorted(rng.randint(1, int(LATEST * n_shards)) for _ in kinds)
    return [Moment(number, rng.uniform(0, LONGEST_WAIT_S), what) for number, what in zip(shards, kinds, strict=True)]


@dataclass
class Sweep:
    """A sweep that is started again whenever it ends before it is done.

    drivers: those started so far; failed: those that ended with an error of their own, which a dying node may cause.
    """

    run: Path
    mirror: Path
    marks: Path
    cluster: Cluster
    rng: random.Random
    drivers: int = 0
    failed: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def committed(self) -> set[str]:
        return {path.name for path in (self.run / "searched").glob("part-*.parquet")}

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.chaos.driver", self.run, self.mirror, self.cluster.address, self.marks]
        settings = [f"run.search_actors={self.rng.randint(1, 3)}", f"run.fetch_actors={self.rng.randint(1, 2)}"]
        self.drivers += 1
        with self.log().open("wb") as said:
            self.process = subprocess.Popen(
                [*map(str, command), str(SLOW_S), *settings, "run.stall_s=300"],
                cwd=ROOT,
                env=self.cluster.environment,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def log(self) -> Path:
        return self.run.parent / f"driver-{self.drivers}.log"

    def is_done(self) -> bool:
        """Looks after the driver: one that ended with an error is started again."""
        if self.process is None:
            self.start()
        elif self.process.poll() == 0:
            return True
        elif self.process.poll() is not None:
            self.failed += 1
            assert self.failed <= scaled(KILLS["raylet"]) + 3, self.log().read_text()[-2000:]
            self.start()
        return False

    def at_work(self) -> list[tuple[int, str]]:
        """Process and mark of every stage under way."""
        found = ((int(mark.name.partition("-")[0]), mark.name) for mark in self.marks.iterdir())
        return sorted((pid, name) for pid, name in found if is_of(self.marks / name, pid))


def is_of(mark: Path, pid: int) -> bool:
    """Whether the process that made the mark lives, and not another one that got its number."""
    with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
        return is_alive(pid) and psutil.Process(pid).create_time() < mark.stat().st_mtime + 1
    return False


def is_alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@contextlib.contextmanager
def stopped(*processes: psutil.Process) -> Iterator[None]:
    """Holds processes still for the length of the block, so that what is seen of them stays true."""
    try:
        for process in processes:
            process.suspend()
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def kill_driver(sweep: Sweep) -> str | None:
    """Each of these gives the mark of a stage that was under way when it killed, None where there was none to kill."""
    assert sweep.process is not None
    with stopped(psutil.Process(sweep.process.pid)):
        busy = sweep.at_work()
        if not busy or sweep.process.poll() is not None:
            return None
        sweep.process.kill()
    assert sweep.process.wait() == -signal.SIGKILL
    sweep.process = None
    return sweep.rng.choice(busy)[1]


def kill_worker(sweep: Sweep) -> str | None:
    for pid, mark in shuffled(sweep.at_work(), sweep.rng):
        if node_of(pid, sweep.cluster) is None:
            continue
        try:
            with stopped(worker := psutil.Process(pid)):
                if not (sweep.marks / mark).exists():
                    continue
                worker.kill()
        except psutil.NoSuchProcess:  # it ended by itself, as workers do whose driver is gone
            continue
        wait_for(lambda pid=pid: not is_alive(pid), f"{mark} lives on")
        assert (sweep.marks / mark).exists(), "it was killed before its stage ended"
        return mark
    return None


def kill_raylet(sweep: Sweep) -> str | None:
    for pid, mark in shuffled(sweep.at_work(), sweep.rng):
        node = node_of(pid, sweep.cluster)
        raylet = None if node is None else node.raylet()
        if node is None or raylet is None:
            continue
        family = node.family()
        try:
            with stopped(raylet, psutil.Process(pid)):
                if not (sweep.marks / mark).exists():
                    continue
                raylet.kill()
                end_all(family)
        except psutil.NoSuchProcess:
            continue
        node.process.wait()
        assert (sweep.marks / mark).exists(), "it was killed before its stage ended"
        return mark
    return None


KILL = {"driver": kill_driver, "worker": kill_worker, "raylet": kill_raylet}


def shuffled(found: list[tuple[int, str]], rng: random.Random) -> list[tuple[int, str]]:
    return rng.sample(found, len(found))


def node_of(pid: int, cluster: Cluster) -> Node | None:
    """The node of our own cluster that a process belongs to."""
    return next((node for node in cluster.nodes if any(child.pid == pid for child in node.family())), None)


def disturb(sweep: Sweep, moments: list[Moment]) -> Iterator[Kill]:
    """Kills as drawn, then lets the sweep end."""
    begin = progress = time.monotonic()
    before: set[str] = set()
    waiting = iter(moments)
    moment = next(waiting, None)
    while not sweep.is_done():
        sweep.cluster.mend()
        committed = sweep.committed()
        assert before <= committed, "what was committed is lost"
        if committed != before:
            before, progress = committed, time.monotonic()
        assert time.monotonic() - progress < QUIET_S, f"no shard for {QUIET_S:.0f} s"
        if moment is not None and len(committed) >= moment.shards and sweep.at_work():
            time.sleep(moment.wait_s)
            in_flight = len(sweep.at_work())
            found = sweep.committed()
            mark = KILL[moment.what](sweep)
            if mark is not None:
                seconds = time.monotonic() - begin
                # The stage of the mark may have begun after they were counted.
                flying, after = max(1, in_flight), len(sweep.committed())
                yield Kill(moment.what, seconds, sweep.drivers, mark, flying, len(found), after)
                moment = next(waiting, None)
                progress = time.monotonic()
        time.sleep(0.05)


@pytest.fixture
def sweep(tmp_path: Path, mirror: Path) -> Iterator[Sweep]:
    marks = tmp_path / "marks"
    marks.mkdir()
    with cluster_of(2) as cluster:
        sweep = Sweep(tmp_path / "run", mirror, marks, cluster, random.Random(SEED))
        yield sweep
        if sweep.process is not None:
            sweep.process.kill()
            sweep.process.wait()


def test_killed_at_any_moment_a_sweep_ends_with_the_same_bytes(
    sweep: Sweep, undisturbed: dict[str, str], n_stars: int, ledger: Ledger
) -> None:
    n_shards = -(-n_stars // SHARD)
    begin = time.monotonic()
    kills = list(disturb(sweep, draw_moments(n_shards, sweep.rng)))
    minutes = (time.monotonic() - begin) / 60
    counts = Counter(kill.what for kill in kills)
    assert counts == {what: scaled(full) for what, full in KILLS.items()}
    assert all(kill.in_flight > 0 and kill.shards_after < n_shards for kill in kills), "work was under way"
    check_run(sweep.run, sweep.mirror, undisturbed)
    flying = [kill.in_flight for kill in kills]
    ledger.kills = kills
    ledger.note(
        "a sweep is killed at random moments",
        f"{n_stars} stars in {n_shards} shards: {counts['driver']} drivers, {counts['worker']} workers and "
        f"{counts['raylet']} raylets, each with {min(flying)} to {max(flying)} stages under way",
        f"every star once, the same bytes; {sweep.drivers} drivers, of which {sweep.failed} ended with an error of "
        f"their own; {minutes:.0f} min",
    )
