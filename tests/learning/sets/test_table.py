"""Sets as Parquet: the same bytes from the same rows, folds by star under any name, and an audit."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.errors import UsageError
from survey.learning.sets.audit import find_problems, mark_copies
from survey.learning.sets.table import divide_stars, drop_copies, open_set, read_set, write_set

SAID = {"configuration": {}, "sources": [], "simulated": "all of it", "seed": 3}


def make_table(rows: int = 60, stars: int = 25, seed: int = 0, **columns: Any) -> pa.Table:
    rng = np.random.default_rng(seed)
    owner = rng.integers(0, stars, rows)
    base = {
        "target_id": [f"TIC {star}" for star in owner],
        "label": np.where(owner % 3 == 0, "PC", "J").tolist(),
        "flat": pa.array(list(rng.normal(size=(rows, 8)).astype(np.float32)), pa.list_(pa.float32())),
        "period": pa.array([None if k % 7 == 0 else 1.0 + k for k in range(rows)], pa.float64()),
    }
    return pa.table(base | columns)


def test_what_is_written_is_read(tmp_path):
    table = make_table()
    digest = write_set(tmp_path / "deep" / "own.parquet", "segments", table, SAID)
    found = read_set(tmp_path / "deep" / "own.parquet", "segments")
    assert (found.sha256, found.kind, found.name) == (digest, "segments", "own.parquet")
    assert found.table.column_names[:4] == ["target_id", "other_names", "label", "fold"]
    assert found.table.select(table.column_names).to_pylist() == table.to_pylist()
    assert found.provenance["labels"] == {
        "J": table["label"].to_pylist().count("J"),
        "PC": 60 - found.provenance["labels"]["J"],
    }
    assert (found.provenance["missions"], found.provenance["simulated"]) == (["tess"], "all of it")
    assert set(found.table["fold"].to_pylist()) == {0, 1, 2, 3, 4}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["own.parquet"]


def test_the_bytes_depend_on_rows_and_provenance_alone(tmp_path):
    table = make_table()
    cut = pa.concat_tables([table.slice(0, 7), table.slice(7, 30), table.slice(37)])
    first = write_set(tmp_path / "a.parquet", "segments", table, SAID)
    assert write_set(tmp_path / "b.parquet", "segments", cut, dict(reversed(SAID.items()))) == first
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert write_set(tmp_path / "c.parquet", "segments", table, SAID | {"seed": 4}) != first


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.sets(st.integers(0, 12), max_size=2)), min_size=12, max_size=60))
def test_no_star_crosses_folds_under_any_of_its_names(named):
    """Any naming of the rows: what shares a name, however far the chain goes, lands in one fold."""
    ids = [f"TIC {star}" for star, _ in named]
    others = [[f"KIC {k}" if k % 2 else f"TIC {k}" for k in sorted(more)] for _, more in named]
    table = pa.table(
        {
            "target_id": ids,
            "other_names": pa.array(others, pa.list_(pa.string())),
            "label": ["PC" if k % 3 == 0 else "J" for k in range(len(ids))],
            "flat": pa.array([[float(k), 1.0] for k in range(len(ids))], pa.list_(pa.float32())),
        }
    )
    try:
        folds = divide_stars(table)
    except UsageError:
        # The chains leave one class, or one star of a class.
        return
    # Walk every chain of names by hand.
    for k in range(len(ids)):
        reached, names = {k}, {ids[k], *others[k]}
        while True:
            joined = {j for j in range(len(ids)) if names & {ids[j], *others[j]}}
            if joined == reached:
                break
            reached, names = joined, names.union(*({ids[j], *others[j]} for j in joined))
        assert len({int(folds[j]) for j in reached}) == 1
    whole = table.append_column("fold", pa.array(folds))
    assert find_problems(whole, SAID, "segments") == []
    assert np.array_equal(folds, divide_stars(table))


@settings(deadline=None)
@given(st.integers(0, 59), st.integers(1, 4))
def test_one_row_in_another_fold_is_found(row, step):
    table = make_table()
    folds = divide_stars(table)
    stars = table["target_id"].to_pylist()
    folds[row] = (folds[row] + step) % 5
    found = find_problems(
        table.append_column("other_names", pa.array([[]] * 60, pa.list_(pa.string()))).append_column(
            "fold", pa.array(folds)
        ),
        SAID,
        "segments",
    )
    crossed = stars.count(stars[row]) > 1
    assert any("cross folds" in problem and stars[row] in problem for problem in found) == crossed


def test_the_other_name_of_a_star_may_be_the_first_name_of_a_row(tmp_path):
    table = make_table(other_names=pa.array([["KIC 5"]] + [[]] * 59, pa.list_(pa.string())))
    names = table["target_id"].to_pylist()
    names[1] = "KIC 5"
    table = table.set_column(0, "target_id", pa.array(names))
    folds = divide_stars(table)
    assert folds[0] == folds[1]
    folds[1] = (folds[0] + 1) % 5
    with pytest.raises(UsageError, match="cross folds"):
        write_set(tmp_path / "own.parquet", "segments", table.append_column("fold", pa.array(folds)), SAID)


def column(name: str, change: Any) -> Any:
    """Spoils a column: `change` maps the list of its values."""

    def spoil(table: pa.Table) -> pa.Table:
        kind = table.schema.field(name).type
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.array(change(table[name].to_pylist()), kind))

    return spoil


def put(row: int, value: Any) -> Any:
    return lambda values: [value if k == row else old for k, old in enumerate(values)]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda table: table.drop_columns(["label"]), "own.parquet: no column label"),
        (lambda table: table.drop_columns(["target_id", "label"]), "no column target_id, label"),
        (lambda table: table.slice(0, 0), "no rows"),
        (column("label", put(4, "QQ")), "label 'QQ' in row 4: known are APC"),
        (column("label", put(4, "2")), "label '2' in row 4"),
        (column("label", put(4, None)), "label None in row 4"),
        (column("label", lambda values: ["J"] * len(values)), "one class only"),
        (column("label", lambda values: ["PC", *["J"] * 59]), "a class has one star only"),
        (column("target_id", put(2, "")), "no star in row 2"),
        (column("flat", put(5, [np.nan] * 8)), "flat holds NaN or infinity in row 5"),
        (column("flat", put(5, [np.inf] * 8)), "flat holds NaN or infinity in row 5"),
        (column("flat", put(5, [1.0] * 7)), "flat has different lengths: 7, 8"),
        (column("flat", put(5, [1.0] * 7 + [None])), "flat holds nulls"),
        (column("flat", put(5, None)), "flat holds nulls"),
        (column("period", put(5, np.nan)), "period holds NaN or infinity in row 5; what was not measured is null"),
        (column("flat", lambda values: [values[1], *values[1:]]), "1 copies of other rows; 0 and 1 are the same"),
    ],
)
def test_what_is_unfit_is_refused_and_nothing_is_written(tmp_path, spoil, words):
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        write_set(tmp_path / "own.parquet", "segments", spoil(make_table()), SAID)
    assert list(tmp_path.iterdir()) == []


def retype(name: str, kind: pa.DataType, table: pa.Table) -> pa.Table:
    return table.append_column(name, pa.array([["1", "2"]] * len(table), pa.list_(pa.string())).cast(kind))


@pytest.mark.parametrize(
    ("kind", "columns", "words"),
    [
        ("views", {}, "no column global_view, which a set of views is learnt from; no column local_view"),
        (
            "views",
            {"global_view": pa.list_(pa.string())},
            "global_view holds list<.*string>, not lists of float; no",
        ),
        ("views", {"local_view": pa.list_(pa.float64())}, "local_view holds list<.*double>, not lists of float"),
        ("views", {"secondary_view": pa.list_(pa.int32())}, "secondary_view holds list<.*int32>, not lists of float"),
        ("segments", {"raw": pa.list_(pa.float64())}, "raw holds list<.*double>, not lists of float"),
        ("periods", {"profile": pa.list_(pa.float32())}, "no column weights, which a set of periods is learnt from"),
        ("periods", {"weights": pa.list_(pa.float32())}, "weights holds list<.*float>, not lists of double"),
        ("pixels", {}, "no column image, which a set of pixels is learnt from"),
    ],
)
def test_inputs_that_lack_or_are_of_another_type_are_refused(tmp_path, kind, columns, words):
    table = make_table()
    for name, type_ in columns.items():
        table = retype(name, type_, table)
    with pytest.raises(UsageError, match=words):
        write_set(tmp_path / "own.parquet", kind, table, SAID)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lacking", list(SAID))
def test_a_set_says_where_it_comes_from(tmp_path, lacking):
    said = {name: value for name, value in SAID.items() if name != lacking}
    with pytest.raises(UsageError, match=f"where it comes from: no {lacking} in the provenance"):
        write_set(tmp_path / "own.parquet", "segments", make_table(), said)


def test_folds_that_a_set_brings_are_kept(tmp_path):
    folds = pa.array(divide_stars(make_table(), seed=9), pa.uint8())
    write_set(tmp_path / "own.parquet", "segments", make_table().append_column("fold", folds), SAID)
    assert read_set(tmp_path / "own.parquet").table["fold"].to_pylist() == folds.to_pylist()
    zeros = pa.array(np.zeros(60, np.uint8))
    with pytest.raises(UsageError, match="folds 0: they must be"):
        write_set(tmp_path / "one.parquet", "segments", make_table().append_column("fold", zeros), SAID)


def test_few_stars_make_few_folds():
    table = make_table(rows=40, stars=8)
    assert set(divide_stars(table)) == {0, 1, 2}, "stars 0, 3 and 6 are the positive ones"


def test_copies_under_two_labels_are_told_apart(tmp_path):
    table = make_table()
    values = table["flat"].to_pylist()
    labels = table["label"].to_pylist()
    one = labels.index("PC")
    other = labels.index("J")
    values[other] = values[one]
    table = table.set_column(2, "flat", pa.array(values, pa.list_(pa.float32())))
    with pytest.raises(UsageError, match="are the same under the labels"):
        write_set(tmp_path / "own.parquet", "segments", table, SAID)
    assert drop_copies(table)[1] == 0, "which label is right nobody knows"


def test_copies_are_dropped_where_they_agree():
    table = make_table()
    twice = pa.concat_tables([table, table.slice(0, 4)])
    assert mark_copies(twice)[-4:].tolist() == [0, 1, 2, 3]
    kept, dropped = drop_copies(twice)
    assert (kept.to_pylist(), dropped) == (table.to_pylist(), 4)


def test_a_file_that_was_changed_by_hand_is_audited_again(tmp_path):
    path = tmp_path / "own.parquet"
    write_set(path, "segments", make_table(), SAID)
    table = pq.read_table(path)
    folds = np.arange(60, dtype=np.uint8) % 5
    pq.write_table(table.set_column(3, "fold", pa.array(folds)), path)
    with pytest.raises(UsageError, match=r"own\.parquet: stars cross folds"):
        read_set(path, "segments")
    assert open_set(path).provenance["seed"] == 3
    gone = pa.array([None, *folds[1:].tolist()], pa.uint8())
    pq.write_table(table.set_column(3, "fold", gone), path)
    with pytest.raises(UsageError, match=r"own\.parquet: no fold in row 0$"):
        read_set(path, "segments")


def test_what_is_no_set_is_refused(tmp_path):
    path = tmp_path / "own.parquet"
    with pytest.raises(UsageError, match=r"cannot read a set from .*: no such file"):
        read_set(path)
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(UsageError, match=r"own\.parquet: not a readable Parquet file"):
        read_set(path)
    with pytest.raises(UsageError, match="`survey data pixels` makes sets"):
        read_set(path, "pixels")
    pq.write_table(make_table(), path)
    with pytest.raises(UsageError, match=r"own\.parquet: no labelled set of this survey"):
        read_set(path)
    said = {b"survey.kind": b"dreams", b"survey.provenance": json.dumps(SAID).encode()}
    pq.write_table(make_table().replace_schema_metadata(said), path)
    with pytest.raises(UsageError, match="a set of 'dreams'; there are views"):
        read_set(path)
    write_set(path, "segments", make_table(), SAID)
    with pytest.raises(UsageError, match="a set of segments, where one of views is needed"):
        read_set(path, "views")


def test_places_that_cannot_be_written_are_refused_before_anything_is_made(tmp_path):
    for place, words in ((tmp_path / "own.csv", "end its name with .parquet"), (tmp_path / "d.parquet", "is a folder")):
        (tmp_path / "d.parquet").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match=words):
            write_set(place, "segments", make_table(), SAID)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="no folder that can be written to"):
        write_set(tmp_path / "file" / "own.parquet", "segments", make_table(), SAID)
