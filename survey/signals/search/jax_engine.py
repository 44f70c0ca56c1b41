"""The JAX engine: the same folding on whatever XLA compiles for, thousands of stars side by side on a GPU.

It adds the same numbers in the same order as `reference.fold_rows` and differs in how they are reached:

- Up to three levels of the folding are one pass over memory. Let Q rows of drift i, each folded from n rows, be joined.
  Under the drift s = Q i + c row b moves by m(b, s), the sum of the moves of its halves on the way up,
      m(b, s) = m(b, s // 2) in the first half,  (s + 1) // 2 + m(b - Q / 2, s // 2) in the second,
  and the row of drift s is the sum of Q rows, read at moved phases: no level between is written.
- Shapes are static. Rows are as long as the longest period of the segment and one box beyond; phase j stands for
  j modulo the period, so that no box has to wrap, and epochs from the period on are masked.
- Boxes of stride 2^k are sums of a few neighbours on the k-th level of a pyramid of pair sums.
- The highest X |X| / (W (1 - W)) is the square of the best dip, the lowest that of the best rise: the light curve and
  its inverse share folding and boxes. Roots are taken of maxima only.

Stars are the last axis, signals first and then weights: neighbours in memory, whatever is read. Nothing of the package
is imported to run, so that `benchmarks/gpu.py` can load this file on a machine that has little more than JAX.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

# A search actor may share its GPU with a classifier: take memory as it is needed.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from survey.signals.search.plan import Segment

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

COVERAGE = 0.3
"""As `reference.COVERAGE`."""

LANES = {"cpu": (32, 64, 2**22), "gpu": (128, 8192, 2**30)}
"""Stars folded together, least and most, and the memory that their rows should keep to, in bytes: a CPU likes what its
caches hold, a GPU what hides its launches."""

RADIX = 8
"""Rows joined in one pass, at most."""


def search_segment(signal: Floats, weight: Floats, inverse_beta: Floats, segment: Segment) -> Floats:
    """As `reference.search_segment`, for any number of lanes."""
    parts = start_search(signal, weight, inverse_beta, segment)
    return np.concatenate([np.asarray(part) for part in parts], axis=1)[:, : len(signal)]


def start_search(signal: Floats, weight: Floats, inverse_beta: Floats, segment: Segment) -> list[jax.Array]:
    """The spectra of each batch, on the device and perhaps not ready yet; the last batch is filled up."""
    lanes = min(_most_lanes(segment), 2 ** (len(signal) - 1).bit_length())
    return [
        _search(*(fill(rows[start : start + lanes], lanes) for rows in (signal, weight, inverse_beta)), segment)
        for start in range(0, len(signal), lanes)
    ]


def _most_lanes(segment: Segment) -> int:
    """Stars that are folded together on this machine, a power of two."""
    least, most, memory = LANES["cpu" if jax.default_backend() == "cpu" else "gpu"]
    affordable = memory // (8 * segment.rows * row_length(segment))
    return min(max(least, 2 ** (affordable.bit_length() - 1) if affordable else 0), most)


def row_length(segment: Segment) -> int:
    """Phases of a folded row: the longest period, and one box beyond its end."""
    return segment.last - 1 + max(segment.widths)


def fill(rows: Floats, lanes: int) -> Floats:
    """As many rows as the compiled program expects, the missing ones empty."""
    return np.pad(rows, ((0, lanes - len(rows)), (0, 0))) if len(rows) < lanes else rows


@functools.partial(jax.jit, static_argnames="segment")
def _search(signal: jax.Array, weight: jax.Array, inverse_beta: jax.Array, segment: Segment) -> jax.Array:
    """(3, lanes, trials): the white, the scaled and the inverted spectrum."""
    bins = stack_bins(signal, weight)

    def try_period(period: jax.Array) -> jax.Array:
        return _best_boxes(_fold(bins, period, segment), period, inverse_beta.T, segment)

    spectra = jax.lax.map(try_period, jnp.arange(segment.first, segment.last))
    return spectra.transpose(1, 3, 0, 2).reshape(3, len(signal), segment.n_trials)


def stack_bins(signal: jax.Array, weight: jax.Array) -> jax.Array:
    """(bins + 1, 2 lanes): signals and weights side by side, and an empty bin that stands for all beyond the data."""
    return jnp.pad(jnp.concatenate([signal, weight]).T, ((0, 1), (0, 0)))


def _fold(bins: jax.Array, period: jax.Array, segment: Segment) -> jax.Array:
    """(drifts, phases, 2 lanes): the rows of every drift that is tried."""
    phases, joined, folded, length = row_length(segment), 1, bins, period
    for radix in radices(segment.rows):
        joined *= radix
        drifts = segment.drifts if joined == segment.rows else np.arange(segment.rows)
        folded = join_rows(folded, length, period, phases, *moves(drifts, radix, joined))
        length = jnp.asarray(phases)
    return folded.reshape(len(segment.drifts), phases, -1)


def radices(rows: int, most: int = RADIX) -> list[int]:
    """Rows joined in each pass: a factor of three in the first, and an even share of the powers of two."""
    shares = [3 * min(rows // 3, 2 ** ((most // 3).bit_length() - 1))] if rows % 3 == 0 else []
    power = (rows // shares[0] if shares else rows).bit_length() - 1
    for passes in range(-(-power // (most.bit_length() - 1)), 0, -1):
        share = -(-power // passes)
        shares.append(2**share)
        power -= share
    return shares


def moves(drifts: Integers, radix: int, joined: int) -> tuple[Integers, Integers]:
    """Of each drift (of all groups of `joined` rows in turn): the rows that it joins, and how far; (radix, drifts)."""
    group, drift = np.divmod(drifts, joined)
    number = np.arange(radix)[:, None]
    rows = (group * radix + number) * (joined // radix) + drift // radix
    return rows, np.stack(_moves(drift, radix))


def _moves(drift: Integers, rows: int) -> list[Integers]:
    if rows == 1:
        return [0 * drift]
    if rows == 3:
        return [0 * drift, (drift + 1) // 2, drift]
    half = _moves(drift // 2, rows // 2)
    return half + [(drift + 1) // 2 + move for move in half]


def join_rows(
    source: jax.Array, length: jax.Array, period: jax.Array, phases: int, rows: Integers, moves: Integers
) -> jax.Array:
    """(drifts * phases, 2 lanes): sums of rows under their moves. rows, moves: (radix, drifts).

    source: the bins, of which `length` make a row; what lies beyond them is read from the last one.
    """
    phase = jnp.arange(phases) % period

    def join(numbered: tuple[jax.Array, jax.Array]) -> jax.Array:
        parts = []
        for row, move in zip(*numbered, strict=True):
            moved = phase + (move % period)[:, None]
            moved = jnp.where(moved < period, moved, moved - period) + (row * length)[:, None]
            parts.append(source.at[jnp.minimum(moved, len(source) - 1)].get(mode="promise_in_bounds"))
        return add_rows(parts)

    # In two or three steps of a loop: XLA would otherwise recompute the sums wherever they are used.
    steps = next((count for count in (2, 3) if rows.shape[1] % count == 0), 1)
    numbered = tuple(
        jnp.asarray(table.reshape(len(table), steps, -1).swapaxes(0, 1), jnp.int32) for table in (rows, moves)
    )
    return jax.lax.map(join, numbered).reshape(-1, source.shape[1])


def add_rows(parts: list[jax.Array]) -> jax.Array:
    """The sum, in the order of `reference.fold_rows`."""
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 3:
        return parts[0] + (parts[1] + parts[2])
    half = len(parts) // 2
    return add_rows(parts[:half]) + add_rows(parts[half:])


def _best_boxes(folded: jax.Array, period: jax.Array, inverse_beta: jax.Array, segment: Segment) -> jax.Array:
    """(3, drifts, lanes): the best ratios over epochs and widths: white, scaled, and scaled of the inverse."""
    drifts, lanes = len(segment.drifts), inverse_beta.shape[1]
    x, w = folded[..., :lanes], folded[..., lanes:]
    best, level = jnp.zeros((3, drifts, lanes), folded.dtype), 1
    for k, (width, stride) in enumerate(zip(segment.widths, segment.strides, strict=True)):
        while level < stride:
            x, w, level = _add_pairs(x), _add_pairs(w), 2 * level
        epochs = jnp.arange(0, segment.last - 1, stride)[:, None]
        inside = _add_neighbours(x, width // stride, len(epochs))
        weight = _add_neighbours(w, width // stride, len(epochs))
        variance, least = weight * (1 - weight), COVERAGE * width / period
        usable = (variance > least * (1 - least)) & (epochs < period)
        power = jnp.where(usable, inside * jnp.abs(inside) / variance, 0)
        dip, rise = jnp.sqrt(jnp.maximum(jnp.stack([power.max(axis=1), -power.min(axis=1)]), 0))
        best = jnp.maximum(best, jnp.stack([dip, dip * inverse_beta[k], rise * inverse_beta[k]]))
    return best


def _add_pairs(values: jax.Array) -> jax.Array:
    return values[:, :-1:2] + values[:, 1::2]


def _add_neighbours(values: jax.Array, count: int, length: int) -> jax.Array:
    return functools.reduce(jnp.add, (values[:, start : start + length] for start in range(count)))
