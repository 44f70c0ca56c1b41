"""Who stands near whom, and how far a star's light reaches."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from survey.config import MatchConfig
from survey.runs.crossmatch.ephemerides import Indices, Values

ARCSEC_PER_RADIAN = 180 * 3600 / np.pi


class Reach(NamedTuple):
    """arcsec: of a faint star; magnitude: at which a star's light covers twice the area."""

    arcsec: float
    magnitude: float


REACH: Final = {"tess": Reach(126.0, 10.3), "kepler": Reach(55.0, 15.0), "k2": Reach(55.0, 15.0)}
"""Kepler: Coughlin et al. (2014), 55" sqrt(10^(6 - 0.4 Kp) + 1). TESS: six pixels, and Kepler's law for bright stars
at the same count of photons, 4.7 mag brighter by the zero points of the two (Vanderspek et al. 2018; Van Cleve &
Caldwell 2016)."""


def reach_of(missions: Sequence[str], magnitudes: Values, config: MatchConfig) -> Values:
    """Distance in arcsec at which a star's light may still fall into another star's aperture, (n,)."""
    faint, bright = np.array([REACH[mission] for mission in missions], float).reshape(-1, 2).T
    area = 1 + np.nan_to_num(10 ** (0.4 * (bright - magnitudes)))
    return np.fmin(faint * np.sqrt(area), config.max_reach_arcsec)


def separation(ra: Values, dec: Values, other_ra: Values, other_dec: Values) -> Values:
    """Distance on the sky in arcsec of points given in degrees."""
    chord = np.linalg.norm(directions(ra, dec) - directions(other_ra, other_dec), axis=-1)
    return 2 * np.arcsin(np.fmin(chord / 2, 1.0)) * ARCSEC_PER_RADIAN


def directions(ra: Values, dec: Values) -> Values:
    """Unit vectors, (n, 3)."""
    a, d = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def find_near(ra: Values, dec: Values, other_ra: Values, other_dec: Values, radii: Values) -> tuple[Indices, Indices]:
    """(i, j) of all points of the first list and of the second with no more than `radii` arcsec (n,) of i between them.

    Points without a position are near nobody. In order of i, then j.
    """
    here, there = (np.flatnonzero(np.isfinite(a) & np.isfinite(d)) for a, d in ((ra, dec), (other_ra, other_dec)))
    if not len(here) or not len(there):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    tree = cKDTree(directions(other_ra[there], other_dec[there]))
    chords = 2 * np.sin(radii[here] / ARCSEC_PER_RADIAN / 2)
    found = tree.query_ball_point(directions(ra[here], dec[here]), chords, return_sorted=True)
    counts = np.array([len(some) for some in found])
    near = np.concatenate([np.asarray(some, np.int64) for some in found])
    return np.repeat(here, counts), there[near]


def group_positions(ra: Values, dec: Values) -> NDArray[np.int64]:
    """A number for each position, equal for equal positions; -1 where there is none, (n,)."""
    numbers = np.unique(np.stack([ra, dec], axis=-1), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return np.where(np.isfinite(ra) & np.isfinite(dec), numbers, -1)
