"""Zeros that stay: a mask on a weight, held as a parametrization so that any training loop keeps it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Mask(nn.Module):
    """Multiplies a weight by 0 and 1.

    Args:
        mask: the weight's shape, float32, of zeros and ones.

    `score` is of the same shape: what a schedule that changes the mask sums up as it goes.
    """

    mask: Tensor
    score: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.register_buffer("score", torch.zeros_like(mask))

    def forward(self, weight: Tensor) -> Tensor:
        """The masked weight. Its gradient reaches what is masked too, so that a schedule may let it come back.

        Reference: Guo et al. 2016 (dynamic network surgery), arXiv:1608.04493.
        """
        return weight * self.mask + (weight - weight.detach()) * (1 - self.mask)


@contextmanager
def held(module: nn.Module, masks: Mapping[str, Tensor]) -> Iterator[dict[str, Mask]]:
    """Within the context the weights named by `masks` are masked; afterwards the zeros are plain zeros again.

    Args:
        module: what the names are paths in.
        masks: name of a layer -> mask of its `weight`.
    Yields: name -> its Mask, whose `mask` may be changed in place.
    """
    layers = {name: module.get_submodule(name) for name in masks}
    mine = {name: Mask(mask.detach().clone().float()) for name, mask in masks.items()}
    for name, layer in layers.items():
        parametrize.register_parametrization(layer, "weight", mine[name])
    try:
        yield mine
    finally:
        for name, layer in layers.items():
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
            with torch.no_grad():
                layer.weight.mul_(mine[name].mask)  # pyright: ignore


def zeros_of(module: nn.Module) -> dict[str, Tensor]:
    """Name of each convolution and linear layer that holds zeros -> the mask that keeps them."""
    masks = {}
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            weight = layer.weight.detach()
            if bool((weight == 0).any()):
                masks[name] = (weight != 0).float()
    return masks
