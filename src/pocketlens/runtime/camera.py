"""Frames of a video file or a camera, through PyAV (FFmpeg). Nothing is fetched from a network."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any

from PIL import Image

from pocketlens.datasets.images import MAX_PIXELS
from pocketlens.errors import DataError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

_CLOSING_S = 2.0
"""How long to wait for a camera that hangs before it is left behind."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture of a video.

    Args:
        image: upright, RGB.
        time_s: since the start of the file, or since the camera's first frame.
    """

    image: Image.Image
    time_s: float


def frames(source: int | str | Path, *, every_ms: int = 0) -> Iterator[Frame]:
    """Frames as they come.

    Of a file every frame comes, in order. Of a camera the newest comes: what is seen while the caller is busy
    is dropped, so that answers never lag behind.

    Args:
        source: a video file, a camera's number (0 is the first), or its device, for example "/dev/video2".
        every_ms: leave out frames that come sooner than this after the last one; 0 leaves out none.
    Raises: DataError, at once or while iterating, when there is no such file or camera, it is damaged or no
        video, or PyAV is not installed.
    """
    gap_s = every_ms / 1e3
    if isinstance(source, int):
        camera = _camera(source)
        return _live(camera, _open(camera), gap_s)
    path = Path(source)
    if path.is_char_device():
        camera = _Source(name=str(path), place=str(path), format=_camera_format())
        return _live(camera, _open(camera), gap_s)
    if not path.is_file():
        raise DataError(f"{path}: expected a video file, but there is none; check the path")
    file = _Source(name=str(path), place=str(path), format=None)
    return _file(file, _open(file), gap_s)


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Where frames come from.

    Args:
        name: for errors.
        place: what FFmpeg opens.
        format: of a camera, in FFmpeg's words; None for a file, whose content tells.
    """

    name: str
    place: str
    format: str | None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what FFmpeg raises into one line."""
        av = _pyav()
        try:
            yield
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            mend = "check that it is a video and is whole"
            if self.format is not None:
                mend = "check that it is connected, may be used by you, and is not in use"
            raise DataError(f"{self.name}: cannot be read ({reason}); {mend}") from error


def _file(source: _Source, container: "InputContainer", gap_s: float) -> Iterator[Frame]:
    """The frames of a file that are at least `gap_s` apart."""
    due: float | None = None
    with container:
        for shot in _decoded(source, container):
            if due is None or shot.time_s >= due:
                due = shot.time_s + gap_s
                yield shot.frame()
    if due is None:
        raise DataError(f"{source.name}: expected a video, but it holds no frame; record or convert it again")


def _live(source: _Source, container: "InputContainer", gap_s: float) -> Iterator[Frame]:
    """The newest frame of an endless source, again and again."""
    newest = _Newest(source, container)
    newest.start()
    due = 0.0
    try:
        while (shot := newest.take(due)) is not None:
            due = shot.time_s + gap_s
            yield shot.frame()
    finally:
        newest.stop()


@dataclass(frozen=True)
class _Shot:
    """A decoded frame before the costly step to RGB."""

    raw: "VideoFrame"
    time_s: float

    def frame(self) -> Frame:
        image = self.raw.to_image()
        # How the phone was held: FFmpeg gives the counterclockwise turn in degrees, and leaves it to us.
        turn = self.raw.rotation
        return Frame(image=image.rotate(turn, expand=True) if turn else image, time_s=self.time_s)


class _Newest(Thread):
    """Decodes all the time and keeps one frame, the last."""

    def __init__(self, source: _Source, container: "InputContainer") -> None:
        super().__init__(name=f"pocketlens {source.name}", daemon=True)
        self._source = source
        self._container = container
        self._changed = Condition()
        self._shot: _Shot | None = None
        self._ended = False
        self._error: DataError | None = None

    def run(self) -> None:
        """Decode until the source ends, fails, or nobody wants more."""
        try:
            with self._container:
                for shot in _decoded(self._source, self._container):
                    with self._changed:
                        self._shot = shot
                        self._changed.notify()
                        if self._ended:
                            return
        except DataError as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def take(self, due_s: float) -> _Shot | None:
        """Wait for a frame not handed out yet, taken at `due_s` or later; None when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or (self._shot is not None and self._shot.time_s >= due_s))
            if self._error is not None:
                raise self._error
            shot, self._shot = self._shot, None
            return shot if shot is not None and shot.time_s >= due_s else None

    def stop(self) -> None:
        """Close the source."""
        with self._changed:
            self._ended = True
        self.join(_CLOSING_S)


def _decoded(source: _Source, container: "InputContainer") -> Iterator[_Shot]:
    """All frames with their time from the first one on."""
    rate = float(container.streams.video[0].average_rate or 25)
    start: float | None = None
    with source.reading():
        for count, raw in enumerate(container.decode(video=0)):
            # Bare streams, such as .h264, carry no times.
            time_s = count / rate if raw.time is None else float(raw.time)
            start = time_s if start is None else start
            yield _Shot(raw, time_s - start)


def _open(source: _Source) -> "InputContainer":
    """Open a source and check that it has pictures of a size we take."""
    # A playlist may name any address; only files may be followed.
    options = {"protocol_whitelist": "file"} if source.format is None else {}
    with source.reading():
        container = _pyav().open(source.place, format=source.format, options=options)
    streams = container.streams.video
    if not streams:
        container.close()
        raise DataError(f"{source.name}: expected a video, but it holds no pictures; choose another file")
    width, height = streams[0].width, streams[0].height
    if width * height > MAX_PIXELS:
        container.close()
        raise DataError(f"{source.name}: expected {MAX_PIXELS} px a frame at most, got {width} x {height}; scale it")
    return container


def _camera(index: int) -> _Source:
    """What FFmpeg calls a camera on this system, and the format that reads it."""
    name, kind = f"camera {index}", _camera_format()
    if kind == "v4l2":
        return _Source(name=name, place=f"/dev/video{index}", format=kind)
    if kind == "avfoundation":
        return _Source(name=name, place=f"{index}:none", format=kind)
    with _Source(name=name, place="", format=kind).reading():
        cameras = [device for device in _pyav().enumerate_input_devices(kind) if "video" in device.media_types]
    if not 0 <= index < len(cameras):
        found = ", ".join(device.description for device in cameras) or "none"
        raise DataError(f"{name}: there is no such camera; found, counted from 0: {found}")
    return _Source(name=name, place=f"video={cameras[index].name}", format=kind)


def _camera_format() -> str:
    return {"darwin": "avfoundation", "win32": "dshow"}.get(sys.platform, "v4l2")


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise DataError("video and camera need PyAV: pip install 'pocketlens[camera]'") from error
    return av
