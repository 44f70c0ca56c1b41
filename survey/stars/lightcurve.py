"""A star's light curve as arrays, and what is done to it before any trend is removed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from survey.errors import BadFile

Times = NDArray[np.float64]
Fluxes = NDArray[np.float32]
Mask = NDArray[np.bool_]
Indices = NDArray[np.int64]

DAY_S = 86_400.0


@dataclass(frozen=True)
class Star:
    """Stellar parameters from the file's header; None where the file has none."""

    magnitude: float | None = None
    teff: float | None = None
    radius: float | None = None
    logg: float | None = None
    ra: float | None = None
    dec: float | None = None


@dataclass(frozen=True)
class Product:
    """Where a stretch of a light curve came from (fields as `schema.PRODUCT`)."""

    product: str
    sha256: str
    observation: int | None
    author: str
    pipeline: str | None
    flux_column: str
    quality_mask: int
    cadence_s: float
    n_cadences: int
    crowding: float | None = None
    camera: int | None = None
    ccd: int | None = None


@dataclass(frozen=True)
class LightCurve:
    """Good cadences of one star in order of time.

    time: days since `time_zero` (BJD, TDB), float64; flux: over the median of its observation (the file's own unit
    before `normalise`), float32; flux_err: same scale. The cadences of a product are contiguous:
    `products[k].n_cadences` of them, one product after another. notes: what had to be guessed or was left out.
    """

    target_id: str
    mission: str
    time: Times
    flux: Fluxes
    flux_err: Fluxes
    time_zero: float
    products: tuple[Product, ...]
    star: Star = field(default_factory=Star)
    notes: tuple[str, ...] = ()

    @property
    def cadence_s(self) -> float:
        """Longest time between cadences among the products, seconds."""
        return max(product.cadence_s for product in self.products)

    @property
    def baseline(self) -> float:
        """Last time minus first, days."""
        return float(self.time[-1] - self.time[0])

    @property
    def observations(self) -> list[int]:
        return [product.observation for product in self.products if product.observation is not None]

    def starts(self) -> Indices:
        """Index of the first cadence of every product."""
        counts = [product.n_cadences for product in self.products]
        return np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)


def take(lc: LightCurve, keep: Mask) -> LightCurve:
    """The cadences where `keep` (n,) is true; products that lose all of theirs go."""
    if keep.all():
        return lc
    counts = np.add.reduceat(keep, lc.starts(), dtype=np.int64)
    products = tuple(
        replace(product, n_cadences=int(count)) for product, count in zip(lc.products, counts, strict=True) if count
    )
    return replace(lc, time=lc.time[keep], flux=lc.flux[keep], flux_err=lc.flux_err[keep], products=products)


def normalise(lc: LightCurve) -> LightCurve:
    """Flux and error over the median flux of each product [science rule 8].

    Raises BadFile where a median is not positive: such a flux has no relative scale.
    """
    medians = [float(np.median(part)) for part in np.split(lc.flux, lc.starts()[1:])]
    for product, median in zip(lc.products, medians, strict=True):
        if not median > 0:
            raise BadFile(f"{product.product}: the median of {product.flux_column} is {median:g}, not above zero")
    scale = np.repeat(medians, [product.n_cadences for product in lc.products])
    with np.errstate(over="ignore"):
        flux, error = (lc.flux / scale).astype(np.float32), (lc.flux_err / scale).astype(np.float32)
    return replace(lc, flux=flux, flux_err=error)


def stitch(curves: Sequence[LightCurve]) -> LightCurve:
    """One light curve from several of the same star, in order of time.

    Where two overlap, the cadences of the one that begins later are left out until the other ends, so that no stretch
    of time is counted twice; `notes` says so. Stellar parameters come from the latest product that has them.
    """
    ordered = sorted(curves, key=lambda lc: (lc.time[0], lc.products[0].product))
    first = ordered[0]
    kept, notes, end = [], [note for lc in ordered for note in lc.notes], -np.inf
    for lc in ordered:
        if (lc.target_id, lc.mission, lc.time_zero) != (first.target_id, first.mission, first.time_zero):
            raise ValueError(f"{lc.target_id} ({lc.mission}) and {first.target_id} ({first.mission}) are not one star")
        after = lc.time > end
        if not after.all():
            lost = int(after.size - np.count_nonzero(after))
            notes.append(f"{lc.products[0].product}: {lost} cadences left out, another product covers their time")
        if after.any():
            kept.append(take(lc, after))
            end = float(kept[-1].time[-1])
    return replace(
        first,
        time=np.concatenate([lc.time for lc in kept]),
        flux=np.concatenate([lc.flux for lc in kept]),
        flux_err=np.concatenate([lc.flux_err for lc in kept]),
        products=tuple(product for lc in kept for product in lc.products),
        star=_merge_stars([lc.star for lc in kept]),
        notes=tuple(notes),
    )


def _merge_stars(stars: Sequence[Star]) -> Star:
    known = [{name.name: getattr(star, name.name) for name in fields(Star)} for star in stars]
    merged = {name: value for star in known for name, value in star.items() if value is not None}
    return Star(**merged)


def find_gaps(time: Times, gap_days: float) -> Indices:
    """Index of the first cadence after every hole in time longer than `gap_days` [science rule 10]."""
    return np.flatnonzero(np.diff(time) > gap_days) + 1


