"""A light curve folded on a signal, in bins, and the trapezoid that is drawn over them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.signals.ephemeris import Ephemeris, fold
from survey.signals.search import FlatCurve

Floats = NDArray[np.floating]

LEAST_IN_BIN = 3
"""A bin of fewer cadences is not drawn: its error would be a guess."""


@dataclass(frozen=True)
class Bins:
    """Middle, mean and standard error of bins; bins with too few points are left out."""

    x: Floats
    mean: Floats
    error: Floats


def bin_means(x: Floats, y: Floats, edges: Floats) -> Bins:
    """Means of `y` between edges of `x`, with their standard errors from the scatter inside each bin."""
    count = len(edges) - 1
    index = np.digitize(x, edges) - 1
    inside = (index >= 0) & (index < count)
    index, y = index[inside], np.asarray(y, np.float64)[inside]
    members = np.bincount(index, minlength=count)
    full = members >= LEAST_IN_BIN
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(index, y, count) / members
        variance = np.bincount(index, (y - mean[index]) ** 2, count) / (members - 1)
        error = np.sqrt(variance / members)
    middle = 0.5 * (edges[1:] + edges[:-1])
    return Bins(middle[full], mean[full], error[full])


def hours_from(curve: FlatCurve, orbit: Ephemeris, middle: float, half: float) -> tuple[Floats, Floats]:
    """Hours from the nearest `middle` (d), and flux - 1 in ppm, of the cadences within `half` hours."""
    hours = 24.0 * fold(curve.time, orbit.period, middle)
    near = np.abs(hours) <= half
    return hours[near], ppm(curve.flux[near])


def ppm(flux: Floats) -> Floats:
    """Flux about 1 as its departure from 1 in parts per million, float64."""
    return 1e6 * (np.asarray(flux, np.float64) - 1.0)


def trapezoid(x: Floats, depth: float, duration: float, ingress: float, smear: float = 0.0) -> Floats:
    """A dip of `depth` about 0, `duration` from first to last contact, averaged over `smear`; all x in one unit."""
    ingress = max(ingress, 1e-3 * duration)
    if smear > 0:
        offsets = smear * (np.arange(11) - 5) / 11
        return np.mean([trapezoid(x + offset, depth, duration, ingress) for offset in offsets], axis=0)
    shape: Floats = -depth * np.clip((0.5 * duration - np.abs(x)) / ingress, 0.0, 1.0)
    return shape


INGRESS_SHARES = np.linspace(0.02, 0.5, 13)


def fit_ingress(bins: Bins, depth: float, duration: float, smear: float = 0.0) -> float:
    """The ingress with which a trapezoid of given depth and duration lies closest to the bins; unit of bins.x."""
    weights = 1.0 / np.maximum(bins.error, 1e-3 * abs(depth) + 1e-9) ** 2

    def misfit(share: float) -> float:
        model = trapezoid(bins.x, depth, duration, share * duration, smear)
        return float(np.sum(weights * (bins.mean - model) ** 2))

    return float(min(INGRESS_SHARES.tolist(), key=misfit)) * duration


@dataclass(frozen=True)
class Model:
    """The trapezoid over the fold, averaged over a cadence; hours and ppm."""

    base: float
    depth: float
    duration: float
    ingress: float
    cadence: float

    def at(self, hours: Floats) -> Floats:
        model: Floats = self.base + trapezoid(hours, self.depth, self.duration, self.ingress, self.cadence)
        return model


def fit_model(bins: Bins, depth: float, duration: float, cadence: float) -> Model:
    """The trapezoid of this depth (ppm) and duration with the base and the ingress that lie closest to the bins."""
    outside = np.abs(bins.x) > 0.6 * duration
    base = float(np.median(bins.mean[outside])) if outside.any() else 0.0
    ingress = fit_ingress(Bins(bins.x, bins.mean - base, bins.error), depth, duration, cadence)
    return Model(base, depth, duration, ingress, cadence)
