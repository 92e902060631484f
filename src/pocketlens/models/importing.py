"""What importing a model file takes, whatever its format: the input's shape, errors that name the node, the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import fx

from pocketlens.errors import ConfigError, ModelError, UnsupportedModelError
from pocketlens.models.assembly import Assembly, Value

_FAILURES = (
    *(RuntimeError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError),
    *(NotImplementedError, StopIteration),
)
"""What a builder, torch's shape rules or a reference evaluator raise over attributes that make no sense."""

Shape = tuple[int | None, ...]
"""(n, c, h, w); None where a side is open."""


def input_shape(declared: Shape, path: Path, size: tuple[int, int] | None) -> tuple[int, int, int]:
    """What the file says, completed by what the user says.

    Args:
        declared: (n, c, h, w) as the file has it, None where it leaves a side open.
        path: of the file, for errors.
        size: (height, width) as the user has it.
    Returns: (c, h, w).
    Raises: ConfigError where both are silent, or at odds.
    """
    _, channels, height, width = declared
    for own, given in zip((height, width), size or (None, None), strict=True):
        if own is None and given is None:
            raise ConfigError(f"{path} leaves its input size open; give it, for example --preprocessing imagenet:224")
        if None not in (own, given) and own != given:
            raise ConfigError(f"{path} takes images of {height} x {width}, the preprocessing makes {size}")
    sides = size or (height or 0, width or 0)
    return channels or 3, sides[0], sides[1]


@contextmanager
def building(where: str, assembly: Assembly) -> Iterator[None]:
    """Build one node; whatever goes wrong becomes an error that begins with `where`."""
    assembly.source = where
    try:
        yield
    except (UnsupportedModelError, ModelError) as error:
        raise type(error)(f"{where}: {error}") from error
    except _FAILURES as error:
        reason = " ".join(str(error).split())[:160]
        raise UnsupportedModelError(f"{where} does not fit what comes in: {reason}; export it again") from error


def finished(assembly: Assembly, output: Value | None, path: Path, name: str) -> fx.GraphModule:
    """The graph that ends in `output`, called `name` in the file; its parameters can learn.

    Raises: UnsupportedModelError when the output does not depend on the image.
    """
    if not isinstance(output, fx.Node):
        raise UnsupportedModelError(f"{path}: the output {name!r} does not depend on the image")
    graph = assembly.finish(output)
    for parameter in graph.parameters():
        parameter.requires_grad_(True)
    return graph
