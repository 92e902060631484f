"""Lower a canonical graph to ONNX: torch's own exporter, our two custom operators, integer initializers."""

import contextlib
import copy
import io
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxscript import ir, opset21
from onnxscript.optimizer import optimize_ir
from torch import Tensor, fx, nn
from torch.nn import functional as F

from pocketlens.errors import TargetError
from pocketlens.models import vocabulary
from pocketlens.models.cost import count_macs, count_parameters
from pocketlens.models.embedding import with_embedding
from pocketlens.models.integer_bias import grid_before, room_for_bias
from pocketlens.ops import affine
from pocketlens.ops.quantized import (
    QuantizedConv2d,
    QuantizedConvTranspose2d,
    QuantizeDequantize,
    QuantizedLinear,
)
from pocketlens.targets.form import DEFAULT, Form
from pocketlens.targets.onnxruntime.blob import move_weights, share_biases
from pocketlens.targets.onnxruntime.tidy import tidy
from pocketlens.targets.scopes import scoped
from pocketlens.types import Artifact, Model

OPSET = 21
WEIGHTS = "weights.bin"
_QUANTIZED = (QuantizedConv2d, QuantizedConvTranspose2d, QuantizedLinear)
_STORED = {"uint8": torch.uint8, "int8": torch.int8}


def lower(model: Model, name: str, folder: Path, form: Form = DEFAULT) -> Artifact:
    """Write `model` as FOLDER/NAME.onnx with its large initializers in FOLDER/weights.bin.

    A second graph lowered into the same folder shares the tensors that are equal, and a weight-only one the integer
    biases of one before it. Its outputs are `logits` and, where the network ends in a linear layer, `embedding`, what
    that layer reads: (n, features), float32.

    Args:
        model: a canonical graph.
        name: of the graph.
        folder: exists.
        form: what the device asks for.
    Raises: TargetError naming the layer that cannot be lowered.
    """
    both = with_embedding(model.graph, on_grid=form.whole)
    outputs = ["logits"] if both is None else ["logits", "embedding"]
    proto = _export(_exportable(both or model.graph, form), model, outputs, form)
    kinds = {vocabulary.kind(model.graph, node) for node in model.graph.graph.nodes}
    modules = dict(model.graph.named_modules())
    coded = [m for m in modules.values() if isinstance(m, _QUANTIZED)]
    tidy(proto, model.graph, unsigned=any(m.storage == "uint8" for m in coded))
    place = folder / f"{re.sub(r'[^A-Za-z0-9]+', '_', name)}.onnx"
    # Weight-only graphs: let the session dequantize the constant weights once, when it loads.
    weight_only = bool(coded) and "quantize" not in kinds
    if weight_only:
        share_biases(proto, folder / WEIGHTS)
    weights = move_weights(proto, folder / WEIGHTS)
    place.write_bytes(proto.SerializeToString())
    arithmetic = "int8" if "quantize" in kinds else "float16" if "half" in model.facts else "float32"
    return Artifact(
        name=name,
        target="onnxruntime",
        spec=model.spec,
        graph=place,
        weights=weights,
        session={"session.disable_quant_qdq": "1"} if weight_only else {},
        arithmetic=arithmetic,
        parameters=count_parameters(model),
        macs=count_macs(model),
    )


class _Coded(nn.Module):
    """A quantized layer as the exporter is to see it: integers behind a dequantize, the bias in integers too."""

    def __init__(
        self, layer: QuantizedConv2d | QuantizedConvTranspose2d | QuantizedLinear, grid: Tensor | None
    ) -> None:
        super().__init__()
        self.layer = layer
        codes, scale = layer.codes, layer.weight_scale
        if layer.bias is not None and grid is not None:
            codes, scale = room_for_bias(layer, grid)
            bias_scale = scale.broadcast_to(layer.bias.shape).contiguous() * grid
            self.register_buffer("bias_scale", bias_scale)
            self.register_buffer("bias_codes", torch.round(layer.bias.detach() / bias_scale).to(torch.int32))
        self.register_buffer("stored", codes)
        self.register_buffer("scale", scale)
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        weight = affine.dequantize(self.stored, self.scale, layer.axis)
        bias = layer.bias
        if bias is not None and self.grid is not None:
            bias = affine.dequantize(self.bias_codes, self.bias_scale, 0)
        if isinstance(layer, QuantizedLinear):
            return F.linear(x, weight, bias)
        if isinstance(layer, QuantizedConvTranspose2d):
            return F.conv_transpose2d(
                x, weight, bias, layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation
            )
        return F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)


class _Grid(nn.Module):
    """An activation grid whose zero point has the dtype that the file stores."""

    def __init__(self, leaf: QuantizeDequantize) -> None:
        super().__init__()
        self.qmin, self.qmax = leaf.qmin, leaf.qmax
        self.register_buffer("scale", leaf.scale)
        self.register_buffer("zero_point", leaf.zero_point.to(_STORED[leaf.storage]))

    def forward(self, x: Tensor) -> Tensor:
        return affine.quantize_dequantize(x, self.scale, self.zero_point, self.qmin, self.qmax)


