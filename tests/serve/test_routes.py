"""The routes over simulated stars, and what is sent to them that no client of good will would send."""

import asyncio
import io
import json
import re

import pytest
from PIL import Image

from serve.answers import forms
from serve.cases import AnomalyQuestion, ScoreQuestion
from serve.examiner import Part, Steps
from serve.refusals import Refusal
from survey import config as configs
from survey.cli import main
from survey.config import Config
from survey.runs.stages import STAGES, Stage, examine, rows_of, targets_table
from survey.stars.sources import open_source
from survey.stars.targets import parse_target
from tests.runs.small_run import make_run
from tests.serve.asking import fault
from tests.serve.conftest import QUICK

SAID = tuple(word for one in QUICK for word in ("--set", one))


def address(name):
    return "/v1/score/" + name.replace(" ", "%20")


@pytest.fixture(scope="module")
def scored(service, stars):
    """The answer for the star with planets, with its plot."""
    return service.get(address(stars.names["planets"]) + "?plot=true")


# The numbers


def printed(capsys, *words):
    main(["score", *words, "--json"])
    return json.loads(capsys.readouterr().out)[0]


@pytest.mark.parametrize("kind", ["planets", "quiet", "empty", "missing"])
def test_the_row_is_that_of_the_command_and_of_the_stages(service, stars, capsys, kind):
    response = service.get(address(stars.names[kind]))
    assert response.status_code == 200
    found = response.json()
    forms.ScoreAnswer.model_validate(found, strict=True)
    assert found["row"] == printed(capsys, stars.names[kind], "--source", stars.source, *SAID)
    assert found["status"] == found["row"]["status"]


def test_a_file_that_is_sent_is_scored_as_the_command_scores_it(service, stars, capsys, tmp_path):
    file = stars.file("planets")
    response = service.post("/v1/score/file", files={"file": (file.name, file.read_bytes())})
    assert response.status_code == 200, response.text
    assert response.json()["row"] == printed(capsys, str(file), *SAID)
    text = tmp_path / "light.csv"
    row = rows_of(
        examine(parse_target(stars.names["planets"]), Config(), open_source(stars.source, Config()), STAGES[:1])
    )[0]
    text.write_text(
        "time,flux\n" + "\n".join(f"{t:.6f},{f:.7f}" for t, f in zip(row["time"], row["flux"], strict=True))
    )
    given = {"mission": "tess", "time_zero": "2457000", "period_min": "1", "period_max": "5.5"}
    response = service.post("/v1/score/file", files={"file": (text.name, text.read_bytes())}, data=given)
    words = ["--mission", "tess", "--time-zero", "2457000", *SAID]
    words += ["--set", "search.period_min=1.0", "--set", "search.period_max=5.5"]
    assert response.json()["row"] == printed(capsys, str(text), *words)


def test_a_star_has_the_same_numbers_whoever_is_in_its_batch(stars, monkeypatch):
    """Five at once, two of them one star, and two ways to search."""
    source = open_source(stars.source, Config())
    wide = configs.load(overrides=QUICK)
    narrow = configs.change(wide, ["search.period_max=5.5"])
    asked = [("planets", wide), ("quiet", wide), ("planets", wide), ("empty", wide), ("planets", narrow)]
    steps, tables = Steps(), []
    for kind, config in asked:
        tables.append(STAGES[0].make(config, source)(targets_table([parse_target(stars.names[kind])])))
    sizes = []
    for stages in (STAGES[1:4], STAGES[4:5], STAGES[5:]):
        if stages[0].asks:
            tables = [stages[0].make(config, source)(table) for (_, config), table in zip(asked, tables, strict=True)]
        else:
            counted = tuple(Stage(s.name, s.schema, count_rows(s, sizes), s.asks) for s in stages)
            tables = steps.run([Part(config, counted, table) for (_, config), table in zip(asked, tables, strict=True)])
    assert max(sizes) == 3
    for (kind, config), table in zip(asked, tables, strict=True):
        alone = examine(parse_target(stars.names[kind]), config, source)
        kept = [name for name in alone.column_names if name != "trace"]
        assert table.select(kept).equals(alone.select(kept)), kind


