"""From a bundle to a bare model file for somebody's own application, with code that feeds it."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from pocketlens.bundle.archive import open_bundle
from pocketlens.datasets import splits
from pocketlens.errors import OutputError, TargetError, UnknownNameError
from pocketlens.squeeze.elsewhere import for_device
from pocketlens.squeeze.graphs import graph_variants
from pocketlens.squeeze.shape import for_runtime
from pocketlens.squeeze.snippets.write import SUFFIXES, Feed, snippet
from pocketlens.targets import load_target
from pocketlens.targets.presets.check import demand
from pocketlens.types import Artifact, Progress, Target
from pocketlens.whole_file import whole_file

FORMATS = {"onnx": ("onnxruntime", ".onnx"), "openvino": ("openvino", ".xml"), "tflite": ("litert", ".tflite")}
"""Format -> the runtime that reads it, and the suffix of its file."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Args:
        graph: its name in the bundle.
        files: the model: one file, or two where weights lie beside the graph.
        snippets: language -> the source file that feeds it.
    """

    graph: str
    files: tuple[Path, ...]
    snippets: dict[str, Path]

    @property
    def size_bytes(self) -> int:
        """Bytes of the model."""
        return sum(path.stat().st_size for path in self.files)


def export(
    bundle: Path,
    format: str,
    out: Path,
    *,
    stages: Path,
    calibration: str = "sample",
    graph: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write the model as a bare file and, beside it and called like it, the snippets.

    ONNX comes out of the bundle. The other formats are lowered again, under their runtime's own scheme, from the
    model in the stage store that the bundle names.

    Args:
        bundle: a .lens file.
        format: a key of FORMATS.
        out: the model file.
        stages: folder of the stage store.
        calibration: images that set the ranges of another scheme, as in `datasets.splits.load`.
        graph: a name of the bundle's graphs, or None for the preferred one.
        force: write over existing files.
        progress: see types.Progress.
    Raises: BundleError, OutputError, UnknownNameError; TargetError when the runtime is not installed; ModelError when
        the stage store does not hold the model any more.
    """
    if format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS)
    target, suffix = FORMATS[format]
    if out.suffix != suffix:
        raise OutputError(f"a model for {format} is a {suffix} file, got {out.name}; name it {out.stem}{suffix}")
    beside = [out.with_suffix(".bin")] if format == "openvino" else []
    snippets = {language: out.with_suffix(end) for language, end in SUFFIXES.items()}
    for path in (out, *beside, *snippets.values()):
        if path.exists() and not force:
            raise OutputError(f"{path} exists; pass --force to write over it, or another --out")
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as scratch:
        if format == "onnx":
            artifact = _whole_onnx(bundle, Path(scratch), graph)
        else:
            runtime = load_target(target)
            artifact = lower_bundle(bundle, graph, runtime, Path(scratch), stages, calibration, progress=progress)
        sources = [artifact.graph, *([artifact.weights] if artifact.weights else [])]
        for source, destination in zip(sources, (out, *beside), strict=True):
            with whole_file(destination) as part:
                part.write_bytes(source.read_bytes())
        feed = _feed(artifact)
    for language, path in snippets.items():
        with whole_file(path) as part:
            part.write_text(snippet(language, out.name, artifact, feed), "utf-8")
    return Exported(graph=artifact.name, files=(out, *beside), snippets=snippets)


def lower_bundle(
    path: Path,
    graph: str | None,
    target: Target,
    folder: Path,
    stages: Path,
    calibration: str,
    *,
    progress: Progress | None = None,
) -> Artifact:
    """A bundle's model in another runtime's file, under that runtime's own scheme.

    A bundle that was made for a device elsewhere, whose tools read this runtime's files, keeps that device's scheme,
    and the file is checked against the device's preset.

    Args:
        path: the bundle.
        graph: a name of its graphs, or None for the preferred one.
        target: the runtime.
        folder: for the file, exists.
        stages: folder of the stage store.
        calibration: images that set the ranges.
        progress: see types.Progress.
    """
    with open_bundle(path) as bundle:
        manifest = bundle.manifest
        name = bundle.entry(graph).name
    profile = target.profile()
    target, preset = for_device(manifest.target, target)
    if preset is not None:
        profile = replace(profile, scheme=preset.scheme)
    images = splits.load(calibration, manifest.spec.class_ids, manifest.spec.labels, part="calibration")
    model = for_runtime(manifest.recipe, profile, stages, images, progress=progress)
    variants = graph_variants(model)
    if name not in variants:
        raise UnknownNameError("graph", name, variants)
    artifact = target.lower(variants[name], name, folder)
    if preset is not None and name == preset.graph:
        demand(artifact.graph, preset)
    return artifact


def _whole_onnx(bundle: Path, folder: Path, graph: str | None) -> Artifact:
    """A graph of the bundle with its weights inside."""
    from pocketlens.bundle.unpack import unpack

    try:
        import onnx
    except ImportError as error:
        raise TargetError("export needs the onnx package: pip install 'pocketlens[optimize]'") from error
    with open_bundle(bundle) as opened:
        artifact = unpack(opened, folder, graph)
    model = onnx.load(artifact.graph, load_external_data=True)
    for tensor in model.graph.initializer:
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT
    whole = folder / "whole.onnx"
    whole.write_bytes(model.SerializeToString())
    return replace(artifact, graph=whole, weights=None)


def _feed(artifact: Artifact) -> Feed:
    if artifact.target != "litert":
        return Feed()
    from pocketlens.targets.litert.session import open_session

    session = open_session(artifact.graph, None, {}, 1)
    return Feed(input_grid=session.input_grid, output_grid=session.output_grid, channels_last=True)
