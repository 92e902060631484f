"""Open a .pt2 file that anyone may have written.

`torch.export.load` is not used: it unpickles example inputs, odd weights and custom objects, and hands the sizes that
the file writes as text to sympy, which evaluates them as Python (torch 2.14). What is needed lies in the archive as
JSON and as raw bytes, and only these are read.
"""

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pocketlens.errors import ModelError, UnsupportedModelError

LARGEST = 2**31
"""Bytes of all that is read."""

LARGEST_JSON = 256 * 2**20

_SCHEMA = 8
"""Major version of the JSON schema that torch 2.9 to 2.14 write."""

_DTYPES = {1: "u1", 2: "i1", 3: "i2", 4: "i4", 5: "i8", 7: "f4", 8: "f8", 12: "?"}
"""torch._export.serde.schema.ScalarType, as far as NumPy has it."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What an exported program says.

    Args:
        nodes: as the JSON has them, in order.
        weights: name in the graph -> array.
        paths: name in the graph -> path in the module, for example "features.0.weight".
        input: name of the one input.
        shape: of the input; None where it is open.
        output: name of the one output.
    """

    nodes: list[dict[str, Any]]
    weights: dict[str, np.ndarray]
    paths: dict[str, str]
    input: str
    shape: tuple[int | None, ...]
    output: str


def open_program(path: Path) -> Program:
    """Read and check a file.

    Raises: ModelError for one that is missing, corrupt or of another version; UnsupportedModelError for what only
        unpickling could read, and for programs with other inputs and outputs than a classifier's.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{path} is no .pt2 archive: {_line(error)}; save it with torch.export.save") from error
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        raise ModelError(f"{path} is malformed: {type(error).__name__} {_line(error)}; export it again") from error


def _read(archive: zipfile.ZipFile, path: Path) -> Program:
    sizes = {info.filename: info.file_size for info in archive.infolist()}
    if sum(sizes.values()) > LARGEST:
        raise ModelError(f"{path} unpacks to more than 2 GiB; this is for models that fit a phone")
    models = [name for name in sizes if name.endswith("/models/model.json") and name.count("/") == 2]
    if len(models) != 1:
        raise ModelError(
            f"{path} must hold one program as torch 2.9 or newer saves it, found {len(models)}; export it again"
        )
    root = models[0].split("/")[0]
    data = _json(archive, models[0], path)
    if data["schema_version"]["major"] != _SCHEMA:
        raise ModelError(
            f"{path} has schema {data['schema_version']['major']}, read is {_SCHEMA}; export it with torch 2.9 or newer"
        )
    graph, signature = data["graph_module"]["graph"], data["graph_module"]["signature"]
    arrays = {
        **_arrays(archive, f"{root}/data/weights", "model_weights_config.json", path),
        **_arrays(archive, f"{root}/data/constants", "model_constants_config.json", path),
    }
    inputs, weights, paths = [], {}, {}
    for spec in signature["input_specs"]:
        kind, table = next(iter(spec.items()))
        if kind == "user_input" and "as_tensor" in table["arg"]:
            inputs.append(table["arg"]["as_tensor"]["name"])
        elif kind in ("parameter", "buffer", "tensor_constant"):
            name = table["arg"]["name"]
            paths[name] = table[f"{kind}_name"]
            if paths[name] not in arrays:
                raise ModelError(f"{path} lacks the weight {paths[name]!r}; export it again")
            weights[name] = arrays[paths[name]]
        else:
            raise UnsupportedModelError(f"{path} has an input that is no tensor ({kind}); export it for images alone")
    outputs = [spec.get("user_output", {}).get("arg", {}).get("as_tensor") for spec in signature["output_specs"]]
    if any("buffer_mutation" in spec for spec in signature["output_specs"]):
        raise UnsupportedModelError(f"{path} changes its buffers, as in training; call .eval() before exporting it")
    if len(inputs) != 1 or len(outputs) != 1 or outputs[0] is None:
        raise UnsupportedModelError(
            f"{path} must have one input (n, 3, h, w) and one output (n, classes), it has {len(inputs)} and "
            f"{len(outputs)}; wrap the model to return the logits alone"
        )
    return Program(
        nodes=graph["nodes"],
        weights=weights,
        paths=paths,
        input=inputs[0],
        shape=_shape(graph["tensor_values"][inputs[0]], path),
        output=outputs[0]["name"],
    )


def _json(archive: zipfile.ZipFile, name: str, path: Path) -> Any:
    if archive.getinfo(name).file_size > LARGEST_JSON:
        raise ModelError(f"{path}: {name} is larger than a graph can be ({LARGEST_JSON >> 20} MiB)")
    return json.loads(archive.read(name))


def _arrays(archive: zipfile.ZipFile, folder: str, config: str, path: Path) -> dict[str, np.ndarray]:
    """Every tensor of a folder, from raw bytes; several may be views of one storage."""
    found = {}
    for name, table in _json(archive, f"{folder}/{config}", path)["config"].items():
        meta = table["tensor_meta"]
        if table["use_pickle"] or meta is None:
            raise UnsupportedModelError(
                f"{path}: {name!r} is stored as a pickle, in which code could lie; only plain dense tensors are read"
            )
        dtype = _DTYPES.get(meta["dtype"])
        if dtype is None:
            raise UnsupportedModelError(
                f"{path}: {name!r} is no float32 tensor (type {meta['dtype']}); export the model with model.float()"
            )
        place = table["path_name"]
        if "/" in place:
            raise ModelError(f"{path}: {name!r} lies at {place!r}, outside its folder")
        storage = np.frombuffer(archive.read(f"{folder}/{place}"), dtype)
        sizes, strides = _ints(meta["sizes"]), _ints(meta["strides"])
        start = _ints([meta["storage_offset"]])[0]
        last = start + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
        count = math.prod(sizes)
        if min([start, *sizes, *strides]) < 0 or count > len(storage) or (count and last >= len(storage)):
            raise ModelError(f"{path}: the weight {name!r} claims {sizes}, its file holds {len(storage)} numbers")
        steps = [s * storage.itemsize for s in strides]
        array = np.lib.stride_tricks.as_strided(storage[start:], sizes, steps).copy()
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelError(f"{path}: the weight {name!r} holds NaN or infinity; load sound weights")
        found[name] = array
    return found


def _ints(values: list[dict[str, Any]]) -> list[int]:
    return [int(value["as_int"]) for value in values]


def _shape(meta: dict[str, Any], path: Path) -> tuple[int | None, ...]:
    shape = tuple(side.get("as_int") for side in meta["sizes"])
    if len(shape) != 4 or _DTYPES.get(meta["dtype"]) != "f4":
        raise UnsupportedModelError(f"{path}: the input must be float32 (n, 3, h, w), it has {len(shape)} dimensions")
    if shape[0] not in (None, 1):
        raise UnsupportedModelError(
            f"{path} takes {shape[0]} images at a time; export it with a dynamic batch, or for one image"
        )
    return shape


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
