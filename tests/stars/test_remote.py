"""Downloads that break off, files that arrive damaged, and how many requests a star costs."""

import base64
import hashlib
import zlib
from collections import Counter
from pathlib import Path

import pytest

from survey.config import load
from survey.errors import BadFile, FetchFailed, NoData
from survey.stars import remote
from survey.stars.cache import Cache, Part
from survey.stars.limits import Limits, Policy
from survey.stars.products import ProductRef, recognise_product
from survey.stars.remote import HttpClient, open_store
from survey.stars.sources import RemoteSource, fetch, open_source
from survey.stars.targets import Target
from tests.stars.fits_files import spoc_bytes
from tests.stars.servers import BadArchive, serve, serve_badly
from tests.stars.test_sources import KIC, Free, bucket, mirror, tess_key

__all__ = ["bucket", "mirror"]

CONFIG = load(overrides=["run.attempts=2", "run.backoff_s=0.0", "run.requests_per_s=10000", "run.timeout_s=5"])
ONCE = load(overrides=["run.attempts=1", "run.backoff_s=0.0", "run.requests_per_s=10000", "run.timeout_s=5"])
CONTENT = spoc_bytes(400)
PATH = f"/{tess_key(1)}"


def product(key: str) -> ProductRef:
    ref = recognise_product(key)
    assert ref is not None
    return ref


class Plan:
    """A bad archive whose faults are named: what goes wrong with the first request for files, the second, ..."""

    def __init__(self, archive: BadArchive, *faults: str | None) -> None:
        self.archive, self.faults = archive, list(faults)
        self.enter = archive.enter
        archive.enter = self

    def __call__(self, path: str, begin: int):
        fault, dice = self.enter(path, begin)
        if path in self.archive.files and self.faults:
            fault = self.archive.visits[-1].fault = self.faults.pop(0)
        return fault, dice


def test_a_download_goes_on_where_it_broke_off(tmp_path):
    cache = Cache(tmp_path)
    with serve_badly({PATH: CONTENT}, seed=1, share=0.0) as archive:
        Plan(archive, "truncated", "503", "truncated", None)
        source = open_source(f"mirror:{archive.url}", ONCE, cache=cache)
        for _ in range(3):
            with pytest.raises(FetchFailed):
                source.read(product(tess_key(1)))
            # Beside the entry, for whoever comes next, in another process too; a refusal spoils nothing.
            assert (tmp_path / f"{tess_key(1)}.part").stat().st_size > 0
        assert source.read(product(tess_key(1))) == CONTENT
        begins = [visit.begin for visit in archive.visits]
    assert begins[0] == 0
    assert 0 < begins[1] == begins[2] < begins[3]
    assert cache.get(tess_key(1)) == CONTENT
    assert not list(tmp_path.rglob("*.part"))


def test_a_part_of_another_version_is_not_gone_on_with(tmp_path):
    cache = Cache(tmp_path)
    cache.keep_part(tess_key(1), Part(bytearray(spoc_bytes(400, tic=9)[:5000]), '"older"'))
    with serve_badly({PATH: CONTENT}, seed=1, share=0.0) as archive:
        source = open_source(f"mirror:{archive.url}", ONCE, cache=cache)
        assert source.read(product(tess_key(1))) == CONTENT
        assert [visit.begin for visit in archive.visits] == [0]


@pytest.mark.parametrize("fault", ["flipped bit", "wrong size", "web page", "truncated", "reset", "503 later"])
def test_what_arrives_damaged_is_asked_for_again(fault, tmp_path):
    cache = Cache(tmp_path)
    with serve_badly({PATH: CONTENT}, seed=3, share=0.0) as archive:
        Plan(archive, fault)
        source = open_source(f"mirror:{archive.url}", CONFIG, cache=cache)
        assert source.read(product(tess_key(1))) == CONTENT
        assert archive.times[PATH] == 2
    assert cache.get(tess_key(1)) == CONTENT


def test_what_the_archive_itself_keeps_damaged_is_asked_for_twice_and_no_more(tmp_path):
    damaged = bytearray(CONTENT)
    damaged[-5000] ^= 4
    cache = Cache(tmp_path)
    with serve_badly({PATH: bytes(damaged)}, seed=3, share=0.0) as archive:
        source = open_source(f"mirror:{archive.url}", CONFIG, cache=cache)
        for _ in range(3):
            with pytest.raises(BadFile, match="DATASUM"):
                fetch(Target("TIC 123", "tess", (1,)), source, CONFIG)
        assert archive.times[PATH] == 2


def test_a_web_page_is_never_taken_for_the_file(tmp_path):
    cache = Cache(tmp_path)
    page = b"<html><body>sign in</body></html>"
    with serve_badly({PATH: page}, seed=3, share=0.0) as archive:
        source = open_source(f"mirror:{archive.url}", CONFIG, cache=cache)
        for _ in range(2):
            with pytest.raises(FetchFailed, match="web page"):
                source.read(product(tess_key(1)))
    assert not list(cache.keys())


