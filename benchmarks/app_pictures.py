"""Take the pictures of docs/app.md: the demo site in Chromium, its camera showing the sample photos.

    .venv/bin/python benchmarks/app_pictures.py SITE [CAMERA.y4m]

Run it after a change that can be seen. SITE is what `pocketlens app --demo` wrote;
without a camera the sample photos are shown.
"""

import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from browser.camera import write_y4m
from browser.chromium import chromium
from browser.phone import open_app
from PIL import Image, ImageFilter, ImageOps
from playwright.sync_api import Page

from app import served
from pocketlens.datasets.sample import write_photos

OUT = Path(__file__).parents[1] / "docs" / "images"
GAP = 40


def live(page: Page) -> None:
    page.emulate_media(color_scheme="light")
    page.locator("pocket-answer .share").first.wait_for()


def held(page: Page) -> None:
    page.get_by_role("button", name="Freeze the picture").click()
    page.wait_for_timeout(1500)


def dark(page: Page) -> None:
    page.keyboard.press("Escape")
    page.emulate_media(color_scheme="dark")
    page.locator("pocket-answer .share").first.wait_for()


def ways(page: Page) -> None:
    page.get_by_role("button", name="Settings").first.click()
    page.get_by_role("button", name="Model and speed").click()
    page.wait_for_timeout(800)


def monitor(page: Page) -> None:
    page.keyboard.press("Escape")
    page.emulate_media(color_scheme="light")
    page.wait_for_timeout(30_000)  # a few rows of history make a curve
    page.get_by_role("button", name="Settings").first.click()
    page.get_by_role("button", name="Monitor").click()
    page.wait_for_timeout(1500)


PICTURES: tuple[Callable[[Page], None], ...] = (live, held, dark, ways, monitor)


def sample_camera(folder: Path) -> Path:
    photos = [as_a_phone_sees(path) for path in write_photos(folder / "photos")]
    return write_y4m(photos, folder / "camera.y4m", frame_rate=30, seconds_a_photo=3)


def as_a_phone_sees(path: Path) -> Path:
    """The whole photo in the middle of a wide picture: held upright, a phone shows the middle third of its camera's."""
    photo = Image.open(path).convert("RGB")
    wide = ImageOps.fit(photo, (1328, 768)).filter(ImageFilter.GaussianBlur(24))
    small = ImageOps.contain(photo, (470, 560))
    wide.paste(small, ((wide.width - small.width) // 2, 110 + (400 - small.height) // 2))
    out = path.with_suffix(".png")
    wide.save(out)
    return out


def main() -> None:
    site, *given = map(Path, sys.argv[1:])
    shots = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        served(site) as (address, _),
        chromium(Path(scratch) / "profile", given[0] if given else sample_camera(Path(scratch)), density=2) as context,
    ):
        page = open_app(context, address)
        for show in PICTURES:
            show(page)
            shots.append(Image.open(BytesIO(page.screenshot())).convert("RGB"))
    width, height = (side // 2 for side in shots[0].size)
    strip = Image.new("RGB", (len(shots) * (width + GAP) - GAP, height), "white")
    for place, shot in enumerate(shots):
        strip.paste(shot.resize((width, height), Image.Resampling.LANCZOS), (place * (width + GAP), 0))
    strip.save(OUT / "app.webp", quality=88)
    print(OUT / "app.webp", strip.size)


if __name__ == "__main__":
    main()
