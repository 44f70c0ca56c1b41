"""The `survey` command: help, exit codes, and every command on simulated stars."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from astropy.table import Table

from survey.cli import app, main
from survey.cli.archives import parse_size
from survey.errors import UsageError
from survey.interruption import interruption_deferred, interruption_kept
from survey.runs.folder import locked, open_folder
from survey.stars import simulate
from survey.stars.simulate import InjectedSignal

QUICK = ("--set", "search.period_max=6", "--set", "search.max_tces=3")
"""Options that make a search quick and still find what was injected."""

HEAVY = {"ray", "jax", "numba", "matplotlib", "astropy", "lightkurve", "pyarrow", "polars", "scipy", "numpy", "torch"}


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def survey(capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Said]:
    """Runs the command in this process."""

    def run(*arguments: object) -> Said:
        code = main([str(argument) for argument in arguments])
        sys.stdout.flush()
        said = capfdbinary.readouterr()
        return Said(code, said.out.decode("utf-8", "replace"), said.err.decode("utf-8", "replace"))

    return run


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's folders."""
    monkeypatch.setenv("SURVEY_CATALOGS", str(tmp_path / "catalogs"))
    monkeypatch.setenv("SURVEY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@dataclass(frozen=True)
class Mirror:
    folder: Path
    truth: list[InjectedSignal]

    @property
    def source(self) -> str:
        return f"mirror:{self.folder}"

    @property
    def planet(self) -> InjectedSignal:
        return self.truth[0]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Mirror:
    """A planet, a binary, a quiet star, and a star that the archive does not have; one file that cannot be read now."""
    folder = tmp_path_factory.mktemp("mirror")
    truth = simulate.write_archive(folder, kinds=["planet", "eclipsing_binary", "quiet", "missing", "quiet"])
    [last] = folder.rglob("*0000000900000005*_lc.fits")
    last.unlink()
    # A link to itself: an error of reading that is worth asking again.
    last.symlink_to(last.name)
    return Mirror(folder, truth)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "import sys; from survey.cli import main; sys.exit(main())", *map(str, arguments)]


