"""How good a network is between epochs: top-1 on validation images, or agreement with the original."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pocketlens.datasets.choose import spread_evenly
from pocketlens.types import ImageSet, Model

LARGEST = 5000
"""At most so many validation images, spread evenly."""


@dataclass(frozen=True)
class Score:
    """A validation score.

    Args:
        value: share of right answers, in [0, 1].
        kind: "top1", or "agreement" with the original where labels are unknown.
        n: images.
    """

    value: float
    kind: str
    n: int


class Validation:
    """Scores a network on the same images again and again.

    Args:
        images: validation images.
        model: whose preprocessing is used.
        original: answers where labels are unknown; None without one.
        batch_size: images at once.
        device: to compute on.
    """

    def __init__(
        self, images: ImageSet, model: Model, original: Model | None, batch_size: int, device: torch.device
    ) -> None:
        self._images = spread_evenly(images, LARGEST)
        self._model, self._original = model, original
        self._batch_size, self._device = batch_size, device
        self._kind = "top1" if images.labelled else "agreement"
        self._wanted: Tensor | None = None

    def __call__(self, network: nn.Module, dtype: torch.dtype) -> Score:
        """The score of `network`, which is put into evaluation mode."""
        network.eval()
        wanted = self._answers()
        given = []
        for batch in self._images.batches(self._model.spec.preprocessing, self._batch_size):
            images = torch.from_numpy(batch.images).to(self._device).contiguous(memory_format=torch.channels_last)
            with torch.no_grad(), torch.autocast(self._device.type, torch.bfloat16, enabled=dtype != torch.float32):
                given.append(network(images).argmax(dim=1).cpu())
        answers = torch.cat(given)
        known = wanted >= 0
        right = (answers == wanted)[known]
        return Score(value=float(right.float().mean()) if len(right) else 0.0, kind=self._kind, n=len(right))

    def _answers(self) -> Tensor:
        """(n,): labels, or what the original answers."""
        if self._wanted is None:
            wanted = []
            reference = self._original or self._model
            for batch in self._images.batches(reference.spec.preprocessing, self._batch_size):
                if self._kind == "top1":
                    wanted.append(torch.from_numpy(batch.labels))
                else:
                    with torch.no_grad():
                        wanted.append(reference.graph.eval()(torch.from_numpy(batch.images)).argmax(dim=1))
            self._wanted = torch.cat(wanted)
        return self._wanted
