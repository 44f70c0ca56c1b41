"""Uploads read in a child process: the same rows as in process, hostile files refused, nothing left behind."""

import ctypes
import gc
import gzip
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest

from serve import reader as serve_reader
from serve.reader import LONGEST_NAME, Limits, Upload, UploadReader, clean_name
from survey import schema
from survey.config import Config, load
from survey.errors import BadFile, FetchFailed, StarError, UsageError
from survey.runs.stages import FETCHED, STAGES, VETTED, examine, make_pixels, targets_table
from survey.stars.products import recognise_product
from survey.stars.sources import FileSource
from survey.stars.targets import Target
from tests.conftest import ROOT
from tests.serve.hostile import NAMES, REFUSED, STRANGE, Hostile, light_text
from tests.stars.fits_files import KEPLER_NAME, TESS_NAME, fits_bytes, kepler_bytes, spoc_bytes

CONFIG = load()
FETCH = [stage for stage in STAGES if stage.name == "fetch"]
K2_NAME = "ktwo201437844-c05_llc.fits"
K2_BYTES = kepler_bytes(kic=201437844, MISSION="K2", OBJECT="EPIC 201437844", CAMPAIGN=5)
LIGHT = Upload("a.csv", light_text())


@pytest.fixture(scope="module")
def reader() -> Iterator[UploadReader]:
    # A shared machine is slow at times.
    with UploadReader(Limits(seconds=300), workers=4) as opened:
        yield opened


def fetch_in_process(path: Path, config: Config = CONFIG, **said: Any) -> pa.Table:
    source = FileSource(path, config.fetch, **said)
    return examine(next(iter(source.targets(None))), config, source, FETCH)


def same_row(one: pa.Table, other: pa.Table) -> bool:
    """Equal to the bit, schemas too, but for the seconds that the stages took."""
    one, other = one.drop_columns(["trace"]), other.drop_columns(["trace"])
    return bool(one.schema.equals(other.schema, check_metadata=True)) and as_bytes(one) == as_bytes(other)


def as_bytes(table: pa.Table) -> bytes:
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return file.getvalue()


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children_of(reader: UploadReader) -> list[psutil.Process]:
    return psutil.Process(reader.start()).children(recursive=True)


