import pytest
import torch
from torch import fx, nn

from pocketlens.models.unrounding import float_layer, unrounded
from pocketlens.ops.quantized import QuantizedConv2d, QuantizedConvTranspose2d, QuantizeDequantize, QuantizedLinear
from pocketlens.types import Model, ModelSpec, Preprocessing


def codes(*shape: int) -> torch.Tensor:
    return torch.randint(-7, 8, shape, generator=torch.Generator().manual_seed(0), dtype=torch.int8)


@pytest.mark.parametrize(
    ("leaf", "shape"),
    [
        (QuantizedLinear(codes(3, 5), torch.tensor([0.1, 0.2, 0.3]), torch.ones(3), "int8"), (2, 5)),
        (
            QuantizedConv2d(codes(6, 2, 3, 1), torch.rand(6) + 0.1, None, "uint8", (2, 1), (1, 0), (2, 1), 2),
            (2, 4, 9, 9),
        ),
        (
            QuantizedConvTranspose2d(
                codes(4, 3, 3, 3), torch.tensor(0.2), torch.ones(6), "int8", (2, 2), (1, 1), (1, 0), (1, 1), 2
            ),
            (2, 4, 5, 5),
        ),
    ],
    ids=["linear", "conv", "conv_transpose"],
)
def test_a_float_layer_computes_the_same(leaf: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(*shape)
    layer = float_layer(leaf)  # pyright: ignore[reportArgumentType]
    assert torch.allclose(layer(x), leaf(x), atol=1e-5)
    assert all(p.requires_grad for p in layer.parameters())


def grid(scale: float) -> QuantizeDequantize:
    return QuantizeDequantize(torch.tensor(scale), torch.tensor(0), 0, 15, "uint8")


def test_a_grid_behind_pooling_is_the_one_before_it() -> None:
    layers = nn.Sequential(
        nn.ReLU6(), grid(0.4), nn.MaxPool2d(2), grid(0.4), nn.Flatten(), grid(0.4), nn.Flatten(), grid(0.1)
    )
    graph = fx.Graph()
    x = graph.placeholder("x")
    for place in range(len(layers)):
        x = graph.create_node("call_module", str(place), (x,), name=f"layer_{place}")
    graph.output(x)
    spec = ModelSpec(name="by hand", input_shape=(1, 4, 4), preprocessing=Preprocessing(resize=None, crop=(4, 4)))
    model = Model(graph=fx.GraphModule(layers, graph).eval(), spec=spec)
    ready, simulation = unrounded(model, codes="learned", learned=True, relative=False)
    assert set(simulation.points) == {"layer_0", "layer_6"}
    assert simulation.shared == {"layer_2": "layer_0", "layer_4": "layer_0"}
    assert simulation.points["layer_0"].name == "layer_1"
    assert simulation.points["layer_0"].grid.floor == (0.0, 6.0)
    assert not [m for m in ready.graph.modules() if isinstance(m, QuantizeDequantize)]
    assert len([m for m in model.graph.modules() if isinstance(m, QuantizeDequantize)]) == 4
