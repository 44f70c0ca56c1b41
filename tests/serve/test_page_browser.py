"""The page in a real browser, before a service of simulated stars: mouse, keyboard, touch, dark, paper, trouble."""

import asyncio
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import uvicorn
from playwright.sync_api import expect

from serve.desk import Desk
from serve.examiner import Examiner
from serve.routes import make_api
from serve.settings import Settings
from tests.runs.small_run import make_run
from tests.runs.test_page import NASTY

pytestmark = pytest.mark.verify

PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
KINDS = ("planets", "eclipsing_binary", "quiet", "empty")
KEY = "a-key-of-24-letters-here"
QUICK = ("search.period_max=6", "search.max_tces=3")
PATIENCE_S = 60
TOLD = "Failed to load resource"
"""How a browser's console tells of answers with an error."""


@dataclass(frozen=True)
class Site:
    """A service that anybody may ask, and one beside it that wants KEY, over the same stars and their run."""

    address: str
    keyed: str
    stars: Mapping[str, str]
    mirror: Path

    def link(self, kind: str) -> str:
        return f"#star={self.stars[kind].replace(' ', '+')}"

    def file(self, kind: str) -> Path:
        """The light curve of a star."""
        number = self.stars[kind].split()[1]
        return min(path for path in self.mirror.rglob("*lc.fits*") if number in path.name)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    make_run(folder / "run", folder / "mirror", KINDS)
    (folder / "keys").write_text(KEY)
    shared = {"source": f"mirror:{folder / 'mirror'}", "overrides": QUICK, "run": str(folder / "run"), "wait_s": 600}
    open_ = Settings(**shared, laptop=True)
    keyed = Settings(**{**shared, "run": None}, key_file=folder / "keys")
    desk = Desk(open_)
    examiner = Examiner(open_, desk)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    servers = [uvicorn.Server(quiet_server(make_api(settings, examiner, desk))) for settings in (open_, keyed)]

    async def serve_all() -> None:
        await asyncio.gather(*(server.serve([one]) for server, one in zip(servers, sockets, strict=True)))

    thread = threading.Thread(target=asyncio.run, args=(serve_all(),))
    thread.start()
    addresses = [f"http://127.0.0.1:{one.getsockname()[1]}/" for one in sockets]
    names = [line for line in (folder / "mirror/targets.txt").read_text().splitlines() if line.startswith("TIC")]
    yield Site(addresses[0], addresses[1], dict(zip(KINDS, names, strict=True)), folder / "mirror")
    for server in servers:
        server.should_exit = server.force_exit = True
    thread.join()
    examiner.close()


def quiet_server(application: Any) -> uvicorn.Config:
    return uvicorn.Config(application, log_config=None, lifespan="off", ws="none", timeout_keep_alive=1)


HEAR = """(selector) => {
    const element = document.querySelector(selector);
    window.heard = [];
    new MutationObserver(() => heard.push(element.textContent)).observe(element, { childList: true });
}"""


@dataclass
class Visit:
    """An open page, what its console said and what it asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)

    def note(self, request: Any) -> None:
        self.asked.append(request)

    def words(self, selector: str) -> str:
        said: str = self.page.locator(selector).inner_text()
        return said

    def view(self, plot: str = "light") -> list[float]:
        """First and last value along x that a plot shows."""
        return [float(value) for value in self.page.locator(f"#{plot}").get_attribute("data-view").split()]

    def wait_for(self, selector: str, **given: Any) -> Any:
        found = self.page.locator(selector, **given).first
        found.wait_for()
        return found

    def settle(self) -> None:
        """Waits until the page has drawn what it was told to draw."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def until(self, holds: Callable[[], bool]) -> None:
        """Waits for what comes a moment after the deed that causes it: a slow machine makes it a long moment."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, "it did not come"
            self.page.wait_for_timeout(20)

    def hear(self, selector: str) -> None:
        """Begins to note the words of an element, however short they stand there."""
        self.page.evaluate(HEAR, selector)

    def heard(self) -> list[str]:
        words: list[str] = self.page.evaluate("window.heard")
        return words

    def examine(self, star: str) -> None:
        self.page.locator("#star").fill(star)
        self.page.keyboard.press("Enter")
        self.wait_for("#result")
        self.settle()

    def posts(self, path: str) -> list[Any]:
        return [request for request in self.asked if request.method == "POST" and request.url.endswith(path)]


@pytest.fixture(scope="module")
def known(site: Site) -> dict[str, Any]:
    """The service's answers to its stars, by their kind, for what is not about asking."""
    found = {}
    for kind in KINDS:
        asked = {"target": site.stars[kind], "plot": True}
        found[kind] = httpx.post(f"{site.address}v1/score", json=asked, timeout=900).raise_for_status().json()
    return found


