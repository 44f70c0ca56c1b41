"""What a figure was measured on, and how its processes are held to one core."""

import contextlib
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

ARCHIVE = Path(os.environ.get("SURVEY_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")) / "archive"
"""Real light curves under the archive's own keys."""

PACKAGES = ("numpy", "numba", "jax", "astropy", "lightkurve", "ray", "wotan")


def describe_machine() -> dict[str, object]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


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
