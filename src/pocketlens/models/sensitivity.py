"""Which layer, and which grid, costs how much: each quantized alone, judged at the output."""

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True, eq=False)
class _Item:
    """What is quantized alone: all calls of a layer, one grid, or several layers together.

    Args:
        name: of the layer, or of the node before the grid.
        part: "weights" or "activations".
        nodes: the calls.
        leaves: module name -> the leaf that computes in its place; what is not named computes with its own.
    """

    name: str
    part: str
    nodes: tuple[fx.Node, ...]
    leaves: Mapping[str, nn.Module] = field(default_factory=dict)


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

    def measure() -> tuple[Json, ...]:
        items = _items(model.graph)
        found = zip(items, _measure(model, reference, items, chosen, progress), strict=True)
        ranked = sorted(found, key=lambda pair: pair[1][0])
        return tuple({"layer": i.name, "part": i.part, "sqnr_db": sqnr, "kl": kl} for i, (sqnr, kl) in ranked)

    asked = [store.digest(model), store.digest(reference), chosen.fingerprint()]
    return remembered(cache, "sensitivity", asked, measure)


def harm_of(
    model: Model,
    reference: Model,
    trials: Sequence[Mapping[str, QuantizedLayer]],
    images: ImageSet,
    *,
    count: int,
    progress: Progress,
) -> tuple[tuple[float, float], ...]:
    """What other integer leaves would do to the output, all else in float.

    Args:
        model: quantized.
        reference: the same network before it was.
        trials: each puts some leaves in place together: layer name -> leaf.
        images: that both are run on.
        count: how many of them, spread evenly.
        progress: see types.Progress.
    Returns: SQNR in dB and KL divergence, a trial each.
    """
    layers = {item.name: item for item in _items(model.graph) if item.part == "weights"}
    items = [
        _Item(
            name=", ".join(trial),
            part="weights",
            nodes=tuple(n for name in trial for n in layers[name].nodes),
            leaves={str(layers[name].nodes[0].target): leaf for name, leaf in trial.items()},
        )
        for trial in trials
    ]
    return _measure(model, reference, items, spread_evenly(images, count), progress)


def remembered(
    cache: Path | None, kind: str, asked: list[Any], measure: Callable[[], tuple[Json, ...]]
) -> tuple[Json, ...]:
    """What `measure` gives, or what it gave when the same was asked before.

    Args:
        cache: a folder; None remembers nothing.
        kind: begins the name of the file.
        asked: all that decides the answer, as plain data.
        measure: called when the answer is not known.
    """
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:24]
    place = cache / f"{kind}-{key}.json" if cache else None
    if place is not None:
        with contextlib.suppress(OSError, ValueError):
            return tuple(json.loads(place.read_text("utf-8")))
    found = measure()
    if place is not None:
        with contextlib.suppress(OSError, OutputError), whole_file(place) as part:
            part.write_text(json.dumps(found), "utf-8")
    return found


def _measure(
    model: Model, reference: Model, items: Sequence[_Item], images: ImageSet, progress: Progress
) -> tuple[tuple[float, float], ...]:
    """SQNR in dB and KL divergence, an item each."""
    graph = model.graph
    originals = {n.name: reference.graph.get_submodule(str(n.target)) for n in reference.graph.graph.nodes if _calls(n)}
    totals = [torch.zeros(3, dtype=torch.float64) for _ in items]  # signal, noise, divergence
    seen = 0
    batches = images.batches(model.spec.preprocessing, 4)
    with torch.inference_mode():
        for batch in batches:
            x = torch.from_numpy(batch.images)
            run = _Alone(graph, originals)
            wanted = run.everything(x)
            for total, item in progress.track(zip(totals, items, strict=True), "sensitivity", len(items)):
                total += _harm(run.with_only(item), wanted)
            seen += len(x)
    return tuple(_figures(total, seen) for total in totals)


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
    """Runs a quantized graph in float but for a chosen item.

    The float activations of one batch are kept, so that an item costs only what comes after it.
    """

    def __init__(self, graph: fx.GraphModule, originals: Mapping[str, nn.Module]) -> None:
        super().__init__(graph, garbage_collect_values=False)
        self._graph, self._originals = graph, originals
        self._nodes: frozenset[fx.Node] = frozenset()
        self._leaves: Mapping[str, nn.Module] = {}
        self._float: dict[fx.Node, Any] = {}

    def everything(self, x: Tensor) -> Tensor:
        """The float output, all activations kept."""
        output = self.run(x)
        self._float = dict(self.env)
        return output

    def with_only(self, item: _Item) -> Tensor:
        """The output with only `item` quantized."""
        self._nodes, self._leaves = frozenset(item.nodes), item.leaves
        try:
            return self.run(*self._inputs(), initial_env=dict(self._before(self._nodes)))
        finally:
            self._nodes, self._leaves = frozenset(), {}

    def run_node(self, n: fx.Node) -> Any:
        if not _calls(n):
            return super().run_node(n)
        if n in self._nodes:
            leaf = self._leaves.get(str(n.target))
            return super().run_node(n) if leaf is None else leaf(self.env[n.all_input_nodes[0]])
        module = self._graph.get_submodule(str(n.target))
        if isinstance(module, QuantizeDequantize):
            return self.env[n.all_input_nodes[0]]
        if isinstance(module, QuantizedLayer):
            return self._originals[n.name](self.env[n.all_input_nodes[0]])
        return super().run_node(n)

    def _inputs(self) -> list[Tensor]:
        return [self._float[n] for n in self._graph.graph.nodes if n.op == "placeholder"]

    def _before(self, nodes: frozenset[fx.Node]) -> Iterator[tuple[fx.Node, Any]]:
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


def noise_power(sqnr_db: float) -> float:
    """The noise's share of the signal's power; shares of nearly independent errors add up."""
    return 10 ** (-sqnr_db / 10)


def sqnr_db(noise: float) -> float:
    """The inverse of `noise_power`, at most DB_CEILING."""
    return min(-10 * math.log10(noise), DB_CEILING) if noise > 0 else DB_CEILING
