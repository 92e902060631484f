"""What a bundle consists of, in the few parts that people ask about."""

from pathlib import Path

from pocketlens.bundle.archive import open_bundle
from pocketlens.bundle.contents import PADDING, parts
from pocketlens.bundle.tensor_coding import Span
from pocketlens.bundle.whitening import WHITENING
from pocketlens.targets.onnxruntime.blob import external_roles
from pocketlens.targets.onnxruntime.roles import Role

_WEIGHTS, _SMALL, _GRAPHS, _EMBEDDING = "weights", "scales and biases", "graphs", "embedding map"
_REST = "manifest"
"""With the names and checksums of the zip."""


def contents(path: Path) -> dict[str, int]:
    """Part of a bundle -> its bytes in the download; together they are the whole file.

    Args:
        path: of a bundle. Weights inside a graph, as a file of one piece has them, count as the graph's.
    """
    with open_bundle(path) as bundle:
        tensors: dict[str, dict[Span, str]] = {}
        part_of = {role.value: _SMALL for role in Role}
        part_of |= {PADDING: _SMALL, Role.CODES: _WEIGHTS, Role.FLOATS: _WEIGHTS, WHITENING: _EMBEDDING}
        for entry in bundle.manifest.graphs:
            part_of[entry.graph] = _GRAPHS
            if entry.weights is not None:
                part_of[entry.weights] = _WEIGHTS
                found = external_roles(bundle.read(entry.graph))
                tensors[entry.weights] = {**found, **tensors.get(entry.weights, {})}
        sizes: dict[str, int] = dict.fromkeys((_WEIGHTS, _SMALL, _GRAPHS, _EMBEDDING, _REST), 0)
        for part in parts(path, bundle, tensors):
            sizes[part_of.get(part.name, _REST)] += part.stored_bytes
    return sizes
