"""Single simulated light curves as CSV and FITS, without an archive around them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from survey.errors import UsageError
from survey.stars import inject
from survey.stars.simulate.archive import DEMO_SEED
from survey.stars.simulate.formats import table_file
from survey.stars.simulate.stars import Values

SAMPLES = ("normal_star", "exoplanet_transit", "stellar_flares", "noisy_outliers", "complex_system")

_SAMPLE_PERIOD = 15.0


def simulate_samples(
    folder: str | Path, formats: Sequence[str] = ("csv", "fits"), n: int = 5, seed: int = DEMO_SEED
) -> list[Path]:
    """Write `n` single light curves of 90 days at half an hour, the kinds of `SAMPLES` in turn, and return the paths.

    CSV with the columns time, flux, flux_err; FITS with a LIGHTCURVE table of TIME, FLUX, FLUX_ERR (BTJD, relative
    flux). `exoplanet_transit` and `complex_system` have a transit every 15 days. Raises UsageError for an unknown
    format.
    """
    unknown = sorted(set(formats) - SAMPLE_FORMATS.keys())
    if unknown:
        raise UsageError(f"no sample format {', '.join(unknown)}: choose from {', '.join(SAMPLE_FORMATS)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(n):
        kind, turn = SAMPLES[number % len(SAMPLES)], number // len(SAMPLES)
        name = kind if turn == 0 else f"{kind}_{turn + 1}"
        sample = draw_sample(kind, np.random.default_rng([seed, number]))
        for suffix in formats:
            path = folder / f"{name}.{suffix}"
            path.write_bytes(SAMPLE_FORMATS[suffix](name, sample.time, sample.flux, sample.flux_err))
            paths.append(path)
    return paths


@dataclass(frozen=True)
class Sample:
    """One simulated light curve (n,), and of each cadence what the events in it add to or take from the flux."""

    time: Values
    flux: Values
    flux_err: Values
    events: Values


def draw_sample(kind: str, rng: np.random.Generator) -> Sample:
    """One of SAMPLES: 90 days at half an hour, about 1."""
    time = 2000.0 + np.arange(0, 90, 1 / 48)
    noise = 0.002 if kind == "noisy_outliers" else 0.0005
    flux, quiet = np.ones(len(time)), np.ones(len(time))
    if kind in ("stellar_flares", "complex_system"):
        quiet *= inject.rotation(time, period=rng.uniform(4, 9), amplitude=0.002, rng=rng)
        flux = quiet + inject.draw_flares(time, rate=0.15, smallest=0.01, rng=rng)
    if kind in ("exoplanet_transit", "complex_system"):
        epoch = time[0] + rng.uniform(2, 13)
        flux *= inject.small_planet_transit(
            time, period=_SAMPLE_PERIOD, epoch=epoch, duration=0.2, radius_ratio=0.1, exposure_s=1800.0
        )
    events = flux - quiet
    flux += inject.red_noise(time, scatter=0.2 * noise, timescale=0.3, rng=rng)
    flux += noise * rng.standard_normal(len(time))
    if kind in ("noisy_outliers", "complex_system"):
        strays = rng.choice(len(time), len(time) // 100, replace=False)
        jumps = noise * rng.choice((-1, 1), len(strays)) * rng.uniform(5, 20, len(strays))
        flux[strays] += jumps
        events[strays] += jumps
    return Sample(time, flux, np.full(len(time), noise), events)


def _sample_csv(name: str, time: Values, flux: Values, error: Values) -> bytes:
    rows = (f"{t:.8f},{f:.8f},{e:.8f}" for t, f, e in zip(time, flux, error, strict=True))
    return ("time,flux,flux_err\n" + "\n".join(rows) + "\n").encode()


def _sample_fits(name: str, time: Values, flux: Values, error: Values) -> bytes:
    return table_file(
        {"TIME": time, "FLUX": flux, "FLUX_ERR": error},
        {"OBJECT": name, "TELESCOP": "TESS", "BJDREFI": 2457000, "BJDREFF": 0.0, "TIMEUNIT": "d", "TIMESYS": "TDB"},
        {"TIME": "BJD - 2457000, days"},
    )


SAMPLE_FORMATS: dict[str, Callable[[str, Values, Values, Values], bytes]] = {"csv": _sample_csv, "fits": _sample_fits}
