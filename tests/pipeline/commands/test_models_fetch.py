"""`models fetch` says on what terms a file comes, where it is, and refuses one that changed behind its address."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Done
from local_site import Answer, File, Site, local_site

from pipeline.commands import models_fetch
from pipeline.digests import DIGESTS, read_digests, record_digest
from pipeline.lock import locked
from reanimate.checkpoints import known
from reanimate.checkpoints.known import KNOWN, Checkpoint

Call = Callable[..., Done]
DATA, OTHER = b"\x80one" * 50_000, b"\x80two" * 50_000


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture
def site() -> Iterator[Site]:
    with local_site() as site:
        site.pages["/net.pkl"] = File(DATA)
        yield site


@pytest.fixture
def url(site: Site) -> str:
    return f"{site.url}/net.pkl"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "models"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("arguments", [(), ("--list",)])
def test_list_names_every_checkpoint_with_its_terms(call: Call, arguments: tuple[str, ...]) -> None:
    lines = call("models", "fetch", *arguments).out.splitlines()
    assert [line.split()[0] for line in lines] == list(KNOWN)
    for line, checkpoint in zip(lines, KNOWN.values(), strict=True):
        assert f"{checkpoint.resolution} px" in line
        assert line.endswith(checkpoint.licence)
        assert "  unverified  " in line, "nobody has measured a digest yet"


def test_list_as_json_has_the_addresses(call: Call) -> None:
    listed = json.loads(call("models", "fetch", "--json").out)
    assert {entry["name"]: entry["url"] for entry in listed} == {name: entry.url for name, entry in KNOWN.items()}


def test_address_lands_in_the_cache_and_is_noted(call: Call, url: str, models: Path) -> None:
    done = call("models", "fetch", url)
    path = models / "downloads" / "net.pkl"
    assert done.out == f"{path}\n"
    assert path.read_bytes() == DATA
    assert read_digests(models) == {url: sha256(DATA)}
    licence, source, digest, hint = done.err.splitlines()
    assert (licence, source) == ("licence: unknown; ask whoever offers it", f"from: {url}")
    assert digest == f"sha256: {sha256(DATA)} (unverified; noted, and expected from now on)"
    assert f"--model {path}" in hint
    assert f"reanimate models import {path}" in hint
    assert {found.name for found in path.parent.iterdir()} == {"net.pkl"}


def test_name_shows_its_licence_before_a_byte_comes(
    call: Call, site: Site, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Checkpoint("net-256", "stylegan2", 256, f"{site.url}/gone", "CC0", "https://a.example/terms")
    monkeypatch.setattr(known, "KNOWN", {"net-256": entry})
    done = call("models", "fetch", "net-256", code=1)
    assert done.err.splitlines()[0] == "licence: CC0 (https://a.example/terms)"
    assert done.error.startswith(f"error: net-256.pkl: weights are not on this machine and {entry.url} cannot be")
    site.pages["/gone"] = File(DATA)
    assert call("models", "fetch", "net-256").out == f"{models / 'downloads' / 'net-256.pkl'}\n"
    done = call("models", "fetch", entry.url)
    assert done.out.endswith("net-256.pkl\n"), "its address is as good as its name"
    assert "already here" in done.err


def test_output_and_json(call: Call, url: str, tmp_path: Path, models: Path) -> None:
    done = call("models", "fetch", url, "-o", "mine.pkl", "--json")
    assert json.loads(done.out) == {"path": "mine.pkl", "sha256": sha256(DATA), "url": url}
    assert (tmp_path / "mine.pkl").read_bytes() == DATA
    assert read_digests(models) == {url: sha256(DATA)}


def test_second_call_downloads_nothing(call: Call, site: Site, url: str) -> None:
    first = call("models", "fetch", url)
    done = call("models", "fetch", url)
    assert done.out == first.out
    assert "already here: nothing is downloaded" in done.err
    assert len(site.asked) == 1


def test_damaged_download_is_fetched_again(call: Call, url: str, models: Path) -> None:
    call("models", "fetch", url)
    path = models / "downloads" / "net.pkl"
    path.write_bytes(DATA[:-1])
    assert "(as expected)" in call("models", "fetch", url).err
    assert path.read_bytes() == DATA


def test_file_that_changed_behind_its_address_is_refused(
    call: Call, site: Site, url: str, tmp_path: Path, models: Path
) -> None:
    call("models", "fetch", url)
    site.pages["/net.pkl"] = File(OTHER)
    error = call("models", "fetch", url, "-o", "again.pkl", code=1).error
    assert f"its sha256 is {sha256(OTHER)}, not {sha256(DATA)} as expected" in error
    assert not list(tmp_path.glob("again*"))
    assert read_digests(models) == {url: sha256(DATA)}


def test_change_that_is_known_to_be_right_is_taken_with_its_digest(
    call: Call, site: Site, url: str, models: Path
) -> None:
    call("models", "fetch", url)
    site.pages["/net.pkl"] = File(OTHER)
    call("models", "fetch", url, "--sha256", sha256(OTHER).upper())
    assert (models / "downloads" / "net.pkl").read_bytes() == OTHER
    assert read_digests(models) == {url: sha256(OTHER)}


def test_other_digest_than_the_one_asked_for_is_refused(call: Call, url: str, models: Path) -> None:
    assert sha256(OTHER) in call("models", "fetch", url, "--sha256", sha256(OTHER), code=1).error
    assert not list((models / "downloads").iterdir())
    assert read_digests(models) == {}


@pytest.mark.parametrize("digest", ["", "abc", "g" * 64, "0" * 63, "0" * 65])
def test_digest_that_is_none_is_one_line(call: Call, url: str, digest: str) -> None:
    assert "is not 64 hexadecimal digits" in call("models", "fetch", url, "--sha256", digest, code=1).error


def test_file_of_another_address_is_not_replaced(call: Call, site: Site, url: str, models: Path) -> None:
    call("models", "fetch", url)
    site.pages["/b/net.pkl"] = File(OTHER)
    error = call("models", "fetch", f"{site.url}/b/net.pkl", code=1).error
    assert f"holds what {url} gave; pass -o another name, or remove it" in error
    assert (models / "downloads" / "net.pkl").read_bytes() == DATA


def test_unknown_name_is_one_line_that_names_the_known_ones(call: Call) -> None:
    error = call("models", "fetch", "stylegan9", code=1).error
    assert all(name in error for name in KNOWN)


@pytest.mark.parametrize("address", ["http://mirror.example/net.pkl", "file:///etc/passwd", "https://[::1", "://"])
def test_address_that_is_not_read_is_one_line(call: Call, address: str) -> None:
    assert "cannot be fetched" in call("models", "fetch", address, code=1).error


def test_names_from_outside_stay_in_the_folder(call: Call, site: Site, models: Path) -> None:
    page = Answer(200, {"Content-Disposition": 'attachment; filename="../../evil.pkl"'}, DATA)
    site.pages["/..%2F..%2Fnet.pkl"] = lambda _: page
    assert call("models", "fetch", f"{site.url}/..%2F..%2Fnet.pkl").out == f"{models / 'downloads' / 'net.pkl'}\n"


def test_interrupted_command_goes_on(
    call: Call, site: Site, url: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(models_fetch._Bar, "advance", interrupt)
        done = call("models", "fetch", url, code=130)
    assert done.err.endswith("interrupted; run the same command again to go on\n")
    have = (models / "downloads" / "net.pkl.partial").stat().st_size
    assert "note: going on from 0." in call("models", "fetch", url).err
    assert (models / "downloads" / "net.pkl").read_bytes() == DATA
    assert site.ranges() == [None, f"bytes={have}-"]


def test_two_at_once_do_not_write_to_one_file(call: Call, site: Site, url: str, tmp_path: Path) -> None:
    with locked(tmp_path / "net.pkl.lock"):
        error = call("models", "fetch", url, "-o", "net.pkl", code=1).error
    assert "another reanimate is fetching to it; wait for it, or pass -o another name" in error
    assert site.asked == []
    call("models", "fetch", url, "-o", "net.pkl")


@pytest.mark.parametrize("target", ["nowhere/net.pkl", "."])
def test_output_that_cannot_be_written_is_one_line(call: Call, site: Site, url: str, target: str) -> None:
    assert "cannot write" in call("models", "fetch", url, "-o", target, code=1).error
    assert site.asked == []


@pytest.mark.parametrize("text", ["", "[]", '{"https://a.example/": 1}', "\xff"])
def test_damaged_table_of_digests_is_not_taken_for_an_empty_one(
    call: Call, site: Site, url: str, models: Path, text: str
) -> None:
    models.mkdir(parents=True)
    (models / DIGESTS).write_text(text, encoding="latin-1")
    assert "cannot be read as a table of digests" in call("models", "fetch", url, code=1).error
    assert site.asked == []


def test_digests_noted_at_once_are_all_kept(models: Path) -> None:
    code = "import sys, pathlib; from pipeline.digests import record_digest\n"
    code += "for i in range(10): record_digest(pathlib.Path(sys.argv[1]), sys.argv[2] + str(i), 'x')"
    children = [subprocess.Popen([sys.executable, "-c", code, str(models), name], cwd=ROOT) for name in "ab"]
    assert [child.wait(60) for child in children] == [0, 0]
    record_digest(models, "a0", "y")
    assert read_digests(models) == {f"{name}{i}": "x" for name in "ab" for i in range(10)} | {"a0": "y"}


def test_progress_where_there_is_no_screen(call: Call, site: Site, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_fetch, "QUIET", 0)
    assert "net.pkl  0.2 of 0.2 MiB, 0 s left\n" in call("models", "fetch", url).err
    site.pages["/net.pkl"] = lambda _: Answer(body=DATA)
    assert "net.pkl  0.2 MiB\n" in call("models", "fetch", url, "-o", "net.pkl").err


def test_progress_on_a_screen(call: Call, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    shown = call("models", "fetch", url).err
    assert "net.pkl  [####" in shown
    assert "0.2 of 0.2 MiB" in shown


def test_torch_is_not_needed() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['reanimate', 'models', 'fetch']; import cli; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert len(done.stdout.splitlines()) == len(KNOWN)
