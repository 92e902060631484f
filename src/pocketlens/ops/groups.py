"""Channel groups: which channels of which layers must leave together. Dependencies come from Torch-Pruning."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn

Side = Literal["out", "in"]

PRUNED = (
    *(nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, nn.PReLU),
)
"""Leaves whose tensors have channels."""


@dataclass(frozen=True)
class Member:
    """One side of one layer in a group.

    Args:
        layer: its path.
        side: "out" (rows of a weight, all of a norm) or "in".
        index: (m,), int64, channels of the layer.
        unit: (m,), int64, the unit of the group that each belongs to.
    """

    layer: str
    side: Side
    index: Tensor
    unit: Tensor


@dataclass(frozen=True)
class Constant:
    """A number in the graph that counts units: an argument of a reshape.

    Args:
        node: name of the reshape.
        place: which of its sizes.
        per_unit: what one unit contributes to it.
    """

    node: str
    place: int
    per_unit: int


@dataclass(frozen=True)
class ChannelGroup:
    """Units, each of which leaves the network whole.

    Args:
        name: the layer that gives the group its name.
        kind: "channels", or "heads" of an attention.
        width: how many units.
        members: what a unit consists of.
        blocks: units lie in so many equal blocks, each of which must lose the same number (grouped convolutions).
        constants: see Constant.
        locked: why the group must stay, empty where it may shrink.
    """

    name: str
    kind: Literal["channels", "heads"]
    width: int
    members: tuple[Member, ...]
    blocks: int = 1
    constants: tuple[Constant, ...] = ()
    locked: str = ""


def find_groups(graph: fx.GraphModule, example: Tensor, skip: Sequence[str] = ()) -> tuple[ChannelGroup, ...]:
    """The groups of output channels of convolutions and linear layers.

    Args:
        graph: canonical.
        example: (n, c, h, w), an input.
        skip: layers whose outputs have another meaning (classes, attention heads).
    Reference: Fang et al. 2023 (DepGraph), arXiv:2301.12900.
    """
    import torch_pruning

    names: dict[nn.Module, str] = {module: name for name, module in graph.named_modules()}
    kept = [graph.get_submodule(name) for name in skip]
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # it advises on parameters that no layer owns; those groups are locked below
        dependencies = torch_pruning.DependencyGraph().build_dependency(graph, example_inputs=example, verbose=False)
        found = list(
            dependencies.get_all_groups(
                ignored_layers=kept, root_module_types=[nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear]
            )
        )
    graph.zero_grad(set_to_none=True)
    groups = []
    for group in found:
        root = group[0].dep.target.module
        if root in kept:
            continue
        members, locked = _members(group, dependencies, names)
        if any(m.layer in skip and m.side == "out" for m in members):
            locked = locked or "reaches a layer whose outputs have a meaning of their own"
        groups.append(
            ChannelGroup(
                name=names[root],
                kind="channels",
                width=_outputs(root),
                members=members,
                blocks=_blocks(graph, members, _outputs(root)),
                locked=locked,
            )
        )
    return tuple(groups)


def matrix(module: nn.Module, member: Member, gradient: bool = False) -> Tensor:
    """(m, k): for each index of a member the numbers that it has in its layer's weight, or their gradients.

    Returns: float32; norms and biases are not part of it, but for a norm's own gain (k = 1).
    """
    layer = module.get_submodule(member.layer)
    weight = layer.weight
    assert isinstance(weight, Tensor)
    values = weight.grad if gradient else weight.detach()
    if values is None:
        values = torch.zeros_like(weight)
    if weight.dim() == 1:
        return values[member.index].unsqueeze(1)
    if _depthwise(layer):
        return values[member.index].flatten(1)
    outputs_first = not isinstance(layer, nn.ConvTranspose2d)
    if (member.side == "out") == outputs_first:
        return values[member.index].flatten(1)
    groups = getattr(layer, "groups", 1)
    if groups == 1:
        return values.transpose(0, 1)[member.index].flatten(1)
    per_group = values.reshape(groups, -1, *values.shape[1:]).transpose(
        1, 2
    )  # (groups, in / groups, out / groups, ...)
    return per_group.reshape(-1, *per_group.shape[2:])[member.index].flatten(1)


def is_norm(module: nn.Module, member: Member) -> bool:
    """Whether a member is a normalisation or another layer of one number a channel."""
    weight = module.get_submodule(member.layer).weight
    return weight is None or weight.dim() == 1  # pyright: ignore


def _members(group: Any, dependencies: Any, names: dict[nn.Module, str]) -> tuple[tuple[Member, ...], str]:
    members: dict[tuple[str, Side], tuple[list[int], list[int]]] = {}
    locked = ""
    for item in group.items:
        module = item.dep.target.module
        if isinstance(module, nn.Parameter):
            locked = locked or "a tensor that no layer owns depends on its width"
            continue
        if not isinstance(module, PRUNED):
            continue  # Torch-Pruning's own stand-ins for additions, reshapes and the like
        if isinstance(module, nn.PReLU) and module.num_parameters == 1:
            continue  # one slope for all channels
        side: Side = "out" if dependencies.is_out_channel_pruning_fn(item.dep.handler) else "in"
        roots = getattr(item, "root_idxs", None) or list(range(len(item.idxs)))
        index, unit = members.setdefault((names[module], side), ([], []))
        known = set(index)
        for own, root in zip(item.idxs, roots, strict=True):
            if root is None:
                locked = locked or "a reshape mixes its channels"
            elif own not in known:
                index.append(own)
                unit.append(root)
    return (
        tuple(
            Member(layer, side, torch.tensor(index, dtype=torch.int64), torch.tensor(unit, dtype=torch.int64))
            for (layer, side), (index, unit) in members.items()
            if index
        ),
        locked,
    )


def _blocks(graph: nn.Module, members: tuple[Member, ...], width: int) -> int:
    """The number of blocks that every grouped convolution of a group can live with; 0 when there is none."""
    counts = [(member, _layer_blocks(graph.get_submodule(member.layer))) for member in members]
    blocks = max(count for _, count in counts)
    if width % blocks or any(blocks % count for _, count in counts):
        return 0
    return blocks if all(_even(graph, m, count, width // blocks) for m, count in counts if count > 1) else 0


def _layer_blocks(layer: nn.Module) -> int:
    if isinstance(layer, nn.GroupNorm):
        return layer.num_groups
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d) and not _depthwise(layer):
        return layer.groups
    return 1


def _even(graph: nn.Module, member: Member, count: int, per_block: int) -> bool:
    """Whether each of the `count` blocks of a layer loses the same when each block of units does.

    Not so when the layer reads two groups side by side: its first block then knows only units of the first.
    """
    layer = graph.get_submodule(member.layer)
    channels = layer.num_channels if isinstance(layer, nn.GroupNorm) else getattr(layer, f"{member.side}_channels")
    owner = member.index // (int(channels) // count)
    if len(owner) and int(owner.max()) >= count:
        return False
    met = torch.zeros(count, int(member.unit.max()) // per_block + 1, dtype=torch.int64)
    met.index_put_((owner, member.unit // per_block), torch.tensor(1), accumulate=True)
    whole = (met == 0) | (met == met.max())
    return bool(whole.all() and (met.sum(1) == met.sum(1)[0]).all() and ((met > 0).sum(0) <= 1).all())


def _depthwise(layer: nn.Module) -> bool:
    convolves = isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d)
    return convolves and layer.groups == layer.in_channels == layer.out_channels > 1


def _outputs(layer: nn.Module) -> int:
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)  # pyright: ignore
