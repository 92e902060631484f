from dataclasses import replace

import pytest
import torch
from tests import networks
from tests.conftest import SPEC
from torch import Tensor, nn

from pocketlens.models.canonical import canonicalise
from pocketlens.ops.groups import ChannelGroup, Member, find_groups, is_norm, matrix
from pocketlens.types import Model


def found(module: nn.Module, skip: tuple[str, ...] = ()) -> dict[str, ChannelGroup]:
    model = canonicalise(networks.shaken(module), replace(SPEC, name="n"))
    return {g.name: g for g in find_groups(model.graph, torch.randn(2, *SPEC.input_shape), skip)}


def sides(group: ChannelGroup) -> dict[tuple[str, str], list[int]]:
    return {(m.layer, m.side): m.unit.tolist() for m in group.members}


def member(layer: str, side: str, index: list[int]) -> Member:
    return Member(layer, side, torch.tensor(index), torch.arange(len(index)))  # pyright: ignore


def test_a_chain_by_hand() -> None:
    groups = found(networks.Chain(), skip=("m_3_linear",))
    assert set(groups) == {"m_0_0", "m_1_0", "m_2_0"}
    group = groups["m_1_0"]
    assert (group.width, group.kind, group.blocks, group.locked, group.constants) == (12, "channels", 1, "", ())
    assert set(sides(group)) == {("m_1_0", "out"), ("m_1_1", "out"), ("m_2_0", "in")}
    assert all(units == list(range(12)) for units in sides(group).values())


def test_a_shortcut_ties_what_is_added() -> None:
    groups = found(networks.Residual(), skip=("head_linear",))
    tied = next(g for g in groups.values() if ("stem_0", "out") in sides(g))
    assert set(sides(tied)) == {
        *(("stem_0", "out"), ("stem_1", "out"), ("second_0", "out"), ("second_1", "out")),
        *(("first_0", "in"), ("head_linear", "in")),
    }
    assert len(groups) == 2


def test_side_by_side_layers_have_their_own_places() -> None:
    groups = found(networks.Dense(), skip=("head_linear",))
    second = next(m for m in groups["conv1"].members if m.layer == "norm2")
    assert second.index.tolist() == [8, 9, 10, 11]
    assert second.unit.tolist() == [0, 1, 2, 3]
    assert set(sides(groups["conv2"])) == {("conv2", "out"), ("norm3", "out"), ("head_linear", "in")}


def test_a_part_of_a_group_knows_which_units_it_has() -> None:
    groups = found(networks.JoinedThenAdded(), skip=("head_linear",))
    tied = next(iter(g for g in groups.values() if g.width == 10))
    assert sides(tied)[("few_0", "out")] == [0, 1, 2, 3]
    assert sides(tied)[("many_0", "out")] == [4, 5, 6, 7, 8, 9]
    assert next(m for m in tied.members if m.layer == "many_0").index.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_depthwise_layer_is_part_of_what_it_reads() -> None:
    groups = found(networks.InvertedResidual(), skip=("head_linear",))
    tied = next(g for g in groups.values() if g.width == 12)
    assert {("expand_0", "out"), ("depthwise_0", "out"), ("project", "in")} <= set(sides(tied))
    assert tied.blocks == 1


