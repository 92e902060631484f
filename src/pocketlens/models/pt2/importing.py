"""From a .pt2 file to a canonical graph."""

from pathlib import Path
from typing import Any

from torch import fx

from pocketlens.errors import UnsupportedModelError
from pocketlens.models.assembly import Assembly, Known, Value
from pocketlens.models.importing import building, finished, input_shape
from pocketlens.models.pt2.activations import ACTIVATIONS
from pocketlens.models.pt2.archive import Program, open_program
from pocketlens.models.pt2.arguments import decode, outputs
from pocketlens.models.pt2.folding import fold
from pocketlens.models.pt2.layers import LAYERS
from pocketlens.models.pt2.operator import AtenOperator, Builder
from pocketlens.models.pt2.replay import verify
from pocketlens.models.pt2.shapes import SHAPES

OPERATORS: dict[str, Builder] = {**LAYERS, **ACTIVATIONS, **SHAPES}
"""ATen operators that an activation may flow through, without `aten.`; one in place has the same meaning."""

CHECKS = frozenset(
    {
        *("_assert_scalar.default", "_assert_async.msg", "sym_constrain_range_for_size.default"),
        *("sym_constrain_range.default", "_assert_tensor_metadata.default"),
    }
)
"""What gives no value."""


def import_program(path: Path, size: tuple[int, int] | None = None) -> tuple[fx.GraphModule, tuple[int, int, int]]:
    """The canonical graph of an exported program, found to give the same output as its ATen operators.

    Args:
        path: of the file.
        size: (height, width) of the input, where the file leaves it open.
    Returns: the graph, the batch left open, and the (c, h, w) that it takes.
    Raises: ModelError for an unsound file; UnsupportedModelError naming the node that cannot be expressed.
    """
    program = open_program(path)
    shape = input_shape(program.shape, path, size)
    assembly = Assembly(shape, one_image=program.shape[0] == 1)
    values: dict[str, Value] = {program.input: assembly.x}
    values |= {name: Known(array, array) for name, array in program.weights.items()}
    for node in program.nodes:
        target = str(node["target"]).removeprefix("torch.ops.")
        names = outputs(node)
        with building(f"{path}: {target} ({names[0] if names else 'unnamed'})", assembly):
            values |= dict(zip(names, _build(node, target, values, program, assembly), strict=False))
    graph = finished(assembly, values.get(program.output), path, program.output)
    verify(graph, program, shape, path)
    return graph, shape


def _build(
    node: dict[str, Any], target: str, values: dict[str, Value], program: Program, assembly: Assembly
) -> list[Value]:
    tensors = [name for name in (_name(entry["arg"]) for entry in node["inputs"]) if name]
    arguments = {entry["name"]: decode(entry["arg"], values.__getitem__) for entry in node["inputs"]}
    name = in_place(target.removeprefix("aten."))
    if name in CHECKS:
        return []
    if not any(isinstance(value, fx.Node) for value in _flat(arguments)):
        return list(fold(f"aten.{name}" if target.startswith("aten.") else target, arguments))
    if name in OPERATORS and target.startswith("aten."):
        weight = next((t for t in tensors if program.paths.get(t, "").endswith("weight")), "")
        path = program.paths.get(weight, "").removesuffix("weight").rstrip(".")
        operator = AtenOperator(
            target=f"aten.{name}",
            arguments=arguments,
            assembly=assembly,
            name=path or outputs(node)[0],
            key=tuple(t for t in tensors if t in program.paths) or None,
        )
        built = OPERATORS[name](operator)
        return [built] if isinstance(built, fx.Node | Known) else list(built)
    raise UnsupportedModelError(
        "no such operator in the canonical graph; replace it by others (docs/models.md lists what is read)"
    )


def in_place(name: str) -> str:
    """relu_.default -> relu.default: what an operator in place computes."""
    packet, _, overload = name.partition(".")
    return f"{packet.removesuffix('_')}.{overload}" if packet.endswith("_") and not packet.startswith("_") else name


def _name(arg: dict[str, Any]) -> str:
    return arg["as_tensor"]["name"] if "as_tensor" in arg else ""


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [v for entry in value.values() for v in _flat(entry)]
    return [v for entry in value for v in _flat(entry)] if isinstance(value, list | tuple) else [value]
