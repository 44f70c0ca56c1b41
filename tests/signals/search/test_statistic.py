"""How sure a signal is: the tail of the MES in white noise, false-alarm probabilities, and red noise."""

import math

import numpy as np
import pytest
from scipy import stats

from survey.config import Config, SearchConfig
from survey.signals.search import FlatCurve, find_tces
from survey.signals.search.find import fold_batch, load_engine, start_hunt
from survey.signals.search.plan import Plan
from survey.signals.search.significance import block_maxima, false_alarm_probability, fit_gumbel
from survey.signals.search.spectrum import Spectrum
from survey.stars import inject

CADENCE = 10.0 / 1440.0
NOISE = 1e-3
CONFIG = Config()


def make_curve(seed: int, red: float = 0.0, noise: float = NOISE, depth: float = 0.0) -> FlatCurve:
    """White noise, red noise of `red` times its scatter (a day and a half long), spots for red stars, a planet."""
    rng = np.random.default_rng(seed)
    time = np.arange(0, 27, CADENCE)
    time = time[(time < 12.7) | (time > 13.7)]
    flux = 1 + noise * rng.standard_normal(len(time))
    if red:
        flux += inject.red_noise(time, scatter=red * noise, timescale=0.1, rng=rng)
        flux *= inject.rotation(time, period=9.0, amplitude=red * noise / 4, rng=rng)
    flux *= inject.trapezoid_transit(time, period=3.7, epoch=1.9, duration=0.12, depth=depth)
    return FlatCurve(time + 1325.3, flux.astype(np.float32), np.full(len(time), noise, np.float32), CADENCE, 1.0)


def spectra(count: int, red: float = 0.0, search: SearchConfig = CONFIG.search) -> list[Spectrum]:
    hunts = [start_hunt(make_curve(seed, red), search) for seed in range(count)]
    return fold_batch(hunts, load_engine("numba").search_segment)


def probabilities(found: list[Spectrum]) -> np.ndarray:
    """False-alarm probability of the highest peak of each; 1.04 undoes what is allowed for refinement."""
    return np.array(
        [
            false_alarm_probability(1.04 * float(spectrum.scaled.max()), block_maxima(spectrum.inverted))
            for spectrum in found
        ]
    )


def test_l_moments_give_back_a_gumbel_distribution() -> None:
    sample = stats.gumbel_r.rvs(3.0, 1.7, size=40_000, random_state=1)
    assert fit_gumbel(sample) == pytest.approx((3.0, 1.7), rel=0.02)


def test_block_maxima_cover_every_value_once() -> None:
    values = np.random.default_rng(0).random(1000)
    maxima = block_maxima(values, 7)
    assert len(maxima) == 7
    assert maxima.max() == values.max()
    assert block_maxima(values[:5], 64).tolist() == values[:5].tolist()


def test_exponential_power_has_the_false_alarm_probability_of_theory() -> None:
    """Of n independent powers with an exponential tail, the highest exceeds z with 1 - (1 - exp(-z))^n."""
    rng = np.random.default_rng(4)
    n, z = 6400, 14.0
    logs = [
        math.log(false_alarm_probability(1.04 * math.sqrt(2 * z), np.sqrt(2 * block_maxima(rng.exponential(size=n)))))
        for _ in range(200)
    ]
    assert np.median(logs) == pytest.approx(math.log(1 - (1 - math.exp(-z)) ** n), abs=0.3)
    assert np.std(logs) < 1.2


def test_in_white_noise_probabilities_are_what_they_say() -> None:
    got = probabilities(spectra(240))
    for level in (0.05, 0.1, 0.2):
        low, high = stats.binom.interval(0.998, len(got), level)
        assert low <= np.count_nonzero(got < level) <= high, level
    assert np.count_nonzero(got < 0.002) <= 4


def test_in_red_noise_small_probabilities_hold_to_a_factor_of_three() -> None:
    got = probabilities(spectra(160, red=0.7))
    for level in (0.02, 0.1):
        assert np.count_nonzero(got < level) <= stats.binom.ppf(0.999, len(got), 3 * level), level
    assert np.count_nonzero(got < 1e-4) == 0


def test_white_noise_has_the_tail_of_brute_force() -> None:
    """The maximum over a narrow grid against boxes slid over plain folds of fresh noise, by their distributions."""
    search = SearchConfig(period_min=2.0, period_max=2.1)
    found = spectra(150, search=search)
    plan, curve = found[0].plan, make_curve(0)
    rng = np.random.default_rng(77)
    brute = [_brute_force(curve.time, rng.standard_normal(len(curve.time)), plan.periods[::2], plan) for _ in range(60)]
    engine = [float(spectrum.white.max()) for spectrum in found]
    assert stats.ks_2samp(engine, brute).pvalue > 1e-3
    assert np.mean(engine) == pytest.approx(np.mean(brute), abs=0.2)


def _brute_force(time: np.ndarray, noise: np.ndarray, periods: np.ndarray, plan: Plan) -> float:
    """The highest SNR of boxes at the plan's durations at these periods."""
    best = 0.0
    (segment,) = plan.segments
    for period in periods:
        phase = (time - time[0]) % period
        bins = math.ceil(period / segment.tau)
        index = np.minimum((phase / segment.tau).astype(int), bins - 1)
        x, w = (np.bincount(index, values, bins) for values in (noise, np.ones(len(noise))))
        for width in segment.widths:
            sums = [np.concatenate([[0], np.cumsum(np.concatenate([part, part[:width]]))]) for part in (x, w)]
            inside, weight = (part[width:] - part[:-width] for part in sums)
            snr = inside / np.sqrt(np.maximum(weight * (1 - weight / len(noise)), 1e-9))
            best = max(best, float(snr[weight > 0.3 * len(noise) * width / bins].max()))
    return best


def test_a_planet_on_a_quiet_star_ranks_above_red_noise_of_higher_white_snr() -> None:
    quiet = make_curve(3, depth=1.6e-3)
    hunts = [start_hunt(make_curve(seed, red=3.0), CONFIG.search) for seed in range(8)]
    noisy = fold_batch(hunts, load_engine("numba").search_segment)
    (planet,) = find_tces([quiet], CONFIG)[0]
    assert planet.period == pytest.approx(3.7, rel=1e-3)
    assert min(float(spectrum.white.max()) for spectrum in noisy) > planet.snr
    assert max(float(spectrum.scaled.max()) for spectrum in noisy) < planet.mes
    assert planet.fap is not None
    assert planet.fap < 1e-6
    assert planet.pink_snr == pytest.approx(planet.mes, rel=0.1)
