"""What a service is told when it starts: `args` in deploy.yaml, or the options of `survey serve`."""

import os
from pathlib import Path
from typing import Literal, Self

import pydantic
from pydantic import Field

from survey import config
from survey.config import Config, Frozen
from survey.errors import UsageError

KEYS = "SURVEY_API_KEYS"
"""Environment: the keys that are let in, separated by commas or spaces."""

SHORTEST_KEY = 16

MissionName = Literal["tess", "kepler", "k2"]


class Settings(Frozen):
    """A service, whole. Everything that a request may not choose stands here: sources, folders, models, bounds."""

    source: str = "mast"
    """Where light curves come from, as `survey sweep --source`."""
    cache: str | None = None
    """Where fetched files are kept."""
    catalogs: Path | None = None
    """Folder of the tables that know TOI and KOI names."""
    preset: str | None = None
    overrides: tuple[str, ...] = ()
    """KEY=VALUE, as `--set`."""
    missions: dict[MissionName, tuple[str, ...]] = Field(default_factory=dict)
    """KEY=VALUE for the stars of one mission only: models of its own, say."""
    run: str | None = None
    """A run whose candidates are shown."""
    detectors: Path | None = None
    """Folder that keeps the detectors of anomalies that are trained; None: they go with the service."""

    laptop: bool = False
    """One person's service on 127.0.0.1: no key is asked for, and one of everything suffices."""
    key_file: Path | None = None
    """A key a line, beside those in the environment."""
    hosts: tuple[str, ...] = ()
    """Names under which the service may be asked, without ports; none given: any, but in laptop mode this machine's."""

    upload_mb: float = Field(20.0, gt=0)
    read_s: float = Field(20.0, gt=0)
    """Longest time to read an upload, and `read_mb` the memory for it."""
    read_mb: int = Field(1024, ge=64)
    wait_s: float = Field(20.0, gt=0)
    """What takes longer goes on as a job, unless the request says how long it waits."""
    job_s: float = Field(1800.0, gt=0)
    """Longest job."""
    jobs: int = Field(64, ge=1)
    """Jobs under way, at most; more are told to come back."""

    fronts: int = Field(2, ge=1)
    """Replicas that answer HTTP: with two, one may die."""
    examiners: int = Field(1, ge=1)
    """Replicas that search and score, at least."""
    most_examiners: int = Field(4, ge=1)
    gpus: float = Field(0.0, ge=0)
    """Of an examiner."""
    batch: int = Field(8, ge=1)
    """Stars that an examiner takes at once, at most, after `batch_s` of waiting for others."""
    batch_s: float = Field(0.004, ge=0)
    queue: int = Field(24, ge=1)
    """Requests that wait for an examiner, at each front; more are told to come back."""
    retry_s: float = Field(2.0, gt=0)
    """When to come back."""

    @pydantic.model_validator(mode="after")
    def _check_replicas(self) -> Self:
        if self.most_examiners < self.examiners:
            raise ValueError(f"most_examiners, {self.most_examiners}, is less than examiners, {self.examiners}")
        return self

    @property
    def upload_bytes(self) -> int:
        return int(self.upload_mb * 2**20)

    @property
    def places(self) -> int:
        """Requests that make work, at once, of a front: those that examiners have taken, and the queue."""
        return self.queue + 2 * self.batch * self.most_examiners

    @property
    def examples(self) -> tuple[str, ...]:
        """Stars to try, where the usual ones are not at hand."""
        return ("TIC 900000054", "KIC 90000011", "TIC 900000022") if self.source == "demo" else ()

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        return self.hosts or (("127.0.0.1", "localhost", "[::1]") if self.laptop else ())

    def read_config(self, mission: str | None = None) -> Config:
        """The configuration of a mission's stars. Raises UsageError."""
        own = self.missions.get(mission, ()) if mission is not None else ()  # type: ignore[call-overload]
        return config.load(self.preset, [*self.overrides, *own])

    def read_keys(self) -> tuple[str, ...]:
        """The keys that are let in; none in laptop mode without any.

        Raises UsageError where a service for others has no key, or one that can be guessed.
        """
        try:
            written = self.key_file.read_text() if self.key_file else ""
        except OSError as error:
            raise UsageError(f"key_file: cannot read {self.key_file}: {error.strerror}") from None
        keys = tuple(dict.fromkeys((written + " " + os.environ.get(KEYS, "").replace(",", " ")).split()))
        if short := [key for key in keys if len(key) < SHORTEST_KEY]:
            raise UsageError(
                f"{len(short)} of the keys have fewer than {SHORTEST_KEY} characters: `openssl rand -hex 24` makes one"
            )
        if not keys and not self.laptop:
            raise UsageError(
                f"a service for others needs a key: put one, made with `openssl rand -hex 24`, into the environment as "
                f"{KEYS}, or into a file that key_file names"
            )
        return keys
