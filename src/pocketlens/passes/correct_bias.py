"""CorrectBias: take the mean error that quantization puts on each layer out of its bias."""

import time
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from torch import Tensor, fx, nn

from pocketlens.errors import ConfigError, DataError
from pocketlens.models.canonical import clone
from pocketlens.ops.quantized import QuantizedConv2d, QuantizedConvTranspose2d, QuantizedLinear
from pocketlens.types import Context, Fact, Json, Model, PassResult, Record

_LAYERS = (QuantizedConv2d, QuantizedConvTranspose2d, QuantizedLinear)


@dataclass(frozen=True, kw_only=True)
class CorrectBias:
    """Add to each bias what makes the layer's mean output, channel by channel, that of the float model.

    Layers are corrected in order, each seeing the corrected ones before it. Float and integer network advance side
    by side, one node at a time, so each layer is computed once; memory grows with `images`, not with the
    calibration set.

    Args:
        images: how many calibration images to use, spread evenly over the set.
        batch_size: images a forward pass.

    Reference: Nagel et al. 2019, arXiv:1906.04721, section 4.2 (empirical variant, appendix D).
    """

    images: int = 64
    batch_size: int = 8

    requires: ClassVar[frozenset[Fact]] = frozenset({"quantized"})
    forbids: ClassVar[frozenset[Fact]] = frozenset()
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        for name in ("images", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1, got {getattr(self, name)}")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with corrected biases."""
        start = time.perf_counter()
        calibration = context.data.calibration
        if calibration is None:
            raise DataError("CorrectBias needs calibration images, got none: pass --calibration DIR or --data DIR")
        if context.unquantized is None:
            raise ConfigError("CorrectBias compares with the model before quantization: run both in one Chain")
        count = min(self.images, len(calibration))
        chosen = calibration.subset([i * len(calibration) // count for i in range(count)])
        batches = chosen.batches(model.spec.preprocessing, self.batch_size)
        images = [torch.from_numpy(batch.images) for batch in batches]
        result = clone(model)
        with torch.inference_mode():
            layers = _correct(result.graph, context.unquantized.graph, images, context)
        record = Record(
            name="CorrectBias",
            config=asdict(self),
            summary={"layers": len(layers), "largest_shift": max((x["largest_shift"] for x in layers), default=0.0)},
            layers=tuple(layers),
            seconds=time.perf_counter() - start,
        )
        return PassResult(result, record)


class _Frontier:
    """A graph run over all chunks of images node by node, keeping only what later nodes still need."""

    def __init__(self, graph: fx.GraphModule, images: list[Tensor]) -> None:
        self._runs = [fx.Interpreter(graph) for _ in images]
        self._images = images

    def advance(self, node: fx.Node) -> list[Tensor]:
        """Compute `node` on every chunk."""
        for run, image in zip(self._runs, self._images, strict=True):
            run.env[node] = image if node.op == "placeholder" else run.run_node(node)
            for spent in run.user_to_last_uses.get(node, []):
                del run.env[spent]
        return [run.env[node] for run in self._runs]

    def shift(self, node: fx.Node, by: Tensor) -> None:
        """Add `by`, broadcast along channels, to what `advance` computed for `node`."""
        for run in self._runs:
            run.env[node] = run.env[node] + by


def _correct(quantized: fx.GraphModule, reference: fx.GraphModule, images: list[Tensor], context: Context) -> list[Json]:
    """Walk both graphs in step; nodes pair up by name, grids exist on one side only."""
    ours, theirs = _Frontier(quantized, images), _Frontier(reference, images)
    pending = iter([n for n in reference.graph.nodes if n.op != "output"])
    seen, layers = set(), []
    nodes = [n for n in quantized.graph.nodes if n.op != "output"]
    for node in context.progress.track(nodes, "correcting biases", len(nodes)):
        outputs = ours.advance(node)
        layer = quantized.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(layer, _LAYERS):
            continue
        expected = None
        for other in pending:
            computed = theirs.advance(other)
            if other.name == node.name:
                expected = computed
                break
        if expected is None:
            raise ConfigError(f"the model before quantization has no layer {node.name}; run both in one Chain")
        if node.target in seen:
            continue  # a layer called twice is corrected for its first call only
        seen.add(node.target)
        shift = _channel_mean(expected, layer) - _channel_mean(outputs, layer)
        bias = torch.zeros_like(shift) if layer.bias is None else layer.bias.detach()
        layer.bias = nn.Parameter(bias + shift, requires_grad=False)
        ours.shift(node, shift if isinstance(layer, QuantizedLinear) else shift.reshape(-1, 1, 1))
        layers.append({"layer": node.name, "largest_shift": float(shift.abs().max())})
    return layers


def _channel_mean(chunks: list[Tensor], layer: nn.Module) -> Tensor:
    """(channels,): mean over images and positions; channels are last in a linear layer, second in a convolution."""
    rows = [c.flatten(0, -2) if isinstance(layer, QuantizedLinear) else c.transpose(0, 1).flatten(1).T for c in chunks]
    count = sum(r.shape[0] for r in rows)
    return torch.stack([r.double().sum(0) for r in rows]).sum(0).div(count).float()
