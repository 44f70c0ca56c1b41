"""What two runs say of the same stars: which candidates are new, better, worse or gone, and whose files changed.

Signals of one star are the same where period and events agree within their errors (`crossmatch.ephemerides.compare`),
at the period itself or a simple multiple of it; a single transit is one of those of any other signal that meets it.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from survey.config import differences
from survey.runs import exports, store
from survey.runs.crossmatch.ephemerides import Indices, Mask, Signals, Values, compare, density_of_periods, signals_of
from survey.runs.store import Run
from survey.signals.ephemeris import fold

VERDICTS: Final = ("new", "improved", "changed", "worse", "gone", "same")
"""Of a candidate: in the later run alone; its strength rose; one figure rose and one fell; fell; in the earlier run
alone; neither moved."""

STAR_VERDICTS: Final = ("new", "other files", "gone", "same")
"""Of a star: searched in the later run alone; from other files; in the earlier run alone; from the same files."""

MES_MOVES = 0.01
"""Relative change of a MES from which on it has moved."""

PROBABILITY_MOVES = 0.01

COMPARED: Final = (
    "target_id", "number", "is_candidate", "flags", "period", "period_err", "epoch_bjd", "epoch_err", "duration_h",
    "depth_ppm", "mes", "vetting_probability", "magnitude", "baseline_d", "ra", "dec",
)  # fmt: skip

SHOWN: Final = ("number", "period", "mes", "vetting_probability", "is_candidate")


@dataclass(frozen=True)
class Comparison:
    """signals: a row a candidate of either run, `verdict` and `why`, its figures in both (`_old`, `_new`); stars: a row
    a star with its status in both; settings: `key: old -> new` of what was searched in another way."""

    signals: pl.DataFrame
    stars: pl.DataFrame
    settings: tuple[str, ...]

    def counts(self) -> dict[str, dict[str, int]]:
        """How many candidates and stars there are of each verdict."""
        tables = {"candidates": (self.signals, VERDICTS), "stars": (self.stars, STAR_VERDICTS)}
        return {name: _count(table["verdict"], words) for name, (table, words) in tables.items()}


def _count(verdicts: pl.Series, words: tuple[str, ...]) -> dict[str, int]:
    counts = Counter(verdicts.to_list())
    return {word: counts[word] for word in words}


def compare_runs(old: Run, new: Run, *, every: bool = False) -> Comparison:
    """every: all signals, not the candidates alone. Raises UsageError where a run has no catalogue yet."""
    before, after = _read_signals(old), _read_signals(new)
    stars = _compare_stars(old, new)
    i, j, ratio = match_runs(before, after)
    signals = _pair(before, after, i, j, ratio)
    judged = _judge(signals, stars, every)
    order = pl.col("verdict").replace_strict({word: k for k, word in enumerate(VERDICTS)}, return_dtype=pl.Int32)
    strength = pl.max_horizontal("mes_old", "mes_new")
    ordered = judged.sort(order, -strength, "target_id", "number_new", "number_old")
    return Comparison(ordered, stars, tuple(differences(_settings(old), _settings(new))))


def _settings(run: Run) -> dict[str, Any]:
    """What decides the numbers, the models with their ids."""
    models = {name: model["id"][:10] for name, model in run.record["models"].items()}
    return {**run.config.science(), "science_version": run.record["science_version"], "models": models}


def _read_signals(run: Run) -> pl.DataFrame:
    frame = pl.from_arrow(exports.read_candidates(run).select(list(COMPARED)))
    assert isinstance(frame, pl.DataFrame)
    return frame.sort("target_id", "number")


# Which signals are the same


def match_runs(before: pl.DataFrame, after: pl.DataFrame) -> tuple[Indices, Indices, Values]:
    """Rows of the signals that are the same, (m,) each, and the period of the later over that of the earlier one.

    Each is paired once: first at the same period, the surest first.
    """
    rows = (table.select("target_id").with_row_index(name) for name, table in (("i", before), ("j", after)))
    pairs = next(rows).join(next(rows), on="target_id").sort("i", "j")
    i, j = pairs["i"].to_numpy().astype(np.int64), pairs["j"].to_numpy().astype(np.int64)
    one, other = (signals_of(table.rename({"baseline_d": "baseline"})) for table in (before, after))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = compare(one, i, other, j, density_of_periods(one))
        single = _meet_once(one, i, other, j)
    periodic = found.same_period & np.where(found.ratio == 1, found.same_epoch | ~found.comparable, found.same_epoch)
    agree = periodic | single
    order = np.lexsort((j, i, np.nan_to_num(found.chance, nan=1.0), found.ratio != 1, single))
    taken = np.fromiter(_each_once(i[order], j[order], agree[order]), bool, len(order))
    chosen = np.sort(order[taken])
    return i[chosen], j[chosen], np.where(single, np.nan, 1 / found.ratio)[chosen]


def _meet_once(one: Signals, i: Indices, other: Signals, j: Indices) -> Mask:
    """Where one of two signals is a single transit: whether it falls into a transit of the other."""
    apart = one.epoch[i] - other.epoch[j]
    period: Any = np.fmax(one.period[i], other.period[j])
    away = np.where(np.isfinite(period), np.abs(fold(apart, period, 0.0)), np.abs(apart))
    lone = ~(np.isfinite(one.period[i]) & np.isfinite(other.period[j]))
    meets: Mask = lone & (away <= np.fmax(one.duration[i], other.duration[j]) / 2)
    return meets


def _each_once(i: Indices, j: Indices, agree: Mask) -> Iterator[bool]:
    used: tuple[set[int], set[int]] = set(), set()
    for first, second, good in zip(i.tolist(), j.tolist(), agree.tolist(), strict=True):
        free = good and first not in used[0] and second not in used[1]
        if free:
            used[0].add(first)
            used[1].add(second)
        yield free


# What became of each


def _pair(before: pl.DataFrame, after: pl.DataFrame, i: Indices, j: Indices, ratio: Values) -> pl.DataFrame:
    """A row a signal of either run: those that are the same side by side."""
    pairs = pl.DataFrame({"i": i, "j": j, "ratio": ratio}).with_columns(pl.col("ratio").fill_nan(None))
    first, second = (
        table.select(pl.all().name.suffix(ending)).with_row_index(name).with_columns(pl.col(name).cast(pl.Int64))
        for table, ending, name in ((before, "_old", "i"), (after, "_new", "j"))
    )
    joined = first.join(pairs, on="i", how="left").join(second, on="j", how="full", coalesce=True)
    return joined.with_columns(target_id=pl.coalesce("target_id_new", "target_id_old"))


def _judge(signals: pl.DataFrame, stars: pl.DataFrame, every: bool) -> pl.DataFrame:
    there_old, there_new = pl.col("number_old").is_not_null(), pl.col("number_new").is_not_null()
    was = there_old if every else pl.col("is_candidate_old").fill_null(value=False)
    now = there_new if every else pl.col("is_candidate_new").fill_null(value=False)
    moves = [_moved("mes", pl.col("mes_old").abs() * MES_MOVES), _moved("vetting_probability", PROBABILITY_MOVES)]
    rose, fell = (pl.any_horizontal(*(move == sign for move in moves)) for sign in (1, -1))
    verdict = (
        pl.when(~was)
        .then(pl.lit("new"))
        .when(~now)
        .then(pl.lit("gone"))
        .when(rose & fell)
        .then(pl.lit("changed"))
        .when(rose)
        .then(pl.lit("improved"))
        .when(fell)
        .then(pl.lit("worse"))
        .otherwise(pl.lit("same"))
    )
    joined = signals.filter(was | now).join(stars.drop("verdict"), on="target_id", how="left")
    columns = [f"{name}_{ending}" for name in SHOWN for ending in ("old", "new")]
    return joined.with_columns(verdict=verdict).select("verdict", "target_id", *columns, "ratio", why=_reason())


def _moved(name: str, least: Any) -> pl.Expr:
    """1 where a figure rose, -1 where it fell, 0 where it did neither or is not known in both."""
    change = pl.col(f"{name}_new") - pl.col(f"{name}_old")
    return pl.when(change > least).then(1).when(change < -least).then(-1).otherwise(0)


def _reason() -> pl.Expr:
    """Why a candidate is in one run alone; null for others."""
    reasons = []
    for verdict, ending in (("new", "old"), ("gone", "new")):
        here, status = pl.col("verdict") == verdict, pl.col(f"status_{ending}")
        flags = pl.col(f"flags_{ending}").list.join(", ").fill_null("")
        reasons += [
            pl.when(here & pl.col(f"number_{ending}").is_not_null()).then(pl.format("no candidate there: {}", flags)),
            pl.when(here & status.is_null()).then(pl.lit("the star was not searched")),
            pl.when(here & (status != "ok")).then(pl.format("the star was {}", status)),
            pl.when(here).then(pl.lit("no such signal")),
        ]
    return pl.coalesce(reasons)


# Stars


def _compare_stars(old: Run, new: Run) -> pl.DataFrame:
    """A row a star of either run: target_id, verdict, status and number of files in both."""
    before, after = (_read_stars(run).rename({name: f"{name}_{ending}" for name in _STAR_COLUMNS})
                     for run, ending in ((old, "old"), (new, "new")))  # fmt: skip
    both = before.join(after, on="target_id", how="full", coalesce=True).sort("target_id")
    was, now = (pl.col(f"status_{ending}").eq_missing(pl.lit("ok")) for ending in ("old", "new"))
    verdict = (
        pl.when(~was & now)
        .then(pl.lit("new"))
        .when(was & ~now)
        .then(pl.lit("gone"))
        .when(pl.col("files_old").ne_missing(pl.col("files_new")))
        .then(pl.lit("other files"))
        .otherwise(pl.lit("same"))
    )
    return both.select("target_id", "status_old", "status_new", "n_files_old", "n_files_new", verdict=verdict)


_STAR_COLUMNS: Final = ("status", "n_files", "files")


def _read_stars(run: Run) -> pl.DataFrame:
    """target_id, status, n_files, and files: a number for names and checksums of all of them."""
    of_file = pl.concat_str(pl.element().struct.field("product"), pl.element().struct.field("sha256"), separator=" ")
    files = pl.col("products").list.eval(of_file).list.join("\n").hash()
    parts = []
    with pq.ParquetFile(run.folder.open(store.TARGETS)) as file:
        for batch in file.iter_batches(columns=["target_id", "status", "products"]):
            part = pl.from_arrow(batch)
            assert isinstance(part, pl.DataFrame)
            parts.append(part.select("target_id", "status", n_files=pl.col("products").list.len(), files=files))
    return pl.concat(parts)
