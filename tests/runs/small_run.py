"""A finished run of a few simulated stars, made in this process by the very stages of a sweep, without Ray."""

from collections.abc import Sequence
from pathlib import Path

from survey.config import Config, load
from survey.runs import store
from survey.runs.stages import STAGES
from survey.stars import simulate
from survey.stars.lists import read_targets
from survey.stars.sources import open_source

KINDS = ("planet", "planets", "eclipsing_binary", "quiet", "planet", "truncated", "missing", "empty")


def quick(*overrides: str) -> Config:
    return load(overrides=["search.period_max=6", "search.max_tces=3", "run.shard_size=4", *overrides])


def make_run(root: str | Path, mirror: Path, kinds: Sequence[str] = KINDS, overrides: Sequence[str] = ()) -> store.Run:
    """Writes the simulated archive into `mirror`, if there is none, and the run over it into `root`."""
    if not mirror.exists():
        simulate.write_archive(mirror, kinds=kinds)
    config, source = quick(*overrides), open_source(f"mirror:{mirror}", Config())
    targets = read_targets(mirror / "targets.txt").targets
    with store.open_run(root, config, targets, source=source.describe(), asked={"targets": "targets.txt"}) as run:
        for shard, table in store.todo(run).items():
            for stage in STAGES:
                table = stage.make(run.config, source)(table)
            store.commit(run, shard, table)
        store.merge(run)
    return store.load_run(root)
