"""Spectra: a star's own, whatever else is folded, and on whatever thread."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from survey.config import SearchConfig
from survey.signals.search import numba_engine, spectrum
from survey.signals.search.curve import FlatCurve, make_dips
from survey.signals.search.find import start_hunt

CONFIG = SearchConfig(period_min=1.0)


def make_curve(seed: int, days: float = 13.0, density: float | None = 1.0) -> FlatCurve:
    rng = np.random.default_rng(seed)
    time = np.arange(0, days, 10 / 1440)
    time = time[((rng.random(time.size) > 0.02) | (time == 0)) & ~((time > 5) & (time < 5 + rng.uniform(0, 1)))]
    time[1:] += 3 / 1440  # off the edges of the grid that starts at 0
    flux = 1 + 1e-3 * rng.standard_normal(time.size)
    flux[(time - 0.3) % 3.3 < 0.12] -= rng.choice([0, 2e-3])
    return FlatCurve(time, flux, np.full(time.size, 1e-3), 10 / 1440, density)


def prepare(curve: FlatCurve) -> spectrum.Star:
    hunt = start_hunt(curve, CONFIG)
    keep = hunt.keep.copy()
    keep[100:140] = False
    return hunt.dips, keep, hunt.plan


STARS = [
    prepare(make_curve(seed, days, density))
    for seed, (days, density) in enumerate(
        [(13.0, 1.0), (13.0, 1.0), (27.0, None), (13.0, 1.0), (13.0, 8.0), (27.0, None)]
    )
]


def assert_same(one: spectrum.Spectrum, other: spectrum.Spectrum) -> None:
    for name in ("white", "scaled", "inverted"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


@pytest.fixture(scope="module")
def alone() -> list[spectrum.Spectrum]:
    return [spectrum.fold([star], numba_engine.search_segment)[0] for star in STARS]


def test_batch_mates_and_their_order_change_no_bit(alone: list[spectrum.Spectrum]) -> None:
    for order in (range(len(STARS)), reversed(range(len(STARS)))):
        chosen = list(order)
        together = spectrum.fold([STARS[k] for k in chosen], numba_engine.search_segment)
        for k, found in zip(chosen, together, strict=True):
            assert_same(found, alone[k])


def test_the_size_of_batches_changes_no_bit(alone: list[spectrum.Spectrum], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "BATCH_BYTES", 1)
    for found, expected in zip(spectrum.fold(STARS, numba_engine.search_segment), alone, strict=True):
        assert_same(found, expected)


def test_threads_change_no_bit(alone: list[spectrum.Spectrum]) -> None:
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            folded = pool.map(lambda star: spectrum.fold([star], numba_engine.search_segment)[0], STARS)
            for found, expected in zip(folded, alone, strict=True):
                assert_same(found, expected)


def test_stretches_far_apart_add_their_squares() -> None:
    first, second = make_curve(1), make_curve(2)
    both = FlatCurve(
        np.concatenate([first.time, second.time + 700.0]),
        np.concatenate([first.flux, second.flux]),
        np.concatenate([first.flux_err, second.flux_err]),
        first.cadence,
        1.0,
        (0, len(first.time)),
    )
    dips = make_dips(both, CONFIG.max_gap_days)
    assert len(dips.blocks) == 2
    plan = start_hunt(first, CONFIG).plan
    keep = np.ones(len(dips.time), bool)
    joined = spectrum.fold([(dips, keep, plan)], numba_engine.search_segment)[0]
    parts = [
        spectrum.fold([(make_dips(c, 200.0), np.ones(n, bool), plan)], numba_engine.search_segment)[0]
        for c, n in ((first, dips.blocks[0][1]), (second, len(dips.time) - dips.blocks[0][1]))
    ]
    np.testing.assert_allclose(joined.white, np.hypot(parts[0].white, parts[1].white), rtol=2e-3, atol=2e-3)


def test_what_is_masked_does_not_count() -> None:
    dips, keep, plan = STARS[0]
    spoiled = type(dips)(dips.time, np.where(keep, dips.dip, 7.0), dips.weight, dips.cell, dips.step, dips.blocks)
    assert_same(*(spectrum.fold([(each, keep, plan)], numba_engine.search_segment)[0] for each in (dips, spoiled)))


def test_the_spectrum_turned_upside_down_is_that_of_the_light_curve_turned_upside_down() -> None:
    dips, keep, plan = STARS[0]
    flipped = type(dips)(dips.time, -dips.dip, dips.weight, dips.cell, dips.step, dips.blocks)
    up, down = (spectrum.fold([(each, keep, plan)], numba_engine.search_segment)[0] for each in (dips, flipped))
    np.testing.assert_allclose(up.inverted, down.scaled, rtol=1e-5)
    np.testing.assert_allclose(up.scaled, down.inverted, rtol=1e-5)
