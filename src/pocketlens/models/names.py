"""Names in a canonical graph: one plain identifier for each layer and tensor."""

import itertools
import keyword
import re

from torch import nn

_RESERVED = {"graph", "code", "self"}
"""What a GraphModule and the code that fx generates for it use themselves."""


def identifier(path: str) -> str:
    """A path of the original as one attribute name: "_blocks.1._expand_conv" -> "blocks_1_expand_conv"."""
    name = re.sub(r"\W|__+", "_", path.replace(".", "_"), flags=re.ASCII).strip("_")
    name = re.sub(r"__+", "_", name) or "tensor"
    return f"m_{name}" if name[0].isdigit() or keyword.iskeyword(name) or name in _RESERVED else name


def free_name(root: nn.Module, base: str) -> str:
    """`base`, or `base_2` and so on where `root` has it: "a.b" and "a_b" are two tensors."""
    names = (base if count == 1 else f"{base}_{count}" for count in itertools.count(1))
    return next(name for name in names if not hasattr(root, name))
