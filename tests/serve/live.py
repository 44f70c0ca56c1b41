"""A real `survey serve` with a Ray of its own, and clients that ask it over HTTP."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

PATIENCE_S = 300


@dataclass
class Live:
    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=PATIENCE_S, trust_env=False)

    def settle(self, response: httpx.Response) -> httpx.Response:
        """The answer itself, where the service made a job of what took long."""
        with self.client() as client:
            while response.status_code == 202:
                place = response.json()["status_url"]
                while client.get(place).json()["state"] == "running":
                    time.sleep(0.2)
                response = client.get(f"{place}/result")
        return response

    def family(self) -> list[psutil.Process]:
        """All processes that it has begun."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def replicas(self, name: str) -> list[int]:
        """Process ids of the replicas of a deployment."""
        found = []
        for one in self.family():
            with contextlib.suppress(psutil.Error):
                if f"ServeReplica:survey:{name}" in " ".join(one.cmdline()):
                    found.append(one.pid)
        return found

    def end(self) -> int:
        """Tells it to end, and waits for that."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def run_service(*words: str) -> Iterator[Live]:
    """Started, ready, and ended by process ids."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        command = [sys.executable, "-m", "survey", "serve", "--port", "0", "--workers", "1", *words]
        environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
        with open(log, "wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            yield Live(process, _wait_for_address(process, log), log)
        finally:
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(90)
            for one in [*family, process]:
                with contextlib.suppress(psutil.Error, ProcessLookupError):
                    one.kill()
            process.wait()


def _wait_for_address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    for _ in range(10 * PATIENCE_S):
        if found := re.search(r"(http://127\.0\.0\.1:\d+)  the page", log.read_text()):
            return found[1]
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())
