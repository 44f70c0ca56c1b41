"""What a sector costs the run folder, from twenty thousand stars to a million: manifest, commits, merge, status.

No light curve is read: the rows are those of a few simulated stars, with names, places, ephemerides and strengths drawn
anew for each star, so that files are as large and signals as many as a sector's. Each step runs in a process of its
own, whose peak of resident memory is told beside that of one that has only imported the survey. Commits are timed one
by one; making the rows is not counted.

    python -m benchmarks.targets [STARS...]
"""

import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.machine import one_thread_children, start_worker
from survey import schema
from survey.config import Config, load
from survey.runs import stages, store, stream
from survey.runs.stages import Stage, Step
from survey.runs.watch import Watch
from survey.stars import simulate
from survey.stars.lists import Targets, read_targets
from survey.stars.sources import Source, open_source

SIZES = {20_000: 64, 160_000: 64, 1_000_000: 256}
"""Stars of a run, and of a shard of it."""

QUICK = {5_000: 64}

SIGNALS = (0.85, 0.10, 0.04, 0.01)
"""Share of stars with none, one, two and three signals."""

TABLES = ("searched", "features", "telemetry")

KINDS = ("planet", "planets", "eclipsing_binary", "quiet", "rotation", "flares")
FIRST = 100_000_001
FIELD = (0.0, 96.0, -60.0, -36.0)
"""Right ascension and declination of the stars, from and to, degrees: four cameras of 24."""

Figures = dict[str, float]


def measure(sizes: Mapping[int, int]) -> list[Figures]:
    """One run for each size."""
    with tempfile.TemporaryDirectory(prefix="targets-") as scratch:
        pool = Path(scratch) / "pool"
        simulate.write_archive(pool, kinds=KINDS)
        return [_measure_run(Path(scratch) / f"run-{stars}", pool, stars, each) for stars, each in sizes.items()]


def _measure_run(root: Path, pool: Path, stars: int, each: int) -> Figures:
    _write_list(str(root), stars)
    figures: Figures = {"stars": stars, "shard_size": each, "import_mb": _alone(_nothing)["peak_mb"]}
    for step in (make_plan, sweep, commit_shards, reopen, merge, tell_status):
        found = _alone(step, str(root), str(pool), stars, each)
        figures |= {f"{step.__name__}_{name}": value for name, value in found.items()}
        print(f"  {stars:,} stars, {step.__name__}: {found}", flush=True)
    return figures


def _alone(step: Callable[..., Figures], *arguments: Any) -> Figures:
    """In a process of its own: what the step tells, its seconds and the peak of its memory."""
    with one_thread_children(), start_worker() as worker:
        return worker.submit(_timed, step, *arguments).result()


