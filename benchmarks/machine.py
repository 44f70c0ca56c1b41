"""What a figure was measured on, and how its processes are held to one core."""

import contextlib
import os
import platform
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

ARCHIVE = Path(os.environ.get("SURVEY_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")) / "archive"
"""Real light curves under the archive's own keys."""

PARTIAL = Path(os.environ.get("SURVEY_BENCH_PARTIAL", Path(__file__).parents[1] / "runs" / "bench"))
"""Where long benchmarks keep what they have measured so far."""

PACKAGES = ("numpy", "numba", "jax", "astropy", "lightkurve", "gerbls", "transitleastsquares", "ray", "wotan")

THREADS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),
    "MALLOC_MMAP_THRESHOLD_": str(64 * 2**20),
}
"""What a process must find in its environment to compute in one thread, on the CPU, with memory kept as workers of a
sweep keep it; the same for all contestants."""


def describe_machine() -> dict[str, object]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES if _is_installed(name)},
    }


def _is_installed(package: str) -> bool:
    return find_spec(package) is not None


def _processor() -> str:
    """The processor's name, as the kernel tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """This process on one core, where the system can pin it."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if before:
        os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        if before:
            os.sched_setaffinity(0, before)


@contextlib.contextmanager
def one_thread_children() -> Iterator[None]:
    """Processes started meanwhile compute in one thread."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(THREADS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def start_worker(cores: set[int] | None = None) -> ProcessPoolExecutor:
    """A fresh process of one's own, on these cores; start it inside `one_thread_children`."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_pin, initargs=(cores,))


def _pin(cores: set[int] | None) -> None:
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def usable_cores() -> list[int]:
    """The cores this process may run on, where the system tells."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
