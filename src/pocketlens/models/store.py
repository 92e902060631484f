"""Store canonical graphs as graph JSON + safetensors. Nothing is pickled; loading executes only the vocabulary.

A stored model is a folder, NAME.graph/, with graph.json (nodes, leaves, spec, facts) and weights.safetensors.
"""

import hashlib
import json
import keyword
import shutil
import uuid
from pathlib import Path
from typing import Any, cast, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, fx, nn

from pocketlens.bundle.spec_json import spec_from_json, spec_to_json
from pocketlens.errors import ModelError, OutputError, PocketlensError
from pocketlens.models import vocabulary
from pocketlens.ops.quantized import QuantizeDequantize
from pocketlens.types import Fact, Json, Model

VERSION = 1
LARGEST_JSON = 64 * 2**20
"""Bytes of a graph.json that is still read."""

_QUANTIZED = ("QuantizedConv2d", "QuantizedConvTranspose2d", "QuantizedLinear")


def save(model: Model, path: Path) -> None:
    """Write `model` as the folder `path`. A stored model that is already there goes once the new one is whole.

    Raises: OutputError when it cannot be written, or when `path` is something else than a stored model.
    """
    if path.exists() and not (path / "graph.json").is_file():
        raise OutputError(f"{path} exists and is no stored model; name another place")
    building = path.parent / f".{path.name}-{uuid.uuid4().hex}"
    replaced = building.with_name(f"{building.name}-replaced")
    try:
        building.mkdir(parents=True)
        (building / "graph.json").write_text(json.dumps(_to_json(model)), "utf-8")
        (building / "weights.safetensors").write_bytes(to_bytes(_tensors(model.graph)))
        if path.exists():
            path.replace(replaced)
        building.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if replaced.exists() and not path.exists():
            replaced.replace(path)
        shutil.rmtree(building, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def load(path: Path) -> Model:
    """Read a stored model.

    Raises: ModelError naming what is wrong with the file.
    """
    try:
        place = path / "graph.json"
        if place.stat().st_size > LARGEST_JSON:
            raise ModelError(f"{place} is larger than a graph can be ({LARGEST_JSON >> 20} MiB)")
        data = json.loads(place.read_text("utf-8"))
        # What safetensors gives still lies in the file, at any alignment: a copy computes bit for bit what was saved,
        # and stays as it is when the file is overwritten.
        tensors = {name: tensor.clone() for name, tensor in load_file(path / "weights.safetensors").items()}
        return _from_json(data, tensors)
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read the stored model {path}: {error}") from error
    except (json.JSONDecodeError, RecursionError, SafetensorError) as error:
        raise ModelError(f"the stored model {path} is corrupt: {error}") from error
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"the stored model {path} is malformed: {type(error).__name__} {reason}") from error
    except PocketlensError as error:
        raise ModelError(f"the stored model {path}: {error}") from error


def digest(model: Model) -> str:
    """A hash of graph, spec, facts and every tensor."""
    content = hashlib.sha256(json.dumps(_to_json(model), sort_keys=True).encode())
    for name, tensor in sorted(_tensors(model.graph).items()):
        content.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        content.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


def _tensors(graph: fx.GraphModule) -> dict[str, Tensor]:
    """Name -> tensor; a tensor that two names share is stored under both."""
    return {name: tensor.detach().clone().contiguous() for name, tensor in graph.state_dict().items()}


def _to_json(model: Model) -> Json:
    graph = model.graph
    called = {str(n.target) for n in graph.graph.nodes if n.op == "call_module"}
    attributes = {str(n.target) for n in graph.graph.nodes if n.op == "get_attr"}
    parameters = dict(graph.named_parameters())
    return {
        "version": VERSION,
        "spec": spec_to_json(model.spec),
        "facts": sorted(model.facts),
        "leaves": {name: _leaf_to_json(name, graph.get_submodule(name)) for name in sorted(called)},
        "tensors": {name: "parameter" if name in parameters else "buffer" for name in sorted(attributes)},
        "nodes": [_node_to_json(node) for node in graph.graph.nodes],
    }


def _from_json(data: Json, tensors: dict[str, Tensor]) -> Model:
    if data["version"] != VERSION:
        raise ModelError(f"written by another pocketlens (version {data['version']}, this one reads {VERSION})")
    if unknown := set(data["facts"]) - set(get_args(Fact)):
        raise ModelError(f"no such facts: {', '.join(sorted(unknown))}; known are {', '.join(get_args(Fact))}")
    root = nn.Module()
    for name, table in data["leaves"].items():
        root.add_module(_flat(name), _leaf_from_json(name, table, tensors))
    for name, sort in data["tensors"].items():
        if sort == "parameter":
            root.register_parameter(_flat(name), nn.Parameter(tensors[name]))
        else:
            root.register_buffer(_flat(name), tensors[name])
    graph = fx.Graph()
    nodes: dict[str, fx.Node] = {}
    for table in data["nodes"]:
        nodes[table["name"]] = _node_from_json(graph, table, nodes, data)
    ends = [(index, node.op) for index, node in enumerate(graph.nodes) if node.op in ("placeholder", "output")]
    if ends != [(0, "placeholder"), (len(nodes) - 1, "output")]:
        raise ModelError("a graph starts with its one input and ends with its one output; this one does not")
    graph.lint()
    module = fx.GraphModule(root, graph).eval()
    module.load_state_dict(tensors, strict=True, assign=True)
    if odd := [name for name, value in module.named_parameters() if not value.is_floating_point()]:
        raise ModelError(f"{odd[0]} must hold floating-point numbers, got {module.get_parameter(odd[0]).dtype}")
    return Model(graph=module, spec=spec_from_json(data["spec"]), facts=frozenset(cast(list[Fact], data["facts"])))


