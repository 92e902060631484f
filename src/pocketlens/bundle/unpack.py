"""From a bundle to the files a runtime opens."""

from pathlib import Path

from pocketlens.bundle.archive import Bundle
from pocketlens.types import Artifact


def unpack(bundle: Bundle, folder: Path, graph: str | None = None) -> Artifact:
    """Write one graph and its weights into `folder` as the target's artifact.

    Args:
        bundle: open.
        folder: an existing folder; weights that a graph of the same bundle left there are written over.
        graph: its name, or None for the preferred one.
    Raises: BundleError when the bundle has no such graph or a member is corrupt.
    """
    files = bundle.graph(graph)
    entry = files.entry
    place = folder / f"{entry.name}.onnx"
    place.write_bytes(files.graph)
    weights = None
    if files.weights is not None:
        weights = folder / "weights.bin"
        weights.write_bytes(files.weights)
    measured = entry.measurement
    return Artifact(
        name=entry.name,
        target="onnxruntime",
        spec=bundle.manifest.spec,
        graph=place,
        weights=weights,
        session=dict(entry.session),
        arithmetic=measured.get("arithmetic", "int8" if entry.name == "int8" else "float32"),
        parameters=entry.parameters,
        macs=entry.macs,
    )
