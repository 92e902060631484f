import copy
from dataclasses import replace

import pytest
import torch
from tests import networks
from tests.conftest import SPEC
from torch import Tensor, nn
from torch.nn import functional as F

from pocketlens.models.canonical import canonicalise
from pocketlens.models.channels import remove, silence
from pocketlens.models.heads import head_groups
from pocketlens.types import Model


def imported(module: nn.Module) -> Model:
    return canonicalise(networks.shaken(module), replace(SPEC, name="vit"))


def reshapes(model: Model) -> list[tuple[int, ...]]:
    return [n.args[1] for n in model.graph.graph.nodes if n.target is torch.reshape]  # pyright: ignore


def test_heads_by_hand() -> None:
    (group,) = head_groups(imported(networks.Vit()).graph)
    assert (group.name, group.kind, group.width, group.blocks, group.locked) == ("qkv", "heads", 4, 1, "")
    rows, columns = group.members
    assert (rows.layer, rows.side, columns.layer, columns.side) == ("qkv", "out", "proj", "in")
    # queries of 4 heads of 4, then keys, then values
    assert rows.index[rows.unit == 1].tolist() == [4, 5, 6, 7, 20, 21, 22, 23, 36, 37, 38, 39]
    assert columns.index[columns.unit == 1].tolist() == [4, 5, 6, 7]
    assert [(c.place, c.per_unit) for c in group.constants] == [(3, 1), (2, 4)]


def test_removed_heads_leave_rows_columns_and_sizes() -> None:
    model = imported(networks.Vit())
    groups = head_groups(model.graph)
    qkv, proj = (model.graph.get_submodule(n) for n in ("qkv", "proj"))
    rows, columns = qkv.weight.detach().clone(), proj.weight.detach().clone()
    assert (-1, 16, 3, 4, 4) in reshapes(model)
    assert (-1, 16, 16) in reshapes(model)
    remove(model.graph, {"qkv": torch.tensor([0, 2])}, groups)
    stays = [*range(4, 8), *range(12, 16)]
    assert torch.equal(qkv.weight, rows[[*stays, *(16 + i for i in stays), *(32 + i for i in stays)]])
    assert torch.equal(proj.weight, columns[:, stays])
    assert (qkv.out_features, proj.in_features, proj.out_features) == (24, 8, 16)
    assert (-1, 16, 3, 2, 4) in reshapes(model)
    assert (-1, 16, 8) in reshapes(model)
    assert model.graph(torch.randn(3, 3, 32, 32)).shape == (3, 4)


@pytest.mark.parametrize("units", [[0], [3], [1, 2], [0, 2, 3]], ids=str)
def test_removing_heads_is_silencing_them(units: list[int]) -> None:
    model = imported(networks.Vit())
    groups = head_groups(model.graph)
    quiet, small = copy.deepcopy(model.graph), copy.deepcopy(model.graph)
    silence(quiet, {"qkv": torch.tensor(units)}, groups)
    remove(small, {"qkv": torch.tensor(units)}, groups)
    x = torch.randn(2, 3, 32, 32)
    assert torch.allclose(quiet(x), small(x), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model.graph(x), small(x), rtol=1e-2)


class Scaled(networks.Vit):
    """Keys and queries are normalised one head at a time: a layer stands between."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, 4, 4).permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(self.norm(q), self.norm(k), v)
        return self.head(self.proj(attended.transpose(1, 2).reshape(n, tokens, width)).mean(1))


class ThreeLayers(networks.Vit):
    """Query, key and value come from a layer each."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        n, tokens, width = x.shape
        q, k, v = (layer(x).reshape(n, tokens, 4, 4).transpose(1, 2) for layer in (self.q, self.k, self.v))
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.head(self.proj(attended.transpose(1, 2).reshape(n, tokens, width)).mean(1))


class ReadTwice(networks.Vit):
    """What the heads give goes two ways."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, 4, 4).permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width)
        return self.head((self.proj(attended) + attended).mean(1))


@pytest.mark.parametrize("module", [Scaled, ThreeLayers, ReadTwice, networks.Chain])
def test_other_attention_is_left_alone(module: type[nn.Module]) -> None:
    assert head_groups(imported(module()).graph) == ()
