from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import networks
from tests.conftest import SPEC
from tests.networks import TwinBlocks, shaken
from torch import Tensor, nn

from pocketlens.errors import ConfigError, RecipeError, UnknownNameError, UnsupportedModelError
from pocketlens.models import store
from pocketlens.models.canonical import canonicalise, clone
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.grids import without_grids
from pocketlens.passes.cast_half import CastHalf
from pocketlens.passes.correct_bias import CorrectBias
from pocketlens.passes.distil import Distil
from pocketlens.passes.finetune import Finetune
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.keep_float import KeepFloat
from pocketlens.passes.match_moments import MatchMoments
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.passes.round_adaptively import RoundAdaptively
from pocketlens.passes.tie_layers import TieLayers
from pocketlens.recipe import Chain, check, from_toml, run
from pocketlens.squeeze.graphs import lower_graphs
from pocketlens.targets import load_target
from pocketlens.targets.onnxruntime.blob import external_tensors
from pocketlens.types import Context, Data, Model, Pass, Scheme

PAIR = TieLayers(layers=(("first_0", "third_0"),))
BOTH = TieLayers(layers=(("first_0", "third_0"), ("second_0", "fourth_0")))
ORDER = torch.tensor([5, 3, 11, 0, 1, 2, 4, 6, 10, 9, 8, 7])
WEIGHTS = 3 * 8 * 9 + 4 * 8 * 12 * 9 + 8 * 4


@pytest.fixture
def model() -> Model:
    return canonicalise(shaken(TwinBlocks()), SPEC)


@pytest.fixture
def twins(model: Model) -> Model:
    """The second block is the first: its inner channels in another order, rows of other lengths, gains of any sign."""
    scale = torch.linspace(0.5, 2, 12).reshape(-1, 1, 1, 1)
    weight_of(model, "third_0").data.copy_((weight_of(model, "first_0") * scale)[ORDER])
    weight_of(model, "fourth_0").data.copy_(weight_of(model, "second_0")[:, ORDER])
    for name, row in (("third", 4), ("second", 2)):
        norm = model.graph.get_submodule(f"{name}_1")
        assert isinstance(norm, nn.BatchNorm2d)
        norm.weight.data[row] *= -1
        weight_of(model, f"{name}_0").data[row] *= -1
        assert norm.running_mean is not None
        norm.running_mean[row] *= -1
    return model


def weight_of(model: Model, name: str) -> Tensor:
    weight = model.graph.get_submodule(name).weight
    assert isinstance(weight, Tensor)
    return weight


def calls(model: Model) -> dict[str, str]:
    return {n.name: str(n.target) for n in model.graph.graph.nodes if n.op == "call_module"}


def codes(model: Model) -> dict[str, Tensor]:
    modules = {name: model.graph.get_submodule(target) for name, target in calls(model).items()}
    return {name: module.codes for name, module in modules.items() if isinstance(module, QuantizedLayer)}


def through(model: Model, context: Context, *passes: Pass) -> Model:
    return run(Chain(*passes), model, replace(context, original=model))[0]


def test_layers_that_differ_in_order_and_scale_alone_become_one_and_nothing_changes(
    twins: Model, context: Context
) -> None:
    x = torch.randn(4, 3, 32, 32)
    result = TieLayers(share=0.4)(twins, replace(context, data=Data()))
    assert torch.allclose(result.model.graph(x), twins.graph(x), atol=1e-4)
    assert calls(result.model)["third_0"] == "first_0"
    assert calls(result.model)["fourth_0"] == "second_0"
    assert calls(result.model)["stem_0"] == "stem_0"
    assert "tied" in result.model.facts
    summary = result.record.summary
    assert (summary["weights_before"], summary["weights_after"]) == (WEIGHTS, WEIGHTS - 2 * 864)
    assert summary["similarity"] == pytest.approx(1.0, abs=1e-5)
    assert {row["layer"]: row["weight_of"] for row in result.record.layers} == {
        "first_0": "first_0", "third_0": "first_0", "second_0": "second_0", "fourth_0": "second_0",
    }  # fmt: skip
    assert any("no images" in note for note in result.record.notes)


