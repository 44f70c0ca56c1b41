"""Two processes begin on one run folder at the same moment, and one of them may be killed meanwhile."""

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.apart import CONTEXT, start_apart
from tests.chaos.ledger import Ledger
from tests.chaos.scale import SEED, scaled
from tests.chaos.sessions import BOTH, compete, sweep_fakes
from tests.chaos.test_faults import names_in
from tests.runs.test_store import hashes

pytestmark = [pytest.mark.verify, pytest.mark.chaos]

RACES = 50

LONGEST_LIFE_S = 0.5
"""Of a process that is killed; every second race has one."""


def run_race(folder: Path, killed_after: float | None) -> list[int]:
    """Exit statuses of two processes that want the same folder; the first is killed after a while, if it is to be."""
    ready = CONTEXT.Barrier(3)
    both = [start_apart(compete, folder / "run", folder / "inside", folder / "diary", ready) for _ in range(2)]
    ready.wait(120)
    if killed_after is not None:
        time.sleep(killed_after)
        both[0].kill()
    for process in both:
        process.join()
    return [process.exitcode or 0 for process in both]


def test_of_two_processes_never_both_have_the_folder(tmp_path: Path, ledger: Ledger) -> None:
    rng = random.Random(SEED)
    sweep_fakes(tmp_path / "alone")
    wanted, names = hashes(tmp_path / "alone"), names_in(tmp_path / "alone")
    ended: Counter[int] = Counter()
    refusals = 0
    for number in range(max(4, scaled(RACES))):
        folder = tmp_path / str(number)
        folder.mkdir()
        statuses = run_race(folder, rng.uniform(0, LONGEST_LIFE_S) if number % 2 else None)
        assert BOTH not in statuses
        assert statuses[1] == 0
        assert statuses[0] in (0, -signal.SIGKILL if number % 2 else 0)
        assert hashes(folder / "run") == wanted
        if number % 2:
            # The one that was killed may have come last: what it left half-written the next session clears away.
            sweep_fakes(folder / "run")
            assert hashes(folder / "run") == wanted
        assert names_in(folder / "run") == names
        ended.update(statuses)
        refusals += (folder / "diary").exists()
    assert refusals, "they met"
    ledger.note(
        "two processes want one run folder",
        f"{number + 1} races, {ended[-signal.SIGKILL]} of them with a death; in {refusals} one was refused while the "
        "other worked",
        "never both at once; the same bytes every time",
    )
