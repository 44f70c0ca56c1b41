"""How much of the chaos is made, and which: two environment variables.

`make chaos` makes all of it, `make verify` a tenth. Equal seeds draw equal kills, failures and orders; at which moment
of the work they arrive depends on the machine.
"""

import os

SCALE = float(os.environ.get("SURVEY_CHAOS", "0.1"))
SEED = int(os.environ.get("SURVEY_CHAOS_SEED", "2026"))


def scaled(full: int) -> int:
    """A share of the full number, at least one."""
    return max(1, round(full * SCALE))
