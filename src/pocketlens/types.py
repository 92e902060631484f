"""The nouns every part of pocketlens shares. Free of torch at run time.

Fractions lie in [0, 1]; units are suffixes (`latency_ms`, `size_bytes`); images are RGB, NCHW, float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

from pocketlens.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import fx

T = TypeVar("T")
Json = dict[str, Any]

Fact = Literal["batchnorm", "channels_final", "masked", "clustered", "tied", "folded", "quantized", "half"]


# --- images ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a decoded RGB image becomes the model's input: resize, centre crop, (pixel - mean) / std.

    Args:
        resize: length of the short side after resizing, px; None resizes straight to `crop`.
        crop: (height, width) of the centre crop, px; this is the model's input size.
        interpolation: "bilinear" or "bicubic" (Pillow's antialiased filters), or "nearest".
        mean: per channel, in pixel units 0..255.
        std: per channel, in pixel units, > 0.
    """

    resize: int | None
    crop: tuple[int, int]
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bicubic"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (255.0, 255.0, 255.0)

    def __post_init__(self) -> None:
        if min(self.crop) < 1 or max(self.crop) > 4096:
            raise ConfigError(f"`crop` must lie in 1..4096 px a side, got {self.crop}")
        if self.resize is not None and not max(self.crop) <= self.resize <= 8192:
            raise ConfigError(f"`resize` must be at least the crop {self.crop} and at most 8192, got {self.resize}")
        if self.interpolation not in ("nearest", "bilinear", "bicubic"):
            raise ConfigError(f"`interpolation` must be nearest, bilinear or bicubic, got {self.interpolation!r}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ConfigError(f"`mean` and `std` need 3 values, `std` > 0, got {self.mean} and {self.std}")


@dataclass(frozen=True)
class Batch:
    """Some preprocessed images.

    Args:
        images: (n, 3, h, w), float32.
        labels: (n,), int64; -1 where the label is unknown.
        keys: n names that say which image each is (a path, or `file.parquet#17`).
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    keys: tuple[str, ...]


@runtime_checkable
class ImageSet(Protocol):
    """A finite, ordered, re-iterable set of images that is decoded as it is read (memory stays flat)."""

    name: str

    @property
    def labelled(self) -> bool:
        """Whether the images carry labels that the model's classes know."""
        ...

    @property
    def skipped(self) -> Mapping[str, str]:
        """Images that could not be read so far: key -> reason."""
        ...

    def __len__(self) -> int: ...

    def batches(self, preprocessing: Preprocessing, batch_size: int) -> Iterator[Batch]:
        """Yield all readable images in a fixed order; unreadable ones land in `skipped`."""
        ...

    def image(self, index: int) -> tuple[Image, int, str]:
        """The decoded RGB image at `index`, its label (-1 if unknown) and its key. Raises ImageError."""
        ...

    def subset(self, indices: Sequence[int]) -> ImageSet:
        """The images at `indices`, as a set of its own."""
        ...

    def fingerprint(self) -> str:
        """A short hash that changes when the images, their order or their labels do."""
        ...


@dataclass(frozen=True, kw_only=True)
class Data:
    """The four splits. Passes read the first three; only the final measurement reads `test`."""

    train: ImageSet | None = None
    calibration: ImageSet | None = None
    validation: ImageSet | None = None
    test: ImageSet | None = None


# --- models ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """All that is needed to use a model but its weights. Travels into the bundle.

    Args:
        name: for people and file names, for example "efficientnet_lite0".
        input_shape: (channels, height, width).
        preprocessing: from a decoded image to that input.
        task: a key of `pocketlens.tasks.TASKS`, for example "classification".
        class_ids: folder-like names in output order (ImageNet: the sorted wnids); empty when unknown.
        labels: readable names in output order; empty when unknown.
    """

    name: str
    input_shape: tuple[int, int, int]
    preprocessing: Preprocessing
    task: str = "classification"
    class_ids: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def label(self, index: int) -> str:
        """The readable name of an output."""
        names = self.labels or self.class_ids
        return names[index] if index < len(names) else f"class {index}"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A canonical graph with what is needed to use it.

    Args:
        graph: leaves and functions of `models.vocabulary` only; one input `x` (n, c, h, w), one output.
        spec: see ModelSpec.
        facts: what is true of the graph; passes require, establish and destroy these.
    """

    graph: fx.GraphModule
    spec: ModelSpec
    facts: frozenset[Fact] = frozenset()


# --- passes ------------------------------------------------------------------------------------------


class Progress(Protocol):
    """Shows that something long is moving. The CLI's draws bars; the default is silent."""

    def track(self, items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        """Yield `items`, showing how far along they are."""
        ...


class Silent:
    """Progress that shows nothing."""

    def track(self, items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        """Yield `items`."""
        yield from items


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a pass may use besides the model.

    Args:
        data: never its `test` split.
        original: the model as it came in, in float.
        work: an existing folder for what a pass wants to keep.
        teacher: for distillation; None means `original`.
        unquantized: the model as it last was before it became integers; the chain keeps it for passes that repair
            what quantization did.
        seed: makes a pass repeatable.
        device: a torch device string.
        progress: see Progress.
    """

    data: Data
    original: Model
    work: Path
    teacher: Model | None = None
    unquantized: Model | None = None
    seed: int = 0
    device: str = "cpu"
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a pass did, as plain JSON-able data. Reports are made from these and measurements alone.

    Args:
        name: the class name of the pass.
        config: its fields.
        summary: what a reader wants first, a few numbers.
        layers: one mapping a layer that was touched; each has "layer".
        notes: sentences for the reader.
        seconds: how long it took.
    """

    name: str
    config: Json
    summary: Json = field(default_factory=dict)
    layers: tuple[Json, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class PassResult:
    """A new model and what was done to get it; the input model is untouched."""

    model: Model
    record: Record


class Pass(Protocol):
    """One technique: a frozen keyword-only dataclass whose fields are its configuration."""

    @property
    def requires(self) -> frozenset[Fact]:
        """Facts that must hold before."""
        ...

    @property
    def forbids(self) -> frozenset[Fact]:
        """Facts that must not hold before."""
        ...

    @property
    def establishes(self) -> frozenset[Fact]:
        """Facts that hold afterwards."""
        ...

    @property
    def destroys(self) -> frozenset[Fact]:
        """Facts that no longer hold afterwards."""
        ...

    def __call__(self, model: Model, context: Context) -> PassResult:
        """Return a new model. The output shape stays."""
        ...


# --- numerics ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class IntegerFormat:
    """An integer grid: real = scale * (q - zero_point), qmin <= q <= qmax.

    Args:
        storage: the dtype in the file.
        qmin: smallest value used, inclusive (a 7-bit weight uses half the storage's range).
        qmax: largest value used, inclusive.
        zero_point: the one zero point that all tensors share; None lets each tensor have its own.
    """

    storage: Literal["uint8", "int8"]
    qmin: int
    qmax: int
    zero_point: int | None = None

    def __post_init__(self) -> None:
        low, high = (0, 255) if self.storage == "uint8" else (-128, 127)
        if not low <= self.qmin < self.qmax <= high:
            raise ConfigError(f"{self.storage} holds {low}..{high}, got qmin={self.qmin}, qmax={self.qmax}")
        if self.zero_point is not None and not self.qmin <= self.zero_point <= self.qmax:
            raise ConfigError(f"`zero_point` must lie in {self.qmin}..{self.qmax}, got {self.zero_point}")


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """How a target computes with integers. Data, chosen by a profile's rule and confirmed by a probe.

    Operator kinds are the names of `models.vocabulary.kind`: "conv", "linear", "add", "relu", "relu6" ...

    Args:
        name: for people, for example "u8s8".
        activation: grid of activations, per tensor.
        weight: grid of weights.
        granularity: "per_channel" (one scale an output channel) or "per_tensor".
        operators: kinds computed in integers.
        fused: activation kinds that fuse into the operator before them (no grid in between).
        shared: kinds whose output keeps the grid of their input.
        float_output: whether the last linear layer may give floats (no grid on the logits).
    """

    name: str
    activation: IntegerFormat
    weight: IntegerFormat
    granularity: Literal["per_channel", "per_tensor"] = "per_channel"
    operators: frozenset[str] = frozenset({"conv", "linear", "add"})
    fused: frozenset[str] = frozenset({"relu", "relu6"})
    shared: frozenset[str] = frozenset({"max_pool", "flatten", "dropout"})
    float_output: bool = True


# --- targets -----------------------------------------------------------------------------------------


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

    name: str

    def profile(self) -> Profile:
        """What the hardware can do; runs the probe once and remembers."""
        ...

    def lower(self, model: Model, name: str, folder: Path) -> Artifact:
        """Write `model` into `folder` as this runtime's file. Raises TargetError naming the layer it lacks."""
        ...

    def outputs(
        self, artifact: Artifact, batches: Iterable[NDArray[np.float32]], threads: int = 1
    ) -> Iterator[NDArray[np.float32]]:
        """Run batches through the artifact, streaming."""
        ...

    def race(self, artifacts: Sequence[Artifact], plan: RacePlan) -> tuple[Timing, ...]:
        """Time artifacts against one another, each in its own fresh process."""
        ...

    def layer_times(self, artifact: Artifact, threads: int = 1) -> tuple[Json, ...]:
        """Per operator as the runtime ran it: {"layer", "operator", "latency_ms", "share"}, slowest first."""
        ...


# --- measurement -------------------------------------------------------------------------------------


class Meter(Protocol):
    """Accumulates fidelity over batches in memory that does not grow."""

    def update(
        self, outputs: NDArray[np.float32], reference: NDArray[np.float32], labels: NDArray[np.int64]
    ) -> None:
        """Add a batch: the candidate's outputs, the original's outputs, labels (-1 unknown)."""
        ...

    def result(self) -> Json:
        """All figures so far, by name."""
        ...


class Task(Protocol):
    """What a model's output is and how fidelity to the original is measured."""

    name: str

    def check_output(self, shape: tuple[int, ...], spec: ModelSpec) -> None:
        """Raise UnsupportedModelError when a model's output (for a batch of n) is not this task's."""
        ...

    def meter(self) -> Meter:
        """A fresh accumulator."""
        ...

    def answers(self, outputs: NDArray[np.float32], spec: ModelSpec, top_k: int) -> list[list[Json]]:
        """For people: per image, the best `top_k` as {"label", "class_id", "index", "probability"}."""
        ...


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A distribution of repeated timings, ms."""

    median: float
    p10: float
    p90: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its interval; `level` is the confidence, for example 0.9."""

    estimate: float
    low: float
    high: float
    level: float = 0.9

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was measured of one artifact. Every figure is of the file, through the target's own runtime.

    Args:
        name: of the artifact.
        size_bytes: the download (what `--json` calls `size_bytes`).
        disk_bytes: unpacked.
        peak_memory_bytes: of a fresh process that only loads and runs it.
        parameters: numbers in the model.
        macs: multiply-accumulates of one input.
        fidelity: the task's figures: n, agreement, sqnr_db, kl, and with labels top1, top5, top1_change,
            top1_change_interval [low, high].
        latency_ms: threads -> Spread.
        turns_ms: threads -> the median latency of each turn; turns of one race pair up by index.
        speedup: threads -> ratio of the baseline's latency to this one's, paired by turn; > 1 is faster.
        load_ms: time to open.
        roofline: {"compute_share", "bandwidth_share"} of this machine's measured peaks at 1 thread.
        conditions: device, runtime, threads, batch, n, dates: what makes the figures repeatable.
    """

    name: str
    size_bytes: int
    disk_bytes: int
    peak_memory_bytes: int
    parameters: int
    macs: int
    fidelity: Json
    latency_ms: Mapping[int, Spread]
    turns_ms: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    speedup: Mapping[int, Interval] = field(default_factory=dict)
    load_ms: float = 0.0
    roofline: Mapping[str, float] = field(default_factory=dict)
    conditions: Json = field(default_factory=dict)


Outcome = Literal["paid", "did not pay", "no difference"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether something was worth it, on this device, by the file's own figures.

    Args:
        name: of the pass or graph that is judged.
        outcome: "paid" when at least one of size and latency got better beyond its noise (or a corrective pass won
            fidelity back) and nothing asked for got worse; "did not pay" when it only cost; else "no difference".
        size: one clause, for example "18.6 -> 4.8 MB (3.9x smaller)".
        latency: one clause, for example "1.94x faster (1.90 to 1.98)" or "no difference (0.97 to 1.03)".
        fidelity: one clause, for example "top-1 -0.1 pt (-0.4 to +0.2): no difference".
        sentence: the whole, for people.
    """

    name: str
    outcome: Outcome
    size: str
    latency: str
    fidelity: str
    sentence: str


def with_facts(model: Model, add: Iterable[Fact] = (), drop: Iterable[Fact] = ()) -> frozenset[Fact]:
    """The facts of a model after a pass that establishes `add` and destroys `drop`."""
    return (model.facts - frozenset(drop)) | frozenset(add)
