"""`ray job submit -- python -m jobs.sweep` on a head of its own, started and ended by its process id."""

import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from survey.learning.artifact import load_artifact
from survey.runs import recovery, store
from survey.runs.watch import Watch
from survey.stars.simulate import write_archive
from tests.heads import RAY, ROOT, Head, running_head
from tests.learning.view_files import make_columns, write_npz
from tests.runs import fakes
from tests.runs.driver import ADDRESS

pytestmark = pytest.mark.verify


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    gate = tmp_path_factory.mktemp("gate") / "open"
    gate.touch()
    settings = {"RAY_JOB_STOP_WAIT_TIME_S": "300", "RAY_metrics_report_interval_ms": "1000"}
    settings |= {fakes.GATE: str(gate), fakes.SLOW: "1"}
    with running_head("--num-cpus=8", environment=settings) as head:
        yield head


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
    run_when_ready(command, working_folder(tmp_path), head)
    check(run)


def test_injected_planets_are_a_job(head: Head, archive_here: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [RAY, "job", "submit", f"--address={head.url}", "--working-dir=.", "--"]
    command += ["python", "-m", "jobs.inject", f"--source=mirror:{archive_here}", f"--out={run}"]
    run_when_ready(command, working_folder(tmp_path), head)
    stars = pq.read_table(run / recovery.STARS).to_pylist()
    assert sorted(star["status"] for star in stars) == ["bad_file", "ok", "ok"]
    assert [star["period"] is not None for star in stars] == [star["status"] == "ok" for star in stars]
    assert (run / recovery.FIGURE).exists()


def test_a_training_runs_as_a_job(head: Head, tmp_path: Path) -> None:
    views, model = write_npz(tmp_path / "views.npz", make_columns(rows=160)), tmp_path / "triage"
    command = [RAY, "job", "submit", f"--address={head.url}", "--working-dir=.", "--"]
    command += ["python", "-m", "jobs.train", "triage", f"--set={views}", f"--out={model}", "--folds=2", "--seeds=1"]
    command += ["--epochs=2", "--set=train.batch=16", "--inputs=views", "--workers=1"]
    run_when_ready(command, working_folder(tmp_path), head)
    assert load_artifact(model).record.name == "triage"


def test_a_stopped_job_ends_in_order_and_the_next_one_goes_on(head: Head, tmp_path: Path) -> None:
    """By its id: status, logs, stop; and the same command again."""
    run, many = tmp_path / "run", tmp_path / "many"
    write_archive(many, kinds=["quiet"] * STARS)
    folder = working_folder(tmp_path)
    submit(head, folder, "stopped", f"--source=mirror:{many}", f"--out={run}", *SLOWLY)
    wait_until(lambda: len(committed(run)) >= 2, head, "stopped")
    head.ask("/api/jobs/stopped/stop", "POST")
    wait_until(lambda: state(head, "stopped") == "STOPPED", head, "stopped")
    before = committed(run)
    assert 2 <= len(before) < STARS // 2
    assert "interrupted; what was finished is kept" in head.ask("/api/jobs/stopped/logs")["logs"]
    assert [path.name for path in run.rglob(".*.tmp")] == []
    assert not (run / store.TARGETS).exists()

    submit(head, folder, "again", f"--source=mirror:{many}", f"--out={run}", *SLOWLY)
    wait_until(lambda: state(head, "again") == "SUCCEEDED", head, "again")
    assert {name: committed(run)[name] for name in before} == before
    assert len(pq.read_table(run / store.TARGETS)) == STARS


def test_rays_port_tells_how_a_sweep_goes(head: Head, tmp_path: Path) -> None:
    """A star a shard, a second each; after a few the sweep is held until the port says the same as the folder."""
    run, gate = tmp_path / "run", Path(head.environment[fakes.GATE])
    (tmp_path / "mirror").mkdir()
    command = [sys.executable, "-m", "tests.runs.driver", str(run), str(tmp_path / "mirror"), str(STARS)]
    command += ["run.shard_size=1", "run.search_actors=1"]
    gate.unlink()
    sweep = subprocess.Popen(command, cwd=ROOT, env=head.environment | {ADDRESS: head.address})
    try:
        while_running(sweep, lambda: told_of(run, head).get("shards_backlog") == {"": STARS})
        gate.touch()
        while_running(sweep, lambda: len(committed(run)) >= 5)
        gate.unlink()
        while_running(sweep, lambda: tells_all(run, head))
        assert set(told_of(run, head)["stars_total"]) >= {"ok", "no_data"}
        assert str(sweep.pid) in str(Watch(str(run)).look().holder)
        assert store.load_run(run).record["sessions"][-1]["dashboard"] == head.url.removeprefix("http://")
    finally:
        sweep.kill()
        sweep.wait()
        gate.touch()


def tells_all(run: Path, head: Head) -> bool:
    done, told = len(committed(run)), told_of(run, head)
    return (
        sum(told.get("stars_total", {}).values()) == done
        and told.get("stage_seconds_count", {}).get("fetch") == done
        and told["shards_backlog"][""] == told["stars_backlog"][""] == STARS - done
        and told["remaining_seconds"][""] > 0
    )


def told_of(run: Path, head: Head) -> dict[str, dict[str, float]]:
    """The survey's metrics of a run on Ray's port, by name, and by status or stage."""
    token = head.environment["RAY_AUTH_TOKEN"]
    request = urllib.request.Request(head.metrics, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
    except OSError:  # it stands still for a moment: whoever asks, asks again
        return {}
    found: dict[str, dict[str, float]] = {}
    for name, labels, value in re.findall(r"^ray_survey_(\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
        known = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if known["run"] == str(run):
            found.setdefault(name, {})[known.get("status") or known.get("stage") or ""] = float(value)
    return found


def while_running(sweep: subprocess.Popen[bytes], done: Callable[[], bool], limit_s: float = 400.0) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        assert sweep.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)


STARS = 60
SLOWLY = ("--set=run.shard_size=2", "--set=run.search_actors=1")


def committed(run: Path) -> dict[str, int]:
    """Name and time of every committed shard."""
    return {path.name: path.stat().st_mtime_ns for path in (run / "searched").glob("part-*.parquet")}


def submit(head: Head, folder: Path, job: str, *options: str) -> None:
    command = [RAY, "job", "submit", f"--address={head.url}", f"--submission-id={job}", "--no-wait"]
    command += ["--working-dir=.", "--", "python", "-m", "jobs.sweep", *options]
    run_when_ready(command, folder, head)


def state(head: Head, job: str) -> str:
    return str(head.ask(f"/api/jobs/{job}")["status"])


def wait_until(done: Callable[[], bool], head: Head, job: str, limit_s: float = 400.0) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        said = head.ask(f"/api/jobs/{job}/logs")["logs"]
        assert state(head, job) != "FAILED", said
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


def test_a_client_of_a_cluster_keeps_the_run_folder(head: Head, archive_here: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "survey", "sweep", f"--source=mirror:{archive_here}", f"--out={run}"]
    command += [f"--address={head.client}"]
    run_when_ready(command, ROOT, head)
    check(run)


UNREADY = ("No available agent", "Initialization failure from server", "connection timeout", "Failed to connect")


def run_when_ready(command: list[str], folder: Path, head: Head) -> None:
    """A head answers before its agent takes jobs, and before its servers for clients stay up: it says to try again."""
    deadline = time.monotonic() + 400
    while True:
        done = subprocess.run(command, cwd=folder, env=head.environment, capture_output=True, text=True)
        said = done.stdout + done.stderr
        if done.returncode == 0:
            return
        assert any(words in said for words in UNREADY), said
        assert time.monotonic() < deadline, said
        time.sleep(2)


def working_folder(place: Path) -> Path:
    """What a person would submit: the project without its environment and its runs."""
    folder = place / "project"
    for name in ("survey", "jobs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc"))
    return folder
