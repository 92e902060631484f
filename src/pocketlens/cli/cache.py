"""Where pocketlens keeps what can be remade: XDG_CACHE_HOME/pocketlens, or POCKETLENS_CACHE."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The cache's folder; not made here."""
    named = os.environ.get("POCKETLENS_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pocketlens"


def stage_folder() -> Path:
    """Where finished stages are kept."""
    return cache_folder() / "stages"
