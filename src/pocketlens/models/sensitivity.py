"""Which layer, and which grid, costs how much: each quantized alone, judged at the output."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from pocketlens.datasets.choose import spread_evenly
from pocketlens.errors import OutputError
from pocketlens.models import store
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.ops.quantized import QuantizeDequantize
from pocketlens.types import ImageSet, Json, Model, Progress
from pocketlens.whole_file import whole_file

DB_CEILING = 120.0
"""What SQNR is cut at: an item that changes nothing has no noise."""


@dataclass(frozen=True)
class _Item:
    """One thing that can be quantized alone: all calls of a layer, or one grid."""

    name: str
    part: str
    nodes: tuple[fx.Node, ...]


def sensitivity(
    model: Model, reference: Model, images: ImageSet, *, count: int, cache: Path | None, progress: Progress
) -> tuple[Json, ...]:
    """What each quantized layer and each grid does to the output when all else stays in float.

    Args:
        model: quantized.
        reference: the same network before it was.
        images: that both are run on.
        count: how many of them, spread evenly.
        cache: a folder where answers are remembered; None remembers nothing.
        progress: see types.Progress.
    Returns: {"layer", "part" ("weights" or "activations"), "sqnr_db", "kl"} an item, the most harmful first.
    """
    chosen = spread_evenly(images, count)
    asked = [store.digest(model), store.digest(reference), chosen.fingerprint()]
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:24]
    place = cache / f"sensitivity-{key}.json" if cache else None
    if place is not None:
        with contextlib.suppress(OSError, ValueError):
            return tuple(json.loads(place.read_text("utf-8")))
    found = _measure(model, reference, chosen, progress)
    if place is not None:
        with contextlib.suppress(OSError, OutputError), whole_file(place) as part:
            part.write_text(json.dumps(found), "utf-8")
    return found


def _measure(model: Model, reference: Model, images: ImageSet, progress: Progress) -> tuple[Json, ...]:
    graph = model.graph
    items = _items(graph)
    originals = {n.name: reference.graph.get_submodule(str(n.target)) for n in reference.graph.graph.nodes if _calls(n)}
    totals = {item: torch.zeros(3, dtype=torch.float64) for item in items}  # signal, noise, divergence
    seen = 0
    batches = images.batches(model.spec.preprocessing, 4)
    with torch.inference_mode():
        for batch in batches:
            x = torch.from_numpy(batch.images)
            run = _Alone(graph, originals)
            wanted = run.everything(x)
            for item in progress.track(items, "sensitivity", len(items)):
                totals[item] += _harm(run.with_only(item.nodes), wanted)
            seen += len(x)
    ranked = sorted(((item, *_figures(total, seen)) for item, total in totals.items()), key=lambda row: row[1])
    return tuple({"layer": i.name, "part": i.part, "sqnr_db": sqnr, "kl": kl} for i, sqnr, kl in ranked)


def _items(graph: fx.GraphModule) -> tuple[_Item, ...]:
    by_target: dict[str, list[fx.Node]] = {}
    for node in graph.graph.nodes:
        if _calls(node) and isinstance(graph.get_submodule(str(node.target)), QuantizedLayer | QuantizeDequantize):
            by_target.setdefault(str(node.target), []).append(node)
    grids = {t for t in by_target if isinstance(graph.get_submodule(t), QuantizeDequantize)}
    return tuple(
        _Item(nodes[0].all_input_nodes[0].name, "activations", tuple(nodes))
        if target in grids
        else _Item(nodes[0].name, "weights", tuple(nodes))
        for target, nodes in by_target.items()
    )


def _calls(node: fx.Node) -> bool:
    return node.op == "call_module"


class _Alone(fx.Interpreter):
    """Runs a quantized graph in float but for chosen nodes.

    The float activations of one batch are kept, so that an item costs only what comes after it.
    """

    def __init__(self, graph: fx.GraphModule, originals: Mapping[str, nn.Module]) -> None:
        super().__init__(graph, garbage_collect_values=False)
        self._graph, self._originals = graph, originals
        self._chosen: frozenset[fx.Node] = frozenset()
        self._float: dict[fx.Node, Any] = {}

    def everything(self, x: Tensor) -> Tensor:
        """The float output, all activations kept."""
        output = self.run(x)
        self._float = dict(self.env)
        return output

    def with_only(self, nodes: tuple[fx.Node, ...]) -> Tensor:
        """The output with only `nodes` quantized."""
        self._chosen = frozenset(nodes)
        try:
            return self.run(*self._inputs(), initial_env=dict(self._before(nodes)))
        finally:
            self._chosen = frozenset()

    def run_node(self, n: fx.Node) -> Any:
        if n in self._chosen or not _calls(n):
            return super().run_node(n)
        module = self._graph.get_submodule(str(n.target))
        if isinstance(module, QuantizeDequantize):
            return self.env[n.all_input_nodes[0]]
        if isinstance(module, QuantizedLayer):
            return self._originals[n.name](self.env[n.all_input_nodes[0]])
        return super().run_node(n)

    def _inputs(self) -> list[Tensor]:
        return [self._float[n] for n in self._graph.graph.nodes if n.op == "placeholder"]

    def _before(self, nodes: tuple[fx.Node, ...]) -> Iterator[tuple[fx.Node, Any]]:
        """What was computed before the first of `nodes`: the same in float."""
        for node in self._graph.graph.nodes:
            if node in nodes:
                return
            yield node, self._float[node]


def _harm(got: Tensor, wanted: Tensor) -> Tensor:
    """(3,): sums of squared signal, of squared error, and of KL(wanted || got) over a batch."""
    p, q = F.log_softmax(wanted.double().flatten(1), 1), F.log_softmax(got.double().flatten(1), 1)
    divergence = (p.exp() * (p - q)).sum()
    return torch.stack([wanted.double().square().sum(), (got - wanted).double().square().sum(), divergence])


def _figures(total: Tensor, images: int) -> tuple[float, float]:
    signal, noise, divergence = total.tolist()
    ratio = signal / noise if noise > 0 else float("inf")
    sqnr = 10 * torch.tensor(max(ratio, 1e-12)).log10()
    return min(float(sqnr), DB_CEILING), max(divergence / max(images, 1), 0.0)
