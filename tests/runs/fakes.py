"""Stages that stand in for the real ones: quick, deterministic, and able to fail in every way that a star can.

The number of a star decides its fate: see `FATES`. Importable by Ray's workers.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from survey import schema
from survey.config import Config
from survey.errors import BadFile, FetchFailed, NoData, TooShort
from survey.runs import stages
from survey.runs.stages import Row, Stage, Step, attempt, rows_of
from survey.stars.sources import Source
from survey.stars.targets import Target

FATES = {3: NoData("no such star"), 5: FetchFailed("no route"), 7: BadFile("HTML"), 11: TooShort("one cadence")}
"""Number modulo 13 -> what fetching does; 9 is a defect of the program."""

OUTAGE = "SURVEY_TEST_OUTAGE"
"""Environment: a file; while it exists, stars of fate 5 cannot be fetched."""

SLOW = "SURVEY_TEST_SLOW_S"
"""Environment: seconds that a shard's search takes longer."""

GATE = "SURVEY_TEST_GATE"
"""Environment: a file; no shard is searched before it exists."""


def targets(count: int, mission: str = "tess", first: int = 1) -> list[Target]:
    prefix = {"tess": "TIC", "kepler": "KIC", "k2": "EPIC"}[mission]
    return [Target(f"{prefix} {number}", mission, ()) for number in range(first, first + count)]


def fetch(row: Row) -> Row:
    number = int(row["target_id"].split()[1])
    fate = FATES.get(number % 13)
    if isinstance(fate, FetchFailed) and not Path(os.environ.get(OUTAGE, os.devnull + "/none")).exists():
        fate = None
    if fate is not None:
        raise fate
    if number % 13 == 9:
        raise ZeroDivisionError(f"defect at {number}")
    rng = np.random.default_rng(number)
    times = np.arange(300) * 0.02 + rng.random()
    flux = rng.normal(1, 1e-3, 300).astype(np.float32)
    product = {"product": f"{number}.fits", "sha256": "0" * 64, "observation": number % 3, "n_cadences": 300}
    return {
        "time": times,
        "flux": flux,
        "flux_err": np.full(300, 1e-3, np.float32),
        "cadence_s": 120.0,
        "time_zero": 2457000.0,
        "n_cadences": 300,
        "baseline_d": float(times[-1] - times[0]),
        "products": [product],
    }


def search(row: Row) -> Row:
    number = int(row["target_id"].split()[1])
    values = {field.name: None for field in schema.TCE_FIELDS}
    scatter = float(np.std(row["flux"]))
    tces = [
        {**values, "number": k + 1, "period": 1.0 + k, "mes": 7.0 + number % 5 + 1e3 * scatter, "snr": 1.0}
        for k in range(number % 3)
    ]
    return {"tces": tces}


def describe(row: Row) -> Row:
    number = int(row["target_id"].split()[1])
    good = number % 2 == 0
    tces = [{**tce, "is_candidate": good, "flags": [] if good else ["odd"]} for tce in row["tces"]]
    view = {"spec": "fake", "global_view": row["flux"][:8], "local_view": row["flux"][:4]}
    return {"tces": tces, "views": [{"number": tce["number"], **view} for tce in row["tces"] if good]}


def make_fetch(config: Config, source: Source | None) -> Step:
    return lambda table: schema.extend(table, stages.FETCHED, [attempt("fetch", fetch, row) for row in rows_of(table)])


def make_detrend(config: Config, source: Source | None) -> Step:
    def work(row: Row) -> Row:
        return {"trend": np.ones(300, np.float32), "detrender": "none", "window_d": 1.0, "scatter_ppm": 1000.0}

    return lambda table: schema.extend(
        table, stages.DETRENDED, [attempt("detrend", work, row) for row in rows_of(table)]
    )


def make_search(config: Config, source: Source | None) -> Step:
    def step(table: pa.Table) -> pa.Table:
        while not Path(os.environ.get(GATE, os.devnull)).exists():
            time.sleep(0.1)
        time.sleep(float(os.environ.get(SLOW, "0")))
        return schema.extend(table, stages.SEARCHED, [attempt("search", search, row) for row in rows_of(table)])

    return step


def make_describe(config: Config, source: Source | None) -> Step:
    def step(table: pa.Table) -> pa.Table:
        rows = rows_of(table)
        added = [{"tces": None, "views": None, **attempt("describe", describe, row)} for row in rows]
        return schema.extend(table, stages.DESCRIBED, added)

    return step


def make_score(config: Config, source: Source | None) -> Step:
    def work(row: Row) -> Row:
        return {"tces": row["tces"], "star_score": 0.01 * (int(row["target_id"].split()[1]) % 17), "num_segments": 3}

    def step(table: pa.Table) -> pa.Table:
        rows = rows_of(table)
        return schema.extend(table, stages.SCORED, [{"tces": None, **attempt("score", work, row)} for row in rows])

    return step


FAKES: Sequence[Stage] = (
    Stage("fetch", stages.FETCHED, make_fetch),
    Stage("detrend", stages.DETRENDED, make_detrend),
    Stage("search", stages.SEARCHED, make_search),
    Stage("describe", stages.DESCRIBED, make_describe),
    Stage("score", stages.SCORED, make_score),
)


def described(table: pa.Table, config: Config) -> pa.Table:
    """What the stream would hand to the commit."""
    for stage in FAKES:
        table = stage.make(config, None)(table)
    return table


def make_broken(config: Config, source: Source | None) -> Step:
    def step(table: pa.Table) -> pa.Table:
        raise MemoryError("the whole shard")

    return step


BROKEN = Stage("describe", stages.DESCRIBED, make_broken)
