"""Where pixel files and centroids come from: the same sources as light curves; nothing here leaves the machine."""

import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from survey.config import load
from survey.errors import FetchFailed
from survey.stars import sources
from survey.stars.cache import Cache
from survey.stars.limits import Limits, Policy
from survey.stars.products import k2_folder, k2_name, kepler_folder, recognise_product, tess_folder, tess_pixels
from survey.stars.sources import MastSource, fetch, fetch_light_centres, fetch_pixels, open_source
from survey.stars.targets import Target
from tests.stars.fits_files import fits_bytes, pixel_bytes, spoc_bytes, write
from tests.stars.servers import Loopback, serve

CONFIG = load(overrides=["run.attempts=2", "run.backoff_s=0.0", "run.requests_per_s=10000", "run.timeout_s=5"])
TIC, KIC, EPIC = Target("TIC 123", "tess"), Target("KIC 123", "kepler"), Target("EPIC 201437844", "k2")


def light_key(sector: int, tic: int = 123) -> str:
    return f"{tess_folder(tic, sector)}tess2018206045859-s{sector:04d}-{tic:016d}-0120-s_lc.fits"


def pixels_key(sector: int, tic: int = 123) -> str:
    return tess_pixels(light_key(sector, tic))


def fast_key(sector: int) -> str:
    return pixels_key(sector).replace("s_tp", "a_fast-tp")


def kepler_key(stamp: str, kind: str = "lpd") -> str:
    return f"{kepler_folder(123, 'pixels')}kplr000000123-{stamp}_{kind}-targ.fits.gz"


K2_KEY = k2_folder(201437844, 102, "pixels") + k2_name(201437844, 102, "pixels")
SCRIPT_KEY = "missions/tess/download_scripts/sector/tesscurl_sector_1_lc.sh"


@pytest.fixture(scope="module")
def mirror(tmp_path_factory) -> Path:
    """TIC 123 in sectors 1 (20 s too) and 2, TIC 124 without pixels; KIC 123 in quarters 1 (one month) and 2; K2."""
    folder = tmp_path_factory.mktemp("mirror")
    for sector in (1, 2):
        write(folder, light_key(sector), spoc_bytes(sector=sector))
        write(folder, pixels_key(sector), pixel_bytes(observation=sector))
    write(folder, fast_key(1), pixel_bytes(60))
    write(folder, light_key(1, 124), spoc_bytes(tic=124))
    pixels = {"mission": "kepler", "shape": (5, 4), "aperture": np.full((5, 4), 3, np.int32)}
    write(folder, kepler_key("2009166044711", "spd"), gzip.compress(pixel_bytes(60, **pixels)))
    write(folder, kepler_key("2009259160929"), gzip.compress(pixel_bytes(observation=2, **pixels)))
    pixels |= {"mission": "k2", "number": 201437844, "observation": 102}
    write(folder, K2_KEY, gzip.compress(pixel_bytes(**pixels)))
    lines = [
        f"curl -C - -L -o {Path(key).name} https://x.org/{Path(key).name}" for key in (light_key(1), light_key(1, 124))
    ]
    write(folder, SCRIPT_KEY, "\n".join(["#!/bin/sh", *lines, ""]).encode())
    return folder


def products_of(target: Target, source: sources.Source, **pixels: int) -> list[str]:
    config = CONFIG.model_copy(update={"pixels": CONFIG.pixels.model_copy(update=pixels)})
    return [file.product for file in fetch_pixels(target, source, config)[0]]


def names_of(*keys: str) -> list[str]:
    return [Path(key).name for key in keys]


# ---- a folder --------------------------------------------------------------------------------------------------------


def test_the_slowest_file_of_every_observation(mirror):
    source = open_source(f"mirror:{mirror}", CONFIG)
    assert products_of(TIC, source) == names_of(pixels_key(1), pixels_key(2))
    months = names_of(kepler_key("2009166044711", "spd"), kepler_key("2009259160929"))
    assert products_of(KIC, source) == months
    assert products_of(EPIC, source) == names_of(K2_KEY)
    fast = CONFIG.model_copy(update={"fetch": CONFIG.fetch.model_copy(update={"fast_cadence": True})})
    assert [file.product for file in fetch_pixels(TIC, source, fast)[0]] == names_of(pixels_key(1), pixels_key(2))
    (first,) = fetch_pixels(replace(TIC, observations=(1,)), source, CONFIG)[0]
    assert (first.observation, first.flux.shape) == (1, (50, 11, 13))


def test_observations_asked_for_and_the_latest(mirror):
    source = open_source(f"mirror:{mirror}", CONFIG)
    assert products_of(replace(TIC, observations=(1, 7)), source) == names_of(pixels_key(1))
    assert products_of(replace(EPIC, observations=(10,)), source) == names_of(K2_KEY)
    assert products_of(replace(EPIC, observations=(11,)), source) == []
    assert products_of(TIC, source, max_products=1) == names_of(pixels_key(2))


