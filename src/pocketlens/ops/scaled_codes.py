"""A layer whose codes stay as they are, while its scale and its bias learn."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketlens.ops import affine
from pocketlens.ops.learned_step import Steps, is_short

Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear


class ScaledCodes(Steps):
    """The layer on scale * codes, and its bias.

    What a scale does to the weights it does to what the layer gives, so its gradient is a sum over that output, and no
    weight needs a gradient.

    Args:
        layer: its weight holds codes; it is taken apart.
        start: () or (channels along the first axis of the codes,), float32, > 0: the scale to begin with.
        unit: of the scale, see Steps.
        learned: whether the scale is.
    """

    bias: nn.Parameter | None
    codes: Tensor

    def __init__(self, layer: Layer, start: Tensor, *, unit: Tensor | None = None, learned: bool) -> None:
        super().__init__(start, unit=unit, short=is_short(start), learned=learned)
        bias = layer.bias
        self.register_parameter("bias", bias if isinstance(bias, nn.Parameter) else None)
        self.register_buffer("codes", layer.weight.detach(), persistent=False)
        layer.register_parameter("bias", None)
        layer.register_parameter("weight", None)
        self.geometry = layer

    def forward(self, x: Tensor) -> Tensor:
        """As the layer's."""
        scale, bias = self.now(), self.bias
        weight = self.codes * affine.along(scale.detach(), self.codes.dim(), 0)
        y = _apply(self.geometry, x, weight, None if bias is None else bias.detach())
        learned = _Learned.apply(y, scale, bias, y.dim() - 1 if isinstance(self.geometry, nn.Linear) else 1)
        assert isinstance(learned, Tensor)
        return learned


class _Learned(torch.autograd.Function):
    """What was computed with scale and bias as constants, with their gradients.

    The bias is here too, since oneDNN finds the gradient of a convolution's bias together with that of its weight
    (torch 2.14).
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, scale: Tensor, bias: Tensor | None, channels: int) -> Tensor:
        ctx.save_for_backward(y, scale, bias)
        ctx.others = tuple(d for d in range(y.dim()) if d != channels)
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        y, scale, bias = ctx.saved_tensors
        own = None
        total = gradient.sum(ctx.others, dtype=torch.float32)
        if ctx.needs_input_grad[1]:
            own = (gradient * y).sum(ctx.others, dtype=torch.float32)
            own = (own if bias is None else own - bias * total).sum_to_size(scale.shape) / scale
        return gradient, own, total if ctx.needs_input_grad[2] else None, None


def _apply(layer: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, bias)
    common = (layer.stride, layer.padding)
    if isinstance(layer, nn.ConvTranspose2d):
        return F.conv_transpose2d(x, weight, bias, *common, layer.output_padding, layer.groups, layer.dilation)
    return F.conv2d(x, weight, bias, *common, layer.dilation, layer.groups)