def test_it_is_stored_once_and_comes_back(model: Model, context: Context, tmp_path: Path) -> None:
    result = PAIR(model, context).model
    store.save(result, tmp_path / "tied.graph")
    loaded = store.load(tmp_path / "tied.graph")
    assert calls(loaded)["third_0"] == "first_0"
    sizes = [sum(t.numel() for t in m.graph.state_dict().values()) for m in (model, loaded)]
    assert sizes[0] - sizes[1] == 12 * 8 * 9


def test_batch_norms_make_up_for_what_they_can(model: Model, context: Context) -> None:
    images = context.data.calibration
    assert images is not None
    x = torch.cat([torch.from_numpy(b.images) for b in images.batches(SPEC.preprocessing, 24)])
    fitted = BOTH(model, context).model
    unfitted = BOTH(model, replace(context, data=Data())).model
    with torch.no_grad():
        wanted = model.graph(x)
        noise = [float((m.graph(x) - wanted).square().sum()) for m in (fitted, unfitted)]
    assert noise[0] < 0.7 * noise[1]


def test_a_channel_that_says_more_keeps_more(model: Model, context: Context) -> None:
    """Half of the channels speak in one layer only, half in the other."""
    for name, half in (("first_1", slice(0, 6)), ("third_1", slice(6, 12))):
        norm = model.graph.get_submodule(name)
        assert isinstance(norm, nn.BatchNorm2d)
        norm.weight.data[half] = 1e-3
    rows = PAIR(model, context).record.layers
    assert all(row["similarity"] > 0.99 for row in rows)


@pytest.mark.parametrize("training", [Distil, Finetune])
def test_training_keeps_ties_and_signs(training: type[Any], model: Model, context: Context) -> None:
    lesson = training(epochs=2, batch_size=8, learning_rate=0.2, augment="none", precision="float32", ema=0.9)
    before = PAIR(model, context).model
    after = through(before, context, lesson)
    assert calls(after)["third_0"] == "first_0"
    assert not torch.equal(weight_of(after, "first_0"), weight_of(before, "first_0"))
    for name in ("first_1", "third_1"):
        assert (after.graph.get_submodule(name).weight > 0).all()  # pyright: ignore
    assert "tied" in after.facts


def test_both_calls_teach_the_shared_weight(model: Model, context: Context) -> None:
    """Its gradient is the sum of theirs."""
    tied = PAIR(model, context).model
    apart = clone(tied)
    third = nn.Conv2d(8, 12, 3, padding=1, bias=False)
    third.weight.data.copy_(weight_of(tied, "first_0"))
    apart.graph.add_module("third_0", third)
    next(n for n in apart.graph.graph.nodes if n.name == "third_0").target = "third_0"
    apart.graph.recompile()
    x = torch.randn(2, 3, 32, 32)
    for network in (tied, apart):
        network.graph(x).square().sum().backward()
    parts = [weight_of(apart, name).grad for name in ("first_0", "third_0")]
    assert parts[0] is not None
    assert parts[1] is not None
    assert torch.allclose(weight_of(tied, "first_0").grad, parts[0] + parts[1], rtol=1e-4, atol=1e-4)  # pyright: ignore


