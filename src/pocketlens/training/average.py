"""The exponential moving average of a network's weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pocketlens.ops.masks import Mask


class Average:
    """Follows a network; its weights are steadier than any single step's.

    The decay rises from 0.1 as (1 + t) / (10 + t) until it reaches `decay`, so that the start is soon forgotten.

    Args:
        network: what is followed.
        decay: in (0, 1).
    Reference: Polyak & Juditsky 1992; the warm-up is TensorFlow's `ExponentialMovingAverage(num_updates)`.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        # The mean of an old and a new mask would let masked weights through, a little.
        masks = [(name, module) for name, module in network.named_modules() if isinstance(module, Mask)]
        self._copied = {f"{name}.{buffer}" for name, module in masks for buffer, _ in module.named_buffers()}

    @torch.no_grad()
    def follow(self, network: nn.Module, step: int) -> None:
        """Move towards the network after its step `step` (from 0)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, tensor in network.state_dict().items():
            mine = self.tensors[name]
            if tensor.is_floating_point() and name not in self._copied:
                mine.lerp_(tensor, 1 - decay)
            else:
                mine.copy_(tensor)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)
