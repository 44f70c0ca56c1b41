"""Sessions on a run folder, for processes of their own: the commits of a run with stand-in stages, and its merge."""

import os
import sys
from pathlib import Path

from survey.config import load
from survey.errors import SurveyError
from survey.runs import store
from tests.chaos.faults import Calls, Way
from tests.chaos.stars import NO_MODELS
from tests.runs import fakes

COUNT, SHARD = 12, 6

REFUSED = 3
"""Exit status of a session that ended with words for its user."""


def sweep_fakes(root: Path) -> None:
    """What a sweep does with its folder, from its lock to the merged files."""
    config = load(overrides=[f"run.shard_size={SHARD}", *NO_MODELS])
    with store.open_run(root, config, fakes.targets(COUNT, "k2")) as run:
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
