"""One limiter for all processes of a run: a named actor keeps the lines (`survey.stars.limits`), the others ask it.

A client speaks for all threads of its process in one exchange at a time, so that what comes up meanwhile goes into the
next: the more is asked, the fewer calls a request costs. Permits are leases that the client renews; those of a process
that died are taken back. The actor is restarted where it dies, and learns from the clients which permits are out; as
long as it cannot be reached, each client keeps to its share.
"""

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import NamedTuple

import ray
from ray.exceptions import GetTimeoutError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from survey.config import Config
from survey.stars.limits import Down, Limits, Lines, Outcome, Policy, Reply, outcome_of

LEASE_S = 30.0
RENEW_S = 5.0

ANSWER_S = 10.0
"""An actor that has not answered for this long is one that cannot be reached."""

ALONE_S = 10.0
"""How long a client keeps to its share before it tries again."""

IDLE_S = 30.0
"""A client that has nothing to say for this long stops its thread."""


class Permit(NamedTuple):
    host: str
    name: str


Told = tuple[Permit, Outcome]
Exchange = Callable[[Sequence[Permit], Sequence[Told], Sequence[Permit]], list[Reply]]
"""From the permits that are wanted, what came of others, and those still held, to a reply for each that is wanted."""


class Unreachable(Exception):
    """Nobody keeps the lines for now."""


