"""What an ONNX layer pads, in numbers: SAME and VALID are worked out for the size that comes in."""

import math
from collections.abc import Sequence

from pocketlens.models.onnx.operator import Operator


def explicit(op: Operator, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """The padding of a convolution or pool.

    Args:
        op: the node, with `pads` or `auto_pad`.
        kernel: one number a spatial dimension, as are the next two.
        stride: see kernel.
        dilation: see kernel.
    Returns: as ONNX writes pads: all beginnings, then all ends.
    """
    auto = op.get("auto_pad", b"NOTSET").decode()
    rank = len(kernel)
    if auto in ("NOTSET", ""):
        pads = [int(v) for v in op.get("pads", [0] * (2 * rank))]
        if len(pads) != 2 * rank or min(pads) < 0:
            raise op.unsupported(f"with pads={pads}")
        return pads
    if auto == "VALID":
        return [0] * (2 * rank)
    sides = []
    for size, k, s, d in zip(op.assembly.shape(op.x)[2:], kernel, stride, dilation, strict=True):
        total = max((math.ceil(size / s) - 1) * s + (k - 1) * d + 1 - size, 0)
        sides.append(same_sides(total, lower=auto == "SAME_LOWER"))
    return [begin for begin, _ in sides] + [end for _, end in sides]


def same_sides(total: int, *, lower: bool) -> tuple[int, int]:
    """Padding shared out to beginning and end; the odd pixel goes to the beginning when `lower`."""
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)
