"""A labelled set as one Parquet file: rows of any kind, the star of each, its label and its fold, and where all came from.

Columns of every set: `target_id` ("TIC 441462736"), `other_names` (the star's names in other catalogues), `label`
(letters of catalogues, or 0 and 1), `fold` (0 to 4: all rows of a star in one). What else there is depends on the kind.
The schema's metadata hold the kind and, as JSON, the provenance: configuration, sources with sha256, catalogues, counts of
stars and rows, what was left out and why, what is simulated ("" for nothing), missions, and the seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

COMMON = pa.schema(
    [
        pa.field("target_id", pa.string(), False),
        pa.field("other_names", pa.list_(pa.string())),
        pa.field("label", pa.string(), False),
        pa.field("fold", pa.uint8(), False),
    ]
)


@dataclass(frozen=True)
class LabelledTable:
    """A set as it was read and audited. sha256: of the file."""

    name: str
    sha256: str
    kind: str
    table: pa.Table
    provenance: dict[str, Any]


def write_set(path: str | Path, kind: str, table: pa.Table, provenance: Mapping[str, Any]) -> str:
    """Writes a set in one step, after the audit, and returns its sha256. `fold` is added where the table has none.

    Raises UsageError for a set that is not fit to learn from, and where the file cannot be written.
    """
    raise NotImplementedError


def read_set(path: str | Path, kind: str) -> LabelledTable:
    """Raises UsageError for a file that is no set, one of another kind, and for a star that crosses folds."""
    raise NotImplementedError
