"""`serve deploy serve/deploy.yaml` on a head of its own: the service as a cluster runs it."""

import json
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from survey.stars.simulate import write_archive
from tests.heads import ROOT, Head, free_ports, running_head

DEPLOY = ROOT / "serve" / "deploy.yaml"
TESS, KEPLER = "TIC 900000001", "KIC 90000002"
SERVE = str(Path(sys.executable).with_name("serve"))


def test_the_file_is_what_the_service_takes() -> None:
    from ray.serve.schema import ServeDeploySchema

    from serve.settings import Settings

    told = yaml.safe_load(DEPLOY.read_text())
    schema = ServeDeploySchema.model_validate(told)
    settings = Settings.model_validate(schema.applications[0].args)
    assert schema.http_options.host == "127.0.0.1"
    assert settings.fronts == 2
    assert not settings.laptop
    assert told["http_options"]["request_timeout_s"] > settings.wait_s


@dataclass(frozen=True)
class Deployed:
    url: str
    key: str
    head: Head

    def ask(self, path: str, key: str | None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            request = urllib.request.Request(self.url + path, headers=headers)
            with urllib.request.urlopen(request, timeout=300) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("deployed")
    write_archive(folder / "mirror", kinds=["planets", "kepler_planet"], seed=5)
    port, key = free_ports(1)[0], secrets.token_hex(16)
    told = yaml.safe_load(DEPLOY.read_text())
    told["http_options"]["port"] = port
    args = {
        "source": f"mirror:{folder / 'mirror'}",
        "cache": None,
        "overrides": ["search.period_max=12"],
        "wait_s": 60.0,
    }
    missions = {"kepler": ["score.vetting=none"]}
    told["applications"][0]["args"] |= args | {"most_examiners": 2, "missions": missions}
    (folder / "deploy.yaml").write_text(yaml.safe_dump(told))
    with running_head(environment={"SURVEY_API_KEYS": key, "PYTHONPATH": str(ROOT)}) as head:
        command = [SERVE, "deploy", "--address", head.url, str(folder / "deploy.yaml")]
        subprocess.run(command, check=True, env=head.environment, cwd=ROOT, timeout=400)
        service = Deployed(f"http://127.0.0.1:{port}", key, head)
        deadline = time.monotonic() + 600
        while not _is_ready(service):
            assert time.monotonic() < deadline, head.ask("/api/serve/applications/")
            time.sleep(1)
        yield service


def _is_ready(service: Deployed) -> bool:
    try:
        return service.ask("/ready", None)[0] == 200
    except (OSError, ValueError):  # nobody listens yet, or Ray's proxy answers alone
        return False


def deployments_of(deployed: Deployed) -> dict[str, Any]:
    told: dict[str, Any] = deployed.head.ask("/api/serve/applications/")["applications"]["survey"]["deployments"]
    return told


def states(deployed: Deployed) -> dict[str, list[str]]:
    return {name: [one["state"] for one in told["replicas"]] for name, told in deployments_of(deployed).items()}


@pytest.mark.verify
def test_two_fronts_answer_who_has_the_key(deployed: Deployed) -> None:
    target = f"/v1/score/{quote(TESS)}"
    assert deployed.ask(target, None)[0] == 401
    assert deployed.ask(target, secrets.token_hex(16))[0] == 401
    code, answer = deployed.ask(target, deployed.key)
    assert code == 200
    assert answer["row"]["tces"]
    # Where one of them answers, the other may still be starting.
    deadline = time.monotonic() + 600
    while (running := states(deployed))["Front"] != ["RUNNING"] * 2:
        assert time.monotonic() < deadline, running
        time.sleep(1)
    assert running["Desk"] == ["RUNNING"]
    scaling = deployments_of(deployed)["Examiner"]["deployment_config"]["autoscaling_config"]
    assert (scaling["min_replicas"], scaling["max_replicas"]) == (1, 2)


@pytest.mark.verify
def test_a_mission_has_models_of_its_own(deployed: Deployed) -> None:
    used = {}
    for star in (TESS, KEPLER):
        code, answer = deployed.ask(f"/v1/score/{quote(star)}", deployed.key)
        assert code == 200
        used[star] = {model["name"] for model in answer["row"]["models"]}
        assert "triage" in used[star]
    assert "vetting" in used[TESS]
    assert "vetting" not in used[KEPLER]


@pytest.mark.verify
def test_a_job_can_be_asked_for_at_either_front(deployed: Deployed) -> None:
    code, job = deployed.ask(f"/v1/score/{quote(TESS)}?wait=0", deployed.key)
    assert code == 202
    deadline = time.monotonic() + 600
    while job["state"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.2)
        code, job = deployed.ask(job["status_url"], deployed.key)
        assert code == 200
    assert job["result"]["target_id"] == TESS
