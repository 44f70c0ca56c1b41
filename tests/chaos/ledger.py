"""What the chaos did and what came of it: kept for the length of the tests, written down where all of it was made."""

import csv
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "reliability.md"
KILLS = ROOT / "docs" / "kills.csv"
BEGIN, END = "<!-- make chaos writes this -->", "<!-- to here -->"


@dataclass(frozen=True)
class Kill:
    """what: was killed; seconds: since the sweep began; driver: which one since then; at_work: process, stage and
    first target of a shard that was under way; in_flight: stages under way; shards: committed before and after."""

    what: str
    seconds: float
    driver: int
    at_work: str
    in_flight: int
    shards_before: int
    shards_after: int


@dataclass
class Ledger:
    kills: list[Kill] = field(default_factory=list)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def note(self, what: str, **figures: Any) -> None:
        self.notes[what] = figures
