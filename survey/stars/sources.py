"""Where light curves come from: a mirror of the archive, MAST, the demo's simulated archive, or a single file.

One interface for all: `find` the light curves of a star, `find_pixels` its target pixel files, `read` one of them.
`fetch` makes a light curve of it: it gathers all observations, reads the best product of each, cleans, normalises and
stitches them. `fetch_pixels` and `fetch_light_centres` are for the few stars that show a signal.

    mirror:FOLDER | mirror:s3://bucket[/prefix] | mirror:https://host/root    the archive's own keys (`products`)
    mast         single stars, through lightkurve's search
    demo         made on this machine, no network
    file:PATH    one FITS, CSV or text file
"""

import hashlib
import logging
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from survey.config import Config, FetchConfig
from survey.errors import BadFile, FetchFailed, NoData, PermanentError, TooShort, UsageError
from survey.stars.cache import Cache, Part
from survey.stars.fits import read_table
from survey.stars.lightcurve import LightCurve, bin_in_time, drop_edges, normalise, stitch
from survey.stars.limits import Limiter, Limits, Policy
from survey.stars.pixels import LightCentre, TargetPixels, read_light_centre, read_pixels
from survey.stars.products import (
    K2_CAMPAIGNS,
    Kind,
    ProductRef,
    choose_products,
    is_wanted,
    k2_folder,
    k2_name,
    kepler_folder,
    kepler_names,
    rank_products,
    recognise_product,
    tess_folder,
    tess_pixels,
)
from survey.stars.reading import (
    AUTHOR_OF_UPLOADS,
    TRUSTED,
    UNNAMED,
    Bounds,
    read_file,
    read_light_curve,
    table_target,
)
from survey.stars.remote import PUBLIC_BUCKET, HttpClient, open_store, walk
from survey.stars.targets import MISSIONS, Target, parse_download_script

__all__ = [
    "ProductRef",
    "Source",
    "choose_pixels",
    "choose_products",
    "fetch",
    "fetch_light_centres",
    "fetch_pixels",
    "open_source",
]

log = logging.getLogger(__name__)

T = TypeVar("T")
_ByStar = dict[str, list[ProductRef]]

_SCRIPTS = "missions/tess/download_scripts/sector/"
_SCRIPTS_HOST = "https://archive.stsci.edu/"
_MAST = "mast.stsci.edu"
_DOWNLOADS = f"https://{_MAST}/api/v0.1/Download/file/?uri="


class Source(Protocol):
    """Where the light curves of stars are found and read."""

    name: str

    def find(self, target: Target) -> list[ProductRef]:
        """All light-curve products of a star, in an order that depends on their keys alone.

        Raises NoData if there is none, FetchFailed if the archive could not be asked.
        """

    def read(self, ref: ProductRef) -> bytes:
        """The bytes of a product, as the archive keeps them. Raises NoData, FetchFailed, BadFile."""

    def find_pixels(self, target: Target) -> list[ProductRef]:
        """All target pixel files of a star, in an order that depends on their keys alone; none where there are none.

        Raises FetchFailed if the archive could not be asked.
        """

    def targets(
        self, mission: str | None, observations: Sequence[int] = (), limit: int | None = None
    ) -> Iterator[Target]:
        """The stars that the archive holds, of one mission or all, in some of its observations or all."""

    def describe(self) -> dict[str, Any]:
        """What a run records about its source."""


def open_source(
    text: str,
    config: Config,
    *,
    cache: Cache | None = None,
    limiter: Limiter | None = None,
    mission: str | None = None,
    time_zero: float | None = None,
) -> Source:
    """The source that a text names (see the module); mission and time_zero (BJD) say what a single file does not.

    limiter: shared by all requests; by default what `run` allows, over the threads of this process. Asks no network.
    Raises UsageError.
    """
    kind, _, place = text.partition(":")
    limiter = limiter or Limits(Policy.of(config.run))
    if kind == "mirror" and "://" in place:
        return RemoteSource(place, config, limiter, cache)
    if kind == "mirror" and place:
        return FolderSource(place)
    if text == "mast":
        return MastSource(config, limiter, cache)
    if text == "demo":
        return FolderSource(demo_archive(), name="demo")
    if kind == "file" and place:
        return FileSource(place, config.fetch, mission=mission, time_zero=time_zero)
    raise UsageError(f"no source {text!r}: give mirror:FOLDER_OR_URL, mast, demo or file:PATH")


