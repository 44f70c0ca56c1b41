"""Replicas that are killed, and a service that is told to end while it works."""

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from tests.serve.conftest import QUICK, Stars
from tests.serve.live import Live, run_service

pytestmark = pytest.mark.verify

CLIENTS = 8
WAITING = "?wait=60&period_max=5.{}"


@pytest.fixture
def live(stars: Stars) -> Iterator[Live]:
    words = [word for one in QUICK for word in ("--set", one)]
    with run_service("--source", stars.source, *words) as made:
        yield made


def address(stars: Stars, kind: str = "quiet") -> str:
    return "/v1/score/" + stars.names[kind].replace(" ", "%20")


def ask(live: Live, path: str) -> httpx.Response:
    with live.client() as client:
        return client.get(path)


def test_an_examiner_that_is_killed_loses_nothing(live: Live, stars: Stars) -> None:
    assert ask(live, address(stars)).status_code == 200
    (examiner,) = live.replicas("Examiner")
    stop, answers = threading.Event(), []

    def ask_again_and_again(number: int) -> None:
        k = 0
        while not stop.is_set():
            k += 1
            response = live.settle(ask(live, address(stars) + WAITING.format(f"{number}{k % 10}")))
            answers.append((response.status_code, response.text[:300]))

    with ThreadPoolExecutor(CLIENTS) as pool:
        going = [pool.submit(ask_again_and_again, number) for number in range(CLIENTS)]
        time.sleep(1)
        psutil.Process(examiner).send_signal(signal.SIGKILL)
        while live.replicas("Examiner") in ([], [examiner]):
            time.sleep(0.2)
        before = len(answers)
        while len(answers) < before + 2 * CLIENTS:
            time.sleep(0.2)
        stop.set()
        for one in going:
            one.result()
    lost = [text for code, text in answers if code != 200]
    print(f"{len(answers)} answers, {len(lost)} lost: {lost[:3]}")
    assert {code for code, _ in answers} <= {200, 503}
    assert all('"not_ready"' in text for text in lost)
    assert len(lost) <= CLIENTS
    assert answers[-1][0] == 200
    assert live.end() == 0


def test_a_service_that_is_told_to_end_finishes_what_it_does(live: Live, stars: Stars) -> None:
    family = live.family()
    assert family
    on_its_way = threading.Event()
    with live.client() as client, ThreadPoolExecutor(1) as pool:
        assert client.get("/health").status_code == 200
        client.event_hooks = {"request": [lambda _: on_its_way.set()]}
        going = pool.submit(client.get, address(stars, "kepler_planet") + WAITING.format(9))
        assert on_its_way.wait(60)
        time.sleep(0.5)
        assert live.end() == 0
        assert going.result().status_code == 200
    gone, left = psutil.wait_procs(family, timeout=120)
    assert not left, [one.cmdline() for one in left]
    assert gone
    with pytest.raises(httpx.ConnectError):
        ask(live, "/health")
