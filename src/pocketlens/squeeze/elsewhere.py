"""A squeeze for a device that is not here: which recipes fit it, and what can be said of the files."""

import tempfile
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from pocketlens import recipe as recipes
from pocketlens.errors import ConfigError
from pocketlens.targets.presets.check import demand
from pocketlens.targets.presets.preset import Preset
from pocketlens.targets.presets.table import load_preset
from pocketlens.types import Json, Model, Pass, Target

NOT_TIMED = "speed was not measured on that device"


def check_fits(recipe: recipes.Chain, preset: Preset) -> None:
    """Refuse a recipe whose numbers are not the preset's to decide. Raises: ConfigError saying which would do."""
    fitting, own = [], []
    for step in recipe.passes:
        if _takes_scheme(step):
            named = getattr(step, "scheme", None)
            (fitting if named in ("auto", preset.scheme) else own).append(type(step).__name__)
    halves = any("half" in step.establishes for step in recipe.passes)
    if preset.scheme is None and not halves:
        raise ConfigError(
            f"{preset.device} computes in 16-bit floats, and the recipe {recipe.name} makes none; use --recipe half"
        )
    if preset.scheme is not None and own:
        raise ConfigError(
            f"{own[0]} of the recipe {recipe.name} names a scheme of its own; leave it out, or give no --scheme"
        )
    if preset.scheme is not None and (halves or not fitting):
        raise ConfigError(
            f"the scheme {preset.name} is for a recipe that rounds to integers, and {recipe.name} has no pass that "
            "takes a scheme; use --recipe int8, or give no --scheme"
        )


def account(preset: Preset, model: Model, bundle: Path) -> Json:
    """Check the model's file in the format that the device's tools read, and say what is known.

    Args:
        preset: of the device; the ONNX in the bundle was checked when it was written.
        model: what the recipe made.
        bundle: for the command that makes the file.
    Returns: {"preset", "device", "graph", "file", "checked": whether the rules were proven on a file of that format,
        "proof": a sentence, "speed": that it was not measured there}.
    Raises: TargetError naming the operator that breaks a rule.
    """
    told = {"preset": preset.name, "device": preset.device, "graph": preset.graph, "file": preset.file}
    command = f"pocketlens export {bundle} --format {preset.file} --graph {preset.graph}"
    checked, proof = True, f"the {preset.graph} graph obeys every rule of {preset.name}; `{command}` hands it over"
    if preset.file == "tflite":
        checked, proof = _tflite(preset, model, command)
    return {**told, "checked": checked, "proof": proof, "speed": NOT_TIMED}


def for_device(target: Json, runtime: Target) -> tuple[Target, Preset | None]:
    """The runtime as the device wants its files, and the device, where a bundle was made for one that reads them.

    Args:
        target: of the bundle's manifest.
        runtime: that a file is made for.
    Returns: the runtime as it is, and None, for any other bundle.
    Raises: UnknownNameError for a device that this pocketlens does not know.
    """
    name = target.get("made_for")
    preset = None if name is None else load_preset(str(name))
    if preset is None or preset.file != "tflite" or runtime.name != "litert":
        return runtime, None
    from pocketlens.targets.litert.target import LiteRt

    return LiteRt(form=preset.form), preset


def _tflite(preset: Preset, model: Model, command: str) -> tuple[bool, str]:
    missing = [name for name in ("ai_edge_litert", "litert_torch") if find_spec(name) is None]
    if missing:
        return False, (
            f"its numbers obey {preset.name}, but a .tflite was not made, for want of {missing[0]}: "
            f"pip install 'pocketlens[litert]', then `{command}` makes and checks it"
        )
    from pocketlens.targets.litert.target import LiteRt

    with tempfile.TemporaryDirectory(prefix="pocketlens-") as scratch:
        demand(LiteRt(form=preset.form).lower(model, preset.graph, Path(scratch)).graph, preset)
    return True, f"a .tflite made of it obeys every rule of {preset.name}; `{command}` makes and checks it again"


def _takes_scheme(step: Pass) -> bool:
    return any(item.metadata.get("bind") == "scheme" for item in fields(cast(Any, step)))
