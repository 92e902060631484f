"""The leaf that changes floating-point width."""

from typing import Literal

import torch
from torch import Tensor, nn


class Cast(nn.Module):
    """Changes the dtype of its input.

    Args:
        dtype: "float16" or "float32".
    """

    def __init__(self, dtype: Literal["float16", "float32"]) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return x.to(torch.float16 if self.dtype == "float16" else torch.float32)
