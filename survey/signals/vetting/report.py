"""What a check says of a signal, and what all of them say together."""

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """One check on one signal; fields as `schema.CHECK`.

    name: the flaw that it looks for. passed: None where it could not be done or does not apply; nothing is then held
    against the signal.
    """

    name: str
    value: float | None
    uncertainty: float | None
    unit: str
    score: float | None
    threshold: float
    passed: bool | None


def at_least(
    name: str,
    threshold: float,
    score: float | None,
    *,
    value: float | None = None,
    uncertainty: float | None = None,
    unit: str = "",
) -> Check:
    """A check whose flaw begins below the threshold; the value is the score unless it is given."""
    score = _measured(score)
    passed = None if score is None else bool(score >= threshold)
    return Check(name, score if value is None else value, uncertainty, unit, score, threshold, passed)


def at_most(
    name: str,
    threshold: float,
    score: float | None,
    *,
    value: float | None = None,
    uncertainty: float | None = None,
    unit: str = "",
) -> Check:
    """A check whose flaw begins above the threshold; the value is the score unless it is given."""
    score = _measured(score)
    passed = None if score is None else bool(score <= threshold)
    return Check(name, score if value is None else value, uncertainty, unit, score, threshold, passed)


def _measured(score: float | None) -> float | None:
    """What is no number was not measured, and is held against nothing."""
    return None if score is None or math.isnan(score) else score


@dataclass(frozen=True)
class Report:
    """The checks on one signal and what follows of the planet if it is one (fields as `schema.PLANET_FIELDS`)."""

    checks: tuple[Check, ...]
    planet_radius: float | None = None
    planet_radius_err: float | None = None
    equilibrium_temp: float | None = None
    insolation: float | None = None

    def as_row(self) -> dict[str, Any]:
        return asdict(self) | {"checks": [asdict(check) for check in self.checks]}
