"""Where light curves come from; nothing here leaves the machine."""

import contextlib
import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from survey.config import Config, load
from survey.errors import BadFile, FetchFailed, NoData, TooShort, UsageError
from survey.stars import simulate, sources
from survey.stars.cache import Cache
from survey.stars.limits import Busy, Down
from survey.stars.products import k2_folder, kepler_folder, recognise_product, tess_folder
from survey.stars.remote import retry
from survey.stars.sources import MastSource, Source, fetch, open_source
from survey.stars.targets import Target
from tests.stars.fits_files import kepler_bytes, spoc_bytes, write
from tests.stars.servers import Loopback, serve

CONFIG = load(overrides=["run.attempts=2", "run.backoff_s=0.0", "run.requests_per_s=10000", "run.timeout_s=5"])
TIC, KIC, EPIC = Target("TIC 123", "tess"), Target("KIC 123", "kepler"), Target("EPIC 201437844", "k2")


def tess_key(sector: int, tic: int = 123) -> str:
    return f"{tess_folder(tic, sector)}tess2018206045859-s{sector:04d}-{tic:016d}-0120-s_lc.fits"


def kepler_key(stamp: str = "2009166043257", kind: str = "llc") -> str:
    return f"{kepler_folder(123)}kplr000000123-{stamp}_{kind}.fits"


K2_KEY = f"{k2_folder(201437844, 102)}ktwo201437844-c102_llc.fits"
SCRIPT_KEY = "missions/tess/download_scripts/sector/tesscurl_sector_1_lc.sh"


@pytest.fixture(scope="module")
def mirror(tmp_path_factory) -> Path:
    """Two sectors of TIC 123, one of TIC 124, two quarters of KIC 123, half a campaign of EPIC 201437844."""
    folder = tmp_path_factory.mktemp("mirror")
    write(folder, tess_key(1), spoc_bytes())
    write(folder, tess_key(2), spoc_bytes(sector=2, start=1355))
    write(folder, tess_key(1, 124), spoc_bytes(tic=124))
    write(folder, tess_key(1).replace("s_lc", "s_tp"), b"pixels")
    write(folder, kepler_key(), kepler_bytes())
    write(folder, kepler_key("2009259160929"), kepler_bytes(quarter=2, start=170))
    k2 = {"MISSION": "K2", "OBJECT": "EPIC 201437844", "CAMPAIGN": 102, "QUARTER": None}
    write(folder, K2_KEY, kepler_bytes(kic=201437844, start=2750, **k2))
    lines = [
        f"curl -C - -L -o {Path(key).name} https://mast.stsci.edu/api/v0.1/Download/file/?uri=mast:TESS/product/{Path(key).name}"
        for key in (tess_key(1), tess_key(1, 124))
    ]
    write(folder, SCRIPT_KEY, "\n".join(["#!/bin/sh", *lines, ""]).encode())
    return folder


def copy_of(mirror: Path, folder: Path, *keys: str) -> Path:
    for key in keys:
        write(folder, key, (mirror / key).read_bytes())
    return folder


# ---- a folder --------------------------------------------------------------------------------------------------------


def test_a_star_of_every_mission(mirror):
    source = open_source(f"mirror:{mirror}", CONFIG)
    lc = fetch(TIC, source, CONFIG)
    assert lc.observations == [1, 2]
    assert lc.starts().tolist() == [0, 1000]
    assert np.median(lc.flux[:1000]) == np.median(lc.flux[1000:]) == 1
    assert lc.products[0].sha256 == hashlib.sha256((mirror / tess_key(1)).read_bytes()).hexdigest()
    assert fetch(KIC, source, CONFIG).observations == [1, 2]
    assert fetch(EPIC, source, CONFIG).observations == [102]
    assert fetch(replace(EPIC, observations=(10,)), source, CONFIG).observations == [102]
    assert fetch(replace(TIC, observations=(2,)), source, CONFIG).observations == [2]


