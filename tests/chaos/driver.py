"""A sweep on a cluster, to be killed: the real stages, each leaving a mark while it is at work.

`python -m tests.chaos.driver RUN MIRROR ADDRESS MARKS SECONDS KEY=VALUE...`

A mark is an empty file `PID-STAGE-TARGET` in the folder MARKS, there from a stage's begin to its end: what is killed in
between leaves it behind. SECONDS: that every search takes longer, so that there is something to kill.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from survey.config import Config, load
from survey.runs import store, stream
from survey.runs.stages import STAGES, Stage, Step
from survey.stars.sources import Source
from tests.chaos.stars import QUICK, targets_of


def marked(stage: Stage, marks: Path, seconds: float) -> Stage:
    return replace(stage, make=partial(make_marked, stage.name, stage.make, marks, seconds))


def make_marked(
    name: str,
    make: Callable[[Config, Source | None], Step],
    marks: Path,
    seconds: float,
    config: Config,
    source: Source | None,
) -> Step:
    work = make(config, source)

    def step(table: pa.Table) -> pa.Table:
        mark = marks / f"{os.getpid()}-{name}-{table.column('target_id')[0].as_py().split()[1]}"
        mark.touch()
        if name == "search":
            time.sleep(seconds)
        done = work(table)
        mark.unlink()
        return done

    return step


def main(root: str, mirror: str, address: str, marks: str, seconds: str, *overrides: str) -> None:
    stages = [marked(stage, Path(marks), float(seconds)) for stage in STAGES]
    with store.open_run(root, load(overrides=[*QUICK, *overrides]), targets_of(Path(mirror))) as run:
        stream.sweep(run, f"mirror:{mirror}", address=address, stages=stages)


if __name__ == "__main__":
    main(*sys.argv[1:])
