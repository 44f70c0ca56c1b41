"""A folder at a path or a URL (s3://bucket/prefix) whose files appear whole or not at all, and a lock on it."""

import contextlib
import errno
import fcntl
import json
import logging
import os
import platform
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.fs

from survey.errors import RunRefused, SurveyError, UsageError
from survey.interruption import interruption_deferred

LOCK = "lock"

RENEW_S = 60.0
"""The holder of a lock on an object store says this often that it is alive."""

STALE_AFTER_S = 300.0
"""A lock on an object store that has not been renewed for this long belongs to nobody."""

LOOK_S = 5.0
"""How often a lock is looked at by one who waits for a sign of its holder."""

SETTLE_S = 3.0
"""From writing a lock on an object store to reading it again: who saw none before has written theirs by then, and the
last to write is the one who has it."""

_LOG = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


@dataclass(frozen=True)
class Folder:
    """root: as a person would write it. On a disk, files are written beside, flushed and renamed; elsewhere one PUT."""

    root: str
    fs: pa.fs.FileSystem
    base: str
    local: bool

    def path(self, name: str) -> str:
        return f"{self.base}/{name}"

    def exists(self, name: str) -> bool:
        return bool(self.fs.get_file_info(self.path(name)).type == pa.fs.FileType.File)

    def modified(self, name: str) -> datetime:
        """When the file was written, UTC."""
        mtime: datetime = self.fs.get_file_info(self.path(name)).mtime
        return mtime

    def names(self, folder: str = "") -> list[str]:
        """Names of the files directly in a sub-folder, sorted; empty where there is none."""
        selector = pa.fs.FileSelector(self.path(folder).rstrip("/"), allow_not_found=True)
        found = self.fs.get_file_info(selector)
        return sorted(info.base_name for info in found if info.type == pa.fs.FileType.File)

    def read(self, name: str) -> pa.Buffer:
        with self.fs.open_input_file(self.path(name)) as file:
            return file.read_buffer()

    def open(self, name: str) -> pa.NativeFile:
        """The file, to read parts of it."""
        return self.fs.open_input_file(self.path(name))

    def write(self, name: str, data: bytes | pa.Buffer) -> None:
        """Replaces the file in one step. Raises SurveyError where the disk is full, UsageError where it is not ours."""
        with self.writing(name) as file:
            file.write(data)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        """A stream to a file that appears under its name only when the block has ended well."""
        with self.explained():
            if self.local:
                with _replacing(Path(self.path(name))) as file:
                    yield file
            else:
                # Closing an upload completes it, even after an error: it begins when all there is to send is known,
                # and nobody interrupts it.
                with tempfile.TemporaryFile() as spool:
                    yield spool
                    spool.seek(0)
                    with interruption_deferred():
                        self._upload(name, spool)

    def _upload(self, name: str, spool: IO[bytes]) -> None:
        with self.fs.open_output_stream(self.path(name)) as file:
            shutil.copyfileobj(spool, file, 1 << 22)

    def remove(self, name: str) -> None:
        with self.explained():
            self.fs.delete_file(self.path(name))

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turns what the operating system says about writing here into words that say what to do."""
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise SurveyError(
                    f"the disk of {self.root} is full; what was committed is safe: free some space and run again"
                ) from error
            if error.errno in _FORBIDDEN:
                reason = os.strerror(error.errno).lower()
                raise UsageError(f"cannot write to {self.root} ({reason}): choose another --out") from error
            raise SurveyError(f"cannot write to {self.root}: {error}") from error


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:  # whatever ended it, half a file is cleared away, and it goes on
        part.unlink(missing_ok=True)
        raise
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_folder(root: str | os.PathLike[str]) -> Folder:
    """The folder of a path or URL; nothing is created. Raises UsageError for URLs that cannot be opened."""
    text = os.fspath(root)
    if "://" not in text:
        path = Path(text).expanduser().absolute()
        return Folder(text, pa.fs.LocalFileSystem(), str(path), True)
    try:
        fs, base = pa.fs.FileSystem.from_uri(text + _one_put(text))
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(f"cannot open {text}: {error}") from None
    return Folder(text, fs, base.rstrip("/"), isinstance(fs, pa.fs.LocalFileSystem))


def _one_put(url: str) -> str:
    """Has a small object sent in one request instead of three."""
    return f"{'&' if '?' in url else '?'}allow_delayed_open=true" if url.startswith("s3:") else ""


@contextlib.contextmanager
def locked(folder: Folder) -> Iterator[None]:
    """Holds the folder for this process. Raises RunRefused, naming the holder, where another process has it."""
    with _locked_disk(folder) if folder.local else _locked_store(folder):
        yield


def _holder() -> bytes:
    return json.dumps({"pid": os.getpid(), "host": platform.node(), "token": uuid.uuid4().hex}).encode()


def _refusal(folder: Folder, holder: dict[str, Any]) -> RunRefused:
    return RunRefused(f"{folder.root} is in use by {_describe(holder)}: wait for it, or stop it and run again")


def _describe(holder: dict[str, Any]) -> str:
    return f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"


@contextlib.contextmanager
def _locked_disk(folder: Folder) -> Iterator[None]:
    """The kernel drops the lock with its process, however that ends, so that none is ever stale."""
    with folder.explained():
        Path(folder.base).mkdir(parents=True, exist_ok=True)
        handle = os.open(folder.path(LOCK), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with folder.explained():
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _refusal(folder, _parse(os.read(handle, 4096))) from None
            os.ftruncate(handle, 0)
            os.write(handle, _holder())
            for part in Path(folder.base).rglob(".*.tmp"):
                part.unlink(missing_ok=True)
        yield
        with folder.explained():
            os.ftruncate(handle, 0)
    finally:
        with folder.explained():
            os.close(handle)


@contextlib.contextmanager
def _locked_store(folder: Folder) -> Iterator[None]:
    """An object store cannot refuse a second writer: a lock object, read again after it was written, has to do."""
    _await_silence(folder)
    mine, ended = _holder(), threading.Event()
    alive = threading.Thread(target=_renew, args=(folder, mine, ended), name="lock", daemon=True)
    try:
        folder.write(LOCK, mine)
        time.sleep(SETTLE_S)
        written = _read_lock(folder)
        if written != mine:
            raise _refusal(folder, _parse(written))
        alive.start()
        yield
    finally:
        ended.set()
        if alive.ident:
            alive.join()
        if _read_lock(folder) == mine:
            folder.remove(LOCK)


def _await_silence(folder: Folder) -> None:
    """Returns where nobody has the lock any more. Raises RunRefused when its holder shows itself alive.

    Whoever was killed on another machine leaves a lock that looks like any other: it is watched until it is renewed,
    or has not been for too long.
    """
    seen = None
    while lock := _read_lock(folder):
        holder, renewed = _parse(lock), folder.modified(LOCK)
        if not _is_fresh(folder, holder):
            return
        if holder.get("host") == platform.node() or (seen is not None and renewed > seen):
            raise _refusal(folder, holder)
        if seen is None:
            _LOG.warning("%s may be in use by %s: waiting for a sign of it", folder.root, _describe(holder))
            seen = renewed
        time.sleep(LOOK_S)


def _renew(folder: Folder, mine: bytes, ended: threading.Event) -> None:
    """Says that the holder of the lock is alive, until it is not. A lock that another one has taken stays theirs."""
    while not ended.wait(RENEW_S):
        # The store may be out of reach for a while.
        with contextlib.suppress(OSError, SurveyError):
            if _read_lock(folder) == mine:
                folder.write(LOCK, mine)


def _read_lock(folder: Folder) -> bytes:
    """Empty where there is none."""
    try:
        return folder.read(LOCK).to_pybytes()
    except FileNotFoundError:
        return b""


def find_holder(folder: Folder) -> str | None:
    """The process that works on the folder, in words; None where nobody does. Takes no lock, which could be in the way
    of one who begins: a process of another host that was killed is still named."""
    holder = _parse(_read_lock(folder))
    if not holder or _is_dead(holder) or not (folder.local or _is_fresh(folder, holder)):
        return None
    return _describe(holder)


def _is_fresh(folder: Folder, holder: dict[str, Any]) -> bool:
    age = time.time() - folder.fs.get_file_info(folder.path(LOCK)).mtime.timestamp()
    return age < STALE_AFTER_S and not _is_dead(holder)


def _parse(text: bytes) -> dict[str, Any]:
    try:
        holder = json.loads(text)
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _is_dead(holder: dict[str, Any]) -> bool:
    if holder.get("host") != platform.node() or not isinstance(holder.get("pid"), int):
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
