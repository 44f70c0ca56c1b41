"""Which periods a star's light has: the probability of every bin of period, and of there being a planet at all.

What the network says of a bin is calibrated on stars that it never saw; so is what it says of the star. The best bins
are peaks: a bin beside a better one is part of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pydantic
from numpy.typing import NDArray
from scipy.special import expit

from survey.config import Frozen
from survey.errors import UsageError
from survey.learning.artifact import Artifact
from survey.learning.calibrate import CALIBRATORS, Calibration
from survey.learning.lesson import Scored
from survey.learning.metrics import expected_calibration_error
from survey.learning.models import period_net
from survey.learning.score import score_rows
from survey.signals.search.profile import CHANNELS, make_profile

Floats = NDArray[np.floating]

Ranges = tuple[tuple[float, float], ...]
"""(shortest, longest) periods in days, ascending, none overlapping another."""


@dataclass(frozen=True)
class PeriodScores:
    """probabilities: (d,) that a planet has a period in each bin, None where the light cannot be folded; edges:
    (d + 1,) of the bins, days; probability: of any planet, calibrated, NaN where it cannot be told; spread: its
    standard deviation over the members; best: bins of the peaks, the most probable first; outside: facts of the light
    curve that lie outside of what the model was trained on."""

    probabilities: Floats | None
    edges: Floats
    probability: float
    spread: float
    best: tuple[int, ...]
    outside: tuple[str, ...]


def score_periods(
    artifact: Artifact, star: str, time: NDArray[np.float64], flat: NDArray[np.floating], cadence_s: float
) -> PeriodScores:
    """Scores of a light curve: time (d), flux over its trend. A star that the model was trained on is scored by those
    members that never saw it. Raises UsageError for a model of something else than periods."""
    inputs, record = _inputs(artifact), read_record(artifact.record.extra)
    bins = inputs.period_bins()
    profile = make_profile(time, flat, cadence_s, bins.finer(inputs.finer))
    if profile is None or not profile.values[CHANNELS.index("covered")].any():
        return PeriodScores(None, bins.edges, float("nan"), float("nan"), (), ())
    nothing = np.zeros((1, bins.count), np.float32)
    examples = period_net.make_examples(profile.values[None], np.array([profile.baseline_d]), nothing)
    scores = score_rows(artifact, examples, np.array([star]))
    fold = int(artifact.stars.folds_of(np.array([star]))[0])
    probabilities = record.probabilities(scores.outputs, np.array([fold]))[0]
    return PeriodScores(
        probabilities=probabilities,
        edges=bins.edges,
        probability=float(scores.probability[0]),
        spread=float(scores.spread[0]),
        best=find_peaks(probabilities),
        outside=scores.outside[0],
    )


def _inputs(artifact: Artifact) -> period_net.Inputs:
    if artifact.record.kind != period_net.KIND.name:
        raise UsageError(f"{artifact.record.name} is a model of {artifact.record.kind}, not of periods")
    inputs: period_net.Inputs = artifact.inputs
    return inputs


LEAST_PEAK: Final = 1e-3
"""A less probable bin is no peak."""


def find_peaks(probabilities: Floats) -> tuple[int, ...]:
    """Bins no less probable than their neighbours, the most probable first; of equal ones the shorter period first."""
    beside = np.pad(probabilities, 1, constant_values=-1.0)
    peaks = (probabilities >= beside[:-2]) & (probabilities > beside[2:]) & (probabilities >= LEAST_PEAK)
    found = np.flatnonzero(peaks)
    return tuple(found[np.argsort(-probabilities[found], kind="stable")].tolist())


# Calibration of the bins


class BinRecord(Frozen):
    """What a model keeps of its bins: a calibration for all stars, and those fitted without the stars of each fold."""

    bins: Calibration
    fold_bins: tuple[Calibration, ...]

    def probabilities(self, outputs: Floats, folds: NDArray[np.integer]) -> Floats:
        """(n, d) probabilities of (n, d) logits; folds: (n,), -1 for stars that the model does not know."""
        calibrations = (*self.fold_bins, self.bins)
        each = [calibrations[fold].probability(row) for row, fold in zip(outputs, folds.tolist(), strict=True)]
        return np.where(is_folded(outputs), np.stack(each), 0.0)


def read_record(extra: dict[str, Any]) -> BinRecord:
    """Raises UsageError for a model without a calibration of its bins."""
    try:
        return BinRecord.model_validate(extra)
    except pydantic.ValidationError as error:
        raise UsageError(f"no model of periods: {error.errors()[0]['msg'].lower()} in what it keeps of bins") from None


def is_folded(outputs: Floats) -> NDArray[np.bool_]:
    """(n, d) bins for which the light curve is long enough."""
    return np.asarray(outputs > period_net.NEVER + 1e-3)


def fit_bins(outputs: Floats, truth: NDArray[np.bool_], folds: NDArray[np.integer]) -> BinRecord:
    """From out-of-fold logits and which bins hold a planet, both (n, d)."""
    known = is_folded(outputs)

    def fit(rows: NDArray[np.bool_]) -> Calibration:
        some = known & rows[:, None]
        return CALIBRATORS["temperature"](outputs[some], truth[some])

    each = tuple(fit(folds != fold) for fold in range(int(folds.max()) + 1))
    return BinRecord(bins=fit(np.ones(len(folds), bool)), fold_bins=each)


# Figures

TOPS: Final = (3, 5)
NEAR: Final = 1
"""A peak within so many bins of a period's is on it."""