def fetch(target: Target, source: Source, config: Config) -> LightCurve:
    """The star's light curve: all its observations, or those that the target names.

    Of each observation the best product is read (`products.rank_products`); if that cannot be used, the next best.
    Cadences with quality flags and without values go, each product is divided by its median, edges of gaps are dropped
    and light curves above `clean.max_cadences` averaged in time, as configured. What was left out stands in `notes`.

    Raises NoData, BadFile or TooShort if nothing usable is left, FetchFailed if any product could not be had: a light
    curve never depends on what the network happened to deliver.
    """
    refs = source.find(target)
    ranked = rank_products(refs, target, config.fetch)
    if not ranked:
        asked = f"{MISSIONS[target.mission].observation} {_join(target.observations)}"
        there = _join(sorted({ref.observation for ref in refs if ref.observation is not None}))
        raise NoData(f"{target.target_id}: no light curve of {asked}; there are {there or 'none'}")
    read = partial(_read_product, target=target, source=source, config=config.fetch)
    curves: list[LightCurve] = []
    failures: list[PermanentError] = []
    for alternatives in ranked.values():
        curves += _read_best(alternatives, read, failures)
    if not curves:
        raise failures[0]
    lc = drop_edges(stitch(curves), config.clean.edge_hours, config.detrend.gap_days)
    lc = replace(lc, notes=(*lc.notes, *(f"left out: {failure}" for failure in failures)))
    if lc.time.size < config.clean.min_cadences:
        raise TooShort(f"{target.target_id}: {lc.time.size} good cadences, a search needs {config.clean.min_cadences}")
    if lc.baseline < config.search.min_transits * config.search.period_min:
        raise TooShort(
            f"{target.target_id}: {lc.baseline:.3f} d of data, less than {config.search.min_transits} times the "
            f"shortest period searched ({config.search.period_min:g} d)"
        )
    return bin_in_time(lc, config.clean.max_cadences)


def fetch_pixels(target: Target, source: Source, config: Config) -> tuple[list[TargetPixels], list[str]]:
    """The star's target pixel files, those of `choose_pixels`; none where the source has none.

    A file has some 50 MB (a light curve 2), so they are for the few stars whose signals deserve it. Beside them, which
    files could not be used, and why. Raises FetchFailed if any could not be had.
    """
    found, left_out = [], []
    for ref in choose_pixels(target, source, config):
        try:
            found.append(_read_pixels(ref, target, source, config.fetch))
        except NoData:
            # Its name was derived from that of a light curve.
            continue
        except PermanentError as error:
            left_out.append(str(error))
    return found, left_out


def choose_pixels(target: Target, source: Source, config: Config) -> list[ProductRef]:
    """The star's pixel files that are looked at: at most `pixels.max_products`, the latest.

    Of each observation only the files of the longest cadence, 2 min before 20 s whatever is searched: short ones are
    large and say no more of where a signal comes from. Raises FetchFailed if the archive could not be asked.
    """
    slow = config.fetch.model_copy(update={"fast_cadence": False})
    return choose_products(source.find_pixels(target), target, slow)[-config.pixels.max_products :]


def _read_pixels(ref: ProductRef, target: Target, source: Source, config: FetchConfig) -> TargetPixels:
    pixels = read_pixels(source.read(ref), ref.name, config)
    if pixels.target_id != target.target_id:
        raise BadFile(f"{ref.name}: holds {pixels.target_id}, not {target.target_id}")
    return pixels


