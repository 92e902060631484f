import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import SPEC, TinyNet, randomised
from tests.networks import Transposed, shaken
from torch import Tensor, nn

from pocketlens.errors import ConfigError, ModelError, RecipeError
from pocketlens.models import store
from pocketlens.models.canonical import canonicalise
from pocketlens.models.integer_layers import quantized_layers
from pocketlens.ops.quantized import QuantizedConv2d, QuantizeDequantize
from pocketlens.passes.cluster_weights import ClusterWeights
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.match_moments import MatchMoments
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.passes.tune_quantized import TuneQuantized
from pocketlens.recipe import Chain, bind, check, from_toml, run, to_toml
from pocketlens.targets import load_target
from pocketlens.targets.onnxruntime.lower import lower
from pocketlens.targets.onnxruntime.session import open_session
from pocketlens.training.loop import _Run  # pyright: ignore[reportPrivateUsage]
from pocketlens.types import Context, Model, Scheme

STEP = TuneQuantized(epochs=20, batch_size=8, learning_rate=0.02, augment="none", precision="float32", weight_decay=0.0)


def coarse(model: Model, context: Context, scheme: Scheme, **changes: Any) -> Model:
    step = QuantizeStatic(scheme=scheme, weight_bits=3, activation_bits=4, edge_bits=8, weights="mse")
    return replace(step, **changes)(FoldBatchNorm()(model, context).model, context).model


def inputs(context: Context) -> np.ndarray:
    assert context.data.calibration is not None
    return next(iter(context.data.calibration.batches(SPEC.preprocessing, 24))).images


def distance(model: Model, context: Context) -> float:
    """Mean difference of probabilities on all pictures from the model as it first came in."""
    x = torch.from_numpy(inputs(context))
    with torch.no_grad():
        return float((model.graph(x).softmax(1) - context.original.graph(x).softmax(1)).abs().mean())


def test_the_output_comes_closer_and_everything_keeps_its_place(
    tiny: Model, context: Context, scheme: Scheme, tmp_path: Path
) -> None:
    tiny.graph.get_parameter("classifier.weight").data *= 10
    context = replace(context, original=tiny)
    rounded = coarse(tiny, context, scheme)
    before = store.digest(rounded)
    result = STEP(rounded, context)
    assert store.digest(rounded) == before
    assert distance(result.model, context) < 0.6 * distance(rounded, context)
    assert result.model.facts == rounded.facts | {"quantization_aware"}
    for one, other in zip(result.model.graph.graph.nodes, rounded.graph.graph.nodes, strict=True):
        assert (one.name, one.target) == (other.name, other.target)
        if one.op == "call_module":
            mine, theirs = (m.graph.get_submodule(str(one.target)) for m in (result.model, rounded))
            assert type(mine) is type(theirs)
            if isinstance(mine, QuantizeDequantize) and isinstance(theirs, QuantizeDequantize):
                assert (mine.qmin, mine.qmax, int(mine.zero_point)) == (
                    *(theirs.qmin, theirs.qmax),
                    int(theirs.zero_point),
                )
    leaf = result.model.graph.get_submodule("expand_0")
    assert isinstance(leaf, QuantizedConv2d)
    assert int(leaf.codes.abs().max()) <= 3
    assert any("download only" in note for note in result.record.notes)

    artifact = lower(result.model, "int8", tmp_path)
    got = open_session(artifact.graph, artifact.weights, artifact.session, 1, spinning=False).run(inputs(context))
    with torch.inference_mode():
        wanted = result.model.graph(torch.from_numpy(inputs(context))).numpy()
    assert 10 * np.log10(np.square(wanted).sum() / max(np.square(got - wanted).sum(), 1e-30)) > 30


