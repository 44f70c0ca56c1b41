"""Archives behind a network: list a folder, read a file; S3 and HTTP alike, with retries under one limit of requests.

With `sources` and `catalogs` this is the only part of the survey that reaches out. Errors are of two kinds: NoData (the
archive answered that there is no such file; true tomorrow too) and FetchFailed (anything else; worth asking again).
"""

import os
import random
import re
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape
from typing import Literal, Protocol, TypeVar
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

import urllib3
from pyarrow import fs

from survey.config import RunConfig
from survey.errors import BadFile, FetchFailed, NoData, UsageError
from survey.stars.fits import MAX_BYTES

PUBLIC_BUCKET = "stpubdata"
"""The archive's own bucket; it is read without credentials, whatever the environment holds."""

PUBLIC_REGION = "us-east-1"

T = TypeVar("T")


class Limiter(Protocol):
    """Anything that holds a caller back until it may ask; an actor can stand in for a whole cluster."""

    def acquire(self) -> None: ...


class TokenBucket:
    """At most `rate` requests a second over all threads of a process, `burst` at once after a pause."""

    def __init__(self, rate: float, burst: float | None = None) -> None:
        self._rate = rate
        self._burst = max(1.0, rate if burst is None else burst)
        self._tokens = self._burst
        self._filled = time.monotonic()
        self._lock = threading.Lock()

    def acquire(self) -> None:
        """Take a token, sleeping until there is one; callers are served in the order in which they came."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate) - 1.0
            self._filled = now
            wait = -self._tokens / self._rate
        if wait > 0:
            time.sleep(wait)


@dataclass
class Line:
    """How well an archive answers: requests given up in a row, over all threads."""

    given_up: int = 0

    @property
    def is_dead(self) -> bool:
        return self.given_up >= DEAD_AFTER


DEAD_AFTER = 5
"""After so many requests in a row that no attempt got through, a request is tried once, until one is answered again."""


def retry(
    request: Callable[[], T],
    what: str,
    run: RunConfig,
    limiter: Limiter,
    *,
    line: Line | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """The answer of `request`, asked up to `run.attempts` times while it raises FetchFailed; once on a dead line.

    Pauses double from `run.backoff_s`, and each is drawn between half and all of its length, so that workers which
    failed together do not come back together. Raises the last FetchFailed, and at once whatever else `request` raises.
    """
    line = line or Line()
    for attempt in range(1, run.attempts + 1):
        limiter.acquire()
        try:
            answer = request()
        except FetchFailed as error:
            if attempt == run.attempts or line.is_dead:
                line.given_up += 1
                raise FetchFailed(f"{what}: {error} ({attempt} attempt{'s' * (attempt > 1)})") from error
            sleep(run.backoff_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.0))
        except (NoData, BadFile):
            line.given_up = 0
            raise
        else:
            line.given_up = 0
            return answer
    raise AssertionError("run.attempts is at least 1")


@dataclass(frozen=True)
class Listing:
    """Names (not keys) directly in a folder, in order; those of folders end in "/"."""

    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


class Store(Protocol):
    """Files by key, somewhere else."""

    def can_list(self) -> bool:
        """Whether folders can be listed; else only files whose names are known can be had."""

    def list(self, folder: str) -> Listing:
        """What is in a folder ("" or ending in "/"); empty if there is no such folder. Raises FetchFailed."""

    def exists(self, key: str) -> bool:
        """Raises FetchFailed."""

    def read(self, key: str) -> bytes:
        """Raises NoData if there is no such file, FetchFailed."""


def walk(store: Store, folder: str) -> Iterator[str]:
    """Keys of all files below a folder, in order."""
    listing = store.list(folder)
    yield from (folder + name for name in listing.files)
    for name in listing.folders:
        yield from walk(store, folder + name)


def open_store(url: str, run: RunConfig, limiter: Limiter) -> Store:
    """The store behind s3://bucket[/prefix] or http(s)://root. Raises UsageError for other addresses."""
    scheme, _, rest = url.partition("://")
    if scheme == "s3" and rest.strip("/"):
        return S3Store(rest.strip("/"), run, limiter)
    if scheme in ("http", "https") and urlsplit(url).hostname:
        return HttpStore(url, run, limiter)
    raise UsageError(f"{url!r} is no address of a mirror: write s3://bucket[/prefix] or http(s)://host/root")


