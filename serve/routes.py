"""The routes: from a request to a case and a question, and from the answer to a response.

`make_api` gives a plain ASGI application; an examiner and a desk are all that it needs, wherever they run.
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import pydantic
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi import Path as Parameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from serve import answers
from serve.answers import forms
from serve.cases import JSON, AnomalyQuestion, Answer, Case, Desk, Examiner, Job, LightQuestion, Question, ScoreQuestion
from serve.guard import Asgi, Guard, Metrics, Rules
from serve.reader import Upload
from serve.refusals import CODES, DEFECT, Refusal, error_body
from serve.settings import Settings
from survey import schema
from survey.errors import UsageError
from survey.learning.artifact import find_artifact
from survey.stars.catalogs import resolver
from survey.stars.targets import Target, parse_numbers, parse_target

PAGE: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""Files of the page, by the ends of their names."""

ALIVE_S: Final = 5.0
"""How often a job says that it is alive."""

MOST_FILES: Final = 20
"""Light curves to train with,"""
FULL_FILES: Final = 5
"""and how many of the largest size one form may hold."""

LONGEST_FIELD: Final = 40
"""Letters of a field's name that are repeated where it is unknown."""


_JOB: Final = re.compile(r"job-[0-9a-f]{24}")

R = TypeVar("R", bound=pydantic.BaseModel)

log = logging.getLogger("survey.serve")


