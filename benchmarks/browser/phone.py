"""The app as a person drives it: open it, choose a model and a way, read the monitor."""

import json
import time
from dataclasses import dataclass

from playwright.sync_api import BrowserContext, Page

SETTINGS = "pocketlens.settings"
"""Where the app keeps what a person chose (app/src/store/settings.ts)."""

INSTALL_S = 240
LABEL_S = 60


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to run one model of a site.

    Args:
        model: its id in the site's catalog.
        graph: of its bundle.
        threads: of wasm.
    """

    model: str
    graph: str
    threads: int

    def settings(self) -> dict[str, object]:
        """As the app keeps it."""
        return {
            "model": self.model,
            "way": {"graph": self.graph, "provider": "wasm", "threads": self.threads},
            "cameraAgreed": True,
            "language": "en",
            "mode": "objects",
        }


def open_app(context: BrowserContext, address: str, way: Way | None = None) -> Page:
    """A page with the app running and its first label on the screen.

    Args:
        context: of a browser; what it installed before is used.
        address: of the site.
        way: how to run; None leaves it to the app.
    """
    page = context.pages[0] if context.pages else context.new_page()
    page.goto(address)
    page.get_by_role("button", name="Settings").first.wait_for(timeout=INSTALL_S * 1000)
    chosen = way.settings() if way else {"cameraAgreed": True, "language": "en", "mode": "objects"}
    page.evaluate(
        "([key, chosen]) => localStorage.setItem(key, "
        "JSON.stringify({...JSON.parse(localStorage.getItem(key) ?? '{}'), ...chosen}))",
        [SETTINGS, chosen],
    )
    page.reload()
    first_label(page)
    return page


def first_label(page: Page) -> None:
    """Wait until the camera's picture has an answer, known or not."""
    page.locator("pocket-answer .label, pocket-answer .unknown").first.wait_for(timeout=LABEL_S * 1000)


def history(page: Page) -> list[dict]:
    """The monitor's rows, one each ten seconds, as a person exports them."""
    page.get_by_role("button", name="Settings").first.click()
    page.get_by_role("button", name="Monitor").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export the history").click()
    rows = json.loads(waiting.value.path().read_text())["samples"]
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    return rows


def watch(page: Page, seconds: float) -> list[dict]:
    """Let the app run; the rows of that time but the first, in which the browser still warms up."""
    before = time.time() * 1000
    page.wait_for_timeout(seconds * 1000 + 2000)
    return [row for row in history(page) if row["at"] > before + 10_000]
