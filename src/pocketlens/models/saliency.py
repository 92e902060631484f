"""Scores of a model's channels: weights, and gradients where a criterion asks for them."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketlens.datasets.choose import spread_evenly, teaching_images
from pocketlens.models.canonical import clone
from pocketlens.ops.criteria import CRITERIA, NEED_GRADIENTS, Slice
from pocketlens.ops.groups import ChannelGroup, Member, is_norm, matrix
from pocketlens.types import Context, Model

BATCH = 32


def scores(
    model: Model, groups: Sequence[ChannelGroup], criterion: str, context: Context, images: int
) -> dict[str, Tensor]:
    """One score a unit, by group name.

    Args:
        model: left as it is.
        groups: of the model.
        criterion: a key of CRITERIA.
        context: train (else calibration) images, for gradients; seed.
        images: how many of them, spread evenly.
    Raises: DataError when gradients are asked for and there are no images.
    """
    score = CRITERIA[criterion]
    generator = torch.Generator().manual_seed(context.seed)
    if criterion not in NEED_GRADIENTS:
        return {g.name: score(_slices(model.graph, g), generator) for g in groups}
    totals: dict[str, Tensor] = {}
    batches = 0
    for network in _with_gradients(model, context, images):
        batches += 1
        for group in groups:
            own = score(_slices(network, group, gradients=True), generator)
            totals[group.name] = totals[group.name] + own if group.name in totals else own
    return {name: total / batches for name, total in totals.items()}


def _with_gradients(model: Model, context: Context, count: int) -> Iterator[nn.Module]:
    """The network with the gradients of the loss of one batch after the other.

    Against the labels, and where there are none against its own answers: what changes those.
    """
    chosen = spread_evenly(teaching_images(context.data), count)
    network = clone(model).graph.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    batches = -(-len(chosen) // BATCH)
    for batch in context.progress.track(chosen.batches(model.spec.preprocessing, BATCH), "scoring channels", batches):
        network.zero_grad(set_to_none=True)
        logits = network(torch.from_numpy(batch.images).contiguous(memory_format=torch.channels_last))
        labels = torch.from_numpy(batch.labels)
        F.cross_entropy(logits, torch.where(labels >= 0, labels, logits.detach().argmax(dim=1))).backward()
        yield network


def _slices(network: nn.Module, group: ChannelGroup, gradients: bool = False) -> tuple[Slice, ...]:
    found = []
    for member in group.members:
        layer = network.get_submodule(member.layer)
        if isinstance(layer, nn.PReLU) or getattr(layer, "weight", None) is None:
            continue  # a slope is no gain; a norm without gain
        values = _by_unit(matrix(network, member), member, group.width)
        grads = _by_unit(matrix(network, member, gradient=True), member, group.width) if gradients else None
        found.append(Slice("norm" if is_norm(network, member) else member.side, values, grads))
    return tuple(found)


def _by_unit(rows: Tensor, member: Member, width: int) -> Tensor:
    """(m, k) rows of a member -> (units, k times the rows of a unit); what a unit lacks is 0."""
    order = member.unit.argsort(stable=True)
    units = member.unit[order]
    counts = torch.bincount(units, minlength=width)
    places = torch.arange(len(units)) - torch.cumsum(counts, 0)[units] + counts[units]
    spread = rows.new_zeros(width, int(counts.max()), rows.shape[1])
    spread[units, places] = rows[order]
    return spread.flatten(1)
