"""Differences in and out of transit on series whose answer is known."""

import numpy as np
import pytest

from survey.signals.difference import difference
from survey.signals.ephemeris import Ephemeris, in_transit

SIGNAL = Ephemeris(3.3, 2000.7, 0.125)
TIMES = 2000.0 + np.arange(0.0, 27.0, 600 / 86_400)
DEPTHS = np.array([5.0, 0.0, -2.0])


def make_series(seed: int = 0, noise: float = 1.0) -> np.ndarray:
    """Three columns: a transit, none, a brightening; each on a level and a slow parabola of its own."""
    rng = np.random.default_rng(seed)
    slow = 0.02 * (TIMES[:, None] - 2010) ** 2 * [1.0, -2.0, 0.5] + [100.0, 50.0, 0.0]
    return slow - DEPTHS * in_transit(TIMES, SIGNAL)[:, None] + rng.normal(0, noise, (len(TIMES), 3))


def test_depths_come_back_with_true_errors() -> None:
    found = [difference(TIMES, make_series(seed), None, SIGNAL, ()) for seed in range(60)]
    values = np.array([one.value for one in found if one is not None])
    errors = np.array([one.err for one in found if one is not None])
    assert values.mean(axis=0) == pytest.approx(DEPTHS, abs=0.05)
    assert np.sqrt(np.mean(((values - DEPTHS) / errors) ** 2)) == pytest.approx(1.0, abs=0.15)


def test_without_noise_and_with_straight_trends_depths_are_exact() -> None:
    straight = (TIMES[:, None] - 2010) * [1.0, -2.0, 0.5] - DEPTHS * in_transit(TIMES, SIGNAL)[:, None]
    found = difference(TIMES, straight, None, SIGNAL, ())
    assert found is not None
    assert found.value == pytest.approx(DEPTHS, abs=1e-6)
    assert found.transits == pytest.approx(np.tile(DEPTHS, (len(found.transits), 1)), abs=1e-6)
    assert found.weights.sum() == pytest.approx(1.0)


def test_red_noise_widens_the_errors() -> None:
    """Noise that lasts as long as a transit does not average down over its cadences."""
    rng = np.random.default_rng(1)
    kernel = np.ones(18)
    values = []
    for _ in range(40):
        red = np.stack([np.convolve(rng.normal(0, 0.2, len(TIMES)), kernel, "same") for _ in range(3)], axis=1)
        values.append(difference(TIMES, make_series(noise=0.01) + red, None, SIGNAL, ()))
    pulls = np.array([(one.value - DEPTHS) / one.err for one in values if one is not None])
    white = np.array([one.err / one.white for one in values if one is not None])
    assert np.sqrt(np.mean(pulls**2)) == pytest.approx(1.0, abs=0.2)
    assert np.median(white) > 1.5


def test_what_the_motion_of_the_image_explains_is_taken_out() -> None:
    rng = np.random.default_rng(2)
    motion = rng.normal(0, 0.02, (len(TIMES), 2))
    motion[:, 0] += 0.1 * in_transit(TIMES, Ephemeris(3.3, 2000.7, 0.06))
    moved = make_series(noise=0.1) + motion @ [[100.0, 50.0, 0.0], [0.0, 20.0, 80.0]]
    plain, corrected = (difference(TIMES, moved, pointing, SIGNAL, ()) for pointing in (None, motion))
    assert plain is not None
    assert corrected is not None
    assert corrected.value == pytest.approx(DEPTHS, abs=0.1)
    assert abs(plain.value[0] - DEPTHS[0]) > 1


def test_every_transit_has_its_image_and_weight() -> None:
    found = difference(TIMES, make_series(), None, SIGNAL, ())
    assert found is not None
    assert found.transits.shape == (8, 3)
    half = in_transit(TIMES, Ephemeris(100.0, 2004.0, 0.125)) & (TIMES > 2004.0)
    thinned = difference(TIMES[~half], make_series()[~half], None, SIGNAL, ())
    assert thinned is not None
    assert len(thinned.transits) == 8
    assert np.argmin(thinned.weights) == 1
    gone = in_transit(TIMES, Ephemeris(100.0, 2004.0, 0.125))
    without = difference(TIMES[~gone], make_series()[~gone], None, SIGNAL, ())
    assert without is not None
    assert len(without.transits) == 7


def test_a_single_transit_is_measured_by_itself() -> None:
    found = difference(TIMES, make_series(), None, SIGNAL._replace(period=1e5), ())
    assert found is not None
    assert found.transits.shape == (1, 3)
    assert np.all(np.abs(found.value - DEPTHS) < 4 * found.err)


def test_nothing_to_compare_is_none() -> None:
    assert difference(TIMES[:0], make_series()[:0], None, SIGNAL, ()) is None
    assert difference(TIMES[:2], make_series()[:2], None, SIGNAL, ()) is None
    assert difference(TIMES, np.full((len(TIMES), 3), np.nan), None, SIGNAL, ()) is None
    assert difference(TIMES, make_series(), np.full((len(TIMES), 2), np.nan), SIGNAL, ()) is None
    inside = in_transit(TIMES, SIGNAL)
    assert difference(TIMES[inside], make_series()[inside], None, SIGNAL, ()) is None
    assert difference(TIMES[~inside], make_series()[~inside], None, SIGNAL, ()) is None
