"""Leaves with the weights of a file."""

import numpy as np
import torch
from torch import nn


def filled(leaf: nn.Module, **arrays: np.ndarray | None) -> nn.Module:
    """Put arrays into a leaf, which may have been made on the meta device.

    Args:
        leaf: changed.
        arrays: parameter or buffer -> its values; None for one that the leaf lacks.
    Raises: ValueError naming an array of another shape.
    """
    for name, array in arrays.items():
        if array is None:
            continue
        tensor = torch.from_numpy(np.array(array, np.float32, order="C"))
        expected = getattr(leaf, name).shape
        if tensor.shape != expected:
            raise ValueError(f"its {name} has the shape {tuple(tensor.shape)} instead of {tuple(expected)}")
        if isinstance(getattr(leaf, name), nn.Parameter):
            setattr(leaf, name, nn.Parameter(tensor))
        else:
            setattr(leaf, name, tensor)
    return leaf
