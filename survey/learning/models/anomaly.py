"""What is strange among windows of light: an Isolation Forest and a Local Outlier Factor that know quiet windows only.

Liu, Ting & Zhou 2008, by scikit-learn, and Breunig et al. 2000. The forest isolates a strange window in few random
cuts, wherever it lies; the factor compares how lonely it is with how lonely its neighbours are. Each score is put on
one scale, 0 for the median of quiet windows and 1 for their 95%, and the mean of the two is the score: a window that
only one of them finds strange must be very strange.

For its windows, every star is its own measure: their statistics are taken about those of its usual window, in units of
its own spread, and so is the score before it is compared with the threshold. What a star does all the time makes the
star strange, not the window; stars are compared by the same windows about the usual one of quiet stars. The threshold
is a quantile of quiet windows by detectors that had not seen their star, so that `contamination` moves the threshold
and no score [science rule 35].
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
import pydantic
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat
from sklearn.ensemble import IsolationForest
from sklearn.tree import ExtraTreeRegressor

from survey.config import AnomalyConfig, Frozen
from survey.errors import UsageError
from survey.learning.models.neighbours import Neighbours, fit_neighbours
from survey.signals.window_stats import LEAST_POINTS, STATISTICS, Windows, cut_windows

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

FOLDS: Final = 5
TREE_WINDOWS: Final = 256
"""Windows that each tree is grown on, as Liu et al. found enough."""

LEAST_WINDOWS: Final = 100
"""Fewer quiet windows say nothing about what is strange."""

LEAST_USUAL: Final = 10
"""A star of fewer windows has no usual one; that of quiet stars stands in."""

MOST_KNOWN: Final = 20_000
QUANTILES: Final = 1001
USUAL: Final = 0.95
"""The quantile of quiet windows whose score is 1."""

WITHIN_SIGMA: Final = 0.6827
LEAST_SPREAD: Final = 1e-6
"""What never changes in the training set has some spread all the same."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Level = tuple[FiniteFloat, Positive]
"""Median of a raw score, and how far above it the USUAL quantile lies."""


@dataclass(frozen=True)
class Light:
    """Detrended light of one star. time: (d,) days, rising; flat: flux over trend, not clipped; product: its file."""

    star: str
    time: Floats
    flat: NDArray[np.floating]
    cadence_s: float
    product: str = ""


class Inputs(Frozen):
    """How the windows are cut (`window_stats.cut_windows`)."""

    points: int = Field(50, ge=LEAST_POINTS, le=2000)
    step: int = Field(10, ge=1, le=2000)
    cell_minutes: float = Field(10.0, gt=0, le=1440)

    def cut(self, light: Light) -> Windows:
        step = min(self.step, self.points)
        return cut_windows(
            light.time, light.flat, light.cadence_s, points=self.points, step=step, cell_minutes=self.cell_minutes
        )


class Scale(Frozen):
    """What puts statistics and scores on one scale; it stands in model.json.

    centre: of each of STATISTICS in quiet windows; spread: about the usual window of a star; forest, neighbours: of the
    raw scores; quiet: quantiles, evenly spaced, of how far quiet windows score above the usual one of their star, by
    detectors that had not seen it.
    """

    centre: tuple[FiniteFloat, ...] = Field(min_length=len(STATISTICS), max_length=len(STATISTICS))
    spread: tuple[Positive, ...] = Field(min_length=len(STATISTICS), max_length=len(STATISTICS))
    forest: Level
    neighbours: Level
    quiet: tuple[FiniteFloat, ...] = Field(min_length=2, max_length=100_001)

    @pydantic.field_validator("quiet")
    @classmethod
    def _check_quiet(cls, quiet: tuple[float, ...]) -> tuple[float, ...]:
        if bool((np.diff(quiet) < 0).any()):
            raise ValueError("quantiles must not fall")
        return quiet

    def usual(self, statistics: Floats) -> tuple[Floats, Floats]:
        """Centre and spread, (14,), of the windows of one star; it is no more even than quiet stars are."""
        centre, spread = np.array(self.centre), np.array(self.spread)
        if len(statistics) < LEAST_USUAL:
            return centre, spread
        own = np.median(statistics, axis=0)
        return own, np.maximum(spread, _spread(statistics - own))

    def flatten(self, statistics: Floats, centre: Floats, spread: Floats) -> Floats:
        """Statistics (w, 14) about usual ones, far ones drawn in: a dip of 1000 sigmas is not alone for being deeper
        than one of 100. Of no more digits than a file keeps."""
        flat = np.arcsinh((statistics - centre) / spread)
        return flat.astype(np.float32).astype(np.float64)

    def combine(self, raw: Floats) -> Floats:
        """(w,) scores of (2, w) raw ones."""
        levels = np.array([self.forest, self.neighbours])[:, :, None]
        scaled: Floats = (raw - levels[:, 0]) / levels[:, 1]
        return scaled.mean(axis=0)

    def threshold(self, contamination: float) -> float:
        """How far above its star's usual window a share of `contamination` of quiet windows scores."""
        return float(np.interp(1 - contamination, np.linspace(0, 1, len(self.quiet)), self.quiet))


