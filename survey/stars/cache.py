"""A durable cache of an archive's files: a folder with the archive's own keys, so that it is itself a mirror.

Beside each file stands `<key>.sha256` (digest and size); `<key>.missing` holds why the archive has no such product. A
file appears whole or not at all: it is written as `.part`, synced to disk and renamed. Several processes may share a
folder.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_DIGEST = ".sha256"
_MISSING = ".missing"
_PART = ".part"
_STALE_PART_S = 86_400.0


@dataclass(frozen=True)
class Usage:
    """What a cache holds: files with their bytes, and keys known to be missing."""

    files: int
    n_bytes: int
    missing: int


class Cache:
    """Files of an archive by key ("tess/public/..."), kept in `folder`, which is made when the first is stored."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def get(self, key: str) -> bytes | None:
        """The file's bytes; None if it is not there or is damaged, in which case it is forgotten."""
        path = self._path(key)
        try:
            data = path.read_bytes()
            digest = _beside(path, _DIGEST).read_text()
        except FileNotFoundError:
            return None
        if digest != _describe(data):
            self.forget(key)
            return None
        return data

    def holds(self, key: str) -> bool:
        """Whether the file is there; `get` finds out whether it is whole."""
        return self._path(key).is_file()

    def put(self, key: str, data: bytes) -> None:
        """Store a file. Raises OSError (a full disk) and leaves nothing half-written behind."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The digest first: a file is only ever seen with one.
        _write(_beside(path, _DIGEST), _describe(data).encode())
        _write(path, data)
        _beside(path, _MISSING).unlink(missing_ok=True)

    def remember_missing(self, key: str, reason: str) -> None:
        """The archive said that it has no such product. Never call this for a failure of the network."""
        path = _beside(self._path(key), _MISSING)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, reason.encode())

    def missing(self, key: str) -> str | None:
        """Why the archive has no such product; None if that is not known."""
        try:
            return _beside(self._path(key), _MISSING).read_text()
        except FileNotFoundError:
            return None

    def forget(self, key: str) -> None:
        """Remove a file, or what is remembered of a missing one."""
        path = self._path(key)
        for each in (path, _beside(path, _DIGEST), _beside(path, _MISSING)):
            each.unlink(missing_ok=True)

    def keys(self) -> Iterator[str]:
        """Keys of the files that are there, in order."""
        for path in self._files():
            if not path.name.endswith((_DIGEST, _MISSING, _PART)):
                yield path.relative_to(self.folder).as_posix()

    def usage(self) -> Usage:
        sizes = [self._path(key).stat().st_size for key in self.keys()]
        missing = sum(path.name.endswith(_MISSING) for path in self._files())
        return Usage(len(sizes), sum(sizes), missing)

    def verify(self) -> list[str]:
        """Keys of damaged files, which are removed so that they are fetched again."""
        return [key for key in self.keys() if self.get(key) is None]

    def prune(self, *, max_bytes: int | None = None, older_than_days: float | None = None) -> int:
        """Remove what is older than a number of days, then the oldest until `max_bytes` are left; returns how many.

        What is remembered as missing grows old likewise; parts that a killed process left behind go after a day.
        """
        now, removed = time.time(), 0
        for path in self._files():
            limit_s = _STALE_PART_S if path.name.endswith(_PART) else None
            if path.name.endswith(_MISSING) and older_than_days is not None:
                limit_s = older_than_days * 86_400.0
            if limit_s is not None and now - path.stat().st_mtime > limit_s:
                path.unlink(missing_ok=True)
                removed += 1
        aged = sorted((self._path(key).stat().st_mtime, key) for key in self.keys())
        total = sum(self._path(key).stat().st_size for _, key in aged)
        for mtime, key in aged:
            too_old = older_than_days is not None and now - mtime > older_than_days * 86_400.0
            if too_old or (max_bytes is not None and total > max_bytes):
                total -= self._path(key).stat().st_size
                self.forget(key)
                removed += 1
        return removed

    def _files(self) -> Iterator[Path]:
        return (path for path in sorted(self.folder.rglob("*")) if path.is_file())

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or key.startswith("/") or ".." in parts or "\0" in key or key.endswith((_DIGEST, _MISSING, _PART)):
            raise ValueError(f"{key!r} is no key of an archive")
        return self.folder.joinpath(*parts)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _describe(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()} {len(data)}\n"


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, also when the machine stops: part file, fsync, rename."""
    handle, part = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=_PART, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:  # whatever ended it, half a file is cleared away, and it goes on
        Path(part).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
