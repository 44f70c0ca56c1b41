"""What the HTTP service takes: latency, throughput, a killed replica, and four times what it can do.

The real command, `survey serve`, over a simulated archive on this machine, asked by clients on the same cores. Beside
it the same stars without HTTP: `examine` in one process, one after the other.

    python -m benchmarks serving
"""

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import psutil

from benchmarks.scale import tree_pss
from survey.stars.simulate import many_stars

CLIENTS: Final = (1, 8, 32)
STARS: Final = 64
MEASURED_S: Final = 15.0
OVERLOAD_S: Final = 60.0
OVERLOAD: Final = 4.0
TIMEOUT_S: Final = 75.0
"""Of a request, at the proxy of the service."""

Ask = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


@dataclass
class Seen:
    """What clients saw. seconds: of the answers with 200; ends: when those came; codes: 0 for none at all."""

    seconds: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    codes: Counter[int] = field(default_factory=Counter)

    async def note(self, client: httpx.AsyncClient, ask: Ask) -> None:
        begin = time.monotonic()
        try:
            code = (await ask(client)).status_code
        except httpx.TransportError:
            code = 0
        self.codes[code] += 1
        if code == 200:
            self.seconds.append(time.monotonic() - begin)
            self.ends.append(time.monotonic())

    def figures(self, seconds: float) -> dict[str, Any]:
        found = self.seconds or [0.0]
        return {
            "per_s": round(len(self.seconds) / seconds, 2),
            "p50_ms": round(1e3 * statistics.median(found)),
            "p99_ms": round(1e3 * float(np.quantile(found, 0.99))),
            "codes": {str(code): number for code, number in sorted(self.codes.items())},
        }


@dataclass(frozen=True)
class Running:
    address: str
    process: psutil.Process

    def examiners(self) -> list[psutil.Process]:
        found = []
        for child in self.process.children(recursive=True):
            try:
                if "Examiner" in " ".join(child.cmdline()):
                    found.append(child)
            except psutil.NoSuchProcess:
                continue
        return found


