"""Another gate for signals that were checked already: what can be judged anew without the light itself."""

from dataclasses import replace
from typing import Final

from survey.config import GateConfig
from survey.signals.vetting.report import Check

LEAST: Final = {
    "low_mes": "mes",
    "few_transits": "min_transits",
    "two_transits": "pair_mes",
    "one_event": "rest_mes",
    "as_strong_inverted": "over_inverted",
    "secondary_of_another": "same_period_durations",
    "variable_star": "rotation_share",
    "at_rotation": "rotation_share",
}
"""Check -> the setting below which its flaw begins."""

MOST: Final = {
    "chance": "fap",
    "as_strong_nearby": "nearby_share",
    "gappy": "gap_share",
    "odd_even_differ": "odd_even_sigma",
    "equal_eclipses": "over_shape",
    "depths_vary": "depth_scatter",
    "products_differ": "depth_scatter",
}
"""Check -> the setting above which its flaw begins."""

SETTINGS: Final = frozenset({*LEAST.values(), *MOST.values(), "informative"})
"""Of GateConfig; the others also decide what is measured."""


def judge_again(check: Check, gate: GateConfig) -> Check:
    """The check with the gate's threshold; one whose settings also decide what is measured stays as it is."""
    name = LEAST.get(check.name) or MOST.get(check.name)
    if name is None:
        return check
    threshold = getattr(gate, name)
    if check.score is None:
        return replace(check, threshold=threshold)
    passed = check.score >= threshold if check.name in LEAST else check.score <= threshold
    return replace(check, threshold=threshold, passed=bool(passed))
