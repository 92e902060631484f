"""From a bundle to the files a runtime opens."""

from pathlib import Path

from pocketlens.bundle.archive import Bundle
from pocketlens.types import Artifact
from pocketlens.whole_file import whole_file


def unpack(bundle: Bundle, folder: Path, graph: str | None = None) -> Artifact:
    """Write one graph and its weights into `folder` as the target's artifact.

    Each file appears whole, or, where the bundle is damaged, not at all.

    Args:
        bundle: open.
        folder: an existing folder; weights that a graph of the same bundle left there are written over.
        graph: its name, or None for the preferred one.
    Raises: BundleError when the bundle has no such graph or a member is corrupt; OutputError on a full disk.
    """
    entry = bundle.entry(graph)
    place = folder / f"{entry.name}.onnx"
    _extract(bundle, entry.graph, place)
    weights = None
    if entry.weights is not None:
        weights = folder / "weights.bin"
        _extract(bundle, entry.weights, weights)
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


def _extract(bundle: Bundle, member: str, place: Path) -> None:
    with whole_file(place) as part, part.open("w+b") as file:
        bundle.extract(member, file)
