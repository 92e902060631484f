"""The integer layers of a graph: from float weights to codes of a given reach, and back."""

import copy
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, fx, nn

from pocketlens.errors import ConfigError, ModelError
from pocketlens.models import vocabulary
from pocketlens.models.canonical import clone
from pocketlens.models.frontier import QuantizedLayer
from pocketlens.ops import affine
from pocketlens.ops.observers import weight_scale
from pocketlens.ops.quantized import QuantizedConv2d, QuantizedConvTranspose2d, QuantizedLinear
from pocketlens.types import Model

FloatLayer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
Ranges = Literal["minmax", "mse"]

DOWNLOAD_ONLY = (
    "fewer than 8 bits save download only: the integers are stored and computed in 8 bits, of which fewer values occur"
)
"""What every record says of narrower weights."""


def reach_of(bits: int) -> int:
    """The largest code of a symmetric grid: 127 for 8 bits, 1 for 2."""
    return 2 ** (bits - 1) - 1


def integer_layer(
    layer: FloatLayer,
    name: str,
    *,
    reach: int,
    per_channel: bool,
    ranges: Ranges,
    storage: Literal["uint8", "int8"],
) -> QuantizedLayer:
    """A float layer on integer codes, each weight rounded to the nearest.

    Args:
        layer: its bias comes along.
        name: for the error.
        reach: codes lie in -reach..reach.
        per_channel: a scale for each output channel; a transposed convolution has one for all even so.
        ranges: see `ops.observers.weight_scale`.
        storage: dtype of the weight in the file.
    Raises: ModelError naming the layer when its weight is not finite.
    """
    weight = layer.weight.detach()
    if not torch.isfinite(weight).all():
        raise ModelError(f"the weight of {name} holds NaN or infinity; load sound weights")
    each = per_channel and not isinstance(layer, nn.ConvTranspose2d)
    scale = weight_scale(weight, reach, 0 if each else None, ranges)
    return coded_layer(layer, affine.quantize(weight, scale, -reach, reach), scale, storage)


def coded_layer(layer: FloatLayer, codes: Tensor, scale: Tensor, storage: Literal["uint8", "int8"]) -> QuantizedLayer:
    """A float layer's geometry and bias with other weights: codes times scale; see `ops.quantized`."""
    if isinstance(layer, nn.Conv2d):
        return QuantizedConv2d.of(layer, codes, scale, storage)
    if isinstance(layer, nn.ConvTranspose2d):
        return QuantizedConvTranspose2d.of(layer, codes, scale, storage)
    return QuantizedLinear.of(layer, codes, scale, storage)


def quantized_layers(graph: fx.GraphModule) -> dict[str, QuantizedLayer]:
    """Layer name -> its leaf, in graph order; a leaf called twice stands under its first call."""
    found: dict[str, QuantizedLayer] = {}
    for name, target in _targets(graph).items():
        leaf = graph.get_submodule(target)
        if isinstance(leaf, QuantizedLayer):
            found[name] = leaf
    return found


def float_layers(graph: fx.GraphModule) -> frozenset[str]:
    """Names of the nodes with weights that are not integers."""
    weighted = [n for n in graph.graph.nodes if vocabulary.kind(graph, n) in ("conv", "conv_transpose", "linear")]
    return frozenset(n.name for n in weighted if not isinstance(graph.get_submodule(str(n.target)), QuantizedLayer))


def originals(graph: fx.GraphModule, reference: fx.GraphModule) -> dict[str, FloatLayer]:
    """Each integer layer of `graph` as it was before: layer name -> its leaf in `reference`.

    Raises: ConfigError when `reference` lacks one.
    """
    targets, found = _targets(reference), {}
    for name in quantized_layers(graph):
        layer = reference.get_submodule(targets[name]) if name in targets else None
        if not isinstance(layer, FloatLayer):
            raise ConfigError(f"the model before quantization has no layer {name}; run both in one Chain")
        found[name] = layer
    return found


def with_layers(model: Model, leaves: Mapping[str, nn.Module]) -> Model:
    """A copy of `model` with copies of other leaves in place: layer name -> leaf."""
    result = clone(model)
    targets = _targets(result.graph)
    for name, leaf in leaves.items():
        result.graph.set_submodule(targets[name], copy.deepcopy(leaf))
    return result


def _targets(graph: fx.GraphModule) -> dict[str, str]:
    """Node name -> the module that it calls, the first call of each module."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for node in graph.graph.nodes:
        if node.op == "call_module" and node.target not in seen:
            seen.add(str(node.target))
            found[node.name] = str(node.target)
    return found