class S3Store:
    """A bucket or a prefix of one.

    Read without credentials unless the environment has some (AWS_ACCESS_KEY_ID, AWS_PROFILE) and it is another bucket
    than the public one. AWS_ENDPOINT_URL points to another server, AWS_REGION to another region than us-east-1.
    """

    def __init__(self, root: str, run: RunConfig, limiter: Limiter) -> None:
        self._root = root
        self._run, self._limiter, self._line = run, limiter, Line()
        public = root.partition("/")[0] == PUBLIC_BUCKET
        endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "")
        has_credentials = "AWS_ACCESS_KEY_ID" in os.environ or "AWS_PROFILE" in os.environ
        self._fs = fs.S3FileSystem(
            anonymous=public or not has_credentials,
            region=PUBLIC_REGION if public else os.environ.get("AWS_REGION", PUBLIC_REGION),
            endpoint_override=endpoint.netloc or None,
            scheme=endpoint.scheme or "https",
            request_timeout=run.timeout_s,
            connect_timeout=min(10.0, run.timeout_s),
            # Retries are ours: they count against the limit of requests.
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
        )

    def can_list(self) -> bool:
        return True

    def list(self, folder: str) -> Listing:
        selector = fs.FileSelector(f"{self._root}/{folder}".rstrip("/"), allow_not_found=True, recursive=False)
        found = self._ask(lambda: self._fs.get_file_info(selector), folder)
        files = sorted(info.base_name for info in found if info.type == fs.FileType.File)
        folders = sorted(f"{info.base_name}/" for info in found if info.type == fs.FileType.Directory)
        return Listing(tuple(files), tuple(folders))

    def exists(self, key: str) -> bool:
        info = self._ask(lambda: self._fs.get_file_info(f"{self._root}/{key}"), key)
        return bool(info.type == fs.FileType.File)

    def read(self, key: str) -> bytes:
        return self._ask(lambda: self._read(key), key)

    def _read(self, key: str) -> bytes:
        with self._fs.open_input_file(f"{self._root}/{key}") as file:
            size = file.size()
            if size > MAX_BYTES:
                raise BadFile(f"s3://{self._root}/{key} has {size >> 20} MB, more than any file of use has: refused")
            data: bytes = file.read()
        if len(data) != size:
            raise FetchFailed(f"only {len(data)} of {size} bytes came")
        return data

    def _ask(self, request: Callable[[], T], key: str) -> T:
        def translated() -> T:
            try:
                return request()
            except FileNotFoundError:
                raise NoData(f"s3://{self._root}/{key}: the archive has no such file") from None
            except OSError as error:
                raise FetchFailed(_first_line(error)) from error

        return retry(translated, f"s3://{self._root}/{key}", self._run, self._limiter, line=self._line)