def test_integers_are_the_same_and_the_file_holds_them_once(
    model: Model, context: Context, scheme: Scheme, tmp_path: Path
) -> None:
    """In both graphs, after training, and after what repairs quantization."""
    lesson = Distil(epochs=1, batch_size=8, learning_rate=0.1, augment="none", precision="float32")
    numerics = (FoldBatchNorm(), QuantizeStatic(scheme=scheme, weights="mse"), CorrectBias(), MatchMoments())
    tied = through(model, context, BOTH, lesson, *numerics)
    plain = through(model, context, lesson, *numerics)
    assert "tied" in tied.facts
    for one, other in BOTH.layers:
        assert torch.equal(codes(tied)[one], codes(tied)[other])
        assert not torch.equal(codes(plain)[one], codes(plain)[other])
    scales = [tied.graph.get_submodule(n).weight_scale for n in ("first_0", "third_0")]
    assert not torch.equal(*scales)  # pyright: ignore
    target, x = load_target("onnxruntime"), torch.randn(3, 3, 32, 32)
    made = [lower_graphs(network, target, tmp_path / name) for name, network in (("tied", tied), ("plain", plain))]
    for graphs, held in zip(made, (2, 4), strict=True):
        assert [graph.name for graph in graphs] == ["int8", "float"]
        for graph in graphs:
            assert sum(span.length == 864 for span in external_tensors(graph.graph)) == held
    blobs = [graphs[0].weights.stat().st_size for graphs in made if graphs[0].weights is not None]
    assert blobs[1] - blobs[0] == pytest.approx(2 * 864, abs=64)
    integers, floats = made[0]
    (got,) = target.outputs(floats, [x.numpy()])
    assert torch.allclose(torch.from_numpy(got), without_grids(tied).graph(x), atol=1e-4)
    (got,) = target.outputs(integers, [x.numpy()])  # whose sums may saturate under this scheme on this machine
    assert got.shape == (3, 4)


def test_a_float_file_holds_them_once(model: Model, context: Context, tmp_path: Path) -> None:
    target = load_target("onnxruntime")
    tied = PAIR(model, context).model
    (graph,) = lower_graphs(tied, target, tmp_path)
    spans = {s for s in external_tensors(graph.graph) if s.length == 4 * 864}
    assert len(spans) == 3  # first and third; second; fourth
    x = torch.randn(3, 3, 32, 32)
    (got,) = target.outputs(graph, [x.numpy()])
    assert torch.allclose(torch.from_numpy(got), tied.graph(x), atol=1e-4)


def test_folding_keeps_what_is_computed(model: Model, context: Context) -> None:
    tied = BOTH(model, context).model
    folded = FoldBatchNorm()(tied, context)
    x = torch.randn(3, 3, 32, 32)
    assert torch.allclose(folded.model.graph(x), tied.graph(x), atol=1e-4)
    assert folded.record.summary == {"folded": 5, "kept": 0}
    assert calls(folded.model)["third_0"] == "third_0"
    assert "tied" in folded.model.facts


def test_a_layer_in_float_leaves_the_others_tied(model: Model, context: Context, scheme: Scheme) -> None:
    for kept, left in ((("first_0",), True), (("first_0", "second_0"), False)):
        made = run(Chain(BOTH, FoldBatchNorm(), QuantizeStatic(scheme=scheme, keep_float=kept)), model, context)
        assert ("tied" in made[0].facts) == left
        assert made[1][-1].summary["layers_with_codes_of_others"] == int(left)


def test_one_scale_for_all_channels_unties(model: Model, context: Context, scheme: Scheme) -> None:
    made, records = run(
        Chain(BOTH, FoldBatchNorm(), QuantizeStatic(scheme=scheme, granularity="per_tensor")), model, context
    )
    assert "tied" not in made.facts
    assert any("a scale a channel" in note for note in records[-1].notes)


def test_half_floats_stay_tied_only_unfolded(model: Model, context: Context) -> None:
    assert "tied" in through(model, context, PAIR, CastHalf()).facts
    made, records = run(Chain(PAIR, FoldBatchNorm(), CastHalf()), model, context)
    assert "tied" not in made.facts
    assert any("without FoldBatchNorm" in note for note in records[-1].notes)


