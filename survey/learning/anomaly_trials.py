"""What detectors of strange windows are worth, on events of known place.

Two trials, both with simulated events: flares, dips and single stray points put into light that the detector had not
seen, beside what that light holds of its own; and whole simulated stars, detrended as a sweep does. Windows and cells
are counted, and beside the detector stands the simplest one there is: so many sigmas from the median.

Both are held twice. The design, statistics, windows and rules, was chosen on the events of one pair of seeds, so that a
detector is measured on those of another; the light of the real stars is the same in both.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from survey.config import AnomalyConfig, DetrendConfig
from survey.learning.metrics import average_precision, bootstrap, decide
from survey.learning.models.anomaly import Detector, Light, above_usual
from survey.signals.detrend import detrend, robust_scatter
from survey.signals.window_stats import Windows, count_votes, measure_windows, stands_out
from survey.stars import inject
from survey.stars.lightcurve import DAY_S
from survey.stars.simulate import SAMPLES, draw_sample

Floats = NDArray[np.float64]
Figures = dict[str, Any]

BASELINE_SIGMA: Final = 4.0
EVENT_SIGMA: Final = 1.0
"""A cell belongs to an event that moves it by at least so much."""

DAYS_PER_EVENT: Final = 10.0
"""Of each of the three kinds."""

SAMPLES_EACH: Final = 4
SAMPLE_WINDOW_DAYS: Final = 1.5
DRAWS: Final = 100


@dataclass(frozen=True)
class Seeds:
    """events: of those put into light; samples: of the simulated stars."""

    events: int
    samples: int


CHOSEN_ON: Final = Seeds(0, 97)
MEASURED_ON: Final = Seeds(5081, 6203)


@dataclass(frozen=True)
class Trial:
    """Light with known events. event: (m,) cells that belong to one; scores: (w,) of the windows."""

    star: str
    windows: Windows
    event: NDArray[np.bool_]
    scores: Floats
    threshold: float

    @property
    def strange(self) -> NDArray[np.bool_]:
        return self.scores >= self.threshold

    def window_rows(self) -> "Rows":
        inside = self.windows.firsts[:, None] + np.arange(self.windows.points)
        return Rows(
            np.full(len(inside), self.star),
            self.event[inside].any(axis=1),
            self.scores,
            self.strange,
            np.abs(self.windows.departures[inside]).max(axis=1),
        )

    def cell_rows(self, vote_threshold: float) -> "Rows":
        """The cells that a window lies over; what does not stand out is never flagged, and has the lowest score."""
        votes, _ = count_votes(self.windows, self.strange)
        seen, standing = np.isfinite(votes), stands_out(self.windows)
        scores = np.where(standing, _mean_over(self.windows, self.scores), self.scores.min(initial=0.0))
        return Rows(
            np.full(int(seen.sum()), self.star),
            self.event[seen],
            scores[seen],
            (standing & (votes >= vote_threshold))[seen],
            np.abs(self.windows.departures[seen]),
        )


@dataclass(frozen=True)
class Rows:
    """(n,): star, whether there is an event, the model's score and whether it flags, and sigmas from the median."""

    stars: NDArray[np.str_]
    labels: NDArray[np.bool_]
    scores: Floats
    flagged: NDArray[np.bool_]
    sigmas: Floats


def _mean_over(windows: Windows, scores: Floats) -> Floats:
    """(m,) mean score of the windows over each cell; NaN where there are none."""
    inside = windows.firsts[:, None] + np.arange(windows.points)
    count = np.bincount(inside.ravel(), minlength=len(windows.times))
    total = np.bincount(inside.ravel(), np.repeat(scores, windows.points), len(windows.times))
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def measure_detectors(
    lights: Sequence[Light], unseen: Mapping[str, Detector], model: Detector, config: AnomalyConfig
) -> Figures:
    """Figures of both trials, and under "chosen_on" those of the events that the design was chosen on.

    unseen: for each star a detector that has not seen it; model: for the simulated stars.
    """
    measured, chosen = (_hold_trials(lights, unseen, model, config, seeds) for seeds in (MEASURED_ON, CHOSEN_ON))
    return {"baseline_sigma": BASELINE_SIGMA} | measured | {"chosen_on": chosen}


def _hold_trials(
    lights: Sequence[Light], unseen: Mapping[str, Detector], model: Detector, config: AnomalyConfig, seeds: Seeds
) -> Figures:
    first = {light.star: light for light in reversed(lights) if light.star in unseen}
    trials = {
        "injected": [
            _try_light(*_inject(light, config, seeds.events), unseen[star], config)
            for star, light in sorted(first.items())
        ],
        "samples": [
            _try_sample(model, kind, k, config, seeds.samples) for kind in SAMPLES for k in range(SAMPLES_EACH)
        ],
    }
    return {
        name: {
            "windows": _figures([trial.window_rows() for trial in each], DRAWS),
            "points": _figures([trial.cell_rows(config.vote_threshold) for trial in each], 0),
        }
        for name, each in trials.items()
    }


