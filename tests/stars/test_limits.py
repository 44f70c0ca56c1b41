"""How hard an archive is asked: the books of one host under a clock that tests turn, and a limiter of many threads."""

import contextlib
import heapq
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.errors import BadFile, FetchFailed, NoData
from survey.stars.limits import Busy, Down, Limits, Line, Outcome, Policy, outcome_of
from survey.stars.remote import parse_retry_after

POLICY = Policy(rate=10.0, burst=3.0, at_once=4, failures=3, pause_s=5.0, patience_s=60.0)
ANSWERED, FAILED = Outcome("answered"), Outcome("failed")


@dataclass(frozen=True)
class Caller:
    """arrives after the one before; takes so long; dies: is never heard of again once it may ask."""

    gap_s: float
    takes_s: float
    outcome: Outcome = ANSWERED
    dies: bool = False


@dataclass
class Story:
    """What became of callers: when each was due, when each came back, how many were out at any time."""

    due: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    most_out: int = 0
    end: float = 0.0


def play(line: Line, callers: list[Caller]) -> Story:
    """Everybody asks again when told to, tells when done; dead ones do not."""
    story, order = Story(), count()
    events: list[tuple[float, int, str, int]] = []
    arrival = 0.0
    for number, caller in enumerate(callers):
        arrival += caller.gap_s
        heapq.heappush(events, (arrival, next(order), "ask", number))
    while events:
        now, _, what, number = heapq.heappop(events)
        caller, permit = callers[number], str(number)
        if what == "tell":
            line.tell(now, permit, caller.outcome)
            story.back.append(now)
            continue
        reply = line.ask(now, permit)
        if reply.granted:
            story.due.append(now + reply.wait_s)
            if not caller.dies:
                heapq.heappush(events, (now + reply.wait_s + caller.takes_s, next(order), "tell", number))
        elif reply.reason is not None:
            story.given_up.append(reply.reason)
        else:
            heapq.heappush(events, (now + reply.wait_s, next(order), "ask", number))
        story.most_out = max(story.most_out, line.under_way)
        story.end = now
    return story


def most_in(times: list[float], length: float) -> int:
    """The largest number of times in any window of that length, both ends in it."""
    times = sorted(times)
    return max((sum(start <= time <= start + length for time in times) for start in times), default=0)


outcomes = st.sampled_from([ANSWERED, FAILED, Outcome("unknown"), Outcome("busy", 0.3), Outcome("busy", 2.0)])
crowds = st.lists(
    st.builds(
        Caller, st.sampled_from([0.0, 0.01, 0.3, 4.0]), st.sampled_from([0.0, 0.05, 1.0, 9.0]), outcomes, st.booleans()
    ),
    min_size=1,
    max_size=40,
)
policies = st.builds(
    Policy,
    rate=st.sampled_from([0.5, 3.0, 10.0, 300.0]),
    burst=st.sampled_from([1.0, 2.5, 20.0]),
    at_once=st.integers(1, 6),
    failures=st.integers(1, 5),
    pause_s=st.sampled_from([0.1, 5.0]),
    patience_s=st.sampled_from([0.0, 10.0, 1e9]),
    lease_s=st.just(60.0),
)


@settings(max_examples=50)
@given(policies, crowds)
def test_never_more_than_the_policy_whoever_comes_fails_or_dies(policy, crowd):
    line = Line("archive", policy)
    story = play(line, crowd)
    assert story.most_out <= policy.at_once
    for length in (0.0, 0.1, 1.0, 7.0, 30.0):
        assert most_in(story.due, length) <= policy.burst + policy.rate * length + 1e-6
    # Everybody came to an end, and nothing was lost: dead holders' permits too are there again for others.
    assert len(story.due) + len(story.given_up) == len(crowd)
    later = story.end + 1000.0
    assert line.ask(later, "probe").granted
    line.tell(later, "probe", ANSWERED)
    assert line.state == "closed"
    lasting = later + 1.0 + policy.lease_s / 2
    for number in range(policy.at_once):
        now = later + 1.0 + number / policy.at_once * policy.lease_s / 2
        assert ask_until(line, now, f"late {number}") < lasting
    assert line.under_way == policy.at_once
    assert not line.ask(lasting, "one too many").granted