def _exportable(graph: fx.GraphModule, form: Form) -> fx.GraphModule:
    """A copy in which quantized leaves are what the exporter understands and every layer has its node's name.

    A layer that is called twice becomes one a call: ONNX Runtime computes a call in floats whose bias is not on the
    scale of that call's own sums (seen in 1.32). Its codes are stored once.
    """
    result = copy.deepcopy(graph)
    called = set()
    for node in result.graph.nodes:
        module = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, _QUANTIZED):
            if node.target in called:
                node.target = node.name
            called.add(node.target)
            grid = grid_before(graph, node) if form.bias == "int32" else None
            result.add_submodule(str(node.target), _Coded(copy.deepcopy(module), grid))
    _drop_idle_activations(result)
    for name, module in list(result.named_modules()):
        if isinstance(module, QuantizeDequantize):
            if form != DEFAULT and _narrow(module.qmin, module.qmax):
                levels = module.qmax - module.qmin + 1
                raise TargetError(
                    f"{name}: this device's activations have 8 bits, got {levels} levels; leave out "
                    "`activation_bits`, or lower for the target onnxruntime"
                )
            result.set_submodule(name, _Grid(module))
    return scoped(result)


def _narrow(qmin: int, qmax: int) -> bool:
    """Whether a grid uses less than all of its storage."""
    return (qmin, qmax) not in ((0, 255), (-128, 127))


def _drop_idle_activations(graph: fx.GraphModule) -> None:
    """Take out, in place, activations that a narrow grid behind them repeats: ReLU6 before a grid of [0, 6].

    On a grid of 8 bits ONNX Runtime does that itself. Here it only sees how far 8 bits would reach, keeps the
    activation, and for its sake computes the layer before it in floats (seen in 1.32).
    """
    for node in list(graph.graph.nodes):
        leaf = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(leaf, QuantizeDequantize) or not _narrow(leaf.qmin, leaf.qmax):
            continue
        source = node.all_input_nodes[0]
        low, high = ((q - int(leaf.zero_point)) * float(leaf.scale) for q in (leaf.qmin, leaf.qmax))
        ceiling = {"relu": float("inf"), "relu6": 6.0}.get(vocabulary.kind(graph, source), -float("inf"))
        if low >= 0 and high <= ceiling and len(source.users) == 1:
            source.replace_all_uses_with(source.all_input_nodes[0])
            graph.graph.erase_node(source)
    graph.recompile()


def _export(graph: fx.GraphModule, model: Model, outputs: list[str], form: Form) -> onnx.ModelProto:
    example = torch.zeros(form.batch or 2, *model.spec.input_shape)
    shapes = ({0: torch.export.Dim("n")},) if form.batch is None else None
    program = None
    try:
        with _quiet(), torch.inference_mode():
            program = torch.export.export(graph, (example,), dynamic_shapes=shapes)
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=["input"],
                output_names=outputs,
                custom_translation_table={
                    torch.ops.pocketlens.quantize_dequantize.default: _quantize_dequantize,
                    torch.ops.pocketlens.dequantize.default: _dequantize,
                },
                optimize=False,
                verbose=False,
            )
            assert exported is not None
            optimize_ir(exported.model, should_fold=_should_fold)
        return exported.model_proto
    except Exception as error:
        where = _culprit(error, program, model.graph)
        raise TargetError(
            f"ONNX, which the targets onnxruntime and openvino read, cannot express {where} of {model.spec.name} "
            f"({_cause(error)}); put other operations there, or try the target litert, which takes no ONNX"
        ) from error


def _should_fold(node: ir.Node) -> bool | None:
    """Folding a DequantizeLinear would put the float weights back into the file."""
    return False if node.op_type in ("QuantizeLinear", "DequantizeLinear") else None


def _quantize_dequantize(x: Any, scale: Any, zero_point: Any, qmin: int, qmax: int) -> Any:
    quantized: Any = opset21.QuantizeLinear(x, scale, zero_point)
    if _narrow(qmin, qmax):
        # In integers: behind floats, between a layer and its grid, it would keep the layer from fusing with the grid.
        constants: list[Any] = [opset21.Constant(value_int=q) for q in (qmin, qmax)]
        ends: list[Any] = [opset21.CastLike(constant, zero_point) for constant in constants]
        quantized = opset21.Clip(quantized, *ends)
    return opset21.DequantizeLinear(quantized, scale, zero_point)


def _dequantize(q: Any, scale: Any, axis: int) -> Any:
    return opset21.DequantizeLinear(q, scale, axis=axis)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter reports its steps on stdout and warns about its own internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _culprit(error: BaseException, program: torch.export.ExportedProgram | None, graph: fx.GraphModule) -> str:
    """The layer that the exporter stumbled over, as a person knows it."""
    layers = {node.name: vocabulary.kind(graph, node) for node in graph.graph.nodes}
    named = re.search(r"translating node %(\w+)", "\n".join(str(e) for e in _chain(error)))
    if named and program is not None:
        # The exporter translates a decomposed program, in which one operator may have become several.
        with _quiet():
            decomposed = program.run_decompositions()
        for node in decomposed.graph.nodes:
            if node.name == named.group(1):
                paths = [path.split(".")[0] for path, _ in node.meta.get("nn_module_stack", {}).values()]
                if found := [path for path in paths if path in layers]:
                    return f"layer {found[0]}"
    unknown = [name for name, kind in layers.items() if kind == "other"]
    return f"layer {unknown[0]}" if unknown else "a layer"


def _cause(error: BaseException) -> str:
    """The innermost cause, in one line."""
    return " ".join(str(_chain(error)[-1]).split())[:240]


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    return chain
