"""Foreign checkpoints: nothing of them is run, what fits finds its place, and what is not sure is not guessed."""

import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn

from survey.cli import main
from survey.config import TrainConfig
from survey.errors import UsageError
from survey.learning.artifact import load_artifact
from survey.learning.card import figure_rows
from survey.learning.evaluate import draw_evaluation, evaluate
from survey.learning.foreign import import_model, match_weights, parse_renames, read_checkpoint
from survey.learning.lessons import make_lesson
from survey.learning.sets.views import read_views
from survey.learning.train import divide, make_jobs
from survey.learning.views import score_views
from tests.learning.models import small_record, small_weights
from tests.learning.test_members import same
from tests.learning.view_files import make_columns, write_npz


class Hostile:
    """What a pickle may do to whoever opens it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict(
        {
            "stem": nn.Conv1d(1, 4, 7, bias=False),
            "stem_norm": nn.BatchNorm1d(4),
            "keep": nn.Conv1d(4, 4, 5, bias=False),
            "keep_norm": nn.BatchNorm1d(4),
            "logit": nn.Linear(4, 1),
        }
    )


WANTED = small_network().state_dict()


def renamed(names: dict[str, str]) -> dict[str, torch.Tensor]:
    """The same weights, layers called otherwise, in the same order."""
    return {
        f"{names[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": value.clone() for name, value in WANTED.items()
    }


ORDERED = {"stem": "conv1", "stem_norm": "seq.1", "keep": "conv2", "keep_norm": "seq.3", "logit": "fc"}


@pytest.mark.parametrize("place", [None, "state_dict", "model_state_dict", "model"])
def test_weights_are_found_where_checkpoints_keep_them(tmp_path, place):
    content = WANTED if place is None else {"epoch": 3, "optimiser": {"lr": 0.1}, place: dict(WANTED)}
    torch.save(content, path := tmp_path / "theirs.pt")
    found = read_checkpoint(path)
    assert found.weights.keys() == WANTED.keys()
    assert all(torch.equal(found.weights[name], WANTED[name]) for name in WANTED)


def test_a_safetensors_file_is_as_good(tmp_path):
    from safetensors.torch import save_file

    save_file(dict(WANTED), path := tmp_path / "theirs.safetensors")
    assert read_checkpoint(path).weights.keys() == WANTED.keys()


@pytest.mark.parametrize("plain", [True, False])
def test_nothing_of_a_hostile_file_is_run(tmp_path, plain):
    touched, path = tmp_path / "touched", tmp_path / "theirs.pt"
    content = {"state_dict": dict(WANTED), "extra": Hostile(touched)}
    if plain:
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises(UsageError, match=r"theirs\.pt: holds more than tensors and plain values"):
        read_checkpoint(path)
    assert not touched.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.zeros(2)], "holds a list, not a state dict"),
        ({"epoch": 3}, "no state dict under .*; it holds epoch"),
        ({"a.weight": torch.tensor([1.0, float("nan")])}, "a.weight holds NaN"),
        ({"a.weight": torch.zeros(2, dtype=torch.complex64)}, "a.weight is no plain tensor"),
        # One number that claims to be 4 TB.
        ({"a.weight": torch.zeros(1).expand(1 << 40)}, "a.weight is too large"),
        ({"a.weight": torch.zeros(3, device="meta")}, "a.weight is no plain tensor"),
    ],
)
def test_what_is_no_plain_state_dict_is_refused(tmp_path, content, words):
    torch.save(content, path := tmp_path / "theirs.pt")
    with pytest.raises(UsageError, match=words):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.pt", b"no checkpoint", r"a\.pt: "),
        ("a.pt", b"", r"a\.pt: not a torch checkpoint"),
        ("a.pt", b"PK\x03\x04" + bytes(200), r"a\.pt: "),
        ("a.safetensors", b"\xff" * 40, "not a safetensors file"),
        ("a.keras", b"", "Keras models are not supported"),
        ("a.h5", b"", "Keras models are not supported"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=words):
        read_checkpoint(tmp_path / name)


def test_wrappers_and_usual_synonyms_are_seen_through():
    names = {"stem": "stem", "stem_norm": "stem_bn", "keep": "keep", "keep_norm": "keep_bn", "logit": "logit"}
    theirs = {f"module.model.{name}": value for name, value in renamed(names).items()}
    found = match_weights(theirs, WANTED)
    assert found.pairs["stem_norm.running_var"] == "module.model.stem_bn.running_var"
    assert found.guessed == found.missing == found.unexpected == ()


def test_counters_of_batches_are_not_asked_for():
    theirs = {name: value for name, value in WANTED.items() if "num_batches" not in name}
    assert not match_weights(theirs, WANTED).missing


def test_shapes_in_the_same_order_find_their_places():
    found = match_weights(renamed(ORDERED), WANTED)
    assert found.pairs["keep_norm.weight"] == "seq.3.weight"
    assert set(found.guessed) == set(found.pairs) == {name for name in WANTED if "num_batches" not in name}
    assert found.missing == found.unexpected == ()


def test_what_could_be_placed_in_several_ways_is_refused_with_both_lists():
    theirs = renamed(ORDERED)
    one_norm = {name: value for name, value in theirs.items() if not name.startswith("seq.1")}
    with pytest.raises(UsageError, match=r"Ours: .*stem_norm \(4; 4; 4; 4\), .*Theirs: .*seq\.3 .*--map") as caught:
        match_weights(one_norm, WANTED)
    assert "keep_norm" in str(caught.value)
    # Told which is which, the other is missing and nothing is guessed about it.
    found = match_weights(one_norm, WANTED, parse_renames([r"seq\.3=keep_norm"]))
    assert found.pairs["keep_norm.bias"] == "seq.3.bias"
    assert set(found.missing) == {f"stem_norm.{name}" for name in ("weight", "bias", "running_mean", "running_var")}


def test_one_of_each_shape_may_come_in_another_order():
    wanted = {"a.weight": torch.zeros(2, 3), "b.weight": torch.zeros(5, 7)}
    theirs = {"y.weight": torch.ones(5, 7), "x.weight": torch.ones(2, 3), "z.weight": torch.ones(9)}
    found = match_weights(theirs, wanted)
    assert found.pairs == {"a.weight": "x.weight", "b.weight": "y.weight"}
    assert found.unexpected == ("z.weight",)


def test_a_layer_of_another_shape_is_missing_not_forced():
    theirs = dict(WANTED) | {"logit.weight": torch.zeros(1000, 4), "logit.bias": torch.zeros(1000)}
    found = match_weights(theirs, WANTED)
    assert found.missing == ("logit.weight", "logit.bias") == found.unexpected


def test_towers_of_equal_shape_are_never_exchanged():
    wanted = {f"{tower}.blocks.{k}.weight": torch.zeros(3, 3) for tower in ("orbit", "transit") for k in range(2)}
    theirs = {f"{tower}_view.conv{k}.weight": torch.zeros(3, 3) for tower in ("local", "global") for k in range(2)}
    with pytest.raises(UsageError, match=r"local_view\.conv0\.weight would become orbit\.blocks\.0\.weight"):
        match_weights(theirs, wanted)
    mapped = match_weights(
        theirs, wanted, parse_renames([r"local_view\.conv=transit.blocks.", r"global_view\.conv=orbit.blocks."])
    )
    assert mapped.pairs["orbit.blocks.1.weight"] == "global_view.conv1.weight"


@pytest.mark.parametrize(
    ("word", "words"), [("stem", "takes REGEX=NAME"), ("(=a", "--map"), ("nothing=a", "fits no name of the file")]
)
def test_a_map_that_cannot_work_is_refused(word, words):
    with pytest.raises(UsageError, match=re.escape(words) if words != "--map" else words):
        match_weights(WANTED, WANTED, parse_renames([word]))


# A model of it


def small_checkpoint(tmp_path, **changes):
    """The weights of a small network, as another program might keep them."""
    weights = {f"module.{name}": value for name, value in small_weights(1)[0].items()} | changes
    torch.save({"model_state_dict": weights}, path := tmp_path / "theirs.pt")
    return read_checkpoint(path)


SETTINGS = (small_record().network, small_record().inputs)


def test_the_model_scores_as_the_weights_do(tmp_path):
    made = import_model(small_checkpoint(tmp_path), "resnet1d", "vetting", SETTINGS, tmp_path / "model")
    model = load_artifact(made.folder)
    assert model.id == made.id
    assert same(model.weights[0], small_weights(1)[0])
    views = read_views(write_npz(tmp_path / "views.npz", make_columns(rows=60)))
    arrays = (views.stars, views.global_view, views.local_view, None, views.scalars)
    found = score_views(model, *arrays)
    assert np.isfinite(found.score).all()
    # Nobody knows what its scores are worth: there is no probability, and no star is known.
    assert np.isnan(found.probability).all()
    assert np.isnan(found.spread).all()
    assert not found.seen.any()


def test_it_can_be_measured_but_only_ranks(tmp_path):
    import_model(small_checkpoint(tmp_path), "resnet1d", "vetting", SETTINGS, tmp_path / "model")
    path = write_npz(tmp_path / "views.npz", make_columns(rows=60))
    model = load_artifact(tmp_path / "model")
    evaluation = evaluate(model, make_lesson(path, "vetting", TrainConfig()), draws=20)
    assert 0 < evaluation.figures["average_precision"]["value"] < 1
    assert evaluation.figures["brier"] is evaluation.figures["threshold"] is evaluation.figures["spread"] is None
    assert any("trained elsewhere" in note for note in evaluation.figures["notes"])
    assert draw_evaluation(evaluation)
    assert dict(figure_rows(evaluation.figures))["probabilities"].endswith("its scores only rank")


def test_layers_that_are_lacking_must_be_allowed_and_are_named(tmp_path):
    weights = small_weights(1)[0]
    rest = {name: value for name, value in weights.items() if not name.startswith("logit")}
    torch.save(rest, tmp_path / "theirs.pt")
    checkpoint = read_checkpoint(tmp_path / "theirs.pt")
    with pytest.raises(
        UsageError, match=r"lacks 2 of \d+ tensors of resnet1d: logit\.weight, logit\.bias\. .*--partial"
    ):
        import_model(checkpoint, "resnet1d", "vetting", SETTINGS, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    import_model(checkpoint, "resnet1d", "vetting", SETTINGS, tmp_path / "model", partial=True)
    model = load_artifact(tmp_path / "model")
    assert model.record.training["imported"]["untrained"] == ["logit.weight", "logit.bias"]
    assert (
        "| untrained, as the file lacks them | logit.weight, logit.bias |" in (tmp_path / "model/CARD.md").read_text()
    )
    # The same bits each time, of layers that nobody trained too.
    again = import_model(checkpoint, "resnet1d", "vetting", SETTINGS, tmp_path / "again", partial=True)
    assert again.id == model.id


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("transformer", SETTINGS, "no kind of network is called 'transformer': known are"),
        ("resnet1d", ({"global_bins": 32}, SETTINGS[1]), r"local_bins: field required \(settings are global_bins"),
        ("resnet1d", (SETTINGS[0] | {"hidden": 10**9}, SETTINGS[1]), "hidden: input should be less"),
        ("resnet1d", (SETTINGS[0], {"view_spec": None, "scalars": ["period"]}), "resnet1d: "),
    ],
)
def test_what_cannot_be_a_model_is_refused(tmp_path, kind, settings, words):
    with pytest.raises(UsageError, match=words):
        import_model(small_checkpoint(tmp_path), kind, "vetting", settings, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_weights_that_overflow_are_refused(tmp_path):
    checkpoint = small_checkpoint(tmp_path, **{"module.logit.weight": torch.full((1, 8), 1e9)})
    with pytest.raises(UsageError, match=r"module\.logit\.weight holds values too large"):
        import_model(checkpoint, "resnet1d", "vetting", SETTINGS, tmp_path / "model")


def test_fine_tuning_goes_on_from_it(tmp_path):
    """All members begin with its weights, in folds of their own; the result says where they came from."""
    made = import_model(small_checkpoint(tmp_path), "resnet1d", "vetting", SETTINGS, tmp_path / "model")
    base = load_artifact(made.folder)
    lesson = make_lesson(write_npz(tmp_path / "views.npz", make_columns(rows=200)), "vetting", TrainConfig())
    config = TrainConfig(folds=3, seeds=1)
    folds = divide(lesson, config, base)
    assert set(folds.tolist()) == {0, 1, 2}
    jobs = make_jobs(lesson, folds, config, base)
    assert all(same(job.start, base.weights[0]) for job in jobs)


def test_the_command_makes_a_model(tmp_path, capsys):
    torch.save({f"module.{name}": value for name, value in small_weights(1)[0].items()}, tmp_path / "theirs.pt")
    shape = small_record().network | {"channels": [4, 6]}
    settings = [f"{key}={str(value).lower()}" for key, value in shape.items()] + ['inputs.scalars=["period", "snr"]']
    words = [word for setting in settings for word in ("--setting", setting)]
    out = tmp_path / "model"
    assert main(["import-model", str(tmp_path / "theirs.pt"), *words, "--out", str(out)]) == 0
    assert "by name, 0 by shape and order" in capsys.readouterr().out
    assert load_artifact(out).inputs.scalars == ("period", "snr")
    again = tmp_path / "again"
    assert main(["import-model", str(tmp_path / "theirs.pt"), "--like", str(out), "--out", str(again)]) == 0
    assert load_artifact(again).id == load_artifact(out).id
    assert main(["import-model", str(tmp_path / "theirs.pt"), "--out", str(tmp_path / "none")]) == 2
    assert "--setting or --like" in " ".join(capsys.readouterr().err.split())
