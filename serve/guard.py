"""What stands before the routes: who asks, how much is sent, and one form for every error.

Plain ASGI, so that a body is counted while it comes in, and refused before anything of it is parsed.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serve.refusals import DEFECT, Refusal, error_body

log = logging.getLogger("survey.serve")

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

GUARDED: Final = "/v1/"
"""Paths below this need the key."""

COMPUTING: Final = ("/v1/score", "/v1/anomalies", "/v1/train")
"""Paths that begin so make work; only so many of them are answered at once."""

SMALL_BODY: Final = 64 << 10
"""Of a request that uploads nothing, bytes."""

GONE: Final = 499
"""Status, in metrics and logs alone, of a request whose client did not wait for the answer."""

AROUND_FILES: Final = 64 << 10
"""What a form may hold beside its files, bytes."""

_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")

_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
)


_FROM_ELSEWHERE: Final = ((b"sec-fetch-site", b"cross-site"), (b"sec-fetch-site", b"same-site"))


class Metrics:
    """What a front counts, in a registry of its own."""

    def __init__(self, replica: str) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "survey_http_requests", "Answered requests", ["replica", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "survey_http_seconds",
            "Seconds from a request to its answer",
            ["replica", "route"],
            buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self.registry,
        )
        self._stars = Counter("survey_stars", "Stars answered for", ["replica", "status"], registry=self.registry)
        self._busy = Gauge("survey_http_in_progress", "Requests being answered", ["replica"], registry=self.registry)
        self._replica = replica

    def begin(self) -> None:
        self._busy.labels(self._replica).inc()

    def end(self, route: str, status: int, seconds: float) -> None:
        self._busy.labels(self._replica).dec()
        self._requests.labels(self._replica, route, str(status)).inc()
        self._seconds.labels(self._replica, route).observe(seconds)

    def count_star(self, status: str) -> None:
        self._stars.labels(self._replica, status).inc()


def header(scope: Scope, name: bytes) -> bytes | None:
    """The one value of a header; of several, which no client of good will sends, none."""
    found = [value for key, value in scope["headers"] if key == name]
    return found[0] if len(found) == 1 else None


def _is_here(scope: Scope) -> bool:
    """Whether the client is on this machine; who calls without an address, a test or a socket file, is."""
    client = scope.get("client")
    try:
        return client is None or ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


def _site(origin: bytes) -> bytes | None:
    """Host and port of an origin; None for what is none."""
    try:
        return urlsplit(origin.decode("latin-1")).netloc.encode("latin-1")
    except ValueError:
        return None


@dataclass(frozen=True)
class Rules:
    """keys: those let in, none lets everybody in; hosts: likewise; upload_bytes: of a file, and files: of that size,
    most of a form to train with; places: requests that make work, at once, beyond which others come after retry_s;
    names: whether answers get the request's id here, and not from who passes them on.
    """

    keys: tuple[str, ...]
    hosts: tuple[str, ...]
    upload_bytes: int
    files: int
    places: int
    retry_s: float
    names: bool


class Guard:
    """All of it, around the routes."""

    def __init__(self, inner: Asgi, rules: Rules, metrics: Metrics) -> None:
        self._inner, self._rules, self._metrics = inner, rules, metrics
        self._digests = [hashlib.sha256(key.encode()).digest() for key in rules.keys]
        self._hosts = frozenset(rules.hosts)
        self._working = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        begin = time.perf_counter()
        request_id = self._request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500
        began = False

        async def answer(message: Message) -> None:
            nonlocal status, began
            if message["type"] == "http.response.start":
                status, began = message["status"], True
                ours = dict(_HEADERS) | ({b"x-request-id": request_id.encode()} if self._rules.names else {})
                message["headers"] = [*(pair for pair in message["headers"] if pair[0] not in ours), *ours.items()]
            await send(message)

        self._metrics.begin()
        try:
            self._admit(scope)
            with self._place(scope):
                await self._inner(scope, self._counted(scope, receive), answer)
        except Refusal as refusal:
            if began:
                raise
            await refuse(answer, refusal, request_id)
        except asyncio.CancelledError:
            status = GONE
            raise
        except Exception:
            # The client sees that it was us and how to name it; what happened stands in the log alone.
            log.exception("request %s failed", request_id)
            if not began:
                await refuse(answer, Refusal("failed", DEFECT), request_id)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.end(route, status, time.perf_counter() - begin)
            log.info("%s %s %s %d %.3fs", request_id, scope["method"], route, status, time.perf_counter() - begin)

    @staticmethod
    def _request_id(scope: Scope) -> str:
        """The client's, if it is a plain word, so that its logs and ours can be laid side by side."""
        given = header(scope, b"x-request-id")
        return given.decode() if given is not None and _ID.fullmatch(given) else secrets.token_hex(8)

    def _admit(self, scope: Scope) -> None:
        """Raises Refusal for who may not ask, or sends too much."""
        if scope["path"] not in ("/health", "/ready"):
            self._check_host(scope)
        if scope["path"].startswith(GUARDED):
            self._check_key(scope)
            self._check_origin(scope)
        length = header(scope, b"content-length")
        if length is not None and length.isdigit() and (len(length) > 18 or int(length) > self._limit(scope)):
            raise self._too_large(scope)

    @contextmanager
    def _place(self, scope: Scope) -> Iterator[None]:
        """Of a request that makes work, while it is answered. Raises Refusal where all are taken."""
        if not scope["path"].startswith(COMPUTING):
            yield
            return
        if self._working >= self._rules.places:
            raise Refusal("busy", "too many stars are being examined: come back later", self._rules.retry_s)
        self._working += 1
        try:
            yield
        finally:
            self._working -= 1

    def _check_host(self, scope: Scope) -> None:
        """A page of somebody else's may call itself this machine: its name gives it away (DNS rebinding)."""
        host = (header(scope, b"host") or b"").decode("latin-1").lower()
        if self._hosts and re.sub(r":\d+$", "", host) not in self._hosts:
            raise Refusal("forbidden", "the service is not known under this name; `hosts` in its settings lists them")

    def _check_key(self, scope: Scope) -> None:
        if not self._digests:
            return
        scheme, _, key = (header(scope, b"authorization") or b"").partition(b" ")
        given = hashlib.sha256(key.strip()).digest()
        # All keys are compared, whichever fits, and in constant time.
        fits = [hmac.compare_digest(given, digest) for digest in self._digests]
        if scheme.lower() != b"bearer" or not any(fits):
            raise Refusal("unauthorized", "send the header Authorization: Bearer KEY with a key of this service")

    def _check_origin(self, scope: Scope) -> None:
        """Without a key, only this machine may ask, and no page of another site in the name of whoever looks at it."""
        if self._digests:
            return
        if not _is_here(scope):
            raise Refusal("forbidden", "without a key the service is for its own machine alone")
        sites = [_site(value) for key, value in scope["headers"] if key == b"origin"]
        elsewhere = any(site is None or site != header(scope, b"host") for site in sites)
        if elsewhere or any(pair in _FROM_ELSEWHERE for pair in scope["headers"]):
            raise Refusal("forbidden", "pages of other sites may not ask here")

    def _limit(self, scope: Scope) -> int:
        """Bytes of a body, at most."""
        form = (header(scope, b"content-type") or b"").lower().startswith(b"multipart/form-data")
        if not form:
            return SMALL_BODY
        files = self._rules.files if scope["path"] == "/v1/train/anomaly" else 1
        return self._rules.upload_bytes * files + AROUND_FILES

    def _too_large(self, scope: Scope) -> Refusal:
        return Refusal("too_large", f"the request has more than {self._limit(scope):,} bytes")

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        came, limit = 0, self._limit(scope)

        async def receive_some() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > limit:
                raise self._too_large(scope)
            return message

        return receive_some


async def refuse(send: Send, refusal: Refusal, request_id: str) -> None:
    body = error_body(refusal.word, refusal.detail, request_id)
    headers = {**(refusal.headers or {}), "content-type": "application/json", "content-length": str(len(body))}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status_code, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
