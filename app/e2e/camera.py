"""A fake camera for Chromium: photos as JPEG frames one after the other, which it plays in a loop.

python camera.py FOLDER OUT.mjpeg
"""

import io
import sys
from pathlib import Path

from PIL import Image, ImageOps

SIZE = (1280, 720)

FRAMES = 60
"""Of each photo; Chromium shows 30 a second."""


def main(photos: Path, out: Path) -> None:
    """Write all photos of a folder as a video."""
    with out.with_suffix(".part").open("wb") as video:
        for photo in sorted(photos.glob("*.jpg")):
            frame = io.BytesIO()
            ImageOps.fit(Image.open(photo).convert("RGB"), SIZE).save(frame, "JPEG", quality=88)
            video.write(frame.getvalue() * FRAMES)
    out.with_suffix(".part").replace(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
