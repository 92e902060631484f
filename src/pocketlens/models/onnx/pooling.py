"""Pools, padding and resizing."""

from typing import Any

import numpy as np
from torch import fx, nn
from torch.nn import functional as F

from pocketlens.models.onnx.operator import Builder, Operator
from pocketlens.models.onnx.padding import explicit

_NEVER_NEGATIVE = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid, nn.Softmax)


def max_pool(op: Operator) -> fx.Node:
    """MaxPool; lopsided padding is a padding of its own before it."""
    if any(op.proto.output[1:]):
        raise op.unsupported("that also gives the places of its maxima")
    op.only("storage_order", 0)
    kernel, stride, dilation = _window(op)
    pads = explicit(op, kernel, stride, dilation)
    ceil = bool(op.get("ceil_mode", 0))
    begin, end = pads[:2], pads[2:]
    if begin == end:
        return op.leaf(nn.MaxPool2d(kernel, stride, tuple(begin), dilation, ceil_mode=ceil))
    padding = (begin[1], end[1], begin[0], end[0])
    if _never_negative(op, op.x):
        padded = op.assembly.leaf(f"{op.name}_pad", nn.ZeroPad2d(padding), op.x)
    else:
        # Values below all others: minus infinity would be no number to calibrate an integer grid with.
        lowest = float(np.finfo(np.float32).min)
        padded = op.assembly.call(f"{op.name}_pad", F.pad, op.x, padding, "constant", lowest)
    return op.leaf(nn.MaxPool2d(kernel, stride, 0, dilation, ceil_mode=ceil), padded)


def average_pool(op: Operator) -> fx.Node:
    """AveragePool; lopsided padding that counts is a padding of its own before it."""
    op.only("dilations", [1, 1])
    kernel, stride, dilation = _window(op)
    pads = explicit(op, kernel, stride, dilation)
    ceil, counts = bool(op.get("ceil_mode", 0)), bool(op.get("count_include_pad", 0))
    begin, end = pads[:2], pads[2:]
    if begin == end:
        padding = (begin[0], begin[1])
        return op.leaf(nn.AvgPool2d(kernel, stride, padding, ceil_mode=ceil, count_include_pad=counts))
    if not counts:
        raise op.unsupported(f"with lopsided padding {pads} that does not count")
    padded = op.assembly.leaf(f"{op.name}_pad", nn.ZeroPad2d((begin[1], end[1], begin[0], end[0])), op.x)
    return op.leaf(nn.AvgPool2d(kernel, stride, ceil_mode=ceil), padded)


def global_average(op: Operator) -> fx.Node:
    """GlobalAveragePool of an image."""
    _image(op)
    return op.leaf(nn.AdaptiveAvgPool2d(1))


def global_max(op: Operator) -> fx.Node:
    """GlobalMaxPool of an image."""
    _image(op)
    return op.leaf(nn.AdaptiveMaxPool2d(1))


def pad(op: Operator) -> fx.Node:
    """Pad with a constant; zeros around an image become a ZeroPad2d."""
    op.only("mode", b"constant")
    pads = op.numbers("pads", 1, "pads") or []
    value = op.optional_constant(2, "value")
    number = float(op.get("value", 0.0)) if value is None else float(value.reshape(-1)[0])
    rank = op.assembly.rank(op.x)
    axes = op.numbers("axes", 3, "axes") or list(range(rank))
    begin, end = [0] * rank, [0] * rank
    for axis, low, high in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        begin[axis], end[axis] = low, high
    if begin[0] or end[0]:
        raise op.unsupported("of the batch")
    sides = [side for axis in reversed(range(1, rank)) for side in (begin[axis], end[axis])]
    while sides and sides[-2:] == [0, 0]:
        sides = sides[:-2]
    if not sides:
        return op.x
    if number == 0 and rank == 4 and len(sides) <= 4:
        left, right, top, bottom = [*sides, 0, 0][:4]
        return op.leaf(nn.ZeroPad2d((left, right, top, bottom)))
    return op.call(F.pad, op.x, tuple(sides), "constant", number)


