"""The gate: which flaws keep a signal from being called a candidate, and of what kind they are."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from survey.config import GateConfig
from survey.signals.vetting.report import Check

Kind = Literal["not_transit_like", "significant_secondary", "centroid_offset"]

KINDS: Final[dict[str, Kind]] = {
    "odd_even_differ": "significant_secondary",
    "secondary_eclipse": "significant_secondary",
    "secondary_of_another": "significant_secondary",
    "equal_eclipses": "significant_secondary",
    "too_large": "significant_secondary",
    "centroid_offset": "centroid_offset",
}
"""Flaw -> its class (Thompson et al. 2018); those not listed are not transit-like."""


@dataclass(frozen=True)
class Verdict:
    """Fields as `schema.VERDICT_FIELDS`."""

    flags: tuple[str, ...]
    is_candidate: bool
    not_transit_like: bool
    significant_secondary: bool
    centroid_offset: bool | None

    def as_row(self) -> dict[str, Any]:
        return asdict(self) | {"flags": list(self.flags)}


def judge(checks: Sequence[Check], gate: GateConfig) -> Verdict:
    """The verdict on one signal from all of its checks.

    A signal is a candidate when no check found its flaw. A check that could not be done says nothing; flaws that
    `gate.informative` names are reported, and count neither for the verdict nor for its classes.
    """
    flags = tuple(check.name for check in checks if check.passed is False)
    counting = [flag for flag in flags if flag not in gate.informative]
    kinds = {KINDS.get(flag, "not_transit_like") for flag in counting}
    located = any(KINDS.get(check.name) == "centroid_offset" and check.passed is not None for check in checks)
    return Verdict(
        flags,
        is_candidate=not counting,
        not_transit_like="not_transit_like" in kinds,
        significant_secondary="significant_secondary" in kinds,
        centroid_offset="centroid_offset" in kinds if located else None,
    )
