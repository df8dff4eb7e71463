"""A web server on this machine that misbehaves as it is told."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    """What is said to one request."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    send: int | None = None
    """How many bytes of the body are sent; all if None. The connection then closes, or with `stall`, says no more."""
    stall: bool = False


@dataclass
class File:
    """A file as a good server offers it."""

    data: bytes
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    kind: str = "application/octet-stream"
    cuts: list[int] = field(default_factory=list)
    """Bytes after which the first, the second, … answer is cut off."""
    stalls: bool = False
    """The answers that are cut off stall instead."""

    def __call__(self, headers: dict[str, str]) -> Answer:
        said = {"Content-Type": self.kind}
        if self.etag:
            said["ETag"] = self.etag
        if self.modified:
            said["Last-Modified"] = self.modified
        status, body = 200, self.data
        asked = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        if asked and self.ranges and headers.get("if-range") in (self.etag, self.modified):
            start = int(asked[1])
            if start >= len(body):
                return Answer(416, {"Content-Range": f"bytes */{len(body)}"})
            status, body = 206, body[start:]
            said["Content-Range"] = f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
        said["Content-Length"] = str(len(body))
        send = self.cuts.pop(0) if self.cuts else None
        return Answer(status, said, body, send, stall=self.stalls and send is not None)


@dataclass
class Site:
    """Files and answers by path, and what was asked for."""

    url: str
    pages: dict[str, Callable[[dict[str, str]], Answer]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """(path, headers with names in lower case) of every request."""
    closing: threading.Event = field(default_factory=threading.Event)

    def ranges(self) -> list[str | None]:
        return [headers.get("range") for _, headers in self.asked]


@contextlib.contextmanager
def local_site() -> Iterator[Site]:
    """A server until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            site.asked.append((self.path, headers))
            page = site.pages.get(self.path)
            answer = page(headers) if page else Answer(404)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):  # whoever asked may have gone
                self.wfile.write(answer.body[: answer.send])
            if answer.stall:
                site.closing.wait(20)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        site = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            site.closing.set()
            server.shutdown()
            thread.join()


def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
