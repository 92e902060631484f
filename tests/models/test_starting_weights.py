import pytest
import torch
from torch import fx, nn

from pocketlens.models.starting_weights import FixedCodes, LearnedWeight, StartingWeight, largest_code, scale_unit
from pocketlens.models.unrounding import float_layer
from pocketlens.ops.quantized import QuantizedConv2d, QuantizedConvTranspose2d, QuantizedLinear

DRAW = torch.Generator().manual_seed(0)


def codes(*shape: int) -> torch.Tensor:
    return torch.randint(-9, 10, shape, generator=DRAW).to(torch.int8)


LINEAR = QuantizedLinear(codes(3, 5), torch.tensor([0.1, 0.2, 0.3]), torch.ones(3), "int8", (1, 3))
CONV = QuantizedConv2d(codes(6, 2, 3, 3), torch.rand(6, generator=DRAW) + 0.1, None, "uint8", (2, 1), (1, 0), groups=2)
TRANSPOSED = QuantizedConvTranspose2d(codes(4, 3, 3, 3), torch.tensor(0.2), torch.ones(3), "int8", (2, 2))


def alone(leaf: nn.Module) -> fx.GraphModule:
    graph = fx.Graph()
    graph.output(graph.call_module("layer", (graph.placeholder("x"),)))
    root = nn.Module()
    root.layer = float_layer(leaf)  # pyright: ignore
    return fx.GraphModule(root, graph)


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("leaf", [LINEAR, CONV, TRANSPOSED], ids=["linear", "conv", "transposed"])
@pytest.mark.parametrize("kind", [FixedCodes, LearnedWeight])
def test_nothing_learned_is_the_same_layer(kind: type, leaf: QuantizedLinear, relative: bool) -> None:
    start: StartingWeight = kind(leaf) if kind is FixedCodes else kind(leaf, 9)
    graph = alone(leaf)
    x = torch.randn(2, 5) if leaf is LINEAR else torch.randn(2, 4, 9, 9)
    steps = start.hold(graph, "layer", learned=True, relative=relative)
    assert torch.allclose(graph(x), leaf(x), atol=1e-5)
    hard = start.harden(graph, "layer", steps)
    assert torch.equal(hard.codes, leaf.codes)
    assert torch.allclose(hard.weight_scale, leaf.weight_scale)
    assert torch.allclose(hard(x), leaf(x), atol=1e-5)


def test_fixed_codes_learn_scale_and_bias() -> None:
    graph, start = alone(LINEAR), FixedCodes(LINEAR)
    steps = start.hold(graph, "layer", learned=True, relative=True)
    optimizer = torch.optim.Adam(graph.parameters(), lr=0.1)
    graph(torch.randn(4, 5)).square().sum().backward()
    optimizer.step()
    hard = start.harden(graph, "layer", steps)
    assert torch.equal(hard.codes, LINEAR.codes)
    # Adam moves by the learning rate: of a scale, a tenth of it.
    assert torch.allclose((hard.weight_scale / LINEAR.weight_scale - 1).abs(), torch.full((3,), 0.1), atol=1e-3)
    assert hard.bias is not None
    assert torch.allclose((hard.bias - 1).abs(), torch.full((3,), 0.1), atol=1e-3)
    assert hard.codebook == (1, 3)
    assert LINEAR.weight_scale.tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_a_parameter_is_as_long_as_the_weights_that_it_moves() -> None:
    """What a scale is counted in, by hand: codes (3, 4) have length 5; a dead channel counts as 1."""
    leaf = QuantizedLinear(torch.tensor([[3, 4], [0, 0]]), torch.tensor([0.1, 0.2]), None, "int8")
    assert scale_unit(leaf, relative=False).tolist() == pytest.approx([0.2, 1])
    assert scale_unit(leaf, relative=True).tolist() == pytest.approx([0.1, 0.2])
    one = QuantizedLinear(torch.tensor([[3, 4]]), torch.tensor(0.1), None, "int8")
    assert scale_unit(one, relative=False).item() == pytest.approx(0.2)


def test_the_largest_code() -> None:
    assert largest_code(QuantizedLinear(torch.tensor([[-128, 4]]), torch.tensor(0.1), None, "int8")) == 127
    assert largest_code(QuantizedLinear(torch.tensor([[0, 0]]), torch.tensor(0.1), None, "int8")) == 1
