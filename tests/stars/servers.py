"""Loopback servers for the tests: a mirror behind HTTP, in the manners that servers have, the bad ones too."""

import hashlib
import random
import re
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

Fault = Callable[[str, int], tuple[int, bytes] | None]
"""From a path and how often it was asked for, to the status and body sent instead, or None."""


class Loopback:
    """A running server: its address, what was asked of it, and what it does instead of answering."""

    def __init__(self, folder: Path, lists: str) -> None:
        self.folder, self.lists = folder, lists
        self.asked: list[str] = []
        self.fault: Fault = lambda path, times: None
        self.truncate = False
        self.url = ""


@contextmanager
def serve(folder: Path, lists: str = "index") -> Iterator[Loopback]:
    """Serve a folder; lists: "index" (HTML pages), "s3" (XML) or "none"."""
    loopback = Loopback(folder, lists)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            loopback.asked.append(self.path)
            fault = loopback.fault(self.path, loopback.asked.count(self.path))
            if fault is not None:
                self._send(*fault)
            elif loopback.truncate and self.path.endswith(".fits"):
                body = (folder / self.path.lstrip("/")).read_bytes()
                self._send(200, body[: len(body) // 2], announced=len(body))
            elif lists == "s3" and (self.path == "/" or "list-type" in self.path):
                self._send(200, s3_list(folder, self.path))
            else:
                super().do_GET()

        def do_HEAD(self) -> None:
            loopback.asked.append(self.path)
            super().do_HEAD()

        def list_directory(self, path: Any) -> Any:
            if lists == "index":
                return super().list_directory(path)
            self.send_error(404)
            return None

        def _send(self, status: int, body: bytes, announced: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if announced is None else announced))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    loopback.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield loopback
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def s3_list(folder: Path, path: str, page_size: int = 3) -> bytes:
    """A page of an S3 list (version 2), with a continuation token after `page_size` entries."""
    query = {key: values[0] for key, values in parse_qs(urlsplit(path).query).items()}
    prefix, start = query.get("prefix", ""), int(query.get("continuation-token", 0))
    keys = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    entries = []
    for key in keys:
        if key.startswith(prefix):
            inside, slash, _ = key[len(prefix) :].partition("/")
            entry = (f"CommonPrefixes><Prefix>{escape(prefix + inside)}/</Prefix></CommonPrefixes" if slash else
                     f"Contents><Key>{escape(key)}</Key><Size>1</Size></Contents")  # fmt: skip
            if entry not in entries:
                entries.append(entry)
    page = "".join(f"<{entry}>" for entry in entries[start : start + page_size])
    more = start + page_size < len(entries)
    token = f"<NextContinuationToken>{start + page_size}</NextContinuationToken>" if more else ""
    name = "http://s3.amazonaws.com/doc/2006-03-01/"
    return f'<?xml version="1.0"?><ListBucketResult xmlns="{name}">{page}{token}</ListBucketResult>'.encode()


FAULTS = ("503", "503 later", "reset", "truncated", "stall", "wrong size", "web page", "flipped bit")
"""What a bad archive does instead of answering; lists of folders have no flipped bits, as nothing could tell."""

LATER_S = 0.02
"""What it asks for with Retry-After."""


@dataclass
class Visit:
    """One request: when it came, for what, from which byte on, what was done to it, and how many others were there."""

    at: float
    path: str
    begin: int
    fault: str | None
    at_once: int


@dataclass
class BadArchive:
    """An archive of which every file has its bytes, and a share of the requests goes wrong.

    What goes wrong depends on the seed, the path and how often that was asked for, not on threads. Every other file has
    its MD5 as ETag, the others a mark that says nothing of their content.
    """

    files: dict[str, bytes]
    seed: int
    share: float
    url: str = ""
    visits: list[Visit] = field(default_factory=list)
    times: Counter[str] = field(default_factory=Counter)
    under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, path: str, begin: int) -> tuple[str | None, random.Random]:
        """What is to go wrong, if anything, and the dice for how."""
        with self.lock:
            self.times[path] += 1
            dice = random.Random(f"{self.seed} {path} {self.times[path]}")
            fault = dice.choice(FAULTS) if dice.random() < self.share else None
            if fault == "flipped bit" and path.endswith("/"):
                fault = "reset"
            self.under_way += 1
            self.visits.append(Visit(time.monotonic(), path, begin, fault, self.under_way))
        return fault, dice

    def leave(self) -> None:
        with self.lock:
            self.under_way -= 1

    def etag(self, path: str) -> str:
        digest = hashlib.md5(self.files[path]).hexdigest()
        return f'"{digest}"' if int(digest[0], 16) % 2 else f'"v1-{digest[:8]}"'

    def contents(self) -> dict[str, list[str]]:
        """Folder -> names of what is directly in it, those of folders with a slash."""
        found: dict[str, dict[str, None]] = {}
        for path in sorted(self.files):
            parts = path.split("/")
            for depth in range(1, len(parts)):
                name = parts[depth] + "/" * (depth < len(parts) - 1)
                found.setdefault("/".join(parts[:depth]) + "/", {})[name] = None
        return {folder: list(names) for folder, names in found.items()}


