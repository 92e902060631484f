"""Removing channels gives what silencing them gives, whatever the network is made of."""

from pathlib import Path

import pytest
import torch
from tests.conftest import SPEC, TinyNet, randomised
from torch import Tensor, nn
from torch.nn import functional as F

from pocketlens.errors import UnsupportedModelError
from pocketlens.models import store
from pocketlens.models.canonical import canonicalise, clone
from pocketlens.models.channels import channel_groups, remove, require_open, silence
from pocketlens.models.cifar_resnet import CifarResNet
from pocketlens.types import Model


class Concat(nn.Module):
    """Two branches side by side, and their sum with a third."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 6, 3, 2), nn.Conv2d(3, 10, 3, 2), nn.Conv2d(3, 16, 3, 2)
        self.norm = nn.BatchNorm2d(16)
        self.mix = nn.Conv2d(16, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm(torch.cat([self.a(x), self.b(x)], 1)) + self.c(x))
        return self.head(F.relu(self.mix(y)).mean((2, 3)))


class Grouped(nn.Module):
    """A grouped convolution between two plain ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.grouped = nn.Sequential(nn.Conv2d(16, 24, 3, 1, 1, groups=4), nn.BatchNorm2d(24), nn.ReLU())
        self.out = nn.Conv2d(24, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.out(self.grouped(self.stem(x))).mean((2, 3)))


class Squeeze(nn.Module):
    """Squeeze-and-excite on a depthwise convolution with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, 2), nn.BatchNorm2d(12), nn.SiLU())
        self.depth = nn.Conv2d(12, 12, 3, 1, 1, groups=12)
        self.reduce, self.expand = nn.Conv2d(12, 4, 1), nn.Conv2d(4, 12, 1)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.depth(self.stem(x)))
        gate = torch.sigmoid(self.expand(F.relu(self.reduce(F.adaptive_avg_pool2d(x, 1)))))
        return self.head((x * gate).mean((2, 3)))


class Flat(nn.Module):
    """Feature maps flattened into two linear layers, behind a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 4, 4)
        self.up = nn.ConvTranspose2d(8, 6, 2, 2)
        self.act = nn.PReLU(6)
        self.hidden, self.head = nn.Linear(6 * 16 * 16, 10), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.hidden(torch.flatten(self.act(self.up(self.down(x))), 1))))


class Vit(nn.Module):
    """One block of a vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 8, 8)
        self.norm1, self.norm2 = nn.LayerNorm(32), nn.LayerNorm(32)
        self.qkv, self.proj = nn.Linear(32, 96), nn.Linear(32, 32)
        self.fc1, self.fc2 = nn.Linear(32, 64), nn.Linear(64, 32)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        y = self.qkv(self.norm1(x)).reshape(-1, 16, 3, 4, 8).permute(2, 0, 3, 1, 4)
        q, k, v = y.unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, 16, 32)
        x = x + self.proj(y)
        x = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return self.head(x.mean(1))


class Shuffle(nn.Module):
    """Channels shuffled by a reshape that knows their number."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 24, 3, 2, 1), nn.Conv2d(24, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).reshape(-1, 4, 6, 16, 16).permute(0, 2, 1, 3, 4).reshape(-1, 24, 16, 16)
        return self.head(self.b(x).mean((2, 3)))


class Fixed(nn.Module):
    """Nothing in it may shrink."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.head = nn.Conv2d(3, 24, 3, 2, 1), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.a(x).reshape(-1, 4, 6, 16, 16).permute(0, 2, 1, 3, 4).reshape(-1, 24, 256).mean(2))


def canonical(module: nn.Module) -> Model:
    torch.manual_seed(0)
    return canonicalise(randomised(module), SPEC)


NETWORKS = [TinyNet, Concat, Grouped, Squeeze, Flat, Vit]


@pytest.mark.parametrize("kind", NETWORKS, ids=lambda k: k.__name__)
def test_removing_is_silencing(kind: type[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = canonical(kind())
    groups = channel_groups(model)
    free = [g for g in groups if not g.locked]
    assert free
    for group in free:
        per_block = group.width // group.blocks
        doomed = {group.name: torch.cat([b * per_block + torch.randperm(per_block)[:1] for b in range(group.blocks)])}
        quiet, small = clone(model), clone(model)
        silence(quiet.graph, doomed, groups)
        remove(small.graph, doomed, groups)
        x = torch.randn(3, 3, 32, 32)
        with torch.inference_mode():
            wanted, got = quiet.graph(x), small.graph(x)
        assert torch.allclose(wanted, got, atol=1e-4 * float(wanted.abs().max())), group.name
        assert sum(p.numel() for p in small.graph.parameters()) < sum(p.numel() for p in model.graph.parameters())
        store.save(small, tmp_path / "m.graph")
        assert torch.equal(store.load(tmp_path / "m.graph").graph(x), small.graph(x))


@pytest.mark.parametrize("kind", NETWORKS, ids=lambda k: k.__name__)
def test_classes_never_leave(kind: type[nn.Module]) -> None:
    for group in channel_groups(canonical(kind())):
        assert not any(m.side == "out" and m.layer in ("head", "classifier") for m in group.members)


def test_grouped_convolutions_lose_as_many_of_each_block() -> None:
    assert {g.blocks for g in channel_groups(canonical(Grouped()))} == {1, 4}


def test_heads_and_mlp_of_a_transformer_are_found() -> None:
    groups = {g.name: g for g in channel_groups(canonical(Vit()))}
    assert groups["qkv"].kind == "heads"
    assert groups["qkv"].width == 4
    assert not groups["fc1"].locked
    assert any(g.locked for g in groups.values())  # the residual stream runs through norms over channels


def test_the_zero_padded_shortcut_keeps_its_stages() -> None:
    groups = channel_groups(canonical(CifarResNet(20, 4)))
    locked = [g for g in groups if g.locked]
    assert len([g for g in groups if not g.locked]) == 9
    assert any("pad" in g.locked for g in locked)


def test_a_hard_coded_channel_count_is_named() -> None:
    groups = {g.name: g for g in channel_groups(canonical(Shuffle()))}
    assert "fixed channel count" in groups["a"].locked
    assert "reshape" in groups["a"].locked
    assert not groups["b"].locked


def test_a_network_that_cannot_shrink_is_refused() -> None:
    model = canonical(Fixed())
    with pytest.raises(UnsupportedModelError, match="no channel of tiny can be removed"):
        require_open(model, channel_groups(model))