# ---- the same rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (TESS_NAME, spoc_bytes(20_000), {}),
        (KEPLER_NAME, kepler_bytes(), {}),
        (K2_NAME, K2_BYTES, {}),
        (TESS_NAME + ".gz", gzip.compress(spoc_bytes(5000)), {}),
        ("my star.csv", light_text(), {}),
        ("TIC 77 again.txt.gz", gzip.compress(light_text().replace(b",", b" ")), {}),
        ("x.csv", light_text(), {"mission": "kepler", "time_zero": 2454833.0}),
        ("short.csv", light_text(50), {}),
    ],
)
def test_the_row_is_that_of_the_file_in_process(reader, tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    expected = fetch_in_process(path, **said)
    got = reader.run(Upload(name, content, **said), CONFIG, "fetch", None)
    assert same_row(got, expected)
    assert got["status"].to_pylist() == ["too_short" if name == "short.csv" else "ok"]


def test_the_configuration_counts(reader, tmp_path):
    config = load(overrides=["fetch.flux=sap", "clean.max_cadences=1000", "clean.edge_hours=2"])
    path = tmp_path / TESS_NAME
    path.write_bytes(spoc_bytes(5000))
    got = reader.run(Upload(TESS_NAME, path.read_bytes()), config, "fetch", None)
    assert same_row(got, fetch_in_process(path, config))
    assert not same_row(got, fetch_in_process(path))


def planet_bytes() -> bytes:
    """27 d of 10-min cadences with transits, and the centre of the light, which says where they come from."""
    rng = np.random.default_rng(4)
    time = 1400.0 + np.arange(0, 27, 1 / 144)
    dims = np.abs((time - 1401.1 + 1.65) % 3.3 - 1.65) < 0.06
    flux = 1000 * (1 - 0.004 * dims + 2e-4 * rng.standard_normal(time.size))
    return fits_bytes(
        {
            "TIME": time,
            "PDCSAP_FLUX": flux.astype(np.float32),
            "QUALITY": np.zeros(time.size, np.int32),
            "MOM_CENTR1": 100 + 1e-3 * rng.standard_normal(time.size),
            "MOM_CENTR2": 200 + 1e-3 * rng.standard_normal(time.size),
        },
        primary={"TELESCOP": "TESS", "OBJECT": "TIC 123", "SECTOR": 1, "RADIUS": 1.0, "LOGG": 4.4, "TEFF": 5800.0},
        header={"BJDREFI": 2457000},
    )


def test_the_pixels_stage_reads_the_centre_of_the_light(reader, tmp_path):
    path = tmp_path / TESS_NAME
    path.write_bytes(planet_bytes())
    found = {"number": 1, "period": 3.3, "epoch": 1401.1, "duration_h": 2.9, "depth_ppm": 4000.0, "checks": []}
    tce = dict.fromkeys(field.name for field in schema.VETTED_TCE_FIELDS) | found
    vetted = schema.extend(fetch_in_process(path), VETTED, [{"tces": [tce]}])
    expected = make_pixels(CONFIG, FileSource(path, CONFIG.fetch))(vetted)
    got = reader.run(Upload(TESS_NAME, path.read_bytes()), CONFIG, "pixels", vetted)
    assert expected["status"].to_pylist() == ["ok"]
    assert [product["product"] for product in expected["pixel_products"].to_pylist()[0]] == [TESS_NAME]
    assert same_row(got, expected)


def test_an_unknown_mission_is_a_usage_error(reader):
    with pytest.raises(UsageError, match="no mission 'jwst'"):
        reader.run(Upload("a.csv", light_text(), mission="jwst"), CONFIG, "fetch", None)


@pytest.mark.verify
def test_rows_of_all_real_files_are_those_in_process(reader, archive):
    paths = [path for path in sorted(archive.rglob("*")) if recognise_product(path.name)]
    assert len(paths) > 100
    for path in paths:
        upload = Upload(path.name, path.read_bytes())
        try:
            expected = fetch_in_process(path)
        except StarError as error:
            with pytest.raises(type(error), match=re.escape(str(error))):
                reader.run(upload, CONFIG, "fetch", None)
        else:
            assert same_row(reader.run(upload, CONFIG, "fetch", None), expected), path.name


# ---- what strangers send ---------------------------------------------------------------------------------------------

LONG = {
    "gzip bomb", "gzip bomb of many streams", "very many extensions", "quotes of 8 MB", "rows by vertical tabs",
    "header of 50 MB", "one line of spaces",
}  # fmt: skip
"""Half a second and more each: these wait for the long tests."""


def each_of(files: Mapping[str, Hostile]) -> list[Any]:
    return [
        pytest.param(file, id=name, marks=[pytest.mark.verify] if name in LONG else []) for name, file in files.items()
    ]


@pytest.mark.parametrize("file", each_of(REFUSED))
def test_hostile_files_are_refused_in_words(reader, file):
    with pytest.raises(StarError, match=file.words) as refusal:
        reader.run(Upload(file.name, file.make()), CONFIG, "fetch", None)
    assert str(refusal.value).startswith(file.name)
    assert len(str(refusal.value)) < 300
    assert str(ROOT) not in str(refusal.value)
    assert "memory" not in str(refusal.value)


@pytest.mark.parametrize("file", each_of(STRANGE))
def test_strange_files_break_nothing(reader, tmp_path, file):
    path, content = tmp_path / file.name, file.make()
    path.write_bytes(content)
    try:
        expected = fetch_in_process(path)
    except StarError as error:
        with pytest.raises(type(error), match=re.escape(str(error)[:80])):
            reader.run(Upload(file.name, content), CONFIG, "fetch", None)
    else:
        assert expected["status"].to_pylist()[0] in ("ok", "bad_file", "too_short")
        assert same_row(reader.run(Upload(file.name, content), CONFIG, "fetch", None), expected)


def test_names_are_no_paths_no_formulas_and_printable(reader):
    for name in NAMES:
        cleaned = clean_name(name)
        assert cleaned.isprintable()
        assert 0 < len(cleaned) <= LONGEST_NAME
        assert not set(cleaned) & set("/\\\0\n")
        assert cleaned[0] not in "=+-@."
        assert clean_name(cleaned) == cleaned
    got = reader.run(Upload("../../etc/=two\n lines.csv", light_text()), CONFIG, "fetch", None)
    assert got["products"].to_pylist()[0][0]["product"] == "two lines.csv"
    assert got["target_id"].to_pylist() == ["FILE two lines"]


@pytest.mark.verify
@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_read(reader, name):
    got = reader.run(Upload(name, light_text()), CONFIG, "fetch", None)
    assert got["status"].to_pylist() == ["ok"]
    assert got["products"].to_pylist()[0][0]["product"] == clean_name(name)


# ---- limits ----------------------------------------------------------------------------------------------------------


def test_what_takes_too_long_is_ended(reader, monkeypatch):
    monkeypatch.setattr(reader, "_limits", Limits(seconds=0.001))
    with pytest.raises(BadFile, match=r"a\.csv: took more than 0\.001 s to read; send"):
        reader.run(LIGHT, CONFIG, "fetch", None)
    wait_until(lambda: not children_of(reader))


def test_what_takes_too_much_memory_is_ended(reader, monkeypatch):
    monkeypatch.setattr(reader, "_limits", Limits(memory_mb=48))
    bomb = REFUSED["gzip bomb"]
    with pytest.raises(BadFile, match=r"took more than 48 MB of memory to read; send"):
        reader.run(Upload(bomb.name, bomb.make()), CONFIG, "fetch", None)
    wait_until(lambda: not children_of(reader))


def test_an_end_by_force_is_told_from_an_answer():
    file = io.BytesIO()
    for ending, words in ((128 + signal.SIGXCPU, "20 s"), (128 + signal.SIGKILL, "1024 MB"), (2, "1024 MB")):
        with pytest.raises(BadFile, match=words):
            serve_reader._open_answer(ending, file, FETCHED, "a.csv", Limits())
    with pytest.raises(RuntimeError, match="failed \\(3\\)"):
        serve_reader._open_answer(3, file, FETCHED, "a.csv", Limits())


def test_the_answer_of_a_child_is_not_trusted():
    other = targets_table([Target("TIC 1", "tess")])
    file = io.BytesIO(as_bytes(other))
    with pytest.raises(RuntimeError, match="another table"):
        serve_reader._open_answer(0, file, FETCHED, "a.csv", Limits())
    with pytest.raises(pa.ArrowInvalid):
        serve_reader._open_answer(0, io.BytesIO(b"not Arrow"), FETCHED, "a.csv", Limits())
    file = io.BytesIO(b'{"kind": "BadFile", "message": "one\\ntwo\\u001b[31m' + b"x" * 5000 + b'"}')
    with pytest.raises(BadFile, match="onetwo") as refusal:
        serve_reader._open_answer(1, file, FETCHED, "a.csv", Limits())
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) == 1000


