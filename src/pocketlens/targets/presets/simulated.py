"""A device that is elsewhere: files are made for it here, and computed exactly as their grids say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from pocketlens.errors import TargetError
from pocketlens.targets import Session
from pocketlens.targets.form import DEFAULT
from pocketlens.targets.local import LocalTarget
from pocketlens.targets.onnxruntime.session import open_session
from pocketlens.targets.onnxruntime.target import OnnxRuntime
from pocketlens.targets.presets.check import demand
from pocketlens.targets.presets.preset import Preset
from pocketlens.types import Artifact, Json, Model, Profile, RacePlan, Timing

_IN_FLOATS = {"session.disable_quant_qdq": "1"}
"""Every Q and DQ then rounds in floats, and no kernel of this machine, which may saturate, adds up integers."""


@dataclass(frozen=True, kw_only=True)
class Simulated(LocalTarget):
    """A preset as a target: lowers to ONNX in the preset's form, gives the right numbers slowly, and times nothing.

    Args:
        preset: of the device.
    """

    preset: Preset

    name: ClassVar[str] = "onnxruntime"

    def profile(self, *, refresh: bool = False) -> Profile:
        """Of this machine, which computes the figures, with the device's scheme."""
        return replace(OnnxRuntime().profile(refresh=refresh), scheme=self.preset.scheme)

    def lower(self, model: Model, name: str, folder: Path) -> Artifact:
        """Write FOLDER/NAME.onnx; in the device's form, and proven, where it computes as the device does.

        Raises: TargetError naming the node that breaks a rule of the preset; see also `OnnxRuntime.lower`.
        """
        own = bool({"quantized", "half"} & model.facts)
        artifact = OnnxRuntime(form=self.preset.form if own else DEFAULT).lower(model, name, folder)
        if artifact.arithmetic != "float32":
            demand(artifact.graph, self.preset)
        return artifact

    def open(self, artifact: Artifact, threads: int) -> Session:
        """A session whose integers are simulated in floats."""
        options = {**artifact.session, **_IN_FLOATS}
        return open_session(artifact.graph, artifact.weights, options, threads, spinning=False)

    def race(self, artifacts: Sequence[Artifact], plan: RacePlan) -> tuple[Timing, ...]:
        """Raises TargetError: the device is not here."""
        raise TargetError(f"nothing can be timed on {self.preset.device} from here: run the exported file there")

    def layer_times(self, artifact: Artifact, threads: int = 1) -> tuple[Json, ...]:
        """None: they would be of this machine."""
        return ()
