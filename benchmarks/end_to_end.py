"""From a FITS file to a searched row: this program and the predecessors' path, side by side on the same real files.

The rival is what a survey script does today: lightkurve reads and flattens (101 cadences, 3 sigma), astropy's box least
squares searches 2,000 periods and then 3,000 around the peak. Both run on one core, in alternating rounds, and CPU time
is what counts. One pass of the search is timed: the spectrum of every star, its best signal refined and measured.

    python -m benchmarks.end_to_end [ARCHIVE]
"""

import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.machine import ARCHIVE, one_thread
from survey.config import Config
from survey.runs.stages import flat_curve, make_detrend, make_fetch, rows_of, targets_table
from survey.signals.search import numba_engine
from survey.signals.search.find import fold_batch, start_hunt, take_best
from survey.stars.sources import open_source
from survey.stars.targets import Target

ROUNDS = 3
COARSE, FINE, WINDOW = 2000, 3000, 101

DURATIONS = (0.05, 0.10, 0.15, 0.20, 0.25, 0.33)
"""Days: what lightkurve searches unless told otherwise."""

Seconds = dict[str, float]


def tess_targets(archive: Path) -> list[Target]:
    """One target for each 2-minute file, so that both sides read one file at a time."""
    source = open_source(f"mirror:{archive}", Config())
    found = []
    for star in source.targets("tess"):
        sectors = {
            ref.observation for ref in source.find(star) if ref.name.endswith("s_lc.fits") and ref.author == "SPOC"
        }
        found += [Target(star.target_id, "tess", (sector,)) for sector in sorted(sectors)]
    return sorted(set(found), key=lambda target: (target.target_id, target.observations))


def timed(seconds: Seconds, stage: str, work: Callable[[], object]) -> object:
    begin = time.process_time()
    result = work()
    seconds[stage] = seconds.get(stage, 0.0) + time.process_time() - begin
    return result


def run_ours(archive: Path, targets: list[Target]) -> Seconds:
    """CPU seconds of each stage for all targets together."""
    config = Config.model_validate({"run": {"fetch_threads": 1}})
    source = open_source(f"mirror:{archive}", config)
    source.find(targets[0])
    seconds: Seconds = {}
    table = timed(seconds, "read", lambda: make_fetch(config, source)(targets_table(targets)))
    table = timed(seconds, "detrend", lambda: make_detrend(config)(table))
    curves = [flat_curve(row, config) for row in rows_of(table)]
    hunts = timed(seconds, "search", lambda: [start_hunt(curve, config.search) for curve in curves])
    spectra = timed(seconds, "search", lambda: fold_batch(hunts, numba_engine.search_segment))
    timed(
        seconds,
        "refine",
        lambda: [take_best(hunt, found, config.search) for hunt, found in zip(hunts, spectra, strict=True)],
    )
    return seconds


def run_rival(paths: list[Path]) -> Seconds:
    """The predecessors' path over the same files."""
    import lightkurve
    from astropy.timeseries import BoxLeastSquares

    durations = np.array(DURATIONS)
    seconds: Seconds = {}
    for path in paths:
        curve = timed(seconds, "read", lambda path=path: lightkurve.read(path).remove_nans())
        flat = timed(
            seconds,
            "detrend",
            lambda curve=curve: curve.normalize().flatten(window_length=WINDOW).remove_outliers(sigma=3),
        )

        def search(flat=flat) -> object:
            model = BoxLeastSquares(flat.time.value, flat.flux.value, flat.flux_err.value)
            periods = np.geomspace(0.5, 13.0, COARSE)
            peak = int(np.argmax(model.power(periods, durations).power))
            low, high = periods[max(peak - 2, 0)], periods[min(peak + 2, COARSE - 1)]
            return model.power(np.linspace(low, high, FINE), durations)

        timed(seconds, "search", search)
    return seconds


def measure(archive: Path = ARCHIVE, rounds: int = ROUNDS) -> dict[str, object]:
    """Median CPU milliseconds a star and stage of both, and their ratio."""
    targets = tess_targets(archive)
    source = open_source(f"mirror:{archive}", Config())
    names = {ref.name for target in targets for ref in source.find(target) if ref.observation in target.observations}
    paths = sorted(path for path in archive.rglob("*s_lc.fits") if path.name in names and "hlsp" not in path.name)
    sides: dict[str, list[Seconds]] = {"ours": [], "rival": []}
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_ours(archive, targets[:2])
        run_rival(paths[:1])
        for _ in range(rounds):
            sides["ours"].append(run_ours(archive, targets))
            sides["rival"].append(run_rival(paths))
    table = {side: _per_star(found, len(targets)) for side, found in sides.items()}
    return {"stars": len(targets), "files": len(paths), **table, "ratio": table["rival"]["all"] / table["ours"]["all"]}


def _per_star(rounds: list[Seconds], stars: int) -> Seconds:
    stages = {stage: statistics.median(found[stage] for found in rounds) / stars * 1e3 for stage in rounds[0]}
    return stages | {"all": statistics.median(sum(found.values()) for found in rounds) / stars * 1e3}


if __name__ == "__main__":
    import sys

    result = measure(Path(sys.argv[1]) if len(sys.argv) > 1 else ARCHIVE)
    for key, value in result.items():
        print(key, value)
