"""A durable cache of an archive's files: a folder with the archive's own keys, so that it is itself a mirror.

Beside each file stands `<key>.sha256` (digest and size); `<key>.missing` holds why the archive has no such product, and
`<key>.part` the beginning of a file that did not come whole. A file appears whole or not at all: it is written aside,
synced to disk and renamed. Several processes may share a folder.

A cache may also lie at a URL, which many machines share: then each has a folder of its own in front of it.
"""

import contextlib
import hashlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

import platformdirs
import pyarrow as pa
from pyarrow import fs

from survey.errors import UsageError

log = logging.getLogger(__name__)

T = TypeVar("T")

NODE_BYTES = 20 * 10**9
"""A node's folder in front of a shared cache grows to this, unless it is said otherwise."""

_DIGEST = ".sha256"
_MISSING = ".missing"
_PART = ".part"
_BESIDE = (_DIGEST, _MISSING, _PART)
_STALE_PART_S = 86_400.0
_USED_S = 3600.0
"""A file's time of use is noted to this."""

_ONE_PUT = "?allow_delayed_open=true"
"""Has a small object sent in one request instead of three."""

_COUNT_AFTER = 0.02
_ROOM = 0.9
"""What is there is counted whenever such a share of the limit was added; what is too much goes down to `_ROOM`."""


@dataclass(frozen=True)
class Usage:
    """What a cache holds: files with their bytes, and keys known to be missing."""

    files: int
    n_bytes: int
    missing: int


@dataclass
class Part:
    """The beginning of a file. mark: what names this version of it at the server (an ETag)."""

    content: bytearray = field(default_factory=bytearray)
    mark: str = ""

    def begin(self, mark: str = "") -> None:
        """Drops what is there."""
        self.content, self.mark = bytearray(), mark

    def continues(self, mark: str, size: int) -> bool:
        """Whether it is the beginning of that version of a file."""
        return bool(mark) and mark == self.mark and len(self.content) <= size


@dataclass(frozen=True)
class _Entry:
    """name: a key, or one with an ending of what stands beside a file; mtime: seconds since 1970."""

    name: str
    size: int
    mtime: float

    @property
    def is_file(self) -> bool:
        return not self.name.endswith(_BESIDE)


