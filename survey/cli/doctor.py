"""`survey doctor`: whether this machine can run a survey, and with what."""

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from survey.cli.tables import show
from survey.errors import SurveyError

GIB = 1 << 30
LEAST_MEMORY_GIB = 3.0
LEAST_DISK_GIB = 1.0

MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "bad": "[bold red]bad[/]"}

# In a process of its own, so that nothing of a GPU stays taken.
ASK_JAX = "import jax; print(jax.default_backend(), *(d.device_kind.replace(' ', '_') for d in jax.devices()))"


@dataclass(frozen=True)
class Finding:
    """bad: a survey cannot run like this; note: it can, but somebody should know."""

    subject: str
    verdict: Literal["ok", "note", "bad"]
    words: str


def register(app: typer.Typer) -> None:
    app.command("doctor", epilog="Example: survey doctor --ray")(doctor)


def doctor(
    ray: Annotated[bool, typer.Option("--ray", help="Also start a local Ray and run one task (some seconds).")] = False,
) -> None:
    """Check this machine: versions, cores, memory, GPU, folders, the engine that would search.

    Exit code 1 where a survey could not run.
    """
    checks: list[Callable[[], Iterator[Finding]]] = [versions, machine, devices, folders, compiled, tables]
    if ray:
        checks.append(start_ray)
    table = Table(box=None, pad_edge=False, show_header=False)
    bad = 0
    for check in checks:
        for finding in check():
            table.add_row(MARKS[finding.verdict], finding.subject, escape(finding.words))
            bad += finding.verdict == "bad"
    show(table)
    if bad:
        raise typer.Exit(1)


def versions() -> Iterator[Finding]:
    from survey.runs.store import PACKAGES
    from survey.runs.store import versions as installed

    found = installed()
    good = sys.version_info >= (3, 11)
    yield Finding("python", "ok" if good else "bad", f"{platform.python_version()} on {platform.platform(terse=True)}")
    missing = [name for name in PACKAGES if name not in found]
    words = ", ".join(f"{name} {version}" for name, version in found.items() if name != "python")
    yield Finding(
        "packages", "bad" if missing else "ok", words + (f"; missing: {', '.join(missing)}" if missing else "")
    )


def machine() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("cores", "ok", str(cores))
    memory = memory_bytes() / GIB
    enough = memory >= LEAST_MEMORY_GIB
    advice = "" if enough else f"; below {LEAST_MEMORY_GIB:g} GiB, sweep with --set run.search_actors=1"
    yield Finding("memory", "ok" if enough else "note", f"{memory:.1f} GiB{advice}")


def memory_bytes() -> int:
    """What this process may use: the machine's memory, or the limit of its container."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            total = min(total, int(limit.read_text()))
        except (OSError, ValueError):
            continue
    return total


def devices() -> Iterator[Finding]:
    from survey.signals.search import resolve_engine

    backend, kinds = ask_jax()
    has_gpu = backend in ("gpu", "cuda", "rocm")
    if backend is None:
        yield Finding("jax", "note", f"does not start: {kinds}")
    else:
        yield Finding("jax", "ok", f"sees {kinds}")
    engine = resolve_engine("auto", has_gpu=has_gpu)
    advice = "; give it to a sweep with --set run.gpus_per_search=1" if has_gpu else ""
    yield Finding("engine", "ok", f"{engine} (auto: jax on a GPU, numba elsewhere){advice}")


def ask_jax() -> tuple[str | None, str]:
    """Backend and devices that JAX has, asked in another process without taking a GPU's memory; (None, why) if none."""
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", ASK_JAX]
    try:
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    except subprocess.TimeoutExpired:
        return None, "no answer in two minutes"
    except subprocess.CalledProcessError as error:
        return None, (error.stderr.strip().splitlines() or ["no reason given"])[-1]
    backend, *kinds = answer.stdout.split()
    return backend, ", ".join(kinds)


def folders() -> Iterator[Finding]:
    from survey.stars.catalogs import default_folder

    for subject, folder in (
        ("run folder", Path("runs").absolute()),
        ("cache folder", default_folder().parent),
        ("temporary", Path(tempfile.gettempdir())),
    ):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if not os.access(there, os.W_OK):
            yield Finding(subject, "bad", f"{folder} cannot be written")
            continue
        status = os.statvfs(there)
        free = status.f_bavail * status.f_frsize / GIB
        verdict: Literal["ok", "note"] = "ok" if free >= LEAST_DISK_GIB else "note"
        yield Finding(subject, verdict, f"{folder} can be written, {free:.1f} GiB free")


def compiled() -> Iterator[Finding]:
    """The first search compiles; later ones read the compiled code from numba's cache."""
    from importlib.util import find_spec

    spec = find_spec("survey.signals.search.numba_engine")
    assert spec is not None
    assert spec.origin is not None
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(chosen) if chosen else Path(spec.origin).parent / "__pycache__"
    count = len(list(folder.rglob("*.nbi"))) if folder.is_dir() else 0
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(there, os.W_OK):
        yield Finding("numba cache", "note", f"{folder} cannot be written: set NUMBA_CACHE_DIR, or every run compiles")
    elif not count:
        yield Finding("numba cache", "ok", f"{folder}: empty, the first search compiles for some seconds")
    else:
        yield Finding("numba cache", "ok", f"{folder}: {count} functions compiled")


def tables() -> Iterator[Finding]:
    from survey.stars.catalogs import CATALOGUES, default_folder, find_table

    there = [name for name in CATALOGUES if find_table(name) is not None]
    if there:
        yield Finding("catalogues", "ok", f"{', '.join(there)} in {default_folder()}")
    else:
        words = f"none in {default_folder()}: `survey catalogs fetch` brings them, for TOI and KOI names"
        yield Finding("catalogues", "note", words)


def start_ray() -> Iterator[Finding]:
    from survey.config import Config
    from survey.runs import stream

    try:
        with stream.started(Config()):
            import ray

            node = ray.get(ray.remote(platform.node).remote(), timeout=60)
    except (SurveyError, OSError, RuntimeError) as error:
        yield Finding("ray", "bad", f"does not start: {error}")
        return
    yield Finding("ray", "ok", f"{ray.__version__} started and ran a task on {node}")