def count_rows(stage, sizes):
    def make(config, source):
        step = stage.make(config, source)

        def counted(table):
            sizes.append(table.num_rows)
            return step(table)

        return counted

    return make


def test_period_ranges_and_observations_are_those_asked_for(service, stars):
    name = stars.names["kepler_planet"]
    some = service.post("/v1/score", json={"target": name, "observations": [3, 2, 2], "period_min": 1.5}).json()["row"]
    same = service.get(address(name) + "?observations=2-3&period_min=1.5").json()["row"]
    assert some == same
    assert {product["observation"] for product in some["products"]} == {2, 3}
    assert all(tce["period"] is None or tce["period"] >= 1.5 for tce in some["tces"])
    narrow = {"target": stars.names["quiet"], "period_min": 3.0, "period_max": 3.0000001}
    assert service.post("/v1/score", json=narrow).status_code == 200
    message = fault(service.get(address(name) + "?period_min=900"), 422, "invalid")
    assert "period_min" in message


# What an answer is


def test_an_answer_says_where_its_numbers_come_from(scored, stars):
    found = scored.json()
    forms.ScoreAnswer.model_validate(found, strict=True)
    about = found["provenance"]
    assert about["request_id"] == scored.headers["x-request-id"]
    assert about["science_hash"] == configs.load(overrides=QUICK).science_hash()
    assert about["models"] == found["row"]["models"]
    assert str(stars.mirror) not in scored.text
    assert found["meanings"]["vetting_probability"].startswith("Calibrated probability")
    assert len(found["plot"]["signals"]) == len(found["row"]["tces"])


@pytest.mark.verify
def test_a_sheet_is_a_picture(service, stars):
    response = service.get(address(stars.names["planets"]) + "?format=png&tce=1")
    assert response.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(response.content)).size[0] > 1000
    fault(service.get(address(stars.names["planets"]) + "?format=png&tce=99"), 422, "invalid")
    fault(service.get(address(stars.names["empty"]) + "?format=png"), 422, "invalid")
    fault(service.get(address(stars.names["missing"]) + "?format=png"), 404, "not_found")


def test_a_broken_file_of_the_archive_is_named_without_its_folder(service, stars):
    response = service.get(address(stars.names["truncated"]))
    fault(response, 422, "invalid")
    assert str(stars.mirror) not in response.text


def test_anomalies_of_a_star_and_of_a_file(service, stars):
    name = stars.names["planets"]
    found = service.post("/v1/anomalies", json={"target": name, "contamination": 0.1, "vote_threshold": 0.5}).json()
    forms.AnomalyAnswer.model_validate(found, strict=True)
    file = stars.file("planets")
    form = {"contamination": "0.1", "vote_threshold": "0.5"}
    sent = service.post("/v1/anomalies", files={"file": (file.name, file.read_bytes())}, data=form).json()
    assert sent["flagged"] == found["flagged"]
    own = service.post("/v1/anomalies", json={"target": name, "model": "own", "window": 40}).json()
    assert own["row"]["model"] == "own"
    fault(service.post("/v1/anomalies", json={"target": name, "window": 40}), 422, "invalid")
    fault(service.post("/v1/anomalies", json={"target": name, "model": "detector-00000000"}), 404, "not_found")
    fault(service.post("/v1/anomalies", json={"target": stars.names["missing"]}), 404, "not_found")


def test_a_light_curve_of_a_century_is_refused(service):
    text = "time,flux\n" + "\n".join(f"{k * 100},{1 + 1e-4 * (k % 7)}" for k in range(400))
    response = service.post("/v1/score/file", files={"file": ("a.csv", text)}, data={"mission": "tess"})
    assert "10,000 d" in fault(response, 422, "invalid")


