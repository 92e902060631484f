"""Channels that may change places without changing what the network computes."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from pocketlens.models.canonical import clone
from pocketlens.models.channels import channel_groups
from pocketlens.ops.groups import ChannelGroup, Member
from pocketlens.types import Model

_TOLERANCE = 1e-4
"""Of the largest output: float sums in another order differ by 1e-6, a wrong channel by far more."""

_NORMS = nn.BatchNorm1d | nn.BatchNorm2d | nn.PReLU


def movable_groups(model: Model) -> tuple[ChannelGroup, ...]:
    """The channel groups whose units may take any order, as long as all of their layers take the same.

    That a group may shrink is not enough to know it (a shuffle of channels moves them on purpose), so each is turned
    and run.
    """
    groups = tuple(g for g in channel_groups(model) if _plain(model.graph, g))
    example = torch.randn(2, *model.spec.input_shape, generator=torch.Generator().manual_seed(0))
    graph = clone(model).graph.eval()
    with torch.inference_mode():
        wanted = graph(example)
    if not _differs(graph, groups, example, wanted):
        return groups
    return tuple(g for g in groups if not _differs(graph, (g,), example, wanted))


def permute(graph: fx.GraphModule, group: ChannelGroup, order: Tensor) -> None:
    """Give the units of a group another order, in place.

    Args:
        graph: canonical, in float.
        group: of `movable_groups` of this graph.
        order: (width,), int64: `order[i]` is the unit that comes to place i.
    """
    done = set()
    for member in group.members:
        layer = graph.get_submodule(member.layer)
        single = isinstance(layer, _NORMS) or _depthwise(layer)  # one axis, whichever sides are named
        if single and member.layer in done:
            continue
        done.add(member.layer)
        places = places_of(member, group.width)
        for tensor, axis in _tensors(layer, "out" if single else member.side):
            source = torch.arange(tensor.shape[axis])
            source[places.flatten()] = places[order].flatten()
            with torch.no_grad():
                tensor.copy_(tensor.index_select(axis, source))


def places_of(member: Member, width: int) -> Tensor:
    """(width, channels a unit): the channels of the member's layer that each unit has, in their order."""
    by_unit = member.index[torch.argsort(member.unit * (int(member.index.max()) + 1) + member.index)]
    return by_unit.reshape(width, -1)


def _plain(graph: fx.GraphModule, group: ChannelGroup) -> bool:
    """Whether each unit has the same number of channels in every member, and no layer has a structure of its own."""
    if group.locked or group.kind != "channels" or group.blocks != 1 or group.constants:
        return False
    for member in group.members:
        layer = graph.get_submodule(member.layer)
        grouped = isinstance(layer, nn.Conv1d | nn.Conv2d) and layer.groups > 1 and not _depthwise(layer)
        if grouped or isinstance(layer, nn.ConvTranspose2d):
            return False
        counts = torch.bincount(member.unit, minlength=group.width)
        if len(counts) != group.width or int(counts.min()) != int(counts.max()):
            return False
    return True


def _differs(graph: fx.GraphModule, groups: Sequence[ChannelGroup], example: Tensor, wanted: Tensor) -> bool:
    turned = copy.deepcopy(graph)
    for group in groups:
        permute(turned, group, torch.arange(group.width).roll(1 + group.width // 3))
    with torch.inference_mode():
        got = turned(example)
    return not bool((wanted - got).abs().max() <= _TOLERANCE * wanted.abs().max().clamp(min=1e-3))


def _tensors(layer: nn.Module, side: str) -> list[tuple[Tensor, int]]:
    """The tensors of a layer that have its channels on one side, each with the axis."""
    if side == "in":
        weight = layer.weight
        assert isinstance(weight, Tensor)
        return [(weight, 1)]
    names = ("weight", "bias", "running_mean", "running_var")
    found = (getattr(layer, name, None) for name in names)
    return [(tensor, 0) for tensor in found if isinstance(tensor, Tensor)]


def _depthwise(layer: nn.Module) -> bool:
    convolves = isinstance(layer, nn.Conv1d | nn.Conv2d)
    return convolves and layer.groups == layer.in_channels == layer.out_channels > 1