def fetch_light_centres(target: Target, source: Source, config: Config) -> list[LightCentre]:
    """The motion of the light's centre from the light-curve files that `fetch` reads, where they tell it.

    Raises FetchFailed if any could not be had.
    """
    try:
        ranked = rank_products(source.find(target), target, config.fetch)
    except NoData:
        return []
    read = partial(_read_light_centre, target=target, source=source, config=config.fetch)
    found = [centre for alternatives in ranked.values() for centre in _read_best(alternatives, read, [])]
    return [centre for centre in found if centre is not None]


def _read_light_centre(ref: ProductRef, target: Target, source: Source, config: FetchConfig) -> LightCentre | None:
    """None where a file that `fetch` reads does not say it; raises what makes `fetch` leave a file out."""
    data = source.read(ref)
    _light_curve(data, ref, target, config)
    return _read_usable(ref, lambda ref: read_light_centre(data, ref.name, config))


def _read_usable(ref: ProductRef, read: Callable[[ProductRef], T]) -> T | None:
    try:
        return read(ref)
    except PermanentError as error:
        log.warning("%s is left out: %s", ref.name, error)
        return None


def _read_best(
    alternatives: Iterable[tuple[ProductRef, ...]], read: Callable[[ProductRef], T], failures: list[PermanentError]
) -> list[T]:
    """The first alternative of which anything can be used; why others could not goes to `failures`."""
    for refs in alternatives:
        usable = []
        for ref in refs:
            try:
                usable.append(read(ref))
            except PermanentError as error:
                failures.append(error)
        if usable:
            return usable
    return []


def _read_product(ref: ProductRef, target: Target, source: Source, config: FetchConfig) -> LightCurve:
    return normalise(_light_curve(source.read(ref), ref, target, config))


def _light_curve(data: bytes, ref: ProductRef, target: Target, config: FetchConfig) -> LightCurve:
    lc = read_light_curve(data, ref.name, config, mission=ref.said_mission, time_zero=ref.said_time_zero)
    if lc.target_id.startswith(UNNAMED):
        lc = replace(lc, target_id=target.target_id)
    if lc.target_id != target.target_id:
        raise BadFile(f"{ref.name}: holds {lc.target_id}, not {target.target_id}")
    return lc


def _join(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers)


class FolderSource:
    """A mirror on disk: every file of the archives below the folder, recognised by its name, wherever it lies."""

    def __init__(self, folder: str | Path, *, name: str | None = None) -> None:
        self._folder = Path(folder)
        self.name = name or f"mirror:{folder}"
        if not self._folder.is_dir():
            raise UsageError(f"no folder {folder}: give a mirror of the archive, a folder with light-curve files")
        self._index: dict[Kind, _ByStar] | None = None
        self._lock = threading.Lock()

    def find(self, target: Target) -> list[ProductRef]:
        refs = self._products().get(target.target_id, [])
        if not refs:
            raise NoData(f"{target.target_id}: no light curve in the mirror")
        return refs

    def find_pixels(self, target: Target) -> list[ProductRef]:
        return self._files()["pixels"].get(target.target_id, [])

    def read(self, ref: ProductRef) -> bytes:
        try:
            return (self._folder / ref.key).read_bytes()
        except FileNotFoundError:
            raise NoData(f"{ref.key}: the file is gone from the mirror") from None
        except OSError as error:
            raise FetchFailed(f"{ref.key}: {error.strerror}") from error

    def targets(
        self, mission: str | None, observations: Sequence[int] = (), limit: int | None = None
    ) -> Iterator[Target]:
        stars = (_target_of(refs, observations) for _, refs in sorted(self._products().items(), key=_star_order))
        return islice((star for star in stars if star and mission in (None, star.mission)), limit)

    def describe(self) -> dict[str, Any]:
        return {"source": self.name}

    def _products(self) -> _ByStar:
        return self._files()["light"]

    def _files(self) -> dict[Kind, _ByStar]:
        """Light curves and pixel files by star; the folder is walked once."""
        with self._lock:
            if self._index is None:
                self._index = {"light": {}, "pixels": {}}
                for kind, ref in self._walk():
                    self._index[kind].setdefault(ref.target_id or "", []).append(ref)
            return self._index

    def _walk(self) -> Iterator[tuple[Kind, ProductRef]]:
        for folder, folders, names in os.walk(self._folder):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                key = path.relative_to(self._folder).as_posix()
                if (ref := recognise_product(key, "pixels")) is not None:
                    yield "pixels", ref
                elif (ref := _with_star(recognise_product(key), path)) is not None:
                    yield "light", ref


