"""One small bundle that the tests of this folder take apart."""

import base64
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketlens.bundle.archive import open_bundle, write_bundle
from pocketlens.bundle.confidence import Confidence
from pocketlens.bundle.manifest import GraphEntry
from pocketlens.bundle.tensor_coding import Span
from pocketlens.bundle.whitening import Whitening
from pocketlens.types import ModelSpec, Preprocessing

SPEC = ModelSpec(
    name="tiny",
    input_shape=(3, 8, 8),
    preprocessing=Preprocessing(resize=10, crop=(8, 8), interpolation="bilinear", mean=(1.5, 2.0, 3.0)),
    class_ids=("n01", "n02"),
    labels=("cat", "Käse, dog"),
)

GRAPHS = (
    GraphEntry(
        name="int8", graph="graphs/int8.onnx", weights="weights.bin", parameters=7, macs=11, measurement={"n": 3}
    ),
    GraphEntry(
        name="float",
        graph="graphs/float.onnx",
        weights="weights.bin",
        session={"session.disable_quant_qdq": "1"},
    ),
)

MEMBERS: dict[str, Path | bytes] = {
    "graphs/int8.onnx": b"an int8 graph " * 4,
    "graphs/float.onnx": b"a float graph",
    "weights.bin": bytes(range(256)) + bytes(300),
}

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())

WHITENING = Whitening(
    mean=np.array([1.0, 2.0, 3.0], np.float32),
    scale=np.array([0.5, 0.25], np.float32),
    codes=np.array([[1, 0, -1], [0, 127, 0]], np.int8),
)


def pack(path: Path, **changes: Any) -> int:
    """Write the small bundle to `path`, with some arguments of `write_bundle` changed."""
    arguments: dict[str, Any] = {
        "spec": SPEC,
        "graphs": GRAPHS,
        "preferred": "float",
        "recipe": {"name": "int8"},
        "baseline": {"top1": 0.75},
        "target": {"device": "this"},
        "members": MEMBERS,
        "confidence": Confidence(temperature=0.5, unknown_below=3.25),
        "whitening": WHITENING,
        "created": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    return write_bundle(path, **{**arguments, **changes})


@pytest.fixture(name="pack")
def pack_fixture() -> Callable[..., int]:
    return pack


@pytest.fixture
def lens(tmp_path: Path) -> Path:
    """The small bundle on disk."""
    path = tmp_path / "tiny.lens"
    pack(path)
    return path


@pytest.fixture
def coded_lens(tmp_path: Path) -> Path:
    """The small bundle with its weights coded tensor by tensor."""
    path = tmp_path / "coded.lens"
    pack(path, tensors={"weights.bin": [Span(0, 256), Span(256, 300, 4)]})
    return path


@pytest.fixture
def every_kind_lens(tmp_path: Path) -> Path:
    """The small bundle with weights in records of every kind."""
    vector = next(v for v in VECTORS["good"] if v["name"] == "one after the other")
    coded, blob = base64.b64decode(vector["coded"]), base64.b64decode(vector["blob"])
    plain, path = tmp_path / "plain.lens", tmp_path / "kinds.lens"
    pack(plain, members={**MEMBERS, "weights.bin": blob})

    def edit(members: dict[str, bytes]) -> None:
        del members["weights.bin.zst"]
        members["weights.bin.plt"] = coded
        edit_manifest(lambda m: m["members"]["weights.bin"].update(codec="tensors", stored_size=len(coded)))(members)

    return repack(plain, path, edit)


def repack(source: Path, out: Path, edit: Callable[[dict[str, bytes]], None]) -> Path:
    """The same zip with its members' stored bytes changed by `edit`."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    edit(members)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out


def contents(path: Path) -> tuple[Any, dict[str, bytes]]:
    with open_bundle(path) as bundle:
        return bundle.manifest, {name: bundle.read(name) for name in bundle.manifest.members}


def edit_manifest(change: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    def edit(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        change(manifest)
        members["manifest.json"] = json.dumps(manifest).encode()

    return edit