def test_no_pixels_are_no_error(mirror):
    source = open_source(f"mirror:{mirror}", CONFIG)
    for absent in (
        Target("TIC 124", "tess"),
        Target("TIC 7", "tess"),
        Target("KIC 7", "kepler"),
        Target("EPIC 7", "k2"),
    ):
        assert source.find_pixels(absent) == fetch_pixels(absent, source, CONFIG)[0] == []
    single = open_source(f"file:{mirror / light_key(1)}", CONFIG)
    assert single.find_pixels(TIC) == []


def test_light_curves_are_never_pixels(mirror):
    source = open_source(f"mirror:{mirror}", CONFIG)
    for target in (TIC, KIC, EPIC):
        assert all(recognise_product(ref.key) is None for ref in source.find_pixels(target))
    assert [ref.name for ref in source.find(TIC)] == names_of(light_key(1), light_key(2))
    assert [star.target_id for star in source.targets(None)] == ["TIC 123", "TIC 124"]


def test_unusable_files_are_left_out_and_told(mirror, tmp_path):
    write(tmp_path, pixels_key(1), (mirror / pixels_key(1)).read_bytes())
    write(tmp_path, pixels_key(2), (mirror / pixels_key(2)).read_bytes()[:20_000])
    write(tmp_path, pixels_key(3), pixel_bytes(number=99, observation=3))
    write(tmp_path, pixels_key(4), pixel_bytes(1, observation=4))
    found, left_out = fetch_pixels(TIC, open_source(f"mirror:{tmp_path}", CONFIG), CONFIG)
    assert [file.product for file in found] == names_of(pixels_key(1))
    reasons = ("truncated", "holds TIC 99, not TIC 123", "1 of 1 cadences")
    assert all(words in reason for words, reason in zip(reasons, left_out, strict=True))