def ask_until(line: Line, now: float, permit: str) -> float:
    """When somebody who asks again as told is let through."""
    while not (reply := line.ask(now, permit)).granted:
        now += reply.wait_s
    return now + reply.wait_s


def test_a_crowd_is_served_at_the_rate_and_in_turn():
    story = play(Line("archive", replace(POLICY, at_once=100)), [Caller(0.0, 0.0)] * 33)
    assert sorted(story.due) == pytest.approx([0.0, 0.0, 0.0, *(0.1 * k for k in range(1, 31))])


def test_what_the_server_asks_for_holds_for_everybody():
    line = Line("archive", POLICY)
    assert line.ask(0.0, "a").granted
    assert line.ask(0.0, "b").granted
    line.tell(1.0, "a", Outcome("busy", 30.0))
    line.tell(2.0, "b", ANSWERED)
    refused = line.ask(11.0, "c")
    assert (refused.granted, refused.wait_s, refused.reason) == (False, 20.0, None)
    assert line.ask(31.0, "c").granted
    line.tell(32.0, "c", Outcome("busy", 3600.0))
    assert "left alone for another 3599 s" in (line.ask(33.0, "d").reason or "")


def fail(line: Line, now: float, times: int) -> None:
    for number in range(times):
        assert line.ask(now, f"{now} {number}").granted
        line.tell(now, f"{now} {number}", FAILED)


def test_nobody_waits_for_a_probe_beyond_its_patience():
    line = Line("archive", replace(POLICY, rate=1e6, pause_s=600.0, patience_s=60.0))
    fail(line, 0.0, POLICY.failures)
    refused = line.ask(20.0, "x")
    assert (refused.granted, refused.reason) == (False, None)
    assert refused.wait_s == pytest.approx(40.0, abs=0.01)
    assert "has answered nobody for 60 s" in (line.ask(20.0 + refused.wait_s, "x").reason or "")


def test_the_breaker_opens_half_opens_and_closes():
    line = Line("archive", replace(POLICY, rate=1e6))
    fail(line, 0.0, 2)
    assert line.ask(0.0, "good").granted
    line.tell(0.0, "good", ANSWERED)
    fail(line, 1.0, 2)
    assert line.state == "closed"
    fail(line, 2.0, 1)
    assert line.state == "open"
    assert (line.ask(3.0, "x").granted, line.ask(3.0, "x").wait_s) == (False, 4.0)
    # One finds out, the others wait; it fails.
    assert line.ask(7.0, "probe").granted
    assert line.state == "half open"
    assert not line.ask(7.0, "x").granted
    line.tell(9.0, "probe", FAILED)
    assert line.state == "open"
    assert not line.ask(13.9, "x").granted
    # The next one is answered.
    assert line.ask(14.0, "probe 2").granted
    line.tell(15.0, "probe 2", ANSWERED)
    assert line.state == "closed"
    assert line.ask(15.0, "x").granted


def test_a_line_on_which_most_fail_goes_down_too():
    line = Line("archive", replace(POLICY, rate=1e6))
    for outcome in (FAILED, FAILED, ANSWERED, FAILED, FAILED, ANSWERED, FAILED, FAILED, ANSWERED):
        assert line.ask(0.0, "x").granted
        line.tell(0.0, "x", outcome)
    assert line.state == "closed"
    line = Line("archive", replace(POLICY, rate=1e6, failures=6))
    for outcome in [*[FAILED] * 5, ANSWERED] * 3 + [FAILED]:
        assert line.ask(0.0, "x").granted
        line.tell(0.0, "x", outcome)
    assert line.state == "open"


