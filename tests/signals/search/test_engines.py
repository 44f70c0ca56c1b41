"""Every engine against the NumPy reference on the same grid, and a star's independence of its batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.config import SearchConfig
from survey.signals.search import numba_engine, reference
from survey.signals.search.plan import Segment, plan_star
from tests.signals.search.lanes import make_lanes

TOLERANCE = 2e-5
"""float32 sums of at most a few hundred numbers, added in another order; ratios of order 1."""


def make_segment(
    rows: int, first: int, n_periods: int, levels: int, drift_step: int, missing: int, narrow: bool = False
) -> Segment:
    last = first + n_periods
    n_bins = max(rows * first - missing, last + 1)
    return Segment(0.01, n_bins, rows, first, last, drift_step, levels, narrow)


segments = st.builds(
    make_segment,
    rows=st.sampled_from([4, 6, 8, 12, 32, 48, 128]),
    first=st.integers(16, 90),
    n_periods=st.integers(1, 4),
    levels=st.integers(1, 3),
    drift_step=st.integers(1, 3),
    missing=st.integers(0, 40),
    narrow=st.booleans(),
)


@settings(deadline=None, max_examples=40)
@given(segment=segments, seed=st.integers(0, 2**32 - 1), lanes=st.sampled_from([1, 3]))
def test_numba_agrees_with_the_reference(segment: Segment, seed: int, lanes: int) -> None:
    columns = make_lanes(segment, lanes, seed)
    np.testing.assert_allclose(
        numba_engine.search_segment(*columns, segment), reference.search_segment(*columns, segment), atol=TOLERANCE
    )


def test_the_reference_is_brute_force_folding() -> None:
    """Drifts of 0 and rows - 1 bins are plain folds at P and P + 1 bins."""
    rng = np.random.default_rng(1)
    rows, period = 8, 12
    series = rng.standard_normal((rows * (period + 1), 1)).astype(np.float32)
    folded = reference.fold_rows(series[: rows * period].reshape(rows, period, 1))
    np.testing.assert_allclose(folded[0], series[: rows * period].reshape(rows, period, 1).sum(axis=0), atol=1e-5)
    by_row = series[: rows * period].reshape(rows, period)
    drifted = sum(np.roll(row, -number) for number, row in enumerate(by_row))
    np.testing.assert_allclose(folded[-1][:, 0], drifted, atol=1e-5)


@pytest.mark.parametrize("lanes", [2, 27])
def test_a_star_gives_the_same_bits_in_any_batch(lanes: int) -> None:
    plan = plan_star(13.0, 120 / 86400, 1.0, SearchConfig(period_min=2.0), 13.0)
    for segment in plan.segments:
        signal, weight, inverse_beta = make_lanes(segment, lanes, seed=7)
        together = numba_engine.search_segment(signal, weight, inverse_beta, segment)
        for star in range(lanes):
            one = slice(star, star + 1)
            alone = numba_engine.search_segment(signal[one], weight[one], inverse_beta[one], segment)
            assert np.array_equal(together[:, one], alone)


def test_a_box_is_found_with_its_full_signal() -> None:
    """A noiseless box of one bin's width of weight 1/n gives depth * sqrt(w (1 - w)), wherever it lies."""
    segment = make_segment(4, 50, 1, 1, 1, 0, narrow=True)
    weight = np.full((1, segment.n_bins), 1 / segment.n_bins, np.float32)
    dip = np.zeros(segment.n_bins)
    dip[np.arange(segment.n_bins) % 50 == 49] = 1.0
    dip[np.arange(segment.n_bins) % 50 == 0] = 1.0
    signal = (weight * (dip - dip.mean())).astype(np.float32)
    white, scaled, inverted = reference.search_segment(signal, weight, np.ones((1, 5), np.float32), segment)
    share = 2 / 50
    assert white.max() == pytest.approx(np.sqrt(share * (1 - share)), rel=1e-4)
    assert segment.periods()[white[0].argmax()] == pytest.approx(0.5)
    assert np.array_equal(white, scaled)
    upside_down = reference.search_segment(-signal, weight, np.ones((1, 5), np.float32), segment)
    assert np.array_equal(inverted, upside_down[1])
