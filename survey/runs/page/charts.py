"""Charts as inline SVG. Colours come from the page's style sheet by class, so that they follow light and dark.

Two groups are told apart by colour and by place: all signals (`all`), and those that pass (`hit`) in front of them.
"""

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SMALL: Final = (370.0, 232.0)
WIDE: Final = (1160.0, 290.0)
LEFT, RIGHT, TOP, BOTTOM = 58.0, 14.0, 30.0, 44.0

MANY: Final = 60
"""A histogram whose highest bar reaches this has a logarithmic axis of counts, so that single signals stay visible."""

SINGLE_MARKS: Final = 600
"""Points of a scatter that can be pointed at one by one; the others are one path, ten bytes each."""


@dataclass(frozen=True)
class Scale:
    """Values between low and high on pixels between first and last; whole: ticks at whole numbers only."""

    low: float
    high: float
    first: float
    last: float
    log: bool = False
    whole: bool = False

    def place(self, values: Floats | float) -> Floats:
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        share = ((np.log10(values) if self.log else np.asarray(values)) - low) / (high - low)
        placed: Floats = self.first + share * (self.last - self.first)
        return placed

    def ticks(self, about: int = 5) -> list[float]:
        """Round values inside the scale."""
        if not self.log:
            step = max(round_step((self.high - self.low) / about), 1.0 if self.whole else 0.0)
            return [k * step for k in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)]
        first, last = math.log10(self.low), math.log10(self.high)
        mantissas = (1, 2, 5) if last - first < 2.2 else (1, 3) if last - first < 3 else (1,)
        stride = max(1, math.ceil((last - first) / (about + 2)))
        powers = [power for power in range(math.floor(first), math.ceil(last) + 1) if power % stride == 0]
        values = [mantissa * 10.0**power for power in powers for mantissa in mantissas]
        return [v for v in values if self.low * 0.999 <= v <= self.high * 1.001 and (v >= 1 or not self.whole)]


