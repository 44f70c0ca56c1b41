"""What it costs to vet and to draw: milliseconds a star, seconds a sheet, beside exovetter.

The archive's TESS 2-minute and Kepler stars are searched first; then each stage after the search is timed in CPU time
on one core, in rounds. exovetter runs the checks that it shares with ours (odd and even depths, ModShift, SWEET) on the
same detrended light curves and signals.

    python -m benchmarks vetting
"""

import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.machine import ARCHIVE, one_thread
from survey.config import Config
from survey.runs.stages import (
    Row,
    flat_curve,
    make_describe,
    make_detrend,
    make_fetch,
    make_pixels,
    make_search,
    make_vet,
    rows_of,
    targets_table,
    tce_of,
)
from survey.signals.search import FlatCurve, Tce
from survey.signals.variability import measure_variability
from survey.stars.inject import trapezoid_transit
from survey.stars.sources import open_source

ROUNDS = 3
SHEETS = 3
"""Sheets drawn of each kind."""

KINDS = {"TESS 2 min": ("tess", 120.0), "Kepler 30 min": ("kepler", 1765.5)}

Figures = dict[str, Any]


def measure(archive: Path = ARCHIVE, rounds: int = ROUNDS) -> list[Figures]:
    """One row of figures for each kind of light curve."""
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [_measure_kind(kind, archive, rounds) for kind in KINDS]


def _measure_kind(kind: str, archive: Path, rounds: int) -> Figures:
    mission, cadence = KINDS[kind]
    config = Config()
    source = open_source(f"mirror:{archive}", config)
    fetched = make_fetch(config, source)(targets_table(source.targets(mission)))
    near = [abs((row["cadence_s"] or 0.0) - cadence) < 0.1 * cadence for row in rows_of(fetched)]
    found = make_search(config)(make_detrend(config)(fetched.filter(pa.array(near))))
    rows = rows_of(found)
    signals = [(row, flat_curve(row, config), tce_of(tce)) for row in rows for tce in row["tces"]]
    vetted = make_vet(config)(found)
    located = make_pixels(config, source)(vetted)
    described = rows_of(make_describe(config)(located))
    return {
        "kind": kind,
        "stars": len(rows),
        "signals": len(signals),
        "variability_ms": _milliseconds(lambda: [_vary(row) for row in rows], len(rows), rounds),
        "vet_ms": _milliseconds(lambda: make_vet(config)(found), len(rows), rounds),
        "describe_ms": _milliseconds(lambda: make_describe(config)(located), len(rows), rounds),
        "exovetter_ms": _milliseconds(
            lambda: [_exovet(curve, tce) for _, curve, tce in signals if tce.period], len(rows), 1
        ),
        "sheet_s": _sheet_seconds(described, config),
    }


def _milliseconds(work: Callable[[], object], count: int, rounds: int) -> float:
    """Median CPU time of one of `count`, after a first run that compiles."""
    work()
    spent = []
    for _ in range(rounds):
        begin = time.process_time()
        work()
        spent.append(time.process_time() - begin)
    return 1e3 * statistics.median(spent) / count


def _vary(row: Row) -> object:
    counts = [product["n_cadences"] for product in row["products"]]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    return measure_variability(row["time"], row["flux"], row["flux_err"], starts)


def _exovet(curve: FlatCurve, tce: Tce) -> None:
    """The checks of exovetter that ours has too, by the functions behind its vetters."""
    from exovetter.modshift.modshift import compute_modshift_metrics
    from exovetter.odd_even import calc_odd_even
    from exovetter.sweet import sweet

    period, epoch, duration = tce.ephemeris
    time, flux = curve.time.copy(), curve.flux.astype(np.float64) - 1
    model = trapezoid_transit(time, period=period, epoch=epoch, duration=duration, depth=tce.depth_ppm / 1e6) - 1
    calc_odd_even(time, flux, period, epoch, duration)
    compute_modshift_metrics(time, flux, model, period, epoch, 24 * duration, show_plot=False)
    sweet(time, flux, period, epoch, duration)


def _sheet_seconds(described: list[Row], config: Config) -> float:
    """Median wall time of a sheet, PNG and PDF and JSON, after a first one that loads the fonts."""
    from survey.runs.sheet import gather_evidence, write_sheet

    chosen = [(row, tce) for row in described for tce in row["tces"] if tce["is_candidate"]][: SHEETS + 1]
    spent = []
    with TemporaryDirectory() as folder:
        for number, (row, tce) in enumerate(chosen):
            begin = time.perf_counter()
            write_sheet(gather_evidence(row, tce, config), Path(folder) / f"{number}.png")
            spent.append(time.perf_counter() - begin)
    return statistics.median(spent[1:])


def render(figures: list[Figures]) -> str:
    lines = [
        "## Vetting\n",
        "CPU milliseconds a star on one core after the search, all signals together. *variation*: the star's own",
        "period and flares; *checks*: all of them, on every signal; *verdict, views*: gate, class, folds. Beside",
        "them exovetter's odd and even depths, ModShift and SWEET on the same light curves and signals, and",
        "the wall time of a sheet (PNG, PDF and JSON).\n",
        "| light curves | stars | signals | variation | checks | verdict, views | exovetter | a sheet |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in figures:
        checks = row["vet_ms"] - row["variability_ms"]
        lines.append(
            f"| {row['kind']} | {row['stars']} | {row['signals']} | {row['variability_ms']:.1f} ms | {checks:.1f} ms | "
            f"{row['describe_ms']:.1f} ms | {row['exovetter_ms']:,.0f} ms | {row['sheet_s']:.1f} s |"
        )
    return "\n".join(lines) + "\n"
