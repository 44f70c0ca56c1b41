"""The searches that are compared, behind one signature: detrended light curves to the strongest peak of each.

All search the same periods of the same arrays. The durations are those a Sun-like star's planets have. This program
tries 0.4 to 1.5 times a central transit, as it does for any star of solar density, and returns its five best peaks,
their statistic scaled by the star's noise, and the spectrum of the upside-down curve. The rivals are given 0.5 to 1.2
times of it:

- astropy: `BoxLeastSquares`, oversample 5, SNR, the period grid of Ofir (2014) with oversampling 3, six durations in
  each range of periods (ratio 1.6);
- lightkurve: `to_periodogram('bls')` on the same periods and six durations over all of them, its own oversampling;
- GERBLS: `pyFastBLS` with downsampling, its physical durations for a Sun-like star, six factors; bins of a third of the
  shortest duration, and once more where that is less than a cadence with bins of one cadence, which is faster;
- transitleastsquares: one thread, its own grids for a star of one solar mass and 0.4 to 1.5 solar radii.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from survey.config import Engine, SearchConfig
from survey.signals.search import FlatCurve
from survey.signals.search.find import distinct_peaks, fold_batch, load_engine, start_hunt
from survey.signals.search.plan import central_duration

Floats = NDArray[np.float64]

PEAKS = 5
SHORTEST, LONGEST = 0.5, 1.2
"""Durations that rivals try, in central transits of a Sun-like star."""
PERIOD_RATIO = 1.6
DURATIONS = 6
OFIR_OVERSAMPLING = 3

SOLAR_RADIUS = 6.957e8
SOLAR_GM = 1.32712440018e20
DAY = 86_400.0


class Best(NamedTuple):
    """The strongest peak: days, counted as the light curve counts; NaN where a search does not say."""

    period: float
    epoch: float
    duration: float
    statistic: float


NOTHING = Best(math.nan, math.nan, math.nan, 0.0)

Contestant = Callable[[Sequence[FlatCurve], float, float], list[Best]]
"""(light curves, shortest and longest period in days) -> the best of each."""


def ofir_periods(baseline: float, shortest: float, longest: float) -> Floats:
    """Periods (d) for a Sun-like star, even in the cube root of frequency (Ofir 2014, A&A 561, A138, eq. 5 to 7)."""
    low, high = (1 / (longest * DAY)) ** (1 / 3), (1 / (shortest * DAY)) ** (1 / 3)
    density_term = SOLAR_RADIUS / SOLAR_GM ** (1 / 3)
    step = (2 * math.pi) ** (2 / 3) / math.pi * density_term / (baseline * DAY * OFIR_OVERSAMPLING) / 3
    roots = np.arange(low, high + step, step)
    return (1 / roots**3 / DAY)[::-1]


def duration_range(shortest: float, longest: float, count: int) -> Floats:
    return np.geomspace(SHORTEST * central_duration(shortest), LONGEST * central_duration(longest), count)


def survey_numba(curves: Sequence[FlatCurve], shortest: float, longest: float) -> list[Best]:
    return _survey(curves, shortest, longest, "numba")


def survey_jax(curves: Sequence[FlatCurve], shortest: float, longest: float) -> list[Best]:
    return _survey(curves, shortest, longest, "jax")


def survey_white(curves: Sequence[FlatCurve], shortest: float, longest: float) -> list[Best]:
    """Peaks of the spectrum that is not scaled by the star's noise."""
    return _survey(curves, shortest, longest, "numba", scaled=False)


def _survey(
    curves: Sequence[FlatCurve], shortest: float, longest: float, engine: Engine, *, scaled: bool = True
) -> list[Best]:
    config = SearchConfig(period_min=shortest, period_max=longest)
    hunts = [start_hunt(curve, config) for curve in curves]
    found = []
    for spectrum in fold_batch(hunts, load_engine(engine).search_segment):
        values = spectrum.scaled if scaled else spectrum.white
        best = distinct_peaks(spectrum.plan, values, 0.0, PEAKS)[0]
        found.append(Best(float(spectrum.plan.periods[best]), math.nan, math.nan, float(values[best])))
    return found


def astropy_bls(curves: Sequence[FlatCurve], shortest: float, longest: float) -> list[Best]:
    return [_astropy_one(curve, shortest, longest) for curve in curves]


