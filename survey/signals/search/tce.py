"""Threshold-crossing events: what a search reports of a star."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Tce:
    """One periodic signal of a star; fields, units and meaning as in `schema.TCE_FIELDS`. Times in days."""

    number: int
    period: float
    period_err: float
    epoch: float
    epoch_err: float
    duration_h: float
    depth_ppm: float
    depth_err_ppm: float
    snr: float
    mes: float
    sde: float | None
    max_ses: float
    rest_mes: float
    box_over_sine: float
    inverted_mes: float | None
    n_transits: int
    scatter_beta: float

    def as_row(self, time_zero: float) -> dict[str, Any]:
        """The struct of the searched row; `time_zero` is the BJD of time 0."""
        return asdict(self) | {"epoch_bjd": self.epoch + time_zero}
