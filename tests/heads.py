"""A Ray head as a process of its own, with a token, ended by process ids; never by `ray stop`."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
RAY = str(Path(sys.executable).with_name("ray"))


@dataclass(frozen=True)
class Head:
    """url: of dashboard and jobs; client: for drivers outside; address: for drivers on this machine."""

    url: str
    client: str
    address: str
    metrics: str
    environment: dict[str, str]

    def ask(self, path: str, method: str = "GET") -> Any:
        """The answer of the dashboard, which is asked again for a while: on a busy machine it gives none at times.

        Raises OSError.
        """
        deadline = time.monotonic() + 180
        while True:
            try:
                return self._ask_once(path, method)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def _ask_once(self, path: str, method: str = "GET") -> Any:
        token = self.environment["RAY_AUTH_TOKEN"]
        request = urllib.request.Request(self.url + path, method=method, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def listed(self, kind: str, **wanted: str) -> list[dict[str, Any]]:
        """What Ray's state API says of nodes or actors."""
        return _found(self.ask(_listing(kind, wanted)))

    def knows_itself(self) -> bool:
        """Whether it takes jobs and counts its own node: both come some time after the process."""
        try:
            self._ask_once("/api/jobs/")
            return bool(_found(self._ask_once(_listing("nodes", {"state": "ALIVE"}))))
        except OSError:
            return False


def _listing(kind: str, wanted: Mapping[str, str]) -> str:
    filters = "".join(f"&filter_keys={key}&filter_predicates=%3D&filter_values={wanted[key]}" for key in wanted)
    return f"/api/v0/{kind}?limit=1000{filters}"


def _found(answer: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer["data"]["result"]["result"]
    return found


PORTS = range(24_100, 32_000)
"""Neither those that a system gives to any socket, nor Ray's own for workers and for clients' servers."""


def free_ports(count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found += [port] * (port not in found)
    return found


@contextlib.contextmanager
def running_head(
    *options: str, ip: str = "127.0.0.1", gcs: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Head]:
    """A head with token authentication; options: more of those of `ray start`."""
    free, dashboard, client, agent, metrics = free_ports(5)
    gcs = gcs or free
    folder = tempfile.mkdtemp(prefix="ray-")  # short: the names of Ray's sockets have room for 107 bytes
    known = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **(environment or {}),
    }
    command = [RAY, "start", "--head", "--block", f"--node-ip-address={ip}", f"--port={gcs}"]
    command += [f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}"]
    # The usual port may be that of the Ray which other tests share.
    command += [f"--dashboard-agent-listen-port={agent}", f"--metrics-export-port={metrics}"]
    command += [f"--object-store-memory={200 << 20}", f"--temp-dir={folder}", *options]
    process = subprocess.Popen(command, cwd=ROOT, env=known, start_new_session=True, stdout=subprocess.DEVNULL)
    head = Head(
        f"http://127.0.0.1:{dashboard}",
        f"ray://127.0.0.1:{client}",
        f"{ip}:{gcs}",
        f"http://{ip}:{metrics}/metrics",
        known,
    )
    try:
        deadline = time.monotonic() + 400
        while not head.knows_itself():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield head
    finally:
        _end(process, folder)
        shutil.rmtree(folder, ignore_errors=True)


def _end(process: subprocess.Popen[bytes], folder: str) -> None:
    """Kills a head, its children, and what else has its folder in the command line."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    process.wait()
    for child in [*family, *_of_folder(folder)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(family, timeout=30)


def _of_folder(folder: str) -> Sequence[psutil.Process]:
    return [one for one in psutil.process_iter(["cmdline"]) if folder in " ".join(one.info["cmdline"] or ())]
