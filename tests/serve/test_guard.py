"""Who may ask, how much is sent, and that every error has one form and gives nothing away."""

import hmac
import json
import logging

import pytest

from serve import guard
from serve.refusals import Refusal
from serve.settings import KEYS
from tests.serve.asking import Told, fault
from tests.serve.conftest import KEYS_KNOWN

KEY, OTHER = KEYS_KNOWN
ROUTES = (
    ("GET", "/v1/score/TIC%201"),
    ("POST", "/v1/score"),
    ("POST", "/v1/score/file"),
    ("POST", "/v1/anomalies"),
    ("POST", "/v1/train/anomaly"),
    ("GET", "/v1/jobs/job-0"),
    ("GET", "/v1/jobs/job-0/result"),
    ("GET", "/v1/models"),
    ("GET", "/v1/candidates"),
)
JSON = (b"content-type", b"application/json")
STAR = json.dumps({"target": "TIC 1"}).encode()


# Keys


def test_the_routes_here_are_all_that_there_are(keyed):
    paths = keyed.get("/openapi.json").json()["paths"]
    known = {(method.upper(), path) for path, methods in paths.items() for method in methods if path.startswith("/v1")}
    names = {"TIC%201": "{target}", "job-0": "{job}"}
    assert known == {(method, "/".join(names.get(part, part) for part in path.split("/"))) for method, path in ROUTES}
    assert all(operation["security"] for path in paths if "/v1" in path for operation in paths[path].values())


@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("PUT", "/v1/score"), ("GET", "/v1/none")])
def test_nothing_is_answered_without_the_key(keyed, told, method, path):
    response = keyed.ask(method, path, headers={"authorization": None})
    fault(response, 401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"
    assert not told.asked


@pytest.mark.parametrize(
    "given",
    [
        "", "Bearer", "Bearer ", f"Basic {KEY}", KEY, f"Bearer{KEY}", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}",
        f"Bearer {KEY} {OTHER}", f"Bearer {KEY},{OTHER}", f"Bearer \"{KEY}\"", f"Bearer {KEY.upper()}", "Bearer \xff",
        f"Token {KEY}", "Bearer " + "x" * 60_000,
    ],
)  # fmt: skip
def test_wrong_keys_and_schemes_are_refused(keyed, given):
    reply = keyed.send_raw("GET", b"/v1/candidates", [(b"authorization", given.encode("latin-1"))])
    message = fault(reply, 401, "unauthorized")
    assert KEY not in message


def test_every_key_opens_and_two_at_once_do_not(keyed):
    for key in (KEY, OTHER):
        for scheme in ("Bearer", "bearer", "BEARER"):
            fault(keyed.get("/v1/candidates", headers={"authorization": f"{scheme} {key}"}), 404, "not_found")
    both = [(b"authorization", f"Bearer {key}".encode()) for key in (KEY, "wrong")]
    fault(keyed.send_raw("GET", b"/v1/candidates", both), 401, "unauthorized")


def test_a_key_in_the_address_is_none(keyed):
    query = f"key={KEY}&api_key={KEY}&access_token={KEY}&authorization=Bearer%20{KEY}"
    fault(keyed.get(f"/v1/candidates?{query}", headers={"authorization": None}), 401, "unauthorized")
    fault(keyed.get("/v1/candidates", headers=[("authorization", None), ("cookie", f"key={KEY}")]), 401, "unauthorized")


def test_keys_are_compared_in_constant_time_and_all_of_them(keyed, monkeypatch):
    compared = []
    real = hmac.compare_digest

    def compare(a, b):
        compared.append((len(a), len(b)))
        return real(a, b)

    monkeypatch.setattr(guard.hmac, "compare_digest", compare)
    fault(keyed.get("/v1/candidates"), 404, "not_found")
    assert compared == [(32, 32)] * 2, "digests of one length, whichever of the keys fits"


