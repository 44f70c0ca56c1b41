"""Simulated archives: stars with known signals, written under the archives' own keys in their own file formats.

`write_archive` makes the demo's mirror: TESS 2-min and Kepler long-cadence light curves with the gaps, flags, offsets
and noise of real ones, and among them the files that a survey stumbles over. `many_stars` is the same for thousands of
plain stars, `simulate_samples` writes single light curves as CSV and FITS. `match_signals` tells what a search brought
back.

Beside the products lie `targets.txt`, `stars.csv` (what each star is) and, written last, `truth.csv` (the signals).
The bytes depend on nothing but the arguments.
"""

from survey.stars.simulate.archive import (
    DEMO_SEED,
    DEMO_STARS,
    KINDS,
    demo_kinds,
    many_stars,
    read_truth,
    write_archive,
)
from survey.stars.simulate.recovery import ALIASES, Match, Signal, match_signals
from survey.stars.simulate.samples import SAMPLE_FORMATS, SAMPLES, Sample, draw_sample, simulate_samples
from survey.stars.simulate.stars import SIGNAL_KINDS, InjectedSignal

__all__ = [
    "ALIASES", "DEMO_SEED", "DEMO_STARS", "KINDS", "SAMPLES", "SAMPLE_FORMATS", "SIGNAL_KINDS", "InjectedSignal",
    "Match", "Sample", "Signal", "demo_kinds", "draw_sample", "many_stars", "match_signals",
    "read_truth", "simulate_samples", "write_archive",
]  # fmt: skip
