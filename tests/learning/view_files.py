"""Simulated labelled views: stars with a dip that a small network can learn to tell from noise in seconds."""

from pathlib import Path
from typing import Any

import numpy as np

GLOBAL, LOCAL = 32, 24


def make_columns(rows: int = 160, stars: int = 100, seed: int = 0) -> dict[str, Any]:
    """Arrays of an npz in the survey's own form: PC have a dip in both views, J have none."""
    rng = np.random.default_rng(seed)
    positive = rng.random(rows) < 0.4
    columns: dict[str, Any] = {
        "tic_id": rng.integers(1, stars, rows),
        "label": np.where(positive, "PC", "J"),
        "period": rng.uniform(1, 10, rows),
        "duration_h": rng.uniform(1, 5, rows),
        "snr": np.where(positive, 12.0, 9.0) + rng.normal(0, 2, rows),
    }
    for name, bins in (("global_view", GLOBAL), ("local_view", LOCAL)):
        view = rng.normal(0, 0.35, (rows, bins))
        view[positive, bins // 2 - 2 : bins // 2 + 2] -= 1
        columns[name] = view.astype(np.float32)
    return columns


def write_npz(path: Path, columns: dict[str, Any]) -> Path:
    np.savez(path, **columns)
    return path


def write_csv(path: Path, rows: int = 12, **extra: Any) -> Path:
    """A CSV in the form of S0.17, with 2,048 and 256 bins."""
    rng = np.random.default_rng(1)
    names = [f"global_{k}" for k in range(2048)] + [f"local_{k}" for k in range(256)]
    columns = {name: rng.normal(0, 0.1, rows).round(4).tolist() for name in names}
    columns |= {"centroid_offset": [0.5] * rows, "label": [k % 2 for k in range(rows)]} | extra
    lines = [",".join(columns)] + [",".join(str(column[k]) for column in columns.values()) for k in range(rows)]
    path.write_text("\n".join(lines) + "\n")
    return path
