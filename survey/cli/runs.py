"""`survey status`, `survey candidates`, `survey match`: what a run has come to."""

import sys
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from survey.cli.options import CatalogsOption, choose_catalogs
from survey.cli.tables import (
    SHOWN_CANDIDATES,
    SHOWN_MODEL,
    STATUS_STYLES,
    candidate_table,
    counts_words,
    make_console,
    moment,
    number,
    say,
    show,
    size,
    span,
    star_table,
)
from survey.errors import UsageError

if TYPE_CHECKING:
    from survey.runs.watch import Standing

Form = Literal["table", "csv", "ecsv", "votable", "parquet", "ctoi"]
ScoreName = Literal["triage", "vetting", "pixels", "fusion"]


def register(app: typer.Typer) -> None:
    app.command("status", no_args_is_help=True)(status)
    app.command("candidates", no_args_is_help=True)(candidates)
    app.command("match", no_args_is_help=True)(match)


# Status

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder or URL.", show_default=False)]


def status(
    root: RunArgument,
    targets: Annotated[bool, typer.Option("--targets", help="Last stage and status of every target, as CSV.")] = False,
    errors: Annotated[int, typer.Option("--errors", metavar="N", min=0, help="How many of the last errors.")] = 5,
    watch: Annotated[
        float | None,
        typer.Option(
            "--watch",
            metavar="SECONDS",
            min=1,
            help="Look again so often, until the run is complete.",
            show_default=False,
        ),
    ] = None,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print it for Prometheus' textfile collector.")
    ] = False,
) -> None:
    """How far a run is, while it goes on or afterwards: stars by status, backlog, rate, stages, errors by class.

    Reads the run folder alone, from any machine that sees it. While a sweep goes on, Ray's metrics port says the same.

    [bold]Examples[/]

    survey status runs/demo

    survey status s3://bucket/runs/s15 --watch 30

    survey status runs/demo --targets > progress.csv

    survey status runs/demo --prometheus > survey.prom.new && mv survey.prom.new /var/lib/node_exporter/survey.prom
    """
    from survey.runs.watch import Watch, exposition

    if targets:
        from survey.runs import store

        run = store.load_run(root)
        sys.stdout.write(",".join(store.PROGRESS_COLUMNS) + "\n")
        for _, telemetry in store.read_shards_telemetry(run, range(run.n_shards)):
            sys.stdout.write(store.progress_lines(telemetry))
        return
    looking = Watch(root)
    standing = looking.look()
    if prometheus:
        sys.stdout.write(exposition(standing))
        return
    if watch is None:
        make_console().print(_standing(standing, errors))
        return
    with Live(_standing(standing, errors), console=make_console(), auto_refresh=False) as live:
        while standing.holder or not standing.reached.merged:
            time.sleep(watch)
            standing = looking.look()
            live.update(_standing(standing, errors), refresh=True)


def _standing(standing: "Standing", errors: int) -> Group:
    parts: list[RenderableType] = [_facts(standing)]
    if standing.total.paces:
        parts += ["", _stage_table(standing)]
    if standing.total.faults:
        parts += ["", _fault_table(standing)]
    failures = standing.total.failures[-errors:] if errors else []
    if failures:
        all_of_them = sum(standing.total.faults.values())
        parts.append(f"\n[bold]last errors[/] ({len(failures):,} of {all_of_them:,})")
        parts += [
            f"  {failure.target_id} [{STATUS_STYLES.get(failure.fault.status, '')}]{failure.fault.status}[/] "
            f"in {failure.fault.stage}: {escape(failure.error)}"
            for failure in failures
        ]
    return Group(*parts)


def _facts(standing: "Standing") -> Table:
    reached = standing.reached
    over = reached.merged and reached.complete and not standing.holder
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    at_work = f", {standing.holder} works on it" if standing.holder else ", nobody works on it"
    table.add_row("run", escape(standing.root) + (", complete" if over else escape(at_work)))
    table.add_row("stars", f"{reached.targets_done:,} of {reached.targets:,} done: {counts_words(reached.counts)}")
    shards_left = reached.shards - reached.shards_done
    left = f", {shards_left:,} and {standing.backlog:,} stars to do" if shards_left else ""
    table.add_row("shards", f"{reached.shards_done:,} of {reached.shards:,} done{left}")
    if reached.stars_per_hour is not None:
        remaining = "" if standing.remaining_s is None else f", {span(standing.remaining_s)} left"
        table.add_row("rate", f"{reached.stars_per_hour:,.0f} stars an hour{remaining}")
    if standing.last_commit is not None and not over:
        age = (datetime.now(UTC) - standing.last_commit).total_seconds()
        table.add_row("last commit", f"{span(max(0.0, age))} ago")
    if standing.dashboard and not over:
        table.add_row("dashboard", f"http://{escape(standing.dashboard)}, as the head of the cluster sees it")
    table.add_row("search", standing.about)
    return table


