"""Thousands of small light curves under the archive's own keys, and their sweep without Ray, which nothing disturbs."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from survey.config import load
from survey.runs import store
from survey.runs.folder import LOCK
from survey.runs.stages import STAGES
from survey.stars.lists import read_targets
from survey.stars.simulate import archive
from survey.stars.simulate.products import SECTORS
from survey.stars.simulate.stars import Kind
from survey.stars.sources import open_source
from survey.stars.targets import Target
from tests.runs.test_store import MERGED, hashes

SECTOR = 99
SHORT = replace(SECTORS[1], number=SECTOR, n_cadences=720, cadence=600 / 86_400, gaps=(), excluded=())
"""Five days in steps of ten minutes: real stages take milliseconds for a star."""

KINDS = {
    "short_planet": Kind(planets=1, observations=(SECTOR,), periods=(0.6, 1.3), snr=(20, 60)),
    "short_binary": Kind(binary="unequal", observations=(SECTOR,)),
    "short_quiet": Kind(observations=(SECTOR,)),
    "short_truncated": Kind(damage="truncated", observations=(SECTOR,)),
    "short_empty": Kind(damage="empty", observations=(SECTOR,)),
    "missing": archive.KINDS["missing"],
}

MIX = ("planet", "quiet", "binary", "quiet", "truncated", "quiet", "missing", "planet", "quiet", "empty", "quiet")

SHARD = 10

NO_MODELS = tuple(f"score.{model}=none" for model in ("triage", "vetting", "pixels", "segments", "periods", "anomaly"))
"""Their packages take longer to start than these stars to search."""

QUICK = (
    "search.period_max=2",
    "search.max_tces=2",
    f"run.shard_size={SHARD}",
    "run.object_store_mb=80",
    *NO_MODELS,
)


def write_stars(folder: Path, count: int) -> None:
    kinds = [name if (name := MIX[number % len(MIX)]) in KINDS else f"short_{name}" for number in range(count)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SECTORS, SECTOR, SHORT)
        for name, kind in KINDS.items():
            patch.setitem(archive.KINDS, name, kind)
        archive.write_archive(folder, kinds=kinds)


def targets_of(folder: Path) -> list[Target]:
    return list(read_targets(folder / "targets.txt").targets)


def sweep_here(root: Path, mirror: Path) -> dict[str, str]:
    """Hashes of the merged files of a run in this process, shard by shard."""
    config = load(overrides=QUICK)
    source = open_source(f"mirror:{mirror}", config)
    with store.open_run(root, config, targets_of(mirror)) as run:
        for shard, table in store.todo(run).items():
            for stage in STAGES:
                table = stage.make(run.config, source)(table)
            store.commit(run, shard, table)
        store.merge(run)
    return hashes(root)


def check_run(root: Path, mirror: Path, undisturbed: dict[str, str]) -> None:
    """Every target once, the bytes of the undisturbed run, and nothing beside what a run leaves."""
    targets = targets_of(mirror)
    assert pq.read_table(root / store.TARGETS).column("target_id").to_pylist() == [star.target_id for star in targets]
    assert hashes(root) == undisturbed
    assert {path.name for path in root.iterdir() if path.is_file()} == {
        *MERGED, LOCK, store.MANIFEST, store.PROGRESS, store.RECORD,
    }  # fmt: skip
    parts = [f"part-{shard:05d}.parquet" for shard in range(-(-len(targets) // SHARD))]
    assert sorted(path.name for path in (root / "searched").iterdir()) == parts
    assert sorted(path.name for path in (root / "telemetry").iterdir()) == parts
    assert {path.name for path in (root / "features").iterdir()} <= set(parts)
