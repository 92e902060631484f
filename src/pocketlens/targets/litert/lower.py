"""Lower a canonical graph to a .tflite file: litert-torch's converter, with our ranges and our rounded weights."""

import copy
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from pocketlens.errors import TargetError
from pocketlens.models import vocabulary
from pocketlens.models.cost import count_macs, count_parameters
from pocketlens.models.embedding import with_embedding
from pocketlens.models.integer_bias import grid_before, room_for_bias
from pocketlens.ops import affine
from pocketlens.ops.half import Cast
from pocketlens.ops.quantized import QuantizedConv2d, QuantizedConvTranspose2d, QuantizeDequantize, QuantizedLinear
from pocketlens.targets.form import DEFAULT, Form
from pocketlens.targets.quiet import quiet_streams
from pocketlens.targets.scopes import scoped
from pocketlens.types import Artifact, Model

_Quantized = QuantizedConv2d | QuantizedConvTranspose2d | QuantizedLinear
_ALTERNATIVES = "put other operations there, or use the target onnxruntime or openvino"

_SHIFT = {"uint8": 128, "int8": 0}
"""Storage of a grid -> what its integers lose to become LiteRT's int8: the same numbers."""


def lower(model: Model, name: str, folder: Path, form: Form = DEFAULT) -> Artifact:
    """Write `model` as FOLDER/NAME.tflite, weights inside; its input is (1, height, width, channels).

    Its outputs are `logits` and, where the network ends in a linear layer, `embedding`, what that layer reads. Where
    the first or last thing it does is to round onto a grid, it takes or gives int8, with scale and zero point.

    Args:
        model: a canonical graph.
        name: of the graph.
        folder: exists.
        form: what the device asks for; files take one image and keep biases as integers whatever it says.
    Raises: TargetError naming the layer that cannot be lowered.
    """
    kinds = {node.name: vocabulary.kind(model.graph, node) for node in model.graph.graph.nodes}
    if unknown := [layer for layer, kind in kinds.items() if kind == "other"]:
        raise TargetError(f"LiteRT cannot take layer {unknown[0]} of {model.spec.name}; {_ALTERNATIVES}")
    integer = "quantize" in kinds.values()
    both = with_embedding(model.graph, on_grid=form.whole)
    graph = _without_casts(copy.deepcopy(both or model.graph)).float()
    layers = [node.name for node in graph.graph.nodes]
    scales = {} if integer else _weight_scales(graph)
    content = _convert(scoped(_exportable(graph, integer=integer)), model, integer=integer)
    from pocketlens.targets.litert.tidy import tidy

    outputs = ["logits"] if both is None else ["logits", "embedding"]
    place = folder / f"{re.sub(r'[^A-Za-z0-9]+', '_', name)}.tflite"
    place.write_bytes(tidy(content, layers, outputs, half="half" in model.facts, scales=scales))
    return Artifact(
        name=name,
        target="litert",
        spec=model.spec,
        graph=place,
        arithmetic="int8" if integer else "float16" if "half" in model.facts else "float32",
        parameters=count_parameters(model),
        macs=count_macs(model),
    )


class Coded(nn.Module):
    """A quantized layer as the converter is to see it: weights that are rounded onto their own grid and back.

    The converter takes the rounding for the weights' grid, and folds it into int8 weights: our integers.
    """

    def __init__(self, layer: _Quantized, grid: Tensor | None) -> None:
        super().__init__()
        codes, scale = layer.codes, layer.weight_scale
        if layer.bias is not None and grid is not None:
            codes, scale = room_for_bias(layer, grid)
        self.register_buffer("weight", affine.dequantize(codes, scale, layer.axis))
        self.one_scale = float(scale) if scale.dim() == 0 else None
        self.register_buffer("scale", scale)
        self.register_buffer("zero_point", torch.zeros(scale.shape, dtype=torch.int64))
        self.layer = _Geometry(layer)

    def forward(self, x: Tensor) -> Tensor:
        """What the layer computes, (n, ...) -> (n, ...)."""
        q = torch.ops.quantized_decomposed
        if self.one_scale is not None:
            one = (self.one_scale, 0, -127, 127, torch.int8)
            weight = q.quantize_per_tensor.default(self.weight, *one)
            return self.layer(x, q.dequantize_per_tensor.default(weight, *one))
        grid = (self.scale, self.zero_point, 0, -127, 127, torch.int8)
        weight = q.quantize_per_channel.default(self.weight, *grid)
        return self.layer(x, q.dequantize_per_channel.default(weight, *grid))


