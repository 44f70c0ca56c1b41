"""Labelled views: every form that is read, and every fault that is named."""

import numpy as np
import pytest

from survey.errors import UsageError
from survey.learning.sets.views import TASKS, read_views
from tests.learning.view_files import GLOBAL, LOCAL, make_columns, write_csv, write_npz


def test_the_survey_s_own_form(tmp_path):
    columns = make_columns()
    views = read_views(write_npz(tmp_path / "own.npz", columns | {"view_spec": "mine"}))
    assert (len(views), views.global_view.shape[1], views.local_view.shape[1]) == (160, GLOBAL, LOCAL)
    assert views.secondary_view is None
    assert views.view_spec == "mine"
    assert views.stars[0] == f"TIC {columns['tic_id'][0]}"
    assert sorted(views.scalars) == ["duration_h", "period", "snr"]
    assert np.array_equal(views.labels(TASKS["vetting"]), columns["label"] == "PC")


def test_a_csv_of_2048_and_256_bins(tmp_path):
    views = read_views(write_csv(tmp_path / "own.csv", tic_id=[7] * 6 + [8] * 6, centroid_offset=[1.5] * 11 + [""]))
    assert (views.global_view.shape, views.local_view.shape) == ((12, 2048), (12, 256))
    assert views.labels(TASKS["triage"]).tolist() == [False, True] * 6
    assert (views.stars[0], views.stars[-1]) == ("TIC 7", "TIC 8")
    assert views.scalars["centroid_offset"][0] == 1.5
    assert np.isnan(views.scalars["centroid_offset"][-1])


def test_a_csv_of_paths(tmp_path):
    rng = np.random.default_rng(2)
    for k in range(4):
        views = {"global_view": rng.normal(size=64), "local_view": rng.normal(size=32)}
        np.savez(tmp_path / f"{k}.npz", **views)
    table = tmp_path / "own.csv"
    table.write_text("path,label,star\n" + "".join(f"{k}.npz,{k % 2},TIC {k}\n" for k in range(4)))
    views = read_views(table)
    assert (views.global_view.shape, views.local_view.shape) == ((4, 64), (4, 32))
    assert views.stars.tolist() == [f"TIC {k}" for k in range(4)]
    np.savez(tmp_path / "2.npz", global_view=np.zeros(65), local_view=np.zeros(32))
    with pytest.raises(UsageError, match="global_view has different lengths: 64, 65"):
        read_views(table)
    (tmp_path / "2.npz").unlink()
    with pytest.raises(UsageError, match=r"2\.npz: not a readable npz"):
        read_views(table)


def test_without_a_star_s_name_the_reader_is_told(tmp_path):
    views = read_views(write_csv(tmp_path / "own.csv"))
    assert len(set(views.stars)) == 12
    assert "No column names the star" in views.notes[0]


def test_exact_copies_count_once(tmp_path):
    columns = make_columns(rows=20)
    twice = {name: np.concatenate([values, values[:3]]) for name, values in columns.items()}
    views = read_views(write_npz(tmp_path / "own.npz", twice))
    assert (len(views), views.copies) == (20, 3)
    assert np.array_equal(views.global_view, columns["global_view"])


def test_copies_with_different_labels_are_refused(tmp_path):
    columns = make_columns(rows=20)
    columns["global_view"][5], columns["local_view"][5] = columns["global_view"][2], columns["local_view"][2]
    columns["label"][[2, 5]] = ["PC", "J"]
    with pytest.raises(UsageError, match="rows 2 and 5 have the same views but labels PC and J"):
        read_views(write_npz(tmp_path / "own.npz", columns))


def change(**values):
    return lambda columns: columns | values


def drop(name):
    return lambda columns: {key: value for key, value in columns.items() if key != name}


def broken_view(columns):
    columns["local_view"][3, 4] = np.nan
    return columns


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (drop("label"), "no label; it holds duration_h, global_view"),
        (drop("local_view"), "no local_view"),
        (change(label=np.arange(160)), "label 2 in row 2: labels are 0 or 1"),
        (change(label=np.array(["QQ"] * 160)), "label 'QQ' in row 0: known are 0, 1, APC, CP"),
        (change(label=np.zeros(159)), "160 rows of global_view, but 159 labels"),
        (change(period=np.ones(3)), "3 values of period, but 160 labels"),
        (change(tic_id=np.ones(3, int)), "3 values of stars, but 160 labels"),
        (change(global_view=np.zeros((160, 8), np.float32)), "global_view has 8 bins"),
        (change(global_view=np.zeros(160, np.float32)), "global_view must be numbers of shape"),
        (change(period=np.array(["long"] * 160)), "period holds something else than numbers"),
        (change(secondary_view=np.zeros((160, LOCAL + 1), np.float32)), "secondary_view must have as many bins"),
        (broken_view, "local_view holds NaN or infinity in 1 rows"),
        (change(label=np.array([None] * 160, object)), "not a readable npz of plain arrays"),
    ],
)
def test_what_is_wrong_with_an_npz_is_said(tmp_path, spoil, words):
    with pytest.raises(UsageError, match=words):
        read_views(write_npz(tmp_path / "own.npz", spoil(make_columns())))