def test_what_a_folder_holds(mirror):
    source = open_source(f"mirror:{mirror}", CONFIG)
    assert [target.target_id for target in source.targets(None)] == ["EPIC 201437844", "KIC 123", "TIC 123", "TIC 124"]
    assert list(source.targets("tess", [2])) == [Target("TIC 123", "tess", (2,))]
    assert list(source.targets("tess", [1], limit=1)) == [Target("TIC 123", "tess", (1,))]
    assert list(source.targets("k2", [10])) == [Target("EPIC 201437844", "k2", (10,))]
    assert source.describe() == {"source": f"mirror:{mirror}"}


def test_no_data_says_what_there_is(mirror):
    source = open_source(f"mirror:{mirror}", CONFIG)
    with pytest.raises(NoData, match="TIC 7: no light curve in the mirror"):
        fetch(Target("TIC 7", "tess"), source, CONFIG)
    with pytest.raises(NoData, match="no light curve of sector 5, 6; there are 1, 2"):
        fetch(replace(TIC, observations=(5, 6)), source, CONFIG)
    with pytest.raises(NoData):
        fetch(Target("TIC 201437844", "tess"), source, CONFIG)


def test_files_are_found_wherever_they_lie(mirror, tmp_path):
    write(tmp_path, f"my/stars/{Path(tess_key(1)).name}", (mirror / tess_key(1)).read_bytes())
    write(tmp_path, "notes.txt", b"x")
    assert fetch(TIC, open_source(f"mirror:{tmp_path}", CONFIG), CONFIG).observations == [1]


def test_injected_light_never_stands_in_for_the_stars_own(mirror, tmp_path):
    copy_of(mirror, tmp_path, kepler_key())
    name = Path(kepler_key()).name
    write(tmp_path, f"kepler/injected/{name.replace('_llc', '_INJECTED-inj1_llc')}", kepler_bytes(quarter=1))
    lc = fetch(KIC, open_source(f"mirror:{tmp_path}", CONFIG), CONFIG)
    assert [(product.product, product.author) for product in lc.products] == [(name, "Kepler")]


def test_months_of_short_cadence_count_together(tmp_path):
    for start, stamp in ((170, "2009201121230"), (201, "2009231120729")):
        write(tmp_path, kepler_key(stamp, "slc"), kepler_bytes(500, quarter=2, start=start, cadence_s=58.85))
    lc = fetch(KIC, open_source(f"mirror:{tmp_path}", CONFIG), CONFIG)
    assert lc.observations == [2, 2]
    assert lc.cadence_s == pytest.approx(58.8, abs=0.1)


def test_a_damaged_product_is_left_out_and_told(mirror, tmp_path):
    copy_of(mirror, tmp_path, tess_key(1))
    write(tmp_path, tess_key(2), (mirror / tess_key(2)).read_bytes()[:20_000])
    source = open_source(f"mirror:{tmp_path}", CONFIG)
    lc = fetch(TIC, source, CONFIG)
    assert lc.observations == [1]
    assert len(lc.notes) == 1
    assert "left out: " in lc.notes[0]
    assert "truncated" in lc.notes[0]
    with pytest.raises(BadFile, match="truncated"):
        fetch(replace(TIC, observations=(2,)), source, CONFIG)


def test_the_next_best_product_stands_in(mirror, tmp_path):
    write(tmp_path, tess_key(1), b"<html>")
    write(tmp_path, "hlsp_tess-spoc_tess_phot_0000000000000123-s0001_tess_v1_lc.fits", spoc_bytes(cadence_s=1800.0))
    lc = fetch(TIC, open_source(f"mirror:{tmp_path}", CONFIG), CONFIG)
    assert lc.products[0].author == "TESS-SPOC"
    assert "web page" in lc.notes[0]


