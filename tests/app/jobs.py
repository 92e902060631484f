"""What tests ask of the app's logic in Node; app/tests/vectors/run.ts does it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Json = dict[str, Any]

RunJobs = Callable[[Path, Sequence[Json]], list[Json]]
"""Does jobs, whose files lie in a folder; a result holds what came of one as `ok`, or why nothing did as `failure`."""


def write_pixels(folder: Path, name: str, pixels: NDArray[np.uint8]) -> Json:
    """A picture (height, width, 3) as a file of RGBA; returns the fields that jobs name it by."""
    height, width, _ = pixels.shape
    opaque = np.full((height, width, 1), 255, np.uint8)
    (folder / name).write_bytes(np.concatenate([pixels, opaque], axis=2).tobytes())
    return {"pixels": name, "width": width, "height": height}
