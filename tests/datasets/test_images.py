import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image, ImageFile
from torchvision import transforms

from pocketlens.datasets.images import open_image, preprocess
from pocketlens.errors import ImageError
from pocketlens.types import Preprocessing


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG header that promises many pixels, and next to no data."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_exactly(kind: str) -> None:
    image = noise(5, 4)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    opened = open_image(encode(image, kind, **options))
    assert opened.mode == "RGB"
    assert np.array_equal(np.asarray(opened), np.asarray(image))


def test_a_path_and_its_bytes_give_the_same(tmp_path: Path) -> None:
    content = encode(noise(20, 10), "JPEG")
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert np.array_equal(np.asarray(open_image(path)), np.asarray(open_image(content)))


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    grey = Image.fromarray(np.array([[0, 257, 32768, 65535]], dtype=np.uint16))
    for kind in ("PNG", "TIFF", "PPM"):
        opened = np.asarray(open_image(encode(grey, kind)))
        assert opened[0, :, 0].tolist() == [0, 1, 128, 255], kind
        assert (opened == opened[:, :, :1]).all()


def test_32_bit_and_float_pixels_are_refused() -> None:
    with pytest.raises(ImageError, match=r"0\.\.70000"):
        open_image(encode(Image.fromarray(np.array([[0, 70000]], dtype=np.int32)), "TIFF"))
    with pytest.raises(ImageError, match="floats"):
        open_image(encode(Image.fromarray(np.array([[0.0, 1.0]], dtype=np.float32)), "TIFF"))


def test_transparency_is_laid_on_white() -> None:
    image = Image.new("RGBA", (3, 1))
    image.putpixel((0, 0), (200, 0, 0, 255))
    image.putpixel((1, 0), (200, 0, 0, 0))
    image.putpixel((2, 0), (0, 0, 0, 127))
    # Half covered black on white: 255 * (1 - 127 / 255) = 128.
    assert np.asarray(open_image(encode(image, "PNG")))[0].tolist() == [[200, 0, 0], [255] * 3, [128] * 3]


def test_palette_with_a_transparent_colour() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    expected = [[10, 20, 30], [255, 255, 255]]
    assert np.asarray(open_image(encode(image, "PNG", transparency=1)))[0].tolist() == expected
    assert np.asarray(open_image(encode(image, "PNG", transparency=b"\xff\x00")))[0].tolist() == expected
    assert np.asarray(open_image(encode(image, "PNG")))[0].tolist() == [[10, 20, 30], [40, 50, 60]]


def test_grey_one_bit_and_grey_with_alpha() -> None:
    assert open_image(encode(Image.new("L", (1, 1), 77), "PNG")).getpixel((0, 0)) == (77, 77, 77)
    assert open_image(encode(Image.new("1", (1, 1), 1), "PNG")).getpixel((0, 0)) == (255, 255, 255)
    assert open_image(encode(Image.new("LA", (1, 1), (77, 0)), "PNG")).getpixel((0, 0)) == (255, 255, 255)


