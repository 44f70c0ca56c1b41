"""The report in a real browser: from a disk, without a network, with mouse and keyboard, in the dark and on a phone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from survey import schema
from survey.cli import main
from survey.runs import page, store
from tests.runs.small_run import make_run
from tests.runs.test_exports import make_tce
from tests.runs.test_page import NASTY

pytestmark = pytest.mark.verify

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@dataclass
class Visit:
    """An open page, what its console said and what it asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def column(self, name: str) -> list[str]:
        """Words of a column of the table, from the top."""
        place = self.page.locator(f'#table th[data-name="{name}"]').evaluate("head => head.cellIndex")
        return self.page.locator(f"#table tbody tr td:nth-child({place + 1})").all_inner_texts()

    def numbers(self, name: str) -> list[float]:
        return [float(words.replace(",", "")) for words in self.column(name)]

    def sort(self, name: str) -> str:
        """Clicks the head of a column; how it is sorted then."""
        self.page.locator(f'#table th[data-name="{name}"] button').click()
        return self.page.locator(f'#table th[data-name="{name}"]').get_attribute("aria-sort")

    @property
    def found(self) -> str:
        return self.page.locator("#found").inner_text()

    @property
    def title(self) -> str:
        return self.page.locator("#panel-title").inner_text()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> store.Run:
    """A run of eight stars with its report, made by the command."""
    folder = tmp_path_factory.mktemp("browser")
    run = make_run(folder / "run", folder / "mirror")
    assert main(["report", str(folder / "run")]) == 0
    return run


@pytest.fixture
def visit(browser: Any, run: store.Run) -> Iterator[Callable[..., Visit]]:
    """Opens a page from the disk, the run's own if no other is given, in a window of its own."""
    contexts = []

    def open_(path: Path | None = None, hash_: str = "", **window: Any) -> Visit:
        contexts.append(browser.new_context(**{"viewport": {"width": 1300, "height": 900}} | window))
        contexts[-1].set_default_timeout(60_000)
        seen = Visit(contexts[-1].new_page())
        seen.page.on("console", lambda message: seen.said.append(f"{message.type}: {message.text}"))
        seen.page.on("pageerror", lambda error: seen.said.append(f"error: {error}"))
        seen.page.on("request", lambda request: seen.asked.append(request.url))
        seen.page.goto((path or Path(run.folder.base, page.PAGE)).as_uri() + hash_)
        return seen

    yield open_
    for context in contexts:
        context.close()


def test_it_opens_from_a_disk_and_asks_nobody(visit: Callable[..., Visit], run: store.Run) -> None:
    seen = visit()
    candidates = page.read_facts(run).candidates
    passed = candidates.filter(candidates.column("is_candidate"))
    assert seen.page.locator("#n-candidates").inner_text() == str(len(passed))
    assert seen.numbers("rank") == passed.column("rank").to_pylist()
    assert seen.numbers("period") == [round(period, 6) for period in passed.column("period").to_pylist()]
    assert seen.page.locator("#table img").count() == len(passed)
    drawn = "images => images.every(image => image.complete && image.naturalWidth > 100)"
    assert seen.page.locator("#table img").evaluate_all(drawn)
    seen.page.locator("#run").scroll_into_view_if_needed()
    assert seen.said == []
    assert all(url.startswith(("file:", "data:")) for url in seen.asked)


def test_columns_sort_both_ways(visit: Callable[..., Visit]) -> None:
    seen = visit()
    assert seen.sort("period") == "ascending"
    assert seen.numbers("period") == sorted(seen.numbers("period"))
    assert seen.sort("period") == "descending"
    assert seen.numbers("period") == sorted(seen.numbers("period"), reverse=True)
    assert seen.sort("mes") == "descending"
    assert seen.page.locator("#table th[aria-sort=none]").count() > 5
    seen.page.locator('#table th[data-name="target_id"] button').focus()
    seen.page.keyboard.press("Enter")
    assert seen.column("target_id") == sorted(seen.column("target_id"))


def test_filters_leave_what_fits(visit: Callable[..., Visit], run: store.Run) -> None:
    seen = visit()
    candidates = page.read_facts(run).candidates
    seen.page.locator(".switch").get_by_text("All signals").click()
    assert seen.found == f"{len(candidates)} signals"
    stars = candidates.column("target_id").to_pylist()
    seen.page.locator("#search").fill(stars[0].lower())
    assert [words.splitlines()[0] for words in seen.column("target_id")] == [stars[0]] * stars.count(stars[0])
    assert f"of {len(stars)} signals" in seen.found
    seen.page.locator("#reset").click()
    seen.page.locator("#ranges summary").click()
    middle = float(np.median(candidates.column("period").to_pylist()))
    seen.page.locator("#least-period").fill(f"{middle + 1e-5:.6f}")
    assert 0 < len(seen.numbers("period")) < len(stars)
    assert min(seen.numbers("period")) > middle
    seen.page.locator("#most-period").fill("nonsense")
    assert seen.page.locator("#most-period").get_attribute("aria-invalid") == "true"
    seen.page.locator("#search").fill("no such star")
    assert seen.found.startswith("None of")
    seen.page.locator("#reset").click()
    assert seen.found == f"{len(stars)} signals"
    assert seen.said == []


