"""Reads the light curves that strangers send, each in a child process that can do no harm.

    UploadReader.run  --request-->  zygote  --fork-->  warden  --fork-->  child: limits, then reads
                      <--------------one byte: how it ended--  waits

The zygote (`python -m serve.reader`) has everything imported, so that a child costs a fork and no start of Python. It
looks at no request: it hands the open files on. The kernel enforces the limits of a child, time included, whatever it
is busy with. Request and answer lie in files without a name, in memory: nobody waits for a pipe to be emptied. The
answer is Arrow or JSON and is checked; nothing is pickled. No process outlives the one that began it.
"""

import ctypes
import gc
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa

from survey.config import Config
from survey.errors import BadFile, FetchFailed, NoData, StarError, SurveyError, TooShort, UsageError
from survey.runs.stages import STAGES, Stage, targets_table
from survey.stars.reading import Bounds
from survey.stars.sources import FileSource


@dataclass(frozen=True)
class Upload:
    """A light curve that somebody sent. mission, time_zero (BJD of time 0): what its file does not say."""

    name: str
    content: bytes
    mission: str | None = None
    time_zero: float | None = None


@dataclass(frozen=True)
class Limits:
    """What the reading of one upload may cost.

    memory_mb: beyond what the zygote has; seconds: on the clock; max_bytes: as it was sent; max_unpacked: the bytes of
    a gzip file, unpacked; max_rows: of its table, or lines of its text.
    """

    memory_mb: int = 1024
    seconds: float = 20.0
    max_bytes: int = 20 << 20
    max_unpacked: int = 256 << 20
    max_rows: int = 2_000_000


DEFAULT_LIMITS: Final = Limits()

_ADVICE: Final = "send a plain table of time, flux and error with fewer rows"

LONGEST_NAME: Final = 255
"""Characters of a file's name that are kept, from its end; file systems allow no more."""

_LONGEST_REASON: Final = 1000
_MOST_ANSWER: Final = 256 << 20

_PATIENCE_S: Final = 60.0
"""Beyond the time limit, before a zygote counts as hung; it may have to start first."""

# How a reading ended, in one byte: a code of these, or _KILLED plus the signal's number.
_READ, _REFUSED, _OUT_OF_MEMORY, _DEFECT, _KILLED = 0, 1, 2, 3, 128

_ERRORS: Final[dict[str, type[SurveyError]]] = {
    kind.__name__: kind for kind in (BadFile, TooShort, NoData, FetchFailed, UsageError)
}
_KEPT_NAMES: Final = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "TMPDIR",
    "XDG_CACHE_HOME",
)
"""Of the environment; keys and tokens in it are not for a process that reads what strangers send."""
_KEPT_BEGINNINGS: Final = ("OPENBLAS_", "MKL_", "BLIS_", "NPY_", "NUMBA_")
"""What decides on which of a processor's instructions numbers are made: other ones would give other last digits."""

_LEAN: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
}
"""One thread, and no address space reserved ahead, which would count against a child's limit."""


