"""Images from stacks, manifests, lessons; and files that nobody should have made."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from survey.cli import main
from survey.config import TrainConfig
from survey.errors import UsageError
from survey.learning.sets.pixels import (
    brightest_distance,
    image_numbers,
    make_lesson,
    manifest_rows,
    match_stacks,
    read_manifest,
    read_stack,
    standard_image,
    standard_images,
    write_manifest,
    write_pixels,
)
from survey.learning.sets.table import read_set
from tests.learning.pixel_models import draw_stack

PROVENANCE = {"configuration": {}, "sources": [], "seed": 0}


def write_stacks(folder: Path, count: int = 24) -> list[Path]:
    """pixdiff_KEPID.npy, every other with its source on the target."""
    folder.mkdir(exist_ok=True)
    paths = []
    for k in range(count):
        stack = draw_stack(np.random.default_rng(k), 4 * (k % 2), shape=(8, 9 + k % 3, 11))
        paths.append(folder / f"pixdiff_{1_000_000 + k}.npy")
        np.save(paths[-1], stack)
    return paths


def write_labels(path: Path, count: int = 24, words: tuple[str, str] = ("CP", "FP"), extra: str = "") -> Path:
    rows = [f"{1_000_000 + k},{words[k % 2]}\n" for k in range(count)]
    path.write_text("kepid,label\n" + "".join(rows) + extra)
    return path


# Images


@pytest.mark.parametrize("shape", [(32, 24, 24), (1, 4, 6), (5, 5, 5), (7, 11, 11), (3, 9, 30), (2, 40, 24)])
def test_an_image_is_the_median_in_its_standard_form(shape):
    image = standard_image(draw_stack(np.random.default_rng(0), shape=shape))
    assert (image.shape, image.dtype) == ((24, 24), np.float32)
    assert image.mean() == pytest.approx(0, abs=1e-5)
    assert image.std() == pytest.approx(1, rel=1e-5)
    assert brightest_distance(image[None]).tolist() == [0]


def test_the_median_forgets_one_bad_frame():
    stack = draw_stack(np.random.default_rng(0), shape=(9, 11, 11))
    spoilt = stack.copy()
    spoilt[4, 2, 2] = 1e6
    plain, other = standard_image(stack), standard_image(spoilt)
    assert np.abs(plain - other).max() < 0.5


def test_an_image_does_not_hang_on_its_unit():
    stack = draw_stack(np.random.default_rng(0), shape=(5, 11, 11)).astype(np.float64)
    np.testing.assert_allclose(standard_image(stack), standard_image(1e4 * stack + 37), atol=1e-5)


def test_pixels_that_are_no_numbers_were_not_observed():
    stack = draw_stack(np.random.default_rng(0), shape=(5, 11, 11))
    stack[:, 0, 3] = np.nan
    stack[2, 5, 5] = np.inf
    stack[3, 5, 5] = 1e30
    image = standard_image(stack)
    assert np.isfinite(image).all()
    # A pixel without any number counts as the mean, like those beside the cutout.
    assert image[12 - 5, 12 - 2] == image[0, 0]


def test_many_stacks_are_as_each_alone():
    stacks = np.array([draw_stack(np.random.default_rng(k)) for k in range(3)])
    stacks[1] = 4.0
    found = standard_images(stacks)
    assert np.array_equal(found[0], standard_image(stacks[0]))
    assert not found[1].any()
    assert standard_images(stacks[:0]).shape == (0, 24, 24)


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        (np.ones((32, 3, 3)), "3 x 3 pixels: sides of 4 to 1024"),
        (np.ones((0, 8, 8)), "0 images"),
        (np.ones(5), r"shape \(5,\)"),
        (np.ones((2, 2, 8, 8)), "difference images are numbers"),
        (np.full((4, 8, 8), "a"), "difference images are numbers"),
        (np.full((4, 8, 8), 7.25), "alike"),
        (1e-310 * np.arange(64.0).reshape(1, 8, 8), "alike"),
        (np.full((4, 8, 8), np.nan), "no pixel is a number"),
    ],
    ids=["3x3", "no frames", "one axis", "four axes", "words", "constant", "denormal", "nan"],
)
def test_what_is_no_image_is_refused_by_name(stack, words):
    with pytest.raises(UsageError, match=f"^odd.npy: .*{words}"):
        standard_image(stack, "odd.npy")


def test_simple_numbers_know_where_the_source_is():
    rng = np.random.default_rng(0)
    images = np.array([standard_image(draw_stack(rng, row, 0)) for row in (0, 3)])
    numbers = image_numbers(images)
    assert numbers[:, 0].tolist() == [0, 3]
    assert numbers[:, 1] == pytest.approx([0, 3], abs=0.4)
    assert numbers[0, 3] > numbers[1, 3]


# Files


def test_a_pickle_is_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    np.save(tmp_path / "objects.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    (tmp_path / "bare.npy").write_bytes(pickle.dumps(Trap()))
    for name in ("objects.npy", "bare.npy"):
        with pytest.raises(UsageError, match=f"{name}: not a readable .npy"):
            read_stack(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_files_that_are_no_stacks_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_stack(tmp_path / "none.npy")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.savez(tmp_path / "several.npy", a=np.ones(3))
    (tmp_path / "several.npy.npz").rename(tmp_path / "several.npy")
    np.save(tmp_path / "short.npy", np.ones((8, 8, 8)))
    (tmp_path / "short.npy").write_bytes((tmp_path / "short.npy").read_bytes()[:600])
    # A heading that promises petabytes takes none.
    (tmp_path / "liar.npy").write_bytes(
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 100000, 100000), }".ljust(118)
    )
    for name, words in (("empty", "not a readable"), ("several", "several"), ("short", "not a"), ("liar", "not a")):
        with pytest.raises(UsageError, match=words):
            read_stack(tmp_path / f"{name}.npy")


def test_stacks_are_converted_all_or_none(tmp_path):
    paths = write_stacks(tmp_path / "std", 3)
    assert main(["data", "convert-pixels", *map(str, paths), "--out", str(tmp_path / "clean")]) == 0
    names = sorted(path.name for path in (tmp_path / "clean").iterdir())
    assert names == [f"pixdiff_{1_000_000 + k}_clean.npy" for k in range(3)]
    clean = np.load(tmp_path / "clean" / names[0])
    assert clean.shape == (1, 24, 24)
    np.testing.assert_allclose(standard_image(clean), standard_image(np.load(paths[0])), atol=1e-5)
    np.save(paths[1], np.ones((32, 3, 3)))
    assert main(["data", "convert-pixels", *map(str, paths), "--out", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "other").exists()


# Manifests


def test_labels_and_a_folder_become_a_manifest_and_a_set(tmp_path, capsys):
    write_stacks(tmp_path / "clean")
    labels = write_labels(tmp_path / "residual_manifest.csv", extra="77,FP\n")
    manifest = tmp_path / "lists" / "pixel_manifest.csv"
    assert main(["data", "pixel-manifest", str(labels), str(tmp_path / "clean"), "--out", str(manifest)]) == 0
    assert "24 stacks" in capsys.readouterr().out
    out = tmp_path / "pixels.parquet"
    assert main(["data", "pixels", "--manifest", str(manifest), "--out", str(out)]) == 0
    found = read_set(out, "pixels")
    assert found.provenance["simulated"] == ""
    assert found.provenance["labels"] == {"CP": 12, "FP": 12}
    row = found.table.slice(1, 1).to_pylist()[0]
    assert (row["target_id"], row["label"], row["origin"]) == ("KIC 1000001", "FP", "file")
    expected = standard_image(np.load(tmp_path / "clean" / "pixdiff_1000001.npy"))
    np.testing.assert_array_equal(np.float32(row["image"]).reshape(24, 24), expected)


def test_a_manifest_comes_back_as_it_was_written(tmp_path):
    write_stacks(tmp_path / "clean", 4)
    rows = match_stacks(write_labels(tmp_path / "labels.csv", 4, ("1", "0.0")), tmp_path / "clean")
    write_manifest(tmp_path / "manifest.csv", rows)
    again = read_manifest(tmp_path / "manifest.csv")
    assert [(row["target_id"], row["label"]) for row in again] == [(row["target_id"], row["label"]) for row in rows]
    assert [row["label"] for row in rows] == ["1", "0", "1", "0"]
    assert all(one["file"].samefile(other["file"]) for one, other in zip(again, rows, strict=True))
    assert len(manifest_rows(again)) == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kepid,file\n1000000,clean/pixdiff_1000000.npy\n", "no column label"),
        ("label,file\n1,clean/pixdiff_1000000.npy\n", "no column one of target_id, kepid"),
        ("kepid,label\n1000000,1\n", "no column file or path"),
        ("kepid,label,file\n1000000,2,clean/pixdiff_1000000.npy\n", "label '2' in row 0: known are"),
        ("kepid,label,file\n1000000,,clean/pixdiff_1000000.npy\n", "label '' in row 0"),
        ("kepid,label,file\n,1,clean/pixdiff_1000000.npy\n", "row 0 names no star"),
        ("kepid,label,file\n1000000,1,clean/none.npy\n", "1 of 1 files are not there"),
        ("kepid,label,file\n", "no rows"),
        ("", "not a readable CSV"),
    ],
)
def test_a_manifest_that_lacks_anything_is_refused(tmp_path, text, words):
    write_stacks(tmp_path / "clean", 1)
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_manifest(tmp_path / "manifest.csv")


def test_labels_that_fit_no_stack_or_each_other_are_refused(tmp_path):
    write_stacks(tmp_path / "clean", 2)
    (tmp_path / "other.csv").write_text("kepid,label\n5,CP\n")
    with pytest.raises(UsageError, match=r"none of its 2 \.npy files"):
        match_stacks(tmp_path / "other.csv", tmp_path / "clean")
    with pytest.raises(UsageError, match="KIC 1000000 is CP in one row and FP in another"):
        match_stacks(write_labels(tmp_path / "labels.csv", 2, extra="1000000,FP\n"), tmp_path / "clean")
    with pytest.raises(UsageError, match="cannot read"):
        match_stacks(tmp_path / "none.csv", tmp_path / "clean")


@pytest.mark.parametrize("arguments", [[], ["--manifest", "none.csv"], ["--pixels", "."], ["--run", "none"]])
def test_a_set_of_nothing_is_refused_and_not_begun(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "pixels", "--out", "pixels.parquet", *arguments]) == 2
    assert list(tmp_path.iterdir()) == []


# Lessons


def make_rows(count: int = 40) -> list[dict]:
    rows = []
    for k in range(count):
        stack = draw_stack(np.random.default_rng(k), 3 * (k % 2))
        row = {"target_id": f"KIC {k // 2}", "label": "01"[(k + 1) % 2], "image": standard_image(stack)}
        rows.append(row | {"origin": "injected" if k % 4 < 2 else "simulated", "centroid_offset": 3.0 * (k % 2)})
    return rows


def test_a_lesson_holds_images_numbers_and_a_word_on_what_is_simulated(tmp_path):
    rows = make_rows()
    rows[5]["centroid_offset"] = None
    write_pixels(tmp_path / "pixels.parquet", rows, PROVENANCE)
    lesson = make_lesson(tmp_path / "pixels.parquet", "pixels", TrainConfig())
    assert lesson.examples.inputs[0].shape == (40, 1, 24, 24)
    assert lesson.labels.sum() == lesson.examples.targets.sum() == 20
    assert lesson.simulated == "dips in simulated pixels of simulated stars; dips put into real target pixel files"
    assert lesson.table.shape == (40, 10)
    assert np.isnan(lesson.table).sum() == 41  # no significance at all, and one offset
    examples, numbers = lesson.blind
    assert examples is lesson.examples
    assert numbers.shape == (40, 8)
    assert lesson.facts["origins"] == {"injected": 20, "simulated": 20}
    assert set(lesson.folds.tolist()) == {0, 1, 2, 3, 4}


def test_copies_are_dropped_and_contradictions_refused(tmp_path):
    rows = make_rows(20)
    write_pixels(tmp_path / "pixels.parquet", [*rows, rows[3]], PROVENANCE)
    found = read_set(tmp_path / "pixels.parquet", "pixels")
    assert (len(found.table), found.provenance["copies_dropped"]) == (20, 1)
    with pytest.raises(UsageError):
        write_pixels(tmp_path / "bad.parquet", [*rows, rows[3] | {"label": "1"}], PROVENANCE)
    assert not (tmp_path / "bad.parquet").exists()
