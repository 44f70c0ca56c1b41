"""How numbers look on a terminal."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from survey.runs.report import Recovered

NOTHING = "–"

SHOWN_CANDIDATES = 20
"""Rows of a table of candidates, where nobody says how many."""

PLAIN_WIDTH = 150
"""Columns of a line where there is no terminal that could tell."""

STATUS_STYLES = {
    "ok": "green",
    "no_data": "dim",
    "too_short": "dim",
    "bad_file": "yellow",
    "fetch_failed": "red",
    "failed": "bold red",
}


def make_console() -> Console:
    """Standard output; wide where it goes to a file."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH
    return Console(highlight=False, width=width)


def say(words: str = "", style: str | None = None) -> None:
    """Print a line, which is not broken where a terminal is narrow: paths and commands are to be copied."""
    make_console().print(words, style=style, soft_wrap=True)


def show(table: Table) -> None:
    make_console().print(table)


def size(n_bytes: float) -> str:
    """2.3 GB"""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}" if unit != "B" else f"{n_bytes:.0f} B"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def span(seconds: float | None) -> str:
    """45 s, 12 min, 3.4 h, 2.1 d"""
    if seconds is None:
        return NOTHING
    for unit, length in (("d", 86_400.0), ("h", 3600.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 100 else f"{seconds:.0f} s"


def moment(seconds: float) -> str:
    """13 ms, 4.2 s"""
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def ranges(numbers: Iterable[int]) -> str:
    """1, 3-5, 8"""
    runs: list[list[int]] = []
    for value in sorted(set(numbers)):
        if runs and value == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], value]
        else:
            runs.append([value])
    return ", ".join("-".join(map(str, run)) for run in runs)


def number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def counts_words(counts: Mapping[str, int], *, styled: bool = True) -> str:
    """ok 61, no_data 1, bad_file 2"""
    words = [(f"{word} {count:,}", STATUS_STYLES.get(word, "")) for word, count in counts.items() if count]
    return ", ".join(f"[{style}]{word}[/]" if styled and style else word for word, style in words) or "none yet"


def candidate_table(rows: Iterable[Mapping[str, Any]], *, title: str | None = None) -> Table:
    """Ranked TCEs of many stars."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    table.add_column("rank", justify="right")
    table.add_column("target", no_wrap=True)
    table.add_column("TCE", justify="right")
    for name in ("period\n(d)", "epoch\n(BJD)", "duration\n(h)", "depth\n(ppm)", "MES\n", "transits\n"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict\n")
    for row in rows:
        table.add_row(
            str(row["rank"]),
            str(row["target_id"]),
            str(row["number"]),
            *_tce_cells(row),
            style="" if row["is_candidate"] else "dim",
        )
    return table


def tce_table(tces: Sequence[Mapping[str, Any]]) -> Table:
    """The TCEs of one star."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("TCE", justify="right")
    for name in ("period\n(d)", "epoch\n(BJD)", "duration\n(h)", "depth\n(ppm)", "MES\n", "transits\n"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict\n")
    for tce in tces:
        table.add_row(str(tce["number"]), *_tce_cells(tce), style="" if tce["is_candidate"] else "dim")
    return table


def _tce_cells(tce: Mapping[str, Any]) -> list[str]:
    flags = ", ".join(flag.replace("_", " ") for flag in tce["flags"] or ())
    return [
        "single" if tce["period"] is None else f"{tce['period']:.5f}",
        number(tce["epoch_bjd"], ".4f"),
        number(tce["duration_h"], ".2f"),
        number(tce["depth_ppm"], ",.0f"),
        number(tce["mes"], ".1f"),
        number(tce["n_transits"], "d"),
        "[green]candidate[/]" if tce["is_candidate"] else escape(flags),
    ]


def recovery_table(recovered: Sequence["Recovered"]) -> Table:
    """How many injected signals of each kind were found."""
    from survey.runs.report import count_recovered

    table = Table(
        title="Injected signals",
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=None,
        pad_edge=False,
    )
    table.add_column("kind")
    for name in ("injected", "found", "at a harmonic", "missed", "called candidate"):
        table.add_column(name, justify="right")
    for kind, counts in count_recovered(recovered):
        table.add_row(
            kind.replace("_", " "),
            *(str(counts[word]) for word in ("injected", "found", "alias", "missed", "candidate")),
            style="bold" if kind == "all" else "",
        )
    return table
