"""What is said of files: one line a row, or JSON; and what is refused."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from survey.cli import main
from survey.errors import UsageError
from survey.learning.artifact import load_artifact
from survey.learning.calibrate import Calibration
from survey.learning.pixels import score_stacks
from survey.learning.predict import predict
from tests.learning.models import write_small
from tests.learning.pixel_models import draw_stack, write_pixel_model
from tests.learning.view_files import GLOBAL, LOCAL


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "pixels"
    write_pixel_model(folder)
    return folder


def write_stack(path: Path, seed: int = 0, **form: object) -> Path:
    np.save(path, draw_stack(np.random.default_rng(seed), **form))  # type: ignore[arg-type]
    return path


def test_a_line_as_people_know_it(model, tmp_path, capsys):
    path = write_stack(tmp_path / "pixdiff_555_clean.npy")
    assert main(["predict", str(model), str(path)]) == 0
    said = capsys.readouterr().out.strip()
    found = re.fullmatch(r"pixdiff_555_clean\.npy -> p_pixel = (\d\.\d{4}) \((ON TARGET|FALSE POSITIVE)\)", said)
    assert found
    (one,) = predict(load_artifact(model), path)
    assert found[1] == f"{one.probability:.4f}"
    assert one.threshold == 0.45
    # The threshold decides the word, and nothing else.
    for threshold, word in ((0.0, "ON TARGET"), (1.0, "FALSE POSITIVE")):
        assert main(["predict", str(model), str(path), "--threshold", str(threshold)]) == 0
        assert capsys.readouterr().out.strip() == f"pixdiff_555_clean.npy -> p_pixel = {found[1]} ({word})"


def test_a_file_is_scored_as_the_sweep_scores_its_stack(model, tmp_path):
    stacks = np.array([draw_stack(np.random.default_rng(k), k) for k in range(3)])
    artifact = load_artifact(model)
    together = score_stacks(artifact, np.array(["TIC 1", "TIC 2", "TIC 3"]), stacks)
    for k, stack in enumerate(stacks):
        np.save(tmp_path / f"pixdiff_{700 + k}.npy", stack)
        (one,) = predict(artifact, tmp_path / f"pixdiff_{700 + k}.npy")
        assert (one.score, one.probability) == (together.score[k], together.probability[k])
    assert len(set(together.score.tolist())) == 3


def test_a_star_that_was_trained_on_is_scored_by_others(model, tmp_path, capsys):
    known = write_stack(tmp_path / "pixdiff_9967701_clean.npy")
    other = write_stack(tmp_path / "pixdiff_5.npy")
    assert main(["predict", str(model), str(known), str(other), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["star"], first["seen"], second["seen"]) == ("KIC 9967701", True, False)
    assert first["score"] != second["score"]
    assert first["model_id"] == load_artifact(model).id
    assert main(["predict", str(model), str(known)]) == 0
    assert "scored by members that never saw it" in capsys.readouterr().out


def test_images_unlike_the_training_set_are_marked(model, tmp_path, capsys):
    image = np.zeros((1, 24, 24))
    image[0, 3, 3] = 1e4
    np.save(tmp_path / "spike.npy", image)
    assert main(["predict", str(model), str(tmp_path / "spike.npy")]) == 0
    assert "unlike the training set in image_pixels" in capsys.readouterr().out


def test_a_stack_without_light_is_scored_in_a_sweep_and_marked(model):
    dark = np.zeros((1, 32, 24, 24), np.float32)
    found = score_stacks(load_artifact(model), np.array(["TIC 1"]), dark)
    assert np.isfinite(found.probability).all()
    assert found.outside == (("image_peak", "image_pixels"),)
    assert len(score_stacks(load_artifact(model), np.array([], str), dark[:0]).score) == 0


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones((32, 3, 3)), "3 x 3 pixels"),
        (np.ones((32, 24, 24)), "alike"),
        (np.full((32, 24, 24), np.nan), "no pixel is a number"),
        (np.ones(40), "shape"),
        (np.array([{"a": 1}], dtype=object), "pickle"),
    ],
    ids=["3x3", "constant", "nan", "flat", "pickle"],
)
def test_what_is_no_difference_image_is_refused_before_anything_is_said(model, tmp_path, capsys, array, words):
    good = write_stack(tmp_path / "good.npy")
    np.save(tmp_path / "odd.npy", array, allow_pickle=True)
    assert main(["predict", str(model), str(good), str(tmp_path / "odd.npy")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert "odd.npy" in said.err


def test_a_file_that_is_not_there_is_named(model, tmp_path, capsys):
    assert main(["predict", str(model), str(tmp_path / "none.npy")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_model_that_was_never_calibrated_gives_scores(tmp_path):
    write_pixel_model(
        tmp_path / "raw", calibrated=False, calibration=Calibration(method="temperature", temperature=1.0)
    )
    (one,) = predict(load_artifact(tmp_path / "raw"), write_stack(tmp_path / "a.npy"))
    assert (one.probability, one.spread, one.word) == (None, None, None)
    assert np.isfinite(one.score)


def views_of(rows: int, **more: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "global_view": rng.normal(size=(rows, GLOBAL)).astype(np.float32),
        "local_view": rng.normal(size=(rows, LOCAL)).astype(np.float32),
    } | more


def test_views_need_no_labels_and_keep_their_rows(tmp_path, capsys):
    write_small(tmp_path / "small")
    views = views_of(3, tic_id=np.array([7, 7, 100]))
    views["global_view"][1], views["local_view"][1] = views["global_view"][0], views["local_view"][0]
    np.savez(tmp_path / "views.npz", **views)
    assert main(["predict", str(tmp_path / "small"), str(tmp_path / "views.npz")]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 3
    assert re.match(
        r"views\.npz row 0 \(TIC 7\) -> p_vetting = \d\.\d{4} \((PLANET CANDIDATE|FALSE POSITIVE)\)", lines[0]
    )
    assert lines[0].replace("row 0", "row 1") == lines[1]


def test_views_of_another_length_and_models_of_another_kind_are_refused(model, tmp_path):
    write_small(tmp_path / "small")
    np.savez(tmp_path / "views.npz", **(views_of(2) | {"local_view": np.zeros((2, LOCAL + 1), np.float32)}))
    with pytest.raises(UsageError, match=r"views\.npz: local_view has"):
        predict(load_artifact(tmp_path / "small"), tmp_path / "views.npz")
    with pytest.raises(UsageError, match="reads no pixels"):
        score_stacks(load_artifact(tmp_path / "small"), np.array(["TIC 1"]), np.ones((1, 32, 24, 24)))
    np.savez(tmp_path / "good.npz", **views_of(2))
    with pytest.raises(UsageError, match="several arrays"):
        predict(load_artifact(model), tmp_path / "good.npz")
