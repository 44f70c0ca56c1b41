"""A Ray cluster on one machine: a head without work and nodes with an object store each, started and ended by their
process ids."""

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator

import psutil

from tests.heads import RAY, ROOT, free_ports

STORE_BYTES = 90 << 20
NODE_CPUS = 4

SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Twelve idle workers would be started at every join of a node.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
    # A dead node is missed within seconds; a slow one is given time.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "60000",
    "RAY_health_check_failure_threshold": "5",
}


class Node:
    """One `ray start --block` and what it started."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        command = [RAY, "start", "--block", "--node-ip-address=127.0.0.1", f"--object-store-memory={STORE_BYTES}"]
        command += ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0", *arguments]
        self.said = tempfile.TemporaryFile()  # noqa: SIM115  closed in `end`
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, start_new_session=True, stdout=self.said, stderr=subprocess.STDOUT
        )

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def is_up(self) -> bool:
        return b"Ray runtime started" in os.pread(self.said.fileno(), 1 << 20, 0)

    def family(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def raylet(self) -> psutil.Process | None:
        return next((child for child in self.family() if name_of(child) == "raylet"), None)

    def end(self) -> None:
        self.said.close()
        family = self.family()
        self.process.kill()
        self.process.wait()
        end_all(family)


class Cluster:
    """count: nodes that it is to have, head aside; `mend` brings it there."""

    def __init__(self, count: int) -> None:
        self.environment = os.environ | SETTINGS | {"RAY_AUTH_TOKEN": secrets.token_hex(16)}
        [port] = free_ports(1)
        self.folder = tempfile.mkdtemp(prefix="ray-")
        self.address = f"127.0.0.1:{port}"
        self.count = count
        head = ["--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        self.head = Node(head, self.environment)
        self.nodes: list[Node] = []

    def mend(self) -> bool:
        """Starts a node where one is missing; whether all are up.

        One at a time: nodes that join at the same moment take each other for themselves.
        """
        for node in [node for node in self.nodes if not node.is_alive()]:
            node.end()
            self.nodes.remove(node)
        if not all(node.is_up() for node in [self.head, *self.nodes]):
            return False
        if len(self.nodes) == self.count:
            return True
        self.nodes.append(Node([f"--address={self.address}", f"--num-cpus={NODE_CPUS}"], self.environment))
        return False

    def end(self) -> None:
        for node in [*self.nodes, self.head]:
            node.end()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def cluster_of(count: int) -> Iterator[Cluster]:
    cluster = Cluster(count)
    try:
        wait_for(cluster.mend, "the cluster did not start")
        yield cluster
    finally:
        cluster.end()


def wait_for(done: Callable[[], bool], why: str, limit_s: float = 300.0) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline, why
        time.sleep(0.05)


def name_of(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.name()
    return ""


def end_all(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=20)
