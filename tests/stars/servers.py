"""Loopback servers for the tests: a mirror behind HTTP, in the manners that servers have."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
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