@pytest.mark.verify
def test_a_detector_is_trained_as_a_job_and_used(service, stars):
    light = stars.file("quiet").read_bytes()
    files = [("files", (f"{k}.fits", light)) for k in range(2)]
    for response in (
        service.post("/v1/train/anomaly", json={"simulated": 10, "window": 40}),
        service.post("/v1/train/anomaly", files=files, data={"window": "40"}),
    ):
        assert response.status_code == 202, response.text
        forms.JobAnswer.model_validate(response.json(), strict=True)
        done = wait_for(service, response.headers["location"])
        assert done["state"] == "done", done
        name = done["result"]["model"]
        assert re.fullmatch(r"detector-[0-9a-f]{8}", name)
        given = {"target": stars.names["planets"], "model": name, "window": 40}
        found = service.post("/v1/anomalies", json=given)
        forms.AnomalyAnswer.model_validate(found.json(), strict=True)
        assert found.json()["provenance"]["models"][0]["name"] == name
        assert name in [model["name"] for model in service.get("/v1/models").json()["models"]]


def test_models_and_the_recent_results_of_a_run(service, serve_told, tmp_path):
    forms.ModelsAnswer.model_validate(service.get("/v1/models").json(), strict=True)
    assert "--run" in fault(service.get("/v1/candidates"), 404, "not_found")
    make_run(tmp_path / "run", tmp_path / "mirror", kinds=("planet",))
    told = serve_told(run=str(tmp_path / "run"))
    found = told.get("/v1/candidates?limit=1")
    forms.CandidatesAnswer.model_validate(found.json(), strict=True)
    assert str(tmp_path) not in found.text
    fault(serve_told(run=str(tmp_path / "none")).get("/v1/candidates"), 404, "not_found")
    for limit in ("0", "1001", "-1", "x", "1e2", "9" * 5000):
        fault(told.get(f"/v1/candidates?limit={limit}"), 422, "invalid")


# Jobs


def wait_for(client, place):
    while (found := client.get(place).json())["state"] == "running":
        client.run(asyncio.sleep(0.01))
    return found


def test_what_takes_longer_than_the_request_waits_becomes_a_job(open_service, told):
    gate = asyncio.Event()
    told.steps = ["fetch", gate, "search"]
    response = open_service.get("/v1/score/TIC%201?wait=0.01")
    assert response.status_code == 202
    found = response.json()
    forms.JobAnswer.model_validate(found, strict=True)
    assert (found["state"], found["stage"], found["result"]) == ("running", "fetch", None)
    assert response.headers["location"] == found["status_url"] == f"/v1/jobs/{found['id']}"
    assert int(response.headers["retry-after"]) >= 1
    running = open_service.get(found["status_url"])
    assert running.json()["stage"] == "fetch"
    assert running.headers["retry-after"]
    fault(open_service.get(found["status_url"] + "/result"), 404, "not_found")
    gate.set()
    done = wait_for(open_service, found["status_url"])
    forms.JobAnswer.model_validate(done, strict=True)
    result = open_service.get(done["result_url"])
    assert done["result"] == result.json() == {"request": response.headers["x-request-id"]}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Refusal("fetch_failed", "the archive is down"), "the archive is down"),
        (RuntimeError("in /secret/place"), "a defect of the service; it has been logged"),
        (TimeoutError(), "not done after 1800 s"),
    ],
)
def test_a_job_that_fails_says_why(open_service, told, caplog, error, words):
    told.steps = ["fetch", 0.02, error]
    place = open_service.post("/v1/score", json={"target": "TIC 1", "wait": 0}).json()["status_url"]
    found = wait_for(open_service, place)
    assert (found["state"], found["error"]) == ("failed", words)
    fault(open_service.get(place + "/result"), 404, "not_found")
    assert ("/secret/place" in caplog.text) == isinstance(error, RuntimeError)


