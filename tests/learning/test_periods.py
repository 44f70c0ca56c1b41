"""Probabilities of periods, by an untrained model: what must hold whatever the weights; and what the figures mean."""

import itertools

import numpy as np
import pytest
import torch

from survey.errors import UsageError
from survey.learning.artifact import Artifact, load_artifact
from survey.learning.lesson import Scored
from survey.learning.models import period_net
from survey.learning.periods import (
    PeriodScores,
    find_peaks,
    fit_bins,
    join_ranges,
    measure_bins,
    propose_ranges,
    score_periods,
)
from survey.signals.search.profile import CHANNELS
from tests.learning.models import write_small
from tests.learning.period_models import INPUTS, SHAPE, write_periods_model
from tests.signals.search.test_profile import light


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Artifact:
    return write_periods_model(tmp_path_factory.mktemp("models") / "periods")


@pytest.mark.parametrize(
    ("days", "cadence_s", "gaps"), [(27.0, 120.0, ()), (90.0, 1765.5, ()), (760.0, 1800.0, ((27.0, 733.0),))]
)
def test_every_mission_has_the_same_bins(model, days, cadence_s, gaps) -> None:
    found = score_periods(model, "TIC 9", *light(days, cadence_s, [3.3], gaps=gaps), cadence_s)
    assert found.probabilities.shape == (INPUTS.bins,)
    assert found.edges[[0, -1]].tolist() == pytest.approx([1.0, 40.0])
    assert ((found.probabilities >= 0) & (found.probabilities <= 1)).all()
    assert 0 <= found.probability <= 1
    beyond = found.edges[:-1] > (14.0 if days != 90 else 46.0)
    assert not found.probabilities[beyond].any(), "a period that does not fit in twice has no weight"


def test_scores_are_the_same_bits_again_and_known_stars_have_their_own_members(model) -> None:
    time, flat = light(27.0, 600.0, [3.3])
    first, again = (score_periods(model, "TIC 9", time, flat, 600.0) for _ in range(2))
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    known = score_periods(model, "TIC 1", time, flat, 600.0)
    assert np.isnan(known.spread), "one member only has not seen it"
    assert first.spread > 0
    assert not np.array_equal(known.probabilities, first.probabilities)


@pytest.mark.parametrize("days", [0.0, 0.4, 1.5])
def test_light_that_cannot_be_folded_has_no_probability(model, days) -> None:
    found = score_periods(model, "TIC 9", *light(days, 120.0), 120.0)
    assert found.probabilities is None
    assert np.isnan(found.probability)
    assert found.best == ()
    assert propose_ranges(found, 3) is None, "everything is searched then"


def test_constant_flux_and_nan_have_no_probability(model) -> None:
    time, flat = light(27.0, 600.0)
    for broken in (np.ones_like(flat), np.full_like(flat, np.nan)):
        assert score_periods(model, "TIC 9", time, broken, 600.0).probabilities is None


def test_a_model_of_something_else_is_refused(tmp_path) -> None:
    write_small(tmp_path / "views")
    with pytest.raises(UsageError, match="not of periods"):
        score_periods(load_artifact(tmp_path / "views"), "TIC 9", *light(27.0, 600.0), 600.0)
    with pytest.raises(UsageError, match="what it keeps of bins"):
        score_periods(write_periods_model(tmp_path / "periods", extra={}), "TIC 9", *light(27.0, 600.0), 600.0)


def test_settings_that_do_not_fit_the_network_are_refused(tmp_path) -> None:
    wrong = INPUTS.model_copy(update={"high": 20.0}).model_dump(mode="json")
    with pytest.raises((UsageError, ValueError), match="not those of its inputs"):
        write_periods_model(tmp_path / "periods", inputs=wrong)
    with pytest.raises(ValueError, match="not above the shortest"):
        period_net.Inputs(low=5.0, high=1.0)


