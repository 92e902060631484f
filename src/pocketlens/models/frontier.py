"""Walk a quantized graph and the float graph it came from side by side, one layer at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from pocketlens.errors import ConfigError
from pocketlens.models import vocabulary
from pocketlens.ops.quantized import QuantizedConv2d, QuantizedConvTranspose2d, QuantizedLinear
from pocketlens.types import Progress

QuantizedLayer = QuantizedConv2d | QuantizedConvTranspose2d | QuantizedLinear


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Mean and standard deviation of a layer's output channels.

    Args:
        mean: (channels,), float32, over images and positions.
        std: (channels,), float32.
    """

    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class Step:
    """One quantized layer, reached by both graphs; those before it hold what was already corrected.

    Args:
        name: of the layer.
        layer: its leaf in the quantized graph, to be changed in place.
        original: its leaf in the float graph.
        activation: the kind of the operator that alone reads the layer's output, "" when several do.
    """

    name: str
    layer: QuantizedLayer
    original: nn.Module
    activation: str
    _ours: "Front"
    _node: fx.Node
    _theirs: "Front"
    _other: fx.Node

    @property
    def inputs(self) -> list[Tensor]:
        """What the layer reads in the quantized graph, a chunk each."""
        return self._ours.values(self._node.all_input_nodes[0])

    @property
    def targets(self) -> list[Tensor]:
        """What the float graph gives here, a chunk each."""
        return self._theirs.values(self._other)

    def wanted(self) -> Moments:
        """The moments that the float graph gives here."""
        return self._theirs.moments(self._other, self.layer)

    def got(self) -> Moments:
        """The moments that the quantized graph gives here."""
        return self._ours.moments(self._node, self.layer)

    def apply(self, gain: Tensor, shift: Tensor) -> None:
        """Make the layer give gain * output + shift from now on, by its weight scale and its bias.

        Args:
            gain: () for a layer with one weight scale, else (channels,).
            shift: (channels,).
        """
        bias = torch.zeros_like(shift) if self.layer.bias is None else self.layer.bias.detach()
        self.layer.weight_scale.mul_(gain)
        self.layer.bias = nn.Parameter(bias * gain + shift, requires_grad=False)
        shape = (-1,) if isinstance(self.layer, QuantizedLinear) else (-1, 1, 1)
        self._ours.adjust(self._node, gain.reshape(shape) if gain.dim() else gain, shift.reshape(shape))


def quantized_steps(
    quantized: fx.GraphModule, reference: fx.GraphModule, images: list[Tensor], progress: Progress, title: str
) -> Iterator[Step]:
    """Yield every quantized layer in order; nodes pair up by name, grids exist on one side only.

    A layer is computed when its output is first asked for, or after its step: whoever changes its codes does so
    first. Memory grows with the images, not with the depth: an activation goes when its last reader has run.

    Args:
        quantized: changed in place by who takes the steps.
        reference: the same network before quantization.
        images: chunks, each (n, c, h, w), float32.
        progress: see types.Progress.
        title: of its bar.
    Raises: ConfigError when `reference` lacks a layer of `quantized`.
    """
    ours, theirs = Front(quantized, images), Front(reference, images)
    pending = iter([n for n in reference.graph.nodes if n.op != "output"])
    nodes = [n for n in quantized.graph.nodes if n.op != "output"]
    seen = set()
    for node in progress.track(nodes, title, len(nodes)):
        layer = quantized.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(layer, QuantizedLayer):
            other = _advance_to(pending, theirs, node.name)
            if node.target not in seen:  # a layer called twice is corrected for its first call only
                seen.add(node.target)
                original = reference.get_submodule(str(other.target))
                yield Step(node.name, layer, original, _reader(quantized, node), ours, node, theirs, other)
        ours.advance(node)


def _reader(graph: fx.GraphModule, node: fx.Node) -> str:
    users = list(node.users)
    return vocabulary.kind(graph, users[0]) if len(users) == 1 else ""


def _advance_to(pending: Iterator[fx.Node], front: "Front", name: str) -> fx.Node:
    """Advance `front` up to and including the node called `name`."""
    for node in pending:
        front.advance(node)
        if node.name == name:
            return node
    raise ConfigError(f"the model before quantization has no layer {name}; run both in one Chain")


class Front:
    """A graph run over all chunks of images node by node, keeping only what later nodes still need."""

    def __init__(self, graph: fx.GraphModule, images: list[Tensor]) -> None:
        self._runs = [fx.Interpreter(graph) for _ in images]
        self._images = images

    def advance(self, node: fx.Node) -> None:
        """Compute `node` on every chunk, and let go of what was read for the last time."""
        self._compute(node)
        for run in self._runs:
            for spent in run.user_to_last_uses.get(node, []):
                del run.env[spent]

    def values(self, node: fx.Node) -> list[Tensor]:
        """What `node` gives, a chunk each; its inputs must be there still."""
        self._compute(node)
        return [run.env[node] for run in self._runs]

    def moments(self, node: fx.Node, layer: nn.Module) -> Moments:
        """Of what `node` gives; channels are last in a linear layer, else second."""
        sums = squares = torch.zeros((), dtype=torch.float64)
        count = 0
        for chunk in self.values(node):
            channels = chunk.dim() - 1 if isinstance(layer, QuantizedLinear) else 1
            others = tuple(d for d in range(chunk.dim()) if d != channels)
            sums = sums + chunk.sum(others, dtype=torch.float64)
            squares = squares + chunk.square().sum(others, dtype=torch.float64)
            count += chunk.numel() // chunk.shape[channels]
        mean = sums / count
        std = (squares / count - mean.square()).clamp(min=0).sqrt()
        return Moments(mean=mean.float(), std=std.float())

    def adjust(self, node: fx.Node, gain: Tensor, shift: Tensor) -> None:
        """Change what was computed for `node`, if it was, as the corrected layer would have."""
        for run in self._runs:
            if node in run.env:
                run.env[node] = run.env[node] * gain + shift

    def _compute(self, node: fx.Node) -> None:
        for run, image in zip(self._runs, self._images, strict=True):
            if node not in run.env:
                run.env[node] = image if node.op == "placeholder" else run.run_node(node)
