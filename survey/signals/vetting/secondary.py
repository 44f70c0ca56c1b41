"""The rest of the orbit: the deepest dip at any phase but the transit's own [science rule 23].

One fold finds the phases where a dip as long as the transit stands out from the light on both its sides; these are then
measured orbit by orbit, as transits are (`events`), and the dip that the orbits agree about best is the secondary.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from survey.signals.search import FlatCurve, Tce
from survey.signals.vetting.events import MASK_WIDTH, Light, look_at

Floats = NDArray[np.float64]

_OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy"}

BINS = 8
"""Phase bins across the duration; what is looked for is as long as the transit."""

FINER = 16
"""Steps of a duration in which the phase of the clearest dip is settled."""

MOST_BINS = 40_000
PRIMARY = MASK_WIDTH / 2
"""Half width of what is left out about the transit, in durations: it and the end of its flanks."""

SIDE = (0.75, 1.75)
"""Where the light beside a dip is taken, in durations from its middle: further from it than its own flanks."""

PEAKS = 5
"""The strongest dips of the folded orbit, which are looked at orbit by orbit."""

LEAST_COVERAGE = 0.3


class Secondary(NamedTuple):
    """The strongest dip outside the transit. phase: from the transit, 0 to 1; significance: depth over its error."""

    phase: float
    depth_ppm: float
    depth_err_ppm: float
    significance: float


def find_secondary(curve: FlatCurve, tce: Tce, others: Sequence[Tce] = ()) -> Secondary | None:
    """The strongest dip outside the transit, as long as that; None for a single transit, or where nothing is left.

    others: all signals of the star; those that keep another period are left out. The error is that of the star's own
    noise, or what the scatter of the depths from orbit to orbit asks for where that is larger: what only one orbit
    shows is no eclipse.
    """
    return strongest(look_at(curve, tce, others))


def strongest(light: Light) -> Secondary | None:
    """The same of a light at hand."""
    clearest = max(_measure_all(light, _peaks(light)), key=lambda eclipse: eclipse.significance, default=None)
    if clearest is None:
        return None
    duty = light.orbit.duration / light.orbit.period
    nearby = [clearest.phase + step / FINER * duty for step in range(-FINER // 4, FINER // 4 + 1)]
    return max(_measure_all(light, nearby), key=lambda eclipse: eclipse.depth_ppm)


def _measure_all(light: Light, phases: Sequence[float]) -> list[Secondary]:
    return [eclipse for phase in phases if (eclipse := _measure(light, phase)) is not None]


def _measure(light: Light, phase: float) -> Secondary | None:
    """The depth at one phase, orbit by orbit; None where fewer than two orbits were observed there."""
    events = light.events_at(phase)
    if len(events.depth) < 2:
        return None
    weights = 1 / events.error**2
    depth = float(np.average(events.depth, weights=weights))
    scatter = math.sqrt(float((weights * (events.depth - depth) ** 2).sum()) / (len(weights) - 1))
    error = max(1.0, scatter) / math.sqrt(float(weights.sum()))
    return Secondary(phase, 1e6 * depth, 1e6 * error, depth / error)


def _peaks(light: Light) -> list[float]:
    """Phases of the strongest dips of the folded orbit, apart from each other by a duration."""
    period, epoch, duration = light.orbit
    if light.tce.period is None:
        return []
    n = min(max(math.ceil(period / duration * BINS), 4 * BINS), MOST_BINS)
    star = (light.dips.time, light.dips.dip, light.dips.weight, light.keep)
    strength = _scan(star, period, epoch, duration, n)
    phase = np.arange(n) / n
    phases: list[float] = []
    for _ in range(PEAKS):
        k = int(np.argmax(strength))
        if not strength[k] > 0:
            break
        phases.append(float(phase[k]))
        strength[np.abs(phase - phase[k]) < duration / period] = 0.0
    return phases


@numba.njit(**_OPTIONS)
def _scan(star, period, epoch, duration, n):  # type: ignore[no-untyped-def]
    """SNR, in white noise, of a box over the light on both its sides at each of `n` phases; 0 where not observed."""
    time, dip, weight, keep = star
    x, w = np.zeros(n), np.zeros(n)
    rate = 1.0 / period
    primary = PRIMARY * duration * rate
    total = 0.0
    for i in range(time.size):
        if keep[i]:
            cycles = (time[i] - epoch) * rate
            phase = cycles - math.floor(cycles)
            if min(phase, 1 - phase) > primary:
                j = int(phase * n + 0.5) % n
                x[j] += weight[i] * dip[i]
                w[j] += weight[i]
                total += weight[i]
    per_bin = total / (n * (1 - 2 * primary)) if primary < 0.5 else 0.0
    width = duration * rate * n
    half = max(int(0.5 * width), 0)
    near, far = max(half + 1, int(SIDE[0] * width)), max(half + 2, int(SIDE[1] * width))
    wide = min(far, n // 2)
    x_sums, w_sums = np.zeros(n + 2 * wide + 1), np.zeros(n + 2 * wide + 1)
    for j in range(n + 2 * wide):
        k = (j - wide) % n
        x_sums[j + 1] = x_sums[j] + x[k]
        w_sums[j + 1] = w_sums[j] + w[k]
    strength = np.zeros(n)
    first = int((PRIMARY + 0.5) * width) + 1
    for j in range(first, n - first + 1):
        c = j + wide
        w_in = w_sums[c + half + 1] - w_sums[c - half]
        if w_in <= LEAST_COVERAGE * per_bin * (2 * half + 1):
            continue
        x_in = x_sums[c + half + 1] - x_sums[c - half]
        left = max(c - wide, 0)
        w_out = w_sums[c - near] - w_sums[left] + w_sums[c + wide + 1] - w_sums[c + near + 1]
        if w_out <= LEAST_COVERAGE * per_bin * (wide - near):
            continue
        x_out = x_sums[c - near] - x_sums[left] + x_sums[c + wide + 1] - x_sums[c + near + 1]
        strength[j] = (x_in / w_in - x_out / w_out) / math.sqrt(1 / w_in + 1 / w_out)
    return strength
