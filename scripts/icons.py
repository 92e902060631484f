"""Draw the app's PNG icons from app/public/icon.svg with Chromium; run it after a change of the SVG."""

from pathlib import Path

from playwright.sync_api import sync_playwright

PUBLIC = Path(__file__).parents[1] / "app" / "public"
GROUND = "linear-gradient(#0f8678, #063f3a)"
"""The SVG's own ground, for icons whose shape the system cuts."""

ICONS = {
    "icon-192.png": (192, 0.0, False),
    "icon-512.png": (512, 0.0, False),
    "icon-180.png": (180, 0.0, True),
    "icon-maskable-512.png": (512, 0.1, True),
}
"""Name -> side in pixels, margin as a share of it (a mask may cut a tenth away), whether it fills the square."""


def page(svg: str, side: int, margin: float, filled: bool) -> str:
    """The icon as a page of `side` pixels."""
    inner = side * (1 - 2 * margin)
    drawn = svg.replace('fill="url(#cloth)"', 'fill="none"') if filled else svg
    ground = GROUND if filled else "none"
    return (
        f"<style>body{{margin:0;height:{side}px;background:{ground};display:grid;place-items:center}}"
        f"svg{{width:{inner}px;height:{inner}px}}</style>{drawn}"
    )


def main() -> None:
    """Write all icons."""
    svg = (PUBLIC / "icon.svg").read_text("utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for name, (side, margin, filled) in ICONS.items():
            tab = browser.new_page(viewport={"width": side, "height": side})
            tab.set_content(page(svg, side, margin, filled))
            tab.screenshot(path=PUBLIC / name, omit_background=True)
        browser.close()


if __name__ == "__main__":
    main()
