"""OpenVINO on this machine's CPU, as a target."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import openvino

from pocketlens.targets import Session
from pocketlens.targets.local import LocalTarget
from pocketlens.targets.openvino.schemes import SCHEMES, likely
from pocketlens.targets.openvino.session import open_session
from pocketlens.targets.operators import mean_times
from pocketlens.targets.probe import Hardware
from pocketlens.targets.profiled import probed_profile
from pocketlens.types import Artifact, Json, Model, Profile

_PROFILED_RUNS = 20

_MADE_BY_THE_PLUGIN = frozenset({"Reorder", "Convert", "Input", "Output"})
"""Operators that belong to no layer: changes of layout and precision."""


@dataclass(frozen=True, kw_only=True)
class OpenVino(LocalTarget):
    """OpenVINO's CPU plugin, here."""

    name: ClassVar[str] = "openvino"

    def profile(self, *, refresh: bool = False) -> Profile:
        """Hardware, the probed scheme, and measured peaks; see `profiled.probed_profile`."""
        version = openvino.__version__.partition("-")[0]
        return probed_profile(f"openvino {version}", SCHEMES, self._probe, _lanes, refresh=refresh)

    def lower(self, model: Model, name: str, folder: Path) -> Artifact:
        """Write FOLDER/NAME.xml and FOLDER/NAME.bin; see `lower.lower`."""
        from pocketlens.targets.openvino.lower import lower

        return lower(model, name, folder)

    def open(self, artifact: Artifact, threads: int) -> Session:
        """See `session.open_session`."""
        return open_session(artifact.graph, artifact.weights, artifact.session, threads)

    def layer_times(self, artifact: Artifact, threads: int = 1) -> tuple[Json, ...]:
        """Mean time an inference of every operator, from the plugin's own counters, slowest first.

        Layers bear the names of the canonical graph; what the plugin adds (a change of layout) is its own layer.
        `operator` names the kernel too: one that ends in I8 computed in integers.
        """
        session = open_session(artifact.graph, artifact.weights, artifact.session, threads, profiling=True)
        images = np.random.default_rng(0).standard_normal((1, *artifact.spec.input_shape), np.float32)
        session.run(images)  # warms up
        runs = []
        for _ in range(_PROFILED_RUNS):
            session.run(images)
            runs.append([(_layer(name, what), what, ms) for name, what, ms in session.operators()])
        return mean_times(runs)

    def _probe(self, machine: Hardware) -> Json:
        import tempfile

        from pocketlens.targets.peak import measured_peak
        from pocketlens.targets.scheme_probe import Network, probe_schemes

        with tempfile.TemporaryDirectory(prefix="pocketlens-") as scratch:
            place = Path(scratch) / "probe.onnx"

            def open_network(network: Network):
                place.write_bytes(network.onnx())
                return open_session(place, None, {}, 1)

            probed = probe_schemes(SCHEMES, likely(machine.instructions), open_network)
        peak = measured_peak(self.lower, open_session, probed.scheme, max(machine.caches_bytes.values(), default=0))
        return {"scheme": probed.scheme.name, "figures": probed.figures, "peak": peak}


def _lanes(instructions: tuple[str, ...]) -> int:
    """Channels that oneDNN's blocked convolutions compute at once."""
    return 16 if "avx512f" in instructions else 8


def _layer(name: str, what: str) -> str:
    """The canonical node that an operator came from; `lower` called it LAYER/Operator."""
    operator = what.partition(" ")[0]
    return operator if operator in _MADE_BY_THE_PLUGIN else name.partition("/")[0]
