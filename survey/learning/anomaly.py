"""Strange stretches in a light curve, of whatever kind: transits, flares, eclipses, what the instrument does.

    model = train_detector(lights, AnomalyConfig(), "models/anomaly", simulated="")   # from quiet light
    model = load_detector("models/anomaly")
    found = find_anomalies(model, star, time, flat, cadence_s)

A window is strange when its score lies so far above that of its star's usual window as few windows of quiet stars do
(`contamination`). A point is flagged when enough of the windows over it are strange and it stands out itself: windows
say that something is strange, cells say where. Strange windows of which nothing stands out flag no point. Runs of
flagged points are intervals. The score of a star is the mean of a fixed share of its windows, the strangest beside
those of quiet stars: unlike their maximum it does not grow with the time that a star was observed for [science rule
31].

The windows and their statistics are those of `signals.window_stats`, the detectors of `models.anomaly`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from survey.config import AnomalyConfig
from survey.errors import UsageError
from survey.learning.anomaly_trials import Figures, measure_detectors, sample_light
from survey.learning.artifact import (
    KnownStars,
    ModelRecord,
    check_place,
    first_words,
    know_stars,
    load_artifact,
    write_artifact,
)
from survey.learning.lesson import find_missions
from survey.learning.models.anomaly import (
    Detector,
    Inputs,
    Light,
    Scale,
    above_usual,
    check_forest,
    check_known,
    divide_stars,
    fit_detector,
)
from survey.learning.models.neighbours import fit_neighbours
from survey.signals.window_stats import (
    EVENT_SIGMA,
    EVENT_WIDTHS,
    STATISTICS,
    Windows,
    count_votes,
    find_runs,
    measure_windows,
    stands_out,
)

Floats = NDArray[np.floating]
Flags = NDArray[np.bool_]
AnomalyKind = Literal["dip", "brightening", "noise"]

KIND: Final = "anomaly"
NAME: Final = "anomaly"
MEANING: Final = "stretches of light that are unlike those of quiet stars: transits, flares, systematics"

TOP_SHARE: Final = 0.05
"""Share of a star's windows, the strangest, whose mean is its score."""

EVENT_RATIO: Final = 1.5
"""A dip or a brightening is so much greater than its opposite, and longer than a cell; the rest is noise."""


@dataclass(frozen=True)
class Interval:
    """A run of flagged points. begin, end, peak: days, peak being where it is furthest from the star's median, by
    `sigmas` (negative: below); votes: mean share of the windows over its cells that are strange."""

    begin: float
    end: float
    peak: float
    n_points: int
    votes: float
    sigmas: float
    kind: AnomalyKind


@dataclass(frozen=True)
class Anomalies:
    """What is strange in one light curve.

    score: of the star, 0 for the usual window of a quiet one, None where no window fits; middles, scores, strange: (w,)
    of the windows, scores being about that of the star's usual window; threshold: of these scores; votes, flagged: (d,)
    of the points, votes NaN where no window lies over one; flagged: voted for, and standing out;
    seen: the model was trained on this very star, so that its score is too low.
    """

    star: str
    score: float | None
    threshold: float
    middles: NDArray[np.float64]
    scores: NDArray[np.float64]
    strange: Flags
    votes: NDArray[np.float64]
    flagged: Flags
    intervals: tuple[Interval, ...]
    seen: bool


@dataclass(frozen=True)
class AnomalyModel:
    """A detector and its record. id: sha256 of model.json, "" for one that was not written."""

    id: str
    record: ModelRecord
    stars: KnownStars
    detector: Detector


