"""The service on one machine, with a Ray of its own, until it is told to end."""

import contextlib
import io
import logging
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

import ray
from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation

from serve.app import NAME, build
from serve.settings import Settings
from survey.errors import SurveyError, UsageError
from survey.runs.stream import started

READY_S: Final = 600.0
"""Longest start, compilation included."""

BEYOND_WAIT_S: Final = 15.0
"""A request may last so much longer than it waits for its answer, which is what turns it into a job."""

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def serve_here(settings: Settings, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM; then what is under way is finished.

    on_ready: gets the address once it answers. Raises UsageError for settings, hosts and ports that cannot be served.
    """
    if settings.laptop and host not in LOOPBACK:
        raise UsageError(f"without a key the service is for this machine alone (127.0.0.1), not for {host}")
    application = build(settings)
    port = _check_port(host, port)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    # Ray takes over the signals when it starts: they are ours again after that.
    with started(settings.read_config()), _told_to_end() as end:
        options = HTTPOptions(host=host, port=port, request_timeout_s=60.0 + BEYOND_WAIT_S)
        serve.start(proxy_location=ProxyLocation.HeadOnly, http_options=options)
        try:
            serve.run(application, name=NAME, route_prefix="/")
            address = f"http://{host}:{port}"
            _wait_until_ready(address, end)
            if not end.is_set():
                on_ready(address)
            end.wait()
            # Replicas finish what they do while the proxy still passes answers on; a shutdown ends both at once.
            serve.delete(NAME)
        except RuntimeError as error:
            raise SurveyError(f"the service did not start: {str(error).splitlines()[0]}") from error
        finally:
            # On stdout Ray would wonder that its controller ends before it has answered.
            with contextlib.redirect_stdout(io.StringIO()):
                serve.shutdown()
                ray.shutdown()


def _check_port(host: str, port: int) -> int:
    """The port, or for 0 one that is free. Raises UsageError where it is taken."""
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from None
        chosen: int = probe.getsockname()[1]
        return chosen


@contextlib.contextmanager
def _told_to_end() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set."""
    end = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        end.set()

    usual = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield end
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _wait_until_ready(address: str, end: threading.Event) -> None:
    """Raises SurveyError where it does not become ready."""
    for _ in range(int(READY_S / 0.25)):
        try:
            with urllib.request.urlopen(f"{address}/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if end.wait(0.25):
                return
    raise SurveyError(f"the service at {address} is not ready after {READY_S:g} s")
