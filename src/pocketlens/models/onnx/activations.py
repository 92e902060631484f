"""Activations."""

from collections.abc import Callable

import numpy as np
import torch
from torch import fx, nn

from pocketlens.models.onnx.operator import Builder, Operator

_ONE_SIXTH = 1e-6
"""Exporters write 1/6 as 0.16666667 or 0.1666667."""


def plain(make: Callable[[], nn.Module]) -> Builder:
    """An operator that a leaf without arguments computes."""
    return lambda op: op.leaf(make())


def clip(op: Operator) -> fx.Node:
    """Clip(0, 6) is ReLU6, Clip(0, inf) is ReLU, any other a clamp."""
    low, high = _bound(op, "min", 1), _bound(op, "max", 2)
    if low == 0 and high is None:
        return op.leaf(nn.ReLU())
    if (low, high) == (0, 6):
        return op.leaf(nn.ReLU6())
    return op.x if low is None and high is None else op.call(torch.clamp, op.x, low, high)


def _bound(op: Operator, attribute: str, place: int) -> float | None:
    value = op.attributes.get(attribute)
    if value is None:
        found = op.optional_constant(place, attribute)
        value = None if found is None else found.reshape(-1)[0]
    # Exporters that must give a bound give the largest float.
    return None if value is None or abs(float(value)) > 1e38 else float(value)


def hard_sigmoid(op: Operator) -> fx.Node:
    """clamp(alpha x + beta, 0, 1); with alpha 1/6 and beta 1/2 it is Hardsigmoid."""
    alpha, beta = float(op.get("alpha", 0.2)), float(op.get("beta", 0.5))
    if abs(alpha - 1 / 6) < _ONE_SIXTH and beta == 0.5:
        return op.leaf(nn.Hardsigmoid())
    return op.call(torch.clamp, op.scaled(op.x, alpha, beta), 0.0, 1.0)


def gelu(op: Operator) -> fx.Node:
    """Gelu, exact or by tanh."""
    return op.leaf(nn.GELU(approximate=op.get("approximate", b"none").decode()))


def elu(op: Operator) -> fx.Node:
    """Elu."""
    return op.leaf(nn.ELU(float(op.get("alpha", 1.0))))


def leaky_relu(op: Operator) -> fx.Node:
    """LeakyRelu."""
    return op.leaf(nn.LeakyReLU(float(op.get("alpha", 0.01))))


def prelu(op: Operator) -> fx.Node:
    """PRelu with a slope for all or one a channel."""
    slope = op.constant(1, "slope")
    channels = op.assembly.shape(op.x)[1]
    rank = op.assembly.rank(op.x)
    per_channel = slope.size == channels and np.broadcast_shapes(slope.shape, (channels, *(1,) * (rank - 2))) == (
        channels,
        *(1,) * (rank - 2),
    )
    if slope.size != 1 and not per_channel:
        raise op.unsupported(f"with slopes of shape {slope.shape}")
    leaf = nn.PReLU(slope.size)
    leaf.weight = nn.Parameter(torch.from_numpy(slope.reshape(-1).copy()))
    return op.leaf(leaf)


def softmax(op: Operator) -> fx.Node:
    """Softmax; before opset 13 it runs over all dimensions from `axis` on."""
    rank = op.assembly.rank(op.x)
    axis = op.axis(-1 if op.opset >= 13 else 1)
    if op.opset < 13 and any(size != 1 for size in op.assembly.shape(op.x)[axis + 1 :]):
        raise op.unsupported("over several dimensions (an opset below 13)")
    return op.leaf(nn.Softmax(axis - rank if axis == rank - 1 else axis))


def softplus_mish(op: Operator) -> fx.Node:
    """Softplus as log1p(exp(x)): only within Mish, which `fusion` finds."""
    return op.call(torch.log1p, op.call(torch.exp, op.x))


def swish(op: Operator) -> fx.Node:
    """Swish with alpha 1 is SiLU."""
    op.only("alpha", 1.0)
    return op.leaf(nn.SiLU())


def erf(op: Operator) -> fx.Node:
    """Erf: only within GELU, which `fusion` finds."""
    return op.call(torch.erf, op.x)


ACTIVATIONS: dict[str, Builder] = {
    "Relu": plain(nn.ReLU),
    "Sigmoid": plain(nn.Sigmoid),
    "Tanh": plain(nn.Tanh),
    "Mish": plain(nn.Mish),
    "HardSwish": plain(nn.Hardswish),
    "Clip": clip,
    "HardSigmoid": hard_sigmoid,
    "Gelu": gelu,
    "Elu": elu,
    "LeakyRelu": leaky_relu,
    "PRelu": prelu,
    "Softmax": softmax,
    "Softplus": softplus_mish,
    "Swish": swish,
    "Erf": erf,
}