def test_no_more_jobs_than_there_is_room_for(serve_told, told):
    told.steps = ["fetch", asyncio.Event()]
    service = serve_told(jobs=2)
    answers = [service.get("/v1/score/TIC%201?wait=0") for _ in range(4)]
    assert [response.status_code for response in answers] == [202, 202, 429, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    fault(answers[-1], 429, "busy")


def test_a_job_has_an_end(serve_told, told):
    told.steps = ["fetch", asyncio.Event()]
    service = serve_told(job_s=0.05)
    assert "0.05 s" in wait_for(service, service.get("/v1/score/TIC%201?wait=0").json()["status_url"])["error"]


@pytest.mark.parametrize("name", ["x", "job-0", "job-" + "0" * 24, "job-" + "g" * 24, "..", "%00", "a" * 5000, "ＡＢ"])
def test_what_is_no_job_is_not_found(open_service, name):
    if name != "..":
        fault(open_service.get(f"/v1/jobs/{name}"), 404, "not_found")
        fault(open_service.get(f"/v1/jobs/{name}/result"), 404, "not_found")
    fault(open_service.send_raw("GET", f"/v1/jobs/{name}".encode()), 404, "not_found")


def test_ready_says_why_it_is_not(open_service, told):
    assert open_service.get("/ready").json()["ready"] is True
    told.broken = Refusal("not_ready", "no examiner answers")
    response = open_service.get("/ready")
    assert response.status_code == 503
    assert response.json()["reason"] == "no examiner answers"
    assert open_service.get("/health").json() == {"status": "ok"}


# Names of stars


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("TIC 12", "TIC 12"),
        ("tic12", "TIC 12"),
        ("TIC-0012", "TIC 12"),
        ("kic 12", "KIC 12"),
        ("EPIC:201367065", "EPIC 201367065"),
        ("  TIC   12 ", "TIC 12"),
        ("TIC 12.01", "TIC 12"),
    ],
)
def test_a_star_can_be_written_in_many_ways(open_service, told, text, name):
    assert open_service.get(address(text)).status_code == 200
    assert open_service.post("/v1/score", json={"target": text}).status_code == 200
    assert {case.target.target_id for case, _ in told.asked} == {name}


HOSTILE_NAMES = (
    "12",
    "TIC",
    "TIC 0",
    "TIC 1e9",
    "TIC 1; rm -rf ~",
    "TIC 1' OR '1'='1",
    "TIC 1--",
    "../../etc/passwd",
    "TIC 1/../2",
    "http://example.org/x.fits",
    "file:/etc/passwd",
    "s3://bucket/key",
    "mirror:/etc",
    "TIC \u0661\u0662",
    "TIC\u00b2",
    "ＴＩＣ 1",
    "TIC 1\0",
    "\0",
    "TIC 1\r\nx: y",
    "%2e%2e%2f",
    "TIC " + "9" * 20,
    "KIC " + "1" * 10,
    "TIC " + "9" * 60,
    "{{7*7}}",
    "${HOME}",
    "<script>alert(1)</script>",
    "TOI-999999999.99",
    "K99999.99",
    "TIC 1 TIC 2",
    "TIC,1",
    "con",
    "TIC 0x10",
    "~root",
    "a" * 64,
)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_what_names_no_star_is_refused(open_service, told, name):
    for response in (
        open_service.post("/v1/score", json={"target": name}),
        open_service.post("/v1/anomalies", json={"target": name}),
    ):
        message = fault(response, 422, "invalid")
        assert not re.search(r"/(home|root|tmp|work|usr)\b", message.replace(repr(name), ""))
    assert not told.asked


@pytest.mark.parametrize("path", [b"TIC%2F1", b"..%2f..%2fetc%2fpasswd", b"TIC%201/", b"", b"%2e%2e/x", b"a/b/c"])
def test_a_slash_makes_another_address(open_service, told, path):
    fault(open_service.send_raw("GET", b"/v1/score/" + path), 404, "not_found")
    assert not told.asked


