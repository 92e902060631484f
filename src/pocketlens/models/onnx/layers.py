"""Convolutions, linear layers and norms."""

import operator
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from pocketlens.models.assembly import Known
from pocketlens.models.filled import filled
from pocketlens.models.onnx.operator import Operator
from pocketlens.models.onnx.padding import explicit, same_sides


def conv(op: Operator) -> fx.Node:
    """Conv -> Conv1d or Conv2d; lopsided padding becomes a ZeroPad2d before it."""
    weight, bias = op.constant(1, "weight"), op.optional_constant(2, "bias")
    rank = weight.ndim - 2
    if rank not in (1, 2):
        raise op.unsupported(f"of {rank} dimensions")
    stride, dilation = _sides(op, "strides", rank), _sides(op, "dilations", rank)
    pads = explicit(op, weight.shape[2:], stride, dilation)
    lopsided = pads[:rank] != pads[rank:]
    if lopsided and rank == 1:
        raise op.unsupported("of 1 dimension with lopsided padding")
    padding = (0,) * rank if lopsided else tuple(pads[:rank])
    groups = int(op.get("group", 1))
    make: Any = nn.Conv1d if rank == 1 else nn.Conv2d
    shape = weight.shape
    with torch.device("meta"):
        leaf = make(shape[1] * groups, shape[0], shape[2:], stride, padding, dilation, groups, bias is not None)
    x = op.x if not lopsided else op.assembly.leaf(f"{op.name}_pad", nn.ZeroPad2d(_lrtb(pads)), op.x)
    return op.leaf(filled(leaf, weight=weight, bias=bias), x, weights=(1, 2))


def conv_transpose(op: Operator) -> fx.Node:
    """ConvTranspose -> ConvTranspose2d; SAME and output_shape become padding and output padding."""
    weight, bias = op.constant(1, "weight"), op.optional_constant(2, "bias")
    rank = weight.ndim - 2
    if rank != 2:
        raise op.unsupported(f"of {rank} dimensions")
    stride, dilation = _sides(op, "strides", rank), _sides(op, "dilations", rank)
    kernel, groups = weight.shape[2:], int(op.get("group", 1))
    extra = [int(v) for v in op.get("output_padding", [0] * rank)]
    full = [
        (size - 1) * s + (k - 1) * d + 1 + e
        for size, s, k, d, e in zip(op.assembly.shape(op.x)[2:], stride, kernel, dilation, extra, strict=True)
    ]
    auto = op.get("auto_pad", b"NOTSET").decode()
    wanted = op.get("output_shape", None)
    if wanted is not None:
        wanted = [int(v) for v in wanted][-rank:]
    elif auto.startswith("SAME"):
        wanted = [size * s for size, s in zip(op.assembly.shape(op.x)[2:], stride, strict=True)]
    if wanted is not None:
        totals = [f - w for f, w in zip(full, wanted, strict=True)]
        begin, end = zip(*(same_sides(total, lower=auto != "SAME_UPPER") for total in totals), strict=True)
    else:
        pads = [int(v) for v in op.get("pads", [0] * 4)]
        begin, end = pads[:rank], pads[rank:]
    # Torch takes the same from both ends; what the end keeps on top is output padding.
    extra = [e + b - a for e, b, a in zip(extra, begin, end, strict=True)]
    if min(extra) < 0 or any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise op.unsupported(f"with lopsided padding {[*begin, *end]}")
    with torch.device("meta"):
        leaf = nn.ConvTranspose2d(
            weight.shape[0], weight.shape[1] * groups, tuple(kernel), stride, tuple(begin),  # pyright: ignore[reportArgumentType]
            tuple(extra), groups, bias is not None, dilation,  # pyright: ignore[reportArgumentType]
        )  # fmt: skip
    return op.leaf(filled(leaf, weight=weight, bias=bias), weights=(1, 2))