def round_step(step: float) -> float:
    """1, 2 or 5 times a power of ten, no less than `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= step * 0.999)


SUPERSCRIPTS: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def words_of(value: float) -> str:
    """0.5, 12,000, 10⁻¹²"""
    if value == 0:
        return "0"
    if 1e-4 < abs(value) < 1e6:
        return f"{value:,.10g}" if abs(value) >= 1 else f"{value:.3g}"
    power = math.floor(math.log10(abs(value)) + 1e-9)
    mantissa = value / 10.0**power
    head = "" if abs(mantissa - 1) < 1e-6 else f"{mantissa:.3g}×"
    return f"{head}10{str(power).translate(SUPERSCRIPTS)}"


def pixel(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


# Parts


def svg(size: tuple[float, float], label: str, parts: Sequence[str]) -> str:
    width, height = size
    head = f'<svg viewBox="0 0 {pixel(width)} {pixel(height)}" role="img" aria-label="{html.escape(label)}">'
    return head + "".join(parts) + "</svg>"


def text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{pixel(x)}" y="{pixel(y)}">{html.escape(words)}</text>'


def axes(x: Scale, y: Scale, x_label: str, y_label: str, *, x_words: Callable[[float], str] = words_of) -> list[str]:
    """Grid, ticks and names of both axes."""
    parts = []
    for value in y.ticks(4):
        place = float(y.place(value))
        parts.append(f'<path class="grid" d="M{pixel(x.first)} {pixel(place)}H{pixel(x.last)}"/>')
        parts.append(text(x.first - 7, place + 4, words_of(value), "tick end"))
    for value in x.ticks(6):
        place = float(x.place(value))
        parts.append(f'<path class="axis" d="M{pixel(place)} {pixel(y.first)}v5"/>')
        parts.append(text(place, y.first + 18, x_words(value), "tick middle"))
    parts.append(f'<path class="axis" d="M{pixel(x.first)} {pixel(y.first)}H{pixel(x.last)}"/>')
    parts.append(text(x.last, y.first + 36, x_label, "label end"))
    parts.append(text(2, 13, y_label, "label"))
    return parts


def spread(values: Floats, *, log: bool, room: float = 0.03) -> tuple[float, float]:
    """Lowest and highest value with some room about them; a lone value gets room too."""
    low, high = float(values.min()), float(values.max())
    if log:
        low, high = math.log10(low), math.log10(high)
    margin = room * (high - low) or 0.15 * (abs(high) or 1.0) * (not log) or 0.15
    low, high = low - margin, high + margin
    return (10.0**low, 10.0**high) if log else (low, high)


# Charts


@dataclass(frozen=True)
class Pile:
    """A bin that holds far more signals than its neighbours make one expect."""

    low: float
    high: float
    count: int
    expected: float


PILE_CHANCE: Final = 0.01
"""Chance, over all bins of a chart, that one is called a pile-up where there is none."""

PILE_NEIGHBOURS: Final = 12
"""Bins on either side that say what is expected."""

PILE_LEAST: Final = 4


def find_piles(counts: NDArray[np.int64], edges: Floats) -> list[Pile]:
    """Bins with more signals than a Poisson draw about the mean of the neighbours would have, the fullest first.

    counts, edges: of a histogram, shapes (n,) and (n + 1,). The bins beside a bin do not count as its neighbours.
    """
    from scipy.stats import poisson

    if not len(counts) or counts.max() < PILE_LEAST:
        return []
    reach = np.ones(2 * PILE_NEIGHBOURS + 1)
    reach[PILE_NEIGHBOURS - 1 : PILE_NEIGHBOURS + 2] = 0.0
    width = len(counts) + 2 * PILE_NEIGHBOURS
    near = np.convolve(counts, reach)[PILE_NEIGHBOURS : width - PILE_NEIGHBOURS]
    bins = np.convolve(np.ones(len(counts)), reach)[PILE_NEIGHBOURS : width - PILE_NEIGHBOURS]
    expected = np.maximum(near / np.maximum(bins, 1.0), 0.5)
    unlikely = (poisson.sf(counts - 1, expected) * len(counts) < PILE_CHANCE) & (counts >= PILE_LEAST)
    piles = [Pile(float(edges[k]), float(edges[k + 1]), int(counts[k]), float(expected[k])) for k in range(len(counts))]
    return sorted((piles[k] for k in np.flatnonzero(unlikely)), key=lambda pile: (-pile.count, pile.low))


def histogram(
    values: Floats,
    passed: Bools,
    label: str,
    *,
    edges: Floats,
    log: bool = True,
    size: tuple[float, float] = SMALL,
    piles: Sequence[Pile] = (),
    y_label: str = "signals",
    x_words: Callable[[float], str] = words_of,
) -> str:
    """Counts of all values and, in front, of those that passed; bins in `piles` are marked.

    values, passed: shape (n,); edges: of the bins, ascending, all values inside.
    """
    counts, hits = np.histogram(values, edges)[0], np.histogram(values[passed], edges)[0]
    most = max(int(counts.max()), 1)
    width, height = size
    many = most >= MANY
    x = Scale(float(edges[0]), float(edges[-1]), LEFT, width - RIGHT, log)
    y = Scale(0.5 if many else 0.0, most * (1.5 if many else 1.08), height - BOTTOM, TOP, many, whole=True)
    parts = axes(x, y, label, y_label, x_words=x_words)
    starts = x.place(edges)
    marked = {pile.low for pile in piles}
    for k in np.flatnonzero(counts):
        words = f"{x_words(float(edges[k]))} to {x_words(float(edges[k + 1]))}: {counts[k]:,}, {hits[k]:,} pass"
        left, wide = starts[k], max(starts[k + 1] - starts[k] - (0.8 if starts[k + 1] - starts[k] > 3 else 0.0), 0.6)
        kinds = [("all pile" if edges[k] in marked else "all", counts[k]), ("hit", hits[k])]
        bars = "".join(_bar(kind, left, wide, float(y.place(float(count))), y.first) for kind, count in kinds if count)
        parts.append(f"<g>{bars}<title>{html.escape(words)}</title></g>")
    return svg(size, f"Histogram, {label}: {len(values):,} signals, {int(passed.sum()):,} of them pass", parts)


def _bar(kind: str, left: float, wide: float, top: float, foot: float) -> str:
    return f'<rect class="{kind}" x="{pixel(left)}" y="{pixel(top)}" width="{wide:.2f}" height="{pixel(foot - top)}"/>'


def scatter(
    x_values: Floats,
    y_values: Floats,
    passed: Bools,
    rows: Sequence[int],
    names: Sequence[str],
    labels: tuple[str, str],
    size: tuple[float, float] = WIDE,
) -> str:
    """Both axes logarithmic. rows: place in the table of each point, which a click opens; names: its words."""
    width, height = size
    x = Scale(*spread(x_values, log=True), LEFT, width - RIGHT, True)
    y = Scale(*spread(y_values, log=True, room=0.06), height - BOTTOM, TOP, True)
    parts = axes(x, y, *labels)
    across, up = x.place(x_values), y.place(y_values)
    order = np.concatenate([np.flatnonzero(passed), np.flatnonzero(~passed)])
    single = sorted(order[:SINGLE_MARKS].tolist(), key=lambda k: (bool(passed[k]), -k))
    for kind, many in (("all", ~passed), ("hit", passed)):
        crowd = [k for k in order[SINGLE_MARKS:].tolist() if many[k]]
        if crowd:
            dots = "".join(f"M{across[k]:.1f} {up[k]:.1f}h0" for k in crowd)
            parts.append(f'<path class="dots {kind}" d="{dots}"/>')
    for k in single:
        kind = "hit" if passed[k] else "all"
        parts.append(
            f'<circle class="{kind}" cx="{pixel(across[k])}" cy="{pixel(up[k])}" r="{4 if passed[k] else 3}" '
            f'data-row="{rows[k]}"><title>{html.escape(names[k])}</title></circle>'
        )
    return svg(size, f"{labels[1]} against {labels[0]}: {len(x_values):,} signals", parts)


def steps(
    x_values: Floats, y_values: Floats, labels: tuple[str, str], *, breaks: Sequence[float] = (), words: str = ""
) -> str:
    """A curve that rises in steps from (0, 0), with the area under it; breaks: where to draw an upright line."""
    width, height = SMALL
    x = Scale(0.0, float(x_values[-1]) or 1.0, LEFT, width - RIGHT)
    y = Scale(0.0, 1.05 * float(y_values.max()) or 1.0, height - BOTTOM, TOP)
    parts = axes(x, y, *labels)
    across, up = x.place(x_values), y.place(y_values)
    line = f"M{pixel(x.first)} {pixel(y.first)}" + "".join(
        f"H{pixel(a)}V{pixel(b)}" for a, b in zip(across, up, strict=True)
    )
    parts.append(f'<path class="area" d="{line}V{pixel(y.first)}Z"/><path class="line" d="{line}"/>')
    for value in breaks:
        place = float(x.place(value))
        parts.append(f'<path class="break" d="M{pixel(place)} {pixel(y.first)}V{pixel(y.last)}"/>')
    return svg(SMALL, words or f"{labels[1]} against {labels[0]}", parts)


def columns(edges: Floats, heights: Floats, labels: tuple[str, str], words: Callable[[int], str]) -> str:
    """Plain columns, one a bin; words: what to say of the bin."""
    width, height = SMALL
    x = Scale(float(edges[0]), float(edges[-1]), LEFT, width - RIGHT)
    y = Scale(0.0, 1.08 * float(heights.max()) or 1.0, height - BOTTOM, TOP)
    parts = axes(x, y, *labels)
    starts = x.place(edges)
    for k in np.flatnonzero(heights):
        bar = _bar("hit", starts[k], max(starts[k + 1] - starts[k] - 0.8, 0.6), float(y.place(heights[k])), y.first)
        parts.append(f"<g>{bar}<title>{html.escape(words(int(k)))}</title></g>")
    return svg(SMALL, f"{labels[1]} against {labels[0]}", parts)


def curves(lines: Sequence[tuple[str, Sequence[tuple[float, float]]]], labels: tuple[str, str]) -> str:
    """Named curves over a logarithmic axis; y from 0 to 1."""
    width, height = SMALL
    places = np.array([x for _, line in lines for x, _ in line], float)
    x = Scale(*spread(places, log=True), LEFT, width - RIGHT - 56, True)
    y = Scale(0.0, 1.05, height - BOTTOM, TOP)
    parts = axes(x, y, *labels)
    for k, (name, line) in enumerate(lines):
        spots = [(float(x.place(a)), float(y.place(b))) for a, b in line]
        parts.append(f'<path class="line c{k}" d="M{"L".join(f"{pixel(a)} {pixel(b)}" for a, b in spots)}"/>')
        parts += [
            f'<circle class="dot c{k}" cx="{pixel(a)}" cy="{pixel(b)}" r="3"><title>'
            f"{html.escape(name)}: {value:.2f} at {words_of(at)}</title></circle>"
            for (a, b), (at, value) in zip(spots, line, strict=True)
        ]
        parts.append(text(spots[-1][0] + 8, spots[-1][1] + 4, name, "label"))
    return svg(SMALL, f"{labels[1]} against {labels[0]}", parts)