@pytest.mark.parametrize(
    "path",
    [
        b"/v1",
        b"/v1/",
        b"//v1/models",
        b"/V1/models",
        b"/v1/models/",
        b"/page/",
        b"/page/..%2fapp.py",
        b"/page/%2e%2e",
        b"/page/../settings.py",
        b"/page/__init__.py",
        b"/.env",
        b"/docs",
        b"/redoc",
        b"/\xff\xfe",
        b"/" + b"a" * 100_000,
        b"/page/page.css%00.txt",
        b"http://evil.example/v1/models",
        b"*",
    ],
)
def test_other_addresses_are_not_found_and_nobody_is_sent_elsewhere(open_service, path):
    reply = open_service.send_raw("GET", path)
    fault(reply, 404, "not_found")
    assert "location" not in reply.headers


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW", "get"])
def test_other_methods_are_not_allowed(open_service, told, method):
    for path in (b"/v1/score", b"/v1/score/TIC%201", b"/health", b"/v1/jobs/x", b"/"):
        reply = open_service.send_raw(method, path)
        assert reply.status_code == 405, path
        assert reply.json()["error"]["code"] == "not_allowed"
    assert not told.asked


# Texts


@pytest.mark.parametrize(
    "query",
    [
        "period_min=0",
        "period_min=-1",
        "period_min=0.19",
        "period_min=1e-300",
        "period_max=1e5",
        "period_min=nan",
        "period_max=inf",
        "period_min=5&period_max=5",
        "period_min=6&period_max=2",
        "wait=61",
        "wait=-1",
        "wait=nan",
        "tce=0",
        "tce=1.5",
        "tce=101",
        "tce=" + "9" * 60_000,
        "wait=" + "9" * 60_000,
        "plot=maybe",
        "plot=",
        "format=pdf",
        "format=",
        "observations=1,,2",
        "observations=5-1",
        "observations=a",
        "observations=1-99999",
        "observations=" + "1," * 200,
        "observations=-1",
        "wait=\u0661",
        "observations=\u0661",
        "unknown=1",
        "target=TIC%202",
        "x" * 5000 + "=1",
        "%00=%00",
        "wait=%ff",
        "=",
        "source=mirror:/etc",
        "wait=0x10",
        "wait=%201",
        "run=x",
        "search.period_max=2",
    ],
)
def test_texts_out_of_their_bounds_are_refused(open_service, told, query):
    reply = open_service.send_raw("GET", b"/v1/score/TIC%201", query=query.encode())
    if query in ("=", "wait=%201"):
        assert reply.status_code in (200, 422)
        return
    message = fault(reply, 422, "invalid")
    assert "9" * 100 not in message
    assert "x" * 100 not in message
    assert not told.asked


BODIES = (
    b"",
    b"null",
    b"[]",
    b"1",
    b'"TIC 1"',
    b"NaN",
    b"{",
    b'{"target"}',
    b"{}",
    b'{"target": null}',
    b'{"target": 1}',
    b'{"target": ["TIC 1"]}',
    b'{"target": "TIC 1", "wait": NaN}',
    b'{"target": "TIC 1", "wait": Infinity}',
    b'{"target": "TIC 1", "wait": 1e999}',
    b'{"target": "TIC 1", "wait": "1"}',
    b'{"target": "TIC 1", "wait": true}',
    b'{"target": "TIC 1", "plot": 1}',
    b'{"target": "TIC 1", "plot": "true"}',
    b'{"target": "TIC 1", "tce": 1.0}',
    b'{"target": "TIC 1", "tce": 1' + b"0" * 5000 + b"}",
    b'{"target": "TIC 1", "observations": 1}',
    b'{"target": "TIC 1", "observations": [true]}',
    b'{"target": "TIC 1", "observations": [1.5]}',
    b'{"target": "TIC 1", "observations": [-1]}',
    b'{"target": "TIC 1", "observations": [10001]}',
    b'{"target": "TIC 1", "observations": ["1"]}',
    b'{"target": "TIC 1", "observations": [' + b"1," * 200 + b"1]}",
    b'{"target": "TIC 1", "more": 1}',
    b'{"target": "TIC 1", "__proto__": {}}',
    b'{"target": "TIC 1", "' + b"x" * 50_000 + b'": 1}',
    b'{"target": "' + b"x" * 60_000 + b'"}',
    b'{"target": "\\ud800"}',
    b'{"target": "TIC 1\\ud800"}',
    b'{"target": "TIC \xff"}',
    b'\xef\xbb\xbf{"target": "TIC 1"}',
    '{"target": "TIC 1"}'.encode("utf-16"),
    b'{"target": "TIC 1"}\0',
    b'{"target": "TIC 1"} {}',
    b'{"target": "\\u0000TIC 1"}',
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b'{"target": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    b"{'target': 'TIC 1'}",
    b"target=TIC+1",
    b'{"target": "TIC 1", "period_min": 0.1}',
    b'{"target": "TIC 1", "period_min": 1e400}',
    b'{"target": "TIC 1", "format": "PNG"}',
)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:40]))
def test_json_that_is_none_or_says_too_much_is_refused(open_service, told, body):
    fault(open_service.send_raw("POST", b"/v1/score", [(b"content-type", b"application/json")], [body]), 422, "invalid")
    assert not told.asked