class UploadReader:
    """Runs the stages that ask the source on uploads, at most `workers` at a time; called from any thread.

    A zygote that has died is started again. Close it, or use it as a context manager.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS, workers: int = 2) -> None:
        self._limits = limits
        self._free = threading.BoundedSemaphore(workers)
        self._lock = threading.Lock()
        self._zygote: _Zygote | None = None
        self._closed = False

    def __enter__(self) -> "UploadReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> int:
        """The process id of the zygote, which is started unless it runs; `run` does so by itself."""
        return self._running().pid

    def close(self) -> None:
        """Ends the zygote and whatever it reads."""
        with self._lock:
            self._closed = True
            if self._zygote is not None:
                self._zygote.end()

    def run(self, upload: Upload, config: Config, stage: str, table: pa.Table | None) -> pa.Table:
        """The table of one star after a stage of `survey.runs.stages.STAGES` that asks the source.

        stage: "fetch" makes the row of the file's own star, and table is None; "pixels" goes on with `table`.

        Raises BadFile or TooShort if the file is no light curve or costs more than the limits, UsageError for an
        unknown mission, FetchFailed where no process could be had to read it.
        """
        name = clean_name(upload.name)
        if len(upload.content) > self._limits.max_bytes:
            raise BadFile(f"{name}: more than {self._limits.max_bytes >> 20} MB, refused")
        made = _STAGES[stage]
        with self._free, _nameless_file() as request, _nameless_file() as answer:
            _write_request(request, upload, name, config, stage, table, self._limits)
            ending = self._read(request, answer)
            return _open_answer(ending, answer, made.schema, name, self._limits)

    def _read(self, request: IO[bytes], answer: IO[bytes]) -> int:
        """How the reading ended. A zygote that dies over it, killed from outside, gets a successor and the request."""
        for _ in range(2):
            zygote = self._running()
            ending = zygote.read(request, answer, self._limits.seconds + _PATIENCE_S)
            if ending is not None:
                return ending
            zygote.end()
        raise FetchFailed("the reader of uploads was ended from outside; ask again")

    def _running(self) -> "_Zygote":
        with self._lock:
            if self._closed:
                raise FetchFailed("the reader of uploads is closed")
            if self._zygote is not None and not self._zygote.is_alive():
                self._zygote.end()
                self._zygote = None
            if self._zygote is None:
                self._zygote = _Zygote()
            return self._zygote


_STAGES: Final[dict[str, Stage]] = {stage.name: stage for stage in STAGES if stage.asks}


def clean_name(name: str) -> str:
    """The last part of a file's name, printable and short, and nothing that a spreadsheet would take for a formula."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return _printable(last)[-LONGEST_NAME:].lstrip("=+-@ .") or "upload"


def _printable(text: str) -> str:
    """Without control characters, signs that turn the direction of writing, and halves of characters."""
    return "".join(letter for letter in text if letter.isprintable())


