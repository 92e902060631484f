"""The recipe int8-best: found by climbing the ladder on this model, then squeezed like any other."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pocketlens.cli.console import Console
    from pocketlens.search.ladder import Climb, Wanted
    from pocketlens.squeeze.plan import SqueezePlan
    from pocketlens.types import Data, Model


def climb_for(console: "Console", model: "Model", data: "Data", plan: "SqueezePlan", wanted: "Wanted") -> "Climb":
    """The chain that a squeeze with `plan` is to run, telling what each rung adds."""
    from dataclasses import replace

    from pocketlens.search.ladder import RUNGS, climb
    from pocketlens.types import Context

    with tempfile.TemporaryDirectory(prefix="pocketlens-") as work:
        context = Context(
            data=replace(data, test=None),
            original=model,
            work=Path(work),
            cache=plan.cache,
            teachers=plan.teachers,
            seed=plan.seed,
            progress=console.progress,
        )
        # A device that computes in integers throughout has no place for a layer in float.
        whole = plan.preset is not None and plan.preset.form.whole
        rungs = [r for r in RUNGS if not (whole and type(r.step).__name__ == "KeepFloat")]
        found = climb(model, context, plan.target, wanted=wanted, rungs=rungs, stages=plan.stages)
    for rung in found.rungs:
        left_out = "" if rung["kept"] else ", left out"
        console.say(
            f"{rung['rung']}: same answer {rung['agreement']:.1%}, {rung['sqnr_db']:.1f} dB "
            f"({rung['added_db']:+.1f} dB{left_out}; {rung['n']} images, {rung['seconds']:.0f} s)"
        )
    if not found.met:
        console.say(f"no rung reaches {wanted.agreement:.1%} and {wanted.sqnr_db:.1f} dB; this is the truest chain")
    return found
