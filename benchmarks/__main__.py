"""Run the benchmarks and write results.json and BENCHMARKS.md: `python -m benchmarks [--quick] [NAME...]`.

Benchmarks that are not run again keep their old figures, with the date they were taken. A quick look prints and writes
nothing.
"""

import argparse
import datetime
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import detrend, end_to_end, growth, learning, recovery, scale, search, serving, targets, vetting
from benchmarks.machine import describe_machine

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.json"
REPORT = FOLDER.parent / "BENCHMARKS.md"
IMAGES = FOLDER.parent / "docs" / "images"


@dataclass(frozen=True)
class Benchmark:
    """measure: quick or not -> figures; render: figures -> Markdown; draw: figures and a folder -> images in it."""

    measure: Callable[[bool], Any]
    render: Callable[[Any], str]
    draw: Callable[[Any, Path], None] | None = None


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(BENCHMARKS)}; all unless given")
    parser.add_argument("--quick", action="store_true", help="a short look, where there is one")
    parser.add_argument("--draw", action="store_true", help="measure nothing: report and images from results.json")
    asked = parser.parse_args(arguments)
    unknown = set(asked.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: choose from {', '.join(BENCHMARKS)}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in asked.names or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        if not asked.draw:
            print(f"{name} ...", flush=True)
            figures = benchmark.measure(asked.quick)
            if asked.quick:
                print(benchmark.render(figures))
                continue
            results[name] = {
                "date": datetime.date.today().isoformat(),
                "machine": describe_machine(),
                "figures": figures,
            }
            RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        if benchmark.draw and name in results:
            benchmark.draw(results[name]["figures"], IMAGES)
    if not asked.quick:
        REPORT.write_text(render(results))


def render(results: dict[str, Any]) -> str:
    """BENCHMARKS.md from the results."""
    parts = ["# Benchmarks\n", "Written by `make bench`; the figures stand in `benchmarks/results.json`.\n"]
    for name, benchmark in BENCHMARKS.items():
        if name in results:
            parts += [benchmark.render(results[name]["figures"]), _measured_on(results[name])]
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


def _detrend(figures: list[dict[str, Any]]) -> str:
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


BENCHMARKS = {
    "search": Benchmark(search.measure, search.render, search.draw),
    "growth": Benchmark(growth.measure, growth.render, growth.draw),
    "recovery": Benchmark(recovery.measure, recovery.render, recovery.draw),
    "end_to_end": Benchmark(lambda _: end_to_end.measure(), _end_to_end),
    "detrend": Benchmark(lambda _: detrend.measure(), _detrend),
    "vetting": Benchmark(lambda _: vetting.measure(), vetting.render),
    "learning": Benchmark(learning.measure, learning.render),
    "scale": Benchmark(lambda _: scale.measure(), _scale),
    "targets": Benchmark(lambda quick: targets.measure(targets.QUICK if quick else targets.SIZES), targets.render),
    "serving": Benchmark(lambda _: serving.measure(), serving.render),
}


if __name__ == "__main__":
    main()
