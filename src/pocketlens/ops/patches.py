"""A layer's arithmetic at single output positions, as matrix products.

A convolution at one position is a product of its weight with the patch that it reads there. A few thousand positions
drawn from many images say as much about a weight as all of them, at a hundredth of the work.

Layers are laid out by group: weights (groups, out / groups, k), patches (groups, positions, k), outputs (groups,
positions, out / groups), where k = in / groups * kernel height * kernel width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from pocketlens.ops.quantized import QuantizedConv2d, QuantizedLinear

Positions = tuple[Tensor, ...]
"""Indices into an output without its channels: (image, row, column) of a convolution, (row,) of a linear layer."""


def draw(layer: QuantizedConv2d | QuantizedLinear, y: Tensor, count: int, generator: torch.Generator) -> Positions:
    """`count` positions of the output `y`, in random order; all where there are fewer."""
    shape = _positions_shape(layer, y)
    total = int(torch.tensor(shape).prod())
    chosen = torch.randperm(total, generator=generator)[:count]
    return tuple(torch.unravel_index(chosen, shape))


def inputs_at(layer: QuantizedConv2d | QuantizedLinear, x: Tensor, at: Positions) -> Tensor:
    """What the layer reads at each position.

    Args:
        layer: for its geometry.
        x: its input, (n, in, h, w), or (..., in) of a linear layer.
        at: of its output.
    Returns: (groups, positions, k), float32.
    """
    if isinstance(layer, QuantizedLinear):
        return x.reshape(-1, x.shape[-1])[at[0]][None]
    image, row, column = at
    kernel = layer.codes.shape[2:]
    (up, left), (down, across), (tall, wide) = layer.padding, layer.stride, layer.dilation
    padded = F.pad(x, (left, left, up, up)).permute(0, 2, 3, 1)
    rows = row[:, None] * down + torch.arange(kernel[0]) * tall
    columns = column[:, None] * across + torch.arange(kernel[1]) * wide
    read = padded[image[:, None, None], rows[:, :, None], columns[:, None, :]]  # (positions, kh, kw, in)
    return read.reshape(len(image), -1, layer.groups, x.shape[1] // layer.groups).permute(2, 0, 3, 1).flatten(2)


def outputs_at(layer: QuantizedConv2d | QuantizedLinear, y: Tensor, at: Positions) -> Tensor:
    """The layer's output `y` at each position: (groups, positions, out / groups), float32."""
    if isinstance(layer, QuantizedLinear):
        return y.reshape(-1, y.shape[-1])[at[0]][None]
    image, row, column = at
    chosen = y[image, :, row, column]
    return chosen.reshape(len(image), layer.groups, -1).transpose(0, 1)


def by_group(layer: QuantizedConv2d | QuantizedLinear, weight: Tensor) -> Tensor:
    """A weight, (out, in / groups, ...), as (groups, out / groups, k)."""
    groups = 1 if isinstance(layer, QuantizedLinear) else layer.groups
    return weight.reshape(groups, weight.shape[0] // groups, -1)


def _positions_shape(layer: QuantizedConv2d | QuantizedLinear, y: Tensor) -> tuple[int, ...]:
    if isinstance(layer, QuantizedLinear):
        return (y.numel() // y.shape[-1],)
    return (y.shape[0], y.shape[2], y.shape[3])
