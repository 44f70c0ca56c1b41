"""The durable cache: whole files or none, and what the archive does not have."""

import errno
import os
import random
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest

from survey.errors import UsageError
from survey.stars import cache as survey_cache
from survey.stars.cache import BucketCache, Cache, NodeCache, Part, Usage, open_cache, open_shared

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


# ---- beginnings of files ---------------------------------------------------------------------------------------------


def test_a_part_is_kept_beside_until_the_file_is_whole(cache):
    assert cache.part(KEY) == Part()
    cache.keep_part(KEY, Part(bytearray(b"li\ngh"), '"etag"'))
    assert cache.part(KEY) == Part(bytearray(b"li\ngh"), '"etag"')
    assert (cache.folder / f"{KEY}.part").exists()
    assert cache.get(KEY) is None
    assert cache.usage() == Usage(0, 0, 0)
    cache.put(KEY, b"li\nght")
    assert cache.part(KEY) == Part()


def test_a_part_that_nobody_can_go_on_with_is_dropped(cache):
    cache.keep_part(KEY, Part(bytearray(b"ligh"), '"etag"'))
    cache.keep_part(KEY, Part(bytearray(b"ligh"), ""))
    assert cache.part(KEY) == Part()


# ---- a limit of size -------------------------------------------------------------------------------------------------


@pytest.fixture
def quick_disk(monkeypatch):
    """For tests that are not about crashes."""
    monkeypatch.setattr(survey_cache.os, "fsync", lambda handle: None)


@pytest.mark.usefixtures("quick_disk")
def test_a_cache_never_grows_above_its_limit_and_keeps_what_was_used(tmp_path):
    cache = Cache(tmp_path, max_bytes=50_000)
    now = time.time()
    for number in range(120):
        cache.put(f"{number}.fits", bytes(1_000))
        os.utime(tmp_path / f"{number}.fits", (now - 7200 + number,) * 2)
        # The first of all is in use all the time.
        assert cache.get("0.fits") is not None
        assert sum(file.stat().st_size for file in tmp_path.glob("*.fits")) <= 50_000
    held = sorted(int(key.removesuffix(".fits")) for key in list(cache.keys()))
    assert held[0] == 0
    assert held[1:] == list(range(held[1], 120))
    assert len(held) > 35


@pytest.mark.usefixtures("quick_disk")
def test_room_is_looked_for_only_now_and_then(tmp_path, monkeypatch):
    cache = Cache(tmp_path, max_bytes=1_000_000)
    walks: list[int] = []
    entries = Cache._entries
    monkeypatch.setattr(Cache, "_entries", lambda self: walks.append(1) or entries(self))
    for number in range(100):
        cache.put(f"{number}.fits", bytes(1_000))
    assert 0 < len(walks) <= 1 + 100_000 // 20_000


@pytest.mark.usefixtures("quick_disk")
def test_pruning_while_others_read_and_write(tmp_path):
    """Whoever reads has the true bytes or none, and nobody meets a file that is gone."""
    keys = [f"tess/{number}.fits" for number in range(20)]
    done = threading.Event()
    failures: list[BaseException] = []
    hits = [0]

    def use(seed: int) -> None:
        cache, dice = Cache(tmp_path, max_bytes=40_000), random.Random(seed)
        try:
            while not done.is_set():
                key = dice.choice(keys)
                data = cache.get(key)
                hits[0] += data is not None
                assert data in (None, key.encode() * 400)
                if data is None:
                    cache.put(key, key.encode() * 400)
        except BaseException as error:  # noqa: BLE001  the test's own thread tells it
            failures.append(error)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    removed = sum(Cache(tmp_path).prune(max_bytes=10_000) for _ in range(60))
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert removed > 0
    assert hits[0] > 0