class FloatCoded(nn.Module):
    """A quantized layer that computes in floats; `tidy` stores its weights as the integers that they are."""

    def __init__(self, layer: _Quantized) -> None:
        super().__init__()
        self.register_buffer("weight", layer.weight)
        self.layer = _Geometry(layer)

    def forward(self, x: Tensor) -> Tensor:
        """What the layer computes, (n, ...) -> (n, ...)."""
        return self.layer(x, self.weight)


class _Geometry(nn.Module):
    """How a quantized layer uses its weight and bias."""

    def __init__(self, layer: _Quantized) -> None:
        super().__init__()
        self.bias = layer.bias
        self.kind = type(layer)
        self.linear = isinstance(layer, QuantizedLinear)
        if not isinstance(layer, QuantizedLinear):
            self.stride, self.padding, self.dilation = layer.stride, layer.padding, layer.dilation
            self.groups = layer.groups
        if isinstance(layer, QuantizedConvTranspose2d):
            self.output_padding = layer.output_padding

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.linear:
            return F.linear(x, weight, self.bias)
        if self.kind is QuantizedConvTranspose2d:
            return F.conv_transpose2d(
                x, weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
            )
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Grid(nn.Module):
    """An activation grid as the converter is to see it: always int8."""

    def __init__(self, leaf: QuantizeDequantize) -> None:
        super().__init__()
        shift = _SHIFT[leaf.storage]
        values = (int(leaf.zero_point) - shift, leaf.qmin - shift, leaf.qmax - shift)
        self.grid = (float(leaf.scale), *values, torch.int8)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape, on the grid."""
        q = torch.ops.quantized_decomposed
        return q.dequantize_per_tensor.default(q.quantize_per_tensor.default(x, *self.grid), *self.grid)


def _exportable(graph: fx.GraphModule, *, integer: bool) -> fx.GraphModule:
    """Change `graph` so that its leaves are what the converter understands."""
    for node in graph.graph.nodes:
        if node.op != "call_module":
            continue
        module = graph.get_submodule(str(node.target))
        if isinstance(module, _Quantized):
            leaf = Coded(module, grid_before(graph, node)) if integer else FloatCoded(module)
            graph.set_submodule(str(node.target), leaf)
    for name, module in list(graph.named_modules()):
        if isinstance(module, QuantizeDequantize):
            levels = module.qmax - module.qmin + 1
            if levels != 256:
                raise TargetError(
                    f"{name}: LiteRT's activations have 8 bits, got {levels} levels; leave out `activation_bits`, or "
                    "use the target onnxruntime or openvino"
                )
            graph.set_submodule(name, Grid(module))
    for parameter in graph.parameters():
        parameter.requires_grad_(False)
    return graph


def _without_casts(graph: fx.GraphModule) -> fx.GraphModule:
    """Without changes of floating-point width: LiteRT's CPU kernels compute in float32 on 16-bit weights."""
    for node in list(graph.graph.nodes):
        if node.op == "call_module" and isinstance(graph.get_submodule(str(node.target)), Cast):
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


def _weight_scales(graph: fx.GraphModule) -> dict[str, Any]:
    """Of layers that hold integer weights: node -> scales, (channels,) or (1,)."""
    found = {}
    for node in graph.graph.nodes:
        module = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, _Quantized):
            found[node.name] = module.weight_scale.reshape(-1).numpy()
    return found


def _convert(graph: fx.GraphModule, model: Model, *, integer: bool) -> bytes:
    example = torch.zeros(1, *model.spec.input_shape).permute(0, 2, 3, 1).contiguous()
    try:
        with quiet_streams(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            import litert_torch

            from pocketlens.targets.litert import converter

            wrapped = litert_torch.to_channel_last_io(graph, args=[0]).eval()
            config = converter.integer_config() if integer else None
            return litert_torch.convert(wrapped, (example,), quant_config=config).model_content()
    except ImportError as error:
        raise TargetError(f"lowering to LiteRT needs {error.name}: pip install 'pocketlens[litert]'") from error
    except Exception as error:  # its exceptions share no base but Exception
        cause = " ".join(str(error).split())[:240]
        where = _culprit(str(error), graph)
        raise TargetError(f"LiteRT cannot take {where} of {model.spec.name} ({cause}); {_ALTERNATIVES}") from error


def _culprit(message: str, graph: fx.GraphModule) -> str:
    """The layer that the converter's message names; it names modules as "Class_NODE"."""
    named = [n.name for n in graph.graph.nodes if re.search(rf"_{re.escape(n.name)}\b", message)]
    return f"layer {max(named, key=len)}" if named else "a layer"
