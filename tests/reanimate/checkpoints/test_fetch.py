"""A download comes whole or not at all, goes on where it was cut, and never mixes two files."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_site import Answer, File, Site, closed_port, local_site

from reanimate.checkpoints import fetch as module
from reanimate.checkpoints.fetch import Patience, fetch
from reanimate.errors import MediaError, ModelError, WeightsUnavailable

DATA = bytes(range(256)) * 4096  # 1 MiB
OTHER = DATA[::-1]
QUICK = Patience(stall=5, tries=3, wait=0.01)
ONCE = Patience(stall=5, tries=1)


class Notes:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.starts: list[tuple[int | None, int]] = []
        self.came = 0
        self.said: list[str] = []

    def start(self, total: int | None, done: int) -> None:
        self.starts.append((total, done))

    def advance(self, count: int) -> None:
        self.came += count

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")


@pytest.fixture
def site() -> Iterator[Site]:
    with local_site() as site:
        yield site


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.pkl"


@pytest.fixture
def notes() -> Notes:
    return Notes()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def left(path: Path) -> set[str]:
    return {found.name for found in path.parent.iterdir()}


def begin(site: Site, path: Path, bytes_: int, page: File | None = None) -> File:
    """What a first call leaves that was cut after so many bytes."""
    file = page or File(DATA)
    file.cuts = [bytes_]
    site.pages["/net.pkl"] = file
    with pytest.raises(WeightsUnavailable):
        fetch(f"{site.url}/net.pkl", path, Notes(), patience=ONCE)
    assert path.with_name("net.pkl.partial").stat().st_size == bytes_
    assert not path.exists()
    site.asked.clear()
    return file


def test_file_comes_whole_and_nothing_else_is_left(site: Site, path: Path, notes: Notes) -> None:
    site.pages["/net.pkl"] = File(DATA)
    assert fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK) == sha256(DATA)
    assert path.read_bytes() == DATA
    assert left(path) == {"net.pkl"}
    assert (notes.starts, notes.came, notes.said) == ([(len(DATA), 0)], len(DATA), [])


def test_file_without_a_size_comes_whole(site: Site, path: Path, notes: Notes) -> None:
    site.pages["/net.pkl"] = lambda _: Answer(body=DATA)
    assert fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK) == sha256(DATA)
    assert notes.starts == [(None, 0)]


def test_cut_connection_is_gone_on_with_at_once(site: Site, path: Path, notes: Notes) -> None:
    site.pages["/net.pkl"] = File(DATA, cuts=[300_000, 100_000])
    assert fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK) == sha256(DATA)
    assert path.read_bytes() == DATA
    assert site.ranges() == [None, "bytes=300000-", "bytes=400000-"]
    assert notes.came == len(DATA), "no byte came twice"
    assert notes.starts == [(len(DATA), 0), (len(DATA), 300_000), (len(DATA), 400_000)]
    assert "the connection broke after 0.3 of 1.0 MiB; trying again in 0 s" in notes.said


def test_later_call_goes_on_where_the_first_gave_up(site: Site, path: Path, notes: Notes) -> None:
    begin(site, path, 300_000)
    assert fetch(f"{site.url}/net.pkl", path, notes, patience=ONCE) == sha256(DATA)
    assert path.read_bytes() == DATA
    ((_, headers),) = site.asked
    assert (headers["range"], headers["if-range"]) == ("bytes=300000-", '"one"')
    assert left(path) == {"net.pkl"}


def test_tries_end_with_a_line_that_says_how_to_go_on(site: Site, path: Path, notes: Notes) -> None:
    site.pages["/net.pkl"] = File(DATA, cuts=[1 << 17] * 9)
    with pytest.raises(WeightsUnavailable, match=r"; the same command goes on from 0\.4 MiB") as caught:
        fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK)
    assert caught.value.url == f"{site.url}/net.pkl"
    assert len(site.asked) == 3
    assert left(path) == {"net.pkl.partial", "net.pkl.partial.json"}


def test_server_that_falls_silent_is_asked_again(site: Site, path: Path, notes: Notes) -> None:
    site.pages["/net.pkl"] = File(DATA, cuts=[5000], stalls=True)
    fetch(f"{site.url}/net.pkl", path, notes, patience=Patience(stall=0.3, tries=2, wait=0.01))
    assert path.read_bytes() == DATA
    assert site.ranges() == [None, "bytes=5000-"], "what came before the silence is kept"
    assert any(said.startswith("nothing came for 0 s") for said in notes.said)


def test_server_that_never_answers_is_given_up(path: Path, notes: Notes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(WeightsUnavailable, match="timed out"):
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/net.pkl"
        fetch(url, path, notes, patience=Patience(stall=0.1, tries=2, wait=0.01))


def test_server_that_speaks_something_else_is_one_line(path: Path, notes: Notes) -> None:
    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"220 mail.example ESMTP\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        with pytest.raises(WeightsUnavailable):
            fetch(f"http://127.0.0.1:{server.getsockname()[1]}/net.pkl", path, notes, patience=ONCE)
        thread.join()


def test_broken_chunks_are_not_taken_for_the_end(site: Site, path: Path, notes: Notes) -> None:
    chunk = f"{len(DATA):x}\r\n".encode() + DATA
    headers = {"Transfer-Encoding": "chunked"}
    site.pages["/net.pkl"] = lambda _: Answer(200, headers, chunk + b"\r\n", send=500_000)
    with pytest.raises(WeightsUnavailable, match="the connection broke"):
        fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK)
    assert not path.exists()


def test_interrupt_keeps_what_came(site: Site, path: Path, notes: Notes) -> None:
    class Impatient(Notes):
        def advance(self, count: int) -> None:
            raise KeyboardInterrupt

    site.pages["/net.pkl"] = File(DATA)
    with pytest.raises(KeyboardInterrupt):
        fetch(f"{site.url}/net.pkl", path, Impatient(), patience=QUICK)
    have = path.with_name("net.pkl.partial").stat().st_size
    assert 0 < have < len(DATA)
    fetch(f"{site.url}/net.pkl", path, notes, patience=ONCE)
    assert path.read_bytes() == DATA
    assert site.ranges() == [None, f"bytes={have}-"]


def test_server_without_ranges_begins_anew_and_it_is_said(site: Site, path: Path, notes: Notes) -> None:
    begin(site, path, 300_000, File(DATA, ranges=False))
    assert fetch(f"{site.url}/net.pkl", path, notes, patience=ONCE) == sha256(DATA)
    assert path.read_bytes() == DATA
    assert notes.said == ["the server cannot go on half-way; beginning anew"]


def test_file_that_changed_in_between_is_not_mixed_with_the_old_one(site: Site, path: Path, notes: Notes) -> None:
    begin(site, path, 300_000)
    site.pages["/net.pkl"] = File(OTHER, etag='"two"')
    assert fetch(f"{site.url}/net.pkl", path, notes, patience=ONCE) == sha256(OTHER)
    assert path.read_bytes() == OTHER
    assert notes.said == ["the server's file is another one by now; beginning anew"]


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"two"', "Content-Range": f"bytes 300000-{len(DATA) - 1}/{len(DATA)}"},
        {"ETag": '"one"', "Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"},
        {"ETag": '"one"'},
    ],
    ids=["of another file", "of another place", "of no place"],
)
def test_wrong_part_is_thrown_away(site: Site, path: Path, notes: Notes, headers: dict[str, str]) -> None:
    begin(site, path, 300_000)
    answers = iter([Answer(206, headers, OTHER[300_000:]), File(OTHER, etag='"two"')({})])
    site.pages["/net.pkl"] = lambda _: next(answers)
    assert fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK) == sha256(OTHER)
    assert site.ranges() == ["bytes=300000-", None]
    assert "something else than was asked for" in notes.said[0]


def test_partial_file_longer_than_the_servers_begins_anew(site: Site, path: Path, notes: Notes) -> None:
    begin(site, path, 300_000)
    site.pages["/net.pkl"] = File(DATA[:200_000])
    assert fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK) == sha256(DATA[:200_000])
    assert site.ranges() == ["bytes=300000-", None]
    assert "the server has less than is here already" in notes.said[0]


@pytest.mark.parametrize(
    ("page", "mark"),
    [
        (File(DATA, etag=None), None),
        (File(DATA, etag='W/"one"'), None),
        (File(DATA, etag=None, modified="Mon, 01 Jan 2024 00:00:00 GMT"), "Mon, 01 Jan 2024 00:00:00 GMT"),
        (File(DATA, etag='W/"one"', modified="Mon, 01 Jan 2024 00:00:00 GMT"), "Mon, 01 Jan 2024 00:00:00 GMT"),
    ],
    ids=["nothing", "weak etag", "date", "weak etag and date"],
)
def test_only_a_strong_mark_is_gone_on_with(site: Site, path: Path, notes: Notes, page: File, mark: str | None) -> None:
    begin(site, path, 300_000, page)
    assert fetch(f"{site.url}/net.pkl", path, notes, patience=ONCE) == sha256(DATA)
    ((_, headers),) = site.asked
    assert headers.get("if-range") == mark
    assert ("what came before cannot be gone on with; beginning anew" in notes.said) == (mark is None)


def test_partial_file_of_another_address_is_not_used(site: Site, path: Path, notes: Notes) -> None:
    begin(site, path, 300_000)
    site.pages["/other"] = File(OTHER)
    assert fetch(f"{site.url}/other", path, notes, patience=ONCE) == sha256(OTHER)
    assert site.ranges() == [None]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"url": 1}', "\xff", "[" * 100_000])
def test_damaged_note_begins_anew(site: Site, path: Path, notes: Notes, text: str) -> None:
    begin(site, path, 300_000)
    path.with_name("net.pkl.partial.json").write_text(text, encoding="latin-1")
    assert fetch(f"{site.url}/net.pkl", path, notes, patience=ONCE) == sha256(DATA)
    assert site.ranges() == [None]


def test_complete_partial_file_needs_no_server(site: Site, path: Path, notes: Notes) -> None:
    begin(site, path, 300_000)
    path.with_name("net.pkl.partial").write_bytes(DATA)
    assert fetch(f"{site.url}/net.pkl", path, notes, patience=ONCE) == sha256(DATA)
    assert site.asked == []


def test_expected_digest_is_checked_and_the_file_replaced_in_one_step(site: Site, path: Path, notes: Notes) -> None:
    path.write_bytes(b"old")
    site.pages["/net.pkl"] = File(DATA)
    with pytest.raises(ModelError, match=f"its sha256 is {sha256(DATA)}, not {sha256(OTHER)} as expected"):
        fetch(f"{site.url}/net.pkl", path, notes, sha256=sha256(OTHER), patience=QUICK)
    assert path.read_bytes() == b"old"
    assert left(path) == {"net.pkl"}, "what came is removed"
    fetch(f"{site.url}/net.pkl", path, notes, sha256=sha256(DATA), patience=QUICK)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_with_the_range(site: Site, path: Path, notes: Notes, status: int) -> None:
    file = begin(site, path, 300_000)
    site.pages["/net.pkl"] = lambda _: Answer(status, {"Location": "/a b/\xe9"})
    site.pages["/a%20b/%E9"] = file
    assert fetch(f"{site.url}/net.pkl", path, notes, patience=ONCE) == sha256(DATA)
    assert site.ranges() == ["bytes=300000-", "bytes=300000-"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/net.pkl", "more than 10 times"),
        ("file:///etc/passwd", "'file:///etc/passwd' is no https address"),
        ("ftp://127.0.0.1/net.pkl", "is no https address"),
        ("data:,net", "is no https address"),
        ("http://mirror.example/net.pkl", "anybody on the way can change"),
        ("https://user:word@mirror.example/net.pkl", "user name"),
        ("http://[net.pkl", "is not an address"),
    ],
)
def test_redirects_to_nowhere_good_are_refused(site: Site, path: Path, notes: Notes, target: str, reason: str) -> None:
    site.pages["/net.pkl"] = lambda _: Answer(302, {"Location": target})
    with pytest.raises(WeightsUnavailable, match=reason):
        fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK)
    assert left(path) == set()


def test_proxy_is_honoured(site: Site, path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", site.url)
    site.pages["http://mirror.example/net.pkl"] = File(DATA)
    fetch("http://mirror.example/net.pkl", path, notes, sha256=sha256(DATA), patience=QUICK)
    assert path.read_bytes() == DATA


def test_refused_address_is_not_even_looked_up(path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("looked up"))
    with pytest.raises(WeightsUnavailable, match="plain http"):
        fetch("http://mirror.example/net.pkl", path, notes, patience=QUICK)


@pytest.mark.parametrize(
    "page",
    [
        Answer(200, {"Content-Type": "text/html; charset=utf-8"}, b"Google Drive can't scan this file"),
        Answer(200, {}, b"\n<!DOCTYPE HTML><title>Quota exceeded</title>"),
        Answer(200, {"Content-Type": "application/octet-stream"}, b"<html></html>"),
        Answer(200, {}, b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"),
    ],
    ids=["by type", "doctype", "html", "xml"],
)
def test_web_page_is_not_taken_for_a_file(site: Site, path: Path, notes: Notes, page: Answer) -> None:
    site.pages["/net.pkl"] = lambda _: page
    with pytest.raises(WeightsUnavailable, match="a web page comes instead of a file; open the address in a browser"):
        fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK)
    assert len(site.asked) == 1
    assert left(path) == set()


def test_web_page_half_way_costs_nothing_that_came_before(site: Site, path: Path, notes: Notes) -> None:
    file = begin(site, path, 300_000)
    site.pages["/net.pkl"] = lambda _: Answer(200, {"Content-Type": "text/html"}, b"come back tomorrow")
    with pytest.raises(WeightsUnavailable, match="a web page comes"):
        fetch(f"{site.url}/net.pkl", path, notes, patience=ONCE)
    site.pages["/net.pkl"] = file
    fetch(f"{site.url}/net.pkl", path, notes, patience=ONCE)
    assert site.ranges() == ["bytes=300000-", "bytes=300000-"]


def test_empty_file_is_no_checkpoint(site: Site, path: Path, notes: Notes) -> None:
    site.pages["/net.pkl"] = File(b"")
    with pytest.raises(WeightsUnavailable, match="the file is empty"):
        fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK)
    assert left(path) == set()


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_refusal_is_said_at_once(site: Site, path: Path, notes: Notes, status: int) -> None:
    site.pages["/net.pkl"] = lambda _: Answer(status)
    with pytest.raises(WeightsUnavailable, match=f"the server answers {status} "):
        fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK)
    assert len(site.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_trouble_of_the_server_is_waited_out(site: Site, path: Path, notes: Notes, status: int) -> None:
    answers = iter([Answer(status), Answer(status), File(DATA)({})])
    site.pages["/net.pkl"] = lambda _: next(answers)
    assert fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK) == sha256(DATA)
    site.pages["/net.pkl"] = lambda _: Answer(status)
    with pytest.raises(WeightsUnavailable, match=f"the server answers {status} "):
        fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK)
    assert len(site.asked) == 6


def test_no_network_is_one_line_without_waiting(path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(WeightsUnavailable, match="no connection: name or service not known"):
        fetch("https://models.example/net.pkl", path, notes, patience=Patience(tries=5, wait=60))
    assert notes.said == []


def test_nobody_listening_is_one_line_without_waiting(path: Path, notes: Notes) -> None:
    with pytest.raises(WeightsUnavailable, match="no connection: connection refused"):
        fetch(f"http://127.0.0.1:{closed_port()}/net.pkl", path, notes, patience=Patience(tries=5, wait=60))


def test_network_that_goes_away_half_way_is_waited_for(
    site: Site, path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.pages["/net.pkl"] = File(DATA, cuts=[300_000])
    look_up, calls = socket.getaddrinfo, iter(range(9))

    def sometimes(*arguments: object, **names: object) -> object:
        if next(calls) == 1:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up(*arguments, **names)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", sometimes)
    assert fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK) == sha256(DATA)
    assert len(notes.said) == 2


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example"])
def test_impossible_host_is_one_line(path: Path, notes: Notes, host: str) -> None:
    with pytest.raises(WeightsUnavailable):
        fetch(f"https://{host}/net.pkl", path, notes, patience=ONCE)


def test_full_disk_is_said_and_the_same_call_goes_on(site: Site, path: Path, notes: Notes) -> None:
    site.pages["/net.pkl"] = File(DATA)
    partial = path.with_name("net.pkl.partial")
    partial.symlink_to("/dev/full")
    with pytest.raises(MediaError, match="no space left on the disk; free some"):
        fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK)
    partial.unlink()
    assert fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK) == sha256(DATA)


def test_folder_that_is_not_there_is_one_line(site: Site, path: Path, notes: Notes) -> None:
    site.pages["/net.pkl"] = File(DATA)
    with pytest.raises(MediaError, match="no such file or directory"):
        fetch(f"{site.url}/net.pkl", path.parent / "nowhere" / "net.pkl", notes, patience=QUICK)


@pytest.mark.parametrize("page", [File(DATA), lambda _: Answer(body=DATA)], ids=["announced", "not announced"])
def test_endless_file_is_refused(
    site: Site, path: Path, notes: Notes, page: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", len(DATA) - 1)
    site.pages["/net.pkl"] = page
    with pytest.raises(WeightsUnavailable, match="it is larger than"):
        fetch(f"{site.url}/net.pkl", path, notes, patience=QUICK)
    assert left(path) == set()


def test_note_of_a_partial_file_says_what_it_is_part_of(site: Site, path: Path) -> None:
    begin(site, path, 300_000)
    note = json.loads(path.with_name("net.pkl.partial.json").read_text())
    assert note == {"url": f"{site.url}/net.pkl", "mark": '"one"', "total": len(DATA)}
