import copy
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests import networks
from tests.conftest import SPEC
from torch import Tensor, fx, nn

from pocketlens.errors import UnsupportedModelError
from pocketlens.models import store
from pocketlens.models.canonical import canonicalise, clone
from pocketlens.models.channels import channel_groups, remove, require_open, silence
from pocketlens.models.cifar_resnet import CifarResNet
from pocketlens.ops.groups import ChannelGroup
from pocketlens.types import Model

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "chain": networks.Chain,
    "residual": networks.Residual,
    "dense": networks.Dense,
    "joined_then_added": networks.JoinedThenAdded,
    "whole_first": lambda: networks.JoinedThenAdded(whole_first=True),
    "inverted_residual": networks.InvertedResidual,
    "grouped": networks.Grouped,
    "squeeze_excite": networks.SqueezeExcite,
    "transposed": networks.Transposed,
    "flattened": networks.Flattened,
    "flattened_norm": networks.FlattenedNorm,
    "vit": networks.Vit,
    "twice": networks.Twice,
    "siamese": networks.Siamese,
    "slopes": networks.Slopes,
    "shuffle": networks.Shuffle,
    "split": networks.Split,
    "spatial_gate": networks.SpatialGate,
    "joined_then_grouped": networks.JoinedThenGrouped,
    "option_a": lambda: CifarResNet(8, classes=4),
}

ALL_OPEN = (
    *("chain", "residual", "dense", "joined_then_added", "whole_first", "inverted_residual", "grouped"),
    *("squeeze_excite", "transposed", "flattened", "flattened_norm", "twice", "siamese", "slopes"),
)


def imported(name: str) -> Model:
    return canonicalise(networks.shaken(NETWORKS[name]()), replace(SPEC, name=name))


@functools.cache
def _found(name: str) -> tuple[Model, tuple[ChannelGroup, ...]]:
    model = imported(name)
    return model, channel_groups(model)


def prepared(name: str) -> tuple[Model, tuple[ChannelGroup, ...]]:
    """A fresh copy of a network, and its groups."""
    model, groups = _found(name)
    return clone(model), groups


def inside(groups: tuple[ChannelGroup, ...]) -> dict[str, ChannelGroup]:
    return {g.name: g for g in groups}


def some(group: ChannelGroup, generator: torch.Generator) -> Tensor:
    """Units at random, as many of each block, such that no layer of the group is emptied."""
    per_block = group.width // group.blocks
    count = int(torch.randint(0, per_block, (), generator=generator))
    units = torch.cat(
        [b * per_block + torch.randperm(per_block, generator=generator)[:count] for b in range(group.blocks)]
    )
    spared = {int(m.unit[-1]) for m in group.members if len(m.unit.unique()) < group.width}
    return torch.tensor([u for u in units.tolist() if u not in spared], dtype=torch.int64)


