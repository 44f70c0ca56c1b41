"""The configuration: what it refuses, and in which words."""

from typing import get_args

import pytest

from survey import config
from survey.config import ViewsConfig
from survey.errors import UsageError
from survey.signals.detrend import DETRENDERS
from survey.signals.search.find import ENGINES
from survey.signals.views import VIEW_SPECS


def test_choices_are_what_the_code_can_do():
    assert set(get_args(ViewsConfig.model_fields["spec"].annotation)) == set(VIEW_SPECS)
    assert set(get_args(config.DetrendConfig.model_fields["method"].annotation)) == set(DETRENDERS)
    assert set(get_args(config.Engine)) == {"auto", *ENGINES}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("search", "KEY=VALUE"),
        ("search.foo=3", "unknown key search.foo; there are: bins_per_duration"),
        ("foo.bar=3", "unknown key foo; there are: anomaly, classes, clean"),
        ("engine.kind=1", "engine"),
        ("search.period_max=soon", "search.period_max"),
        ("search.period_max=0.4", "period_max, 0.4 d, is not above period_min, 0.5 d"),
        ("views.spec=large", "views-2048-256"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(override, words):
    with pytest.raises(UsageError, match=words):
        config.load(overrides=[override])


def test_overrides_come_after_the_preset(tmp_path):
    preset = tmp_path / "mine.toml"
    preset.write_text("[search]\nperiod_max = 20\nthreshold = 8\n")
    loaded = config.load(str(preset), ["search.threshold=9", "search.period_max=none"])
    assert (loaded.search.threshold, loaded.search.period_max) == (9, None)


@pytest.mark.parametrize("text", ["[search", "[search]\nnothing = 1\n"])
def test_a_broken_preset_is_refused(tmp_path, text):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UsageError):
        config.load(str(tmp_path / "mine.toml"))


def test_the_schedule_changes_no_hash():
    assert config.load(overrides=["run.search_actors=7"]).science_hash() == config.load().science_hash()
    assert config.load(overrides=["gate.mes=8"]).science_hash() != config.load().science_hash()