def test_a_flattened_channel_is_read_at_each_place() -> None:
    group = found(networks.Flattened(), skip=("linear",))["second_0"]
    reader = next(m for m in group.members if m.layer == "hidden")
    assert reader.index.tolist() == list(range(36))
    assert reader.unit.tolist() == [i // 6 for i in range(36)]


def test_grouped_layers_give_blocks() -> None:
    groups = found(networks.Grouped(), skip=("head_linear",))
    assert {(g.width, g.blocks) for g in groups.values()} == {(8, 4), (12, 4), (8, 2)}
    groups = found(networks.JoinedThenGrouped(), skip=("head_linear",))
    assert groups["left_0"].blocks == groups["right_0"].blocks == 0
    assert groups["grouped_0"].blocks == 2


class Clashing(nn.Module):
    """One layer read in 2 blocks and in 3."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = networks.conv(3, 12, stride=2), networks.Classifier(6)
        self.two, self.three = networks.conv(12, 6, groups=2), networks.conv(12, 6, groups=3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.two(x) * self.three(x))


def test_blocks_that_do_not_fit_each_other_are_zero() -> None:
    assert found(Clashing(), skip=("head_linear",))["stem_0"].blocks == 0


def test_one_slope_for_all_channels_is_no_member() -> None:
    groups = found(networks.Slopes(), skip=("head_linear",))
    layers = {m.layer for g in groups.values() for m in g.members}
    assert "each" in layers
    assert "one" not in layers


def test_what_reaches_a_skipped_layer_is_no_open_group() -> None:
    groups = found(networks.Residual(), skip=("head_linear", "second_0"))
    assert all(("second_0", "out") not in sides(g) or g.locked for g in groups.values())


def test_a_tensor_that_no_layer_owns_locks() -> None:
    groups = found(networks.Vit(), skip=("head", "qkv"))
    assert "no layer owns" in next(g for g in groups.values() if ("patches", "out") in sides(g)).locked


def test_gradients_of_the_search_are_gone(tiny: Model) -> None:
    find_groups(tiny.graph, torch.randn(2, 3, 32, 32))
    assert all(p.grad is None for p in tiny.graph.parameters())


def holder(layer: nn.Module) -> nn.Module:
    """The layer as `a`, its weights counted through: 0, 1, 2 ..."""
    root = nn.Module()
    root.a = layer
    weight = layer.weight
    assert isinstance(weight, Tensor)
    weight.data = torch.arange(weight.numel(), dtype=torch.float32).reshape(weight.shape)
    return root


def test_matrix_of_a_linear_layer() -> None:
    root = holder(nn.Linear(3, 2))  # 0 1 2 / 3 4 5
    assert matrix(root, member("a", "out", [1])).tolist() == [[3, 4, 5]]
    assert matrix(root, member("a", "in", [0, 2])).tolist() == [[0, 3], [2, 5]]


def test_matrix_of_a_convolution() -> None:
    root = holder(nn.Conv2d(2, 2, (1, 2)))  # (out, in, 1, 2): 0 1, 2 3 / 4 5, 6 7
    assert matrix(root, member("a", "out", [1])).tolist() == [[4, 5, 6, 7]]
    assert matrix(root, member("a", "in", [1])).tolist() == [[2, 3, 6, 7]]


def test_matrix_of_a_transposed_convolution() -> None:
    root = holder(nn.ConvTranspose2d(2, 3, 1))  # (in, out, 1, 1): 0 1 2 / 3 4 5
    assert matrix(root, member("a", "out", [1])).tolist() == [[1, 4]]
    assert matrix(root, member("a", "in", [1])).tolist() == [[3, 4, 5]]


def test_matrix_of_a_grouped_convolution() -> None:
    # (out 4, in / 2 = 2, 1, 1): rows 01 23 | 45 67; input 2 is the first of the second block
    root = holder(nn.Conv2d(4, 4, 1, groups=2))
    assert matrix(root, member("a", "out", [2])).tolist() == [[4, 5]]
    assert matrix(root, member("a", "in", [0, 2, 3])).tolist() == [[0, 2], [4, 6], [5, 7]]


def test_matrix_of_a_grouped_transposed_convolution() -> None:
    # (in 4, out / 2 = 1, 1, 1): 0 1 | 2 3
    root = holder(nn.ConvTranspose2d(4, 2, 1, groups=2))
    assert matrix(root, member("a", "out", [0, 1])).tolist() == [[0, 1], [2, 3]]
    assert matrix(root, member("a", "in", [2])).tolist() == [[2]]


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 3, (1, 2), groups=3), nn.ConvTranspose2d(3, 3, (1, 2), groups=3)])
def test_matrix_of_a_depthwise_convolution(layer: nn.Module) -> None:
    assert matrix(holder(layer), member("a", "out", [2, 0])).tolist() == [[4, 5], [0, 1]]


def test_matrix_of_a_norm_and_of_gradients() -> None:
    root = holder(nn.BatchNorm2d(3))
    assert matrix(root, member("a", "out", [2, 1])).tolist() == [[2], [1]]
    assert matrix(root, member("a", "out", [2, 1]), gradient=True).tolist() == [[0], [0]]
    weight = root.get_submodule("a").weight
    assert isinstance(weight, nn.Parameter)
    weight.grad = torch.tensor([5.0, 6, 7])
    assert matrix(root, member("a", "out", [2, 1]), gradient=True).tolist() == [[7], [6]]


def test_what_is_a_norm() -> None:
    root = nn.ModuleDict(
        {"norm": nn.BatchNorm2d(2), "bare": nn.BatchNorm2d(2, affine=False), "conv": nn.Conv2d(2, 2, 1)}
    )
    assert is_norm(root, member("norm", "out", [0]))
    assert is_norm(root, member("bare", "out", [0]))
    assert not is_norm(root, member("conv", "out", [0]))
