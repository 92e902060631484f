"""Measurements, tasks and verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from pocketlens.types.json import Json
from pocketlens.types.models import Fact, Model, ModelSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Meter(Protocol):
    """Accumulates fidelity over batches in memory that does not grow."""

    def update(self, outputs: NDArray[np.float32], reference: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
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
        size_bytes: the download, coded.
        disk_bytes: on disk: graph and weights decoded, as a runtime maps them.
        peak_memory_bytes: in memory: the peak of a fresh process that only loads and runs it, the runtime included.
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


SIZE_NOISE = 0.01
"""Sizes within 1% are the same."""

Outcome = Literal["paid", "did not pay", "no difference"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether something was worth it, on this device, by the file's own figures.

    Args:
        name: of the pass or graph that is judged.
        outcome: "paid" when at least one of size and latency got better beyond its noise (or a corrective pass won
            fidelity back) and nothing asked for got worse; "did not pay" when it only cost; else "no difference".
        size: one clause on the download, for example "18.6 -> 4.8 MB (3.9x smaller)".
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


def saves_download_only(before: Measurement, after: Measurement) -> bool:
    """Whether the download shrank and what lies on disk did not: values that pack well, decoded before they run."""
    smaller = after.size_bytes < before.size_bytes * (1 - SIZE_NOISE)
    return smaller and abs(after.disk_bytes - before.disk_bytes) <= SIZE_NOISE * before.disk_bytes