def resize(op: Operator) -> fx.Node:
    """Resize or Upsample of an image -> nn.Upsample, where torch computes the same."""
    _image(op)
    old = op.kind == "Upsample" or op.opset < 11
    source = op.assembly.shape(op.x)[2:]
    sizes = None if old else _last_two(op, op.optional_constant(3, "sizes"))
    scales = _last_two(op, op.optional_constant(1 if old else 2, "scales")) if sizes is None else None
    if sizes is not None:
        target = [int(v) for v in sizes]
    elif scales is not None:
        target = [int(np.floor(s * v)) for s, v in zip(source, scales, strict=True)]
    else:
        raise op.unsupported("without sizes and scales")
    if tuple(target) == source:
        return op.x
    mode = op.get("mode", b"nearest").decode()
    where = "asymmetric" if old else op.get("coordinate_transformation_mode", b"half_pixel").decode()
    whole = all(t % s == 0 for t, s in zip(target, source, strict=True))
    arguments = _torch_mode(op, mode, where, whole)
    op.only("antialias", 0)
    op.only("exclude_outside", 0)
    op.only("keep_aspect_ratio_policy", b"stretch")
    factors = tuple(t / s for t, s in zip(target, source, strict=True))
    if whole or (scales and tuple(scales) == factors):
        # A factor follows when the model is given another input size.
        return op.leaf(nn.Upsample(scale_factor=factors, **arguments))
    if scales and where != "align_corners":
        raise op.unsupported(f"by {scales}, which gives no whole size,")
    return op.leaf(nn.Upsample(size=tuple(target), **arguments))


def _torch_mode(op: Operator, mode: str, where: str, whole: bool) -> dict[str, Any]:
    """The arguments of nn.Upsample that sample at the same places."""
    if mode == "nearest":
        rounding = op.get("nearest_mode", b"round_prefer_floor").decode()
        if where == "asymmetric" and (rounding == "floor" or op.opset < 11 or op.kind == "Upsample"):
            return {"mode": "nearest"}
        # Enlarged by a whole factor, the centre of each new pixel falls into the old one.
        if whole and where in ("half_pixel", "pytorch_half_pixel") and rounding.startswith("round"):
            return {"mode": "nearest"}
    elif mode in ("linear", "cubic"):
        name = "bilinear" if mode == "linear" else "bicubic"
        if mode == "cubic" and abs(float(op.get("cubic_coeff_a", -0.75)) + 0.75) > 1e-6:
            raise op.unsupported(f"with cubic_coeff_a={op.get('cubic_coeff_a', -0.75)}")
        if where in ("half_pixel", "pytorch_half_pixel"):
            return {"mode": name, "align_corners": False}
        if where == "align_corners":
            return {"mode": name, "align_corners": True}
    raise op.unsupported(f"({mode}, {where}, {op.get('nearest_mode', b'').decode() or 'no rounding'})")


def _last_two(op: Operator, values: np.ndarray | None) -> list[float] | None:
    """Of sizes or scales of all four dimensions, or of those that `axes` names."""
    if values is None or values.size == 0:
        return None
    numbers = [float(v) for v in values.reshape(-1)]
    if "axes" in op.attributes:
        if [a % 4 for a in op.attributes["axes"]] != [2, 3]:
            raise op.unsupported(f"of axes {list(op.attributes['axes'])}")
        return numbers
    kept = op.assembly.shape(op.x)[1]
    if len(numbers) != 4 or numbers[1] not in (1.0, kept):
        raise op.unsupported("of channels")
    return numbers[2:]


def _window(op: Operator) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    _image(op)
    sides = (op.attributes["kernel_shape"], op.get("strides", [1, 1]), op.get("dilations", [1, 1]))
    kernel, stride, dilation = ((int(a), int(b)) for a, b in sides)
    return kernel, stride, dilation


def _image(op: Operator) -> None:
    if op.assembly.rank(op.x) != 4:
        raise op.unsupported(f"of {op.assembly.rank(op.x) - 2} spatial dimensions")


def _never_negative(op: Operator, node: fx.Node) -> bool:
    return op.assembly.is_leaf(node, _NEVER_NEGATIVE)


POOLING: dict[str, Builder] = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average,
    "GlobalMaxPool": global_max,
    "Pad": pad,
    "Resize": resize,
    "Upsample": resize,
}