@pytest.mark.parametrize(
    ("find", "put", "words"),
    [
        ("global_7,", "", "ragged|columns|not a readable CSV"),
        ("global_7,", "other,", "2047 columns global_., but no global_7"),
        ("label", "class", "no label"),
        ("local_", "close_", "no columns local_0"),
    ],
)
def test_what_is_wrong_with_a_csv_is_said(tmp_path, find, put, words):
    table = write_csv(tmp_path / "own.csv")
    table.write_text(table.read_text().replace(find, put))
    with pytest.raises(UsageError, match=words):
        read_views(table)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x93NUMPY"])
def test_what_is_no_npz_is_refused(tmp_path, content):
    path = tmp_path / "own.npz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"own\.npz: not a readable npz"):
        read_views(path)
    with pytest.raises(UsageError, match=r"cannot read views from .*none\.npz: no such file"):
        read_views(tmp_path / "none.npz")


def test_one_class_only_is_refused(tmp_path):
    views = read_views(write_npz(tmp_path / "own.npz", make_columns() | {"label": np.array(["J"] * 160)}))
    with pytest.raises(UsageError, match=r"one class only for triage .*: all labels are among J"):
        views.labels(TASKS["triage"])


def astronet_columns(rows=30):
    rng = np.random.default_rng(5)
    return {
        "tic_id": np.arange(rows),
        "label": np.array(["PC", "EB", "J"] * (rows // 3)),
        "period": np.full(rows, 2.0),
        "duration": np.full(rows, 0.1),
        "sn": np.full(rows, 12.0),
        "transit_depth": np.full(rows, -51882.87),
        "global_view": rng.normal(size=(rows, 201)).astype(np.float32),
        "local_view": rng.normal(size=(rows, 61)).astype(np.float32),
        "secondary_view": rng.normal(size=(rows, 61)).astype(np.float32),
    }


def test_the_layout_of_yu_et_al(tmp_path):
    views = read_views(write_npz(tmp_path / "a.npz", astronet_columns()))
    assert views.view_spec == "triage-201-61"
    assert views.secondary_view is not None
    # Days to hours; depths without resolution stay out.
    assert views.scalars["duration_h"][0] == pytest.approx(2.4)
    assert sorted(views.scalars) == ["duration_h", "period", "snr"]
    assert views.labels(TASKS["triage"]).sum() == 20
    assert views.labels(TASKS["vetting"]).sum() == 10


def test_the_layout_of_nigraha(tmp_path):
    columns = astronet_columns()
    for name in ("secondary_view", "sn", "transit_depth"):
        del columns[name]
    light = np.ones((30, 81), np.float32)
    light += np.random.default_rng(1).normal(0, 0.1, light.shape)
    light[:, 40] = -1
    columns |= {
        "local_view": light,
        "odd_even_view": np.zeros((30, 162), np.float32),
        "duration": np.full(30, 2.4),
        "depth": np.full(30, 0.99),
        "snr": np.full(30, 12.0),
    }
    views = read_views(write_npz(tmp_path / "n.npz", columns))
    assert views.view_spec is None
    assert views.scalars["depth_ppm"][0] == pytest.approx(10_000)
    assert views.scalars["duration_h"][0] == pytest.approx(2.4)
    assert views.local_view[:, 40].tolist() == [-1] * 30
    assert abs(np.median(views.local_view)) < 0.02


def test_the_real_files(real_data):
    views = read_views(real_data / "views" / "astronet_vetting_views.npz")
    assert (len(views), views.copies, len(np.unique(views.stars))) == (12_786, 439, 11_905)
    assert views.labels(TASKS["vetting"]).mean() == pytest.approx(0.032, abs=0.002)
    assert 2 < np.median(views.scalars["duration_h"]) < 5
    nigraha = read_views(real_data / "views" / "nigraha_views.npz")
    assert (len(nigraha), len(np.unique(nigraha.stars))) == (5195, 2700)
    assert abs(np.median(nigraha.global_view)) < 0.05
    assert 300 < np.median(nigraha.scalars["depth_ppm"]) < 5000
