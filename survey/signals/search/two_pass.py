"""The seeds' search, kept for preset `classic`: a coarse and a fine grid of astropy's box least squares.

Right for one sector; over years its 2,000 coarse periods are a hundred times too few.
"""

import numpy as np
from astropy.timeseries import BoxLeastSquares

from survey.config import SearchConfig
from survey.signals.search.curve import Dips
from survey.signals.search.plan import LARGEST_DUTY, DensityRung, central_duration, longest_period
from survey.signals.search.refine import Box, first_transit

DURATIONS = 6
FINE_SPAN = 2
"""Coarse steps on either side of the coarse peak that the fine grid covers."""


def strongest_box(dips: Dips, rung: DensityRung, config: SearchConfig) -> Box | None:
    """The best box of the fine grid, or None when its power is below `power_threshold`.

    The power is the gain in log likelihood for unit errors, as astropy gives it when no errors are passed: it is not
    scale-free, which is why the gate does not rest on it.
    """
    longest = longest_period(dips.baseline, config)
    if longest <= config.period_min:
        return None
    model = BoxLeastSquares(dips.time, -dips.dip)
    coarse = np.geomspace(config.period_min, longest, config.coarse_periods)
    durations = np.geomspace(
        rung.shortest * central_duration(config.period_min),
        min(rung.longest * central_duration(longest), LARGEST_DUTY * config.period_min),
        DURATIONS,
    )
    peak = int(np.argmax(model.power(coarse, durations).power))
    low, high = coarse[max(peak - FINE_SPAN, 0)], coarse[min(peak + FINE_SPAN, len(coarse) - 1)]
    fine = model.power(np.linspace(low, high, config.refine_periods), durations)
    best = int(np.argmax(fine.power))
    if config.power_threshold is not None and fine.power[best] < config.power_threshold:
        return None
    period = float(fine.period[best])
    epoch = first_transit(float(fine.transit_time[best]), period, float(dips.time[0]))
    return Box(period, epoch, float(fine.duration[best]))
