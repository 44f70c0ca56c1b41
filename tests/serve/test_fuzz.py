"""The whole of the interface, asked by a machine that knows its OpenAPI: what is right, and what is nearly."""

import ctypes
import gc
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

from serve import desk as desks
from serve.answers import bodies
from serve.cases import JSON, PNG, AnomalyQuestion, Answer, LightQuestion
from serve.desk import Desk
from serve.examiner import Examiner
from serve.refusals import CODES, Refusal
from serve.routes import make_api
from serve.settings import KEYS, Settings
from serve.training import Trained
from survey import config as configs
from survey.learning.artifact import find_artifact
from survey.runs.stages import examine, rows_of
from survey.schema import pack
from survey.stars.sources import open_source
from survey.stars.targets import parse_target
from tests.serve.asking import Client
from tests.serve.conftest import KEYS_KNOWN, QUICK, Stars
from tests.serve.live import run_service
from tests.stars.fits_files import spoc_bytes

pytestmark = pytest.mark.verify

CASES = 400
"""Of each operation and each way to make them; what is checked at last is their sum."""
LEAST = 5000
LIVE_CASES = 20
SLOPE = 1024.0
"""Bytes that a request may leave behind."""

DECLARED = {503: {"fetch_failed", "not_ready"}}
"""Errors of the server that it may answer, by their words."""


class Canned:
    """An examiner that answers each question with one of a few bodies that a real one has made."""

    def __init__(self, stars: Stars) -> None:
        config = configs.load(overrides=QUICK)
        source = open_source(stars.source, config)
        about = {"source": "mirror", "request_id": "canned", "seconds": 0.1}
        tables = [examine(parse_target(stars.names[kind]), config, source) for kind in ("planets", "quiet", "empty")]
        rows = [rows_of(table)[0] for table in tables]
        self._rows = [bodies.score_answer(row, config, plot=plot, **about) for row in rows for plot in (False, True)]
        question = AnomalyQuestion("canned", "own")
        self._strange = [bodies.anomaly_answer(row, None, config, question, **about) for row in rows[:2]]
        self._sheet = bodies.sheet_png(rows[0], config, None)
        self._light = pack(examine(parse_target(stars.names["quiet"]), config, source)).ljust(8)
        self.turn = 0

    async def answer(self, case: Any, question: Any) -> Any:
        self.turn += 1
        yield "fetch"
        if self.turn % 50 == 0:
            raise Refusal("fetch_failed", "the archive is down", 2.0)
        if isinstance(question, LightQuestion):
            yield Answer(200, "application/vnd.apache.arrow.stream", self._light, "ok")
        elif isinstance(question, AnomalyQuestion):
            yield Answer(200, JSON, self._strange[self.turn % len(self._strange)], "ok")
        elif question.sheet:
            yield Answer(200, PNG, self._sheet, "ok")
        else:
            yield Answer(200, JSON, self._rows[self.turn % len(self._rows)], "ok")

    async def check(self) -> None:
        pass


async def train_at_once(*_: Any) -> Trained:
    return Trained(bodies.describe_model(find_artifact("anomaly")), {"model.json": b"{}"})


class Memory:
    """Resident memory over the number of requests."""

    def __init__(self) -> None:
        self.points: list[tuple[int, int]] = []

    def note(self, requests: int) -> None:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        self.points.append((requests, psutil.Process().memory_info().rss))

    @property
    def slope(self) -> float:
        """Bytes a request, by least squares, once all was asked: the least of two rounds, as the process that holds it
        may take a step of its own in one of them."""
        rounds = np.array_split(np.array(self.points), 3)[1:]
        return min(float(np.polyfit(*points.T, 1)[0]) for points in rounds)


class Tally:
    """What was asked and answered; every answer is checked as it comes."""

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter()
        self.requests: list[Any] = []

    @property
    def count(self) -> int:
        return self.codes.total()

    def check(self, case: Any, response: Any) -> None:
        self.codes[f"{case.operation.label} {response.status_code}"] += 1
        self.requests.append(response.request)
        assert response.headers["x-request-id"][0]
        if response.status_code >= 400:
            _check_fault(response)
        if response.status_code >= 500 and not response.headers["content-type"][0].startswith("text"):
            words = DECLARED.get(response.status_code, set())
            assert case.operation.path == "/ready" or response.json()["error"]["code"] in words, response.text
        case.validate_response(response, checks=CHECKS)


CHECKS = (
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_schema_conformance,
)


def _check_fault(response: Any) -> None:
    said = response.json()
    if "error" not in said:
        assert set(said) >= {"ready", "reason"}
        return
    error = said["error"]
    assert CODES[error["code"]] == response.status_code
    assert error["request_id"] == response.headers["x-request-id"][0]
    assert "Traceback" not in error["message"]
    assert len(error["message"]) < 1000


