"""What each search brings back of injected transits, at one false alarm in a hundred light curves.

Every method sees the same light curves: as many with injected transits as without. What it makes of a light curve is
its strongest peak and that peak's own statistic. The 99th percentile of that statistic over the light curves without
transits is the method's threshold; an injected planet is recovered when the strongest peak of its star is above it, at
the injected period (1%) and epoch (half a duration, at the transit in the middle of the data). Intervals are Wilson's,
95%.

What is injected into what: `benchmarks/samples.py`.

Results are kept star by star in `runs/bench/recovery/`: the measurement can be stopped, resumed and extended. They
count as long as the light curves and the method are the same, by the checksums of their sources.

    python -m benchmarks recovery [--quick]
    python -m benchmarks.recovery [--workers N] [--stars N] [SAMPLE...]
"""

import argparse
import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.contestants import Best, astropy_bls, gerbls, survey_numba, survey_white, tls
from benchmarks.machine import ARCHIVE, PARTIAL, one_thread_children, usable_cores
from benchmarks.partial import Record, append_records, read_records
from benchmarks.samples import SAMPLES, Sample, Star, make_star
from benchmarks.simulated import Transits
from survey.config import Config
from survey.signals.search import FlatCurve, Tce, find_tces
from survey.signals.variability import Variability
from survey.signals.vetting import judge, vet
from survey.stars import lightcurve

Figures = dict[str, Any]
Floats = NDArray[np.float64]

FALSE_ALARMS = 0.01
PERIOD_TOLERANCE = 0.01
CHUNK = 10
"""Stars a task; what is lost when the measurement is stopped."""

FLOOR = 5.0
"""This program reports events from this MES on, to have a statistic for light curves without transits."""

OURS = "survey"
SNR_FIGURE, PERIOD_FIGURE = "recovery_snr.png", "recovery_period.png"
BINS = 5


class Event(NamedTuple):
    """A `Best` of this program, its statistic the MES; candidate: whether it passes the gate but for its MES."""

    period: float
    epoch: float
    duration: float
    statistic: float
    sde: float = 0.0
    fap: float = 1.0
    candidate: bool = False


def survey_tces(curves: Sequence[FlatCurve], shortest: float, longest: float) -> list[Event]:
    """The first event of the whole search, refined and on its true harmonic."""
    search = {"period_min": shortest, "period_max": longest, "threshold": FLOOR, "max_tces": 1}
    config = Config.model_validate({"search": search, "gate": {"mes": FLOOR}})
    return [_first_event(curve, tces, config) for curve, tces in zip(curves, find_tces(curves, config), strict=True)]


def _first_event(curve: FlatCurve, tces: Sequence[Tce], config: Config) -> Event:
    reports = vet(curve, tces, lightcurve.Star(), Variability(), config.gate)
    for tce, report in zip(tces, reports, strict=True):
        if tce.period is not None:
            fap = 1.0 if tce.fap is None else tce.fap
            passed = judge(report.checks, config.gate).is_candidate
            return Event(tce.period, tce.epoch, tce.duration_h / 24, tce.mes, tce.sde or 0.0, fap, passed)
    return Event(math.nan, math.nan, math.nan, 0.0)


METHODS: dict[str, Callable[[Sequence[FlatCurve], float, float], Sequence[Best | Event]]] = {
    OURS: survey_tces,
    "survey, spectrum": survey_numba,
    "survey, white": survey_white,
    "GERBLS": gerbls,
    "astropy": astropy_bls,
    "TLS": tls,
}

DERIVED: dict[str, tuple[str, Callable[[Record], float]]] = {
    "survey, gate": (OURS, lambda record: record["statistic"] if record["candidate"] else 0.0),
    "survey, SDE": (OURS, lambda record: record["sde"]),
    "survey, FAP": (OURS, lambda record: -math.log10(max(record["fap"], 1e-300))),
}
"""Other statistics of what a method has found: (method, record -> statistic)."""

