"""Take channels out of a canonical graph, and make sure beforehand that nothing else changes."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from pocketlens.errors import UnsupportedModelError
from pocketlens.models import vocabulary
from pocketlens.models.canonical import clone
from pocketlens.models.heads import head_groups
from pocketlens.ops.groups import ChannelGroup, Member, find_groups
from pocketlens.types import Model

_TOLERANCE = 1e-4
"""Of the largest output: float sums in another order differ by 1e-6, a wrong channel by far more."""

_SILENT = 1e-6
"""A gain below this lets nothing through."""


def channel_groups(model: Model) -> tuple[ChannelGroup, ...]:
    """All groups of a model; those that may not shrink are locked and say why.

    A group may shrink when removing some of its units gives what silencing them gives; this is run, not assumed, so
    that a hard-coded channel count, a shuffle or a zero-padded shortcut is found whatever it looks like.
    """
    example = torch.randn(2, *model.spec.input_shape, generator=torch.Generator().manual_seed(0))
    graph = clone(model).graph.eval()
    for parameter in graph.parameters():
        parameter.requires_grad_(True)
    _rouse(graph)
    heads = head_groups(graph)
    skip = [*_answer_layers(graph), *(m.layer for g in heads for m in g.members if m.side == "out")]
    groups = (*find_groups(graph, example, skip), *heads)
    groups = tuple(replace(g, locked=_shape_lock(graph, g)) if not g.locked else g for g in groups)
    open_groups = [g for g in groups if not g.locked]
    if open_groups and _differs(graph, open_groups, example):
        groups = tuple(
            replace(g, locked=_reason(graph, g)) if not g.locked and _differs(graph, [g], example) else g
            for g in groups
        )
    return groups


def remove(graph: fx.GraphModule, doomed: Mapping[str, Tensor], groups: Sequence[ChannelGroup]) -> None:
    """Take units out, in place.

    Args:
        graph: canonical.
        doomed: group name -> (n,), its units that leave.
        groups: of this graph.
    """
    dropped: dict[tuple[str, str], Tensor] = {}
    for group in groups:
        units = doomed.get(group.name)
        if units is None or not len(units):
            continue
        for member in group.members:
            gone = _indices(member, units)
            key = (member.layer, member.side)
            dropped[key] = torch.cat([dropped[key], gone]) if key in dropped else gone
        for constant in group.constants:
            _rewrite(graph, constant.node, constant.place, constant.per_unit * (group.width - len(units)))
    layers = {layer for layer, _ in dropped}
    for layer in sorted(layers):
        _shrink(graph.get_submodule(layer), dropped.get((layer, "out")), dropped.get((layer, "in")))
    graph.recompile()


def silence(graph: fx.GraphModule, doomed: Mapping[str, Tensor], groups: Sequence[ChannelGroup]) -> None:
    """Set to zero, in place, whatever the units give: filters, biases, gains."""
    with torch.no_grad():
        for group in groups:
            for member in group.members:
                if member.side == "out" and group.name in doomed:
                    gone = _indices(member, doomed[group.name])
                    layer = graph.get_submodule(member.layer)
                    for tensor in (layer.weight, getattr(layer, "bias", None)):
                        if isinstance(tensor, Tensor) and isinstance(layer, nn.ConvTranspose2d) and tensor.dim() > 1:
                            # (in, out / groups, ...): the group and the place in it tell an output.
                            blocks = tensor.unflatten(0, (layer.groups, -1))
                            blocks[gone // tensor.shape[1], :, gone % tensor.shape[1]] = 0.0
                        elif isinstance(tensor, Tensor):
                            tensor.index_fill_(0, gone, 0.0)
                    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.running_mean is not None:
                        layer.running_mean[gone] = 0.0


def _indices(member: Member, units: Tensor) -> Tensor:
    return member.index[torch.isin(member.unit, units)]


def _shrink(layer: nn.Module, out: Tensor | None, into: Tensor | None) -> None:
    """Drop output and input channels of a layer."""
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.PReLU | nn.LayerNorm | nn.GroupNorm):
        gone = out if out is not None else into
        assert gone is not None
        _shrink_norm(layer, gone)
    elif isinstance(layer, nn.Linear):
        layer.weight = _without(_without(layer.weight, 0, out), 1, into)
        if layer.bias is not None:
            layer.bias = _without(layer.bias, 0, out)
        layer.out_features, layer.in_features = layer.weight.shape
    else:
        assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d)
        _shrink_conv(layer, out, into)


def _shrink_conv(layer: nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d, out: Tensor | None, into: Tensor | None) -> None:
    weight = layer.weight
    transposed = isinstance(layer, nn.ConvTranspose2d)
    if layer.groups == layer.in_channels == layer.out_channels and layer.groups > 1:
        out = out if out is not None else into
        layer.weight = _without(weight, 0, out)
        layer.groups = layer.in_channels = layer.out_channels = layer.weight.shape[0]
    elif layer.groups > 1:
        kept_out, kept_in = _kept(layer.out_channels, out), _kept(layer.in_channels, into)
        per_out, per_in = layer.out_channels // layer.groups, layer.in_channels // layer.groups
        blocks = []
        for g in range(layer.groups):
            made = kept_out[(kept_out >= g * per_out) & (kept_out < (g + 1) * per_out)]
            read = kept_in[(kept_in >= g * per_in) & (kept_in < (g + 1) * per_in)]
            rows, columns = (read, made - g * per_out) if transposed else (made, read - g * per_in)
            blocks.append(weight.detach()[rows][:, columns])
        layer.weight = nn.Parameter(torch.cat(blocks))
        layer.out_channels, layer.in_channels = len(kept_out), len(kept_in)
    else:
        axis = 1 if transposed else 0
        layer.weight = _without(_without(weight, axis, out), 1 - axis, into)
        layer.out_channels, layer.in_channels = layer.weight.shape[axis], layer.weight.shape[1 - axis]
    if layer.bias is not None:
        layer.bias = _without(layer.bias, 0, out)


def _shrink_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d | nn.PReLU | nn.LayerNorm | nn.GroupNorm, gone: Tensor) -> None:
    for name in ("weight", "bias"):
        tensor = getattr(layer, name, None)
        if tensor is not None:
            setattr(layer, name, _without(tensor, 0, gone))
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        for name in ("running_mean", "running_var"):
            tensor = getattr(layer, name)
            if tensor is not None:
                setattr(layer, name, tensor[_kept(len(tensor), gone)].clone())
        layer.num_features -= len(gone.unique())
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)
    elif isinstance(layer, nn.GroupNorm):
        layer.num_channels -= len(gone.unique())
    else:
        layer.normalized_shape = (layer.normalized_shape[0] - len(gone.unique()),)


def _without(tensor: Tensor, axis: int, gone: Tensor | None) -> nn.Parameter:
    if gone is None:
        return tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor)
    return nn.Parameter(tensor.detach().index_select(axis, _kept(tensor.shape[axis], gone)).clone())


def _kept(width: int, gone: Tensor | None) -> Tensor:
    keep = torch.ones(width, dtype=torch.bool)
    if gone is not None:
        keep[gone] = False
    return keep.nonzero().squeeze(1)


def _rewrite(graph: fx.GraphModule, name: str, place: int, value: int) -> None:
    node = next(n for n in graph.graph.nodes if n.name == name)
    sizes = list(node.args[1])  # pyright: ignore
    sizes[place] = value
    node.args = (node.args[0], tuple(sizes), *node.args[2:])


def _differs(graph: fx.GraphModule, groups: Sequence[ChannelGroup], example: Tensor) -> bool:
    """Whether removing a few units gives something else than silencing them.

    Tried from the first unit on and from the last: x[:, -4:] does not mind what leaves before it.
    """
    return any(_differs_without(graph, groups, example, {g.name: _sample(g, last) for g in groups}) for last in (0, 1))


def _differs_without(
    graph: fx.GraphModule, groups: Sequence[ChannelGroup], example: Tensor, doomed: Mapping[str, Tensor]
) -> bool:
    quiet, small = (copy.deepcopy(graph) for _ in range(2))
    try:
        silence(quiet, doomed, groups)
        remove(small, doomed, groups)
        with torch.inference_mode():
            wanted, got = _run(quiet, example), _run(small, example)
    except (RuntimeError, ValueError, IndexError, TypeError):
        return True
    if wanted.shape != got.shape:
        return True
    return not bool((wanted - got).abs().max() <= _TOLERANCE * wanted.abs().max().clamp(min=1e-3))


def _rouse(graph: fx.GraphModule) -> None:
    """Norms that start at zero (the last of a residual branch) would hide whatever goes wrong before them."""
    with torch.no_grad():
        for layer in graph.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.affine:
                layer.weight[layer.weight.abs() < _SILENT] = 1.0


def _run(graph: fx.GraphModule, example: Tensor) -> Tensor:
    interpreter = fx.Interpreter(graph)
    interpreter.extra_traceback = False  # a failure here is an answer, not news for the terminal
    return interpreter.run(example)


def _sample(group: ChannelGroup, last: int) -> Tensor:
    """Every second of the first units, or of the last, the same number in every block."""
    per_block = group.width // group.blocks
    count = max(1, per_block // 4)
    order = torch.arange(per_block).flip(0) if last else torch.arange(per_block)
    return torch.cat([b * per_block + order[::2][:count] for b in range(group.blocks)])


def _shape_lock(graph: fx.GraphModule, group: ChannelGroup) -> str:
    if group.blocks == 0:
        return "grouped layers cannot lose the same number from each of their blocks"
    if group.width // group.blocks < 2:
        return "too narrow"
    if any(isinstance(graph.get_submodule(m.layer), nn.LayerNorm | nn.GroupNorm) for m in group.members):
        return "a norm over channels depends on its width"
    return ""


def _reason(graph: fx.GraphModule, group: ChannelGroup) -> str:
    """What in the graph holds a width: for people."""
    pads = [n.name for n in graph.graph.nodes if vocabulary.kind(graph, n) == "pad_function"]
    shapes = [n.name for n in graph.graph.nodes if vocabulary.kind(graph, n) in ("reshape", "split", "layernorm")]
    near = pads or shapes
    names = f" (such as {near[0]})" if near else ""
    return f"the graph holds a fixed channel count{names}"


def _answer_layers(graph: fx.GraphModule) -> list[str]:
    """The layers whose outputs are the network's: they are reached from the output through what keeps channels."""
    found: list[str] = []
    waiting = [n for n in graph.graph.nodes if n.op == "output"]
    seen = set()
    while waiting:
        node = waiting.pop()
        for source in node.all_input_nodes:
            if source in seen:
                continue
            seen.add(source)
            if vocabulary.kind(graph, source) in ("conv", "conv_transpose", "linear"):
                found.append(str(source.target))
            else:
                waiting.append(source)
    return found


def require_open(model: Model, groups: Sequence[ChannelGroup]) -> None:
    """Raise UnsupportedModelError when no group may shrink, naming what holds them."""
    if any(not g.locked for g in groups):
        return
    reasons = "; ".join(f"{g.name}: {g.locked}" for g in groups[:3]) or "it has no convolution or linear layer inside"
    raise UnsupportedModelError(
        f"no channel of {model.spec.name} can be removed ({reasons}). Replace reshapes that name channels by "
        "flatten or unsqueeze, or choose a smaller variant"
    )
