"""Sets of periods from stars: which have planets, which have none, and which may be injected into."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from survey.config import Config
from survey.errors import UsageError
from survey.learning.sets.labels import LETTER_OF, PLANETS
from survey.learning.sets.period_lights import Planet, StarLight, flatten
from survey.learning.sets.period_samples import SampleWriter
from survey.learning.sets.periods import SIMULATED, Builder, PeriodsConfig, Row, describe_config, make_table
from survey.learning.sets.table import check_place, drop_copies, write_set
from survey.runs.sets.curves import Curves, Listed
from survey.runs.stages import flat_curve, star_of
from survey.signals.search import FlatCurve, Tce, find_tces, resolve_engine, stellar_density
from survey.signals.variability import measure_variability
from survey.signals.vetting import judge, vet
from survey.stars.catalogs import KnownSignal
from survey.stars.lightcurve import DAY_S, LightCurve, Product
from survey.stars.sources import Source
from survey.stars.targets import Target


@dataclass(frozen=True)
class PeriodSet:
    """A set that was written. left_out: stars and light curves that have no row in it, and why."""

    sha256: str
    rows: int
    stars: int
    positives: int
    samples: int
    left_out: list[str]


def write_periods(
    path: Path,
    targets: Sequence[Target],
    source: Source,
    catalogs: Path | None,
    config: Config,
    asked: PeriodsConfig,
    *,
    seed: int = 0,
    npz: Path | None = None,
) -> PeriodSet:
    """Light curves of all stars as a set, and as samples in a folder `npz`.

    Raises UsageError where nothing is left to learn from, or the file cannot be written.
    """
    check_place(path)
    curves, listed = Curves(targets, source, config), Listed(catalogs, config)
    builder = Builder(asked, seed)
    writer = SampleWriter(npz, asked) if npz is not None else None
    rows: list[Row] = []
    for row, light, flat in builder.rows(period_stars(curves, listed, config)):
        rows.append(row)
        if writer is not None:
            writer.add(row, light, flat)
    missing = [*curves.left_out, *({"target_id": name, "reason": reason} for name, reason in builder.left_out)]
    left_out = [f"{one['target_id']}: {one['reason']}" for one in missing]
    if not rows:
        raise UsageError("no star gave a light curve: " + ("; ".join(left_out) or "there are none"))
    table, copies = drop_copies(make_table(rows))
    made = set(table.column("origin").to_pylist()) | set(table.column("made_from").to_pylist())
    provenance: dict[str, Any] = {
        **curves.provenance(),
        **listed.provenance(),
        "configuration": describe_config(asked),
        "left_out": missing,
        "copies_dropped": copies,
        "simulated": SIMULATED if made & {"synthetic", "inverted", "scrambled"} else "",
        "seed": seed,
    }
    sha256 = write_set(path, "periods", table, provenance)
    stars, labels = set(table.column("target_id").to_pylist()), table.column("label").to_pylist()
    return PeriodSet(
        sha256, len(table), len(stars), labels.count("1"), writer.finish() if writer is not None else 0, left_out
    )


def period_stars(curves: Curves, listed: Listed, config: Config) -> Iterator[StarLight]:
    """The stars with planets, and those without: nothing listed, and nothing that passes for a candidate.

    Stars of other known signals, and of candidates that nobody has listed, are left out, and `curves` keeps why. A
    star is quiet where a search finds nothing beside what is listed [science rule 34].
    """
    for row in curves:
        signals = listed.signals_of(row)
        planets = _planets(signals)
        if signals and not planets:
            curves.leave_out(row, f"listed: {signals[0].name} ({signals[0].disposition or signals[0].catalogue})")
            continue
        tces = [] if planets else _search(flat_curve(row, config), config)
        if (candidate := _first_candidate(row, tces, config)) is not None:
            curves.leave_out(row, f"not listed, but passes the gate: {candidate.period or 0:.4f} d")
            continue
        star = StarLight(
            light_curve(row), tuple(listed.names_of(row)), planets, tuple(listed.ephemerides_of(row)), quiet=not tces
        )
        yield replace(star, quiet=_is_quiet(star, config)) if planets else star


SAME_PERIOD = 0.01
"""Relative: two tables list one planet."""


def _planets(signals: list[KnownSignal]) -> tuple[Planet, ...]:
    """Planets and candidates, once each: a period that two tables list is one."""
    planets: list[Planet] = []
    for one in signals:
        letter = LETTER_OF.get(one.disposition or "")
        if letter not in PLANETS or one.period is None:
            continue
        if not any(abs(one.period / known.period - 1) < SAME_PERIOD for known in planets):
            planets.append(Planet(one.period, one.period_err))
    return tuple(planets)


def _first_candidate(row: Row, tces: list[Tce], config: Config) -> Tce | None:
    if not tces:
        return None
    starts = np.concatenate([[0], np.cumsum([product["n_cadences"] for product in row["products"]])[:-1]])
    variability = measure_variability(row["time"], row["flux"], row["flux_err"], starts.astype(np.int64))
    reports = vet(flat_curve(row, config), tces, star_of(row), variability, config.gate)
    passed = (judge(list(report.checks), config.gate).is_candidate for report in reports)
    return next((tce for tce, candidate in zip(tces, passed, strict=True) if candidate), None)


def _is_quiet(star: StarLight, config: Config) -> bool:
    light = star.background()
    if len(light.time) < config.clean.min_cadences:
        return False
    flat = flatten(light)
    known = np.isfinite(flat)
    if known.sum() < config.clean.min_cadences:
        return False
    density = stellar_density(light.star.radius, light.star.logg)
    errors = light.flux_err[known]
    return not _search(FlatCurve(light.time[known], flat[known], errors, light.cadence_s / DAY_S, density), config)


def _search(curve: FlatCurve, config: Config) -> list[Tce]:
    return find_tces([curve], config, resolve_engine(config.engine, has_gpu=False))[0]


def light_curve(row: Row) -> LightCurve:
    return LightCurve(
        row["target_id"],
        row["mission"],
        row["time"],
        row["flux"],
        row["flux_err"],
        row["time_zero"],
        tuple(Product(**product) for product in row["products"]),
        star_of(row),
    )
