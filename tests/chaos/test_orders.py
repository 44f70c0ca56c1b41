"""However a sweep is spread over workers and in whatever order its shards are done, the merged files are the same."""

import random
from pathlib import Path

import pyarrow as pa
import pytest

from survey.config import load
from survey.runs import store, stream
from tests.chaos.ledger import Ledger
from tests.chaos.scale import SEED
from tests.chaos.stars import QUICK, check_run, targets_of

pytestmark = [
    pytest.mark.verify,
    pytest.mark.chaos,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*", r"ignore::FutureWarning:ray\..*"),
]

WORKERS = (1, 2, 4)


def test_workers_and_order_change_no_byte(
    local_ray: None,
    tmp_path: Path,
    mirror: Path,
    undisturbed: dict[str, str],
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng, todo, commit = random.Random(SEED), store.todo, store.commit
    committed: list[int] = []

    def shuffled_todo(run: store.Run) -> dict[int, pa.Table]:
        missing = todo(run)
        return {shard: missing[shard] for shard in rng.sample(sorted(missing), len(missing))}

    def noted_commit(run: store.Run, shard: int, rows: pa.Table) -> pa.Table:
        committed.append(shard)
        return commit(run, shard, rows)

    monkeypatch.setattr(store, "todo", shuffled_todo)
    monkeypatch.setattr(store, "commit", noted_commit)
    for count in WORKERS:
        committed.clear()
        config = load(overrides=[*QUICK, f"run.search_actors={count}", f"run.fetch_actors={min(count, 2)}"])
        with store.open_run(tmp_path / str(count), config, targets_of(mirror)) as run:
            stream.sweep(run, f"mirror:{mirror}")
        assert committed != sorted(committed)
        check_run(tmp_path / str(count), mirror, undisturbed)
    ledger.note(
        "workers and order of the shards",
        f"{len(targets_of(mirror))} stars by {', '.join(map(str, WORKERS))} workers, shards shuffled, and by no Ray",
        "the same bytes",
    )