def _first_line(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
        # The reason alone: the rest repeats the address.
        error = error.reason
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


class HttpClient:
    """GET and HEAD with retries; connections are kept and may be used by several threads."""

    def __init__(self, run: RunConfig, limiter: Limiter) -> None:
        self._run, self._limiter, self._line = run, limiter, Line()
        timeout = urllib3.Timeout(connect=min(10.0, run.timeout_s), read=run.timeout_s)
        self._pool = urllib3.PoolManager(
            maxsize=16, timeout=timeout, retries=urllib3.Retry(0, redirect=5, raise_on_redirect=True),
            headers={"User-Agent": "transit-survey"},
        )  # fmt: skip

    def get(self, url: str) -> bytes:
        """The body of an answer. Raises NoData for 404 and 410, FetchFailed for any other failure."""
        return retry(lambda: self._get(url), url, self._run, self._limiter, line=self._line)

    def exists(self, url: str) -> bool:
        """Whether HEAD finds something. Raises FetchFailed."""
        return retry(lambda: self._exists(url), url, self._run, self._limiter, line=self._line)

    def _get(self, url: str) -> bytes:
        try:
            answer = self._pool.request("GET", url, preload_content=False)
            try:
                if answer.status != 200:
                    answer.drain_conn()
                    _check_status(answer.status, url)
                # As the archive keeps it: what is gzipped stays so, also where the server calls that an encoding.
                body = answer.read(MAX_BYTES + 1, decode_content=False)
            finally:
                answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise FetchFailed(_first_line(error)) from error
        if len(body) > MAX_BYTES:
            answer.close()
            raise BadFile(f"{url} sends more than {MAX_BYTES >> 20} MB, more than any file of use has: refused")
        announced = answer.headers.get("Content-Length", "")
        if announced.isdigit() and len(body) != int(announced):
            raise FetchFailed(f"only {len(body)} of {announced} bytes came")
        return body

    def _exists(self, url: str) -> bool:
        try:
            answer = self._pool.request("HEAD", url)
            _check_status(answer.status, url)
        except NoData:
            return False
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise FetchFailed(_first_line(error)) from error
        return True


def _check_status(status: int, url: str) -> None:
    if status in (404, 410):
        raise NoData(f"{url}: the archive has no such file ({status})")
    if status != 200:
        raise FetchFailed(f"the server answers {status}")


Layout = Literal["index", "s3", "none"]

_LINK = re.compile(rb"""<a\s[^>]*?href\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_TOP_FOLDERS = ("tess/", "kepler/", "k2/")


class HttpStore:
    """A root on a web server.

    Folders are listed as the server's own index pages (Apache, nginx, `python -m http.server`), where the root must
    show one of the folders tess, kepler, k2; or as S3 lists (`?list-type=2&prefix=`), if the root answers with one. A
    server that lists nothing still gives files whose names are known.
    """

    def __init__(self, root: str, run: RunConfig, limiter: Limiter) -> None:
        self._root = root.rstrip("/") + "/"
        self._client = HttpClient(run, limiter)
        self._layout: Layout | None = None
        self._lock = threading.Lock()

    def can_list(self) -> bool:
        return self._find_layout() != "none"

    def list(self, folder: str) -> Listing:
        layout = self._find_layout()
        if layout == "none":
            raise UsageError(f"{self._root} gives no lists of its folders")
        return self._list_s3(folder) if layout == "s3" else self._list_index(folder)

    def exists(self, key: str) -> bool:
        return self._client.exists(self._root + quote(key))

    def read(self, key: str) -> bytes:
        data = self._client.get(self._root + quote(key))
        if ".fits" in key and data[:512].lstrip()[:1] == b"<":
            # Captive portals and maintenance pages come with status 200.
            raise FetchFailed(f"{self._root}{key}: the server sends a web page instead of the file")
        return data

    def _find_layout(self) -> Layout:
        with self._lock:
            if self._layout is None:
                self._layout = self._probe()
            return self._layout

    def _probe(self) -> Layout:
        try:
            page = self._client.get(self._root)
        except NoData:
            return "none"
        if b"<ListBucketResult" in page[:2000]:
            return "s3"
        return "index" if set(_linked_names(page, self._root)) & set(_TOP_FOLDERS) else "none"

    def _list_index(self, folder: str) -> Listing:
        url = self._root + quote(folder)
        try:
            names = _linked_names(self._client.get(url), url)
        except NoData:
            return Listing()
        files = tuple(sorted(name for name in names if not name.endswith("/")))
        return Listing(files, tuple(sorted(name for name in names if name.endswith("/"))))

    def _list_s3(self, folder: str) -> Listing:
        files: list[str] = []
        folders: list[str] = []
        query = {"list-type": "2", "prefix": folder, "delimiter": "/"}
        while True:
            page = self._parse_xml(self._client.get(f"{self._root}?{urlencode(query)}"))
            files += [name for key in _texts(page, "Contents/Key") if (name := key.removeprefix(folder))]
            folders += [key.removeprefix(folder) for key in _texts(page, "CommonPrefixes/Prefix")]
            token = _texts(page, "NextContinuationToken")
            if not token:
                return Listing(tuple(sorted(files)), tuple(sorted(folders)))
            query["continuation-token"] = token[0]

    def _parse_xml(self, page: bytes) -> ElementTree.Element:
        try:
            return ElementTree.fromstring(page)
        except ElementTree.ParseError as error:
            raise FetchFailed(f"{self._root}: broken list of a folder: {error}") from error


def _linked_names(page: bytes, url: str) -> list[str]:
    """Names directly below `url` that its index page links to, each once."""
    base = urlsplit(url)
    names = []
    for link in _LINK.findall(page):
        target = urlsplit(urljoin(url, unescape(link.decode("utf-8", "replace"))))
        path, folder = unquote(target.path), unquote(base.path)
        name = path[len(folder) :]
        if (
            path.startswith(folder)
            and target.netloc == base.netloc
            and not target.query
            and re.fullmatch(r"[^/]+/?", name)
        ):
            names.append(name)
    return list(dict.fromkeys(names))


def _texts(page: ElementTree.Element, path: str) -> list[str]:
    wildcard = "/".join(f"{{*}}{part}" for part in path.split("/"))
    return [element.text for element in page.findall(wildcard) if element.text]
