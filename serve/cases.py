"""What is asked of an examiner, and what it answers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from serve.reader import Upload
from survey.stars.targets import Target


@dataclass(frozen=True)
class Case:
    """One star to look at: a target of the archive, or an upload. overrides: KEY=VALUE of the configuration."""

    target: Target | None = None
    upload: Upload | None = None
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoreQuestion:
    """The row of a star; with plot what a plot needs. sheet: instead of it the evidence of signal `tce` as PNG."""

    request_id: str
    plot: bool = False
    sheet: bool = False
    tce: int | None = None


@dataclass(frozen=True)
class AnomalyQuestion:
    """What is strange in a star. model: `anomaly`, `own` or the id of a trained detector; None: as it was trained."""

    request_id: str
    model: str = "anomaly"
    contamination: float | None = None
    window: int | None = None
    vote_threshold: float | None = None


@dataclass(frozen=True)
class LightQuestion:
    """The detrended light of a star, to train with."""

    request_id: str


Question = ScoreQuestion | AnomalyQuestion | LightQuestion

JSON = "application/json"
PNG = "image/png"
ARROW = "application/vnd.apache.arrow.stream"


@dataclass(frozen=True)
class Answer:
    """The body of a response, made once, where the numbers are; star: the status word of the row."""

    code: int
    media: str
    body: bytes
    star: str | None = None


class Examiner(Protocol):
    def answer(self, case: Case, question: Question) -> AsyncIterator[str | Answer]:
        """Words for the stages that the star goes through, then the answer. Raises Refusal."""

    async def check(self) -> None:
        """Raises Refusal where it cannot answer now."""


@dataclass(frozen=True)
class Job:
    """Work that outlasted its request. seconds: since it began; answer: once it is done."""

    id: str
    kind: str
    state: str
    stage: str | None
    seconds: float
    answer: Answer | None = None
    error: str | None = None


class Desk(Protocol):
    """Keeps the jobs, wherever they run, and the detectors that were trained."""

    async def open(self, kind: str) -> str:
        """The id of a new job. Raises Refusal where too many are under way."""

    async def note(self, job: str, stage: str) -> None:
        """That a job is alive, and where it is."""

    async def close(self, job: str, answer: Answer | None, error: str | None) -> None:
        """That a job is done, or has failed."""

    async def look(self, job: str) -> Job | None: ...

    async def train(self, simulated: int | None, lights: list[bytes], overrides: tuple[str, ...]) -> str:
        """Begins to train a detector of anomalies, from so many simulated stars or from rows of detrended light."""

    async def detector(self, name: str) -> dict[str, bytes] | None:
        """The files of a trained detector."""

    async def detectors(self) -> list[dict[str, Any]]:
        """What they say of themselves, the newest first."""