MEANINGS = {
    OURS: "MES of the first event, refined",
    "survey, gate": "the same, 0 where the gate rejects it (its own MES apart)",
    "survey, SDE": "the same event, its SDE",
    "survey, FAP": "the same event, its false-alarm probability",
    "survey, spectrum": "highest MES of the spectrum, period alone",
    "survey, white": "highest white SNR of the spectrum, period alone",
    "GERBLS": "root of the gain in chi square",
    "astropy": "SNR of the depth",
    "TLS": "SDE",
}


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(
    quick: bool = False,
    folder: Path = PARTIAL,
    workers: int = 2,
    stars: int | None = None,
    keys: Sequence[str] = (),
    methods: Sequence[str] = tuple(METHODS),
) -> Figures:
    """Recovery of the methods in the samples, all unless given; `stars` bounds the number a sample (quick: 20)."""
    most = 20 if quick else stars
    asked = {key: SAMPLES[key] for key in keys or SAMPLES if SAMPLES[key].real is None or ARCHIVE.is_dir()}
    folder = folder / "recovery"
    with one_thread_children(), _pool(workers) as pool:
        tasks = {}
        for task in _missing(asked, methods, folder, most):
            tasks[pool.submit(search_stars, *task)] = task
        _collect(tasks, folder)
    return summarise(folder, asked, most)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(min(workers, len(usable_cores()) or workers), mp_context=get_context("spawn"))


def _missing(
    samples: dict[str, Sample], methods: Sequence[str], folder: Path, most: int | None
) -> Iterator[tuple[str, str, bool, list[int]]]:
    """(sample, method, injected, stars) that have no result yet, in chunks."""
    for key, sample in samples.items():
        for method, count in sample.stars.items():
            if method not in methods:
                continue
            done = {(record["injected"], record["star"]) for record in read_records(_path(folder, key, method))}
            for injected in (True, False):
                numbers = range(min(count, most or count))
                missing = [number for number in numbers if (injected, number) not in done]
                for start in range(0, len(missing), CHUNK):
                    yield key, method, injected, missing[start : start + CHUNK]


def _path(folder: Path, key: str, method: str) -> Path:
    return folder / f"{key}-{method.replace(', ', '-')}-{_stamp(method)}.jsonl"


STARS = ("benchmarks/samples.py", "benchmarks/simulated.py", "benchmarks/quiet.py", "survey/signals/detrend.py")
SEARCH = ("survey/signals/search/*.py", "survey/signals/vetting/*.py")
RIVALS = ("benchmarks/contestants.py",)


@functools.cache
def _stamp(method: str) -> str:
    """Of the sources that a method's results follow from."""
    root = Path(__file__).parents[1]
    patterns = STARS + (SEARCH if method.startswith("survey") else RIVALS)
    sources = [path for pattern in patterns for path in sorted(root.glob(pattern))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]


def _collect(tasks: dict[Future[list[Record]], tuple[str, str, bool, list[int]]], folder: Path) -> None:
    for count, future in enumerate(as_completed(tasks), start=1):
        key, method, _, _ = tasks[future]
        append_records(_path(folder, key, method), future.result())
        if count % 20 == 0 or count == len(tasks):
            print(f"  {count} of {len(tasks)} tasks, last {key}, {method}", flush=True)


