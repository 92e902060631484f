"""Attention heads as groups: found by their shape in the graph, since a reshape tells heads apart."""

import operator

import torch
from torch import fx

from pocketlens.models import vocabulary
from pocketlens.ops.groups import ChannelGroup, Constant, Member


def head_groups(graph: fx.GraphModule) -> tuple[ChannelGroup, ...]:
    """One group an attention whose query, key and value come from one linear layer.

    The pattern: linear (n, t, 3 h d) -> reshape (n, t, 3, h, d) -> permute -> unbind -> attention -> transpose ->
    reshape (n, t, h d) -> linear. An attention of another make is left alone.
    """
    groups = []
    for node in graph.graph.nodes:
        if vocabulary.kind(graph, node) != "attention":
            continue
        group = _group(graph, node)
        if group is not None:
            groups.append(group)
    return tuple(groups)


def _group(graph: fx.GraphModule, attention: fx.Node) -> ChannelGroup | None:
    split = _source_split(graph, attention)
    joined = _only_user(_only_user(attention, graph, "permute"), graph, "reshape")
    if split is None or joined is None:
        return None
    sizes = split.args[1]
    if not isinstance(sizes, tuple) or len(sizes) != 5 or sizes[2] != 3 or not _numbers(sizes[3:]):
        return None
    heads, width = int(sizes[3]), int(sizes[4])  # pyright: ignore
    joined_sizes = joined.args[1]
    if not isinstance(joined_sizes, tuple) or joined_sizes[-1] != heads * width:
        return None
    reader = next(iter(joined.users))
    source = split.all_input_nodes[0]
    if len(joined.users) != 1 or any(vocabulary.kind(graph, n) != "linear" for n in (reader, source)):
        return None
    index = torch.arange(3 * heads * width)
    columns = torch.arange(heads * width)
    return ChannelGroup(
        name=str(source.target),
        kind="heads",
        width=heads,
        members=(
            Member(str(source.target), "out", index, index % (heads * width) // width),
            Member(str(reader.target), "in", columns, columns // width),
        ),
        constants=(Constant(split.name, 3, 1), Constant(joined.name, len(joined_sizes) - 1, width)),
    )


def _source_split(graph: fx.GraphModule, attention: fx.Node) -> fx.Node | None:
    """The reshape that query, key and value all come from; None when a mask or another layer comes between."""
    if attention.kwargs.get("attn_mask") is not None or len(attention.args) > 3:
        return None
    sources = set()
    for part in attention.args[:3]:
        if not isinstance(part, fx.Node) or part.target is not operator.getitem:
            return None
        unbind = part.args[0]
        if not isinstance(unbind, fx.Node) or vocabulary.kind(graph, unbind) != "unbind":
            return None
        permute = unbind.args[0]
        if not isinstance(permute, fx.Node) or vocabulary.kind(graph, permute) != "permute":
            return None
        sources.add(permute.args[0])
    found = sources.pop() if len(sources) == 1 else None
    return found if isinstance(found, fx.Node) and vocabulary.kind(graph, found) == "reshape" else None


def _only_user(node: fx.Node | None, graph: fx.GraphModule, kind: str) -> fx.Node | None:
    if node is None or len(node.users) != 1:
        return None
    user = next(iter(node.users))
    return user if vocabulary.kind(graph, user) == kind else None


def _numbers(values: object) -> bool:
    return isinstance(values, tuple) and all(isinstance(v, int) for v in values)
