import operator

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from pocketlens.models import vocabulary
from pocketlens.models.fusion import fuse


def fused(module: nn.Module, shape: tuple[int, ...] = (2, 4, 8)) -> list[str]:
    """The kinds after fusion; the output must stay."""
    graph = fx.symbolic_trace(module)
    x = torch.randn(shape)
    wanted = graph(x)
    for node in graph.graph.nodes:
        node.meta["shape"] = shape
    fuse(graph)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    assert torch.allclose(graph(x), wanted, atol=1e-5)
    return [vocabulary.kind(graph, n) for n in graph.graph.nodes][1:-1]


class Function(nn.Module):
    def __init__(self, compute) -> None:
        super().__init__()
        self.compute = compute
        self.hard, self.tanh, self.six, self.sigmoid = nn.Hardsigmoid(), nn.Tanh(), nn.ReLU6(), nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(self, x)


@pytest.mark.parametrize(
    ("compute", "wanted"),
    [
        (lambda m, x: x * m.sigmoid(x), ["silu"]),
        (lambda m, x: m.hard(x) * x, ["hardswish"]),
        (lambda m, x: x * (m.six(x + 3.0) / 6.0), ["hardswish"]),
        (lambda m, x: m.six(x + 3.0) * 0.1666667, ["hardsigmoid"]),
        (lambda m, x: 0.5 * x * (1.0 + torch.erf(x * 0.70710678)), ["gelu"]),
        (lambda m, x: x * 0.5 * (m.tanh((x + x**3 * 0.044715) * 0.79788456) + 1.0), ["gelu"]),
        (lambda m, x: x * torch.clamp(x + 3.0, 0.0, 6.0) / 6.0, ["hardswish"]),
        # What only looks like one of them stays as it is.
        (lambda m, x: x * m.sigmoid(x * 1.7), ["mul", "sigmoid", "mul"]),
        (lambda m, x: x * m.sigmoid(x * 1.001), ["mul", "sigmoid", "mul"]),
    ],
)
def test_an_activation_is_known_by_its_values(compute, wanted: list[str]) -> None:
    assert fused(Function(compute)) == wanted


def test_what_another_node_reads_too_stays() -> None:
    kinds = fused(Function(lambda m, x: x * (s := m.sigmoid(x)) + s))
    assert kinds == ["sigmoid", "silu", "add"]


def test_a_gate_by_another_tensor_is_no_swish() -> None:
    assert fused(Function(lambda m, x: x * m.sigmoid(x.unsqueeze(0).squeeze(0)))).count("silu") == 0


class Bias(nn.Module):
    def __init__(self, size: int, calls: int = 1) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 4, bias=False)
        self.bias = nn.Parameter(torch.randn(size))
        self.calls = calls

    def forward(self, x: Tensor) -> Tensor:
        y = operator.add(self.linear(x), self.bias)
        return y + self.linear(x) if self.calls > 1 else y


def test_a_constant_added_to_a_layer_is_its_bias() -> None:
    assert fused(Bias(4)) == ["linear"]


def test_no_bias_where_the_layer_is_read_twice_or_the_constant_is_a_single_number() -> None:
    assert "tensor" in fused(Bias(4, calls=2))
    assert "tensor" in fused(Bias(1))


class Norm(nn.Module):
    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = dims
        self.weight, self.bias = nn.Parameter(torch.rand(8)), nn.Parameter(torch.rand(8))

    def forward(self, x: Tensor) -> Tensor:
        d = operator.sub(x, torch.mean(x, self.dims, True))
        n = operator.truediv(d, torch.sqrt(operator.add(torch.mean(operator.pow(d, 2.0), self.dims, True), 1e-3)))
        return operator.add(operator.mul(n, self.weight), self.bias)


def test_a_layer_norm_over_the_last_dimensions_is_found() -> None:
    assert fused(Norm((-1,))) == ["layernorm"]


def test_a_norm_over_channels_is_left_as_arithmetic() -> None:
    assert "layernorm" not in fused(Norm((1,)))


def test_the_candidates_differ_by_more_than_the_tolerance() -> None:
    x = torch.linspace(-12, 12, 2401, dtype=torch.float64)
    gap = (F.gelu(x) - F.gelu(x, approximate="tanh")).abs().max()
    assert gap > 1e-4
