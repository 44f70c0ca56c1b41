"""Ctrl-C, kept in mind: compiled code that is interrupted while it imports something swallows the exception."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruption_kept() -> Iterator[Callable[[], None]]:
    """Gives a function that raises KeyboardInterrupt if one came since, though nobody may have seen it.

    To be called by the main thread, now and then during long work. Where interruptions are ignored they stay so.
    """
    usual = signal.getsignal(signal.SIGINT)
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        if callable(usual):
            usual(number, frame)

    def heed() -> None:
        if came:
            raise KeyboardInterrupt

    if not callable(usual):
        yield heed
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield heed
    finally:
        signal.signal(signal.SIGINT, usual)
