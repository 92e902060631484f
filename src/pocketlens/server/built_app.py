"""The app as Vite built it, which the wheel carries."""

from collections.abc import Iterator
from pathlib import Path

from pocketlens.errors import OutputError

RUNTIMES = {"wasm": "ort-wasm-simd-threaded", "webgpu": "ort-wasm-simd-threaded.asyncify"}
"""How the app can run a model -> the name of ONNX Runtime's files; app/vite-runtimes.ts puts them in `runtime/`."""

PACKED = ".wasm.gzip"
"""The ending of a runtime's wasm."""

FOLDER = Path(__file__).with_name("app")


def built_app(folder: Path = FOLDER) -> Path:
    """The folder of the built app. Raises OutputError when it was not built."""
    needed = ["index.html", "sw.js", *(f"runtime/{name}{PACKED}" for name in RUNTIMES.values())]
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise OutputError(
            f"the app is not built ({folder / missing[0]} is missing); in a checkout run `npm ci && npm run build` "
            "in app/, else install pocketlens again from its wheel"
        )
    return folder


def app_files(folder: Path) -> Iterator[Path]:
    """All files of the built app, sorted, relative to its folder."""
    yield from sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
