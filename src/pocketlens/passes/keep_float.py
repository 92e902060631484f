"""KeepFloat: give the few layers that quantization hurts most their float weights back."""

import copy
import time
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar, Literal

from torch import fx

from pocketlens.errors import ConfigError, DataError
from pocketlens.models import vocabulary
from pocketlens.models.canonical import clone
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.models.grids import plan_grids
from pocketlens.models.sensitivity import sensitivity
from pocketlens.types import Context, Fact, Json, Model, PassResult, Record, Scheme


@dataclass(frozen=True, kw_only=True)
class KeepFloat:
    """Undo quantization for some layers: their weights are float again, and so are activations that only they read.

    Each kept layer costs its bytes four times over and a conversion on either side, so a few must do.

    Args:
        layers: names as `inspect --layers` shows them.
        worst: besides those, so many whose rounded weights alone do most harm at the output (see
            `models.sensitivity`).
        images: calibration images that the harm is measured on.
        scheme: the target's numerics; "auto" is filled by `bind` from the target's probe.
    """

    layers: tuple[str, ...] = ()
    worst: int = 1
    images: int = 16
    scheme: Scheme | Literal["auto"] = field(default="auto", metadata={"bind": "scheme"})

    requires: ClassVar[frozenset[Fact]] = frozenset({"quantized"})
    forbids: ClassVar[frozenset[Fact]] = frozenset()
    establishes: ClassVar[frozenset[Fact]] = frozenset()
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __post_init__(self) -> None:
        if self.worst < 0:
            raise ConfigError(f"`worst` must be at least 0, got {self.worst}")
        if self.images < 1:
            raise ConfigError(f"`images` must be at least 1, got {self.images}")
        if not self.layers and not self.worst:
            raise ConfigError("KeepFloat has nothing to keep: name `layers`, or set `worst` to how many")

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with those layers in float."""
        start = time.perf_counter()
        if isinstance(self.scheme, str):
            raise ConfigError('`scheme` is still "auto": bind the recipe to a target\'s profile first')
        reference = context.unquantized
        if reference is None:
            raise ConfigError("KeepFloat takes weights from the model before quantization: run both in one Chain")
        quantized = _quantized_layers(model.graph)
        if unknown := sorted(set(self.layers) - set(quantized)):
            raise ConfigError(
                f"`layers` names {', '.join(unknown)}, which {model.spec.name} lacks or computes in float already; "
                f"quantized are: {', '.join(quantized)}"
            )
        ranking = self._ranking(model, reference, context)
        weights = [row["layer"] for row in ranking if row["part"] == "weights" and row["layer"] not in self.layers]
        kept = (*self.layers, *weights[: self.worst])
        result = clone(model)
        restored_bytes = sum(_restore(result.graph, reference.graph, quantized[name], name) for name in kept)
        dropped = _drop_idle_grids(result.graph, reference.graph, self.scheme)
        record = Record(
            name="KeepFloat",
            config=asdict(replace(self, scheme="auto")) | {"scheme": self.scheme.name},
            summary={"layers": len(kept), "grids_removed": dropped, "extra_bytes": restored_bytes},
            layers=tuple({"layer": name} for name in kept),
            seconds=time.perf_counter() - start,
        )
        return PassResult(result, record)

    def _ranking(self, model: Model, reference: Model, context: Context) -> tuple[Json, ...]:
        if not self.worst:
            return ()
        if context.data.calibration is None:
            raise DataError("KeepFloat ranks layers on calibration images, got none: pass --calibration DIR")
        return sensitivity(
            model,
            reference,
            context.data.calibration,
            count=self.images,
            cache=context.cache,
            progress=context.progress,
        )


def _quantized_layers(graph: fx.GraphModule) -> dict[str, str]:
    """Node name -> where its leaf is, in graph order, each leaf once."""
    found: dict[str, str] = {}
    for node in graph.graph.nodes:
        target = str(node.target)
        if node.op != "call_module" or target in found.values():
            continue
        if isinstance(graph.get_submodule(target), QuantizedLayer):
            found[node.name] = target
    return found


def _restore(graph: fx.GraphModule, reference: fx.GraphModule, target: str, name: str) -> int:
    """Put the float layer back in place; return how many bytes more it takes."""
    original = next(n for n in reference.graph.nodes if n.name == name)
    layer = copy.deepcopy(reference.get_submodule(str(original.target)))
    rounded = graph.get_submodule(target)
    assert isinstance(rounded, QuantizedLayer)
    graph.set_submodule(target, layer)
    return 3 * rounded.codes.numel()


def _drop_idle_grids(graph: fx.GraphModule, reference: fx.GraphModule, scheme: Scheme) -> int:
    """Remove grids that no integer operator needs any more; return how many."""
    quantized = set(_quantized_layers(graph).values())
    weighted = {
        n.name
        for n in graph.graph.nodes
        if vocabulary.kind(graph, n) in ("conv", "conv_transpose", "linear") and str(n.target) not in quantized
    }
    plan = plan_grids(reference, scheme, frozenset(weighted))
    needed = {n.name for n in (*plan.points, *plan.shared)}
    idle = [
        n
        for n in graph.graph.nodes
        if vocabulary.kind(graph, n) == "quantize" and n.all_input_nodes[0].name not in needed
    ]
    for node in idle:
        node.replace_all_uses_with(node.all_input_nodes[0])
        graph.graph.erase_node(node)
    graph.graph.lint()
    graph.recompile()
    graph.delete_all_unused_submodules()
    return len(idle)
