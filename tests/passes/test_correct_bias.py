from dataclasses import replace

import pytest
import torch

from pocketlens.errors import ConfigError
from pocketlens.models.grids import plan_grids
from pocketlens.ops.quantized import QuantizedConv2d
from pocketlens.passes.correct_bias import CorrectBias
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.types import Context, IntegerFormat, Model, Scheme


@pytest.fixture
def coarse(scheme: Scheme) -> Scheme:
    """4-bit weights, so that there is something to correct."""
    return replace(scheme, weight=IntegerFormat(storage="int8", qmin=-7, qmax=7, zero_point=0))


@pytest.fixture
def pair(tiny: Model, context: Context, coarse: Scheme) -> tuple[Model, Model]:
    folded = FoldBatchNorm()(tiny, context).model
    return folded, QuantizeStatic(scheme=coarse)(folded, context).model


def test_the_first_layer_gets_its_mean_back(pair: tuple[Model, Model], context: Context) -> None:
    """By the definition: after correction the channel means of the first convolution are the float ones."""
    folded, quantized = pair
    corrected = CorrectBias(images=24)(quantized, replace(context, unquantized=folded)).model
    x = torch.from_numpy(next(context.data.calibration.batches(folded.spec.preprocessing, 24)).images)  # pyright: ignore
    first = next(n for n in folded.graph.graph.nodes if n.op == "call_module")
    want = folded.graph.get_submodule(str(first.target))(x).mean((0, 2, 3))
    leaf = corrected.graph.get_submodule(str(first.target))
    assert isinstance(leaf, QuantizedConv2d)
    grid = corrected.graph.get_submodule("x_grid")
    step = leaf.weight_scale * grid.scale  # the bias lies on the scale of the sums
    assert bool(((leaf(grid(x)).mean((0, 2, 3)) - want).abs() <= step / 2 + 1e-5).all())


def test_the_output_comes_closer(pair: tuple[Model, Model], context: Context) -> None:
    folded, quantized = pair
    corrected = CorrectBias()(quantized, replace(context, unquantized=folded)).model
    x = torch.from_numpy(next(context.data.calibration.batches(folded.spec.preprocessing, 24)).images)  # pyright: ignore
    want = folded.graph(x)
    assert (corrected.graph(x) - want).square().mean() < (quantized.graph(x) - want).square().mean()


def test_an_exact_model_is_left_as_it_is(tiny: Model, context: Context, scheme: Scheme) -> None:
    """The neutral case: compared with itself there is nothing to correct."""
    folded = FoldBatchNorm()(tiny, context).model
    quantized = QuantizeStatic(scheme=scheme)(folded, context).model
    again = CorrectBias()(quantized, replace(context, unquantized=quantized))
    assert again.record.summary["largest_shift"] < 1e-5
    layers = plan_grids(folded.graph, scheme).layers
    assert again.record.summary["layers"] == len(layers)


def test_alone_it_says_what_it_needs(pair: tuple[Model, Model], context: Context) -> None:
    with pytest.raises(ConfigError, match="Chain"):
        CorrectBias()(pair[1], context)
    with pytest.raises(ConfigError, match="images"):
        CorrectBias(images=0)