def _with_star(ref: ProductRef | None, path: Path) -> ProductRef | None:
    """TGLC's names have Gaia's number; the TIC number stands in the header."""
    if ref is None or ref.target_id is not None:
        return ref
    try:
        target_id = table_target(read_table(path.read_bytes(), path.name))
    except (BadFile, OSError) as error:
        log.warning("%s: not usable, its star is unknown: %s", path, error)
        return None
    return None if target_id is None else replace(ref, target_id=target_id)


def _star_order(item: tuple[str, object]) -> tuple[str, int]:
    prefix, _, number = item[0].partition(" ")
    return prefix, int(number)


def _target_of(refs: Sequence[ProductRef], observations: Sequence[int]) -> Target | None:
    """The star of some products, None if it was not observed when asked for."""
    if not any(is_wanted(ref.observation, observations) for ref in refs):
        return None
    return Target(refs[0].target_id or "", refs[0].mission, tuple(sorted(set(observations))))


class _CachedReads:
    """Reading through a cache, for sources behind a network."""

    def __init__(self, cache: Cache | None) -> None:
        self._cache = cache
        self._warned = False

    def read(self, key: str, download: Callable[[Part], bytes]) -> bytes:
        """From the cache, or downloaded and kept; what the archive does not have is remembered.

        download: goes on with what came before, and leaves what came where it fails.
        """
        if self._cache is None:
            return download(Part())
        if (data := self._cache.get(key)) is not None:
            return data
        if (reason := self._cache.missing(key)) is not None:
            raise NoData(reason)
        part = self._cache.part(key)
        try:
            data = download(part)
        except NoData as error:
            self.remember_missing(key, str(error))
            raise
        except BaseException:  # an interruption, too, leaves what came; it goes on
            self._store(lambda cache: cache.keep_part(key, part))
            raise
        self._store(lambda cache: cache.put(key, data))
        return data

    def holds(self, key: str) -> bool:
        return self._cache is not None and self._cache.holds(key)

    def missing(self, key: str) -> bool:
        return self._cache is not None and self._cache.missing(key) is not None

    def remember_missing(self, key: str, reason: str) -> None:
        self._store(lambda cache: cache.remember_missing(key, reason))

    def _store(self, store: Callable[[Cache], None]) -> None:
        """A cache that cannot be written slows a run down and does not end it."""
        try:
            if self._cache is not None:
                store(self._cache)
        except OSError as error:
            if not self._warned:
                log.warning("the cache cannot be written, going on without: %s", error)
                self._warned = True


