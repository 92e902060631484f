"""The rules, read off an ONNX file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from pocketlens.targets.presets.check import Violation
from pocketlens.targets.presets.onnx_graph import OnnxGraph, attribute, label
from pocketlens.targets.presets.preset import Preset
from pocketlens.types import Scheme

_KINDS = {"Conv": "conv", "ConvTranspose": "conv_transpose", "Gemm": "linear", "MatMul": "linear"}
"""Operators with weights -> our kind of them."""

_FUSED = frozenset({"Relu", "Clip"})
"""Activations that run inside the operator before them."""

_SETTINGS = frozenset({"Clip", "Pad", "Resize"})
"""Operators whose further inputs are settings, in floats on any device."""

_ROUNDERS = frozenset({"QuantizeLinear", "DequantizeLinear"})

Grid = tuple["NDArray[np.generic]", "NDArray[np.generic]"]


def check_onnx(file: Path, preset: Preset) -> tuple[Violation, ...]:
    """Every rule that the file breaks; see `check.check_preset`."""
    graph = OnnxGraph(file)
    found = [*_shapes(graph, preset), *_operators(graph, preset)]
    if preset.scheme is None:
        return (*found, *_halves(graph))
    for node in graph.nodes:
        if node.op_type in _ROUNDERS:
            found += _activation(graph, node, preset.scheme)
        elif node.op_type in _KINDS:
            found += _layer(graph, node, preset)
        elif node.op_type == "Add":
            found += _sum(graph, node, preset.scheme)
        if preset.form.whole and node.op_type not in _ROUNDERS:
            found += _in_integers(graph, node)
    if preset.form.whole:
        found += _ends(graph)
    return tuple(found)


def _shapes(graph: OnnxGraph, preset: Preset) -> Iterator[Violation]:
    batch = preset.form.batch
    if batch is None:
        return
    for value in graph.inputs:
        dims = [d.dim_value or d.dim_param or "?" for d in value.type.tensor_type.shape.dim]
        if not all(isinstance(d, int) for d in dims) or (dims and dims[0] != batch):
            yield Violation(value.name, "shape", f"its shape must be fixed with a batch of {batch}, got {dims}")


def _operators(graph: OnnxGraph, preset: Preset) -> Iterator[Violation]:
    if preset.file != "onnx" or not preset.operators:
        return
    for node in graph.nodes:
        if node.op_type != "Constant" and node.op_type not in preset.operators:
            yield Violation(label(node), "operator", f"{node.op_type} is not among those that the device takes")


def _halves(graph: OnnxGraph) -> Iterator[Violation]:
    """All in 16-bit floats, but for the ends."""
    for node in graph.nodes:
        if node.op_type == "Cast":
            continue
        read = node.input[:1] if node.op_type in _SETTINGS else node.input
        for name in (*read, *node.output):
            if graph.type_of(name) in (TensorProto.FLOAT, TensorProto.DOUBLE):
                yield Violation(label(node), "precision", f"{name} is in 32-bit floats, must be in 16-bit ones")
                break


def _grid(graph: OnnxGraph, node: onnx.NodeProto) -> Grid:
    """(scale, zero point) of a Q or DQ; ONNX's own zero point where none is given."""
    scale = graph.constant(node.input[1])
    held = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if held is None:
        codes = graph.constant(node.input[0]) if node.op_type == "DequantizeLinear" else None
        held = np.zeros((), np.uint8 if codes is None else codes.dtype)
    return (np.zeros(()) if scale is None else scale), held


def _activation(graph: OnnxGraph, node: onnx.NodeProto, scheme: Scheme) -> Iterator[Violation]:
    """A rounder of something that is computed."""
    if graph.constant(node.input[0]) is not None:
        return
    wanted = scheme.activation
    scale, zero_point = _grid(graph, node)
    if zero_point.dtype.name != wanted.storage:
        yield Violation(label(node), "storage", f"activations must be {wanted.storage}, got {zero_point.dtype.name}")
    if scale.size != 1:
        yield Violation(label(node), "granularity", f"activations have one scale a tensor, got {scale.size}")
    elif not float(scale.ravel()[0]) > 0:
        yield Violation(label(node), "range", f"a scale must be above 0, got {float(scale.ravel()[0])}")
    if wanted.zero_point is not None and np.any(zero_point != wanted.zero_point):
        values = sorted({int(z) for z in zero_point.ravel()})
        yield Violation(label(node), "zero point", f"activations must have {wanted.zero_point}, got {values}")


def _layer(graph: OnnxGraph, node: onnx.NodeProto, preset: Preset) -> Iterator[Violation]:
    """Weights, bias, and that both operands are rounded or neither is."""
    scheme = preset.scheme
    assert scheme is not None
    x, weight = graph.giver(node.input[0]), graph.giver(node.input[1])
    if weight is None or weight.op_type != "DequantizeLinear" or graph.constant(weight.input[0]) is None:
        return  # a layer in floats, which a device that mixes may run
    if x is None or x.op_type != "DequantizeLinear":
        yield Violation(label(node), "placement", "its weights are integers, but what it reads is not rounded")
    yield from _weight(graph, node, weight, scheme)
    if len(node.input) > 2 and node.input[2]:
        yield from _bias(graph, node, (x, weight), preset)


