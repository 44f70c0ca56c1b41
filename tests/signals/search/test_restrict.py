"""A search of proposed periods alone: the same numbers at the same trials, and nothing elsewhere."""

import numpy as np

from survey.config import Config
from survey.signals.search import find_tces
from survey.signals.search.find import fold_batch, load_engine, start_hunt
from survey.signals.search.plan import plan_star, restrict
from tests.signals.search.test_find import make_curve, make_times

CONFIG = Config()
RANGES = ((0.0, 1.0), (3.2, 3.7), (9.0, 10.0))
PLANETS = [(3.4567, 1326.2, 2.4, 2e-3), (6.11, 1327.9, 2.6, 2e-3)]


def test_every_trial_of_a_part_gives_the_number_of_the_whole() -> None:
    curve = make_curve(make_times(27), PLANETS)
    engine = load_engine("numba").search_segment
    whole, part = (start_hunt(curve, CONFIG.search, ranges) for ranges in (None, RANGES))
    all_of_it, some = fold_batch([whole, part], engine)
    place = {period: k for k, period in enumerate(whole.plan.periods.tolist())}
    same = [place[period] for period in part.plan.periods.tolist()]
    assert 0 < len(same) < 0.6 * len(place)
    for name in ("white", "scaled", "inverted"):
        np.testing.assert_array_equal(getattr(some, name), getattr(all_of_it, name)[same])


def test_all_trials_in_the_ranges_are_kept() -> None:
    plan = plan_star(200.0, 0.02, 1.0, CONFIG.search, 200.0)
    kept = set(restrict(plan, RANGES).periods.tolist())
    inside = [p for p in plan.periods.tolist() if any(low <= p < high for low, high in RANGES)]
    assert set(inside) <= kept
    assert set(restrict(plan, [(0.0, np.inf)]).periods.tolist()) == set(plan.periods.tolist())
    assert not restrict(plan, []).segments


def test_only_proposed_periods_are_found() -> None:
    curve = make_curve(make_times(27), PLANETS)
    both, first, none = find_tces([curve] * 3, CONFIG, "numba", [None, RANGES, ()])
    assert sorted(round(tce.period, 1) for tce in both if tce.period) == [3.5, 6.1]
    assert [round(tce.period, 1) for tce in first if tce.period] == [3.5]
    assert none == []
    assert find_tces([curve], CONFIG)[0] == both, "no ranges, no difference"
