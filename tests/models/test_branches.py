from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pocketlens.models import sources, store
from pocketlens.models.branches import drop_branch, residual_branches
from pocketlens.models.canonical import clone
from pocketlens.types import Model


def test_the_branch_of_an_inverted_residual(tiny: Model) -> None:
    (branch,) = residual_branches(tiny)
    assert {"expand_0", "depthwise_0", "project_0", "project_1"} <= branch.nodes
    assert not any(name.startswith("stem") for name in branch.nodes)


def test_dropping_a_branch_equals_silencing_it(tiny: Model) -> None:
    (branch,) = residual_branches(tiny)
    silent, dropped = clone(tiny), clone(tiny)
    last = silent.graph.get_submodule("project_1")
    with torch.no_grad():
        for tensor in (last.weight, last.bias):  # y = gamma x + beta gives nothing
            tensor.zero_()
    drop_branch(dropped.graph, branch)
    x = torch.randn(2, 3, 32, 32)
    assert torch.allclose(silent.graph(x), dropped.graph(x), atol=1e-6)
    assert len(list(dropped.graph.parameters())) < len(list(tiny.graph.parameters()))


def test_a_dropped_branch_round_trips_through_the_store(tiny: Model, tmp_path: Path) -> None:
    dropped = clone(tiny)
    drop_branch(dropped.graph, residual_branches(tiny)[0])
    store.save(dropped, tmp_path / "m.graph")
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(store.load(tmp_path / "m.graph").graph(x), dropped.graph(x))


@pytest.mark.parametrize(
    ("name", "count"), [("resnet20_cifar", 7), ("efficientnet_lite0", 9), ("timm:vit_tiny_patch16_224", 24)]
)
def test_branches_of_known_networks(name: str, count: int) -> None:
    """Blocks that change the resolution or the width have no shortcut that could stand for them."""
    model = sources.load(name, weights=Path("random"))
    branches = residual_branches(model)
    assert len(branches) == count
    smaller = clone(model)
    while left := residual_branches(smaller):
        drop_branch(smaller.graph, left[0])
    x = torch.randn(1, *model.spec.input_shape)
    assert smaller.graph(x).shape == model.graph(x).shape


def test_a_chain_has_none(tiny: Model) -> None:
    plain = clone(tiny)
    drop_branch(plain.graph, residual_branches(tiny)[0])
    assert residual_branches(replace(plain, facts=tiny.facts)) == ()
