"""The app's decoder and engine in a page of their own: how fast they decode, how soon they answer."""

import json
import subprocess
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Any

from playwright.sync_api import BrowserContext

from browser.bare import DIST, RUNTIME, isolated_site
from browser.chromium import CHROMIUM
from pocketlens.bundle import open_bundle

PAGE = Path(__file__).with_name("decoding_page")
VITE = DIST.parents[1] / ".bin" / "vite"
WEIGHTS = "weights.bin"
RUNS = 15


@dataclass(frozen=True)
class DecodingSite:
    """A page with the app's decoder, and bundles beside it.

    Args:
        address: where it is served.
        questions: what the page is told of each bundle.
    """

    address: str
    questions: tuple[dict[str, Any], ...]

    @property
    def conditions(self) -> dict[str, object]:
        """What decodes and runs."""
        version = subprocess.run([CHROMIUM, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
        runtime = json.loads((DIST.parent / "package.json").read_text())["version"]
        return {"runtime": f"Chromium {version}, onnxruntime-web {runtime}"}

    def decode(self, context: BrowserContext, place: int) -> dict[str, Any]:
        """Seconds of decoding a bundle's weights in a fresh page."""
        return self._ask(context, "decode", self.questions[place])

    def first_answer(self, context: BrowserContext, place: int, graph: str, threads: int) -> dict[str, Any]:
        """Seconds from a bundle that is downloaded to its first answer in a fresh page."""
        return self._ask(context, "firstAnswer", self.questions[place] | {"graph": graph, "threads": threads})

    def _ask(self, context: BrowserContext, function: str, question: dict[str, Any]) -> dict[str, Any]:
        page = context.new_page()
        try:
            page.goto(self.address)
            page.wait_for_function("globalThis.ready")
            return page.evaluate(f"question => {function}(question)", question)
        finally:
            page.close()


@contextmanager
def decoding_site(bundles: Sequence[Path], folder: Path) -> Iterator[DecodingSite]:
    """Build the page with the app's own Vite and serve it; `folder` is made."""
    config = PAGE / "vite.config.mjs"
    command = [str(VITE), "build", str(PAGE), "--config", str(config), "--outDir", str(folder), "--logLevel", "error"]
    subprocess.run(command, check=True)
    for name in RUNTIME:
        copyfile(DIST / name, folder / name)
    questions = []
    for place, path in enumerate(bundles):
        copyfile(path, folder / f"{place}.lens")
        with open_bundle(path) as bundle:
            member = bundle.manifest.members[WEIGHTS]
        with zipfile.ZipFile(path) as archive:
            (folder / f"{place}.coded").write_bytes(archive.read(member.stored_name(WEIGHTS)))
        question = {"bundle": f"{place}.lens", "coded": f"{place}.coded", "size": member.size, "runs": RUNS}
        questions.append(question)
    with isolated_site(folder) as address:
        yield DecodingSite(address, tuple(questions))
