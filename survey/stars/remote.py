"""Archives behind a network: list a folder, read a file; S3 and HTTP alike, with retries under one limit of requests.

With `sources` and `catalogs` this is the only part of the survey that reaches out. Errors are of two kinds: NoData (the
archive answered that there is no such file; true tomorrow too) and FetchFailed (anything else; worth asking again).
"""

import base64
import contextlib
import hashlib
import os
import random
import re
import threading
import time
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from html import unescape
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

import urllib3
from pyarrow import fs

from survey.config import RunConfig
from survey.errors import BadFile, FetchFailed, NoData, UsageError
from survey.stars import fits
from survey.stars.cache import Part
from survey.stars.fits import MAX_BYTES
from survey.stars.limits import Busy, Down, Limiter

PUBLIC_BUCKET = "stpubdata"
"""The archive's own bucket; it is read without credentials, whatever the environment holds."""

PUBLIC_REGION = "us-east-1"

CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
"""Any of these in the environment says that there are some."""

T = TypeVar("T")


LONGEST = 10.0
"""A request that is still sending after so many times `run.timeout_s` is broken off; the next goes on from there."""

RANGE_BYTES = 8 << 20
"""Of one request to S3."""

CHUNK_BYTES = 1 << 17


def retry(request: Callable[[], T], what: str, run: RunConfig, *, sleep: Callable[[float], None] = time.sleep) -> T:
    """The answer of `request`, asked up to `run.attempts` times while it raises FetchFailed.

    Pauses double from `run.backoff_s`, and each is drawn between half and all of its length, so that workers which
    failed together do not come back together; where the server itself said how long to wait, the limiter sees to it
    for everybody. Raises the last FetchFailed, and at once whatever else `request` raises, and Down.
    """
    for attempt in range(1, run.attempts + 1):
        try:
            return request()
        except Down as error:
            raise Down(f"{what}: {error}") from error
        except FetchFailed as error:
            if attempt == run.attempts:
                raise FetchFailed(f"{what}: {error} ({attempt} attempt{'s' * (attempt > 1)})") from error
            if not isinstance(error, Busy):
                sleep(run.backoff_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.0))
    raise AssertionError("run.attempts is at least 1")


Check = Callable[[bytes], str | None]
"""What may be wrong with the content of a file, None where nothing is. Raises FetchFailed for what must be wrong."""


class Doubts:
    """Checks a file that has come, over the attempts to get it.

    What fails a check may have been damaged on the way, so it is asked for again; but the same bytes twice are what the
    archive keeps, and it is for the reader to say what is wrong with them.
    """

    def __init__(self, check: Check | None) -> None:
        self._check = check
        self._seen: set[str] = set()

    def settle(self, part: Part, headers: Mapping[str, str]) -> bytes:
        """The bytes; the part is over. Raises FetchFailed where there is reason to doubt them."""
        data = bytes(part.content)
        part.begin()
        wrong = _compare_digests(data, headers) or (self._check(data) if self._check is not None else None)
        if wrong is None:
            return data
        digest = hashlib.sha256(data).hexdigest()
        if digest in self._seen:
            return data
        self._seen.add(digest)
        raise FetchFailed(f"damaged on the way? {wrong}")


def _compare_digests(data: bytes, headers: Mapping[str, str]) -> str | None:
    """With those that the server gives. One of digests, of a file that was stored in pieces, says nothing here."""
    said = {name: headers.get(name, "").strip('"') for name in _DIGESTS}
    differ = any(
        said[name] and "-" not in said[name] and said[name] != digest(data)
        for name, digest in _DIGESTS.items()
        if name != "ETag" or _MD5.fullmatch(said[name])
    )
    return "the bytes do not have the digest that the archive gives" if differ else None


def _check_of(key: str) -> Check | None:
    return partial(_check_fits, key.rpartition("/")[2]) if key.endswith((".fits", ".fits.gz")) else None


def _check_fits(name: str, data: bytes) -> str | None:
    if data[:512].lstrip()[:1] == b"<":
        # Captive portals and maintenance pages come with status 200, and more than once.
        raise FetchFailed("the server sends a web page instead of the file")
    try:
        fits.verify(data, name)
    except BadFile as error:
        return str(error)
    return None


def _check_list(end: bytes, page: bytes) -> None:
    """A list without its end, or a page that is none, is never what is there: stars would be missing for good."""
    if not page.rstrip().lower().endswith(end):
        raise FetchFailed("the list of a folder is cut off")


def _check_index(url: str, page: bytes) -> None:
    _check_list(b"</html>", page)
    if not _linked_names(page, url):
        raise FetchFailed("the server sends a page that lists nothing")


_MD5 = re.compile(r"[0-9a-f]{32}")


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


