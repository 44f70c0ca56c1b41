"""Many stars that dim at the same times, or with the same ephemeris: the spacecraft, not the stars."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.spatial import cKDTree
from scipy.stats import poisson

from survey.config import MatchConfig
from survey.runs.crossmatch.ephemerides import Indices, Mask, Signals, Values, codes_of, each_once

OUTNUMBER = 3.0
"""A pile-up has more stars than this times those expected, so that most of its events are not there by chance."""

FEW_TRANSITS = 3
"""Signals of so few transits are what systematics are mostly taken for."""

MOST_EVENTS = 60
"""Events predicted for one signal: one with few transits in years of gaps has too many to be compared."""

SAME_PHASE = 0.02
"""Epochs differ by less than this share of the period where an ephemeris is shared."""


@dataclass(frozen=True)
class Shared:
    """(n,) each. others: other stars that dim at the same times, -1 where not counted; strongest: the signal with the
    highest MES among those that share them, -1 for none but itself."""

    systematic: Mask
    others: Indices
    strongest: Indices


def find_shared(stars: pl.DataFrame, signals: Signals, use: Mask, config: MatchConfig) -> Shared:
    """What many stars share. stars: target_id, mission, channel, observed, n_transits, covered_d, mes of each signal.

    use: signals to be counted; those that are known to come from another star are left out, lest a binary and its
    neighbours look like a crowd.
    """
    systematic, others = np.zeros(len(signals), bool), np.full(len(signals), -1, np.int64)
    strongest = np.full(len(signals), -1, np.int64)
    for found in (_shared_epochs(stars, signals, use, config), _shared_ephemerides(stars, signals, use, config)):
        new = found.systematic & ~systematic
        strongest[new] = found.strongest[new]
        systematic |= found.systematic
        others = np.maximum(others, found.others)
    return Shared(systematic, others, strongest)


# Epochs


class Events(NamedTuple):
    """Predicted transits: the signal that each belongs to, and its time (BJD), (m,) each."""

    signal: Indices
    time: Values


def _shared_epochs(stars: pl.DataFrame, signals: Signals, use: Mask, config: MatchConfig) -> Shared:
    """Counts the stars that dim in each bin of time and compares with what chance would bring.

    Like Kepler's Skye (Thompson et al. 2018, ApJS 235, 38), per mission and per channel (TESS camera and CCD, Kepler
    module and output) for stars that stayed on one, and once more for signals of few transits alone, which drown among
    those of many. Expected are as many events of a signal in a bin as it has per day of data; the number of stars is
    taken as Poisson, and no more than `config.chance` bins of the sweep should be called a pile-up by chance. A signal
    is systematic if more than half of its transits fall into pile-ups.
    """
    transits = stars["n_transits"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    usable = use & (transits <= config.pile_up_transits)
    events = _predict(signals, usable)
    owners = codes_of(stars["target_id"])
    rates = transits / np.fmin(stars["covered_d"].fill_null(np.nan).to_numpy(), signals.baseline)
    piled, crowd = np.zeros(len(events.time), bool), np.zeros(len(events.time), np.int64)
    bins = np.full(len(events.time), -1, np.int64)
    for number, (groups, shift) in enumerate(_groupings(stars, usable, transits)):
        pile = _count_stars(events, groups, owners, signals, rates, shift, config)
        bins = np.where(pile.significant & ~piled, pile.bin + (number << 48), bins)
        piled |= pile.significant
        crowd = np.maximum(crowd, pile.stars)
    return _judge(events, piled, crowd, bins, transits, stars["mes"].fill_null(0.0).to_numpy(), owners)


def _groupings(stars: pl.DataFrame, usable: Mask, transits: Values) -> Iterator[tuple[Indices, float]]:
    """Number of the group of each signal, -1 for none, and the shift of the grid in bins."""
    for column in ("mission", "channel"):
        codes = codes_of(stars[column].fill_null(""))
        for counted in (usable, usable & (transits <= FEW_TRANSITS)):
            groups = np.where(counted & stars[column].is_not_null().to_numpy(), codes, -1)
            yield from ((groups, shift) for shift in (0.0, 0.5))


def _predict(signals: Signals, use: Mask) -> Events:
    """The transits of every usable signal from its epoch to the end of its data; a single transit is one."""
    counts = np.where(np.isfinite(signals.period), np.floor(signals.baseline / signals.period) + 1, 1)
    usable = use & np.isfinite(signals.epoch) & np.isfinite(signals.baseline) & (counts <= MOST_EVENTS)
    chosen = np.flatnonzero(usable)
    sizes = counts[chosen].astype(np.int64)
    owners = np.repeat(chosen, sizes)
    numbers = np.arange(len(owners)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return Events(owners, signals.epoch[owners] + numbers * np.nan_to_num(signals.period[owners]))


class Pile(NamedTuple):
    """Of every event: its bin, the stars in it, and whether they are more than chance allows."""

    bin: Indices
    stars: Indices
    significant: Mask


@dataclass(frozen=True)
class TimeBins:
    """Bins of time, for each group of signals its own: `groups` (n,) of all signals."""

    groups: Indices
    begin: float
    width: float
    shift: float
    per_group: int

    def __len__(self) -> int:
        return (int(self.groups.max()) + 1) * self.per_group

    def number(self, times: Values, rows: Indices) -> Indices:
        """Of the bin of each time, for the signals `rows`."""
        within = np.floor((times - self.begin) / self.width + self.shift).astype(np.int64)
        return self.groups[rows] * self.per_group + within


def _count_stars(
    events: Events,
    groups: Indices,
    owners: Indices,
    signals: Signals,
    rates: Values,
    shift: float,
    config: MatchConfig,
) -> Pile:
    """Counts the stars of each group in each bin and says where they are a crowd."""
    grouped = groups[events.signal] >= 0
    if not grouped.any():
        return Pile(*(np.zeros(len(events.time), kind) for kind in (np.int64, np.int64, bool)))
    rows, width = each_once(events.signal[grouped]), config.pile_up_hours / 24.0
    # The data begin within a period before the epoch, and end no later than a baseline after it.
    first = signals.epoch[rows] - np.fmin(signals.period, signals.baseline)[rows]
    last = signals.epoch[rows] + signals.baseline[rows]
    begin = float(first.min()) - width
    time_bins = TimeBins(groups, begin, width, shift, int((last.max() - begin) / width + shift) + 3)
    bins = np.where(grouped, time_bins.number(events.time, events.signal), 0)

    n_owners = int(owners.max()) + 1
    distinct = each_once(bins[grouped] * n_owners + owners[events.signal[grouped]]) // n_owners
    stars = np.bincount(distinct, minlength=len(time_bins))
    change, rate = np.zeros(len(time_bins)), np.nan_to_num(rates[rows]) * width
    np.add.at(change, time_bins.number(first, rows), rate)
    np.add.at(change, time_bins.number(last, rows) + 1, -rate)
    expected = np.fmax(np.cumsum(change.reshape(-1, time_bins.per_group), axis=1).ravel(), 0.0)
    significant = _is_crowd(stars, expected, config)
    return Pile(bins, np.where(grouped, stars[bins], 0), grouped & significant[bins])


def _is_crowd(stars: Indices, expected: Values, config: MatchConfig) -> Mask:
    """Of every bin: whether more stars dim in it than chance allows."""
    crowd = (stars >= config.pile_up_stars) & (stars > OUTNUMBER * expected)
    trials = N_GROUPINGS * np.count_nonzero(expected > 0)
    crowd[crowd] = trials * poisson.sf(stars[crowd] - 1, expected[crowd]) < config.chance
    return crowd


N_GROUPINGS = 8
"""Of `_groupings`: every bin is tried as often."""


def _judge(
    events: Events, piled: Mask, crowd: Indices, bins: Indices, transits: Values, mes: Values, owners: Indices
) -> Shared:
    n = len(transits)
    predicted = np.bincount(events.signal, minlength=n)
    inside = np.bincount(events.signal, weights=piled, minlength=n)
    systematic = (predicted > 0) & (inside > 0.5 * np.fmin(predicted, np.nan_to_num(transits, nan=np.inf)))
    others = np.full(n, -1, np.int64)
    order = np.lexsort((crowd, events.signal))
    starts = np.cumsum(predicted) - predicted
    counted = np.flatnonzero(predicted)
    others[counted] = np.fmax(crowd[order][starts[counted] + (predicted[counted] - 1) // 2] - 1, 0)
    return Shared(systematic, others, _strongest(events, piled, bins, mes, owners))


def _strongest(events: Events, piled: Mask, bins: Indices, mes: Values, owners: Indices) -> Indices:
    """Of every signal, the one of another star with the highest MES in the first pile-up that it takes part in."""
    strongest = np.full(len(mes), -1, np.int64)
    signal = events.signal[piled]
    leader = _leaders(signal, bins[piled], mes)
    another = (leader >= 0) & (owners[leader] != owners[signal])
    who, first = np.unique(signal[another], return_index=True)
    strongest[who] = leader[another][first]
    return strongest


def _leaders(rows: Indices, places: Indices, mes: Values) -> Indices:
    """Of each row the one with the highest MES at the same place; -1 for that one itself."""
    order = np.lexsort((rows, -mes[rows], places))
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    leaders = np.empty_like(rows)
    leaders[order] = np.repeat(rows[order][starts], np.diff(np.append(starts, len(rows))))
    return np.where(leaders == rows, -1, leaders)


# Ephemerides


def _shared_ephemerides(stars: pl.DataFrame, signals: Signals, use: Mask, config: MatchConfig) -> Shared:
    """Counts the signals with one period and epoch among stars that were observed together.

    Expected is the share of those with the same period that any epochs would bring together. This finds what repeats
    too often for single epochs to stand out, as a heater or a reaction wheel does.
    """
    systematic, others = np.zeros(len(signals), bool), np.full(len(signals), -1, np.int64)
    strongest = np.full(len(signals), -1, np.int64)
    usable = use & np.isfinite(signals.period) & np.isfinite(signals.epoch) & (signals.baseline > 0)
    observed = pl.col("observed").cast(pl.List(pl.String)).list.join(",").fill_null("")
    together = codes_of(stars.select(pl.format("{} {}", "mission", observed)).to_series())
    mes = stars["mes"].fill_null(0.0).to_numpy()
    for rows in _groups(np.flatnonzero(usable), together):
        if len(rows) < config.pile_up_stars:
            continue
        count, expected, cells = _same_ephemerides(signals, rows)
        crowded = (count + 1 >= config.pile_up_stars) & (count > OUTNUMBER * expected)
        chance = poisson.sf(count[crowded] - 1, expected[crowded]) * np.count_nonzero(usable)
        crowded[crowded] = chance < config.chance
        others[rows] = np.where(crowded, count, -1)
        systematic[rows] = crowded
        members = np.flatnonzero(crowded)
        strongest[rows[members]] = _leaders(rows[members], cells[members], mes)
    return Shared(systematic, others, strongest)


def _groups(rows: Indices, codes: Indices) -> Iterator[Indices]:
    order = rows[np.argsort(codes[rows], kind="stable")]
    yield from np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def _same_ephemerides(signals: Signals, rows: Indices) -> tuple[Indices, Values, Indices]:
    """Of each signal of a group: how many others share its ephemeris, how many would by chance, and its place."""
    period = signals.period[rows]
    tolerance = float(np.nanmedian(signals.duration[rows]) / 2 / np.median(signals.baseline[rows]))
    begin = np.median(signals.epoch[rows])
    phases = ((signals.epoch[rows] - begin) / period) % 1.0
    points = np.stack([np.log(period) / tolerance, np.fmin(phases / SAME_PHASE, 1 / SAME_PHASE * (1 - 1e-12))], axis=-1)
    tree = cKDTree(points, boxsize=[0.0, 1 / SAME_PHASE])
    count = tree.query_ball_point(points, 1.0, p=np.inf, return_length=True).astype(np.int64) - 1
    ordered = np.sort(points[:, 0])
    same_period = np.searchsorted(ordered, points[:, 0] + 1, "right") - np.searchsorted(ordered, points[:, 0] - 1)
    cells = np.round(points[:, 0]).astype(np.int64) * 1000 + np.round(points[:, 1]).astype(np.int64)
    expected: Values = 2 * SAME_PHASE * same_period.astype(float)
    return count, expected, cells - cells.min()
