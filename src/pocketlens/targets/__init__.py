"""Where models run: one folder a runtime. A newcomer adds a folder and one line to `TARGETS`."""

from importlib import import_module

from pocketlens.errors import UnknownNameError
from pocketlens.types import Target

TARGETS: dict[str, str] = {
    "onnxruntime": "pocketlens.targets.onnxruntime.target:OnnxRuntime",
}
"""Name -> module and class, imported when it is first asked for."""


def load_target(name: str) -> Target:
    """A runtime by its name. Raises UnknownNameError listing the valid ones."""
    if name not in TARGETS:
        raise UnknownNameError("target", name, TARGETS)
    module, _, kind = TARGETS[name].partition(":")
    return getattr(import_module(module), kind)()
