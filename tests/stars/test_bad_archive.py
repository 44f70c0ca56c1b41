"""An archive of which a third of the answers are none, or wrong: what comes of the stars, of the cache and of it."""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from survey.config import Config, load
from survey.runs.stages import Row, make_fetch, rows_of, targets_table
from survey.stars.cache import Cache
from survey.stars.products import tess_folder
from survey.stars.simulate.formats import ROW, light_curve_file
from survey.stars.sources import Source, open_source
from survey.stars.targets import Target
from tests.stars.servers import FAULTS, BadArchive, Visit, serve_badly

CONFIG = load(
    overrides=[
        *("run.requests_per_s=80", "run.requests_at_once=24", "run.fetch_threads=32", "run.attempts=4"),
        *("run.backoff_s=0.01", "run.timeout_s=2"),
    ]
)
SECTORS = (1, 2)


def light_curve(tic: int, sector: int, guarded: bool = True, n: int = 150) -> bytes:
    """Half-hours of a TESS star. Without the archive's checksums only a digest can tell a flipped bit."""
    rows = np.zeros(n, ROW)
    rng = np.random.default_rng([tic, sector])
    rows["TIME"] = 1325.0 + 30.0 * sector + np.arange(n) / 48
    rows["CADENCENO"] = np.arange(n)
    rows["PDCSAP_FLUX"] = rows["SAP_FLUX"] = rng.normal(1000.0, 1.0, n)
    rows["PDCSAP_FLUX_ERR"] = rows["SAP_FLUX_ERR"] = 1.0
    keywords = {"OBJECT": f"TIC {tic}", "TICID": tic, "SECTOR": sector, "BJDREFI": 2457000, "BJDREFF": 0.0}
    made = light_curve_file("tess", keywords, rows, np.zeros((3, 3), np.int32))
    return made if guarded else made.replace(b"CHECKSUM= ", b"COMMENT   ")


def name_of(tic: int, sector: int) -> str:
    return f"{tess_folder(tic, sector)}tess2018206045859-s{sector:04d}-{tic:016d}-0120-s_lc.fits"


def archive_of(stars: int) -> dict[str, bytes]:
    """Files of stars in both sectors. Those that the server gives a digest of have no checksums of their own."""
    files = {}
    for tic in range(1, stars + 1):
        for sector in SECTORS:
            content = light_curve(tic, sector, guarded=False)
            has_digest = int(hashlib.md5(content).hexdigest()[0], 16) % 2
            files[f"/{name_of(tic, sector)}"] = content if has_digest else light_curve(tic, sector, guarded=True)
    return files


@contextmanager
def opened(stars: int, seed: int) -> Iterator[BadArchive]:
    files = archive_of(stars)
    with serve_badly(files, seed) as archive:
        # The root tells how folders are listed: it is there to begin with, whatever the dice say.
        archive.share = 0.0
        yield archive


def pass_over(source: Source, stars: int, config: Config = CONFIG) -> dict[str, Row]:
    targets = [Target(f"TIC {tic}", "tess", SECTORS) for tic in range(1, stars + 1)]
    rows = rows_of(make_fetch(config, source)(targets_table(targets)))
    return {row["target_id"]: row for row in rows}


def check_rows(rows: dict[str, Row], archive: BadArchive) -> Counter[str]:
    """Every star is right or worth asking again."""
    true = {path.rpartition("/")[2]: hashlib.sha256(content).hexdigest() for path, content in archive.files.items()}
    for star, row in rows.items():
        if row["status"] == "ok":
            tic = int(star.split()[1])
            names = [name_of(tic, sector).rpartition("/")[2] for sector in SECTORS]
            assert [(product["product"], product["sha256"]) for product in row["products"]] == [
                (name, true[name]) for name in names
            ]
        else:
            assert row["status"] == "fetch_failed", row["error"]
    return Counter(row["status"] for row in rows.values())


def check_cache(cache: Cache, archive: BadArchive) -> int:
    """What is kept is what the archive has, byte for byte; and nothing is taken for missing."""
    contents = archive.contents()
    held = [key for key in list(cache.keys()) if key.endswith(".fits")]
    for key in held:
        assert cache.get(key) == archive.files[f"/{key}"]
    for key in list(cache.keys()):
        if key.endswith(".listing"):
            names = (cache.get(key) or b"").decode().split()
            assert names == contents["/" + key.removesuffix(".listing")]
    assert cache.usage().missing == 0
    return len(held)


def check_visits(visits: list[Visit], began: float, config: Config = CONFIG) -> None:
    """No file more often than it may be tried, never more at once, and at no moment more than the rate allows."""
    run = config.run
    assert max(Counter(visit.path for visit in visits).values()) <= run.attempts
    assert max(visit.at_once for visit in visits) <= run.requests_at_once
    times = np.sort([visit.at for visit in visits])
    # Arrivals are later than what was permitted, never earlier.
    assert np.all(np.arange(1, len(times) + 1) <= run.requests_per_s * (1.0 + times - began) + 1e-6)
    # In any second those of a second, of the burst, and those on their way when it began.
    within = np.searchsorted(times, times + 1.0) - np.arange(len(times))
    assert within.max() <= 2 * run.requests_per_s + run.requests_at_once


def sweep_badly(stars: int, seed: int, folder: str) -> tuple[BadArchive, list[dict[str, Row]], list[list[Visit]]]:
    cache = Cache(folder)
    with opened(stars, seed) as archive:
        source = open_source(f"mirror:{archive.url}", CONFIG, cache=cache)
        source.find(Target("TIC 1", "tess", (1,)))
        archive.share = 0.3
        passes, visits = [], []
        while not passes or any(row["status"] != "ok" for row in passes[-1].values()):
            archive.visits.clear()
            began = time.monotonic()
            source = open_source(f"mirror:{archive.url}", CONFIG, cache=cache)
            source._store._layout = "index"
            passes.append(pass_over(source, stars))
            visits.append(list(archive.visits))
            check_rows(passes[-1], archive)
            check_visits(visits[-1], began)
            assert len(passes) < 10
        assert check_cache(cache, archive) == len(archive.files)
    return archive, passes, visits


def check_sweep(stars: int, folder: str) -> list[Visit]:
    """The visits of the first pass."""
    _, passes, visits = sweep_badly(stars, 7, folder)
    first = visits[0]
    faults = Counter(visit.fault for visit in first)
    assert set(FAULTS) <= set(faults)
    assert 0.2 < 1 - faults[None] / len(first) < 0.4
    # Some were gone on with where they broke off, and nothing that was whole was asked for again.
    assert sum(visit.begin > 0 for visit in first) > 0.02 * len(first)
    whole = {f"/{product}" for row in passes[0].values() if row["status"] == "ok" for product in names_of(row)}
    assert not whole & {visit.path for later in visits[1:] for visit in later}
    assert Counter(row["status"] for row in passes[0].values())["ok"] > 0.8 * stars
    return sorted(first, key=lambda visit: visit.at)


def names_of(row: Row) -> list[str]:
    return [name_of(int(row["target_id"].split()[1]), sector) for sector in SECTORS]


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """No crash of the machine is tested here."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def test_a_bad_archive_costs_time_and_no_star(tmp_path):
    check_sweep(50, str(tmp_path))


@pytest.mark.verify
def test_ten_thousand_requests_to_a_bad_archive(tmp_path):
    visits = check_sweep(1800, str(tmp_path))
    took = visits[-1].at - visits[0].at
    assert len(visits) > 10_000
    assert len(visits) / took > 0.25 * CONFIG.run.requests_per_s, "it is nearly the limit that holds them up"
