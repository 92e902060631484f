"""From a file or bytes to an 8-bit RGB picture, and from that to a model's input."""

import re
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pocketlens.errors import ImageError
from pocketlens.types import Preprocessing

MAX_PIXELS = 120_000_000
"""The largest picture decoded by default: above a 108-megapixel phone camera, 360 MB as RGB."""

_READERS: tuple[tuple[str, re.Pattern[bytes], type[ImageFile]], ...] = (
    ("JPEG", re.compile(rb"\xff\xd8\xff"), JpegImageFile),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), PngImageFile),
    ("WebP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL), WebPImageFile),
    ("BMP", re.compile(rb"BM"), BmpImageFile),
    ("GIF", re.compile(rb"GIF8[79]a"), GifImageFile),
    ("TIFF", re.compile(rb"II[*+]\x00|MM\x00[*+]"), TiffImageFile),
    ("PPM", re.compile(rb"P[1-6]\s"), PpmImageFile),
)
"""Format, how its files begin, and what reads them."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the picture upright."""

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def open_image(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode one picture as a person sees it: upright, RGB, 8 bits a channel.

    EXIF orientation is honoured, transparency is laid on white, 16-bit grey is scaled to 8 bits, and of an
    animation the first frame is taken.

    Args:
        source: a file, or its bytes.
        max_pixels: larger pictures are refused from their header, before any pixel is decoded.
    Raises: ImageError, which says what is wrong.
    """
    if isinstance(source, bytes):
        return decode(BytesIO(source), max_pixels=max_pixels)
    try:
        with source.open("rb") as stream:
            return decode(stream, max_pixels=max_pixels)
    except OSError as error:
        raise ImageError(f"{source.name}: cannot be read ({error.strerror or error}); check the path") from error
    except ImageError as error:
        raise ImageError(f"{source.name}: {error}") from error


def decode(stream: BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """`open_image` on an open file. The ImageError it raises leaves the naming of the file to the caller."""
    head = stream.read(16)
    if not head:
        raise ImageError("expected an image, got an empty file (0 bytes); fetch it again or remove it")
    found = next(((name, reader) for name, begins, reader in _READERS if begins.match(head)), None)
    if found is None:
        names = ", ".join(name for name, _, _ in _READERS)
        raise ImageError(f"expected one of {names}, got a file that begins with {head[:8]!r}; convert or remove it")
    name, reader = found
    stream.seek(0)
    try:
        # Not Image.open: it holds pictures to a process-wide limit, warning in ways no thread can silence.
        image = reader(stream)
        width, height = image.size
        if width * height > max_pixels:
            raise ImageError(
                f"expected at most {max_pixels / 1e6:g} megapixels, got {width} x {height} px "
                f"({width * height / 1e6:.0f} megapixels); scale it down"
            )
        image.load()
        return _upright(_rgb(image), _orientation(image))
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"expected a {name} that fits into memory, this one does not; scale it down") from error
    except Exception as error:
        # Pillow's readers raise nearly anything on damaged bytes, and one such file must not end a run.
        raise ImageError(
            f"expected a whole {name}, got a damaged or truncated one ({error}); fetch it again or remove it"
        ) from error


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Turn a picture into a model's input, pixel for pixel as torchvision's Resize and CenterCrop do.

    Args:
        image: RGB.
        preprocessing: see Preprocessing.
    Returns: (3, h, w), float32, contiguous.
    Raises: ImageError if the picture is not RGB, or so narrow that resizing it would fill the memory.
    """
    if image.mode != "RGB":
        raise ImageError(f"expected an RGB image, got mode {image.mode}; open it with open_image or convert it")
    height, width = preprocessing.crop
    resample = _FILTERS[preprocessing.interpolation]
    if preprocessing.resize is None:
        image = image.resize((width, height), resample)
    else:
        image = image.resize(_resized(image.size, preprocessing.resize), resample)
        # Python's round, half to even, as torchvision has it: 0.5 goes to 0 but 1.5 to 2.
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        image = image.crop((left, top, left + width, top + height))
    pixels = np.asarray(image, dtype=np.float32)
    mean = np.array(preprocessing.mean, dtype=np.float32)
    std = np.array(preprocessing.std, dtype=np.float32)
    return np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1))


def _resized(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """(width, height) once the short side has `short_side` px; the long side is cut down to whole pixels."""
    short, long = min(size), max(size)
    other = int(short_side * long / short)
    if short_side * other > MAX_PIXELS:
        raise ImageError(
            f"expected a picture of ordinary proportions, got {size[0]} x {size[1]} px, "
            f"which would grow to {short_side} x {other}; crop or remove it"
        )
    return (short_side, other) if size[0] <= size[1] else (other, short_side)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) if there is none that can be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged metadata, in as many ways as there are cameras; the pixels are fine
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of any mode that Pillow decodes to."""
    if image.mode.startswith("I"):
        return _eight_bits(image).convert("RGB")
    if image.mode == "F":
        raise ImageError("expected 8 or 16 bits a pixel, got floats, whose range is unknown; save it with 8 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    # A copy even of RGB: the reader would keep the file and its metadata alive.
    return image.convert("RGB") if image.mode != "RGB" else image.copy()


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit grey, by its high byte, which is what Pillow itself keeps of 16-bit colour."""
    pixels = np.asarray(image)
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high > 65535:
        raise ImageError(f"expected pixels in 0..65535, got {low}..{high}; save it with 8 or 16 bits")
    return Image.fromarray((pixels >> 8).astype(np.uint8))