def measure_bins(
    scored: Scored, weights: Floats, peak: Floats, groups: Mapping[str, NDArray[np.bool_]]
) -> dict[str, Any]:
    """How well the bins tell the periods. weights: (n, d) targets; peak: (n, d) heights of the spectrum, the strongest
    of which is the trivial answer; groups: rows by name that are measured apart. Bins are calibrated as they are in the
    model where all rows were held out from it in folds, else not."""
    truth, known = weights >= 0.5, is_folded(scored.outputs)
    probabilities = np.where(known, expit(scored.outputs), 0.0)
    figures: dict[str, Any] = {
        "bins": {
            "number": int(known.sum()),
            "base_rate": float(truth[known].mean()),
            "ece_uncalibrated": expected_calibration_error(truth[known], probabilities[known]),
        }
    }
    if (scored.folds >= 0).all():
        probabilities = fit_bins(scored.outputs, truth, scored.folds).probabilities(scored.outputs, scored.folds)
        figures["bins"]["ece"] = expected_calibration_error(truth[known], probabilities[known])
    heights = np.where(known, peak, 0.0)
    for name, rows in groups.items():
        held = np.flatnonzero(rows & truth.any(1))
        if len(held):
            figures[name] = {
                "stars_with_planets": len(held),
                "planets": int(truth[held].sum()),
                "mass_near": float(np.mean([_mass_near(probabilities[k], truth[k]) for k in held])),
            }
            network, trivial = (_find_shares(values, truth, held) for values in (probabilities, heights))
            for what, share in network.items():
                figures[f"{name}: {what}"] = {"network": share, "strongest_peaks": trivial[what]}
    return figures


def _find_shares(heights: Floats, truth: NDArray[np.bool_], rows: NDArray[np.intp]) -> dict[str, float]:
    """Share of stars with a planet at the best peak, and of planets among the best three and five."""
    near = []
    for k in rows:
        peaks, wanted = np.array(find_peaks(heights[k]), int), np.flatnonzero(truth[k])
        apart = np.abs(peaks[: max(TOPS), None] - wanted) <= NEAR
        near.append(np.pad(apart, ((0, max(TOPS) - len(apart)), (0, 0))))
    found = {"stars with a planet at the best peak": float(np.mean([apart[:1].any() for apart in near]))}
    for top in TOPS:
        share = np.concatenate([apart[:top].any(0) for apart in near]).mean()
        found[f"planets among the best {top}"] = float(share)
    return found


def _mass_near(probabilities: Floats, truth: NDArray[np.bool_]) -> float:
    """Share of all the probability that lies within NEAR bins of a planet's."""
    wide = np.convolve(truth, np.ones(2 * NEAR + 1), "same") > 0
    total = float(probabilities.sum())
    return float(probabilities[wide].sum()) / total if total > 0 else 0.0


# Proposal

HARMONICS: Final = (0.5, 1.0, 2.0)
"""Multiples of a proposed period that are searched too."""


def propose_ranges(scores: PeriodScores, count: int) -> Ranges | None:
    """Periods worth a search: the `count` best bins with their neighbours, half and twice their periods, and all
    periods that the model says nothing of. None, for all periods, where it says nothing at all."""
    if scores.probabilities is None:
        return None
    edges = scores.edges
    ranges = [(0.0, float(edges[0])), (float(edges[-1]), np.inf)]
    for peak in scores.best[:count]:
        low, high = edges[max(0, peak - NEAR)], edges[min(len(edges) - 1, peak + NEAR + 1)]
        ranges += [(float(low * ratio), float(high * ratio)) for ratio in HARMONICS]
    return join_ranges(ranges)


def join_ranges(ranges: Iterable[tuple[float, float]]) -> Ranges:
    """The same periods, ascending, in ranges that do not overlap."""
    joined: list[tuple[float, float]] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)