def _leaf_to_json(name: str, module: nn.Module) -> Json:
    leaf = vocabulary.LEAVES.get(type(module))
    if leaf is None:
        raise ModelError(f"{name} is a {type(module).__name__}, which is not in the vocabulary")
    fields = {field: module.bias is not None if field == "bias" else getattr(module, field) for field in leaf.fields}
    if fields.get("codebook", ()) is None:  # said of clustered layers alone, so that all others are stored as ever
        del fields["codebook"]
    return {"class": type(module).__name__, "fields": fields}


def _leaf_from_json(name: str, table: Json, tensors: dict[str, Tensor]) -> nn.Module:
    kind = vocabulary.LEAF_NAMES.get(table["class"])
    if kind is None:
        raise ModelError(f"{name} is a {table['class']!r}, which is not in the vocabulary")
    if unknown := set(table["fields"]) - set(vocabulary.LEAVES[kind].fields):
        raise ModelError(f"{name}: {table['class']} has no field {', '.join(sorted(unknown))}")
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table["fields"].items()}
    if table["class"] in _QUANTIZED:
        own = {key: tensors.get(f"{name}.{key}") for key in ("codes", "weight_scale", "bias")}
        return kind(**own, **fields)
    if kind is QuantizeDequantize:
        return kind(tensors[f"{name}.scale"], tensors[f"{name}.zero_point"], **fields)
    # Memory is taken by the weights file alone, whatever sizes the JSON claims; loading compares the two.
    with torch.device("meta"):
        return kind(**fields)


def _node_to_json(node: fx.Node) -> Json:
    target = vocabulary.function_name(node.target) if callable(node.target) else str(node.target)
    return {
        "name": node.name,
        "op": node.op,
        "target": target,
        "args": _value_to_json(node.args),
        "kwargs": {k: _value_to_json(v) for k, v in node.kwargs.items()},
    }


def _node_from_json(graph: fx.Graph, table: Json, nodes: dict[str, fx.Node], data: Json) -> fx.Node:
    op, name = table["op"], _flat(table["name"])
    target: Any = table["target"]
    if op == "call_function":
        if target not in vocabulary.FUNCTION_NAMES:
            raise ModelError(f"{name} calls {target!r}, which is not in the vocabulary")
        target = vocabulary.FUNCTION_NAMES[target]
    elif op == "call_method":
        if target not in vocabulary.METHODS:
            raise ModelError(f"{name} calls the method {target!r}, which is not in the vocabulary")
    elif op in ("call_module", "get_attr"):
        table_of = "leaves" if op == "call_module" else "tensors"
        if target not in data[table_of]:
            raise ModelError(f"{name} refers to {target!r}, which is not among the {table_of}")
    elif op in ("placeholder", "output"):
        target = _flat(target)
    else:
        raise ModelError(f"{name} has the operation {op!r}, which no graph has")
    args = _value_from_json(table["args"], nodes)
    kwargs = {_flat(k): _value_from_json(v, nodes) for k, v in table["kwargs"].items()}
    if op == "output":
        return graph.output(args[0])
    return graph.create_node(op, target, args, kwargs, name=name)


def _value_to_json(value: Any) -> Any:
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, tuple | list):
        return [_value_to_json(v) for v in value]
    if isinstance(value, slice):
        return {"slice": [_value_to_json(v) for v in (value.start, value.stop, value.step)]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ModelError(f"a graph holds {value!r}, which cannot be stored")


def _value_from_json(value: Any, nodes: dict[str, fx.Node]) -> Any:
    if isinstance(value, list):
        return tuple(_value_from_json(v, nodes) for v in value)
    if isinstance(value, dict):
        if "node" in value:
            return nodes[value["node"]]
        if "slice" in value:
            return slice(*(_value_from_json(v, nodes) for v in value["slice"]))
        return Ellipsis if value.get("ellipsis") else None
    return value


def _flat(name: str) -> str:
    """A name that is one plain identifier; anything else could reach where a graph must not."""
    if not isinstance(name, str) or not name.isidentifier() or name.startswith("__") or keyword.iskeyword(name):
        raise ModelError(f"{name!r} is no name of a graph")
    return name
