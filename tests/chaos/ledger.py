"""What the chaos did and what came of it. Where all of it is made, it is written into the page on reliability."""

import csv
import datetime
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from tests.chaos.scale import SEED
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "reliability.md"
KILLS = ROOT / "docs" / "kills.csv"


@dataclass(frozen=True)
class Kill:
    """what: was killed; seconds: since the sweep began; driver: which one since then; at_work: process, stage and first
    target of a shard that was under way; in_flight: stages under way; shards: committed before and after."""

    what: str
    seconds: float
    driver: int
    at_work: str
    in_flight: int
    shards_before: int
    shards_after: int


@dataclass
class Ledger:
    """rows: what was tried -> (how much of it, what came of it)."""

    rows: dict[str, tuple[str, str]] = field(default_factory=dict)
    kills: Sequence[Kill] = ()

    def note(self, tried: str, made: str, came: str) -> None:
        self.rows[tried] = made, came

    def write(self) -> None:
        """Replaces its rows of the page's table; the others stay as they were."""
        text = PAGE.read_text()
        for tried, cells in self.rows.items():
            row = f"| {' | '.join((tried, *cells))} |"
            text, found = re.subn(rf"^\| {re.escape(tried)} \|.*$", lambda _, row=row: row, text, flags=re.MULTILINE)
            assert found == 1, f"{PAGE.name} has no row for {tried}"
        text, found = re.subn(r"^Whole run of .*$", whole_run(), text, flags=re.MULTILINE)
        assert found == 1, f"{PAGE.name} does not say when it was run"
        PAGE.write_text(text)
        if self.kills:
            write_kills(KILLS, self.kills)


def whole_run() -> str:
    """When, where, and of what."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    version = commit.stdout.strip() or "no commit"
    return f"Whole run of {datetime.date.today()}, seed {SEED}, {os.cpu_count()} cores, commit {version}."


def write_kills(path: Path, kills: Sequence[Kill]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [name.name for name in fields(Kill)], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**asdict(kill), "seconds": f"{kill.seconds:.1f}"} for kill in kills)
