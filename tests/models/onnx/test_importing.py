from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import SPEC
from tests.models.exports import NETWORKS, as_onnx, network
from tests.models.onnx.conftest import Written, random, whole
from tests.models.onnx.test_operators import node

from pocketlens.errors import UnsupportedModelError
from pocketlens.models import store, vocabulary
from pocketlens.models.onnx.importing import import_onnx
from pocketlens.types import Model


@pytest.mark.parametrize("name", NETWORKS)
def test_exports_come_in_exactly(name: str, tmp_path: Path) -> None:
    """From the new exporter with an open batch and from the old one for one image: the batch is open in both."""
    module, side = network(name), NETWORKS[name]
    x = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        wanted = module(x)
    for exporter, fixed in (("dynamo", False), ("legacy", True)):
        path = tmp_path / f"{exporter}.onnx"
        as_onnx(module, path, side, exporter, fixed=fixed)
        graph, shape = import_onnx(path)
        assert shape == (3, side, side)
        assert "other" not in {vocabulary.kind(graph, n) for n in graph.graph.nodes}
        with torch.inference_mode():
            assert float((graph(x) - wanted).abs().max()) <= 1e-4 * float(wanted.abs().max())


def test_transformers_keep_their_norms_activations_and_classes(tmp_path: Path) -> None:
    as_onnx(network("vit_tiny_patch16_224"), tmp_path / "m.onnx", 64, "legacy", fixed=True)
    graph, _ = import_onnx(tmp_path / "m.onnx")
    kinds = [vocabulary.kind(graph, n) for n in graph.graph.nodes]
    assert (kinds.count("layernorm"), kinds.count("gelu"), kinds.count("softmax"), kinds.count("linear")) == (
        25, 12, 12, 49,
    )  # fmt: skip


def test_layers_bear_the_names_of_the_module(tmp_path: Path) -> None:
    as_onnx(network("resnet18"), tmp_path / "m.onnx", 64, "dynamo", fixed=False)
    graph, _ = import_onnx(tmp_path / "m.onnx")
    assert {"conv1", "layer1_0_conv1", "fc"} <= {n.name for n in graph.graph.nodes}


def test_an_import_goes_through_the_store(tmp_path: Path) -> None:
    as_onnx(network("vit_tiny_patch16_224"), tmp_path / "m.onnx", 64, "dynamo", fixed=False)
    graph, _ = import_onnx(tmp_path / "m.onnx")
    model = Model(graph=graph, spec=SPEC)
    store.save(model, tmp_path / "m.graph")
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(store.load(tmp_path / "m.graph").graph(x), graph(x))


def test_a_token_of_one_image_is_repeated_for_each(written: Written) -> None:
    nodes = [
        node("Reshape", "x", "s", outputs=("r",)),
        node("Concat", "token", "r", axis=1),
    ]
    path = written(nodes, shape=(1, 3, 8, 8), weights={"s": whole(1, 3, 64), "token": random(1, 1, 64)})
    graph, _ = import_onnx(path)
    assert graph(torch.zeros(5, 3, 8, 8)).shape == (5, 4, 64)


def test_images_that_see_one_another_are_refused(written: Written) -> None:
    nodes = [
        node("Shape", "x", outputs=("s",)),
        node("Gather", "s", "zero", outputs=("n",)),
        node("Cast", "n", outputs=("f",), to=1),
        node("Mul", "x", "f"),
    ]
    with pytest.raises(UnsupportedModelError, match=r"Mul \(the_Mul\).*batch"):
        import_onnx(written(nodes, weights={"zero": np.array(0)}))
