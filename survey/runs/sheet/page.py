"""The page: where everything stands on a sheet of A4, the header, the tables, and what it was made of."""

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from survey.runs.sheet import images, panels, words
from survey.runs.sheet.evidence import Evidence, Signal
from survey.runs.sheet.style import FAILED, FAINT, INK, PASSED, RULE, STYLE
from survey.runs.sheet.timeline import Axis, cut_gaps
from survey.runs.stages import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

WIDTH: Final = 11.69
HEIGHT: Final = 8.27
"""A4, landscape, inches; as is everything below."""

DPI: Final = 180

EDGE: Final = 0.3
TOP: Final = 7.28
"""Upper edge of panels and tables."""

PANELS: Final = (0.72, 8.42)
"""Left and right edge of the panels, labels outside."""

TABLES: Final = (8.72, WIDTH - EDGE)
LINE: Final = 0.118
CLASS_WIDTH: Final = 58
CLASS_LINES: Final = 5
SCORE_WIDTH: Final = 47
VALUE_WIDTH: Final = 22
FOOT_LINE: Final = 0.092
FOOT_LINES: Final = 6
FOOT: Final = 0.16
"""Lower edge of what the page was made of."""

BETWEEN_ROWS: Final = 0.37
BETWEEN_COLUMNS: Final = 0.57

Draw = Callable[["Axes", Evidence, Axis], None]
PanelRow = tuple[float, Sequence[tuple[Draw, float]]]
"""Height of a row, and its panels with their widths; shares of what there is."""

LIGHT: Final[Sequence[PanelRow]] = ((0.8, ((panels.draw_light_curve, 1.0),)), (0.85, ((panels.draw_flat, 1.0),)))

ARRANGEMENTS: Final[dict[str, Sequence[PanelRow]]] = {
    "nothing": (*LIGHT, (0.8, ((panels.draw_power, 1.0),))),
    "single": (
        *LIGHT,
        (1.6, ((panels.draw_close, 1.0),)),
        (1.0, ((panels.draw_background, 1.3), (images.draw_direct, 1.0), (images.draw_difference, 1.0))),
    ),
    "periodic": (
        *LIGHT,
        (0.75, ((panels.draw_power, 0.57), (panels.draw_depths, 0.43))),
        (1.3, ((panels.draw_wide, 0.57), (panels.draw_close, 0.43))),
        (
            1.0,
            (
                (panels.draw_odd_even, 1.35),
                (panels.draw_secondary, 1.35),
                (panels.draw_background, 1.0),
                (images.draw_direct, 0.95),
                (images.draw_difference, 0.95),
            ),
        ),
    ),
}


def draw_page(evidence: Evidence) -> "Figure":
    """The page as a figure."""
    import matplotlib as mpl
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI)
        FigureCanvasAgg(figure)
        _draw_header(figure, evidence)
        axis = cut_gaps(np.asarray(evidence.row["time"]))
        tce = evidence.tce
        kind = "nothing" if tce is None else "single" if tce["period"] is None else "periodic"
        bottom = _draw_foot(figure, evidence)
        _draw_panels(figure, evidence, axis, ARRANGEMENTS[kind], bottom + 0.3)
        _draw_tables(figure, evidence, bottom)
    return figure


def _write(figure: "Figure", x: float, y: float, text: str, **style: Any) -> "Text":
    """Text at a place in inches from the lower left corner."""
    return figure.text(x / WIDTH, y / HEIGHT, text, **{"va": "center", **style})


def _rule(figure: "Figure", left: float, right: float, y: float) -> None:
    from matplotlib.lines import Line2D

    figure.add_artist(Line2D([left / WIDTH, right / WIDTH], [y / HEIGHT] * 2, color=RULE, lw=0.7))


def _shorten(text: "Text", width: float) -> None:
    """Smaller type, and then fewer letters in the middle, until a text is at most `width` inches wide."""
    figure = text.figure
    while (wide := text.get_window_extent().width / figure.dpi) > width:
        size = float(text.get_fontsize())
        if size > 9.0:
            text.set_fontsize(max(9.0, size * max(0.5, width / wide)))
            continue
        said = text.get_text().replace(" … ", "")
        kept = int(len(said) * width / wide) - 3
        text.set_text(f"{said[: kept // 2]} … {said[-(kept - kept // 2) :]}")


# Header


