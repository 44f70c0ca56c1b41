"""The service on Ray Serve: fronts that speak HTTP, examiners that compute, one desk that keeps the jobs.

    Front x 2 (or 1) --case, question--> Examiner x 1..N   models multiplexed, stars of several requests in one batch
                     --job-------------> Desk x 1          training goes on in tasks of Ray

`serve deploy serve/deploy.yaml` calls `build` with the file's args, `survey serve` with what the command line says.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import ray
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.config import AutoscalingConfig, BackpressureConfig
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from serve.cases import AnomalyQuestion, Answer, Case, Job, Question
from serve.desk import Desk
from serve.examiner import OWN, Examiner, Part
from serve.refusals import DEFECT, Refusal
from serve.routes import make_api
from serve.settings import Settings
from serve.training import Trained, train_detector
from survey.runs.stream import WORKER_ENVIRONMENT

log = logging.getLogger("survey.serve")

NAME: Final = "survey"

MODELS_KEPT: Final = 6
"""Missions and detectors whose models an examiner holds at once."""

CHEAP: Final = 200
"""Requests that make no work, at once."""

ATTEMPTS: Final = 2
"""An examiner that dies takes its stars with it; asking again changes no number."""

SHUTDOWN_S: Final = 20.0
"""What is under way when a replica is stopped may take so long to end."""


def build(settings: Settings) -> serve.Application:
    """The application. Raises UsageError for settings that cannot be served, before anything is started."""
    settings.read_keys()
    settings.read_config()
    desk = _deploy(DeskReplica, "Desk", num_replicas=1, max_ongoing_requests=1000, cpus=0.1).bind(settings)
    examiner = _deploy(ExaminerReplica, "Examiner", **_examiner_options(settings)).bind(settings, desk)
    front = _deploy(
        serve.ingress()(FrontReplica),
        "Front",
        num_replicas=1 if settings.laptop else settings.fronts,
        # Beyond the places for work there is room for what makes none: health, jobs, the page.
        max_ongoing_requests=settings.places + CHEAP,
        max_queued_requests=CHEAP,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=settings.retry_s),
        cpus=0.2,
    )
    return front.bind(settings, examiner, desk)


def _deploy(replica: type, name: str, *, cpus: float, gpus: float = 0.0, **options: Any) -> serve.Deployment:
    actor: dict[str, Any] = {"num_cpus": cpus, "runtime_env": {"env_vars": WORKER_ENVIRONMENT}}
    if gpus:
        actor["num_gpus"] = gpus
    return serve.deployment(name=name, graceful_shutdown_timeout_s=SHUTDOWN_S, ray_actor_options=actor, **options)(
        replica
    )


def _examiner_options(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "cpus": 1.0,
        "gpus": settings.gpus,
        "max_ongoing_requests": 2 * settings.batch,
        "max_queued_requests": settings.queue,
        "user_config": {"batch": settings.batch, "batch_s": settings.batch_s},
    }
    if settings.examiners == settings.most_examiners:
        return options | {"num_replicas": settings.examiners}
    scaling = AutoscalingConfig(
        min_replicas=settings.examiners,
        max_replicas=settings.most_examiners,
        target_ongoing_requests=max(1.0, settings.batch / 2),
    )
    return options | {"autoscaling_config": scaling}


class DeskReplica(Desk):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, _train_elsewhere)


async def _train_elsewhere(*arguments: Any) -> Trained:
    task = ray.remote(num_cpus=1, max_retries=1, runtime_env={"env_vars": WORKER_ENVIRONMENT})(train_detector)
    trained = task.remote(*arguments)
    try:
        return await trained
    except asyncio.CancelledError:
        ray.cancel(trained, force=True)
        raise


class ExaminerReplica:
    """An `Examiner` whose batches and models are Ray Serve's."""

    def __init__(self, settings: Settings, desk: DeploymentHandle) -> None:
        self._examiner = Examiner(settings, RemoteDesk(desk), together=self._together, load=self.load)
        self._examiner.warm_up()

    def reconfigure(self, config: dict[str, Any]) -> None:
        self._compute.set_max_batch_size(config["batch"])
        self._compute.set_batch_wait_timeout_s(config["batch_s"])

    async def answer(self, case: Case, question: Question) -> AsyncIterator[str | Answer | Refusal]:
        """As the examiner; a refusal is an answer here, as errors change their form on the way between processes."""
        try:
            async for step in self._examiner.answer(case, question):
                yield step
        except Refusal as refusal:
            yield refusal

    @serve.multiplexed(max_num_models_per_replica=MODELS_KEPT)
    async def load(self, name: str) -> Any:
        return await self._examiner.open_models(name)

    async def _together(self, part: Part) -> Any:
        return await self._compute(part)

    @serve.batch
    async def _compute(self, parts: list[Part]) -> list[Any]:
        return await self._examiner.compute(parts)

    def check(self) -> None:
        """That it answers."""

    def __del__(self) -> None:
        self._examiner.close()


