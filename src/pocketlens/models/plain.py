"""After tracing: make subclasses of leaves the plain class, and their hidden padding explicit."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from pocketlens.errors import UnsupportedModelError
from pocketlens.models.vocabulary import LEAVES

_TOLERANCE = 1e-4


def plain_leaf(path: str, module: nn.Module, shape: tuple[int, ...] | None) -> tuple[nn.Module | None, nn.Module]:
    """The vocabulary's form of a traced leaf.

    Args:
        path: of the module, for errors.
        module: as traced.
        shape: of its input, (n, c, h, w).
    Returns: a zero padding to put before it or None, and the plain leaf.
    Raises: UnsupportedModelError naming the module.
    """
    if type(module) in LEAVES:
        if getattr(module, "padding_mode", "zeros") != "zeros":
            raise UnsupportedModelError(
                f"{path} pads with {module.padding_mode}; only zero padding can be expressed: retrain it with zeros"
            )
        if getattr(module, "padding", None) == "same" and isinstance(module, nn.Conv2d) and shape:
            return _same_padded(path, module, shape)
        if isinstance(module, nn.MaxPool2d) and module.return_indices:
            raise UnsupportedModelError(
                f"{path} returns indices of its maxima, which the canonical graph cannot express"
            )
        return None, copy.deepcopy(module).eval()
    if isinstance(module, nn.Conv2d) and shape:
        return _same_padded(path, module, shape)
    for plain in (nn.Linear, nn.BatchNorm2d, nn.BatchNorm1d, nn.GroupNorm, nn.Embedding, nn.Conv1d, nn.ConvTranspose2d):
        if isinstance(module, plain):
            fields = {f: _value(module, f) for f in LEAVES[plain].fields}
            same = plain(**fields)
            same.load_state_dict(module.state_dict(), strict=False)
            return None, same.eval()
    raise UnsupportedModelError(
        f"{path} is a {type(module).__name__}, which the canonical graph cannot express; "
        f"replace it by one of: {', '.join(sorted(leaf.__name__ for leaf in LEAVES))}"
    )


def _value(module: nn.Module, field: str) -> Any:
    return module.bias is not None if field == "bias" else getattr(module, field)


def _same_padded(path: str, module: nn.Conv2d, shape: tuple[int, ...]) -> tuple[nn.Module | None, nn.Module]:
    """A subclass of Conv2d: as it says, or padded as TensorFlow's SAME, whichever computes what the original does."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, *shape[1:], generator=generator)
    with torch.inference_mode():
        wanted = module(x)
    own = module.padding if isinstance(module.padding, tuple) else (0, 0)
    candidates: list[tuple[int, int, int, int]] = [(own[1], own[1], own[0], own[0]), _same(module, shape)]
    for left, right, top, bottom in candidates:
        symmetric = left == right and top == bottom
        conv = _conv(module, (top, left) if symmetric else (0, 0))
        padding = None if symmetric else nn.ZeroPad2d((left, right, top, bottom))
        if _gives(padding, conv, x, wanted):
            return padding, conv
    raise UnsupportedModelError(
        f"{path} is a {type(module).__name__} that computes something else than a zero-padded convolution "
        "(standardised weights?); bake that into its weight first"
    )


def _same(module: nn.Conv2d, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """TensorFlow's SAME: output = ceil(input / stride), the odd pixel at the end. (left, right, top, bottom)."""
    sides = []
    for axis in (1, 0):
        size, kernel = shape[2 + axis], module.kernel_size[axis]
        stride, dilation = tuple(module.stride)[axis], module.dilation[axis]
        total = max((math.ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        sides += [total // 2, total - total // 2]
    return sides[0], sides[1], sides[2], sides[3]


def _conv(module: nn.Conv2d, padding: tuple[int, int]) -> nn.Conv2d:
    conv = nn.Conv2d(
        module.in_channels,
        module.out_channels,
        module.kernel_size,  # pyright: ignore[reportArgumentType]
        tuple(module.stride),  # pyright: ignore[reportArgumentType]
        padding,
        module.dilation,  # pyright: ignore[reportArgumentType]
        module.groups,
        module.bias is not None,
    )
    conv.weight = nn.Parameter(module.weight.detach().clone())
    if module.bias is not None:
        conv.bias = nn.Parameter(module.bias.detach().clone())
    return conv.eval()


def _gives(padding: nn.Module | None, conv: nn.Conv2d, x: Tensor, wanted: Tensor) -> bool:
    with torch.inference_mode():
        got = conv(x if padding is None else padding(x))
    scale = float(wanted.abs().max()) + 1e-6
    return got.shape == wanted.shape and float((got - wanted).abs().max()) <= _TOLERANCE * scale