@contextmanager
def running_service(archive: Path, workers: int) -> Iterator[Running]:
    command = [sys.executable, "-m", "survey", "serve", "--source", f"mirror:{archive}", "--port", "0"]
    process = subprocess.Popen([*command, "--workers", str(workers)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = next((line.split()[0] for line in process.stdout if line.startswith("http://")), None)
        if address is None:
            raise RuntimeError("the service did not start")
        yield Running(address, psutil.Process(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)


def measure() -> dict[str, Any]:
    """All of it, with as many examiners as there are cores."""
    with tempfile.TemporaryDirectory(prefix="serving-") as scratch:
        archive = Path(scratch) / "archive"
        many_stars(archive, STARS, seed=7)
        alone = _examine_alone(archive)
        workers = max(2, os.cpu_count() or 1)
        with running_service(archive, workers) as service:
            return {"workers": workers, "alone": alone, **asyncio.run(_measure_service(service, archive))}


def _examine_alone(archive: Path) -> dict[str, float]:
    """Stars without HTTP: milliseconds of one core."""
    from survey.config import Config
    from survey.runs.stages import examine
    from survey.stars.sources import open_source

    source = open_source(f"mirror:{archive}", Config())
    targets = list(source.targets(None))[:STARS]
    examine(targets[0], Config(), source)
    begin = time.perf_counter()
    for target in targets:
        examine(target, Config(), source)
    return {"ms_per_star": round(1e3 * (time.perf_counter() - begin) / len(targets), 1)}


async def _measure_service(service: Running, archive: Path) -> dict[str, Any]:
    asks = {"a star of the mirror": _star_asker(service), "an uploaded file": _file_asker(service, archive)}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=TIMEOUT_S, limits=limits) as client:
        await _ask_for(client, asks["a star of the mirror"], 8, 10.0)
        loads = {
            name: {str(clients): await _ask_for(client, ask, clients, MEASURED_S) for clients in CLIENTS}
            for name, ask in asks.items()
        }
        killed = await _kill_one(client, service, asks["a star of the mirror"])
        capacity = max(load["per_s"] for load in loads["a star of the mirror"].values())
        overload = await _overload(client, service, asks["a star of the mirror"], OVERLOAD * capacity)
    return {"loads": loads, "killed": killed, "overload": overload}


def _star_asker(service: Running) -> Ask:
    numbers = count()

    async def ask(client: httpx.AsyncClient) -> httpx.Response:
        star = f"TIC%20{900_000_001 + next(numbers) % STARS}"
        return await client.get(f"{service.address}/v1/score/{star}")

    return ask


def _file_asker(service: Running, archive: Path) -> Ask:
    files = cycle([(path.name, path.read_bytes()) for path in sorted(archive.rglob("*_lc.fits"))[:16]])

    async def ask(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post(f"{service.address}/v1/score/file", files={"file": next(files)})

    return ask


async def _ask_for(client: httpx.AsyncClient, ask: Ask, clients: int, seconds: float) -> dict[str, Any]:
    """So many clients, each asking again as soon as it has its answer."""
    seen = Seen()
    end = time.monotonic() + seconds
    begin = time.monotonic()

    async def go_on() -> None:
        while time.monotonic() < end:
            await seen.note(client, ask)

    await asyncio.gather(*(go_on() for _ in range(clients)))
    return seen.figures(time.monotonic() - begin)


async def _kill_one(client: httpx.AsyncClient, service: Running, ask: Ask) -> dict[str, Any]:
    """An examiner is killed while eight clients ask: what they lose, and how long until there are as many again."""
    seen = Seen()
    before = {process.pid for process in service.examiners()}
    victim = min(before)
    end = time.monotonic() + 60.0
    whole_again: list[float] = []

    async def go_on() -> None:
        while time.monotonic() < end:
            await seen.note(client, ask)

    async def kill() -> None:
        await asyncio.sleep(5.0)
        os.kill(victim, signal.SIGKILL)
        begin = time.monotonic()
        while not whole_again and time.monotonic() < end:
            await asyncio.sleep(0.25)
            now = {process.pid for process in service.examiners()}
            if len(now - {victim}) >= len(before):
                whole_again.append(time.monotonic() - begin)

    await asyncio.gather(kill(), *(go_on() for _ in range(8)))
    pauses = np.diff(sorted(seen.ends))
    return {
        "codes": {str(code): number for code, number in sorted(seen.codes.items())},
        "restarted_s": round(whole_again[0], 1) if whole_again else None,
        "longest_pause_s": round(float(pauses.max()), 1) if len(pauses) else None,
    }


async def _overload(client: httpx.AsyncClient, service: Running, ask: Ask, rate: float) -> dict[str, Any]:
    """Requests at a steady rate, whatever becomes of those before: for a minute more than can be answered."""
    seen = Seen()
    memory = [tree_pss(service.process)]
    tasks: set[asyncio.Task[None]] = set()
    begin = time.monotonic()
    for number in range(int(rate * OVERLOAD_S)):
        await asyncio.sleep(max(0.0, begin + number / rate - time.monotonic()))
        tasks.add(asyncio.create_task(seen.note(client, ask)))
        if number % max(1, int(5 * rate)) == 0:
            memory.append(await asyncio.to_thread(tree_pss, service.process))
    await asyncio.gather(*tasks)
    settled = memory[len(memory) // 3 :]
    return {
        "asked_per_s": round(rate, 1),
        **seen.figures(time.monotonic() - begin),
        "memory_gb": [round(value / 2**30, 2) for value in (memory[0], min(settled), max(settled))],
    }


def render(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""
    alone = figures["alone"]["ms_per_star"]
    rows = "\n".join(
        f"| {name} | {clients} | {load['per_s']:.1f} | {load['p50_ms']:,} | {load['p99_ms']:,} "
        f"| {load['per_s'] * alone / 1e3:.2f} | {_codes(load['codes'])} |"
        for name, loads in figures["loads"].items()
        for clients, load in loads.items()
    )
    killed, overload = figures["killed"], figures["overload"]
    first, low, high = overload["memory_gb"]
    total = sum(overload["codes"].values())
    seconds = overload["codes"].get("200", 0) / overload["per_s"]
    return (
        "## The service\n\n"
        f"`survey serve` with {figures['workers']} examiners over {STARS} simulated two-minute light curves, all\n"
        "models; clients on the same machine, each asking again as soon as it is answered. *against one core*:\n"
        f"stars a second over those of `examine` in one process, one by one, {alone:.0f} ms a star.\n\n"
        "| asked for | clients | answers/s | median (ms) | p99 (ms) | against one core | status |\n"
        f"|---|---|---|---|---|---|---|\n{rows}\n\n"
        f"**An examiner killed** while 8 clients ask for a minute: {_codes(killed['codes'])}; as many examiners\n"
        f"again after {killed['restarted_s']} s, and never {killed['longest_pause_s']} s without an answer.\n\n"
        f"**Four times what it can do**, {overload['asked_per_s']} requests/s for {OVERLOAD_S:.0f} s, was asked for;\n"
        f"clients that share the cores with the service sent and received {total:,} requests in\n"
        f"{seconds:.0f} s, {total / seconds:.0f}/s: {_codes(overload['codes'])}; median {overload['p50_ms']:,} ms,\n"
        f"p99 {overload['p99_ms']:,} ms (time-out {1e3 * TIMEOUT_S:,.0f} ms); memory {first:.2f} GB before,\n"
        f"{low:.2f} to {high:.2f} GB in the last two thirds.\n"
    )


def _codes(codes: dict[str, int]) -> str:
    return ", ".join(f"{number:,} x {code}" if code != "0" else f"{number:,} lost" for code, number in codes.items())
