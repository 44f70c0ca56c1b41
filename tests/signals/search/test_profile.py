"""The spectrum on fixed bins: a planet stands out whatever the baseline; what cannot be folded is empty."""

import numpy as np
import pytest

from survey.signals.search.profile import CHANNELS, PeriodBins, make_profile

BINS = PeriodBins(1.0, 40.0, 100).finer(4)
SCALED, LEFT, COVERED = (CHANNELS.index(name) for name in ("scaled", "left", "covered"))


def light(days: float, cadence_s: float, periods=(), depth: float = 2e-3, gaps=(), seed: int = 0):
    time = 1500 + np.arange(0, days, cadence_s / 86_400)
    for begin, end in gaps:
        time = time[(time < 1500 + begin) | (time > 1500 + end)]
    flat = 1 + 5e-4 * np.random.default_rng(seed).standard_normal(len(time))
    for k, period in enumerate(periods):
        flat[np.abs((time - 1500.7 - 0.3 * k + period / 2) % period - period / 2) < 0.06] -= depth / (k + 1)
    return time, flat


@pytest.mark.parametrize(
    ("days", "cadence_s", "period", "gaps"),
    [
        (27.0, 600.0, 3.3, ((12.0, 14.0),)),
        (90.0, 1765.5, 21.7, ()),
        (760.0, 1800.0, 5.1, ((27.0, 733.0),)),
    ],
)
def test_a_planet_stands_where_its_period_is(days, cadence_s, period, gaps) -> None:
    time, flat = light(days, cadence_s, [period], gaps=gaps)
    profile = make_profile(time, flat, cadence_s, BINS)
    assert profile is not None
    assert abs(int(np.argmax(profile.values[SCALED])) - int(BINS.place(period))) <= 2
    assert profile.values.shape == (len(CHANNELS), BINS.count)
    assert np.isfinite(profile.values).all()
    longest = BINS.middles[profile.values[COVERED] > 0].max()
    stretch = max(27.0, days - 733.0) if gaps and days > 100 else days
    assert 0.9 * min(40.0, stretch / 2) < longest <= min(40.0, 1.2 * stretch / 2), "twice in the longest stretch"


def test_without_the_highest_peak_the_second_planet_is_left() -> None:
    time, flat = light(27.0, 600.0, [3.3, 7.9], depth=4e-3)
    profile = make_profile(time, flat, 600.0, BINS)
    assert profile is not None
    first, second = (int(BINS.place(period)) for period in (3.3, 7.9))
    assert abs(int(np.argmax(profile.values[SCALED])) - first) <= 2
    assert abs(int(np.argmax(profile.values[LEFT])) - second) <= 2
    near = slice(first - 2, first + 3)
    assert profile.values[LEFT, near].max() < 0.5 * profile.values[SCALED, near].max()


def test_one_deep_event_counts_for_little_where_depths_are_limited() -> None:
    time, flat = light(27.0, 600.0)
    flat[(time > 1509) & (time < 1509.2)] -= 0.05
    values = make_profile(time, flat, 600.0, BINS).values
    assert values[CHANNELS.index("blunt")].max() < 0.5 * values[CHANNELS.index("white")].max()


@pytest.mark.parametrize(
    "change",
    [
        lambda time, flat: (time[:0], flat[:0]),
        lambda time, flat: (time, np.ones_like(flat)),
        lambda time, flat: (time, np.full_like(flat, np.nan)),
        lambda time, flat: (time[:50], flat[:50]),
    ],
    ids=["empty", "constant", "nan", "short"],
)
def test_what_cannot_be_folded_has_no_profile(change) -> None:
    assert make_profile(*change(*light(27.0, 600.0)), 600.0, BINS) is None


def test_bins_beyond_the_light_are_empty() -> None:
    profile = make_profile(*light(1.5, 120.0), 120.0, BINS)
    assert profile is not None
    assert not profile.values.any(), "no period of the bins fits in twice"


def test_nan_and_flares_do_not_count() -> None:
    time, flat = light(27.0, 600.0, [3.3])
    broken = flat.copy()
    broken[::50] = np.nan
    broken[7::500] = 1.5
    whole = np.isfinite(broken) & (broken < 1.4)
    found, wanted = make_profile(time, broken, 600.0, BINS), make_profile(time[whole], flat[whole], 600.0, BINS)
    assert abs(int(found.values[SCALED].argmax()) - int(wanted.values[SCALED].argmax())) <= 1
    assert np.isfinite(found.values).all()