def search_stars(key: str, method: str, injected: bool, numbers: list[int]) -> list[Record]:
    """In a worker: what a method makes of some stars."""
    import warnings

    sample = SAMPLES[key]
    curves = [make_star(sample, number, injected)[0] for number in numbers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rivals warn of stars without transits
        found = METHODS[method](curves, sample.window.period_min, sample.window.period_max)
    return [
        {"star": number, "injected": injected, **{field: float(value) for field, value in best._asdict().items()}}
        for number, best in zip(numbers, found, strict=True)
    ]


# --- results ---------------------------------------------------------------------------------------------------------


def is_found(best: Best, planet: Transits, curve: FlatCurve, ratio: float = 1.0) -> bool:
    """Whether a peak is the injected signal at `ratio` times its period; epochs are compared amid the data."""
    if not abs(best.period / (ratio * planet.period) - 1) < PERIOD_TOLERANCE:
        return False
    if math.isnan(best.epoch):
        return True
    middle = (curve.time[0] + curve.time[-1]) / 2
    event = best.epoch + round((middle - best.epoch) / best.period) * best.period
    period = min(planet.period, ratio * planet.period)
    apart = abs((event - planet.epoch + period / 2) % period - period / 2)
    return apart <= max(planet.duration, best.duration) / 2


def wilson(hits: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a binomial share (Wilson 1927), 95% unless z says otherwise."""
    if trials == 0:
        return 0.0, 1.0
    share, spread = hits / trials, z * z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def summarise(folder: Path, samples: dict[str, Sample], most: int | None = None) -> Figures:
    """Thresholds, recovered shares and curves from the results star by star."""
    figures: Figures = {}
    for key, sample in samples.items():
        count = max(sample.stars.values())
        stars = range(min(count, most or count))
        truth = {number: make_star(sample, number, True) for number in stars}
        verdicts: dict[str, dict[int, str]] = {}
        rows = []
        found: dict[str, list[Record]] = {}
        for method, count in sample.stars.items():
            records = [r for r in read_records(_path(folder, key, method)) if r["star"] < min(count, most or count)]
            if len({record["injected"] for record in records}) < 2:
                continue
            found[method] = records
            for name, (base, statistic) in DERIVED.items():
                if base == method:
                    found[name] = [record | {"statistic": statistic(record)} for record in records]
        for method, records in found.items():
            threshold = _threshold(records)
            verdicts[method] = {
                record["star"]: _verdict(record, truth[record["star"]], threshold)
                for record in records
                if record["injected"]
            }
            rows.append(_row(method, verdicts, truth, threshold, sample))
        figures[key] = {"title": sample.title, "snr": sample.snr, "left_out": sample.left_out, "rows": rows}
        figures[key]["edges"] = {name: list(edges) for name, edges in _edges(sample).items()}
    return figures


def _threshold(records: Sequence[Record]) -> float:
    return float(np.quantile([r["statistic"] for r in records if not r["injected"]], 1 - FALSE_ALARMS))


def _verdict(record: Record, star: Star, threshold: float) -> str:
    curve, planet = star
    assert planet
    best = Best(*(record[name] for name in Best._fields))
    if best.statistic <= threshold:
        return "below"
    if is_found(best, planet, curve):
        return "found"
    return "alias" if any(is_found(best, planet, curve, ratio) for ratio in (0.5, 2.0)) else "wrong"


def _edges(sample: Sample) -> dict[str, Floats]:
    window = sample.window
    periods = np.geomspace(1.1 * window.period_min, 0.95 * window.period_max, BINS + 1)
    return {"snr": np.linspace(*sample.snr, BINS + 1), "period": periods}


def _row(
    method: str,
    verdicts: dict[str, dict[int, str]],
    truth: dict[int, Star],
    threshold: float,
    sample: Sample,
) -> Record:
    own = verdicts[method]
    ours = verdicts.get(OURS, {})
    both = own.keys() & ours.keys()
    counts = {name: sum(verdict == name for verdict in own.values()) for name in ("found", "alias", "wrong")}
    curves = {name: _curve(own, truth, name, edges) for name, edges in _edges(sample).items()}
    return {
        "name": method,
        "stars": len(own),
        "threshold": threshold,
        **counts,
        "only_ours": sum(ours[k] == "found" != own[k] for k in both),
        "only_it": sum(own[k] == "found" != ours[k] for k in both),
        "curves": curves,
    }


def _curve(verdicts: dict[int, str], truth: dict[int, Star], name: str, edges: Floats) -> list[tuple[int, int]]:
    """(found, injected) in every bin of SNR or period."""
    numbers = list(verdicts)
    values = [getattr(truth[number][1], name) for number in numbers]
    index = np.clip(np.searchsorted(edges, values) - 1, 0, BINS - 1)
    found = np.array([verdicts[number] == "found" for number in numbers])
    return [(int(found[index == k].sum()), int((index == k).sum())) for k in range(BINS)]


def render(figures: Figures) -> str:
    parts = [
        "## Recovery of injected transits\n",
        "At one false alarm in a hundred light curves: the threshold of each method is the 99th percentile of its own\n"
        "statistic over as many light curves without transits as there are injected ones. Recovered: the strongest\n"
        "peak is above it, at the injected period (1%) and epoch. Intervals: Wilson, 95%. The last two columns count\n"
        "the planets that only this program (first row) or only that method recovered, among those both searched.\n",
        f"![Recovery by SNR](docs/images/{SNR_FIGURE})\n\n![Recovery by period](docs/images/{PERIOD_FIGURE})\n",
        "Statistics: " + "; ".join(f"{name}: {meaning}" for name, meaning in MEANINGS.items()) + ".\n",
    ]
    for sample in figures.values():
        lines = []
        for row in sample["rows"]:
            low, high = wilson(row["found"], row["stars"])
            lines.append(
                f"| {row['name']} | {row['stars']} | {row['threshold']:.2f} | **{row['found'] / row['stars']:.1%}** "
                f"({low:.1%} to {high:.1%}) | {row['alias']} | {row['wrong']} | {row['only_ours']} | {row['only_it']} |"
            )
        low, high = sample["snr"]
        parts.append(
            f"{sample['title']}, SNR {low:g} to {high:g}.\n\n"
            "| | planets | threshold | recovered | at P/2 or 2P | elsewhere | only survey | only it |\n"
            "|---|---|---|---|---|---|---|---|\n" + "\n".join(lines) + "\n"
        )
        if sample["left_out"]:
            parts.append(f"Left out: {sample['left_out']}.\n")
    return "\n".join(parts)


DRAWN = (OURS, "GERBLS", "astropy", "TLS")


def draw(figures: Figures, folder: Path) -> None:
    """Recovered share by SNR and by period, a panel a sample."""
    _draw_curves(figures, "snr", "SNR in white noise", folder / SNR_FIGURE)
    _draw_curves(figures, "period", "period, d", folder / PERIOD_FIGURE)


def _draw_curves(figures: Figures, name: str, label: str, path: Path) -> None:
    from benchmarks.figures import bare_axes, colour_of, new_figure, plain_log, save

    columns = min(4, len(figures))
    figure, axes = new_figure(math.ceil(len(figures) / columns), columns, height=2.6, width=2.9 * columns, sharey=True)
    for ax, sample in zip(axes.flat, figures.values(), strict=False):
        edges = np.array(sample["edges"][name])
        middles = (edges[1:] + edges[:-1]) / 2 if name == "snr" else np.sqrt(edges[1:] * edges[:-1])
        rows = [row for row in sample["rows"] if row["name"] in DRAWN]
        for place, row in enumerate(rows):
            shift = (place - (len(rows) - 1) / 2) * 0.012
            spots = (
                middles + shift * (edges[-1] - edges[0]) if name == "snr" else middles * (edges[-1] / edges[0]) ** shift
            )
            _draw_curve(ax, spots, row["curves"][name], row["name"], colour_of(row["name"]))
        if name == "period":
            ax.set_xscale("log")
            plain_log(ax.xaxis)
        ax.set_ylim(-0.02, 1.02)
        ax.set_title(sample["title"], loc="left")
        bare_axes(ax)
    for ax in axes.flat[len(figures) :]:
        ax.set_axis_off()
    handles: dict[str, Any] = {}
    for ax in axes.flat:
        handles |= {line_label: line for line, line_label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=len(handles), frameon=False)
    for ax in axes[:, 0]:
        ax.set_ylabel("recovered")
    figure.supxlabel(label, fontsize=9)
    save(figure, path)


def _draw_curve(ax: Any, spots: Floats, curve: Sequence[Sequence[int]], name: str, colour: str) -> None:
    shares = np.array([found / trials if trials else np.nan for found, trials in curve])
    bounds = np.array([wilson(found, trials) for found, trials in curve])
    errors = np.abs(np.stack([shares - bounds[:, 0], bounds[:, 1] - shares]))
    ours = name == OURS
    ax.errorbar(
        spots,
        shares,
        np.where(np.isfinite(errors), errors, 0),
        color=colour,
        label=name,
        marker="o",
        markersize=4 if ours else 3,
        linewidth=2 if ours else 1.2,
        elinewidth=0.8,
        zorder=3 if ours else 2,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", nargs="*", choices=[*SAMPLES, []], help="all unless given")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--stars", type=int, help="at most so many a method and sample")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="measure these alone")
    parser.add_argument("--images", type=Path, help="draw the figures into this folder")
    asked = parser.parse_args()
    figures = measure(workers=asked.workers, stars=asked.stars, keys=asked.samples, methods=asked.methods)
    print(render(figures))
    if asked.images:
        draw(figures, asked.images)


if __name__ == "__main__":
    main()