def sweep(schema: Any, tally: Tally, modes: Any, cases: int, ask: Callable[[Any], Any]) -> None:
    """Asks every operation with so many cases of each kind."""
    for found in schema.get_all_operations():
        operation = found.ok()
        asked = operation.body or operation.query or operation.path_parameters
        for mode in modes if asked else [GenerationMode.POSITIVE]:

            @hypothesis.settings(
                max_examples=cases,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
                phases=[hypothesis.Phase.generate],
            )
            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            def ask_all(case: Any) -> None:
                tally.check(case, ask(case))

            ask_all()


def name_star(case: Any, name: str) -> None:
    """Where a case names a star, it is this one."""
    for place in (case.path_parameters, case.body):
        if isinstance(place, dict) and isinstance(place.get("target"), str):
            place["target"] = name


def replay(api: Any, requests: list[Any]) -> Memory:
    """Memory while the same is asked three times, without the machine that made it up, which keeps things itself."""
    client, memory = Client(api), Memory()
    for k, request in enumerate(3 * requests):
        place, _, query = request.url.partition("?")
        path = "/" + place.split("/", 3)[3]
        headers = [(name.lower().encode(), _as_bytes(value)) for name, value in request.headers.items()]
        body = _as_bytes(request.body or b"")
        client.send_raw(request.method, path, headers, [body], query.encode())
        if k % 100 == 0:
            memory.note(k)
    client.close()
    return memory


def _as_bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def load(api: Any) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", api, config=SchemathesisConfig())


MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@pytest.fixture(scope="module")
def canned(stars: Stars) -> Canned:
    return Canned(stars)


def keyed_api(examiner: Any, folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEYS, KEYS_KNOWN[0])
        told = Settings(source="demo", detectors=folder, jobs=10**6, wait_s=600)
        return make_api(told, examiner, Desk(told, train_at_once))


KEY = {"authorization": f"Bearer {KEYS_KNOWN[0]}"}


def test_nothing_breaks_and_nothing_is_kept(canned: Canned, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(desks, "KEPT_BYTES", 1 << 20)
    api = keyed_api(canned, tmp_path)
    schema, tally = load(api), Tally()

    def ask(case: Any) -> Any:
        """Half of the stars that are named are some."""
        if tally.count % 2:
            name_star(case, "TIC 900000001")
        return case.call(headers=KEY)

    sweep(schema, tally, MODES, CASES, ask)
    memory = replay(api, tally.requests)
    with capsys.disabled():
        print(f"\n{tally.count} cases, {memory.slope:.0f} bytes a request; {json.dumps(dict(tally.codes))}")
    assert tally.count >= LEAST
    assert memory.slope < SLOPE


def test_nothing_is_answered_without_the_key(canned: Canned, tmp_path: Path) -> None:
    schema, tally = load(keyed_api(canned, tmp_path)), Tally()
    before = canned.turn

    def ask(case: Any) -> Any:
        response = case.call(headers={"authorization": "Bearer " + KEYS_KNOWN[1]})
        assert (response.status_code == 401) == case.operation.path.startswith("/v1"), response.text
        return response

    sweep(schema, tally, MODES, CASES // 6, ask)
    assert canned.turn == before


def test_the_real_examiner_stands_it_too(stars: Stars, tmp_path: Path) -> None:
    told = Settings(source=stars.source, overrides=QUICK, detectors=tmp_path)
    examiner = Examiner(told, Desk(told, train_at_once))
    schema, tally = load(keyed_api(examiner, tmp_path)), Tally()
    names = list(stars.names.values())
    light = spoc_bytes(1500)

    def ask(case: Any) -> Any:
        """With stars that are there, where one is named."""
        name_star(case, names[tally.count % len(names)])
        for key in ("file", "files"):
            if isinstance(case.body, dict) and isinstance(case.body.get(key), bytes):
                case.body[key] = light
        return case.call(headers=KEY)

    sweep(schema, tally, [GenerationMode.POSITIVE], LIVE_CASES, ask)
    examiner.close()
    assert tally.count >= 100


def test_the_service_on_ray_stands_it_too(stars: Stars) -> None:
    words = [word for one in QUICK for word in ("--set", one)]
    with run_service("--source", stars.source, *words) as live:
        schema, tally = schemathesis.openapi.from_url(f"{live.address}/openapi.json"), Tally()
        sweep(schema, tally, MODES, LIVE_CASES, lambda case: case.call(timeout=120))
        assert tally.count >= 300
        with live.client() as client:
            assert client.get("/ready").json()["ready"]
        assert live.end() == 0
