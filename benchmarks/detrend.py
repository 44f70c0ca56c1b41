"""Our detrending beside wotan's, on real stars with injected transits: CPU time, depth kept, scatter left.

Boxes of several durations and depths are injected into the TESS 2-minute and Kepler long-cadence stars of the archive.
Both sides see the same flux, the same window and the same holes in time (wotan one stretch at a time, so that it does
not mix products either), on one core and in turns. The depth kept is what the detrended curve has less of than without
the boxes, so the star's own noise and signals drop out.

    python -m benchmarks.detrend [--json FILE]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import ARCHIVE, one_thread
from survey.config import Config
from survey.signals.detrend import detrend, robust_scatter, split_at_gaps
from survey.signals.ephemeris import Ephemeris, in_transit
from survey.stars.lightcurve import LightCurve
from survey.stars.sources import fetch, open_source

Trend = Callable[[LightCurve, NDArray[np.float32], float], NDArray[np.floating]]
Figures = dict[str, Any]

WINDOWS = {"TESS 2 min": 1.0, "Kepler 30 min": 2.5}
SHARES = (1 / 24, 1 / 8, 1 / 3)
"""Durations of the boxes, in windows."""
DEPTHS = (1.0, 5.0)
"""Depths of the boxes, in units of a cadence's noise."""
ROUNDS = 3
CONFIG = Config()


def ours(lc: LightCurve, flux: NDArray[np.float32], window: float) -> NDArray[np.floating]:
    return detrend(lc.time, flux, lc.starts(), CONFIG.detrend, window_days=window)


def wotan(lc: LightCurve, flux: NDArray[np.float32], window: float) -> NDArray[np.floating]:
    from wotan import flatten  # type: ignore[import-untyped]

    parts = split_at_gaps(lc.time, lc.starts(), CONFIG.detrend.gap_days)
    options = {"method": "biweight", "window_length": window, "return_trend": True}
    return np.concatenate([flatten(lc.time[part], flux[part], **options)[1] for part in parts])


SIDES: dict[str, Trend] = {"ours": ours, "wotan": wotan}


def read_stars(archive: Path) -> dict[str, list[LightCurve]]:
    """The archive's light curves by kind; other cadences are left out."""
    source = open_source(f"mirror:{archive}", CONFIG)
    kinds: dict[str, list[LightCurve]] = {kind: [] for kind in WINDOWS}
    for mission, kind, cadence in (("tess", "TESS 2 min", 120), ("kepler", "Kepler 30 min", 1765)):
        for target in source.targets(mission):
            lc = fetch(target, source, CONFIG)
            if abs(lc.cadence_s - cadence) < 0.1 * cadence:
                kinds[kind].append(lc)
    return kinds


def measure(archive: Path = ARCHIVE) -> list[Figures]:
    """One row of medians over the stars for each kind of light curve."""
    with one_thread():
        return [_measure_kind(kind, stars) for kind, stars in read_stars(archive).items() if stars]


def _measure_kind(kind: str, stars: list[LightCurve]) -> Figures:
    window = WINDOWS[kind]
    for trend in SIDES.values():
        trend(stars[0], stars[0].flux, window)  # compiles
    rows = [_measure_star(lc, window) for lc in stars]
    longest = max(range(len(stars)), key=lambda k: len(stars[k].time))
    figures: Figures = {
        "kind": kind,
        "stars": len(stars),
        "window_d": window,
        "ratio": statistics.median(row["wotan"]["ms"] / row["ours"]["ms"] for row in rows),
        "longest": {"cadences": len(stars[longest].time)} | {side: rows[longest][side]["ms"] for side in SIDES},
    }
    for side in SIDES:
        figures[side] = {
            "ms": statistics.median(row[side]["ms"] for row in rows),
            "scatter_ppm": statistics.median(row[side]["scatter_ppm"] for row in rows),
            "kept": {
                name: statistics.median(row[side]["kept"][name] for row in rows) for name in rows[0][side]["kept"]
            },
        }
    return figures


def _measure_star(lc: LightCurve, window: float) -> dict[str, Figures]:
    noise = robust_scatter(lc.flux)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    plain = {}
    for _ in range(ROUNDS):
        for side, trend in SIDES.items():
            begin = time.process_time()
            plain[side] = trend(lc, lc.flux, window)
            seconds[side].append(time.process_time() - begin)
    found: dict[str, Figures] = {
        side: {"ms": 1e3 * min(seconds[side]), "scatter_ppm": hourly_scatter(lc, plain[side]), "kept": {}}
        for side in SIDES
    }
    for share in SHARES:
        orbit = Ephemeris(2.3 * window, lc.time[0] + 0.9 * window, share * window)
        inside = in_transit(lc.time, orbit)
        for depth in DEPTHS:
            boxed = (lc.flux * (1 - depth * noise * inside)).astype(np.float32)
            for side, trend in SIDES.items():
                lost = (lc.flux / plain[side] - boxed / trend(lc, boxed, window))[inside]
                found[side]["kept"][f"{24 * share * window:g} h, {depth:g} sigma"] = float(np.nanmean(lost)) / (
                    depth * noise
                )
    return found


def hourly_scatter(lc: LightCurve, trend: NDArray[np.floating]) -> float:
    """Scatter of the detrended flux averaged over hours, ppm, from the median absolute deviation."""
    flat = lc.flux / trend
    good = np.isfinite(flat)
    _, hours = np.unique(np.floor(24 * lc.time[good]), return_inverse=True)
    means = np.bincount(hours, flat[good]) / np.bincount(hours)
    return float(1e6 * 1.4826 * np.median(np.abs(means - np.median(means))))


def render(figures: list[Figures]) -> str:
    """The figures as a table in Markdown."""
    parts = [
        "Biweight in a window of time, beside `wotan.flatten(method='biweight')` on the same real light curves.\n"
        "Depth kept: share of injected boxes that is left, by duration and depth (in units of a cadence's noise).\n"
        "Medians over stars.\n"
    ]
    for row in figures:
        longest = row["longest"]
        lines = [("CPU ms a star", "{:.2f}", [row[side]["ms"] for side in SIDES])]
        lines += [(f"CPU ms, longest ({longest['cadences']} cadences)", "{:.1f}", [longest[side] for side in SIDES])]
        lines += [("scatter over an hour, ppm", "{:.0f}", [row[side]["scatter_ppm"] for side in SIDES])]
        lines += [
            (f"kept of {name}", "{:.3f}", [row[side]["kept"][name] for side in SIDES]) for name in row["ours"]["kept"]
        ]
        table = "\n".join(
            f"| {name} | {' | '.join(form.format(value) for value in both)} |" for name, form, both in lines
        )
        parts.append(
            f"{row['kind']}, {row['stars']} stars, window {row['window_d']:g} d: "
            f"**{row['ratio']:.1f} times** less CPU time.\n\n"
            f"| | survey | wotan |\n|---|---|---|\n{table}\n"
        )
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    asked = parser.parse_args()
    figures = measure()
    print(render(figures))
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