def test_a_hundred_thousand_levels_are_too_large_before_they_are_deep(open_service):
    body = b"[" * 100_000 + b"]" * 100_000
    headers = [(b"content-type", b"application/json")]
    fault(open_service.send_raw("POST", b"/v1/score", headers, [body]), 413, "too_large")


def test_of_a_key_that_comes_twice_the_last_counts(open_service, told):
    body = b'{"target": "TIC 1", "target": "TIC 2"}'
    headers = [(b"content-type", b"application/json; charset=utf-8")]
    assert open_service.send_raw("POST", b"/v1/score", headers, [body]).status_code == 200
    assert told.asked[0][0].target.target_id == "TIC 2"


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "text/json",
        "application/xml",
        ";",
        "\xff",
    ],
)
def test_other_kinds_of_body_are_not_taken(open_service, told, kind):
    headers = [] if kind is None else [(b"content-type", kind.encode("latin-1"))]
    body = b'{"target": "TIC 1"}'
    for path in ("/v1/score", "/v1/score/file", "/v1/anomalies", "/v1/train/anomaly"):
        fault(open_service.send_raw("POST", path.encode(), headers, [body]), 415, "unsupported")
    assert not told.asked


# Forms

FILE = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n1,2\r\n'
END = b"--B--\r\n"


def part(name, value):
    return b'--B\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name, value)


def send_form(client, body, kind=b"multipart/form-data; boundary=B", path="/v1/score/file"):
    return client.send_raw("POST", path.encode(), [(b"content-type", kind)], [body])


def test_a_form_is_read_as_it_is_meant(open_service, told):
    assert send_form(open_service, FILE + part(b"mission", b"k2") + part(b"tce", b"2") + END).status_code == 200
    ((case, question),) = told.asked
    assert (case.upload.name, case.upload.content, case.upload.mission) == ("a.csv", b"1,2", "k2")
    assert question.tce == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        END,
        b"garbage",
        b"--B",
        FILE,
        FILE[:-10],
        part(b"mission", b"tess") + END,
        part(b"file", b"1,2") + END,
        FILE + FILE + END,
        FILE + FILE.replace(b'"file"', b'"other"') + END,
        FILE.replace(b'name="file"; ', b"") + END,
        FILE.replace(b"form-data; ", b"") + END,
        FILE.replace(b'"file"', b'""') + END,
        FILE.replace(b'"a.csv"', b'"' + b"a" * 60_000 + b'"') + END,
        b"--B\r\n" + b"X: y\r\n" * 5000 + FILE[5:] + END,
        FILE + part(b"x", b"1") * 1000 + END,
        FILE + part(b"mission", b"t" * 60_000) + END,
        FILE + part(b"n" * 3000, b"1") + END,
        FILE + part(b"mission", b"gaia") + END,
        FILE + part(b"mission", b"\xff\xfe") + END,
        FILE + part(b"wait", b"nan") + END,
        FILE + part(b"time_zero", b"-1") + END,
        FILE + part(b"time_zero", b"1e300") + END,
        FILE + part(b"target", b"TIC 1") + END,
        FILE + part(b"observations", b"1") + END,
        FILE.replace(b"\r\n", b"\n") + END,
        FILE + FILE.replace(b'"file"', b'"mission"') + END,
    ],
    ids=lambda body: repr(body[:40]),
)
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # a file torn off is closed when collected
def test_a_form_that_is_none_or_says_too_much_is_refused(open_service, told, body):
    fault(send_form(open_service, body), 422, "invalid")
    assert not told.asked


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (b"multipart/form-data", 422),
        (b"multipart/form-data; boundary=", 422),
        (b"multipart/form-data; boundary=" + b"B" * 5000, 422),
        (b"multipart/form-data; boundary=C", 422),
        (b"multipart/form-data; boundary=\xff", 422),
        (b"multipart/form-dataX; boundary=B", 415),
        (b"multipart/mixed; boundary=B", 415),
        (b"multipart/form-data; charset=idna; boundary=B", 415),
        (b"multipart/form-data; charset=undefined; boundary=B", 415),
        (b"multipart/form-data; charset=utf\0; boundary=B", 415),
        (b"multipart/form-data; charset=utf-16; boundary=B", 415),
        (b"multipart/form-data; charset=UTF-8; boundary=B", 200),
        (b'Multipart/Form-Data; boundary="B"', 200),
    ],
)
def test_what_a_form_says_of_itself(open_service, kind, status):
    for path in ("/v1/score/file", "/v1/anomalies"):
        reply = send_form(open_service, FILE + END, kind, path)
        assert reply.status_code == status
        if status != 200:
            fault(reply, status, {415: "unsupported", 422: "invalid"}[status])


