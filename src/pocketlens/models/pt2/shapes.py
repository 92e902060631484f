"""Shape, order, joining and taking apart; pools, padding and resizing."""

import math
import operator

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional as F

from pocketlens.models.assembly import BATCHES, Known, Value
from pocketlens.models.pt2.layers import native
from pocketlens.models.pt2.operator import AtenOperator, Builder


def reshape(op: AtenOperator) -> fx.Node:
    """view, reshape."""
    return op.assembly.reshape(op.name, op.x, *op.sizes("shape" if "shape" in op.arguments else "size"))


def reshape_as(op: AtenOperator) -> fx.Node:
    """The shape of another tensor."""
    first, second = op.assembly.shapes(op.node("other"))
    return op.assembly.reshape(op.name, op.x, first, second)


def flatten(op: AtenOperator) -> fx.Node:
    """Flatten from one dimension to another."""
    rank = op.assembly.rank(op.x)
    start, end = int(op.get("start_dim", 0)) % rank, int(op.get("end_dim", -1)) % rank
    targets = [[*s[:start], math.prod(s[start : end + 1]), *s[end + 1 :]] for s in op.assembly.shapes(op.x)]
    return op.assembly.reshape(op.name, op.x, *targets)


def unflatten(op: AtenOperator) -> fx.Node:
    """One dimension as several."""
    dim, sizes = op.dim("dim", 0), op.sizes("sizes")
    targets = [[*s[:dim], *part, *s[dim + 1 :]] for s, part in zip(op.assembly.shapes(op.x), sizes, strict=True)]
    return op.assembly.reshape(op.name, op.x, *targets)


def permute(op: AtenOperator) -> fx.Node:
    """Permute."""
    return op.call(torch.permute, op.x, tuple(int(d) for d in op.get("dims")))


def transpose(op: AtenOperator) -> fx.Node:
    """Two dimensions change places."""
    return op.call(torch.transpose, op.x, op.dim("dim0", 0), op.dim("dim1", 1))


def squeeze(op: AtenOperator) -> fx.Node:
    """Drop sides of length 1."""
    shape, asked = op.assembly.shape(op.x), op.get("dim")
    dims = range(1, len(shape)) if asked is None else [asked] if isinstance(asked, int) else asked
    x = op.x
    for dim in sorted((int(d) % len(shape) for d in dims), reverse=True):
        x = op.call(torch.squeeze, x, dim) if shape[dim] == 1 else x
    return x


def unsqueeze(op: AtenOperator) -> fx.Node:
    """Add a side of length 1."""
    return op.call(torch.unsqueeze, op.x, int(op.get("dim")))


def cat(op: AtenOperator) -> fx.Node:
    """Cat."""
    parts = op.arguments["tensors"]
    rank = next(op.assembly.rank(part) for part in parts if isinstance(part, fx.Node))
    return op.assembly.cat(op.name, parts, int(op.get("dim", 0)) % rank)


def stack(op: AtenOperator) -> fx.Node:
    """Stack."""
    parts = [op.assembly.node(op.name, part) for part in op.arguments["tensors"]]
    return op.call(torch.stack, parts, int(op.get("dim", 0)))