def test_a_file_of_another_star_is_refused(mirror, tmp_path):
    write(tmp_path, tess_key(1), spoc_bytes(tic=999))
    with pytest.raises(BadFile, match="holds TIC 999, not TIC 123"):
        fetch(TIC, open_source(f"mirror:{tmp_path}", CONFIG), CONFIG)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (spoc_bytes(99), TooShort, "99 good cadences, a search needs 100"),
        (spoc_bytes(200), TooShort, "0.276 d of data, less than 2 times the shortest period searched"),
        (spoc_bytes(1), TooShort, "1 of 1"),
        (spoc_bytes(500, flux=np.full(500, np.nan)), TooShort, "0 of 500"),
        (spoc_bytes(500, flux=np.full(500, -2.0)), BadFile, "not above zero"),
        (b"", BadFile, "empty"),
    ],
)
def test_errors_of_a_star(tmp_path, data, error, words):
    write(tmp_path, tess_key(1), data)
    with pytest.raises(error, match=words):
        fetch(TIC, open_source(f"mirror:{tmp_path}", CONFIG), CONFIG)


def test_long_light_curves_are_averaged_and_edges_dropped(mirror):
    source = open_source(f"mirror:{mirror}", CONFIG)
    short = load(overrides=["clean.max_cadences=1000"])
    lc = fetch(TIC, source, short)
    assert lc.time.size <= 1000
    assert lc.cadence_s == 240.0
    assert fetch(TIC, source, load(overrides=["clean.edge_hours=2"])).time.size == pytest.approx(2000 - 4 * 60, abs=4)


def test_unreadable_files_are_asked_for_again(mirror, tmp_path, monkeypatch):
    source = open_source(f"mirror:{copy_of(mirror, tmp_path, tess_key(1))}", CONFIG)
    (ref,) = source.find(TIC)
    (tmp_path / tess_key(1)).unlink()
    with pytest.raises(NoData, match="gone"):
        source.read(ref)
    (tmp_path / tess_key(1)).mkdir()
    with pytest.raises(FetchFailed):
        source.read(ref)


def test_every_real_light_curve_belongs_to_a_star(archive):
    source = open_source(f"mirror:{archive}", CONFIG)
    products: set[str] = set()
    twice = 0
    for target in source.targets(None):
        refs = source.find(target)
        lc = fetch(target, source, CONFIG)
        assert lc.notes == ()
        assert np.all(np.diff(lc.time) > 0)
        assert np.all(lc.flux_err > 0)
        assert np.isfinite(lc.flux).all()
        assert len(set(lc.observations)) == len(lc.products)
        products |= {ref.name for ref in refs}
        twice += len(refs) - len(lc.products)
    names = {path.name for path in archive.rglob("*") if path.is_file() and "targ" not in path.name}
    assert products == names
    # One star has a sector both at 2 min and from full-frame images.
    assert twice == 1


def test_the_demo(monkeypatch, tmp_path):
    written = simulate.write_archive
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        simulate, "write_archive", lambda folder: written(folder, kinds=["planet", "truncated", "empty"])
    )
    source = open_source("demo", CONFIG)
    good, truncated, empty = source.targets("tess")
    assert fetch(good, source, CONFIG).time.size > 10_000
    with pytest.raises(BadFile, match="truncated"):
        fetch(truncated, source, CONFIG)
    with pytest.raises(TooShort):
        fetch(empty, source, CONFIG)
    monkeypatch.setattr(simulate, "write_archive", None)
    assert len(list(open_source("demo", CONFIG).targets(None))) == 3
    assert len(list((tmp_path / "transit-survey").iterdir())) == 1
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="XDG_CACHE_HOME"):
        open_source("demo", CONFIG)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no source"), ("mirror", "no source"), ("mirror:", "no source"), ("web", "no source"),
        ("file:", "no source"), ("mirror:/no/such/folder", "no folder"), ("file:/no/such.fits", "no file"),
        ("mirror:ftp://host/x", "no address"), ("mirror:s3://", "no address"), ("mirror:http://", "no address"),
    ],
)  # fmt: skip
def test_sources_that_are_none(text, words):
    with pytest.raises(UsageError, match=words):
        open_source(text, CONFIG)


