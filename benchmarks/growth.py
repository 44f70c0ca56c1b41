"""How the cost of a search grows: with cadences, with the baseline, and with stars in a batch.

python -m benchmarks growth [--quick]
"""

import math
import statistics
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import PARTIAL, one_thread, one_thread_children, start_worker
from benchmarks.partial import Record, append_records, read_records
from benchmarks.search import OURS, time_search
from benchmarks.simulated import TESS_2MIN, Window, kepler, tess

Figures = dict[str, Any]

JAX = "survey, JAX"
FIGURE = "search_growth.png"
ROUNDS = 3


@dataclass(frozen=True)
class Point:
    """One measurement: what is searched by whom, `x` along which axis."""

    axis: str
    x: float
    name: str
    window: Window
    stars: int


AXES = {
    "cadences": "cadences (one TESS sector, 0.5 to 13 d)",
    "baseline": "baseline, d (30 min, 0.5 d to a third of it)",
    "stars": "stars in a batch (TESS 2 min, one sector)",
}

CADENCES = (1800.0, 600.0, 200.0, 120.0, 60.0, 20.0)
BASELINES = (27.4, 80.0, 180.0, 365.0, 730.0, 1470.0)
BATCHES = (1, 4, 16, 64, 256)
ASTROPY_LONGEST = 365.0
"""Days; four years take astropy more than a minute."""


def points(quick: bool) -> list[Point]:
    found = []
    step = 2 if quick else 1
    for cadence_s in CADENCES[::step]:
        window = tess(cadence_s, f"{cadence_s:g} s")
        for name, stars in ((OURS, 16), (JAX, 64), ("GERBLS", 4), ("astropy", 1)):
            found.append(Point("cadences", round(window.baseline / window.cadence), name, window, stars))
    for baseline in BASELINES[: 3 if quick else None]:
        window = kepler(baseline, f"{baseline:g} d", baseline / 3)
        for name, stars in ((OURS, 8), (JAX, 64 if baseline < 200 else 16), ("GERBLS, cadence", 2), ("astropy", 1)):
            if name != "astropy" or baseline <= ASTROPY_LONGEST:
                found.append(Point("baseline", baseline, name, window, stars))
    for stars in BATCHES[::step]:
        found += [Point("stars", stars, name, TESS_2MIN, stars) for name in (OURS, JAX)]
    return found


def measure(quick: bool = False, folder: Path = PARTIAL) -> Figures:
    """CPU milliseconds a star along every axis, medians of rounds."""
    path = folder / ("growth-quick.jsonl" if quick else "growth.jsonl")
    done = {(record["axis"], record["x"], record["name"]) for record in read_records(path)}
    with one_thread_children(), one_thread(), ExitStack() as stack:
        workers: dict[str, ProcessPoolExecutor] = {}
        for point in points(quick):
            if (point.axis, point.x, point.name) in done:
                continue
            if point.name not in workers:
                workers[point.name] = stack.enter_context(start_worker())
            slow = point.name == "astropy" or (point.name == JAX and point.window.baseline > 200)
            rounds = 1 if quick or slow else ROUNDS
            runs = [
                workers[point.name].submit(time_search, point.name, point.window, point.stars) for _ in range(rounds)
            ]
            record = {
                "axis": point.axis,
                "x": point.x,
                "name": point.name,
                "cpu_ms": statistics.median(run.result()["cpu_ms"] for run in runs),
            }
            append_records(path, [record])
            print(f"  {record}", flush=True)
    records = read_records(path)
    path.unlink()
    return {axis: [record for record in records if record["axis"] == axis] for axis in AXES}


def render(figures: Figures) -> str:
    parts = [
        "## How the cost grows\n",
        "CPU milliseconds a star of the same searches, one core. Cadences shorter than the time bins, a third of\n"
        "the shortest transit, fall into the same bins: folding costs the same and only the binning grows. With the\n"
        "baseline both the trial periods and the data to fold at each grow.\n",
        f"![Cost against cadences, baseline and stars](docs/images/{FIGURE})\n",
    ]
    for axis, label in AXES.items():
        names = list(dict.fromkeys(record["name"] for record in figures[axis]))
        values = sorted({record["x"] for record in figures[axis]})
        cells = {(record["x"], record["name"]): f"{record['cpu_ms']:.4g}" for record in figures[axis]}
        rows = "\n".join(
            f"| {value:g} | " + " | ".join(cells.get((value, name), "") for name in names) + " |" for value in values
        )
        heads = " | ".join(names)
        parts.append(f"| {label} | {heads} |\n|---|{'---|' * len(names)}\n{rows}\n")
        if axis == "baseline":
            parts.append(_render_slopes(figures[axis], names))
    return "\n".join(parts)


def _render_slopes(records: list[Record], names: list[str]) -> str:
    slopes = []
    for name in names:
        own = sorted((record["x"], record["cpu_ms"]) for record in records if record["name"] == name)
        if len(own) > 1:
            (first, low), (last, high) = own[0], own[-1]
            slopes.append(f"{name} {math.log(high / low) / math.log(last / first):.2f}")
    return f"Power of the baseline, from the shortest to the longest measured: {', '.join(slopes)}.\n"


def draw(figures: Figures, folder: Path) -> None:
    """Lines of CPU milliseconds a star, a panel for each axis."""
    from benchmarks.figures import bare_axes, colour_of, new_figure, plain_log, save

    figure, axes = new_figure(1, len(AXES), height=3.3, width=11.0)
    for ax, (axis, label) in zip(axes.flat, AXES.items(), strict=True):
        for name in dict.fromkeys(record["name"] for record in figures[axis]):
            own = sorted((record["x"], record["cpu_ms"]) for record in figures[axis] if record["name"] == name)
            ax.plot(
                *zip(*own, strict=True),
                "o-",
                color=colour_of(name),
                label=name.split(", cad")[0],
                markersize=4,
                linewidth=1.6,
            )
        ax.set_xscale("log")
        ax.set_yscale("log")
        plain_log(ax.xaxis)
        plain_log(ax.yaxis)
        ax.set_xlabel(label)
        bare_axes(ax)
    axes[0, 0].set_ylabel("CPU milliseconds a star")
    axes[0, 0].legend(frameon=False, fontsize=8)
    save(figure, folder / FIGURE)
