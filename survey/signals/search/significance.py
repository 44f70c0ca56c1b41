"""How often noise alone would reach a MES: extreme values of the star's own light curve turned upside down."""

import math

import numpy as np
from numpy.typing import NDArray

BLOCKS = 64
"""Stretches of the spectrum whose maxima are fitted: enough for the scale to a tenth, and wider than any peak."""

EULER = 0.5772156649

REFINED_GAIN = 1.04
"""What refinement adds to a peak of noise: the spectrum is that of a coarser grid."""


def false_alarm_probability(mes: float, maxima: NDArray[np.floating]) -> float:
    """Chance that the highest peak of a spectrum of noise like this, refined, reaches `mes`.

    maxima: `block_maxima` of the inverted light curve, its signals masked. Maxima of many values follow a Gumbel
    distribution when the values have an exponential tail, as the power MES^2 / 2 has in Gaussian noise (Baluev 2008);
    its location and scale are fitted to the maxima of blocks and carried on to the maximum of all of them (Suveges
    2014), by L-moments (Hosking 1990). The scale of 64 maxima is known to a tenth: read small probabilities as
    orders of magnitude. For data sets far apart, whose spectra are added, the probability is an upper limit.
    """
    location, scale = fit_gumbel(np.asarray(maxima, np.float64) ** 2 / 2)
    location += scale * math.log(len(maxima))
    excess = ((mes / REFINED_GAIN) ** 2 / 2 - location) / scale
    return -math.expm1(-math.exp(-max(excess, -700.0)))


def block_maxima(values: NDArray[np.floating], blocks: int = BLOCKS) -> NDArray[np.floating]:
    """The maximum of each of `blocks` stretches of equal length; `values` in order of period."""
    edges = np.linspace(0, len(values), min(blocks, len(values)) + 1).astype(np.int64)[:-1]
    return np.maximum.reduceat(values, edges)


def fit_gumbel(sample: NDArray[np.float64]) -> tuple[float, float]:
    """(location, scale) from the first two L-moments."""
    ordered = np.sort(sample)
    mean = float(ordered.mean())
    ranks = np.arange(len(ordered)) / max(len(ordered) - 1, 1)
    half_spread = 2 * float((ranks * ordered).mean()) - mean
    scale = max(half_spread / math.log(2), 1e-9)
    return mean - EULER * scale, scale
