"""`survey inject`: what a survey finds of planets that were put into real stars."""

import functools
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from rich.table import Table

from survey.cli.options import load_config
from survey.cli.sweep import FINISHED_WITH_FAILED, sweep
from survey.cli.tables import NOTHING, say, show
from survey.errors import UsageError

if TYPE_CHECKING:
    from survey.config import InjectConfig

ABOUT = """Put one planet into every star and search them all: what share is found, by period and radius.

A sweep like any other, with its options, which goes on when it is given again; its configuration has a section `inject`
(seed, borders of the cells), so that its catalogue is never taken for that of the stars. Stars should be quiet ones:
what they do themselves is searched too. Pixel files are left out, as nothing can be put into them. Writes
recovery.parquet (a row a star), recovery_cells.parquet and .csv, and recovery.png beside the catalogue.

[bold]Examples[/]

survey inject --demo --out runs/injected

survey inject --targets quiet.csv --out runs/injected --set inject.seed=2 --set inject.radii=[1,2,4]
"""


def register(app: typer.Typer) -> None:
    app.command("inject", no_args_is_help=True, help=ABOUT)(inject)


@functools.wraps(sweep)
def inject(**options: Any) -> None:
    if options["out"] is None:
        raise UsageError("--out: say where the run goes; it is none of the stars themselves")
    settings = ["pixels.use=false", *(options["settings"] or ())]
    if load_config(options["preset"], settings, options["engine"]).inject is None:
        settings.append("inject.seed=1")
    code = 0
    try:
        sweep(**{**options, "settings": settings})
    except typer.Exit as end:
        code = end.exit_code
    if code in (0, FINISHED_WITH_FAILED) and not options["dry_run"]:
        _say_recovery(options["out"])
    if code:
        raise typer.Exit(code)


def _say_recovery(root: str) -> None:
    from survey.runs import recovery, store

    run = store.load_run(root)
    with store.locked(run.folder):
        cells = recovery.write_recovery(run)
    assert run.config.inject is not None
    injected = sum(cells.column("injected").to_pylist())
    found, passed = (sum(cells.column(name).to_pylist()) for name in ("found", "candidates"))
    say(f"\n[bold]{found:,} of {injected:,}[/] injected planets were found, [bold]{passed:,}[/] became candidates")
    show(_completeness(cells.to_pylist(), run.config.inject))
    say(f"in {escape(run.folder.root)}: {recovery.STARS}, {recovery.CELLS}, {recovery.TABLE}, {recovery.FIGURE}")


def _completeness(cells: list[dict[str, Any]], config: "InjectConfig") -> Table:
    """Share of candidates with its interval and the planets injected; a row a radius, the largest first."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("Earth radii", justify="right")
    for low, high in zip(config.periods, config.periods[1:], strict=False):
        table.add_column(f"{low:g}-{high:g} d", justify="right")
    for radius in reversed(config.radii[:-1]):
        row = [cell for cell in cells if cell["radius_min"] == radius]
        table.add_row(f"{radius:g}-{row[0]['radius_max']:g}", *map(_cell_words, row))
    return table


def _cell_words(cell: dict[str, Any]) -> str:
    if not cell["injected"]:
        return NOTHING
    share, low, high = (cell[f"candidate_{name}"] for name in ("share", "low", "high"))
    return f"{share:.2f} ({low:.2f}-{high:.2f}) of {cell['injected']:,}"
