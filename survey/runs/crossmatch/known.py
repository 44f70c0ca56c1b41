"""What the catalogues know of a signal, of its star, and of the stars around.

A signal is

- **rediscovered** where period (or a simple ratio of it) and epoch both agree with a listed signal of its star, or of
  the same star under another name: of any that is listed within `same_star_arcsec`, as no telescope here could tell;
- **known** where its star is listed but this signal is none of the listed ones beyond doubt: the period is another, or
  there is no epoch that could be compared; or where a star within reach lists a signal that this one may be;
- **new** where neither holds;
- null where no table of the star's mission is at hand.
"""

from typing import Final

import numpy as np
import polars as pl

from survey.config import MatchConfig
from survey.runs.crossmatch.contamination import name_sources
from survey.runs.crossmatch.ephemerides import Comparison, Indices, Signals, Values, compare, signals_of
from survey.runs.crossmatch.sky import find_near, reach_of, separation
from survey.stars.catalogs import CATALOGUES
from survey.stars.targets import MISSION_OF_PREFIX

CATALOGUE_ORDER: Final = tuple(CATALOGUES)
"""Where two catalogues list one signal equally well, the first of these is named."""

CONFIRMED: Final = ("CP", "KP", "CONFIRMED")
"""What catalogues call a planet that is beyond doubt its star's own."""


