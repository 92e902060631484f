"""The vocabulary of the canonical graph: every leaf and function that passes and targets can meet.

| kind | leaf or function |
| --- | --- |
| `input` `output` `tensor` | the placeholder, the output, a stored parameter or buffer |
| `conv` `conv_transpose` `linear` `embedding` | Conv1d, Conv2d, ConvTranspose2d, Linear, Embedding |
| `batchnorm` `layernorm` `groupnorm` | BatchNorm1d, BatchNorm2d, LayerNorm and F.layer_norm, GroupNorm |
| `relu` `relu6` `silu` `hardswish` `hardsigmoid` `sigmoid` `tanh` | activations: the leaf of that name |
| `gelu` `mish` `elu` `leaky_relu` `prelu` `softmax` | activations: the leaf of that name |
| `max_pool` `avg_pool` | MaxPool2d, AvgPool2d and F.avg_pool2d |
| `global_avg_pool` `global_max_pool` | AdaptiveAvgPool2d, AdaptiveMaxPool2d to 1 x 1; mean over height and width |
| `adaptive_avg_pool` `adaptive_max_pool` | the same leaves to any other size |
| `pad` `pad_function` | ZeroPad2d; F.pad of other dimensions or values |
| `resize` | Upsample, F.interpolate |
| `quantize` `cast` | QuantizeDequantize, Cast |
| `add` `sub` `mul` `div` `pow` `neg` `matmul` | the operators |
| `sqrt` `rsqrt` `exp` `clamp` `mean` `sum` `amax` `normalize` | the torch functions |
| `attention` `linear_function` | F.scaled_dot_product_attention; F.linear, whose weight is a `tensor` |
| `cat` `stack` `chunk` `split` `unbind` `getitem` | joining and taking apart |
| `flatten` `reshape` `permute` `squeeze` `unsqueeze` `roll` | shape; `permute` is also torch.transpose |
| `expand` `size` | methods, see METHODS |

Quantized layers have the kind of the layer that they replace.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from pocketlens.ops.half import Cast
from pocketlens.ops.quantized import (
    QuantizedConv2d,
    QuantizedConvTranspose2d,
    QuantizeDequantize,
    QuantizedLinear,
)


@dataclass(frozen=True)
class Leaf:
    """A module class that may stand in a canonical graph.

    Args:
        kind: its operator kind.
        fields: attributes that its constructor takes under the same name; "bias" means whether there is one.
    """

    kind: str
    fields: tuple[str, ...] = ()


_CONV = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias")
_NORM = ("num_features", "eps", "momentum", "affine", "track_running_stats")

LEAVES: dict[type[nn.Module], Leaf] = {
    nn.Conv1d: Leaf("conv", _CONV),
    nn.Conv2d: Leaf("conv", _CONV),
    nn.ConvTranspose2d: Leaf("conv_transpose", (*_CONV, "output_padding")),
    nn.Linear: Leaf("linear", ("in_features", "out_features", "bias")),
    nn.BatchNorm1d: Leaf("batchnorm", _NORM),
    nn.BatchNorm2d: Leaf("batchnorm", _NORM),
    nn.LayerNorm: Leaf("layernorm", ("normalized_shape", "eps", "elementwise_affine", "bias")),
    nn.GroupNorm: Leaf("groupnorm", ("num_groups", "num_channels", "eps", "affine")),
    nn.Embedding: Leaf("embedding", ("num_embeddings", "embedding_dim")),
    nn.ReLU: Leaf("relu"),
    nn.ReLU6: Leaf("relu6"),
    nn.SiLU: Leaf("silu"),
    nn.Hardswish: Leaf("hardswish"),
    nn.Hardsigmoid: Leaf("hardsigmoid"),
    nn.Sigmoid: Leaf("sigmoid"),
    nn.Tanh: Leaf("tanh"),
    nn.GELU: Leaf("gelu", ("approximate",)),
    nn.Mish: Leaf("mish"),
    nn.ELU: Leaf("elu", ("alpha",)),
    nn.LeakyReLU: Leaf("leaky_relu", ("negative_slope",)),
    nn.PReLU: Leaf("prelu", ("num_parameters",)),
    nn.Softmax: Leaf("softmax", ("dim",)),
    nn.MaxPool2d: Leaf("max_pool", ("kernel_size", "stride", "padding", "dilation", "ceil_mode")),
    nn.AvgPool2d: Leaf(
        "avg_pool", ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    ),
    nn.AdaptiveAvgPool2d: Leaf("global_avg_pool", ("output_size",)),
    nn.AdaptiveMaxPool2d: Leaf("global_max_pool", ("output_size",)),
    nn.Flatten: Leaf("flatten", ("start_dim", "end_dim")),
    nn.ZeroPad2d: Leaf("pad", ("padding",)),
    nn.Upsample: Leaf("resize", ("size", "scale_factor", "mode", "align_corners")),
    QuantizeDequantize: Leaf("quantize", ("qmin", "qmax", "storage")),
    QuantizedConv2d: Leaf("conv", ("storage", "stride", "padding", "dilation", "groups", "codebook")),
    QuantizedConvTranspose2d: Leaf(
        "conv_transpose", ("storage", "stride", "padding", "output_padding", "dilation", "groups", "codebook")
    ),
    QuantizedLinear: Leaf("linear", ("storage", "codebook")),
    Cast: Leaf("cast", ("dtype",)),
}

FUNCTIONS: dict[Callable[..., Any], str] = {
    operator.add: "add",
    operator.sub: "sub",
    operator.mul: "mul",
    operator.truediv: "div",
    operator.pow: "pow",
    operator.neg: "neg",
    operator.matmul: "matmul",
    operator.getitem: "getitem",
    torch.cat: "cat",
    torch.stack: "stack",
    torch.flatten: "flatten",
    torch.reshape: "reshape",
    torch.permute: "permute",
    torch.transpose: "permute",
    torch.squeeze: "squeeze",
    torch.unsqueeze: "unsqueeze",
    torch.chunk: "chunk",
    torch.split: "split",
    torch.unbind: "unbind",
    torch.mean: "mean",
    torch.sum: "sum",
    torch.amax: "amax",
    torch.sqrt: "sqrt",
    torch.rsqrt: "rsqrt",
    torch.exp: "exp",
    torch.clamp: "clamp",
    torch.roll: "roll",
    F.layer_norm: "layernorm",
    F.linear: "linear_function",
    F.normalize: "normalize",
    F.interpolate: "resize",
    F.avg_pool2d: "avg_pool",
    F.pad: "pad_function",
    F.scaled_dot_product_attention: "attention",
}

_ADAPTIVE = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)

METHODS: dict[str, str] = {"expand": "expand", "size": "size"}
"""Tensor methods that stay methods: they name a batch size that is only known when the graph runs."""

FUNCTION_NAMES: dict[str, Callable[..., Any]] = {f"{f.__module__}.{f.__name__}": f for f in FUNCTIONS}
"""What the store writes -> the function."""

LEAF_NAMES: dict[str, type[nn.Module]] = {leaf.__name__: leaf for leaf in LEAVES}
"""What the store writes -> the class."""


def function_name(function: Callable[..., Any]) -> str:
    """The name under which the store writes a function of the vocabulary."""
    return f"{function.__module__}.{function.__name__}"


def kind(graph: fx.GraphModule, node: fx.Node) -> str:
    """The operator kind of a node, "other" for what is no part of the vocabulary."""
    if node.op == "placeholder":
        return "input"
    if node.op == "output":
        return "output"
    if node.op == "get_attr":
        return "tensor"
    if node.op == "call_module":
        module = graph.get_submodule(str(node.target))
        leaf = LEAVES.get(type(module))
        if leaf is None:
            return "other"
        if isinstance(module, _ADAPTIVE) and module.output_size not in (1, (1, 1)):
            return leaf.kind.replace("global", "adaptive")
        return leaf.kind
    if node.op == "call_method":
        return METHODS.get(str(node.target), "other")
    found = FUNCTIONS.get(node.target, "other") if callable(node.target) else "other"
    if found == "mean" and len(node.args) > 1 and _spatial(node.args[1]):
        return "global_avg_pool"
    return found


def _spatial(dims: Any) -> bool:
    return isinstance(dims, tuple | list) and set(dims) in ({2, 3}, {-1, -2})
