"""`survey compare`: what changed from one run to another."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from survey.cli.tables import NOTHING, SHOWN_CANDIDATES, counts_words, number, say, show, size
from survey.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

    from survey.runs.compare import Comparison

STYLES = {"new": "bold green", "improved": "green", "changed": "yellow", "worse": "yellow", "gone": "red"}


def register(app: typer.Typer) -> None:
    app.command("compare", no_args_is_help=True)(compare)


def compare(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The earlier run.", show_default=False)],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The later run.", show_default=False)],
    form: Annotated[Literal["table", "csv", "json"], typer.Option("--format", help="What to make of it.")] = "table",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write.", show_default="standard output")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All signals, not the candidates alone.")] = False,
    stars: Annotated[bool, typer.Option("--stars", help="The stars whose files or status changed.")] = False,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="Rows of a table.")] = SHOWN_CANDIDATES,
) -> None:
    """What changed from one run to another: candidates that are new, improved, changed, worse or gone.

    Signals are the same where period and transits agree, also at twice or half the period. A candidate has improved
    where its MES or its probability rose and neither fell. What did not change is counted and not listed.

    [bold]Examples[/]

    survey compare runs/sector-15 runs/sectors-15-16

    survey compare runs/before runs/after --stars --format csv --out stars.csv
    """
    from survey.runs import store
    from survey.runs.compare import compare_runs

    found = compare_runs(store.load_run(old), store.load_run(new), every=every)
    chosen = found.stars if stars else found.signals
    moved = chosen.filter(chosen["verdict"] != "same")
    if form == "table":
        if out is not None:
            raise UsageError(f"--out {out}: say in which --format, csv or json")
        _say_comparison(found, every)
        show(_star_table(moved.head(top)) if stars else _signal_table(moved.head(top)))
        if len(moved) > top:
            say(f"... and {len(moved) - top:,} more: --top {len(moved)}", style="dim")
        return
    words = moved.write_csv() if form == "csv" else _as_json(found, moved, "stars" if stars else "signals")
    if out is None:
        sys.stdout.write(words)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(words)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from None
    say(f"{size(len(words))} in {escape(str(out))}")


def _as_json(found: "Comparison", moved: "pl.DataFrame", name: str) -> str:
    from survey.runs.exports import to_json

    return to_json({"counts": found.counts(), "settings": list(found.settings), name: moved.to_dicts()}) + "\n"


def _say_comparison(found: "Comparison", every: bool) -> None:
    counts = found.counts()
    say(f"[bold]{'signals' if every else 'candidates'}[/]  {counts_words(counts['candidates'])}")
    say(f"[bold]stars[/]       {counts_words(counts['stars'])}")
    if found.settings:
        say(f"[yellow]searched in another way:[/] {escape('; '.join(found.settings))}")
    say()


def _signal_table(moved: "pl.DataFrame") -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for head in ("", "target"):
        table.add_column(head, no_wrap=True)
    for head in ("period (d)", "was", "MES", "was", "prob-\nability", "was"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for row in moved.iter_rows(named=True):
        cells = [
            number(row[f"{name}_{ending}"], form)
            for name, form in (("period", ".5f"), ("mes", ".1f"), ("vetting_probability", ".3f"))
            for ending in ("new", "old")
        ]
        table.add_row(_verdict(row), row["target_id"], *cells, escape(row["why"] or _ratio(row["ratio"])))
    return table


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None or abs(ratio - 1) < 1e-6 else f"{ratio:.3g} times the period"


def _star_table(moved: "pl.DataFrame") -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for head in ("", "target", "status", "was"):
        table.add_column(head, no_wrap=True)
    for head in ("files", "was"):
        table.add_column(head, justify="right")
    for row in moved.iter_rows(named=True):
        status = [row[f"status_{ending}"] or NOTHING for ending in ("new", "old")]
        files = [number(row[f"n_files_{ending}"], "d") for ending in ("new", "old")]
        table.add_row(_verdict(row), row["target_id"], *status, *files)
    return table


def _verdict(row: Mapping[str, Any]) -> str:
    style = STYLES.get(row["verdict"])
    return f"[{style}]{row['verdict']}[/]" if style else str(row["verdict"])
