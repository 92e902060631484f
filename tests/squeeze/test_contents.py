from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests import networks
from tests.conftest import SPEC

from pocketlens.models.canonical import canonicalise
from pocketlens.models.cifar_resnet import CifarResNet
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.squeeze.contents import contents
from pocketlens.squeeze.embedding import fit_whitening
from pocketlens.squeeze.graphs import lower_graphs
from pocketlens.squeeze.output import write
from pocketlens.targets import load_target
from pocketlens.targets.onnxruntime.schemes import SCHEMES
from pocketlens.types import Artifact, Context, ImageSet, Model, Target

TARGET: Target = load_target("onnxruntime")


@pytest.fixture
def network() -> Model:
    """77,000 weights in layers of 16 to 64 channels."""
    torch.manual_seed(0)
    return canonicalise(networks.shaken(CifarResNet(8, classes=4)), replace(SPEC, name="resnet8"))


def bundle(graphs: tuple[Artifact, ...], path: Path, **more: object) -> Path:
    arguments: dict = {"measurements": [{}] * len(graphs), "preferred": graphs[0].name, "recipe": {}, "baseline": {}}
    write(path, graphs, **arguments, profile={}, force=True, **more)  # pyright: ignore
    return path


def test_every_byte_of_an_integer_bundle_is_told(
    network: Model, context: Context, images: ImageSet, tmp_path: Path
) -> None:
    folded = FoldBatchNorm()(network, context).model
    model = QuantizeStatic(scheme=SCHEMES["u8u8"], activations="minmax")(folded, context).model
    graphs = lower_graphs(model, TARGET, tmp_path / "graphs")
    whitening = fit_whitening(graphs[0], model.graph, images, TARGET)
    path = bundle(graphs, tmp_path / "n.lens", whitening=whitening)
    found = contents(path)
    assert list(found) == ["weights", "scales and biases", "graphs", "embedding map", "manifest"]
    assert sum(found.values()) == path.stat().st_size
    assert all(found.values())
    assert found["weights"] == pytest.approx(77_000, rel=0.15)  # codes of 8 bits hardly pack
    assert found["weights"] > 4 * found["scales and biases"]
    assert found["embedding map"] < 4 * 64 + 4 * 64 + 64 * 64 + 200


def test_a_bundle_of_floats_has_weights_too(network: Model, tmp_path: Path) -> None:
    graphs = lower_graphs(network, TARGET, tmp_path / "graphs")
    path = bundle(graphs, tmp_path / "n.lens")
    found = contents(path)
    assert sum(found.values()) == path.stat().st_size
    assert 3 * 77_000 < found["weights"] < 4 * 77_000  # exponents pack
    assert found["embedding map"] == 0
