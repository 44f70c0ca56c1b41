"""How hard an archive may be asked: requests a second, requests at once, and a pause while it does not answer.

A `Line` keeps the books of one host and nothing else: it is told the time, never sleeps and takes no lock, so that a
thread, a process or an actor for a whole cluster (`survey.runs.limits`) can keep it. `Limits` keeps the lines of one
process. Whoever asks an archive does so inside `with limiter.asking(host):`, and how the block ends tells what came
of it: FetchFailed is a failure, Busy the server's own wish to be left alone, anything else that was planned an answer.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal, Protocol

from survey.config import RunConfig
from survey.errors import FetchFailed, PermanentError

AHEAD_S = 0.25
"""A permit may be given this long before its time; who would wait longer asks again."""

BUSY_S = 0.05
"""When to ask again where all permits are out."""

MOMENT_S = 1e-3
"""Nobody is told to ask again sooner."""

RECENT = 3
MOSTLY = 0.75
"""A line is down, too, when of so many times `failures` requests more than this share failed."""


class Busy(FetchFailed):
    """The server asks to be left alone for `pause_s` seconds (Retry-After)."""

    def __init__(self, message: str, pause_s: float) -> None:
        super().__init__(message)
        self.pause_s = pause_s


class Down(FetchFailed):
    """Nobody is let through to the host: it has not answered for long, or asks to be left alone for long."""


class Limiter(Protocol):
    """Anything that holds a caller back until it may ask."""

    def asking(self, host: str) -> AbstractContextManager[None]:
        """The length of one request; waits for its turn. Raises Down."""


@dataclass(frozen=True)
class Policy:
    """What one host is spared.

    rate: requests a second; burst: at once after a rest; at_once: requests under way; failures: in a row, after which
    nobody asks but one every `pause_s`; patience_s: how long callers wait for a host that is down, from when it went
    down; lease_s: a permit of which nothing was heard for this long is taken back.
    """

    rate: float
    burst: float
    at_once: int
    failures: int
    pause_s: float
    patience_s: float
    lease_s: float = float("inf")

    @classmethod
    def of(cls, run: RunConfig) -> "Policy":
        rate = run.requests_per_s
        return cls(rate, max(1.0, rate), run.requests_at_once, run.outage_failures, run.outage_pause_s, run.patience_s)

    def share(self, parts: int) -> "Policy":
        """What is left to one of several who cannot ask each other."""
        return replace(self, rate=self.rate / parts, burst=1.0, at_once=max(1, self.at_once // parts))


@dataclass(frozen=True)
class Outcome:
    """What came of a request. pause_s: how long the server wants to be left alone."""

    kind: Literal["answered", "failed", "busy", "unknown"]
    pause_s: float = 0.0


def outcome_of(error: BaseException | None) -> Outcome:
    """What the end of a request says of the host: NoData is an answer, a defect or an interruption says nothing."""
    if error is None or isinstance(error, PermanentError):
        return Outcome("answered")
    if isinstance(error, Busy):
        return Outcome("busy", error.pause_s)
    return Outcome("failed" if isinstance(error, FetchFailed) else "unknown")


@dataclass(frozen=True)
class Reply:
    """To somebody who wants to ask: granted, after `wait_s`; else ask again after `wait_s`, or give up for a reason."""

    granted: bool
    wait_s: float
    reason: str | None = None


class Line:
    """The books of one host. Times are seconds of any one clock that never goes back; permits are the callers' names.

    Over any span of t seconds at most `burst + rate * t` permits fall due, and at most `at_once` are out.
    spent_at: when a whole burst was just asked, for all that is known.
    """

    def __init__(self, host: str, policy: Policy, spent_at: float | None = None) -> None:
        self.host, self.policy = host, policy
        # When all that was granted would be paid for, at the rate (the generic cell rate algorithm, ITU-T I.371).
        self._paid = float("-inf") if spent_at is None else spent_at + policy.burst / policy.rate
        self._out: dict[str, float] = {}
        self._paused_until = float("-inf")
        self._failed = 0
        self._recent: deque[bool] = deque(maxlen=RECENT * policy.failures)
        self._down_since: float | None = None
        self._probe: str | None = None
        self._probe_at = float("-inf")

    @property
    def state(self) -> Literal["closed", "open", "half open"]:
        """As of a circuit breaker: closed is in order, half open means that one request finds out."""
        if self._down_since is None:
            return "closed"
        return "open" if self._probe is None else "half open"

    @property
    def under_way(self) -> int:
        return len(self._out)

    def ask(self, now: float, permit: str) -> Reply:
        """Whether the holder of this name may ask. A permit that was granted must be told of, or it expires."""
        self._expire(now)
        if (refusal := self._refuse(now)) is not None:
            return refusal
        gap = 1.0 / self.policy.rate
        due = max(now, self._paid - (self.policy.burst - 1.0) * gap)
        if due - now > AHEAD_S:
            return Reply(False, max(MOMENT_S, due - now - AHEAD_S))
        self._paid = max(self._paid, due) + gap
        self._out[permit] = due + self.policy.lease_s
        if self._down_since is not None:
            self._probe = permit
        return Reply(True, due - now)

    def tell(self, now: float, permit: str, outcome: Outcome) -> None:
        """What came of a request, also of one whose permit has expired."""
        self._out.pop(permit, None)
        was_probe = permit == self._probe
        if was_probe:
            self._probe = None
        if outcome.kind == "busy":
            self._paused_until = max(self._paused_until, now + outcome.pause_s)
        elif outcome.kind == "answered":
            self._answered()
        elif outcome.kind == "failed":
            self._missed(now, was_probe)

    def hold(self, now: float, permit: str) -> None:
        """The holder is alive and still asking; a line that does not know the permit (a new one) takes it on."""
        self._out[permit] = now + self.policy.lease_s

    def _expire(self, now: float) -> None:
        for permit in [permit for permit, end in self._out.items() if end <= now]:
            del self._out[permit]
            if permit == self._probe:
                self._probe = None

    def _refuse(self, now: float) -> Reply | None:
        pause = self._paused_until - now
        if pause > 0:
            return self._put_off(pause, pause, f"{self.host} asks to be left alone for another {pause:.0f} s")
        if self._down_since is not None and (self._probe is not None or now < self._probe_at):
            down = now - self._down_since
            wait_s = BUSY_S if self._probe is not None else self._probe_at - now
            return self._put_off(
                # Who has no patience left is to be told so, and not when the next probe is due.
                min(wait_s, self.policy.patience_s - down + MOMENT_S),
                down,
                f"{self.host} has answered nobody for {down:.0f} s, and is only asked now and then until it does",
            )
        return Reply(False, BUSY_S) if len(self._out) >= self.policy.at_once else None

    def _put_off(self, wait_s: float, length_s: float, reason: str) -> Reply:
        return Reply(False, max(MOMENT_S, wait_s), reason if length_s > self.policy.patience_s else None)

    def _answered(self) -> None:
        if self._down_since is not None:
            self._recent.clear()
        self._failed, self._down_since = 0, None
        self._recent.append(False)

    def _missed(self, now: float, was_probe: bool) -> None:
        self._failed += 1
        self._recent.append(True)
        mostly = len(self._recent) == self._recent.maxlen and sum(self._recent) > MOSTLY * len(self._recent)
        if self._down_since is None and (self._failed >= self.policy.failures or mostly):
            self._down_since, was_probe = now, True
        if was_probe:
            self._probe_at = now + self.policy.pause_s


class Lines:
    """Lines of all hosts that are asked, each under the same policy; made when a host is first asked."""

    def __init__(self, policy: Policy, spent_at: float | None = None) -> None:
        self._policy, self._spent_at = policy, spent_at
        self._lines: dict[str, Line] = {}

    def __getitem__(self, host: str) -> Line:
        if host not in self._lines:
            self._lines[host] = Line(host, self._policy, self._spent_at)
        return self._lines[host]


class Limits:
    """The limiter of one process, for any number of threads."""

    def __init__(
        self,
        policy: Policy,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._lines = Lines(policy)
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._numbers = count()

    @contextmanager
    def asking(self, host: str) -> Iterator[None]:
        permit, wait_s = self._wait(host)
        try:
            self._rest(wait_s)
            yield
        except BaseException as error:  # it goes on; what it was decides what is told
            self._tell(host, permit, outcome_of(error))
            raise
        self._tell(host, permit, outcome_of(None))

    def _wait(self, host: str) -> tuple[str, float]:
        """A permit, and how long it is until its time."""
        permit = str(next(self._numbers))
        while True:
            with self._lock:
                reply = self._lines[host].ask(self._clock(), permit)
            if reply.reason is not None:
                raise Down(reply.reason)
            if reply.granted:
                return permit, reply.wait_s
            self._rest(reply.wait_s)

    def _rest(self, seconds: float) -> None:
        if seconds > 0:
            self._sleep(seconds)

    def _tell(self, host: str, permit: str, outcome: Outcome) -> None:
        with self._lock:
            self._lines[host].tell(self._clock(), permit, outcome)
