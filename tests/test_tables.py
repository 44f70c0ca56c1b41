"""How numbers are put into words."""

import re
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from survey import schema
from survey.cli.tables import (
    SHOWN_PROBLEMS,
    candidate_table,
    listed_words,
    moment,
    ranges,
    say_problems,
    score_lines,
    tce_table,
    verdict_words,
)


@pytest.mark.parametrize(
    ("numbers", "words"), [([], ""), ([3], "3"), ([1, 2], "1-2"), ([5, 1, 3, 4, 4], "1, 3-5"), (range(18), "0-17")]
)
def test_neighbours_become_ranges(numbers: list[int], words: str) -> None:
    assert ranges(numbers) == words


@pytest.mark.parametrize(("seconds", "words"), [(0.0134, "13 ms"), (0.9, "900 ms"), (7.88, "7.9 s")])
def test_moments_are_in_the_unit_that_one_reads(seconds: float, words: str) -> None:
    assert moment(seconds) == words


def make_row(**changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(schema.CANDIDATE.names)
    return (
        row
        | {
            "rank": 1,
            "target_id": "TIC 441462736",
            "number": 1,
            "period": 14.27612,
            "epoch_bjd": 2458325.7301,
            "duration_h": 6.75,
            "depth_ppm": 4321.0,
            "planet_radius": 9.254,
            "mes": 77.71,
            "n_transits": 2,
            "is_candidate": True,
            "flags": [],
        }
        | changes
    )


def printed(table: Any) -> str:
    console = Console(width=180, no_color=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def words(**changes: Any) -> str:
    return Text.from_markup(verdict_words(make_row(**changes))).plain


def test_a_verdict_reads_like_a_sentence() -> None:
    assert words() == words(star_class="planet_candidate") == "candidate"
    assert words(flags=["v_shaped"]) == "candidate (V-shaped)"
    assert words(is_candidate=False, flags=["odd_even_differ", "brand_new_flaw"]) == (
        "odd and even differ, brand new flaw"
    )
    assert words(is_candidate=False, flags=["one_event"], star_class="eclipsing_binary").endswith("; eclipsing binary")
    assert words(is_candidate=False, flags=["ephemeris_match"], match_target="TIC 7") == "signal of TIC 7"
    assert "TIC" not in words(is_candidate=False, flags=["ephemeris_match"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "–"),
        ({"novelty": "new"}, "new"),
        ({"novelty": "known", "known_name": "TOI 197.01", "known_disposition": "CP"}, "known star, of TOI 197.01 (CP)"),
        ({"novelty": "rediscovered", "known_name": "KOI-8.01"}, "rediscovered: KOI-8.01"),
        ({"novelty": "known", "known_catalogue": "tess_ebs"}, "known star, of tess_ebs"),
    ],
)
def test_what_is_listed_is_named(changes: dict[str, Any], expected: str) -> None:
    assert listed_words(make_row(**changes)) == expected


def test_a_table_of_candidates_has_radius_and_what_is_listed() -> None:
    known = make_row(novelty="known", known_name="TOI 197.01")
    single = make_row(rank=2, period=None, planet_radius=None, is_candidate=False, flags=["single_transit"])
    text = printed(candidate_table([known, single]))
    assert "9.25" in text
    assert "known star, of TOI 197.01" in text
    assert "single" in text.splitlines()[-1]
    assert "–" in text.splitlines()[-1]
    assert "listed" in text
    assert "listed" not in printed(candidate_table([single]))


def test_the_probability_is_that_of_the_model_that_was_asked_for() -> None:
    row = make_row(triage_probability=0.917, vetting_probability=0.123)
    by_triage, plain = printed(candidate_table([row], model="triage")), printed(candidate_table([row]))
    assert [word in by_triage for word in ("triage", "0.917", "vetting", "0.123")] == [True, True, False, False]
    assert [word in plain for word in ("triage", "0.917", "vetting", "0.123")] == [False, False, True, True]


def test_the_signals_of_one_star_need_no_sweep() -> None:
    """Rows of a star know nothing of matches and classes."""
    tce = {name: value for name, value in make_row().items() if name in {f.name for f in schema.DESCRIBED_TCE_FIELDS}}
    assert "9.25" in printed(tce_table([tce]))
    assert "candidate" in printed(tce_table([tce]))


@pytest.mark.parametrize(("width", "has_epoch"), [(80, False), (140, True)])
def test_a_narrow_terminal_loses_columns_but_not_the_verdict(
    width: int, has_epoch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(candidate_table([make_row(rank=1000)]))
    line = capture.get().splitlines()[-1]
    assert re.match(r"1000  TIC 441462736    1  14\.27612  .* candidate *$", line)
    assert "…" not in line
    assert ("2458325.7301" in line) == has_epoch


def test_scores_of_the_star_and_what_no_model_knows_stand_under_the_table() -> None:
    blank = {field.name: None for field in schema.SCORE_FIELDS}
    foreign = ["triage: mission", "vetting: mission", "pixels: duration_h"]
    scored = {"triage_probability": 0.9, "vetting_probability": 0.8, "pixels_probability": 0.7}
    tces = [
        blank | scored | {"number": 1, "out_of_support": foreign[:2]},
        blank | scored | {"number": 2, "out_of_support": foreign},
        blank | scored | {"number": 3, "out_of_support": []},
    ]
    row = dict.fromkeys(schema.SCORED.names) | {"tces": tces}
    outside = [
        "TCE 1-2: outside of what triage and vetting were trained on: mission",
        "TCE 2: outside of what pixels was trained on: duration h",
    ]
    assert score_lines(row) == outside
    row |= {"num_segments": 13, "star_score": 0.998, "star_probability": 0.99, "period_probability": 0.9997}
    row |= {"anomaly_score": 3.159, "anomalies": [{}] * 8, "star_out_of_support": ["periods: cadence"]}
    assert score_lines(row) == [
        "whole light curve: any transit 0.990 (star score 0.998), any planet >0.999, strangeness 3.16 (8 stretches)",
        *outside,
        "whole light curve: outside of what periods was trained on: cadence",
    ]


def test_a_star_that_no_model_scored_has_no_line() -> None:
    assert score_lines(dict.fromkeys(schema.SCORED.names) | {"tces": []}) == []


def test_of_very_many_bad_lines_the_first_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    say_problems([f"line {number}: [what] is no target" for number in range(1, 61)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "list: line 1: [what] is no target"
    assert lines[-1] == "list: and 10 more"
    assert len(lines) == SHOWN_PROBLEMS + 1
