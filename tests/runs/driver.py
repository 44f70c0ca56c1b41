"""A sweep with the stand-in stages as a process of its own, to be killed.

`python -m tests.runs.driver RUN MIRROR N KEY=VALUE...`
"""

import os
import sys

from survey.config import load
from survey.runs import store, stream
from tests.runs import fakes

ADDRESS = "SURVEY_TEST_ADDRESS"
"""Environment: of a cluster; else the sweep has a Ray of its own."""


def main(root: str, mirror: str, count: str, *overrides: str) -> int:
    try:
        with store.open_run(root, load(overrides=overrides), fakes.targets(int(count))) as run:
            address = os.environ.get(ADDRESS, "local")
            stream.sweep(run, f"mirror:{mirror}", address=address, stages=fakes.FAKES)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
