"""What a search brought back of the signals that are known to be there."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from survey.stars import inject


class Signal(NamedTuple):
    """What is compared: epoch in days, any event; duration in days."""

    target_id: str
    period: float
    epoch: float
    duration: float


class Match(NamedTuple):
    """How a known signal fared.

    verdict: "found", "alias" (at a simple multiple or fraction of the period) or "missed"; found: index of the one that
    matched; ratio: found period over true period, rounded to the alias.
    """

    verdict: Literal["found", "alias", "missed"]
    found: int | None
    ratio: float | None


ALIASES = (1 / 2, 2.0, 1 / 3, 3.0)


def match_signals(
    truth: Sequence[tuple[str, float, float, float]],
    found: Sequence[tuple[str, float, float, float]],
    *,
    period_tolerance: float = 0.005,
    aliases: Sequence[float] = ALIASES,
) -> list[Match]:
    """For every known signal, whether it is among the found ones: one `Match` each, in order.

    truth, found: (target_id, period, epoch, duration), all days. Periods agree within the relative `period_tolerance`,
    and the events must coincide within half the longer duration: a dip of the right period elsewhere in the orbit is
    another signal. A found signal serves one known signal only; matches at the period itself go first.
    """
    matches: list[Match] = [Match("missed", None, None)] * len(truth)
    used: set[int] = set()
    for ratio in (1.0, *aliases):
        for index, known in enumerate(truth):
            if matches[index].verdict != "missed":
                continue
            for candidate, other in enumerate(found):
                if candidate not in used and _agree(Signal(*known), Signal(*other), ratio, period_tolerance):
                    matches[index] = Match("found" if ratio == 1 else "alias", candidate, ratio)
                    used.add(candidate)
                    break
    return matches


def _agree(known: Signal, other: Signal, ratio: float, period_tolerance: float) -> bool:
    if known.target_id != other.target_id or abs(other.period / (ratio * known.period) - 1) > period_tolerance:
        return False
    apart = inject.phase_days(other.epoch, min(known.period, other.period), known.epoch)
    return bool(abs(apart) <= max(known.duration, other.duration) / 2)
