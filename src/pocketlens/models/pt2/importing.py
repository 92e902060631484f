"""From a .pt2 file to a canonical graph."""

from pathlib import Path
from typing import Any

from torch import fx

from pocketlens.errors import ConfigError, ModelError, UnsupportedModelError
from pocketlens.models.assembly import Assembly, Known, Value
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

_FAILURES = (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, NotImplementedError)


def import_program(path: Path, size: tuple[int, int] | None = None) -> tuple[fx.GraphModule, tuple[int, int, int]]:
    """The canonical graph of an exported program, found to give the same output as its ATen operators.

    Args:
        path: of the file.
        size: (height, width) of the input, where the file leaves it open.
    Returns: the graph, the batch left open, and the (c, h, w) that it takes.
    Raises: ModelError for an unsound file; UnsupportedModelError naming the node that cannot be expressed.
    """
    program = open_program(path)
    shape = _input_shape(program, path, size)
    assembly = Assembly(shape, one_image=program.shape[0] == 1)
    values: dict[str, Value] = {program.input: assembly.x}
    values |= {name: Known(array, array) for name, array in program.weights.items()}
    for node in program.nodes:
        target = str(node["target"]).removeprefix("torch.ops.")
        names = outputs(node)
        assembly.source = where = f"{path}: {target} ({names[0] if names else 'unnamed'})"
        try:
            values |= dict(zip(names, _build(node, target, values, program, assembly), strict=False))
        except (UnsupportedModelError, ModelError) as error:
            raise type(error)(f"{where}: {error}") from error
        except _FAILURES as error:
            reason = " ".join(str(error).split())[:160]
            raise UnsupportedModelError(f"{where} does not fit what comes in: {reason}; export it again") from error
    output = values.get(program.output)
    if not isinstance(output, fx.Node):
        raise UnsupportedModelError(f"{path}: the output {program.output!r} does not depend on the image")
    graph = assembly.finish(output)
    for parameter in graph.parameters():
        parameter.requires_grad_(True)
    verify(graph, program, shape, path)
    return graph, shape


def _input_shape(program: Program, path: Path, size: tuple[int, int] | None) -> tuple[int, int, int]:
    _, channels, height, width = program.shape
    for own, given in zip((height, width), size or (None, None), strict=True):
        if own is None and given is None:
            raise ConfigError(f"{path} leaves its input size open; give it, for example --preprocessing imagenet:224")
        if None not in (own, given) and own != given:
            raise ConfigError(f"{path} takes images of {height} x {width}, the preprocessing makes {size}")
    sides = size or (height or 0, width or 0)
    return channels or 3, sides[0], sides[1]


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
