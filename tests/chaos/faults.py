"""System calls on a run folder that fail when they are told to.

Files are patched where Python meets the system: what a stream buffers fails when it is written out, as on a disk. The
patch is for good: use it in a process of its own.
"""

import contextlib
import errno
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

DEATH = 77
"""Exit status of a process that ended in the middle of a call."""


@dataclass(frozen=True)
class Way:
    """How a call fails. done: the share of it that is done before (0: none, 1: all; half only of a write); number: of
    the error, None where the process ends there and then; lasting: whether all later calls fail like it."""

    done: float
    number: int | None
    lasting: bool = False


WAYS = {
    "no space, before": Way(0, errno.ENOSPC),
    "no space, from then on": Way(0, errno.ENOSPC, lasting=True),
    "no space, torn": Way(0.5, errno.ENOSPC),
    "I/O error, before": Way(0, errno.EIO),
    "I/O error, after": Way(1, errno.EIO),
    "I/O error, torn": Way(0.5, errno.EIO),
    "death, before": Way(0, None),
    "death, after": Way(1, None),
    "death, torn": Way(0.5, None),
}

NAMES = ("open", "mkdir", "unlink", "replace", "fsync", "ftruncate", "write", "close")
"""Of the calls in `os` that are watched: those of paths, and those of handles that were opened here."""


@dataclass
class Calls:
    """The calls on what is below root, counted; the one with this number fails."""

    root: Path
    number: int | None = None
    way: Way = field(default_factory=lambda: Way(0, None))
    log: list[str] = field(default_factory=list)
    handles: dict[int, str] = field(default_factory=dict)

    def ours(self, place: Any) -> str | None:
        """The name below root of a path or of a handle; None for what lies elsewhere."""
        if isinstance(place, int):
            return self.handles.get(place)
        path = Path(os.fspath(place))
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else None

    def make(self, name: str, place: str, call: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        self.log.append(f"{name} {place}")
        struck = len(self.log) == self.number or (self.way.lasting and self.number and len(self.log) > self.number)
        if not struck or (self.way.lasting and name in ("close", "unlink")):
            return call()
        if self.way.done == 1 or name == "close":
            with contextlib.suppress(FileExistsError):
                call()
        elif self.way.done and half is not None:
            half()
        return self._fail()

    def _fail(self) -> NoReturn:
        if self.way.number is None:
            os._exit(DEATH)
        raise OSError(self.way.number, os.strerror(self.way.number))

    def patch(self) -> None:
        """Every call from now on goes through here; what is flushed stays in memory, as no power is cut."""
        os.fsync = lambda handle: None  # type: ignore[assignment]
        for name in NAMES:
            setattr(os, name, self._watched(name, getattr(os, name)))
        plain = io.open

        def open_stream(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            place = None if isinstance(file, int) else self.ours(file)
            if place is None or "r" in mode:
                return plain(file, mode, *arguments, **options)
            stream = io.BufferedWriter(Raw(self, place, file, mode.replace("b", "")))
            return stream if "b" in mode else io.TextIOWrapper(stream, options.get("encoding"))

        io.open = open_stream  # type: ignore[assignment]

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(place: Any, *arguments: Any, **options: Any) -> Any:
            ours = self.ours(place)
            if ours is None:
                return call(place, *arguments, **options)
            half = (lambda: call(place, arguments[0][: len(arguments[0]) // 2])) if name == "write" else None
            done = self.make(name, ours, lambda: call(place, *arguments, **options), half)
            if name == "open":
                self.handles[done] = ours
            elif name == "close":
                del self.handles[place]
            return done

        return watched


class Raw(io.FileIO):
    """The unbuffered end of a stream."""

    def __init__(self, calls: Calls, place: str, file: Any, mode: str) -> None:
        self.calls, self.place = calls, place
        calls.make("open", place, lambda: super(Raw, self).__init__(file, mode))
        calls.handles[self.fileno()] = place

    def write(self, content: Any) -> int:
        content = bytes(content)
        write = super().write
        done: int = self.calls.make(
            "write", self.place, lambda: write(content), lambda: write(content[: len(content) // 2])
        )
        return done

    def close(self) -> None:
        if not self.closed:
            self.calls.handles.pop(self.fileno())
            self.calls.make("close", self.place, super().close)