Open = Callable[..., Visit]


@pytest.fixture
def visit(browser: Any, site: Site) -> Iterator[Open]:
    """Opens the page in a window of its own. answer: given instead of the service's to every star."""
    visits = []

    def open_(hash_: str = "", address: str = site.address, answer: Any = None, **window: Any) -> Visit:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "accept_downloads": True} | window)
        context.set_default_timeout(1000 * PATIENCE_S)
        seen = Visit(context.new_page())
        visits.append((context, seen, address))
        seen.page.on("console", lambda message: seen.said.append(f"{message.type}: {message.text}"))
        seen.page.on("pageerror", lambda error: seen.said.append(f"error: {error}"))
        seen.page.on("request", seen.note)
        seen.page.on("dialog", lambda dialog: (seen.said.append(f"alert {dialog.message}"), dialog.dismiss()))
        if answer is not None:
            seen.page.route("**/v1/score*", lambda route: route.fulfill(json=answer))
        seen.page.goto(address + hash_)
        seen.page.locator(".example").first.wait_for(state="attached")
        if "star=" in hash_ and answer is not None:
            seen.wait_for("#result")
            seen.settle()
        return seen

    yield open_
    for context, seen, address in visits:
        context.close()
        strangers = [one.url for one in seen.asked if not one.url.startswith((address, f"blob:{address}"))]
        assert strangers == []


def refuse(code: int, word: str, message: str, **headers: str) -> dict[str, Any]:
    body = {"error": {"code": word, "message": message, "request_id": "request-7"}}
    return {"status": code, "headers": headers, "json": body}


DRAWN = """canvas => {
    const dots = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    const colours = new Set();
    for (let k = 0; k < dots.length; k += 4) if (dots[k + 3] > 200) colours.add(dots.slice(k, k + 3).join());
    return colours.size;
}"""
"""How many opaque colours a canvas has."""


def drawn(seen: Visit, plot: str) -> int:
    count: int = seen.page.locator(f"#{plot} canvas").first.evaluate(DRAWN)
    return count


# A star


