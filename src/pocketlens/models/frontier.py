"""Walk a quantized graph and the float graph it came from side by side, one layer at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from pocketlens.errors import ConfigError
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
        wanted: the moments that the float graph gives here.
        got: the moments that the quantized graph gives here.
    """

    name: str
    layer: QuantizedLayer
    wanted: Moments
    got: Moments
    _front: "_Front"
    _node: fx.Node

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
        self._front.adjust(self._node, gain.reshape(shape) if gain.dim() else gain, shift.reshape(shape))


def quantized_steps(
    quantized: fx.GraphModule, reference: fx.GraphModule, images: list[Tensor], progress: Progress
) -> Iterator[Step]:
    """Yield every quantized layer in order; nodes pair up by name, grids exist on one side only.

    Each layer is computed once. Memory grows with the images, not with the depth: an activation goes when its last
    reader has run.

    Args:
        quantized: changed in place by `Step.apply`.
        reference: the same network before quantization.
        images: chunks, each (n, c, h, w), float32.
        progress: see types.Progress.
    Raises: ConfigError when `reference` lacks a layer of `quantized`.
    """
    ours, theirs = _Front(quantized, images), _Front(reference, images)
    pending = iter([n for n in reference.graph.nodes if n.op != "output"])
    nodes = [n for n in quantized.graph.nodes if n.op != "output"]
    seen = set()
    for node in progress.track(nodes, "correcting", len(nodes)):
        ours.advance(node)
        layer = quantized.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(layer, QuantizedLayer):
            continue
        other = _advance_to(pending, theirs, node.name)
        if node.target not in seen:  # a layer called twice is corrected for its first call only
            seen.add(node.target)
            yield Step(node.name, layer, theirs.moments(other, layer), ours.moments(node, layer), ours, node)


def _advance_to(pending: Iterator[fx.Node], front: "_Front", name: str) -> fx.Node:
    """Advance `front` up to and including the node called `name`."""
    for node in pending:
        front.advance(node)
        if node.name == name:
            return node
    raise ConfigError(f"the model before quantization has no layer {name}; run both in one Chain")


class _Front:
    """A graph run over all chunks of images node by node, keeping only what later nodes still need."""

    def __init__(self, graph: fx.GraphModule, images: list[Tensor]) -> None:
        self._runs = [fx.Interpreter(graph) for _ in images]
        self._images = images

    def advance(self, node: fx.Node) -> None:
        """Compute `node` on every chunk, and let go of what was read for the last time."""
        for run, image in zip(self._runs, self._images, strict=True):
            run.env[node] = image if node.op == "placeholder" else run.run_node(node)
            for spent in run.user_to_last_uses.get(node, []):
                del run.env[spent]

    def moments(self, node: fx.Node, layer: nn.Module) -> Moments:
        """Of what `advance` computed for `node` last; channels are last in a linear layer, else second."""
        sums = squares = torch.zeros((), dtype=torch.float64)
        count = 0
        for run in self._runs:
            chunk = run.env[node]
            channels = chunk.dim() - 1 if isinstance(layer, QuantizedLinear) else 1
            others = tuple(d for d in range(chunk.dim()) if d != channels)
            sums = sums + chunk.sum(others, dtype=torch.float64)
            squares = squares + chunk.square().sum(others, dtype=torch.float64)
            count += chunk.numel() // chunk.shape[channels]
        mean = sums / count
        std = (squares / count - mean.square()).clamp(min=0).sqrt()
        return Moments(mean=mean.float(), std=std.float())

    def adjust(self, node: fx.Node, gain: Tensor, shift: Tensor) -> None:
        """Change what `advance` computed for `node` as the corrected layer would have."""
        for run in self._runs:
            if node in run.env:
                run.env[node] = run.env[node] * gain + shift
