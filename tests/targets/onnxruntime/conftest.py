"""Looking into lowered files, before and after ONNX Runtime has optimised them."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
from torch import fx, nn

from pocketlens.types import Artifact, Model, ModelSpec, Preprocessing

Operators = Callable[[Artifact], "Counter[str]"]


@pytest.fixture
def optimised(tmp_path: Path) -> Operators:
    """Counts the operators that ONNX Runtime really runs."""

    def count(artifact: Artifact) -> Counter[str]:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        for key, value in artifact.session.items():
            options.add_session_config_entry(key, value)
        ort.InferenceSession(str(artifact.graph), options, providers=["CPUExecutionProvider"])
        model = onnx.load(tmp_path / "optimised.onnx", load_external_data=False)
        return Counter(node.op_type for node in model.graph.node)

    return count


@pytest.fixture
def by_hand() -> Callable[[nn.Sequential, tuple[int, int, int]], Model]:
    """A sequence of leaves as a canonical graph; its nodes are called _0, _1 ..."""

    def build(layers: nn.Sequential, shape: tuple[int, int, int]) -> Model:
        graph = fx.Graph()
        x = graph.placeholder("x")
        for place in range(len(layers)):
            x = graph.create_node("call_module", str(place), (x,), name=f"layer_{place}")
        graph.output(x)
        spec = ModelSpec(
            name="by hand", input_shape=shape, preprocessing=Preprocessing(resize=None, crop=(shape[1], shape[2]))
        )
        return Model(graph=fx.GraphModule(layers, graph).eval(), spec=spec)

    return build
