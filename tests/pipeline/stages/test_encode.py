"""Sizes and qualities that no encoder takes are refused with the settings, not after hours."""

from __future__ import annotations

import pytest

from pipeline.stages.encode import EncodeParams
from reanimate.errors import ConfigError


@pytest.mark.parametrize("values", [{"crf": -1}, {"crf": 52}, {"size": 15}, {"size": 4097}, {"size": 0}])
def test_out_of_range_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(values.values())))):
        EncodeParams(**values)


@pytest.mark.parametrize("values", [{}, {"crf": 0}, {"crf": 51}, {"size": 16}, {"size": 4096}])
def test_the_edges_are_in(values: dict[str, int]) -> None:
    EncodeParams(**values)