class Cache:
    """Files of an archive by key ("tess/public/..."), kept in `folder`, which is made when the first is stored.

    max_bytes: above it, what was not used for longest is removed. What is there is counted only now and then, so that
    every other process that writes may add a fiftieth before it is seen.
    """

    def __init__(self, folder: str | Path, *, max_bytes: int | None = None) -> None:
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._uncounted = float("inf")

    @property
    def place(self) -> str:
        """Where it is, as a person would write it."""
        return str(self.folder)

    def get(self, key: str) -> bytes | None:
        """The file's bytes; None if it is not there or is damaged, in which case it is forgotten."""
        data = self._read_whole(key)
        if data is not None:
            self._note_use(key)
        return data

    def holds(self, key: str) -> bool:
        """Whether the file is there; `get` finds out whether it is whole."""
        return self._is_there(_checked(key))

    def put(self, key: str, data: bytes) -> None:
        """Store a file. Raises OSError (a full disk) and leaves nothing half-written behind."""
        self._make_room(len(data))
        # The digest first: a file is only ever seen with one.
        self._write(_checked(key) + _DIGEST, _describe(data).encode())
        self._write(key, data)
        self._delete(key + _MISSING, key + _PART)

    def part(self, key: str) -> Part:
        """What came of a file before; an empty part where there is nothing."""
        mark, _, content = (self._read(_checked(key) + _PART) or b"").partition(b"\n")
        return Part(bytearray(content), mark.decode("latin-1"))

    def keep_part(self, key: str, part: Part) -> None:
        """For the next to go on with; one that nobody can go on with is dropped. Raises OSError."""
        if part.content and part.mark:
            self._make_room(len(part.content))
            self._write(_checked(key) + _PART, part.mark.encode("latin-1", "replace") + b"\n" + part.content)
        else:
            self._delete(_checked(key) + _PART)

    def remember_missing(self, key: str, reason: str) -> None:
        """The archive said that it has no such product. Never call this for a failure of the network."""
        self._write(_checked(key) + _MISSING, reason.encode())

    def missing(self, key: str) -> str | None:
        """Why the archive has no such product; None if that is not known."""
        reason = self._read(_checked(key) + _MISSING)
        return None if reason is None else reason.decode()

    def forget(self, key: str) -> None:
        """Remove a file, or what is remembered of a missing one."""
        self._delete(_checked(key), key + _DIGEST, key + _MISSING)

    def keys(self) -> Iterator[str]:
        """Keys of the files that are there, in order."""
        return (entry.name for entry in self._entries() if entry.is_file)

    def usage(self) -> Usage:
        entries = list(self._entries())
        sizes = [entry.size for entry in entries if entry.is_file]
        return Usage(len(sizes), sum(sizes), sum(entry.name.endswith(_MISSING) for entry in entries))

    def verify(self) -> list[str]:
        """Keys of damaged files, which are removed so that they are fetched again."""
        return [key for key in self.keys() if self._read_whole(key) is None]

    def prune(self, *, max_bytes: int | None = None, older_than_days: float | None = None) -> int:
        """Remove what was not used for a number of days, then what was not for longest until `max_bytes` are left.

        What is remembered as missing grows old likewise; parts go after a day. Others may read and write meanwhile: a
        file that goes is one to fetch again. Returns how many files went.
        """
        now, removed = time.time(), 0
        old_s = float("inf") if older_than_days is None else older_than_days * 86_400.0
        limits_s = {_PART: _STALE_PART_S, _DIGEST: float("inf")}
        entries = sorted(self._entries(), key=lambda entry: (entry.mtime, entry.name))
        left = sum(entry.size for entry in entries if entry.is_file)
        for entry in entries:
            goes = now - entry.mtime > limits_s.get(PurePosixPath(entry.name).suffix, old_s)
            if entry.is_file and (goes or (max_bytes is not None and left > max_bytes)):
                left -= entry.size
                self._delete(entry.name, entry.name + _DIGEST)
                removed += 1
            elif goes:
                self._delete(entry.name)
                removed += 1
        return removed

    def _read_whole(self, key: str) -> bytes | None:
        data, digest = self._read(_checked(key)), self._read(key + _DIGEST)
        if data is None or digest is None:
            return None
        if digest != _describe(data).encode():
            self._delete(key, key + _DIGEST)
            return None
        return data

    def _make_room(self, n_bytes: int) -> None:
        if self.max_bytes is None:
            return
        with self._lock:
            self._uncounted += n_bytes
            if self._uncounted < _COUNT_AFTER * self.max_bytes:
                return
            self._uncounted = n_bytes
            there = sum(entry.size for entry in self._entries())
            if there + n_bytes > (1.0 - _COUNT_AFTER) * self.max_bytes:
                self.prune(max_bytes=int(_ROOM * self.max_bytes) - n_bytes)

    # How files lie on a disk; names are keys, or such with an ending.

    def _path(self, name: str) -> Path:
        return self.folder.joinpath(*PurePosixPath(name).parts)

    def _is_there(self, name: str) -> bool:
        return self._path(name).is_file()

    def _read(self, name: str) -> bytes | None:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def _write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, data)

    def _delete(self, *names: str) -> None:
        for name in names:
            self._path(name).unlink(missing_ok=True)

    def _note_use(self, key: str) -> None:
        """A file's time is that of its last use, to the hour; what cannot be touched is read all the same."""
        with contextlib.suppress(OSError):
            path = self._path(key)
            if time.time() - path.stat().st_mtime > _USED_S:
                os.utime(path)

    def _entries(self) -> Iterator[_Entry]:
        for path in sorted(self.folder.rglob("*")):
            # Others may remove what was there a moment ago.
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    stat = path.stat()
                    yield _Entry(path.relative_to(self.folder).as_posix(), stat.st_size, stat.st_mtime)