@dataclass(frozen=True)
class Detector:
    """inputs: how its windows are cut; known: (k, 14) flattened statistics of the quiet windows that both know."""

    inputs: Inputs
    known: Floats
    forest: IsolationForest
    neighbours: Neighbours
    scale: Scale

    def score(self, statistics: Floats) -> Floats:
        """(w,) how strange the windows of one star are for it, whatever is scored beside it."""
        return self._score(statistics, *self.scale.usual(statistics))

    def score_among_stars(self, statistics: Floats) -> Floats:
        """(w,) how strange they are beside the windows of quiet stars."""
        return self._score(statistics, np.array(self.scale.centre), np.array(self.scale.spread))

    def _score(self, statistics: Floats, centre: Floats, spread: Floats) -> Floats:
        if not len(statistics):
            return np.empty(0)
        flat = self.scale.flatten(statistics, centre, spread)
        return self.scale.combine(_score_raw(self.forest, self.neighbours, flat))


def above_usual(scores: Floats) -> Floats:
    """(w,) scores of one star's windows about that of its usual one."""
    return scores - np.median(scores) if len(scores) >= LEAST_USUAL else scores


def _spread(rest: Floats) -> Floats:
    """Of each column, as wide as a standard deviation."""
    return np.maximum(np.quantile(np.abs(rest), WITHIN_SIGMA, axis=0), LEAST_SPREAD)


def fit_detector(statistics: Floats, stars: NDArray[Any], config: AnomalyConfig) -> Detector:
    """A detector of what is unlike (n, 14) statistics of quiet windows; stars: (n,) the star of each, in order of time.

    Every star has about as many windows in it. Raises UsageError for too few windows.
    """
    rows = _draw_windows(stars, config.windows, config.seed)
    if len(rows) < max(LEAST_WINDOWS, 3 * config.neighbours):
        raise UsageError(
            f"{len(rows)} windows of quiet light are too few to learn from: give more light curves, "
            f"of {max(LEAST_WINDOWS, 3 * config.neighbours)} windows or more"
        )
    place = stars[rows]
    centre, spread = np.median(statistics[rows], axis=0), _spread(_about_usual(statistics, stars)[rows])
    scale = Scale(centre=tuple(centre), spread=tuple(spread), forest=(0, 1), neighbours=(0, 1), quiet=(0, 1))
    flattened = np.empty_like(statistics)
    for star in np.unique(stars):
        own = stars == star
        flattened[own] = scale.flatten(statistics[own], *scale.usual(statistics[own]))
    known = flattened[rows]
    raw = _score_unseen(known, _divide(place, config.seed), config)
    forest, neighbours = _fit_both(known, config)
    scale = scale.model_copy(update={"forest": _level(raw[0]), "neighbours": _level(raw[1])})
    above = _about_usual(scale.combine(raw), place)
    quiet = tuple(np.quantile(above, np.linspace(0, 1, QUANTILES)).tolist())
    inputs = Inputs(points=config.window, step=config.step, cell_minutes=config.cell_minutes)
    return Detector(inputs, known, forest, neighbours, scale.model_copy(update={"quiet": quiet}))


def _score_unseen(known: Floats, folds: NDArray[np.int64], config: AnomalyConfig) -> Floats:
    """(2, k) raw scores of flattened windows by detectors that had not seen their fold."""
    raw = np.empty((2, len(known)))
    for fold in np.unique(folds):
        held = folds == fold
        raw[:, held] = _score_raw(*_fit_both(known[~held], config), known[held])
    return raw


def _about_usual(values: Floats, stars: NDArray[Any]) -> Floats:
    """(n, ...) of windows, about the median of their star."""
    about = values.copy()
    for star in np.unique(stars):
        about[stars == star] -= np.median(values[stars == star], axis=0)
    return about