def test_the_network_says_the_same_of_a_row_in_any_batch() -> None:
    torch.manual_seed(1)
    network = period_net.PeriodNet(SHAPE).eval()
    draw = np.random.default_rng(0)
    profiles = draw.uniform(0, 9, (5, len(CHANNELS), INPUTS.bins * INPUTS.finer)).astype(np.float32)
    profiles[:, -1] = 1
    examples = period_net.make_examples(profiles, np.full(5, 27.0), np.zeros((5, INPUTS.bins), np.float32))
    with torch.no_grad():
        together = network(*examples.inputs)
        alone = torch.cat([network(*examples.take(np.array([k])).inputs) for k in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_the_logit_of_any_planet_is_that_of_the_bins() -> None:
    outputs = np.array([[-3.0, -2.0, -12.0], [40.0, -2.0, 0.0], [-30.0, -30.0, -30.0]])
    some = 1 - np.prod(1 / (1 + np.exp(outputs)), -1)
    found = period_net.reduce(outputs)
    assert 1 / (1 + np.exp(-found[0])) == pytest.approx(some[0])
    assert found[1] > 39
    assert found[2] < -25
    torch.testing.assert_close(period_net.any_period(torch.tensor(outputs)), torch.tensor(found), rtol=1e-5, atol=1e-5)


def test_training_lowers_the_loss_and_finds_the_bin() -> None:
    """Profiles with a peak at the bin of the planet, or with none."""
    draw = np.random.default_rng(0)
    n, parts = 120, INPUTS.bins * INPUTS.finer
    profiles = draw.gamma(9, 0.5, (n, len(CHANNELS), parts)).astype(np.float32)
    profiles[:, -1] = 1
    weights = np.zeros((n, INPUTS.bins), np.float32)
    where = draw.integers(2, INPUTS.bins - 2, n)
    for k in range(0, n, 2):
        profiles[k, :-1, where[k] * INPUTS.finer] = 25
        weights[k, where[k]] = 1
    examples = period_net.make_examples(profiles, np.full(n, 27.0), weights)
    torch.manual_seed(0)
    network = period_net.PeriodNet(SHAPE)
    optimiser = torch.optim.Adam(network.parameters(), 2e-2)
    losses = []
    for _ in range(50):
        loss = period_net.loss(network(*examples.inputs), examples.targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    with torch.no_grad():
        outputs = network.eval()(*examples.inputs).numpy()
    assert (outputs[::2].argmax(1) == where[::2]).mean() > 0.8


# Figures and proposals


def test_peaks_are_better_than_their_neighbours() -> None:
    assert find_peaks(np.array([0.1, 0.5, 0.4, 0.0, 0.2, 0.2, 0.0, 0.9])) == (7, 1, 5)
    assert find_peaks(np.zeros(5)) == ()


def test_figures_of_bins_tell_a_good_answer_from_a_bad_one() -> None:
    draw = np.random.default_rng(0)
    n, d = 300, 40
    weights = np.zeros((n, d))
    weights[np.arange(0, n, 2), draw.integers(0, d, n // 2)] = 1
    outputs = -4 + 0.5 * draw.standard_normal((n, d)) + 8 * weights
    folds = (np.arange(n) % 3).astype(np.int16)
    nobody = np.full(n, -1, np.int16)
    groups = {"synthetic": np.ones(n, bool)}
    scored = Scored(outputs, np.zeros(n), np.zeros(n), folds)
    good = measure_bins(scored, weights, draw.random((n, d)), groups)
    best = "synthetic: stars with a planet at the best peak"
    assert good[best]["network"] > 0.9
    assert good[best]["strongest_peaks"] < 0.3
    assert good["synthetic: planets among the best 5"]["network"] >= good[best]["network"]
    assert good["synthetic"]["planets"] == n // 2
    assert good["bins"]["ece"] < good["bins"]["ece_uncalibrated"]
    bad = measure_bins(
        Scored(np.roll(outputs, 7, 1), np.zeros(n), np.zeros(n), nobody), weights, draw.random((n, d)), groups
    )
    assert bad[best]["network"] < 0.3
    assert bad["synthetic"]["mass_near"] < good["synthetic"]["mass_near"]
    assert "ece" not in bad["bins"], "no row was held out"


def test_calibrated_bins_say_how_often_they_are_right() -> None:
    draw = np.random.default_rng(1)
    truth = draw.random((2000, 20)) < 0.05
    outputs = np.where(truth, 1.0, -1.0) + draw.standard_normal((2000, 20))
    record = fit_bins(outputs, truth, (np.arange(2000) % 4).astype(np.int16))
    found = record.probabilities(outputs, np.full(2000, -1))
    assert found.mean() == pytest.approx(truth.mean(), rel=0.05)
    outputs[:, 3] = period_net.NEVER
    assert not record.probabilities(outputs, np.full(2000, -1))[:, 3].any()


def test_proposed_ranges_hold_the_peak_its_harmonics_and_what_is_not_known() -> None:
    edges = np.geomspace(1, 40, 51)
    probabilities = np.zeros(50)
    probabilities[[20, 40]] = 0.8, 0.3
    found = PeriodScores(probabilities, edges, 0.9, 0.0, find_peaks(probabilities), ())
    ranges = propose_ranges(found, 1)
    middle = float(np.sqrt(edges[20] * edges[21]))

    def inside(period: float) -> bool:
        return any(low <= period <= high for low, high in ranges)

    assert all(inside(period) for period in (middle, middle / 2, 2 * middle, 0.6, 90.0))
    assert not inside(float(edges[41]))
    assert not inside(1.2 * middle)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(ranges))
    assert join_ranges([(3.0, 4.0), (1.0, 2.0), (1.5, 2.5)]) == ((1.0, 2.5), (3.0, 4.0))
