"""CastHalf: weights and arithmetic in 16-bit floats."""

import time
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import fx, nn

from pocketlens.errors import ModelError
from pocketlens.models.canonical import clone
from pocketlens.ops.half import Cast
from pocketlens.types import Context, Fact, Model, PassResult, Record, with_facts

_UNTIED = (
    "tied layers are stored one by one, since folding scaled each by itself; without FoldBatchNorm they are stored once"
)


@dataclass(frozen=True, kw_only=True)
class CastHalf:
    """Store and compute in float16; input and output stay float32.

    Halves the download of a float model. Faster only where the device has 16-bit arithmetic (a GPU, an Apple or
    Arm v8.2 chip); a CPU without it converts back at load, neither faster nor slower.

    Raises: ModelError naming the tensor that float16 cannot hold (|value| > 65504).
    """

    requires: ClassVar[frozenset[Fact]] = frozenset()
    forbids: ClassVar[frozenset[Fact]] = frozenset({"quantized", "half"})
    establishes: ClassVar[frozenset[Fact]] = frozenset({"half"})
    destroys: ClassVar[frozenset[Fact]] = frozenset()

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model in float16."""
        start = time.perf_counter()
        result = clone(model)
        graph = result.graph
        largest = 0.0
        for name, tensor in graph.state_dict().items():
            if tensor.is_floating_point() and tensor.numel():
                reach = float(tensor.abs().max())
                largest = max(largest, reach)
                if reach > torch.finfo(torch.float16).max:
                    raise ModelError(f"{name} reaches {reach:.3g}, float16 holds 65504: keep float32, or fold first")
        lost = _underflow(graph)
        graph.half()
        _cast_ends(graph)
        untied = {"tied", "folded"} <= model.facts
        record = Record(
            name="CastHalf",
            config={},
            summary={"largest_value": largest, "underflow_fraction": lost},
            notes=(
                "runs no faster on a CPU without 16-bit arithmetic; the download halves",
                *((_UNTIED,) if untied else ()),
            ),
            seconds=time.perf_counter() - start,
        )
        facts = with_facts(model, add=self.establishes, drop=("tied",) if untied else ())
        return PassResult(Model(graph=graph, spec=model.spec, facts=facts), record)


def _underflow(graph: nn.Module) -> float:
    """The fraction of non-zero parameters that float16 rounds to zero."""
    nonzero = lost = 0
    for tensor in graph.parameters():
        nonzero += int(tensor.count_nonzero())
        lost += int(((tensor != 0) & (tensor.half() == 0)).sum())
    return lost / max(nonzero, 1)


def _cast_ends(graph: fx.GraphModule) -> None:
    """Float16 behind the input, float32 before the output."""
    graph.add_submodule("to_half", Cast("float16"))
    graph.add_submodule("to_float", Cast("float32"))
    for node in list(graph.graph.nodes):
        if node.op == "placeholder":
            with graph.graph.inserting_after(node):
                cast = graph.graph.create_node("call_module", "to_half", (node,), name="to_half")
            node.replace_all_uses_with(cast, delete_user_cb=lambda user, new=cast: user is not new)
        elif node.op == "output":
            with graph.graph.inserting_before(node):
                cast = graph.graph.create_node("call_module", "to_float", (node.args[0],), name="to_float")
            node.args = (cast,)
    graph.graph.lint()
    graph.recompile()
