"""`ray job submit -- python -m jobs.sweep` on a head of its own, started and ended by its process id."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from survey.runs import store
from survey.stars.simulate import write_archive

pytestmark = pytest.mark.verify

ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).with_name("ray"))


@dataclass(frozen=True)
class Head:
    url: str
    client: str
    environment: dict[str, str]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def answers(url: str, token: str) -> bool:
    request = urllib.request.Request(f"{url}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head with token authentication, on loopback."""
    gcs, dashboard, client, agent = free_ports(4)
    folder = tempfile.mkdtemp(prefix="ray-")
    token = secrets.token_hex(16)
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = [RAY, "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={gcs}"]
    command += [f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}", "--num-cpus=8"]
    # The usual port may be that of the Ray which other tests share.
    command += [f"--dashboard-agent-listen-port={agent}"]
    command += [f"--object-store-memory={200 << 20}", f"--temp-dir={folder}"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{dashboard}"
    try:
        deadline = time.monotonic() + 120
        while not answers(url, token):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield Head(url, f"ray://127.0.0.1:{client}", environment)
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        process.wait()
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(family, timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def archive_here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jobs") / "archive"
    write_archive(folder, kinds=["planet", "quiet", "truncated"])
    return folder


def check(run: Path) -> None:
    rows = pq.read_table(run / store.TARGETS).to_pylist()
    assert sorted(row["status"] for row in rows) == ["bad_file", "ok", "ok"]
    assert any(row["tces"] for row in rows)


def test_a_sweep_runs_as_a_job(head: Head, archive_here: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [RAY, "job", "submit", f"--address={head.url}", "--working-dir=.", "--"]
    command += ["python", "-m", "jobs.sweep", f"--source=mirror:{archive_here}", f"--out={run}"]
    run_when_ready(command, working_folder(tmp_path), head, "No available agent")
    check(run)


def test_a_client_of_a_cluster_keeps_the_run_folder(head: Head, archive_here: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "survey", "sweep", f"--source=mirror:{archive_here}", f"--out={run}"]
    command += [f"--address={head.client}"]
    run_when_ready(command, ROOT, head, "Initialization failure from server")
    check(run)


def run_when_ready(command: list[str], folder: Path, head: Head, unready: str) -> None:
    """A head answers before its agent takes jobs, and before its servers for clients stay up: it says to try again."""
    deadline = time.monotonic() + 180
    done = subprocess.run(command, cwd=folder, env=head.environment, capture_output=True, text=True)
    while done.returncode and unready in done.stdout + done.stderr and time.monotonic() < deadline:
        time.sleep(2)
        done = subprocess.run(command, cwd=folder, env=head.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def working_folder(place: Path) -> Path:
    """What a person would submit: the project without its environment and its runs."""
    folder = place / "project"
    for name in ("survey", "jobs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc"))
    return folder
