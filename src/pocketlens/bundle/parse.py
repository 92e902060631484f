"""Strict JSON: what two parsers could read differently is refused."""

import json
import math
from typing import Any, NoReturn

from pocketlens.errors import BundleError


def parse(payload: bytes) -> Any:
    """UTF-8 JSON as Python data.

    Raises: BundleError when it is no JSON, is nested too deep, repeats a key, or holds NaN or an infinity.
    """
    try:
        return json.loads(
            payload.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
    except RecursionError as error:
        raise BundleError("is nested too deep") from error
    except ValueError as error:
        raise BundleError(f"is no valid JSON ({str(error)[:120]})") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)[:40]!r} occurs twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not finite")
    return value


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")
