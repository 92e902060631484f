"""A weight whose parameter is its codebook: all weights that share a number learn as one."""

import torch
from torch import Tensor

from pocketlens.ops import affine
from pocketlens.ops.learned_step import Steps, is_short


class CodebookWeight(Steps):
    """scale * round(number at its place), for every weight; a parametrization, which makes the layer's parameter the
    codebook.

    The gradient of a number is the sum of those of all weights at its place, times their scales, straight through the
    rounding. The indices stay as they are.

    Args:
        start: () or (channels,) along the first axis, float32, > 0: the scale to begin with.
        places: the weight's shape, whole numbers: which number of the codebook each weight is.
        values: (m,), float32: the codebook to begin with, codes.
        counted: (m,), float32, >= 0: what the parameter's numbers are counted in; 0 where a code stays 0.
        reach: largest code.
        unit: of the scale, see Steps.
        learned: whether the scale is.
    Reference: Han et al. 2016, arXiv:1510.00149, section 3.2.
    """

    places: Tensor
    values: Tensor
    counted: Tensor

    def __init__(
        self,
        start: Tensor,
        places: Tensor,
        values: Tensor,
        counted: Tensor,
        reach: int,
        *,
        unit: Tensor | None = None,
        learned: bool,
    ) -> None:
        super().__init__(start, unit=unit, short=is_short(start), learned=learned)
        self.shape, self.reach = places.shape, reach
        self.register_buffer("places", places.flatten().to(torch.int32), persistent=False)
        self.register_buffer("values", values.detach().clone().float(), persistent=False)
        self.register_buffer("counted", counted.detach().clone().float(), persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """(m,), the parameter -> the weight."""
        exact = numbers * self.counted
        codes = exact + (self._rounded(numbers) - exact).detach()
        return codes.index_select(0, self.places).reshape(self.shape) * affine.along(self.now(), len(self.shape), 0)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The parameter to begin with, (m,), whatever the weight is."""
        return torch.where(self.counted > 0, self.values / self.counted, 0.0).to(weight.dtype)

    def codes(self, numbers: Tensor) -> Tensor:
        """(m,), the parameter -> codes, the weight's shape, int8."""
        return self._rounded(numbers.detach()).to(torch.int8)[self.places.long()].reshape(self.shape)

    def _rounded(self, numbers: Tensor) -> Tensor:
        return (numbers * self.counted).round().clamp(-self.reach, self.reach)