def test_a_form_within_a_form_and_an_encoding_are_only_content(open_service, told):
    nested = b"\r\nContent-Type: multipart/mixed; boundary=C\r\n\r\n--C\r\n\r\nx\r\n--C--"
    encoded = b"\r\nContent-Transfer-Encoding: base64\r\n\r\nMSwy"
    for inside in (nested, encoded):
        assert send_form(open_service, FILE.replace(b"\r\n\r\n1,2", inside) + END).status_code == 200
    assert [case.upload.content for case, _ in told.asked] == [b"--C\r\n\r\nx\r\n--C--", b"MSwy"]


def test_many_files_are_for_training_only(open_service, told):
    files = [("files", (f"{k}.csv", b"1,2")) for k in range(21)]
    fault(open_service.post("/v1/train/anomaly", files=files), 422, "invalid")
    fault(open_service.post("/v1/train/anomaly", files=[("file", ("a.csv", b"1,2"))]), 422, "invalid")
    fault(open_service.post("/v1/anomalies", files=[("files", ("a.csv", b"1,2"))]), 422, "invalid")
    fault(open_service.post("/v1/train/anomaly", json={"simulated": 0}), 422, "invalid")
    fault(open_service.post("/v1/train/anomaly", json={"simulated": 1001}), 422, "invalid")
    fault(open_service.post("/v1/train/anomaly", json={"target": "TIC 1"}), 422, "invalid")
    assert not told.asked


@pytest.mark.parametrize(
    "model", ["../anomaly", "detector-1", "detector-ABCDEF01", "segments", "", "/etc", "detector-00000000\n"]
)
def test_a_model_is_named_and_never_a_path(open_service, told, model):
    fault(open_service.post("/v1/anomalies", json={"target": "TIC 1", "model": model}), 422, "invalid")
    assert not told.asked


def test_questions_reach_the_examiner_as_they_were_asked(open_service, told):
    given = {"target": "TIC 1", "observations": [2, 1], "period_min": 1, "period_max": 2.5, "plot": True, "wait": 1}
    name = open_service.post("/v1/score", json=given).headers["x-request-id"]
    open_service.post("/v1/anomalies", json={"target": "TIC 1", "contamination": 0.1, "vote_threshold": 0.3})
    (case, question), (_, other) = told.asked
    assert case.target.observations == (1, 2)
    assert case.overrides == ("search.period_min=1.0", "search.period_max=2.5")
    assert question == ScoreQuestion(name, plot=True)
    assert (other.contamination, other.vote_threshold, other.model) == (0.1, 0.3, "anomaly")
    assert isinstance(other, AnomalyQuestion)