def difference(quiet: fx.GraphModule, small: fx.GraphModule) -> float:
    x = torch.randn(3, *SPEC.input_shape, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        wanted, got = quiet(x), small(x)
    assert wanted.shape == got.shape
    assert float(wanted.std()) > 1e-3  # else there is nothing to see
    return float((wanted - got).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_removing_is_silencing(name: str) -> None:
    model, groups = prepared(name)
    open_groups = [g for g in groups if not g.locked]
    assert open_groups
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        doomed = {g.name: some(g, generator) for g in open_groups}
        quiet, small = copy.deepcopy(model.graph), copy.deepcopy(model.graph)
        silence(quiet, doomed, groups)
        remove(small, doomed, groups)
        assert difference(quiet, small) < 1e-4


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_each_group_by_itself(name: str) -> None:
    """Also what all groups together would hide, such as a bias that follows the wrong side."""
    model, groups = prepared(name)
    for group in groups:
        if group.locked:
            continue
        per_block = group.width // group.blocks
        doomed = {group.name: torch.arange(group.width)[torch.arange(group.width) % per_block == per_block - 1]}
        quiet, small = copy.deepcopy(model.graph), copy.deepcopy(model.graph)
        silence(quiet, doomed, groups)
        remove(small, doomed, groups)
        assert difference(quiet, small) < 1e-4, group.name


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_pruned_model_round_trips_through_the_store(name: str, tmp_path: Path) -> None:
    model, groups = prepared(name)
    generator = torch.Generator().manual_seed(3)
    remove(model.graph, {g.name: some(g, generator) for g in groups if not g.locked}, groups)
    store.save(model, tmp_path / "m.graph")
    loaded = store.load(tmp_path / "m.graph")
    x = torch.randn(2, *SPEC.input_shape)
    assert torch.equal(loaded.graph(x), model.graph(x))
    assert store.digest(loaded) == store.digest(model)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_classes_are_no_channels(name: str) -> None:
    model, groups = prepared(name)
    answer = [n for n in model.graph.graph.nodes if n.op == "call_module"][-1].target
    for group in groups:
        assert group.name != answer
        assert not any(m.layer == answer and m.side == "out" for m in group.members if not group.locked)


@pytest.mark.parametrize("name", ALL_OPEN)
def test_ordinary_networks_are_open_throughout(name: str) -> None:
    groups = prepared(name)[1]
    assert {g.name: g.locked for g in groups if g.locked} == {}


@pytest.mark.parametrize("name", ["twice", "shuffle", "vit"])
def test_the_model_stays_as_it_is(name: str) -> None:
    model = imported(name)
    before = store.digest(model)
    channel_groups(model)
    assert store.digest(model) == before
    assert all(p.grad is None for p in model.graph.parameters())


def test_a_convolutional_classifier_keeps_its_classes() -> None:
    module = nn.Sequential(networks.conv(3, 8, stride=2), nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = canonicalise(networks.shaken(module), SPEC)
    assert [(g.name, g.locked) for g in channel_groups(model)] == [("m_0_0", "")]


def test_shapes_by_hand() -> None:
    """8 -> 6 channels before a grouped convolution (2 a block of 4), 12 -> 8 after it."""
    model, groups = prepared("grouped")
    assert {g.name: (g.width, g.blocks) for g in groups} == {
        "first_0": (8, 4), "second_0": (12, 4), "fourth_0": (8, 2),
    }  # fmt: skip
    remove(model.graph, {"first_0": torch.tensor([0, 3, 4, 7]), "second_0": torch.tensor([2, 3, 6, 11])}, groups)
    second = model.graph.get_submodule("second_0")
    assert (second.in_channels, second.out_channels, second.groups) == (4, 8, 4)
    assert second.weight.shape == (8, 1, 3, 3)
    assert second.bias.shape == (8,)  # pyright: ignore
    assert model.graph.get_submodule("second_1").num_features == 8
    assert model.graph.get_submodule("third_0").in_channels == 8


def test_the_right_numbers_stay_in_a_grouped_convolution() -> None:
    model, groups = prepared("grouped")
    before = model.graph.get_submodule("second_0").weight.detach().clone()  # (12, 2, 3, 3), 3 outputs a block
    remove(model.graph, {"first_0": torch.tensor([0, 3, 4, 7]), "second_0": torch.tensor([2, 3, 6, 11])}, groups)
    # inputs that stay: the second of blocks 0 and 2, the first of blocks 1 and 3
    wanted = torch.cat([before[[0, 1], 1:], before[[4, 5], :1], before[[7, 8], 1:], before[[9, 10], :1]])
    assert torch.equal(model.graph.get_submodule("second_0").weight, wanted)


def test_a_transposed_convolution_keeps_its_outputs_second() -> None:
    model, found = prepared("transposed")
    groups = inside(found)
    assert (groups["up"].blocks, groups["grouped"].blocks) == (2, 2)
    before = model.graph.get_submodule("grouped").weight.detach().clone()  # (8, 6, 2, 2)
    doomed = {"up": torch.tensor([1, 6]), "grouped": torch.tensor([0, 5, 7, 8])}
    remove(model.graph, doomed, tuple(groups.values()))
    grouped = model.graph.get_submodule("grouped")
    wanted = torch.cat([before[[0, 2, 3]][:, [1, 2, 3, 4]], before[[4, 5, 7]][:, [0, 3, 4, 5]]])
    assert torch.equal(grouped.weight, wanted)
    assert (grouped.in_channels, grouped.out_channels) == (6, 8)


def test_silence_by_hand() -> None:
    model, groups = prepared("slopes")
    silence(model.graph, {"third": torch.tensor([1, 4]), "first": torch.tensor([0])}, groups)
    third, norm = model.graph.get_submodule("third"), model.graph.get_submodule("norm")
    assert third.weight[[1, 4]].abs().sum() == 0
    assert third.bias[[1, 4]].abs().sum() == 0  # pyright: ignore
    assert third.weight[0].abs().sum() > 0
    assert norm.running_mean[[1, 4]].tolist() == [0, 0]  # pyright: ignore
    assert norm.running_mean[0] != 0  # pyright: ignore
    assert model.graph.get_submodule("each").weight[0] == 0
    assert model.graph.get_submodule("each").weight[1] != 0
    x = torch.randn(1, 3, 32, 32)
    seen: list[Tensor] = []
    norm.register_forward_hook(lambda module, args, output: seen.append(output))
    model.graph(x)
    assert seen[0][:, [1, 4]].abs().max() == 0


def test_option_a_holds_its_stages_and_says_so() -> None:
    groups = inside(prepared("option_a")[1])
    # the pads tie the stages, so they are one group
    assert {name for name, g in groups.items() if g.locked} == {"conv1"}
    assert groups["conv1"].locked == "the graph holds a fixed channel count (such as pad)"
    held = {m.layer for m in groups["conv1"].members if m.side == "out"}
    assert held >= {"conv1", "layer1_0_conv2", "layer2_0_conv2", "layer3_0_conv2"}
    assert set(groups) == {"conv1", "layer1_0_conv1", "layer2_0_conv1", "layer3_0_conv1"}


def test_a_hard_coded_count_is_found_and_named() -> None:
    groups = inside(prepared("shuffle")[1])
    assert groups["stem_0"].locked == "the graph holds a fixed channel count (such as reshape)"
    assert not groups["read_0"].locked


@pytest.mark.parametrize(
    "part", [slice(0, 1), slice(4), slice(-4, None), slice(2, 6), slice(3, 5), slice(None, None, 2)], ids=str
)
def test_a_fixed_part_of_the_channels_locks_them(part: slice) -> None:
    """Which channels the part names changes with what leaves before it, or after it."""
    model = canonicalise(networks.shaken(networks.Sliced(part)), SPEC)
    groups = inside(channel_groups(model))
    assert "fixed channel count" in groups["stem_0"].locked
    assert not groups["read_0"].locked


def test_halves_that_go_different_ways_lock_their_layer() -> None:
    groups = inside(prepared("split")[1])
    assert {name for name, g in groups.items() if g.locked} == {"stem_0"}


def test_blocks_that_read_different_layers_lock_those() -> None:
    groups = inside(prepared("joined_then_grouped")[1])
    for name in ("left_0", "right_0"):
        assert groups[name].locked == "grouped layers cannot lose the same number from each of their blocks"
    assert not groups["grouped_0"].locked


def test_a_position_embedding_locks_its_width() -> None:
    groups = inside(prepared("vit")[1])
    locked = {name: g.locked for name, g in groups.items() if g.locked}
    assert len(locked) == 1
    assert "no layer owns" in next(iter(locked.values()))
    assert {n: (g.kind, g.width) for n, g in groups.items() if not g.locked} == {
        "qkv": ("heads", 4),
        "up": ("channels", 24),
    }


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (networks.Closed, r"stem: a norm over channels depends on its width"),
        (networks.OnlyClassifier, r"it has no convolution or linear layer inside"),
    ],
)
def test_a_model_in_which_nothing_can_shrink_is_refused(module: type[nn.Module], reason: str) -> None:
    model = canonicalise(networks.shaken(module()), replace(SPEC, name="closed"))
    with pytest.raises(UnsupportedModelError, match=rf"no channel of closed can be removed \(.*{reason}"):
        require_open(model, channel_groups(model))


def test_an_open_model_passes() -> None:
    model = imported("chain")
    require_open(model, channel_groups(model))


def test_removing_nothing_changes_nothing() -> None:
    model = imported("residual")
    before = store.digest(model)
    groups = channel_groups(model)
    remove(model.graph, {}, groups)
    remove(model.graph, {groups[0].name: torch.tensor([], dtype=torch.int64)}, groups)
    assert store.digest(model) == before


def test_a_network_in_training_mode_and_frozen_is_found_alike() -> None:
    model = imported("residual")
    wanted = [(g.name, g.locked, [(m.layer, m.side) for m in g.members]) for g in channel_groups(model)]
    for parameter in model.graph.parameters():
        parameter.requires_grad_(False)
    with torch.inference_mode(False), torch.no_grad():
        got = channel_groups(model)
    assert [(g.name, g.locked, [(m.layer, m.side) for m in g.members]) for g in got] == wanted
