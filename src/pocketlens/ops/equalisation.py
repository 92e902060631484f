"""Cross-layer equalisation: what one layer's output channels give up in scale, the next layer's inputs take over.

Between the two stands something with f(s x) = s f(x) for s > 0, so the network computes what it did, with weights
whose channels have more alike ranges.
"""

import torch
from torch import Tensor, nn

Scalable = nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear


def outgoing_ranges(layer: Scalable) -> Tensor:
    """(out,): the largest absolute weight of each output channel."""
    return blocks(layer).abs().amax((2, 3)).flatten()


def incoming_ranges(layer: Scalable) -> Tensor:
    """(in,): the largest absolute weight that reads each input channel."""
    return blocks(layer).abs().amax((1, 3)).flatten()


def equalising_factors(outgoing: Tensor, incoming: Tensor) -> Tensor:
    """The s with which outgoing / s = incoming * s = sqrt(outgoing * incoming), 1 for a channel that is dead.

    Args:
        outgoing: (channels,), ranges of the first layer's outputs.
        incoming: (channels,), ranges of the second layer's inputs.
    Reference: Nagel et al. 2019, arXiv:1906.04721, eq. 11.
    """
    alive = (outgoing > 0) & (incoming > 0)
    return torch.where(alive, (outgoing / torch.where(alive, incoming, 1.0)).sqrt(), 1.0)


def rescale(first: Scalable, second: Scalable, factors: Tensor) -> None:
    """Divide the outputs of `first` by `factors` and multiply the inputs of `second` by them, in place.

    Args:
        first: its weight and bias.
        second: its weight; reads the channels of `first` in their order.
        factors: (channels,), > 0.
    """
    groups = blocks(first).shape[0]
    with torch.no_grad():
        blocks(first).div_(factors.reshape(groups, -1, 1, 1))
        if first.bias is not None:
            first.bias.div_(factors)
        blocks(second).mul_(factors.reshape(blocks(second).shape[0], 1, -1, 1))


def upper_bounds(layer: Scalable, ceiling: float) -> Tensor:
    """(out,): what no output can exceed when the inputs lie in [0, ceiling], by the positive weights alone."""
    most = ceiling * blocks(layer).clamp(min=0).sum((2, 3)).flatten()
    return most if layer.bias is None else most + layer.bias.detach()


def blocks(layer: Scalable) -> Tensor:
    """A view of the weight: (groups, out / groups, in / groups, kernel positions)."""
    weight = layer.weight.detach()
    if isinstance(layer, nn.Linear):
        return weight[None, :, :, None]
    if isinstance(layer, nn.ConvTranspose2d):
        rows = layer.in_channels // layer.groups
        return weight.view(layer.groups, rows, weight.shape[1], -1).transpose(1, 2)
    return weight.view(layer.groups, layer.out_channels // layer.groups, weight.shape[1], -1)