def _astropy_one(curve: FlatCurve, shortest: float, longest: float) -> Best:
    from astropy.timeseries import BoxLeastSquares

    start = curve.time[0]
    periods = ofir_periods(curve.time[-1] - start, shortest, longest)
    model = BoxLeastSquares(curve.time - start, curve.flux, curve.flux_err)
    count = math.ceil(math.log(longest / shortest) / math.log(PERIOD_RATIO))
    edges = np.geomspace(shortest, longest, count + 1)
    best = NOTHING
    for k in range(count):
        first, last = np.searchsorted(periods, edges[k : k + 2])
        if k == count - 1:
            last = len(periods)
        if first == last:
            continue
        durations = duration_range(edges[k], edges[k + 1], DURATIONS)
        found = model.power(periods[first:last], durations, objective="snr", oversample=5)
        peak = int(np.nanargmax(found.power))
        if found.power[peak] > best.statistic:
            best = Best(
                float(found.period[peak]),
                float(found.transit_time[peak] + start),
                float(found.duration[peak]),
                float(found.power[peak]),
            )
    return best


def lightkurve_bls(curves: Sequence[FlatCurve], shortest: float, longest: float) -> list[Best]:
    from lightkurve import LightCurve

    found = []
    for curve in curves:
        periods = ofir_periods(curve.time[-1] - curve.time[0], shortest, longest)
        lc = LightCurve(time=curve.time, flux=curve.flux, flux_err=curve.flux_err)
        power = lc.to_periodogram("bls", period=periods, duration=duration_range(shortest, longest, DURATIONS))
        found.append(
            Best(
                float(power.period_at_max_power.value),
                float(power.transit_time_at_max_power.value),
                float(power.duration_at_max_power.value),
                float(power.max_power.value),
            )
        )
    return found


def gerbls(curves: Sequence[FlatCurve], shortest: float, longest: float) -> list[Best]:
    """Bins of a third of the shortest duration."""
    bins = SHORTEST * central_duration(shortest) / 3
    return [_gerbls_one(curve, shortest, longest, bins) for curve in curves]


def gerbls_cadence(curves: Sequence[FlatCurve], shortest: float, longest: float) -> list[Best]:
    """The same, but no bins shorter than a cadence."""
    bins = SHORTEST * central_duration(shortest) / 3
    return [_gerbls_one(curve, shortest, longest, max(bins, curve.cadence)) for curve in curves]


def _gerbls_one(curve: FlatCurve, shortest: float, longest: float, bins: float) -> Best:
    from gerbls import pyBLSAnalyzer, pyDataContainer, pyFastBLS, pyTarget  # type: ignore[import-untyped]

    start = curve.time[0]
    container = pyDataContainer()
    container.store(curve.time - start, curve.flux.astype(float), curve.flux_err.astype(float), convert_to_flux=False)
    sun = pyTarget()
    sun.M, sun.R = 1.0, 1.0
    model = pyFastBLS()
    model.setup(
        container,
        shortest,
        longest,
        target=sun,
        t_samp=bins,
        verbose=False,
        duration_mode="physical",
        durations=list(np.geomspace(SHORTEST, LONGEST, DURATIONS)),
        downsample=True,
    )
    model.run(verbose=False)
    spectrum = pyBLSAnalyzer(model)
    power = np.where((spectrum.dmag > 0) & np.isfinite(spectrum.dchi2), spectrum.dchi2, 0.0)
    peak = int(np.argmax(power))
    # 0.8.1 gives epoch and duration as if the bins at this period were as short as the first ones.
    longer = spectrum.P[peak] / spectrum.N_bins[peak] / bins
    duration = float(spectrum.dur[peak] * longer)
    epoch = float((spectrum.t0[peak] + bins / 2) * longer - bins / 2 + duration / 2 + start)
    return Best(float(spectrum.P[peak]), epoch, duration, math.sqrt(power[peak]))


def tls(curves: Sequence[FlatCurve], shortest: float, longest: float) -> list[Best]:
    return [_tls_one(curve, shortest, longest) for curve in curves]


def _tls_one(curve: FlatCurve, shortest: float, longest: float) -> Best:
    from transitleastsquares import transitleastsquares  # type: ignore[import-untyped]

    model = transitleastsquares(curve.time, curve.flux.astype(float), curve.flux_err.astype(float), verbose=False)
    found = model.power(
        period_min=shortest,
        period_max=longest,
        R_star=1.0,
        M_star=1.0,
        R_star_min=0.4,
        R_star_max=1.5,
        M_star_min=1.0,
        M_star_max=1.0,
        use_threads=1,
        show_progress_bar=False,
        verbose=False,
    )
    return Best(float(found.period), float(found.T0), float(found.duration), float(found.SDE))


CONTESTANTS: dict[str, Contestant] = {
    "survey, numba": survey_numba,
    "survey, JAX": survey_jax,
    "GERBLS": gerbls,
    "GERBLS, cadence": gerbls_cadence,
    "astropy": astropy_bls,
    "lightkurve": lightkurve_bls,
    "TLS": tls,
}
