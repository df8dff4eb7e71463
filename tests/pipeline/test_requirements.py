"""Bounds on a report: read strictly, met or not, and said which."""

from __future__ import annotations

import pytest

from pipeline.requirements import SHORT, check, look_up, parse
from reanimate.errors import ConfigError, ReanimateError

REPORT = {
    "frames": 10,
    "frame_rate": "25/1",
    "missing": [1],
    "motion": {"mouth": {"correlation": 0.75, "lag_frames": None}, "yaw": {"correlation": -0.1}},
    "identity": {"distance_to_target": 0.5, "share_nearer_target": 1.0},
    "flicker": {"ratio": 1.2},
}


@pytest.mark.parametrize(
    "text", ["mouth>=0.7", "mouth > 0.7", "distance<=0.5", "yaw<0", "motion.mouth.correlation>=0.75", "frames>=10"]
)
def test_what_holds_passes(text: str) -> None:
    wanted = parse(text)
    assert wanted.met(look_up(REPORT, wanted.name))
    check(REPORT, [wanted])


@pytest.mark.parametrize("text", ["mouth>0.75", "distance<0.5", "flicker<=1.1", "motion.mouth.lag_frames<=1"])
def test_what_does_not_hold_or_is_unknown_is_named(text: str) -> None:
    with pytest.raises(ReanimateError, match="1 of 2 requirements not met") as caught:
        check(REPORT, [parse("mouth>=0.7"), parse(text)])
    assert parse(text).name in str(caught.value)


@pytest.mark.parametrize("text", ["", "mouth", "mouth>=", "mouth=0.7", "mouth>=high", "mouth>=nan", "Mouth>=1", ">=1"])
def test_what_is_no_bound_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="of the form"):
        parse(text)


@pytest.mark.parametrize("name", ["mouht", "flickr", "motion.mouth.corelation", "motion", "frame_rate", "missing"])
def test_unknown_value_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(ConfigError, match=r"did you mean [a-z_.]+\?"):
        check(REPORT, [parse(f"{name}>=1")])


def test_short_names_are_paths_of_a_report() -> None:
    assert all("." in path for path in SHORT.values())
    assert look_up(REPORT, "nearer") == 1
