"""Remember what was probed of a device, in the user's cache."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from pocketlens.types import Json


def cache_folder() -> Path:
    """POCKETLENS_CACHE, or pocketlens in XDG_CACHE_HOME or ~/.cache; not made here."""
    named = os.environ.get("POCKETLENS_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pocketlens"


def remembered(kind: str, fingerprint: Json, make: Callable[[], Json], *, refresh: bool = False) -> Json:
    """What `make` gave for this fingerprint before, or gives now. A cache that cannot be used is no error.

    Args:
        kind: the start of the file's name.
        fingerprint: everything that the answer depends on.
        make: finds the answer.
        refresh: ask again.
    """
    key = hashlib.sha256(json.dumps(fingerprint, sort_keys=True, default=str).encode()).hexdigest()[:16]
    place = cache_folder() / f"{kind}-{key}.json"
    if not refresh:
        with contextlib.suppress(OSError, ValueError):
            return json.loads(place.read_text("utf-8"))
    answer = make()
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=place.parent, delete=False, encoding="utf-8") as file:
            json.dump(answer, file)
        Path(file.name).replace(place)
    return answer
