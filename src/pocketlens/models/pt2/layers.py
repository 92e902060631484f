"""Convolutions, linear layers, norms and attention."""

import operator
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional as F

from pocketlens.models.assembly import Known
from pocketlens.models.pt2.operator import AtenOperator, Builder


def conv(op: AtenOperator) -> fx.Node:
    """conv1d, conv2d and the general convolution."""
    weight, bias = op.array("weight"), op.array("bias")
    if weight is None or weight.ndim not in (3, 4) or any(op.get("output_padding") or ()):
        raise op.unsupported("of these dimensions")
    if op.get("transposed", False):
        return conv_transpose(op)
    rank, groups = weight.ndim - 2, int(op.get("groups", 1))
    stride, padding, dilation = (op.pair(*a)[:rank] for a in (("stride", 1), ("padding", 0), ("dilation", 1)))
    make: Any = nn.Conv1d if rank == 1 else nn.Conv2d
    with torch.device("meta"):
        size = (weight.shape[1] * groups, weight.shape[0], weight.shape[2:])
        leaf = make(*size, stride, padding, dilation, groups, bias is not None)
    return op.leaf(leaf, weight=weight, bias=bias)


def conv_transpose(op: AtenOperator) -> fx.Node:
    """conv_transpose2d."""
    weight, bias = op.array("weight"), op.array("bias")
    if weight is None or weight.ndim != 4:
        raise op.unsupported("of these dimensions")
    groups = int(op.get("groups", 1))
    with torch.device("meta"):
        leaf = nn.ConvTranspose2d(
            weight.shape[0], weight.shape[1] * groups, weight.shape[2:],  # pyright: ignore[reportArgumentType]
            op.pair("stride", 1), op.pair("padding", 0), op.pair("output_padding", 0), groups, bias is not None,
            op.pair("dilation", 1),  # pyright: ignore[reportArgumentType]
        )  # fmt: skip
    return op.leaf(leaf, weight=weight, bias=bias)


def linear(op: AtenOperator) -> fx.Node:
    """Linear."""
    weight = op.array("weight")
    assert weight is not None
    return _linear(op, weight, op.array("bias"))


def addmm(op: AtenOperator) -> fx.Node:
    """Bias + x @ weight."""
    weight = op.array("mat2")
    assert weight is not None
    if op.get("alpha", 1) != 1 or op.get("beta", 1) != 1:
        raise op.unsupported("with alpha or beta")
    swapped = {"input": op.arguments["mat1"], "bias": op.arguments["self"]}
    return _linear(_with(op, swapped), np.ascontiguousarray(weight.T), op.array("self"))


def matmul(op: AtenOperator) -> fx.Node:
    """matmul, mm, bmm; by a constant matrix it is a linear layer."""
    a, b = (op.arguments[name] for name in list(op.arguments)[:2])
    if isinstance(a, fx.Node) and isinstance(b, Known) and b.constant and b.first.ndim == 2:
        return _linear(op, np.ascontiguousarray(b.first.T), None)
    return op.call(operator.matmul, *op.assembly.operands(op.name, a, b))


def batch_norm(op: AtenOperator) -> Any:
    """Batch norm as it runs."""
    if op.get("training", False):
        raise op.unsupported("in training")
    names = {"weight": "weight", "bias": "bias", "running_mean": "running_mean", "running_var": "running_var"}
    arrays = {ours: op.array(theirs) for ours, theirs in names.items()}
    mean = arrays["running_mean"]
    assert mean is not None
    make = nn.BatchNorm2d if op.assembly.rank(op.x) == 4 else nn.BatchNorm1d
    leaf = make(len(mean), eps=float(op.get("eps", 1e-5)), affine=arrays["weight"] is not None)
    return op.leaf(leaf, **arrays)


def native(build: Builder) -> Builder:
    """An operator of core ATen that also gives statistics or indices, which a model that only runs does not read."""
    return lambda op: [build(op)]  # pyright: ignore[reportReturnType]


def layer_norm(op: AtenOperator) -> fx.Node:
    """Layer norm over the last dimensions."""
    size, weight, bias = list(op.get("normalized_shape")), op.array("weight"), op.array("bias")
    leaf = nn.LayerNorm(size, float(op.get("eps", 1e-5)), elementwise_affine=weight is not None, bias=bias is not None)
    return op.leaf(leaf, weight=weight, bias=bias)


def group_norm(op: AtenOperator) -> fx.Node:
    """Group norm."""
    weight, bias = op.array("weight"), op.array("bias")
    channels = op.assembly.shape(op.x)[1]
    leaf = nn.GroupNorm(
        int(op.get("num_groups", op.get("group"))), channels, float(op.get("eps", 1e-5)), affine=weight is not None
    )
    return op.leaf(leaf, weight=weight, bias=bias)


def attention(op: AtenOperator) -> fx.Node:
    """Scaled dot-product attention."""
    if op.get("dropout_p", 0.0) or op.get("is_causal", False) or op.get("enable_gqa", False):
        raise op.unsupported("that is causal or drops")
    more: dict[str, Any] = {}
    if op.arguments.get("attn_mask") is not None:
        more["attn_mask"] = op.node("attn_mask")
    if op.get("scale") is not None:
        more["scale"] = float(op.get("scale"))
    return op.call(F.scaled_dot_product_attention, op.node("query"), op.node("key"), op.node("value"), **more)


def _linear(op: AtenOperator, weight: np.ndarray, bias: np.ndarray | None) -> fx.Node:
    with torch.device("meta"):
        leaf = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    return op.leaf(leaf, weight=weight, bias=bias)


def _with(op: AtenOperator, arguments: dict[str, Any]) -> AtenOperator:
    return AtenOperator(target=op.target, arguments=arguments, assembly=op.assembly, name=op.name, key=op.key)


LAYERS: dict[str, Builder] = {
    **dict.fromkeys(("conv1d.default", "conv2d.default", "convolution.default"), conv),
    "conv_transpose2d.input": conv_transpose,
    "linear.default": linear,
    "addmm.default": addmm,
    **dict.fromkeys(("matmul.default", "mm.default", "bmm.default"), matmul),
    "batch_norm.default": batch_norm,
    "_native_batch_norm_legit_no_training.default": native(batch_norm),
    "layer_norm.default": layer_norm,
    "native_layer_norm.default": native(layer_norm),
    "group_norm.default": group_norm,
    "native_group_norm.default": native(group_norm),
    "scaled_dot_product_attention.default": attention,
}
