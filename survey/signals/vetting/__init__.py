"""What is a planet's transit and what is not: checks on each signal, the gate's verdict, and the class of the star."""

from survey.signals.vetting.checks import FLAWS, vet
from survey.signals.vetting.events import OddEven, ProductDepth, depths_by_product, odd_even
from survey.signals.vetting.report import Check, Report
from survey.signals.vetting.secondary import Secondary, find_secondary
from survey.signals.vetting.star_class import classify
from survey.signals.vetting.verdict import Verdict, judge

__all__ = [
    "FLAWS",
    "Check",
    "OddEven",
    "ProductDepth",
    "Report",
    "Secondary",
    "Verdict",
    "classify",
    "depths_by_product",
    "find_secondary",
    "judge",
    "odd_even",
    "vet",
]