# ---- a cache that machines share -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def object_store() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["bucket", "folder"])
def shared(request, tmp_path, monkeypatch) -> str:
    """URL of an empty shared cache: in an object store, or in a folder that machines mount."""
    if request.param == "folder":
        return f"file://{tmp_path / 'shared'}"
    endpoint = request.getfixturevalue("object_store")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    # The servers of one process share what they hold.
    for path, method in (("moto-api/reset", "POST"), ("stars", "PUT")):
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{path}", method=method)).close()
    return "s3://stars/cache"


def test_what_one_machine_fetched_others_have(shared, tmp_path):
    one, other = (NodeCache(tmp_path / name, open_shared(shared)) for name in ("one", "other"))
    one.put(KEY, b"light")
    one.remember_missing("gone.fits", "404")
    assert other.holds(KEY)
    assert other.get(KEY) == b"light"
    assert other.missing("gone.fits") == "404"
    assert other.missing(KEY) is other.get("gone.fits") is None
    assert not other.holds("gone.fits")
    # From there on it is on the machine itself.
    assert Cache(tmp_path / "other").get(KEY) == b"light"
    other.forget(KEY)
    assert open_shared(shared).get(KEY) is None
    assert one.get(KEY) == b"light"


def test_a_shared_cache_is_counted_verified_and_pruned_where_it_is(shared, tmp_path):
    cache = open_shared(shared)
    assert cache.usage() == Usage(0, 0, 0)
    assert cache.prune(max_bytes=0) == 0
    for number in range(4):
        cache.put(f"tess/{number}.fits", b"light" * 10)
    cache.remember_missing("tess/9.fits", "404")
    assert cache.usage() == Usage(4, 200, 1)
    assert list(cache.keys()) == [f"tess/{number}.fits" for number in range(4)]
    cache._write("tess/2.fits", b"dark")
    near = NodeCache(tmp_path / "node", cache)
    assert near.get("tess/2.fits") is None
    cache._write("tess/3.fits", b"dark")
    assert cache.verify() == ["tess/3.fits"]
    assert cache.prune(max_bytes=60) == 1
    assert cache.usage() == Usage(1, 50, 1)


def test_damage_on_the_machine_is_mended_from_the_shared_cache(shared, tmp_path):
    cache = NodeCache(tmp_path / "node", open_shared(shared))
    cache.put(KEY, b"light")
    (tmp_path / "node" / KEY).write_bytes(b"dark!")
    assert cache.get(KEY) == b"light"
    assert (tmp_path / "node" / KEY).read_bytes() == b"light"


def test_a_shared_cache_out_of_reach_costs_time_only(tmp_path, monkeypatch, caplog):
    class Lost(Cache):
        def _fail(self, *_: object) -> bytes:
            raise OSError(errno.EHOSTUNREACH, "No route to host")

        _read = _write = _is_there = _fail

    cache = NodeCache(tmp_path / "node", Lost(tmp_path / "lost"))
    assert cache.get(KEY) is None
    assert cache.missing(KEY) is None
    assert not cache.holds(KEY)
    with pytest.raises(OSError, match="No route"):
        cache.put(KEY, b"light")
    assert cache.get(KEY) == b"light"
    assert len([record for record in caplog.records if "going on without" in record.message]) == 1


def test_places_of_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("SURVEY_NODE_CACHE", str(tmp_path / "node"))
    plain = open_cache(tmp_path / "plain", max_gb=2.5)
    assert (type(plain), plain.place, plain.max_bytes) == (Cache, str(tmp_path / "plain"), 2_500_000_000)
    assert open_cache("plain").max_bytes is None
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    shared = open_cache("s3://stars/cache/")
    assert isinstance(shared, NodeCache)
    assert isinstance(shared.shared, BucketCache)
    assert (shared.place, shared.folder.parent, shared.max_bytes) == (
        "s3://stars/cache",
        tmp_path / "node",
        20_000_000_000,
    )
    assert open_cache("s3://stars/other").folder != shared.folder
    assert open_cache("s3://stars/cache").folder == shared.folder
    for place in ("nonsense://stars/cache", "s3://stars/cache?region=x"):
        with pytest.raises(UsageError, match="cache"):
            open_cache(place)
