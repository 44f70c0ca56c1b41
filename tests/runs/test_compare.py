"""What changed from one run to another."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from survey.cli import main
from survey.config import Config, load
from survey.runs import store
from survey.runs.compare import COMPARED, Comparison, compare_runs, match_runs
from survey.stars.targets import Target
from tests.runs import fakes
from tests.runs.test_store import commit_all

BASELINE = 27.0
KINDS = {"target_id": pl.String, "number": pl.Int32, "is_candidate": pl.Boolean, "flags": pl.List(pl.String)}


def signal(target_id: str, period: float | None, epoch: float, **others: Any) -> dict[str, Any]:
    return {
        "target_id": target_id, "number": 1, "period": period, "period_err": 1e-4, "epoch_bjd": epoch,
        "epoch_err": 1e-3, "duration_h": 3.0, "depth_ppm": 1000.0, "mes": 10.0, "baseline_d": BASELINE,
        "is_candidate": True, **others,
    }  # fmt: skip


def frame(signals: Sequence[dict[str, Any]]) -> pl.DataFrame:
    blank = dict.fromkeys(COMPARED)
    return pl.DataFrame(
        [{**blank, **row} for row in signals], schema={name: KINDS.get(name, pl.Float64) for name in COMPARED}
    )


def matched(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> dict[int, tuple[int, float]]:
    i, j, ratio = match_runs(frame(before), frame(after))
    return {int(a): (int(b), float(r)) for a, b, r in zip(i, j, ratio, strict=True)}


@given(st.floats(1.0, 12.0), st.floats(0.0, 12.0), st.integers(-3, 5), st.floats(-1.0, 1.0))
def test_a_signal_is_the_same_whichever_transit_its_epoch_is(
    period: float, epoch: float, transit: int, sigmas: float
) -> None:
    later = signal("TIC 1", period + sigmas * 1e-4, 2459000.0 + epoch + transit * period)
    assert matched([signal("TIC 1", period, 2459000.0 + epoch)], [later])[0] == (0, 1.0)


def test_other_stars_periods_and_phases_are_other_signals() -> None:
    first = signal("TIC 1", 3.0, 2459001.0)
    assert not matched([first], [signal("TIC 2", 3.0, 2459001.0)])
    assert not matched([first], [signal("TIC 1", 3.3, 2459001.0)])
    assert not matched([first], [signal("TIC 1", 3.0, 2459002.5)])


def test_twice_the_period_is_the_same_signal_unless_there_is_a_nearer_one() -> None:
    first, twice = signal("TIC 1", 3.0, 2459001.0), signal("TIC 1", 6.0, 2459004.0)
    assert matched([first], [twice]) == {0: (0, 2.0)}
    assert matched([first], [twice, signal("TIC 1", 3.0, 2459001.0, number=2)]) == {0: (1, 1.0)}
    assert not matched([first], [signal("TIC 1", 6.0, 2459005.5)])


def test_a_single_transit_becomes_periodic_where_it_meets_the_others() -> None:
    single = signal("TIC 1", None, 2459007.02)
    assert list(matched([single], [signal("TIC 1", 20.0, 2459007.0 - 20.0)])) == [0]
    assert not matched([single], [signal("TIC 1", 20.0, 2459001.0)])
    assert list(matched([single], [signal("TIC 1", None, 2459007.0)])) == [0]


def test_every_signal_has_one_counterpart_at_most() -> None:
    same = [signal("TIC 1", 3.0, 2459001.0, number=number) for number in (1, 2, 3)]
    assert matched(same, same[:2]) == {0: (0, 1.0), 1: (1, 1.0)}


def run_of(root: Path, targets: Sequence[Target], change: Any = None) -> store.Run:
    """A finished run of the stand-in stages, whose signals have epochs; `change(tce, target_id)` alters them."""
    described = fakes.describe

    def describe(row: Any) -> Any:
        values = described(row)
        tces = [
            {**tce, "epoch_bjd": 2459000.5 + 0.3 * tce["period"], "duration_h": 1.0, "period_err": 1e-4}
            for tce in values["tces"]
        ]
        if change is not None:
            tces = [altered for tce in tces if (altered := change(dict(tce), row["target_id"])) is not None]
        return {**values, "tces": tces}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fakes, "describe", describe)
        with store.open_run(root, load(overrides=["score.vetting=none"]), targets) as run:
            commit_all(run)
            store.merge(run)
    return store.load_run(root)


def changed(tce: dict[str, Any], target_id: str) -> dict[str, Any] | None:
    match (target_id, tce["number"]):
        case ("TIC 2", 1):
            return {**tce, "mes": tce["mes"] * 1.4}
        case ("TIC 4", 1):
            return {**tce, "mes": tce["mes"] * 0.8}
        case ("TIC 8", 1):
            return {**tce, "is_candidate": False, "flags": ["odd_even"]}
        case ("TIC 10", 1):
            return None
        case ("TIC 1", 1):
            return {**tce, "is_candidate": True, "flags": []}
        case _:
            return tce


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[store.Run, store.Run]:
    tmp_path = tmp_path_factory.mktemp("runs")
    old = run_of(tmp_path / "old", [*fakes.targets(12), *fakes.targets(1, first=14)])
    new = run_of(
        tmp_path / "new", [*fakes.targets(12), *fakes.targets(1, first=17), *fakes.targets(1, first=28)], changed
    )
    return old, new


def verdicts(found: Comparison) -> dict[tuple[str, int], tuple[str, str | None]]:
    return {
        (row["target_id"], row["number_new"] or row["number_old"]): (row["verdict"], row["why"])
        for row in found.signals.to_dicts()
    }


def test_candidates_are_new_better_worse_and_gone(runs: tuple[store.Run, store.Run]) -> None:
    found = compare_runs(*runs)
    assert verdicts(found) == {
        ("TIC 1", 1): ("new", "no candidate there: odd"),
        ("TIC 28", 1): ("new", "the star was not searched"),
        ("TIC 2", 1): ("improved", None),
        ("TIC 4", 1): ("worse", None),
        ("TIC 8", 1): ("gone", "no candidate there: odd_even"),
        ("TIC 10", 1): ("gone", "no such signal"),
        ("TIC 14", 1): ("gone", "the star was not searched"),
        ("TIC 14", 2): ("gone", "the star was not searched"),
        ("TIC 2", 2): ("same", None),
        ("TIC 8", 2): ("same", None),
    }
    assert found.counts()["candidates"] == {"new": 2, "improved": 1, "changed": 0, "worse": 1, "gone": 4, "same": 2}
    assert not found.settings


def test_all_signals_are_compared_where_one_asks(runs: tuple[store.Run, store.Run]) -> None:
    found = verdicts(compare_runs(*runs, every=True))
    assert found["TIC 8", 1] == ("same", None), "it was found again, though it is no candidate"
    assert found["TIC 17", 1] == ("new", "the star was not searched")
    assert found["TIC 1", 1] == ("same", None)


def test_a_run_is_like_itself(runs: tuple[store.Run, store.Run]) -> None:
    found = compare_runs(runs[0], runs[0], every=True)
    assert set(found.signals["verdict"]) == set(found.stars["verdict"]) == {"same"}
    assert found.signals["ratio"].to_list() == [1.0] * len(found.signals)
    assert len(found.stars) == 13


def test_stars_are_new_or_gone(runs: tuple[store.Run, store.Run]) -> None:
    stars = compare_runs(*runs).stars
    moved = {row["target_id"]: row["verdict"] for row in stars.to_dicts() if row["verdict"] != "same"}
    assert moved == {"TIC 14": "gone", "TIC 28": "new", "TIC 17": "new"}
    assert stars.filter(target_id="TIC 7").to_dicts()[0]["status_new"] == "bad_file"


def test_another_search_is_told(tmp_path: Path) -> None:
    runs = []
    for name, overrides in (("old", ()), ("new", ("gate.mes=9",))):
        with store.open_run(tmp_path / name, load(overrides=overrides), fakes.targets(3)) as run:
            commit_all(run)
            store.merge(run)
        runs.append(store.load_run(tmp_path / name))
    assert compare_runs(*runs).settings == ("gate.mes: 7.1 -> 9.0",)


def test_what_the_command_says(runs: tuple[store.Run, store.Run], capsys: pytest.CaptureFixture[str]) -> None:
    roots = [run.folder.root for run in runs]
    assert main(["compare", *roots]) == 0
    said = capsys.readouterr().out
    assert "new 2, improved 1, worse 1, gone 4, same 2" in said
    assert "no candidate there: odd_even" in said
    assert main(["compare", *roots, "--stars"]) == 0
    assert [line.split()[:3] for line in capsys.readouterr().out.splitlines()[-3:]] == [
        ["gone", "TIC", "14"],
        ["new", "TIC", "17"],
        ["new", "TIC", "28"],
    ]
    assert main(["compare", *roots, "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("verdict,target_id,number_old,number_new,period_old")
    assert len(lines) == 1 + 8
    assert main(["compare", *roots, "--format", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["counts"]["stars"] == {"new": 2, "other files": 0, "gone": 1, "same": 12}
    assert [row["verdict"] for row in said["signals"]] == ["new"] * 2 + ["improved"] + ["worse"] + ["gone"] * 4


def test_files_are_written_where_one_says(runs: tuple[store.Run, store.Run], tmp_path: Path) -> None:
    roots = [run.folder.root for run in runs]
    assert main(["compare", *roots, "--format", "csv", "--out", str(tmp_path / "in" / "new.csv")]) == 0
    assert (tmp_path / "in" / "new.csv").read_text().count("\n") == 9
    assert main(["compare", *roots, "--out", str(tmp_path / "table")]) == 2
    assert main(["compare", roots[0], str(tmp_path / "nowhere")]) == 2


def test_a_run_without_a_catalogue_is_not_compared(
    runs: tuple[store.Run, store.Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with store.open_run(tmp_path / "half", Config(), fakes.targets(3)):
        pass
    assert main(["compare", runs[0].folder.root, str(tmp_path / "half")]) == 2
    assert "has no catalogue yet" in capsys.readouterr().err
