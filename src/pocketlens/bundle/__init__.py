"""The .lens bundle: one zip that holds a model ready to ship; docs/bundle.md describes it. Free of torch."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Bundle": "archive",
    "GraphFiles": "archive",
    "open_bundle": "archive",
    "write_bundle": "archive",
    "Confidence": "confidence",
    "Embedding": "embedding",
    "GraphEntry": "manifest",
    "Manifest": "manifest",
    "Member": "manifest",
    "spec_from_json": "spec_json",
    "spec_to_json": "spec_json",
    "unpack": "unpack",
    "Whitening": "whitening",
}
"""Public name -> the file it is in, imported when it is first asked for."""


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
