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
            lanes = [(k, _Lane.of(*stars[k][:2], block)) for k in batch for block in stars[k][0].blocks]
            peaks = _fold_lanes([lane for _, lane in lanes], plan, search)
            for k in batch:
                own = peaks[:, [star == k for star, _ in lanes]]
                spectra[k] = Spectrum(plan, *(own[:, 0] if own.shape[1] == 1 else np.sqrt((own**2).sum(axis=1))))
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
    """One stretch of one star: what counts of it.

    time: (points,) days from its first point; signal, weight: scaled as the engines expect them; dip, inverse_variance,
    cell, step: as in `Dips`.
    """

    time: Floats
    signal: Floats
    weight: Floats
    dip: Floats
    inverse_variance: Floats
    cell: NDArray[np.int64]
    step: float

    @classmethod
    def of(cls, dips: Dips, keep: Mask, block: tuple[int, int]) -> "_Lane":
        part = slice(*block)
        kept = keep[part]
        dip, weight = dips.dip[part][kept], dips.weight[part][kept]
        time = dips.time[part][kept] - dips.time[block[0]]
        total = float(weight.sum()) or 1.0
        signal = weight * (dip - float(weight @ dip) / total)
        return cls(time, signal / math.sqrt(total), weight / total, dip, weight, dips.cell[part][kept], dips.step)

    def noise(self, durations: Floats) -> Floats:
        """The noise over white noise at these durations, ascending."""
        widths = np.maximum(1, np.round(durations / self.step)).astype(np.int64)
        return noise_ratios(self.cell, self.dip, self.inverse_variance, widths)


def _fold_lanes(lanes: list[_Lane], plan: Plan, search: SearchSegment) -> Singles:
    """(3, lanes, trials): the engine's peaks over all segments."""
    noise = np.stack([lane.noise(plan.noise_durations) for lane in lanes])
    ends = np.cumsum([0, *(len(lane.time) for lane in lanes)])
    time, signal, weight = (
        np.concatenate([getattr(lane, name) for lane in lanes]) for name in ("time", "signal", "weight")
    )
    peaks = np.empty((3, len(lanes), len(plan.periods)), np.float32)
    start = 0
    for segment, shares in zip(plan.segments, plan.noise_shares, strict=True):
        bins = _bin_lanes(ends, time, signal, weight, segment.tau, segment.n_bins)
        stop = start + segment.n_trials
        peaks[:, :, start:stop] = search(bins[0], bins[1], (1 / (noise @ shares)).astype(np.float32), segment)
        start = stop
    return peaks


@numba.njit(nogil=True, cache=True)
def _bin_lanes(ends, time, signal, weight, tau, n_bins):  # type: ignore[no-untyped-def]
    """(2, lanes, bins): signal and weight of every lane on bins of `tau`; times ascend."""
    bins = np.zeros((2, ends.size - 1, n_bins), np.float32)
    rate = 1.0 / tau
    for lane in range(ends.size - 1):
        x, w, at = 0.0, 0.0, 0
        for i in range(ends[lane], ends[lane + 1]):
            k = int(time[i] * rate)
            if k != at:
                bins[0, lane, at], bins[1, lane, at] = x, w
                x, w, at = 0.0, 0.0, k
            x += signal[i]
            w += weight[i]
        bins[0, lane, at], bins[1, lane, at] = x, w
    return bins
