"""One blob of weights that several graphs refer to as external data."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from pocketlens.bundle.tensor_coding import Span
from pocketlens.errors import BundleError
from pocketlens.targets.onnxruntime.roles import Role, roles

SMALLEST = 128
"""Bytes from which on a tensor moves out of the graph."""

ALIGNMENT = 64
"""Offsets are multiples of this, so that a runtime can map the blob."""

_ORDER = tuple(Role)
"""Alike beside alike packs best, and a bias scale packs into nothing behind the weight scale that it follows from."""

_ROUNDING = 2.0**-22
"""Largest relative difference of a bias and its integers times their scale; float32 rounds by a quarter of it."""


def move_weights(proto: onnx.ModelProto, blob: Path) -> Path | None:
    """Move large initializers into `blob`, in place; tensors that the blob holds already are shared.

    Args:
        proto: changed to refer to the blob by its file name.
        blob: appended to, made when missing.
    Returns: the blob, or None when nothing moved.
    """
    content = bytearray(blob.read_bytes() if blob.exists() else b"")
    index = _Index.of(blob)
    role = roles(proto.graph)
    moved = {}
    for tensor in sorted(proto.graph.initializer, key=lambda t: _ORDER.index(role[t.name])):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            continue
        raw = onnx.numpy_helper.to_array(tensor).tobytes()
        if len(raw) < SMALLEST:
            continue
        key = hashlib.sha256(raw).hexdigest()
        if key not in index.places:
            content += b"\0" * (-len(content) % ALIGNMENT)
            index.places[key] = (len(content), len(raw))
            content += raw
        _refer(tensor, blob.name, *index.places[key])
        moved[tensor.name] = index.places[key]
    if not moved:
        return None
    # The last tensor is as long as one before it with its padding, so that it can follow from it.
    content += b"\0" * (-len(content) % ALIGNMENT)
    blob.write_bytes(content)
    index.biases += [(moved[a], moved[b]) for a, b in _integer_biases(proto.graph) if a in moved and b in moved]
    index.write(blob)
    return blob


def share_biases(proto: onnx.ModelProto, blob: Path) -> None:
    """Let float biases that another graph keeps in `blob` as integers be these, dequantized, in place.

    Only for a graph whose session folds them when it loads.

    Args:
        proto: its weights are still inside.
        blob: where `move_weights` will put them.
    """
    index = _Index.of(blob)
    if not index.biases:
        return
    content = blob.read_bytes()
    role = roles(proto.graph)
    for tensor in [t for t in proto.graph.initializer if role[t.name] is Role.FLOAT_BIASES]:
        wanted = onnx.numpy_helper.to_array(tensor)
        for codes, scale in index.biases:
            if wanted.dtype != np.float32 or wanted.nbytes != codes[1]:
                continue
            bias = _read(content, codes, "<i4").astype(np.float32) * _read(content, scale, "<f4")
            if np.allclose(bias, wanted, rtol=_ROUNDING, atol=0):
                _dequantize(proto.graph, tensor, blob.name, codes, scale)
                break


def external_tensors(graph: Path) -> set[Span]:
    """Where the tensors of an ONNX file lie in its blob."""
    return set(_spans(onnx.load(graph, load_external_data=False).graph).values())


def external_roles(graph: bytes) -> dict[Span, Role]:
    """Where the tensors of an ONNX file, which may come from anywhere, lie in its blob, and what they are.

    Raises: BundleError when it is no ONNX file.
    """
    try:
        proto = onnx.load_from_string(graph).graph
        role, spans = roles(proto), _spans(proto)
    except (DecodeError, KeyError, ValueError) as error:
        raise BundleError(f"is no ONNX file that refers to weights ({error}); make the bundle again") from error
    return {span: role[name] for name, span in spans.items()}


@dataclass
class _Index:
    """What a blob holds; kept beside it as a hidden file.

    Args:
        places: SHA-256 of a tensor -> its offset and length.
        biases: places of integer biases and of their scales, float32.
    """

    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    biases: list[tuple[tuple[int, int], tuple[int, int]]] = field(default_factory=list)

    @classmethod
    def of(cls, blob: Path) -> "_Index":
        """As kept; an empty one where there is no blob."""
        place = _index_file(blob)
        if not place.exists():
            return cls()
        kept = json.loads(place.read_text())
        places = {key: (offset, length) for key, (offset, length) in kept["places"].items()}
        return cls(places=places, biases=[((a, b), (c, d)) for (a, b), (c, d) in kept["biases"]])

    def write(self, blob: Path) -> None:
        """Keep it."""
        _index_file(blob).write_text(json.dumps(asdict(self)))


def _index_file(blob: Path) -> Path:
    return blob.with_name(f".{blob.name}.index")


def _integer_biases(graph: onnx.GraphProto) -> Iterator[tuple[str, str]]:
    """Initializers that hold a bias in integers, and its scale."""
    role = roles(graph)
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and role.get(node.input[0]) is Role.BIASES:
            yield node.input[0], node.input[1]


def _dequantize(
    graph: onnx.GraphProto, bias: onnx.TensorProto, location: str, codes: tuple[int, int], scale: tuple[int, int]
) -> None:
    """Compute the initializer `bias` from two tensors of the blob."""
    names = []
    for part, kind, place in (("codes", onnx.TensorProto.INT32, codes), ("scale", onnx.TensorProto.FLOAT, scale)):
        tensor = graph.initializer.add(name=f"{bias.name}_{part}", data_type=kind, dims=bias.dims)
        _refer(tensor, location, *place)
        names.append(tensor.name)
    node = onnx.helper.make_node("DequantizeLinear", names, [bias.name], name=f"{bias.name}/DequantizeLinear", axis=0)
    graph.initializer.remove(bias)
    graph.node.insert(0, node)


def _spans(graph: onnx.GraphProto) -> dict[str, Span]:
    """Initializer -> where it lies in the blob."""
    spans = {}
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            place = {entry.key: entry.value for entry in tensor.external_data}
            item = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            spans[tensor.name] = Span(int(place["offset"]), int(place["length"]), item)
    return spans


def _read(content: bytes, place: tuple[int, int], dtype: str) -> np.ndarray:
    return np.frombuffer(content, dtype, place[1] // 4, place[0])


def _refer(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    """Make `tensor` a reference."""
    for values in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(values)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
