"""Which addresses are read, and what their files are called."""

from __future__ import annotations

import pytest

from reanimate.checkpoints.addresses import file_name, objection, quoted, redirected


@pytest.mark.parametrize(
    ("url", "pinned", "before", "reason"),
    [
        ("https://a.example/x", False, "", ""),
        ("HTTPS://a.example/x", False, "http://127.0.0.1/", ""),
        ("http://a.example/x", False, "", "pass --sha256"),
        ("http://a.example/x", True, "", ""),
        ("http://a.example/x", True, "https://b.example/", "https leads on to plain http"),
        ("http://127.0.0.1/x", False, "HTTPS://b.example/", "https leads on to plain http"),
        ("http://127.0.0.1:80/x", False, "", ""),
        ("http://127.8.8.8/x", False, "", ""),
        ("http://[::1]/x", False, "", ""),
        ("http://localhost/x", False, "", ""),
        ("http://127.0.0.1.example/x", False, "", "pass --sha256"),
        ("http://localhost@a.example/x", False, "", "user name"),
        ("file:///etc/passwd", True, "", "is no https address"),
        ("net.pkl", True, "", "is no https address"),
        ("https://", True, "", "names no host"),
        ("https://a.example:port/x", True, "", "is not an address"),
    ],
)
def test_what_may_be_read(url: str, pinned: bool, before: str, reason: str) -> None:
    said = objection(url, pinned=pinned, before=before)
    assert reason in said
    assert bool(said) == bool(reason)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a.example/b/ffhq.pkl", "ffhq.pkl"),
        ("https://a.example/ffhq.pkl?name=../x#/y", "ffhq.pkl"),
        ("https://a.example/..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("https://a.example/a%5C..%5Cb.pkl", "b.pkl"),
        ("https://a.example/..", "checkpoint"),
        ("https://a.example/", "checkpoint"),
        ("https://a.example", "checkpoint"),
        ("https://a.example/.bashrc", "bashrc"),
        ("https://a.example/--help", "help"),
        ("https://a.example/a%00b%0Ac d;e.pkl", "a_b_c_d_e.pkl"),
        ("https://a.example/" + "n" * 300 + ".pkl", "n" * 96 + ".pkl"),
        ("https://[::1/x.pt", "x.pt"),
    ],
)
def test_name_of_the_file_is_harmless(url: str, name: str) -> None:
    assert file_name(url) == name


def test_address_is_quoted_once() -> None:
    assert quoted("https://a.example/b c/é%20?d=[1]#e") == "https://a.example/b%20c/%C3%A9%20?d=[1]#e"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("c.pkl", "https://a.example/b/c.pkl"),
        ("/c d", "https://a.example/c%20d"),
        ("//b.example/\xe9", "https://b.example/%E9"),
        ("http://b.example/", "http://b.example/"),
        ("http://[b", "http://[b"),
    ],
)
def test_redirect_leads_where_it_says(location: str, target: str) -> None:
    assert redirected("https://a.example/b/a.pkl", location) == target
