"""How a layer's integer weights take part in training: what of them learns, and what integers become of it."""

import copy
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.integer_layers import FloatLayer, coded_layer
from pocketlens.ops import affine
from pocketlens.ops.learned_step import RoundedWeight, Steps
from pocketlens.ops.scaled_codes import ScaledCodes


class StartingWeight(Protocol):
    """A layer's weight on its grid before training, and what will learn of it."""

    @property
    def leaf(self) -> QuantizedLayer:
        """The layer; its scale is where the step starts."""
        ...

    @property
    def reach(self) -> int:
        """The largest code that it may have."""
        ...

    def hold(self, graph: fx.GraphModule, path: str, *, learned: bool, relative: bool) -> Steps:
        """Make the float layer at `path` compute on integers while it learns.

        Args:
            graph: has the layer, in float, on the weight of `leaf`.
            path: of its module.
            learned: whether its scale learns.
            relative: parameters are shares of where they start, for an optimizer that moves all by the same amount;
                else a step moves weights as far as a step along their own gradient would, as far as they may move.
        Returns: what has the scale.
        """
        ...

    def harden(self, graph: fx.GraphModule, path: str, steps: Steps) -> QuantizedLayer:
        """The integer layer that came of it; `steps` as `hold` gave them."""
        ...


@dataclass(frozen=True)
class LearnedWeight:
    """The weight itself learns, and is rounded: see StartingWeight.

    Args:
        leaf: rounded to the nearest.
        reach: the largest code that it may have.
    """

    leaf: QuantizedLayer
    reach: int

    def hold(self, graph: fx.GraphModule, path: str, *, learned: bool, relative: bool) -> Steps:
        """See StartingWeight. A scale that is not relative is counted as Esser et al. 2020 do."""
        scale = self.leaf.weight_scale
        steps = RoundedWeight(scale, self.reach, unit=scale if relative else None, learned=learned)
        parametrize.register_parametrization(graph.get_submodule(path), "weight", steps)
        return steps

    def harden(self, graph: fx.GraphModule, path: str, steps: Steps) -> QuantizedLayer:
        """See StartingWeight."""
        layer = graph.get_submodule(path)
        if parametrize.is_parametrized(layer, "weight"):  # a mask has taken all parametrizations with it
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        assert isinstance(layer, FloatLayer)
        weight, scale = layer.weight, steps.value()
        assert isinstance(weight, Tensor)
        codes = affine.quantize(weight.detach(), scale, -self.reach, self.reach)
        if scale.dim():
            # A channel that was dead has the smallest scale there is, which clips whatever its weights went to.
            codes[(self.leaf.codes.flatten(1) == 0).all(1)] = 0
        return coded_layer(layer, codes, scale, self.leaf.storage)


@dataclass(frozen=True)
class FixedCodes:
    """Every code stays; scale and bias learn: see StartingWeight.

    Args:
        leaf: with the codes that stay.
    """

    leaf: QuantizedLayer

    @property
    def reach(self) -> int:
        """See StartingWeight."""
        return largest_code(self.leaf)

    def hold(self, graph: fx.GraphModule, path: str, *, learned: bool, relative: bool) -> Steps:
        """See StartingWeight."""
        layer = graph.get_submodule(path)
        assert isinstance(layer, FloatLayer)
        layer.weight = nn.Parameter(self.leaf.codes.float())
        unit = scale_unit(self.leaf, relative=relative)
        steps = ScaledCodes(layer, self.leaf.weight_scale, unit=unit, learned=learned)
        graph.set_submodule(path, steps)
        return steps

    def harden(self, graph: fx.GraphModule, path: str, steps: Steps) -> QuantizedLayer:
        """See StartingWeight."""
        assert isinstance(steps, ScaledCodes)
        leaf = copy.deepcopy(self.leaf)
        leaf.weight_scale = steps.value().to(leaf.codes.device)
        if steps.bias is not None:
            leaf.bias = nn.Parameter(steps.bias.detach().to(leaf.codes.device), requires_grad=False)
        return leaf


def largest_code(leaf: QuantizedLayer) -> int:
    """Of the layer's codes without their signs: 1 to 127."""
    return min(max(int(leaf.codes.int().abs().max()), 1), 127)


def scale_unit(leaf: QuantizedLayer, *, relative: bool) -> Tensor:
    """What a scale is counted in whose codes do not follow it, see StartingWeight.hold: the scale's shape.

    Counted in 1 / |codes|, the parameter of a channel is as long as its weights are: moving it by some length moves
    them by as much.
    """
    if relative:
        return leaf.weight_scale
    codes = leaf.codes.float()
    length = codes.flatten(1).norm(dim=1) if leaf.weight_scale.dim() else codes.norm()
    return length.clamp(min=1).reciprocal()
