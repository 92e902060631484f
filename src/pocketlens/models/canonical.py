"""Bring a module into the canonical graph."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from pocketlens.errors import UnsupportedModelError, WeightsError
from pocketlens.models import vocabulary
from pocketlens.models.normalise import normalise_modules
from pocketlens.models.rebuild import Rebuilder
from pocketlens.models.tracing import observe, trace
from pocketlens.tasks import TASKS
from pocketlens.types import Fact, Model, ModelSpec

TOLERANCE = 1e-4
"""Largest difference from the original's output, relative to its largest value; float32 reordering stays below."""


def canonicalise(module: nn.Module, spec: ModelSpec) -> Model:
    """The canonical graph of a trained module.

    The module is traced, normalised to the vocabulary, and run beside the original: only an import that gives the
    same output comes back. The original is untouched.

    Args:
        module: takes (n, c, h, w), gives the task's output.
        spec: its input and labels.
    Raises: WeightsError naming a tensor that holds NaN or infinity, or a layer that gives it; UnsupportedModelError
        naming the submodule and operation that cannot be expressed, or an output that is not the task's.
    """
    check_finite(module)
    original = copy.deepcopy(module).eval()
    prepared = copy.deepcopy(original)
    normalise_modules(prepared)
    raw = trace(prepared.eval())
    graph = Rebuilder(prepared, raw, observe(prepared, raw, spec.input_shape)).build()
    for parameter in graph.parameters():
        parameter.requires_grad_(True)
    _verify(original, graph, spec)
    kinds = {vocabulary.kind(graph, node) for node in graph.graph.nodes}
    facts: frozenset[Fact] = frozenset({"batchnorm"}) if "batchnorm" in kinds else frozenset()
    return Model(graph=graph, spec=spec, facts=facts)


def clone(model: Model) -> Model:
    """A copy that shares nothing with the original."""
    return replace(model, graph=copy.deepcopy(model.graph))


def check_finite(module: nn.Module) -> None:
    """Raise WeightsError naming the first tensor that holds NaN or infinity."""
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise WeightsError(f"{name} holds NaN or infinity; load sound weights")


def _verify(original: nn.Module, graph: fx.GraphModule, spec: ModelSpec) -> None:
    x = torch.randn(2, *spec.input_shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wanted, got = original(x), graph(x)
    if isinstance(wanted, dict):
        wanted = tuple(wanted.values())
    if isinstance(wanted, tuple | list):
        wanted = wanted[0]
    TASKS[spec.task].check_output(tuple(wanted.shape), spec)
    if not torch.isfinite(wanted).all():
        raise WeightsError(
            f"{spec.name} gives NaN or infinity for a random image, first in {_first_infinite(graph, x)}; its weights "
            "are too large, or not those of this architecture"
        )
    if wanted.shape != got.shape:
        raise UnsupportedModelError(f"the import of {spec.name} gives {tuple(got.shape)}, not {tuple(wanted.shape)}")
    error = float((wanted - got).abs().max()) / (float(wanted.abs().max()) + 1e-6)
    if not error <= TOLERANCE:
        raise UnsupportedModelError(
            f"the import of {spec.name} differs from the original by {error:.1e} of its largest output; a submodule "
            "shares its name with a standard one but computes something else"
        )


def _first_infinite(graph: fx.GraphModule, x: Tensor) -> str:
    """The first node that gives NaN or infinity for `x`."""
    found: list[str] = []

    class Watcher(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, Tensor) and value.is_floating_point() and not torch.isfinite(value).all():
                found.append(n.name)
            return value

    with torch.inference_mode():
        Watcher(graph).run(x)
    return found[0] if found else "the output"