class RemoteSource:
    """A mirror behind S3 or HTTP with the archive's own keys.

    A TESS star's folder is listed in each sector asked for (in all sectors of the mirror if none is), a Kepler star's
    folder once; K2's files are asked for by name in every campaign. Where a sector's download script is at hand, it
    tells the exact file names and which stars were observed, and nothing is listed. A server without lists works
    through scripts and known names. Pixel files are found in the same ways.
    """

    def __init__(self, url: str, config: Config, limiter: Limiter, cache: Cache | None) -> None:
        self.name = f"mirror:{url}"
        self._store = open_store(url, config.run, limiter)
        is_public = url.startswith(f"s3://{PUBLIC_BUCKET}") and "AWS_ENDPOINT_URL" not in os.environ
        self._scripts_store = open_store(_SCRIPTS_HOST, config.run, limiter) if is_public else self._store
        self._reads = _CachedReads(cache)
        self._fast = config.fetch.fast_cadence
        self._scripts: dict[int, dict[str, str] | None] = {}
        self._sectors: tuple[int, ...] | None = None
        self._lock = threading.Lock()

    def find(self, target: Target) -> list[ProductRef]:
        refs = self._find(target, "light")
        if not refs:
            word = MISSIONS[target.mission].observation
            asked = f" in {word} {_join(target.observations)}" if target.observations else ""
            raise NoData(f"{target.target_id}: the archive has no light curve{asked}")
        return refs

    def find_pixels(self, target: Target) -> list[ProductRef]:
        try:
            return self._find(target, "pixels")
        except NoData:
            # A server that cannot list its sectors.
            return []

    def _find(self, target: Target, kind: Kind) -> list[ProductRef]:
        find = {"tess": self._find_tess, "kepler": self._find_kepler, "k2": self._find_k2}[target.mission]
        refs = (recognise_product(key, kind) for key in find(target, kind))
        known = (ref for ref in refs if ref is not None and ref.target_id == target.target_id)
        return sorted(known, key=lambda ref: ref.key)

    def read(self, ref: ProductRef) -> bytes:
        return self._reads.read(ref.key, lambda part: self._store.read(ref.key, part))

    def targets(
        self, mission: str | None, observations: Sequence[int] = (), limit: int | None = None
    ) -> Iterator[Target]:
        if mission is None:
            raise UsageError(f"{self.name}: say which mission's stars, tess, kepler or k2")
        return islice(self._all_targets(mission, observations), limit)

    def describe(self) -> dict[str, Any]:
        return {"source": self.name}

    def _all_targets(self, mission: str, observations: Sequence[int]) -> Iterator[Target]:
        seen: set[str] = set()
        for target_id in self._star_names(mission, observations):
            if target_id not in seen:
                seen.add(target_id)
                yield Target(target_id, mission, tuple(sorted(set(observations))))

    def _star_names(self, mission: str, observations: Sequence[int]) -> Iterator[str]:
        if mission == "tess":
            for sector in observations or self._all_sectors():
                if (script := self._script(sector)) is not None:
                    yield from script
                else:
                    yield from self._walk_stars(f"tess/public/tid/s{sector:04d}/", [sector])
        elif mission == "kepler":
            yield from self._walk_stars("kepler/public/lightcurves/", observations)
        else:
            for campaign in K2_CAMPAIGNS:
                if is_wanted(campaign, observations):
                    yield from self._walk_stars(f"k2/public/lightcurves/c{campaign}/", observations)

    def _walk_stars(self, folder: str, observations: Sequence[int]) -> Iterator[str]:
        if not self._store.can_list():
            raise UsageError(f"{self.name} cannot list its stars: give a target list")
        for key in walk(self._store, folder):
            ref = recognise_product(key)
            if ref is not None and ref.target_id is not None and is_wanted(ref.observation, observations):
                yield ref.target_id

    def _find_tess(self, target: Target, kind: Kind) -> Iterator[str]:
        for sector in target.observations or self._all_sectors():
            folder = tess_folder(target.number, sector)
            script = self._known_script(sector)
            if script is not None:
                if target.target_id in script:
                    name = script[target.target_id]
                    yield folder + (name if kind == "light" else tess_pixels(name))
            else:
                yield from self._list(folder)

    def _known_script(self, sector: int) -> dict[str, str] | None:
        """A sector's script, where it saves a request: if it is here already, or if the server lists nothing."""
        at_hand = sector in self._scripts or self._reads.holds(_script_key(sector))
        if self._store.can_list() and (self._fast or not at_hand):
            return None
        return self._script(sector)

    def _find_kepler(self, target: Target, kind: Kind) -> Iterator[str]:
        folder = kepler_folder(target.number, kind)
        if self._store.can_list():
            yield from self._list(folder)
        else:
            for quarter, name in kepler_names(target.number, kind):
                if is_wanted(quarter, target.observations) and self._exists(folder + name):
                    yield folder + name

    def _find_k2(self, target: Target, kind: Kind) -> Iterator[str]:
        for campaign in K2_CAMPAIGNS:
            key = k2_folder(target.number, campaign, kind) + k2_name(target.number, campaign, kind)
            if is_wanted(campaign, target.observations) and self._exists(key):
                yield key

    def _list(self, folder: str) -> list[str]:
        """Keys in a star's folder, remembered in the cache: what was once observed does not change."""

        def download(part: Part) -> bytes:
            files = self._store.list(folder).files
            if not files:
                raise NoData(f"{folder}: the archive has nothing there")
            return "\n".join(files).encode()

        try:
            names = self._reads.read(folder + ".listing", download).decode().splitlines()
        except NoData:
            return []
        return [folder + name for name in names]

    def _exists(self, key: str) -> bool:
        if self._reads.holds(key):
            return True
        if self._reads.missing(key):
            return False
        exists = self._store.exists(key)
        if not exists:
            self._reads.remember_missing(key, f"{key}: the archive has no such file")
        return exists

    def _all_sectors(self) -> tuple[int, ...]:
        with self._lock:
            if self._sectors is None:
                if not self._store.can_list():
                    raise NoData(f"{self.name} cannot list its sectors: name the sectors")
                names = self._store.list("tess/public/tid/").folders
                self._sectors = tuple(int(name[1:5]) for name in names if re.fullmatch(r"s\d{4}/", name))
            return self._sectors

    def _script(self, sector: int) -> dict[str, str] | None:
        """Star -> file name of a sector's 2-min light curves; None if the archive has no script of it."""
        with self._lock:
            if sector not in self._scripts:
                key = _script_key(sector)
                try:
                    text = self._reads.read(key, lambda part: self._scripts_store.read(key, part)).decode(
                        "utf-8", "replace"
                    )
                    listed = parse_download_script(text)
                except NoData:
                    self._scripts[sector] = None
                except UsageError as error:
                    raise FetchFailed(f"the download script of sector {sector}: {error}") from error
                else:
                    names = [(line.target.target_id, line.product) for line in listed]
                    self._scripts[sector] = {star: name for star, name in names if name.endswith("-s_lc.fits")}
            return self._scripts[sector]