def test_without_learning_it_is_the_same_model(tiny: Model, context: Context, scheme: Scheme) -> None:
    """The neutral setting."""
    rounded = coarse(tiny, context, scheme)
    still = replace(STEP, epochs=1, learning_rate=0.0)(rounded, context).model
    for name, tensor in still.graph.state_dict().items():
        other = rounded.graph.state_dict()[name]
        if tensor.is_floating_point():
            assert torch.allclose(tensor, other, rtol=1e-5), name
        else:
            assert torch.equal(tensor, other), name


CLUSTERS: tuple[tuple[dict[str, Any], str, float], ...] = (
    ({"clusters": 6}, "adamw", 0.01),
    ({"clusters": 6}, "sgd", 0.003),
    ({"clusters": 8, "vector": 2}, "adamw", 0.01),
    ({"clusters": 8, "share": "channels", "channels": 4}, "adamw", 0.01),
    ({"clusters": 12, "share": "network"}, "adamw", 0.01),
    ({"clusters": 12, "share": "network"}, "sgd", 0.02),
)


def books(model: Model) -> dict[str, Tensor]:
    """Every layer's codes as entries: (n, vector)."""
    leaves = quantized_layers(model.graph)
    return {n: leaf.codes.reshape(-1, leaf.codebook[0] if leaf.codebook else 1) for n, leaf in leaves.items()}


