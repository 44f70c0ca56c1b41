"""Sets of views from runs: every signal gets the label that catalogues or the truth give it, or a reason why not."""

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from survey.errors import UsageError
from survey.learning.sets.audit import find_problems
from survey.learning.sets.table import read_set, write_set
from survey.learning.sets.views import read_views
from survey.runs import exports, store
from survey.runs.sets.views import (
    SPEC,
    cap_classes,
    choose_listed,
    judge_by_catalogue,
    judge_by_truth,
    views_by_catalogues,
    views_by_truth,
)
from survey.stars.simulate import InjectedSignal, read_truth
from tests.runs.small_run import make_run

KINDS = ("planet", "planets", "eclipsing_binary", "quiet", "planet", "truncated", "eclipsing_binary", "rotation")

ALL_VIEWS = ("views.spec=triage-201-61", "views.signals=all", "score.triage=none", "score.vetting=none")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sets") / "mirror"


@pytest.fixture(scope="module")
def run(mirror: Path) -> store.Run:
    return make_run(mirror.parent / "run", mirror, KINDS, ALL_VIEWS)


@pytest.fixture(scope="module")
def truth(run: store.Run, mirror: Path) -> list[InjectedSignal]:
    return read_truth(mirror / "truth.csv")


def write_tables(folder: Path, truth: list[InjectedSignal], stars: Path) -> Path:
    """TOI and eclipsing binaries as the archive lists them; the first planet is a false positive."""
    folder.mkdir(exist_ok=True)
    places = {row["target_id"]: (row["ra"], row["dec"]) for row in csv.DictReader(stars.read_text().splitlines())}
    tois = ["toi,tid,pl_tranmid,pl_orbper,pl_trandurh,pl_trandep,tfopwg_disp,ra,dec"]
    binaries = ["tess_id,bjd0,period,prim_width_pf,ra,dec"]
    for k, one in enumerate(truth):
        number, (ra, dec) = one.target_id.split()[1], places[one.target_id]
        if one.kind == "planet":
            word = "FP" if k == 0 else "CP"
            epoch = one.epoch + 2457000
            tois.append(f"{k + 1}.01,{number},{epoch},{one.period},{one.duration_h},{one.depth_ppm},{word},{ra},{dec}")
        else:
            binaries.append(f"{number},{one.epoch},{one.period},{one.duration_h / 24 / one.period},{ra},{dec}")
    (folder / "toi_2026-01-01.csv").write_text("\n".join(tois) + "\n")
    (folder / "tess_ebs_2026-01-01.csv").write_text("\n".join(binaries) + "\n")
    return folder


def test_labels_are_those_of_the_truth(run, truth, mirror, tmp_path):
    kinds = {row["target_id"]: row["kind"] for row in csv.DictReader((mirror / "stars.csv").read_text().splitlines())}
    table, said = views_by_truth(run, truth, kinds)
    recovered = exports.recover(truth, exports.read_candidates(run))
    counts = {
        kind: sum(one.verdict != "missed" for one in recovered if one.signal.kind == kind)
        for kind in ("planet", "eclipsing_binary")
    }
    labels = table.column("label").to_pylist()
    assert counts["planet"] >= 3
    assert counts["eclipsing_binary"] >= 1
    assert (labels.count("PC"), labels.count("EB")) == (counts["planet"], counts["eclipsing_binary"])
    assert said["simulated"] == "all stars and signals"
    assert [star["status"] for star in said["left_out"]] == ["bad_file"]
    write_set(tmp_path / "demo.parquet", "views", table, said)
    views = read_views(tmp_path / "demo.parquet")
    assert (views.view_spec, views.simulated) == (SPEC, "all stars and signals")
    assert (views.global_view.shape[1], views.local_view.shape[1]) == (201, 61)
    assert {"period", "duration_h", "depth_ppm", "mes"} <= views.scalars.keys()
    assert views.folds is not None


