"""The desk: jobs that outlasted their requests, wherever they run, and the detectors that were trained.

One of it suffices: it holds no light curve and computes nothing. Jobs that run elsewhere say now and then that they
are alive; one that has fallen silent has failed.
"""

import asyncio
import logging
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from serve import answers
from serve.cases import JSON, Answer, Job
from serve.refusals import DEFECT, Refusal
from serve.settings import Settings
from serve.training import Trained, train_detector
from survey.errors import UsageError

log = logging.getLogger("survey.serve")

KEPT_S: Final = 3600.0
"""How long the answer of a job can be fetched."""
KEPT_BYTES: Final = 64 << 20
"""Answers that are kept; the oldest go first."""
SILENT_S: Final = 60.0
"""A job that nobody has heard of for so long was lost with the process that did it."""
TRAININGS: Final = 4
"""That go on at once: each holds the light that it learns from."""
DETECTORS: Final = 20
"""Trained detectors that are kept; the oldest go first."""

DETECTOR: Final = re.compile(r"detector-[0-9a-f]{8}")

Train = Callable[[Settings, str, int | None, list[bytes], tuple[str, ...]], Awaitable[Trained]]


@dataclass
class _Entry:
    kind: str
    began: float
    heard: float
    ended: float | None = None
    stage: str | None = None
    state: str = "running"
    answer: Answer | None = None
    error: str | None = None


async def train_here(
    settings: Settings, name: str, simulated: int | None, packed: list[bytes], overrides: tuple[str, ...]
) -> Trained:
    """In a thread of this process."""
    return await asyncio.to_thread(train_detector, settings, name, simulated, packed, overrides)


class Desk:
    """train: how a detector is trained; by default in this process. clock: seconds since whenever."""

    def __init__(
        self, settings: Settings, train: Train = train_here, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._train, self._clock = settings, train, clock
        self._entries: dict[str, _Entry] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._folder = settings.detectors or Path(tempfile.mkdtemp(prefix="detectors-"))
        self._folder.mkdir(parents=True, exist_ok=True)

    async def open(self, kind: str) -> str:
        """The id of a new job. Raises Refusal where too many are under way."""
        self._tidy()
        if sum(entry.state == "running" for entry in self._entries.values()) >= self._settings.jobs:
            raise Refusal("busy", "too many jobs are under way: come back later", 10 * self._settings.retry_s)
        name = f"job-{secrets.token_hex(12)}"
        now = self._clock()
        self._entries[name] = _Entry(kind, now, now)
        return name

    async def note(self, job: str, stage: str) -> None:
        """That a job is alive, and where it is."""
        if entry := self._entries.get(job):
            entry.stage, entry.heard = stage, self._clock()

    async def close(self, job: str, answer: Answer | None, error: str | None) -> None:
        """That a job is done, or has failed."""
        if entry := self._entries.get(job):
            entry.state = "failed" if answer is None else "done"
            entry.answer, entry.error, entry.ended = answer, error, self._clock()

    async def look(self, job: str) -> Job | None:
        self._tidy()
        entry = self._entries.get(job)
        if entry is None:
            return None
        seconds = (entry.ended or self._clock()) - entry.began
        return Job(job, entry.kind, entry.state, entry.stage, seconds, entry.answer, entry.error)

    def _tidy(self) -> None:
        now = self._clock()
        for entry in self._entries.values():
            if entry.state == "running" and now - entry.heard > SILENT_S:
                entry.state, entry.ended = "failed", now
                entry.error = "the process that worked on it is gone: ask again"
        ended = sorted((entry.ended, name) for name, entry in self._entries.items() if entry.ended is not None)
        held = sum(len(entry.answer.body) for entry in self._entries.values() if entry.answer)
        for when, name in ended:
            if now - when > KEPT_S or held > KEPT_BYTES:
                answer = self._entries.pop(name).answer
                held -= len(answer.body) if answer else 0

    async def train(self, simulated: int | None, lights: list[bytes], overrides: tuple[str, ...]) -> str:
        """Begins to train a detector of anomalies, from so many simulated stars or from rows of detrended light.

        Raises Refusal where too many are being trained.
        """
        going = [entry for entry in self._entries.values() if entry.kind == "train" and entry.state == "running"]
        if len(going) >= TRAININGS:
            raise Refusal("busy", "other detectors are in training: come back later", 10 * self._settings.retry_s)
        job = await self.open("train")
        task = asyncio.create_task(self._train_as(job, simulated, lights, overrides))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def _train_as(self, job: str, simulated: int | None, lights: list[bytes], overrides: tuple[str, ...]) -> None:
        name = f"detector-{secrets.token_hex(4)}"
        alive = asyncio.create_task(self._keep_alive(job, "train"))
        try:
            async with asyncio.timeout(self._settings.job_s):
                trained = await self._train(self._settings, name, simulated, lights, overrides)
            self._keep(name, trained.files)
            body = answers.to_bytes({"model": name, **trained.values})
            await self.close(job, Answer(200, JSON, body), None)
        except UsageError as error:
            await self.close(job, None, str(error))
        except TimeoutError:
            await self.close(job, None, f"not done after {self._settings.job_s:g} s")
        except Exception:  # it is logged, and whoever waits for the job is told
            log.exception("%s failed", job)
            await self.close(job, None, DEFECT)
        finally:
            alive.cancel()

    async def _keep_alive(self, job: str, stage: str) -> None:
        while True:
            await self.note(job, stage)
            await asyncio.sleep(SILENT_S / 4)

    def _keep(self, name: str, files: dict[str, bytes]) -> None:
        """Writes a detector, whole or not at all, and forgets the oldest."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            for file, content in files.items():
                Path(folder, file).write_bytes(content)
            shutil.copytree(folder, self._folder / f".{name}")
        (self._folder / f".{name}").rename(self._folder / name)
        for old in self._folders()[DETECTORS:]:
            shutil.rmtree(old)

    def _folders(self) -> list[Path]:
        """Of the detectors, the newest first."""
        found = [path for path in self._folder.iterdir() if DETECTOR.fullmatch(path.name)]
        return sorted(found, key=lambda path: (-path.stat().st_mtime_ns, path.name))

    async def detector(self, name: str) -> dict[str, bytes] | None:
        """The files of a trained detector."""
        folder = self._folder / name
        if not DETECTOR.fullmatch(name) or not folder.is_dir():
            return None
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    async def detectors(self) -> list[dict[str, Any]]:
        """What they say of themselves, the newest first."""
        return [answers.describe_model(folder) for folder in self._folders()]
