"""Affine quantization: real = scale * (q - zero_point).

Weights are held as *centred codes*: signed int8 with zero point 0, whatever the file stores. A scheme that stores
unsigned weights at zero point 128 adds 128 when it lowers; the arithmetic is the same.
"""

import torch
from torch import Tensor

from pocketlens.errors import ConfigError

SMALLEST_SCALE = 1e-8
"""Scales are clamped to this: a dead channel (all zero) would otherwise give scale 0 and NaN."""


@torch.library.custom_op("pocketlens::quantize_dequantize", mutates_args=())
def quantize_dequantize(x: Tensor, scale: Tensor, zero_point: Tensor, qmin: int, qmax: int) -> Tensor:
    """Round onto an integer grid and back: scale * (clamp(round(x / scale) + zero_point) - zero_point).

    Rounds half to even, as ONNX's QuantizeLinear does. Exports to QuantizeLinear + DequantizeLinear.

    Args:
        x: any shape, float32.
        scale: (), float32, > 0.
        zero_point: (), int32, in qmin..qmax.
        qmin: smallest integer, inclusive.
        qmax: largest integer, inclusive.
    Returns: same shape as x, float32.
    Reference: Jacob et al. 2018, arXiv:1712.05877, eq. 1.
    """
    q = torch.clamp(torch.round(x / scale) + zero_point, qmin, qmax)
    return (q - zero_point) * scale


@quantize_dequantize.register_fake
def _(x: Tensor, scale: Tensor, zero_point: Tensor, qmin: int, qmax: int) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("pocketlens::dequantize", mutates_args=())
def dequantize(q: Tensor, scale: Tensor, axis: int) -> Tensor:
    """Centred integer codes to floats: q * scale. Exports to DequantizeLinear on an integer initializer.

    Args:
        q: any shape, int8 (weights) or int32 (biases).
        scale: () or (q.shape[axis],), float32, > 0.
        axis: the dimension that `scale` runs along, when it is a vector.
    Returns: same shape as q, float32.
    """
    return q * along(scale, q.dim(), axis)


@dequantize.register_fake
def _(q: Tensor, scale: Tensor, axis: int) -> Tensor:
    return torch.empty(q.shape, dtype=torch.float32, device=q.device)


def quantize(x: Tensor, scale: Tensor, qmin: int, qmax: int, axis: int = 0) -> Tensor:
    """Floats to centred codes: clamp(round(x / scale), qmin, qmax).

    Args:
        x: weights, (out, in, kh, kw) or (out, in), float32.
        scale: () or (x.shape[axis],), float32, > 0.
        qmin: smallest code, inclusive, at least -128.
        qmax: largest code, inclusive, at most 127.
        axis: the dimension that `scale` runs along, when it is a vector.
    Returns: same shape as x, int8.
    Raises: ConfigError if the range is not within int8.
    """
    if not -128 <= qmin < qmax <= 127:
        raise ConfigError(f"codes must lie within -128..127, got {qmin}..{qmax}")
    return torch.clamp(torch.round(x / along(scale, x.dim(), axis)), qmin, qmax).to(torch.int8)


def along(scale: Tensor, dims: int, axis: int) -> Tensor:
    """A scale, () or a vector, in a shape that multiplies a tensor of `dims` dimensions along `axis`."""
    if scale.dim() == 0:
        return scale
    shape = [1] * dims
    shape[axis] = -1
    return scale.reshape(shape)
