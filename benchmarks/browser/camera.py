"""A fake camera for Chromium: real photos, panned slowly, as an uncompressed video that it loops."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (1280, 720)


def write_y4m(photos: Sequence[Path], out: Path, *, frame_rate: int = 60, seconds_a_photo: float = 0.5) -> Path:
    """Write `photos` as a Y4M video, each moving by a few pixels a frame as a hand does.

    Args:
        photos: at least one.
        out: the file to write, 1.4 MB a frame.
        frame_rate: frames a second that the camera will deliver.
        seconds_a_photo: how long each is seen.
    """
    width, height = SIZE
    with out.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{frame_rate}:1 Ip A1:1 C420jpeg\n".encode())
        for photo in photos:
            picture = _filling(Image.open(photo).convert("RGB"), width + 48, height + 48)
            for count in range(round(frame_rate * seconds_a_photo)):
                shift = 24 + round(20 * np.sin(count / 9))
                frame = picture.crop((shift, shift, shift + width, shift + height)).convert("YCbCr")
                file.write(b"FRAME\n")
                for plane, band in enumerate(frame.split()):
                    file.write((band if plane == 0 else band.resize((width // 2, height // 2))).tobytes())
    return out


def _filling(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The middle of a picture, scaled to fill width x height."""
    scale = max(width / picture.width, height / picture.height)
    larger = picture.resize((round(picture.width * scale) + 1, round(picture.height * scale) + 1))
    left, top = (larger.width - width) // 2, (larger.height - height) // 2
    return larger.crop((left, top, left + width, top + height))
