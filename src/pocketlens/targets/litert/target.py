"""LiteRT on this machine's CPU, as a target."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pocketlens.targets.litert.schemes import SCHEMES
from pocketlens.targets.litert.session import open_session, time_alone
from pocketlens.targets.operators import mean_times
from pocketlens.targets.probe import Hardware
from pocketlens.targets.profiled import probed_profile
from pocketlens.targets.race import race
from pocketlens.types import Artifact, Json, Model, Profile, RacePlan, Timing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class LiteRt:
    """LiteRT with XNNPACK, here."""

    name: ClassVar[str] = "litert"

    def profile(self, *, refresh: bool = False) -> Profile:
        """Hardware, the probed scheme, and measured peaks; see `profiled.probed_profile`."""
        return probed_profile(f"litert {version('ai-edge-litert')}", SCHEMES, self._probe, _lanes, refresh=refresh)

    def lower(self, model: Model, name: str, folder: Path) -> Artifact:
        """Write FOLDER/NAME.tflite; see `lower.lower`."""
        from pocketlens.targets.litert.lower import lower

        return lower(model, name, folder)

    def outputs(
        self, artifact: Artifact, batches: "Iterable[NDArray[np.float32]]", threads: int = 2
    ) -> "Iterator[NDArray[np.float32]]":
        """Run batches through the artifact, streaming; image by image."""
        session = open_session(artifact.graph, artifact.weights, artifact.session, threads)
        for batch in batches:
            yield session.run(batch)

    def all_outputs(
        self, artifact: Artifact, batches: "Iterable[NDArray[np.float32]]", threads: int = 2
    ) -> "Iterator[dict[str, NDArray[np.float32]]]":
        """Run batches through the artifact, streaming; every output by its name."""
        session = open_session(artifact.graph, artifact.weights, artifact.session, threads)
        for batch in batches:
            yield session.run_all(batch)

    def race(self, artifacts: Sequence[Artifact], plan: RacePlan) -> tuple[Timing, ...]:
        """Time artifacts against one another; see `race.race`."""
        return race(artifacts, plan)

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
