"""Public names that are imported when they are first asked for (PEP 562), so that a package costs nothing to import."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def names_from(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a package's `__init__`.

    Args:
        package: its `__name__`.
        modules: public name -> the module inside the package that defines it, for example "archive".
    """

    def resolve(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return resolve