def find_anomalies(
    model: AnomalyModel,
    star: str,
    time: NDArray[np.float64],
    flat: Floats,
    cadence_s: float,
    *,
    contamination: float | None = None,
    vote_threshold: float | None = None,
) -> Anomalies:
    """What is strange in a detrended light curve (d,); the same bits whatever is examined beside it.

    contamination: share of quiet windows that are called strange; vote_threshold: share of the windows over a point
    that flag it; None: as the model was trained. Both move thresholds, no score.
    """
    detector = model.detector
    windows = detector.inputs.cut(Light(star, time, flat, cadence_s))
    statistics = measure_windows(windows)
    scores = above_usual(detector.score(statistics))
    threshold = detector.scale.threshold(contamination or model.record.training["settings"]["contamination"])
    strange = scores >= threshold
    of_cells, votes = count_votes(windows, strange)
    least = vote_threshold or model.record.threshold
    # NaN, where no window lies, flags nothing.
    flagged = (of_cells >= least) & stands_out(windows)
    return Anomalies(
        star=star,
        score=score_star(detector.score_among_stars(statistics)),
        threshold=threshold,
        middles=windows.middles,
        scores=scores,
        strange=strange,
        votes=votes,
        flagged=np.append(flagged, False)[windows.cells],
        intervals=tuple(_describe(windows, of_cells, first, stop, time) for first, stop in find_runs(windows, flagged)),
        seen=bool(model.stars.folds_of(np.array([star]))[0] >= 0),
    )


def score_star(scores: NDArray[np.float64]) -> float | None:
    """Mean of the strangest TOP_SHARE of (w,) windows, at least one; None without any."""
    if not len(scores):
        return None
    return float(np.mean(np.sort(scores)[-max(1, round(TOP_SHARE * len(scores))) :]))


def _describe(windows: Windows, votes: Floats, first: int, stop: int, time: NDArray[np.float64]) -> Interval:
    inside = np.flatnonzero((windows.cells >= first) & (windows.cells < stop))
    departures = windows.departures[first:stop]
    kind, peak = _guess(departures)
    return Interval(
        begin=float(time[inside[0]]),
        end=float(time[inside[-1]]),
        peak=float(windows.times[first + peak]),
        n_points=len(inside),
        votes=float(votes[first:stop].mean()),
        sigmas=float(departures[peak]),
        kind=kind,
    )


def _guess(departures: Floats) -> tuple[AnomalyKind, int]:
    """What it looks like, and its furthest cell."""
    furthest, down, up = int(np.argmax(np.abs(departures))), -float(departures.min()), float(departures.max())
    if len(departures) > 1 and down >= EVENT_RATIO * up:
        return "dip", furthest
    if len(departures) > 1 and up >= EVENT_RATIO * down:
        return "brightening", furthest
    return "noise", furthest


# Training


def fit_model(lights: Sequence[Light], config: AnomalyConfig, *, simulated: str = "") -> AnomalyModel:
    """A model of quiet light, neither measured nor written. simulated: what of it is, "" for nothing.

    Raises UsageError for too little light.
    """
    stars, statistics = _measure_lights(lights, config)
    detector = fit_detector(statistics, stars, config)
    record = ModelRecord(
        name=NAME,
        task=NAME,
        meaning=MEANING,
        kind=KIND,
        network={
            "statistics": STATISTICS,
            "neighbours": config.neighbours,
            "scale": detector.scale.model_dump(mode="json"),
        },
        inputs=detector.inputs.model_dump(mode="json"),
        threshold=config.vote_threshold,
        missions=() if simulated else find_missions(np.unique(stars)),
        simulated=simulated,
        training={
            "settings": config.model_dump(mode="json"),
            "stars": len(np.unique(stars)),
            "light_curves": len(lights),
            "windows": len(stars),
            "kept_windows": len(detector.known),
            "products": sorted({light.product for light in lights if light.product}),
        },
        figures={},
    )
    return AnomalyModel("", record, know_stars(stars, np.zeros(len(stars), np.uint8)), detector)


def simulate_lights(count: int, seed: int) -> list[Light]:
    """Simulated stars in which nothing happens."""
    return [sample_light("normal_star", number, [seed])[0] for number in range(count)]


Report = Callable[[str], None]
"""Gets a word for each step as it begins."""


def train_anomaly_detector(
    lights: Sequence[Light] | int, config: AnomalyConfig, out: str | Path, report: Report = lambda step: None
) -> AnomalyModel:
    """`train_detector`, on light of quiet stars, or on so many stars that are simulated."""
    if not isinstance(lights, int):
        return train_detector(lights, config, out, report=report)
    check_place(Path(out))
    report("simulate")
    words = f"{lights:,} stars with noise alone"
    return train_detector(simulate_lights(lights, config.seed), config, out, simulated=words, report=report)