def _draw_header(figure: "Figure", evidence: Evidence) -> None:
    row, tce = evidence.row, evidence.tce
    word, passed = words.verdict(tce)
    colour = FAINT if passed is None else PASSED if passed else FAILED
    pill = _write(
        figure, WIDTH - EDGE - 0.1, HEIGHT - 0.36, word, size=9, weight="bold", color="white", ha="right",
        bbox={"boxstyle": "round,pad=0.45", "facecolor": colour, "edgecolor": "none"},
    )  # fmt: skip
    left = pill.get_window_extent().x0 / figure.dpi - 0.3
    name = _write(figure, EDGE, HEIGHT - 0.36, str(row["target_id"]), size=17, weight="bold")
    _shorten(name, left - EDGE)
    subtitle = _write(figure, EDGE, HEIGHT - 0.66, _subtitle(evidence), size=8, color=INK)
    _shorten(subtitle, (0.6 if tce is not None and tce["flags"] else 1.0) * (WIDTH - 2 * EDGE))
    if tce is not None and tce["flags"]:
        flags = "fails: " + ", ".join(words.flaw(flag) for flag in tce["flags"])
        text = _write(figure, WIDTH - EDGE, HEIGHT - 0.66, flags, size=7.5, color=FAILED, ha="right")
        _shorten(text, WIDTH - EDGE - 0.25 - subtitle.get_window_extent().x1 / figure.dpi)
    _rule(figure, EDGE, WIDTH - EDGE, HEIGHT - 0.8)


def _subtitle(evidence: Evidence) -> str:
    row, tce = evidence.row, evidence.tce
    parts = []
    if row.get("star_class"):
        parts.append(row["star_class"].replace("_", " "))
    if tce is not None:
        if tce["number"]:
            parts.append(f"signal {tce['number']} of {len(row['tces'])}")
        parts += [words.period(tce), words.amplitude(tce["depth_ppm"]), f"{words.plain_number(tce['duration_h'], 3)} h"]
        parts += words.matched(tce)
    return "   ·   ".join(parts)


# Panels


def _draw_panels(figure: "Figure", evidence: Evidence, axis: Axis, rows: Sequence[PanelRow], bottom: float) -> None:
    left, right = PANELS
    total = TOP - bottom - BETWEEN_ROWS * (len(rows) - 1)
    share = total / sum(height for height, _ in rows)
    y = TOP
    for height, members in rows:
        y -= height * share
        x = left
        width = (right - left - BETWEEN_COLUMNS * (len(members) - 1)) / sum(width for _, width in members)
        for draw, part in members:
            place = (x / WIDTH, y / HEIGHT, part * width / WIDTH, height * share / HEIGHT)
            draw(figure.add_axes(place), evidence, axis)
            x += part * width + BETWEEN_COLUMNS
        y -= BETWEEN_ROWS


# Tables


class _Column:
    """A column of text that grows downwards and is written when its length is known."""

    def __init__(self) -> None:
        self.lines = 0.0
        self.texts: list[tuple[float, float, str, dict[str, Any]]] = []
        self.rules: list[float] = []

    def down(self, lines: float = 1.0) -> None:
        self.lines += lines

    def head(self, title: str, note: str = "") -> None:
        self.down(0.5)
        self.put(0.0, title, size=7, weight="bold")
        self.put(1.0, note, size=5.6, color=FAINT, ha="right")
        self.rules.append(self.lines + 0.65)
        self.down(1.3)

    def put(self, share: float, text: str, **style: Any) -> None:
        self.texts.append((share, self.lines, text, style))

    def write(self, figure: "Figure", bottom: float) -> None:
        """On the right of the page; a long column has its lines closer together."""
        left, right = TABLES
        line = min(LINE, (TOP + 0.1 - bottom) / max(self.lines, 1.0))
        for share, down, text, style in self.texts:
            _write(figure, left + share * (right - left), TOP + 0.1 - down * line, text, **style)
        for down in self.rules:
            _rule(figure, left, right, TOP + 0.1 - down * line)


def _draw_tables(figure: "Figure", evidence: Evidence, bottom: float) -> None:
    column = _Column()
    tce, row = evidence.tce, evidence.row
    _star(column, row)
    if tce is not None:
        column.head("Signal")
        _facts(column, words.signal_facts(tce, row), 1)
        _facts(column, words.statistics(tce), 2)
        _scores(column, words.scores(row, tce))
        _checks(column, tce)
        _places(column, tce)
    else:
        _scores(column, words.scores(row, None))
    column.write(figure, bottom)


