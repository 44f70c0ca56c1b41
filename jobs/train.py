"""A training as a job of a cluster; the arguments are those of `survey train`.

ray job submit --working-dir . -- python -m jobs.train triage --set views.parquet --out /shared/triage --workers 4
"""

import sys

from survey.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", "--address", "auto", *sys.argv[1:]]))
