"""Small canonical graphs, put together leaf by leaf, that probes lower and run."""

import torch
from torch import fx, nn

from pocketlens.ops.quantized import QuantizeDequantize
from pocketlens.types import Model, ModelSpec, Preprocessing, Scheme


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not isinstance(m, nn.Sequential)


def network(module: nn.Module, input_shape: tuple[int, int, int]) -> Model:
    """A module whose children are leaves of the vocabulary, as a canonical graph.

    Args:
        module: its forward calls leaves and functions of the vocabulary only.
        input_shape: (channels, height, width).
    """
    graph = fx.GraphModule(module, _Tracer().trace(module)).eval()
    preprocessing = Preprocessing(resize=None, crop=input_shape[1:])
    return Model(graph=graph, spec=ModelSpec(name="probe", input_shape=input_shape, preprocessing=preprocessing))


def grid(scheme: Scheme, scale: float, steps_below: int = 0) -> QuantizeDequantize:
    """An activation grid of a scheme that reaches `steps_below` steps below zero."""
    values = scheme.activation
    zero_point = torch.tensor(values.qmin + steps_below)
    return QuantizeDequantize(torch.tensor(scale), zero_point, values.qmin, values.qmax, values.storage)
