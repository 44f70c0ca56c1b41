"""The transit search. One public function, `find_tces`; engines of one signature behind it."""

from survey.signals.search.curve import FlatCurve
from survey.signals.search.find import find_tces, remeasure, resolve_engine
from survey.signals.search.plan import longest_duration, stellar_density
from survey.signals.search.tce import Tce

__all__ = ["FlatCurve", "Tce", "find_tces", "longest_duration", "remeasure", "resolve_engine", "stellar_density"]