@pytest.mark.parametrize(
    ("passes", "problem"),
    [
        ((FoldBatchNorm(), PAIR), "TieLayers, cannot follow what made the model folded"),
        ((PAIR, FoldBatchNorm(), Distil()), "pass 3 of 3, Distil, would pull tied layers apart.*before FoldBatchNorm"),
        ((PAIR, FoldBatchNorm(), QuantizeStatic(), RoundAdaptively()), "RoundAdaptively, cannot follow .* tied"),
        ((PAIR, FoldBatchNorm(), QuantizeStatic(), KeepFloat()), "KeepFloat, cannot follow .* tied"),
        ((PAIR, PAIR), "TieLayers, cannot follow .* tied"),
    ],
)
def test_a_wrong_order_is_refused(passes: tuple[Pass, ...], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        check(Chain(*passes), frozenset({"batchnorm"}))


def test_a_quantized_model_is_refused() -> None:
    with pytest.raises(RecipeError, match="not folded, quantized yet; give it as it was before"):
        check(Chain(PAIR), frozenset({"folded", "quantized"}))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "needs `share` or `layers`"),
        ({"share": 0.2, "layers": (("a", "b"),)}, "give one"),
        ({"share": 1.0}, r"must lie in \(0, 1\), got 1.0"),
        ({"share": -0.1}, r"must lie in \(0, 1\)"),
        ({"layers": ("a", "b")}, "list of lists, for example"),
        ({"layers": (("a",),)}, r"two layers or more, got \['a'\]"),
        ({"layers": (("a", "b"), ("b", "c"))}, "b stands in `layers` more than once"),
        ({"layers": (("a", "a"),)}, "a stands in `layers` more than once"),
        ({"share": 0.1, "images": 0}, "`images` must be at least 1"),
    ],
)
def test_odd_fields_are_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        TieLayers(**fields)


def test_lists_from_toml() -> None:
    text = '[[pass]]\nuse = "TieLayers"\nlayers = [["a", "b"], ["c", "d", "e"]]'
    assert from_toml(text).passes[0] == TieLayers(layers=(("a", "b"), ("c", "d", "e")))


def test_layers_that_cannot_share_are_named(model: Model, context: Context) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown layer 'first_O'\. Did you mean 'first_0'"):
        TieLayers(layers=(("first_O", "third_0"),))(model, context)
    with pytest.raises(ConfigError, match=r"second_0 \(8 x 12 x 3 x 3, .*cannot share the weight of first_0 \(12 x 8"):
        TieLayers(layers=(("first_0", "second_0"),))(model, context)
    with pytest.raises(ConfigError, match="head_linear cannot share its weight: it needs a batch norm"):
        TieLayers(layers=(("first_0", "head_linear"),))(model, context)


def test_more_than_can_be_saved_is_refused(model: Model, context: Context) -> None:
    with pytest.raises(ConfigError, match=r"can save 1,728 of the weights, not .*lower `share`"):
        TieLayers(share=0.9)(model, context)


def test_a_network_without_like_layers_is_refused(tiny: Model, context: Context) -> None:
    with pytest.raises(UnsupportedModelError, match=r"no two layers of tiny are alike.*ClusterWeights"):
        TieLayers(share=0.1)(tiny, context)


def test_a_layer_that_is_called_twice_already_stays_as_it_is(context: Context) -> None:
    twice = canonicalise(shaken(networks.Twice()), SPEC)
    with pytest.raises(ConfigError, match="loop cannot share its weight: the network calls it more than once already"):
        TieLayers(layers=(("loop", "stem"),))(twice, context)


class Linears(nn.Module):
    """Two linear layers of one shape, each with a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one = nn.Linear(3, 8), nn.BatchNorm1d(8)
        self.second, self.two = nn.Linear(8, 8), nn.BatchNorm1d(8)
        self.third, self.three = nn.Linear(8, 8, bias=False), nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(self.first(x.mean((2, 3)))).relu()
        x = self.two(self.second(x)).relu()
        return self.head(self.three(self.third(x)).relu())


def test_linear_layers_share_too(context: Context, scheme: Scheme) -> None:
    linears = canonicalise(shaken(Linears()), SPEC)
    tie = TieLayers(layers=(("second", "third"),))
    made = through(linears, context, tie, FoldBatchNorm(), QuantizeStatic(scheme=scheme))
    assert torch.equal(codes(made)["second"], codes(made)["third"])
    assert "tied" in made.facts
    x = torch.randn(4, 3, 32, 32)
    assert torch.isfinite(made.graph(x)).all()
