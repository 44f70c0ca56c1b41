"""The gate: what flags do to a candidate, and the class they belong to."""

import pytest

from survey.config import GateConfig
from survey.signals.vetting import FLAWS, Check, judge
from survey.signals.vetting.verdict import KINDS


def check(name: str, passed: bool | None) -> Check:
    return Check(name, 1.0, None, "", 1.0, 2.0, passed)


def test_a_signal_that_passes_everything_is_a_candidate() -> None:
    verdict = judge([check("low_mes", True), check("odd_even_differ", True)], GateConfig())
    assert verdict.is_candidate
    assert verdict.flags == ()
    assert not verdict.not_transit_like
    assert not verdict.significant_secondary
    assert verdict.centroid_offset is None


@pytest.mark.parametrize(
    ("flag", "kind"),
    [
        ("low_mes", "not_transit_like"),
        ("sine_like", "not_transit_like"),
        ("too_long", "not_transit_like"),
        ("odd_even_differ", "significant_secondary"),
        ("secondary_eclipse", "significant_secondary"),
        ("equal_eclipses", "significant_secondary"),
        ("centroid_offset", "centroid_offset"),
    ],
)
def test_a_flag_blocks_and_has_its_class(flag: str, kind: str) -> None:
    verdict = judge([check(flag, False), check("chance", True)], GateConfig())
    assert not verdict.is_candidate
    assert verdict.flags == (flag,)
    classes = ("not_transit_like", "significant_secondary", "centroid_offset")
    assert [name for name in classes if getattr(verdict, name)] == [kind]


def test_what_could_not_be_done_says_nothing() -> None:
    verdict = judge([check("too_large", None), check("centroid_offset", None)], GateConfig())
    assert verdict.is_candidate
    assert verdict.centroid_offset is None


def test_a_centroid_that_stays_is_told_from_one_that_was_not_measured() -> None:
    assert judge([check("centroid_offset", True)], GateConfig()).centroid_offset is False


def test_informative_flags_are_reported_and_do_not_block() -> None:
    assert judge([check("v_shaped", False)], GateConfig()).is_candidate
    assert judge([check("v_shaped", False)], GateConfig()).flags == ("v_shaped",)
    assert not judge([check("v_shaped", False)], GateConfig(informative=())).is_candidate
    assert judge([check("too_long", False)], GateConfig(informative=("too_long",))).is_candidate


def test_an_informative_flag_gives_no_class() -> None:
    verdict = judge([check("v_shaped", False)], GateConfig())
    assert not verdict.not_transit_like
    assert not verdict.significant_secondary


def test_every_flaw_is_known() -> None:
    """Names that flags, classes and configuration share are those of checks."""
    names = {*FLAWS, "centroid_offset"}
    assert set(KINDS) <= names
    assert set(GateConfig().informative) <= names