def _figures(parts: Sequence[Rows], draws: int) -> Figures:
    """draws: of stars, for the interval of the average precision; 0 for none."""
    columns = [np.concatenate(column) for column in zip(*(vars(part).values() for part in parts), strict=True)]
    rows = Rows(*columns)
    return {
        "rows": len(rows.labels),
        "stars": len(np.unique(rows.stars)),
        "base_rate": float(rows.labels.mean()) if len(rows.labels) else 0.0,
        "model": _judge(rows, rows.scores, rows.flagged.astype(float), 1.0, draws),
        "baseline": _judge(rows, rows.sigmas, rows.sigmas, BASELINE_SIGMA, draws),
    }


def _judge(rows: Rows, scores: Floats, flags: Floats, threshold: float, draws: int) -> Figures:
    precision: Figures = {"value": None}
    if rows.labels.any() and not rows.labels.all():
        precision = {"value": average_precision(rows.labels, scores)}
        if draws:
            precision = asdict(bootstrap(average_precision, rows.labels, scores, rows.stars, draws=draws))
    return decide(rows.labels, flags, threshold).as_row() | {"average_precision": precision}


def _try_light(light: Light, events: Floats, noise: float, detector: Detector, config: AnomalyConfig) -> Trial:
    """events: (d,) of the flux; noise: of a cell."""
    windows = detector.inputs.cut(light)
    held = windows.cells >= 0
    sizes = np.bincount(windows.cells[held], minlength=len(windows.times))
    moved = np.bincount(windows.cells[held], events[held], len(windows.times)) / np.maximum(sizes, 1)
    scores = above_usual(detector.score(measure_windows(windows)))
    threshold = detector.scale.threshold(config.contamination)
    return Trial(light.star, windows, np.abs(moved) >= EVENT_SIGMA * noise, scores, threshold)


def _noise(light: Light, config: AnomalyConfig) -> tuple[float, float]:
    """Of a cadence and of a cell."""
    of_cadence = robust_scatter(light.flat)
    return of_cadence, of_cadence * min(1.0, light.cadence_s / 60 / config.cell_minutes) ** 0.5


def _inject(light: Light, config: AnomalyConfig, seed: int) -> tuple[Light, Floats, float]:
    """The light with events in it, the events, and the noise of a cell."""
    of_star = int.from_bytes(hashlib.sha256(light.star.encode()).digest()[:4])
    rng = np.random.default_rng([seed, of_star])
    cadence_noise, noise = _noise(light, config)
    time, days = light.time, len(light.time) * light.cadence_s / DAY_S
    count = max(1, round(days / DAYS_PER_EVENT))
    events = inject.flares(
        time,
        peaks=rng.choice(time, count),
        amplitudes=noise * _draw(rng, 5, 50, count),
        widths=_draw(rng, 0.01, 0.05, count),
    )
    for middle, depth, duration in zip(
        rng.choice(time, count), noise * _draw(rng, 2, 20, count), _draw(rng, 0.08, 0.3, count), strict=True
    ):
        once = 3 * (time[-1] - time[0] + duration)
        events += inject.trapezoid_transit(time, period=once, epoch=middle, duration=duration, depth=depth) - 1
    strays = rng.choice(len(time), count, replace=False)
    events[strays] += cadence_noise * rng.choice((-1, 1), count) * _draw(rng, 10, 50, count)
    return Light(light.star, time, light.flat + events, light.cadence_s), events, noise


def _draw(rng: np.random.Generator, least: float, greatest: float, count: int) -> Floats:
    """Evenly in the logarithm."""
    drawn: Floats = np.exp(rng.uniform(np.log(least), np.log(greatest), count))
    return drawn


def _try_sample(detector: Detector, kind: str, number: int, config: AnomalyConfig, seed: int) -> Trial:
    light, events = sample_light(kind, number, [seed, config.seed])
    return _try_light(light, events, _noise(light, config)[1], detector, config)


def sample_light(kind: str, number: int, seed: Sequence[int]) -> tuple[Light, Floats]:
    """A simulated star (`stars.simulate.SAMPLES`), detrended, and the events in it."""
    sample = draw_sample(kind, np.random.default_rng([*seed, SAMPLES.index(kind), number]))
    flux = sample.flux.astype(np.float32)
    trend = detrend(sample.time, flux, [0], DetrendConfig(), window_days=SAMPLE_WINDOW_DAYS)
    cadence_s = float(np.median(np.diff(sample.time))) * DAY_S
    return Light(f"{kind} {number + 1}", sample.time, flux / trend, cadence_s), sample.events
