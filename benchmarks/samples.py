"""The light curves that transits are injected into, and as many without: simulated, and real quiet ones.

Injected are limb-darkened transits of planets of a Sun-like star: log-uniform periods, impact parameters up to 0.9, SNR
of a matched filter in white noise even in the range given. Red noise is a mixture: of each four stars one has none, the
others an Ornstein-Uhlenbeck process of three hours with 0.5, 1 or 2 times the white noise of an hour. Real light curves
without transits are put into another order, or turned upside down once flares are clipped. Red and real light curves
are detrended by this program, after the injection, for all.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.quiet import quiet_curves
from benchmarks.simulated import (
    K2,
    KEPLER,
    TESS_2MIN,
    TESS_200S,
    Transits,
    Window,
    draw_transits,
    make_curve,
    transit_dips,
)
from survey.config import Config
from survey.signals.detrend import clip_outliers, detrend
from survey.signals.search import FlatCurve, longest_duration
from survey.signals.search.curve import point_scatter
from survey.stars import inject
from survey.stars.lightcurve import scramble

Floats = NDArray[np.float64]
Star = tuple[FlatCurve, Transits | None]

SEED = 31
FAST = ("survey", "survey, spectrum", "survey, white", "GERBLS")
"""Methods that can search many stars."""

SIGMA = 1e-3
"""White noise of a simulated cadence."""
RED = (0.0, 0.5, 1.0, 2.0)
"""Standard deviation of the red noise, over the white noise of an hour."""
RED_HOURS = 3.0


@dataclass(frozen=True)
class Sample:
    """Light curves of one kind; `stars` of a method are injected and as many more are without transits.

    real: kind in the manifest of the real data, and its shortest baseline in days; empty for simulated light curves.
    """

    title: str
    window: Window
    snr: tuple[float, float]
    stars: dict[str, int]
    red: bool = False
    real: tuple[str, float] | None = None
    least: int = 2
    left_out: str = ""


def _all(fast: int, slow: int, slowest: int) -> dict[str, int]:
    counts = dict.fromkeys(FAST, fast)
    return counts | {"astropy": slow, "TLS": slowest}


QUARTER = Window("Kepler, one quarter", 1765.5, 90.0, (), period_max=40.0)

SAMPLES = {
    "tess_white": Sample("TESS 2 min, white noise", TESS_2MIN, (5, 12), _all(300, 300, 150)),
    "tess_red": Sample("TESS 2 min, red noise", TESS_2MIN, (6, 18), _all(300, 300, 150), red=True),
    "tess_200s": Sample("TESS 200 s, red noise", TESS_200S, (6, 18), _all(300, 300, 150), red=True),
    "k2_white": Sample("K2 80 d, white noise", K2, (5, 12), _all(200, 200, 100)),
    "k2_red": Sample("K2 80 d, red noise", K2, (6, 18), _all(200, 200, 100), red=True),
    "kepler": Sample(
        "Kepler four years, white noise",
        KEPLER,
        (6, 12),
        dict.fromkeys(FAST, 80),
        least=3,
        left_out="astropy takes over a minute a star and TLS many",
    ),
    "tess_real": Sample(
        "TESS 2 min, real quiet stars", TESS_2MIN, (6, 18), _all(240, 240, 150), real=("tess_spoc_2min", 20.0)
    ),
    "kepler_real": Sample(
        "Kepler quarters, real quiet stars", QUARTER, (6, 18), _all(200, 200, 100), real=("kepler_llc", 75.0)
    ),
}


def make_star(sample: Sample, number: int, injected: bool) -> Star:
    """A star of a sample, and the planet that was put there: the same whenever it is asked for."""
    rng = np.random.default_rng([SEED, list(SAMPLES.values()).index(sample), number, injected])
    return _real_star(sample, number, injected, rng) if sample.real else _simulated_star(sample, number, injected, rng)


def _simulated_star(sample: Sample, number: int, injected: bool, rng: np.random.Generator) -> Star:
    window = sample.window
    time = window.times(rng)
    flux = 1 + SIGMA * rng.standard_normal(len(time))
    if sample.red:
        scatter = RED[number % len(RED)] * SIGMA * math.sqrt(window.cadence_s / 3600)
        flux += inject.red_noise(time, scatter=scatter, timescale=RED_HOURS / 24, rng=rng)
    planet = draw_transits(time, window, sample.snr, rng, sample.least) if injected else None
    if planet:
        flux -= transit_dips(time, planet, window.cadence_s, SIGMA)
    if sample.red:
        return _flatten(time, flux, np.zeros(1, np.int64), window), planet
    return make_curve(time, flux, SIGMA, window), planet


def _real_star(sample: Sample, number: int, injected: bool, rng: np.random.Generator) -> Star:
    assert sample.real
    curves = quiet_curves(*sample.real)
    turn, which = divmod(number, len(curves))
    lc, window = curves[which], sample.window
    if injected:
        planet = draw_transits(lc.time, window, sample.snr, rng, sample.least)
        dips = transit_dips(lc.time, planet, lc.cadence_s, point_scatter(lc.flux.astype(np.float64)))
        return _flatten(lc.time, lc.flux * (1 - dips), lc.starts(), window), planet
    if turn > 0:
        lc = scramble(lc, rng, block_days=rng.uniform(0.8, 2.5))
    curve = _flatten(lc.time, lc.flux, lc.starts(), window)
    # Flares and cosmic rays were clipped: upside down they would be dips that no light curve has.
    return (curve if turn > 0 else replace(curve, flux=2 - curve.flux)), None


def _flatten(time: Floats, flux: NDArray[np.floating], starts: NDArray[np.int64], window: Window) -> FlatCurve:
    """Detrended as the survey does it, with errors of the scatter that is left from point to point."""
    config = Config()
    longest = longest_duration(2 * window.period_max, config.search, 1.0)
    days = max(config.detrend.min_window_days, 3.0 * longest)
    flat = flux / detrend(time, flux.astype(np.float32), starts, config.detrend, window_days=days)
    usable = np.isfinite(flat)
    usable[usable] = clip_outliers(flat[usable], config.clean.clip_upper_sigma, config.clean.clip_lower_sigma)
    flat = flat[usable].astype(np.float64)
    return make_curve(time[usable], flat, point_scatter(flat), window)
