"""The leaves that a quantized canonical graph is made of.

`QuantizeDequantize` sits on activations. `QuantizedConv2d`, `QuantizedConvTranspose2d` and `QuantizedLinear` hold
integer codes and compute in float on their dequantized values, so the simulation is what the exported file computes.
"""

from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketlens.errors import ModelError
from pocketlens.ops import affine


class QuantizeDequantize(nn.Module):
    """Rounds an activation onto the integer grid of a scheme, per tensor.

    Args:
        scale: (), float32.
        zero_point: (), int32.
        qmin: smallest integer, inclusive.
        qmax: largest integer, inclusive.
        storage: dtype in the file, "uint8" or "int8".
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(
        self, scale: Tensor, zero_point: Tensor, qmin: int, qmax: int, storage: Literal["uint8", "int8"]
    ) -> None:
        super().__init__()
        self.qmin, self.qmax, self.storage = qmin, qmax, storage
        self.register_buffer("scale", scale.detach().clone().float().reshape(()))
        self.register_buffer("zero_point", zero_point.detach().clone().to(torch.int32).reshape(()))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, float32 -> the same shape, on the grid."""
        return affine.quantize_dequantize(x, self.scale, self.zero_point, self.qmin, self.qmax)


class _Coded(nn.Module):
    """What the quantized layers share: centred int8 codes, their scale, and a bias.

    Args:
        codes: the weight's shape, int8, centred (zero point 0).
        weight_scale: () or (channels along `axis`,), float32.
        bias: (out,), float32, or None.
        storage: dtype of the weight in the file; "uint8" stores codes + 128 at zero point 128.
        codebook: of clustered codes, numbers an entry (1, 2 or 4) and output channels that share a book, 0 where all
            layers with such entries share one. The entries themselves can be read off the codes.
    """

    axis = 0
    codes: Tensor
    weight_scale: Tensor

    def __init__(
        self,
        codes: Tensor,
        weight_scale: Tensor,
        bias: Tensor | None,
        storage: Literal["uint8", "int8"],
        codebook: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        if codebook is not None and (codebook[0] not in (1, 2, 4) or codebook[1] < 0):
            raise ModelError(f"a codebook has entries of 1, 2 or 4 numbers for 0 or more channels, got {codebook}")
        self.codebook = codebook
        self.storage: Literal["uint8", "int8"] = storage
        self.register_buffer("codes", codes.detach().clone().to(torch.int8))
        self.register_buffer("weight_scale", weight_scale.detach().clone().float())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone().float(), requires_grad=False)

    @property
    def weight(self) -> Tensor:
        """The dequantized weight, float32."""
        return affine.dequantize(self.codes, self.weight_scale, self.axis)


class QuantizedConv2d(_Coded):
    """Conv2d on integer codes; `weight_scale` is () or (out,). Geometry as in torch.nn.Conv2d."""

    def __init__(
        self,
        codes: Tensor,
        weight_scale: Tensor,
        bias: Tensor | None,
        storage: Literal["uint8", "int8"],
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int] = (0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        codebook: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(codes, weight_scale, bias, storage, codebook)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    @classmethod
    def of(cls, conv: nn.Conv2d, codes: Tensor, weight_scale: Tensor, storage: Literal["uint8", "int8"]) -> Self:
        """The same convolution on `codes`."""
        geometry = (conv.stride, conv.padding, conv.dilation, conv.groups)
        return cls(codes, weight_scale, conv.bias, storage, *geometry)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        """(n, in, h, w) -> (n, out, h', w')."""
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class QuantizedConvTranspose2d(_Coded):
    """ConvTranspose2d on integer codes; per tensor, or per input channel is not possible: `weight_scale` is ()."""

    def __init__(
        self,
        codes: Tensor,
        weight_scale: Tensor,
        bias: Tensor | None,
        storage: Literal["uint8", "int8"],
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int] = (0, 0),
        output_padding: tuple[int, int] = (0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        codebook: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(codes, weight_scale, bias, storage, codebook)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.output_padding = output_padding

    @classmethod
    def of(
        cls, conv: nn.ConvTranspose2d, codes: Tensor, weight_scale: Tensor, storage: Literal["uint8", "int8"]
    ) -> Self:
        """The same convolution on `codes`."""
        geometry = (conv.stride, conv.padding, conv.output_padding, conv.dilation, conv.groups)
        return cls(codes, weight_scale, conv.bias, storage, *geometry)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        """(n, in, h, w) -> (n, out, h', w')."""
        return F.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class QuantizedLinear(_Coded):
    """Linear on integer codes; codes (out, in), `weight_scale` () or (out,)."""

    @classmethod
    def of(cls, linear: nn.Linear, codes: Tensor, weight_scale: Tensor, storage: Literal["uint8", "int8"]) -> Self:
        """The same layer on `codes`."""
        return cls(codes, weight_scale, linear.bias, storage)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return F.linear(x, self.weight, self.bias)
