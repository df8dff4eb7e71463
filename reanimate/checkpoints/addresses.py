"""Addresses of downloads: which may be read, where they lead, and what a file that comes from one is called."""

from __future__ import annotations

import ipaddress
import re
import string
from urllib.parse import quote, unquote, urljoin, urlsplit


def objection(url: str, *, pinned: bool, before: str = "") -> str:
    """Why `url` may not be read, or "". `pinned`: its sha256 is known; `before`: the address that leads there."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return f"{url!r} is not an address"
    if parts.scheme not in ("http", "https"):
        return f"{url!r} is no https address"
    if not host:
        return f"{url!r} names no host"
    if "@" in parts.netloc:
        return "addresses with a user name in them are not read"
    if parts.scheme == "https":
        return ""
    if before.lower().startswith("https:"):
        return "https leads on to plain http, which anybody on the way can change"
    if pinned or _is_this_machine(host):
        return ""
    return "anybody on the way can change what plain http brings; use https, or pass --sha256"


def file_name(url: str) -> str:
    """A harmless file name from the last part of an address's path, whatever the address."""
    path = re.split(r"[?#]", url.partition("://")[2])[0].partition("/")[2]
    last = unquote(path).replace("\\", "/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._+-]", "_", last)[-100:].lstrip(".-") or "checkpoint"


def quoted(url: str) -> str:
    """An address in the characters that a request may hold; what is quoted already stays as it is."""
    return quote(url, safe=string.punctuation)


def redirected(url: str, location: str) -> str:
    """Where a redirect's `location` leads from `url`; if that is no address, `objection` will say so."""
    try:
        location = urljoin(url, location)
    except ValueError:
        return location
    return quote(location, safe=string.punctuation, encoding="iso-8859-1")  # as header lines are read


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
