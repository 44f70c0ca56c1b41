"""Sessions on a run folder, for processes of their own: the commits of a run with stand-in stages, and its merge."""

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

from survey.config import load
from survey.errors import RunRefused, SurveyError
from survey.runs import store
from tests.chaos.faults import Calls, Way
from tests.chaos.stars import NO_MODELS
from tests.runs import fakes

COUNT, SHARD = 12, 6

REFUSED = 3
"""Exit status of a session that ended with words for its user."""


def sweep_fakes(root: Path, meanwhile: contextlib.AbstractContextManager[None] | None = None) -> None:
    """What a sweep does with its folder, from its lock to the merged files. meanwhile: while the folder is its own."""
    config = load(overrides=[f"run.shard_size={SHARD}", "detrend.method=savgol", *NO_MODELS])
    with store.open_run(root, config, fakes.targets(COUNT, "k2")) as run, meanwhile or contextlib.nullcontext():
        for shard, table in store.todo(run).items():
            store.append_progress(run, store.commit(run, shard, fakes.described(table, run.config)))
        store.merge(run)


def faulty_session(root: Path, outage: Path, number: int | None, way: Way, log: Path) -> None:
    """A session whose call of this number fails; `log` gets the names of the calls. Exit status: REFUSED where it
    says why it ended, DEATH where it just did."""
    os.environ[fakes.OUTAGE] = str(outage)
    calls = Calls(root, number, way)
    calls.patch()
    try:
        sweep_fakes(root)
    except SurveyError:
        sys.exit(REFUSED)
    finally:
        log.write_text("\n".join(calls.log))


BOTH = 5
"""Exit status of a process that was in the run folder together with another one."""


def compete(root: Path, inside: Path, diary: Path, ready: Barrier) -> None:
    """A session as soon as nobody else has the folder. Who is in it holds `inside`; `diary` gets a line for every
    refusal."""
    os.fsync = lambda handle: None  # no power is cut, and a slow disk would make of a race a queue
    ready.wait(120)
    while True:
        try:
            sweep_fakes(root, held(inside))
            return
        except RunRefused:
            with diary.open("a") as lines:
                lines.write(f"{os.getpid()} refused\n")
            time.sleep(0.005)


@contextlib.contextmanager
def held(inside: Path) -> Iterator[None]:
    """A lock of the test's own, which the kernel drops with its process, too."""
    handle = os.open(inside, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        sys.exit(BOTH)
    finally:
        os.close(handle)
