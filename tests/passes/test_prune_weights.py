import pytest
import torch

from pocketlens.errors import ConfigError
from pocketlens.passes.finetune import Finetune
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.prune_weights import PruneWeights
from pocketlens.types import Context, Model

LAYERS = ("stem_0", "expand_0", "project_0", "classifier")
"""Depthwise filters stay dense."""


def sparsity(model: Model) -> float:
    weights = [model.graph.get_submodule(name).weight for name in LAYERS]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


def test_the_smallest_weights_leave(tiny: Model, context: Context) -> None:
    result = PruneWeights(sparsity=0.5)(tiny, context)
    assert sparsity(result.model) == pytest.approx(0.5, abs=0.01)
    assert "masked" in result.model.facts
    before = torch.cat([tiny.graph.get_submodule(n).weight.detach().abs().flatten() for n in LAYERS])
    after = torch.cat([result.model.graph.get_submodule(n).weight.detach().abs().flatten() for n in LAYERS])
    assert before[after == 0].max() <= before[after != 0].min()
    assert torch.equal(after[after != 0], before[after != 0])


def test_no_sparsity_is_the_identity(tiny: Model, context: Context) -> None:
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(PruneWeights(sparsity=0.0)(tiny, context).model.graph(x), tiny.graph(x))


def test_local_takes_the_same_share_of_each_layer(tiny: Model, context: Context) -> None:
    rows = PruneWeights(sparsity=0.25, scope="local")(tiny, context).record.layers
    assert {row["layer"] for row in rows} == set(LAYERS)
    assert all(row["sparsity"] == pytest.approx(0.25, abs=0.02) for row in rows)


@pytest.mark.parametrize("score", ["magnitude", "movement"])
def test_a_gradual_schedule_ends_at_the_sparsity(tiny: Model, context: Context, score: str) -> None:
    step = PruneWeights(sparsity=0.6, schedule="gradual", score=score, epochs=3, batch_size=8, augment="none")
    result = step(tiny, context)
    assert sparsity(result.model) == pytest.approx(0.6, abs=0.02)
    assert result.record.summary["sparsity"] == pytest.approx(0.6, abs=0.02)
    assert not torch.equal(result.model.graph.get_submodule("stem_1").weight, tiny.graph.get_submodule("stem_1").weight)


def test_two_of_four_stay_through_tuning(tiny: Model, context: Context) -> None:
    result = PruneWeights(pattern="2:4")(tiny, context)
    tuned = Finetune(epochs=2, batch_size=8, augment="none", learning_rate=0.05)(result.model, context).model
    for name in ("expand_0", "project_0", "classifier"):
        before, after = (m.graph.get_submodule(name).weight for m in (result.model, tuned))
        runs = (after != 0).reshape(after.shape[0], -1, 4, *after.shape[2:]).sum(2)
        assert (runs <= 2).all()
        assert torch.equal(before == 0, after == 0)
        assert not torch.equal(before, after)
    assert any("stem_0" in note for note in result.record.notes)


def test_zeros_survive_folding(tiny: Model, context: Context) -> None:
    pruned = PruneWeights(sparsity=0.5)(tiny, context).model
    folded = FoldBatchNorm()(pruned, context).model
    assert sparsity(folded) == pytest.approx(0.5, abs=0.01)


def test_it_says_what_zeros_buy(tiny: Model, context: Context) -> None:
    assert any("no smaller until it is coded" in n for n in PruneWeights()(tiny, context).record.notes)


def test_skipped_layers_stay_dense(tiny: Model, context: Context) -> None:
    model = PruneWeights(sparsity=0.9, skip=("classifier",))(tiny, context).model
    assert (model.graph.get_submodule("classifier").weight != 0).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sparsity": 1.0}, "would empty a layer"),
        ({"sparsity": -0.1}, "must be in"),
        ({"score": "movement"}, 'set `schedule` = "gradual"'),
        ({"pattern": "4:2"}, "0 < n < m"),
        ({"pattern": "two of four"}, "n:m"),
        ({"scope": "some"}, "global, local"),
    ],
)
def test_bad_fields(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PruneWeights(**fields)  # pyright: ignore
