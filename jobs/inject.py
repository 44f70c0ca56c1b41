"""An injection run as a job of a cluster; the options are those of `survey inject`.

ray job submit --working-dir . -- python -m jobs.inject --targets quiet.csv --source mirror:s3://stpubdata --out s3://...
"""

import sys

from survey.cli import main

if __name__ == "__main__":
    sys.exit(main(["inject", "--address", "auto", *sys.argv[1:]]))
