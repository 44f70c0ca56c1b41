"""Which stars are held back from which training: rows are divided by star, never by row [science rule 29]."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from survey.errors import UsageError

Stars = NDArray[Any]
Folds = NDArray[np.uint8]

NAMED = 3
"""Stars that an error names."""


def make_folds(labels: NDArray[np.bool_], stars: Stars, count: int, seed: int = 0) -> Folds:
    """(n,) fold of each row: all rows of a star in one, with about equal shares of positives.

    Raises UsageError where either class has fewer stars than there are folds.
    """
    for positive, name in ((True, "positive"), (False, "negative")):
        number = len(np.unique(stars[labels == positive]))
        if number < count:
            raise UsageError(
                f"{number} stars with a {name} row cannot be divided among {count} folds: give fewer --folds"
            )
    folds = np.empty(len(labels), np.uint8)
    split = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for fold, (_, held) in enumerate(split.split(np.zeros(len(labels)), labels, stars)):
        folds[held] = fold
    check_folds(folds, stars)
    return folds


def hold_back(
    labels: NDArray[np.bool_], stars: Stars, rows: NDArray[np.intp], share: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(kept, held back) of the rows: about `share` of their stars are held back, more where a class has few stars."""
    fewest = min(len(np.unique(stars[rows][labels[rows] == positive])) for positive in (True, False))
    part = make_folds(labels[rows], stars[rows], max(2, min(round(1 / share), fewest)), seed)
    return rows[part != 0], rows[part == 0]


def check_folds(folds: NDArray[np.integer], stars: Stars, names: Sequence[Stars] = ()) -> None:
    """Refuses folds that a star crosses, under its own name or another one.

    names: further (n,) names of the same rows (another catalogue's); "" where there is none. Stars that share any name
    are one star. Raises UsageError naming some that cross.
    """
    group = one_star(stars, names)
    first = np.full(int(group.max(initial=-1)) + 1, -1)
    first[group[::-1]] = folds[::-1]
    crossing = np.unique(stars[first[group] != folds])
    if len(crossing):
        shown = ", ".join(str(star) for star in crossing[:NAMED])
        more = f" and {len(crossing) - NAMED:,} more" if len(crossing) > NAMED else ""
        raise UsageError(f"stars cross folds, so that a model would be judged by stars it has seen: {shown}{more}")


def name_once(stars: Stars, names: Sequence[Stars] = ()) -> Stars:
    """(n,) one name of the star of each row, the same in all rows of it: the first in order of those in `stars`."""
    known, place = np.unique(stars, return_inverse=True)
    group = one_star(stars, names)
    first = np.full(int(group.max(initial=-1)) + 1, len(known))
    np.minimum.at(first, group, place)
    return known[first[group]]


def one_star(stars: Stars, names: Sequence[Stars] = ()) -> NDArray[np.intp]:
    """(n,) number of the star of each row, where rows that share any name, in whichever column, are of one star."""
    count = len(stars)
    each = np.concatenate([column.astype(str) for column in (stars, *names)])
    rows = np.flatnonzero(each != "")
    known, places = np.unique(each[rows], return_inverse=True)
    links = coo_matrix((np.ones(len(rows)), (rows % max(1, count), count + places)), shape=(count + len(known),) * 2)
    group: NDArray[np.intp] = connected_components(links, directed=False)[1][:count].astype(np.intp)
    return group