def test_a_page_without_files_is_no_list(tmp_path):
    """Or every star would be remembered as never observed while the archive is being looked after."""
    cache = Cache(tmp_path)
    with serve_badly({PATH: CONTENT}, seed=3, share=0.0) as archive:
        source = open_source(f"mirror:{archive.url}", CONFIG, cache=cache)
        with pytest.raises(NoData):
            source.find(Target("TIC 7", "tess", (1,)))
        archive.share = 1.0
        enter = archive.enter
        for fault in ("web page", "wrong size", "truncated"):
            archive.enter = lambda path, begin, fault=fault: (fault, enter(path, begin)[1])
            with pytest.raises(FetchFailed):
                source.find(Target("TIC 123", "tess", (1,)))
        archive.enter = lambda path, begin: (None, enter(path, begin)[1])
        assert len(source.find(Target("TIC 123", "tess", (1,)))) == 1
    assert cache.usage().missing == 1


def test_a_damaged_entry_is_fetched_again_once(tmp_path):
    cache = Cache(tmp_path)
    with serve_badly({PATH: CONTENT}, seed=3, share=0.0) as archive:
        source = open_source(f"mirror:{archive.url}", CONFIG, cache=cache)
        source.read(product(tess_key(1)))
        (tmp_path / tess_key(1)).write_bytes(CONTENT[:-1] + b"?")
        for _ in range(3):
            assert source.read(product(tess_key(1))) == CONTENT
        assert archive.times[PATH] == 2
    assert cache.verify() == []


def base64_of(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("ETag", f'"{hashlib.md5(b"light").hexdigest()}"'),
        ("Content-MD5", base64_of(hashlib.md5(b"light").digest())),
        ("x-amz-checksum-sha256", base64_of(hashlib.sha256(b"light").digest())),
        ("x-amz-checksum-crc32", base64_of(zlib.crc32(b"light").to_bytes(4, "big"))),
    ],
)
def test_digests_that_archives_give(name, digest):
    assert remote._compare_digests(b"light", {name: digest}) is None
    assert "digest" in (remote._compare_digests(b"dark!", {name: digest}) or "")


def test_what_is_no_digest_of_the_content_says_nothing():
    for headers in ({}, {"ETag": '"5f3-61a2"'}, {"ETag": f'"{"0" * 32}-12"'}, {"x-amz-checksum-crc32": "AAAA-3"}):
        assert remote._compare_digests(b"light", headers) is None


def test_retry_after_holds_all_who_ask():
    pauses: list[float] = []
    limits = Limits(Policy.of(CONFIG.run), clock=lambda: sum(pauses), sleep=pauses.append)
    with serve_badly({PATH: CONTENT}, seed=3, share=0.0) as archive:
        Plan(archive, "503 later")
        client = HttpClient(CONFIG.run, limits)
        assert client.get(archive.url + PATH) == CONTENT
    assert sum(pauses) == pytest.approx(0.02)


def test_s3_goes_on_where_it_broke_off(bucket, mirror, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setattr(remote, "RANGE_BYTES", 10_000)
    content = (mirror / tess_key(1)).read_bytes()
    limiter, mark = Free(), f'"{hashlib.md5(content).hexdigest()}"'
    store = open_store("s3://stars/deep", CONFIG.run, limiter)
    assert store.read(tess_key(1), Part(bytearray(content[:15_000]), mark)) == content
    # One request says how large it is and of which version, the others bring the rest.
    assert limiter.asked == 1 + -(-(len(content) - 15_000) // 10_000)
    # Of another version, and damaged: begun anew, the latter as the archive's MD5 tells.
    assert store.read(tess_key(1), Part(bytearray(b"x" * 15_000), '"other"')) == content
    assert store.read(tess_key(1), Part(bytearray(b"x" * 15_000), mark)) == content


# ---- requests a star -------------------------------------------------------------------------------------------------


def asked_by(mirror: Path, lists: str, target: Target, tmp_path: Path, script: bool = False) -> Counter[str]:
    """What a sweep asks of the archive for one listed star, beside what it asks once for all."""
    with serve(mirror, lists) as server:
        source = open_source(f"mirror:{server.url}", CONFIG, cache=Cache(tmp_path))
        assert isinstance(source, RemoteSource)
        source._store.can_list()
        if script:
            list(source.targets("tess", [1], limit=1))
        server.asked.clear()
        fetch(target, source, CONFIG)
        return Counter(server.asked)


@pytest.mark.parametrize("lists", ["index", "s3"])
def test_a_listed_star_costs_a_list_and_a_file_an_observation(mirror, lists, tmp_path):
    assert sum(asked_by(mirror, lists, Target("TIC 123", "tess", (1, 2)), tmp_path / "tess").values()) <= 4
    assert sum(asked_by(mirror, lists, KIC, tmp_path / "kepler").values()) <= 3


def test_a_star_of_a_sector_that_is_known_costs_its_file(mirror, tmp_path):
    asked = asked_by(mirror, "s3", Target("TIC 123", "tess", (1,)), tmp_path, script=True)
    assert asked == {PATH: 1}


def test_where_nothing_is_listed_names_are_tried(mirror, tmp_path):
    assert sum(asked_by(mirror, "none", Target("TIC 123", "tess", (1,)), tmp_path / "tess").values()) == 2
    # 19 names of quarters, and those of two files; 23 campaigns, and one file.
    assert sum(asked_by(mirror, "none", KIC, tmp_path / "kepler").values()) <= 19 + 2
    k2 = Target("EPIC 201437844", "k2")
    assert sum(asked_by(mirror, "none", k2, tmp_path / "k2").values()) == 23 + 1
    assert sum(asked_by(mirror, "none", Target("EPIC 201437844", "k2", (102,)), tmp_path / "one").values()) == 2
