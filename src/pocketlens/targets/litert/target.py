"""LiteRT on this machine's CPU, as a target."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from pocketlens.targets import Session
from pocketlens.targets.form import DEFAULT, Form
from pocketlens.targets.litert.schemes import SCHEMES
from pocketlens.targets.litert.session import open_session, time_alone
from pocketlens.targets.local import LocalTarget
from pocketlens.targets.operators import mean_times
from pocketlens.targets.probe import Hardware
from pocketlens.targets.profiled import probed_profile
from pocketlens.types import Artifact, Json, Model, Profile


@dataclass(frozen=True, kw_only=True)
class LiteRt(LocalTarget):
    """LiteRT with XNNPACK, here.

    Args:
        form: how files are written.
    """

    form: Form = DEFAULT

    name: ClassVar[str] = "litert"

    def profile(self, *, refresh: bool = False) -> Profile:
        """Hardware, the probed scheme, and measured peaks; see `profiled.probed_profile`."""
        return probed_profile(f"litert {version('ai-edge-litert')}", SCHEMES, self._probe, _lanes, refresh=refresh)

    def lower(self, model: Model, name: str, folder: Path) -> Artifact:
        """Write FOLDER/NAME.tflite; see `lower.lower`."""
        from pocketlens.targets.litert.lower import lower

        return lower(model, name, folder, self.form)

    def open(self, artifact: Artifact, threads: int) -> Session:
        """See `session.open_session`; images run one by one."""
        return open_session(artifact.graph, artifact.weights, artifact.session, threads)

    def layer_times(self, artifact: Artifact, threads: int = 1) -> tuple[Json, ...]:
        """Time of every operator run alone (see `single`), slowest first.

        Layers bear the names of the canonical graph; a change of layout or precision belongs to the layer it serves.
        """
        from pocketlens.targets.litert.single import single_operators

        content = artifact.graph.read_bytes()
        return mean_times(
            [[(layer, kind, time_alone(alone, threads)) for layer, kind, alone in single_operators(content)]]
        )

    def _probe(self, machine: Hardware) -> Json:
        from pocketlens.targets.litert.scheme_probe import open_network
        from pocketlens.targets.peak import measured_peak
        from pocketlens.targets.scheme_probe import probe_schemes

        probed = probe_schemes(SCHEMES, "s8s8", open_network)
        peak = measured_peak(self.lower, open_session, probed.scheme, max(machine.caches_bytes.values(), default=0))
        return {"scheme": probed.scheme.name, "figures": probed.figures, "peak": peak}


def _lanes(instructions: tuple[str, ...]) -> int:
    """Channels that XNNPACK's matrix kernels compute at once."""
    return 16 if "avx512f" in instructions else 8
