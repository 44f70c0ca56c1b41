"""A model of periods says what is searched; without one nothing changes."""

import numpy as np
import pytest

from survey.config import Config, SearchConfig, load
from survey.errors import UsageError
from survey.runs import stages
from survey.runs.proposals import load_proposal, make_proposal
from survey.runs.scores import Light
from survey.runs.stages import STAGES, targets_table
from survey.runs.store import record_models
from survey.stars.targets import Target
from tests.learning.models import write_small
from tests.learning.period_models import write_periods_model
from tests.runs.test_stages import PERIOD, Stub, make_curve
from tests.signals.search.test_profile import light

CONFIG = load(overrides=["search.period_min=1", "search.period_max=6"])


@pytest.fixture
def searched(monkeypatch):
    """Periods that the search stage finds in a star with a planet, under a configuration."""
    monkeypatch.setattr(stages.sources, "fetch", lambda target, source, config: make_curve(target))

    def periods(config: Config, count: int = 1) -> list[list[float]]:
        table = targets_table([Target(f"TIC {101 + 2 * k}", "tess", ()) for k in range(count)])
        for stage in STAGES[:3]:
            table = stage.make(config, Stub())(table)
        rows = table.to_pylist()
        assert {row["status"] for row in rows} == {"ok"}, rows[0]["error"]
        return [[tce["period"] for tce in row["tces"]] for row in rows]

    return periods


def test_only_what_is_proposed_is_searched(searched, monkeypatch) -> None:
    assert searched(CONFIG)[0][0] == pytest.approx(PERIOD, rel=1e-3)
    ranges = {"TIC 101": ((5.6, 5.8),), "TIC 103": ((3.0, 3.6),), "TIC 105": None}
    monkeypatch.setattr(stages, "make_proposal", lambda config: lambda star, light: ranges[star])
    none, near, everything = searched(CONFIG, 3)
    assert not any(period == pytest.approx(PERIOD, rel=1e-3) for period in none), "an alias at most"
    assert near[0] == pytest.approx(PERIOD, rel=1e-3)
    assert everything[0] == pytest.approx(PERIOD, rel=1e-3)


def test_a_proposal_that_fails_costs_its_own_star_only(monkeypatch) -> None:
    def propose(star: str, light: Light):
        if star == "TIC 101":
            raise ZeroDivisionError("a defect")

    monkeypatch.setattr(stages.sources, "fetch", lambda target, source, config: make_curve(target))
    monkeypatch.setattr(stages, "make_proposal", lambda config: propose)
    table = targets_table([Target("TIC 101", "tess", ()), Target("TIC 103", "tess", ())])
    for stage in STAGES[:3]:
        table = stage.make(CONFIG, Stub())(table)
    assert [row["status"] for row in table.to_pylist()] == ["failed", "ok"]


def test_the_model_decides_and_its_id_is_kept(searched, tmp_path) -> None:
    artifact = write_periods_model(tmp_path / "periods")
    config = load(
        overrides=["search.period_max=6", f"search.proposal={tmp_path / 'periods'}", "search.proposal_peaks=1"]
    )
    propose = make_proposal(config.search)
    time, flat = light(27.0, 600.0, [3.3])
    ranges = propose("TIC 9", Light(time, flat, flat, 600.0))
    assert ranges[0][0] == 0.0
    assert np.isinf(ranges[-1][1])
    assert propose("TIC 9", Light(np.arange(9.0), np.ones(9), np.ones(9), 600.0)) is None, "all periods then"
    assert searched(config)
    only = config.model_copy(update={"score": Config().score.model_copy(update={"triage": None, "vetting": None})})
    assert record_models(only)["proposal"]["id"] == artifact.id
    assert config.science_hash() != CONFIG.science_hash()


def test_what_cannot_propose_is_refused(tmp_path) -> None:
    assert make_proposal(SearchConfig()) is None
    write_small(tmp_path / "views")
    for name, words in ((str(tmp_path / "views"), "not of periods"), (str(tmp_path / "none"), "search.proposal")):
        with pytest.raises(UsageError, match=words):
            load_proposal(name)
    with pytest.raises(UsageError, match="tries its own periods"):
        load(overrides=["search.method=two_pass", "search.proposal=periods"])
