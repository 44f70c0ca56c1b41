"""Other models or another gate for a finished run: the same as a sweep would have given, whole or not at all."""

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from survey import schema
from survey.config import Config, GateConfig
from survey.errors import RunRefused, SurveyError, UsageError
from survey.runs import exports, rescore, store
from survey.signals.vetting import Check
from survey.signals.vetting.rejudge import LEAST, MOST, SETTINGS, judge_again
from tests.learning.models import copy_shipped
from tests.runs.small_run import make_run

MERGED = (store.TARGETS, store.CANDIDATES, store.FEATURES)
KINDS = ("planet", "planets", "eclipsing_binary", "quiet", "missing")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rescore")
    make_run(folder / "run", folder / "mirror", KINDS)
    return folder / "run"


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def read_bytes(root: Path) -> dict[str, bytes]:
    return {name: (root / name).read_bytes() for name in MERGED}


def read_tces(root: Path) -> list[dict[str, Any]]:
    rows = pq.read_table(root / store.CANDIDATES).to_pylist()
    return sorted(rows, key=lambda row: (row["target_id"], row["number"]))


def test_the_same_models_and_gate_give_the_same_bytes(root: Path) -> None:
    before = read_bytes(root)
    done = rescore.rescore(root)
    assert read_bytes(root) == before
    assert (done.changes, done.kept, done.unseen) == ((), ("segments", "periods", "anomaly"), 0)
    assert len(done.candidates) >= 4


def test_other_models_score_and_the_record_names_them(root: Path) -> None:
    before = read_tces(root)
    mine = copy_shipped("triage", root.parent / "mine", task="vetting")
    mine_id = sha256((mine / "model.json").read_bytes()).hexdigest()
    done = rescore.rescore(root, [f"score.vetting={mine}", "score.triage=none"])
    after, record = read_tces(root), json.loads((root / store.RECORD).read_text())
    for old, new in zip(before, after, strict=True):
        assert new["vetting_score"] == old["triage_score"]
        assert new["triage_score"] is None
        assert new["is_candidate"] == old["is_candidate"]
        assert new["star_score"] == old["star_score"]
        used, before_used = ({one["name"]: one["id"] for one in row["models"]} for row in (new, old))
        del before_used["triage"]
        assert used == before_used | {"vetting": mine_id}
    assert set(record["models"]) == set(schema.MODELS) - {"triage", "fusion"}
    assert record["configuration"]["score"]["triage"] is None
    assert record["sessions"][-1]["rescored"] == list(done.changes)
    assert done.changes[0] == "score.triage: triage -> None"
    assert "rescoring" not in record
    assert store.status(store.load_run(root)).stars_per_hour is None


def test_another_gate_gives_the_verdicts_of_a_sweep_with_it(root: Path, made: Path, tmp_path: Path) -> None:
    strict = "gate.mes=60"
    rescore.rescore(root, [strict])
    (tmp_path / "mirror").symlink_to(made.parent / "mirror")
    again = make_run(tmp_path / "again", tmp_path / "mirror", KINDS, [strict])
    judged = [(row["is_candidate"], row["flags"], row["star_class"], row["rank"]) for row in read_tces(root)]
    assert judged == [
        (row["is_candidate"], row["flags"], row["star_class"], row["rank"])
        for row in read_tces(Path(again.folder.base))
    ]
    assert any("low_mes" in flags for _, flags, _, _ in judged)
    rescore.rescore(root, ["gate.mes=7.1"])
    assert read_bytes(root) == read_bytes(made)


def test_signals_that_pass_only_now_are_counted(root: Path) -> None:
    rescore.rescore(root, ["gate.mes=60"])
    table = pq.read_table(root / store.CANDIDATES)
    failing = table.filter(table.column("is_candidate")).num_rows
    done = rescore.rescore(root, ["gate.mes=7.1"])
    assert len(done.candidates.filter(done.candidates.column("is_candidate"))) > failing
    assert done.unseen >= 0


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("clean.edge_hours=2", "clean.edge_hours needs the light curves: sweep again"),
        ("gate.albedo=0.5", "gate.albedo needs the light curves"),
        ("score.stars=all", "score.stars needs the light curves"),
        ("score.periods=triage", "score.periods reads light curves, which a run does not keep"),
        ("score.vetting=nowhere", r"score\.vetting: no model nowhere"),
        ("score.nothing=1", "unknown key score.nothing"),
    ],
)
def test_what_needs_more_than_the_run_is_refused(root: Path, setting: str, words: str) -> None:
    record = (root / store.RECORD).read_bytes()
    with pytest.raises(UsageError, match=words):
        rescore.rescore(root, [setting])
    assert (root / store.RECORD).read_bytes() == record