def train_detector(
    lights: Sequence[Light],
    config: AnomalyConfig,
    out: str | Path,
    *,
    simulated: str = "",
    report: Report = lambda step: None,
) -> AnomalyModel:
    """`fit_model`, with figures and a folder. Raises UsageError for too little light, and where the folder holds
    something else."""
    check_place(Path(out))
    report("learn")
    model = fit_model(lights, config, simulated=simulated)
    report("measure")
    unseen = _fit_without(lights, config)
    known = unseen or dict.fromkeys(sorted({light.star for light in lights}), model.detector)
    figures = {"held_back": bool(unseen)} | measure_detectors(lights, known, model.detector, config)
    record = model.record.model_copy(update={"name": Path(out).name, "figures": figures})
    parts = {"forest": model.detector.forest, "windows": model.detector.known.astype(np.float32)}
    identity = write_artifact(out, record, (), model.stars, make_card(record), parts)
    return replace(model, id=identity, record=record)


def _measure_lights(lights: Sequence[Light], config: AnomalyConfig) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """(n,) the star and (n, 14) the statistics of all windows; light that never changes teaches nothing."""
    inputs = Inputs(points=config.window, step=config.step, cell_minutes=config.cell_minutes)
    stars: list[str] = []
    statistics = [np.empty((0, len(STATISTICS)))]
    for light in sorted(lights, key=lambda light: (light.star, light.time[0] if len(light.time) else 0.0)):
        windows = inputs.cut(light)
        if len(windows.firsts) and windows.departures.any():
            statistics.append(measure_windows(windows))
            stars += [light.star] * len(windows.firsts)
    return np.array(stars, np.str_), np.concatenate(statistics)


def _fit_without(lights: Sequence[Light], config: AnomalyConfig) -> dict[str, Detector]:
    """For each star a detector that has not seen it; {} for fewer stars than folds."""
    stars, statistics = _measure_lights(lights, config)
    names = np.unique(stars)
    folds = divide_stars(names, config.seed)
    if folds is None:
        return {}
    place = folds[np.searchsorted(names, stars)]
    fitted = {fold: fit_detector(statistics[place != fold], stars[place != fold], config) for fold in np.unique(folds)}
    return {name: fitted[fold] for name, fold in zip(names.tolist(), folds, strict=True)}


def load_detector(folder: str | Path) -> AnomalyModel:
    """Reads and checks a model. Raises UsageError naming what is damaged, altered, or not what it should be."""
    artifact = load_artifact(folder)
    record = artifact.record
    try:
        if record.kind != KIND:
            raise ValueError(f"a model of kind {record.kind}, none of anomalies")
        settings = record.network
        if tuple(settings["statistics"]) != STATISTICS:
            raise ValueError("made with other statistics of windows: train it again")
        neighbours = settings["neighbours"]
        if not isinstance(neighbours, int) or not 2 <= neighbours <= 200:
            raise ValueError("neighbours must be 2 to 200")
        AnomalyConfig.model_validate(record.training["settings"])
        inputs, scale = Inputs.model_validate(record.inputs), Scale.model_validate(settings["scale"])
        known = check_known(artifact.parts.get("windows"), neighbours)
        forest = check_forest(artifact.parts.get("forest"))
    except pydantic.ValidationError as error:
        raise UsageError(f"{folder}: {first_words(error)}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{folder}: no model of anomalies that can be used ({error})") from None
    detector = Detector(inputs, known, forest, fit_neighbours(known, neighbours), scale)
    return AnomalyModel(artifact.id, record, artifact.stars, detector)


