"""Galleries: things known by example, without training; docs/gallery.md describes them. Free of torch."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Backbone": "gallery",
    "Entry": "gallery",
    "Gallery": "gallery",
    "open_gallery": "gallery_file",
    "write_gallery": "gallery_file",
    "Index": "search",
    "Match": "search",
    "Examples": "examples",
    "read_examples": "examples",
    "build_gallery": "build",
    "add": "edit",
    "merge": "edit",
    "remove": "edit",
    "OperatingPoint": "operating_point",
    "evaluate_gallery": "evaluate",
}
"""Public name -> the file it is in, imported when it is first asked for."""


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
