"""Downloads that can be cut off and gone on with, and never take one file for another.

NAME.partial       what has come so far
NAME.partial.json  its address, the mark that the server gave this version of the file, and its size

A partial file is gone on with only where the server confirms the mark (If-Range); otherwise it is begun anew, and
that is said aloud. No proxy, certificate or credential is handled here beyond what urllib does by itself.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import Protocol
from urllib import request
from urllib.error import HTTPError, URLError

from reanimate import __version__
from reanimate.checkpoints.addresses import objection, quoted, redirected
from reanimate.errors import MediaError, ModelError, WeightsUnavailable

MAX_BYTES = 8 << 30  # no published checkpoint comes near it
MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429)  # and 5xx: answers of a server that may give another one soon
_BLOCK = 1 << 18  # bytes
_PAGE = re.compile(rb"\s*<(!doctype|html|\?xml)", re.IGNORECASE)  # no checkpoint begins like this
_MIB = 1 << 20
_NO_FILE = (
    "a web page comes instead of a file; open the address in a browser, and pass the file it leads to "
    "to reanimate models import"
)


class Watcher(Protocol):
    """How a download talks to whoever waits for it."""

    def start(self, total: int | None, done: int) -> None:
        """Bytes begin to come: `total` in all, if the server says so, `done` of them here already."""

    def advance(self, count: int) -> None:
        """So many bytes more are here."""

    def say(self, message: str) -> None:
        """Something went otherwise than hoped for."""


@dataclass(frozen=True, slots=True)
class Patience:
    """What is put up with before a download is given up."""

    stall: float = 30.0
    """Seconds without a byte after which a connection counts as broken."""
    tries: int = 5
    wait: float = 2.0
    """Seconds before the second try, and twice as long before each further one."""


PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class _Note:
    """What is known of a partial file."""

    url: str
    mark: str
    total: int | None


class _Cut(Exception):
    """The server gave up half-way, which is worth another try."""


class _NoConnection(_Cut):
    """The server was not even reached."""


def fetch(url: str, path: Path, watcher: Watcher, *, sha256: str | None = None, patience: Patience = PATIENCE) -> str:
    """The sha256 (64 hex digits) of what `url` gives, which is the file at `path` when this returns.

    Whatever was there is replaced in one step. If this fails or is interrupted, the next call with the same arguments
    goes on where it stopped. One process at a time may fetch to a path: that is for the caller to ensure.

    Raises:
        WeightsUnavailable: the address is refused, cannot be reached, or gives no checkpoint.
        ModelError: the file has another digest than `sha256`; what came is removed.
        MediaError: the disk would not have it.
    """
    return _Download(url, path, watcher, sha256, patience).run()


class _Download:
    def __init__(self, url: str, path: Path, watcher: Watcher, sha256: str | None, patience: Patience) -> None:
        self.url, self.path, self.watcher, self.sha256, self.patience = url, path, watcher, sha256, patience
        self.partial = path.with_name(f"{path.name}.partial")
        self.note = path.with_name(f"{path.name}.partial.json")

    def run(self) -> str:
        if reason := objection(self.url, pinned=self.sha256 is not None):
            raise self._refusal(reason)
        reason, wait = "", self.patience.wait
        for attempt in range(self.patience.tries):
            try:
                self._receive()
                return self._finish()
            except _Cut as cut:
                reason = str(cut)
                if isinstance(cut, _NoConnection) and not attempt:
                    break  # no network at all: nothing that some seconds would change
            if attempt + 1 < self.patience.tries:
                self.watcher.say(f"{reason}; trying again in {wait:.0f} s")
                time.sleep(wait)
                wait *= 2
        have = self._have() if self._read_note() else 0
        raise self._refusal(f"{reason}; the same command goes on from {have / _MIB:.1f} MiB" if have else reason)

    def _receive(self) -> None:
        """All of the partial file, or a `_Cut`."""
        note, have = self._read_note(), self._have()
        if have and note is None:
            self.watcher.say("what came before cannot be gone on with; beginning anew")
        if not have or note is None:
            note, have = None, 0
        headers = {"User-Agent": f"reanimate/{__version__}"}
        if note is not None:
            if have == note.total:
                return
            headers |= {"Range": f"bytes={have}-", "If-Range": note.mark}
        with self._open(headers) as response:
            if response.headers.get_content_type() == "text/html":
                raise self._refusal(_NO_FILE)
            start = self._start(response, note, have)
            total = None if response.length is None else start + response.length
            self._save(response, start, total)
        if total is not None and self._have() < total:
            raise _Cut(f"the connection broke after {self._have() / _MIB:.1f} of {total / _MIB:.1f} MiB")

    def _save(self, response: HTTPResponse, start: int, total: int | None) -> None:
        size = max(start, total or 0)
        with self._disk(), self.partial.open("ab" if start else "wb") as file:
            if start == 0:  # the old bytes are gone before the new note is there
                note = _Note(self.url, _mark(response.headers) or "", total)
                self.note.write_text(json.dumps(asdict(note)), encoding="utf-8")
            self.watcher.start(total, start)
            while size <= MAX_BYTES and (block := self._read(response)):
                file.write(block)
                self.watcher.advance(len(block))
                size = max(size, file.tell())
        if size > MAX_BYTES:
            self._drop()
            raise self._refusal(f"it is larger than {MAX_BYTES / 2**30:.0f} GiB, which no checkpoint is")

    def _open(self, headers: Mapping[str, str]) -> HTTPResponse:
        opener = request.OpenerDirector()  # without the handlers that follow redirects, open files or speak ftp
        for kind in (request.ProxyHandler, request.HTTPHandler, request.HTTPSHandler, request.HTTPDefaultErrorHandler):
            opener.add_handler(kind())
        opener.add_handler(request.HTTPErrorProcessor())
        url = quoted(self.url)
        for _ in range(MAX_REDIRECTS + 1):
            asked = request.Request(url, headers=dict(headers))
            try:
                response: HTTPResponse = opener.open(asked, timeout=self.patience.stall)
                return response
            except HTTPError as error:
                error.close()
                if error.code not in _REDIRECTS or "Location" not in error.headers:
                    raise self._answered(error) from error
                before, url = url, redirected(url, error.headers["Location"])
            except URLError as error:
                raise _NoConnection(f"no connection: {_reason(error.reason)}") from error
            except (ValueError, InvalidURL) as error:  # of a host that is no name, of a proxy that is none
                raise self._refusal(str(error)) from error
            except (OSError, HTTPException) as error:
                raise _Cut(_reason(error)) from error
            if reason := objection(url, pinned=self.sha256 is not None, before=before):
                raise self._refusal(f"it leads elsewhere: {reason}")
        raise self._refusal(f"it leads from address to address, more than {MAX_REDIRECTS} times")

    def _answered(self, error: HTTPError) -> Exception:
        """What the server's refusal amounts to."""
        if error.code == 416:
            self._drop()
            return _Cut("the server has less than is here already; beginning anew")
        answer = f"the server answers {error.code} {error.reason}".rstrip()
        return _Cut(answer) if error.code in _PASSING or error.code >= 500 else self._refusal(answer)

    def _start(self, response: HTTPResponse, note: _Note | None, have: int) -> int:
        """Where in the file the body of this answer begins, in bytes."""
        mark = _mark(response.headers)
        if response.status == 200:
            if note is not None:
                changed = mark is not None and mark != note.mark
                why = "the server's file is another one by now" if changed else "the server cannot go on half-way"
                self.watcher.say(f"{why}; beginning anew")
            return 0
        found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        part = response.status == 206 and note is not None and mark in (None, note.mark)
        if part and found and int(found[1]) == have:
            return have
        self._drop()
        raise _Cut(f"the server answers {response.status} with something else than was asked for; beginning anew")

    def _read(self, response: HTTPResponse) -> bytes:
        try:
            return response.read1(_BLOCK)  # what is there: waiting for a full block would lose it to a timeout
        except TimeoutError as error:
            raise _Cut(f"nothing came for {self.patience.stall:.0f} s") from error
        except (OSError, HTTPException) as error:
            raise _Cut(f"the connection broke ({_reason(error)})") from error

    def _finish(self) -> str:
        with self._disk():
            with self.partial.open("rb") as file:
                head = file.read(512)
                file.seek(0)
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            if not head or _PAGE.match(head):
                self._drop()
                raise self._refusal(_NO_FILE if head else "the file is empty")
            if self.sha256 not in (None, digest):
                self._drop()
                raise ModelError(
                    self.url,
                    f"its sha256 is {digest}, not {self.sha256} as expected; what came is removed; "
                    "if the new one is known to be right, pass it as --sha256",
                )
            self.partial.replace(self.path)
            self.note.unlink(missing_ok=True)
        return digest

    def _read_note(self) -> _Note | None:
        """What is known of the partial file, if it is of this address and can be gone on with."""
        try:
            note = _Note(**json.loads(self.note.read_bytes()))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return note if note.url == self.url and note.mark and isinstance(note.mark, str) else None

    def _have(self) -> int:
        return self.partial.stat().st_size if self.partial.is_file() else 0

    def _drop(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                reason = "no space left on the disk; free some, and the same command goes on"
            raise MediaError(self.path, f"cannot write ({reason})") from error

    def _refusal(self, reason: str) -> WeightsUnavailable:
        return WeightsUnavailable(self.path.name, self.url, reason)


def _mark(headers: Message) -> str | None:
    """What tells this version of the file from others, strongly enough to go on half-way."""
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def _reason(error: object) -> str:
    strerror = getattr(error, "strerror", None)
    return (strerror if isinstance(strerror, str) else str(error) or type(error).__name__).lower()