def list_page(names: list[str]) -> bytes:
    links = "".join(f'<li><a href="{name}">{name}</a></li>' for name in names)
    return f"<html><body><ul>{links}</ul></body></html>".encode()


@contextmanager
def serve_badly(files: dict[str, bytes], seed: int, share: float = 0.3) -> Iterator[BadArchive]:
    """files: path ("/tess/...") -> bytes."""
    archive = BadArchive(files, seed, share)
    lists = {folder: list_page(names) for folder, names in archive.contents().items()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # An answer in two writes would wait for the client to acknowledge the first.
        wbufsize = -1
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            whole = files.get(self.path) or lists.get(self.path)
            known = self.path in files and self.headers.get("If-Range") == archive.etag(self.path)
            begin = int(asked[1]) if asked and known else 0
            fault, dice = archive.enter(self.path, begin)
            answer = getattr(self, "_" + (fault or "well").replace(" ", "_"))
            if whole is None and fault in (None, "truncated", "stall", "wrong size", "flipped bit"):
                self._send(404, b"")
            else:
                answer((whole or b"")[begin:], begin, dice)

        def _head(self, status: int, size: int, *headers: tuple[str, str]) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(size))
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()

        def _send(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
            self._head(status, len(body), *headers)
            self._last(body)

        def _last(self, body: bytes) -> None:
            """What ends the request for the client, who may be back before this thread goes on."""
            archive.leave()
            self.wfile.write(body)
            self.wfile.flush()

        def _file_head(self, size: int, begin: int) -> None:
            headers = [("ETag", archive.etag(self.path))] if self.path in files else []
            if begin:
                headers.append(("Content-Range", f"bytes {begin}-{begin + size - 1}/{begin + size}"))
            self._head(206 if begin else 200, size, *headers)

        def _well(self, body: bytes, begin: int, dice: random.Random) -> None:
            self._file_head(len(body), begin)
            self._last(body)

        def _503(self, body: bytes, begin: int, dice: random.Random) -> None:
            self._send(503, b"busy")

        def _503_later(self, body: bytes, begin: int, dice: random.Random) -> None:
            self._send(503, b"busy", ("Retry-After", str(LATER_S)))

        def _reset(self, body: bytes, begin: int, dice: random.Random) -> None:
            if dice.random() < 0.5:
                self._file_head(len(body), begin)
                self.wfile.write(body[: dice.randrange(len(body) or 1)])
                self.wfile.flush()
            self.close_connection = True
            archive.leave()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def _truncated(self, body: bytes, begin: int, dice: random.Random) -> None:
            self.close_connection = True
            self._file_head(len(body), begin)
            self._last(body[: dice.randrange(len(body) or 1)])

        def _stall(self, body: bytes, begin: int, dice: random.Random) -> None:
            self._truncated(body, begin, dice)
            select.select([self.connection], [], [], 60)

        def _wrong_size(self, body: bytes, begin: int, dice: random.Random) -> None:
            size = dice.randrange(2 * len(body) or 1)
            body = (body + bytes(len(body)))[:size]
            self._file_head(len(body), begin)
            self._last(body)

        def _web_page(self, body: bytes, begin: int, dice: random.Random) -> None:
            self._send(200, b"<html><body>The archive is being looked after.</body></html>")

        def _flipped_bit(self, body: bytes, begin: int, dice: random.Random) -> None:
            bit = dice.randrange(8 * len(body))
            flipped = bytearray(body)
            flipped[bit // 8] ^= 1 << bit % 8
            self._well(bytes(flipped), begin, dice)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # clients that leave
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    archive.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield archive
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
