"""Arithmetic of tensors, and reductions."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from torch.nn import functional as F

from pocketlens.models.assembly import Value
from pocketlens.models.onnx.operator import Builder, Operator


def pair(target: Callable[..., Any]) -> Builder:
    """An operator of two tensors."""
    return lambda op: op.binary(target, op.value(0), op.value(1))


def single(target: Callable[..., Any]) -> Builder:
    """A function of one tensor."""
    return lambda op: op.call(target, op.x)


def total(op: Operator) -> Value:
    """Sum of any number of tensors."""
    value = op.value(0)
    for place in range(1, len(op.inputs)):
        value = op.binary(operator.add, value, op.value(place))
    return value


def reciprocal(op: Operator) -> fx.Node:
    """1 / x."""
    return op.call(operator.truediv, 1.0, op.x)


def absolute(op: Operator) -> fx.Node:
    """|x| = sqrt(x * x)."""
    return op.call(torch.sqrt, op.call(operator.mul, op.x, op.x))


def reduction(target: Callable[..., Any]) -> Builder:
    """A reduction over `axes`, which is an attribute or, in newer opsets, an input."""

    def build(op: Operator) -> fx.Node:
        dims, keep = _axes(op)
        return op.x if dims is None else op.call(target, op.x, dims, keep)

    return build


def reduce_min(op: Operator) -> fx.Node:
    """The least value: the negative of the greatest of the negatives."""
    dims, keep = _axes(op)
    return op.x if dims is None else op.call(operator.neg, op.call(torch.amax, op.call(operator.neg, op.x), dims, keep))


def reduce_l2(op: Operator) -> fx.Node:
    """Euclidean length."""
    dims, keep = _axes(op)
    squares = op.call(operator.mul, op.x, op.x)
    return op.call(torch.sqrt, squares if dims is None else op.call(torch.sum, squares, dims, keep))


def normalize(op: Operator) -> fx.Node:
    """LpNormalization."""
    return op.call(F.normalize, op.x, float(op.get("p", 2)), op.axis(-1))


def _axes(op: Operator) -> tuple[tuple[int, ...] | None, bool]:
    """The dimensions, None for no reduction at all, and whether they stay as 1."""
    rank, keep = op.assembly.rank(op.x), bool(op.get("keepdims", 1))
    found = op.numbers("axes", 1, "axes")
    if not found:
        if op.get("noop_with_empty_axes", 0):
            return None, keep
        found = list(range(rank))
    dims = tuple(sorted(axis % rank for axis in found))
    if 0 in dims and op.assembly.batched(op.x):
        raise op.unsupported("over the images of a batch")
    return dims, keep


ARITHMETIC: dict[str, Builder] = {
    "Add": pair(operator.add),
    "Sub": pair(operator.sub),
    "Mul": pair(operator.mul),
    "Div": pair(operator.truediv),
    "Pow": pair(operator.pow),
    "Neg": single(operator.neg),
    "Sqrt": single(torch.sqrt),
    "Exp": single(torch.exp),
    "Reciprocal": reciprocal,
    "Abs": absolute,
    "Sum": total,
    "ReduceMean": reduction(torch.mean),
    "ReduceSum": reduction(torch.sum),
    "ReduceMax": reduction(torch.amax),
    "ReduceMin": reduce_min,
    "ReduceL2": reduce_l2,
    "LpNormalization": normalize,
}
