"""Run the benchmarks and write benchmarks/results.json and BENCHMARKS.md: `python -m benchmarks [NAME...]`.

Figures that are not measured again keep their old values, with the date they were taken.
"""

import datetime
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import detrend, end_to_end, scale
from benchmarks.machine import describe_machine

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.json"
REPORT = FOLDER.parent / "BENCHMARKS.md"

BENCHMARKS: dict[str, Callable[[], Any]] = {
    "end_to_end": end_to_end.measure,
    "detrend": detrend.measure,
    "scale": scale.measure,
}


def main(names: list[str]) -> None:
    unknown = set(names) - BENCHMARKS.keys()
    if unknown:
        raise SystemExit(f"no benchmark {', '.join(sorted(unknown))}: choose from {', '.join(BENCHMARKS)}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in names or BENCHMARKS:
        print(f"{name} ...", flush=True)
        results[name] = {
            "date": datetime.date.today().isoformat(),
            "machine": describe_machine(),
            "figures": BENCHMARKS[name](),
        }
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    REPORT.write_text(render(results))


def render(results: dict[str, Any]) -> str:
    """BENCHMARKS.md from the results."""
    parts = ["# Benchmarks\n", "Written by `make bench`; the figures stand in `benchmarks/results.json`.\n"]
    renderers = {"end_to_end": _end_to_end, "detrend": _detrend, "scale": _scale}
    for name, renderer in renderers.items():
        if name in results:
            parts += [renderer(results[name]["figures"]), _measured_on(results[name])]
    return "\n".join(parts)


def _measured_on(result: dict[str, Any]) -> str:
    machine = result["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"Measured {result['date']} on {machine['cores']} cores of {machine['processor']}, "
        f"{machine['memory_gb']} GB, Python {machine['python']}, {packages}.\n"
    )


def _end_to_end(figures: dict[str, Any]) -> str:
    ours, rival = figures["ours"], figures["rival"]
    rows = "\n".join(
        f"| {stage} | {ours.get(stage, 0):.1f} | {rival.get(stage, 0):.1f} |"
        for stage in ("read", "detrend", "search", "refine", "all")
    )
    return (
        "## From a file to a searched row\n\n"
        f"{figures['files']} real TESS two-minute light curves, one core, CPU milliseconds a star (median of rounds\n"
        "in which both sides take turns). The other side is the usual script: lightkurve's reader, `flatten` over 101\n"
        "cadences, astropy's box least squares on 2,000 and then 3,000 periods. Ours reads with checksum, detrends,\n"
        "folds all periods once, and refines and measures the best signal.\n\n"
        f"| stage | survey | lightkurve + astropy |\n|---|---|---|\n{rows}\n\n"
        f"**{figures['ratio']:.1f} times** less CPU time.\n"
    )


def _detrend(figures: dict[str, Any]) -> str:
    return "## Detrending\n\n" + detrend.render(figures) + "\n"


def _scale(figures: list[dict[str, Any]]) -> str:
    rows = "\n".join(
        f"| {row['stars']} | {row['seconds']:.0f} | {row['ms_per_star']:.0f} | {row['stars_per_hour']} "
        f"| {row['peak_pss_gb']:.2f} |"
        for row in figures
    )
    return (
        "## A laptop sweep, from 100 to 2,000 stars\n\n"
        "Simulated two-minute light curves (a tenth with a planet), the whole command with Ray, start to merged\n"
        "catalogue, all passes of the search. Memory is the peak of the summed proportional set sizes of all\n"
        "processes.\n\n"
        f"| stars | seconds | ms a star | stars an hour | peak memory (GB) |\n|---|---|---|---|---|\n{rows}\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
