"""Light curves without planets, made of real or simulated ones: turned upside down, or in another order."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import numpy as np
import pyarrow as pa

from survey import schema
from survey.config import Config
from survey.runs.stages import FETCHED, flat_curve, make_detrend, make_fetch, rows_of, targets_table
from survey.signals.ephemeris import in_transit
from survey.signals.search import Tce, find_tces
from survey.signals.vetting import judge
from survey.stars.lightcurve import LightCurve, Product, invert, scramble, take
from survey.stars.sources import Source
from survey.stars.targets import Target

BATCH = 64

TOO_FEW = {"single_transit", "two_transits"}


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


def _light_curve(row: dict[str, object]) -> LightCurve:
    products = tuple(Product(**product) for product in row["products"])  # type: ignore[attr-defined]
    return LightCurve(**{name: row[name] for name in COPIED}, products=products)  # type: ignore[arg-type]


def search(curves: Sequence[LightCurve], config: Config) -> list[list[Tce]]:
    """What the survey finds in each, from detrending on."""
    found: list[list[Tce]] = []
    for start in range(0, len(curves), BATCH):
        table = make_detrend(config)(_fetched(curves[start : start + BATCH]))
        rows = rows_of(table)
        assert {row["status"] for row in rows} == {"ok"}, [row["error"] for row in rows if row["error"]]
        found += find_tces([flat_curve(row, config) for row in rows], config)
    return found


def _fetched(curves: Sequence[LightCurve]) -> pa.Table:
    rows = [
        {
            **{name: getattr(curve, name) for name in COPIED},
            "observations": [],
            "status": "ok",
            "cadence_s": curve.cadence_s,
            "n_cadences": len(curve.time),
            "baseline_d": curve.baseline,
            "products": [asdict(product) for product in curve.products],
        }
        for curve in curves
    ]
    return schema.rows_table(rows, FETCHED)


def pass_the_gate(found: Sequence[Sequence[Tce]], config: Config) -> list[bool]:
    return [any(not flags for flags in judge(tces, config.gate)) for tces in found]


def make_false(curves: Sequence[LightCurve], config: Config, scrambles: int) -> list[LightCurve]:
    """Every curve inverted, and scrambled `scrambles` times after its transits were cut out of it.

    Transits are what passes the gate, or would if there were more of it.

    Without the cut, the transits themselves would be scrambled (Thompson et al. 2018 leave known planets out).
    """
    quiet = [_cut_out(curve, tces, config) for curve, tces in zip(curves, search(curves, config), strict=True)]
    days = [1.0 if curve.baseline < 40 else 3.0 for curve in quiet]
    return [invert(curve) for curve in curves] + [
        scramble(curve, np.random.default_rng([seed, number]), block_days=days[number] * (1 + 0.2 * seed))
        for seed in range(scrambles)
        for number, curve in enumerate(quiet)
    ]


def _cut_out(curve: LightCurve, tces: Sequence[Tce], config: Config) -> LightCurve:
    keep = np.ones(len(curve.time), bool)
    for tce, flags in zip(tces, judge(tces, config.gate), strict=True):
        if not set(flags) - TOO_FEW:
            keep &= ~in_transit(curve.time, tce.ephemeris, 2.0)
    return take(curve, keep)
