"""onnxruntime-web with nothing around it: one page, one file, a loop. What the app is compared with."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copyfile

from playwright.sync_api import BrowserContext

from pocketlens.bundle import open_bundle

RUNTIME = ("ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""What onnxruntime-web loads to run on the CPU."""

DIST = Path(__file__).parents[2] / "app" / "node_modules" / "onnxruntime-web" / "dist"

PAGE = """<!doctype html><script type="module">
import * as ort from './ort.wasm.min.mjs';
ort.env.wasm.wasmPaths = './';
window.loop = async ({graph, weights, session, shape, threads, runs}) => {
  ort.env.wasm.numThreads = threads;
  const bytes = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
  const options = {executionProviders: ['wasm'], extra: {session}};
  if (weights) options.externalData = [{path: 'weights.bin', data: await bytes(weights)}];
  const model = await ort.InferenceSession.create(await bytes(graph), options);
  const size = shape.reduce((a, b) => a * b, 1);
  const input = new ort.Tensor('float32', Float32Array.from({length: size}, () => Math.random()), [1, ...shape]);
  const times = [];
  for (let i = 0; i < runs + 10; i++) {
    const start = performance.now();
    await model.run({[model.inputNames[0]]: input}, ['logits']);
    if (i >= 10) times.push(performance.now() - start);
  }
  return times;
};
window.ready = true;
</script>"""


class _Isolated(SimpleHTTPRequestHandler):
    """Files with the headers that wasm threads need."""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def bare_site(bundles: dict[str, Path], folder: Path) -> Iterator[str]:
    """Serve the runtime and the graphs of `bundles`, unpacked; yields the address."""
    for name in ("ort.wasm.min.mjs", *RUNTIME):
        copyfile(DIST / name, folder / name)
    (folder / "index.html").write_text(PAGE)
    for name, path in bundles.items():
        with open_bundle(path) as bundle:
            for entry in bundle.manifest.graphs:
                files = bundle.graph(entry.name)
                place = folder / name / entry.name
                place.mkdir(parents=True)
                (place / "graph.onnx").write_bytes(files.graph)
                if files.weights is not None:
                    (place / "weights.bin").write_bytes(files.weights)
                settings = {key.removeprefix("session."): value for key, value in files.session.items()}
                shape = list(bundle.manifest.spec.input_shape)
                (place / "how.json").write_text(json.dumps({"session": settings, "shape": shape}))
    with isolated_site(folder) as address:
        yield address


@contextmanager
def isolated_site(folder: Path) -> Iterator[str]:
    """Serve a folder with the headers that wasm threads need; yields the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Isolated, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()


def bare_times(
    context: BrowserContext, address: str, folder: Path, graph: str, *, threads: int, runs: int = 60
) -> list[float]:
    """Milliseconds of each inference of `graph` ("BUNDLE/GRAPH") in a fresh page."""
    place = folder / graph
    page = context.new_page()
    page.goto(address)
    page.wait_for_function("window.ready")
    question = json.loads((place / "how.json").read_text()) | {
        "graph": f"{graph}/graph.onnx",
        "weights": f"{graph}/weights.bin" if (place / "weights.bin").exists() else None,
        "threads": threads,
        "runs": runs,
    }
    times = page.evaluate("question => window.loop(question)", question)
    page.close()
    return times
