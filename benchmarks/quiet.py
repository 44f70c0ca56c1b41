"""Real quiet light curves: stars the catalogues know no signal of, and planet hosts, their transits cut out."""

import csv
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.machine import ARCHIVE
from survey.config import Config
from survey.errors import StarError
from survey.signals.detrend import clip_outliers, detrend
from survey.signals.ephemeris import Ephemeris, in_transit
from survey.signals.search.curve import point_scatter
from survey.stars.lightcurve import LightCurve, take
from survey.stars.sources import fetch, open_source
from survey.stars.targets import Target

VARIABLE = {"9726699", "10002792", "757076", "92873799", "31740375", "404768847", "358108509"}
"""Stars without a catalogued signal that vary, by their own periodogram (README of the real data)."""

NOT_CUT = {"100100827", "11442793"}
"""WASP-18 varies with the period of its planet, which draws it out; transits of Kepler-90 come up to a day off."""

CUT = 2.0
"""Durations about every catalogued transit that are cut out."""

LOUDEST = 2.0
HOURS = 3.0
"""Quiet: averaged over three hours, the detrended flux scatters less than this many times what white noise would."""

MISSIONS = {"tess_spoc_2min": "tess", "kepler_llc": "kepler"}
CATALOGUES = {"tess": "TIC", "kepler": "KIC"}

Row = dict[str, str]


@lru_cache(maxsize=2)
def quiet_curves(kind: str, shortest_baseline: float, archive: Path = ARCHIVE) -> tuple[LightCurve, ...]:
    """One light curve for each sector or quarter; kind: as in the manifest, "tess_spoc_2min" or "kepler_llc"."""
    config = Config()
    source = open_source(f"mirror:{archive}", config)
    signals = _signals(archive.parent / "known_signals.csv", kind)
    found = []
    for star, observation in _quiet_stars(archive.parent / "MANIFEST.csv", kind, signals):
        mission = MISSIONS[kind]
        try:
            lc = fetch(Target(f"{CATALOGUES[mission]} {star}", mission, (observation,)), source, config)
        except StarError:
            continue
        lc = _cut_out(lc, signals.get(star, []))
        if lc.baseline > shortest_baseline and excess_noise(lc, config) < LOUDEST:
            found.append(lc)
    return tuple(found)


def excess_noise(lc: LightCurve, config: Config) -> float:
    """Scatter of the detrended flux averaged over HOURS, over what its point-to-point scatter promises."""
    flat = lc.flux / detrend(lc.time, lc.flux, lc.starts(), config.detrend, window_days=config.detrend.min_window_days)
    usable = np.isfinite(flat)
    usable[usable] = clip_outliers(flat[usable], config.clean.clip_upper_sigma)
    flat = flat[usable].astype(np.float64)
    _, index, counts = np.unique(np.floor(lc.time[usable] * 24 / HOURS), return_inverse=True, return_counts=True)
    means = np.bincount(index, flat - np.mean(flat)) / counts
    full = counts > 0.5 * HOURS * 3600 / lc.cadence_s
    return float(np.std(means[full] * np.sqrt(counts[full])) / point_scatter(flat))


def _signals(path: Path, kind: str) -> dict[str, list[Row]]:
    signals: dict[str, list[Row]] = {}
    for row in csv.DictReader(path.read_text().splitlines()):
        if row["data_kind"] == kind:
            signals.setdefault(row["target_id"], []).append(row)
    return signals


def _quiet_stars(path: Path, kind: str, signals: dict[str, list[Row]]) -> list[tuple[str, int]]:
    """Stars that are left quiet: no binaries, no variables, and no signal that is not where its catalogue says."""
    quiet = []
    for row in csv.DictReader(path.read_text().splitlines()):
        star = row["target_id"]
        if row["kind"] != kind or star in VARIABLE | NOT_CUT or row["label"] not in ("planet", "no_catalogued_signal"):
            continue
        known = signals.get(star, [])
        if (row["label"] == "planet") == bool(known) and all(signal["signal_verified"] == "True" for signal in known):
            quiet.append((star, int(row["observation"])))
    return sorted(quiet)


def _cut_out(lc: LightCurve, signals: list[Row]) -> LightCurve:
    keep = np.ones(len(lc.time), bool)
    for row in signals:
        ephemeris = Ephemeris(float(row["period_d"]), float(row["epoch"]), float(row["duration_h"]) / 24)
        keep &= ~in_transit(lc.time, ephemeris, CUT)
    return take(lc, keep)