def _timed(step: Callable[..., Figures], *arguments: Any) -> Figures:
    begin = time.perf_counter()
    told = step(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": round(time.perf_counter() - begin, 2), "peak_mb": round(peak), **told}


def _nothing() -> Figures:
    return {}


# The steps of a sweep


def _write_list(root: str, stars: int) -> None:
    with Path(f"{root}.csv").open("w") as file:
        file.write("tic,sector\n")
        file.writelines(f"{FIRST + number},15\n" for number in range(stars))


def _targets(root: str) -> Targets:
    return read_targets(f"{root}.csv").targets


def _config(shard_size: int) -> Config:
    return load(overrides=[f"run.shard_size={shard_size}"])


def make_plan(root: str, pool: str, stars: int, each: int) -> Figures:
    """From the list of stars, a file, to the manifest on disk."""
    with store.open_run(root, _config(each), _targets(root)) as run:
        manifest = Path(root, store.MANIFEST).stat().st_size
        return {"shards": run.n_shards, "manifest_mb": round(manifest / 1e6, 2)}


def sweep(root: str, pool: str, stars: int, each: int) -> Figures:
    """A whole sweep through Ray on this machine, in a folder of its own; one stage draws the rows."""
    beside = f"{root}-swept"
    drawn = Stage("drawn", schema.SCORED, partial(_make_drawn, pool))
    with store.open_run(beside, _config(each), _targets(root)) as run:
        reached = stream.sweep(run, f"mirror:{pool}", stages=[drawn])
    shutil.rmtree(beside)
    assert reached.stars_per_hour is not None
    return {"stars_per_s": round(reached.stars_per_hour / 3600)}


def _make_drawn(pool: str, config: Config, source: Source | None) -> Step:
    return lambda targets: draw_rows(targets, pool, int(targets.column("target_id")[0].as_py().split()[1]))


def commit_shards(root: str, pool: str, stars: int, each: int) -> Figures:
    """All shards, one after the other, as the driver of a sweep does."""
    seconds = []
    with store.open_run(root, _config(each), _targets(root)) as run:
        for number in range(run.n_shards):
            rows = draw_rows(run.shard(number), pool, number)
            begin = time.perf_counter()
            store.append_progress(run, store.commit(run, number, rows))
            seconds.append(time.perf_counter() - begin)
    sizes = {table: _folder_bytes(Path(root, table)) for table in TABLES}
    return {
        "ms_per_shard": round(1e3 * float(np.median(seconds)), 1),
        "all_s": round(sum(seconds), 1),
        "files": sum(count for count, _ in sizes.values()),
        **{f"{table}_mb": round(size / 1e6, 1) for table, (_, size) in sizes.items()},
    }


def _folder_bytes(folder: Path) -> tuple[int, int]:
    sizes = [path.stat().st_size for path in folder.iterdir()]
    return len(sizes), sum(sizes)


def reopen(root: str, pool: str, stars: int, each: int) -> Figures:
    """What a resumed sweep does first, with every shard but the last one there."""
    with store.open_run(root, _config(each), _targets(root)) as run:
        del run.parts[run.n_shards - 1]
        return {"todo": len(store.todo(run))}


def merge(root: str, pool: str, stars: int, each: int) -> Figures:
    """The catalogue of a finished run."""
    run = store.load_run(root)
    store.merge(run)
    sizes = {name: Path(root, name).stat().st_size for name in (store.TARGETS, store.CANDIDATES, store.FEATURES)}
    return {"tces": run.record["counts"]["tces"]} | {
        f"{name.partition('.')[0]}_mb": round(size / 1e6, 1) for name, size in sizes.items()
    }


def tell_status(root: str, pool: str, stars: int, each: int) -> Figures:
    """`survey status`."""
    return {"done": Watch(root).look().reached.targets_done}


# Rows


def draw_rows(targets: pa.Table, pool: str, seed: int) -> pa.Table:
    """What the stages would hand to the commit for a shard: a row a star, without the light curves."""
    rng = np.random.default_rng([seed, 15])
    counts = rng.choice(len(SIGNALS), len(targets), p=SIGNALS)
    with_signals = _pool(pool)
    picked = [with_signals[count][rng.integers(len(with_signals[count]))] for count in counts]
    table = pa.concat_tables(picked).combine_chunks()
    columns = {name: _jitter(table.column(name), rng) for name in table.column_names}
    columns |= {name: targets.column(name) for name in targets.column_names}
    columns["ra"] = pa.array(rng.uniform(*FIELD[:2], len(table)))
    columns["dec"] = pa.array(rng.uniform(*FIELD[2:], len(table)))
    columns["magnitude"] = pa.array(rng.uniform(7.0, 15.0, len(table)))
    columns["tces"] = _draw_signals(table.column("tces").combine_chunks(), rng)
    columns["views"] = _draw_views(table.column("views").combine_chunks(), rng)
    return pa.table([columns[field.name] for field in table.schema], schema=table.schema)


@cache
def _pool(folder: str) -> Mapping[int, list[pa.Table]]:
    """Rows of simulated stars by their number of signals: a star with fewer than three lends them to others."""
    config = load()
    source = open_source(f"mirror:{folder}", config)
    rows = [stages.examine(star, config, source) for star in source.targets("tess")]
    short = [row.drop_columns(list(schema.SERIES_COLUMNS)) for row in rows]
    return {count: [_with_signals(row, count) for row in short if _has(row, count)] for count in range(len(SIGNALS))}


def _has(row: pa.Table, count: int) -> bool:
    found = len(row.column("tces")[0])
    return found == 0 if count == 0 else found > 0


def _with_signals(row: pa.Table, count: int) -> pa.Table:
    """The row with its first signal so many times."""
    [plain] = row.select(["tces", "views"]).to_pylist()
    tces = [{**plain["tces"][0], "number": number} for number in range(1, count + 1)]
    first = [view for view in plain["views"] if view["number"] == 1]
    views = [{**view, "number": number} for number in range(1, count + 1) for view in first]
    for name, values in (("tces", tces), ("views", views)):
        place = row.schema.get_field_index(name)
        row = row.set_column(place, row.schema.field(place), pa.array([values], row.schema.field(place).type))
    return row


def _jitter(column: pa.ChunkedArray, rng: np.random.Generator) -> pa.Array:
    """Numbers a little off, so that they compress no better than measured ones."""
    column = column.combine_chunks()
    if not pa.types.is_float64(column.type):
        return column
    return pc.multiply(column, pa.array(1 + 1e-3 * rng.standard_normal(len(column))))


def _draw_signals(tces: pa.ListArray, rng: np.random.Generator) -> pa.ListArray:
    flat = tces.flatten()
    count = len(flat)
    period = np.exp(rng.uniform(np.log(0.5), np.log(13.0), count))
    epoch = 1711.4 + rng.uniform(0, 1, count) * period
    mes = 7.1 + rng.exponential(6.0, count)
    drawn = {
        "period": period,
        "period_err": 1e-3 * period / mes,
        "epoch": epoch,
        "epoch_bjd": 2_457_000.0 + epoch,
        "epoch_err": 0.05 / mes,
        "duration_h": rng.uniform(1.0, 8.0, count),
        "depth_ppm": 10 ** rng.uniform(2, 4, count),
        "mes": mes,
    }
    fields = [
        pa.array(drawn[field.name]) if field.name in drawn else _jitter(pa.chunked_array([flat.field(k)]), rng)
        for k, field in enumerate(flat.type)
    ]
    struct = pa.StructArray.from_arrays(fields, fields=list(flat.type))
    return pa.ListArray.from_arrays(tces.offsets, struct, type=tces.type)


def _draw_views(views: pa.ListArray, rng: np.random.Generator) -> pa.ListArray:
    """Views with a noise of their own."""
    flat = views.flatten()
    fields = []
    for k, field in enumerate(flat.type):
        column = flat.field(k)
        if pa.types.is_list(field.type) and pa.types.is_float32(field.type.value_type):
            values = column.flatten()
            noisy = pc.add(values, pa.array(1e-3 * rng.standard_normal(len(values)), pa.float32()))
            column = pa.ListArray.from_arrays(column.offsets, noisy, type=field.type, mask=column.is_null())
        fields.append(column)
    struct = pa.StructArray.from_arrays(fields, fields=list(flat.type))
    return pa.ListArray.from_arrays(views.offsets, struct, type=views.type)


# The report


STEPS = {
    "make_plan": "list to manifest",
    "sweep": "whole sweep",
    "commit_shards": "commits",
    "reopen": "opened again",
    "merge": "merge",
    "tell_status": "status",
}


def render(figures: list[Figures]) -> str:
    costs = "\n".join(
        f"| {row['stars']:,} | {row['make_plan_shards']:,} of {row['shard_size']} | {row['make_plan_manifest_mb']:.1f} "
        f"| {row['make_plan_seconds']:.0f} | {row['sweep_stars_per_s']:,} | {row['commit_shards_ms_per_shard']:.0f} "
        f"| {row['reopen_seconds']:.0f} | {row['merge_seconds']:.0f} | {row['tell_status_seconds']:.0f} |"
        for row in figures
    )
    memory = "\n".join(
        f"| {row['stars']:,} | " + " | ".join(f"{row[f'{step}_peak_mb']:.0f}" for step in STEPS) + " |"
        for row in figures
    )
    sizes = "\n".join(
        f"| {row['stars']:,} | {row['merge_tces']:,} | {row['commit_shards_files']:,} "
        f"| {sum(row[f'commit_shards_{table}_mb'] for table in TABLES):,.0f} "
        f"| {row['merge_targets_mb']:,.0f} | {row['merge_candidates_mb']:,.0f} | {row['merge_features_mb']:,.0f} |"
        for row in figures
    )
    steps = " | ".join(STEPS.values())
    return (
        "## A sector through the run folder\n\n"
        "No light curves: rows as the stages make them, 15% of the stars with one to three signals. From a CSV list\n"
        "of stars to the manifest; a whole sweep through Ray, whose workers make the rows; commits one by one; the\n"
        "run opened again with one shard missing; the merge; its status. Each step is a process of its own, and its\n"
        "seconds hold the start of that process.\n\n"
        "| stars | shards | manifest (MB) | to the manifest (s) | swept (stars/s) | a commit (ms) | opened again (s) "
        "| merge (s) | status (s) |\n"
        f"|---|---|---|---|---|---|---|---|---|\n{costs}\n\n"
        f"Peak of resident memory in MB; {figures[0]['import_mb']:.0f} of it are there when the benchmark is "
        "imported.\n\n"
        f"| stars | {steps} |\n|---|{'---|' * len(STEPS)}\n{memory}\n\n"
        "Files: each is one PUT of an object store, and one GET of a merge.\n\n"
        "| stars | signals | files of shards | of together (MB) | targets (MB) | candidates (MB) | features (MB) |\n"
        f"|---|---|---|---|---|---|---|\n{sizes}\n"
    )


if __name__ == "__main__":
    from benchmarks.targets import measure  # workers know the steps by this name

    measure({int(stars): SIZES.get(int(stars), 64) for stars in sys.argv[1:]} or SIZES)
