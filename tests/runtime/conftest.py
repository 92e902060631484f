"""A bundle whose model names the strongest colour of a picture: small enough to work out by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketlens.bundle.archive import write_bundle
from pocketlens.bundle.manifest import GraphEntry
from pocketlens.types import ModelSpec, Preprocessing

SPEC = ModelSpec(
    name="colours",
    input_shape=(3, 8, 8),
    preprocessing=Preprocessing(resize=8, crop=(8, 8), interpolation="bilinear"),
    class_ids=("c0", "c1", "c2"),
    labels=("red", "green", "blue"),
)

GAIN = 4.0
"""Logits are GAIN times the mean of each channel, which lies in 0..1."""


def graph(*, bias: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> bytes:
    """embedding = mean over pixels, logits = embedding @ w + bias, with w in the external file `weights.bin`."""
    onnx = pytest.importorskip("onnx", reason="builds its models with onnx, which is in pocketlens[optimize]")
    node, value_info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    number = onnx.TensorProto.FLOAT
    weights = onnx.TensorProto(name="w", data_type=number, dims=(3, 3), data_location=onnx.TensorProto.EXTERNAL)
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", "36")):
        weights.external_data.add(key=key, value=value)
    body = onnx.helper.make_graph(
        [
            node("GlobalAveragePool", ["x"], ["p"]),
            node("Flatten", ["p"], ["embedding"]),
            node("MatMul", ["embedding", "w"], ["m"]),
            node("Add", ["m", "b"], ["y"]),
        ],
        "colours",
        [value_info("x", number, ["n", 3, 8, 8])],
        [value_info("y", number, ["n", 3]), value_info("embedding", number, ["n", 3])],
        [weights, onnx.numpy_helper.from_array(np.array(bias, np.float32), "b")],
    )
    opset = [onnx.helper.make_opsetid("", 21)]
    return onnx.helper.make_model(body, opset_imports=opset, ir_version=10).SerializeToString()


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., Path]:
    """Writes the bundle, with some arguments of `write_bundle` changed; returns its path."""

    def write(**changes: Any) -> Path:
        arguments: dict[str, Any] = {
            "spec": SPEC,
            "graphs": (
                GraphEntry(name="int8", graph="graphs/int8.onnx", weights="weights.bin"),
                GraphEntry(name="biased", graph="graphs/biased.onnx", weights="weights.bin"),
                GraphEntry(name="broken", graph="graphs/broken.onnx", weights="weights.bin"),
            ),
            "preferred": "int8",
            "recipe": {},
            "baseline": {},
            "target": {},
            "members": {
                "graphs/int8.onnx": graph(),
                "graphs/biased.onnx": graph(bias=(0.0, 0.0, 100.0)),
                "graphs/broken.onnx": graph(bias=(0.0, float("nan"), 0.0)),
                "weights.bin": (GAIN * np.eye(3, dtype=np.float32)).tobytes(),
            },
        }
        path = tmp_path / "colours.lens"
        write_bundle(path, **{**arguments, **changes})
        return path

    return write


@pytest.fixture
def lens(pack: Callable[..., Path]) -> Path:
    """The bundle as it is."""
    return pack()