def find_known(
    stars: pl.DataFrame, signals: Signals, density: Values, listed: pl.DataFrame, config: MatchConfig
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Compares every signal with what the catalogues list of its star and of those within reach.

    stars: target_id and mission of each signal; listed: as `catalogs.signals_table` gives it. Returns the columns of
    novelty and of the listed signal, and those of the listed star that each signal comes from, as `find_sources` does.
    A neighbour is that if their ephemerides match (the periods alone where no epoch is listed), it loses more light in
    its events, and no more than `config.chance` of all such matches are expected by chance.
    """
    listed = _locate(listed, stars, signals)
    others = signals_of(listed)
    pairs = _pairs_of_stars(stars, signals, listed, others, config)
    i, j = pairs["signal"].to_numpy(), pairs["entry"].to_numpy()
    match = compare(signals, i, others, j, density)
    own = pairs["own"].to_numpy()
    agree = match.same_period & (match.same_epoch | ~match.comparable)
    neighbour = ~own & agree & (match.chance * int((~own).sum()) < config.chance)
    louder = others.strength[j] > _strength_beside(others, signals)[i]
    table = pl.DataFrame(
        {
            "signal": i,
            "entry": j,
            "found": own & match.same_period & match.same_epoch,
            "likely": agree,
            "own": own,
            "neighbour": neighbour,
            "source": neighbour & louder,
            "apart": pairs["apart"],
            "off": _off(signals, others, i, j, match),
            "ratio": signals.period[i] / others.period[j],
            "strength": others.strength[j],
        }
    )
    return _name(table, stars, listed), _sources(table, listed, len(signals))


def _locate(listed: pl.DataFrame, stars: pl.DataFrame, signals: Signals) -> pl.DataFrame:
    """The listed signals with BJD epochs, and the positions and magnitudes that the sweep knows where they lack."""
    here = pl.DataFrame(
        {"target_id": stars["target_id"], "ra": signals.ra, "dec": signals.dec, "magnitude": signals.magnitude}
    ).with_columns(pl.col("ra", "dec", "magnitude").fill_nan(None))
    known = here.unique("target_id", keep="first", maintain_order=True)
    zeros = {prefix: mission.time_zero for prefix, mission in MISSION_OF_PREFIX.items()}
    zero = pl.col("target_id").str.split(" ").list.first().replace_strict(zeros, return_dtype=pl.Float64)
    return (
        listed.join(known, on="target_id", how="left", suffix="_here", maintain_order="left")
        .with_columns(pl.coalesce(name, f"{name}_here").alias(name) for name in ("ra", "dec", "magnitude"))
        .with_columns(
            epoch_bjd=pl.col("epoch") + zero,
            order=pl.col("catalogue").replace_strict({name: k for k, name in enumerate(CATALOGUE_ORDER)}),
        )
    )


def _pairs_of_stars(
    stars: pl.DataFrame, signals: Signals, listed: pl.DataFrame, others: Signals, config: MatchConfig
) -> pl.DataFrame:
    """Every signal with every listed one of its star and of the stars within reach: signal, entry, apart (arcsec), and
    own for those of its star."""
    here = stars.select(target=pl.col("target_id")).with_row_index("signal")
    there = listed.select(other_target=pl.col("target_id")).with_row_index("entry")
    same = here.join(there, left_on="target", right_on="other_target").select("signal", "entry", apart=0.0, own=True)
    reach = np.fmax(reach_of(stars["mission"].to_list(), signals.magnitude, config), config.listed_reach_arcsec)
    i, j = find_near(signals.ra, signals.dec, others.ra, others.dec, reach)
    apart = separation(signals.ra[i], signals.dec[i], others.ra[j], others.dec[j])
    around = (
        pl.DataFrame(
            {"signal": i, "entry": j, "apart": apart}, schema_overrides={"signal": pl.UInt32, "entry": pl.UInt32}
        )
        .join(here, on="signal")
        .join(there, on="entry")
        .filter(pl.col("target") != pl.col("other_target"))
    )
    pairs = pl.concat([same, around.select("signal", "entry", "apart", own=pl.col("apart") < config.same_star_arcsec)])
    return pairs.with_columns(pl.col("signal", "entry").cast(pl.Int64)).sort("signal", "entry")


def _prefix() -> pl.Expr:
    return pl.col("target_id").str.split(" ").list.first()


def _strength_beside(others: Signals, signals: Signals) -> Values:
    """Strength of the signals, on the scale that the listed ones are on; those of unknown magnitude count as faint."""
    known = others.magnitude[np.isfinite(others.magnitude)]
    missing = float(known.max()) if len(known) else 0.0
    magnitude = np.where(np.isfinite(signals.magnitude), signals.magnitude, missing)
    return np.nan_to_num(signals.depth) * 10 ** (-0.4 * magnitude)


def _off(signals: Signals, others: Signals, i: Indices, j: Indices, match: Comparison) -> Values:
    """How far the periods are from the ratio where they agree, and from each other where they do not (ln P)."""
    logs = np.log(signals.period[i] / others.period[j])
    return np.where(match.same_period, np.abs(logs - np.log(match.ratio)), np.abs(logs))


def _name(table: pl.DataFrame, stars: pl.DataFrame, listed: pl.DataFrame) -> pl.DataFrame:
    """The columns of novelty: of every signal the listed one that it is, or may be, or that is nearest in period."""
    entries = listed.with_row_index("entry").with_columns(pl.col("entry").cast(pl.Int64))
    named = (
        table.filter(pl.col("own") | pl.col("neighbour"))
        .join(entries.select("entry", "name", "catalogue", "disposition", "order"), on="entry")
        .with_columns(pl.col("off").fill_nan(None))
        .sort(
            "signal", ~pl.col("found"), ~pl.col("own"), ~pl.col("likely"), pl.col("apart") > 0, "order", "off", "name",
            "entry",
            nulls_last=True,
        )
        .unique("signal", keep="first", maintain_order=True)
    )  # fmt: skip
    missions = {name.split(" ", 1)[0] for name in listed["target_id"].unique()}
    covered = [prefix for prefix in stars.select(_prefix()).to_series() if prefix in missions]
    row = stars.select("target_id", covered=_prefix().is_in(list(set(covered)))).with_row_index("signal")
    return (
        row.with_columns(pl.col("signal").cast(pl.Int64))
        .join(named, on="signal", how="left", maintain_order="left")
        .select(
            novelty=pl.when(pl.col("found"))
            .then(pl.lit("rediscovered"))
            .when(pl.col("entry").is_not_null())
            .then(pl.lit("known"))
            .when("covered")
            .then(pl.lit("new")),
            known_name="name",
            known_catalogue="catalogue",
            known_disposition="disposition",
            known_ratio=pl.col("ratio").fill_nan(None),
            known_separation_arcsec="apart",
        )
    )


def _sources(table: pl.DataFrame, listed: pl.DataFrame, n: int) -> pl.DataFrame:
    """The strongest listed neighbour that each signal comes from."""
    best = (
        table.filter("source")
        .sort("signal", "strength", "entry", descending=[False, True, False])
        .unique("signal", keep="first", maintain_order=True)
    )
    at, ratio, apart = (best[name].to_numpy() for name in ("signal", "ratio", "apart"))
    return name_sources(n, at, listed["target_id"].gather(best["entry"]), ratio, apart)