def test_a_star_is_named_and_examined(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit()
    assert seen.page.locator("#star").evaluate("field => field === document.activeElement")
    seen.examine(site.stars["planets"].lower().replace(" ", ""))
    row = known["planets"]["row"]
    passed = sum(tce["is_candidate"] for tce in row["tces"])
    assert seen.words("#h-star") == site.stars["planets"]
    assert seen.words("#verdict").startswith(f"{len(row['tces'])} signals, {passed} candidate")
    assert seen.page.title().startswith(site.stars["planets"])
    assert f"{row['n_cadences']:,} cadences" in seen.words("#star-facts")
    assert seen.page.locator("#signals input").count() == len(row["tces"])
    for plot in ("light", "close", "spectrum", "wide"):
        assert drawn(seen, plot) > 3
    assert f"{row['tces'][0]['vetting_probability']:.3f}" in seen.words("#scores")
    assert "Calibrated probability" in seen.words("#scores")
    assert "Ranking only" in seen.words("#scores")
    seen.page.locator("#provenance summary").click()
    assert row["products"][0]["product"] in seen.words("#provenance-facts")
    assert seen.said == []


def test_failed_checks_stand_first(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit(site.link("eclipsing_binary"), answer=known["eclipsing_binary"])
    checks = known["eclipsing_binary"]["row"]["tces"][0]["checks"]
    marks = seen.page.locator("#checks .mark").all_inner_texts()
    failed = [check for check in checks if check["passed"] is False]
    assert len(marks) == len(checks)
    assert [mark for mark in marks if "fails" in mark] == marks[: len(failed)]
    assert failed
    first = seen.page.locator("#checks tbody tr").first.inner_text()
    assert "±" in first or "≤" in first or "≥" in first
    assert seen.words("#verdict") == "1 signal, no candidate"


def test_stars_without_signals_and_without_light(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit(site.link("quiet"), answer=known["quiet"])
    assert seen.words("#verdict") == "No signal"
    assert not seen.page.locator("#signals").is_visible()
    assert not seen.page.locator("#close").is_visible()
    assert drawn(seen, "light") > 3
    seen = visit(site.link("empty"), answer=known["empty"])
    assert known["empty"]["status"] == "too_short"
    assert seen.words("#verdict") == "Too little light"
    assert known["empty"]["error"].lower() in seen.words("#evidence").lower()
    assert not seen.page.locator("#drawn").is_visible()
    assert seen.said == []


def test_signals_are_chosen_by_keyboard(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit(site.link("planets"), answer=known["planets"])
    seen.page.locator("#signals input").first.focus()
    before = seen.words("#signal-facts"), drawn_words(seen)
    seen.page.keyboard.press("ArrowRight")
    assert seen.words("#h-signal") == "Signal 2"
    assert seen.words("#signal-facts") != before[0]
    assert drawn_words(seen) != before[1]
    assert "signal 2" in seen.words("#get-sheet")


def drawn_words(seen: Visit) -> str:
    words: str = seen.page.locator("#close .cover").get_attribute("aria-label")
    return words


# Plots


def test_light_is_zoomed_by_mouse_wheel_and_keys(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit(site.link("planets"), answer=known["planets"])
    cover = seen.page.locator("#light .cover")
    cover.scroll_into_view_if_needed()
    whole, box = seen.view(), cover.bounding_box()
    middle = box["y"] + box["height"] / 2

    def across(share: float) -> float:
        return float(box["x"] + share * box["width"])

    seen.page.mouse.move(across(0.3), middle)
    expect(seen.page.locator("#light .readout")).to_contain_text("BTJD")
    seen.page.mouse.down()
    seen.page.mouse.move(across(0.5), middle, steps=4)
    seen.page.mouse.up()
    part = seen.view()
    assert whole[0] < part[0] < part[1] < whole[1]
    assert part[1] - part[0] == pytest.approx(0.2 * (whole[1] - whole[0]), rel=0.15)
    seen.page.locator("#light .whole").click()
    assert seen.view() == whole
    seen.settle()
    # Longer than a wheel goes on scrolling the page.
    seen.page.wait_for_timeout(400)
    seen.page.mouse.move(across(0.5), middle)
    seen.page.mouse.wheel(0, -240)
    seen.until(lambda: seen.view()[1] - seen.view()[0] < whole[1] - whole[0])
    seen.page.mouse.dblclick(across(0.5), middle)
    assert seen.view() == whole
    cover.focus()
    seen.page.keyboard.press("+")
    seen.page.keyboard.press("+")
    near = seen.view()
    seen.page.keyboard.press("ArrowRight")
    assert seen.view()[0] > near[0]
    assert seen.view()[1] - seen.view()[0] == pytest.approx(near[1] - near[0])
    assert "to" in seen.page.locator("#light > .hidden").inner_text()
    seen.page.keyboard.press("-")
    seen.page.keyboard.press("0")
    assert seen.view() == whole
    assert seen.said == []


def test_two_fingers_zoom_and_one_scrolls(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit(site.link("planets"), answer=known["planets"], **PHONE)
    cover = seen.page.locator("#light .cover")
    cover.scroll_into_view_if_needed()
    whole, box = seen.view(), cover.bounding_box()
    touch = seen.page.context.new_cdp_session(seen.page)

    def fingers(kind: str, *shares: float) -> None:
        points = [{"x": box["x"] + share * box["width"], "y": box["y"] + 90, "id": k} for k, share in enumerate(shares)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", 0.5, 0.6)
    fingers("touchMove", 0.4, 0.7)
    fingers("touchMove", 0.3, 0.8)
    fingers("touchEnd")
    seen.until(lambda: seen.view()[1] - seen.view()[0] < 0.5 * (whole[1] - whole[0]))
    seen.settle()
    near = seen.view()
    assert cover.evaluate("canvas => getComputedStyle(canvas).touchAction") == "pan-y"
    fingers("touchStart", 0.7)
    fingers("touchMove", 0.5)
    fingers("touchEnd")
    seen.until(lambda: seen.view()[0] > near[0])
    seen.page.locator("#light .whole").click()
    seen.wait_for("#light:not(.zoomed)")
    assert seen.view() == whole


def test_plots_are_sharp_and_follow_size_and_colours(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit(site.link("planets"), answer=known["planets"], device_scale_factor=2)
    base = seen.page.locator("#light canvas").first
    sharpness, image = "canvas => canvas.width / canvas.clientWidth", "canvas => canvas.toDataURL()"
    assert base.evaluate(sharpness) == pytest.approx(2, abs=0.01)
    light, width = base.evaluate(image), base.evaluate("canvas => canvas.width")
    seen.page.emulate_media(color_scheme="dark")
    seen.until(lambda: base.evaluate(image) != light)
    seen.page.set_viewport_size({"width": 700, "height": 900})
    seen.until(lambda: base.evaluate("canvas => canvas.width") < width)
    seen.until(lambda: base.evaluate(sharpness) == pytest.approx(2, abs=0.01))


def test_layers_of_the_light_are_shown_and_hidden(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit(site.link("planets"), answer=known["planets"])
    image = "canvas => canvas.toDataURL()"
    base = seen.page.locator("#light canvas").first
    for layer in ("trend", "flagged", "transits", "flat"):
        before = base.evaluate(image)
        button = seen.page.locator(f"#show-{layer}")
        pressed = button.get_attribute("aria-pressed")
        button.click()
        assert button.get_attribute("aria-pressed") != pressed
        seen.settle()
        assert base.evaluate(image) != before


def test_plots_have_words_and_tables(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit(site.link("planets"), answer=known["planets"])
    for plot in ("light", "close", "spectrum", "wide"):
        assert len(seen.page.locator(f"#{plot} .cover").get_attribute("aria-label")) > 60
        seen.page.locator(f"#{plot} summary").click()
        seen.wait_for(f"#{plot} tbody tr:nth-child(6)")
    assert "flagged as strange" in seen.words("#light .alternative p")


# What is strange


def test_strange_stretches_open_and_are_looked_for_again(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit(site.link("planets"), answer=known["planets"])
    intervals = known["planets"]["plot"]["anomalies"]["intervals"]
    assert seen.page.locator("#intervals tbody tr").count() == len(intervals)
    seen.page.locator("#intervals .opener").nth(1).click()
    low, high = seen.view()
    assert low < intervals[1]["begin"] < intervals[1]["end"] < high
    assert high - low < 3
    assert seen.page.locator("#look-window").is_disabled()
    seen.page.locator("#detector").select_option("own")
    seen.page.locator("#look-window").fill("80")
    seen.page.locator("#look-contamination").fill("10")
    seen.page.locator("#look-votes").fill("0.5")
    seen.page.locator("#look button").click()
    seen.wait_for("#strange-words", has_text="windows are strange")
    asked = seen.posts("/v1/anomalies")[0].post_data_json
    assert {"model": "own", "window": 80, "contamination": 0.1, "vote_threshold": 0.5}.items() <= asked.items()
    seen.settle()
    assert drawn(seen, "light") > 3
    assert seen.said == []


# Files


def test_a_file_is_chosen_examined_and_looked_at_again(visit: Open, site: Site) -> None:
    seen = visit()
    path = site.file("eclipsing_binary")
    seen.page.locator("#file").set_input_files(path)
    expect(seen.page.locator("#file-name")).to_have_text(path.name)
    assert "kB" in seen.words("#file-size") or "MB" in seen.words("#file-size")
    seen.page.locator("#mission").select_option("tess")
    seen.page.locator("#submit").click()
    seen.wait_for("#result")
    assert seen.words("#verdict") == "1 signal, no candidate"
    assert "star=" not in seen.page.url
    assert not seen.page.locator("#copy-link").is_visible()
    command = shlex.split(seen.words("#curl").replace("\\\n", " "))
    assert f'file=@"{path.name}"' in command
    assert "mission=tess" in command
    assert run_curl(seen.words("#curl"), path.parent)["row"]["tces"]
    seen.page.locator("#look button").click()
    seen.wait_for("#strange-words", has_text="windows are strange")
    assert seen.said == []


def run_curl(command: str, folder: Path, **environment: str) -> Any:
    """What a copied command gets; where there is no curl, what it would; of a job what it comes to."""
    words = shlex.split(command.replace("\\\n", " ").replace("$SURVEY_API_KEY", environment.get("SURVEY_API_KEY", "")))
    headers = dict(words[k + 1].split(": ", 1) for k, word in enumerate(words) if word == "-H")
    if shutil.which("curl"):
        told = {**os.environ, **environment}
        answer = json.loads(subprocess.check_output(["sh", "-c", f"{command} --silent"], cwd=folder, env=told))
    else:
        answer = ask_as_curl(words, headers, folder)
    while answer.get("state") == "running":
        time.sleep(0.2)
        answer = httpx.get(urljoin(words[-1], answer["status_url"]), headers=headers, timeout=100).json()
    return answer.get("result", answer)


def ask_as_curl(words: list[str], headers: dict[str, str], folder: Path) -> Any:
    form = dict(words[k + 1].split("=", 1) for k, word in enumerate(words) if word == "-F")
    if not form:
        return httpx.get(words[-1], headers=headers, timeout=100).json()
    content = Path(folder, form.pop("file")[2:-1]).read_bytes()
    return httpx.post(words[-1], headers=headers, data=form, files={"file": content}, timeout=100).json()


DROP = """([name, text]) => {
    const carried = new DataTransfer();
    carried.items.add(new File([text], name));
    for (const kind of ["dragenter", "dragover", "drop"]) {
        document.body.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: carried }));
    }
}"""


def test_a_file_is_dropped_whatever_its_name(visit: Open) -> None:
    seen = visit()
    seen.page.evaluate(DROP, [NASTY, "time,flux\n1,2\n"])
    assert seen.words("#file-name") == NASTY
    assert seen.words("#file-size") == "14 bytes"
    seen.page.locator("#submit").click()
    seen.wait_for("#problem")
    assert seen.page.locator("#problem img, #problem script").count() == 0
    seen.page.locator("#drop-file").click()
    assert seen.page.locator("#star").is_visible()
    assert [words for words in seen.said if TOLD not in words] == []


def test_a_large_file_is_refused_before_it_is_sent(visit: Open, tmp_path: Path) -> None:
    seen = visit()
    large = tmp_path / "large.fits"
    large.write_bytes(bytes((20 << 20) + 1))
    seen.page.locator("#file").set_input_files(large)
    expect(seen.page.locator("#fault")).to_contain_text("at most 20 MB")
    assert not seen.page.locator("#chosen").is_visible()
    assert seen.posts("/v1/score/file") == []


# Addresses


def test_links_reloads_and_the_way_back(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit()

    def answer(route: Any) -> None:
        asked = route.request.post_data_json["target"]
        route.fulfill(json=next(one for one in known.values() if one["target_id"] == asked))

    seen.page.route("**/v1/score", answer)
    seen.page.locator("#options summary").click()
    seen.page.locator("#observations").fill("1, 3-4")
    seen.page.locator("#period-max").fill("5")
    seen.examine(site.stars["planets"])
    assert seen.page.url.endswith(f"{site.link('planets')}&sector=1,3-4&pmax=5")
    asked = seen.posts("/v1/score")[-1].post_data_json
    assert asked["observations"] == [1, 3, 4]
    assert asked["period_max"] == 5
    seen.page.locator("#observations").fill("")
    seen.page.locator("#period-max").fill("")
    seen.examine(site.stars["quiet"])
    seen.wait_for("#h-star", has_text=site.stars["quiet"])
    count = len(seen.posts("/v1/score"))
    seen.page.go_back()
    seen.wait_for("#h-star", has_text=site.stars["planets"])
    assert seen.page.locator("#observations").input_value() == "1,3-4"
    assert len(seen.posts("/v1/score")) == count
    seen.page.reload()
    seen.wait_for("#h-star", has_text=site.stars["planets"])
    assert seen.page.locator("#period-max").input_value() == "5"
    seen.page.locator("nav a[data-tab=train]").click()
    expect(seen.page.locator("#tab-train")).to_be_visible()
    seen.page.go_back()
    expect(seen.page.locator("#result")).to_be_visible()
    assert seen.said == []


def test_what_cannot_be_asked_is_said_at_once(visit: Open) -> None:
    seen = visit()
    seen.page.locator("#submit").click()
    assert "name of a star" in seen.words("#fault")
    seen.page.locator("#options summary").click()
    for field_, value in (("#observations", "1-x"), ("#period-min", "-3"), ("#period-max", "0")):
        seen.page.locator(field_).fill(value)
        seen.page.locator("#star").fill("TIC 1")
        seen.page.keyboard.press("Enter")
        assert value in seen.words("#fault")
        seen.page.locator(field_).fill("")
    assert seen.posts("/v1/score") == []


# While it works, and when it does not


def test_jobs_are_followed_and_cancelled(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit()
    stages = iter([None, "fetch", "search", "search", "score"])
    job = {"id": "job-1", "kind": "score", "state": "running", "seconds": 1.0, "error": None, "result": None}
    paths = {"status_url": "/v1/jobs/job-1", "result_url": None}
    seen.page.route("**/v1/score", lambda route: route.fulfill(status=202, json={**job, **paths, "stage": None}))

    def state(route: Any) -> None:
        stage = next(stages, "end")
        done = {"state": "done", "result": known["planets"]} if stage == "end" else {}
        route.fulfill(json={**job, **paths, "stage": stage, **done})

    seen.page.route("**/v1/jobs/job-1", state)
    seen.hear("#working-words")
    seen.examine(site.stars["planets"])
    assert seen.heard() == [
        f"Examining {site.stars['planets']}",
        "Waiting for its turn",
        "Fetching the light curve",
        "Searching every period for dips",
        "Asking the models",
    ]
    assert not seen.page.locator("#working").is_visible()
    stages = iter(["search"] * 100)
    seen.page.locator("#submit").click()
    seen.wait_for("#working-words", has_text="Searching")
    seen.page.locator("#cancel").click()
    assert not seen.page.locator("#working").is_visible()
    assert not seen.page.locator("#problem").is_visible()
    assert seen.said == []


def test_a_busy_service_is_asked_again_when_it_says(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit()
    answers = iter([refuse(429, "busy", "come back later", **{"Retry-After": "3"})])
    given = {"json": known["quiet"]}
    seen.page.route("**/v1/score", lambda route: route.fulfill(**next(answers, given)))
    seen.page.locator("#star").fill(site.stars["quiet"])
    seen.hear("#working-words")
    seen.page.keyboard.press("Enter")
    seen.wait_for("#result")
    busy = [f"The service is busy: asking again in {left} s" for left in (3, 2, 1)]
    assert seen.heard() == [f"Examining {site.stars['quiet']}", *busy]
    assert len(seen.posts("/v1/score")) == 2


def test_who_is_faster_than_the_page_asks_once(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit()
    models: list[Any] = []
    stars: list[Any] = []
    seen.page.route("**/v1/models", lambda route: models.append(route))
    seen.page.route("**/v1/score", lambda route: stars.append(route))
    seen.page.reload()
    seen.until(lambda: len(models) == 1)
    seen.page.locator("#star").fill(site.stars["quiet"])
    seen.page.keyboard.press("Enter")
    seen.until(lambda: len(stars) == 1)
    models[0].fulfill(json={"models": [TRAINED]})
    seen.page.locator(f"#detector option[value={TRAINED['name']}]").wait_for(state="attached")
    seen.settle()
    stars[0].fulfill(json=known["quiet"])
    seen.wait_for("#result")
    assert len(seen.posts("/v1/score")) == 1
    expect(seen.page.locator("#h-star")).to_be_focused()


def test_trouble_is_told_in_words(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit()
    seen.page.locator("#star").fill("hello world")
    seen.page.keyboard.press("Enter")
    assert "names no star" in seen.wait_for("#problem").inner_text()
    answers = iter([refuse(503, "fetch_failed", f"the archive is away {NASTY}")])
    seen.page.route("**/v1/score", lambda route: route.fulfill(**next(answers, {"json": known["quiet"]})))
    seen.page.locator("#star").fill(site.stars["quiet"])
    seen.page.keyboard.press("Enter")
    assert f"The archive is away {NASTY}." in seen.wait_for("#problem", has_text="archive").inner_text()
    assert "request-7" in seen.words("#problem")
    seen.page.locator("#problem button").click()
    seen.wait_for("#result")
    assert not seen.page.locator("#problem").is_visible()
    seen.page.unroute("**/v1/score")
    seen.page.route("**/v1/score", lambda route: route.abort())
    seen.page.locator("#submit").click()
    assert "No answer from the service" in seen.wait_for("#problem").inner_text()
    assert [words for words in seen.said if TOLD not in words] == []


def test_a_key_is_asked_for_and_kept_in_the_tab_alone(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit(address=site.keyed)
    seen.page.locator("#star").fill(site.stars["quiet"])
    seen.page.keyboard.press("Enter")
    seen.wait_for("#key-dialog")
    seen.page.locator("#key").fill("not-the-key-of-this-one")
    seen.page.keyboard.press("Enter")
    seen.wait_for("#key-words", has_text="does not know this key")
    seen.page.locator("#key").fill(KEY)
    seen.page.keyboard.press("Enter")
    seen.wait_for("#result")
    assert seen.words("#h-star") == site.stars["quiet"]
    assert all(KEY not in request.url for request in seen.asked)
    assert seen.page.evaluate("() => JSON.stringify([localStorage, document.cookie])") == '[{},""]'
    assert seen.page.evaluate("() => Object.values(sessionStorage)") == [KEY]
    assert KEY not in seen.words("#curl") + seen.words("#python")
    assert run_curl(seen.words("#curl"), Path(), SURVEY_API_KEY=KEY)["row"] == known["quiet"]["row"]
    seen.page.locator("#get-sheet").click()
    seen.wait_for("#sheet img")
    assert not seen.page.locator("#to-recent").is_visible()
    assert [words for words in seen.said if TOLD not in words] == []


# What is taken away


def test_json_sheet_and_commands_are_taken_away(visit: Open, site: Site, known: dict[str, Any], tmp_path: Path) -> None:
    seen = visit(site.link("planets"))
    seen.wait_for("#result")
    with seen.page.expect_download() as taken:
        seen.page.locator("#get-json").click()
    assert json.loads(taken.value.path().read_text())["row"] == known["planets"]["row"]
    seen.page.locator("#get-sheet").click()
    image = seen.wait_for("#sheet img")
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 1000
    with seen.page.expect_download() as taken:
        seen.page.locator("#sheet a[download]").click()
    assert taken.value.path().read_bytes().startswith(b"\x89PNG")
    assert taken.value.suggested_filename.endswith(".png")
    assert run_curl(seen.words("#curl"), tmp_path)["row"] == known["planets"]["row"]
    program = seen.page.locator("#python").inner_text()
    printed = subprocess.check_output([sys.executable, "-W", "ignore", "-c", program], text=True)
    assert len(printed.splitlines()) == len(known["planets"]["row"]["tces"])
    seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen.page.locator("[data-copy=curl]").click()
    seen.wait_for("[data-copy=curl]", has_text="Copied")
    assert seen.page.evaluate("() => navigator.clipboard.readText()") == seen.words("#curl")
    assert seen.said == []


# Detectors


TRAINED = {
    "name": "detector-0123abcd",
    "trained_on": "100 light curves",
    "simulated": "100 stars with noise alone",
    "stars": 100,
    "inputs": "points 80; step 16",
    "measure": "average precision",
    "figure": {"value": 0.91, "low": 0.88, "high": 0.94},
    "floor": 0.7,
    "limits": [NASTY],
    "figures": {
        "held_back": True,
        "injected": {"windows": {"model": {"recall": 0.9, "precision": 0.8, "average_precision": {"value": 0.91}}}},
    },
}


def test_a_detector_is_trained_and_used(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit(site.link("planets"), answer=known["planets"])
    job = {"id": "job-2", "kind": "train", "seconds": 1.0, "error": None, "status_url": "/v1/jobs/job-2"}
    begun = {**job, "state": "running", "stage": "train", "result": None}
    seen.page.route("**/v1/train/anomaly", lambda route: route.fulfill(status=202, json=begun))
    seen.page.route("**/v1/jobs/job-2", lambda route: route.fulfill(json={**job, "state": "done", "result": TRAINED}))
    seen.page.locator("nav a[data-tab=train]").click()
    assert seen.page.locator("#train-count").input_value() == "100"
    seen.page.locator("#train-contamination").fill("2")
    seen.page.locator("#train-window").fill("80")
    seen.page.locator("#train-start").click()
    seen.wait_for("#trained")
    assert seen.posts("/train/anomaly")[0].post_data_json == {"simulated": 100, "contamination": 0.02, "window": 80}
    assert "90.0 %" in seen.words("#trained-figures")
    assert "0.910 (0.880 to 0.940)" in seen.words("#trained-facts")
    seen.page.locator("input[value=files]").check()
    seen.page.locator("#train-start").click()
    assert "Choose 1 to 20" in seen.words("#train-fault")
    seen.page.locator("#train-files").set_input_files([site.file("quiet"), site.file("planets")])
    assert seen.page.locator("#train-list li").count() == 2
    seen.page.evaluate(DROP, [NASTY, "time,flux"])
    assert seen.words("#train-list").startswith(NASTY)
    seen.page.locator("#train-start").click()
    seen.wait_for("#trained")
    sent = seen.posts("/train/anomaly")[1].headers["content-type"]
    assert sent.startswith("multipart/form-data")
    found = known["planets"]["plot"]
    again = {**known["planets"], "row": {"n_flagged_points": 1, "n_points": 9, "n_strange_windows": 1, "n_windows": 3}}
    seen.page.route("**/v1/anomalies", lambda route: route.fulfill(json={**again, "plot": {**found, "signals": []}}))
    seen.page.locator("#use").click()
    seen.wait_for("#strange-words", has_text="1 of 9 points")
    assert seen.posts("/v1/anomalies")[0].post_data_json["model"] == TRAINED["name"]
    assert seen.words("#look-window-said") == "80 points"
    assert seen.said == []


# The run


def test_candidates_of_the_run_open_their_stars(visit: Open, site: Site) -> None:
    seen = visit()
    seen.page.locator("#to-recent").click()
    seen.wait_for("#recent tbody tr")
    listed = httpx.get(f"{site.address}v1/candidates").json()["candidates"]
    passed = [one for one in listed if one["is_candidate"]]
    assert seen.page.locator("#recent tbody tr").count() == len(passed)
    seen.page.locator("#only-passed").uncheck()
    seen.wait_for(f"#recent tbody tr:nth-child({len(listed)})")
    first = seen.page.locator("#recent tbody tr").first
    assert f"{passed[0]['mes']:.1f}" in first.inner_text()
    first.locator("a").click()
    seen.wait_for("#h-star", has_text=passed[0]["target_id"])
    assert seen.said == []


# For everybody


def test_the_keyboard_alone_suffices(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit(answer=known["planets"])
    seen.page.keyboard.type(site.stars["planets"])
    seen.page.keyboard.press("Enter")
    seen.wait_for("#result")
    focused = "document.activeElement"
    expect(seen.page.locator("#h-star")).to_be_focused()
    reached = []
    for _ in range(60):
        seen.page.keyboard.press("Tab")
        reached.append(seen.page.evaluate(f"() => {focused}.id || {focused}.className || {focused}.tagName"))
        ring = seen.page.evaluate(
            f"() => {focused}.matches('.hidden, .signals input') || getComputedStyle({focused}).outlineStyle"
        )
        assert ring in (True, "solid", "auto"), reached[-1]
        if reached[-1] == "get-json":
            break
    wanted = ["show-trend", "cover", "detector", "look-contamination", "opener", "get-json"]
    assert [name for name in wanted if name not in reached] == []
    seen.page.keyboard.press("Shift+Tab")
    seen.page.locator(".skip").focus()
    seen.page.keyboard.press("Enter")
    assert seen.page.evaluate(f"() => {focused}.id") == "main"
    assert seen.page.locator("#result").is_visible()


CONTRAST = """() => {
    const light = (colour) => {
        const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
        const [r, g, b] = parts.map((p) => (p <= 0.03928 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const worded = [...document.querySelectorAll("body *")].filter((one) =>
        one.checkVisibility({ visibilityProperty: true }) && !one.matches(":disabled, :disabled *, canvas, option")
        && [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()));
    const faint = new Set();
    for (const one of worded) {
        let behind = one;
        while (/rgba\\(.*, 0\\)/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
        const [a, b] = [getComputedStyle(one).color, getComputedStyle(behind).backgroundColor].map(light);
        if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5) faint.add(`${one.tagName}.${one.className}`);
    }
    return [worded.length, [...faint]];
}"""
"""How many elements have words, and which of them stand out too little from what lies behind them (WCAG 2, AA)."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_by_day_and_night(visit: Open, site: Site, known: dict[str, Any], scheme: str) -> None:
    for kind, tab in (("eclipsing_binary", ""), ("planets", ""), ("", "#train"), ("", "#recent")):
        seen = visit(tab or site.link(kind), answer=known.get(kind), color_scheme=scheme)
        seen.page.evaluate("() => document.querySelectorAll('details').forEach((one) => (one.open = true))")
        ground = seen.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert (sum(int(part) for part in ground[4:-1].split(",")) < 380) == (scheme == "dark")
        count, faint = seen.page.evaluate(CONTRAST)
        assert count > 10
        assert faint == []


ASIDE = """() => [...document.querySelectorAll("body *")]
    .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > screen.width + 1)
    .filter((one) => !one.closest(".scroller, pre, nav, .hidden")).map((one) => one.outerHTML.slice(0, 80))"""


def test_a_phone_shows_it_without_scrolling_aside(visit: Open, site: Site, known: dict[str, Any]) -> None:
    nasty = {**known["planets"], "target_id": "TIC " + "9" * 60}
    for hash_, answer in (("", None), (site.link("planets"), nasty), ("#train", None), ("#recent", None)):
        seen = visit(hash_, answer=answer, **PHONE)
        seen.page.evaluate("() => document.querySelectorAll('details').forEach((one) => (one.open = true))")
        assert seen.page.evaluate(ASIDE) == []
        assert seen.page.evaluate("() => document.documentElement.scrollWidth <= screen.width")
        assert seen.said == []


def test_names_from_outside_stay_words(visit: Open, site: Site, known: dict[str, Any]) -> None:
    answer = json.loads(json.dumps(known["planets"]))
    answer["target_id"] = answer["provenance"]["source"] = NASTY
    answer["row"] |= {"target_id": NASTY, "star_class": NASTY, "class_evidence": [NASTY], "notes": [NASTY]}
    answer["row"]["tces"][0] |= {"flags": [NASTY], "not_scored": [f"pixels: {NASTY}"], "known_name": NASTY}
    answer["row"]["tces"][0]["checks"][0]["name"] = NASTY
    answer["row"]["products"][0]["product"] = NASTY
    answer["plot"]["anomalies"]["intervals"][0]["kind"] = NASTY
    answer["meanings"] = dict.fromkeys(answer["meanings"], NASTY)
    seen = visit(f"#star={NASTY}", answer=answer)
    assert seen.words("#h-star") == NASTY
    assert NASTY in seen.words("#evidence")
    assert seen.page.locator("#result img, #result script, #result iframe").count() == 0
    with seen.page.expect_download() as taken:
        seen.page.locator("#get-json").click()
    assert not set(taken.value.suggested_filename) & set("<>\"'/\\")
    assert seen.said == []


def test_it_prints_what_was_found(visit: Open, site: Site, known: dict[str, Any]) -> None:
    seen = visit(site.link("planets"), answer=known["planets"], color_scheme="dark")
    seen.page.emulate_media(media="print", color_scheme="dark")
    assert seen.page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for selector in ("nav", "#ask", "#look", "#curl"):
        assert not seen.page.locator(selector).is_visible()
    for selector in ("#h-star", "#light canvas >> nth=0", "#checks"):
        assert seen.page.locator(selector).is_visible()
    assert len(seen.page.pdf()) > 30_000
