"""What a model would cost with some of its channels gone, without building it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from pocketlens.models.cost import layer_costs
from pocketlens.ops.groups import ChannelGroup
from pocketlens.types import Model

Cost = Literal["macs", "parameters"]


class Budget:
    """Multiply-accumulates, or parameters, as a function of the widths that stay.

    Exact for convolutions, linear layers and norms; attention's own products are taken as they are.

    Args:
        model: as it is now.
        groups: all of its groups.
        of: what is counted.
    """

    def __init__(self, model: Model, groups: Sequence[ChannelGroup], of: Cost = "macs") -> None:
        graph = model.graph
        targets = {n.name: str(n.target) for n in graph.graph.nodes if n.op == "call_module"}
        self._areas: dict[str, float] = defaultdict(float)
        self._rows: dict[str, float] = defaultdict(float)
        self._fixed = 0.0
        for cost in layer_costs(model):
            layer = targets.get(cost.name)
            amount = cost.macs if of == "macs" else cost.parameters
            if layer is None:
                self._fixed += amount
                continue
            rows = _rows(graph.get_submodule(layer)) if of == "parameters" and amount else 0
            self._areas[layer] += amount - rows
            self._rows[layer] += rows
        self._sides: dict[tuple[str, str], list[tuple[str, int, float]]] = defaultdict(list)
        for group in groups:
            for member in group.members:
                width = _channels(graph.get_submodule(member.layer), member.side)
                self._sides[(member.layer, member.side)].append(
                    (group.name, group.width, len(member.index) / width if width else 0.0)
                )
        self._depthwise = {name for name in self._areas if _depthwise(graph.get_submodule(name))}

    def __call__(self, kept: Mapping[str, int]) -> float:
        """The cost of one input, or of the model, when each group keeps so many units; groups not named keep all."""
        total = self._fixed
        for layer, area in self._areas.items():
            out = self._kept(layer, "out", kept)
            total += area * out * (1.0 if layer in self._depthwise else self._kept(layer, "in", kept))
            total += self._rows[layer] * out
        return total

    def price(self, group: ChannelGroup) -> float:
        """What one unit of a group accounts for, as wide as all is now."""
        return max((self({}) - self({group.name: group.width - 1})), 1.0)

    def _kept(self, layer: str, side: str, kept: Mapping[str, int]) -> float:
        lost = sum(share * (1 - kept.get(name, width) / width) for name, width, share in self._sides[(layer, side)])
        return 1 - lost


def _rows(layer: nn.Module) -> int:
    """Parameters that go with the channels that come out alone: biases, all of a norm."""
    return sum(p.numel() for p in layer.parameters() if p.dim() < 2)


def _channels(layer: nn.Module, side: str) -> int:
    names = ("out_channels", "out_features") if side == "out" else ("in_channels", "in_features")
    for name in names:
        if hasattr(layer, name):
            return int(getattr(layer, name))
    weight = getattr(layer, "weight", None)  # of a norm, which has one side
    return weight.shape[-1] if side == "out" and isinstance(weight, Tensor) else 0


def _depthwise(layer: nn.Module) -> bool:
    convolves = isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d)
    return convolves and layer.groups == layer.in_channels == layer.out_channels > 1