_DIGESTS: dict[str, Callable[[bytes], str]] = {
    "ETag": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "Content-MD5": lambda data: _base64(hashlib.md5(data, usedforsecurity=False).digest()),
    "x-amz-checksum-sha256": lambda data: _base64(hashlib.sha256(data).digest()),
    "x-amz-checksum-crc32": lambda data: _base64(zlib.crc32(data).to_bytes(4, "big")),
}
"""Headers of an answer -> the digest of its content that they give."""


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

    def read(self, key: str, part: Part | None = None) -> bytes:
        """part: of an earlier try, which is gone on with, and where this one leaves what came if it fails.

        Raises NoData if there is no such file, FetchFailed.
        """


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

    Read without credentials unless the environment has some (CREDENTIALS) and it is another bucket than the public one.
    A machine's own role is asked for by AWS_PROFILE=default. AWS_ENDPOINT_URL points to another server, AWS_REGION to
    another region than us-east-1.
    """

    def __init__(self, root: str, run: RunConfig, limiter: Limiter) -> None:
        self._root = root
        self._run, self._limiter = run, limiter
        self._host = f"s3://{root.partition('/')[0]}"
        public = root.partition("/")[0] == PUBLIC_BUCKET
        endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "")
        self._fs = fs.S3FileSystem(
            anonymous=public or not any(name in os.environ for name in CREDENTIALS),
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
        found = self._look(selector, folder)
        files = sorted(info.base_name for info in found if info.type == fs.FileType.File)
        folders = sorted(f"{info.base_name}/" for info in found if info.type == fs.FileType.Directory)
        return Listing(tuple(files), tuple(folders))

    def exists(self, key: str) -> bool:
        return bool(self._look(f"{self._root}/{key}", key).type == fs.FileType.File)

    def read(self, key: str, part: Part | None = None) -> bytes:
        begun, doubts = Part() if part is None else part, Doubts(_check_of(key))
        return retry(lambda: self._read(key, begun, doubts), self._name(key), self._run)

    def _read(self, key: str, part: Part, doubts: Doubts) -> bytes:
        with self._request(key):
            file = self._fs.open_input_file(f"{self._root}/{key}")
        with file:
            size, etag = file.size(), str(file.metadata().get("ETag", b""), "latin-1")
            if size > MAX_BYTES:
                raise BadFile(f"{self._name(key)} has {size >> 20} MB, more than any file of use has: refused")
            if not part.continues(etag, size):
                part.begin(etag)
            while (begin := len(part.content)) < size:
                with self._request(key):
                    part.content += (got := file.read_at(min(RANGE_BYTES, size - begin), begin))
                    if not got:
                        raise FetchFailed(f"only {begin} of {size} bytes came")
        return doubts.settle(part, {"ETag": etag})

    def _look(self, what: str | fs.FileSelector, key: str) -> Any:
        def request() -> Any:
            with self._request(key):
                return self._fs.get_file_info(what)

        return retry(request, self._name(key), self._run)

    @contextlib.contextmanager
    def _request(self, key: str) -> Iterator[None]:
        with self._limiter.asking(self._host):
            try:
                yield
            except FileNotFoundError:
                raise NoData(f"{self._name(key)}: the archive has no such file") from None
            except OSError as error:
                raise FetchFailed(_first_line(error)) from error

    def _name(self, key: str) -> str:
        return f"s3://{self._root}/{key}"


def _first_line(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
        # The reason alone: the rest repeats the address.
        error = error.reason
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


class HttpClient:
    """GET and HEAD with retries; connections are kept and may be used by several threads."""

    def __init__(self, run: RunConfig, limiter: Limiter) -> None:
        self._run, self._limiter = run, limiter
        timeout = urllib3.Timeout(connect=min(10.0, run.timeout_s), read=run.timeout_s)
        self._pool = urllib3.PoolManager(
            maxsize=16, timeout=timeout, retries=urllib3.Retry(0, redirect=5, raise_on_redirect=True),
            headers={"User-Agent": "transit-survey", "x-amz-checksum-mode": "ENABLED"},
        )  # fmt: skip

    def get(self, url: str, part: Part | None = None, *, check: Check | None = None) -> bytes:
        """The body of an answer. part: as of Store.read; check: what else is known of what should come.

        Raises NoData for 404 and 410, FetchFailed for any other failure.
        """
        begun, doubts = Part() if part is None else part, Doubts(check)

        def request() -> bytes:
            with self._request(url):
                headers = self._get(url, begun)
            return doubts.settle(begun, headers)

        return retry(request, url, self._run)

    def get_file(self, url: str, key: str, part: Part | None = None) -> bytes:
        """As `get`, checked as the name says that it can be."""
        return self.get(url, part, check=_check_of(key))

    def exists(self, url: str) -> bool:
        """Whether HEAD finds something. Raises FetchFailed."""

        def request() -> bool:
            with self._request(url):
                _check_status(self._pool.request("HEAD", url), url)
            return True

        try:
            return retry(request, url, self._run)
        except NoData:
            return False

    @contextlib.contextmanager
    def _request(self, url: str) -> Iterator[None]:
        with self._limiter.asking(urlsplit(url).netloc):
            try:
                yield
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise FetchFailed(_first_line(error)) from error

    def _get(self, url: str, part: Part) -> Mapping[str, str]:
        """Fills the part with the whole body, or raises FetchFailed and leaves in it what came; returns the headers."""
        asked = {"Range": f"bytes={len(part.content)}-", "If-Range": part.mark} if part.content and part.mark else {}
        answer = self._pool.request("GET", url, headers={**self._pool.headers, **asked}, preload_content=False,
                                    enforce_content_length=False)  # fmt: skip
        try:
            end = self._begin(answer, url, part)
            self._take(answer, url, part)
        finally:
            answer.release_conn()
        if end is not None and len(part.content) != end:
            raise FetchFailed(f"only {len(part.content)} of {end} bytes came")
        # Its digests, but for the ETag, are of what it sends.
        return {"ETag": answer.headers.get("ETag", "")} if answer.status == 206 else answer.headers

    def _begin(self, answer: urllib3.BaseHTTPResponse, url: str, part: Part) -> int | None:
        """Lets the part be gone on with, or begins it anew; returns the size of the whole, where the server says it."""
        goes_on = answer.status == 206 and part.mark and _mark(answer.headers) == part.mark
        if not (goes_on and _range_begins(answer.headers) == len(part.content)):
            if answer.status in (200, 206, 416):
                part.begin(_mark(answer.headers))
            _check_status(answer, url)
        announced = answer.headers.get("Content-Length", "")
        return len(part.content) + int(announced) if announced.isdigit() else None

    def _take(self, answer: urllib3.BaseHTTPResponse, url: str, part: Part) -> None:
        deadline = time.monotonic() + LONGEST * self._run.timeout_s
        # As the archive keeps it: what is gzipped stays so, also where the server calls that an encoding.
        while chunk := answer.read1(CHUNK_BYTES, decode_content=False):
            part.content += chunk
            if len(part.content) > MAX_BYTES:
                part.begin()
                answer.close()
                raise BadFile(f"{url} sends more than {MAX_BYTES >> 20} MB, more than any file of use has: refused")
            if time.monotonic() > deadline:
                answer.close()
                raise FetchFailed(f"still sending after {LONGEST * self._run.timeout_s:.0f} s, broken off")


def _check_status(answer: urllib3.BaseHTTPResponse, url: str) -> None:
    if answer.status == 200:
        return
    answer.drain_conn()
    if answer.status in (404, 410):
        raise NoData(f"{url}: the archive has no such file ({answer.status})")
    pause = parse_retry_after(answer.headers.get("Retry-After", ""))
    if answer.status in (429, 503) and pause is not None:
        raise Busy(f"the server answers {answer.status}", pause)
    raise FetchFailed(f"the server answers {answer.status}")


def parse_retry_after(text: str) -> float | None:
    """Seconds of a Retry-After, which gives them or a date; None where it says nothing of sense."""
    with contextlib.suppress(ValueError):
        seconds = float(text)
        return seconds if 0 <= seconds < float("inf") else None
    with contextlib.suppress(ValueError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None


def _mark(headers: Mapping[str, str]) -> str:
    """What names this very version of a file (RFC 9110, 13.1.5): a strong ETag, else a date; "" where there is none."""
    etag = headers.get("ETag", "")
    return etag if etag.startswith('"') else headers.get("Last-Modified", "")


def _range_begins(headers: Mapping[str, str]) -> int | None:
    found = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
    return int(found[1]) if found else None


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

    def read(self, key: str, part: Part | None = None) -> bytes:
        return self._client.get_file(self._root + quote(key), key, part)

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
            names = _linked_names(self._client.get(url, check=partial(_check_index, url)), url)
        except NoData:
            return Listing()
        files = tuple(sorted(name for name in names if not name.endswith("/")))
        return Listing(files, tuple(sorted(name for name in names if name.endswith("/"))))

    def _list_s3(self, folder: str) -> Listing:
        files: list[str] = []
        folders: list[str] = []
        query = {"list-type": "2", "prefix": folder, "delimiter": "/"}
        while True:
            url = f"{self._root}?{urlencode(query)}"
            page = self._parse_xml(self._client.get(url, check=partial(_check_list, b"</listbucketresult>")))
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
