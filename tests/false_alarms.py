"""Light curves without planets, made of real or simulated ones: turned upside down, or in another order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pyarrow as pa

from survey import schema
from survey.config import Config
from survey.runs.stages import (
    FETCHED,
    STAGES,
    Row,
    make_fetch,
    rows_of,
    star_of,
    targets_table,
    tce_of,
    verdict_of,
)
from survey.signals.ephemeris import in_transit
from survey.stars.lightcurve import LightCurve, Product, invert, scramble, take
from survey.stars.sources import Source
from survey.stars.targets import Target

BATCH = 64

TOO_FEW = {"single_transit", "two_transits"}

FROM_LIGHT = ("detrend", "search", "vet")
"""The stages that a light curve goes through to its checks."""


def single_observations(source: Source, targets: Iterable[Target], config: Config) -> list[LightCurve]:
    """One light curve for each sector or quarter of each star that has a usable one."""
    asked = [
        Target(target.target_id, target.mission, (number,))
        for target in targets
        for number in sorted({ref.observation for ref in source.find(target) if ref.observation is not None})
    ]
    rows = rows_of(make_fetch(config, source)(targets_table(asked)))
    return [_light_curve(row) for row in rows if row["status"] == "ok"]


COPIED = ("target_id", "mission", "time", "flux", "flux_err", "time_zero")


def _light_curve(row: Row) -> LightCurve:
    products = tuple(Product(**product) for product in row["products"])
    return LightCurve(**{name: row[name] for name in COPIED}, products=products, star=star_of(row))


def vet_curves(curves: Sequence[LightCurve], config: Config) -> list[Row]:
    """The row of each, from detrending to its checks."""
    rows: list[Row] = []
    for start in range(0, len(curves), BATCH):
        rows += vet_tables(_fetched(curves[start : start + BATCH]), config)
    assert {row["status"] for row in rows} == {"ok"}, [row["error"] for row in rows if row["error"]]
    return rows


def vet_stars(source: Source, targets: Iterable[Target], config: Config) -> dict[str, list[Row]]:
    """The TCEs of each star in all of its light, by its name."""
    rows = [
        row for target in targets for row in vet_tables(make_fetch(config, source)(targets_table([target])), config)
    ]
    return {row["target_id"]: row["tces"] for row in rows if row["status"] == "ok"}


def vet_tables(table: pa.Table, config: Config) -> list[Row]:
    for stage in STAGES:
        if stage.name in FROM_LIGHT:
            table = stage.make(config, None)(table)
    return rows_of(table)


def _fetched(curves: Sequence[LightCurve]) -> pa.Table:
    rows = [
        {
            **{name: getattr(curve, name) for name in COPIED},
            "observations": [],
            "status": "ok",
            "cadence_s": curve.cadence_s,
            "n_cadences": len(curve.time),
            "baseline_d": curve.baseline,
            **asdict(curve.star),
            "products": [asdict(product) for product in curve.products],
        }
        for curve in curves
    ]
    return schema.rows_table(rows, FETCHED)


def pass_the_gate(rows: Sequence[Row], config: Config) -> list[bool]:
    return [any(verdict_of(tce, config).is_candidate for tce in row["tces"]) for row in rows]


def make_false(
    curves: Sequence[LightCurve], signals: Mapping[str, Sequence[Row]], config: Config, scrambles: int
) -> list[LightCurve]:
    """Every curve inverted, and scrambled `scrambles` times after the transits of its star were cut out of it.

    signals: the TCEs of each star in all its light, with their checks. Cut out is what passes the gate, or would if
    there were more of it: else the transits themselves would be scrambled (Thompson et al. 2018 leave known planets
    out). Of eclipsing binaries nothing would be left: they are not scrambled.
    """
    quiet = [
        _cut_out(curve, signals.get(curve.target_id, []), config)
        for curve in curves
        if not any(_is_eclipse(tce, config) for tce in signals.get(curve.target_id, []))
    ]
    days = [1.0 if curve.baseline < 40 else 3.0 for curve in quiet]
    return [invert(curve) for curve in curves] + [
        scramble(curve, np.random.default_rng([seed, number]), block_days=days[number] * (1 + 0.2 * seed))
        for seed in range(scrambles)
        for number, curve in enumerate(quiet)
    ]


def _is_eclipse(tce: Row, config: Config) -> bool:
    """A wave has no eclipses, though the gate may see two dips in an orbit."""
    return verdict_of(tce, config).significant_secondary and (tce["box_over_sine"] or 0.0) > 1.0


def _cut_out(curve: LightCurve, tces: Sequence[Row], config: Config) -> LightCurve:
    keep = np.ones(len(curve.time), bool)
    for tce in tces:
        if not set(verdict_of(tce, config).flags) - TOO_FEW - set(config.gate.informative):
            keep &= ~in_transit(curve.time, tce_of(tce).ephemeris, 2.0)
    return take(curve, keep)
