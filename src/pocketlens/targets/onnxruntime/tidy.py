"""After the export: what ONNX Runtime runs faster or stores smaller, and names that people recognise."""

import ast
from collections import Counter, defaultdict

import numpy as np
import onnx
from onnx import numpy_helper
from torch import fx

_UNSIGNED_CENTRE = 128


def tidy(proto: onnx.ModelProto, graph: fx.GraphModule, *, unsigned: bool) -> None:
    """Change the model in place: merge padding, store unsigned weights where the scheme says so, name the nodes.

    Args:
        proto: as exported.
        graph: what it was exported from; its layer names go into the nodes' names.
        unsigned: whether the scheme stores weights as uint8 at zero point 128.
    """
    _merge_padding(proto.graph)
    _give_zero_points(proto.graph, unsigned)
    _name_nodes(proto.graph, {node.name for node in graph.graph.nodes})
    _forget_exporter(proto)


def _initializers(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in graph.initializer}


def _merge_padding(graph: onnx.GraphProto) -> None:
    """Pad followed by one Conv becomes the Conv's own, possibly lopsided, padding."""
    constants = _constants(graph)
    readers = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    for node in [n for n in graph.node if n.op_type == "Pad"]:
        after = readers[node.output[0]]
        pads = constants.get(node.input[1]) if len(node.input) > 1 else None
        value = constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(())
        mode = next((a.s for a in node.attribute if a.name == "mode"), b"constant")
        if pads is None or value is None or float(value) != 0 or mode != b"constant":
            continue
        if len(after) != 1 or after[0].op_type != "Conv" or len(node.input) > 3:
            continue
        rank = len(pads) // 2
        if pads[:2].any() or pads[rank : rank + 2].any():
            continue  # batch or channels are padded too
        conv = after[0]
        own = next((a for a in conv.attribute if a.name == "pads"), None)
        before = list(own.ints) if own is not None else [0] * (2 * (rank - 2))
        extra = [*pads[2:rank], *pads[rank + 2 :]]
        total = [int(a + b) for a, b in zip(before, extra, strict=True)]
        kept = [a for a in conv.attribute if a.name not in ("pads", "auto_pad")]
        del conv.attribute[:]
        conv.attribute.extend([*kept, onnx.helper.make_attribute("pads", total)])
        conv.input[0] = node.input[0]
        graph.node.remove(node)


def _constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Initializers and Constant nodes by name."""
    found = {t.name: numpy_helper.to_array(t) for t in graph.initializer if np.prod(t.dims) <= 64}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = numpy_helper.to_array(attribute.t)
                elif attribute.name == "value_ints":
                    found[node.output[0]] = np.array(attribute.ints)
                elif attribute.name in ("value_float", "value_int"):
                    found[node.output[0]] = np.array(attribute.f if attribute.name == "value_float" else attribute.i)
    return found


def _give_zero_points(graph: onnx.GraphProto, unsigned: bool) -> None:
    """Give integer weights the zero point that ONNX Runtime's fusions look for, one value for all.

    Unsigned weights become uint8 at zero point 128, the same numbers. QLinearConv is 7 times slower where zero points
    differ, and Gemm fuses only where one is given (both seen in 1.32).
    """
    tensors = _initializers(graph)
    for node in [n for n in graph.node if n.op_type == "DequantizeLinear" and len(n.input) == 2]:
        codes, scale = tensors.get(node.input[0]), tensors.get(node.input[1])
        if codes is None or scale is None or codes.data_type != onnx.TensorProto.INT8:
            continue
        centre = np.zeros(tuple(scale.dims), np.int8)
        if unsigned:
            shifted = numpy_helper.to_array(codes).astype(np.int16) + _UNSIGNED_CENTRE
            codes.CopyFrom(numpy_helper.from_array(shifted.astype(np.uint8), codes.name))
            centre = np.full(tuple(scale.dims), _UNSIGNED_CENTRE, np.uint8)
        zero_point = numpy_helper.from_array(centre, f"{codes.name}_zero_point")
        graph.initializer.append(zero_point)
        node.input.append(zero_point.name)


def _name_nodes(graph: onnx.GraphProto, layers: set[str]) -> None:
    """Name every node LAYER/Operator, and its outputs likewise, so that a profile can be read.

    ONNX Runtime names the nodes that it makes after the value that they give.
    """
    seen: Counter[str] = Counter()
    kept = {value.name for value in graph.output}
    renamed: dict[str, str] = {}
    owner: dict[str, str] = {}
    for node in graph.node:
        # An activation goes by the layer it will be fused into.
        fused = owner.get(node.input[0]) if node.op_type in ("Clip", "Relu") else None
        layer = fused or _layer(node, layers)
        if node.op_type in ("Conv", "Gemm", "Add"):
            owner[node.output[0]] = layer
        name = f"{layer}/{node.op_type}"
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"
        for place, old in enumerate(node.output):
            if old and old not in kept:
                renamed[old] = node.name if place == 0 else f"{node.name}:{place}"
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]


def _layer(node: onnx.NodeProto, layers: set[str]) -> str:
    """The canonical node that an ONNX node came from: the owner of its weights, else what the exporter noted."""
    for name in node.input[1:]:
        if "." in name and name.split(".")[0] in layers:
            return name.split(".")[0]
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            scopes = [scope.split(".")[0] for scope in ast.literal_eval(entry.value) if scope]
            return next((scope for scope in scopes if scope in layers), scopes[-1] if scopes else node.output[0])
    return node.output[0]


def _forget_exporter(proto: onnx.ModelProto) -> None:
    """Drop the exporter's notes: stack traces with paths of this machine, twice the size of the graph."""
    del proto.metadata_props[:]
    del proto.graph.metadata_props[:]
    for holder in (*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del holder.metadata_props[:]
        holder.doc_string = ""
    del proto.graph.value_info[:]
    for tensor in proto.graph.initializer:
        del tensor.metadata_props[:]
        tensor.doc_string = ""
    proto.producer_name, proto.producer_version = "pocketlens", ""