def _stage_table(standing: "Standing") -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("stage")
    for head in ("stars", "a star", "stars/s"):
        table.add_column(head, justify="right")
    for stage, pace in standing.total.paces.items():
        rate = standing.throughput.get(stage)
        table.add_row(stage, f"{pace.stars:,}", moment(pace.seconds_per_star), number(rate, ".3g"))
    return table


def _fault_table(standing: "Standing") -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in ("errors", "in", "class"):
        table.add_column(head)
    table.add_column("stars", justify="right")
    for fault, count in standing.total.faults.most_common():
        style = STATUS_STYLES.get(fault.status, "")
        table.add_row(f"[{style}]{fault.status}[/]", fault.stage, escape(fault.kind), f"{count:,}")
    return table


# Candidates


def candidates(
    root: RunArgument,
    top: Annotated[
        int | None,
        typer.Option("--top", metavar="N", min=1, help="The first N only.", show_default="20 in a table, else all"),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="What to make of them.")] = "table",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write.", show_default="standard output")
    ] = None,
    passed: Annotated[bool, typer.Option("--passed", help="Only the signals that pass the gate.")] = False,
    by: Annotated[
        ScoreName | None,
        typer.Option("--by", help="The best by this model's score, instead of by rank.", show_default=False),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="P",
            min=0,
            max=1,
            help="Only from this probability on: of --by, else of vetting.",
            show_default=False,
        ),
    ] = None,
    stars: Annotated[bool, typer.Option("--stars", help="The stars by star_score, instead of signals.")] = False,
) -> None:
    """The ranked signals of a run, candidates first and then by score: as a table, or for other programs.

    With --by or --threshold, exports have score_raw and probability beside the target. ECSV and VOTable carry units and
    descriptions; ctoi is ExoFOP-TESS's format for community objects of interest and holds the TESS candidates only.

    [bold]Examples[/]

    survey candidates runs/demo --top 10

    survey candidates runs/demo --by triage --threshold 0.9 --format csv --out best.csv

    survey candidates runs/demo --stars --format csv

    survey candidates runs/demo --format votable --out candidates.vot
    """
    from survey.runs import exports, store

    run = store.load_run(root)
    if stars:
        if by or passed or form == "ctoi":
            raise UsageError("--stars lists stars, not signals: leave out --by, --passed and --format ctoi")
        table, draw = exports.read_stars(run, threshold), star_table
    else:
        table, draw = exports.read_candidates(run), partial(candidate_table, model=by or SHOWN_MODEL)
        if passed:
            table = table.filter(table.column("is_candidate"))
        if by or threshold is not None:
            table = exports.rank_by(table, by or SHOWN_MODEL, threshold)
    total = len(table)
    if form == "table" and out is None:
        table = table.slice(0, top or SHOWN_CANDIDATES)
        show(draw(table.to_pylist()))
        if len(table) < total:
            say(f"... and {total - len(table):,} more: --top {total}", style="dim")
        return
    if form == "table":
        raise UsageError(f"--out {out}: say in which --format, {', '.join(exports.EXPORTS)}")
    content = exports.export(table.slice(0, top), form, exports.describe_run(run))
    if out is None:
        if form == "parquet" and sys.stdout.isatty():
            raise UsageError("Parquet is not for a terminal: add --out FILE")
        sys.stdout.buffer.write(content)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(content)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from None
    say(f"{size(len(content))} in {escape(str(out))}")


# Match


def match(root: RunArgument, catalogs: CatalogsOption = None) -> None:
    """Compare a finished run with catalogue tables, and its stars with one another, without searching again.

    Writes candidates.parquet anew: what is new, known or rediscovered, and what comes from another star.

    [bold]Examples[/]

    survey catalogs fetch && survey match runs/demo
    """
    from survey.runs import store
    from survey.stars.catalogs import HOW_TO_FETCH, default_folder

    folder = choose_catalogs(catalogs)
    if folder is None:
        raise UsageError(f"no catalogue table in {default_folder()}: {HOW_TO_FETCH}, or name a folder with --catalogs")
    table = store.match_again(root, folder)
    for name, counted in (("novelty", "not compared"), ("match_kind", "of the star itself")):
        counts = Counter(word or counted for word in table.column(name).to_pylist())
        say(", ".join(f"{word} {count:,}" for word, count in sorted(counts.items())) or "no signals")
    say(f"[bold]{len(table):,} signals[/], [bold]{len(table.filter(table.column('is_candidate'))):,} candidates[/]")