# ---- behind a network ------------------------------------------------------------------------------------------------


@pytest.fixture(params=["index", "s3", "none"])
def server(request, mirror) -> Iterator[Loopback]:
    with serve(mirror, request.param) as loopback:
        yield loopback


def test_http_gives_what_the_folder_gives(server, mirror):
    folder, web = open_source(f"mirror:{mirror}", CONFIG), open_source(f"mirror:{server.url}", CONFIG)
    targets = [
        replace(TIC, observations=(1,)),
        KIC,
        EPIC,
        replace(EPIC, observations=(10,)),
        Target("TIC 124", "tess", (1,)),
    ]
    if server.lists != "none":
        targets.append(TIC)
    for target in targets:
        ours, theirs = fetch(target, web, CONFIG), fetch(target, folder, CONFIG)
        assert ours.products == theirs.products
        np.testing.assert_array_equal(ours.flux, theirs.flux)
    for absent in (Target("TIC 7", "tess", (1,)), Target("KIC 7", "kepler"), Target("EPIC 7", "k2")):
        with pytest.raises(NoData, match="the archive has no light curve"):
            fetch(absent, web, CONFIG)


def test_a_server_without_lists_wants_sectors(mirror):
    with serve(mirror, "none") as server:
        source = open_source(f"mirror:{server.url}", CONFIG)
        with pytest.raises(NoData, match="name the sectors"):
            fetch(TIC, source, CONFIG)
        assert [target.target_id for target in source.targets("tess", [1])] == ["TIC 123", "TIC 124"]
        with pytest.raises(UsageError, match="give a target list"):
            list(source.targets("kepler"))


@pytest.mark.parametrize("lists", ["index", "s3"])
def test_targets_come_from_the_script_or_from_lists(mirror, lists):
    with serve(mirror, lists) as server:
        check_targets(open_source(f"mirror:{server.url}", CONFIG))


def check_targets(source: Source) -> None:
    assert list(source.targets("tess", [1])) == [Target("TIC 123", "tess", (1,)), Target("TIC 124", "tess", (1,))]
    assert list(source.targets("tess", [2])) == [Target("TIC 123", "tess", (2,))]
    assert [target.target_id for target in source.targets("tess")] == ["TIC 123", "TIC 124"]
    assert list(source.targets("kepler", [2], limit=5)) == [Target("KIC 123", "kepler", (2,))]
    assert list(source.targets("k2")) == [Target("EPIC 201437844", "k2")]
    with pytest.raises(UsageError, match="which mission"):
        source.targets(None)


def test_a_known_script_saves_the_lists(mirror):
    with serve(mirror) as server:
        source = open_source(f"mirror:{server.url}", CONFIG)
        targets = list(source.targets("tess", [1]))
        server.asked.clear()
        for target in targets:
            fetch(target, source, CONFIG)
        assert server.asked == ["/", *(f"/{tess_key(1, int(target.target_id[4:]))}" for target in targets)]


def test_a_cache_needs_no_server(mirror, tmp_path):
    cache = Cache(tmp_path)
    absent = Target("TIC 7", "tess", (1,))
    with serve(mirror) as server:
        url = f"mirror:{server.url}"
        source = open_source(url, CONFIG, cache=cache)
        first = [fetch(target, source, CONFIG) for target in (replace(TIC, observations=(1, 2)), KIC, EPIC)]
        with pytest.raises(NoData):
            fetch(absent, source, CONFIG)
        asked = len(server.asked)
        again = open_source(url, CONFIG, cache=cache)
        second = [fetch(target, again, CONFIG) for target in (replace(TIC, observations=(1, 2)), KIC, EPIC)]
        with pytest.raises(NoData):
            fetch(absent, again, CONFIG)
        assert server.asked[asked:] == ["/"]
    for one, other in zip(first, second, strict=True):
        assert one.products == other.products
    # The cache is a mirror itself.
    assert fetch(KIC, open_source(f"mirror:{tmp_path}", CONFIG), CONFIG).products == first[1].products


