"""What an injection run found of its planets: star by star, and in cells of period and radius.

recovery.parquet          one row a star (schema.RECOVERY)
recovery_cells.parquet    one row a cell (schema.RECOVERY_CELL); .csv: the same
recovery.png              the completeness in every cell
"""

import io
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from survey import schema
from survey.config import InjectConfig
from survey.errors import UsageError
from survey.runs import store
from survey.runs.injection import Planet, draw_planet
from survey.runs.store import Run
from survey.stars.simulate import match_signals

STARS = "recovery.parquet"
CELLS = "recovery_cells.parquet"
TABLE = "recovery_cells.csv"
FIGURE = "recovery.png"

READ = (
    "target_id", "mission", "status", "radius", "logg", "time_zero", "cadence_s", "n_cadences", "scatter_ppm", "tces",
)  # fmt: skip


def write_recovery(run: Run) -> pa.Table:
    """Compares a merged injection run with what was injected, writes the files above and returns the cells.

    Raises UsageError where nothing was injected.
    """
    config = run.config.inject
    if config is None:
        raise UsageError(f"{run.folder.root}: nothing was injected into its stars: start one with `survey inject`")
    with run.folder.open(store.TARGETS) as file:
        rows = pq.read_table(file, columns=list(READ)).to_pylist()
    stars = schema.rows_table([_recover(row, config) for row in rows], schema.RECOVERY)
    cells = count_cells(stars, config)
    for name, table in ((STARS, stars), (CELLS, cells)):
        with run.folder.writing(name) as file:
            pq.write_table(table, file, **schema.PARQUET)
    with run.folder.writing(TABLE) as file:
        pa.csv.write_csv(cells, file)
    run.folder.write(FIGURE, _draw(cells, config))
    return cells


def _recover(row: dict[str, Any], config: InjectConfig) -> dict[str, Any]:
    """Of schema.RECOVERY, from a star's row."""
    told = {name: row[name] for name in ("target_id", "mission", "status")}
    planet = None if row["status"] != "ok" else draw_planet(row["target_id"], row["radius"], row["logg"], config)
    if planet is None:
        return told
    tce, verdict = _find(planet, row["tces"])
    return {
        **told,
        "period": planet.period,
        "epoch_bjd": row["time_zero"] + planet.epoch,
        "radius": planet.radius,
        "radius_ratio": planet.ratio,
        "impact": planet.impact,
        "duration_h": 24.0 * planet.duration,
        "snr": _expected_snr(planet, row),
        "verdict": verdict,
        "is_candidate": tce is not None and bool(tce["is_candidate"]),
        "mes": None if tce is None else tce["mes"],
        "found_period": None if tce is None else tce["period"],
    }


def _find(planet: Planet, tces: Sequence[dict[str, Any]]) -> tuple[dict[str, Any] | None, str]:
    """The TCE that the planet became, and whether at its own period; the first that fits."""
    aliases = []
    for tce in tces:
        if tce["period"] is None:
            continue
        # The transit next to the TCE's: over the years in between its period would be too rough.
        epoch = planet.epoch + round((tce["epoch"] - planet.epoch) / planet.period) * planet.period
        found = ("", tce["period"], tce["epoch"], tce["duration_h"] / 24.0)
        [match] = match_signals([("", planet.period, epoch, planet.duration)], [found])
        if match.verdict == "found":
            return tce, "found"
        if match.verdict == "alias":
            aliases.append(tce)
    return (aliases[0], "alias") if aliases else (None, "missed")


def _expected_snr(planet: Planet, row: dict[str, Any]) -> float | None:
    if not row["scatter_ppm"]:
        return None
    in_transit = row["n_cadences"] * min(1.0, planet.duration / planet.period)
    return float(1e6 * planet.ratio**2 / row["scatter_ppm"] * math.sqrt(in_transit))


def count_cells(stars: pa.Table, config: InjectConfig) -> pa.Table:
    """Rows of schema.RECOVERY_CELL, by period and then by radius."""
    periods, radii = stars.column("period").to_numpy(), stars.column("radius").to_numpy()
    found = np.array([verdict == "found" for verdict in stars.column("verdict").to_pylist()], bool)
    passed = found & np.array([bool(one) for one in stars.column("is_candidate").to_pylist()], bool)
    rows = []
    for period_min, period_max in itertools.pairwise(config.periods):
        for radius_min, radius_max in itertools.pairwise(config.radii):
            inside = (periods >= period_min) & (periods < period_max) & (radii >= radius_min) & (radii < radius_max)
            rows.append(
                {"period_min": period_min, "period_max": period_max, "radius_min": radius_min, "radius_max": radius_max}
                | _shares(int(inside.sum()), int(found[inside].sum()), int(passed[inside].sum()))
            )
    return schema.rows_table(rows, schema.RECOVERY_CELL)


def _shares(injected: int, found: int, passed: int) -> dict[str, Any]:
    values: dict[str, Any] = {"injected": injected, "found": found, "candidates": passed}
    if injected:
        for name, hits in (("found", found), ("candidate", passed)):
            low, high = binomial_interval(hits, injected)
            values |= {f"{name}_share": hits / injected, f"{name}_low": low, f"{name}_high": high}
    return values


def binomial_interval(hits: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Of a share, 95% unless z says otherwise. Source: Wilson 1927."""
    share, spread = hits / trials, z * z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def _draw(cells: pa.Table, config: InjectConfig) -> bytes:
    """Completeness in cells of period and radius, with their numbers, as PNG."""
    from matplotlib.figure import Figure

    shape = (len(config.periods) - 1, len(config.radii) - 1)
    shares = np.array(cells.column("candidate_share").to_numpy(), float).reshape(shape).T
    counts = cells.column("injected").to_numpy().reshape(shape).T
    figure = Figure(figsize=(1.6 + 1.1 * shape[0], 1.2 + 0.55 * shape[1]), layout="constrained")
    axes = figure.add_subplot()
    mesh = axes.pcolormesh(np.arange(shape[0] + 1), np.arange(shape[1] + 1), shares, vmin=0, vmax=1, cmap="viridis")
    for (row, column), share in np.ndenumerate(shares):
        words = f"{share:.2f}\n({counts[row, column]})" if counts[row, column] else "–"
        axes.text(column + 0.5, row + 0.5, words, ha="center", va="center", color="black" if share > 0.6 else "grey")
    axes.set_xticks(range(shape[0] + 1), [f"{border:g}" for border in config.periods])
    axes.set_yticks(range(shape[1] + 1), [f"{border:g}" for border in config.radii])
    axes.set_xlabel("period (d)")
    axes.set_ylabel("radius (Earth)")
    figure.colorbar(mesh, label="share that became candidates (of so many)")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()
