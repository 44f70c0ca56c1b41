"""`survey report`: what a run has come to, as a page."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from survey.cli.options import CacheOption, CatalogsOption, choose_cache, load_resolver
from survey.cli.runs import RunArgument
from survey.cli.tables import make_console, say
from survey.errors import UsageError

if TYPE_CHECKING:
    from survey.runs.store import Run

USUAL_SHEETS = 100
"""Candidates whose sheets are drawn, where nobody says how many: a second or two each."""

SHOWN_REASONS = 10

PLAIN_EVERY = 10
"""Where there is no terminal, a line after so many stars."""


def register(app: typer.Typer) -> None:
    app.command("report", no_args_is_help=True)(report)


def report(
    root: RunArgument,
    target: Annotated[
        str | None,
        typer.Argument(metavar="TARGET", help="Draw the sheets of this star's signals only.", show_default=False),
    ] = None,
    sheets: Annotated[
        int,
        typer.Option("--sheets", metavar="N", min=0, help="Candidates to draw sheets of, the best first; 0 for none."),
    ] = USUAL_SHEETS,
    redraw: Annotated[
        bool, typer.Option("--redraw", help="Draw sheets again that are there and no older than the catalogue.")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(
            "--source", metavar="SOURCE", help="Where the light curves are now.", show_default="that of the run"
        ),
    ] = None,
    cache: CacheOption = None,
    catalogs: CatalogsOption = None,
) -> None:
    """Write a run's report: one page that opens from a disk, with a sheet of evidence for every candidate.

    RUN/report/index.html needs no network. The sheets' stars are examined again, from the source that the run used;
    those that cannot be had again are listed with the reason.

    [bold]Examples[/]

    survey report runs/demo

    survey report runs/demo --sheets 0

    survey report runs/demo "TIC 900000001"
    """
    from survey.runs import page, store

    run = store.load_run(root)
    facts = page.read_facts(run)
    if target is None:
        signals = page.best_signals(facts.candidates, sheets)
        signals = signals if redraw else page.without_sheet(run, signals)
    else:
        signals = page.signals_of(facts.candidates, _star_of(target, catalogs))
    undrawn = _draw(run, signals, source, cache) if signals else {}
    page.write_report(run, facts, undrawn)
    say(f"[bold]{escape(run.folder.root.rstrip('/'))}/{page.PAGE}[/]")


def _star_of(text: str, catalogs: Path | None) -> str:
    from survey.stars.targets import parse_target

    return parse_target(text, resolve=load_resolver(catalogs)).target_id


def _draw(
    run: "Run", signals: Sequence[dict[str, Any]], source: str | None, cache: str | None
) -> dict[tuple[str, int], str]:
    """Draws the sheets and says how it went. The signals without a sheet, with the reasons."""
    from survey.runs import page

    chosen = source or page.source_of(run.record)
    if chosen is None:
        raise UsageError("the run does not say where its light curves came from: give --source, or --sheets 0")
    with _progress() as show:
        drawn = page.draw_sheets(run, signals, chosen, choose_cache(cache, chosen), on_progress=show)
    without = f", [yellow]{len(drawn.reasons):,} could not be drawn[/]" if drawn.reasons else ""
    say(f"{len(drawn.files):,} sheets of {len(signals):,} signals{without}")
    for (star, number), reason in sorted(drawn.reasons.items())[:SHOWN_REASONS]:
        say(f"  {star}, signal {number}: {escape(reason)}")
    if len(drawn.reasons) > SHOWN_REASONS:
        say(f"  ... and {len(drawn.reasons) - SHOWN_REASONS:,} more: the report lists them")
    return drawn.reasons


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal; a line every now and then in a job."""
    if sys.stdout.isatty():
        from rich.progress import Progress

        with Progress(console=make_console(), transient=True) as bar:
            task = bar.add_task("drawing stars", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        yield _say_progress


def _say_progress(done: int, total: int) -> None:
    if done == total or done % PLAIN_EVERY == 0:
        say(f"{done:,}/{total:,} stars drawn")
        sys.stdout.flush()
