"""Threshold-crossing events: what a search reports of a star."""

from dataclasses import asdict, dataclass
from typing import Any

from survey.signals.ephemeris import Ephemeris

ONCE = 1e5
"""A period (d) that no light curve spans: that of a single transit, where one is needed."""


@dataclass(frozen=True)
class Tce:
    """One signal of a star; fields, units and meaning as in `schema.TCE_FIELDS`. Times in days.

    A single transit has no period, and None in what only a period can give.
    """

    number: int
    period: float | None
    period_err: float | None
    epoch: float
    epoch_err: float
    duration_h: float
    depth_ppm: float
    depth_err_ppm: float
    snr: float
    mes: float
    pink_snr: float
    fap: float | None
    sde: float | None
    max_ses: float
    rest_mes: float | None
    box_over_sine: float | None
    inverted_mes: float | None
    n_transits: int
    n_open_periods: int | None
    scatter_beta: float

    @property
    def ephemeris(self) -> Ephemeris:
        return Ephemeris(ONCE if self.period is None else self.period, self.epoch, self.duration_h / 24)

    def as_row(self, time_zero: float) -> dict[str, Any]:
        """The struct of the searched row; `time_zero` is the BJD of time 0."""
        return asdict(self) | {"epoch_bjd": self.epoch + time_zero}
