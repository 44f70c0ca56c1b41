"""From weighted dips to a spectrum: bins for every segment of the plan, the noise, and one call of the engine."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from survey.signals.search.curve import Dips, Mask
from survey.signals.search.noise import noise_ratios
from survey.signals.search.plan import Plan

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
BATCH_BYTES = 256 * 2**20
"""Memory of the bins and spectra of one call: thousands of one-sector stars, some dozens of four years."""

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


Star = tuple[Dips, Mask, Plan]
"""What is folded: dips, which of them count, and the plan."""


def fold(stars: Sequence[Star], search: SearchSegment) -> list[Spectrum]:
    """The spectrum of every star. Stars of one plan are folded together.

    Stretches far apart in time are folded on their own, and the squares of their statistics added.
    """
    spectra: dict[int, Spectrum] = {}
    for plan in dict.fromkeys(plan for _, _, plan in stars):
        members = [k for k, star in enumerate(stars) if star[2] == plan]
        for batch in _batches(members, [len(stars[k][0].blocks) for k in members], plan):
            lanes = [_Lane.of(*stars[k][:2], block) for k in batch for block in stars[k][0].blocks]
            peaks = _fold_lanes(lanes, plan, search)
            start = 0
            for k in batch:
                stop = start + len(stars[k][0].blocks)
                own = peaks[:, start:stop]
                spectra[k] = Spectrum(plan, *(own[:, 0] if stop == start + 1 else np.sqrt((own**2).sum(axis=1))))
                start = stop
    return [spectra[k] for k in range(len(stars))]


def _batches(members: list[int], blocks: list[int], plan: Plan) -> Iterator[list[int]]:
    """Stars in groups whose bins and spectra fit into BATCH_BYTES."""
    lane_bytes = 8 * max(segment.n_bins for segment in plan.segments) + 12 * len(plan.periods)
    batch: list[int] = []
    lanes = 0
    for member, count in zip(members, blocks, strict=True):
        if batch and (lanes + count) * lane_bytes > BATCH_BYTES:
            yield batch
            batch, lanes = [], 0
        batch.append(member)
        lanes += count
    yield batch


@dataclass(frozen=True)
class _Lane:
    """One stretch of one star, what counts of it.

    time: (points,) days from its first point; dip, weight: scaled so that the weights sum to 1 and are still inverse
    variances; cell, step: as in `Dips`.
    """

    time: Floats
    dip: Singles
    weight: Singles
    cell: NDArray[np.int32]
    step: float

    @classmethod
    def of(cls, dips: Dips, keep: Mask, block: tuple[int, int]) -> "_Lane":
        time, dip, weight, cell = _scaled(dips.time, dips.dip, dips.weight, dips.cell, keep, *block)
        return cls(time, dip, weight, cell, dips.step)

    def noise(self, durations: Floats) -> Floats:
        """The noise over white noise at these durations, ascending."""
        widths = np.maximum(1, np.round(durations / self.step)).astype(np.int64)
        return noise_ratios(self.cell, self.dip, self.weight, widths)


@numba.njit(nogil=True, cache=True)
def _scaled(time, dip, weight, cell, keep, start, stop):  # type: ignore[no-untyped-def]
    """(time, dip, weight, cell) of a `_Lane`: the points from start to stop that are kept."""
    total, mean, count = 0.0, 0.0, 0
    for i in range(start, stop):
        if keep[i]:
            total += weight[i]
            mean += weight[i] * dip[i]
            count += 1
    times, cells = np.empty(count), np.empty(count, np.int32)
    dips, weights = np.empty(count, np.float32), np.empty(count, np.float32)
    if count == 0:
        return times, dips, weights, cells
    mean /= total
    dip_scale, weight_scale = math.sqrt(total), 1.0 / total
    k = 0
    for i in range(start, stop):
        if keep[i]:
            times[k], cells[k] = time[i] - time[start], cell[i]
            dips[k] = (dip[i] - mean) * dip_scale
            weights[k] = weight[i] * weight_scale
            k += 1
    return times, dips, weights, cells


def _fold_lanes(lanes: list[_Lane], plan: Plan, search: SearchSegment) -> Singles:
    """(3, lanes, trials): the engine's peaks over all segments."""
    noise = np.stack([lane.noise(plan.noise_durations) for lane in lanes])
    peaks = np.empty((3, len(lanes), len(plan.periods)), np.float32)
    start = 0
    for segment, shares in zip(plan.segments, plan.noise_shares, strict=True):
        bins = np.zeros((2, len(lanes), segment.n_bins), np.float32)
        for k, lane in enumerate(lanes):
            _bin(lane.time, lane.dip, lane.weight, segment.tau, bins[0, k], bins[1, k])
        stop = start + segment.n_trials
        peaks[:, :, start:stop] = search(bins[0], bins[1], (1 / (noise @ shares)).astype(np.float32), segment)
        start = stop
    return peaks


@numba.njit(nogil=True, cache=True)
def _bin(time, dip, weight, tau, signals, weights):  # type: ignore[no-untyped-def]
    """Sums of weighted dips and of weights in bins of `tau`; times ascend."""
    rate = 1.0 / tau
    x, w, at = 0.0, 0.0, 0
    for i in range(time.size):
        k = int(time[i] * rate)
        if k != at:
            signals[at], weights[at] = x, w
            x, w, at = 0.0, 0.0, k
        x += weight[i] * dip[i]
        w += weight[i]
    signals[at], weights[at] = x, w
