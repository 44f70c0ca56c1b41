"""A model's folder: what is written is read again, and nothing that was tampered with is."""

import hashlib
import json
import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import skops.io
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest
from sklearn.neighbors import LocalOutlierFactor

from survey.errors import SurveyError, UsageError
from survey.learning import artifact
from tests.learning.models import FOLDS, STARS, small_record, small_weights, write_small

PLAIN = {
    "kind": "anomaly",
    "network": {},
    "inputs": {"window": 50},
    "members": (),
    "fold_calibrations": (),
    "support": {},
}
"""Changes that make the small record one of a model without a network."""


def seal(folder: Path, name: str) -> None:
    """Makes model.json vouch for a file as it is now: what an attacker would do."""
    record = json.loads((folder / "model.json").read_text())
    record["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "model.json").write_text(json.dumps(record))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_small(tmp_path / "small")
    return tmp_path / "small"


def test_what_is_written_is_read(folder):
    model = artifact.load_artifact(folder)
    for member, written in zip(model.weights, small_weights(), strict=True):
        assert member.keys() == written.keys()
        assert all(torch.equal(member[name], written[name]) for name in written)
    assert model.record.calibration == small_record().calibration
    assert model.stars.folds_of(STARS).tolist() == FOLDS.tolist()
    assert model.stars.folds_of(np.array(["TIC 99", "KIC 1"])).tolist() == [-1, -1]
    assert not model.network(0).training


def test_a_star_is_known_by_all_its_names():
    others = (np.array(["TIC 7", "", "TIC 9"]), np.array(["EPIC 1", "", ""]))
    stars = artifact.know_stars(np.array(["KIC 1", "KIC 2", "KIC 1"]), np.array([1, 0, 1], np.uint8), others)
    assert stars.folds_of(np.array(["KIC 1", "KIC 2", "TIC 7", "TIC 9", "EPIC 1"])).tolist() == [1, 0, 1, 1, 1]
    assert stars.folds_of(np.array(["TIC 8", ""])).tolist() == [-1, -1]
    # Nor does it matter under which name it is learnt and under which it is asked for.
    assert stars.folds_of(np.array(["TIC 70", "TIC 80"]), (np.array(["KIC 2", ""]),)).tolist() == [0, -1]


def test_the_id_stands_for_every_bit(folder, tmp_path):
    first = artifact.load_artifact(folder).id
    assert write_small(tmp_path / "again") == first
    weights = small_weights()
    weights[2]["logit.bias"] += 1e-3
    stars = artifact.know_stars(STARS, FOLDS)
    assert artifact.write_artifact(tmp_path / "other", small_record(), weights, stars, "# small\n") != first


def test_rounded_weights_lose_nothing_on_the_way():
    network = {"a": torch.randn(3, 4), "b": torch.randn(5), "n": torch.tensor(3)}
    rounded = artifact.round_weights(network)
    assert torch.equal(rounded["a"].half().float(), rounded["a"])
    assert torch.equal(rounded["b"], network["b"])
    assert torch.allclose(rounded["a"], network["a"], rtol=1e-3)


@pytest.mark.parametrize("name", ["weights.safetensors", "stars.safetensors", "CARD.md"])
def test_a_damaged_or_missing_file_is_named(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(UsageError, match=rf"{name}: damaged or altered"):
        artifact.load_artifact(folder)
    (folder / name).unlink()
    with pytest.raises(UsageError, match=rf"cannot read .*{name}: no such file"):
        artifact.load_artifact(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 1}, "format: input should be 2"),
        ({"kind": "transformer"}, "kind: no network is called 'transformer'; known are resnet1d"),
        ({"kind": "anomaly"}, "a model of kind anomaly has no members"),
        ({"members": []}, "a network has at least one member"),
        ({"members": [{"fold": 0, "seed": 0, "epoch": 1}] * 257}, "members: "),
        ({"members": [{"fold": 300, "seed": 0, "epoch": 1}]}, r"members\.0\.fold: "),
        ({"threshold": 2}, "threshold: "),
        ({"surprise": 1}, "surprise: extra inputs"),
        ({"files": {}}, "files: no sha256 of weights.safetensors"),
        ({"network": {"global_bins": 10**9}}, r"network\.global_bins: "),
        ({"network": {"channels": [10**6]}}, "channels are 1 to 1024"),
        ({"network": {"layers": 9}}, r"network\.layers: extra inputs"),
        ({"network": []}, "network: "),
        ({"inputs": {"scalars": []}}, "0 names for 2 scalars"),
        ({"inputs": {"scalars": [1, 2]}}, r"inputs\.scalars\.0: "),
        ({"support": {"period": [0, "NaN"]}}, "support.period.1: "),
        ({"support": {"period": [0]}}, "support.period"),
        ({"fold_calibrations": []}, "one calibration for each fold"),
        ({"files": {"../../etc/passwd": "0" * 64}}, "'../../etc/passwd' is no name of a model's file"),
        ({"files": {"/etc/passwd": "0" * 64}}, "is no name of a model's file"),
    ],
)
def test_a_model_json_that_says_nonsense_is_refused(folder, change, words):
    record = json.loads((folder / "model.json").read_text())
    for key, value in change.items():
        merge = isinstance(value, dict) and value
        record[key] = {**record[key], **value} if merge else value
    (folder / "model.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match=words):
        artifact.load_artifact(folder)


def test_a_network_of_absurd_size_takes_no_memory(folder):
    record = json.loads((folder / "model.json").read_text())
    record["network"] |= {"global_bins": 16_384, "channels": [1024] * 8, "hidden": 4096}
    (folder / "model.json").write_text(json.dumps(record))
    tracemalloc.start()
    with pytest.raises(UsageError, match="does not fit the network"):
        artifact.load_artifact(folder)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_a_model_without_a_network(tmp_path):
    rows = np.random.default_rng(0).normal(size=(80, 3))
    parts = {"forest": PARTS["forest"](rows)}
    stars = artifact.know_stars(STARS, np.zeros(len(STARS), np.uint8))
    artifact.write_artifact(tmp_path / "strange", small_record(**PLAIN), (), stars, "# strange\n", parts)
    assert not (tmp_path / "strange" / "weights.safetensors").exists()
    model = artifact.load_artifact(tmp_path / "strange")
    assert model.record.inputs == {"window": 50}
    assert np.array_equal(model.parts["forest"].predict(rows), parts["forest"].predict(rows))
    with pytest.raises(UsageError, match="small is no network but of kind anomaly"):
        model.network(0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(field=st.sampled_from(sorted(artifact.ModelRecord.model_fields)), value=JSON)
def test_a_field_of_any_content_is_read_or_refused(folder, field, value):
    """Nothing else than a UsageError may come of a model.json that others wrote."""
    before = (folder / "model.json").read_text()
    (folder / "model.json").write_text(json.dumps({**json.loads(before), field: value}))
    try:
        artifact.load_artifact(folder)
    except UsageError:
        pass
    finally:
        (folder / "model.json").write_text(before)


def test_what_is_no_json_is_refused(folder):
    (folder / "model.json").write_bytes(b"\x80\x04")
    with pytest.raises(UsageError, match=r"model\.json: invalid JSON"):
        artifact.load_artifact(folder)


def test_weights_of_another_network_are_refused(folder):
    weights = safetensors.torch.load_file(folder / "weights.safetensors")
    cases = {
        "logit.weight does not fit": {"001.logit.weight": torch.zeros(2, 8)},
        "logit.bias holds NaN": {"002.logit.bias": torch.tensor([torch.nan])},
        "belongs to none of the 4 members": {"009.logit.bias": torch.zeros(1)},
        "extra does not fit": {"000.extra": torch.zeros(1)},
        "'².logit.bias' belongs to none of the 4 members": {"².logit.bias": torch.zeros(1)},
        "logit.bias holds torch.float8": {"000.logit.bias": torch.zeros(1, dtype=torch.float8_e4m3fn)},
        "logit.bias holds torch.bool": {"000.logit.bias": torch.zeros(1, dtype=torch.bool)},
    }
    for words, change in cases.items():
        safetensors.torch.save_file(weights | change, folder / "weights.safetensors")
        seal(folder, "weights.safetensors")
        with pytest.raises(UsageError, match=words):
            artifact.load_artifact(folder)


@pytest.mark.parametrize("name", ["weights.safetensors", "stars.safetensors"])
def test_a_pickle_in_place_of_weights_is_never_run(folder, name, tmp_path):
    (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    seal(folder, name)
    with pytest.raises(UsageError, match=f"{name}: not a safetensors file"):
        artifact.load_artifact(folder)
    assert not (tmp_path / "sprung").exists()


def test_stars_without_order_are_refused(folder):
    for star in (torch.tensor([3, 2, 1]), torch.tensor([1, 1, 2])):
        tensors = {"star": star, "fold": torch.zeros(3, dtype=torch.uint8)}
        safetensors.torch.save_file(tensors, folder / "stars.safetensors")
        seal(folder, "stars.safetensors")
        with pytest.raises(UsageError, match="stars must rise"):
            artifact.load_artifact(folder)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


PARTS = {
    "forest": lambda rows: IsolationForest(n_estimators=5, random_state=0).fit(rows),
    "outliers": lambda rows: LocalOutlierFactor(novelty=True).fit(rows),
    "trees": lambda rows: HistGradientBoostingClassifier(max_iter=3).fit(rows, rows[:, 0] > 0),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_scikit_learn_come_back(tmp_path, name):
    rows = np.random.default_rng(0).normal(size=(80, 3))
    part = PARTS[name](rows)
    write_small(tmp_path / "small", **{name: part})
    read = artifact.load_artifact(tmp_path / "small").parts[name]
    assert np.array_equal(read.predict(rows), part.predict(rows))


def test_a_part_of_any_other_type_is_refused_before_it_is_made(folder, tmp_path):
    part = folder / "forest.skops"
    part.write_bytes(skops.io.dumps(Trap(tmp_path / "sprung")))
    seal(folder, "forest.skops")
    with pytest.raises(UsageError, match=r"forest\.skops: holds types that no model may: "):
        artifact.load_artifact(folder)
    assert not (tmp_path / "sprung").exists()


def test_what_is_no_skops_file_is_refused(folder):
    part = folder / "forest.skops"
    part.write_bytes(pickle.dumps(Trap(folder / "sprung")))
    seal(folder, "forest.skops")
    with pytest.raises(UsageError, match=r"forest\.skops: not a skops file"):
        artifact.load_artifact(folder)
    with zipfile.ZipFile(part, "w") as packed:
        packed.writestr("other.json", "{}")
    seal(folder, "forest.skops")
    with pytest.raises(UsageError, match=r"forest\.skops: not a skops file"):
        artifact.load_artifact(folder)


def test_an_older_model_is_replaced_and_anything_else_is_not(folder, tmp_path):
    write_small(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="holds something else than a model"):
        write_small(other)
    with pytest.raises(UsageError, match="is a file"):
        write_small(other / "thesis.tex")
    assert (other / "thesis.tex").read_text() == "mine"


def test_a_failure_while_writing_leaves_the_older_model(folder, tmp_path, monkeypatch):
    before = artifact.load_artifact(folder).id

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SurveyError, match="no space left"):
        write_small(folder)
    assert artifact.load_artifact(folder).id == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small"]


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"no model .*none: give a folder that holds model\.json"):
        artifact.find_artifact(str(tmp_path / "none"))
