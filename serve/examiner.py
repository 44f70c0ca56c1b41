"""From a case to its answer, over the stages of a sweep.

What asks the archive goes star by star, in threads; an upload is read in a child process instead; all else takes
the stars of several requests together. A star's numbers depend on none of it (`survey.runs.stages`).
"""

import asyncio
import gc
import itertools
import logging
import tempfile
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa

from serve import answers
from serve.cases import ARROW, JSON, PNG, AnomalyQuestion, Answer, Case, Desk, LightQuestion, Question, ScoreQuestion
from serve.reader import Limits, UploadReader
from serve.refusals import DEFECT, Refusal
from serve.settings import Settings
from survey import config as configs
from survey import schema
from survey.config import Config
from survey.errors import FetchFailed, StarError, UsageError
from survey.learning.anomaly import load_detector
from survey.learning.artifact import find_artifact
from survey.runs.scores import load_models
from survey.runs.stages import STAGES, Row, Stage, Step, examine, rows_of, targets_table
from survey.stars.cache import Cache
from survey.stars.pixels import LightCentre
from survey.stars.sources import FileSource, Source, fetch_light_centres, open_source
from survey.stars.targets import MISSIONS, Target

log = logging.getLogger("survey.serve")

T = TypeVar("T")

STEPS_KEPT: Final = 16
"""Configurations whose steps are kept ready."""

LONGEST_UPLOAD_D: Final = 10_000.0
"""From the first to the last time of an upload: a search over a century takes minutes, and no mission was so long."""

LIGHT_STAGES: Final = 2
"""The first so many stages give the detrended light, which is all that a detector of anomalies sees."""

SHIPPED: Final = "anomaly"
OWN: Final = "own"


@dataclass(frozen=True)
class Part:
    """A star on its way, a table of one row, and the stages that it goes through next."""

    config: Config
    stages: tuple[Stage, ...]
    table: pa.Table


Together = Callable[[Part], Awaitable[pa.Table]]