def test_what_failed_is_not_remembered(mirror, tmp_path):
    cache = Cache(tmp_path)
    target = replace(TIC, observations=(1,))
    with serve(mirror) as server:
        source = open_source(f"mirror:{server.url}", CONFIG, cache=cache)
        for status in (500, 503, 429, 403):
            server.fault = lambda path, times, status=status: (status, b"") if path.endswith("fits") else None
            with pytest.raises(FetchFailed, match=rf"answers {status} \(2 attempts\)"):
                fetch(target, source, CONFIG)
        server.fault = lambda path, times: (200, b"<html>sign in</html>") if path.endswith("fits") else None
        with pytest.raises(FetchFailed, match="web page"):
            fetch(target, source, CONFIG)
        server.fault = lambda path, times: None
        server.truncate = True
        with pytest.raises(FetchFailed, match="2 attempts"):
            fetch(target, source, CONFIG)
        server.truncate = False
        assert not any(key.endswith(".fits") for key in list(cache.keys()))
        assert cache.missing(tess_key(1)) is None
        assert fetch(target, source, CONFIG).observations == [1]


def test_a_product_that_is_gone_is_remembered(mirror, tmp_path):
    cache = Cache(tmp_path)
    with serve(mirror) as server:
        source = open_source(f"mirror:{server.url}", CONFIG, cache=cache)
        server.fault = lambda path, times: (404, b"") if path.endswith("fits") else None
        with pytest.raises(NoData, match="no such file"):
            fetch(replace(TIC, observations=(1,)), source, CONFIG)
    assert "404" in (cache.missing(tess_key(1)) or "")
    with pytest.raises(NoData, match="404"):
        source.read(recognise_product(tess_key(1)))


def test_a_second_attempt_succeeds(mirror):
    with serve(mirror) as server:
        server.fault = lambda path, times: (503, b"busy") if times == 1 else None
        assert fetch(TIC, open_source(f"mirror:{server.url}", CONFIG), CONFIG).observations == [1, 2]


def test_without_a_network_every_star_is_worth_another_try(mirror, tmp_path):
    with serve(mirror) as server:
        url = server.url
    cache = Cache(tmp_path)
    source = open_source(f"mirror:{url}", CONFIG, cache=cache)
    for target in (TIC, KIC, EPIC):
        with pytest.raises(FetchFailed):
            fetch(target, source, CONFIG)
    assert cache.usage().missing == 0
    assert list(cache.keys()) == []


def test_a_full_cache_disk_does_not_stop_a_run(mirror, tmp_path, monkeypatch, caplog):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Cache, "put", fail)
    monkeypatch.setattr(Cache, "remember_missing", fail)
    with serve(mirror) as server:
        source = open_source(f"mirror:{server.url}", CONFIG, cache=Cache(tmp_path))
        assert fetch(KIC, source, CONFIG).observations == [1, 2]
        with pytest.raises(NoData):
            fetch(Target("KIC 7", "kepler"), source, CONFIG)
    assert len([record for record in caplog.records if "cannot be written" in record.message]) == 1


def test_real_stars_over_http(archive):
    with serve(archive) as server:
        source = open_source(f"mirror:{server.url}", CONFIG)
        folder = open_source(f"mirror:{archive}", CONFIG)
        for target in (Target("TIC 150065151", "tess"), Target("KIC 11442793", "kepler"), EPIC):
            assert fetch(target, source, CONFIG).products == fetch(target, folder, CONFIG).products


