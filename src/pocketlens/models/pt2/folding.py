"""Work out what does not depend on the image: arithmetic on sizes, and tensors that the program computes once."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pocketlens.errors import ModelError, UnsupportedModelError
from pocketlens.models.assembly import Known

LARGEST = 2**27
"""Elements of a folded tensor: a small file may ask for any number of them."""

SIZES: dict[str, Callable[..., Any]] = {
    "_operator.add": operator.add, "_operator.sub": operator.sub, "_operator.mul": operator.mul,
    "_operator.floordiv": operator.floordiv, "_operator.truediv": operator.truediv, "_operator.neg": operator.neg,
    "_operator.mod": operator.mod, "_operator.eq": operator.eq, "_operator.ge": operator.ge,
    "_operator.le": operator.le,
    "_operator.gt": operator.gt, "_operator.lt": operator.lt, "_operator.and_": operator.and_,
}  # fmt: skip
"""Arithmetic on sizes."""

FOLDED = frozenset(
    {
        *("index.Tensor", "view.default", "reshape.default", "permute.default", "transpose.int", "t.default"),
        *("unsqueeze.default", "squeeze.dim", "expand.default", "slice.Tensor", "select.int", "contiguous.default"),
        *("clone.default", "cat.default", "stack.default", "flatten.using_ints", "add.Tensor", "sub.Tensor"),
        *(
            "mul.Tensor",
            "div.Tensor",
            "neg.default",
            "sigmoid.default",
            "tanh.default",
            "exp.default",
            "sum.dim_IntList",
        ),
        *("mean.dim", "arange.default", "arange.start_step", "zeros.default", "ones.default", "full.default"),
        *("lift_fresh_copy.default", "detach.default", "softmax.int", "split.Tensor", "alias.default"),
        *("full_like.default", "zeros_like.default", "ones_like.default", "scalar_tensor.default"),
    }
)
"""ATen operators that are run on constants; none of them draws random numbers or reads anything but its arguments."""


def fold(target: str, arguments: dict[str, Any]) -> list[Known]:
    """The outputs of a node whose arguments are all known.

    Args:
        target: for example "aten.add.Tensor" or "_operator.mul".
        arguments: Known or plain Python, by name.
    Raises: UnsupportedModelError for an operator that is not folded; ModelError for one that asks for too much memory.
    """
    if target in SIZES:
        sides = [SIZES[target](*(_side(a, n) for a in arguments.values())) for n in (0, 1)]
        return [Known(np.array(sides[0]), np.array(sides[1]))]
    name = target.removeprefix("aten.")
    if name not in FOLDED:
        raise UnsupportedModelError(f"{target} of constants cannot be worked out; compute it in the model's __init__")
    packet, overload = name.split(".")
    compute = getattr(getattr(torch.ops.aten, packet), overload)
    first, second = (_run(compute, target, {k: _side(v, n) for k, v in arguments.items()}) for n in (0, 1))
    return [Known(a, b) for a, b in zip(first, second, strict=True)]


def _run(compute: Any, target: str, arguments: dict[str, Any]) -> list[np.ndarray]:
    """Run on the meta device first, to see how much it would give."""
    arguments = {k: v for k, v in arguments.items() if k not in ("device", "layout", "memory_format", "pin_memory")}
    takes_device = any(a.name == "device" for a in compute._schema.arguments)
    planned = compute(**_meta(arguments), **({"device": "meta"} if takes_device else {}))
    planned = planned if isinstance(planned, list | tuple) else [planned]
    if sum(tensor.numel() for tensor in planned) > LARGEST:
        raise ModelError(f"{target} asks for more than {LARGEST:,} numbers; no model for a phone holds them")
    found = compute(**arguments)
    return [t.contiguous().numpy() for t in (found if isinstance(found, list | tuple) else [found])]


def _meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to("meta")
    if isinstance(value, dict):
        return {k: _meta(v) for k, v in value.items()}
    return [_meta(v) for v in value] if isinstance(value, list) else value


def _side(value: Any, side: int) -> Any:
    """What torch takes: tensors, and plain numbers for sizes."""
    if isinstance(value, list):
        return [_side(v, side) for v in value]
    if isinstance(value, Known):
        array = value.second if side else value.first
        return array.item() if array.ndim == 0 and array.dtype.kind in "iub" else torch.from_numpy(array)
    return value