def test_what_is_open_needs_no_key(keyed):
    for path in ("/", "/health", "/ready", "/metrics", "/openapi.json", "/page/page.css"):
        response = keyed.get(path, headers={"authorization": None})
        assert response.status_code == 200, path
        assert KEY.encode() not in response.content
    assert keyed.get("/ready").json()["key_needed"] is True


def test_keys_stand_in_no_log_and_no_answer(keyed, told, caplog):
    caplog.set_level(logging.DEBUG)
    told.steps = [RuntimeError("broken")]
    answers = [keyed.get("/v1/score/TIC%201"), keyed.get("/v1/candidates"), keyed.get("/metrics")]
    answers.append(keyed.get("/v1/candidates", headers={"authorization": f"Bearer {KEY}x"}))
    assert all(KEY not in response.text and KEY not in str(response.headers) for response in answers)
    assert "broken" in caplog.text
    assert KEY not in caplog.text
    assert not any(KEY in str(vars(record)) for record in caplog.records)


# Hosts, sites and machines


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "localhost.", "[::1"]
)
def test_a_name_that_is_not_this_machine_is_refused(open_service, host):
    for path in (b"/", b"/v1/candidates", b"/metrics", b"/openapi.json"):
        fault(open_service.send_raw("GET", path, [(b"host", host.encode())]), 403, "forbidden")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "LOCALHOST", "[::1]:8000"])
def test_this_machine_is_known_under_its_names(open_service, host):
    fault(open_service.send_raw("GET", b"/v1/candidates", [(b"host", host.encode())]), 404, "not_found")


def test_two_hosts_are_none(open_service):
    hosts = [(b"host", b"127.0.0.1"), (b"host", b"evil.example")]
    fault(open_service.send_raw("GET", b"/v1/candidates", hosts), 403, "forbidden")


def test_who_looks_whether_it_lives_need_not_know_its_name(open_service):
    for path in (b"/health", b"/ready"):
        assert open_service.send_raw("GET", path, [(b"host", b"10.1.2.3:8000")]).status_code == 200


def test_a_service_with_a_key_takes_the_hosts_it_is_told(monkeypatch, serve_told):
    monkeypatch.setenv(KEYS, KEY)
    some = serve_told(key=KEY, laptop=False, hosts=("survey.example",))
    fault(some.send_raw("GET", b"/v1/candidates", [(b"host", b"survey.example:443")]), 404, "not_found")
    fault(some.send_raw("GET", b"/v1/candidates", [(b"host", b"127.0.0.1")]), 403, "forbidden")
    fault(some.send_raw("GET", b"/v1/candidates", [(b"host", b"evil"), (b"authorization", b"")]), 403, "forbidden")


