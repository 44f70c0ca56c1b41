"""Ctrl-C and SIGTERM: kept in mind, as compiled code that is interrupted while it imports something swallows them, and
put off, where something must not be cut.

A job of a cluster, a pod and a batch system are stopped by SIGTERM: a sweep ends the same way whoever stops it.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruption_kept() -> Iterator[Callable[[], None]]:
    """Gives a function that raises KeyboardInterrupt if one came since, though nobody may have seen it.

    To be called by the main thread, now and then during long work. SIGTERM counts as an interruption for the length of
    the block. Where interruptions are ignored they stay so.
    """
    found = {number: signal.getsignal(number) for number in STOPS}
    usual = {number: handler for number, handler in found.items() if handler not in (signal.SIG_IGN, None)}
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        # Whoever had the signal before is not asked: Ray would end the process at once.
        nonlocal came
        came = True
        heed()

    def heed() -> None:
        if came:
            raise KeyboardInterrupt

    for number in usual:
        signal.signal(number, note)
    try:
        yield heed
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


@contextmanager
def interruption_deferred() -> Iterator[None]:
    """An interruption that comes within the block is one at its end. Only the main thread is ever interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    found = {number: signal.getsignal(number) for number in STOPS}
    usual = {number: handler for number, handler in found.items() if callable(handler)}
    came: list[tuple[int, FrameType | None]] = []
    for number in usual:
        signal.signal(number, lambda *given: came.append(given))
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        for which, frame in came:
            usual[signal.Signals(which)](which, frame)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself when it starts, to end the process at once; who had taken it before gets it back."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if callable(handler) and signal.getsignal(signal.SIGTERM) is not handler:
        signal.signal(signal.SIGTERM, handler)
