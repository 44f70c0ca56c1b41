"""The search alone, from detrended arrays to ranked peaks: this program beside every other there is.

Each contestant has a process of its own, one thread on one core; they take turns, round after round, and the median of
the rounds counts. Compiling (numba, JAX) and importing happen before. The light curves are white noise with the gaps of
the real missions, every second one with transits. What is timed is the whole of a search: binning, folding, the
statistic over each star's own noise, and the ranked peaks; refining the peaks is apart.

An interrupted measurement goes on where it was.

    python -m benchmarks search [--quick]
"""

import statistics
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.contestants import CONTESTANTS, survey_numba
from benchmarks.machine import PARTIAL, one_thread, one_thread_children, start_worker, usable_cores
from benchmarks.partial import Record, append_records, read_records
from benchmarks.simulated import KEPLER, TEN_SECTORS, TESS_2MIN, TESS_200S, Window, white_curves
from survey.signals.search import FlatCurve

Figures = dict[str, Any]

OURS = "survey, numba"
FIGURE = "search_speed.png"


@dataclass(frozen=True)
class Entrant:
    """A contestant in a race: how many stars a round, how many rounds."""

    name: str
    stars: int
    rounds: int = 5


@dataclass(frozen=True)
class Race:
    """A kind of light curve, who searches it, and who does not and why."""

    window: Window
    entrants: tuple[Entrant, ...]
    left_out: str = ""


SECTOR_ENTRANTS = (
    Entrant(OURS, 256),
    Entrant("survey, JAX", 64),
    Entrant("GERBLS", 16),
    Entrant("astropy", 2),
    Entrant("lightkurve", 2),
    Entrant("TLS", 2, 3),
)

RACES = {
    "tess_2min": Race(TESS_2MIN, SECTOR_ENTRANTS),
    "tess_200s": Race(TESS_200S, SECTOR_ENTRANTS),
    "kepler": Race(
        KEPLER,
        (
            Entrant(OURS, 16, 3),
            Entrant("survey, JAX", 64, 1),
            Entrant("GERBLS, cadence", 2, 3),
            Entrant("GERBLS", 1, 3),
            Entrant("astropy", 1, 1),
        ),
        "lightkurve calls astropy and takes as long; transitleastsquares would need many minutes a star.",
    ),
    "ten_sectors": Race(
        TEN_SECTORS,
        (Entrant(OURS, 16), Entrant("survey, JAX", 64, 1), Entrant("astropy", 1, 1)),
        "GERBLS and transitleastsquares. They and astropy fold all five years coherently, on a grid fifty times finer; "
        "this program folds the years apart.",
    ),
}
"""Ten sectors: pairs of them a year apart, which this program folds one by one and adds in squares."""

PAIR_STARS, PAIR_ROUNDS = 512, 5


def measure(quick: bool = False, folder: Path = PARTIAL) -> Figures:
    """Milliseconds a star of every contestant, by kind of light curve, and what a second core adds."""
    path = folder / ("search-quick.jsonl" if quick else "search.jsonl")
    races = {key: _shorten(race) if quick else race for key, race in RACES.items()}
    with one_thread_children():
        with one_thread():
            for key, race in races.items():
                _run_race(key, race, path)
        _run_pairs(path, 32 if quick else PAIR_STARS, 2 if quick else PAIR_ROUNDS)
    records = read_records(path)
    path.unlink()
    return summarise(records, races)


