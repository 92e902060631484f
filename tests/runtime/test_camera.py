import itertools
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pocketlens.errors import DataError
from pocketlens.runtime import Frame, frames
from pocketlens.runtime import camera as camera_module

av = pytest.importorskip("av", reason="needs PyAV, which is in pocketlens[camera]")

FPS = 10

WIDTH, HEIGHT = 64, 48


def write_video(path: Path, levels: list[int]) -> Path:
    """A video at FPS whose frames are grey, each at its own level, with a bright top left corner."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for level in levels:
            pixels = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
            pixels[: HEIGHT // 2, : WIDTH // 2] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())
    return path


def grey(frame: Frame) -> float:
    """The level of a frame's lower right quarter."""
    pixels = np.asarray(frame.image)
    return float(pixels[pixels.shape[0] // 2 + 8 :, pixels.shape[1] // 2 + 8 :].mean())


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Two seconds that grow brighter."""
    return write_video(tmp_path / "v.mp4", [10 * i for i in range(20)])


# --- files


def test_every_frame_of_a_file_in_order(video: Path) -> None:
    found = list(frames(video))
    assert [f.time_s for f in found] == pytest.approx([i / FPS for i in range(20)])
    assert [grey(f) for f in found] == pytest.approx([10 * i for i in range(20)], abs=6)
    assert {(f.image.mode, f.image.size) for f in found} == {("RGB", (64, 48))}


def test_frames_that_come_too_soon_are_left_out(video: Path) -> None:
    assert [f.time_s for f in frames(str(video), every_ms=500)] == pytest.approx([0.0, 0.5, 1.0, 1.5])
    assert [f.time_s for f in frames(video, every_ms=250)] == pytest.approx([0.0, 0.3, 0.6, 0.9, 1.2, 1.5, 1.8])


def test_a_bare_stream_gets_its_times_from_its_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.m4v", [50] * 5)
    assert [f.time_s for f in frames(path)] == pytest.approx([i / FPS for i in range(5)])


def test_a_phone_held_upright(video: Path) -> None:
    # The display matrix of an .mp4's track, nine fixed-point numbers, turned by a quarter clockwise.
    content = bytearray(video.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    assert content[matrix : matrix + 36] == identity
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    video.write_bytes(content)
    first = next(frames(video))
    assert first.image.size == (48, 64)
    # The bright corner was at the top left; a clockwise quarter takes it to the top right.
    pixels = np.asarray(first.image)
    assert pixels[4, -5].mean() > 200
    assert pixels[4, 4].mean() < 100


def test_stopping_early_closes_the_file(video: Path) -> None:
    stream = frames(video)
    next(stream)
    stream.close()
    with pytest.raises(StopIteration):
        next(stream)


def test_what_is_no_video_is_one_line(tmp_path: Path, video: Path) -> None:
    whole = video.read_bytes()
    (tmp_path / "folder").mkdir()
    cases = {"empty.mp4": b"", "junk.mp4": b"junk" * 100, "cut.mp4": whole[: len(whole) // 2]}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    for name in (*cases, "gone.mp4", "folder"):
        with pytest.raises(DataError, match=name) as caught:
            list(frames(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_damage_inside_is_told_after_the_good_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", [10 * i for i in range(20)])
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    end = content.index(b"moov") - 4
    for place in range(start + (end - start) // 2, end):
        content[place] = 0x55
    path.write_bytes(content)
    seen: list[Frame] = []
    with pytest.raises(DataError, match=r"v\.mp4: cannot be read"):
        seen.extend(frames(path))
    assert 5 <= len(seen) < 20


def test_a_sound_file_has_no_pictures(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(DataError, match=r"sound\.wav: expected a video, but it holds no pictures"):
        frames(path)


def test_a_playlist_is_not_followed_to_a_network(tmp_path: Path) -> None:
    lines = ("#EXTM3U", "#EXT-X-TARGETDURATION:10", "#EXTINF:10,", "http://127.0.0.1:9/x.ts", "#EXT-X-ENDLIST")
    (tmp_path / "list.m3u8").write_text("\n".join(lines), "utf-8")
    with pytest.raises(DataError, match=r"list\.m3u8: cannot be read"):
        list(frames(tmp_path / "list.m3u8"))


# --- cameras


@pytest.mark.skipif(sys.platform != "linux", reason="counts cameras by Linux's device files")
def test_a_camera_that_is_not_there_is_one_line() -> None:
    with pytest.raises(DataError, match=r"camera 97: cannot be read \(.*\); check that it is connected") as caught:
        frames(97)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="/dev/null: cannot be read"):
        frames("/dev/null")


def live(graph: str, every_ms: int = 0) -> Iterator[Frame]:
    """FFmpeg's own test picture in real time, opened the way a camera is."""
    source = camera_module._Source(name="test camera", place=graph, format="lavfi")
    return camera_module._live(source, camera_module._open(source), every_ms / 1e3)


def test_of_a_camera_the_newest_frame_wins() -> None:
    stream = live("testsrc=rate=50:size=64x48,realtime")
    start = time.monotonic()
    times = []
    for frame in itertools.islice(stream, 4):
        times.append(frame.time_s)
        time.sleep(0.2)  # a slow model: ten frames go by
    stream.close()
    # A queue would hand out 0.00, 0.02, 0.04, 0.06.
    steps = np.diff(times)
    assert (steps > 0.1).all()
    assert times[-1] <= time.monotonic() - start


def test_a_camera_is_asked_no_more_often_than_said() -> None:
    stream = live("testsrc=rate=50:size=64x48,realtime", every_ms=150)
    times = [frame.time_s for frame in itertools.islice(stream, 4)]
    stream.close()
    assert (np.diff(times) >= 0.15 - 1e-9).all()


def test_a_camera_that_ends_ends_the_frames() -> None:
    found = list(live("testsrc=rate=50:size=64x48:duration=0.3,realtime"))
    assert 1 <= len(found) <= 15


def test_closing_ends_the_reading() -> None:
    stream = live("testsrc=rate=50:size=64x48,realtime")
    next(stream)
    assert "pocketlens test camera" in {thread.name for thread in threading.enumerate()}
    stream.close()
    assert "pocketlens test camera" not in {thread.name for thread in threading.enumerate()}


def test_without_pyav_the_extra_is_named(video: Path) -> None:
    code = """
import sys
sys.modules["av"] = None
from pocketlens.errors import DataError
from pocketlens.runtime import frames
try:
    frames(sys.argv[1])
except DataError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(video)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "video and camera need PyAV: pip install 'pocketlens[camera]'"