class FrontReplica:
    """The routes, over handles to the others."""

    def __init__(self, settings: Settings, examiner: DeploymentHandle, desk: DeploymentHandle) -> None:
        # Lines of ours go where Serve's own go, and `serve.log` has them side by side.
        logging.getLogger("survey.serve").parent = logging.getLogger("ray.serve")
        self._parts = settings, RemoteExaminer(examiner, settings.retry_s), RemoteDesk(desk)

    def __serve_build_asgi_app__(self) -> Callable[..., Any]:
        replica = serve.get_replica_context().replica_tag
        return make_api(*self._parts, replica=replica)


class RemoteExaminer:
    """The examiners behind their handle: what goes wrong between processes becomes a refusal."""

    def __init__(self, handle: DeploymentHandle, retry_s: float) -> None:
        self._handle, self._retry_s = handle, retry_s

    async def answer(self, case: Case, question: Question) -> AsyncIterator[str | Answer]:
        handle = self._handle.options(stream=True, multiplexed_model_id=_model_of(case, question))
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async for step in handle.answer.remote(case, question):
                    if isinstance(step, Refusal):
                        raise step
                    yield step
                return
            except BackPressureError:
                raise Refusal("busy", "all examiners are busy: come back later", self._retry_s) from None
            except RayTaskError:
                log.exception("request %s failed", question.request_id)
                raise Refusal("failed", DEFECT) from None
            except (RayError, DeploymentUnavailableError):
                if attempt == ATTEMPTS:
                    raise Refusal("not_ready", "the examiner died: ask again", self._retry_s) from None

    async def check(self) -> None:
        try:
            await self._handle.check.remote()
        except BackPressureError:
            # Busy is not dead.
            return
        except (RayError, DeploymentUnavailableError):
            raise Refusal("not_ready", "no examiner answers", self._retry_s) from None


def _model_of(case: Case, question: Question) -> str:
    """Whose models will be wanted: Serve sends the case where they are."""
    if isinstance(question, AnomalyQuestion) and question.model != OWN:
        return question.model
    said = case.target or case.upload
    return (said.mission if said else None) or ""


class RemoteDesk:
    """The desk behind its handle."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def open(self, kind: str) -> str:
        return await self._ask("open", kind)

    async def note(self, job: str, stage: str) -> None:
        await self._ask("note", job, stage)

    async def close(self, job: str, answer: Answer | None, error: str | None) -> None:
        await self._ask("close", job, answer, error)

    async def look(self, job: str) -> Job | None:
        return await self._ask("look", job)

    async def train(self, simulated: int | None, lights: list[bytes], overrides: tuple[str, ...]) -> str:
        return await self._ask("train", simulated, lights, overrides)

    async def detector(self, name: str) -> dict[str, bytes] | None:
        return await self._ask("detector", name)

    async def detectors(self) -> list[dict[str, Any]]:
        return await self._ask("detectors")

    async def _ask(self, name: str, *arguments: Any) -> Any:
        try:
            return await getattr(self._handle, name).remote(*arguments)
        except RayTaskError as error:
            if isinstance(error.cause, Refusal):
                raise error.cause from None
            raise
        except (RayError, DeploymentUnavailableError):
            raise Refusal("not_ready", "the desk that keeps the jobs does not answer: ask again", 2.0) from None
