"""Compare two graphs layer by layer: where does the error come from?"""

from collections.abc import Iterable

import torch
from torch import Tensor, fx

from pocketlens.models import vocabulary
from pocketlens.types import Json, Model

_COMPARED = frozenset({"conv", "conv_transpose", "linear", "matmul"})


def layer_errors(reference: Model, model: Model, images: Iterable[Tensor]) -> tuple[Json, ...]:
    """Signal-to-noise ratio of every layer's output, both graphs fed the same images.

    Errors accumulate: a layer's figure holds the noise of all layers before it.

    Args:
        reference: the model before; its layers pair up with the other's by name.
        model: the model after.
        images: batches (n, c, h, w), float32; one is in memory at a time.
    Returns: one {"layer", "kind", "sqnr_db", "signal_power", "noise_power"} a layer, in graph order.
    """
    theirs = {n.name for n in reference.graph.graph.nodes}
    layers = [
        n.name for n in model.graph.graph.nodes if n.name in theirs and vocabulary.kind(model.graph, n) in _COMPARED
    ]
    kinds = {n.name: vocabulary.kind(model.graph, n) for n in model.graph.graph.nodes}
    signal = dict.fromkeys(layers, 0.0)
    noise = dict.fromkeys(layers, 0.0)
    counts = dict.fromkeys(layers, 0)
    with torch.inference_mode():
        for batch in images:
            expected = _outputs(reference.graph, batch, set(layers))
            got = _outputs(model.graph, batch, set(layers))
            for name in layers:
                signal[name] += float(expected[name].double().square().sum())
                noise[name] += float((expected[name] - got[name]).double().square().sum())
                counts[name] += expected[name].numel()
    return tuple(
        {
            "layer": name,
            "kind": kinds[name],
            "sqnr_db": float(10 * torch.log10(torch.tensor(max(signal[name], 1e-30) / max(noise[name], 1e-30)))),
            "signal_power": signal[name] / max(counts[name], 1),
            "noise_power": noise[name] / max(counts[name], 1),
        }
        for name in layers
    )


def _outputs(graph: fx.GraphModule, batch: Tensor, names: set[str]) -> dict[str, Tensor]:
    run = _Tap(graph, names)
    run.run(batch)
    return run.seen


class _Tap(fx.Interpreter):
    """Keeps chosen nodes' outputs."""

    def __init__(self, graph: fx.GraphModule, names: set[str]) -> None:
        super().__init__(graph)
        self.seen: dict[str, Tensor] = {}
        self._names = names

    def run_node(self, n: fx.Node) -> Tensor:
        value = super().run_node(n)
        if n.name in self._names:
            self.seen[n.name] = value
        return value
