"""What a plot of a star needs, as JSON values: its light with what is strange in it, the spectrum, and the folds.

Everything is rounded to less than a screen can show; what is not finite is null. Flux is about 1 everywhere.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from survey.config import Config
from survey.runs import scores, stages
from survey.runs.exports import plain
from survey.runs.sheet.evidence import Evidence, fold_signal, measure_power
from survey.runs.sheet.folds import Bins, hours_from
from survey.runs.sheet.words import period as period_words
from survey.runs.sheet.words import verdict
from survey.runs.stages import Row

if TYPE_CHECKING:
    from survey.learning.anomaly import Anomalies

Floats = NDArray[np.floating]
Flags = NDArray[np.bool_]
Places = NDArray[np.int64]

MOST_POINTS: Final = 20_000
"""Of the light; more are averaged in time."""

MINUTES: Final = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 75, 90, 120, 150, 180, 240, 360, 720, 1440)
"""Widths of those averages: the first that leaves few enough."""

MOST_SIGNALS: Final = 10

MOST_IN_FOLD: Final = 3000
"""Cadences of a fold about a transit; of more, every so many-th is shown. Bins hold them all."""

MODEL_POINTS: Final = 181

TIME_DIGITS: Final = 6
FLUX_DIGITS: Final = 7
HOUR_DIGITS: Final = 4
PHASE_DIGITS: Final = 5
POWER_DIGITS: Final = 3


def plot_values(row: Row, config: Config) -> dict[str, Any]:
    """The plot of a star whose light was searched, with everything that the service knows to draw."""
    curve = stages.flat_curve(row, config)
    power = measure_power(curve, None, config)
    ordered = sorted(row["tces"] or (), key=lambda tce: (not tce["is_candidate"], tce["number"]))
    return plot_light(row, find_as_in_sweep(row, config)) | {
        "spectrum": None
        if power is None
        else {"period": rounded(power.period, TIME_DIGITS), "power": rounded(power.power, POWER_DIGITS)},
        "signals": [_signal(fold_signal(row, tce, config, curve)) for tce in ordered[:MOST_SIGNALS]],
    }


def plot_light(row: Row, found: "tuple[Anomalies, Floats] | None") -> dict[str, Any]:
    """The same without spectrum and signals. found: what is strange, and the times of the light it was found in."""
    time, flux, trend = (np.asarray(row[name], np.float64) for name in ("time", "flux", "trend"))
    minutes = choose_minutes(time)
    place = np.arange(len(time)) if minutes is None else bins_of(time, minutes)
    return {
        "time_zero": row["time_zero"],
        "cadence_s": row["cadence_s"],
        "binned_min": minutes,
        "light": {
            "time": rounded(average(time, place), TIME_DIGITS),
            "flux": rounded(average(flux, place), FLUX_DIGITS),
            "trend": rounded(average(trend, place), FLUX_DIGITS),
        },
        "anomalies": None if found is None else _anomalies(*found, time, place),
        "spectrum": None,
        "signals": [],
    }


def find_as_in_sweep(row: Row, config: Config) -> "tuple[Anomalies, Floats] | None":
    """What the configured model finds in the light as a sweep shows it: with the trend before any signal was known.

    The same numbers as in the row, and beside them what each stretch looks like. None without a model.
    """
    from survey.learning.anomaly import find_anomalies

    model = next((model for model in scores.load_models(config.score) if model.name == "anomaly"), None)
    if model is None:
        return None
    light = stages.light_of({**row, "trend": stages.first_trend(row, config)})
    return find_anomalies(model.artifact, row["target_id"], light.time, light.flat, light.cadence_s), light.time


def _anomalies(found: "Anomalies", seen: Floats, time: Floats, place: Places) -> dict[str, Any]:
    """seen: times that were looked at, some of `time`; place: of each of `time` in what is drawn."""
    return {
        "score": found.score,
        "intervals": plain([asdict(part) for part in found.intervals]),
        "points": np.unique(place[np.isin(time, seen[found.flagged])]).tolist(),
    }


# Light


def choose_minutes(time: Floats) -> int | None:
    """The width of the averages that leave at most MOST_POINTS; None where that many are not there."""
    if len(time) <= MOST_POINTS:
        return None
    return next((width for width in MINUTES if bins_of(time, width)[-1] < MOST_POINTS), MINUTES[-1])


def bins_of(time: Floats, minutes: int) -> Places:
    """(d,) the number of the bin that each time lies in, empty bins not counted; time: (d,) days, rising."""
    cell = np.floor((time - time[0]) * (1440.0 / minutes)).astype(np.int64)
    numbers: Places = np.concatenate([[0], np.cumsum(np.diff(cell) != 0)])
    return numbers


def average(values: Floats, place: Places) -> Floats:
    """Means of what is finite in each bin, NaN where nothing is."""
    known = np.isfinite(values)
    count = int(place[-1]) + 1 if len(place) else 0
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Floats = np.bincount(place[known], values[known], count) / np.bincount(place[known], minlength=count)
    return means


# Signals


def _signal(evidence: Evidence) -> dict[str, Any]:
    tce = evidence.tce
    assert tce is not None
    wide = evidence.wide
    return {
        "number": tce["number"],
        "label": _label(tce),
        **{name: tce[name] for name in ("period", "epoch", "duration_h", "depth_ppm", "is_candidate")},
        "close": _close(evidence),
        "wide": None if wide is None else {"phase": rounded(wide.x, PHASE_DIGITS), **_means(wide)},
    }


def _label(tce: Mapping[str, Any]) -> str:
    """TCE 1, 3.45678 d: candidate"""
    return f"TCE {tce['number']}, {period_words(tce)}: {verdict(tce)[0].lower()}"


def _close(evidence: Evidence) -> dict[str, Any]:
    assert evidence.orbit is not None
    assert evidence.alone is not None
    assert evidence.close is not None
    assert evidence.model is not None
    hours, flux = hours_from(evidence.alone, evidence.orbit, evidence.orbit.epoch, evidence.reach)
    shown = slice(None, None, 1 + (len(hours) - 1) // MOST_IN_FOLD if len(hours) else 1)
    line = np.linspace(-evidence.reach, evidence.reach, MODEL_POINTS)
    return {
        "hours": rounded(hours[shown], HOUR_DIGITS),
        "flux": _from_ppm(flux[shown]),
        "bins": {"hours": rounded(evidence.close.x, HOUR_DIGITS), **_means(evidence.close)},
        "model": {"hours": rounded(line, HOUR_DIGITS), "flux": _from_ppm(evidence.model.at(line))},
    }


def _means(bins: Bins) -> dict[str, Any]:
    return {"flux": _from_ppm(bins.mean), "error": rounded(1e-6 * bins.error, FLUX_DIGITS + 2)}


def _from_ppm(flux: Floats) -> list[float | None]:
    return rounded(1.0 + 1e-6 * flux, FLUX_DIGITS)


def rounded(values: Any, digits: int) -> list[float | None]:
    """As plain numbers of so many decimals; null for what is not finite."""
    numbers = np.round(np.asarray(values, np.float64), digits)
    found: list[float | None] = numbers.tolist()
    if np.isfinite(numbers).all():
        return found
    return [number if known else None for number, known in zip(found, np.isfinite(numbers).tolist(), strict=True)]
