"""The shape model, which all runtimes share: the stage store keeps it, the bundle names it, others start from it.

Pruning and training make a shape once; ranges and rounded weights belong to one runtime's scheme and are made again.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from pocketlens import recipe as recipes
from pocketlens.errors import BundleError, ModelError
from pocketlens.models import store as models
from pocketlens.squeeze.plan import SqueezePlan
from pocketlens.stages import StageStore
from pocketlens.types import Context, Data, ImageSet, Json, Model, Pass, PassResult, Profile, Progress, Record, Silent

_NUMERIC = frozenset({"folded", "quantized", "half", "clustered"})
"""A pass that establishes one of these, or is bound to a scheme, starts the half of a recipe that belongs to it."""


def keep_shape(
    recipe: recipes.Chain, models_seen: Sequence[Model], calibration: ImageSet | None, plan: SqueezePlan
) -> Json:
    """Keep the model before the first numeric pass; what a bundle's recipe says about it.

    Args:
        recipe: bound, as it ran.
        models_seen: the model that came in, then each pass's.
        calibration: the images that set the ranges.
        plan: its store keeps the model, its seed is noted.
    Returns: {"shape_model": key in the stage store, or None where nothing is kept, "passes": how many made it,
        "calibration": name of the images, "seed"}.
    """
    passes = shape_passes(recipe)
    key = None
    if plan.stages is not None:
        key = models.digest(models_seen[passes])[:32]
        record = Record(name="Shape", config={})
        StageStore(plan.stages).save(key, PassResult(models_seen[passes], record))
    return {
        "shape_model": key,
        "passes": passes,
        "calibration": calibration.name if calibration is not None else None,
        "seed": plan.seed,
    }


def shape_passes(recipe: recipes.Chain) -> int:
    """How many passes at a recipe's start are shared by all runtimes."""
    numeric = [place for place, step in enumerate(recipe.passes) if step.establishes & _NUMERIC or _bindable(step)]
    return min(numeric, default=len(recipe.passes))


def for_runtime(
    recipe: Json, profile: Profile, stages: Path, calibration: ImageSet, *, progress: Progress | None = None
) -> Model:
    """A bundle's model made again under another runtime's scheme.

    Args:
        recipe: of a bundle's manifest.
        profile: of the runtime.
        stages: folder of the stage store.
        calibration: images that set the ranges.
        progress: see types.Progress.
    Returns: what the numeric half of the recipe made of the shape model.
    Raises: BundleError when the bundle does not name its shape model; ModelError saying how to make it again where
        the store has it no more; what passes raise.
    """
    told = dict(recipe)
    source = told.pop("source", None)
    if not isinstance(source, dict) or not isinstance(source.get("passes"), int):
        raise BundleError(
            "this bundle does not name the model it was made from, which other runtimes start from; squeeze again"
        )
    key = source.get("shape_model")
    store = StageStore(stages)
    found = store.load(key) if isinstance(key, str) and key.isalnum() else None
    if found is None:
        raise ModelError(
            f"the model that this bundle was made from is not kept in {stages} (any more), and other runtimes start "
            f"from it; run the same `pocketlens squeeze` here again (recipe {told.get('name')}, "
            f"seed {source.get('seed')}), then this"
        )
    chain = recipes.from_json(told)
    rest = [_unbound(step) for step in chain.passes[source["passes"] :]]
    if not rest:
        return found.model
    bound = recipes.bind(recipes.Chain(*rest, name=chain.name), profile)
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as scratch:
        context = Context(
            data=Data(calibration=calibration, validation=calibration),
            original=found.model,
            work=Path(scratch),
            seed=source.get("seed", 0),
            progress=progress or Silent(),
        )
        model, _ = recipes.run(bound, found.model, context, store=store)
    return model


def _unbound(step: Pass) -> Pass:
    """The pass with what a target decides open again."""
    return replace(cast(Any, step), **dict.fromkeys(_bindable(step), "auto"))


def _bindable(step: Pass) -> list[str]:
    return [item.name for item in fields(cast(Any, step)) if "bind" in item.metadata]