@pytest.mark.parametrize(("fields", "optimizer", "rate"), CLUSTERS, ids=str)
def test_entries_learn_and_stay_shared(
    fields: dict[str, Any], optimizer: str, rate: float, tiny: Model, context: Context, scheme: Scheme
) -> None:
    """Indices stay: what had one entry has one; the output comes closer."""
    tiny.graph.get_parameter("classifier.weight").data *= 10
    folded = FoldBatchNorm()(tiny, context).model
    context = replace(context, original=tiny, unquantized=folded)
    quantized = QuantizeStatic(scheme=scheme)(folded, context).model
    clustered = ClusterWeights(**fields)(quantized, context).model
    step = replace(STEP, optimizer=optimizer, learning_rate=rate)  # pyright: ignore
    result = step(clustered, context)
    assert distance(result.model, context) < 0.8 * distance(clustered, context)
    assert result.model.facts == clustered.facts | {"quantization_aware"}
    before, after = books(clustered), books(result.model)
    moved = 0
    for name, entries in before.items():
        _, member = torch.unique(entries, dim=0, return_inverse=True)
        if fields.get("share") == "channels":  # each group has its own
            rows = torch.arange(len(member)) // (len(member) // len(quantized_layers(clustered.graph)[name].codes))
            member = member + 1000 * (rows // 4)
        for k in torch.unique(member):
            assert len(torch.unique(after[name][member == k], dim=0)) == 1
        assert not after[name][(entries == 0).all(1)].any()
        moved += int((after[name] != entries).sum())
    assert moved > 0
    if fields.get("share") == "network":
        singles = torch.cat([entries.flatten() for entries in after.values()])
        assert len(torch.unique(singles)) <= 12
    if "share" not in fields and "vector" not in fields:  # a code is an entry: none is told from another that was not
        summary = result.record.summary
        assert summary["weights_bytes"] <= summary["weights_bytes_before"] + 1e-6
    assert "clustered" in result.model.facts


def test_fixed_codes_stay_and_scales_learn(tiny: Model, context: Context, scheme: Scheme) -> None:
    tiny.graph.get_parameter("classifier.weight").data *= 10
    context = replace(context, original=tiny)
    rounded = coarse(tiny, context, scheme)
    for optimizer, rate in (("sgd", 0.01), ("adamw", 0.003)):
        step = replace(STEP, codes="fixed", optimizer=optimizer, learning_rate=rate)  # pyright: ignore
        result = step(rounded, context)
        assert distance(result.model, context) < 0.8 * distance(rounded, context), optimizer
        mine, theirs = quantized_layers(result.model.graph), quantized_layers(rounded.graph)
        assert all(torch.equal(mine[name].codes, leaf.codes) for name, leaf in theirs.items())
        assert not torch.equal(mine["expand_0"].weight_scale, theirs["expand_0"].weight_scale)
        summary = result.record.summary
        assert summary["weights_bytes"] == summary["weights_bytes_before"]
        assert summary["weight_step_change"] > 0


def test_nothing_fixed_or_shared_moves_without_learning(tiny: Model, context: Context, scheme: Scheme) -> None:
    """The neutral setting of both, for both optimizers."""
    folded = FoldBatchNorm()(tiny, context).model
    context = replace(context, unquantized=folded)
    clustered = ClusterWeights(clusters=8)(QuantizeStatic(scheme=scheme)(folded, context).model, context).model
    for codes, optimizer in product(("learned", "fixed"), ("sgd", "adamw")):
        still = replace(STEP, epochs=1, learning_rate=0.0, codes=codes, optimizer=optimizer)  # pyright: ignore
        result = still(clustered, context).model
        for name, tensor in result.graph.state_dict().items():
            wanted = clustered.graph.state_dict()[name]
            close = torch.allclose(tensor, wanted, rtol=1e-5) if tensor.is_floating_point() else False
            assert close or torch.equal(tensor, wanted), (codes, optimizer, name)


def test_pruned_weights_stay_zero_in_a_codebook(tiny: Model, context: Context, scheme: Scheme) -> None:
    weight = tiny.graph.get_parameter("project_0.weight")
    weight.data[weight.abs() < weight.abs().median()] = 0
    tiny = replace(tiny, facts=tiny.facts | {"masked"})
    folded = FoldBatchNorm()(tiny, context).model
    context = replace(context, original=tiny, unquantized=folded)
    clustered = ClusterWeights(clusters=8)(QuantizeStatic(scheme=scheme)(folded, context).model, context).model
    zeros = quantized_layers(clustered.graph)["project_0"].codes == 0
    assert zeros.float().mean() > 0.4
    for codes in ("learned", "fixed"):
        result = replace(STEP, epochs=4, codes=codes)(clustered, context).model
        assert not quantized_layers(result.graph)["project_0"].codes[zeros].any()


def test_a_killed_run_with_one_codebook_goes_on(
    tiny: Model, context: Context, scheme: Scheme, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parameter that all layers share survives the checkpoint."""
    folded = FoldBatchNorm()(tiny, context).model
    context = replace(context, unquantized=folded)
    clustered = ClusterWeights(clusters=12, share="network")(
        QuantizeStatic(scheme=scheme)(folded, context).model, context
    ).model
    step = replace(STEP, epochs=3)
    whole = step(clustered, replace(context, work=context.work / "whole")).model
    log = _Run._log_epoch  # pyright: ignore[reportPrivateUsage]

    def die_in_the_third_epoch(run: _Run, epoch: int, *rest: Any) -> None:
        if epoch == 2:
            raise KeyboardInterrupt
        log(run, epoch, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(_Run, "_log_epoch", die_in_the_third_epoch)
        with pytest.raises(KeyboardInterrupt):
            step(clustered, replace(context, work=context.work / "killed"))
    result = step(clustered, replace(context, work=context.work / "killed"))
    assert any("went on from epoch 3" in note for note in result.record.notes)
    assert store.digest(result.model) == store.digest(whole)


def test_a_frozen_share_stays(tiny: Model, context: Context, scheme: Scheme) -> None:
    rounded = coarse(tiny, context, scheme)
    result = replace(STEP, epochs=2, codes="fixed", freeze=0.5)(rounded, context).model
    mine, theirs = quantized_layers(result.graph), quantized_layers(rounded.graph)
    same = {n: torch.allclose(mine[n].weight_scale, leaf.weight_scale, rtol=1e-6) for n, leaf in theirs.items()}
    assert same["stem_0"]
    assert not same["classifier"]


class Pooled(nn.Module):
    """Max pooling keeps the grid that comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.classifier = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=2), nn.Linear(8, 4)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.relu(self.second(self.pool(torch.relu(self.first(x))))).mean((2, 3)))