def test_an_outage_is_waited_for_once_and_not_by_every_star():
    line = Line("archive", replace(POLICY, rate=1e6))
    fail(line, 0.0, 3)
    waited = 0.0
    while not (reply := line.ask(waited, "x")).reason:
        if reply.granted:
            line.tell(waited, "x", FAILED)
        waited += max(reply.wait_s, 1e-3)
    assert 60.0 < waited < 66.0
    assert "answered nobody for 6" in reply.reason
    # Whoever comes now is told at once, until one of those who find out is answered.
    assert line.ask(waited, "y").reason is not None
    assert line.ask(waited + 5.0, "probe").granted
    line.tell(waited + 5.0, "probe", ANSWERED)
    assert line.ask(waited + 5.0, "y").granted


def test_permits_of_the_dead_come_back_and_so_does_the_probe():
    line = Line("archive", replace(POLICY, rate=1e6, lease_s=30.0))
    for number in range(4):
        assert line.ask(0.0, str(number)).granted
    assert not line.ask(1.0, "x").granted
    line.hold(20.0, "0")
    assert [line.ask(30.1, name).granted for name in ("x", "y", "z", "w")] == [True, True, True, False]
    # One that expired and is told of after all is no reason to give one more.
    line.tell(31.0, "1", ANSWERED)
    assert line.under_way == 4
    line = Line("archive", replace(POLICY, rate=1e6, lease_s=30.0))
    fail(line, 0.0, 3)
    assert line.ask(5.0, "dies").granted
    assert not line.ask(34.9, "x").granted
    assert line.ask(35.1, "x").granted


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (None, "answered"), (NoData("404"), "answered"), (BadFile("large"), "answered"), (FetchFailed("500"), "failed"),
        (Busy("503", 3.0), "busy"), (KeyboardInterrupt(), "unknown"), (ZeroDivisionError(), "unknown"),
    ],
)  # fmt: skip
def test_what_an_error_says_of_the_host(error, kind):
    assert outcome_of(error).kind == kind


def test_requests_are_held_to_a_rate_over_threads():
    """A clock that all threads share and that only sleeping turns on."""
    lock, now = threading.Lock(), [0.0]
    asked: list[float] = []

    def sleep(seconds: float) -> None:
        with lock:
            now[0] += seconds

    limits = Limits(replace(POLICY, at_once=100), clock=lambda: now[0], sleep=sleep)

    def ask() -> None:
        for _ in range(10):
            with limits.asking("archive"):
                asked.append(now[0])

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked.sort()
    assert len(asked) == 60
    assert all(number + 1 <= POLICY.burst + POLICY.rate * time + 1e-6 for number, time in enumerate(asked))


def test_threads_are_never_more_than_may_be_at_once_and_hosts_do_not_share():
    limits = Limits(replace(POLICY, rate=1e6, burst=1e6, at_once=3))
    inside = {"a": 0, "b": 0}
    most = {"a": 0, "b": 0}
    lock = threading.Lock()

    @contextlib.contextmanager
    def counted(host: str) -> Iterator[None]:
        with limits.asking(host):
            with lock:
                inside[host] += 1
                most[host] = max(most[host], inside[host])
            try:
                yield
            finally:
                with lock:
                    inside[host] -= 1

    barrier = threading.Barrier(6)

    def ask(host: str) -> None:
        # Three of each host can only meet if they are let in together.
        with counted(host):
            barrier.wait(30)
        for _ in range(5):
            with contextlib.suppress(NoData), counted(host):
                raise NoData("404")

    threads = [threading.Thread(target=ask, args=(host,)) for host in "ababab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == {"a": 3, "b": 3}


def test_a_dead_host_is_told_in_words():
    limits = Limits(replace(POLICY, rate=1e6, patience_s=0.0))
    for _ in range(3):
        with pytest.raises(FetchFailed), limits.asking("mast.stsci.edu"):
            raise FetchFailed("no route")
    with pytest.raises(Down, match=r"mast\.stsci\.edu has answered nobody for 0 s"), limits.asking("mast.stsci.edu"):
        pass
    with limits.asking("elsewhere"):
        pass


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0), ("0", 0.0), ("0.05", 0.05), ("", None), ("soon", None), ("-3", None), ("nan", None),
        ("inf", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_in_seconds_or_as_a_date(text, seconds):
    assert parse_retry_after(text) == seconds
