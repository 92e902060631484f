"""A bundle's graph as one ONNX file with its weights inside, for somebody's own application."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from string import Template

from pocketlens.bundle.archive import open_bundle
from pocketlens.bundle.unpack import unpack
from pocketlens.errors import OutputError, TargetError
from pocketlens.types import Artifact
from pocketlens.whole_file import whole_file


@dataclass(frozen=True, kw_only=True)
class Standalone:
    """What was written.

    Args:
        graph: its name in the bundle.
        size_bytes: of the ONNX file.
        snippet: the Python file that feeds it.
    """

    graph: str
    size_bytes: int
    snippet: Path


def write_standalone(bundle: Path, out: Path, *, graph: str | None = None, force: bool = False) -> Standalone:
    """Write `out` (.onnx) and, beside it, a Python snippet with the exact preprocessing.

    Args:
        bundle: a .lens file.
        out: the ONNX file; the snippet is called like it.
        graph: a name, or None for the preferred one.
        force: write over existing files.
    Raises: BundleError, OutputError, TargetError when the onnx package is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise TargetError("export needs the onnx package: pip install 'pocketlens[optimize]'") from error
    snippet = out.with_suffix(".py")
    for path in (out, snippet):
        if path.exists() and not force:
            raise OutputError(f"{path} exists; pass --force to write over it, or another --out")
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as scratch, open_bundle(bundle) as opened:
        artifact = unpack(opened, Path(scratch), graph)
        model = onnx.load(artifact.graph, load_external_data=True)
        for tensor in model.graph.initializer:
            tensor.ClearField("external_data")
            tensor.data_location = onnx.TensorProto.DEFAULT
        with whole_file(out) as part:
            part.write_bytes(model.SerializeToString())
        with whole_file(snippet) as part:
            part.write_text(_snippet(artifact, out.name), "utf-8")
    return Standalone(graph=artifact.name, size_bytes=out.stat().st_size, snippet=snippet)


_SNIPPET = Template('''"""Feed $file with an image. Needs numpy, pillow and onnxruntime."""

import sys

import numpy as np
import onnxruntime as ort
from PIL import Image, ImageOps

LABELS = $labels


def preprocess(path):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
$resize
    height, width = $crop
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    pixels = np.asarray(image.crop((left, top, left + width, top + height)), np.float32)
    x = (pixels - np.array($mean, np.float32)) / np.array($std, np.float32)
    return x.transpose(2, 0, 1)[np.newaxis]


options = ort.SessionOptions()
$options
session = ort.InferenceSession("$file", options, providers=["CPUExecutionProvider"])
logits = session.run(None, {session.get_inputs()[0].name: preprocess(sys.argv[1])})[0][0]
for index in np.argsort(-logits)[:5]:
    print(LABELS[index] if LABELS else index, float(logits[index]))
''')


def _snippet(artifact: Artifact, file: str) -> str:
    spec = artifact.spec
    p = spec.preprocessing
    filter_name = f"Image.Resampling.{p.interpolation.upper()}"
    if p.resize is None:
        resize = f"    image = image.resize({p.crop[::-1]}, {filter_name})"
    else:
        resize = (
            f"    short, long = {p.resize}, int({p.resize} * max(image.size) / min(image.size))\n"
            f"    size = (short, long) if image.width <= image.height else (long, short)\n"
            f"    image = image.resize(size, {filter_name})"
        )
    lines = [f'options.add_session_config_entry("{k}", "{v}")' for k, v in artifact.session.items()]
    return _SNIPPET.substitute(
        file=file,
        labels=repr(list(spec.labels or spec.class_ids)),
        resize=resize,
        crop=p.crop,
        mean=p.mean,
        std=p.std,
        options="\n".join(lines) or "# the defaults are right for this graph",
    )
