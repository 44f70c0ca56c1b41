"""Light curves for sets: the rows of a sweep in the order asked for, nothing lost, and which stars are quiet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from survey.config import load
from survey.errors import UsageError
from survey.runs.sets.curves import Curves, Listed
from survey.runs.stages import examine, rows_of
from survey.stars import simulate
from survey.stars.lists import read_targets
from survey.stars.sources import Source, open_source
from survey.stars.targets import Target, parse_target

CONFIG = load(overrides=["search.period_max=6", "search.max_tces=1"])
KINDS = ("quiet", "planet", "truncated", "kepler_quiet", "missing", "rotation")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curves") / "mirror"
    simulate.write_archive(folder, kinds=KINDS)
    return folder


@pytest.fixture(scope="module")
def source(mirror: Path) -> Source:
    return open_source(f"mirror:{mirror}", CONFIG)


@pytest.fixture(scope="module")
def targets(mirror: Path) -> Sequence[Target]:
    return read_targets(mirror / "targets.txt").targets


def write_toi(folder: Path, lines: Sequence[str]) -> Path:
    folder.mkdir(exist_ok=True)
    head = "toi,tid,pl_tranmid,pl_orbper,pl_trandurh,tfopwg_disp,ra,dec"
    (folder / "toi_2026-01-01.csv").write_text("\n".join([head, *lines]) + "\n")
    return folder


@pytest.mark.parametrize("threads", [1, 3])
def test_rows_are_those_of_a_sweep_and_nothing_is_lost(source: Source, targets: Sequence[Target], threads: int) -> None:
    curves = Curves(targets, source, CONFIG, threads=threads)
    rows = list(curves)
    whole = [target.target_id for k, target in enumerate(targets) if KINDS[k] not in ("truncated", "missing")]
    assert [row["target_id"] for row in rows] == whole
    assert [(star["target_id"], star["status"]) for star in curves.left_out] == [
        (targets[2].target_id, "bad_file"),
        (targets[4].target_id, "no_data"),
    ]
    assert all(star["reason"] for star in curves.left_out)
    alone = rows_of(examine(targets[1], CONFIG, source))[0]
    assert np.array_equal(rows[1]["time"], alone["time"])
    said = curves.provenance()
    assert said["sources"][0]["source"] == "mirror:mirror", "no folder of this machine"
    assert len(said["sources"][0]["products"]) == 7
    assert all(len(file["sha256"]) == 64 for file in said["sources"][0]["products"])


def test_only_a_few_stars_are_held_at_a_time(targets: Sequence[Target]) -> None:
    asked: list[str] = []

    class Counting:
        name = "counting"

        def find(self, target: Target) -> list[object]:
            asked.append(target.target_id)
            return []

        def describe(self) -> dict[str, str]:
            return {"source": "counting"}

    curves = Curves([Target(f"TIC {k}", "tess") for k in range(1, 200)], Counting(), CONFIG, threads=2)  # type: ignore[arg-type]
    rows = curves._rows()
    for _ in range(10):
        next(rows)
    assert len(asked) <= 14
    rows.close()
    assert len(asked) <= 14


def test_quiet_is_what_neither_catalogues_nor_a_search_know(
    source: Source, targets: Sequence[Target], tmp_path: Path
) -> None:
    quiet, planet, kepler, rotation = Curves(targets, source, CONFIG)
    near = f"{quiet['ra'] + 2 / 3600:.6f},{quiet['dec']:.6f}"
    elsewhere = write_toi(tmp_path / "a", ["1.01,5,2459000.5,3.0,2.0,PC,10.0,10.0"])
    listed = Listed(elsewhere, CONFIG)
    assert listed.why_not_quiet(quiet) is None
    assert listed.why_not_quiet(rotation) is None
    assert "the search finds a signal every" in (listed.why_not_quiet(planet) or "")
    assert listed.why_not_quiet(planet, search=False) is None
    assert listed.why_not_quiet(kepler) == "no catalogue of the stars called KIC is at hand"
    by_name = Listed(write_toi(tmp_path / "b", [f"2.01,{quiet['target_id'][4:]},2459000.5,3.0,2.0,FP,10,10"]), CONFIG)
    assert by_name.why_not_quiet(quiet) == "listed: TOI-2.01 (FP)"
    by_place = Listed(write_toi(tmp_path / "c", [f"3.01,7,2459000.5,3.0,2.0,PC,{near}"]), CONFIG)
    assert by_place.why_not_quiet(quiet) == "listed: TOI-3.01 (PC)"
    assert (by_place.names_of(quiet), by_place.names_of(rotation)) == (["TIC 7"], [])


def test_listed_epochs_are_in_the_row_s_time(source: Source, targets: Sequence[Target], tmp_path: Path) -> None:
    kepler = rows_of(examine(targets[3], CONFIG, source))[0]
    place = f"{kepler['ra']},{kepler['dec']}"
    listed = Listed(write_toi(tmp_path / "a", [f"4.01,7,2459000.5,3.0,6.0,PC,{place}"]), CONFIG)
    period, epoch, duration = listed.ephemerides_of(kepler)[0]
    assert (period, duration) == (3.0, 0.25)
    assert epoch + 2454833 == pytest.approx(2459000.5, abs=1e-6)


def test_without_catalogues_it_is_said_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none of the tables .*survey catalogs fetch"):
        Listed(tmp_path, CONFIG)


def test_real_stars(archive: Path, real_data: Path) -> None:
    """A star of both catalogues is one star."""
    source = open_source(f"mirror:{archive}", CONFIG)
    listed = Listed(real_data / "catalogs", CONFIG)
    curves = Curves([parse_target("KIC 6462863")], source, CONFIG)
    row = next(iter(curves))
    assert len(listed.signals_of(row)) == 6
    assert listed.names_of(row) == ["TIC 273231214"]
    assert "listed: " in (listed.why_not_quiet(row) or "")
