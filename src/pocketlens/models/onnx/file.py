"""Open an ONNX file that anyone may have written: everything is checked before a number is used."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper, numpy_helper
from onnx.inliner import inline_local_functions

from pocketlens.errors import ModelError, UnsupportedModelError
from pocketlens.models.onnx.refused import QUANTIZED, REFUSED

LARGEST_FILE = 2**31 - 1
"""Bytes that protobuf can hold, and so the most that graph and weights together may have."""

OLDEST_OPSET = 9
NEWEST_OPSET = onnx.defs.onnx_opset_version()


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """A sound ONNX model, its weights inside.

    Args:
        proto: the model; functions inlined.
        opset: of the default domain.
        input: name of the one input.
        shape: of the input; None where the file leaves a side open.
        output: name of the one output.
    """

    proto: onnx.ModelProto
    opset: int
    input: str
    shape: tuple[int | None, int | None, int | None, int | None]
    output: str


def open_onnx(path: Path) -> OnnxFile:
    """Read and check a file.

    Raises: ModelError for a file that is missing, corrupt, too large, or reaches outside its folder;
        UnsupportedModelError for a sound one that the canonical graph cannot hold.
    """
    model = _parse(path)
    _load_external(model, path)
    try:
        if model.functions:
            model = inline_local_functions(model)
        opset = _opset(model, path)
        _check_operators(model.graph, path)
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"{path} is no valid ONNX model: {_line(error)}; export it again") from error
    _check_tensors(model.graph, path)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    outputs = list(model.graph.output)
    if len(inputs) != 1 or len(outputs) != 1:
        names = ", ".join(v.name for v in (inputs if len(inputs) != 1 else outputs)) or "none"
        what = "input" if len(inputs) != 1 else "output"
        raise UnsupportedModelError(
            f"{path} must have one input (n, 3, h, w) and one output (n, classes), it has the {what}s {names}; "
            "cut the rest with onnx.utils.extract_model"
        )
    return OnnxFile(
        proto=model, opset=opset, input=inputs[0].name, shape=_input_shape(inputs[0], path), output=outputs[0].name
    )


def _parse(path: Path) -> onnx.ModelProto:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ModelError(f"{path} is larger than 2 GiB, the most that is read; this is for models that fit a phone")
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{path} is no ONNX file, or only a part of one: {_line(error)}") from error
    if not model.graph.node:
        raise ModelError(f"{path} holds no ONNX graph: it has no operators; export the model again")
    return model


def _load_external(model: onnx.ModelProto, path: Path) -> None:
    """Read weights that lie beside the model, from its own folder only."""
    folder = path.parent.resolve()
    total = path.stat().st_size
    outside = [t for t in external_data_helper._get_all_tensors(model) if external_data_helper.uses_external_data(t)]
    for tensor in outside:
        fields = {entry.key: entry.value for entry in tensor.external_data}
        place = folder / fields.get("location", "")
        if not place.resolve().is_relative_to(folder) or place.is_symlink():
            raise ModelError(
                f"{path}: the weight {tensor.name!r} lies at {fields.get('location')!r}, outside the model's folder; "
                "only files beside the model are read"
            )
        if not place.is_file():
            raise ModelError(f"{path}: the weight {tensor.name!r} lies in {place.name}, which is missing beside it")
        try:
            start, length = int(fields.get("offset", 0)), int(fields.get("length", place.stat().st_size))
        except ValueError as error:
            raise ModelError(f"{path}: the weight {tensor.name!r} has no sound offset and length") from error
        if start < 0 or length < 0 or start + length > place.stat().st_size:
            raise ModelError(f"{path}: the weight {tensor.name!r} reaches beyond the end of {place.name}")
        total += length
        if total > LARGEST_FILE:
            raise ModelError(f"{path} and its weights are larger than 2 GiB, the most that is read")
        with place.open("rb") as stream:
            stream.seek(start)
            tensor.raw_data = stream.read(length)
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT


def _opset(model: onnx.ModelProto, path: Path) -> int:
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)
    if opset is None or not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise UnsupportedModelError(
            f"{path}: opsets {OLDEST_OPSET} to {NEWEST_OPSET} are read, got {opset}; export it with opset_version=18"
        )
    return opset


def _check_operators(graph: onnx.GraphProto, path: Path) -> None:
    """Refuse what cannot come in by its name, with the way out that fits it."""
    for node in graph.node:
        where = f"{path}: {node.op_type} ({node.name or (node.output[0] if node.output else 'unnamed')})"
        if node.op_type in QUANTIZED:
            raise UnsupportedModelError(
                f"{where} is already quantized; pocketlens rounds weights itself: give the float model it was made from"
            )
        if node.op_type in REFUSED:
            raise UnsupportedModelError(f"{where} cannot be expressed in the canonical graph; {REFUSED[node.op_type]}")
        if node.domain not in ("", "ai.onnx"):
            raise UnsupportedModelError(
                f"{where} is of the domain {node.domain!r}; only standard operators are read: export it without "
                "fusion or runtime optimisation"
            )


def _check_tensors(graph: onnx.GraphProto, path: Path) -> None:
    """Refuse weights whose sizes and bytes disagree, before memory is taken for them, and those that hold NaN."""
    for tensor in graph.initializer:
        try:
            array = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError, MemoryError) as error:
            raise ModelError(f"{path}: the weight {tensor.name!r} is corrupt: {_line(error)}") from error
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelError(f"{path}: the weight {tensor.name!r} holds NaN or infinity; load sound weights")
        if array.dtype.kind == "f" and array.dtype != np.float32 and array.size > 1:
            raise UnsupportedModelError(
                f"{path}: the weight {tensor.name!r} is {array.dtype}; export the model in float32 (CastHalf is a pass)"
            )


def _input_shape(value: onnx.ValueInfoProto, path: Path) -> tuple[int | None, int | None, int | None, int | None]:
    kind = value.type.tensor_type
    sides = [d.dim_value if d.WhichOneof("value") == "dim_value" and d.dim_value > 0 else None for d in kind.shape.dim]
    if kind.elem_type != onnx.TensorProto.FLOAT or len(sides) != 4:
        name = onnx.TensorProto.DataType.Name(kind.elem_type) if kind.elem_type else "no tensor"
        raise UnsupportedModelError(
            f"{path}: the input {value.name!r} must be float32 (n, 3, h, w), it is {name} with {len(sides)} dimensions"
        )
    batch, channels, height, width = sides
    if batch not in (None, 1):
        raise UnsupportedModelError(
            f"{path} takes {batch} images at a time; export it with a dynamic batch, or for one image"
        )
    if channels not in (None, 3) and width == 3:
        raise UnsupportedModelError(
            f"{path}: the input {value.name!r} is channels-last; export it as (n, 3, h, w) (tf2onnx: --inputs-as-nchw)"
        )
    return batch, channels, height, width


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
