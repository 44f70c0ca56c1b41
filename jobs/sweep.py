"""A sweep as a job of a cluster; the options are those of `survey sweep`.

ray job submit --working-dir . -- python -m jobs.sweep --targets stars.csv --source mirror:s3://stpubdata --out s3://...
"""

import sys

from survey.cli import main

if __name__ == "__main__":
    sys.exit(main(["sweep", "--address", "auto", *sys.argv[1:]]))
