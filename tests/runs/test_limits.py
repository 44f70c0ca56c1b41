"""One limiter for many processes: clients and a keeper under a clock that tests turn, and the actor on a real Ray."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from survey.config import Config, load
from survey.errors import FetchFailed
from survey.runs import limits, store, stream
from survey.runs.limits import LEASE_S, RENEW_S, Keeper, Permit, SharedLimits, Told, Unreachable
from survey.runs.stages import FETCHED, Stage, make_fetch
from survey.stars.cache import Cache
from survey.stars.limits import Down, Outcome, Policy, Reply
from survey.stars.targets import Target
from tests.runs import fakes
from tests.stars.servers import serve_badly
from tests.stars.test_bad_archive import light_curve, name_of

POLICY = Policy(rate=1e6, burst=1e6, at_once=3, failures=3, pause_s=5.0, patience_s=0.0, lease_s=LEASE_S)
ANSWERED, FAILED = Outcome("answered"), Outcome("failed")


def permits(*names: str) -> list[Permit]:
    return [Permit("archive", name) for name in names]


def granted(replies: Sequence[Reply]) -> list[bool]:
    return [reply.granted for reply in replies]


def test_a_keeper_serves_all_clients_under_one_policy():
    keeper = Keeper(POLICY, clock=lambda: 0.0)
    assert granted(keeper.exchange(permits("a1", "a2"), [], [])) == [True, True]
    assert granted(keeper.exchange(permits("b1", "b2"), [], [])) == [True, False]
    told = [(permit, ANSWERED) for permit in permits("a1")]
    assert granted(keeper.exchange([Permit("elsewhere", "c1"), *permits("b2")], told, permits("a2"))) == [True, True]


def test_the_breaker_is_everybodys():
    keeper = Keeper(POLICY, clock=lambda: 0.0)
    for client in ("a", "b", "c"):
        assert granted(keeper.exchange(permits(client), [], [])) == [True]
        keeper.exchange([], [(Permit("archive", client), FAILED)], [])
    (reply,) = keeper.exchange(permits("d"), [], [])
    assert not reply.granted
    assert keeper.exchange([Permit("elsewhere", "e")], [], [])[0].granted


def test_what_a_dead_client_held_comes_back_and_what_a_living_one_holds_does_not():
    now = [0.0]
    keeper = Keeper(POLICY, clock=lambda: now[0])
    assert granted(keeper.exchange(permits("dead 1", "dead 2", "alive"), [], [])) == [True, True, True]
    while now[0] < LEASE_S:
        assert granted(keeper.exchange(permits("x"), [], permits("alive"))) == [False]
        now[0] += RENEW_S
    now[0] += 1.0
    assert granted(keeper.exchange(permits("x", "y", "z"), [], permits("alive"))) == [True, True, False]


def test_a_keeper_that_takes_the_place_of_another_learns_what_is_out():
    now = [0.0]
    keeper = Keeper(replace(POLICY, rate=2.0, burst=10.0), reborn=True, clock=lambda: now[0])
    (reply,) = keeper.exchange(permits("x"), [], permits("old 1", "old 2"))
    assert (reply.granted, reply.reason) == (False, None)
    now[0] += reply.wait_s
    # Nothing was saved up: half a second a request, as if everybody had just asked.
    replies = keeper.exchange(permits("x"), [], permits("old 1", "old 2"))
    assert not replies[0].granted
    now[0] += replies[0].wait_s
    assert granted(keeper.exchange(permits("x", "y"), [], permits("old 1", "old 2"))) == [True, False]


class Wire:
    """From clients of this process to a keeper in it; may be cut, and counts who is let through."""

    def __init__(self, policy: Policy) -> None:
        self.keeper = Keeper(policy)
        self.lock = threading.Lock()
        self.calls, self.wanted, self.told, self.is_cut = 0, 0, 0, False

    def __call__(self, wanted: Sequence[Permit], told: Sequence[Told], held: Sequence[Permit]) -> list[Reply]:
        if self.is_cut:
            raise Unreachable("cut")
        with self.lock:
            self.calls += 1
            self.wanted += len(wanted)
            self.told += len(told)
            return self.keeper.exchange(wanted, told, held)


class Crowd:
    """How many are inside at once, over all clients."""

    def __init__(self) -> None:
        self.lock, self.inside, self.most, self.through = threading.Lock(), 0, 0, 0

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        with self.lock:
            self.inside += 1
            self.through += 1
            self.most = max(self.most, self.inside)
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1


def let_through(clients: Sequence[SharedLimits], threads: int, times: int) -> Crowd:
    crowd = Crowd()

    def ask(client: SharedLimits) -> None:
        for _ in range(times):
            with client.asking("archive"), crowd.counted():
                time.sleep(0.001)

    running = [threading.Thread(target=ask, args=(client,)) for client in clients for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(300)
        assert not thread.is_alive()
    return crowd


def test_clients_share_what_may_be_at_once():
    wire = Wire(POLICY)
    crowd = let_through([SharedLimits(wire, POLICY) for _ in range(3)], threads=4, times=5)
    assert crowd.through == 60
    assert crowd.most <= 3


def test_threads_of_a_client_speak_together():
    wire = Wire(replace(POLICY, at_once=100))
    through = let_through([SharedLimits(wire, POLICY)], threads=16, times=20).through
    assert through == wire.wanted == 320
    # A call for what is wanted and one for what came of it would be two a request.
    assert wire.calls < 2 * through


def test_without_a_keeper_a_client_keeps_to_its_share(monkeypatch):
    monkeypatch.setattr(limits, "ALONE_S", 0.2)
    wire = Wire(POLICY)
    wire.is_cut = True
    client = SharedLimits(wire, replace(POLICY, at_once=2))
    assert let_through([client], threads=6, times=3).most <= 2
    assert wire.calls == 0
    wire.is_cut = False
    time.sleep(0.2)
    assert let_through([client], threads=6, times=3).most <= 3
    assert wire.calls > 0


def test_a_defect_in_the_conversation_leaves_nobody_waiting(monkeypatch):
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)

    def broken(*_: object) -> list[Reply]:
        raise ZeroDivisionError

    crowd = let_through([SharedLimits(broken, replace(POLICY, at_once=2))], threads=4, times=2)
    assert crowd.through == 8
    assert crowd.most <= 2
    assert raised


def test_a_client_tells_what_came_of_a_request():
    wire = Wire(replace(POLICY, failures=2))
    client, other = SharedLimits(wire, POLICY), SharedLimits(wire, POLICY)
    for _ in range(2):
        with pytest.raises(FetchFailed, match="500"), client.asking("archive"):
            raise FetchFailed("500")
    while wire.told < 2:
        time.sleep(0.001)
    with pytest.raises(Down, match="archive has answered nobody"), other.asking("archive"):
        pass


# ---- on a real Ray ---------------------------------------------------------------------------------------------------

CONFIG = load(overrides=["run.requests_per_s=100000", "run.requests_at_once=3", "run.fetch_actors=3"])


class Visitor:
    """A process of the run: threads that ask, and what they saw."""

    def __init__(self, keeper: str, config: Config = CONFIG) -> None:
        limits.RENEW_S = 1.0
        self.client = limits.join(keeper, config)

    def pid(self) -> int:
        return os.getpid()

    def ask(self, threads: int, times: int) -> tuple[int, int]:
        crowd = let_through([self.client], threads, times)
        return crowd.through, crowd.most

    def ask_times(self, times: int) -> list[float]:
        """When it was let through (Unix time) of so many times that it asked."""
        moments = []
        for _ in range(times):
            with contextlib.suppress(Down), self.client.asking("archive"):
                moments.append(time.time())
        return moments

    def fail(self, times: int) -> None:
        for _ in range(times):
            with contextlib.suppress(FetchFailed), self.client.asking("archive"):
                raise FetchFailed("the server answers 500")

    def hold(self) -> None:
        """Takes all that may be at once, and says so when it has it."""
        self.held = [self.client.asking("archive") for _ in range(CONFIG.run.requests_at_once)]
        for one in self.held:
            one.__enter__()


def is_known(name: str) -> bool:
    """Whether an actor has the name: one that is killed keeps it for a moment."""
    import ray

    try:
        ray.get_actor(name)
    except ValueError:
        return False
    return True


@pytest.mark.verify
@pytest.mark.usefixtures("local_ray")
@pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*", r"ignore::FutureWarning:ray\..*")
def test_processes_of_a_run_ask_one_keeper_and_outlive_each_other(monkeypatch):
    import ray

    # Long against what a busy machine takes to renew it.
    monkeypatch.setattr(limits, "LEASE_S", 15.0)
    visitors = ray.remote(num_cpus=0)(Visitor)
    with limits.kept(CONFIG) as name:
        first, second = visitors.remote(name), visitors.remote(name)
        assert ray.get([first.ask.remote(4, 10), second.ask.remote(4, 10)], timeout=600)[0][0] == 40
        # One that dies with all permits in hand: the others have them when its lease is over.
        ray.get(first.hold.remote(), timeout=600)
        waits = second.ask.remote(4, 5)
        assert ray.wait([waits], timeout=limits.LEASE_S + 2)[1] == [waits]
        os.kill(ray.get(first.pid.remote()), signal.SIGKILL)
        through, most = ray.get(waits, timeout=600)
        assert through == 20
        assert most <= 3
        # The keeper dies: whoever asks keeps to a share, and finds the next one.
        keeper = ray.get_actor(name)
        ray.kill(keeper, no_restart=False)
        through, most = ray.get(second.ask.remote(4, 5), timeout=600)
        assert through == 20
        assert most <= 3
        time.sleep(limits.ALONE_S)
        assert ray.get(second.ask.remote(4, 5), timeout=600)[0] == 20
        ray.kill(keeper, no_restart=True)
        while is_known(name):
            time.sleep(0.1)
        assert ray.get(second.ask.remote(4, 5), timeout=600) == (20, 1)
    for visitor in (first, second):
        ray.kill(visitor)


@pytest.mark.verify
@pytest.mark.usefixtures("local_ray")
@pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*", r"ignore::FutureWarning:ray\..*")
def test_processes_share_one_rate_and_one_breaker():
    import ray

    rate = 20.0
    asked = [f"run.requests_per_s={rate}", "run.requests_at_once=4", "run.fetch_actors=3", "run.patience_s=0"]
    config = load(overrides=[*asked, "run.outage_pause_s=600"])
    visitors = ray.remote(num_cpus=0)(Visitor)
    with limits.kept(config) as name:
        some = [visitors.remote(name, config) for _ in range(3)]
        ray.get([visitor.pid.remote() for visitor in some], timeout=600)
        each = ray.get([visitor.ask_times.remote(40) for visitor in some], timeout=600)
        times = np.sort(np.concatenate(each))
        assert len(times) == 3 * 40
        # A burst of a second's worth, and then the rate: that of all together.
        assert np.all(np.arange(len(times)) <= rate * (1.0 + times - times[0]) + config.run.requests_at_once)
        ray.get(some[0].fail.remote(40), timeout=600)
        assert ray.get(some[1].ask_times.remote(5), timeout=600) == []
    for visitor in some:
        ray.kill(visitor)


@pytest.mark.verify
@pytest.mark.usefixtures("local_ray")
@pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*", r"ignore::FutureWarning:ray\..*")
def test_a_sweep_with_several_fetchers_keeps_to_one_limit(tmp_path):
    config = load(
        overrides=[
            *("run.fetch_actors=3", "run.fetch_threads=4", "run.shard_size=4", "run.requests_at_once=2"),
            *("run.requests_per_s=200", "run.backoff_s=0.01", "run.timeout_s=60"),
        ]
    )
    stars = [Target(f"TIC {tic}", "tess", (1,)) for tic in range(1, 37)]
    files = {f"/{name_of(star.number, 1)}": light_curve(star.number, 1, n=300) for star in stars}
    fetching = Stage("fetch", FETCHED, make_fetch, asks=True)
    with serve_badly(files, seed=1, share=0.0) as archive, store.open_run(tmp_path / "run", config, stars) as run:
        cache = Cache(tmp_path / "cache")
        status = stream.sweep(
            run, f"mirror:{archive.url}", cache=str(cache.folder), stages=[fetching, *fakes.FAKES[1:]]
        )
    assert status.counts == {"ok": 36}
    assert max(visit.at_once for visit in archive.visits) <= 2
    assert all(cache.get(path[1:]) == content for path, content in files.items())