def gemm(op: Operator) -> fx.Node:
    """Gemm with a constant weight -> Linear."""
    weight, bias = op.constant(1, "weight"), op.optional_constant(2, "bias")
    op.only("transA", 0)
    weight = weight if op.get("transB", 0) else weight.T
    alpha, beta = float(op.get("alpha", 1.0)), float(op.get("beta", 1.0))
    if bias is not None:
        bias = np.broadcast_to(bias * np.float32(beta), (1, len(weight))).reshape(-1)
    return _linear(op, weight * np.float32(alpha), bias, weights=(1, 2))


def matmul(op: Operator) -> fx.Node:
    """MatMul with a constant matrix -> Linear (its bias is found later), else the operator."""
    a, b = op.value(0), op.value(1)
    if isinstance(a, fx.Node) and isinstance(b, Known) and b.constant and b.first.ndim == 2:
        return _linear(op, b.first.T, None, weights=(1,))
    return op.binary(operator.matmul, a, b)


def batch_norm(op: Operator) -> fx.Node:
    """BatchNormalization -> BatchNorm1d or 2d; kept as a norm, so that passes can fold or estimate it."""
    op.only("training_mode", 0)
    op.only("spatial", 1)
    scale, bias, mean, variance = (op.constant(i, "statistics") for i in (1, 2, 3, 4))
    rank = op.assembly.rank(op.x)
    if rank not in (2, 3, 4):
        raise op.unsupported(f"of {rank} dimensions")
    make = nn.BatchNorm2d if rank == 4 else nn.BatchNorm1d
    leaf = make(len(scale), eps=float(op.get("epsilon", 1e-5)))
    return op.leaf(filled(leaf, weight=scale, bias=bias, running_mean=mean, running_var=variance), weights=(1, 2, 3, 4))


def instance_norm(op: Operator) -> fx.Node:
    """InstanceNormalization is a group norm with a group a channel."""
    scale, bias = op.constant(1, "scale"), op.constant(2, "bias")
    leaf = nn.GroupNorm(len(scale), len(scale), eps=float(op.get("epsilon", 1e-5)))
    return op.leaf(filled(leaf, weight=scale, bias=bias))


def group_norm(op: Operator) -> fx.Node:
    """GroupNormalization; before opset 21 its scale has one value a group."""
    scale, bias = op.constant(1, "scale"), op.constant(2, "bias")
    groups, channels = int(op.attributes["num_groups"]), op.assembly.shape(op.x)[1]
    if len(scale) != channels:
        scale, bias = (np.repeat(v, channels // len(v)) for v in (scale, bias))
    leaf = nn.GroupNorm(groups, channels, eps=float(op.get("epsilon", 1e-5)))
    return op.leaf(filled(leaf, weight=scale, bias=bias))


def layer_norm(op: Operator) -> fx.Node:
    """LayerNormalization over the last dimensions."""
    if any(op.proto.output[1:]):
        raise op.unsupported("that also gives its mean")
    scale, bias = op.constant(1, "scale"), op.optional_constant(2, "bias")
    size = op.assembly.shape(op.x)[op.axis(-1) :]
    leaf = nn.LayerNorm(list(size), eps=float(op.get("epsilon", 1e-5)), bias=bias is not None)
    arrays = {"weight": np.broadcast_to(scale, size)}
    if bias is not None:
        arrays["bias"] = np.broadcast_to(bias, size)
    return op.leaf(filled(leaf, **arrays))


def _linear(op: Operator, weight: np.ndarray, bias: np.ndarray | None, weights: tuple[int, ...]) -> fx.Node:
    with torch.device("meta"):
        leaf = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    return op.leaf(filled(leaf, weight=weight, bias=bias), weights=weights)


def _sides(op: Operator, attribute: str, rank: int) -> tuple[int, ...]:
    found = tuple(int(v) for v in op.get(attribute, [1] * rank))
    if len(found) != rank or min(found) < 1:
        raise op.unsupported(f"with {attribute}={list(found)}")
    return found


def _lrtb(pads: list[int]) -> tuple[int, int, int, int]:
    top, left, bottom, right = pads
    return left, right, top, bottom
