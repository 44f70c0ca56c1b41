"""One star's light in its neighbours: the same ephemeris again and again around the star that it comes from."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from survey.config import MatchConfig
from survey.runs.crossmatch.ephemerides import Indices, Signals, Values, codes_of, compare, each_once
from survey.runs.crossmatch.sky import find_near, group_positions, reach_of, separation

PAIRS_AT_ONCE = 1 << 20

TWICE_LISTED_ARCSEC = 1.0
"""Two entries of one catalogue this close are one star that it lists twice, as the TIC does here and there."""


def find_sources(stars: pl.DataFrame, signals: Signals, density: Values, config: MatchConfig) -> pl.DataFrame:
    """Looks for the ephemeris of every signal among those of the stars within reach: match_target, match_ratio and
    match_separation_arcsec of each, null where it is its star's own.

    stars: target_id and mission of each signal. Of two signals that match, the one that loses more light in its events
    (depth times flux) is the source; of several sources the strongest is named. Of all pairs that are compared no more
    than `config.chance` are expected to match by chance. Two signals of one star never match, nor do entries of one
    place (within `config.same_star_arcsec` in two catalogues), which are one star under two names.
    """
    reach = reach_of(stars["mission"].to_list(), signals.magnitude, config)
    pairs = list(_near_pairs(stars, signals, reach, config))
    total = sum(len(i) for i, _ in pairs)
    rank = np.empty(len(signals), np.int64)
    rank[np.lexsort((np.arange(len(signals)), -signals.strength))] = np.arange(len(signals))
    found = []
    for i, j in pairs:
        match = compare(signals, i, signals, j, density)
        real = match.same_period & match.same_epoch & (match.chance * total < config.chance)
        stronger_first = rank[i] < rank[j]
        parents, children = np.where(stronger_first, i, j)[real], np.where(stronger_first, j, i)[real]
        found.append((children, parents))
    children, parents = (np.concatenate([part[k] for part in found] or [np.empty(0, np.int64)]) for k in (0, 1))
    order = np.lexsort((rank[parents], children))
    first = np.unique(children[order], return_index=True)[1]
    children, parents = children[order][first], parents[order][first]
    apart = separation(signals.ra[children], signals.dec[children], signals.ra[parents], signals.dec[parents])
    ratio = signals.period[children] / signals.period[parents]
    return name_sources(len(signals), children, stars["target_id"].gather(parents), ratio, apart)


def name_sources(n: int, at: Indices, targets: pl.Series, ratio: Values, apart: Values) -> pl.DataFrame:
    """The columns of the sources of the signals `at`, null for the others of all n."""
    found = pl.DataFrame({"at": at, "match_target": targets, "match_ratio": ratio, "match_separation_arcsec": apart})
    return pl.DataFrame({"at": np.arange(n)}).join(found, on="at", how="left", maintain_order="left").drop("at")


def _near_pairs(
    stars: pl.DataFrame, signals: Signals, reach: Values, config: MatchConfig
) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of periodic signals of different stars of which one is within reach of the other, each pair once."""
    usable = np.flatnonzero(np.isfinite(signals.period) & np.isfinite(signals.epoch) & np.isfinite(signals.ra))
    places = group_positions(signals.ra[usable], signals.dec[usable])
    order = np.argsort(places, kind="stable")
    rows, places = usable[order], places[order]
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    counts = np.diff(np.append(starts, len(places)))
    ra, dec = signals.ra[rows[starts]], signals.dec[rows[starts]]
    radii = np.maximum.reduceat(reach[rows], starts) if len(starts) else np.empty(0)
    here, there = find_near(ra, dec, ra, dec, radii)
    apart = here != there
    keys = each_once((np.minimum(here, there) * len(ra) + np.maximum(here, there))[apart])
    low, high = np.divmod(keys, max(1, len(ra)))
    names, prefixes = codes_of(stars["target_id"]), codes_of(stars["target_id"].str.split(" ").list.first())
    for some in _batches(counts[low] * counts[high]):
        i, j = _all_of_both(rows, starts, counts, low[some], high[some])
        apart = separation(signals.ra[i], signals.dec[i], signals.ra[j], signals.dec[j])
        least = np.where(prefixes[i] == prefixes[j], TWICE_LISTED_ARCSEC, config.same_star_arcsec)
        different = (names[i] != names[j]) & (apart >= least)
        yield i[different], j[different]


def _batches(sizes: Indices) -> Iterator[slice]:
    """Slices of which each holds about PAIRS_AT_ONCE."""
    cuts = np.flatnonzero(np.diff(np.cumsum(sizes) // PAIRS_AT_ONCE, prepend=0, append=-1))
    for first, last in zip([0, *cuts[:-1]], cuts, strict=True):
        yield slice(first, last)


def _all_of_both(
    rows: Indices, starts: Indices, counts: Indices, low: Indices, high: Indices
) -> tuple[Indices, Indices]:
    """Every signal at one place with every signal at the other."""
    sizes = counts[low] * counts[high]
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    wide = np.repeat(counts[high], sizes)
    return (
        rows[np.repeat(starts[low], sizes) + within // wide],
        rows[np.repeat(starts[high], sizes) + within % wide],
    )
