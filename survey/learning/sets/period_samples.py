"""Samples of light curves in a simple form: one npz each, `arr_0` the flux, `arr_1` the weights of the bins of period.

    DIR/positive/KIC_11446443.npz   one folder for each origin, as configured
    DIR/positive.csv                target_id, file, label, cadence_s, periods, ... a row a sample

`arr_0` is flux over its trend, about 1, at even steps of CADENCE_S from the first cadence on; where nothing was
observed it is 1. What such files say can be made into a set again: `read_samples`.
"""

import csv
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from survey.errors import SurveyError, UsageError
from survey.learning.sets.period_lights import Planet
from survey.learning.sets.periods import FINER, ORIGINS, PeriodsConfig, Row, is_covered
from survey.signals.search.profile import make_profile
from survey.stars.lightcurve import DAY_S, LightCurve

Floats = NDArray[np.float64]

CADENCE_S: Final = 1765.5
"""Seconds between the points of a sample: Kepler's long cadence."""

COLUMNS: Final = ("target_id", "file", "label", "made_from", "cadence_s", "n_cadences", "scatter_ppm", "periods")
"""Of the CSV beside the samples; periods in days, with blanks between."""


class SampleWriter:
    """Writes samples as the rows come, and the CSVs at the end."""

    def __init__(self, folder: Path, config: PeriodsConfig) -> None:
        self._folder, self._config = folder, config
        self._lists: dict[str, list[dict[str, Any]]] = {origin: [] for origin in ORIGINS}
        for origin in ORIGINS:
            _place(folder, config, origin)

    def add(self, row: Row, light: LightCurve, flat: Floats) -> None:
        """One sample: the first `lightcurve_length` points."""
        origin = row["origin"]
        name = f"{row['target_id'].replace(' ', '_')}_{len(self._lists[origin]):05d}.npz"
        path = _place(self._folder, self._config, origin) / name
        flux = even_flux(light.time, flat, light.cadence_s, self._config.lightcurve_length)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(path, flux, np.asarray(row["weights"], np.float64))
        except OSError as error:
            raise SurveyError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error
        listed = {name: row[name] for name in ("target_id", "label", "made_from", "n_cadences", "scatter_ppm")}
        periods = " ".join(f"{planet['period']:.9g}" for planet in row["planets"])
        place = path.relative_to(self._folder).as_posix()
        self._lists[origin].append({**listed, "file": place, "cadence_s": CADENCE_S, "periods": periods})

    def finish(self) -> int:
        """Writes the CSVs and says how many samples there are."""
        for origin, rows in self._lists.items():
            part = self._folder / f".{origin}.csv.tmp"
            self._folder.mkdir(parents=True, exist_ok=True)
            with part.open("w", newline="") as file:
                sheet = csv.DictWriter(file, COLUMNS)
                sheet.writeheader()
                sheet.writerows(rows)
            os.replace(part, self._folder / f"{origin}.csv")
        return sum(map(len, self._lists.values()))


def _place(folder: Path, config: PeriodsConfig, origin: str) -> Path:
    """The folder of the samples of an origin. Raises UsageError where it does not lie inside of `folder`."""
    inside = PurePosixPath(getattr(config, origin))
    if inside.is_absolute() or ".." in inside.parts or not inside.parts:
        raise UsageError(f"{origin}: {inside} is no folder inside of {folder}")
    return folder / inside


def even_flux(time: Floats, flat: Floats, cadence_s: float, length: int) -> NDArray[np.float32]:
    """(length,) mean flux at steps of CADENCE_S, or of the light's own cadence where that is longer; 1 where there is
    none."""
    step = max(CADENCE_S, cadence_s) / DAY_S
    known = np.isfinite(flat)
    cell = np.floor((time[known] - time[0]) / step + 0.5).astype(np.int64)
    inside = cell < length
    sums = np.bincount(cell[inside], flat[known][inside], length)
    counts = np.bincount(cell[inside], minlength=length)
    return np.where(counts > 0, sums / np.maximum(counts, 1), 1.0).astype(np.float32)


def read_samples(folder: Path, config: PeriodsConfig) -> Iterator[Row]:
    """Rows of `periods.SCHEMA` from samples. Stars are named by the CSVs, where there are none by the files.

    Raises UsageError for files that are no samples, and for weights of other bins than the configured ones.
    """
    fine = config.bins().finer(FINER)
    listed = {row["file"]: row for origin in ORIGINS for row in _read_list(folder / f"{origin}.csv")}
    for origin in ORIGINS:
        for path in sorted(_place(folder, config, origin).glob("*.npz")):
            facts = listed.get(path.relative_to(folder).as_posix(), {})
            flux, weights = _read_sample(path, config)
            cadence = float(facts.get("cadence_s") or CADENCE_S)
            time = np.arange(len(flux)) * cadence / DAY_S
            observed = np.isfinite(flux) & (flux != 1)
            profile = make_profile(time[observed], flux[observed], cadence, fine)
            if profile is None:
                continue
            periods = [float(period) for period in (facts.get("periods") or "").split()]
            yield {
                "target_id": facts.get("target_id") or path.stem,
                "other_names": [],
                "label": "1" if weights.any() else "0",
                "origin": origin,
                "made_from": facts.get("made_from") or "as observed",
                "profile": profile.values.ravel(),
                "weights": weights * is_covered(profile),
                "planets": [vars(Planet(period)) for period in periods],
                "baseline_d": profile.baseline_d,
                "cadence_s": cadence,
                "scatter_ppm": profile.scatter_ppm,
                "n_cadences": int(observed.sum()),
            }


def _read_list(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _read_sample(path: Path, config: PeriodsConfig) -> tuple[Floats, Floats]:
    """(flux about 1, weights) of a sample; a flux about 0 is taken for one whose level was taken away."""
    try:
        with np.load(path, allow_pickle=False) as file:
            flux, weights = (np.asarray(file[name], float) for name in ("arr_0", "arr_1"))
    except (ValueError, OSError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path.name}: not a sample with arr_0 and arr_1 ({error})") from None
    count = config.distribution_params.period.bins
    if flux.ndim != 1 or weights.shape != (count,):
        raise UsageError(f"{path.name}: arr_1 has the shape {weights.shape}, the configuration has {count} bins")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and (weights <= 1).all()):
        raise UsageError(f"{path.name}: weights must lie in 0..1")
    known = flux[np.isfinite(flux)]
    if len(known) and abs(np.median(known)) < ABOUT_ZERO:
        flux = flux + 1.0
    return flux, weights


ABOUT_ZERO: Final = 0.5