def _star(column: _Column, row: Row) -> None:
    column.head("Star")
    _facts(column, words.star_facts(row), 2)
    for label, value in (words.variation(row), words.observed(row)):
        column.put(0.0, label, color=FAINT)
        column.put(0.24, textwrap.shorten(value, 48, placeholder=" …"))
        column.down()
    if row.get("star_class"):
        column.head(f"Class: {row['star_class'].replace('_', ' ')}")
        lines = [line for reason in row.get("class_evidence") or () for line in textwrap.wrap(reason, CLASS_WIDTH)]
        if len(lines) > CLASS_LINES:
            lines = [*lines[: CLASS_LINES - 1], "… more in the JSON beside this page"]
        for line in lines:
            column.put(0.0, line)
            column.down()


def _facts(column: _Column, facts: Sequence[words.Fact], across: int) -> None:
    for k, (label, value) in enumerate(facts):
        side = k % across / across
        column.put(side, label, color=FAINT)
        column.put(side + (0.24 if across == 2 else 0.3), value)
        if side + 1 / across >= 1 or k == len(facts) - 1:
            column.down()


def _scores(column: _Column, scores: Sequence[words.Scored]) -> None:
    """What each model says, and what of the input is unlike anything in its training."""
    if not scores:
        return
    column.head("Scores", "at the base rate of the training; outside: unlike it")
    for score in scores:
        value = textwrap.shorten(score.value, VALUE_WIDTH, placeholder=" …")
        said = score.what + (f"; outside: {', '.join(score.outside)}" if score.outside else "")
        said = textwrap.shorten(said, SCORE_WIDTH - len(value), placeholder=" …")
        column.put(0.0, score.model, color=FAINT)
        column.put(0.185, said, color=FAILED if score.outside else INK)
        column.put(1.0, value, ha="right")
        column.down()


MARKS: Final = {True: ("✓", PASSED), False: ("✗", FAILED), None: ("–", FAINT)}


def _checks(column: _Column, tce: Signal) -> None:
    checks = tce.get("checks") or ()
    if not checks:
        return
    column.head("Flaws looked for", "✓ not found   ✗ found   – not measured")
    for k, (name, passed) in enumerate(words.kinds(tce)):
        mark, colour = MARKS[passed]
        column.put(0.5 * (k % 2), mark, color=colour, weight="bold")
        column.put(0.5 * (k % 2) + 0.05, name, color=colour, weight="bold")
        column.down(k % 2)
    column.down(0.2)
    for share, title in ((0.71, "measured"), (0.85, "score"), (1.0, "limit")):
        column.put(share, title, color=FAINT, size=5.6, ha="right")
    column.down()
    for check in checks:
        mark, colour = MARKS[check["passed"]]
        name, *cells = words.check_cells(check)
        column.put(0.0, mark, color=colour, weight="bold")
        column.put(0.05, name, color=FAILED if check["passed"] is False else INK)
        for share, cell in zip((0.71, 0.85, 1.0), cells, strict=True):
            column.put(share, cell, ha="right", color=FAINT if check["passed"] is None else INK)
        column.down()


def _places(column: _Column, tce: Signal) -> None:
    centroids = tce.get("centroids") or ()
    if not centroids:
        return
    column.head("Source of the signal, from the target")
    for centroid in centroids:
        method, offset, problem = words.centroid_cells(centroid)
        column.put(0.0, method, color=FAINT)
        column.put(0.3, offset)
        column.put(1.0, problem, ha="right", color=FAINT)
        column.down()


# Foot


def _draw_foot(figure: "Figure", evidence: Evidence) -> float:
    """Returns the height at which it begins."""
    lines: list[str] = []
    for paragraph in words.provenance(evidence.row, evidence.config):
        lines += textwrap.wrap(paragraph, 245, break_on_hyphens=False)
    if len(lines) > FOOT_LINES:
        lines = [*lines[: FOOT_LINES - 1], lines[FOOT_LINES - 1][:200] + " … (all in the JSON beside this page)"]
    for k, line in enumerate(reversed(lines)):
        _write(figure, EDGE, FOOT + (k + 0.5) * FOOT_LINE, line, size=5.0, color=FAINT)
    top = FOOT + (len(lines) + 0.6) * FOOT_LINE
    _rule(figure, EDGE, WIDTH - EDGE, top)
    return top