def _weight(graph: OnnxGraph, node: onnx.NodeProto, rounder: onnx.NodeProto, scheme: Scheme) -> Iterator[Violation]:
    wanted, codes = scheme.weight, graph.constant(rounder.input[0])
    assert codes is not None
    scale, zero_point = _grid(graph, rounder)
    if codes.dtype.name != wanted.storage:
        yield Violation(label(node), "storage", f"weights must be {wanted.storage}, got {codes.dtype.name}")
        return
    if wanted.zero_point is not None and np.any(zero_point != wanted.zero_point):
        values = sorted({int(z) for z in zero_point.ravel()})
        yield Violation(label(node), "zero point", f"weights must have {wanted.zero_point}, got {values[:4]}")
    low, high = int(codes.min(initial=wanted.qmax)), int(codes.max(initial=wanted.qmin))
    if low < wanted.qmin or high > wanted.qmax:
        yield Violation(label(node), "range", f"weights lie in {wanted.qmin}..{wanted.qmax}, got {low}..{high}")
    kind = _KINDS[node.op_type]
    each = scheme.granularity == "per_channel" and kind not in scheme.per_tensor
    axis = _channels(node)
    if each and (scale.ndim != 1 or scale.size != codes.shape[axis] or _axis(rounder, codes.ndim) != axis):
        yield Violation(label(node), "granularity", f"weights have a scale a channel (axis {axis}), got {scale.shape}")
    if not each and scale.size != 1:
        yield Violation(label(node), "granularity", f"weights of {node.op_type} have one scale, got {scale.size}")


def _channels(node: onnx.NodeProto) -> int:
    """The axis of a layer's output channels in its stored weights."""
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return 0 if node.op_type == "Conv" else 1


def _axis(rounder: onnx.NodeProto, dims: int) -> int:
    axis = attribute(rounder, "axis", 1)
    return axis if axis >= 0 else axis + dims


def _bias(
    graph: OnnxGraph,
    node: onnx.NodeProto,
    operands: "tuple[onnx.NodeProto | None, onnx.NodeProto]",
    preset: Preset,
) -> Iterator[Violation]:
    rounder = graph.giver(node.input[2])
    if preset.form.bias == "float32":
        held = graph.constant(node.input[2])
        if held is None or held.dtype != np.float32:
            yield Violation(label(node), "bias", "must be stored in 32-bit floats, not behind a DequantizeLinear")
        return
    codes = None if rounder is None else graph.constant(rounder.input[0])
    if rounder is None or rounder.op_type != "DequantizeLinear" or codes is None or codes.dtype != np.int32:
        yield Violation(label(node), "bias", "must be stored as int32 behind a DequantizeLinear")
        return
    x, weight = operands
    if x is None or x.op_type != "DequantizeLinear":
        return  # placement says so already
    scale, zero_point = _grid(graph, rounder)
    read, own = (_grid(graph, r)[0].ravel().astype(np.float64) for r in (x, weight))
    if np.any(zero_point != 0) or not np.allclose(scale.ravel().astype(np.float64), read * own, rtol=1e-4, atol=0):
        yield Violation(label(node), "bias", "its scale must be that of the sums, input times weight, at zero point 0")


def _sum(graph: OnnxGraph, node: onnx.NodeProto, scheme: Scheme) -> Iterator[Violation]:
    """Both operands rounded; where sums fuse into a layer, the other operand of one that does."""
    givers = [graph.giver(name) for name in graph.floats_before(node)]
    rounded = [g is not None and g.op_type == "DequantizeLinear" for g in givers]
    if "add" in scheme.fused:
        layers = [g is not None and _rounded_layer(graph, g) for g in givers]
        if len(givers) == 2 and any(layers) and not any(rounded):
            yield Violation(label(node), "placement", "one operand is a layer's output, the other must be rounded")
    elif "add" in scheme.operators and any(rounded) and not all(rounded):
        yield Violation(label(node), "placement", "one operand is rounded, the other is not")


def _rounded_layer(graph: OnnxGraph, node: onnx.NodeProto) -> bool:
    if node.op_type not in _KINDS or len(graph.readers(node.output[0])) != 1:
        return False
    weight = graph.giver(node.input[1])
    return weight is not None and weight.op_type == "DequantizeLinear"


def _in_integers(graph: OnnxGraph, node: onnx.NodeProto) -> Iterator[Violation]:
    """What a node reads comes off a grid, but for an activation that runs inside the operator before it."""
    for name in node.input[:1] if node.op_type in _SETTINGS else node.input:
        giver = graph.giver(name)
        if not name or not graph.is_float(name):
            continue
        if giver is None:
            what = "input" if graph.constant(name) is None else "constant"
            yield Violation(label(node), "float operator", f"it reads the {what} {name} in floats")
        elif giver.op_type != "DequantizeLinear" and not _runs_inside(graph, node, giver):
            yield Violation(label(node), "float operator", f"it reads {name} in floats")


def _runs_inside(graph: OnnxGraph, node: onnx.NodeProto, giver: onnx.NodeProto) -> bool:
    """Whether `node` is an activation that the operator before it runs: it alone reads what that gives."""
    return node.op_type in _FUSED and giver.op_type not in _FUSED and len(graph.readers(giver.output[0])) == 1


def _ends(graph: OnnxGraph) -> Iterator[Violation]:
    """Outputs come off a grid."""
    for name in graph.outputs:
        giver = graph.giver(name)
        if giver is None or giver.op_type != "DequantizeLinear":
            where = name if giver is None else label(giver)
            yield Violation(where, "float operator", f"the output {name} does not come off a grid")
