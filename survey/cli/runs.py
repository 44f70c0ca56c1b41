"""`survey status`, `survey candidates`, `survey match`: what a run has come to."""

import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from survey.cli.options import CatalogsOption, choose_catalogs
from survey.cli.tables import (
    SHOWN_CANDIDATES,
    SHOWN_MODEL,
    STATUS_STYLES,
    candidate_table,
    counts_words,
    moment,
    say,
    show,
    size,
    span,
    star_table,
)
from survey.errors import UsageError

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
) -> None:
    """How far a run is: stars by status, shards, rate, seconds by stage, the last errors.

    [bold]Examples[/]

    survey status runs/demo

    survey status runs/demo --targets > progress.csv
    """
    from survey.runs import exports, store

    run = store.load_run(root)
    progress = store.latest(run, store.read_telemetry(run))
    if targets:
        sys.stdout.write(",".join(store.PROGRESS_COLUMNS) + "\n" + store.progress_lines(progress))
        return
    now = store.status(run)
    rate = None if now.stars_per_hour is None else now.stars_per_hour / 3600.0
    left = None if not rate or now.complete else (now.targets - now.targets_done) / rate
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("run", escape(run.folder.root) + (", complete" if now.merged and now.complete else ""))
    table.add_row("stars", f"{now.targets_done:,} of {now.targets:,} done: {counts_words(now.counts)}")
    table.add_row("shards", f"{now.shards_done:,} of {now.shards:,} done")
    if rate is not None:
        table.add_row(
            "rate", f"{now.stars_per_hour:,.0f} stars an hour" + (f", {span(left)} left" if left is not None else "")
        )
    seconds = exports.stage_seconds(progress)
    if seconds:
        table.add_row("a star", ", ".join(f"{stage} {moment(mean)}" for stage, mean in seconds.items()))
    record = run.record
    table.add_row(
        "search", f"engine {run.config.engine}, science {record['science_hash'][:10]}, begun {record['created_at']}"
    )
    show(table)
    _say_errors(progress, errors)


def _say_errors(progress: Any, errors: int) -> None:
    failures = [row for row in progress.to_pylist() if row["error"]]
    failures.sort(key=lambda row: str(row["updated_at"]))
    if not failures or not errors:
        return
    say(f"\n[bold]last errors[/] ({min(errors, len(failures)):,} of {len(failures):,})")
    for row in failures[-errors:]:
        style = STATUS_STYLES.get(row["status"], "")
        say(f"  {row['target_id']} [{style}]{row['status']}[/] in {row['last_stage']}: {escape(row['error'])}")


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