def split(op: AtenOperator) -> list[fx.Node]:
    """split, split_with_sizes, chunk, into tensors of given sizes."""
    dim = op.dim("dim", 0)
    size = op.assembly.shape(op.x)[dim]
    asked = op.arguments.get("split_sizes", op.arguments.get("split_size"))
    part = -(-size // int(op.get("chunks"))) if asked is None else asked
    sizes = [min(part, size - i) for i in range(0, size, part)] if isinstance(part, int) else list(part)
    parts = op.call(torch.split, op.x, tuple(int(s) for s in sizes), dim)
    return [op.assembly.item(op.name, parts, i) for i in range(len(sizes))]


def unbind(op: AtenOperator) -> list[fx.Node]:
    """One tensor an entry."""
    dim = op.dim("dim", 0)
    parts = op.call(torch.unbind, op.x, dim)
    return [op.assembly.item(op.name, parts, i) for i in range(op.assembly.shape(op.x)[dim])]


def select(op: AtenOperator) -> fx.Node:
    """One entry of a dimension."""
    dim = op.dim("dim", 0)
    if dim == 0 and op.assembly.batched(op.x):
        raise op.unsupported("of some images of a batch")
    return op.call(operator.getitem, op.x, (*(slice(None),) * dim, int(op.get("index"))))


def slice_(op: AtenOperator) -> fx.Node:
    """A run of entries of a dimension."""
    dim = op.dim("dim", 0)
    size = op.assembly.shape(op.x)[dim]
    end = op.arguments.get("end")
    end = None if isinstance(end, Known) or end is None or end >= size else int(end)
    start, step = op.get("start") or None, int(op.get("step", 1))
    if (start, end, step) == (None, None, 1):
        return op.x
    if dim == 0 and op.assembly.batched(op.x):
        raise op.unsupported("of some images of a batch")
    return op.call(operator.getitem, op.x, (*(slice(None),) * dim, slice(start, end, step if step > 1 else None)))


def expand(op: AtenOperator) -> fx.Node:
    """Expand; only the batch may be known first when it runs."""
    first, second = op.sizes("size")
    shapes = op.assembly.shapes(op.x)
    offset = len(first) - len(shapes[0])
    wanted = [
        tuple(s[i - offset] if v == -1 else v for i, v in enumerate(sizes))
        for sizes, s in zip((first, second), shapes, strict=True)
    ]
    if wanted == list(shapes) or (op.assembly.one_image and wanted[0][1:] == shapes[0][1:] and offset == 0):
        return op.x
    if offset == 0 and (wanted[0][0], wanted[1][0]) == BATCHES and wanted[0][1:] == shapes[0][1:]:
        return op.assembly.over_batch(op.name, op.x)
    keeps = op.assembly.batched(op.x)
    ones = np.ones((1, *wanted[0][1:]) if keeps else wanted[0], np.float32)
    return op.call(operator.mul, op.x, op.assembly.tensor(f"{op.name}_ones", ones))


def roll(op: AtenOperator) -> fx.Node:
    """Roll."""
    return op.call(torch.roll, op.x, tuple(op.get("shifts")), tuple(op.get("dims")))


def pad(op: AtenOperator) -> fx.Node:
    """Padding with a constant; zeros around an image are a ZeroPad2d."""
    if op.get("mode", "constant") != "constant":
        raise op.unsupported(f"in the mode {op.get('mode')}")
    sides, value = [int(v) for v in op.get("pad")], float(op.get("value") or 0.0)
    if not any(sides):
        return op.x
    if value == 0 and len(sides) == 4 and op.assembly.rank(op.x) == 4:
        left, right, top, bottom = sides
        return op.leaf(nn.ZeroPad2d((left, right, top, bottom)))
    return op.call(F.pad, op.x, tuple(sides), "constant", value)


def max_pool(op: AtenOperator) -> fx.Node:
    """max_pool2d."""
    kernel = op.pair("kernel_size", None)
    window = (kernel, op.pair("stride", kernel), op.pair("padding", 0), op.pair("dilation", 1))
    return op.leaf(nn.MaxPool2d(*window, ceil_mode=bool(op.get("ceil_mode", False))))


def avg_pool(op: AtenOperator) -> fx.Node:
    """avg_pool2d."""
    kernel = op.pair("kernel_size", None)
    ceil, counts = bool(op.get("ceil_mode", False)), bool(op.get("count_include_pad", True))
    window = (kernel, op.pair("stride", kernel), op.pair("padding", 0))
    return op.leaf(nn.AvgPool2d(*window, ceil, counts, op.get("divisor_override")))


def adaptive_avg_pool(op: AtenOperator) -> fx.Node:
    """adaptive_avg_pool2d."""
    return op.leaf(nn.AdaptiveAvgPool2d(op.pair("output_size", None)))


def adaptive_max_pool(op: AtenOperator) -> Value:
    """adaptive_max_pool2d."""
    return op.leaf(nn.AdaptiveMaxPool2d(op.pair("output_size", None)))


def resize(op: AtenOperator) -> fx.Node:
    """upsample_nearest2d, bilinear and bicubic."""
    mode = op.target.removeprefix("aten.upsample_").split("2d")[0]
    corners = None if mode == "nearest" else bool(op.get("align_corners", False))
    source, size, factors = op.assembly.shape(op.x)[2:], op.get("output_size"), op.get("scale_factors")
    if size is not None and all(t % s == 0 for t, s in zip(size, source, strict=True)):
        factors = [t / s for t, s in zip(size, source, strict=True)]
    if factors is not None:
        return op.leaf(nn.Upsample(scale_factor=tuple(float(f) for f in factors), mode=mode, align_corners=corners))
    return op.leaf(nn.Upsample(size=tuple(op.get("output_size", ())), mode=mode, align_corners=corners))


def size_of(op: AtenOperator) -> Value:
    """The length of a side, known at both batch sizes."""
    dim = op.dim("dim", 0)
    first, second = (np.array(shape[dim]) for shape in op.assembly.shapes(op.x))
    return Known(first, second)


def cast(op: AtenOperator) -> Value:
    """A cast to float32, the type that all is in."""
    if op.get("dtype") not in (None, torch.float32):
        raise op.unsupported(f"to {op.get('dtype')}")
    return op.x


def same(op: AtenOperator) -> Value:
    """What changes no value when a model only runs."""
    return op.x


SHAPES: dict[str, Builder] = {
    **dict.fromkeys(("view.default", "reshape.default", "_unsafe_view.default"), reshape),
    **dict.fromkeys(("reshape_as.default", "view_as.default"), reshape_as),
    "flatten.using_ints": flatten,
    "unflatten.int": unflatten,
    "permute.default": permute,
    "transpose.int": transpose,
    **dict.fromkeys(("squeeze.dim", "squeeze.dims", "squeeze.default"), squeeze),
    "unsqueeze.default": unsqueeze,
    "cat.default": cat,
    "stack.default": stack,
    **dict.fromkeys(("split.Tensor", "split_with_sizes.default", "chunk.default"), split),
    "unbind.int": unbind,
    "select.int": select,
    "slice.Tensor": slice_,
    "expand.default": expand,
    "roll.default": roll,
    **dict.fromkeys(("pad.default", "constant_pad_nd.default"), pad),
    "max_pool2d.default": max_pool,
    "max_pool2d_with_indices.default": native(max_pool),
    "avg_pool2d.default": avg_pool,
    **dict.fromkeys(("adaptive_avg_pool2d.default", "_adaptive_avg_pool2d.default"), adaptive_avg_pool),
    "adaptive_max_pool2d.default": adaptive_max_pool,
    **dict.fromkeys(("upsample_nearest2d.vec", "upsample_bilinear2d.vec", "upsample_bicubic2d.vec"), resize),
    "sym_size.int": size_of,
    **dict.fromkeys(("_to_copy.default", "to.dtype"), cast),
    **dict.fromkeys(("dropout.default", "contiguous.default", "clone.default", "alias.default"), same),
    **dict.fromkeys(("detach.default", "feature_dropout.default", "lift_fresh_copy.default"), same),
}