def test_pooling_keeps_sharing_its_grid(context: Context, scheme: Scheme) -> None:
    torch.manual_seed(0)
    model = canonicalise(Pooled().eval(), SPEC)
    context = replace(context, original=model)
    result = replace(STEP, epochs=2, learning_rate=0.1)(coarse(model, context, scheme), context).model
    grids = {n: m for n, m in result.graph.named_modules() if isinstance(m, QuantizeDequantize)}
    assert float(grids["pool_grid"].scale) == float(grids["relu_grid"].scale)


def test_transposed_convolutions_and_one_scale_a_layer(context: Context, scheme: Scheme) -> None:
    model = canonicalise(shaken(Transposed()), SPEC)
    context = replace(context, original=model)
    wide = replace(scheme, operators=scheme.operators | {"conv_transpose"})
    rounded = coarse(model, context, wide, granularity="per_tensor")
    x = torch.from_numpy(inputs(context))
    still = replace(STEP, epochs=1, learning_rate=0.0)(rounded, context).model
    assert torch.allclose(still.graph(x), rounded.graph(x), atol=1e-4)


def test_the_chain_is_exported(tiny: Model, context: Context, tmp_path: Path) -> None:
    """From a recipe to a file that says the same: clusters by sensitivity, repaired and trained."""
    target = load_target("onnxruntime")
    text = """
        [[pass]]
        use = "FoldBatchNorm"
        [[pass]]
        use = "QuantizeStatic"
        [[pass]]
        use = "ClusterWeights"
        max_size_mb = 0.0007
        choices = [4, 8, 16]
        [[pass]]
        use = "MatchMoments"
        [[pass]]
        use = "TuneQuantized"
        optimizer = "adamw"
        learning_rate = 0.003
        epochs = 3
        batch_size = 8
        augment = "none"
        precision = "float32"
    """
    model, records = run(bind(from_toml(text), target.profile()), tiny, context)
    allowed = {row["layer"]: row["clusters"] for row in records[2].layers}
    leaves = quantized_layers(model.graph)
    assert len(set(allowed.values())) > 1
    assert all(len(torch.unique(leaves[name].codes)) <= count for name, count in allowed.items())
    artifact = target.lower(model, "int8", tmp_path)
    (got,) = target.outputs(artifact, [inputs(context)], threads=1)
    with torch.inference_mode():
        wanted = model.graph(torch.from_numpy(inputs(context))).numpy()
    assert np.square(got - wanted).sum() < 1e-3 * np.square(wanted).sum()


def test_recipes() -> None:
    chain = Chain(FoldBatchNorm(), QuantizeStatic(weight_bits=4), TuneQuantized(epochs=2))
    check(chain, frozenset({"batchnorm"}))
    assert from_toml(to_toml(chain)) == chain
    json.dumps(TuneQuantized().__dict__)
    check(Chain(FoldBatchNorm(), QuantizeStatic(), ClusterWeights(), MatchMoments(), TuneQuantized()))
    with pytest.raises(RecipeError, match="TuneQuantized, requires a model that is quantized"):
        check(Chain(TuneQuantized()))
    with pytest.raises(RecipeError, match="MatchMoments, cannot follow"):
        check(Chain(FoldBatchNorm(), QuantizeStatic(), TuneQuantized(), MatchMoments()))


def test_wrong_use_is_refused(tiny: Model, context: Context, scheme: Scheme) -> None:
    with pytest.raises(ConfigError, match="`codes` must be learned or fixed"):
        TuneQuantized(codes="some")  # pyright: ignore[reportArgumentType]
    other = canonicalise(randomised(TinyNet()), replace(SPEC, class_ids=SPEC.class_ids[::-1]))
    with pytest.raises(ModelError, match="in the same order"):
        STEP(coarse(tiny, context, scheme), replace(context, teachers=(other,)))
