"""Debian's Chromium under Playwright, with a camera that is a file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import BrowserContext, sync_playwright

CHROMIUM = os.environ.get("POCKETLENS_CHROMIUM", "/usr/bin/chromium")

PHONE = {"width": 390, "height": 844}


@contextmanager
def chromium(profile: Path, camera: Path | None = None, *, density: float = 1.0) -> Iterator[BrowserContext]:
    """A browser with a profile of its own, which keeps what was installed from one start to the next.

    Args:
        profile: a folder; made where it is absent.
        camera: a .y4m or .mjpeg file that plays as the camera; None gives Chromium's test picture.
        density: device pixels a CSS pixel. At 1, so that this machine, which has no GPU, draws the video in software
            at a price that a phone's GPU does not know.
    """
    arguments = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        "--enable-precise-memory-info",
        *([f"--use-file-for-fake-video-capture={camera}"] if camera else []),
    ]
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            headless=True,
            args=arguments,
            viewport=PHONE,
            device_scale_factor=density,
            is_mobile=True,
            has_touch=True,
            permissions=["camera"],
            locale="en",
        )
        try:
            yield context
        finally:
            context.close()
