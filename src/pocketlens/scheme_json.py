"""Schemes as plain data, for recipes, caches and bundles."""

from dataclasses import asdict, fields

from pocketlens.errors import RecipeError
from pocketlens.types import IntegerFormat, Json, Scheme

_SETS = ("operators", "fused", "shared", "per_tensor", "fixed")


def scheme_to_json(scheme: Scheme) -> Json:
    """A scheme as JSON-able data; sets become sorted lists."""
    data = asdict(scheme)
    return data | {name: sorted(data[name]) for name in _SETS}


def scheme_from_json(data: Json) -> Scheme:
    """The inverse of `scheme_to_json`. Raises RecipeError naming what is wrong."""
    known = {item.name for item in fields(Scheme)}
    if unknown := sorted(set(data) - known):
        raise RecipeError(f"a scheme has {', '.join(sorted(known))}; got also: {', '.join(unknown)}")
    try:
        grids = {name: IntegerFormat(**data[name]) for name in ("activation", "weight")}
        sets = {name: frozenset(data[name]) for name in _SETS if name in data}
        return Scheme(**{**data, **grids, **sets})
    except (TypeError, KeyError) as error:
        raise RecipeError(f"a malformed scheme: {error}") from error
