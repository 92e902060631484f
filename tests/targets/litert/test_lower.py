from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import SPEC
from torch import nn

from pocketlens.models.canonical import canonicalise
from pocketlens.models.grids import without_grids
from pocketlens.ops.quantized import QuantizedConv2d, QuantizedLinear
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.targets.by_hand import grid, network
from pocketlens.targets.litert.flatbuffer import constant, operator_name, unpack
from pocketlens.targets.litert.lower import lower
from pocketlens.targets.litert.schemes import SCHEMES
from pocketlens.targets.litert.session import open_session
from pocketlens.types import Artifact, Context, Model

SCHEME = SCHEMES["s8s8"]


def run(artifact: Artifact, x: np.ndarray) -> np.ndarray:
    return open_session(artifact.graph, None, {}, 1).run(x)


def operators(artifact: Artifact) -> "Counter[str]":
    model = unpack(artifact.graph.read_bytes())
    return Counter(operator_name(model, operator) for operator in model.subgraphs[0].operators)


def tensors(artifact: Artifact) -> dict[str, tuple[int, np.ndarray | None, Sequence[float]]]:
    """Name -> (type, content, scales)."""
    model = unpack(artifact.graph.read_bytes())
    found = {}
    for tensor in model.subgraphs[0].tensors:
        scales = tensor.quantization.scale if tensor.quantization is not None else None
        found[tensor.name.decode()] = tensor.type, constant(model, tensor), [] if scales is None else list(scales)
    return found


def by_hand(activation_scale: float = 0.5) -> Model:
    layer = QuantizedConv2d(
        torch.tensor([[[[2]], [[-3]]], [[[127]], [[0]]]], dtype=torch.int8),
        torch.tensor([0.25, 0.5]),
        torch.tensor([1.0, -0.6]),
        "int8",
    )
    return network(nn.Sequential(grid(SCHEME, activation_scale), layer, grid(SCHEME, 0.25, 10)), (2, 1, 1))


def test_a_convolution_by_hand(tmp_path: Path) -> None:
    x = np.array([1.0, 0.3], np.float32).reshape(1, 2, 1, 1)  # the grid makes 1.0 and 0.5 of it
    # 2 * 0.25 * 1 - 3 * 0.25 * 0.5 + 1 = 1.125, halfway between 1.0 and 1.25; 127 * 0.5 - 0.6 = 62.9 is above the
    # grid, whose last step is 0.25 * 245.
    first, second = run(lower(by_hand(), "int8", tmp_path), x).ravel()
    assert first in (1.0, 1.25)
    assert second == 61.25


def test_the_file_holds_our_integers_and_our_ranges(tmp_path: Path) -> None:
    found = tensors(lower(by_hand(), "int8", tmp_path))
    _, codes, scales = found["_1/weight"]
    assert codes is not None
    assert codes.view(np.int8).tolist() == [2, -3, 127, 0]
    assert scales == [0.25, 0.5]
    _, bias, _ = found["_1/bias"]
    assert bias is not None
    # On the scale of the sum: 1 / (0.5 * 0.25) and -0.6 / (0.5 * 0.5) = -2.4.
    assert bias.view(np.int32).tolist() == [8, -2]
    assert found["input"][2] == [0.5]
    assert found["logits"][2] == [0.25]


def test_unsigned_grids_become_signed_ones_with_the_same_numbers(quantized: Model, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((4, 3, 32, 32), np.float32)
    with torch.inference_mode():
        wanted = quantized.graph(torch.from_numpy(x)).numpy()
    assert np.abs(run(lower(quantized, "int8", tmp_path), x) - wanted).max() <= 0.02 * np.abs(wanted).max()


def test_all_computes_in_integers_and_channels_stay_last(folded: Model, context: Context, tmp_path: Path) -> None:
    model = QuantizeStatic(scheme=SCHEME, activations="minmax")(folded, context).model
    artifact = lower(model, "int8", tmp_path)
    # Padding all around at stride 2 is no padding that LiteRT's convolutions have: hence the PAD.
    wanted = {"PAD": 1, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 1, "ADD": 1, "MEAN": 1, "FULLY_CONNECTED": 1}
    assert operators(artifact) == wanted
    session = open_session(artifact.graph, None, {}, 1)
    assert session.input_grid is not None
    assert session.output_grid is not None
    # Weights of 616 and 32 bytes, 52 biases; the rest is the graph.
    assert artifact.size_bytes < 12_000


class Lopsided(nn.Module):
    """Padding on two sides only, as TensorFlow's "same" has it."""

    def __init__(self) -> None:
        super().__init__()
        self.pad, self.conv = nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 3, 2)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(torch.relu(self.conv(self.pad(x)))).flatten(1))


@pytest.mark.parametrize("integer", [True, False])
def test_lopsided_padding_becomes_part_of_the_convolution(integer: bool, context: Context, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FoldBatchNorm()(canonicalise(Lopsided().eval(), SPEC), context).model
    if integer:
        model = QuantizeStatic(scheme=SCHEME, activations="minmax")(model, context).model
    artifact = lower(model, "g", tmp_path)
    assert operators(artifact) == {"CONV_2D": 1, "MEAN": 1, "FULLY_CONNECTED": 1}
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)
    with torch.inference_mode():
        wanted = model.graph(torch.from_numpy(x)).numpy()
    assert np.abs(run(artifact, x) - wanted).max() <= 0.02 * np.abs(wanted).max()


def test_float_weights_are_stored_in_fewer_bits(half: Model, weight_only: Model, tmp_path: Path) -> None:
    stored = tensors(lower(half, "half", tmp_path))
    assert stored["expand_0/weight/stored"][0] == 1  # float16
    assert stored["expand_0/weight"][1] is None
    stored = tensors(lower(weight_only, "float", tmp_path))
    kind, codes, scales = stored["expand_0/weight/stored"]
    leaf = weight_only.graph.get_submodule("expand_0")
    assert isinstance(leaf, QuantizedConv2d)
    assert kind == 9  # int8
    assert codes is not None
    assert np.array_equal(codes.view(np.int8).reshape(16, 8), leaf.codes.numpy().reshape(16, 8))
    assert np.allclose(scales, leaf.weight_scale.numpy())


def test_a_linear_layer_whose_weights_are_stored_as_integers(tmp_path: Path) -> None:
    codes = torch.randint(-127, 128, (4, 48), generator=torch.Generator().manual_seed(0)).to(torch.int8)
    layer = QuantizedLinear(codes, torch.tensor(0.01), torch.tensor([0.5, 0, 0, -1]), "int8")
    model = without_grids(network(nn.Sequential(nn.Flatten(1), layer), (3, 4, 4)))
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4), np.float32)
    with torch.inference_mode():
        wanted = model.graph(torch.from_numpy(x)).numpy()
    artifact = lower(model, "float", tmp_path)
    np.testing.assert_allclose(run(artifact, x), wanted, atol=1e-4)
    assert tensors(artifact)["_1/weight/stored"][0] == 9


def test_the_file_says_nothing_of_this_machine(quantized: Model, tmp_path: Path) -> None:
    content = lower(quantized, "int8", tmp_path).graph.read_bytes()
    for word in (b"litert_torch", b"pocketlens/", b"/home", b"/root", b"/work", b"Coded", b".py"):
        assert word not in content