def test_a_model_that_reads_other_views_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = rescore.load_models
    monkeypatch.setattr(
        rescore, "load_models", lambda score: tuple(store.replace(one, spec="astronet-2001-201") for one in load(score))
    )
    with pytest.raises(
        UsageError, match=r"reads views of the form astronet-2001-201, and .* triage-201-61, views-2048"
    ):
        rescore.rescore(root)


def fail_at(count: int, work: Callable[..., Any]) -> Callable[..., Any]:
    calls = iter(range(1000))

    def fail(*arguments: Any) -> Any:
        if next(calls) == count:
            raise SurveyError("the disk is full")
        return work(*arguments)

    return fail


def test_a_rescore_that_ends_early_leaves_the_old_catalogue(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, whole = read_bytes(root), root.parent / "whole"
    shutil.copytree(root, whole)
    rescore.rescore(whole, ["gate.mes=60"])
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_shard", fail_at(1, store.write_shard))
        with pytest.raises(SurveyError, match="disk"):
            rescore.rescore(root, ["gate.mes=60"])
    assert read_bytes(root) == before
    exports.read_candidates(store.load_run(root))
    run = store.load_run(root)
    with pytest.raises(RunRefused, match=r"survey rescore .* ends it"), store.open_run(root, run.config, []):
        pass
    rescore.rescore(root, ["gate.mes=60"])
    assert read_bytes(root) == read_bytes(whole)


def test_a_catalogue_that_is_half_written_is_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = root.parent / "whole"
    shutil.copytree(root, whole)
    rescore.rescore(whole, ["gate.mes=60"])
    with monkeypatch.context() as patch:
        patch.setattr(store, "_write_candidates", fail_at(0, store._write_candidates))
        with pytest.raises(SurveyError, match="disk"):
            rescore.rescore(root, ["gate.mes=60"])
    with pytest.raises(UsageError, match=r"survey rescore .* ends it"):
        exports.read_candidates(store.load_run(root))
    rescore.rescore(root, ["gate.mes=60"])
    assert read_bytes(root) == read_bytes(whole)


def test_scores_of_light_curves_are_kept_or_given_up() -> None:
    blank = {name: None for columns in rescore.STAR_COLUMNS.values() for name in columns}
    row = blank | {
        "tces": [],
        "star_score": 0.7,
        "anomaly_score": 2.0,
        "star_out_of_support": ["segments: cadence", "anomaly: mission"],
        "models": [{"name": "segments", "id": "old"}, {"name": "anomaly", "id": "an"}, {"name": "triage", "id": "t"}],
    }
    config = Config().model_copy(update={"score": Config().score.model_copy(update={"segments": "x", "anomaly": None})})
    kept = rescore._with_scores(row, rescore.Scored(used={"vetting": "v"}), config)
    assert (kept["star_score"], kept["anomaly_score"]) == (0.7, None)
    assert kept["star_out_of_support"] == ["segments: cadence"]
    assert kept["models"] == [{"name": "vetting", "id": "v"}, {"name": "segments", "id": "old"}]


def test_checks_are_judged_by_the_gate_as_when_they_were_made() -> None:
    assert set(GateConfig.model_fields) >= SETTINGS
    gate = GateConfig(**dict.fromkeys(SETTINGS - {"informative"}, 5))
    for name in LEAST:
        assert [judge_again(Check(name, v, None, "", v, 0.0, None), gate).passed for v in (4.0, 5.0)] == [False, True]
    for name in MOST:
        assert [judge_again(Check(name, v, None, "", v, 0.0, None), gate).passed for v in (5.0, 6.0)] == [True, False]
    unmeasured = Check("low_mes", None, None, "", None, 7.1, None)
    assert judge_again(unmeasured, gate).passed is None
    eclipse = Check("secondary_eclipse", 1.0, None, "", 9.0, 5.0, True)
    assert judge_again(eclipse, gate) == eclipse


def test_the_schema_of_the_run_is_that_of_a_sweep(root: Path) -> None:
    rescore.rescore(root, ["score.triage=none"])
    for name, kind in zip(MERGED, (schema.KEPT, schema.CANDIDATE, schema.FEATURES), strict=True):
        assert pq.read_schema(root / name).equals(kind)
