"""What only the whole sweep can see, and the catalogues: fields as `schema.MATCH_FIELDS`.

One star's light in its neighbours (`contamination`), many stars that dim together (`systematics`), and what is listed
already (`known`). A signal that comes from elsewhere is flagged and no candidate; the star that it comes from keeps
its own.
"""

from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from survey import schema
from survey.config import Config
from survey.runs.crossmatch.contamination import find_sources
from survey.runs.crossmatch.ephemerides import density_of_periods, signals_of
from survey.runs.crossmatch.known import CONFIRMED, find_known
from survey.runs.crossmatch.systematics import find_shared

MATCH_NAMES: Final = tuple(field.name for field in schema.MATCH_FIELDS)

KNOWN_NAMES: Final = tuple(name for name in MATCH_NAMES if name.startswith(("novelty", "known_")))

KNOWN_WORDS: Final = {"novelty": pl.String, "known_disposition": pl.String}

MATCHED: Final = pa.schema([field for field in schema.CANDIDATE if field.name != "rank"])

FOUND: Final = pa.schema(
    [
        *[field for field in MATCHED if field.name not in MATCH_NAMES],
        pa.field("channel", pa.string()),
        pa.field("covered_d", pa.float64()),
    ]
)
"""A row a TCE, before it is matched. channel: camera and CCD, or module and output, of a star that stayed on one;
covered_d: days of data."""

COMPARED: Final = (
    "target_id", "mission", "period", "period_err", "epoch_bjd", "epoch_err", "duration_h", "depth_ppm", "mes",
    "n_transits", "baseline_d", "magnitude", "ra", "dec", "observed", "channel", "covered_d",
)  # fmt: skip

JUDGED: Final = ("is_candidate", "not_transit_like", "flags", "star_class", "class_evidence")

VERDICTS: Final = pa.schema([field for field in MATCHED if field.name in (*JUDGED, *MATCH_NAMES)])
"""What the sweep and the catalogues say of a signal, or change in what was said of it."""

READ: Final = (*COMPARED, *JUDGED)
"""Of FOUND, what that follows from: all else need not be in memory."""

FLAG_OF_KIND: Final = {"contamination": "ephemeris_match", "systematics": "shared_epoch"}


def crossmatch(found: pa.Table, listed: pl.DataFrame | None, config: Config) -> pa.Table:
    """Rows of FOUND as rows of MATCHED, in the same order.

    listed: the catalogues' signals (`catalogs.signals_table`); None: none are at hand, and novelty is null. Signals
    that come from another star get the flag ephemeris_match, those that many stars share shared_epoch, and neither
    is a candidate unless `gate.informative` has the flag. A star that was a planet candidate for such signals alone is
    one no more: `star_class` becomes systematics where its times are shared, and null where the light is another
    star's, as then nothing is known to stand out in its own.
    """
    return with_verdicts(found, judge_signals(found, listed, config))


def judge_signals(found: pa.Table, listed: pl.DataFrame | None, config: Config) -> pa.Table:
    """The columns of VERDICTS for each signal. found: of FOUND the columns READ are enough."""
    if len(found) == 0:
        return VERDICTS.empty_table()
    judged = _reclass(_judge_again(_frame(found, ("target_id", *JUDGED)).hstack(_match(found, listed, config)), config))
    changed = judged.select(VERDICTS.names).to_arrow()
    return pa.Table.from_arrays([changed.column(field.name).cast(field.type) for field in VERDICTS], schema=VERDICTS)


def with_verdicts(found: pa.Table, verdicts: pa.Table) -> pa.Table:
    """Rows of FOUND, and what became of them, as rows of MATCHED."""
    columns = [(verdicts if field.name in VERDICTS.names else found).column(field.name) for field in MATCHED]
    return pa.Table.from_arrays(columns, schema=MATCHED)


def _frame(table: pa.Table, names: tuple[str, ...]) -> pl.DataFrame:
    frame = pl.from_arrow(table.select(list(names)))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _match(found: pa.Table, listed: pl.DataFrame | None, config: Config) -> pl.DataFrame:
    """The columns of schema.MATCH_FIELDS.

    A source inside the sweep goes before one that is only listed; the listed planet that is confirmed has none.
    """
    stars = _frame(found, COMPARED).rename({"baseline_d": "baseline"})
    signals = signals_of(stars)
    density = density_of_periods(signals)
    sources = find_sources(stars, signals, density, config.match)
    novelty = pl.DataFrame({name: [None] * len(signals) for name in KNOWN_NAMES}, schema_overrides=KNOWN_WORDS)
    if listed is not None:
        novelty, outside = find_known(stars, signals, density, listed, config.match)
        inside = sources["match_target"].is_not_null()
        sources = sources.select(
            pl.when(inside).then(name).otherwise(outside[name]).alias(name) for name in sources.columns
        )
    settled = (novelty["novelty"] == "rediscovered") & novelty["known_disposition"].is_in(CONFIRMED)
    sources = sources.select(pl.when(~settled.fill_null(value=False)).then(pl.all()))
    own = sources["match_target"].is_null()
    shared = find_shared(stars, signals, own.to_numpy(), config.match)
    systematic = own & pl.Series(shared.systematic)
    strongest = stars["target_id"].gather(np.fmax(shared.strongest, 0))
    return sources.with_columns(
        ephemeris_match=~own,
        match_kind=pl.when(~own).then(pl.lit("contamination")).when(systematic).then(pl.lit("systematics")),
        match_target=pl.when(systematic & pl.Series(shared.strongest >= 0)).then(strongest).otherwise("match_target"),
        n_same_epoch=pl.Series(shared.others).replace(-1, None).cast(pl.Int32),
    ).hstack(novelty)


def _judge_again(matched: pl.DataFrame, config: Config) -> pl.DataFrame:
    """The verdict on every signal with what the sweep shows; `lost`: it was a candidate before."""
    flag, flags = pl.col("match_kind").replace_strict(FLAG_OF_KIND), pl.col("flags")
    refused = flag.is_not_null() & ~flag.is_in(list(config.gate.informative))
    return matched.with_columns(
        lost=(pl.col("is_candidate") & refused).fill_null(value=False),
        is_candidate=pl.col("is_candidate") & ~refused,
        not_transit_like=pl.col("not_transit_like") | (flag == "shared_epoch").fill_null(value=False),
        flags=pl.when(flag.is_null()).then(flags).otherwise(pl.concat_list(flags.fill_null([]), flag)),
    )


def _reclass(judged: pl.DataFrame) -> pl.DataFrame:
    """Takes the class planet_candidate from stars that have lost every candidate."""
    systematic = pl.col("match_kind") == "systematics"
    distance = pl.col("match_separation_arcsec").round(1)
    reason = (
        pl.when(systematic)
        .then(pl.format("{} other stars dim at the same times", "n_same_epoch"))
        .otherwise(pl.format("the signal is that of {}, {} arcsec away", "match_target", distance))
    )
    was_candidate = (pl.col("star_class") == "planet_candidate").fill_null(value=False)
    gone = was_candidate & (pl.col("lost").any() & ~pl.col("is_candidate").any()).over("target_id")
    shared = (pl.col("lost") & systematic).any().over("target_id")
    return judged.with_columns(
        star_class=pl.when(gone & shared).then(pl.lit("systematics")).when(~gone).then("star_class"),
        class_evidence=pl.when(gone)
        .then(pl.concat_list(reason.filter(pl.col("lost")).first().over("target_id")))
        .otherwise("class_evidence"),
    )
