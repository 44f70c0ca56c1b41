"""Files that somebody might send, through the routes: refused with a reason, quickly, and nobody else is the worse."""

import json
from collections.abc import Iterator

import pytest

from serve.desk import Desk
from serve.examiner import Examiner
from serve.routes import make_api
from serve.settings import Settings
from tests.serve.asking import Client, fault
from tests.serve.conftest import QUICK, Stars
from tests.serve.hostile import NAMES, REFUSED, STRANGE, light_text

ROUTES = {"/v1/score/file": "file", "/v1/anomalies": "file", "/v1/train/anomaly": "files"}
AT_ALL_ROUTES = ("truncated gzip", "more rows than bytes", "pickle", "no times", "empty")
"""Files that are sent on every run; the rest is for the long tests."""


@pytest.fixture(scope="module")
def service(stars: Stars) -> Iterator[Client]:
    settings = Settings(source=stars.source, overrides=QUICK, laptop=True, wait_s=600, read_s=60)
    desk = Desk(settings)
    examiner = Examiner(settings, desk)
    client = Client(make_api(settings, examiner, desk))
    yield client
    client.close()
    examiner.close()


def send(service, path, name, content):
    return service.post(path, files={ROUTES[path]: (name, content)}, data={"mission": "tess"})


def check_refused(service, path, hostile):
    response = send(service, path, hostile.name, hostile.make())
    message = fault(response, 413 if response.status_code == 413 else 422, response.json()["error"]["code"])
    assert response.json()["error"]["code"] in ("invalid", "too_large")
    return message


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("key", AT_ALL_ROUTES)
def test_a_hostile_file_is_refused_with_a_reason(service, path, key):
    check_refused(service, path, REFUSED[key])
    assert service.get("/ready").json()["ready"]


@pytest.mark.verify
@pytest.mark.parametrize("path", ROUTES)
def test_all_hostile_files_are_refused_with_a_reason_everywhere(service, path):
    for hostile in REFUSED.values():
        check_refused(service, path, hostile)
    assert send(service, "/v1/score/file", "a.csv", light_text()).status_code == 200


@pytest.mark.verify
@pytest.mark.parametrize("path", ["/v1/score/file", "/v1/anomalies"])
def test_strange_files_are_read_or_refused_and_break_nothing(service, path):
    for key, strange in STRANGE.items():
        response = send(service, path, strange.name, strange.make())
        assert response.status_code in (200, 413, 422), (key, response.text[:300])
        json.loads(response.content, parse_constant=pytest.fail)
    assert send(service, "/v1/score/file", "a.csv", light_text()).status_code == 200


@pytest.mark.verify
def test_names_of_files_are_only_names(service):
    content = light_text(400)
    for name in NAMES:
        body = b'--B\r\nContent-Disposition: form-data; name="file"; filename="' + quoted(name) + b'"\r\n\r\n'
        body += content + b'\r\n--B\r\nContent-Disposition: form-data; name="mission"\r\n\r\ntess\r\n--B--\r\n'
        headers = [(b"content-type", b"multipart/form-data; boundary=B")]
        reply = service.send_raw("POST", "/v1/score/file", headers, [body])
        assert reply.status_code in (200, 422), (name, reply.content[:300])
        assert b"\\u202e" not in reply.content
        assert b"etc/" not in reply.content


def quoted(name):
    return name.encode("utf-8", "surrogatepass").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
