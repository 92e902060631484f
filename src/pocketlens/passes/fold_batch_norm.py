"""FoldBatchNorm: let convolutions and linear layers absorb the batch norm that follows them."""

import time
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, fx, nn

from pocketlens.models import vocabulary
from pocketlens.models.canonical import clone
from pocketlens.types import Context, Fact, Model, PassResult, Record, with_facts

_OUTPUT_AXIS = {"conv": 0, "linear": 0, "conv_transpose": 1}


@dataclass(frozen=True, kw_only=True)
class FoldBatchNorm:
    """Fold y = gamma (conv(x) - mean) / sqrt(var + eps) + beta into the weight and bias of the convolution.

    A batch norm stays where it stands on something else than one convolution or linear layer of its own (a
    pre-activation network, a shared layer); the record names these.

    Reference: Jacob et al. 2018, arXiv:1712.05877, section 3.2.
    """

    requires: ClassVar[frozenset[Fact]] = frozenset()
    forbids: ClassVar[frozenset[Fact]] = frozenset({"clustered", "tied", "quantized", "half"})
    establishes: ClassVar[frozenset[Fact]] = frozenset({"folded"})
    destroys: ClassVar[frozenset[Fact]] = frozenset({"batchnorm"})

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return the model with every foldable batch norm folded."""
        start = time.perf_counter()
        result = clone(model)
        graph = result.graph
        folded, kept = [], []
        for node in [n for n in graph.graph.nodes if vocabulary.kind(graph, n) == "batchnorm"]:
            source = node.all_input_nodes[0]
            if _foldable(graph, source, node):
                _fold(graph, source, node)
                folded.append({"layer": source.name, "batchnorm": node.name})
            else:
                kept.append(node.name)
        graph.graph.lint()
        graph.recompile()
        graph.delete_all_unused_submodules()
        notes = (f"stays, since nothing before it can absorb it: {', '.join(kept)}",) if kept else ()
        record = Record(
            name="FoldBatchNorm",
            config={},
            summary={"folded": len(folded), "kept": len(kept)},
            layers=tuple(folded),
            notes=notes,
            seconds=time.perf_counter() - start,
        )
        facts = with_facts(model, add=self.establishes, drop=() if kept else self.destroys)
        return PassResult(Model(graph=graph, spec=model.spec, facts=facts), record)


def _foldable(graph: fx.GraphModule, source: fx.Node, norm: fx.Node) -> bool:
    """Whether `source` is a layer of its own whose only user is `norm`."""
    if source.op != "call_module" or vocabulary.kind(graph, source) not in _OUTPUT_AXIS or len(source.users) != 1:
        return False
    calls = [n for n in graph.graph.nodes if n.op == "call_module" and n.target in (source.target, norm.target)]
    grouped = vocabulary.kind(graph, source) == "conv_transpose" and graph.get_submodule(str(source.target)).groups != 1
    return len(calls) == 2 and not grouped


def _fold(graph: fx.GraphModule, source: fx.Node, node: fx.Node) -> None:
    layer = graph.get_submodule(str(source.target))
    norm = graph.get_submodule(str(node.target))
    assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    gain, shift = _affine_of(norm)
    axis = _OUTPUT_AXIS[vocabulary.kind(graph, source)]
    shape = [1] * layer.weight.dim()
    shape[axis] = -1
    bias = torch.zeros_like(shift) if layer.bias is None else layer.bias.detach()
    layer.weight = nn.Parameter(layer.weight.detach() * gain.reshape(shape))
    layer.bias = nn.Parameter(bias * gain + shift)
    node.replace_all_uses_with(source)
    graph.graph.erase_node(node)


def _affine_of(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The (gain, shift) of y = gain x + shift in evaluation, each (channels,), computed in float64."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        gain = gain * norm.weight.detach().double()
    shift = -norm.running_mean.double() * gain
    if norm.affine:
        shift = shift + norm.bias.detach().double()
    return gain.float(), shift.float()