def _script_key(sector: int) -> str:
    return f"{_SCRIPTS}tesscurl_sector_{sector}_lc.sh"


Search = Callable[..., Any]


class MastSource:
    """Single stars and odd products by the search of lightkurve; slow (a minute a star), so nothing for a sweep."""

    def __init__(self, config: Config, limiter: Limiter, cache: Cache | None, *, search: Search | None = None) -> None:
        self.name = "mast"
        self._client = HttpClient(config.run, limiter)
        self._limiter = limiter
        self._reads = _CachedReads(cache)
        self._search = search or _search_mast

    def find(self, target: Target) -> list[ProductRef]:
        refs = self._find(target, "light")
        if not refs:
            raise NoData(f"{target.target_id}: MAST has no light curve of a known pipeline")
        return refs

    def find_pixels(self, target: Target) -> list[ProductRef]:
        return self._find(target, "pixels")

    def _find(self, target: Target, kind: Kind) -> list[ProductRef]:
        mission = {"tess": "TESS", "kepler": "Kepler", "k2": "K2"}[target.mission]
        with self._limiter.asking(_MAST):
            found = self._search(target.target_id, mission=mission, kind=kind)
        refs = set()
        for name, uri in found:
            ref = recognise_product(name, kind)
            if ref is not None and ref.target_id in (None, target.target_id):
                refs.add(replace(ref, key=uri, target_id=target.target_id))
        return sorted(refs, key=lambda ref: ref.key)

    def read(self, ref: ProductRef) -> bytes:
        url = _DOWNLOADS + quote(ref.key, safe=":/")
        return self._reads.read(ref.key.replace(":", "/"), lambda part: self._client.get_file(url, ref.name, part))

    def targets(
        self, mission: str | None, observations: Sequence[int] = (), limit: int | None = None
    ) -> Iterator[Target]:
        raise UsageError("mast answers for single stars: give a target list, or a mirror with --sector")

    def describe(self) -> dict[str, Any]:
        return {"source": self.name}


