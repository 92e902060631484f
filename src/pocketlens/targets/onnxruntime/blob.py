"""One blob of weights that several graphs refer to as external data."""

import hashlib
from pathlib import Path

import onnx

from pocketlens.bundle.tensor_coding import Span

SMALLEST = 128
"""Bytes from which on a tensor moves out of the graph."""

ALIGNMENT = 64
"""Offsets are multiples of this, so that a runtime can map the blob."""


def move_weights(proto: onnx.ModelProto, blob: Path) -> Path | None:
    """Move large initializers into `blob`, in place; tensors that the blob holds already are shared.

    Args:
        proto: changed to refer to the blob by its file name.
        blob: appended to, made when missing.
    Returns: the blob, or None when nothing moved.
    """
    content = bytearray(blob.read_bytes() if blob.exists() else b"")
    index = _index(blob)
    moved = False
    for tensor in proto.graph.initializer:
        raw = onnx.numpy_helper.to_array(tensor).tobytes()
        if len(raw) < SMALLEST:
            continue
        key = hashlib.sha256(raw).hexdigest()
        if key not in index:
            content += b"\0" * (-len(content) % ALIGNMENT)
            index[key] = (len(content), len(raw))
            content += raw
        offset, length = index[key]
        _refer(tensor, blob.name, offset, length)
        moved = True
    if not moved:
        return None
    blob.write_bytes(content)
    _index_file(blob).write_text("\n".join(f"{key} {offset} {length}" for key, (offset, length) in index.items()))
    return blob


def external_tensors(graph: Path) -> set[Span]:
    """Where the tensors of an ONNX file lie in its blob."""
    spans = set()
    for tensor in onnx.load(graph, load_external_data=False).graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            place = {entry.key: entry.value for entry in tensor.external_data}
            item = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            spans.add(Span(int(place["offset"]), int(place["length"]), item))
    return spans


def _refer(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    """Make `tensor` a reference."""
    for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(field)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))


def _index_file(blob: Path) -> Path:
    return blob.with_name(f".{blob.name}.index")


def _index(blob: Path) -> dict[str, tuple[int, int]]:
    """What the blob holds: sha256 -> (offset, length)."""
    place = _index_file(blob)
    if not place.exists():
        return {}
    rows = (line.split() for line in place.read_text().splitlines())
    return {key: (int(offset), int(length)) for key, offset, length in rows}
