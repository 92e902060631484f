"""What is left to gain: the coded blob of each kind of network beside general compressors and an ideal entropy coder.

An own rANS coder is worth its code only where it beats zstd by 5% or more. No coder of single codes with one table a
tensor comes below the order-0 entropy, so that bound decides. Rows sorted into classes by how wide they spread, each
class with a table of its own, is the best that a static coder of this kind could do; tables and classes are counted.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from packing.bench import Bench, Row
from packing.kinds import KINDS
from packing.shipped import brotli11, zstd19
from pocketlens.bundle.tensor_coding import Span, encode_records
from pocketlens.squeeze.output import WEIGHTS

WORTH_BUILDING = 0.05

CLASSES = (1, 2, 4, 8, 16)
"""Of rows; a class index a row is counted at its full width."""

Codes = NDArray[np.uint8]


def coders(bench: Bench) -> None:
    """A row a kind, and a sentence that says whether an own entropy coder is worth building."""
    worth = []
    for kind, passes in KINDS.items():
        shipped = bench.shipped(kind, *passes)
        blob = (shipped.bundle.parent / WEIGHTS).read_bytes()
        tensors = code_tensors(shipped.graph().graph, blob)
        codes = b"".join(t.tobytes() for t in tensors)
        whole = shipped.weights_bytes
        ours = len(encode_records(codes, _spans(tensors)))
        ideal = sum(entropy_bytes(t) for t in tensors)
        table = sum(with_tables(t, 1) for t in tensors)
        classes = sum(min(with_tables(t, count) for count in CLASSES) for t in tensors)
        row: Row = {
            "kind": kind,
            "blob_bytes": len(blob),
            "coded_bytes": whole,
            "zstd19_bytes": zstd19(blob),
            "brotli11_bytes": brotli11(blob),
            "codes": len(codes),
            "codes_coded_bytes": ours,
            "codes_zstd19_bytes": zstd19(codes),
            "codes_order0_bytes": entropy_bytes(np.frombuffer(codes, np.uint8)),
            "codes_order0_by_tensor_bytes": ideal,
            "codes_rans_bytes": table,
            "codes_rans_with_row_classes_bytes": classes,
            "bits_a_weight": 8 * ours / len(codes),
            "ideal_gain": (ours - ideal) / whole,
            "rans_gain": (ours - table) / whole,
            "rans_with_row_classes_gain": (ours - classes) / whole,
        }
        bench.keep("coders", row, "kind")
        print(f"    {kind}: {_sentence(row)}", flush=True)
        if max(float(str(row["rans_gain"])), float(str(row["rans_with_row_classes_gain"]))) >= WORTH_BUILDING:
            worth.append(kind)
    print(f"    an own rANS coder is worth building for: {', '.join(worth) or 'no kind'}", flush=True)


def code_tensors(graph: Path, blob: bytes) -> list[Codes]:
    """The integer weights of a graph, each (rows, k), an output channel a row."""
    found = {}
    for tensor in onnx.load(graph, load_external_data=False).graph.initializer:
        integer = tensor.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
        if not integer or len(tensor.dims) < 2 or tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        place = {entry.key: entry.value for entry in tensor.external_data}
        start, length = int(place["offset"]), int(place["length"])
        found[start] = np.frombuffer(blob[start : start + length], np.uint8).reshape(tensor.dims[0], -1)
    return [found[start] for start in sorted(found)]


def entropy_bytes(codes: Codes) -> float:
    """What an ideal coder of single codes with one table for all needs, the table not counted."""
    counts = np.bincount(codes.reshape(-1), minlength=256)
    counts = counts[counts > 0]
    return float((counts * np.log2(codes.size / counts)).sum()) / 8


def with_tables(codes: Codes, classes: int) -> float:
    """The same with rows in so many classes, a table each of one byte a symbol that occurs; bytes."""
    if classes > len(codes):
        return float("inf")
    common = int(np.bincount(codes.reshape(-1), minlength=256).argmax())
    # Modulo 256 the distance is the same whether the file stores codes signed or shifted by 128.
    spread = np.abs((codes - np.uint8(common)).view(np.int8).astype(np.int16)).mean(1)
    total = len(codes) * np.log2(classes) / 8
    for part in np.array_split(codes[np.argsort(spread, kind="stable")], classes):
        total += entropy_bytes(part) + len(np.unique(part))
    return float(total)


def _spans(tensors: Sequence[Codes]) -> list[Span]:
    ends = np.cumsum([t.size for t in tensors])
    return [Span(int(end) - t.size, t.size, 1) for t, end in zip(tensors, ends, strict=True)]


def _sentence(row: Row) -> str:
    shares = [float(str(row[name])) for name in ("rans_gain", "rans_with_row_classes_gain")]
    verdict = "worth building" if max(shares) >= WORTH_BUILDING else "not worth building"
    return (
        f"an own rANS coder would save {shares[0]:.1%} of the coded blob, {shares[1]:.1%} with a table for each class "
        f"of rows: {verdict}"
    )