def _search_mast(target_id: str, mission: str, kind: Kind) -> list[tuple[str, str]]:
    """(file name, URI) of a star's light curves or pixel files at MAST. Raises FetchFailed."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightkurve
        from astroquery import exceptions

    search = lightkurve.search_lightcurve if kind == "light" else lightkurve.search_targetpixelfile
    failures = (exceptions.RemoteServiceError, exceptions.ResolverError, exceptions.TimeoutError)
    try:
        table = search(target_id, mission=mission).table
    except (OSError, ValueError, lightkurve.search.SearchError, *failures) as error:
        raise FetchFailed(f"MAST: {error}") from error
    finally:
        # lightkurve keeps every answer for ever.
        search.cache_clear()
    if len(table) == 0:
        return []
    return [(str(name), str(uri)) for name, uri in zip(table["productFilename"], table["dataURI"], strict=True)]


class FileSource:
    """One file that somebody brought; the star is called as its header or its name says.

    content: its bytes, where they are at hand already: the path is then a name and nothing on disk is looked at.
    bounds: on the size of files that are not trusted.
    """

    def __init__(
        self,
        path: str | Path,
        config: FetchConfig,
        *,
        content: bytes | None = None,
        mission: str | None = None,
        time_zero: float | None = None,
        bounds: Bounds = TRUSTED,
    ) -> None:
        self._path = Path(path)
        self._config = config
        self._content = content
        self._mission, self._time_zero = mission, time_zero
        self._bounds = bounds
        self.name = f"file:{path}"
        if mission is not None and mission not in MISSIONS:
            raise UsageError(f"no mission {mission!r}: choose {', '.join(MISSIONS)}")
        if content is None and not self._path.is_file():
            raise UsageError(f"no file {path}")

    def find(self, target: Target) -> list[ProductRef]:
        known = recognise_product(self._path.name)
        return [
            ProductRef(
                self._path.name,
                target.mission,
                target.target_id,
                observation=known.observation if known else None,
                author=known.author if known else AUTHOR_OF_UPLOADS,
                cadence=known.cadence if known else "ffi",
                said_mission=self._mission,
                said_time_zero=self._time_zero,
            )
        ]

    def find_pixels(self, target: Target) -> list[ProductRef]:
        return []

    def read(self, ref: ProductRef) -> bytes:
        return self._bytes()

    def targets(
        self, mission: str | None = None, observations: Sequence[int] = (), limit: int | None = None
    ) -> Iterator[Target]:
        """The file's own star. Raises BadFile or TooShort if the file is no light curve."""
        lc = read_light_curve(
            self._bytes(),
            self._path.name,
            self._config,
            mission=self._mission,
            time_zero=self._time_zero,
            bounds=self._bounds,
        )
        return iter([Target(lc.target_id, lc.mission)])

    def _bytes(self) -> bytes:
        return read_file(self._path) if self._content is None else self._content

    def describe(self) -> dict[str, Any]:
        return {"source": self.name, "mission": self._mission, "time_zero": self._time_zero}


def demo_archive() -> Path:
    """The folder of the demo's simulated archive, written when it is first asked for (some seconds).

    It lies in the user's cache folder under a name that follows from the code that makes it.
    """
    from survey.stars import simulate

    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "transit-survey"
    folder = root / f"demo-{_fingerprint(Path(__file__).parent)}"
    if folder.is_dir():
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix="demo-part-") as part:
            simulate.write_archive(Path(part) / "archive")
            try:
                os.rename(Path(part) / "archive", folder)
            except OSError:
                # Another process was faster; its archive is the same.
                if not folder.is_dir():
                    raise
    except OSError as error:
        reason = f"{error.strerror}; set XDG_CACHE_HOME to a folder that can be written"
        raise UsageError(f"the demo's archive cannot be written to {root}: {reason}") from error
    return folder


def _fingerprint(package: Path) -> str:
    digest = hashlib.sha256()
    for pattern in ("simulate*", "inject*"):
        for path in sorted(package.glob(pattern)):
            for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
