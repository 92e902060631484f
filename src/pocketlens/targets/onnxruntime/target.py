"""ONNX Runtime on this machine's CPU, as a target."""

import json
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnxruntime

from pocketlens.targets import Session
from pocketlens.targets.form import DEFAULT, Form
from pocketlens.targets.local import LocalTarget
from pocketlens.targets.onnxruntime.schemes import SCHEMES, likely
from pocketlens.targets.onnxruntime.session import open_session
from pocketlens.targets.probe import Hardware
from pocketlens.targets.profiled import probed_profile
from pocketlens.types import Artifact, Json, Model, Profile

_PROFILED_RUNS = 20


@dataclass(frozen=True, kw_only=True)
class OnnxRuntime(LocalTarget):
    """ONNX Runtime's CPU execution provider, here.

    Args:
        form: how files are written.
    """

    form: Form = DEFAULT

    name: ClassVar[str] = "onnxruntime"

    def profile(self, *, refresh: bool = False) -> Profile:
        """Hardware, the probed scheme, and measured peaks.

        Args:
            refresh: probe again instead of remembering what this device with this runtime gave before.
        """
        return probed_profile(f"onnxruntime {onnxruntime.__version__}", SCHEMES, _probe, _lanes, refresh=refresh)

    def lower(self, model: Model, name: str, folder: Path) -> Artifact:
        """Write FOLDER/NAME.onnx and FOLDER/weights.bin; see `lower.lower`."""
        from pocketlens.targets.onnxruntime.lower import lower

        return lower(model, name, folder, self.form)

    def open(self, artifact: Artifact, threads: int) -> Session:
        """Idle threads sleep: sessions in one process would disturb one another."""
        return open_session(artifact.graph, artifact.weights, artifact.session, threads, spinning=False)

    def layer_times(self, artifact: Artifact, threads: int = 1) -> tuple[Json, ...]:
        """Mean time an inference of every operator, from ONNX Runtime's own profile, slowest first.

        Layers bear the names of the canonical graph; what the runtime adds (a change of layout) is its own layer.
        """
        images = np.random.default_rng(0).standard_normal((1, *artifact.spec.input_shape), np.float32)
        with tempfile.TemporaryDirectory(prefix="pocketlens-") as scratch:
            prefix = str(Path(scratch) / "profile")
            session = open_session(
                artifact.graph, artifact.weights, artifact.session, threads, profile_prefix=prefix, spinning=False
            )
            for _ in range(_PROFILED_RUNS):
                session.run(images)
            events = json.loads(session.end_profiling().read_text("utf-8"))
        return _by_layer(events)


def _probe(machine: Hardware) -> Json:
    from pocketlens.targets.onnxruntime.peak import measured_peak
    from pocketlens.targets.scheme_probe import probe_schemes

    probed = probe_schemes(
        SCHEMES,
        likely(machine.instructions),
        lambda network: open_session(network.onnx(), None, {}, 1, spinning=False),
    )
    peak = measured_peak(max(machine.caches_bytes.values(), default=0))
    return {"scheme": probed.scheme.name, "figures": probed.figures, "peak": peak}


def _lanes(instructions: tuple[str, ...]) -> int:
    """Channels that ONNX Runtime's blocked convolutions compute at once (MlasNchwcGetBlockSize)."""
    return 16 if "avx512f" in instructions or "neon" in instructions else 8


def _by_layer(events: list[Json]) -> tuple[Json, ...]:
    """Sum a profile's kernel times by layer and operator; the first inference warms up and is left out."""
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        name = event.get("name", "")
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            operator = event["args"]["op_name"]
            layer, lowered, _ = name.removeprefix("fused ").partition("/")
            times[(layer if lowered else operator, operator)].append(event["dur"] / 1e3)
    rows = []
    for (layer, operator), values in times.items():
        calls = max(len(values) // _PROFILED_RUNS, 1)  # an operator may stand more than once in a layer
        rows.append((layer, operator, sum(values[calls:]) / max(_PROFILED_RUNS - 1, 1)))
    total = sum(ms for _, _, ms in rows) or 1.0
    return tuple(
        {"layer": layer, "operator": operator, "latency_ms": ms, "share": ms / total}
        for layer, operator, ms in sorted(rows, key=lambda row: -row[2])
    )