def _shorten(race: Race) -> Race:
    """Fewer stars (JAX folds 64 at a time, full or not) in two rounds, and nobody who takes minutes."""
    fast = [entrant for entrant in race.entrants if entrant.rounds > 1]
    stars = {entrant.name: 64 if "JAX" in entrant.name else max(1, entrant.stars // 8) for entrant in fast}
    return replace(race, entrants=tuple(Entrant(name, count, 2) for name, count in stars.items()))


def _run_race(key: str, race: Race, path: Path) -> None:
    done = {(record["race"], record["name"], record["round"]) for record in read_records(path)}
    with ExitStack() as stack:
        workers: dict[str, ProcessPoolExecutor] = {}
        for turn in range(max(entrant.rounds for entrant in race.entrants)):
            for entrant in race.entrants:
                if turn >= entrant.rounds or (key, entrant.name, turn) in done:
                    continue
                if entrant.name not in workers:
                    workers[entrant.name] = stack.enter_context(start_worker())
                timed = workers[entrant.name].submit(time_search, entrant.name, race.window, entrant.stars).result()
                append_records(path, [{"race": key, "name": entrant.name, "round": turn, **timed}])
                print(f"  {key}, {entrant.name}, round {turn + 1}: {timed['cpu_ms']:.2f} ms a star", flush=True)


def time_search(name: str, window: Window, stars: int) -> Record:
    """In a worker: one round, CPU and wall-clock milliseconds a star."""
    warnings.simplefilter("ignore")  # rivals warn of what they lack and of stars without transits
    curves = _warm(name, window, stars)
    cpu, wall = time.process_time(), time.perf_counter()
    CONTESTANTS[name](curves, window.period_min, window.period_max)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    points = sum(len(curve.time) for curve in curves) / stars
    return {"cpu_ms": cpu / stars * 1e3, "wall_ms": wall / stars * 1e3, "stars": stars, "points": points}


@lru_cache(maxsize=1)
def _warm(name: str, window: Window, stars: int) -> list[FlatCurve]:
    """The light curves, once this contestant has imported and compiled what it needs."""
    curves = white_curves(window, stars)
    if name.startswith("survey"):
        CONTESTANTS[name](curves, window.period_min, window.period_max)
    else:
        CONTESTANTS[name](white_curves(TESS_200S, 1), 0.5, 13.0)
    return curves


# --- two cores -------------------------------------------------------------------------------------------------------


def _run_pairs(path: Path, stars: int, rounds: int) -> None:
    """One process alone against two at once, and one thread against two, the same work for each."""
    cores = usable_cores()
    if len(cores) < 2:
        return
    done = {record["round"] for record in read_records(path) if record["race"] == "pairs"}
    first, second, both = ({cores[0]}, {cores[1]}, {cores[0], cores[1]})
    with start_worker(first) as one, start_worker(second) as other, start_worker(both) as threaded:
        for worker in (one, other, threaded):
            worker.submit(time_search, OURS, TESS_2MIN, stars).result()
        for turn in range(rounds):
            if turn in done:
                continue
            alone = _seconds([one.submit(_search_parts, stars, 1)])
            two = _seconds([worker.submit(_search_parts, stars, 1) for worker in (one, other)])
            thread = _seconds([threaded.submit(_search_parts, stars, 1)])
            threads = _seconds([threaded.submit(_search_parts, stars, 2)])
            record = {"race": "pairs", "round": turn, "processes": 2 * alone / two, "threads": 2 * thread / threads}
            append_records(path, [record])
            print(f"  two cores, round {turn + 1}: {record}", flush=True)


def _seconds(runs: Iterable[Any]) -> float:
    begin = time.perf_counter()
    for run in runs:
        run.result()
    return time.perf_counter() - begin


def _search_parts(stars: int, threads: int) -> None:
    """In a worker: `stars` stars in each of some threads."""
    curves = _warm(OURS, TESS_2MIN, stars)
    with ThreadPoolExecutor(threads) as pool:
        work: Callable[[int], object] = lambda _: survey_numba(curves, TESS_2MIN.period_min, TESS_2MIN.period_max)  # noqa: E731
        list(pool.map(work, range(threads)))


# --- results ---------------------------------------------------------------------------------------------------------


def summarise(records: list[Record], races: dict[str, Race]) -> Figures:
    figures: Figures = {"races": {}}
    for key, race in races.items():
        rows = [_median_row(entrant.name, records, key) for entrant in race.entrants]
        figures["races"][key] = {
            "window": race.window.name,
            "periods": [race.window.period_min, race.window.period_max],
            "left_out": race.left_out,
            "rows": rows,
        }
    pairs = [record for record in records if record["race"] == "pairs"]
    if pairs:
        figures["two_cores"] = {
            kind: statistics.median(record[kind] for record in pairs) for kind in ("processes", "threads")
        }
    return figures


def _median_row(name: str, records: list[Record], key: str) -> Record:
    own = [record for record in records if record["race"] == key and record["name"] == name]
    return {
        "name": name,
        "cpu_ms": statistics.median(record["cpu_ms"] for record in own),
        "wall_ms": statistics.median(record["wall_ms"] for record in own),
        "stars": own[0]["stars"],
        "rounds": len(own),
        "points": round(own[0]["points"]),
    }


def render(figures: Figures) -> str:
    parts = [
        "## The search alone\n",
        "From detrended arrays to ranked peaks, refinement apart, one core each; CPU and wall-clock milliseconds a\n"
        "star, medians of rounds in which all take turns; importing and compiling come before. White noise with the\n"
        "missions' gaps. All search the same periods about a Sun-like star. This program: durations of 0.55 to 1.3\n"
        "central transits, the statistic over each star's noise, and the upside-down spectrum besides. Rivals: 0.5 to\n"
        "1.2 central transits; astropy with oversample 5 on the period grid of Ofir (2014); GERBLS with bins of a\n"
        "third of the shortest duration (or of a cadence), downsampling on; the rest in `benchmarks/contestants.py`.\n",
        f"![CPU milliseconds a star](docs/images/{FIGURE})\n",
    ]
    for race in figures["races"].values():
        low, high = race["periods"]
        ours = _row(race["rows"], OURS)
        rows = "\n".join(
            f"| {row['name']} | {_number(row['cpu_ms'])} | {_number(row['wall_ms'])} "
            f"| {_number(row['cpu_ms'] / ours['cpu_ms'])} | {row['stars']} x {row['rounds']} |"
            for row in sorted(race["rows"], key=lambda row: row["cpu_ms"])
        )
        parts.append(
            f"{race['window']}, {ours['points']} cadences, {low:g} to {high:g} d.\n\n"
            f"| | CPU ms | wall ms | over {OURS} | stars x rounds |\n|---|---|---|---|---|\n{rows}\n"
            + (f"\nNot measured: {race['left_out']}\n" if race["left_out"] else "")
        )
    parts += [_render_ratios(figures["races"])]
    if "two_cores" in figures:
        pair = figures["two_cores"]
        parts.append(
            f"Two cores over one, {OURS}: **{pair['processes']:.2f} times** in two processes,\n"
            f"{pair['threads']:.2f} times in two threads of one.\n"
        )
    return "\n".join(parts)


def _number(value: float) -> str:
    """Three digits and more."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _render_ratios(races: dict[str, Any]) -> str:
    lines = []
    for key, race in races.items():
        names = {row["name"] for row in race["rows"]}
        if "astropy" in names and key != "ten_sectors":
            slow = _row(race["rows"], "astropy")["cpu_ms"]
            for name in (OURS, "survey, JAX"):
                if name in names:
                    ratio = slow / _row(race["rows"], name)["cpu_ms"]
                    lines.append(f"- {race['window']}, {name}: **{ratio:.0f} times** astropy's speed")
    if {"tess_2min", "ten_sectors"} <= races.keys():
        one, ten = (_row(races[key]["rows"], OURS) for key in ("tess_2min", "ten_sectors"))
        ratio = (ten["cpu_ms"] / ten["points"]) / (one["cpu_ms"] / one["points"])
        lines.append(f"- ten sectors against one, {OURS}: **{ratio:.2f} times** the time a data point")
    return "\n".join(lines) + "\n"


def _row(rows: list[Record], name: str) -> Record:
    return next(row for row in rows if row["name"] == name)


def draw(figures: Figures, folder: Path) -> None:
    """Bars of CPU milliseconds a star, a panel for each kind of light curve."""
    from benchmarks.figures import bare_axes, colour_of, new_figure, plain_log, save

    races = list(figures["races"].values())
    most = max(len(race["rows"]) for race in races)
    figure, axes = new_figure((len(races) + 1) // 2, 2, height=0.42 * most + 0.9)
    for ax, race in zip(axes.flat, races, strict=False):
        rows = sorted(race["rows"], key=lambda row: -row["cpu_ms"])
        places = range(len(rows))
        ax.barh(places, [row["cpu_ms"] for row in rows], color=[colour_of(row["name"]) for row in rows], height=0.65)
        ax.set_yticks(places, [row["name"] for row in rows])
        ax.set_xscale("log")
        low, high = min(row["cpu_ms"] for row in rows), max(row["cpu_ms"] for row in rows)
        ax.set_xlim(low / 3, high * 8)
        ax.set_ylim(len(rows) - most - 0.5, len(rows) - 0.5)
        plain_log(ax.xaxis)
        for place, row in zip(places, rows, strict=True):
            ax.text(
                row["cpu_ms"] * 1.1,
                place,
                f"{row['cpu_ms']:,.3g}" if row["cpu_ms"] < 1000 else f"{row['cpu_ms']:,.0f}",
                va="center",
            )
        ax.set_title(race["window"], loc="left")
        bare_axes(ax, grid="x")
    for ax in axes.flat[len(races) :]:
        ax.set_axis_off()
    figure.supxlabel("CPU milliseconds a star, one core", fontsize=9)
    save(figure, folder / FIGURE)
