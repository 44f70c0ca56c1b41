"""The report's numbers are those of the tables, its links lead somewhere, and no name or error can break the page."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from survey import schema
from survey.cli import main
from survey.config import Config, load
from survey.errors import UsageError
from survey.runs import page, store
from survey.runs.page import charts, facts, figures, rows, sheets
from survey.runs.page.facts import Facts
from survey.runs.sheet import sheet_name
from survey.stars.targets import Target
from tests.runs import fakes
from tests.runs.small_run import make_run
from tests.runs.test_exports import make_tce
from tests.runs.test_store import bucket

__all__ = ["bucket"]

NASTY = '</script><script>alert(1)</script><img src=x onerror="alert(2)">&amp;'


@dataclass
class Page(HTMLParser):
    """What a browser would make of the page: elements with their attributes, ids, links, texts of scripts."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    @classmethod
    def of(cls, html: str) -> "Page":
        page = cls()
        page.feed(html)
        page.close()
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        (self.scripts if self.elements and self.elements[-1][0] == "script" and data.strip() else self.words).append(
            data
        )

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.elements if name in attributes]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def table(self) -> dict[str, Any]:
        return json.loads(self.scripts[0])


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page") / "mirror"


@pytest.fixture(scope="module")
def finished(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> store.Run:
    """A run with its report, and the sheet of its best candidate."""
    run = make_run(tmp_path_factory.mktemp("page") / "run", mirror)
    read = page.read_facts(run)
    drawn = page.draw_sheets(run, page.best_signals(read.candidates, 1), f"mirror:{mirror}", workers=1)
    assert not drawn.reasons
    page.write_report(run, read)
    return run


def read_page(run: store.Run) -> Page:
    return Page.of(run.folder.read(page.PAGE).to_pybytes().decode())


@pytest.fixture
def fake_facts(tmp_path: Path) -> Facts:
    """Of a run over stars of every fate; tests put their own tables in."""
    return page.read_facts(fake_run(tmp_path / "run", fakes.targets(40)))


def fake_run(root: Path, targets: Sequence[Target], config: Config | None = None) -> store.Run:
    with store.open_run(root, config or load(), targets, source={"source": "mirror:somewhere"}) as run:
        for shard, table in store.todo(run).items():
            store.commit(run, shard, fakes.described(table, run.config))
        store.merge(run)
    return store.load_run(root)


def render(about: Facts, candidates: Sequence[dict[str, Any]] | None = None, **others: Any) -> Page:
    if candidates is not None:
        about = replace(about, candidates=schema.rows_table(candidates, schema.CANDIDATE))
    return Page.of(page.render(about, {}, set(), others.pop("undrawn", {}), **others))


# The numbers


def test_the_table_holds_the_candidates_and_nothing_else(finished: store.Run) -> None:
    table = read_page(finished).table
    candidates = pq.read_table(pa.BufferReader(finished.folder.read(store.CANDIDATES)))
    assert len(candidates) > 2
    shown = {column["name"]: column for column in table["columns"]}
    for column in rows.COLUMNS:
        truth = candidates.column(column.name).to_pylist()
        if column.name not in shown:
            assert all(value is None or value == [] for value in truth), column.name
            continue
        for value, true in zip(read_values(shown[column.name]), truth, strict=True):
            if isinstance(true, float):
                step = 10.0**-column.decimals if column.decimals is not None else 10.0 ** (1 - (column.digits or 0))
                allowed = 0.5001 * step * (1.0 if column.decimals is not None else abs(true))
                assert abs(value - true) <= allowed, column.name
            else:
                assert value == ([str(word) for word in true] if isinstance(true, list) else true), column.name
    assert table["candidate"] == [int(value) for value in candidates.column("is_candidate").to_pylist()]
    assert [[one[0] for one in checks] for checks in table["checks"]] == [
        [
            one["name"]
            for one in sorted(checks, key=lambda check: (check["passed"] is not False, check["passed"] is None))
        ]
        for checks in candidates.column("checks").to_pylist()
    ]


def read_values(column: dict[str, Any]) -> list[Any]:
    """As the page's script reads them."""
    words = column.get("words")
    if words is None:
        return column["values"]
    return [
        [words[k] for k in value] if isinstance(value, list) else None if value is None else words[value]
        for value in column["values"]
    ]


def test_counts_are_those_of_the_tables(finished: store.Run) -> None:
    said, read = read_page(finished).text, page.read_facts(finished)
    n_passed = int(facts.is_candidate(read.candidates).sum())
    assert f"candidates {n_passed} signals {len(read.candidates)} stars searched {read.status.counts['ok']} " in said
    assert f"without a result {8 - read.status.counts['ok']} " in said
    for status, count in Counter(read.targets.column("status").to_pylist()).items():
        assert f" {status.replace('_', ' ')} {count} " in said
    assert read.status.counts["ok"] < len(read.targets)
    searched = read.targets.filter(pc.equal(read.targets.column("status"), "ok"))
    for name, count in Counter(searched.column("star_class").to_pylist()).items():
        assert f" {(name or 'nothing stands out').replace('_', ' ')} {count} " in said
    assert finished.record["science_hash"] in said
    assert "search.period_max 6 none" in said


def test_every_signal_stands_once_in_every_chart(finished: store.Run) -> None:
    html = finished.folder.read(page.PAGE).to_pybytes().decode()
    candidates = page.read_facts(finished).candidates
    for label, name in (("period (d)", "period"), ("depth (ppm)", "depth_ppm"), ("MES", "mes"), ("FAP", "fap")):
        drawn = re.findall(rf'aria-label="Histogram, {re.escape(label)}: .*?</svg>', html)
        assert drawn, label
        for svg in drawn:
            bars = [tuple(map(int, pair)) for pair in re.findall(r": (\d+), (\d+) pass</title>", svg)]
            known = ~np.isnan(facts.numbers(candidates, name))
            expected = (int(known.sum()), int((known & facts.is_candidate(candidates)).sum()))
            assert tuple(map(sum, zip(*bars, strict=True))) == expected, label
    points = re.findall(r'data-row="(\d+)"', html.split('aria-label="Depth and period"')[1].split("</svg>")[0])
    assert sorted(map(int, points)) == list(range(len(candidates)))


def test_equal_runs_have_equal_pages(finished: store.Run) -> None:
    read, moment = page.read_facts(finished), datetime(2030, 1, 1, tzinfo=UTC)
    assert page.render(read, {}, set(), {}, moment) == page.render(page.read_facts(finished), {}, set(), {}, moment)


# Links and safety


def test_links_lead_to_files_that_are_there(finished: store.Run) -> None:
    seen = read_page(finished)
    ids, folder = set(seen.attributes("id")), Path(finished.folder.base) / "report"
    links = seen.attributes("href")
    assert {"candidates.csv", "../candidates.parquet"} <= set(links)
    for link in links:
        assert link.removeprefix("#") in ids if link.startswith("#") else (folder / link).is_file(), link
    table = seen.table
    assert len(table["sheets"]) == 1
    for name in table["sheets"].values():
        for suffix in table["formats"]:
            assert (folder / "sheets" / f"{name}.{suffix}").stat().st_size > 1000
    assert pq.read_table(folder.parent / "candidates.parquet").num_rows == len(
        (folder / "candidates.csv").read_text().splitlines()[1:]
    )


def test_the_page_asks_no_network_and_runs_only_its_own_script(finished: store.Run) -> None:
    seen = read_page(finished)
    outside = [link for name in ("href", "src", "srcset", "action", "poster") for link in seen.attributes(name)]
    assert not [link for link in outside if "//" in link]
    html = finished.folder.read(page.PAGE).to_pybytes().decode()
    assert "@import" not in html
    assert "url(" not in html
    assert len(seen.scripts) == 2
    [policy] = [content for content in seen.attributes("content") if "default-src" in content]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
    assert not any(name.startswith("on") for _, attributes in seen.elements for name in attributes)


def test_no_name_can_break_the_page(fake_facts: Facts) -> None:
    bare = render(fake_facts, [make_tce()])
    nasty = [make_tce(target_id=NASTY, known_name=NASTY, flags=[NASTY], star_class=NASTY, novelty=NASTY)]
    errors = pa.array([NASTY if value else None for value in fake_facts.targets.column("error").to_pylist()])
    k = fake_facts.targets.column_names.index("error")
    record = {**fake_facts.run.record, "input": {"targets": NASTY}, "sessions": [
        {**session, "source": {"source": NASTY}} for session in fake_facts.run.record["sessions"]
    ]}  # fmt: skip
    about = replace(
        fake_facts,
        run=replace(fake_facts.run, record=record),
        targets=fake_facts.targets.set_column(k, "error", errors),
    )
    seen = render(about, nasty, undrawn={(NASTY, 1): NASTY})
    assert len(seen.scripts) == len(bare.scripts) == 2
    assert seen.scripts[1] == bare.scripts[1]
    assert Counter(tag for tag, _ in seen.elements)["img"] == 0
    stars = next(column for column in seen.table["columns"] if column["name"] == "target_id")
    assert stars["values"] == [NASTY]
    assert seen.table["undrawn"] == {"0": NASTY}
    assert NASTY in seen.text


def test_json_inside_a_script_stays_json() -> None:
    value = {"word": f"{NASTY}\u2028\u2029<!--", "number": 1.5}
    text = str(rows.embed(value))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


# Odd runs


def test_a_run_without_signals_says_so(fake_facts: Facts) -> None:
    seen = render(fake_facts, [])
    assert "No signal reached the threshold" in seen.text
    assert "There are no signals to count" in seen.text
    assert seen.table["candidate"] == []


def test_a_run_of_failures_tells_every_star_and_reason(tmp_path: Path) -> None:
    names = ["TIC 3", "TIC 16", "TIC 7", "TIC 9", "TIC 22", "TIC 11"]
    run = fake_run(tmp_path / "run", [Target(name, "tess") for name in names])
    page.write_report(run, page.read_facts(run))
    seen = read_page(run)
    section = seen.text.split("Reading the numbers")[1].split("Failures", 1)[1]
    assert "stars searched 0 without a result 6" in seen.text
    assert "2 ZeroDivisionError: defect at … TIC 9, TIC 22" in section
    assert "Traceback" in section
    assert "2 no such star TIC 3, TIC 16" in section
    assert (
        section.index("defect at")
        < section.index("HTML")
        < section.index("one cadence")
        < section.index("no such star")
    )


def test_an_unfinished_run_has_no_report(tmp_path: Path) -> None:
    with store.open_run(tmp_path, load(), fakes.targets(3)):
        pass
    with pytest.raises(UsageError, match="no catalogue yet"):
        page.read_facts(store.load_run(tmp_path))


def test_ten_thousand_signals_are_a_page_of_some_megabytes(fake_facts: Facts) -> None:
    rng = np.random.default_rng(1)
    signals = [
        make_tce(
            rank=k + 1, target_id=f"TIC {k}", period=float(rng.uniform(0.5, 13)), depth_ppm=float(rng.lognormal(7, 1)),
            epoch=1325.0 + float(rng.uniform(0, 13)), is_candidate=k < 500, flags=["sine_like"] * (k >= 500),
        )
        for k in range(10_000)
    ]  # fmt: skip
    about = replace(fake_facts, candidates=schema.rows_table(signals, schema.CANDIDATE))
    html = page.render(about, {}, set(), {})
    assert len(html) < 4_000_000
    table = Page.of(html).table
    assert {len(column["values"]) for column in table["columns"]} == {10_000}
    assert html.count("<circle") < 2000, "crowded scatters are one path"


# Words and figures


def test_errors_that_differ_in_numbers_and_names_are_one_reason() -> None:
    stars = [
        ("TIC 1", "bad_file", "tess2018-s0001-0000000000000001-s_lc.fits: truncated, 100 bytes are announced"),
        ("TIC 2", "bad_file", "tess2018-s0002-0000000000000002-s_lc.fits: truncated, 250 bytes are announced"),
        ("TIC 3", "bad_file", "an HTML page"),
        ("TIC 4", "no_data", "TIC 4: no light curve in sector 7"),
        ("TIC 5", "ok", None),
    ]
    kind = pa.schema([(name, pa.string()) for name in ("target_id", "status", "error")])
    targets = pa.Table.from_pylist([dict(zip(kind.names, star, strict=True)) for star in stars], kind)
    found = facts.reasons(targets, schema.TELEMETRY.empty_table())
    assert [(one.status, one.words, one.targets) for one in found] == [
        ("bad_file", "… truncated, … bytes are announced", ("TIC 1", "TIC 2")),
        ("bad_file", "an HTML page", ("TIC 3",)),
        ("no_data", "no light curve in sector 7", ("TIC 4",)),
    ]


def test_pauses_between_sessions_are_no_working_time() -> None:
    record = {"sessions": [{"started_at": f"2030-01-0{day}T00:00:00+00:00"} for day in (1, 2, 3)]}
    moments = ["2030-01-01T00:00:10+00:00"] * 4 + ["2030-01-01T00:01:00+00:00"] * 2 + ["2030-01-03T00:00:30+00:00"]
    telemetry = schema.rows_table(
        [
            {"target_id": f"TIC {k}", "shard": 0, "attempt": 1, "last_stage": "done", "status": "ok", "updated_at": at}
            for k, at in enumerate(moments)
        ],
        schema.TELEMETRY,
    )
    line = facts.timeline(record, telemetry)
    assert line is not None
    assert line.seconds.tolist() == [10.0, 60.0, 90.0]
    assert line.stars.tolist() == [4.0, 6.0, 7.0]
    assert line.breaks == (60.0,)
    assert "over 2 sessions" in figures.progress(line)[0].note
    assert facts.timeline(record, schema.TELEMETRY.empty_table()) is None


def test_a_pile_up_is_found_and_chance_is_not() -> None:
    edges = np.linspace(0.0, 100.0, 201)
    rng = np.random.default_rng(7)
    even = [np.histogram(rng.uniform(0, 100, 600), edges)[0] for _ in range(100)]
    assert sum(bool(charts.find_piles(counts, edges)) for counts in even) <= 5
    counts = even[0].copy()
    counts[120] += 15
    assert [(pile.low, pile.count) for pile in charts.find_piles(counts, edges)] == [(60.0, int(counts[120]))]


def test_events_of_a_signal_recur_until_its_data_end() -> None:
    signals = [
        make_tce(epoch=10.0, period=5.0, baseline_d=18.0, n_transits=4),
        make_tce(epoch=11.0, period=None, n_transits=1, is_candidate=False),
        make_tce(epoch=12.0, period=0.5, n_transits=40),
        make_tce(epoch=13.0, period=5.0, n_transits=4, mission="kepler"),
    ]
    times, passed = facts.event_times(schema.rows_table(signals, schema.CANDIDATE), "tess")
    assert times.tolist() == [10.0, 15.0, 20.0, 25.0, 11.0]
    assert passed.tolist() == [True] * 4 + [False]


def test_axes_have_round_ticks_inside() -> None:
    assert charts.Scale(0.5, 14.0, 0, 1, log=True).ticks() == [0.5, 1.0, 2.0, 5.0, 10.0]
    assert charts.Scale(0.0, 3.2, 0, 1, whole=True).ticks() == [0.0, 1.0, 2.0, 3.0]
    many = charts.Scale(1e-20, 1.0, 0, 1, log=True).ticks()
    assert 3 <= len(many) <= 8
    assert all(1e-20 <= value <= 1.001 for value in many)
    assert [charts.words_of(value) for value in (0.5, 12_000.0, 1e-12, 0)] == ["0.5", "12,000", "10⁻¹²", "0"]


@pytest.mark.parametrize("values", [[3.0], [2.0, 2.0], [1e-9, 1e9]])
def test_few_signals_have_charts_too(fake_facts: Facts, values: list[float]) -> None:
    signals = [make_tce(period=value, depth_ppm=value, mes=value, fap=0.0) for value in values]
    assert "nan" not in str(render(fake_facts, signals).elements)


# Sheets


def test_a_star_that_cannot_be_had_again_is_told_and_costs_no_other(
    finished: store.Run, mirror: Path, tmp_path: Path
) -> None:
    run = store.load_run(shutil.copytree(finished.folder.base, tmp_path / "run"))
    shutil.rmtree(tmp_path / "run" / "report")
    lost = shutil.copytree(mirror, tmp_path / "mirror")
    candidates = page.read_facts(run).candidates
    signals = page.best_signals(candidates, 3)
    stars = list(dict.fromkeys(signal["target_id"] for signal in signals))
    assert len(stars) > 1
    for file in lost.rglob(f"*{stars[0].split()[1]}*_lc.fits"):
        file.unlink()
    moved = {**signals[-1], "epoch": signals[-1]["epoch"] + 0.4, "number": signals[-1]["number"]}
    told: list[tuple[int, int]] = []
    drawn = page.draw_sheets(
        run, [*signals[:-1], moved], f"mirror:{lost}", workers=1, on_progress=lambda *done: told.append(done)
    )
    assert told[-1] == (len(stars), len(stars))
    keys = [(signal["target_id"], signal["number"]) for signal in signals]
    assert set(drawn.reasons) | set(drawn.files) == set(keys)
    assert all("no_data" in drawn.reasons[key] for key in keys if key[0] == stars[0])
    assert "does not find this signal again" in drawn.reasons[keys[-1]]
    page.write_report(run, page.read_facts(run), drawn.reasons)
    seen = read_page(run)
    assert f"Sheets that could not be drawn: {len(drawn.reasons)}" in seen.text
    assert len(seen.table["sheets"]) == len(drawn.files)


@pytest.mark.verify
def test_processes_draw_what_one_draws(finished: store.Run, mirror: Path, tmp_path: Path) -> None:
    signals = page.best_signals(page.read_facts(finished).candidates, 3)
    pages = []
    for workers in (1, 2):
        run = store.load_run(shutil.copytree(finished.folder.base, tmp_path / str(workers)))
        shutil.rmtree(tmp_path / str(workers) / "report")
        assert len(page.draw_sheets(run, signals, f"mirror:{mirror}", workers=workers).files) == 3
        pages.append({path.name: path.read_bytes() for path in (tmp_path / str(workers) / sheets.SHEETS).iterdir()})
    assert pages[0] == pages[1]


def test_sheets_older_than_the_catalogue_are_not_shown(finished: store.Run, tmp_path: Path) -> None:
    run = store.load_run(shutil.copytree(finished.folder.base, tmp_path / "run"))
    assert len(sheets.existing_sheets(run)) == 1
    later = Path(run.folder.base, store.CANDIDATES)
    later.write_bytes(later.read_bytes())
    assert not sheets.existing_sheets(run)


def test_sheet_and_counts_have_the_class_that_the_whole_sweep_leaves(
    finished: store.Run, mirror: Path, tmp_path: Path
) -> None:
    run = store.load_run(shutil.copytree(finished.folder.base, tmp_path / "run"))
    read = page.read_facts(run)
    [signal] = page.best_signals(read.candidates, 1)
    swept = {**signal, "star_class": "systematics", "class_evidence": ["9 other stars dim at the same times"]}
    drawn = page.draw_sheets(run, [swept], f"mirror:{mirror}", workers=1)
    [names] = drawn.files.values()
    [sheet] = [name for name in names if name.endswith(".json")]
    star = json.loads(run.folder.read(f"{sheets.SHEETS}/{sheet}").to_pybytes())["star"]
    assert (star["star_class"], star["class_evidence"]) == (swept["star_class"], swept["class_evidence"])
    others = [row for row in read.candidates.to_pylist() if row["target_id"] != signal["target_id"]]
    candidates = pa.Table.from_pylist([swept, *others], schema=schema.CANDIDATE)
    before, after = (dict(facts.count_classes(each)) for each in (read, replace(read, candidates=candidates)))
    assert after["systematics"] == before.get("systematics", 0) + 1
    assert sum(after.values()) == read.status.counts["ok"]


def test_single_transits_of_one_star_have_sheets_of_their_own() -> None:
    names = {sheet_name(row, row) for row in (make_tce(period=None, number=k) for k in (1, 2, 3))}
    assert len(names) == 3


def test_a_report_may_lie_in_an_object_store(mirror: Path, finished: store.Run, bucket: str) -> None:
    run = make_run(f"{bucket}/runs/one", mirror)
    read = page.read_facts(run)
    [signal] = page.best_signals(read.candidates, 1)
    page.draw_sheets(run, [signal], f"mirror:{mirror}", workers=1)
    page.write_report(run, read)
    assert run.folder.names("report") == ["candidates.csv", "index.html"]
    assert [name.rpartition(".")[2] for name in run.folder.names(sheets.SHEETS)] == ["json", "pdf", "png"]
    assert read_page(run).table["columns"] == read_page(finished).table["columns"]


# The command


def command(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main([str(argument) for argument in arguments])
    said = capfd.readouterr()
    return code, said.out + said.err


def test_the_command_without_sheets_asks_no_source(
    finished: store.Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(finished.folder.base, tmp_path / "run")
    shutil.rmtree(root / "report")
    code, said = command(capfd, "report", root, "--sheets", 0, "--source", "mirror:nowhere")
    assert code == 0, said
    assert said.split() == [f"{root}/report/index.html"]
    seen = Page.of((root / page.PAGE).read_text())
    assert "No sheets of evidence are drawn" in seen.text
    assert seen.table["sheets"] == {}
    assert len(seen.table["small"]) == int(facts.is_candidate(page.read_facts(finished).candidates).sum())


def test_the_command_draws_all_signals_of_one_star(
    finished: store.Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(finished.folder.base, tmp_path / "run")
    shutil.rmtree(root / "report")
    rest = page.read_facts(finished).candidates.to_pylist()[-1]
    assert not rest["is_candidate"]
    code, said = command(capfd, "report", root, rest["target_id"].replace("TIC ", "TIC"))
    assert code == 0, said
    assert {path.suffix for path in (root / sheets.SHEETS).iterdir()} == set(sheets.SUFFIXES)
    table = Page.of((root / page.PAGE).read_text()).table
    assert table["sheets"] == {str(rest["rank"] - 1): sheet_name(rest, rest)}


def test_the_command_goes_on_where_it_was(
    finished: store.Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(finished.folder.base, tmp_path / "run")
    shutil.rmtree(root / "report")
    assert command(capfd, "report", root, "--sheets", 2)[0] == 0
    drawn = sorted((root / sheets.SHEETS).glob("*.png"))
    assert len(drawn) == 2
    times = {path: path.stat().st_mtime_ns for path in drawn}
    drawn[0].unlink()
    assert "1 sheets of 1 signals" in command(capfd, "report", root, "--sheets", 2)[1]
    assert drawn[0].exists()
    assert drawn[1].stat().st_mtime_ns == times[drawn[1]]
    assert "2 sheets of 2 signals" in command(capfd, "report", root, "--sheets", 2, "--redraw")[1]


def test_the_command_says_what_is_wrong(finished: store.Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = finished.folder.base
    for arguments, words in (
        ((tmp_path,), "no run in"),
        ((root, "TIC 4"), "TIC 4 has no signal in this run"),
        ((root, "nonsense"), "nonsense"),
        ((root, "--redraw", "--source", "elsewhere"), "no source 'elsewhere'"),
        ((root, "--redraw", "--source", f"mirror:{tmp_path}/nowhere"), "no folder"),
    ):
        code, said = command(capfd, "report", *arguments)
        assert code == 2, arguments
        assert words in said, arguments
