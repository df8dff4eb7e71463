"""The checkpoints that are known by name: nothing in the table would be refused, or claims more than is known."""

from __future__ import annotations

import re

import pytest

from reanimate.checkpoints.addresses import file_name, objection
from reanimate.checkpoints.known import KNOWN, Checkpoint


@pytest.mark.parametrize("known", KNOWN.values(), ids=lambda known: known.name)
def test_entry_can_be_fetched(known: Checkpoint) -> None:
    assert known.url.startswith("https://")
    assert objection(known.url, pinned=False) == ""
    assert file_name(f"https://a.example/{known.file}") == known.file, "its name is a file's name"
    assert known.family in {"stylegan1", "stylegan2", "stylegan3", "pggan", "mescheder"}
    assert known.name.startswith(known.family)
    assert known.name.endswith(f"-{known.resolution}")
    assert known.licence
    assert known.page.startswith("https://")
    assert known.sha256 is None or re.fullmatch("[0-9a-f]{64}", known.sha256)


def test_entries_do_not_share_an_address_or_a_file() -> None:
    assert len({known.url for known in KNOWN.values()}) == len({known.file for known in KNOWN.values()}) == len(KNOWN)
