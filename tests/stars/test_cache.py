"""The durable cache: whole files or none, and what the archive does not have."""

import errno
import os
import threading
import time

import pytest

from survey.stars import cache as survey_cache
from survey.stars.cache import Cache, Usage

KEY = "tess/public/tid/s0001/a_lc.fits"


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def test_what_is_stored_comes_back(cache):
    assert cache.get(KEY) is None
    assert not cache.holds(KEY)
    cache.put(KEY, b"light")
    assert cache.get(KEY) == b"light"
    assert cache.holds(KEY)
    assert list(cache.keys()) == [KEY]
    assert cache.usage() == Usage(files=1, n_bytes=5, missing=0)
    assert (cache.folder / KEY).read_bytes() == b"light"


def test_missing_products_are_remembered_with_their_reason(cache):
    assert cache.missing(KEY) is None
    cache.remember_missing(KEY, "404 at the archive")
    assert cache.missing(KEY) == "404 at the archive"
    assert cache.get(KEY) is None
    assert cache.usage() == Usage(0, 0, 1)
    cache.put(KEY, b"there now")
    assert cache.missing(KEY) is None


@pytest.mark.parametrize("damage", [b"", b"ligh", b"lighT", b"light and more"])
def test_damaged_files_are_never_given_out(cache, damage):
    cache.put(KEY, b"light")
    cache.put("k2/b.fits", b"whole")
    (cache.folder / KEY).write_bytes(damage)
    assert cache.verify() == [KEY]
    assert cache.get(KEY) is None
    assert list(cache.keys()) == ["k2/b.fits"]


def test_a_file_without_checksum_is_not_trusted(cache):
    path = cache.folder / KEY
    path.parent.mkdir(parents=True)
    path.write_bytes(b"copied by hand")
    assert cache.get(KEY) is None


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_nothing_half_written(cache, monkeypatch, name):
    cache.put(KEY, b"old")

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    if name == "write":
        monkeypatch.setattr(survey_cache.tempfile, "mkstemp", fail)
    else:
        monkeypatch.setattr(survey_cache.os, name, fail)
    with pytest.raises(OSError, match="No space"):
        cache.put("new.fits", b"new")
    monkeypatch.undo()
    assert cache.get("new.fits") is None
    assert cache.get(KEY) == b"old"
    assert not [path for path in cache.folder.rglob("*") if path.name.endswith(".part")]


def test_a_crash_between_digest_and_file_is_a_miss(cache):
    cache.put(KEY, b"light")
    (cache.folder / KEY).unlink()
    assert cache.get(KEY) is None
    cache.put(KEY, b"light")
    assert cache.get(KEY) == b"light"


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../out", "a/../../b", "a\0b", "a.sha256", "a.missing", "a.part"])
def test_keys_stay_inside(cache, key):
    with pytest.raises(ValueError, match="no key"):
        cache.put(key, b"x")


def test_pruning_by_age_and_size(cache):
    for number, age in enumerate([10, 5, 1]):
        cache.put(f"{number}.fits", b"12345")
        os.utime(cache.folder / f"{number}.fits", (time.time() - age * 86_400,) * 2)
    cache.remember_missing("gone.fits", "404")
    os.utime(cache.folder / "gone.fits.missing", (time.time() - 30 * 86_400,) * 2)
    stale, fresh = cache.folder / ".a.part", cache.folder / ".b.part"
    stale.write_bytes(b"killed")
    fresh.write_bytes(b"being written")
    os.utime(stale, (time.time() - 2 * 86_400,) * 2)
    assert cache.prune() == 1
    assert cache.prune(older_than_days=7) == 2
    assert list(cache.keys()) == ["1.fits", "2.fits"]
    assert cache.missing("gone.fits") is None
    assert cache.prune(max_bytes=5) == 1
    assert list(cache.keys()) == ["2.fits"]
    assert fresh.exists()
    assert cache.prune(max_bytes=5) == 0


def test_many_writers_of_one_key_leave_a_whole_file(cache):
    contents = [bytes([65 + number]) * 20_000 for number in range(8)]
    threads = [threading.Thread(target=cache.put, args=(KEY, content)) for content in contents for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Digest and file may come from different writers: then it is a miss, never a mixture.
    assert cache.get(KEY) in (None, *contents)
    assert not [path for path in cache.folder.rglob("*") if path.name.endswith(".part")]


def test_an_empty_cache(cache):
    assert list(cache.keys()) == []
    assert cache.usage() == Usage(0, 0, 0)
    assert cache.verify() == []
    assert cache.prune(max_bytes=0) == 0
