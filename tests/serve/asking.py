"""Asks an ASGI application as a client would, in this process; and parts of a service that answer as they are told."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx

from serve.answers import bodies
from serve.cases import JSON, Answer, Case, Question
from serve.desk import Desk
from serve.refusals import Refusal
from serve.routes import make_api
from serve.settings import Settings

ADDRESS = "http://127.0.0.1:8000"
END = bytes(0)  # an object of its own: `is` tells the last chunk


@dataclass
class Told:
    """An examiner that keeps what it is asked and goes through the steps that it was told.

    Steps are words, answers, errors to raise and events to wait for.
    """

    steps: Sequence[Any] = ("fetch", "detrend")
    asked: list[tuple[Case, Question]] = field(default_factory=list)
    broken: Refusal | None = None

    async def answer(self, case: Case, question: Question) -> AsyncIterator[str | Answer]:
        self.asked.append((case, question))
        for step in self.steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, asyncio.Event):
                await step.wait()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            else:
                yield step
        yield Answer(200, JSON, bodies.to_bytes({"request": question.request_id}), "ok")

    async def check(self) -> None:
        if self.broken:
            raise self.broken


class Client:
    """One application and one event loop, so that jobs go on from one request to the next."""

    def __init__(self, api: Any, key: str | None = None) -> None:
        self._runner = asyncio.Runner()
        self._api, self._key = api, key
        transport = httpx.ASGITransport(api)
        self._http = httpx.AsyncClient(transport=transport, base_url=ADDRESS, timeout=300)

    def close(self) -> None:
        self._runner.run(self._http.aclose())
        self._runner.close()

    def run(self, work: Any) -> Any:
        return self._runner.run(work)

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.ask("GET", path, **given)

    def post(self, path: str, **given: Any) -> httpx.Response:
        return self.ask("POST", path, **given)

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        """given: of httpx. The key goes along unless an authorization, or None for none, is among the headers."""
        return self.run(self.send(method, path, **given))

    async def send(self, method: str, path: str, *, headers: Any = (), **given: Any) -> httpx.Response:
        pairs = [*(headers.items() if isinstance(headers, Mapping) else headers)]
        if self._key is not None and not any(name.lower() == "authorization" for name, _ in pairs):
            pairs.append(("authorization", f"Bearer {self._key}"))
        return await self._http.request(method, path, headers=[pair for pair in pairs if pair[1] is not None], **given)

    def send_raw(
        self,
        method: str,
        path: str | bytes,
        headers: Iterable[tuple[bytes, bytes]] = (),
        chunks: Iterable[bytes | None] = (),
        query: bytes = b"",
        client: tuple[str, int] = ("127.0.0.1", 1),
    ) -> "Reply":
        """What no client library would send. The body comes in these chunks; after None the client is gone."""
        raw = path if isinstance(path, bytes) else path.encode()
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": unquote_to_bytes(raw).decode("utf-8", "replace"), "raw_path": raw, "query_string": query,
            "root_path": "", "headers": self._complete(headers), "client": client, "server": ("127.0.0.1", 8000),
        }  # fmt: skip
        return self.run(self._send_raw(scope, iter([*chunks, END])))

    def _complete(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """With a host and the key, unless they are there."""
        given = list(headers)
        usual = [(b"host", b"127.0.0.1:8000")]
        usual += [(b"authorization", f"Bearer {self._key}".encode())] if self._key else []
        return [pair for pair in usual if pair[0] not in dict(given)] + given

    async def _send_raw(self, scope: dict[str, Any], chunks: Iterator[Any]) -> "Reply":
        reply = Reply()

        async def receive() -> dict[str, Any]:
            chunk = next(chunks, None)
            if chunk is None:
                return {"type": "http.disconnect"}
            reply.taken += len(chunk)
            return {"type": "http.request", "body": chunk, "more_body": chunk is not END}

        await self._api(scope, receive, reply.take)
        return reply


@dataclass
class Reply:
    """taken: bytes of the body that were asked for."""

    status_code: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    taken: int = 0

    async def take(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            assert not self.status_code, "answered twice"
            self.status_code = message["status"]
            self.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            self.content += message.get("body", b"")

    def json(self) -> Any:
        return json.loads(self.content)


def make_client(examiner: Any, key: str | None = None, desk: Any = None, **settings: Any) -> Client:
    """A laptop's service unless told otherwise. key: one that the service knows, which goes along."""
    told = Settings(**{"source": "demo", "laptop": True, "wait_s": 600, **settings})
    return Client(make_api(told, examiner, desk or Desk(told)), key)


def fault(response: Any, status: int, word: str) -> str:
    """The message of an error, which has the one form of all errors."""
    assert response.status_code == status, response.content[:500]
    assert response.headers["content-type"] == JSON
    said = response.json()
    assert set(said) == {"error"}
    assert set(said["error"]) == {"code", "message", "request_id"}
    assert said["error"]["code"] == word
    assert said["error"]["request_id"] == response.headers["x-request-id"]
    message: str = said["error"]["message"]
    assert message
    assert "Traceback" not in message
    assert len(message) < 1000
    return message
