"""Try the export before a recipe trains: what a target cannot take fails in the first minute, not after hours.

The chain runs once with as little work as its passes take. A pass that trains is left out, since it gives the same
operators with other weights; one that states a change besides (it quantizes, it folds) takes one step on two images.
What comes out is lowered as the bundle will hold it, opened, and run. Scores of channels and layers come from two
images, so pruned widths, and the layers that KeepFloat picks, may be others than in the run that follows.
"""

import contextlib
import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from pocketlens import recipe as recipes
from pocketlens.errors import ImageError, PassError, PocketlensError, TargetError
from pocketlens.models import vocabulary
from pocketlens.squeeze.graphs import graph_variants, lower_graphs
from pocketlens.training.plan import TrainingPlan
from pocketlens.types import Artifact, Context, Data, ImageSet, Json, Model, Pass, Silent, Target, with_facts

IMAGES = 2
"""Of each split; batch norm in training needs two."""

_LEAST: Json = {
    **dict.fromkeys(("epochs", "steps", "iterations"), 1),
    **dict.fromkeys(("images", "batch_size"), IMAGES),
    **dict.fromkeys(("activations", "weights"), "minmax"),
    "positions": 64,
    "precision": "float32",
}
"""Fields that say only how much a pass looks at and how hard it searches -> what is enough here."""


def trains(recipe: recipes.Chain) -> bool:
    """Whether a pass of the recipe trains."""
    return any(_trains(step) for step in recipe.passes)


def try_export(recipe: recipes.Chain, model: Model, context: Context, target: Target) -> None:
    """Make, lower, open and run what the recipe will end in. Leaves no file, and every random state as it was.

    Args:
        recipe: bound.
        model: what it starts from; stays as it is.
        context: what its passes will be given; of the images two are read, work and cache are left alone.
        target: lowers and runs.
    Raises: RecipeError for a wrong order; PassError naming the pass that fails; TargetError naming the layer that the
        target cannot take and the pass that made it so.
    """
    recipes.check(recipe, model.facts)
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as scratch, torch.random.fork_rng(devices=[]):
        folder = Path(scratch)
        small = replace(context, data=_few_of_each(context.data), work=folder, cache=folder)
        made = _make(recipe, model, small)
        graphs = _lower(made, target, folder)
        _run(graphs, made[-1][1], target)


def _trains(step: Pass) -> bool:
    return isinstance(step, TrainingPlan) and step.trains


def _gives_weights_only(step: Pass) -> bool:
    """Whether a pass trains and changes no operator. Zeros among the weights (a mask) are weights."""
    return _trains(step) and not (step.establishes | step.destroys) - {"masked"}


def _make(recipe: recipes.Chain, model: Model, context: Context) -> list[tuple[str, Model]]:
    """Where each model comes from, and the model; the first is the one that came in."""
    made = [("the model as it came in", model)]
    total = len(recipe.passes)
    quiet = replace(context, progress=Silent())
    for place, step in enumerate(context.progress.track(recipe.passes, "trying the export", total), 1):
        name = f"pass {place} of {total}, {type(step).__name__}"
        if "quantized" not in model.facts:
            quiet = replace(quiet, unquantized=model)
        if _gives_weights_only(step):
            model = replace(model, facts=with_facts(model, add=step.establishes, drop=step.destroys))
        else:
            work = context.work / f"pass{place}"
            work.mkdir()
            try:
                model = _with_least_work(step)(model, replace(quiet, work=work)).model
            except (PocketlensError, RuntimeError, ValueError) as error:
                failure = PassError(f"{name}, tried on {IMAGES} images before any training: {error}")
                failure.exit_code = getattr(error, "exit_code", 1)
                raise failure from error
            made.append((f"what {name}, makes", model))
    return made


def _with_least_work(step: Pass) -> Pass:
    names = {item.name for item in fields(cast(Any, step))}
    return replace(cast(Any, step), **{name: least for name, least in _LEAST.items() if name in names})


def _lower(made: list[tuple[str, Model]], target: Target, folder: Path) -> tuple[Artifact, ...]:
    """The graphs of the last model. The first is measured too, so it is tried where it holds what the last does not."""
    try:
        graphs = lower_graphs(made[-1][1], target, folder / "graphs")
        if _kinds(made[0][1]) - _kinds(made[-1][1]) - {"batchnorm"}:
            lower_graphs(made[0][1], target, folder / "original")
    except TargetError as error:
        culprit = next((name for name, model in made if not _lowers(model, target)), made[-1][0])
        raise TargetError(f"{target.name} cannot take {culprit}, so nothing was trained: {error}") from error
    return graphs


def _kinds(model: Model) -> set[str]:
    return {vocabulary.kind(model.graph, node) for node in model.graph.graph.nodes}


def _lowers(model: Model, target: Target) -> bool:
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as scratch:
        try:
            target.lower(model, "trial", Path(scratch))
        except TargetError:
            return False
    return True


def _run(graphs: tuple[Artifact, ...], model: Model, target: Target) -> None:
    """One image through each graph."""
    image = np.random.default_rng(0).standard_normal((1, *model.spec.input_shape), np.float32)
    for artifact, variant in zip(graphs, graph_variants(model).values(), strict=True):
        with torch.inference_mode():
            wanted = variant.graph(torch.from_numpy(image)).numpy()
        got = next(iter(target.outputs(artifact, [image], threads=1)))
        if got.shape != wanted.shape or (np.isfinite(wanted).all() and not np.isfinite(got).all()):
            what = f"the shape {got.shape}, not {wanted.shape}" if got.shape != wanted.shape else "NaN or infinity"
            raise TargetError(f"{target.name} gives {what}, for the graph {artifact.name}, so nothing was trained")


def _few_of_each(data: Data) -> Data:
    return Data(train=_few(data.train), calibration=_few(data.calibration), validation=_few(data.validation))


def _few(images: ImageSet | None) -> ImageSet | None:
    """The first images that can be read, as a set of their own."""
    if images is None:
        return None
    own = images.subset(range(len(images)))  # it notes by itself what it cannot read
    readable: list[int] = []
    for index in range(len(own)):
        with contextlib.suppress(ImageError):
            own.image(index)
            readable.append(index)
        if len(readable) == IMAGES:
            break
    return own.subset(readable or range(min(IMAGES, len(own))))
