"""Rows to learn from or to score, as tensors."""

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Examples:
    """inputs: what a network reads, each (n, ...); targets: (n,) 0 or 1, or (n, d) weights, zeros where not known."""

    inputs: tuple[Tensor, ...]
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: NDArray[Any] | Tensor) -> "Examples":
        index = torch.as_tensor(rows)
        return Examples(tuple(part[index] for part in self.inputs), self.targets[index])

    def to(self, device: torch.device) -> "Examples":
        return Examples(tuple(part.to(device) for part in self.inputs), self.targets.to(device))