# ---- processes -------------------------------------------------------------------------------------------------------


def test_several_threads_at_once(reader):
    uploads = [Upload(f"TIC {tic}.fits", spoc_bytes(3000, tic=tic)) for tic in range(1, 9)]
    alone = [reader.run(upload, CONFIG, "fetch", None) for upload in uploads]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda upload: reader.run(upload, CONFIG, "fetch", None), uploads))
    assert [table["target_id"][0].as_py() for table in together] == [f"TIC {tic}" for tic in range(1, 9)]
    assert all(same_row(one, other) for one, other in zip(alone, together, strict=True))
    wait_until(lambda: not children_of(reader))


def test_a_killed_zygote_is_replaced_while_it_reads(reader, monkeypatch):
    monkeypatch.setenv("SURVEY_TEST_SECRET", "open sesame")
    expected = reader.run(LIGHT, CONFIG, "fetch", None)
    slow = Upload("a.csv", light_text(100_000))
    pid = reader.start()
    with ThreadPoolExecutor(2) as pool:
        begun = [pool.submit(reader.run, upload, CONFIG, "fetch", None) for upload in (slow, slow)]
        wait_until(lambda: len(psutil.Process(pid).children(recursive=True)) >= 2)
        orphans = psutil.Process(pid).children(recursive=True)
        os.kill(pid, signal.SIGKILL)
        assert all(done.result()["status"].to_pylist() == ["ok"] for done in begun)
    wait_until(lambda: not any(is_running(orphan) for orphan in orphans))
    assert reader.start() != pid
    assert same_row(reader.run(LIGHT, CONFIG, "fetch", None), expected)
    zygote = psutil.Process(reader.start())
    assert "SURVEY_TEST_SECRET" not in zygote.environ()
    mapped = " ".join(mapping.path for mapping in zygote.memory_maps())
    assert "polars" in mapped
    assert not re.search("libtorch|jaxlib|_raylet", mapped)


def is_running(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_a_closed_reader_leaves_no_process():
    reader = UploadReader()
    killed = reader.start()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: not is_running(psutil.Process(killed)))
    pid = reader.start()
    assert pid != killed
    reader.close()
    reader.close()
    assert not psutil.pid_exists(pid)
    with pytest.raises(FetchFailed, match="closed"):
        reader.run(LIGHT, CONFIG, "fetch", None)


@pytest.mark.verify
def test_no_process_outlives_the_parent():
    code = """
import time
from serve.reader import Upload, UploadReader
from survey.config import load
reader = UploadReader()
lines = [f"{2000 + k / 100},1" for k in range(999)]
upload = Upload("a.csv", ("time,flux\\n" + "\\n".join(lines)).encode())
reader.run(upload, load(), "fetch", None)
print(reader.start(), flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        zygote = psutil.Process(int(parent.stdout.readline()))
        assert zygote.is_running()
        parent.kill()
    wait_until(lambda: not is_running(zygote))


@pytest.mark.verify
def test_memory_stays_flat_over_many_uploads(reader):
    """Less than 1 kB an upload, in the zygote and here."""
    uploads = [LIGHT, Upload(TESS_NAME, spoc_bytes(3000)), Upload("a.csv", b"time,flux\n\0")]

    def read(count: int) -> None:
        for number in range(count):
            upload = uploads[number % len(uploads)]
            try:
                reader.run(upload, CONFIG, "fetch", None)
            except BadFile:
                assert upload.content.endswith(b"\0")

    def used() -> int:
        gc.collect()
        # What the allocator keeps for later is no leak.
        ctypes.CDLL(None).malloc_trim(0)
        return sum(psutil.Process(pid).memory_full_info().uss for pid in (os.getpid(), reader.start()))

    def growth(count: int) -> int:
        before = used()
        read(count)
        return used() - before

    read(150)
    zygote = reader.start()
    # A leak shows every time; what an allocator takes once, and other threads of this process, do not.
    assert min(growth(150) for _ in range(4)) < 150 * 1024
    assert reader.start() == zygote
    assert psutil.Process(zygote).num_fds() < 20
