"""What a model would cost with some of its channels gone, without building it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from torch import nn

from pocketlens.models.cost import layer_costs
from pocketlens.ops.groups import ChannelGroup
from pocketlens.types import Model


class MacsBudget:
    """Multiply-accumulates as a function of the widths that stay.

    Exact for convolutions and linear layers; attention's own products are taken as they are.

    Args:
        model: as it is now.
        groups: all of its groups.
    """

    def __init__(self, model: Model, groups: Sequence[ChannelGroup]) -> None:
        graph = model.graph
        targets = {n.name: str(n.target) for n in graph.graph.nodes if n.op == "call_module"}
        self._macs: dict[str, float] = defaultdict(float)
        self._fixed = 0.0
        for cost in layer_costs(model):
            layer = targets.get(cost.name)
            if layer is None:
                self._fixed += cost.macs
            elif cost.macs:
                self._macs[layer] += cost.macs
        self._sides: dict[tuple[str, str], list[tuple[str, int, float]]] = defaultdict(list)
        for group in groups:
            for member in group.members:
                width = _channels(graph.get_submodule(member.layer), member.side)
                self._sides[(member.layer, member.side)].append(
                    (group.name, group.width, len(member.index) / width if width else 0.0)
                )
        self._depthwise = {name for name in self._macs if _depthwise(graph.get_submodule(name))}

    def __call__(self, kept: Mapping[str, int]) -> float:
        """MACs of one input when each group keeps so many units; groups not named keep all."""
        total = self._fixed
        for layer, macs in self._macs.items():
            factor = self._kept(layer, "out", kept)
            if layer not in self._depthwise:
                factor *= self._kept(layer, "in", kept)
            total += macs * factor
        return total

    def price(self, group: ChannelGroup) -> float:
        """MACs that one unit of a group accounts for, as wide as all is now."""
        return max((self({}) - self({group.name: group.width - 1})), 1.0)

    def _kept(self, layer: str, side: str, kept: Mapping[str, int]) -> float:
        lost = sum(share * (1 - kept.get(name, width) / width) for name, width, share in self._sides[(layer, side)])
        return 1 - lost


def _channels(layer: nn.Module, side: str) -> int:
    names = ("out_channels", "out_features") if side == "out" else ("in_channels", "in_features")
    return next((int(getattr(layer, name)) for name in names if hasattr(layer, name)), 0)


def _depthwise(layer: nn.Module) -> bool:
    convolves = isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d)
    return convolves and layer.groups == layer.in_channels == layer.out_channels > 1