@pytest.fixture(scope="module")
def bucket(mirror) -> Iterator[str]:
    """The mirror as a bucket on a loopback S3 server."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    client.create_bucket(Bucket="stars", ACL="public-read")
    for path in sorted(mirror.rglob("*")):
        if path.is_file():
            key = f"deep/{path.relative_to(mirror).as_posix()}"
            client.put_object(Bucket="stars", Key=key, Body=path.read_bytes(), ACL="public-read")
    yield endpoint
    server.stop()


def test_s3_gives_what_the_folder_gives(bucket, mirror, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    folder = open_source(f"mirror:{mirror}", CONFIG)
    cache = Cache(tmp_path)
    source = open_source("mirror:s3://stars/deep", CONFIG, cache=cache)
    for target in (TIC, replace(TIC, observations=(2,)), KIC, EPIC):
        assert fetch(target, source, CONFIG).products == fetch(target, folder, CONFIG).products
    with pytest.raises(NoData, match="the archive has no light curve"):
        fetch(Target("TIC 7", "tess"), source, CONFIG)
    assert [target.target_id for target in source.targets("tess", [1])] == ["TIC 123", "TIC 124"]
    assert [target.target_id for target in source.targets("tess", [2])] == ["TIC 123"]
    with pytest.raises(NoData, match="no such file"):
        source.read(recognise_product(tess_key(9)))
    assert "no such file" in (cache.missing(tess_key(9)) or "")


def test_s3_out_of_reach(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    source = open_source("mirror:s3://stars", CONFIG)
    with pytest.raises(FetchFailed, match="2 attempts"):
        fetch(TIC, source, CONFIG)


# ---- retries and limits ----------------------------------------------------------------------------------------------


class Free:
    """A limiter that only counts."""

    asked = 0

    @contextlib.contextmanager
    def asking(self, host: str) -> Iterator[None]:
        self.asked += 1
        yield


def test_pauses_double_and_vary():
    pauses: list[float] = []
    run = load(overrides=["run.attempts=5", "run.backoff_s=1.0"]).run
    asked: list[int] = []

    def fail() -> None:
        asked.append(1)
        raise FetchFailed("no")

    with pytest.raises(FetchFailed, match=r"it: no \(5 attempts\)"):
        retry(fail, "it", run, sleep=pauses.append)
    assert len(asked) == 5
    assert len(pauses) == 4
    for pause, longest in zip(pauses, (1, 2, 4, 8), strict=True):
        assert longest / 2 <= pause <= longest


@pytest.mark.parametrize("error", [NoData("404"), BadFile("huge"), Down("dead")])
def test_what_is_final_is_not_tried_again(error):
    asked: list[int] = []

    def ask() -> None:
        asked.append(1)
        raise error

    with pytest.raises(type(error)):
        retry(ask, "it", CONFIG.run)
    assert len(asked) == 1


def test_where_the_server_says_how_long_to_wait_nobody_waits_longer():
    pauses: list[float] = []

    def ask() -> None:
        raise Busy("503", 7.0)

    with pytest.raises(FetchFailed, match="2 attempts"):
        retry(ask, "it", CONFIG.run, sleep=pauses.append)
    assert pauses == []


def test_any_limiter_will_do(mirror):
    limiter = Free()
    with serve(mirror) as server:
        fetch(KIC, open_source(f"mirror:{server.url}", CONFIG, limiter=limiter), CONFIG)
        assert limiter.asked == len(server.asked) == 4


# ---- MAST ------------------------------------------------------------------------------------------------------------


def test_mast_by_a_search_that_is_not_asked_here(mirror, monkeypatch, tmp_path):
    name = Path(tess_key(1)).name
    asked: list[tuple[str, str, str]] = []

    def search(target_id: str, mission: str, kind: str) -> list[tuple[str, str]]:
        asked.append((target_id, mission, kind))
        return [
            (name, f"mast:TESS/product/{name}"),
            ("tess_something_else.fits", "mast:TESS/product/else"),
            (Path(tess_key(1, 124)).name, "mast:TESS/product/neighbour"),
        ]

    write(tmp_path / "served", f"mast:TESS/product/{name}", (mirror / tess_key(1)).read_bytes())
    with serve(tmp_path / "served") as server:
        monkeypatch.setattr(sources, "_DOWNLOADS", f"{server.url}/")
        cache = Cache(tmp_path / "cache")
        source = MastSource(CONFIG, Free(), cache, search=search)
        lc = fetch(TIC, source, CONFIG)
    assert asked == [("TIC 123", "TESS", "light")]
    assert [product.product for product in lc.products] == [name]
    assert list(cache.keys()) == [f"mast/TESS/product/{name}"]
    with pytest.raises(NoData, match="MAST has no light curve"):
        fetch(Target("KIC 123", "kepler"), source, CONFIG)
    with pytest.raises(UsageError, match="single stars"):
        source.targets("tess")


@pytest.mark.parametrize(("kind", "name"), [("light", "search_lightcurve"), ("pixels", "search_targetpixelfile")])
def test_lightkurves_answers_and_failures(monkeypatch, kind, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightkurve
    from astropy.table import Table

    class Answer:
        table = Table({"productFilename": ["a.fits"], "dataURI": ["mast:a"]})

    class Empty:
        table = ()

    class Search:
        answer: object = Answer()
        cleared = 0

        def __call__(self, target_id: str, mission: str) -> object:
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        def cache_clear(self) -> None:
            self.cleared += 1

    search = Search()
    monkeypatch.setattr(lightkurve, name, search)
    assert sources._search_mast("TIC 1", "TESS", kind) == [("a.fits", "mast:a")]
    search.answer = Empty()
    assert sources._search_mast("TIC 1", "TESS", kind) == []
    for failure in (ConnectionError("no route"), TimeoutError("late"), lightkurve.search.SearchError("odd")):
        search.answer = failure
        with pytest.raises(FetchFailed, match="MAST: "):
            sources._search_mast("TIC 1", "TESS", kind)
    assert search.cleared == 5


# ---- a single file ---------------------------------------------------------------------------------------------------


def test_a_single_archive_file(mirror):
    source = open_source(f"file:{mirror / tess_key(1)}", CONFIG)
    (target,) = source.targets(None)
    assert target == TIC
    lc = fetch(target, source, CONFIG)
    assert (lc.products[0].author, lc.products[0].observation, lc.notes) == ("SPOC", 1, ())


def test_a_single_csv_file(tmp_path):
    time = np.arange(3000) / 720
    path = write(tmp_path, "my star.csv", "\n".join(["time,flux", *(f"{t + 1500:.6f},{1.0}" for t in time)]).encode())
    source = open_source(f"file:{path}", CONFIG)
    (target,) = source.targets(None)
    assert (target.target_id, target.mission) == ("FILE my star", "tess")
    lc = fetch(target, source, CONFIG)
    assert (lc.target_id, lc.products[0].author, lc.products[0].observation) == ("FILE my star", "upload", None)
    assert len(lc.notes) == 2
    said = open_source(f"file:{path}", CONFIG, mission="kepler", time_zero=2454833.0)
    (target,) = said.targets(None)
    lc = fetch(target, said, CONFIG)
    assert (lc.mission, lc.time_zero, lc.notes) == ("kepler", 2454833.0, ())
    assert said.describe() == {"source": f"file:{path}", "mission": "kepler", "time_zero": 2454833.0}
    # Somebody knows which star it is.
    assert fetch(Target("KIC 5", "kepler"), said, CONFIG).target_id == "KIC 5"
    with pytest.raises(UsageError, match="no mission"):
        open_source(f"file:{path}", CONFIG, mission="hubble")


def test_a_config_is_all_that_decides(mirror):
    source = open_source(f"mirror:{mirror}", CONFIG)
    sap = Config(fetch=CONFIG.fetch.model_copy(update={"flux": "sap"}))
    assert fetch(TIC, source, sap).products[0].flux_column == "SAP_FLUX"