def test_views_are_those_of_the_run(run, truth):
    table, _ = views_by_truth(run, truth, {})
    kept = pq.read_table(pa.BufferReader(run.folder.read(store.FEATURES))).to_pylist()
    of_run = {(row["target_id"], row["number"]): row for row in kept if row["spec"] == SPEC}
    for row in table.to_pylist():
        for name in ("global_view", "local_view", "secondary_view"):
            assert row[name] == of_run[row["target_id"], row["number"]][name]


def test_labels_are_those_of_the_catalogues(run, truth, mirror, tmp_path):
    folder = write_tables(tmp_path / "catalogs", truth, mirror / "stars.csv")
    table, said = views_by_catalogues(run, folder)
    labels = {row["why"].split()[0]: row["label"] for row in table.to_pylist() if row["label"] != "J"}
    assert labels.pop("TOI-1.01") == "FP"
    assert {letter for name, letter in labels.items() if name.startswith("TOI-")} == {"CP"}
    assert {letter for name, letter in labels.items() if name.startswith("TIC")} <= {"EB"}
    assert said["simulated"] == ""
    assert [one["name"] for one in said["catalogues"]] == ["toi", "tess_ebs"]
    products = said["sources"][0]["products"]
    assert products
    assert all(len(one["sha256"]) == 64 and "/" not in one["product"] for one in products)
    again, _ = views_by_catalogues(run, folder)
    assert again.equals(table)


def test_both_names_of_a_star_stand_in_its_row(run, truth, mirror, tmp_path):
    folder = write_tables(tmp_path / "catalogs", truth, mirror / "stars.csv")
    first = truth[1]
    row = next(
        row
        for row in csv.DictReader((mirror / "stars.csv").read_text().splitlines())
        if row["target_id"] == first.target_id
    )
    place = f"{float(row['ra']):.6f},{float(row['dec']):.6f}"
    (folder / "kepler_ebs.csv").write_text("KIC,period\n77,2.5\n")
    (folder / "koi_cumulative_2026-01-01.csv").write_text(
        "kepid,kepoi_name,koi_period,koi_time0bk,koi_disposition,ra,dec\n"
        f"88,K00001.01,{first.period * 7.3},170.0,CANDIDATE,{place}\n"
    )
    table, _ = views_by_catalogues(run, folder)
    names = {row["target_id"]: row["other_names"] for row in table.to_pylist()}
    assert names[first.target_id] == ["KIC 88"]
    assert all(not more for star, more in names.items() if star != first.target_id)


def signal(**values: Any) -> dict[str, Any]:
    base = {"known_name": "TOI-5.01", "known_disposition": "PC", "known_catalogue": "toi", "novelty": "rediscovered"}
    return base | {"is_candidate": False, "flags": ["sine_like"]} | values


@pytest.mark.parametrize(
    ("values", "letter", "why"),
    [
        ({}, "PC", "TOI-5.01 (PC, toi)"),
        ({"known_disposition": "CONFIRMED"}, "CP", "CONFIRMED"),
        ({"known_disposition": "FALSE POSITIVE", "known_name": "K1"}, "FP", "FALSE POSITIVE"),
        ({"known_disposition": "FALSE POSITIVE", "known_name": "K2"}, "FA", "FALSE POSITIVE"),
        ({"known_disposition": "EB"}, "EB", "EB"),
        ({"known_disposition": None}, None, "without a disposition"),
        ({"novelty": "known"}, None, "this signal is not, or may be"),
        ({"novelty": None}, None, "no catalogue of its mission"),
        ({"novelty": "new"}, "J", "refused by the gate: sine_like"),
        ({"novelty": "new", "is_candidate": True}, None, "nobody knows"),
    ],
)
def test_what_a_listed_signal_is(values, letter, why):
    verdict = judge_by_catalogue(signal(**values), frozenset({"K2"}), unlisted=True)
    assert verdict.letter == letter
    assert why in verdict.why
    if letter == "J":
        assert judge_by_catalogue(signal(**values), frozenset(), unlisted=False).letter is None