def test_cmyk_jpeg() -> None:
    # No cyan, full magenta and yellow: red.
    content = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    red, green, blue = np.asarray(open_image(content))[8, 8].tolist()
    assert red > 250
    assert max(green, blue) < 5


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    content = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(np.asarray(open_image(content), dtype=int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_honoured(kind: str, orientation: int) -> None:
    # Upright: a white quarter at the top left of a wide black picture. Stored as each orientation has it.
    upright = Image.new("RGB", (64, 32))
    upright.paste("white", (0, 0, 32, 16))
    stored = {
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.rotate(180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.rotate(90, expand=True),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.rotate(-90, expand=True),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = open_image(encode(stored, kind, exif=exif))
    assert opened.size == (64, 32)
    corners = [bool(np.asarray(opened)[y, x, 0] > 127) for x, y in ((4, 4), (60, 4), (4, 28), (60, 28))]
    assert corners == [True, False, False, False]


# Pillow itself warns, which is right for a user to see once; in these tests a warning would be an error.
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_matter() -> None:
    content = encode(Image.new("RGB", (8, 8), "red"), "JPEG", exif=b"Exif\0\0MM\0*\0\0\xff\xff\xff\xff")
    assert open_image(content).size == (8, 8)


def test_empty_truncated_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="0 bytes"):
        open_image(b"")
    whole = encode(noise(200, 200), "JPEG")
    with pytest.raises(ImageError, match="damaged or truncated"):
        open_image(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match="damaged or truncated"):
        open_image(whole[:12])
    with pytest.raises(ImageError, match=r"expected one of JPEG.*b'<!DOCTYP'"):
        open_image(b"<!DOCTYPE html><html>")
    with pytest.raises(ImageError, match=r"gone\.jpg: cannot be read"):
        open_image(tmp_path / "gone.jpg")
    (tmp_path / "half.png").write_bytes(encode(noise(90, 90), "PNG")[:500])
    with pytest.raises(ImageError, match=r"half\.png: .*truncated"):
        open_image(tmp_path / "half.png")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_any_cut_gives_an_image_or_an_image_error(kind: str) -> None:
    whole = encode(noise(24, 24), kind)
    for length in range(1, len(whole), max(1, len(whole) // 60)):
        try:
            assert open_image(whole[:length]).size == (24, 24)
        except ImageError:
            continue


def test_a_huge_picture_is_refused_by_its_header() -> None:
    content = png_of_size(50_000, 50_000)
    assert len(content) < 100
    with pytest.raises(ImageError, match=r"50000 x 50000 px \(2500 megapixels\)"):
        open_image(content)


def test_the_limit_is_ours_not_pillows() -> None:
    # 100 megapixels: Pillow would warn (an error in tests). We let it pass, then notice the missing pixels.
    with pytest.raises(ImageError, match="truncated"):
        open_image(png_of_size(10_000, 10_000))
    with pytest.raises(ImageError, match="at most 1 megapixels"):
        open_image(png_of_size(1001, 1000), max_pixels=1_000_000)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(300, 201), (201, 300), (64, 64), (57, 91), (1000, 130)])
@pytest.mark.parametrize(("resize", "crop"), [(64, (56, 56)), (65, (56, 48)), (91, (64, 91))])
def test_preprocess_equals_torchvision(
    interpolation: Literal["nearest", "bilinear", "bicubic"],
    size: tuple[int, int],
    resize: int,
    crop: tuple[int, int],
) -> None:
    image = noise(*size)
    filters = transforms.InterpolationMode(interpolation)
    reference = transforms.CenterCrop(crop)(transforms.Resize(resize, filters)(image))
    settings = Preprocessing(
        resize=resize, crop=crop, interpolation=interpolation, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )
    ours = preprocess(image, settings)
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    assert np.array_equal(ours, np.asarray(reference, dtype=np.float32).transpose(2, 0, 1))


def test_preprocess_without_resize_goes_straight_to_the_crop() -> None:
    image = noise(50, 30)
    settings = Preprocessing(resize=None, crop=(20, 24), interpolation="bilinear", std=(1.0, 1.0, 1.0))
    reference = transforms.Resize((20, 24), transforms.InterpolationMode.BILINEAR)(image)
    assert np.array_equal(preprocess(image, settings).transpose(1, 2, 0), np.asarray(reference, dtype=np.float32))


def test_mean_and_std_by_hand() -> None:
    image = Image.new("RGB", (2, 2), (127, 255, 0))
    settings = Preprocessing(resize=2, crop=(1, 1), mean=(127.0, 127.0, 10.0), std=(128.0, 64.0, 5.0))
    assert preprocess(image, settings).ravel().tolist() == [0.0, 2.0, -2.0]


def test_preprocess_refuses_threads_of_pixels_and_other_modes() -> None:
    settings = Preprocessing(resize=256, crop=(224, 224))
    with pytest.raises(ImageError, match="1 x 30000 px"):
        preprocess(Image.new("RGB", (1, 30000)), settings)
    with pytest.raises(ImageError, match="mode L"):
        preprocess(Image.new("L", (300, 300)), settings)
