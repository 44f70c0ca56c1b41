"""Everything that can go wrong with a star or a run, in one tree.

    SurveyError
    ├── UsageError               the caller can mend it: a target line, an option, a configuration key
    │   └── RunRefused           the run folder holds something else than what was asked for
    └── StarError                one star failed; its row carries the status word
        ├── PermanentError       asking again will not help
        │   ├── NoData           the archive has no product for it            "no_data"
        │   ├── TooShort         fewer good cadences than a search needs      "too_short"
        │   └── BadFile          the file cannot be read as a light curve     "bad_file"
        └── TransientError       worth asking again
            └── FetchFailed      the network or the archive failed            "fetch_failed"

A star's error becomes the `status` and `error` of its row; a usage error ends the command with exit code 2.
"""

from typing import ClassVar


class SurveyError(Exception):
    """Root of all errors that the survey raises on purpose."""


class UsageError(SurveyError):
    """A request that cannot be carried out as written; the message says what to change."""


class RunRefused(UsageError):
    """A run folder belongs to another configuration, target list or process."""


class StarError(SurveyError):
    """One star failed; `status` is the word its row carries."""

    status: ClassVar[str]


class PermanentError(StarError):
    """Asking again gives the same answer."""


class NoData(PermanentError):
    status = "no_data"


class TooShort(PermanentError):
    status = "too_short"


class BadFile(PermanentError):
    status = "bad_file"


class TransientError(StarError):
    """Asking again may succeed."""


class FetchFailed(TransientError):
    status = "fetch_failed"
