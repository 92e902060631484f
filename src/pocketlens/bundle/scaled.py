"""Floats of a blob that are others of it times a factor: the scale of a bias is a weight's times the input's."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SMALLEST = 64
"""Bytes below which a record of its own costs more than it saves."""

_SOURCES = 64
"""How many earlier tensors of the length are tried, the nearest first."""

_GLANCE = 16
"""Floats that tell almost always."""


@dataclass(frozen=True)
class Scaled:
    """How a tensor follows from what comes before it.

    Args:
        source: offset of as many floats.
        factor: each float is the product of the source's and it, rounded to float32.
    """

    source: int
    factor: np.float32


def find_scaled(blob: bytes, places: Iterable[tuple[int, int]]) -> dict[int, Scaled]:
    """Tensors that follow to the last bit from an earlier one of their length.

    Args:
        blob: all weights.
        places: offset and length of what may be float32, in order, not overlapping.
    Returns: offset -> what it follows from.
    """
    found: dict[int, Scaled] = {}
    earlier: dict[int, list[int]] = defaultdict(list)
    for offset, length in places:
        if length < _SMALLEST or length % 4 or offset % 4:
            continue
        wanted = np.frombuffer(blob, "<f4", length // 4, offset)
        if not np.isfinite(wanted).all() or not wanted.any():
            continue
        for source in reversed(earlier[length][-_SOURCES:]):
            factor = _factor(np.frombuffer(blob, "<f4", length // 4, source), wanted)
            if factor is not None:
                found[offset] = Scaled(source, factor)
                break
        else:
            earlier[length].append(offset)
    return found


def _factor(source: NDArray[np.float32], wanted: NDArray[np.float32]) -> np.float32 | None:
    """What gives `wanted` to the last bit when `source` is multiplied with it in float32; None when nothing does."""
    place = int(np.flatnonzero(source)[0])
    with np.errstate(all="ignore"):
        # Products are rounded, so that a quotient is off by a unit in the last place or two.
        guess = np.float32(np.float64(wanted[place]) / np.float64(source[place]))
        factors = [guess]
        for end in (np.float32(np.inf), np.float32(-np.inf)):
            near = np.nextafter(guess, end)
            factors += [near, np.nextafter(near, end)]
        for factor in factors:
            if _gives(source[:_GLANCE], factor, wanted[:_GLANCE]) and _gives(source, factor, wanted):
                return factor
    return None


def _gives(source: NDArray[np.float32], factor: np.float32, wanted: NDArray[np.float32]) -> bool:
    return (source * factor).tobytes() == wanted.tobytes()