def _draw_windows(stars: NDArray[Any], most: int, seed: int) -> NDArray[np.intp]:
    """Rows, of each star about as many."""
    _, place = np.unique(stars, return_inverse=True)
    drawn = np.random.default_rng(seed).permutation(len(stars))
    turn = np.empty(len(stars), np.int64)
    for star in range(int(place.max(initial=-1)) + 1):
        own = drawn[place[drawn] == star]
        turn[own] = np.arange(len(own))
    return np.sort(drawn[np.argsort(turn[drawn], kind="stable")][:most])


def divide_stars(names: NDArray[Any], seed: int) -> NDArray[np.int64] | None:
    """The fold of each star; None for fewer stars than folds."""
    if len(names) < FOLDS:
        return None
    return np.random.default_rng(seed).permutation(np.arange(len(names)) % FOLDS)


def _divide(stars: NDArray[Any], seed: int) -> NDArray[np.int64]:
    """Folds by star; of fewer stars than folds, by the time within each."""
    names, place = np.unique(stars, return_inverse=True)
    if (of_stars := divide_stars(names, seed)) is not None:
        return of_stars[place]
    folds = np.empty(len(stars), np.int64)
    for star in range(len(names)):
        own = np.flatnonzero(place == star)
        folds[own] = np.arange(len(own)) * FOLDS // len(own)
    return folds


def _fit_both(windows: Floats, config: AnomalyConfig) -> tuple[IsolationForest, Neighbours]:
    forest = IsolationForest(
        n_estimators=config.trees, max_samples=min(TREE_WINDOWS, len(windows)), random_state=config.seed
    )
    return forest.fit(windows), fit_neighbours(windows, config.neighbours)


def _score_raw(forest: IsolationForest, neighbours: Neighbours, flattened: Floats) -> Floats:
    """(2, w): of the forest, and the logarithm of the outlier factor."""
    return np.stack([-forest.score_samples(flattened), np.log(neighbours.factors(flattened))])


def _level(scores: Floats) -> Level:
    middle = float(np.median(scores))
    return middle, max(float(np.quantile(scores, USUAL)) - middle, LEAST_SPREAD)


def check_forest(forest: Any) -> IsolationForest:
    """A forest out of a file, if walking its trees leads nowhere else. Raises ValueError.

    scikit-learn follows the children that a tree names without looking where they are.
    """
    count = len(STATISTICS)
    if not isinstance(forest, IsolationForest) or getattr(forest, "n_features_in_", None) != count:
        raise ValueError(f"no Isolation Forest of {count} statistics")
    parts = (forest.estimators_, forest.estimators_features_, forest._decision_path_lengths)
    if len({len(part) for part in (*parts, forest._average_path_length_per_tree)}) != 1 or not forest.estimators_:
        raise ValueError("the parts of the forest do not belong together")
    if not 1 <= forest._max_samples <= TREE_WINDOWS or forest._max_features != count or forest.verbose:
        raise ValueError("the forest has settings that no forest of this program has")
    for tree, columns, *depths in zip(*parts, forest._average_path_length_per_tree, strict=True):
        _check_tree(tree, columns, depths)
    return forest


def _check_tree(tree: Any, columns: Any, depths: list[Any]) -> None:
    if not isinstance(tree, ExtraTreeRegressor) or not np.array_equal(columns, np.arange(len(STATISTICS))):
        raise ValueError("the forest holds something else than trees")
    nodes = tree.tree_
    left, right, place = nodes.children_left, nodes.children_right, np.arange(nodes.node_count)
    leaf = left == -1
    inner = ~leaf & (left > place) & (right > place) & (left < nodes.node_count) & (right < nodes.node_count)
    inner &= (nodes.feature >= 0) & (nodes.feature < len(STATISTICS)) & np.isfinite(nodes.threshold)
    if not nodes.node_count or not (leaf | inner).all() or nodes.n_features != len(STATISTICS):
        raise ValueError("a tree leads out of itself")
    if any(np.shape(of_nodes) != place.shape or not np.isfinite(of_nodes).all() for of_nodes in depths):
        raise ValueError("a tree lacks the depths of its nodes")


def check_known(known: Any, neighbours: int) -> Floats:
    """The windows out of a file. Raises ValueError."""
    if not isinstance(known, np.ndarray) or known.ndim != 2 or known.shape[1] != len(STATISTICS):
        raise ValueError(f"no table of windows with {len(STATISTICS)} statistics")
    if known.dtype != np.float32 or not neighbours < len(known) <= MOST_KNOWN or not np.isfinite(known).all():
        raise ValueError(f"windows must be finite, float32, more than {neighbours} and no more than {MOST_KNOWN:,}")
    return known.astype(np.float64)
