"""Clips are made here with ffmpeg's own test sources; the real ones are used where the checkout has them."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from reanimate.errors import FFmpegError, MediaError, ReanimateError
from reanimate.images import write_image
from reanimate.types import UInt8, VideoInfo
from reanimate.video import SYNTHETIC, find_ffmpeg, frames, probe, write_video

NTSC = Fraction(30000, 1001)
CLIPS = Path(__file__).parents[3] / "shared" / "clips"
BEEP = ["-f", "lavfi", "-i", "sine=f=440:d=1"]
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]


def ffmpeg(*arguments: str | Path) -> str:
    """Run ffmpeg; what it said."""
    command = [find_ffmpeg(), "-nostdin", "-y", "-hide_banner", *(str(argument) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, check=False)
    said = done.stderr.decode()
    assert done.returncode == 0, said
    return said


def described(path: Path) -> str:
    """What ffmpeg says of a file."""
    command = [find_ffmpeg(), "-nostdin", "-hide_banner", "-i", f"file:{path}"]
    return subprocess.run(command, capture_output=True, check=False).stderr.decode()


def pattern(rate: str = "25", size: str = "64x48", seconds: float = 1) -> list[str]:
    return ["-f", "lavfi", "-i", f"testsrc=s={size}:r={rate}:d={seconds}"]


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def gray(count: int, height: int = 48, width: int = 64) -> list[UInt8]:
    return [np.full((height, width, 3), 100 + i % 50, np.uint8) for i in range(count)]


def facts(rate: Fraction | int = 25) -> VideoInfo:
    return VideoInfo(width=64, height=48, num_frames=10, frame_rate=Fraction(rate), has_audio=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def ntsc(folder: Path) -> Path:
    path = folder / "ntsc.mp4"
    ffmpeg(*pattern("30000/1001"), *BEEP, *X264, path)
    return path


@pytest.fixture(scope="module")
def silent(folder: Path) -> Path:
    path = folder / "silent.mp4"
    ffmpeg(*pattern(), *X264, path)
    return path


@pytest.fixture(scope="module")
def two_tracks(folder: Path) -> Path:
    """One track that mp4 may hold and one that it may not, in two languages."""
    path = folder / "two.mkv"
    maps = ["-map", "0:v", "-map", "1:a", "-map", "1:a", "-metadata:s:a:0", "language=eng"]
    sound = ["-metadata:s:a:1", "language=fra", "-c:a:0", "aac", "-c:a:1", "pcm_s16le"]
    ffmpeg(*pattern(), *BEEP, *maps, *sound, *X264, path)
    return path


@pytest.fixture(scope="module")
def variable(folder: Path) -> Path:
    """30 frames per second with two in five missing."""
    path = folder / "variable.mp4"
    drop = ["-vf", "select='not(eq(mod(n,5),1)+eq(mod(n,5),2))'", "-fps_mode", "vfr"]
    ffmpeg(*pattern("30", seconds=2), "-f", "lavfi", "-i", "sine=d=2", *drop, *X264, path)
    return path


def check(path: Path) -> VideoInfo:
    """`probe`, held against what decoding gives."""
    info = probe(path)
    shapes = [picture.shape for picture in frames(path, info)]
    assert shapes == [(info.height, info.width, 3)] * info.num_frames
    return info


# what a file holds


# the clocks of the other containers cannot tell 2997/100 from its neighbours
RATES = [("30000/1001", 30), ("24000/1001", 24), ("25", 25), ("60", 60)]
CONTAINERS = [(s, *rate) for s in ("mp4", "mkv", "ts", "avi") for rate in RATES]


@pytest.mark.parametrize(("suffix", "rate", "count"), [*CONTAINERS, ("mp4", "2997/100", 30), ("mp4", "15/2", 8)])
def test_constant_rate_is_exact_and_every_frame_comes_once(tmp_path: Path, rate: str, count: int, suffix: str) -> None:
    path = tmp_path / f"clip.{suffix}"
    ffmpeg(*pattern(rate, seconds=count / float(Fraction(rate)) - 0.01), *X264, path)
    info = check(path)
    assert (info.frame_rate, info.num_frames, info.constant_rate) == (Fraction(rate), count, True)


def test_size_sound_and_duration_are_those_of_the_file(ntsc: Path) -> None:
    info = check(ntsc)
    assert (info.width, info.height) == (64, 48)
    assert (info.has_audio, info.audio_codecs) == (True, ("aac",))
    assert info.duration == pytest.approx(30 / NTSC, abs=0.002)
    assert info.video_delay == pytest.approx(0, abs=1e-3)


def test_silent_video_has_no_sound(silent: Path) -> None:
    info = check(silent)
    assert (info.has_audio, info.audio_codecs, info.num_frames) == (False, (), 25)


def test_every_sound_track_is_named(two_tracks: Path) -> None:
    assert probe(two_tracks).audio_codecs == ("aac", "pcm_s16le")


def test_mkv_without_a_stated_rate_keeps_its_frames(tmp_path: Path, ntsc: Path) -> None:
    path = tmp_path / "unstated.mkv"
    # live muxing leaves the default duration out: only milliseconds remain
    ffmpeg("-i", ntsc, "-c", "copy", "-bsf:v", "setts=duration=0", "-default_mode", "passthrough", path)
    info = check(path)
    assert (info.frame_rate, info.num_frames, info.constant_rate) == (NTSC, 30, True)


def test_rate_that_is_no_common_one_is_told_by_the_average(tmp_path: Path) -> None:
    path = tmp_path / "slow.mp4"
    ffmpeg(*pattern("25"), "-vf", "setpts=PTS*1.9", "-fps_mode", "passthrough", *X264, path)
    info = check(path)
    assert (info.num_frames, info.constant_rate) == (25, True)
    assert float(info.frame_rate) == pytest.approx(25 / 1.9, rel=0.02)


def test_variable_rate_is_resampled_to_the_nominal_one(variable: Path) -> None:
    info = check(variable)
    assert (info.frame_rate, info.constant_rate) == (Fraction(30), False)
    assert info.num_frames == pytest.approx(60, abs=1)


def test_variable_rate_in_milliseconds_is_resampled(tmp_path: Path, variable: Path) -> None:
    path = tmp_path / "variable.mkv"
    ffmpeg("-i", variable, "-c", "copy", path)
    info = check(path)
    assert float(info.frame_rate) == pytest.approx(30, abs=0.05)  # milliseconds cannot tell 30 from 29.97
    assert not info.constant_rate
    assert info.num_frames == pytest.approx(60, abs=1)


def test_one_missing_frame_makes_the_rate_variable(tmp_path: Path) -> None:
    path = tmp_path / "missing.mp4"
    ffmpeg(*pattern("25", seconds=2), "-vf", "select='not(eq(n,25))'", "-fps_mode", "vfr", *X264, path)
    info = check(path)
    assert (info.frame_rate, info.constant_rate, info.num_frames) == (Fraction(25), False, 50)


def test_guess_of_a_thousand_frames_per_second_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "jitter.mkv"
    shake = "setpts='(N*33+mod(N*7,11)+30*gt(mod(N,20),9))/1000/TB'"
    ffmpeg(*pattern("30", seconds=2), "-vf", f"settb=1/1000,{shake}", "-fps_mode", "passthrough", *X264, path)
    assert check(path).frame_rate <= 60


def test_rotated_clip_is_upright(tmp_path: Path, silent: Path) -> None:
    path = tmp_path / "rotated.mp4"
    ffmpeg("-display_rotation", "90", "-i", silent, "-c", "copy", path)
    info = check(path)
    assert (info.width, info.height) == (48, 64)
    plain, turned = next(frames(silent, probe(silent))), next(frames(path, info))
    assert np.abs(np.rot90(plain).astype(int) - turned).mean() < 2


@pytest.mark.parametrize("size", ["63x47", "62x46", "35x64"])
def test_any_size_is_read_and_written(tmp_path: Path, size: str) -> None:
    path, out = tmp_path / "odd.mkv", tmp_path / "even.mp4"
    ffmpeg(*pattern(size=size, seconds=0.4), "-c:v", "ffv1", "-pix_fmt", "gray", path)
    info = check(path)
    width, height = (int(side) for side in size.split("x"))
    assert (info.width, info.height) == (width, height)
    assert write_video(out, frames(path, info), info, sound_from=None) == 10
    written = check(out)
    assert (written.width, written.height) == (width + width % 2, height + height % 2)
    last = next(frames(out, written)).astype(int)
    assert np.abs(last[:height, :width] - next(frames(path, info))).mean() < 2
    assert np.abs(last[-1] - last[height - 1]).mean() < 2


def test_one_frame_in_a_video_is_a_video(tmp_path: Path) -> None:
    path = tmp_path / "one.mp4"
    ffmpeg(*pattern(), "-frames:v", "1", *X264, path)
    assert check(path).num_frames == 1


def test_animated_gif_is_a_video(tmp_path: Path) -> None:
    path = tmp_path / "moving.gif"
    ffmpeg(*pattern("10"), path)
    info = check(path)
    assert (info.frame_rate, info.num_frames) == (Fraction(10), 10)


def test_frames_outside_the_edit_list_are_not_counted(tmp_path: Path) -> None:
    long, path = tmp_path / "long.mp4", tmp_path / "cut.mp4"
    ffmpeg(*pattern(seconds=2), *X264, "-g", "50", long)
    ffmpeg("-ss", "0.5", "-i", long, "-c", "copy", path)
    assert check(path).num_frames == pytest.approx(37, abs=1)


@pytest.mark.parametrize("name", ["with spaces.mp4", "-leading.mp4", "a:b.mp4", "n%03d.mp4", "ümlaut'\".mp4"])
def test_any_name_is_read_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: Path, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.write_bytes(silent.read_bytes())
    info = check(path)
    out = Path(f"{name}.out.mp4")
    assert write_video(out, frames(path, info), info, sound_from=path) == 25
    assert check(out).num_frames == 25


# frames


def test_frames_are_the_same_on_every_call(variable: Path) -> None:
    info = probe(variable)
    for one, other in zip(frames(variable, info), frames(variable, info), strict=True):
        assert np.array_equal(one, other)


def test_frames_can_be_written_to_by_the_caller(silent: Path) -> None:
    first, second, *_ = frames(silent, probe(silent))
    first[:] = 0
    assert second.any()


def test_stopping_early_leaves_no_ffmpeg_behind(silent: Path) -> None:
    before = children()
    running = frames(silent, probe(silent))
    next(running)
    assert len(children() - before) == 1
    running.close()  # type: ignore[attr-defined]
    assert children() == before


def test_broken_off_file_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.mp4", tmp_path / "half.mp4"
    ffmpeg(*pattern(seconds=2), *X264, "-movflags", "+faststart", whole)
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    info = probe(path)
    assert 1 < len(list(frames(path, info))) < 50


def test_changing_size_in_the_middle_keeps_the_first_one(tmp_path: Path) -> None:
    small, large, path = tmp_path / "s.ts", tmp_path / "l.ts", tmp_path / "both.ts"
    ffmpeg(*pattern(seconds=0.4), *X264, small)
    ffmpeg(*pattern(size="128x96", seconds=0.4), *X264, "-output_ts_offset", "0.4", large)
    path.write_bytes(small.read_bytes() + large.read_bytes())
    info = probe(path)
    assert {picture.shape for picture in frames(path, info)} == {(48, 64, 3)}


# bad input


def _missing(path: Path) -> None:
    path.unlink(missing_ok=True)


def _folder(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _empty(path: Path) -> None:
    path.touch()


def _text(path: Path) -> None:
    path.write_text("a story, not a video\n" * 100)


def _no_moov(path: Path) -> None:
    ffmpeg(*pattern(), *X264, path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _no_frames_left(path: Path) -> None:
    ffmpeg(*pattern(), *X264, "-movflags", "+faststart", path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 4])


def _sound_only(path: Path) -> None:
    ffmpeg(*BEEP, path)


def _sound_with_cover(path: Path) -> None:
    cover = ["-map", "0", "-map", "1", "-frames:v", "1", "-c:v", "mjpeg", "-disposition:v", "attached_pic"]
    ffmpeg(*BEEP, *pattern(), *cover, "-pix_fmt", "yuvj420p", "-f", "mp4", path)


def _png(path: Path) -> None:
    write_image(path, gray(1)[0])


def _picture(format: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(cv2.imencode(f".{format}", gray(1)[0])[1].tobytes())

    return make


def _avif(path: Path) -> None:
    path.write_bytes(b"\0\0\0\x1cftypavif" + bytes(100))


def _playlist(path: Path) -> None:
    ffmpeg(*pattern(), *X264, path.with_name("secret.ts"))
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n")


def _concat(path: Path) -> None:
    ffmpeg(*pattern(), *X264, path.with_name("secret.mp4"))
    path.write_text("ffconcat version 1.0\nfile secret.mp4\n")


STILL = "is a still picture; a source must be a video"
BAD = [
    (_missing, "a.mp4", "no such file or directory"),
    (_folder, "a.mp4", "is a folder"),
    (_pipe, "a.mp4", "is not a regular file"),
    (_empty, "a.mp4", "is empty"),
    (_text, "a.mp4", "is damaged, or not a video that ffmpeg can read"),
    (_no_moov, "a.mp4", "moov atom not found"),
    (_no_frames_left, "a.mp4", ""),
    (_sound_only, "a.wav", "has no video stream"),
    (_sound_only, "a.mp3", "has no video stream"),
    (_sound_only, "a.m4a", "has no video stream"),
    (_sound_with_cover, "a.mp4", "has no video stream"),
    (_png, "a.png", STILL),
    (_png, "a.mp4", STILL),
    (_picture("jpg"), "a.jpg", STILL),
    (_picture("webp"), "a.webp", STILL),
    (_picture("bmp"), "a.bmp", STILL),
    (_picture("tiff"), "a%03d.tiff", STILL),
    (_avif, "a.avif", STILL),
    (_playlist, "a.m3u8", "is damaged, or not a video that ffmpeg can read"),
    (_playlist, "a.mp4", "is damaged, or not a video that ffmpeg can read"),
    (_concat, "a.mp4", "is damaged, or not a video that ffmpeg can read"),
]


@pytest.mark.parametrize(("make", "name", "says"), BAD, ids=[f"{make.__name__}-{name}" for make, name, _ in BAD])
def test_bad_input_is_one_line_that_names_file_and_reason(
    tmp_path: Path, make: Callable[[Path], None], name: str, says: str
) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(MediaError) as caught:
        probe(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and says in message
    assert "\n" not in message
    assert " @ 0x" not in message
    assert caught.value.path == path


def test_frames_of_a_missing_file_are_a_media_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="No such file"):
        next(frames(tmp_path / "none.mp4", facts()))


def test_without_ffmpeg_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/does/not/exist")
    with pytest.raises(ReanimateError, match="pip install imageio-ffmpeg"):
        find_ffmpeg.__wrapped__()


def test_ffmpeg_that_cannot_do_the_work_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "ffmpeg"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(old))
    assert find_ffmpeg.__wrapped__() != str(old)


# writing


@pytest.mark.parametrize("rate", [NTSC, Fraction(24000, 1001), Fraction(25), Fraction(60), Fraction(2997, 100)])
def test_frame_rate_and_count_come_out_exactly(tmp_path: Path, rate: Fraction) -> None:
    out = tmp_path / "out.mp4"
    assert write_video(out, gray(40), facts(rate), sound_from=None) == 40
    info = check(out)
    assert (info.frame_rate, info.num_frames, info.constant_rate) == (rate, 40, True)
    assert info.duration == pytest.approx(40 / rate, abs=0.001)
    assert not info.has_audio


def test_sound_goes_along_and_duration_stays(tmp_path: Path, ntsc: Path) -> None:
    out, source = tmp_path / "out.mp4", probe(ntsc)
    assert write_video(out, frames(ntsc, source), source, sound_from=ntsc) == 30
    info = check(out)
    assert (info.frame_rate, info.num_frames, info.audio_codecs) == (NTSC, 30, ("aac",))
    assert abs(info.duration - source.duration) <= 1 / NTSC
    assert info.video_delay == pytest.approx(0, abs=1e-3)


def test_sound_that_mp4_may_hold_is_copied_bit_for_bit(tmp_path: Path, ntsc: Path) -> None:
    out, source = tmp_path / "out.mp4", probe(ntsc)
    write_video(out, frames(ntsc, source), source, sound_from=ntsc)
    for path in (ntsc, out):
        ffmpeg("-i", path, "-map", "0:a", "-c", "copy", path.parent / f"{path.stem}.aac")
    assert (tmp_path / "out.aac").read_bytes() == (ntsc.parent / "ntsc.aac").read_bytes()


def test_both_sound_tracks_are_carried_with_their_languages(tmp_path: Path, two_tracks: Path) -> None:
    out, source = tmp_path / "out.mp4", probe(two_tracks)
    write_video(out, frames(two_tracks, source), source, sound_from=two_tracks)
    info = check(out)
    assert info.audio_codecs == ("aac", "aac")
    assert abs(info.duration - source.duration) <= 1 / source.frame_rate
    assert re.findall(r"\((\w+)\): Audio", described(out)) == ["eng", "fra"]


def test_sound_of_an_unknown_codec_is_left_out(tmp_path: Path) -> None:
    path, out = tmp_path / "unknown.mp4", tmp_path / "out.mp4"
    ffmpeg(*pattern(), *BEEP, *BEEP, "-map", "0", "-map", "1", "-map", "2", *X264, path)
    path.write_bytes(path.read_bytes().replace(b"mp4a", b"zzzz", 1).replace(b"esds", b"zzzz", 1))
    source = check(path)
    assert source.audio_codecs == ("aac",)
    write_video(out, frames(path, source), source, sound_from=path)
    assert check(out).audio_codecs == ("aac",)


@pytest.mark.parametrize("delay", [0.5, 0.313, 0.01])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_video_that_starts_late_stays_in_sync(tmp_path: Path, ntsc: Path, delay: float, suffix: str) -> None:
    path, out = tmp_path / f"late.{suffix}", tmp_path / "out.mp4"
    ffmpeg("-itsoffset", str(delay), "-i", ntsc, "-i", ntsc, "-map", "0:v", "-map", "1:a", "-c", "copy", path)
    source = check(path)
    assert source.video_delay == pytest.approx(delay, abs=0.03)
    assert write_video(out, frames(path, source), source, sound_from=path) == 30
    info = check(out)
    assert info.video_delay == pytest.approx(source.video_delay, abs=0.002)
    assert (info.frame_rate, info.num_frames, info.constant_rate) == (NTSC, 30, True)
    assert abs(info.duration - source.duration) <= 1 / NTSC


def test_sound_that_starts_late_stays_in_sync(tmp_path: Path, ntsc: Path) -> None:
    path, out = tmp_path / "late.mp4", tmp_path / "out.mp4"
    ffmpeg("-i", ntsc, "-itsoffset", "0.4", "-i", ntsc, "-map", "0:v", "-map", "1:a", "-c", "copy", path)
    source = check(path)
    write_video(out, frames(path, source), source, sound_from=path)
    info = check(out)
    assert info.video_delay == 0
    assert re.findall(r"Audio.*start (0\.\d)", described(out)) == re.findall(r"Audio.*start (0\.\d)", described(path))
    assert abs(info.duration - source.duration) <= 1 / NTSC


def test_variable_rate_source_keeps_duration_and_sound(tmp_path: Path, variable: Path) -> None:
    out, source = tmp_path / "out.mp4", probe(variable)
    assert write_video(out, frames(variable, source), source, sound_from=variable) == source.num_frames
    info = check(out)
    assert (info.frame_rate, info.num_frames, info.constant_rate) == (Fraction(30), source.num_frames, True)
    assert info.has_audio
    assert abs(info.duration - source.duration) <= Fraction(1, 30)


def test_transport_stream_keeps_sync_and_duration(tmp_path: Path) -> None:
    path, out = tmp_path / "clip.ts", tmp_path / "out.mp4"
    ffmpeg(*pattern("30000/1001"), *BEEP, *X264, "-c:a", "aac", path)
    source = check(path)
    write_video(out, frames(path, source), source, sound_from=path)
    info = check(out)
    assert info.video_delay == pytest.approx(source.video_delay, abs=0.002)
    assert abs(info.duration - source.duration) <= 1 / NTSC


def test_file_says_that_it_is_synthetic(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    write_video(out, gray(5), facts(), sound_from=None, title="a title")
    said = described(out)
    assert re.search(rf"comment\s*: {SYNTHETIC}", said)
    assert re.search(r"title\s*: a title", said)
    write_video(out, gray(5), facts(), sound_from=None)
    assert re.search(rf"title\s*: {SYNTHETIC}", described(out))


def test_nothing_of_the_source_is_told_but_its_sound(tmp_path: Path) -> None:
    path, out = tmp_path / "private.mp4", tmp_path / "out.mp4"
    ffmpeg(*pattern(), *BEEP, "-metadata", "location=+48.1+011.5/", "-metadata", "artist=somebody", *X264, path)
    source = probe(path)
    write_video(out, frames(path, source), source, sound_from=path)
    assert "somebody" in described(path)
    assert "somebody" not in described(out) and "location" not in described(out)


@pytest.mark.parametrize("colour", [(200, 30, 40), (20, 180, 60), (10, 20, 230), (128, 128, 128), (255, 255, 255)])
def test_colours_survive(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    out = tmp_path / "out.mp4"
    write_video(out, [np.full((48, 64, 3), colour, np.uint8)] * 3, facts(), sound_from=None)
    for picture in frames(out, probe(out)):
        assert np.abs(picture.astype(int) - colour).max() <= 4


def test_colours_are_tagged(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    write_video(out, gray(3), facts(), sound_from=None)
    assert "yuv420p(tv, bt709, progressive)" in described(out)


def test_same_pictures_make_the_same_bytes(tmp_path: Path, ntsc: Path) -> None:
    source = probe(ntsc)
    for name in ("one.mp4", "two.mp4"):
        write_video(tmp_path / name, frames(ntsc, source), source, sound_from=ntsc)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def _breaks_off() -> Iterator[UInt8]:
    yield from gray(3)
    raise RuntimeError("the generator failed")


@pytest.mark.parametrize("existing", [True, False])
def test_failing_write_leaves_what_was_there(tmp_path: Path, existing: bool) -> None:
    out = tmp_path / "out.mp4"
    if existing:
        out.write_bytes(b"before")
    before = children()
    with pytest.raises(RuntimeError, match="the generator failed"):
        write_video(out, _breaks_off(), facts(), sound_from=None)
    with pytest.raises(ValueError, match="shape"):
        write_video(out, [*gray(2), *gray(1, height=32)], facts(), sound_from=None)
    with pytest.raises(FFmpegError) as caught:
        write_video(out, gray(50, 480, 640), facts(-25), sound_from=None)
    assert caught.value.tail and "\n" not in str(caught.value)
    with pytest.raises(MediaError, match="no frames"):
        write_video(out, [], facts(), sound_from=None)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"] * existing
    assert children() == before


def test_ffmpeg_killed_in_the_middle_is_an_error_not_a_short_file(tmp_path: Path) -> None:
    before = children()

    def pictures() -> Iterator[UInt8]:
        yield gray(1)[0]
        for child in children() - before:
            os.kill(int(child), signal.SIGKILL)
        yield from gray(500)

    with pytest.raises(FFmpegError, match="cannot be written"):
        write_video(tmp_path / "out.mp4", pictures(), facts(), sound_from=None)
    assert not list(tmp_path.iterdir())


def test_full_disk_leaves_no_partial_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 96, 128, 3), np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(FFmpegError) as caught:
            write_video(tmp_path / "out.mp4", noise, facts(), sound_from=None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_written_to_is_a_media_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none" / "out.mp4", tmp_path / "file" / "out.mp4", tmp_path):
        with pytest.raises(MediaError, match="cannot write"):
            write_video(path, gray(3), facts(), sound_from=None)
    with pytest.raises(MediaError):
        write_video(Path("/proc/out.mp4"), gray(3), facts(), sound_from=None)


def test_missing_sound_is_a_media_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        write_video(tmp_path / "out.mp4", gray(3), facts(), sound_from=tmp_path / "none.mp4")
    assert not list(tmp_path.iterdir())


def test_sound_file_without_pictures_can_give_the_sound(tmp_path: Path) -> None:
    ffmpeg(*BEEP, tmp_path / "beep.wav")
    write_video(tmp_path / "out.mp4", gray(25), facts(), sound_from=tmp_path / "beep.wav")
    assert check(tmp_path / "out.mp4").audio_codecs == ("aac",)


def test_silent_source_ignores_its_delay(tmp_path: Path, silent: Path) -> None:
    source = replace(probe(silent), video_delay=0.3)
    write_video(tmp_path / "out.mp4", frames(silent, source), source, sound_from=silent)
    assert check(tmp_path / "out.mp4").video_delay == 0


# real clips


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the real clips are not in this checkout")
@pytest.mark.parametrize(
    ("name", "rate", "count", "constant", "delay"),
    [
        ("talk_suit", Fraction(30), 183, False, 0.033),
        ("talk_turning", Fraction(25), 200, True, 0),
        ("cuts_and_missing_faces", Fraction(2997, 100), 275, True, 0.844),
    ],
)
def test_real_clip_keeps_frames_rate_duration_and_sound(
    tmp_path: Path, name: str, rate: Fraction, count: int, constant: bool, delay: float
) -> None:
    path, out = CLIPS / f"{name}.mp4", tmp_path / "out.mp4"
    source = probe(path)
    assert (source.frame_rate, source.num_frames, source.constant_rate) == (rate, count, constant)
    assert source.video_delay == pytest.approx(delay, abs=0.001)
    small = (np.asarray(cv2.resize(picture, (32, 32)), np.uint8) for picture in frames(path, source))
    assert write_video(out, small, source, sound_from=path) == count
    info = check(out)
    assert (info.frame_rate, info.num_frames, info.constant_rate) == (rate, count, True)
    assert info.audio_codecs == source.audio_codecs == ("aac",)
    assert abs(info.duration - source.duration) <= 1 / rate
    assert info.video_delay == pytest.approx(source.video_delay, abs=0.002)
