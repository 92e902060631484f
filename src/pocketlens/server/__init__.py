"""The app as a site: put it together with bundles and galleries, and serve it here. Free of torch."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Site": "site",
    "write_site": "site",
    "serve": "serve",
}
"""Public name -> the file it is in, imported when it is first asked for."""


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
