"""Activations, arithmetic and reductions."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from pocketlens.models.assembly import Known
from pocketlens.models.pt2.operator import AtenOperator, Builder


def plain(make: Callable[[], nn.Module]) -> Builder:
    """An operator that a leaf without arguments computes."""
    return lambda op: op.leaf(make())


def clamp(op: AtenOperator) -> fx.Node:
    """Clamp and hardtanh; to 0..6 it is ReLU6, to 0 and up ReLU."""
    hard = op.target.startswith("aten.hardtanh")
    low, high = (op.get("min_val", -1.0), op.get("max_val", 1.0)) if hard else (op.get("min"), op.get("max"))
    if low == 0 and high in (6, None):
        return op.leaf(nn.ReLU6() if high else nn.ReLU())
    return op.call(torch.clamp, op.x, low, high)


def gelu(op: AtenOperator) -> fx.Node:
    """gelu, exact or by tanh."""
    return op.leaf(nn.GELU(approximate=op.get("approximate", "none")))


def elu(op: AtenOperator) -> fx.Node:
    """elu; selu and celu have other scales."""
    if op.get("scale", 1) != 1 or op.get("input_scale", 1) != 1:
        raise op.unsupported("with a scale")
    return op.leaf(nn.ELU(float(op.get("alpha", 1))))


def leaky_relu(op: AtenOperator) -> fx.Node:
    """leaky_relu."""
    return op.leaf(nn.LeakyReLU(float(op.get("negative_slope", 0.01))))


def prelu(op: AtenOperator) -> fx.Node:
    """Prelu."""
    weight = op.array("weight")
    assert weight is not None
    return op.leaf(nn.PReLU(weight.size), weight=weight.reshape(-1))


def softmax(op: AtenOperator) -> fx.Node:
    """Softmax over one dimension."""
    dim, rank = op.dim("dim", -1), op.assembly.rank(op.x)
    return op.leaf(nn.Softmax(-1 if dim == rank - 1 else dim))


def pair(target: Callable[..., Any]) -> Builder:
    """An operator of two tensors, or of a tensor and a number."""

    def build(op: AtenOperator) -> fx.Node:
        if op.get("alpha", 1) != 1 or op.get("rounding_mode") is not None:
            raise op.unsupported("with alpha or rounding")
        a, b = (op.arguments[name] for name in list(op.arguments)[:2])
        return op.call(target, *op.assembly.operands(op.name, _value(a), _value(b)))

    return build


def power(op: AtenOperator) -> fx.Node:
    """A tensor to the power of a number."""
    return op.call(operator.pow, op.x, op.get("exponent"))


def single(target: Callable[..., Any]) -> Builder:
    """A function of one tensor."""
    return lambda op: op.call(target, op.x)


def reduction(target: Callable[..., Any]) -> Builder:
    """mean, sum, amax over dimensions."""

    def build(op: AtenOperator) -> fx.Node:
        rank = op.assembly.rank(op.x)
        dims = op.get("dim") or list(range(rank))
        dims = tuple(sorted(int(d) % rank for d in ([dims] if isinstance(dims, int) else dims)))
        if 0 in dims:
            raise op.unsupported("over the images of a batch")
        return op.call(target, op.x, dims, bool(op.get("keepdim", False)))

    return build


def _value(value: Any) -> Any:
    """A plain number as a value."""
    if isinstance(value, int | float):
        array = np.array(value, np.float32)
        return Known(array, array)
    return value


_LEAVES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "relu6": nn.ReLU6, "silu": nn.SiLU, "hardswish": nn.Hardswish, "hardsigmoid": nn.Hardsigmoid,
    "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "mish": nn.Mish,
}  # fmt: skip

_PAIRS = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv}

ACTIVATIONS: dict[str, Builder] = {
    **{f"{name}.default": plain(leaf) for name, leaf in _LEAVES.items()},
    **dict.fromkeys(("clamp.default", "clamp_min.default", "hardtanh.default"), clamp),
    "gelu.default": gelu,
    "elu.default": elu,
    "leaky_relu.default": leaky_relu,
    "prelu.default": prelu,
    **dict.fromkeys(("softmax.int", "_softmax.default"), softmax),
    **{f"{name}.{kind}": pair(target) for name, target in _PAIRS.items() for kind in ("Tensor", "Scalar")},
    "pow.Tensor_Scalar": power,
    "neg.default": single(operator.neg),
    "sqrt.default": single(torch.sqrt),
    "rsqrt.default": single(torch.rsqrt),
    "exp.default": single(torch.exp),
    "erf.default": single(torch.erf),
    "mean.dim": reduction(torch.mean),
    "sum.dim_IntList": reduction(torch.sum),
    "amax.default": reduction(torch.amax),
}