@contextmanager
def _nameless_file() -> Iterator[IO[bytes]]:
    with open(os.memfd_create("upload"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile() as file:
        yield file


def _write_request(
    file: IO[bytes], upload: Upload, name: str, config: Config, stage: str, table: pa.Table | None, limits: Limits
) -> None:
    """A line of JSON, the content, then the table if there is one."""
    said = {
        "name": name,
        "size": len(upload.content),
        "mission": upload.mission,
        "time_zero": upload.time_zero,
        "config": config.model_dump_json(),
        "stage": stage,
        "limits": asdict(limits),
    }
    file.write(json.dumps(said).encode() + b"\n")
    file.write(upload.content)
    if table is not None:
        _write_table(file, table)
    file.flush()


def _write_table(file: IO[bytes], table: pa.Table) -> None:
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


def _open_answer(ending: int, file: IO[bytes], schema: pa.Schema, name: str, limits: Limits) -> pa.Table:
    file.seek(0)
    if ending == _READ:
        table = pa.ipc.open_stream(file.read()).read_all()
        # The child had a stranger's file in its hands: what it says is not trusted either.
        table.validate(full=True)
        if not table.schema.equals(schema, check_metadata=True) or table.num_rows != 1:
            raise RuntimeError("the reader of uploads answered with another table than was asked for")
        return table
    if ending == _REFUSED:
        said = json.load(file)
        raise _ERRORS[said["kind"]](_printable(said["message"])[:_LONGEST_REASON])
    if ending in (_KILLED + signal.SIGALRM, _KILLED + signal.SIGXCPU):
        raise BadFile(f"{name}: took more than {limits.seconds:g} s to read; {_ADVICE}")
    if ending == _OUT_OF_MEMORY or ending > _KILLED:
        raise BadFile(f"{name}: took more than {limits.memory_mb} MB of memory to read; {_ADVICE}")
    raise RuntimeError(f"the reader of uploads failed ({ending}); its log says why")


class _Zygote:
    """The process that forks, as its parent sees it."""

    def __init__(self) -> None:
        root = str(Path(__file__).parents[1])
        kept = {
            name: os.environ[name] for name in os.environ if name in _KEPT_NAMES or name.startswith(_KEPT_BEGINNINGS)
        }
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "serve.reader"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env=kept | _LEAN | {"PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])},
            )
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        with self._lock:
            self._process.kill()
            self._process.wait()
            self._control.close()

    def read(self, request: IO[bytes], answer: IO[bytes], seconds: float) -> int | None:
        """How a reading ended; None if the zygote died before, or has not answered in time."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs, suppress(OSError), self._lock:
                files = [request.fileno(), answer.fileno(), theirs.fileno()]
                socket.send_fds(self._control, [b"r"], files)
            ours.settimeout(seconds)
            try:
                ending = ours.recv(1)
            except (TimeoutError, ConnectionError):
                return None
        return ending[0] if ending else None


# What follows runs in the zygote and in its children.


def _serve_forks(control: socket.socket) -> None:
    """Forks a warden for every request, until the parent has gone."""
    # Nobody waits for wardens: they answer by themselves.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # The first conversion imports pandas, if it is there: once, not in every child.
    pa.array([0])
    gc.freeze()
    while True:
        said, files, _, _ = socket.recv_fds(control, 1, 3)
        if not said:
            return
        if os.fork() == 0:
            _end_with(partial(_watch, control, *files))
        for file in files:
            os.close(file)


def _end_with(work: Callable[[], int]) -> None:
    """Ends this process with what `work` returns; no error climbs into the loop that it was forked in."""
    ending = _DEFECT
    try:
        _die_with_parent()
        ending = work()
    except MemoryError:
        ending = _OUT_OF_MEMORY
    except BaseException:  # noqa: BLE001  it is logged, and the parent is told
        traceback.print_exc()
    finally:
        os._exit(ending)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def _watch(control: socket.socket, request: int, answer: int, done: int) -> int:
    """Forks the child and tells how it ended."""
    control.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        os.close(done)
        _end_with(partial(_read_upload, request, answer))
    _, status = os.waitpid(child, 0)
    ending = _KILLED + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    with socket.socket(fileno=done) as connection:
        connection.sendall(bytes([ending]))
    return _READ


def _read_upload(request: int, answer: int) -> int:
    """Reads a request, under its limits, and writes the answer."""
    with open(request, "rb") as file, open(answer, "wb") as out:
        file.seek(0)
        said = json.loads(file.readline())
        limits = Limits(**said["limits"])
        _limit(limits)
        try:
            table = _apply_stage(said, file.read(said["size"]), file, limits)
        except (StarError, UsageError) as error:
            out.write(json.dumps({"kind": type(error).__name__, "message": str(error)}).encode())
            return _REFUSED
        if _ran_out(table):
            return _OUT_OF_MEMORY
        _write_table(out, table)
    return _READ


def _limit(limits: Limits) -> None:
    """The kernel ends this process at any of these limits, whatever code it is in."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limits.seconds)
    memory = limits.memory_mb << 20
    bounds = {
        resource.RLIMIT_CPU: int(limits.seconds) + 2,
        resource.RLIMIT_FSIZE: _MOST_ANSWER,
        resource.RLIMIT_NOFILE: 16,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        bounds[resource.RLIMIT_AS] = pages * resource.getpagesize() + memory
        # Should the machine run out of memory all the same, this process goes first.
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
    for kind, most in bounds.items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def _apply_stage(said: dict[str, Any], content: bytes, rest: IO[bytes], limits: Limits) -> pa.Table:
    config = Config.model_validate_json(said["config"])
    source = FileSource(
        said["name"],
        config.fetch,
        content=content,
        mission=said["mission"],
        time_zero=said["time_zero"],
        bounds=Bounds(unpacked=limits.max_unpacked, rows=limits.max_rows),
    )
    if said["stage"] == "fetch":
        table = targets_table([next(iter(source.targets(None)))])
    else:
        table = pa.ipc.open_stream(rest.read()).read_all()
    return _STAGES[said["stage"]].make(config, source)(table)


def _ran_out(table: pa.Table) -> bool:
    """Whether a stage made a failed row of what was a want of memory."""
    row = table.select(["status", "error"]).to_pylist()[0]
    return row["status"] == "failed" and "MemoryError" in (row["error"] or "").partition(":")[0]


if __name__ == "__main__":
    with socket.socket(fileno=sys.stdin.fileno()) as parent:
        _serve_forks(parent)
