from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import SPEC
from tests.models.exports import NETWORKS, Exporter, as_onnx, network
from tests.models.onnx.conftest import Written, random, whole
from tests.models.onnx.test_operators import node

from pocketlens.errors import UnsupportedModelError
from pocketlens.models import store, vocabulary
from pocketlens.models.onnx.importing import import_onnx
from pocketlens.types import Model


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vision transformer of the old exporter, for one image."""
    path = tmp_path_factory.mktemp("vit") / "vit.onnx"
    as_onnx(network("vit_tiny_patch16_224"), path, 64, "legacy", fixed=True)
    return path


@pytest.mark.parametrize(
    ("name", "exporter", "fixed"),
    [
        ("torchvision:mobilenet_v2", "legacy", False),
        ("torchvision:shufflenet_v2_x0_5", "legacy", True),
        ("resnet18", "dynamo", False),
        ("efficientnet_lite0", "dynamo", True),
        ("tf_efficientnet_lite0", "legacy", False),
        ("mobilenetv3_small_050", "dynamo", False),
        ("mobilenetv3_small_050", "legacy", True),
        ("convnext_atto", "dynamo", False),
        ("vit_tiny_patch16_224", "dynamo", False),
        ("levit_128s", "legacy", True),
    ],
)
def test_exports_come_in_exactly(name: str, exporter: Exporter, fixed: bool, tmp_path: Path) -> None:
    """The batch is open afterwards, whether or not the file was exported for one image."""
    module, side = network(name), NETWORKS[name]
    as_onnx(module, tmp_path / "m.onnx", side, exporter, fixed=fixed)
    graph, shape = import_onnx(tmp_path / "m.onnx")
    assert shape == (3, side, side)
    assert "other" not in {vocabulary.kind(graph, n) for n in graph.graph.nodes}
    x = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        wanted = module(x)
        assert float((graph(x) - wanted).abs().max()) <= 1e-4 * float(wanted.abs().max())


def test_transformers_keep_their_norms_activations_and_classes(vit: Path) -> None:
    graph, _ = import_onnx(vit)
    kinds = [vocabulary.kind(graph, n) for n in graph.graph.nodes]
    assert (kinds.count("layernorm"), kinds.count("gelu"), kinds.count("softmax"), kinds.count("linear")) == (
        25, 12, 12, 49,
    )  # fmt: skip


def test_layers_bear_the_names_of_the_module(tmp_path: Path) -> None:
    as_onnx(network("resnet18"), tmp_path / "m.onnx", 64, "legacy", fixed=False)
    graph, _ = import_onnx(tmp_path / "m.onnx")
    assert {"conv1", "layer1_0_conv1", "fc"} <= {n.name for n in graph.graph.nodes}


def test_an_import_goes_through_the_store(vit: Path, tmp_path: Path) -> None:
    graph, _ = import_onnx(vit)
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
