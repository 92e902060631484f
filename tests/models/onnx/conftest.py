"""Small ONNX files, written by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Written = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Write nodes that lead from `x` to `y` as an ONNX file."""

    def write(
        nodes: Sequence[onnx.NodeProto],
        *,
        shape: Sequence[int | str] = ("n", 3, 8, 8),
        weights: dict[str, np.ndarray] | None = None,
        opset: int = 18,
        outputs: Sequence[str] = ("y",),
        name: str = "model.onnx",
        dtype: int = TensorProto.FLOAT,
        domains: Sequence[str] = (),
    ) -> Path:
        graph = helper.make_graph(
            list(nodes),
            "g",
            [helper.make_tensor_value_info("x", dtype, shape)],
            [helper.make_tensor_value_info(y, TensorProto.FLOAT, None) for y in outputs],
            [numpy_helper.from_array(array, key) for key, array in (weights or {}).items()],
        )
        opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        model = onnx.shape_inference.infer_shapes(model)
        for output in model.graph.output:
            if not output.type.tensor_type.HasField("shape"):
                output.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, [None] * 4))
        path = tmp_path / name
        path.write_bytes(model.SerializeToString())
        return path

    return write


def random(*shape: int) -> np.ndarray:
    """Weights."""
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def whole(*values: int) -> np.ndarray:
    """Sizes, axes."""
    return np.array(values, np.int64)
