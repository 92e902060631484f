"""From the models and runtimes that a user names to what takes part in a race."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pocketlens.measure import Entrant
    from pocketlens.types import Artifact, ModelSpec, Target

FILES = {".onnx": ("onnxruntime", "openvino"), ".xml": ("openvino",), ".tflite": ("litert",)}
"""Bare files by suffix -> the runtimes that open them."""


def runners(
    models: "Sequence[str]", targets: "Sequence[Target]", scratch: Path, weights: Path | None, calibration: str
) -> "list[Entrant]":
    """Every model on every runtime, named after what the user typed; with several runtimes, MODEL on RUNTIME.

    Args:
        models: bundles (b.lens or b.lens:GRAPH), bare files, or names as in `inputs.load_model`.
        targets: the runtimes.
        scratch: an existing folder for the files.
        weights: for names: a checkpoint.
        calibration: for a bundle on a runtime it was not made for: images that set the ranges.
    Raises: UsageError for a bare file on a runtime that cannot open it, or where nothing says the preprocessing.
    """
    from pocketlens.measure import Entrant

    made: list[tuple[str, Path | Artifact, Target, int | None]] = []
    for place, model in enumerate(models):
        for target in targets:
            folder = scratch / f"{place}-{target.name}"
            folder.mkdir()
            artifact, download = _one(model, target, folder, weights, calibration)
            name = model if len(targets) == 1 else f"{model} on {target.name}"
            made.append((name, artifact, target, download))
    specs = [artifact.spec for _, artifact, _, _ in made if not isinstance(artifact, Path)]
    if not specs:
        raise UsageError("a bare model file does not say its preprocessing: put a bundle or a model name beside it")
    return [
        Entrant(artifact=_artifact(name, artifact, target, specs[0]), download_bytes=download)
        for name, artifact, target, download in made
    ]


def _one(
    model: str, target: "Target", folder: Path, weights: Path | None, calibration: str
) -> "tuple[Path | Artifact, int | None]":
    """A model on a runtime, and what a user would fetch where that is not what lies on disk."""
    path, _, graph = model.partition(":") if ".lens" in model else (model, "", "")
    if path.endswith(".lens"):
        return _of_bundle(Path(path), graph or None, target, folder, calibration)
    suffix = Path(model).suffix
    if suffix in FILES and target.name in FILES[suffix]:
        return Path(model), None
    if suffix in FILES and suffix != ".onnx":
        raise UsageError(f"{model} runs on {' or '.join(FILES[suffix])}, got --target {target.name}")
    from pocketlens.cli.inputs import load_model

    return target.lower(load_model(model, weights, None), "model", folder), None


def _of_bundle(
    path: Path, graph: str | None, target: "Target", folder: Path, calibration: str
) -> "tuple[Artifact, int | None]":
    from pocketlens.bundle.archive import open_bundle
    from pocketlens.bundle.unpack import unpack

    with open_bundle(path) as bundle:
        if target.name == "onnxruntime":
            return unpack(bundle, folder, graph), path.stat().st_size
    from pocketlens.squeeze.export import lower_bundle
    from pocketlens.targets.cache import cache_folder

    return lower_bundle(path, graph, target, folder, cache_folder() / "stages", calibration), None


def _artifact(name: str, made: "Path | Artifact", target: "Target", spec: "ModelSpec") -> "Artifact":
    from pocketlens.types import Artifact

    if isinstance(made, Path):
        weights = made.with_suffix(".bin") if made.suffix == ".xml" else None
        return Artifact(name=name, target=target.name, spec=spec, graph=made, weights=weights)
    return replace(made, name=name)
