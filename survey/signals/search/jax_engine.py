"""The JAX engine: the same folding on whatever XLA compiles for, thousands of stars side by side on a GPU.

Shapes are static: every period of a segment is folded in arrays as long as its longest one, and the bins beyond the
period are masked. One program is compiled a segment.
"""

import functools
import os

import numpy as np
from numpy.typing import NDArray

# A search actor may share its GPU with a classifier: take memory as it is needed.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp

from survey.signals.search.plan import Segment
from survey.signals.search.reference import COVERAGE

Floats = NDArray[np.float32]

CPU_LANES = 64
GPU_LANES = 4096
"""Stars folded together: a CPU likes what its cache holds, a GPU what hides its launches."""


def search_segment(signal: Floats, weight: Floats, inverse_beta: Floats, segment: Segment) -> Floats:
    """As `reference.search_segment`, for any number of lanes."""
    white, scaled = _both(signal.T, weight.T, inverse_beta.T, segment)
    _, inverted = _both(-signal.T, weight.T, inverse_beta.T, segment)
    return np.stack([white.T, scaled.T, inverted.T])


def _both(signal: Floats, weight: Floats, inverse_beta: Floats, segment: Segment) -> tuple[Floats, Floats]:
    stars = signal.shape[1]
    lanes = min(CPU_LANES if jax.default_backend() == "cpu" else GPU_LANES, 2 ** (stars - 1).bit_length())
    white = np.empty((segment.n_trials, stars), np.float32)
    scaled = np.empty((segment.n_trials, stars), np.float32)
    for start in range(0, stars, lanes):
        count = min(lanes, stars - start)
        spectra = _search(
            *(_fill(columns[:, start : start + count], lanes) for columns in (signal, weight, inverse_beta)), segment
        )
        white[:, start : start + count], scaled[:, start : start + count] = np.asarray(spectra)[..., :count]
    return white, scaled


def _fill(columns: Floats, lanes: int) -> Floats:
    """As many columns as the compiled program expects, the missing ones empty."""
    return np.pad(columns, ((0, 0), (0, lanes - columns.shape[1])))


@functools.partial(jax.jit, static_argnames="segment")
def _search(signal: jax.Array, weight: jax.Array, inverse_beta: jax.Array, segment: Segment) -> jax.Array:
    """(2, trials, lanes): the white and the scaled spectrum."""
    lanes = signal.shape[1]
    bins = jnp.concatenate([signal, weight], axis=1)
    bins = jnp.concatenate([bins, jnp.zeros((1, 2 * lanes), bins.dtype)])
    drifts = jnp.asarray(segment.drifts)

    def try_period(period: jax.Array) -> jax.Array:
        folded = _fold_rows(_as_rows(bins, period, segment), period)[drifts]
        return _best_boxes(folded, period, inverse_beta, segment)

    spectra = jax.lax.map(try_period, jnp.arange(segment.first, segment.last))
    return jnp.moveaxis(spectra, 0, 1).reshape(2, segment.n_trials, lanes)


def _as_rows(bins: jax.Array, period: jax.Array, segment: Segment) -> jax.Array:
    """(rows, phases, lanes); phases beyond the period and times beyond the data read the empty last bin."""
    phase = jnp.arange(segment.last - 1)
    index = jnp.arange(segment.rows)[:, None] * period + phase
    empty = segment.n_bins
    return bins[jnp.where((phase < period) & (index < empty), index, empty)]


def _fold_rows(rows: jax.Array, period: jax.Array) -> jax.Array:
    """The folding of `reference.fold_rows`, level by level; (drift, phase, lane)."""
    n_rows, phases, lanes = rows.shape
    phase = jnp.arange(phases)
    groups = rows.reshape(n_rows, 1, phases, lanes)
    while groups.shape[0] > 1:
        half = groups.shape[1]
        drift = jnp.arange(2 * half)
        early = jnp.repeat(groups[0::2], 2, axis=1)
        moved = (drift // 2)[:, None] * phases + (phase + ((drift + 1) // 2)[:, None]) % period
        late = groups[1::2].reshape(-1, half * phases, lanes)[:, moved]
        groups = early + late
    return groups[0]


def _best_boxes(folded: jax.Array, period: jax.Array, inverse_beta: jax.Array, segment: Segment) -> jax.Array:
    """(2, drifts, lanes): best ratio over epochs and widths, white and over the star's noise."""
    phases, lanes = segment.last - 1, inverse_beta.shape[1]
    around = folded[:, jnp.arange(phases + max(segment.widths)) % period]
    white = jnp.zeros((folded.shape[0], lanes), folded.dtype)
    scaled = white
    for k, (width, stride) in enumerate(zip(segment.widths, segment.strides, strict=True)):
        sums = _box_sums(around, width)[:, :phases:stride]
        x, w = sums[..., :lanes], sums[..., lanes:]
        inside = (jnp.arange(0, phases, stride) < period)[None, :, None]
        usable = inside & (w > COVERAGE * width / period) & (w < 1 - COVERAGE * width / period) & (x > 0)
        power = jnp.where(usable, x * x / jnp.where(usable, w * (1 - w), 1), 0)
        ratio = jnp.sqrt(power.max(axis=1))
        white = jnp.maximum(white, ratio)
        scaled = jnp.maximum(scaled, ratio * inverse_beta[k])
    return jnp.stack([white, scaled])


def _box_sums(values: jax.Array, width: int) -> jax.Array:
    """Sums of `width` neighbours along axis 1, by doubling: fewer roundings than differences of running sums."""
    length = values.shape[1] - width + 1
    total, done, power, span = None, 0, values, 1
    while True:
        if width & span:
            part = power[:, done : done + length]
            total = part if total is None else total + part
            done += span
        if 2 * span > width:
            assert total is not None
            return total
        power = power[:, :-span] + power[:, span:]
        span *= 2