class Keeper:
    """Keeps the lines of a run.

    reborn: it takes the place of one that died. Then it only listens at first, until every client has said what it
    holds, and begins with nothing saved up.
    """

    def __init__(self, policy: Policy, *, reborn: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._listens_until = clock() + (2 * RENEW_S if reborn else 0.0)
        self._lines = Lines(policy, spent_at=self._listens_until if reborn else None)

    def exchange(self, wanted: Sequence[Permit], told: Sequence[Told], held: Sequence[Permit]) -> list[Reply]:
        now = self._clock()
        for permit, outcome in told:
            self._lines[permit.host].tell(now, permit.name, outcome)
        for permit in held:
            self._lines[permit.host].hold(now, permit.name)
        if now < self._listens_until:
            return [Reply(False, self._listens_until - now)] * len(wanted)
        return [self._lines[permit.host].ask(now, permit.name) for permit in wanted]


@dataclass
class _Wish:
    """A thread that waits for its turn. reply: None where the client is on its own."""

    permit: Permit
    due: float
    reply: Reply | None = None
    settled: threading.Event = field(default_factory=threading.Event)

    def settle(self, reply: Reply | None) -> None:
        self.reply = reply
        self.settled.set()


class SharedLimits:
    """The limiter of one process of a run. share: what it allows itself while the keeper is out of reach."""

    def __init__(self, exchange: Exchange, share: Policy, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._exchange, self._clock = exchange, clock
        self._own = Limits(share)
        self._alone_until = float("-inf")
        self._name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._numbers = count()
        self._news = threading.Condition()
        self._wishes: list[_Wish] = []
        self._told: list[Told] = []
        self._held: set[Permit] = set()
        self._renewed = float("-inf")
        self._speaks = False

    @contextlib.contextmanager
    def asking(self, host: str) -> Iterator[None]:
        granted = self._wait(host)
        if granted is None:
            with self._own.asking(host):
                yield
            return
        permit, wait_s = granted
        try:
            time.sleep(wait_s)
            yield
        except BaseException as error:  # it goes on; what it was decides what is told
            self._tell(permit, outcome_of(error))
            raise
        self._tell(permit, outcome_of(None))

    def _wait(self, host: str) -> tuple[Permit, float] | None:
        """A permit of the keeper, and how long it is until its time; None while the client is on its own."""
        if self._clock() < self._alone_until:
            return None
        wish = _Wish(Permit(host, f"{self._name}-{next(self._numbers)}"), self._clock())
        with self._news:
            self._wishes.append(wish)
            self._speak()
        wish.settled.wait()
        if wish.reply is None:
            return None
        if wish.reply.reason is not None:
            raise Down(wish.reply.reason)
        return wish.permit, wish.reply.wait_s

    def _tell(self, permit: Permit, outcome: Outcome) -> None:
        with self._news:
            self._held.discard(permit)
            self._told.append((permit, outcome))
            self._speak()

    def _speak(self) -> None:
        """Has the client's thread speak to the keeper; the lock is held."""
        if not self._speaks:
            self._speaks = True
            threading.Thread(target=self._converse, name="limits", daemon=True).start()
        self._news.notify()

    def _converse(self) -> None:
        try:
            self._exchange_news()
        except BaseException:  # it goes on, and nobody waits for a thread that is no more
            with self._news:
                self._speaks = False
                self._dismiss()
            raise

    def _exchange_news(self) -> None:
        while self._listen():
            with self._news:
                now = self._renewed = self._clock()
                wishes = [wish for wish in self._wishes if wish.due <= now]
                told, held = self._told, tuple(self._held)
                self._told = []
            try:
                replies = self._exchange([wish.permit for wish in wishes], told, held)
            except Unreachable:
                with self._news:
                    self._alone_until = self._clock() + ALONE_S
                    self._dismiss()
            else:
                self._settle(wishes, replies)

    def _listen(self) -> bool:
        """Waits until there is something to say; False where there is nothing for long, and the thread ends."""
        with self._news:
            idle_since = self._clock()
            while (wait := self._until_news()) > 0:
                if not (self._wishes or self._held) and self._clock() - idle_since > IDLE_S:
                    # At once, so that whoever comes next starts another thread.
                    self._speaks = False
                    return False
                self._news.wait(wait)
            return True

    def _until_news(self) -> float:
        now = self._clock()
        if self._told:
            return 0.0
        times = [wish.due - now for wish in self._wishes]
        return min([*times, self._renewed + RENEW_S - now if self._held else RENEW_S])

    def _settle(self, wishes: Sequence[_Wish], replies: Sequence[Reply]) -> None:
        with self._news:
            now = self._clock()
            for wish, reply in zip(wishes, replies, strict=True):
                wish.due = now + reply.wait_s
                if reply.granted:
                    self._held.add(wish.permit)
                if reply.granted or reply.reason is not None:
                    self._wishes.remove(wish)
                    wish.settle(reply)

    def _dismiss(self) -> None:
        """Leaves those who wait to the client's own limits; the lock is held."""
        for wish in self._wishes:
            wish.settle(None)
        self._wishes.clear()


@contextlib.contextmanager
def kept(config: Config) -> Iterator[str]:
    """Starts the keeper of a run for the length of the block, beside the driver, and gives its name."""
    name = f"limits-{uuid.uuid4().hex}"
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    actor = ray.remote(num_cpus=0, max_restarts=-1)(_KeeperActor)
    keeper = actor.options(name=name, scheduling_strategy=here).remote(_policy(config))
    try:
        yield name
    finally:
        ray.kill(keeper)


class _KeeperActor(Keeper):
    def __init__(self, policy: Policy) -> None:
        super().__init__(policy, reborn=ray.get_runtime_context().was_current_actor_reconstructed)


def join(name: str, config: Config) -> SharedLimits:
    """The limiter of this process under the keeper of that name."""

    def exchange(wanted: Sequence[Permit], told: Sequence[Told], held: Sequence[Permit]) -> list[Reply]:
        try:
            replies: list[Reply] = ray.get(ray.get_actor(name).exchange.remote(wanted, told, held), timeout=ANSWER_S)
        except (RayActorError, GetTimeoutError, ValueError) as error:  # ValueError: no actor has that name
            raise Unreachable(str(error)) from error
        return replies

    return SharedLimits(exchange, _policy(config).share(config.run.fetch_actors + config.run.search_actors))


def _policy(config: Config) -> Policy:
    return replace(Policy.of(config.run), lease_s=LEASE_S)