class Steps:
    """The steps of stages, made once for each configuration and stage; the models in them are shared."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[str, str], Step] = OrderedDict()

    def make(self, stage: Stage, config: Config) -> Step:
        key = stage.name, config.model_dump_json()
        if key not in self._made:
            self._made[key] = stage.make(config, None)
        self._made.move_to_end(key)
        while len(self._made) > STEPS_KEPT * len(STAGES):
            self._made.popitem(last=False)
        return self._made[key]

    def run(self, parts: Sequence[Part]) -> list[pa.Table]:
        """The tables of the parts after their stages; stars of one configuration go together, each name once."""
        results: list[pa.Table] = [part.table for part in parts]
        for alike in _alike(parts):
            table = pa.concat_tables([parts[k].table for k in alike])
            for stage in parts[alike[0]].stages:
                table = self.make(stage, parts[alike[0]].config)(table)
            for place, k in enumerate(alike):
                results[k] = table.slice(place, 1)
        return results


def _alike(parts: Sequence[Part]) -> list[list[int]]:
    """Places of the parts that may share a batch: of one way and configuration, and no two of one name."""
    seen: Counter[tuple[str, ...]] = Counter()
    groups: dict[tuple[str, ...], list[int]] = {}
    for k, part in enumerate(parts):
        way = (part.config.model_dump_json(), *(stage.name for stage in part.stages))
        name = (*way, part.table.column("target_id")[0].as_py())
        seen[name] += 1
        groups.setdefault((*way, str(seen[name])), []).append(k)
    return list(groups.values())


Load = Callable[[str], Awaitable[Any]]


class Examiner:
    """together: how parts of several requests become a batch; by default each goes alone. load: opens the models of
    a mission or a detector, by name; by default anew each time (`open_models`).
    """

    def __init__(
        self, settings: Settings, desk: Desk, together: Together | None = None, load: Load | None = None
    ) -> None:
        self._settings, self._desk = settings, desk
        self._together, self._load = together or self._alone, load or self.open_models
        config = settings.read_config()
        cache = None if settings.cache is None else Cache(settings.cache)
        self._source: Source = open_source(settings.source, config, cache=cache)
        limits = Limits(memory_mb=settings.read_mb, seconds=settings.read_s, max_bytes=settings.upload_bytes)
        self._reader = UploadReader(limits)
        self._reader.start()
        self._steps = Steps()
        # Numbers are made one batch at a time: a core computes no faster for two at once.
        self._lane = ThreadPoolExecutor(1, "compute")
        self._asking = ThreadPoolExecutor(config.run.fetch_threads, "ask")

    def close(self) -> None:
        self._reader.close()
        for pool in (self._lane, self._asking):
            pool.shutdown(wait=False, cancel_futures=True)

    def warm_up(self) -> None:
        """A made-up star goes all the way, so that what is compiled and read at first use waits for no request."""
        config = self._settings.read_config()
        made = FileSource("warm-up.csv", config.fetch, content=_make_star(), mission="tess", time_zero=2_457_000.0)
        row = rows_of(examine(next(iter(made.targets())), config, made))[0]
        answers.score_answer(row, config, plot=True, source=made.name, request_id="", seconds=0.0)
        answers.sheet_png(row, config, None)
        # What is there now stays: it need not be looked through each time that memory is collected.
        gc.collect()
        gc.freeze()

    async def check(self) -> None:
        """Raises Refusal where it cannot answer now: never, as it is this process."""

    async def answer(self, case: Case, question: Question) -> AsyncIterator[str | Answer]:
        """Words for what happens next, then the answer. Raises Refusal."""
        begin = time.monotonic()
        yield "fetch"
        said = case.target or case.upload
        mission = None if said is None else said.mission
        config = await self._choose_config(mission, case)
        model = await self._open_detector(question)
        table = await self._ask(STAGES[0], config, case, None)
        if case.upload is not None and (table.column("baseline_d")[0].as_py() or 0.0) > LONGEST_UPLOAD_D:
            raise Refusal("invalid", f"the light curve spans more than {LONGEST_UPLOAD_D:,.0f} d: send less of it")
        if mission is None:
            config = await self._choose_config(table.column("mission")[0].as_py(), case)
        wanted = STAGES[1:] if isinstance(question, ScoreQuestion) else STAGES[1:LIGHT_STAGES]
        for asks, group in itertools.groupby(wanted, key=lambda stage: stage.asks):
            stages = tuple(group)
            yield stages[0].name
            if asks:
                table = await self._ask(stages[0], config, case, table)
            else:
                table = await self._together(Part(config, stages, table))
        row = rows_of(table)[0]
        self._check_row(row, question)
        if isinstance(question, LightQuestion):
            yield Answer(200, ARROW, schema.pack(table), row["status"])
            return
        yield "answer"
        yield await self._reply(row, case, config, question, model, begin)

    async def _choose_config(self, mission: str | None, case: Case) -> Config:
        """mission: None while only the upload knows it. Raises Refusal for overrides that are none."""
        if mission is not None:
            await self._load(mission)
        try:
            return configs.change(self._settings.read_config(mission), case.overrides)
        except UsageError as error:
            raise Refusal("invalid", str(error)) from None

    async def _open_detector(self, question: Question) -> Any:
        """The model that a question about anomalies names; None for one that is fitted on the star itself."""
        if not isinstance(question, AnomalyQuestion) or question.model == OWN:
            return None
        return await self._load(question.model)

    async def open_models(self, name: str) -> Any:
        """Reads the models of a mission, so that they are at hand, or opens a detector. Raises Refusal."""
        if name in MISSIONS:
            score = self._settings.read_config(name).score
            return await self._in(self._lane, partial(load_models, score))
        if name == SHIPPED:
            return await self._in(self._lane, partial(load_detector, find_artifact(SHIPPED)))
        files = await self._desk.detector(name)
        if files is None:
            raise Refusal("not_found", f"no detector {name}: GET /v1/models lists them")
        return await self._in(self._lane, partial(_open_files, files))

    async def _ask(self, stage: Stage, config: Config, case: Case, table: pa.Table | None) -> pa.Table:
        """A stage that asks the archive; of an upload, the child that reads it."""
        if case.upload is not None:
            work = partial(self._reader.run, case.upload, config, stage.name, table)
        else:
            assert case.target is not None
            asked = targets_table([case.target]) if table is None else table
            work = partial(_ask_source, stage, config, self._source, asked)
        try:
            return await self._in(self._asking, work)
        except (StarError, UsageError) as error:
            raise Refusal("invalid", str(error)) from None

    async def _alone(self, part: Part) -> pa.Table:
        return (await self.compute([part]))[0]

    async def compute(self, parts: Sequence[Part]) -> list[pa.Table]:
        """The tables of the parts after their stages."""
        return await self._in(self._lane, partial(self._steps.run, parts))

    @staticmethod
    async def _in(pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, work)

    def _check_row(self, row: Row, question: Question) -> None:
        """Raises Refusal where there is no answer to give. That there are no data, or too few, is one."""
        status, error = row["status"], row["error"]
        if status == "fetch_failed":
            raise Refusal("fetch_failed", error, self._settings.retry_s)
        if status == "bad_file":
            raise Refusal("invalid", error)
        if status == "failed":
            details = [entry["traceback"] for entry in row["trace"] if entry["traceback"]]
            log.error("request %s: %s failed: %s", question.request_id, row["target_id"], "\n".join(details) or error)
            raise Refusal("failed", f"{row['target_id']}: {DEFECT}")
        if status != "ok" and not (isinstance(question, ScoreQuestion) and not question.sheet):
            raise Refusal("not_found" if status == "no_data" else "invalid", error)

    async def _reply(
        self,
        row: Row,
        case: Case,
        config: Config,
        question: ScoreQuestion | AnomalyQuestion,
        model: Any,
        begin: float,
    ) -> Answer:
        centres: Sequence[LightCentre] = ()
        if isinstance(question, ScoreQuestion) and question.sheet and case.target:
            centres = await self._in(self._asking, partial(self._light_centres, case.target, config))
        try:
            return await self._in(self._lane, partial(self._write, row, config, question, model, centres, begin))
        except (UsageError, StarError) as error:
            raise Refusal("invalid", str(error)) from None

    def _light_centres(self, target: Target, config: Config) -> list[LightCentre]:
        """For the background of a sheet, which does without where the files cannot be had again."""
        try:
            return fetch_light_centres(target, self._source, config)
        except FetchFailed:
            return []

    def _write(
        self,
        row: Row,
        config: Config,
        question: ScoreQuestion | AnomalyQuestion,
        model: Any,
        centres: Sequence[LightCentre],
        begin: float,
    ) -> Answer:
        """The answer's bytes. Raises UsageError, StarError."""
        status = str(row["status"])
        about: dict[str, Any] = {
            # Where exactly the files lie is not for everybody.
            "source": self._settings.source.partition(":")[0],
            "request_id": question.request_id,
            "seconds": time.monotonic() - begin,
        }
        if isinstance(question, AnomalyQuestion):
            return Answer(200, JSON, answers.anomaly_answer(row, model, config, question, **about), status)
        if question.sheet:
            return Answer(200, PNG, answers.sheet_png(row, config, question.tce, centres), status)
        return Answer(200, JSON, answers.score_answer(row, config, plot=question.plot, **about), status)


def _ask_source(stage: Stage, config: Config, source: Source, table: pa.Table) -> pa.Table:
    return stage.make(config, source)(table)


def _make_star() -> bytes:
    """A sector with a planet of three days, as CSV."""
    time = 1325.3 + np.arange(0.0, 27.0, 120.0 / 86_400.0)
    flux = 1.0 + np.random.default_rng(1).normal(0.0, 5e-4, len(time))
    flux[np.abs((time - 1326.0 + 1.5) % 3.0 - 1.5) < 0.06] -= 0.01
    rows = "\n".join(f"{one:.6f},{other:.6f}" for one, other in zip(time, flux, strict=True))
    return f"time,flux\n{rows}\n".encode()


def _open_files(files: Mapping[str, bytes]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        return load_detector(Path(folder))