def drop_edges(lc: LightCurve, hours: float, gap_days: float) -> LightCurve:
    """Without the cadences closer than `hours` to a gap or to either end, where systematics are worst."""
    if hours <= 0:
        return lc
    borders = np.concatenate([[0], find_gaps(lc.time, gap_days), [lc.time.size]])
    first, last = lc.time[borders[:-1]], lc.time[borders[1:] - 1]
    counts = np.diff(borders)
    inside = (lc.time - np.repeat(first, counts) >= hours / 24) & (np.repeat(last, counts) - lc.time >= hours / 24)
    return take(lc, inside)


def bin_in_time(lc: LightCurve, max_cadences: int) -> LightCurve:
    """A light curve of more than `max_cadences` cadences averaged in time until it has no more [science rule 15].

    Bins are a whole number of cadences wide, never reach over two products, and hold the weighted mean of time and
    flux; the error is that of the mean, and `cadence_s` grows with the bin. Products already coarser stay as they are.
    """
    if lc.time.size <= max_cadences:
        return lc
    factor = int(np.ceil(lc.time.size / max_cadences))
    width_s = factor * min(product.cadence_s for product in lc.products)
    while True:
        binned = _bin_products(lc, width_s)
        if binned.time.size <= max_cadences:
            return binned
        width_s *= max(1.05, binned.time.size / max_cadences)


def _bin_products(lc: LightCurve, width_s: float) -> LightCurve:
    borders = [*lc.starts().tolist(), lc.time.size]
    times, fluxes, errors, products = [], [], [], []
    for product, start, stop in zip(lc.products, borders, borders[1:], strict=False):
        time, flux, err = lc.time[start:stop], lc.flux[start:stop], lc.flux_err[start:stop]
        per_bin = max(1, round(width_s / product.cadence_s))
        if per_bin > 1:
            # Half a cadence of room, so that jitter of the time stamps moves no cadence over a border.
            width, room = per_bin * product.cadence_s / DAY_S, product.cadence_s / DAY_S / 2
            number = np.floor((time - time[0] + room) / width).astype(np.int64)
            first = np.flatnonzero(np.diff(number, prepend=-1))
            weight = 1.0 / np.square(err.astype(np.float64))
            total = np.add.reduceat(weight, first)
            time = np.add.reduceat(weight * (time - time[0]), first) / total + time[0]
            flux = (np.add.reduceat(weight * flux, first) / total).astype(np.float32)
            err = (1.0 / np.sqrt(total)).astype(np.float32)
        times.append(time)
        fluxes.append(flux)
        errors.append(err)
        products.append(replace(product, n_cadences=time.size, cadence_s=product.cadence_s * per_bin))
    return replace(
        lc,
        time=np.concatenate(times),
        flux=np.concatenate(fluxes),
        flux_err=np.concatenate(errors),
        products=tuple(products),
    )


def fill_gaps(time: Times, flux: Fluxes, *, longest_days: float) -> tuple[Times, Fluxes, Mask]:
    """An even series: missing cadences filled by straight lines, in gaps of at most `longest_days`.

    Returns time, flux and a mask that is true where a value was filled in (what a model sees, no search may use).
    """
    steps = np.diff(time)
    if steps.size == 0:
        return time.copy(), flux.copy(), np.zeros(time.size, bool)
    cadence = float(np.median(steps))
    missing = np.where(steps <= longest_days, np.maximum(np.rint(steps / cadence).astype(np.int64) - 1, 0), 0)
    place = np.repeat(np.arange(steps.size), missing)
    within = np.arange(place.size) - np.repeat(np.cumsum(missing) - missing, missing) + 1
    added = time[place] + steps[place] * within / (missing[place] + 1)
    where = place + 1
    filled = np.insert(np.zeros(time.size, bool), where, True)
    return np.insert(time, where, added), np.insert(flux, where, np.interp(added, time, flux)), filled


def invert(lc: LightCurve) -> LightCurve:
    """Upside down about 1: dips become bumps, and what a search then finds is a false alarm [science rule 19]."""
    return replace(lc, flux=(2.0 - lc.flux).astype(np.float32))


def scramble(lc: LightCurve, rng: np.random.Generator, *, block_days: float = 1.0, gap_days: float = 0.5) -> LightCurve:
    """The same noise in another order: blocks of `block_days` change places, so that nothing stays periodic.

    A block is moved as its departure from the straight line between the levels at its two ends, and put on the line of
    its new place: no steps appear at the seams. What is left at the end of a stretch without gaps stays in place.
    """
    n_block = max(8, round(block_days * DAY_S / lc.cadence_s))
    borders = np.concatenate([[0], find_gaps(lc.time, gap_days), [lc.time.size]])
    blocks = [begin for start, stop in pairwise(borders) for begin in range(start, stop - n_block + 1, n_block)]
    if len(blocks) < 2:
        return lc
    cadences = np.asarray(blocks)[:, None] + np.arange(n_block)
    edge = max(2, n_block // 16)
    flux = lc.flux[cadences].astype(np.float64)
    left, right = np.median(flux[:, :edge], axis=1), np.median(flux[:, -edge:], axis=1)
    line = left[:, None] + (right - left)[:, None] * np.linspace(0.0, 1.0, n_block)
    order = rng.permutation(len(blocks))
    scrambled, errors = lc.flux.copy(), lc.flux_err.copy()
    scrambled[cadences] = (line + (flux - line)[order]).astype(np.float32)
    errors[cadences] = lc.flux_err[cadences][order]
    return replace(lc, flux=scrambled, flux_err=errors)
