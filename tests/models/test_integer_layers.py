from dataclasses import replace

import pytest
import torch
from tests.conftest import SPEC
from tests.networks import Transposed, Twice, shaken
from torch import nn

from pocketlens.errors import ConfigError, ModelError
from pocketlens.models import store
from pocketlens.models.canonical import canonicalise
from pocketlens.models.integer_layers import (
    FloatLayer,
    float_layers,
    integer_layer,
    originals,
    quantized_layers,
    reach_of,
    with_layers,
)
from pocketlens.ops.quantized import QuantizedConvTranspose2d, QuantizedLinear
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.types import Context, IntegerFormat, Model, Scheme

INT8 = {"ranges": "minmax", "storage": "int8"}

SCHEME = Scheme(
    name="u8s8",
    activation=IntegerFormat(storage="uint8", qmin=0, qmax=255),
    weight=IntegerFormat(storage="int8", qmin=-127, qmax=127, zero_point=0),
)


def linear(rows: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows))
    layer.weight.data = torch.tensor(rows)
    return layer


def test_reach() -> None:
    assert [reach_of(b) for b in (2, 3, 4, 8)] == [1, 3, 7, 127]


def test_two_bits_by_hand() -> None:
    """Each row's largest weight is one step; 0.8 of 2 rounds to 0, -1.2 of 2 to -1."""
    layer = linear([[2.0, 0.8], [-1.2, 2.0]])
    leaf = integer_layer(layer, "l", reach=1, per_channel=True, **INT8)
    assert isinstance(leaf, QuantizedLinear)
    assert leaf.codes.tolist() == [[1, 0], [-1, 1]]
    assert leaf.weight_scale.tolist() == [2.0, 2.0]
    assert torch.equal(leaf.bias.detach(), layer.bias.detach())


def test_one_scale_for_all_by_hand() -> None:
    layer = linear([[3.0, 1.0], [-2.0, 0.4]])
    leaf = integer_layer(layer, "l", reach=3, per_channel=False, **INT8)
    assert leaf.weight_scale.item() == 1.0
    assert leaf.codes.tolist() == [[3, 1], [-2, 0]]


def test_a_transposed_convolution_has_one_scale() -> None:
    layer = nn.ConvTranspose2d(4, 6, 2)
    leaf = integer_layer(layer, "up", reach=7, per_channel=True, **INT8)
    assert isinstance(leaf, QuantizedConvTranspose2d)
    assert leaf.weight_scale.dim() == 0


def test_a_dead_channel_has_codes_of_zero() -> None:
    layer = linear([[0.0, 0.0], [1.0, -1.0]])
    for ranges in ("minmax", "mse"):
        leaf = integer_layer(layer, "l", reach=1, per_channel=True, ranges=ranges, storage="uint8")
        assert leaf.codes[0].tolist() == [0, 0]
        assert torch.isfinite(leaf.weight).all()


def test_few_levels_clip_a_bell_curve() -> None:
    """The best three levels of a normal weight lie at 1.22 standard deviations; its largest weight at 3 or 4."""
    layer = nn.Linear(4096, 4)
    layer.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    leaf = integer_layer(layer, "l", reach=1, per_channel=True, ranges="mse", storage="int8")
    assert leaf.weight_scale.tolist() == pytest.approx([1.22] * 4, abs=0.05)


def test_nan_names_the_layer() -> None:
    layer = linear([[float("nan"), 1.0]])
    with pytest.raises(ModelError, match="blocks_1"):
        integer_layer(layer, "blocks_1", reach=7, per_channel=True, ranges="mse", storage="int8")


@pytest.fixture
def pair(context: Context) -> tuple[Model, Model]:
    model = canonicalise(shaken(Twice()), SPEC)
    folded = replace(model, facts=frozenset({"folded"}))
    return folded, QuantizeStatic(scheme=SCHEME, keep_float=("stem",))(folded, context).model


def test_a_layer_called_twice_is_one_under_its_first_call(pair: tuple[Model, Model]) -> None:
    folded, quantized = pair
    names = list(quantized_layers(quantized.graph))
    assert names[0] == "loop"
    assert not any(name.startswith("loop_") for name in names)
    assert "stem" in float_layers(quantized.graph)
    assert "stem" not in names
    assert quantized_layers(folded.graph) == {}
    assert float_layers(folded.graph) >= {"stem", *names}


def test_originals_pair_up_by_name(pair: tuple[Model, Model], tiny: Model) -> None:
    folded, quantized = pair
    before = originals(quantized.graph, folded.graph)
    assert before["loop"] is folded.graph.get_submodule("loop")
    assert all(isinstance(layer, FloatLayer) for layer in before.values())
    with pytest.raises(ConfigError, match="has no layer loop"):
        originals(quantized.graph, tiny.graph)


def test_other_leaves_in_a_copy(pair: tuple[Model, Model]) -> None:
    folded, quantized = pair
    before = originals(quantized.graph, folded.graph)
    digest = store.digest(quantized)
    result = with_layers(quantized, {"loop": before["loop"]})
    leaf = result.graph.get_submodule("loop")
    assert isinstance(leaf, nn.Conv2d)
    assert leaf is not before["loop"]
    assert torch.equal(leaf.weight, before["loop"].weight)
    assert store.digest(quantized) == digest


def test_transposed_layers_are_found(context: Context) -> None:
    model = canonicalise(shaken(Transposed()), SPEC)
    folded = replace(model, facts=frozenset({"folded"}))
    scheme = replace(SCHEME, operators=SCHEME.operators | {"conv_transpose"})
    quantized = QuantizeStatic(scheme=scheme)(folded, context).model
    kinds = {name: type(leaf) for name, leaf in quantized_layers(quantized.graph).items()}
    assert kinds["up"] is QuantizedConvTranspose2d