@pytest.fixture(scope="module")
def swept(mirror: Mirror, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """A run over the mirror by the real command, in a process and with a Ray of its own."""
    run = tmp_path_factory.mktemp("runs") / "run"
    done = subprocess.run(sweep_of(mirror, run), capture_output=True, text=True, timeout=300, check=False)
    return run, Said(done.returncode, done.stdout, done.stderr)


def sweep_of(mirror: Mirror, run: Path, *options: object) -> list[str]:
    targets = mirror.folder / "targets.txt"
    size = ("--set", "run.shard_size=2")
    return command("sweep", "--targets", targets, "--source", mirror.source, "--out", run, *size, *QUICK, *options)


# Help and usage


def walk(name: tuple[str, ...], this: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield name, this
    for sub, child in getattr(this, "commands", {}).items():
        yield from walk((*name, sub), child)


COMMANDS = dict(walk((), typer.main.get_command(app)))


def test_all_commands_are_there() -> None:
    assert {" ".join(name) for name in COMMANDS if name} >= {
        *("sweep", "status", "candidates", "match", "rescore"),
        *("score", "plot", "doctor", "cache", "catalogs", "simulate"),
        *("cache du", "cache verify", "cache prune", "catalogs fetch", "catalogs path", "catalogs list"),
        *("simulate archive", "simulate samples"),
    }


@pytest.mark.parametrize("name", COMMANDS, ids=lambda name: " ".join(name) or "survey")
def test_every_command_and_option_explains_itself(name: tuple[str, ...], survey: Callable[..., Said]) -> None:
    this = COMMANDS[name]
    assert this.help
    assert len(this.help) > 20
    for parameter in this.params:
        assert parameter.name == "help" or getattr(parameter, "help", None), f"{' '.join(name)} {parameter.name}"
    said = survey(*name, "--help")
    assert said.code == 0
    assert "Usage" in said.out
    if not hasattr(this, "commands"):
        assert f"survey {' '.join(name)}" in said.out.replace("Usage: survey", ""), "an example"


def test_help_loads_nothing_heavy() -> None:
    words = "import sys; from survey.cli import main; main(['sweep', '--help']); print('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.rpartition("LOADED")[2].split()}
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sweep", "--targets", "nowhere.txt"), "nowhere.txt"),
        (("sweep", "--limit", "3"), "say which stars"),
        (("sweep", "--sector", "1", "--quarter", "2"), "different missions"),
        (("sweep", "--sector", "1", "--mission", "k2"), "belongs to tess"),
        (("sweep", "--sector", "one"), "1,14-16"),
        (("sweep", "--demo", "--sector", "1"), "--demo brings its own"),
        (("sweep", "--demo", "--set", "search.perod_max=3"), "period_max"),
        (("sweep", "--demo", "--preset", "nonsense"), "classic"),
        (("sweep", "--demo", "--engine", "abacus"), "abacus"),
        (("sweep", "--no-such-option",), "--no-such-option"),
        (("sweep", "--sector", "1", "--source", "ftp:there"), "ftp:there"),
        (("status", "nowhere"), "no run"),
        (("candidates", "nowhere"), "no run"),
        (("candidates", "nowhere", "--format", "xlsx"), "xlsx"),
        (("score", "231663901"), "TIC 231663901"),
        (("score", "TIC 1", "--source", "mirror:nowhere"), "nowhere"),
        (("score", "nothing.fits"), "no file nothing.fits"),
        (("plot", "TIC 1", "--period", "3"), "--period, --epoch and --duration"),
        (("cache", "du"), "no cache"),
        (("cache", "prune"), "--max-size"),
        (("catalogs", "fetch", "nonsense"), "nonsense"),
        (("simulate", "samples", "--out", "x", "--format", "png"), "png"),
        (("simulate", "archive"), "--out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_usage_errors_end_with_2_and_say_what_to_do(
    arguments: tuple[str, ...], words: str, survey: Callable[..., Said]
) -> None:
    said = survey(*arguments)
    assert said.code == 2
    assert words in re.sub(r"[│\s]+", " ", said.err)
    assert "Traceback" not in said.err
    assert not said.out


def test_sizes() -> None:
    assert parse_size("20GB") == 20 * 10**9
    assert parse_size(" 1.5 mb ") == 1_500_000
    for text in ("", "GB", "20 apples", "-1GB", "nan", "inf"):
        with pytest.raises(UsageError):
            parse_size(text)


# Sweep, and what looks at a run


def test_a_sweep_ends_with_its_candidates_and_3_for_a_failed_fetch(swept: tuple[Path, Said], mirror: Mirror) -> None:
    run, said = swept
    assert said.code == 3, said.err
    assert "Traceback" not in said.err
    assert re.search(r"5 stars: ok 3, no_data 1, fetch_failed 1", said.out)
    assert re.search(r"\d+/5 stars, \S+ stars/s", said.out)
    assert re.search(rf"\n\s*1\s+{mirror.planet.target_id} ", said.out)
    assert f"{mirror.planet.period:.2f}" in said.out
    assert "2 of 2 injected signals were found" in said.out
    assert f"survey candidates {run}" in said.out


def test_resuming_asks_again_for_what_could_not_be_fetched(swept: tuple[Path, Said], mirror: Mirror) -> None:
    run, _ = swept
    before = (run / "candidates.parquet").read_bytes()
    done = subprocess.run(sweep_of(mirror, run), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 3, done.stderr
    assert "1/1 stars" in done.stdout
    assert (run / "candidates.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--set", "search.threshold=9"), "search.threshold: 7.1 -> 9.0"), (("--limit", 2), "the target list")],
)
def test_another_run_in_the_same_folder_is_refused(
    options: tuple[object, ...], words: str, swept: tuple[Path, Said], mirror: Mirror, survey: Callable[..., Said]
) -> None:
    said = survey(*sweep_of(mirror, swept[0], *options)[3:])
    assert said.code == 2
    assert words in said.err


