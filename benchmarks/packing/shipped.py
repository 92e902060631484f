"""A model as it ships, and what general compressors make of the same file."""

import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import brotli
import zstandard

from pocketlens.bundle import open_bundle
from pocketlens.bundle.unpack import unpack
from pocketlens.squeeze.embedding import fit_whitening
from pocketlens.squeeze.export import export
from pocketlens.squeeze.graphs import lower_graphs
from pocketlens.squeeze.output import WEIGHTS, write
from pocketlens.types import Artifact, ImageSet, Model, Target


@dataclass(frozen=True)
class Shipped:
    """A bundle on disk.

    Args:
        name: of its row.
        bundle: the file.
        seconds: that its passes took.
    """

    name: str
    bundle: Path
    seconds: float = 0.0

    @property
    def size_bytes(self) -> int:
        """What is downloaded."""
        return self.bundle.stat().st_size

    def graph(self, name: str = "int8") -> Artifact:
        """One of its graphs as a file, decoded from the bundle: what is scored is what ships."""
        folder = self.bundle.with_name("unpacked")
        folder.mkdir(exist_ok=True)
        with open_bundle(self.bundle) as opened:
            return unpack(opened, folder, name)

    @cached_property
    def onnx(self) -> bytes:
        """Its int8 graph as one ONNX file, weights inside."""
        whole = self.bundle.with_name("whole.onnx")
        export(self.bundle, "onnx", whole, stages=self.bundle.parent, graph="int8", force=True)
        return whole.read_bytes()

    @cached_property
    def onnx_zstd19_bytes(self) -> int:
        """That file under `zstd -19`."""
        return zstd19(self.onnx)

    @property
    def weights_bytes(self) -> int:
        """Its coded weights."""
        with open_bundle(self.bundle) as opened:
            return opened.manifest.members[WEIGHTS].stored_size

    def sizes(self) -> dict[str, object]:
        """The download and its parts, and general compressors beside it."""
        with open_bundle(self.bundle) as opened:
            whitening = opened.manifest.embedding
            held = opened.manifest.members[whitening.whitening].stored_size if whitening else 0
        return {
            "bundle_bytes": self.size_bytes,
            "bundle_weights_bytes": self.weights_bytes,
            "bundle_whitening_bytes": held,
            "onnx_bytes": len(self.onnx),
            "onnx_zstd19_bytes": self.onnx_zstd19_bytes,
            "onnx_brotli11_bytes": brotli11(self.onnx),
        }


def ship(model: Model, name: str, seconds: float, folder: Path, calibration: ImageSet, target: Target) -> Shipped:
    """Write a model's bundle with both graphs and its whitening, as a squeeze does, but for the measurements in it."""
    place = folder / re.sub(r"[^A-Za-z0-9]+", "_", name)
    shutil.rmtree(place, ignore_errors=True)
    graphs = lower_graphs(model, target, place)
    bundle = place / "model.lens"
    write(
        bundle,
        graphs,
        measurements=[{} for _ in graphs],
        preferred=graphs[0].name,
        recipe={},
        baseline={},
        profile={},
        whitening=fit_whitening(graphs[0], model.graph, calibration, target),
        force=True,
    )
    return Shipped(name, bundle, seconds)


def zstd19(content: bytes) -> int:
    """Bytes under `zstd -19`."""
    return len(zstandard.ZstdCompressor(level=19).compress(content))


def brotli11(content: bytes) -> int:
    """Bytes under `brotli -q 11`, its largest window."""
    return len(brotli.compress(content, quality=11, lgwin=24))