@pytest.mark.parametrize(
    "headers",
    [
        [(b"origin", b"http://evil.example")],
        [(b"origin", b"http://127.0.0.1:8001")],
        [(b"origin", b"http://localhost:8000")],
        [(b"origin", b"null")],
        [(b"origin", b"")],
        [(b"origin", b"http://[")],
        [(b"origin", "http://a\u2100b".encode())],
        [(b"origin", b"\xff\xfe")],
        [(b"origin", b"http://127.0.0.1:8000"), (b"origin", b"http://evil.example")],
        [(b"sec-fetch-site", b"cross-site")],
        [(b"sec-fetch-site", b"same-site")],
        [(b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site")],
    ],
)
def test_pages_of_other_sites_may_not_ask_where_there_is_no_key(open_service, keyed, told, headers):
    for method, path in (("GET", b"/v1/score/TIC%201"), ("POST", b"/v1/score/file")):
        fault(open_service.send_raw(method, path, headers), 403, "forbidden")
    assert not told.asked
    fault(keyed.send_raw("GET", b"/v1/candidates", headers), 404, "not_found")


@pytest.mark.parametrize(
    "headers",
    [[(b"origin", b"http://127.0.0.1:8000"), (b"sec-fetch-site", b"same-origin")], [(b"sec-fetch-site", b"none")]],
)
def test_the_page_itself_and_who_types_the_address_may(open_service, headers):
    fault(open_service.send_raw("GET", b"/v1/candidates", headers), 404, "not_found")


def test_no_header_lets_other_sites_read(open_service):
    response = open_service.get("/v1/candidates", headers={"origin": "http://127.0.0.1:8000"})
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize("client", [("10.0.0.7", 4000), ("192.0.2.1", 1), ("2001:db8::1", 1), ("unknown", 1)])
def test_without_a_key_other_machines_may_not_ask(open_service, keyed, client):
    fault(open_service.send_raw("GET", b"/v1/candidates", client=client), 403, "forbidden")
    fault(keyed.send_raw("GET", b"/v1/candidates", client=client), 404, "not_found")
    fault(open_service.send_raw("GET", b"/v1/candidates", client=("::1", 1)), 404, "not_found")


# Bodies


def parts(size, of=10_000):
    """A body in chunks, and how much of it was taken is counted where it is received."""
    return [b"1" * of] * (size // of)


@pytest.mark.parametrize(("method", "path"), [one for one in ROUTES if one[0] == "POST"])
def test_a_body_without_files_has_64_kb(open_service, method, path):
    reply = open_service.send_raw(method, path.encode(), [JSON], parts(10_000_000))
    if path == "/v1/score/file":
        fault(reply, 415, "unsupported")
        assert reply.taken == 0
    else:
        fault(reply, 413, "too_large")
        assert reply.taken <= guard.SMALL_BODY + 10_000


FORM = (b"content-type", b"multipart/form-data; boundary=B")
HEAD = b'--B\r\nContent-Disposition: form-data; name="%s"; filename="a.csv"\r\n\r\n'


@pytest.mark.parametrize("length", [None, b"10", b"0", b"-5", b"", b"x", b"1e3", b"0x10"])
def test_a_form_is_counted_while_it_comes_whatever_it_announces(serve_told, told, length):
    service = serve_told(upload_mb=0.5)
    announced = [] if length is None else [(b"content-length", length)]
    chunks = [HEAD % b"file", *parts(5_000_000, 20_000)]
    reply = service.send_raw("POST", b"/v1/score/file", [FORM, *announced], chunks)
    assert "589,824 bytes" in fault(reply, 413, "too_large")
    assert reply.taken <= 589_824 + 20_000
    assert not told.asked


@pytest.mark.parametrize("length", [b"589825", b"9" * 18, b"9" * 5000])
def test_what_announces_too_much_is_refused_before_any_of_it_comes(serve_told, length):
    service = serve_told(upload_mb=0.5)
    reply = service.send_raw("POST", b"/v1/score/file", [FORM, (b"content-length", length)], [b"x"])
    fault(reply, 413, "too_large")
    assert reply.taken == 0


def test_two_lengths_are_counted_all_the_same(serve_told):
    twice = [(b"content-length", b"1"), (b"content-length", b"2")]
    fault(serve_told().send_raw("POST", b"/v1/score", [JSON, *twice], parts(500_000)), 413, "too_large")


def test_a_file_of_the_largest_size_is_taken_and_one_byte_more_is_not(serve_told, told):
    service = serve_told(upload_mb=0.1)
    size = int(0.1 * 2**20)
    assert service.post("/v1/score/file", files={"file": ("a.csv", b"1" * size)}).status_code == 200
    assert len(told.asked[0][0].upload.content) == size
    message = fault(service.post("/v1/score/file", files={"file": ("a.csv", b"1" * (size + 1))}), 413, "too_large")
    assert "0.1 MB" in message


def test_a_form_to_train_with_holds_more_than_one_file_and_not_all_at_their_largest(serve_told):
    service = serve_told(upload_mb=0.1)
    full = [("files", (f"{k}.csv", b"1" * 100_000)) for k in range(20)]
    fault(service.post("/v1/train/anomaly", files=full), 413, "too_large")


def test_a_body_that_ends_early_is_no_defect(open_service, caplog):
    for path, header in ((b"/v1/score", JSON), (b"/v1/score/file", FORM)):
        reply = open_service.send_raw("POST", path, [header], [b"--B\r\n", None])
        fault(reply, 422, "invalid")
    assert "Traceback" not in caplog.text


# Names of requests


def test_every_answer_has_a_name_and_keeps_the_one_it_was_given(open_service):
    for path in ("/", "/health", "/v1/none", "/none", "/v1/score/nonsense", "/page/none", "/openapi.json"):
        given = open_service.get(path, headers={"x-request-id": "my.Request-1_a"})
        assert given.headers["x-request-id"] == "my.Request-1_a"
        names = {open_service.get(path).headers["x-request-id"] for _ in range(3)}
        assert len(names) == 3
        assert all(len(name) == 16 for name in names)


@pytest.mark.parametrize("name", [b"", b"a b", b"x" * 65, b"\xff", b"a\r\nset-cookie: b", b"<script>", b'"', b"a,b"])
def test_a_name_that_is_no_plain_word_is_replaced(open_service, name):
    reply = open_service.send_raw("GET", b"/v1/none", [(b"x-request-id", name)])
    fault(reply, 404, "not_found")
    assert len(reply.headers["x-request-id"]) == 16
    both = [(b"x-request-id", b"one"), (b"x-request-id", b"two")]
    assert len(open_service.send_raw("GET", b"/v1/none", both).headers["x-request-id"]) == 16


def test_answers_tell_browsers_to_take_them_for_nothing_else(open_service):
    for path in ("/", "/v1/none", "/health"):
        headers = open_service.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


# Defects


def test_a_defect_is_named_and_logged_and_not_shown(open_service, told, caplog):
    told.steps = ["fetch", RuntimeError("in /secret/place")]
    response = open_service.get("/v1/score/TIC%201")
    message = fault(response, 500, "failed")
    assert "secret" not in response.text
    assert "defect" in message
    assert "in /secret/place" in caplog.text
    assert response.headers["x-request-id"] in caplog.text


def test_a_refusal_of_the_examiner_is_answered_as_it_says(open_service, told):
    told.steps = [Refusal("fetch_failed", "the archive is down", 7.4)]
    response = open_service.get("/v1/score/TIC%201")
    assert fault(response, 503, "fetch_failed") == "the archive is down"
    assert response.headers["retry-after"] == "7"
    told.steps = [Refusal("busy", "come back", 0.1)]
    busy = open_service.get("/v1/score/TIC%201")
    fault(busy, 429, "busy")
    assert busy.headers["retry-after"] == "1"


def test_every_word_of_an_error_survives_its_way_between_processes():
    import pickle

    refusal = pickle.loads(pickle.dumps(Refusal("busy", "come back", 2.0)))
    assert (refusal.word, refusal.detail, refusal.after, refusal.status_code) == ("busy", "come back", 2.0, 429)
    assert refusal.headers == {"retry-after": "2"}


# Metrics


def test_metrics_count_requests_by_route_and_status_and_no_names(serve_told, told):
    open_service = serve_told()
    told.steps = ["fetch"]
    for star in range(1, 6):
        open_service.get(f"/v1/score/TIC%20{star}")
    open_service.get("/v1/score/nonsense")
    for k in range(20):
        open_service.get(f"/nothing/{k}")
    text = open_service.get("/metrics").text
    counts = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}
    requests = 'survey_http_requests_total{replica="0",route="/v1/score/{target}",status="%d"}'
    assert counts[requests % 200] == 5
    assert counts[requests % 422] == 1
    assert counts['survey_http_requests_total{replica="0",route="other",status="404"}'] == 20
    assert counts['survey_stars_total{replica="0",status="ok"}'] == 5
    assert counts['survey_http_seconds_count{replica="0",route="/v1/score/{target}"}'] == 6
    assert counts['survey_http_in_progress{replica="0"}'] == 1, "this one"
    assert "TIC" not in text
    assert "nothing" not in text


def test_two_services_of_one_process_count_apart(serve_told):
    first, second = serve_told(), serve_told(examiner=Told())
    first.get("/health")
    assert 'route="/health"' in first.get("/metrics").text
    assert 'route="/health"' not in second.get("/metrics").text
