from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests import networks
from tests.conftest import SPEC
from torch import nn

from pocketlens.models import sources, vocabulary
from pocketlens.models.canonical import canonicalise
from pocketlens.models.embedding import classifier_rows, with_embedding
from pocketlens.models.head import features_of
from pocketlens.passes.cast_half import CastHalf
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.types import Context, IntegerFormat, Model, Scheme

SCHEME = Scheme(
    name="u8s8",
    activation=IntegerFormat(storage="uint8", qmin=0, qmax=255),
    weight=IntegerFormat(storage="int8", qmin=-127, qmax=127, zero_point=0),
)


def both(model: Model, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    graph = with_embedding(model.graph)
    assert graph is not None
    with torch.inference_mode():
        logits, embedding = graph(x)
    assert logits.dtype == embedding.dtype == torch.float32
    return logits, embedding


def kinds(model: Model) -> list[str]:
    graph = with_embedding(model.graph) or model.graph
    return [vocabulary.kind(graph, node) for node in graph.graph.nodes]


class ConvolutionHead(nn.Sequential):
    def __init__(self, groups: int = 1) -> None:
        pool = nn.AdaptiveAvgPool2d(1)
        super().__init__(networks.conv(3, 8, stride=2), pool, nn.Conv2d(8, 4, 1, groups=groups), nn.Flatten())


@pytest.mark.parametrize("make", [networks.Chain, networks.Flattened, networks.Vit, networks.SqueezeExcite])
def test_the_embedding_is_what_the_classifier_reads(make: Callable[[], nn.Module]) -> None:
    model = canonicalise(networks.shaken(make()), SPEC)
    x = torch.randn(3, 3, 32, 32)
    logits, embedding = both(model, x)
    with torch.inference_mode():
        assert torch.equal(logits, model.graph(x))
        assert torch.equal(embedding, features_of(model)(x))
    assert len(list(model.graph.graph.nodes)) == len(kinds(model))  # not an operator more


def test_a_convolution_of_pooled_features_is_a_linear_layer() -> None:
    model = canonicalise(networks.shaken(ConvolutionHead()), SPEC)
    x = torch.randn(3, 3, 32, 32)
    logits, embedding = both(model, x)
    assert embedding.shape == (3, 8)
    rows = classifier_rows(model.graph)
    assert rows is not None
    bias = logits - embedding @ rows.T
    torch.testing.assert_close(bias, bias[:1].expand_as(bias))  # the same for every image


def test_networks_that_end_otherwise_have_none() -> None:
    for model in (
        canonicalise(networks.shaken(ConvolutionHead(groups=4)), SPEC),
        sources.load("torchvision:squeezenet1_1", weights=Path("random")),
    ):
        assert with_embedding(model.graph) is None
        assert classifier_rows(model.graph) is None


def test_the_grid_comes_after_the_embedding_and_changes_no_logit(tiny: Model, context: Context) -> None:
    folded = FoldBatchNorm()(tiny, context).model
    model = QuantizeStatic(scheme=SCHEME, activations="minmax")(folded, context).model
    x = torch.randn(3, 3, 32, 32)
    logits, embedding = both(model, x)
    with torch.inference_mode():
        assert torch.equal(logits, model.graph(x))
    assert kinds(model)[-5:] == ["global_avg_pool", "flatten", "quantize", "linear", "output"]
    assert len(embedding.unique()) == embedding.numel()  # floats, not the steps of a grid


def test_features_of_an_integer_operator_come_off_its_grid(context: Context) -> None:
    """Floats between a layer, its activation and their grid would stop the three from being one operator."""
    module = nn.Sequential(networks.conv(3, 8, stride=2), nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.ReLU())
    model = canonicalise(networks.shaken(nn.Sequential(*module, nn.Flatten(), nn.Linear(8, 4))), SPEC)
    folded = FoldBatchNorm()(model, context).model
    quantized = QuantizeStatic(scheme=SCHEME, activations="minmax")(folded, context).model
    x = torch.randn(3, 3, 32, 32)
    logits, embedding = both(quantized, x)
    with torch.inference_mode():
        assert torch.equal(logits, quantized.graph(x))
    relu = kinds(quantized).index("relu", 5)
    assert kinds(quantized)[relu + 1] == "quantize"
    assert len(embedding.unique()) < 256


def test_half_gives_float32(tiny: Model, context: Context) -> None:
    x = torch.randn(2, 3, 32, 32)
    _, wanted = both(tiny, x)
    _, embedding = both(CastHalf()(tiny, context).model, x)
    torch.testing.assert_close(embedding, wanted, rtol=1e-2, atol=1e-2)


def test_the_model_stays_as_it_is(tiny: Model) -> None:
    before = str(tiny.graph.graph)
    with_embedding(tiny.graph)
    assert str(tiny.graph.graph) == before


def test_on_a_device_of_integers_the_features_come_off_the_grid(tiny: Model, context: Context) -> None:
    scheme = replace(SCHEME, operators=SCHEME.operators | {"global_avg_pool"}, float_output=False)
    folded = FoldBatchNorm()(tiny, context).model
    model = QuantizeStatic(scheme=scheme, activations="minmax")(folded, context).model
    graph = with_embedding(model.graph, on_grid=True)
    assert graph is not None
    output = next(n for n in graph.graph.nodes if n.op == "output")
    assert [vocabulary.kind(graph, n) for n in output.all_input_nodes] == ["quantize", "quantize"]
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits, embedding = graph(x)
        torch.testing.assert_close(logits, model.graph(x), rtol=0, atol=0)
    assert embedding.shape == (2, 8)
