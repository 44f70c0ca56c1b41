"""A cluster that grows when a sweep asks for machines and shrinks when it is done, with machines that are processes.

Ray's autoscaler and its provider of imaginary machines are the real ones; the head does no work, as in cluster.yaml.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray.util
import yaml

from survey.config import load
from survey.runs import store
from tests.heads import ROOT, Head, free_ports, running_head
from tests.runs import fakes
from tests.runs.driver import ADDRESS
from tests.runs.test_store import hashes

pytestmark = pytest.mark.verify

HEAD_ID = "f" * 51 + "00000"
"""The provider counts its machines up from here."""

STARS = 120
MACHINES = 3
CORES = 2
SEARCHERS = 5
"""And half a core to fetch: no fewer than MACHINES machines hold them."""

SETTINGS = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
    # Idle workers would be started at every join of a node.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
}

UNUSED: dict[str, Any] = {"auth": {}, "docker": {}, "file_mounts": {}, "file_mounts_sync_continuously": False} | {
    key: []
    for key in (
        "cluster_synced_files",
        "rsync_exclude",
        "rsync_filter",
        "initialization_commands",
        "setup_commands",
        "head_setup_commands",
        "worker_setup_commands",
        "head_start_ray_commands",
        "worker_start_ray_commands",
    )
}
"""What a machine that is a process does not need, and Ray's autoscaler wants to read."""


def launcher(gcs_address: str) -> dict[str, Any]:
    """As cluster.yaml, with another provider."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    provider = {
        "type": "external",
        "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
        "gcs_address": gcs_address,
        "head_node_id": HEAD_ID,
        "launch_multiple": True,
    }
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    memory = {"object_store_memory": 100 << 20}
    cpu = {"resources": {"CPU": CORES, **memory}, "node_config": {}, "min_workers": 0, "max_workers": MACHINES + 2}
    return {
        **UNUSED,
        "cluster_name": config["cluster_name"],
        "max_workers": MACHINES + 2,
        "upscaling_speed": config["upscaling_speed"],
        "idle_timeout_minutes": 0.1,
        "provider": provider,
        "head_node_type": "ray.head.default",
        "available_node_types": {"ray.head.default": head, "cpu": cpu},
    }


@contextmanager
def growing_cluster(folder: Path) -> Iterator[Head]:
    [gcs] = free_ports(1)
    ip = ray.util.get_node_ip_address()  # the imaginary machines know the head by no other
    scaling = folder / "scaling.yaml"
    scaling.write_text(yaml.safe_dump(launcher(f"{ip}:{gcs}")))
    environment = {**SETTINGS, fakes.GATE: str(folder / "gate"), fakes.SLOW: "0.3"}
    with running_head(
        "--num-cpus=0", f"--autoscaling-config={scaling}", ip=ip, gcs=gcs, environment=environment
    ) as head:
        yield head


class Timeline:
    """Counts of living nodes as they change, with seconds since the first look."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.begin = time.monotonic()
        self.changes: list[tuple[float, int]] = []

    def look(self) -> int:
        count = len(self.head.listed("nodes", state="ALIVE"))
        if not self.changes or self.changes[-1][1] != count:
            self.changes.append((round(time.monotonic() - self.begin, 1), count))
            print("nodes:", self.changes[-1])
        return count

    def wait(self, count: int, limit_s: float = 400.0) -> None:
        begin = time.monotonic()
        while self.look() != count:
            assert time.monotonic() - begin < limit_s, self.changes
            time.sleep(0.3)


def test_a_sweep_makes_a_cluster_grow_and_leaves_it_small(tmp_path: Path) -> None:
    run, mirror, gate = tmp_path / "run", tmp_path / "mirror", tmp_path / "gate"
    mirror.mkdir()
    with growing_cluster(tmp_path) as head:
        timeline = Timeline(head)
        assert timeline.look() == 1
        command = [sys.executable, "-m", "tests.runs.driver", str(run), str(mirror), str(STARS)]
        command += ["run.shard_size=6", f"run.search_actors={SEARCHERS}"]
        driver = subprocess.Popen(command, cwd=ROOT, env=head.environment | {ADDRESS: head.address})
        try:
            timeline.wait(1 + MACHINES)
            wait_for_work(head, driver)
            gate.touch()
            while driver.poll() is None:
                timeline.look()
                time.sleep(0.3)
        finally:
            driver.kill()
            driver.wait()
        assert driver.returncode == 0
        timeline.wait(1)
    counts = [count for _, count in timeline.changes]
    assert counts[0] == counts[-1] == 1
    assert max(counts) == 1 + MACHINES
    top = counts.index(max(counts))
    assert counts == sorted(counts[:top]) + sorted(counts[top:], reverse=True), timeline.changes
    ids = pq.read_table(run / store.TARGETS).column("target_id").to_pylist()
    assert ids == [target.target_id for target in fakes.targets(STARS)]
    assert hashes(run) == undisturbed(tmp_path / "reference")
    telemetry = store.read_telemetry(store.load_run(run))
    assert sorted(telemetry.column("target_id").to_pylist()) == sorted(t.target_id for t in fakes.targets(STARS))


def undisturbed(root: Path) -> dict[str, str]:
    """The bytes of the same run in this process."""
    config = load(overrides=["run.shard_size=50"])
    with store.open_run(root, config, fakes.targets(STARS)) as run:
        for shard, table in store.todo(run).items():
            store.commit(run, shard, fakes.described(table, config))
        store.merge(run)
    return hashes(root)


def wait_for_work(head: Head, driver: subprocess.Popen[bytes], limit_s: float = 200.0) -> None:
    """Until actors of the stream stand on every machine; none may stand on the head."""
    begin, places = time.monotonic(), set[str]()
    while len(places) < MACHINES:
        assert driver.poll() is None
        assert time.monotonic() - begin < limit_s, places
        actors = head.listed("actors", state="ALIVE")
        places = {actor["node_id"] for actor in actors if "MapWorker" in actor["class_name"]}
        time.sleep(0.3)
    assert HEAD_ID not in places
