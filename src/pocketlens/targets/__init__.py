"""Where models run: one folder a runtime. A newcomer adds a folder and one line to `TARGETS`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from pocketlens.errors import TargetError, UnknownNameError
from pocketlens.types import Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TARGETS: dict[str, str] = {
    "litert": "pocketlens.targets.litert.target:LiteRt",
    "onnxruntime": "pocketlens.targets.onnxruntime.target:OnnxRuntime",
    "openvino": "pocketlens.targets.openvino.target:OpenVino",
}
"""Name -> module and class, imported when it is first asked for. `session.py` beside it opens files without torch."""

_EXTRAS = frozenset({"litert", "openvino"})
"""Targets whose packages are not in the base install; the extra that brings them is called like the target."""


class Session(Protocol):
    """An open model."""

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, channels, height, width), float32 -> the logits, (n, ...), float32. Raises TargetError."""
        ...

    def run_all(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The same images -> every output by its name, (n, ...), float32. Raises TargetError."""
        ...


def load_target(name: str) -> Target:
    """A runtime by its name.

    Raises: UnknownNameError listing the valid ones; TargetError naming the extra that is not installed.
    """
    module, _, kind = _place(name).partition(":")
    return getattr(_imported(name, module), kind)()


def load_session(name: str) -> Callable[..., Session]:
    """A runtime's `open_session(graph, weights, options, threads)`, by the runtime's name. Free of torch.

    Raises: as `load_target`.
    """
    return _imported(name, f"{_place(name).rpartition('.')[0]}.session").open_session


def _place(name: str) -> str:
    if name not in TARGETS:
        raise UnknownNameError("target", name, TARGETS)
    return TARGETS[name]


def _imported(name: str, module: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "pocketlens" or name not in _EXTRAS:
            raise
        raise TargetError(f"the target {name} needs the package {missing}: pip install 'pocketlens[{name}]'") from error