def test_what_a_simulated_signal_is():
    truth = [InjectedSignal("TIC 1", "background_binary", 3.0, 1.0, 2.4, 900.0, 20.0)]
    rows = [
        {"target_id": "TIC 1", "period": 3.0, "epoch": 4.0, "duration_h": 2.4},
        {"target_id": "TIC 1", "period": 5.0, "epoch": 4.0, "duration_h": 2.4},
        {"target_id": "TIC 2", "period": None, "epoch": 4.0, "duration_h": 2.4},
        {"target_id": "TIC 3", "period": 5.0, "epoch": 4.0, "duration_h": 2.4},
    ]
    found = judge_by_truth(rows, truth, {"TIC 1": "background_binary", "TIC 2": "quiet", "TIC 3": "flares"})
    assert [verdict.letter for verdict in found] == ["FP", None, "J", "V"]


def test_caps_hang_on_the_seed_and_not_on_the_other_rows():
    rows = [{"target_id": f"TIC {k}", "number": 1, "label": "J" if k % 4 else "PC"} for k in range(400)]
    kept = cap_classes(rows, 50, seed=3)
    assert [row["label"] for row in kept].count("PC") == [row["label"] for row in kept].count("J") == 50
    fewer = cap_classes([row for k, row in enumerate(rows) if k % 3], 50, seed=3)
    still = [row for row in kept if int(row["target_id"][4:]) % 3]
    assert all(row in fewer for row in still)
    assert cap_classes(rows, 50, seed=4) != kept
    assert cap_classes(rows, None, seed=3) == rows


def test_listed_stars_to_sweep(truth, mirror, tmp_path):
    folder = write_tables(tmp_path / "catalogs", truth, mirror / "stars.csv")
    chosen = choose_listed(folder, ["toi", "tess_ebs"], max_per_class=2)
    letters = [letter for _, letter in chosen]
    assert sorted(set(letters)) == ["CP", "EB", "FP"]
    assert max(letters.count(letter) for letter in letters) == 2
    with pytest.raises(UsageError, match=r"no table koi among the catalogues \(toi, tess_ebs\): .*catalogs fetch"):
        choose_listed(folder, ["toi", "koi"])


def test_runs_that_are_not_finished_or_lack_views_are_refused(run, truth, tmp_path):
    with pytest.raises(UsageError, match=r"holds no views of the form astronet-2001-201, only .*--set views.spec="):
        views_by_truth(run, truth, {}, spec="astronet-2001-201")
    part = tmp_path / "part"
    part.mkdir()
    for name in (store.RECORD, store.MANIFEST):
        (part / name).write_bytes(run.folder.read(name).to_pybytes())
    with pytest.raises(UsageError, match=r"is not finished \(0 of 2 shards are done\): run the same"):
        views_by_truth(store.load_run(part), truth, {})


@pytest.mark.verify
def test_the_real_stars(archive, real_data, tmp_path):
    """The archive's own planets, binaries and false positives, through the very stages of a sweep."""
    from survey.config import Config, load
    from survey.runs.stages import STAGES
    from survey.stars.sources import open_source

    source = open_source(f"mirror:{archive}", Config())
    targets = list(source.targets("tess"))
    with store.open_run(tmp_path / "run", load(overrides=ALL_VIEWS), targets, source=source.describe()) as run:
        for shard, table in store.todo(run).items():
            for stage in STAGES:
                table = stage.make(run.config, source)(table)
            store.commit(run, shard, table)
        store.merge(run)
    table, said = views_by_catalogues(store.load_run(tmp_path / "run"), real_data / "catalogs")
    write_set(tmp_path / "real.parquet", "views", table, said)
    found = read_set(tmp_path / "real.parquet", "views")
    assert find_problems(found.table, found.provenance, "views") == []
    letters = set(found.table.column("label").to_pylist())
    assert letters & {"CP", "KP", "PC"}
    assert "EB" in letters