def test_a_row_opens_its_sheet_and_arrows_go_on(visit: Callable[..., Visit], run: store.Run) -> None:
    seen = visit()
    seen.sort("period")
    stars = [words.splitlines()[0] for words in seen.column("target_id")]
    assert len(stars) >= 3
    seen.page.locator("#table tbody tr").first.click()
    assert seen.title.startswith(stars[0])
    sheet = seen.page.locator("#panel-sheet .sheet img")
    sheet.wait_for()
    seen.page.wait_for_function("() => document.querySelector('.sheet img').naturalWidth > 600")
    for link in seen.page.locator("#panel-sheet p a").all():
        assert (Path(run.folder.base) / "report" / str(link.get_attribute("href"))).is_file()
    assert seen.page.locator("#panel-previous").is_disabled()
    seen.page.keyboard.press("ArrowRight")
    assert seen.title.startswith(stars[1])
    seen.page.keyboard.press("ArrowRight")
    seen.page.keyboard.press("ArrowLeft")
    assert seen.title.startswith(stars[1])
    assert seen.page.locator("#panel-place").inner_text() == f"2 of {len(stars)}"
    assert seen.page.locator(".check").count() > 5
    seen.page.keyboard.press("Escape")
    expect(seen.page.locator("#panel")).to_be_hidden()
    # A dialog tells of its end a moment later.
    expect(seen.page.locator("#table .opener:focus")).to_contain_text(stars[1])
    seen.page.keyboard.press("ArrowDown")
    seen.page.keyboard.press("Enter")
    assert seen.title.startswith(stars[2])
    assert seen.said == []


def test_points_and_addresses_open_signals(visit: Callable[..., Visit]) -> None:
    seen = visit(hash_="#signal-2")
    assert seen.page.locator("#panel-place").inner_text().startswith("2 of")
    seen.page.locator("#panel-close").click()
    expect(seen.page.locator("#panel")).to_be_hidden()
    point = seen.page.locator('circle[data-row="0"]').first
    point.scroll_into_view_if_needed()
    point.click(force=True)
    assert seen.page.locator("#panel-place").inner_text().startswith("1 of")


def contrast(seen: Visit, selector: str) -> float:
    """Of an element's words against what lies behind them (WCAG 2)."""
    return seen.page.locator(selector).first.evaluate(
        """element => {
            const light = (colour) => {
                const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
                const [r, g, b] = parts.map((p) => (p <= 0.03928 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            let behind = element;
            while (/rgba\\(.*, 0\\)/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
            const [a, b] = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor].map(light);
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        }"""
    )


WORDS = (".lead", "#found", ".opener", ".tile.strong dd", ".note", "nav a", ".stars", ".switch input:checked + span")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_by_day_and_night(visit: Callable[..., Visit], scheme: str) -> None:
    seen = visit(color_scheme=scheme)
    seen.page.locator("#failures details").first.evaluate("element => { element.open = true }")
    ground = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in ground[4:-1].split(",")) < 380) == (scheme == "dark")
    assert {words: contrast(seen, words) for words in WORDS if contrast(seen, words) < 4.5} == {}


def test_a_phone_shows_it_without_scrolling_aside(visit: Callable[..., Visit]) -> None:
    seen = visit(**PHONE)
    wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    inside = ".filter(e => !e.closest('.drawing, .scroller, nav')).map(e => e.outerHTML.slice(0, 80))"
    assert seen.page.evaluate(wide + inside) == []
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    seen.page.locator("#sort").select_option("period up")
    opener = seen.page.locator("#table .opener").first
    opener.tap()
    expect(seen.page.locator("#panel")).to_be_visible()
    assert seen.page.evaluate("document.querySelector('#panel').scrollWidth <= innerWidth")
    seen.page.locator("#panel-next").tap()
    expect(seen.page.locator("#panel-place")).to_contain_text("2 of")
    assert seen.said == []


def test_it_prints_the_table_and_not_its_controls(visit: Callable[..., Visit]) -> None:
    seen = visit()
    seen.page.emulate_media(media="print")
    assert not seen.page.locator("#filters").is_visible()
    assert not seen.page.locator("nav").is_visible()
    assert seen.page.locator("#table tbody tr").first.is_visible()
    assert len(seen.page.pdf()) > 10_000


def write_page(run: store.Run, folder: Path, signals: list[dict[str, Any]]) -> Path:
    """The run's page with other signals."""
    read = replace(page.read_facts(run), candidates=schema.rows_table(signals, schema.CANDIDATE))
    path = folder / "index.html"
    path.write_text(page.render(read, {}, set(), {}))
    return path


def test_ten_thousand_signals_are_paged(visit: Callable[..., Visit], run: store.Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    periods = rng.uniform(0.5, 13.0, 10_000)
    signals = [
        make_tce(rank=k + 1, target_id=f"TIC {k}", period=float(period), is_candidate=k < 700)
        for k, period in enumerate(periods)
    ]
    seen = visit(write_page(run, tmp_path, signals))
    seen.page.locator(".switch").get_by_text("All signals").click()
    assert seen.found == "10,000 signals"
    assert seen.page.locator("#table tbody tr").count() == 50
    seen.sort("period")
    seen.page.locator("#last").click()
    assert seen.page.locator("#page-words").inner_text() == "9,951 to 10,000 of 10,000"
    assert seen.numbers("period")[-1] == round(periods.max(), 6)
    seen.page.locator("#search").fill("TIC 99")
    assert seen.found == "111 of 10,000 signals"
    assert seen.said == []


def test_names_from_outside_stay_words(visit: Callable[..., Visit], run: store.Run, tmp_path: Path) -> None:
    signals = [
        make_tce(target_id=NASTY, known_name=NASTY, novelty="known", flags=[NASTY], star_class=NASTY),
        make_tce(rank=2),
    ]
    seen = visit(write_page(run, tmp_path, signals))
    seen.page.on("dialog", lambda dialog: (seen.said.append(f"alert {dialog.message}"), dialog.dismiss()))
    assert seen.column("target_id")[0].startswith(NASTY)
    seen.page.locator("#table .opener").first.click()
    assert seen.title == NASTY
    seen.page.keyboard.press("ArrowRight")
    assert seen.title == "TIC 441462736"
    assert seen.said == []
