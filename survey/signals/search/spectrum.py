"""From weighted dips to a spectrum: bins for every segment of the plan, the noise, and one call of the engine."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.signals.search.curve import Dips, Mask
from survey.signals.search.noise import noise_ratios
from survey.signals.search.plan import Plan

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
SearchSegment = Callable[..., Singles]
"""An engine, as `reference.search_segment` documents it."""


@dataclass(frozen=True)
class Spectrum:
    """The best signal-to-noise ratio at every trial of a plan.

    white: plain; scaled: over the star's noise; inverted: over its noise, of the light curve turned upside down.
    """

    plan: Plan
    white: Singles
    scaled: Singles
    inverted: Singles


def fold(stars: Sequence[tuple[Dips, Mask, Plan]], search: SearchSegment) -> list[Spectrum]:
    """The spectrum of every star: its dips, which of them count, and its plan. Stars of one plan are folded together.

    Stretches far apart in time are folded on their own, and the squares of their statistics added.
    """
    spectra: dict[int, Spectrum] = {}
    for plan in dict.fromkeys(plan for _, _, plan in stars):
        members = [k for k, star in enumerate(stars) if star[2] == plan]
        lanes = [(k, block) for k in members for block in stars[k][0].blocks]
        parts = []
        for segment in plan.segments:
            bins = [_bins(*stars[k][:2], block, segment.tau, segment.n_bins) for k, block in lanes]
            noise = [_noise(*stars[k][:2], block, segment.durations) for k, block in lanes]
            signal, weight = (np.stack(side) for side in zip(*bins, strict=True))
            parts.append(search(signal, weight, (1 / np.stack(noise)).astype(np.float32), segment))
        peaks = np.concatenate(parts, axis=2)
        for k in members:
            own = [lane for lane, (star, _) in enumerate(lanes) if star == k]
            spectra[k] = Spectrum(plan, *np.sqrt((peaks[:, own] ** 2).sum(axis=1)))
    return [spectra[k] for k in range(len(stars))]


def _bins(dips: Dips, keep: Mask, block: tuple[int, int], tau: float, n_bins: int) -> tuple[Singles, Singles]:
    """(signal, weight) of one stretch on bins of `tau`, scaled as the engines expect them."""
    part = slice(*block)
    time = dips.time[part]
    weight = np.where(keep[part], dips.weight[part], 0.0)
    total = weight.sum()
    if total <= 0:
        return np.zeros(n_bins, np.float32), np.zeros(n_bins, np.float32)
    dip = dips.dip[part]
    index = ((time - time[0]) / tau).astype(np.int64)
    signal = np.bincount(index, weight * (dip - np.average(dip, weights=weight)), n_bins)
    weights = np.bincount(index, weight, n_bins)
    return (signal / math.sqrt(total)).astype(np.float32), (weights / total).astype(np.float32)


def _noise(dips: Dips, keep: Mask, block: tuple[int, int], durations: Floats) -> Floats:
    """The star's noise over white noise at these durations, in one stretch."""
    part = slice(*block)
    kept = keep[part]
    widths = np.maximum(1, np.round(durations / dips.step)).astype(np.int64)
    return noise_ratios(dips.cell[part][kept], dips.dip[part][kept], dips.weight[part][kept], widths)