def test_a_dry_run_says_what_would_run_and_does_nothing(
    mirror: Mirror, tmp_path: Path, survey: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    said = survey("sweep", "--source", mirror.source, "--out", tmp_path / "run", "--dry-run")
    assert said.code == 0
    assert re.search(r"stars +3 \(3 of tess\)", said.out) or re.search(r"stars +4 \(4 of tess\)", said.out)
    said = survey("sweep", "--sector", "15", "--dry-run", "--out", tmp_path / "run")
    assert said.code == 0
    assert "--targets FILE" in said.out
    assert not (tmp_path / "run").exists()


def test_an_interruption_ends_with_130_and_resumes(mirror: Mirror, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with subprocess.Popen(
        sweep_of(mirror, run), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 120
        while not (run / "run.json").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert "run the same command to go on" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_compiled_code_swallows_is_heeded_later(number: signal.Signals) -> None:
    def end_at_once(number: int, frame: object) -> None:
        raise SystemExit(number)

    usual = signal.signal(number, end_at_once)
    try:
        with interruption_kept() as heed:
            heed()
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(number)
            with pytest.raises(KeyboardInterrupt):
                heed()
        assert signal.getsignal(number) is end_at_once
    finally:
        signal.signal(number, usual)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_is_put_off_comes_at_the_end(number: signal.Signals) -> None:
    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    done: list[str] = []

    def work(error: type[Exception] | None = None) -> None:
        with interruption_deferred():
            signal.raise_signal(number)
            done.append("work")
            if error:
                raise error

    usual = signal.signal(number, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        with pytest.raises(KeyboardInterrupt) as raised:
            work(ZeroDivisionError)
        assert isinstance(raised.value.__context__, ZeroDivisionError)
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, usual)
    assert done == ["work", "work"]


def test_status_counts_and_explains(swept: tuple[Path, Said], survey: Callable[..., Said]) -> None:
    said = survey("status", swept[0])
    assert said.code == 0
    assert re.search(r"5 of 5 done: ok 3, no_data 1, fetch_failed 1", said.out)
    assert re.search(r"shards +3 of 3 done", said.out)
    assert re.search(r"run +\S+, complete", said.out)
    assert re.search(r"stage +stars +a star +stars/s", said.out)
    assert re.search(r"fetch +5 +[\d.]+ m?s", said.out)
    assert re.search(r"detrend +3 +[\d.]+ m?s", said.out)
    assert re.search(r"fetch_failed +fetch +other +1", said.out)
    assert re.search(r"TIC 900000005 fetch_failed in fetch", said.out)


def test_status_of_a_finished_run_that_is_at_work_again(swept: tuple[Path, Said], survey: Callable[..., Said]) -> None:
    with locked(open_folder(swept[0])):
        said = survey("status", swept[0])
    assert f"process {os.getpid()} on" in said.out
    assert "complete" not in said.out


def test_status_prints_the_progress_table(swept: tuple[Path, Said], survey: Callable[..., Said]) -> None:
    rows = list(csv.DictReader(io.StringIO(survey("status", swept[0], "--targets").out)))
    assert [row["target_id"] for row in rows] == [f"TIC 90000000{k}" for k in range(1, 6)]
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "no_data", "fetch_failed"]
    assert [row["last_stage"] for row in rows] == ["done", "done", "done", "fetch", "fetch"]
    assert float(rows[0]["best_period"]) > 0


def test_candidates_as_a_table(swept: tuple[Path, Said], mirror: Mirror, survey: Callable[..., Said]) -> None:
    said = survey("candidates", swept[0], "--top", "1")
    assert mirror.planet.target_id in said.out
    assert "TIC 900000002" not in said.out
    assert "TIC 900000002" in survey("candidates", swept[0]).out


@pytest.mark.parametrize("form", ["csv", "ecsv", "votable", "parquet", "ctoi"])
def test_candidates_for_other_programs(
    form: str, swept: tuple[Path, Said], mirror: Mirror, tmp_path: Path, survey: Callable[..., Said]
) -> None:
    out = tmp_path / "out" / f"candidates.{form}"
    said = survey("candidates", swept[0], "--format", form, "--out", out, "--passed")
    assert said.code == 0, said.err
    if form in ("csv", "parquet"):
        rows = pl.read_csv(out) if form == "csv" else pl.read_parquet(out)
        assert mirror.planet.target_id in rows["target_id"].to_list()
        assert rows["is_candidate"].all()
    elif form == "ctoi":
        assert mirror.planet.target_id.replace(" ", "") + ".01|newctoi|PC" in out.read_text()
    else:
        table = Table.read(out, format={"ecsv": "ascii.ecsv", "votable": "votable"}[form])
        [row] = [row for row in table if row["target_id"] == mirror.planet.target_id]
        assert row["period"] == pytest.approx(mirror.planet.period, rel=1e-3)
        assert str(table["duration_h"].unit) == "h"


def test_candidates_by_the_score_of_a_model(swept: tuple[Path, Said], survey: Callable[..., Said]) -> None:
    said = survey("candidates", swept[0], "--by", "triage", "--threshold", "0.5", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert {"target_id", "score_raw", "probability"} <= rows[0].keys()
    assert all(float(row["probability"]) >= 0.5 and row["score_raw"] == row["triage_score"] for row in rows)
    scores = [float(row["score_raw"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    every = list(csv.DictReader(io.StringIO(survey("candidates", swept[0], "--format", "csv").out)))
    assert 0 < len(rows) <= len(every)
    assert "triage" in survey("candidates", swept[0], "--by", "triage", "--top", "1").out
    assert survey("candidates", swept[0], "--by", "fusion").code == 2


def test_stars_by_their_score_need_a_model_of_segments(swept: tuple[Path, Said], survey: Callable[..., Said]) -> None:
    assert survey("candidates", swept[0], "--stars", "--by", "triage").code == 2


def test_a_run_is_rescored(swept: tuple[Path, Said], survey: Callable[..., Said], tmp_path: Path) -> None:
    run = tmp_path / "copy"
    shutil.copytree(swept[0], run)
    said = survey("rescore", run, "--set", "score.triage=none")
    assert said.code == 0
    assert "score.triage: triage -> None" in said.out
    assert pl.read_parquet(run / "candidates.parquet")["triage_score"].null_count() > 0
    assert survey("rescore", run, "--set", "search.period_max=3").code == 2


def test_candidates_go_down_a_pipe(swept: tuple[Path, Said], survey: Callable[..., Said]) -> None:
    said = survey("candidates", swept[0], "--format", "csv", "--top", "1")
    [row] = csv.DictReader(io.StringIO(said.out))
    assert row["rank"] == "1"


def test_match_compares_a_finished_run_with_newer_tables(
    swept: tuple[Path, Said], mirror: Mirror, tmp_path: Path, survey: Callable[..., Said]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(swept[0], run)
    said = survey("match", run)
    assert said.code == 2
    assert "survey catalogs fetch" in said.err
    folder = tmp_path / "tables"
    folder.mkdir()
    assert survey("match", run, "--catalogs", folder).code == 2
    planet = mirror.planet
    epoch = 2457000 + planet.epoch + 40 * planet.period
    row = f"7.01,{planet.target_id.split()[1]},PC,{epoch},{planet.period}"
    (folder / "nasa_toi_2026-01-01.csv").write_text(f"toi,tid,tfopwg_disp,pl_tranmid,pl_orbper\n{row}\n")
    said = survey("match", run, "--catalogs", folder)
    assert said.code == 0
    assert "rediscovered 1" in said.out
    listed = pl.read_parquet(run / "candidates.parquet").filter(pl.col("target_id") == planet.target_id)
    assert listed.select("novelty", "known_name").row(0) == ("rediscovered", "TOI-7.01")
    assert "TOI-7.01" in survey("candidates", run).out


# Score and plot


def test_score_answers_in_json(mirror: Mirror, survey: Callable[..., Said]) -> None:
    said = survey("score", mirror.planet.target_id, "TIC 900000004", "--source", mirror.source, "--json", *QUICK)
    assert said.code == 0

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    rows = json.loads(said.out, parse_constant=refuse)
    assert [row["status"] for row in rows] == ["ok", "no_data"]
    [tce] = rows[0]["tces"]
    assert tce["period"] == pytest.approx(mirror.planet.period, rel=1e-3)
    assert tce["depth_ppm"] == pytest.approx(mirror.planet.depth_ppm, rel=0.3)
    assert tce["is_candidate"] is True
    assert "time" not in rows[0]
    assert rows[1]["tces"] is None


def test_score_equals_the_sweep(swept: tuple[Path, Said], mirror: Mirror, survey: Callable[..., Said]) -> None:
    [row] = json.loads(survey("score", mirror.planet.target_id, "--source", mirror.source, "--json", *QUICK).out)
    kept = pl.read_parquet(swept[0] / "targets.parquet").filter(pl.col("target_id") == mirror.planet.target_id)
    assert kept["tces"][0].to_list() == row["tces"]
    assert kept["scatter_ppm"][0] == row["scatter_ppm"]


def test_score_as_a_table(mirror: Mirror, survey: Callable[..., Said]) -> None:
    said = survey("score", mirror.planet.target_id, "TIC 900000003", "--source", mirror.source, *QUICK)
    assert said.code == 0
    assert re.search(rf"{mirror.planet.period:.2f}\d+ .* candidate", said.out)
    assert len(re.findall(r"whole light curve: any transit .* \(star score 0\.\d+\), any planet", said.out)) == 1
    assert "no signal above the threshold" in said.out


def test_a_failed_fetch_ends_with_3(mirror: Mirror, survey: Callable[..., Said]) -> None:
    said = survey("score", "TIC 900000005", "--source", mirror.source, "--set", "run.attempts=1")
    assert said.code == 3
    assert "fetch_failed" in said.out


def test_files_are_scored_and_recognised(tmp_path: Path, survey: Callable[..., Said]) -> None:
    paths = simulate.simulate_samples(tmp_path, n=2)
    transits = [path for path in paths if path.stem == "exoplanet_transit"]
    said = survey("score", *transits, "--json", "--set", "search.period_min=8")
    rows = json.loads(said.out)
    assert said.code == 0
    assert len(rows) == 2
    for row in rows:
        assert row["tces"][0]["period"] == pytest.approx(15.0, rel=1e-3)
    assert any("recognised" in note for note in rows[0]["notes"])
    said = survey("score", transits[0], "--json", "--mission", "kepler", "--time-zero", "2454833", *QUICK)
    [row] = json.loads(said.out)
    assert (row["mission"], row["time_zero"]) == ("kepler", 2454833.0)


def test_a_file_that_is_no_light_curve_has_a_row_too(tmp_path: Path, survey: Callable[..., Said]) -> None:
    page = tmp_path / "page.fits"
    page.write_text("<html>not found</html>")
    said = survey("score", page, "--json")
    assert said.code == 3
    [row] = json.loads(said.out)
    assert row["status"] == "bad_file"
    assert "HTML" in row["error"] or "FITS" in row["error"]


def test_names_come_from_the_catalogues(mirror: Mirror, tmp_path: Path, survey: Callable[..., Said]) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    number = mirror.planet.target_id.split()[1]
    (folder / "toi.csv").write_text(f"toi,tid,pl_tranmid,pl_orbper\n9999.01,{number},2458326.1,3.2\n")
    said = survey("score", "TOI-9999", "--catalogs", folder, "--source", mirror.source, "--json", *QUICK)
    assert [row["target_id"] for row in json.loads(said.out)] == [mirror.planet.target_id]
    said = survey("score", "TOI-9999", "--source", mirror.source)
    assert said.code == 2
    assert "survey catalogs fetch" in said.err


def test_a_plot_is_a_page_and_its_figures(mirror: Mirror, tmp_path: Path, survey: Callable[..., Said]) -> None:
    out = tmp_path / "sheets"
    said = survey("plot", mirror.planet.target_id, "--source", mirror.source, "--out", out, *QUICK)
    assert said.code == 0, said.err
    [png] = out.glob("*.png")
    assert re.fullmatch(r"TIC_900000001_p\d+\.\d{6}\.png", png.name)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert png.stat().st_size > 50_000
    figures = json.loads(png.with_suffix(".json").read_text())
    assert figures["signal"]["period"] == pytest.approx(mirror.planet.period, rel=1e-3)
    assert figures["star"]["target_id"] == mirror.planet.target_id
    assert figures["sheet"] == png.name


def test_a_plot_at_an_ephemeris_of_ones_own(mirror: Mirror, tmp_path: Path, survey: Callable[..., Said]) -> None:
    planet, out = mirror.planet, tmp_path / "sheet.png"
    ephemeris = ("--period", planet.period, "--epoch", planet.epoch + 2457000.0, "--duration", planet.duration_h)
    said = survey("plot", planet.target_id, "--source", mirror.source, "--out", out, *ephemeris)
    assert said.code == 0, said.err
    signal = json.loads(out.with_suffix(".json").read_text())["signal"]
    assert signal["depth_ppm"] == pytest.approx(planet.depth_ppm, rel=0.3)
    assert signal["epoch"] == pytest.approx(planet.epoch, abs=1e-6)
    assert signal["is_candidate"] is None


def test_a_plot_of_a_quiet_star_is_its_light_curve(mirror: Mirror, tmp_path: Path, survey: Callable[..., Said]) -> None:
    said = survey("plot", "TIC 900000003", "--source", mirror.source, *QUICK)
    assert said.code == 0, said.err
    assert (tmp_path / "TIC_900000003.png").is_file()
    assert json.loads((tmp_path / "TIC_900000003.json").read_text())["signal"] is None
    said = survey("plot", "TIC 900000003", "--source", mirror.source, "--tce", "1", *QUICK)
    assert said.code == 2
    assert "no TCE 1" in said.err


def test_a_plot_may_be_a_pdf(mirror: Mirror, tmp_path: Path, survey: Callable[..., Said]) -> None:
    out = tmp_path / "sheet.pdf"
    said = survey("plot", mirror.planet.target_id, "--source", mirror.source, "--out", out, *QUICK)
    assert said.code == 0, said.err
    assert out.read_bytes().startswith(b"%PDF")
    assert json.loads(out.with_suffix(".json").read_text())["sheet"] == out.name
    assert not out.with_suffix(".png").exists()


def test_a_plot_without_data_says_why(mirror: Mirror, survey: Callable[..., Said]) -> None:
    said = survey("plot", "TIC 900000004", "--source", mirror.source)
    assert said.code == 1
    assert "no_data" in said.err


# The rest


def test_cache(tmp_path: Path, survey: Callable[..., Said]) -> None:
    from survey.stars.cache import Cache

    cache = Cache(tmp_path / "cache")
    cache.put("tess/one.fits", b"a" * 1500)
    cache.put("tess/two.fits", b"b" * 500)
    cache.remember_missing("tess/three.fits", "never observed")
    assert "2 files, 2 kB, 1 known to be missing" in survey("cache", "du").out
    assert survey("cache", "verify").code == 0
    (tmp_path / "cache" / "tess" / "one.fits").write_bytes(b"c" * 1500)
    said = survey("cache", "verify", tmp_path / "cache")
    assert said.code == 1
    assert "removed tess/one.fits" in said.out
    assert "1 files removed, 0 B left" in survey("cache", "prune", "--max-size", "100B").out
    assert "0 files, 0 B" in survey("cache", "du", f"file://{tmp_path / 'cache'}").out
    assert "cannot open the cache" in survey("cache", "du", "nonsense://bucket/cache").err


def test_catalogs(tmp_path: Path, survey: Callable[..., Said]) -> None:
    assert survey("catalogs", "path").out.strip() == os.environ["SURVEY_CATALOGS"]
    (tmp_path / "toi.csv").write_text("toi,tid,pl_tranmid,pl_orbper\n1.01,7,2458326.1,3.2\n")
    said = survey("catalogs", "list", "--folder", tmp_path)
    assert re.search(r"toi +1 +\S*toi\.csv", said.out)
    assert re.search(r"koi +– +not there", said.out)


def test_simulated_samples(tmp_path: Path, survey: Callable[..., Said]) -> None:
    said = survey("simulate", "samples", "--format", "both", "--n-samples", "5", "--out", tmp_path / "samples")
    assert said.code == 0
    names = {path.stem for path in (tmp_path / "samples").glob("*.fits")}
    assert names == {"normal_star", "exoplanet_transit", "stellar_flares", "noisy_outliers", "complex_system"}
    assert names == {path.stem for path in (tmp_path / "samples").glob("*.csv")}


def test_simulated_archive(tmp_path: Path, survey: Callable[..., Said]) -> None:
    said = survey("simulate", "archive", "--out", tmp_path / "mirror", "--stars", "3", "--plain")
    assert said.code == 0
    assert len(list((tmp_path / "mirror").rglob("*_lc.fits"))) == 3
    assert (tmp_path / "mirror" / "truth.csv").is_file()
    assert "survey sweep --source mirror:" in said.out


def test_doctor(survey: Callable[..., Said]) -> None:
    said = survey("doctor")
    assert said.code == 0, said.out
    for subject in ("python", "packages", "cores", "memory", "jax", "engine", "run folder", "numba cache"):
        assert re.search(rf"^(ok|note) +{subject} ", said.out, re.M), subject


@pytest.mark.verify
def test_doctor_starts_ray() -> None:
    done = subprocess.run(command("doctor", "--ray"), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    assert re.search(r"ok +ray +\S+ started and ran a task", done.stdout)


@pytest.mark.verify
def test_the_demo(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        command("sweep", "--demo"),
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, injected = map(int, re.findall(r"(\d+) of (\d+) injected signals were found", done.stdout)[0])
    assert found >= 0.85 * injected
    assert (tmp_path / "runs" / "demo" / "candidates.parquet").is_file()
