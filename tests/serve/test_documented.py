"""What docs/serving.md and the README show is what the service answers."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from serve.desk import Desk
from serve.examiner import Examiner
from serve.routes import make_api
from serve.settings import Settings
from tests.conftest import ROOT

SHOWN = re.compile(r"<!-- answer: (GET|POST) (\S+) ([^\n]*?) ?-->\n```json\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n([^`]*?)^```\n\nprints `(.*?)`", re.MULTILINE)

PAGES = {page: (ROOT / page).read_text() for page in ("README.md", "docs/serving.md")}

DOCUMENTED = [
    pytest.param(*match.groups(), id=f"{page}: {match[1]} {match[2]}")
    for page, text in PAGES.items()
    for match in SHOWN.finditer(text)
]
PROGRAMS = [pytest.param(*match.groups(), id=page) for page, text in PAGES.items() for match in PYTHON.finditer(text)]


@pytest.fixture(scope="module")
def service() -> Iterator[httpx.ASGITransport]:
    settings = Settings(source="demo", laptop=True)
    desk = Desk(settings)
    examiner = Examiner(settings, desk)
    yield httpx.ASGITransport(make_api(settings, examiner, desk))
    examiner.close()


def differences(shown: Any, given: Any, path: str = "") -> Iterator[str]:
    """Where an answer is not as shown; what is not shown may be anything."""
    if isinstance(shown, dict) and isinstance(given, dict):
        for key, value in shown.items():
            yield from differences(value, given[key], f"{path}.{key}") if key in given else [f"{path}.{key} is missing"]
    elif isinstance(shown, list) and isinstance(given, list):
        open_ended = shown[-1:] == ["..."]
        begun = shown[:-1] if open_ended else shown
        if len(given) < len(begun) or (len(given) > len(begun)) != open_ended:
            yield f"{path} has {len(given)} entries"
        for k, (one, other) in enumerate(zip(begun, given, strict=False)):
            yield from differences(one, other, f"{path}[{k}]")
    elif isinstance(shown, float) and isinstance(given, float):
        # Another processor rounds otherwise in the last digits.
        if shown != pytest.approx(given, rel=1e-5, abs=1e-9):
            yield f"{path} is {given}, not {shown}"
    elif shown != given or isinstance(shown, bool) != isinstance(given, bool):
        yield f"{path} is {given!r}, not {shown!r}"


def test_documented_answers_are_found() -> None:
    assert len(DOCUMENTED) >= 6
    assert len(PROGRAMS) == 2
    assert list(differences({"a": [1.0, "..."]}, {"a": [1.1, 2]})) == [".a[0] is 1.1, not 1.0"]
    assert list(differences([1], [1, 2])) == [" has 2 entries"]
    assert list(differences({"a": 1}, {})) == [".a is missing"]


@pytest.mark.verify
@pytest.mark.parametrize(("method", "path", "body", "shown"), DOCUMENTED)
def test_documented_answers(service: httpx.ASGITransport, method: str, path: str, body: str, shown: str) -> None:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=service, base_url="http://127.0.0.1", timeout=None) as client:
            return await client.request(method, path, json=json.loads(body) if body else None)

    assert not list(differences(json.loads(shown), asyncio.run(ask()).json()))


@pytest.mark.verify
@pytest.mark.parametrize(("program", "printed"), PROGRAMS)
def test_documented_python_runs(
    service: httpx.ASGITransport,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    program: str,
    printed: str,
) -> None:
    class Client:
        """`httpx.Client` over the service in this process."""

        def __init__(self, **options: Any) -> None:
            self.options = options

        def request(self, *arguments: Any, **values: Any) -> httpx.Response:
            async def ask() -> httpx.Response:
                async with httpx.AsyncClient(transport=service, **self.options) as client:
                    return await client.request(*arguments, **values)

            return asyncio.run(ask())

        def get(self, path: str) -> httpx.Response:
            return self.request("GET", path)

        def post(self, path: str, json: Any) -> httpx.Response:
            return self.request("POST", path, json=json)

    monkeypatch.setattr(httpx, "Client", Client)
    monkeypatch.setattr(httpx, "post", lambda path, json, timeout: Client(timeout=timeout).post(path, json))
    exec(compile(program, "a documented program", "exec"), {})
    assert capsys.readouterr().out.strip() == printed
