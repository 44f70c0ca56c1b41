"""The search on a GPU: stars a second, copies included, and whether the numbers are right.

    python benchmarks/gpu.py [--quick] [--kernel xla|pallas|both] [--plan tess|kepler|both] [--stars N] [--json FILE]

runs in a checkout on any machine with jax, numpy and scipy; nothing of the package is imported. The engine is
`survey/signals/search/jax_engine.py`, loaded by its path, and the plans stand in `gpu_plans.json` beside this file.
With the package installed, `python benchmarks/gpu.py --write-plans` writes them anew; a test compares them with
`plan_star`.

Input is simulated: white noise of one cadence, the gaps of the mission, and flagged cadences of each star's own. A
round copies the binned light curves to the device, searches all segments, and copies the spectra back; the column
`on device` leaves the copies out. Every kernel is compared with a NumPy search that folds each drift on its own
(`brute_force`). Each is measured in a process of its own: one that fails is a line of the table.

Two kernels are compared. `xla` is the engine as the survey runs it. `pallas` leaves the first passes to the engine and
fuses the last one with the boxes (Triton): one thread a star walks along the phases, joins the rows of up to eight
drifts, and keeps the last few sums of a pyramid of pairs in registers: neither folded rows nor boxes are written. JAX
deprecates its Triton backend from 0.11 on, where it still works.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.util
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax.experimental import pallas as pl
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent
PLANS = FOLDER / "gpu_plans.json"

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


def _load_engine() -> Any:
    """The engine's file by its path: importing the package would need all that it depends on."""
    path = FOLDER.parent / "survey" / "signals" / "search" / "jax_engine.py"
    spec = importlib.util.spec_from_file_location("jax_engine", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is missing: run this script in a checkout")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


engine = _load_engine()


@dataclasses.dataclass(frozen=True)
class Segment:
    """What the engine asks of `survey.signals.search.plan.Segment`."""

    tau: float
    n_bins: int
    rows: int
    first: int
    last: int
    drift_step: int
    widths: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def drifts(self) -> Integers:
        return np.arange(0, self.rows, self.drift_step)

    @property
    def n_trials(self) -> int:
        return (self.last - self.first) * len(self.drifts)


@dataclasses.dataclass(frozen=True)
class Mission:
    """A light curve of this kind: baseline and cadence (d), and gaps of `gap` days every `period` days from `start`."""

    baseline: float
    cadence: float
    gaps: tuple[tuple[float, float, float], ...]
    longest_period: float | None
    stars: int


MISSIONS = {
    "tess": Mission(27.4, 2 / 1440, ((13.2, 30.0, 1.2), (3.1, 3.1, 0.04)), None, 16384),
    "kepler": Mission(1460.0, 29.4 / 1440, ((88.3, 90.0, 1.7), (29.2, 30.0, 0.8), (480.0, 2000.0, 13.0)), 400.0, 1024),
}
FLAGGED = 0.02
"""Share of cadences that a star loses of its own."""


# Plans


def read_plans() -> dict[str, list[Segment]]:
    plans = json.loads(PLANS.read_text())
    return {
        name: [Segment(**{**row, "widths": tuple(row["widths"]), "strides": tuple(row["strides"])}) for row in rows]
        for name, rows in plans.items()
    }


def make_plans() -> dict[str, list[dict[str, Any]]]:
    """The plans as the package makes them, for a star like the Sun."""
    from survey.config import SearchConfig
    from survey.signals.search.plan import plan_star

    names = [field.name for field in dataclasses.fields(Segment)]
    plans = {}
    for name, mission in MISSIONS.items():
        config = SearchConfig(period_max=mission.longest_period)
        plan = plan_star(mission.baseline, mission.cadence, 1.0, config, mission.baseline)
        plans[name] = [{field: _plain(getattr(segment, field)) for field in names} for segment in plan.segments]
    return plans


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def write_plans() -> None:
    rows = {name: ",\n".join("  " + json.dumps(row) for row in plan) for name, plan in make_plans().items()}
    PLANS.write_text("{\n" + ",\n".join(f' "{name}": [\n{text}\n ]' for name, text in rows.items()) + "\n}\n")


# Input


def simulate(mission: Mission, segments: Sequence[Segment], stars: int, seed: int) -> list[tuple[Floats, ...]]:
    """(signal, weight, inverse_beta) of each segment, as `survey.signals.search.spectrum` hands them to an engine."""
    rng = np.random.default_rng(seed)
    time = np.arange(0, mission.baseline, mission.cadence)
    kept = np.ones(len(time), bool)
    for start, period, gap in mission.gaps:
        kept &= (time - start) % period >= gap
    time = time[kept]
    weight = (rng.random((stars, len(time)), np.float32) > FLAGGED).astype(np.float32)
    dip = weight * rng.standard_normal((stars, len(time)), np.float32)
    total = weight.sum(axis=1, keepdims=True)
    dip -= weight * (dip.sum(axis=1, keepdims=True) / total)
    made: list[tuple[Floats, ...]] = []
    for segment in segments:
        bins = scipy.sparse.csr_array(
            (np.ones(len(time), np.float32), ((time / segment.tau).astype(int), np.arange(len(time)))),
            shape=(segment.n_bins, len(time)),
        )
        signal, weights = (np.ascontiguousarray((bins @ values.T).T) for values in (dip, weight))
        inverse_beta = rng.uniform(0.3, 1.0, (stars, len(segment.widths))).astype(np.float32)
        made.append((signal / np.sqrt(total), weights / total, inverse_beta))
    return made


# Reference


def brute_force(
    signal: Floats, weight: Floats, inverse_beta: Floats, segment: Segment, periods: Sequence[int]
) -> Floats:
    """(3, stars, trials) at some whole-bin periods: each drift folded on its own, and every box summed."""
    return np.concatenate(
        [
            _brute_trial(signal, weight, inverse_beta, segment, period, int(drift))
            for period in periods
            for drift in segment.drifts
        ],
        axis=2,
    )


def _brute_trial(
    signal: Floats, weight: Floats, inverse_beta: Floats, segment: Segment, period: int, drift: int
) -> Floats:
    moves = np.array([row_move(row, drift, segment.rows) for row in range(segment.rows)])
    phase = np.arange(period + max(segment.widths)) % period
    index = np.minimum(np.arange(segment.rows)[:, None] * period + (phase + moves[:, None]) % period, segment.n_bins)
    x, w = (
        np.pad(values.astype(np.float64), ((0, 0), (0, 1)))[:, index].sum(axis=1).cumsum(axis=1)
        for values in (signal, weight)
    )
    best = np.zeros((3, len(signal), 1))
    for k, (width, stride) in enumerate(zip(segment.widths, segment.strides, strict=True)):
        start = np.arange(0, period, stride)
        inside, held = (
            sums[:, start + width - 1] - np.where(start > 0, sums[:, np.maximum(start - 1, 0)], 0) for sums in (x, w)
        )
        variance, least = held * (1 - held), engine.COVERAGE * width / period
        usable = variance > least * (1 - least)
        ratio = np.where(usable, inside / np.sqrt(np.where(usable, variance, 1)), 0)
        dip, rise, scale = ratio.max(axis=1), -ratio.min(axis=1), inverse_beta[:, k]
        best = np.maximum(best, np.stack([dip, dip * scale, rise * scale])[..., None])
    return best.astype(np.float32)


def row_move(row: int, drift: int, rows: int) -> int:
    """How far fast folding moves a row under a drift (Staelin 1969), a row at a time."""
    if rows == 1:
        return 0
    if rows == 3:
        return (0, (drift + 1) // 2, drift)[row]
    if row < rows // 2:
        return row_move(row, drift // 2, rows // 2)
    return (drift + 1) // 2 + row_move(row - rows // 2, drift // 2, rows // 2)


# The fused kernel

LAST_RADIX = 8
"""Rows that the kernel joins, at most."""

LOWER_RADIX = 24
"""Rows joined in one pass before it, at most: a pass over memory costs more than reads from a cache."""

BLOCK = 128
MOST_LANES = 8192
"""Stars of one program of the kernel, a thread each, and of one call."""

PASS_BYTES = 2**31
"""Memory for rows folded before the kernel, of as many periods at once as fit."""


def last_radix(rows: int) -> int:
    """Rows that the kernel joins itself; a factor of three is left to the passes before it where there are any."""
    return rows if rows <= LAST_RADIX else math.gcd(rows, LAST_RADIX)


def start_fused_search(
    signal: Floats, weight: Floats, inverse_beta: Floats, segment: Segment, block: int = BLOCK, interpret: bool = False
) -> list[jax.Array]:
    """As the engine's `start_search`; batches are filled up to whole blocks."""
    affordable = PASS_BYTES // (8 * segment.rows * _phases(segment) * block)
    lanes = block * max(1, min(affordable, MOST_LANES // block, -(-len(signal) // block)))
    return [
        _fused_search(
            *(engine.fill(rows[start : start + lanes], lanes) for rows in (signal, weight, inverse_beta)),
            segment,
            block,
            interpret,
        )
        for start in range(0, len(signal), lanes)
    ]


@functools.partial(jax.jit, static_argnames=("segment", "block", "interpret"))
def _fused_search(
    signal: jax.Array, weight: jax.Array, inverse_beta: jax.Array, segment: Segment, block: int, interpret: bool
) -> jax.Array:
    """(3, lanes, trials)."""
    lanes, bins = len(signal), engine.stack_bins(signal, weight)
    radix = last_radix(segment.rows)
    step = math.gcd(segment.drift_step, radix)
    n_periods, n_drifts = segment.last - segment.first, segment.rows // step
    rows_bytes = segment.rows * _phases(segment) * 8 * lanes
    chunk = n_periods if radix == segment.rows else max(1, min(n_periods, PASS_BYTES // rows_bytes))

    def search_periods(periods: jax.Array) -> jax.Array:
        source = bins if radix == segment.rows else _fold_before(bins, periods, segment)
        kernel = pl.pallas_call(
            functools.partial(_kernel, segment=segment, step=step, block=block, lanes=lanes),
            out_shape=jax.ShapeDtypeStruct((3, chunk, n_drifts, lanes), jnp.float32),
            grid=(lanes // block, segment.rows // radix, chunk),
            compiler_params=None if interpret else _triton_parameters(block),
            interpret=interpret,
        )
        best: jax.Array = kernel(periods, source, inverse_beta.T)
        return best[:, :, :: segment.drift_step // step]

    # Periods that fill the last chunk are searched twice, and thrown away once.
    chunks = -(-n_periods // chunk)
    periods = jnp.minimum(segment.first + jnp.arange(chunks * chunk), segment.last - 1).reshape(chunks, chunk)
    best = jax.lax.map(search_periods, periods)
    return best.transpose(1, 4, 0, 2, 3).reshape(3, lanes, -1)[..., : segment.n_trials]


def _triton_parameters(block: int) -> Any:
    from jax.experimental.pallas import triton

    return triton.CompilerParams(num_warps=max(1, block // 32), num_stages=1)


def _phases(segment: Segment) -> int:
    """Phases of rows folded before the kernel, which reads on until its last box ends."""
    return int(engine.row_length(segment)) + LAST_RADIX + max(segment.strides)


def _fold_before(bins: jax.Array, periods: jax.Array, segment: Segment) -> jax.Array:
    """(periods * rows * phases, 2 lanes): the passes before the kernel, of several periods."""
    phases, rows = _phases(segment), segment.rows // last_radix(segment.rows)

    def fold(period: jax.Array) -> jax.Array:
        source, length, joined = bins, period, 1
        for radix in engine.radices(rows, LOWER_RADIX):
            joined *= radix
            table = engine.moves(np.arange(segment.rows), radix, joined)
            source, length = engine.join_rows(source, length, period, phases, *table), jnp.asarray(phases)
        return source

    return jax.vmap(fold)(periods).reshape(-1, bins.shape[1])


def _kernel(
    periods: Any, source: Any, inverse_beta: Any, best: Any, *, segment: Segment, step: int, block: int, lanes: int
) -> None:
    """The last join and all boxes of one period, of `radix` drifts and of one block of stars.

    periods (periods,), source (rows, 2 lanes), inverse_beta (widths, lanes), best (3, periods, drifts, lanes):
    references to device memory.
    """
    radix = last_radix(segment.rows)
    group, number = pl.program_id(1), pl.program_id(2)
    first_lane = pl.program_id(0) * block
    lane_slices = (pl.ds(first_lane, block), pl.ds(lanes + first_lane, block))
    period = periods[number]
    groups = segment.rows // radix
    direct = groups == 1
    phases = _phases(segment)
    drifts = range(0, radix, step)
    starts = [jax.lax.rem(row * group, period) for row in range(radix)]
    scales = [inverse_beta[k, lane_slices[0]] for k in range(len(segment.widths))]
    shares = [engine.COVERAGE * width / period.astype(jnp.float32) for width in segment.widths]
    limits = [share * (1 - share) for share in shares]

    def read(row: int, move: int, column: Any, side: int) -> Any:
        phase = column + starts[row] + move
        phase = jnp.where(phase >= period, phase - period, phase)
        if direct:
            phase = jnp.where(phase >= period, phase - period, phase)
            index = jnp.minimum(row * period + phase, segment.n_bins)
        else:
            index = (number * segment.rows + row * groups + group) * phases + phase
        return source[index, lane_slices[side]]

    def columns(column: Any) -> list[Any]:
        """Signal and weight of every drift in one column: sums that several drifts share are added once."""

        @functools.cache
        def join(first: int, rows: int, drift: int, move: int, side: int) -> Any:
            if rows == 1:
                return read(first, move, column, side)
            if rows == 3:
                parts = [read(first + k, move + row_move(k, drift, 3), column, side) for k in range(3)]
                return parts[0] + (parts[1] + parts[2])
            half, under = rows // 2, drift // 2
            return join(first, half, under, move, side) + join(first + half, half, under, move + (drift + 1) // 2, side)

        return [tuple(join(0, radix, drift, 0, side) for side in (0, 1)) for drift in drifts]

    # Of each level of the pyramid, the latest sums, newest first, as many as the widest box needs from before.
    levels = sorted(set(segment.strides))
    boxes = {
        stride: [
            (k, w // stride)
            for k, (w, s) in enumerate(zip(segment.widths, segment.strides, strict=True))
            if s == stride
        ]
        for stride in levels
    }
    kept = [max(count for _, count in boxes[stride]) - 1 for stride in levels]
    widest = max(levels)

    def walk(turn: Any, state: Any) -> Any:
        windows, tops = state
        windows, tops = [list(window) for window in windows], list(tops)
        pending: dict[int, list[Any]] = {}
        for offset in range(widest):
            column = turn * widest + offset
            values, stride = columns(column), 1
            while True:
                if stride in boxes:
                    level = levels.index(stride)
                    for d, value in enumerate(values):
                        window = [value, *windows[level * len(values) + d]]
                        tops[d] = _try_boxes(window, boxes[stride], column, period, segment, limits, scales, tops[d])
                        windows[level * len(values) + d] = tuple(window[: kept[level]])
                if stride == widest:
                    break
                if stride not in pending:
                    pending[stride] = values
                    break
                early = pending.pop(stride)
                values = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(early, values, strict=True)]
                stride *= 2
        return tuple(tuple(window) for window in windows), tuple(tops)

    zeros = jnp.zeros((block,), jnp.float32)
    windows = tuple(tuple((zeros, zeros) for _ in range(count)) for count in kept for _ in drifts)
    tops = tuple((zeros, zeros, zeros) for _ in drifts)
    turns = jax.lax.div(period + (max(segment.widths) + widest - 2), widest)
    _, tops = jax.lax.fori_loop(0, turns, walk, (windows, tops))
    for d in range(len(drifts)):
        for side in range(3):
            best[side, number, group * len(drifts) + d, lane_slices[0]] = tops[d][side]


def _try_boxes(
    window: Sequence[Any],
    boxes: Sequence[tuple[int, int]],
    column: Any,
    period: Any,
    segment: Segment,
    limits: Sequence[Any],
    scales: Sequence[Any],
    top: tuple[Any, Any, Any],
) -> tuple[Any, Any, Any]:
    """The three maxima after the boxes that end in this column; window: (signal, weight) of columns, newest first."""
    white, scaled, inverted = top
    inside, held = window[0]
    summed = 1
    for k, units in sorted(boxes, key=lambda box: box[1]):
        while summed < units:
            inside, held = inside + window[summed][0], held + window[summed][1]
            summed += 1
        start = column + 1 - segment.widths[k]
        limit = jnp.where((start >= 0) & (start < period), limits[k], 1.0)
        variance = held - held * held
        ratio = jnp.where(variance > limit, inside * jax.lax.rsqrt(variance), 0.0)
        over_noise = ratio * scales[k]
        white, scaled = jnp.maximum(white, ratio), jnp.maximum(scaled, over_noise)
        inverted = jnp.maximum(inverted, -over_noise)
    return white, scaled, inverted


# Measuring

KERNELS = ("xla", "pallas")
StartSearch = Callable[..., list[jax.Array]]
Lanes = Sequence[tuple[Floats, ...]]


def kernels(interpret: bool, block: int = BLOCK) -> dict[str, StartSearch]:
    return {
        "xla": engine.start_search,
        "pallas": functools.partial(start_fused_search, block=block, interpret=interpret),
    }


def fetch(parts: Sequence[jax.Array], stars: int) -> Floats:
    """The spectra of all batches on the host, (3, stars, trials)."""
    return np.concatenate([np.asarray(part) for part in parts], axis=1)[:, :stars]


TOLERANCE = 2e-4
"""float32 sums against float64 ones, in units of the noise."""

CHECKED_STARS = 4
CHECKED_TRIALS = 64


def largest_error(start: StartSearch, lanes: Lanes, segments: Sequence[Segment]) -> float:
    """Largest difference from the brute force, on a few stars and periods of every segment."""
    errors = []
    for columns, segment in zip(lanes, segments, strict=True):
        stars = len(columns[0])
        few = np.unique(np.linspace(0, stars - 1, CHECKED_STARS).astype(int))
        per_period = len(segment.drifts)
        count = max(1, CHECKED_TRIALS // per_period)
        periods = np.unique(np.linspace(segment.first, segment.last - 1, count).astype(int))
        trials = ((periods - segment.first)[:, None] * per_period + np.arange(per_period)).ravel()
        found = fetch(start(*columns, segment), stars)[:, few][..., trials]
        signal, weight, inverse_beta = (column[few] for column in columns)
        right = brute_force(signal, weight, inverse_beta, segment, periods.tolist())
        errors.append(float(np.abs(found - right).max()))
    return max(errors)


def measure(start: StartSearch, lanes: Lanes, segments: Sequence[Segment], rounds: int) -> dict[str, Any]:
    """Seconds of a round, medians, after one that compiles and is compared with the brute force."""
    began = time.perf_counter()
    error = largest_error(start, lanes, segments)
    first = time.perf_counter() - began

    def search_all(columns_of_segments: Sequence[Sequence[Any]]) -> list[list[jax.Array]]:
        return [start(*columns, segment) for columns, segment in zip(columns_of_segments, segments, strict=True)]

    def with_copies() -> None:
        # All is started before anything is fetched: copies to the device overlap the search.
        for parts in search_all(lanes):
            for part in parts:
                np.asarray(part)

    resident = [jax.device_put(columns) for columns in lanes]
    jax.block_until_ready(resident)
    seconds = _seconds(with_copies, rounds)
    on_device = _seconds(lambda: jax.block_until_ready(search_all(resident)), rounds)
    stars = len(lanes[0][0])
    return {
        "stars": stars,
        "stars_per_second": stars / statistics.median(seconds),
        "ms_per_star": 1e3 * statistics.median(seconds) / stars,
        "on_device_stars_per_second": stars / statistics.median(on_device),
        "seconds": seconds,
        "on_device_seconds": on_device,
        "first_seconds": first,
        "largest_error": error,
        "agrees": error < TOLERANCE,
    }


def _seconds(call: Callable[[], Any], rounds: int) -> list[float]:
    call()
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return seconds


def describe_device() -> dict[str, Any]:
    device = jax.devices()[0]
    return {
        "backend": jax.default_backend(),
        "device": device.device_kind,
        "devices": len(jax.devices()),
        "jax": jax.__version__,
    }


COLUMNS = "{:8}{:8}{:>7}{:>12}{:>11}{:>12}{:>9}{:>10}  {}"


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    if options.write_plans:
        write_plans()
        return 0
    if options.alone:
        print(json.dumps(_measure_one(options)))
        return 0
    device = describe_device()
    on_gpu = device["backend"] == "gpu"
    print("{device} ({backend}), {devices} seen, one used; jax {jax}".format(**device))
    if not on_gpu:
        print("No GPU: a small run on the CPU that checks the code. These are no GPU figures.")
    print(
        COLUMNS.format("plan", "kernel", "stars", "stars/s", "ms/star", "on device", "first s", "error", ""), flush=True
    )
    figures = []
    for plan in MISSIONS if options.plan == "both" else [options.plan]:
        for kernel in KERNELS if options.kernel == "both" else [options.kernel]:
            one = ["--alone", "--plan", plan, "--kernel", kernel]
            figure = {"plan": plan, "kernel": kernel} | measure_apart([sys.executable, __file__, *arguments, *one])
            figures.append(figure)
            print(_row(figure), flush=True)
    if options.json:
        report = {"hardware": device, "gpu": on_gpu, "quick": options.quick, "figures": figures}
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n")
    return int(not all(figure.get("agrees", False) for figure in figures))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Stars a second on this machine's GPU, copies included.")
    parser.add_argument("--kernel", choices=[*KERNELS, "both"], default="both")
    parser.add_argument("--plan", choices=[*MISSIONS, "both"], default="both")
    parser.add_argument("--stars", type=int, help="stars of a round (default: TESS 16384, Kepler 1024)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--block", type=int, default=BLOCK, help="stars of one program of the fused kernel")
    parser.add_argument("--quick", action="store_true", help="every fourth segment, an eighth of the stars, two rounds")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    parser.add_argument("--write-plans", action="store_true", help="write gpu_plans.json with the package's plans")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def measure_apart(command: Sequence[str]) -> dict[str, Any]:
    """What a process measured, or why it failed: a kernel may bring down the process, and the GPU's context with it."""
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        said = ended.stderr.strip().splitlines() or ["nothing said"]
        return {"failed": f"exit status {ended.returncode}: {said[-1]}", "stderr": ended.stderr[-4000:]}
    figure: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return figure


def _measure_one(options: argparse.Namespace) -> dict[str, Any]:
    on_gpu = jax.default_backend() == "gpu"
    plan = read_plans()[options.plan]
    segments = plan[::4] if options.quick or not on_gpu else plan
    stars = options.stars or MISSIONS[options.plan].stars // (8 if options.quick else 1)
    if not on_gpu:
        segments, stars = [_shortened(segment) for segment in segments], options.stars or 8
    lanes = simulate(MISSIONS[options.plan], segments, stars, seed=1)
    start = kernels(interpret=not on_gpu, block=options.block if on_gpu else 8)[options.kernel]
    figure = measure(start, lanes, segments, 2 if options.quick else options.rounds)
    return figure | {"segments": len(segments), "of": len(plan)}


def _shortened(segment: Segment) -> Segment:
    """Two whole-bin periods of a segment, for a machine without a GPU."""
    return dataclasses.replace(segment, last=segment.first + 2)


def _row(figure: dict[str, Any]) -> str:
    if "failed" in figure:
        return COLUMNS.format(figure["plan"], figure["kernel"], "", "failed", "", "", "", "", figure["failed"][:200])
    part = "" if figure["segments"] == figure["of"] else f"{figure['segments']} of {figure['of']} segments"
    return COLUMNS.format(
        figure["plan"],
        figure["kernel"],
        figure["stars"],
        f"{figure['stars_per_second']:,.1f}",
        f"{figure['ms_per_star']:.4f}",
        f"{figure['on_device_stars_per_second']:,.1f}",
        f"{figure['first_seconds']:.1f}",
        f"{figure['largest_error']:.1e}",
        part + ("" if figure["agrees"] else " WRONG"),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
