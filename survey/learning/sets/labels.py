"""The letters that label a signal, and what the catalogues' own words become among them.

    PC KP CP APC    a planet, or a candidate for one
    EB FP           an eclipse of something else: of two stars, or of a star behind
    V IS FA J O     no eclipse: variable stars, the instrument, false alarms, junk, others

A set may have 0 and 1 in their place.
"""

from collections.abc import Collection
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

PLANETS: Final = frozenset({"PC", "KP", "CP", "APC"})
ECLIPSES: Final = frozenset({"EB", "FP"})
REST: Final = frozenset({"J", "V", "IS", "O", "FA"})
LETTERS: Final = PLANETS | ECLIPSES | REST

KNOWN: Final = (*sorted(LETTERS), "0", "1")
"""Every label that a row may have."""

LETTER_OF: Final = {
    "CP": "CP",
    "KP": "KP",
    "PC": "PC",
    "APC": "APC",
    "FP": "FP",
    "FA": "FA",
    "EB": "EB",
    "CONFIRMED": "CP",
    "CANDIDATE": "PC",
    "FALSE POSITIVE": "FP",
    "REFUTED": "FP",
}
"""Words of the catalogues (`catalogs.KnownSignal.disposition`) -> letters."""


def positive(labels: NDArray[np.str_], letters: Collection[str]) -> NDArray[np.bool_]:
    """(n,) rows of these letters; a label 1 is positive in any case."""
    return np.isin(labels, [*letters, "1"])


def rarer_half(labels: NDArray[np.str_]) -> NDArray[np.bool_]:
    """(n,) the class by which folds are balanced: planets, where there are none eclipses, else the rarest label."""
    for letters in (PLANETS, ECLIPSES):
        found = positive(labels, letters)
        if found.any() and not found.all():
            return found
    names, counts = np.unique(labels, return_counts=True)
    rarest: Any = names[np.argmin(counts)]
    return labels == rarest