def make_api(settings: Settings, examiner: Examiner, desk: Desk, replica: str | None = None) -> Asgi:
    """The whole service as an ASGI application. Raises UsageError for settings that would leave it open.

    replica: its name on Ray Serve, whose proxy gives every answer its request's id.
    """
    keys = settings.read_keys()
    metrics = Metrics(replica or "0")
    api = FastAPI(
        title="transit-survey",
        version=version("transit-survey"),
        description="Scores of single stars, by the very code of a sweep.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    api.add_exception_handler(HTTPException, _answer_error)
    api.add_exception_handler(RequestValidationError, _answer_invalid)
    api.add_exception_handler(ClientDisconnect, _answer_gone)
    api.add_exception_handler(Exception, _answer_defect)
    service = Service(settings, examiner, desk, metrics)
    api.include_router(_open_routes(service, key_needed=bool(keys)))
    for routes in (_star_routes, _job_routes, _list_routes):
        # The guard has checked the key by now; the dependency only tells OpenAPI.
        router = APIRouter(prefix="/v1", dependencies=[Depends(HTTPBearer(auto_error=False))], responses=FAULTS)
        routes(router, service)
        api.include_router(router)
    rules = Rules(
        keys=keys,
        hosts=settings.allowed_hosts,
        upload_bytes=settings.upload_bytes,
        files=FULL_FILES,
        places=settings.places,
        retry_s=settings.retry_s,
        names=replica is None,
    )
    return Guard(api, rules, metrics)


# Errors


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {code: word for word, code in reversed(CODES.items())}
    word = error.word if isinstance(error, Refusal) else words.get(error.status_code, "invalid")
    body = error_body(word, str(error.detail), request.state.request_id)
    return Response(body, CODES[word], headers=error.headers, media_type=JSON)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _answer_error(request, Refusal("invalid", _explain(error.errors())))


async def _answer_gone(request: Request, error: Exception) -> Response:
    return await _answer_error(request, Refusal("invalid", "the request ended before its body did"))


async def _answer_defect(request: Request, error: Exception) -> Response:
    """The guard, which the error reaches too, logs it."""
    return await _answer_error(request, Refusal("failed", DEFECT))


def _explain(problems: Sequence[Any]) -> str:
    """What is wrong with which field, in one line; nothing of what was sent is repeated but the name of a field."""
    lines = []
    for problem in problems[:5]:
        name = ".".join(str(part)[:LONGEST_FIELD] for part in problem["loc"] if part not in ("query", "body", "path"))
        lines.append(f"{name}: {problem['msg']}" if name else problem["msg"])
    return "; ".join(lines)


# Work


@dataclass
class Errand:
    """One question on its way. job: its id at the desk, once it has outlasted its request."""

    stage: str = "queue"
    job: str | None = None
    began: float = field(default_factory=time.monotonic)


class Service:
    """What the routes share."""

    def __init__(self, settings: Settings, examiner: Examiner, desk: Desk, metrics: Metrics) -> None:
        self.settings, self.examiner, self.desk, self.metrics = settings, examiner, desk, metrics
        self._resolve = resolver(settings.catalogs)
        self._background: set[asyncio.Task[Any]] = set()

    def find_target(self, text: str, observations: Sequence[int]) -> Target:
        """Raises Refusal for what names no star."""
        try:
            target = parse_target(text, resolve=self._resolve)
        except UsageError:
            # Its words are for who keeps the tables, and name folders of this machine.
            raise Refusal(
                "invalid",
                f"{text[:64]!r} names no star here: write TIC 441462736, KIC 757076, EPIC 201367065, or the name of a "
                "TOI, KOI or planet of the tables that the service has",
            ) from None
        return Target(target.target_id, target.mission, tuple(sorted(set(observations))))

    async def respond(self, case: Case, question: Question, wait: float | None) -> Response:
        """The answer, or where it takes longer than the request waits, the job that it has become."""
        errand = Errand()
        work = self._keep(self._follow(case, question, errand))
        try:
            async with asyncio.timeout(self.settings.wait_s if wait is None else wait):
                answer = await asyncio.shield(work)
        except TimeoutError:
            return await self._make_job(errand, work)
        except asyncio.CancelledError:
            work.cancel()
            raise
        return _response(answer)

    async def score(self, request: Request, asked: forms.ScoreSettings, case: Case) -> Response:
        question = ScoreQuestion(_request_id(request), asked.plot, asked.format == "png", asked.tce)
        return await self.respond(case, question, asked.wait)

    async def read_form(self, model: type[R], request: Request, name: str, most: int) -> tuple[R, list[Upload]]:
        """The settings and the files of a form. Raises Refusal."""
        if not _is_form(request):
            raise Refusal("unsupported", f"send a form (multipart/form-data) with the file as `{name}`")
        async with request.form(max_files=most, max_fields=16, max_part_size=4096) as form:
            files = [part for part in form.getlist(name) if isinstance(part, UploadFile)]
            if not files or len(files) < sum(isinstance(part, UploadFile) for _, part in form.multi_items()):
                raise Refusal("invalid", f"send the file as `{name}`, and no other")
            asked = read_texts(model, {key: value for key, value in form.items() if isinstance(value, str)})
            return asked, [await self._read_upload(file, asked) for file in files]

    async def _read_upload(self, file: UploadFile, asked: Any) -> Upload:
        if (file.size or 0) > self.settings.upload_bytes:
            raise Refusal("too_large", f"a file may have {self.settings.upload_mb:g} MB")
        return Upload(file.filename or "upload", await file.read(), asked.mission, asked.time_zero)

    def describe_models(self) -> list[dict[str, Any]]:
        """Those that the configuration names, and the detector that comes with the survey."""
        score = self.settings.read_config().score
        named = [getattr(score, name) for name in schema.MODELS]
        return [answers.describe_model(find_artifact(name)) for name in named if name is not None]

    async def find_job(self, name: str) -> Job:
        """Raises Refusal where there is none, or no more."""
        found = await self.desk.look(name) if _JOB.fullmatch(name) else None
        if found is None:
            raise Refusal("not_found", "no such job, or its answer is no longer kept: ask again")
        return found

    async def ask(self, case: Case, question: Question) -> Answer:
        """The answer, however long it takes."""
        return await self._follow(case, question, Errand())

    async def _follow(self, case: Case, question: Question, errand: Errand) -> Answer:
        async with asyncio.timeout(self.settings.job_s):
            async for step in self.examiner.answer(case, question):
                if isinstance(step, Answer):
                    self.metrics.count_star(step.star or "ok")
                    return step
                errand.stage = step
        raise Refusal("failed", DEFECT)

    async def _make_job(self, errand: Errand, work: "asyncio.Task[Answer]") -> Response:
        try:
            errand.job = await self.desk.open("score")
        except Refusal:
            work.cancel()
            raise
        await self.desk.note(errand.job, errand.stage)
        self._keep(self._report(errand, work))
        job = Job(errand.job, "score", "running", errand.stage, time.monotonic() - errand.began)
        return job_response(job, 202, self.settings.retry_s)

    async def _report(self, errand: Errand, work: "asyncio.Task[Answer]") -> None:
        """Tells the desk how a job goes, until it is done."""
        assert errand.job is not None
        while not work.done():
            await asyncio.wait([work], timeout=ALIVE_S)
            await self.desk.note(errand.job, errand.stage)
        try:
            await self.desk.close(errand.job, work.result(), None)
        except TimeoutError:
            await self.desk.close(errand.job, None, f"not done after {self.settings.job_s:g} s")
        except Refusal as refusal:
            await self.desk.close(errand.job, None, refusal.detail)
        except Exception:  # it is logged, and whoever waits for the job is told
            log.exception("%s failed", errand.job)
            await self.desk.close(errand.job, None, DEFECT)

    def _keep(self, work: Any) -> "asyncio.Task[Any]":
        """A task that is not collected while it runs, and whose error is nobody's surprise."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.code, media_type=answer.media)


def job_response(job: Job, code: int = 200, retry_s: float | None = None) -> Response:
    """A job as JSON, its answer within; what is no JSON is fetched from result_url."""
    address = f"/v1/jobs/{job.id}"
    done = job.answer is not None
    inline = job.answer is not None and job.answer.media == JSON
    about = {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "stage": job.stage,
        "seconds": round(job.seconds, 3),
        "error": job.error,
        "status_url": address,
        "result_url": f"{address}/result" if done else None,
        "result": json.loads(job.answer.body) if inline and job.answer else None,
    }
    headers = {"location": address} if code == 202 else {}
    if job.state == "running" and retry_s is not None:
        headers["retry-after"] = str(max(1, round(retry_s)))
    return JSONResponse(about, code, headers=headers)


# Routes that anybody may ask


def _open_routes(service: Service, *, key_needed: bool) -> APIRouter:
    router = APIRouter()
    folder = Path(str(resources.files("serve") / "page"))
    files = {path.name: path for path in sorted(folder.iterdir()) if path.suffix in PAGE}

    @router.get("/", include_in_schema=False)
    async def page() -> Response:
        return Response(files["index.html"].read_bytes(), media_type=PAGE[".html"])

    @router.get("/page/{name}", include_in_schema=False)
    async def page_file(name: str) -> Response:
        if name not in files:
            raise Refusal("not_found", "no such file")
        return Response(files[name].read_bytes(), media_type=PAGE[files[name].suffix])

    @router.get("/health", summary="Whether the process answers.")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/ready", summary="Whether stars can be examined.", responses={503: {"description": "not yet"}})
    async def ready() -> Response:
        reason = await service_reason(service)
        about = {
            "ready": reason is None,
            "reason": reason,
            "key_needed": key_needed,
            "run": service.settings.run is not None,
            "version": version("transit-survey"),
            "examples": service.settings.examples,
        }
        return JSONResponse(about, 200 if reason is None else 503)

    @router.get("/metrics", summary="Prometheus metrics of this front.", response_class=Response)
    async def metrics() -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router


async def service_reason(service: Service) -> str | None:
    """Why no star can be examined now; None where one can."""
    try:
        async with asyncio.timeout(5.0):
            await service.desk.look("")
            await service.examiner.check()
    except TimeoutError:
        return "an examiner or the desk does not answer"
    except Refusal as refusal:
        return refusal.detail
    return None


# Routes that need the key


FAULTS: Final[dict[int | str, dict[str, Any]]] = {
    code: {"model": forms.ErrorAnswer, "description": ", ".join(sorted(word for word in CODES if CODES[word] == code))}
    for code in sorted(set(CODES.values()))
}
JOB: Final = {202: {"model": forms.JobAnswer, "description": "it takes longer than `wait`: ask status_url again"}}
SHEET: Final = {"content": {"image/png": {}}, "description": "the row, or the sheet of evidence where format is png"}


class QueryScore(forms.ScoreSettings):
    observations: str | None = Field(
        None, max_length=200, pattern=r"^[0-9,\s-]*$", description="only these: 1,14-16; all there are if not given"
    )


class FileScore(forms.ScoreSettings, forms.UploadSettings): ...


class FileAnomalies(forms.AnomalySettings, forms.UploadSettings): ...


class FileTraining(forms.TrainSettings, forms.UploadSettings): ...


def _star_routes(router: APIRouter, service: Service) -> None:
    scored: dict[str, Any] = {"responses": JOB | {200: SHEET | {"model": forms.ScoreAnswer}}}
    strange: dict[str, Any] = {"responses": JOB | {200: {"model": forms.AnomalyAnswer}}}

    @router.get("/score/{target}", openapi_extra={"parameters": _parameters(QueryScore)}, **scored)
    async def score_star(request: Request, target: Annotated[str, Parameter(max_length=64)]) -> Response:
        """Search and score a star: the row of a sweep, bit for bit."""
        asked = read_texts(QueryScore, request.query_params)
        star = service.find_target(target, _numbers(asked.observations))
        return await service.score(request, asked, Case(star, None, _periods(asked)))

    @router.post("/score", openapi_extra=_json_body(forms.ScoreRequest), **scored)
    async def score_asked(request: Request) -> Response:
        """Search and score a star."""
        asked = await read_json(forms.ScoreRequest, request)
        star = service.find_target(asked.target, asked.observations or ())
        return await service.score(request, asked, Case(star, None, _periods(asked)))

    @router.post("/score/file", openapi_extra=_form_body(FileScore, "file"), **scored)
    async def score_file(request: Request) -> Response:
        """Search and score a light curve that is uploaded: FITS, CSV or columns of text, gzipped or not."""
        asked, uploads = await service.read_form(FileScore, request, "file", 1)
        return await service.score(request, asked, Case(None, uploads[0], _periods(asked)))

    @router.post(
        "/anomalies",
        openapi_extra=_either_body(_json_body(forms.AnomalyRequest), _form_body(FileAnomalies, "file")),
        **strange,
    )
    async def find_anomalies(request: Request) -> Response:
        """What is strange in a star of the archive (JSON), or in a light curve that is uploaded (a form)."""
        asked: forms.AnomalySettings
        if _is_form(request):
            asked, uploads = await service.read_form(FileAnomalies, request, "file", 1)
            case = Case(None, uploads[0])
        else:
            asked = star = await read_json(forms.AnomalyRequest, request)
            case = Case(service.find_target(star.target, star.observations or ()))
        question = AnomalyQuestion(
            _request_id(request), asked.model, asked.contamination, asked.window, asked.vote_threshold
        )
        return await service.respond(case, question, asked.wait)


def _job_routes(router: APIRouter, service: Service) -> None:
    @router.post(
        "/train/anomaly",
        status_code=202,
        responses={202: JOB[202]},
        openapi_extra=_either_body(_json_body(forms.TrainRequest), _form_body(FileTraining, "files")),
    )
    async def train_anomaly(request: Request) -> Response:
        """Train a detector of anomalies as a job, on simulated stars (JSON), or on quiet stars uploaded (a form)."""
        asked: forms.TrainSettings
        lights: list[bytes] = []
        simulated = None
        if _is_form(request):
            asked, uploads = await service.read_form(FileTraining, request, "files", MOST_FILES)
            question = LightQuestion(_request_id(request))
            for upload in uploads:
                lights.append((await service.ask(Case(None, upload), question)).body)
        else:
            asked = said = await read_json(forms.TrainRequest, request)
            simulated = said.simulated
        given = (("anomaly.contamination", asked.contamination), ("anomaly.window", asked.window))
        name = await service.desk.train(simulated, lights, _overrides(given))
        return job_response(Job(name, "train", "running", None, 0.0), 202, service.settings.retry_s)

    @router.get("/jobs/{job}", responses={200: {"model": forms.JobAnswer}})
    async def job_state(job: str) -> Response:
        """How a job goes, and its answer once it is done."""
        return job_response(await service.find_job(job), retry_s=service.settings.retry_s)

    @router.get("/jobs/{job}/result", responses={200: SHEET})
    async def job_result(job: str) -> Response:
        """The answer of a job that is done, as it would have been given at once."""
        found = await service.find_job(job)
        if found.answer is None:
            raise Refusal("not_found", f"{job} has no result: it is {found.state}")
        return _response(found.answer)


def _list_routes(router: APIRouter, service: Service) -> None:
    @router.get("/models", responses={200: {"model": forms.ModelsAnswer}})
    async def list_models() -> Response:
        """The models that score here, and the detectors that were trained."""
        known = [*await asyncio.to_thread(service.describe_models), *await service.desk.detectors()]
        return Response(answers.models_answer(known), media_type=JSON)

    @router.get(
        "/candidates",
        responses={200: {"model": forms.CandidatesAnswer}},
        openapi_extra={"parameters": _parameters(CandidatesQuery)},
    )
    async def recent(request: Request) -> Response:
        """The best candidates of the run that the service was given."""
        asked = read_texts(CandidatesQuery, request.query_params)
        run = service.settings.run
        if run is None:
            raise Refusal("not_found", "the service was given no run: `survey serve --run RUN`")
        try:
            return Response(await asyncio.to_thread(answers.candidates_answer, run, asked.limit), media_type=JSON)
        except UsageError as error:
            # It names folders of this machine.
            log.warning("the run cannot be shown: %s", error)
            raise Refusal("not_found", "the service's run cannot be shown, or not yet; its log says why", 60) from None


class CandidatesQuery(forms.Request):
    limit: int = Field(50, ge=1, le=1000)


# Reading requests


def _request_id(request: Request) -> str:
    name: str = request.state.request_id
    return name


def _is_form(request: Request) -> bool:
    """Raises Refusal where its names are written in something else than UTF-8."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    if options.get(b"charset", b"utf-8").lower() not in (b"utf-8", b"utf8"):
        raise Refusal("unsupported", "send text as UTF-8")
    return kind == b"multipart/form-data"


def read_texts(model: type[R], texts: Mapping[str, str]) -> R:
    """Settings from a query or a form. Raises Refusal."""
    try:
        return model.model_validate_strings(dict(texts))
    except pydantic.ValidationError as error:
        raise Refusal("invalid", _explain(error.errors())) from None


async def read_json(model: type[R], request: Request) -> R:
    """Raises Refusal."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise Refusal("unsupported", f"send {JSON}, or where a file is sent a form (multipart/form-data)")
    try:
        return model.model_validate_json(await request.body())
    except pydantic.ValidationError as error:
        raise Refusal("invalid", _explain(error.errors())) from None


def _numbers(text: str | None) -> tuple[int, ...]:
    try:
        return parse_numbers(text) if text else ()
    except UsageError as error:
        raise Refusal("invalid", f"observations: {error}") from None


def _periods(asked: forms.ScoreSettings) -> tuple[str, ...]:
    return _overrides((("search.period_min", asked.period_min), ("search.period_max", asked.period_max)))


def _overrides(values: Iterable[tuple[str, float | None]]) -> tuple[str, ...]:
    return tuple(f"{name}={value!r}" for name, value in values if value is not None)


# What OpenAPI says of requests that are read by hand


def _parameters(model: type[pydantic.BaseModel]) -> list[dict[str, Any]]:
    properties = model.model_json_schema()["properties"]
    return [
        {"in": "query", "name": name, "required": False, "schema": _without_null(schema)}
        for name, schema in properties.items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A text cannot be null: it is not given."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    kept = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return kept | (choices[0] if choices else {})


def _json_body(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {JSON: {"schema": model.model_json_schema()}}}}


def _form_body(model: type[pydantic.BaseModel], files: str) -> dict[str, Any]:
    schema = model.model_json_schema()
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    several = {"type": "array", "items": file, "minItems": 1, "maxItems": MOST_FILES}
    properties = {name: _without_null(value) for name, value in schema["properties"].items()}
    schema |= {"properties": {files: several if files == "files" else file, **properties}, "required": [files]}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _either_body(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return {
        "requestBody": {
            "required": True,
            "content": first["requestBody"]["content"] | second["requestBody"]["content"],
        }
    }
