"""Cluster files, checked without a cloud: Ray's own schema of launchers, and the fields of KubeRay's resources."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LAUNCHERS = ("cluster.yaml", "jobs/cluster-gcp.yaml")
SWEEP = ROOT / "jobs" / "kubernetes" / "sweep.yaml"

RESOURCES: Final[dict[str, Any]] = {"requests": None, "limits": None}
CONTAINER: Final[dict[str, Any]] = {"name": None, "image": None, "resources": RESOURCES}
POD: Final[dict[str, Any]] = {"spec": {"restartPolicy": None, "tolerations": None, "containers": [CONTAINER]}}
CLUSTER: Final[dict[str, Any]] = {
    "rayVersion": None,
    "authOptions": {"mode": None},
    "enableInTreeAutoscaling": None,
    "autoscalerOptions": {"version": None, "idleTimeoutSeconds": None, "upscalingMode": None},
    "headGroupSpec": {"serviceType": None, "rayStartParams": None, "template": POD},
    "workerGroupSpecs": [
        {
            "groupName": None,
            "replicas": None,
            "minReplicas": None,
            "maxReplicas": None,
            "rayStartParams": None,
            "template": POD,
        }
    ],
}
JOB: Final[dict[str, Any]] = {
    "entrypoint": None,
    "submissionMode": None,
    "backoffLimit": None,
    "shutdownAfterJobFinishes": None,
    "ttlSecondsAfterFinished": None,
    "rayClusterSpec": CLUSTER,
}
"""Fields of KubeRay 1.5.1 (ray.io/v1) that are in use here; None: a value."""


def unknown_fields(found: Any, known: Any, place: str = "") -> list[str]:
    if isinstance(known, list):
        return [name for k, part in enumerate(found) for name in unknown_fields(part, known[0], f"{place}[{k}]")]
    if not isinstance(known, dict):
        return []
    names = [f"{place}.{name}" for name in found if name not in known]
    return names + [
        name for key in found.keys() & known for name in unknown_fields(found[key], known[key], f"{place}.{key}")
    ]


@pytest.fixture(params=LAUNCHERS)
def launcher(request: pytest.FixtureRequest) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / request.param).read_text())
    return content


def test_ray_takes_a_launcher(launcher: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(launcher))


def test_ray_refuses_a_launcher_with_a_wrong_key(launcher: dict[str, Any]) -> None:
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(jsonschema.ValidationError, match="max_wokers"):
        validate_config(prepare_config({**launcher, "max_wokers": 3}))


def test_the_head_does_no_work_and_workers_come_and_go(launcher: dict[str, Any]) -> None:
    types = launcher["available_node_types"]
    assert types[launcher["head_node_type"]]["resources"] == {"CPU": 0}
    workers = {name: kind for name, kind in types.items() if name != launcher["head_node_type"]}
    assert {"cpu", "gpu"} == set(workers)
    assert all(kind["min_workers"] == 0 < kind["max_workers"] for kind in workers.values())
    assert sum(kind["max_workers"] for kind in workers.values()) <= launcher["max_workers"]


def test_workers_are_spot_machines_and_the_head_is_none(launcher: dict[str, Any]) -> None:
    types = launcher["available_node_types"]
    spot = {name for name, kind in types.items() if "spot" in str(kind["node_config"]).lower()}
    assert spot == {"cpu", "gpu"}


def test_every_node_asks_for_the_token_and_the_dashboard_is_private(launcher: dict[str, Any]) -> None:
    starts = [
        line for key in ("head", "worker") for line in launcher[f"{key}_start_ray_commands"] if "ray start" in line
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token ray start" in line for line in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert "~/.ray/auth_token" in launcher["file_mounts"]


def test_on_aws_only_ssh_is_open_and_the_archive_is_near() -> None:
    provider = yaml.safe_load((ROOT / "cluster.yaml").read_text())["provider"]
    assert provider["region"] == "us-east-1"
    assert [(rule["FromPort"], rule["ToPort"]) for rule in provider["security_group"]["IpPermissions"]] == [(22, 22)]


def test_the_job_for_kubernetes_has_fields_that_kuberay_knows() -> None:
    job = yaml.safe_load(SWEEP.read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert unknown_fields(job["spec"], JOB, "spec") == []
    assert unknown_fields({**job["spec"], "entryPoint": ""}, JOB, "spec") == ["spec.entryPoint"]


def test_the_job_for_kubernetes_starts_small_and_with_a_token() -> None:
    cluster = yaml.safe_load(SWEEP.read_text())["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert [group["replicas"] for group in cluster["workerGroupSpecs"]] == [0, 0]


def test_all_run_the_same_image() -> None:
    images = {image for path in (*LAUNCHERS, SWEEP) for image in re.findall(r"image: (\S+)", (ROOT / path).read_text())}
    assert images == {"YOUR-REGISTRY/transit-survey:0.1.0"}
    from importlib.metadata import version

    assert f"FROM rayproject/ray:{version('ray')}" in (ROOT / "jobs" / "Dockerfile").read_text()