class BucketCache(Cache):
    """A cache in an object store: s3://bucket/prefix, gs://bucket/prefix. A file appears there whole by itself.

    There a file's time is that of its fetching, as nobody notes when it was used; the size is for `prune` alone.
    Failures are OSErrors, as those of a disk.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        if "?" in url:
            raise UsageError(f"{url} is no place of a cache: leave out what stands behind the question mark")
        try:
            self._fs, self._base = fs.FileSystem.from_uri(self._url + (_ONE_PUT if url.startswith("s3:") else ""))
        except (pa.ArrowInvalid, OSError) as error:
            raise UsageError(f"cannot open the cache {url}: {error}") from None
        super().__init__(self._base)

    @property
    def place(self) -> str:
        return self._url

    def _where(self, name: str) -> str:
        return f"{self._base}/{name}"

    def _is_there(self, name: str) -> bool:
        return bool(self._fs.get_file_info(self._where(name)).type == fs.FileType.File)

    def _read(self, name: str) -> bytes | None:
        try:
            with self._fs.open_input_stream(self._where(name)) as file:
                data: bytes = file.read()
                return data
        except FileNotFoundError:
            return None

    def _write(self, name: str, data: bytes) -> None:
        with self._fs.open_output_stream(self._where(name)) as file:
            file.write(data)

    def _delete(self, *names: str) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                self._fs.delete_file(self._where(name))

    def _note_use(self, key: str) -> None:
        pass

    def _entries(self) -> Iterator[_Entry]:
        selector = fs.FileSelector(self._base, recursive=True, allow_not_found=True)
        files = (info for info in self._fs.get_file_info(selector) if info.type == fs.FileType.File)
        for info in sorted(files, key=lambda info: info.path):
            yield _Entry(info.path.removeprefix(f"{self._base}/"), info.size, info.mtime.timestamp())


class NodeCache(Cache):
    """A machine's own folder in front of a cache that many share: what one of them fetched, the others have from there.

    Parts stay on the machine. What fails at the shared one costs this machine what it would have spared, no more.
    """

    def __init__(self, folder: str | Path, shared: Cache, *, max_bytes: int | None = None) -> None:
        super().__init__(folder, max_bytes=max_bytes)
        self.shared = shared
        self._warned = False

    @property
    def place(self) -> str:
        return self.shared.place

    def get(self, key: str) -> bytes | None:
        data = super().get(key)
        if data is None and (data := self._ask(lambda shared: shared.get(key), None)) is not None:
            with contextlib.suppress(OSError):
                super().put(key, data)
        return data

    def holds(self, key: str) -> bool:
        return super().holds(key) or self._ask(lambda shared: shared.holds(key), False)

    def put(self, key: str, data: bytes) -> None:
        try:
            super().put(key, data)
        finally:
            self.shared.put(key, data)

    def remember_missing(self, key: str, reason: str) -> None:
        try:
            super().remember_missing(key, reason)
        finally:
            self.shared.remember_missing(key, reason)

    def missing(self, key: str) -> str | None:
        known = super().missing(key)
        return self._ask(lambda shared: shared.missing(key), None) if known is None else known

    def forget(self, key: str) -> None:
        super().forget(key)
        self.shared.forget(key)

    def _ask(self, ask: Callable[[Cache], T], otherwise: T) -> T:
        try:
            return ask(self.shared)
        except OSError as error:
            if not self._warned:
                log.warning("the shared cache cannot be read, going on without: %s", error)
                self._warned = True
            return otherwise


def open_cache(place: str | Path, *, max_gb: float | None = None) -> Cache:
    """The cache at a path, or at a URL with a folder of this machine in front of it (SURVEY_NODE_CACHE says where).

    max_gb: its size on this machine's disk. Raises UsageError for URLs that cannot be opened.
    """
    max_bytes = None if max_gb is None else int(max_gb * 1e9)
    if "://" not in str(place):
        return Cache(place, max_bytes=max_bytes)
    chosen = os.environ.get("SURVEY_NODE_CACHE")
    front = Path(chosen) if chosen else platformdirs.user_cache_path("transit-survey") / "node"
    folder = front / hashlib.sha256(str(place).rstrip("/").encode()).hexdigest()[:12]
    return NodeCache(folder, open_shared(str(place)), max_bytes=max_bytes or NODE_BYTES)


def open_shared(place: str) -> Cache:
    """The cache at a path or URL itself, with nothing in front of it. Raises UsageError."""
    scheme, _, rest = place.rpartition("://")
    if scheme in ("", "file"):
        return Cache(rest)
    return BucketCache(place)


def _checked(key: str) -> str:
    if not PurePosixPath(key).parts or key.startswith("/") or ".." in PurePosixPath(key).parts or "\0" in key:
        raise ValueError(f"{key!r} is no key of an archive")
    if key.endswith(_BESIDE):
        raise ValueError(f"{key!r} is no key of an archive: it ends as what stands beside a file")
    return key


def _describe(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()} {len(data)}\n"


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, also when the machine stops: part file, fsync, rename."""
    handle, part = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=_PART, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            # What stands beside a file need not outlive a crash: without it the file is fetched again.
            if not path.name.endswith(_BESIDE):
                os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:  # whatever ended it, half a file is cleared away, and it goes on
        Path(part).unlink(missing_ok=True)
        raise
