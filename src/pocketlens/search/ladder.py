"""The ladder: add one remedy of int8 after the other until the exported file is as true as asked for."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens import recipe as recipes
from pocketlens.datasets.choose import spread_evenly
from pocketlens.errors import ConfigError, DataError
from pocketlens.measure import fidelity
from pocketlens.passes import pass_class
from pocketlens.recipe import Chain
from pocketlens.stages import StageStore
from pocketlens.types import Artifact, Context, ImageSet, Json, Model, Pass, Target

NAME = "int8-best"
"""The recipe that the command line maps to the ladder."""

START = recipes.read("int8")
"""What every climb begins with."""


@dataclass(frozen=True)
class Rung:
    """A pass, and where in the chain it goes: at the end, unless it says otherwise.

    Args:
        step: the pass.
        after: the class of the pass that it follows.
        instead_of: the class of the pass whose place it takes.
    """

    step: Pass
    after: str = ""
    instead_of: str = ""


RUNGS: tuple[Rung, ...] = (
    Rung(pass_class("EqualizeChannels")(), after="FoldBatchNorm"),
    # It fits means and gains itself: moments matched behind it cost 0.2 dB of EfficientNet-Lite0's logits.
    Rung(pass_class("RoundAdaptively")(), instead_of="MatchMoments"),
    # Before the repair: rounding that made up for a layer is no help once that layer is float again.
    Rung(pass_class("KeepFloat")(worst=3), after="QuantizeStatic"),
)
"""From the cheapest to the dearest: minutes at the second and third, download at the last."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """When to stop.

    Args:
        agreement: share of images with the original's answer, at least; a standard error is taken off what was seen, so
            that luck with the validation images does not end the climb.
        sqnr_db: of the output, at least.
        gain_db: what a rung must add to stay in the chain,
        gain_agreement: or what it must add to the agreement while it costs less than `gain_db`.
        images: validation images that files are scored on, spread evenly.
    """

    agreement: float = 0.99
    sqnr_db: float = 22.5
    gain_db: float = 0.1
    gain_agreement: float = 0.005
    images: int = 500

    def __post_init__(self) -> None:
        if not 0 <= self.agreement <= 1:
            raise ConfigError(f"`agreement` must lie in [0, 1], got {self.agreement}. For 99% use 0.99.")
        if self.images < 1:
            raise ConfigError(f"`images` must be at least 1, got {self.images}")

    def met(self, figures: Json) -> bool:
        """Whether a file is true enough."""
        seen = figures["agreement"]
        error = math.sqrt(seen * (1 - seen) / figures["n"])
        return seen - error >= self.agreement and figures["sqnr_db"] >= self.sqnr_db

    def better(self, figures: Json, before: Json) -> bool:
        """Whether a rung is worth what it costs."""
        if self.met(figures) and not self.met(before):
            return True
        added = figures["sqnr_db"] - before["sqnr_db"]
        same = figures["agreement"] - before["agreement"]
        return added >= self.gain_db or (same >= self.gain_agreement and added > -self.gain_db)


@dataclass(frozen=True, kw_only=True)
class Climb:
    """How far it went.

    Args:
        recipe: the chain that it ended with, bound; its description says what each rung added.
        met: whether that is as true as asked for.
        rungs: {"rung", "kept", "agreement", "agreement_interval", "sqnr_db", "kl", "added_db", "n", "seconds"} a file.
    """

    recipe: Chain
    met: bool
    rungs: tuple[Json, ...]


def climb(
    model: Model,
    context: Context,
    target: Target,
    *,
    wanted: Wanted | None = None,
    start: Chain = START,
    rungs: Sequence[Rung] = RUNGS,
    stages: Path | None = None,
) -> Climb:
    """Find the shortest chain on the ladder whose file is as true as wanted; else the truest.

    Each rung that helps stays; one that does not is left out of the chains above it. All figures are of exported
    files on validation images.

    Args:
        model: a canonical graph in float.
        context: for the passes; `validation` is scored on.
        target: lowers and runs the files.
        wanted: see Wanted.
        start: the lowest chain.
        rungs: what is added, in order.
        stages: folder of the stage store, so that no pass runs twice; None keeps them in the work folder.
    Raises: DataError without validation images; what passes and target raise.
    """
    wanted = wanted or Wanted()
    if context.data.validation is None:
        raise DataError("the ladder scores files on validation images, got none: pass --data DIR")
    judge = _Judge(model, context, target, spread_evenly(context.data.validation, wanted.images))
    store = StageStore(stages or context.work / "stages")
    chain = recipes.bind(start, target.profile())
    best = judge.score(chain, "start", store)
    tried = [best | {"rung": " + ".join(type(step).__name__ for step in chain.passes), "kept": True, "added_db": 0.0}]
    for rung in rungs:
        if wanted.met(best):
            break
        longer = recipes.bind(_add(chain, rung), target.profile())
        figures = judge.score(longer, type(rung.step).__name__, store)
        kept, added = wanted.better(figures, best), figures["sqnr_db"] - best["sqnr_db"]
        tried.append(figures | {"rung": type(rung.step).__name__, "kept": kept, "added_db": added})
        if kept:
            chain, best = longer, figures
    met = wanted.met(best)
    account = _account(tried, met, _same(context))
    return Climb(recipe=Chain(*chain.passes, name=NAME, description=account), met=met, rungs=tuple(tried))


class _Judge:
    """Scores the files that recipes end in."""

    def __init__(self, model: Model, context: Context, target: Target, images: ImageSet) -> None:
        self._model, self._context, self._target, self._images = model, context, target, images
        self._original = self._lower(model, "fp32")

    def score(self, recipe: Chain, name: str, store: StageStore) -> Json:
        """Fidelity of the exported file, and the seconds that making and scoring it took."""
        start = time.perf_counter()
        result, _ = recipes.run(recipe, self._model, self._context, store=store)
        pair = [self._original, self._lower(result, name)]
        progress = self._context.progress
        figures = fidelity(pair, target=self._target, images=self._images, progress=progress)[1]
        shown = ("agreement", "agreement_interval", "sqnr_db", "kl", "n")
        return {key: figures[key] for key in shown} | {"seconds": time.perf_counter() - start}

    def _lower(self, model: Model, name: str) -> Artifact:
        folder = self._context.work / "ladder" / name
        folder.mkdir(parents=True, exist_ok=True)
        return self._target.lower(model, name, folder)


def _add(chain: Chain, rung: Rung) -> Chain:
    """The chain with the rung's pass in its place."""
    passes, wanted = list(chain.passes), rung.after or rung.instead_of
    names = [type(step).__name__ for step in passes]
    if wanted and wanted not in names:
        raise ConfigError(f"a rung goes by {wanted}, but the chain has only: {', '.join(names)}")
    if rung.instead_of:
        passes[names.index(wanted)] = rung.step
    else:
        passes.insert(names.index(wanted) + 1 if wanted else len(passes), rung.step)
    return Chain(*passes, name=chain.name)


def _same(context: Context) -> bool:
    """Whether files are scored on the very images that passes saw, which flatters them."""
    calibration, validation = context.data.calibration, context.data.validation
    return bool(calibration and validation and calibration.fingerprint() == validation.fingerprint())


def _account(tried: Sequence[Json], met: bool, same: bool) -> str:
    """What each rung added, in a sentence or two."""
    first, *others = tried
    parts = [f"{first['rung']}: {first['sqnr_db']:.1f} dB, same answer {first['agreement']:.1%}"]
    for rung in others:
        what = "" if rung["kept"] else ", left out"
        parts.append(f"{rung['rung']}: {rung['added_db']:+.1f} dB, same answer {rung['agreement']:.1%}{what}")
    end = "as true as asked for" if met else "the truest of the ladder, not as true as asked for"
    images = "calibration images, for want of others" if same else "validation images"
    return f"{'; '.join(parts)} (on {first['n']} {images}). This chain is {end}."
