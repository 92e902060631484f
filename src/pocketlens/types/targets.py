"""Targets: artifacts, devices and timing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from pocketlens.errors import ConfigError
from pocketlens.types.json import Json
from pocketlens.types.models import Model, ModelSpec
from pocketlens.types.numerics import Scheme

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A model as a runtime takes it: what is measured and what ships.

    Args:
        name: which graph of a bundle this is: "fp32", "int8", "float", "half".
        target: a key of `targets.TARGETS`.
        spec: of the model that was lowered.
        graph: the graph file.
        weights: the blob that `graph` refers to as external data, or None when weights are inside.
        session: options that the runtime must be opened with, for example {"session.disable_quant_qdq": "1"}.
        arithmetic: what most of its multiply-accumulates are computed in.
        parameters: how many numbers the model has.
        macs: multiply-accumulates of one input.
    """

    name: str
    target: str
    spec: ModelSpec
    graph: Path
    weights: Path | None = None
    session: Mapping[str, str] = field(default_factory=dict)
    arithmetic: Literal["float32", "float16", "int8"] = "float32"
    parameters: int = 0
    macs: int = 0

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of graph and weights."""
        return self.graph.stat().st_size + (self.weights.stat().st_size if self.weights else 0)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a device can do: read off, then probed by running it.

    Args:
        device: "this" or a name given at pairing.
        system: operating system and machine, for example "Linux x86_64".
        cpu: the processor's own name.
        cores: physical cores this process may use.
        threads: logical ones.
        memory_bytes: physical memory.
        caches_bytes: level -> bytes of one instance, for example {"L1d": 49152}.
        instructions: the ones that matter for inference: "avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8",
            "neon_dotprod", "neon_i8mm" ...
        runtime: name and version, for example "onnxruntime 1.32.0".
        scheme: the integer scheme the probe chose, or None where it was not run.
        probe: the probe's figures, per candidate scheme: {"u8s8": {"saturates": bool, "error": float,
            "latency_ms": float, "chosen": bool, "reason": str}}.
        channel_multiple: widths that are multiples of this leave no lane idle.
        peak: measured peaks, {"fp32_gmacs": ..., "int8_gmacs": ..., "bandwidth_gbs": ...} for one thread.
    """

    device: str
    system: str
    cpu: str
    cores: int
    threads: int
    memory_bytes: int
    caches_bytes: Mapping[str, int]
    instructions: tuple[str, ...]
    runtime: str
    scheme: Scheme | None = None
    probe: Mapping[str, Json] = field(default_factory=dict)
    channel_multiple: int = 8
    peak: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RacePlan:
    """How to time artifacts against one another: A B A B ..., one process each.

    Args:
        threads: intra-op threads.
        rounds: how often each artifact has its turn.
        runs: inferences a turn; a turn's figure is their median.
        warmup: inferences before the first turn, not counted.
        batch: images an inference.
    """

    threads: int = 1
    rounds: int = 21
    runs: int = 5
    warmup: int = 10
    batch: int = 1

    def __post_init__(self) -> None:
        for name in ("threads", "rounds", "runs", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What a race saw of one artifact.

    Args:
        artifact: its name.
        turns_ms: the median latency of each turn, in order; turns of one race pair up by index.
        load_ms: time to open the session.
        peak_memory_bytes: of a fresh process that only loaded and ran it.
    """

    artifact: str
    turns_ms: tuple[float, ...]
    load_ms: float
    peak_memory_bytes: int


class Target(Protocol):
    """Where a model runs."""

    name: ClassVar[str]

    def profile(self, *, refresh: bool = False) -> Profile:
        """What the hardware can do; runs the probe once and remembers it until told to `refresh`."""
        ...

    def lower(self, model: Model, name: str, folder: Path) -> Artifact:
        """Write `model` into `folder` as this runtime's file. Raises TargetError naming the layer it lacks."""
        ...

    def outputs(
        self, artifact: Artifact, batches: Iterable[NDArray[np.float32]], threads: int = 2
    ) -> Iterator[NDArray[np.float32]]:
        """Run batches through the artifact, streaming; of its outputs only the logits."""
        ...

    def all_outputs(
        self, artifact: Artifact, batches: Iterable[NDArray[np.float32]], threads: int = 2
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Run batches through the artifact, streaming; "logits" and, where it has one, "embedding"."""
        ...

    def race(self, artifacts: Sequence[Artifact], plan: RacePlan) -> tuple[Timing, ...]:
        """Time artifacts against one another, each in its own fresh process."""
        ...

    def layer_times(self, artifact: Artifact, threads: int = 1) -> tuple[Json, ...]:
        """Per operator as the runtime ran it: {"layer", "operator", "latency_ms", "share"}, slowest first."""
        ...
