"""Cluster files, checked without a cloud: Ray's own schema of launchers, and the fields of KubeRay's resources."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LAUNCHERS = ("cluster.yaml", "jobs/cluster-gcp.yaml")
SWEEP = ROOT / "jobs" / "kubernetes" / "sweep.yaml"

SERVICE = ROOT / "serve" / "kubernetes.yaml"
DEPLOYMENT = ROOT / "serve" / "deploy.yaml"
NETWORK = ROOT / "jobs" / "kubernetes" / "network.yaml"

RESOURCES: Final[dict[str, Any]] = {"requests": None, "limits": None}
CONTAINER: Final[dict[str, Any]] = {
    "name": None,
    "image": None,
    "env": [{"name": None, "value": None, "valueFrom": {"secretKeyRef": {"name": None, "key": None}}}],
    "volumeMounts": [{"name": None, "mountPath": None}],
    "resources": RESOURCES,
}
POD: Final[dict[str, Any]] = {
    "spec": {
        "restartPolicy": None,
        "tolerations": None,
        "serviceAccountName": None,
        "containers": [CONTAINER],
        "volumes": [{"name": None, "emptyDir": {"sizeLimit": None}}],
    }
}
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
RAY_JOB: Final[dict[str, Any]] = {
    "entrypoint": None,
    "submissionMode": None,
    "backoffLimit": None,
    "shutdownAfterJobFinishes": None,
    "ttlSecondsAfterFinished": None,
    "rayClusterSpec": CLUSTER,
}
RAY_SERVICE: Final[dict[str, Any]] = {
    "serveConfigV2": None,
    "excludeHeadPodFromServeSvc": None,
    "upgradeStrategy": {"type": None},
    "rayClusterConfig": CLUSTER,
}
"""Fields of KubeRay 1.5.1 (ray.io/v1) that are in use here; None: a value."""

RESOURCES_OF_RAY: Final = {
    SWEEP: ("RayJob", RAY_JOB, "rayClusterSpec"),
    SERVICE: ("RayService", RAY_SERVICE, "rayClusterConfig"),
}


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


def test_on_aws_the_archive_is_near_and_no_machine_is_in_a_group_that_ray_makes() -> None:
    """Such a group is open to SSH from everywhere."""
    content = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    assert content["provider"]["region"] == "us-east-1"
    assert "security_group" not in content["provider"]
    groups = [kind["node_config"]["SecurityGroupIds"] for kind in content["available_node_types"].values()]
    assert groups == [["sg-YOUR-GROUP"]] * 3


def test_a_stopped_job_has_time_to_end(launcher: dict[str, Any]) -> None:
    assert "-e RAY_JOB_STOP_WAIT_TIME_S=60" in launcher["docker"]["run_options"]


@pytest.fixture(params=RESOURCES_OF_RAY, ids=lambda path: path.name)
def resource(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_a_resource_for_kubernetes_has_fields_that_kuberay_knows(resource: Path) -> None:
    kind, fields, _ = RESOURCES_OF_RAY[resource]
    content = yaml.safe_load(resource.read_text())
    assert (content["apiVersion"], content["kind"]) == ("ray.io/v1", kind)
    assert unknown_fields(content["spec"], fields, "spec") == []
    assert unknown_fields({**content["spec"], "entryPoint": ""}, fields, "spec") == ["spec.entryPoint"]


def test_a_cluster_in_kubernetes_asks_for_a_token_and_keeps_its_ports(resource: Path) -> None:
    from importlib.metadata import version

    cluster = yaml.safe_load(resource.read_text())["spec"][RESOURCES_OF_RAY[resource][2]]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == version("ray")
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_a_sweep_in_kubernetes_starts_without_workers() -> None:
    cluster = yaml.safe_load(SWEEP.read_text())["spec"]["rayClusterSpec"]
    assert [group["replicas"] for group in cluster["workerGroupSpecs"]] == [0, 0]


def test_the_service_in_kubernetes_is_the_deployment_and_needs_keys() -> None:
    from ray.serve.schema import ServeDeploySchema

    spec = yaml.safe_load(SERVICE.read_text())["spec"]
    deployed, expected = yaml.safe_load(spec["serveConfigV2"]), yaml.safe_load(DEPLOYMENT.read_text())
    ServeDeploySchema.model_validate(deployed)
    assert deployed["http_options"].pop("host") == "0.0.0.0"
    assert expected["http_options"].pop("host") == "127.0.0.1"
    for config in (deployed, expected):
        config["applications"][0]["args"].pop("cache")
    assert deployed == expected
    cluster = spec["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        [container] = group["template"]["spec"]["containers"]
        [variable] = container["env"]
        assert variable["name"] == "SURVEY_API_KEYS"
        assert "secretKeyRef" in variable["valueFrom"]


def test_in_kubernetes_only_ray_reaches_ray() -> None:
    content = yaml.safe_load(NETWORK.read_text())
    assert (content["apiVersion"], content["kind"]) == ("networking.k8s.io/v1", "NetworkPolicy")
    assert content["spec"]["podSelector"] == {"matchLabels": {"ray.io/is-ray-node": "yes"}}
    among, operator, scraper, ingress = content["spec"]["ingress"]
    assert among == {"from": [{"podSelector": content["spec"]["podSelector"]}]}
    assert [rule["port"] for rule in operator["ports"]] == [8265]
    assert [rule["port"] for rule in scraper["ports"]] == [8080]
    assert [rule["port"] for rule in ingress["ports"]] == [8000]
    assert all(
        place.keys() & {"namespaceSelector", "podSelector"}
        for rule in (operator, scraper, ingress)
        for place in rule["from"]
    )


@pytest.mark.parametrize("path", [*LAUNCHERS, "jobs/kubernetes/sweep.yaml", "serve/kubernetes.yaml"])
def test_what_must_be_changed_cannot_work_by_accident(path: str) -> None:
    """Capitals: no registry, no bucket and no project may be called so."""
    lines = [line.split("#")[0] for line in (ROOT / path).read_text().splitlines()]
    named = re.findall(r"(?:image: |s3://|project_id: )(\S+)", "\n".join(lines))
    assert named
    assert all(name.startswith("YOUR-") or name == "stpubdata" for name in named)


def test_all_run_the_same_image() -> None:
    images = {
        image
        for path in (*LAUNCHERS, SWEEP, SERVICE)
        for image in re.findall(r"image: (\S+)", (ROOT / path).read_text())
    }
    assert images == {"YOUR-REGISTRY/transit-survey:0.1.0", "YOUR-REGISTRY/transit-survey-cuda:0.1.0"}
    from importlib.metadata import version

    assert f"FROM rayproject/ray:{version('ray')}" in (ROOT / "jobs" / "Dockerfile").read_text()
