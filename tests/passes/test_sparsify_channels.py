import pytest
import torch

from pocketlens.errors import ConfigError
from pocketlens.models.channels import channel_groups
from pocketlens.passes.prune_channels import PruneChannels
from pocketlens.passes.sparsify_channels import GrowingPenalty, SparsifyChannels
from pocketlens.types import Context, Model

PLAN = {"epochs": 6, "batch_size": 8, "augment": "none", "learning_rate": 0.05, "weight_decay": 0.0}


def test_the_penalty_pulls_only_what_is_doomed(tiny: Model) -> None:
    groups = channel_groups(tiny)
    group = next(g for g in groups if any(m.layer == "expand_0" and m.side == "out" for m in g.members))
    penalty = GrowingPenalty(groups, {group.name: torch.tensor([1, 3])}, strength=2.0)
    for parameter in tiny.graph.parameters():
        parameter.grad = torch.zeros_like(parameter)
    penalty.before_step(tiny.graph, 0.5)
    weight = tiny.graph.get_submodule("expand_0").weight
    assert torch.allclose(weight.grad[[1, 3]], weight.detach()[[1, 3]])  # 2.0 * 0.5 * w
    assert not weight.grad[[0, 2, 4]].any()
    assert not tiny.graph.get_submodule("classifier").weight.grad.any()


def test_a_sparsified_network_loses_less_when_it_is_cut(tiny: Model, context: Context) -> None:
    selection = {"ratio": 0.3, "criterion": "group_norm", "multiple": 1}
    prepared = SparsifyChannels(**selection, **PLAN, strength=20.0)(tiny, context).model  # pyright: ignore
    x = torch.randn(16, 3, 32, 32)

    def change(model: Model) -> float:
        cut = PruneChannels(**selection)(model, context).model  # pyright: ignore
        with torch.inference_mode():
            return float((cut.graph(x) - model.graph(x)).norm() / model.graph(x).norm())

    assert change(prepared) < 0.7 * change(tiny)


def test_nothing_leaves_yet(tiny: Model, context: Context) -> None:
    model = SparsifyChannels(**PLAN)(tiny, context).model  # pyright: ignore
    assert [p.shape for p in model.graph.parameters()] == [p.shape for p in tiny.graph.parameters()]


def test_both_sets_of_fields_are_checked() -> None:
    with pytest.raises(ConfigError, match="ratio"):
        SparsifyChannels(ratio=1.0)
    with pytest.raises(ConfigError, match="epochs"):
        SparsifyChannels(epochs=0)
    with pytest.raises(ConfigError, match="strength"):
        SparsifyChannels(strength=-1.0)
