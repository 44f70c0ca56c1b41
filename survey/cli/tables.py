"""How numbers look on a terminal."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from survey.runs.exports import Recovered

NOTHING = "–"

SHOWN_CANDIDATES = 20
"""Rows of a table of candidates, where nobody says how many."""

SHOWN_PROBLEMS = 50
"""Lines of a list of stars that are told of."""

SHOWN_MODEL: Final = "vetting"
"""The model whose probability a table shows, where nobody asks for another's."""

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


def say_problems(problems: Sequence[str]) -> None:
    """What was wrong with the lines of a list of stars; of very many the first."""
    for problem in problems[:SHOWN_PROBLEMS]:
        say(f"[yellow]list:[/] {escape(problem)}")
    if len(problems) > SHOWN_PROBLEMS:
        say(f"[yellow]list:[/] and {len(problems) - SHOWN_PROBLEMS:,} more")


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


def candidate_table(rows: Iterable[Mapping[str, Any]], *, title: str | None = None, model: str = SHOWN_MODEL) -> Table:
    """Ranked TCEs of many stars, with the probability that a model gives; a column of what they are listed as where any
    was compared with catalogues."""
    rows = list(rows)
    compared = any(row["novelty"] for row in rows)
    columns = _tce_columns(model)
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("target", no_wrap=True)
    _add_tce_columns(table, columns)
    if compared:
        table.add_column("listed\n")
    for row in rows:
        cells = [str(row["rank"]), str(row["target_id"]), *_tce_cells(row, columns)]
        if compared:
            cells.append(escape(listed_words(row)))
        table.add_row(*cells, style="" if row["is_candidate"] else "dim")
    return table


def star_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Stars by their scores."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("target", no_wrap=True)
    for head in ("segments", "star\nscore", "highest\nsegment", "prob-\nability"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        scores = (row["star_score"], row["star_score_max"], row["star_probability"])
        table.add_row(str(row["target_id"]), f"{row['num_segments']:,}", *(number(score, ".3f") for score in scores))
    return table


def tce_table(tces: Sequence[Mapping[str, Any]]) -> Table:
    """The TCEs of one star."""
    columns = _tce_columns(SHOWN_MODEL)
    table = Table(header_style="bold", box=None, pad_edge=False)
    _add_tce_columns(table, columns)
    for tce in tces:
        table.add_row(*_tce_cells(tce, columns), style="" if tce["is_candidate"] else "dim")
    return table


def score_lines(row: Mapping[str, Any]) -> list[str]:
    """What the models say of a star's whole light curve, and what of it and its signals was unlike their training."""
    found = _light_words(row)
    return [*([f"whole light curve: {found}"] if found else []), *_outside_lines(row)]


def _light_words(row: Mapping[str, Any]) -> str:
    """any transit 0.990 (star score 0.998), any planet >0.999, strangeness 3.16 (8 stretches)"""
    from survey.runs.sheet import words

    count = len(row.get("anomalies") or ())
    stretches = "1 stretch" if count == 1 else f"{count} stretches"
    score = f"star score {number(row.get('star_score'), '.3f')}"
    parts = (
        ("any transit", row.get("star_score"), f"{words.probability(row.get('star_probability'))} ({score})"),
        ("any planet", row.get("period_probability"), words.probability(row.get("period_probability"))),
        ("strangeness", row.get("anomaly_score"), f"{number(row.get('anomaly_score'), '.2f')} ({stretches})"),
    )
    return ", ".join(f"{what} {said}" for what, value, said in parts if value is not None)


def _outside_lines(row: Mapping[str, Any]) -> Iterator[str]:
    """TCE 1-3: outside of what triage and vetting were trained on: mission"""
    from survey import schema
    from survey.runs.sheet import words

    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[int]] = {}
    for tce in row["tces"] or ():
        scores = [
            score for score in words.scores(dict(row), tce) if score.model in schema.SIGNAL_MODELS and score.outside
        ]
        for facts in dict.fromkeys(score.outside for score in scores):
            models = tuple(score.model for score in scores if score.outside == facts)
            alike.setdefault((models, facts), []).append(tce["number"])
    for (models, facts), numbers in alike.items():
        yield f"TCE {ranges(numbers)}: {_outside_words(models, facts)}"
    for score in words.scores(dict(row), None):
        if score.outside:
            yield f"whole light curve: {_outside_words([score.model], score.outside)}"


def _outside_words(models: Sequence[str], facts: Sequence[str]) -> str:
    verb = "was" if len(models) == 1 else "were"
    return f"outside of what {' and '.join(models)} {verb} trained on: {', '.join(facts)}"


class TceColumn(NamedTuple):
    """A number of a TCE: its head, field, format, and whether it is left out where the terminal is narrow."""

    head: str
    field: str
    form: str
    spare: bool = False


TCE_COLUMNS: Final = (
    TceColumn("TCE", "number", "d"),
    TceColumn("period\n(d)", "period", ".5f"),
    TceColumn("epoch\n(BJD)", "epoch_bjd", ".4f", spare=True),
    TceColumn("lasts\n(h)", "duration_h", ".2f", spare=True),
    TceColumn("depth\n(ppm)", "depth_ppm", ",.0f"),
    TceColumn("radius\n(Earth)", "planet_radius", ".2f"),
    TceColumn("MES\n", "mes", ".1f"),
    TceColumn("tran-\nsits", "n_transits", "d", spare=True),
)

NARROW = 100
"""Columns of a terminal below which a table leaves out what is spare."""


def _tce_columns(model: str) -> list[TceColumn]:
    """model: whose probability stands last."""
    narrow = make_console().width < NARROW
    columns = (*TCE_COLUMNS, TceColumn(f"{model}\nprob.", f"{model}_probability", ".3f"))
    return [column for column in columns if not (narrow and column.spare)]


def _add_tce_columns(table: Table, columns: Sequence[TceColumn]) -> None:
    for column in columns:
        table.add_column(column.head, justify="right", no_wrap=True)
    table.add_column("verdict\n", min_width=len("candidate"))


def _tce_cells(tce: Mapping[str, Any], columns: Sequence[TceColumn]) -> list[str]:
    return [
        *(
            "single"
            if column.field == "period" and tce["period"] is None
            else number(tce.get(column.field), column.form)
            for column in columns
        ),
        verdict_words(tce),
    ]


def verdict_words(tce: Mapping[str, Any]) -> str:
    """The gate's verdict and the flaws that were found, as markup: candidate (V-shaped); odd and even differ.

    After them what the star is, where that is no planet's.
    """
    flaws = escape(", ".join(_flaw_words(tce)))
    verdict = f"[green]candidate[/]{f' ({flaws})' if flaws else ''}" if tce["is_candidate"] else flaws
    star = tce.get("star_class")
    kind = "" if star in (None, "planet_candidate") else f"[italic]{star.replace('_', ' ')}[/]"
    return "; ".join(words for words in (verdict, kind) if words)


def _flaw_words(tce: Mapping[str, Any]) -> Iterator[str]:
    from survey.runs.sheet.words import flaw

    for flag in tce["flags"] or ():
        source = tce.get("match_target") if flag == "ephemeris_match" else None
        yield f"signal of {source}" if source else flaw(flag)


def listed_words(row: Mapping[str, Any]) -> str:
    """new; rediscovered: TOI-122.01 (PC); known star, of TOI-122.01 (PC); nothing where there are no catalogues."""
    from survey.runs.sheet.words import listed

    return listed(row) or NOTHING


def recovery_table(recovered: Sequence["Recovered"]) -> Table:
    """How many injected signals of each kind were found."""
    from survey.runs.exports import count_recovered

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