def test_a_disk_that_fails_is_worth_another_try(mirror, monkeypatch):
    source = open_source(f"mirror:{mirror}", CONFIG)
    source.find_pixels(TIC)

    def fail(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(FetchFailed, match="Permission denied"):
        fetch_pixels(TIC, source, CONFIG)


# ---- behind a network ------------------------------------------------------------------------------------------------


@pytest.fixture(params=["index", "s3", "none"])
def server(request, mirror) -> Iterator[Loopback]:
    with serve(mirror, request.param) as loopback:
        yield loopback


def test_http_gives_what_the_folder_gives(server, mirror):
    folder, web = open_source(f"mirror:{mirror}", CONFIG), open_source(f"mirror:{server.url}", CONFIG)
    targets = [
        replace(TIC, observations=(1,)),
        EPIC,
        replace(EPIC, observations=(10,)),
        replace(KIC, observations=(2,)),
    ]
    if server.lists != "none":
        targets += [TIC, KIC]
    for target in targets:
        ours, theirs = fetch_pixels(target, web, CONFIG)[0], fetch_pixels(target, folder, CONFIG)[0]
        assert [file.sha256 for file in ours] == [file.sha256 for file in theirs] != []
    absent_stars = [Target("TIC 124", "tess", (1,)), Target("TIC 7", "tess", (1,)), Target("KIC 7", "kepler")]
    for absent in (*absent_stars, Target("EPIC 7", "k2"), TIC if server.lists == "none" else Target("TIC 7", "tess")):
        assert fetch_pixels(absent, web, CONFIG) == ([], [])


def test_the_script_of_a_sector_tells_the_pixels_too(mirror):
    with serve(mirror) as server:
        source = open_source(f"mirror:{server.url}", CONFIG)
        list(source.targets("tess", [1]))
        server.asked.clear()
        assert products_of(replace(TIC, observations=(1,)), source) == names_of(pixels_key(1))
        assert server.asked == ["/", f"/{pixels_key(1)}"]


def test_a_cache_needs_no_server(mirror, tmp_path):
    cache = Cache(tmp_path)
    stars = (TIC, KIC, EPIC, Target("EPIC 7", "k2"))
    with serve(mirror) as server:
        source = open_source(f"mirror:{server.url}", CONFIG, cache=cache)
        before = [products_of(star, source) for star in stars]
        server.asked.clear()
        assert [products_of(star, source) for star in stars] == before == [*before[:3], []]
        assert server.asked == []
    assert cache.holds(pixels_key(2))


def test_an_archive_that_cannot_be_asked(mirror, tmp_path):
    with serve(mirror) as server:
        source = open_source(f"mirror:{server.url}", CONFIG, cache=Cache(tmp_path))
        server.fault = lambda path, times: (500, b"") if path.endswith("_tp.fits") else None
        with pytest.raises(FetchFailed, match="500"):
            fetch_pixels(TIC, source, CONFIG)
        server.fault = lambda path, times: (500, b"")
        with pytest.raises(FetchFailed, match="500"):
            open_source(f"mirror:{server.url}", CONFIG).find_pixels(TIC)
        server.fault = lambda path, times: None
        assert products_of(TIC, source) == names_of(pixels_key(1), pixels_key(2))


def test_mast_by_a_search_that_is_not_asked_here(mirror, monkeypatch, tmp_path):
    (name,) = names_of(pixels_key(1))
    asked: list[tuple[str, str, str]] = []

    def search(target_id: str, mission: str, kind: str) -> list[tuple[str, str]]:
        asked.append((target_id, mission, kind))
        names = [name, name.replace("s_tp", "s_lc"), *names_of(pixels_key(1, 124), kepler_key("2009259160929"))]
        return [(found, f"mast:TESS/product/{found}") for found in names]

    write(tmp_path / "served", f"mast:TESS/product/{name}", (mirror / pixels_key(1)).read_bytes())
    with serve(tmp_path / "served") as server:
        monkeypatch.setattr(sources, "_DOWNLOADS", f"{server.url}/")
        source = MastSource(CONFIG, Limits(Policy.of(CONFIG.run)), None, search=search)
        assert products_of(TIC, source) == [name]
        assert source.find_pixels(Target("EPIC 7", "k2")) == []
    assert asked == [("TIC 123", "TESS", "pixels"), ("EPIC 7", "K2", "pixels")]


# ---- centroids -------------------------------------------------------------------------------------------------------


def centred_bytes(sector: int = 1, **columns: object) -> bytes:
    steps = np.arange(1000)
    return fits_bytes(
        {
            "TIME": 1300 + 25 * sector + steps / 720,
            "PDCSAP_FLUX": 1000 + (steps % 7).astype(np.float32),
            "QUALITY": np.zeros(1000, np.int32),
            "MOM_CENTR1": 100 + steps / 1000,
            "MOM_CENTR2": 200 - steps / 1000,
            **columns,
        },
        primary={"TELESCOP": "TESS", "OBJECT": "TIC 123", "SECTOR": sector},
        header={"BJDREFI": 2457000},
    )


def test_centroids_of_the_files_that_are_searched(tmp_path, caplog):
    """Where the best file of a sector is damaged, `fetch` reads the next best, and so the centroids come from there."""
    write(tmp_path, light_key(1), centred_bytes(1)[:9000])
    spare = "hlsp_tess-spoc_tess_phot_0000000000000123-s0001_tess_v1_lc.fits"
    write(tmp_path, spare, centred_bytes(1))
    write(tmp_path, light_key(2), centred_bytes(2))
    write(tmp_path, spare.replace("s0001", "s0002"), centred_bytes(2))
    write(tmp_path, light_key(3), spoc_bytes(sector=3, start=1400))
    source = open_source(f"mirror:{tmp_path}", CONFIG)
    centres = fetch_light_centres(TIC, source, CONFIG)
    searched = {product.product: product.sha256 for product in fetch(TIC, source, CONFIG).products}
    assert [centre.product for centre in centres] == [spare, *names_of(light_key(2))]
    assert list(searched) == [spare, *names_of(light_key(2), light_key(3))]
    assert all(searched[centre.product] == centre.sha256 for centre in centres)
    assert [centre.observation for centre in fetch_light_centres(replace(TIC, observations=(2,)), source, CONFIG)] == [
        2
    ]
    assert fetch_light_centres(Target("TIC 7", "tess"), source, CONFIG) == []


def test_damaged_centroids_do_not_bring_in_another_file(tmp_path, caplog):
    """The light of the file is searched, so no other may stand in for its centroids."""
    triple = fits.Column("MOM_CENTR1", "3E", array=np.ones((1000, 3)))
    write(tmp_path, light_key(1), centred_bytes(MOM_CENTR1=triple))
    write(tmp_path, "hlsp_tess-spoc_tess_phot_0000000000000123-s0001_tess_v1_lc.fits", centred_bytes(1))
    assert fetch_light_centres(TIC, open_source(f"mirror:{tmp_path}", CONFIG), CONFIG) == []
    assert "MOM_CENTR1 holds" in caplog.text


def test_centroids_of_a_single_file(tmp_path):
    path = write(tmp_path, "mine.csv", "\n".join(["time,flux", *(f"{1500 + k / 720},1" for k in range(500))]).encode())
    assert fetch_light_centres(Target("TIC 5", "tess"), open_source(f"file:{path}", CONFIG), CONFIG) == []


@pytest.mark.verify
def test_real_stars_have_centroids_for_the_files_that_are_searched(archive):
    source = open_source(f"mirror:{archive}", CONFIG)
    for target in (Target("TIC 150065151", "tess"), Target("KIC 11442793", "kepler"), EPIC):
        searched = [(product.product, product.sha256) for product in fetch(target, source, CONFIG).products]
        centres = fetch_light_centres(target, source, CONFIG)
        assert [(centre.product, centre.sha256) for centre in centres] == searched
        assert all(centre.sky is not None and centre.pointing is not None for centre in centres)