CARD: Final = """# {name}

Finds {meaning}.

| | |
|---|---|
| detectors | Isolation Forest ({trees} trees), Local Outlier Factor ({neighbours} neighbours); the mean of both |
| windows | {points} points, {step} apart; faster cadences averaged onto cells of {cell:g} minutes |
| statistics | {statistics} |
| trained on | {light_curves:,} light curves of {stars:,} stars, {windows:,} windows, {kept:,} of them kept |
| strange | {contamination:.0%} of quiet windows |
| flagged | points that stand out by {event:g} sigmas where {votes:.0%} of the windows over them are strange |

## Data and licence

{source} The weights are under the licence of this program.
Made by `survey train anomaly`, {made}.

## How well it does

Events are simulated in all of these figures: flares, transits and single stray points of known place, put into light
that the detectors had {seen}. Real light holds events of its own, which count as false here.

| | precision | recall | F1 | average precision (95%) | base rate |
|---|---|---|---|---|---|
{figures}

The baseline calls a point strange that lies {sigma:g} sigmas from the median, and a window that holds one.

The design (statistics, windows, settings, and the rule by which a point stands out) was chosen on other events of the
same making in real light of 28 quiet stars of Kepler, K2 and TESS. On those events this model has:

| | precision | recall | F1 | average precision (95%) | base rate |
|---|---|---|---|---|---|
{chosen}

What is measured above are fresh events, drawn once. The real stars are the same in both, few being at hand, so that all
figures on those stars are optimistic.

## Limits

- Strange is what quiet windows are not. A score is no probability, and says nothing about what the event is; the word
  beside an interval is a guess from its sign.
- A point is flagged when it stands out of its star, alone or in the median of {widths} cells about it, under windows
  that are strange. What is strange without standing out (restless noise, a slow bend) has strange windows and a high
  score, and no flagged points; the shallow ends of an event are not flagged either.
- Every star is its own measure: what a restless star does all the time is not flagged, its score is high instead.
- What lasts longer than a window, or the whole light curve, shows only in so far as detrending leaves it.
- Stretches shorter than a window are not looked at.
"""

OWN: Final = "The light curves are the user's own; whether they are of quiet stars, the files do not say."
REAL: Final = "Real light of stars taken for quiet, listed transits cut out; public data of {missions}."


def make_card(record: ModelRecord) -> str:
    """CARD.md of a model: data, licence, figures, limits."""
    facts, settings, figures = record.training, record.training["settings"], record.figures
    real = REAL.format(missions=", ".join(record.missions)) if record.missions else OWN
    return CARD.format(
        name=record.name,
        meaning=record.meaning,
        trees=settings["trees"],
        neighbours=settings["neighbours"],
        points=record.inputs["points"],
        step=record.inputs["step"],
        cell=record.inputs["cell_minutes"],
        statistics=", ".join(STATISTICS),
        light_curves=facts["light_curves"],
        stars=facts["stars"],
        windows=facts["windows"],
        kept=facts["kept_windows"],
        contamination=settings["contamination"],
        votes=record.threshold,
        source=f"Simulated: {record.simulated}." if record.simulated else real,
        made=f"--simulated {facts['stars']}"
        if record.simulated
        else "--set for each product named in model.json, in that order",
        seen="not seen" if figures["held_back"] else "also been trained on",
        figures=_write_rows(figures),
        chosen=_write_rows(figures["chosen_on"]),
        event=EVENT_SIGMA,
        widths=" or ".join(str(width) for width in EVENT_WIDTHS[1:]),
        sigma=figures["baseline_sigma"],
    )


def _write_rows(figures: Figures) -> str:
    return "\n".join(f"| {name} | {' | '.join(values)} |" for name, values in figure_rows(figures))


def figure_rows(figures: Figures) -> list[tuple[str, list[str]]]:
    """(what, precision, recall, F1, average precision, base rate) as words."""
    return [
        (f"{words}, {unit}, {who}", _figure_words(figures[key][unit][who], figures[key][unit]["base_rate"]))
        for key, words in (("injected", "events in this light"), ("samples", "simulated stars"))
        for unit in ("windows", "points")
        for who in ("model", "baseline")
    ]


def _figure_words(found: dict[str, Any], base_rate: float) -> list[str]:
    ap = found["average_precision"]
    values = [found["precision"], found["recall"], found["f1"], ap["value"]]
    *words, precision = ("none" if value is None else f"{value:.3f}" for value in values)
    between = f" ({ap['low']:.3f} to {ap['high']:.3f})" if "low" in ap else ""
    return [*words, precision + between, f"{base_rate:.3f}"]
