"""Arguments of a node, from the tagged values of the JSON."""

from collections.abc import Callable
from typing import Any

import torch

_SCALARS = ("as_int", "as_float", "as_bool", "as_string")
_LISTS = ("as_ints", "as_floats", "as_bools", "as_strings")
_DTYPES = {1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 7: torch.float32,
           8: torch.float64, 12: torch.bool}  # fmt: skip


def decode(arg: dict[str, Any], look_up: Callable[[str], Any]) -> Any:
    """A tagged value as Python's.

    Args:
        arg: for example {"as_ints": [1, 1]} or {"as_tensor": {"name": "conv2d"}}.
        look_up: name of a tensor or size in the graph -> what stands for it.
    Raises: ValueError for a kind of value that no model of images needs.
    """
    tag, value = next(iter(arg.items()))
    if tag == "as_none":
        return None
    if tag in _SCALARS:
        return value
    if tag in _LISTS:
        return list(value)
    if tag == "as_tensor":
        return look_up(value["name"])
    if tag == "as_tensors":
        return [look_up(entry["name"]) for entry in value]
    if tag == "as_optional_tensors":
        return [decode(entry, look_up) for entry in value]
    if tag in ("as_sym_int", "as_sym_float", "as_sym_bool"):
        return _size(value, look_up)
    if tag in ("as_sym_ints", "as_sym_floats"):
        return [_size(entry, look_up) for entry in value]
    if tag == "as_scalar_type":
        return _DTYPES[value]
    if tag in ("as_memory_format", "as_layout", "as_device"):
        return None
    raise ValueError(f"an argument is {tag}")


def _size(value: dict[str, Any], look_up: Callable[[str], Any]) -> Any:
    return look_up(value["as_name"]) if "as_name" in value else next(iter(value.values()))


def outputs(node: dict[str, Any]) -> list[str]:
    """The names that a node gives values to."""
    names = []
    for output in node["outputs"]:
        tag, value = next(iter(output.items()))
        if tag == "as_tensors":
            names += [entry["name"] for entry in value]
        elif tag == "as_none":
            names.append("")
        else:
            names.append(value["name"] if "name" in value else value["as_name"])
    return names
