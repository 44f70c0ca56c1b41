"""What a laptop sweep costs: seconds a star and peak memory, from a hundred stars to two thousand.

Simulated two-minute light curves are written into a scratch folder and swept by the real command, Ray and all. The
memory is the sum of the proportional set sizes of the command and everything it started, so that pages which processes
share count once.

    python -m benchmarks.scale [STARS...]
"""

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from survey.stars.simulate import many_stars

SIZES = (100, 500, 2000)
SAMPLE_S = 0.5


def measure(sizes: tuple[int, ...] = SIZES) -> list[dict[str, float]]:
    """One sweep for each size, over one archive."""
    with tempfile.TemporaryDirectory(prefix="scale-") as scratch:
        archive = Path(scratch) / "archive"
        many_stars(archive, max(sizes), seed=7)
        return [_sweep(archive, Path(scratch) / f"run-{size}", size) for size in sizes]


def _sweep(archive: Path, run: Path, size: int) -> dict[str, float]:
    command = [sys.executable, "-m", "survey", "sweep", "--targets", str(archive / "targets.txt"), "--limit", str(size)]
    command += ["--source", f"mirror:{archive}", "--out", str(run)]
    begin = time.monotonic()
    sweep = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(sweep, peak))
    watcher.start()
    _, errors = sweep.communicate()
    watcher.join()
    if sweep.returncode:
        raise RuntimeError(errors)
    seconds = time.monotonic() - begin
    return {
        "stars": size,
        "seconds": round(seconds, 1),
        "ms_per_star": round(seconds / size * 1e3, 1),
        "stars_per_hour": round(size / seconds * 3600),
        "peak_pss_gb": round(peak[0] / 2**30, 2),
    }


def _watch(sweep: subprocess.Popen[str], peak: list[int]) -> None:
    """Keep the highest sum of the process tree's memory in `peak`."""
    root = psutil.Process(sweep.pid)
    while sweep.poll() is None:
        peak[0] = max(peak[0], tree_pss(root))
        time.sleep(SAMPLE_S)


def tree_pss(root: psutil.Process) -> int:
    """Bytes of a process and all that it started, shared pages once."""
    total = 0
    try:
        members = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in members:
        try:
            total += member.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


if __name__ == "__main__":
    for row in measure(tuple(int(size) for size in sys.argv[1:]) or SIZES):
        print(row)
