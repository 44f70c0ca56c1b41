"""Light curves with a known signal, and the TCE that a search would report of it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from survey.signals.search import FlatCurve, Tce
from survey.stars.inject import phase_days, red_noise

Floats = NDArray[np.float64]

PLANET = Tce(
    number=1,
    period=3.4567,
    period_err=1e-4,
    epoch=1.7,
    epoch_err=1e-3,
    duration_h=2.4,
    depth_ppm=2000.0,
    depth_err_ppm=80.0,
    snr=25.0,
    mes=24.0,
    pink_snr=23.5,
    fap=1e-60,
    sde=12.0,
    max_ses=9.0,
    rest_mes=0.93,
    box_over_sine=3.2,
    inverted_mes=5.0,
    n_transits=8,
    n_open_periods=None,
    scatter_beta=1.0,
)
"""A planet of eight transits in one sector; `draw_curve` draws it unless told otherwise."""

CADENCE = 10 / 1440


def draw_curve(
    seed: int,
    depth_of: Callable[[Floats], Floats] | float = 2e-3,
    *,
    tce: Tce = PLANET,
    noise: float = 5e-4,
    red: float = 0.0,
    days: float = 27.0,
    ingress: float = 0.1,
    secondary: tuple[float, float] = (0.5, 0.0),
    cadence: float = CADENCE,
    starts: tuple[int, ...] = (0,),
) -> FlatCurve:
    """A curve with trapezoidal transits of the TCE's ephemeris over white and red noise.

    depth_of: depth, or a function of the number of the transit; secondary: (phase, depth) of a second dip.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(0.0, days, cadence)
    period, epoch, duration = tce.ephemeris
    number = np.floor((time - epoch) / period + 0.5)
    depth = depth_of(number) if callable(depth_of) else np.full(len(time), depth_of)
    dip = depth * trapezoid(phase_days(time, period, epoch), duration, ingress)
    dip += secondary[1] * trapezoid(phase_days(time, period, epoch + secondary[0] * period), duration, ingress)
    flux = 1 - dip + noise * rng.standard_normal(len(time))
    if red:
        flux += red_noise(time, scatter=red, timescale=0.1, rng=rng)
    return FlatCurve(time, flux.astype(np.float32), np.full(len(time), noise, np.float32), cadence, 1.0, starts)


def trapezoid(offset: Floats, duration: float, ingress: float) -> Floats:
    """1 at the floor, 0 outside; offset in days from the middle, ingress as a share of the duration."""
    shape: Floats = np.clip((duration / 2 - np.abs(offset)) / (ingress * duration), 0, 1)
    return shape


def with_signal(curve: FlatCurve, tce: Tce, depth: float) -> FlatCurve:
    """The curve with one more signal in it."""
    period, epoch, duration = tce.ephemeris
    dip = depth * trapezoid(phase_days(curve.time, period, epoch), duration, 0.1)
    return replace(curve, flux=(curve.flux - dip).astype(np.float32))


def scaled(curve: FlatCurve, factor: float) -> FlatCurve:
    """Dips and noise, all times a factor."""
    flux = (1 + factor * (curve.flux.astype(np.float64) - 1)).astype(np.float32)
    return replace(curve, flux=flux, flux_err=(factor * curve.flux_err).astype(np.float32))
