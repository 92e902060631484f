"""Measure artifacts: bytes, fidelity, latency and memory of the files themselves, through the target's own runtime."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from pocketlens.errors import DataError
from pocketlens.targets import load_target
from pocketlens.targets.timing import ratio, spread
from pocketlens.tasks import TASKS
from pocketlens.types import (
    Artifact,
    ImageSet,
    Json,
    Measurement,
    Preprocessing,
    Profile,
    Progress,
    RacePlan,
    Silent,
    Target,
    Timing,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PEAK_OF = {"float32": "fp32_gmacs", "float16": "fp32_gmacs", "int8": "int8_gmacs"}


@dataclass(frozen=True, kw_only=True)
class MeasurePlan:
    """What to measure with.

    Args:
        threads: each gets a race of its own; the first is the one that headlines quote. With none, nothing is timed.
        rounds: turns of each artifact in a race.
        runs: inferences a turn.
        batch_size: images at once when fidelity is measured (latency is always at batch 1).
    """

    threads: tuple[int, ...] = (1, 2)
    rounds: int = 21
    runs: int = 5
    batch_size: int = 8

    def races(self) -> tuple[RacePlan, ...]:
        """One plan a thread count."""
        return tuple(RacePlan(threads=t, rounds=self.rounds, runs=self.runs) for t in self.threads)


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """An artifact to be measured.

    Args:
        artifact: its file.
        download_bytes: what a user would fetch to get it; None takes the bytes on disk.
    """

    artifact: Artifact
    download_bytes: int | None = None


def measure(
    baseline: Artifact,
    entrants: Sequence[Entrant],
    *,
    target: Target,
    images: ImageSet,
    plan: MeasurePlan,
    progress: Progress | None = None,
) -> tuple[Measurement, ...]:
    """Measure the baseline and every entrant, interleaved.

    Args:
        baseline: what fidelity and speed are compared with, the original in float.
        entrants: the others; artifact names must differ.
        target: where the artifacts run; one of another runtime on this machine runs there.
        images: the images fidelity is measured on; labels are used where they are known.
        plan: see MeasurePlan.
        progress: see types.Progress.
    Returns: the baseline's measurement, then the entrants' in order.
    """
    progress = progress or Silent()
    artifacts = [baseline, *(e.artifact for e in entrants)]
    figures = fidelity(artifacts, target=target, images=images, batch_size=plan.batch_size, progress=progress)
    races = [target.race(artifacts, race) for race in progress.track(plan.races(), "racing", len(plan.threads))]
    profiles = {name: runtime.profile() for name, runtime in _runtimes(artifacts, target).items()}
    downloads = [baseline.size_bytes, *(e.download_bytes or e.artifact.size_bytes for e in entrants)]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    conditions = {
        "batch": 1,
        "threads": list(plan.threads),
        "turns": plan.rounds if plan.threads else 0,
        "runs_a_turn": plan.runs,
        "images": images.name,
        "measured": now,
    }
    return tuple(
        _measurement(
            artifact,
            downloads[i],
            figures[i],
            [(race[0], race[i]) for race in races],
            plan,
            profiles[artifact.target],
            conditions,
        )
        for i, artifact in enumerate(artifacts)
    )


def fidelity(
    artifacts: Sequence[Artifact],
    *,
    target: Target,
    images: ImageSet,
    batch_size: int = 8,
    progress: Progress | None = None,
) -> tuple[Json, ...]:
    """The task's figures of each artifact against the first, image by image, each under its own preprocessing.

    An image is decoded once for each different preprocessing.

    Raises: DataError when no image could be read.
    """
    task = TASKS[artifacts[0].spec.task]
    meters = [task.meter() for _ in artifacts]
    sizes = list(dict.fromkeys(artifact.spec.preprocessing for artifact in artifacts))
    # Every artifact pulls the same current images: lockstep, so that no batch is decoded twice or kept.
    current: dict[Preprocessing, NDArray[np.float32]] = {}

    def feed(size: Preprocessing) -> Iterator["NDArray[np.float32]"]:
        while True:
            yield current[size]

    runtimes = _runtimes(artifacts, target)
    streams = [runtimes[a.target].outputs(a, feed(a.spec.preprocessing)) for a in artifacts]
    total = -(-len(images) // batch_size)
    seen = 0
    together = zip(*(images.batches(size, batch_size) for size in sizes), strict=True)
    for batches in (progress or Silent()).track(together, "scoring", total):
        current.update(zip(sizes, (batch.images for batch in batches), strict=True))
        outputs = [next(stream) for stream in streams]
        for meter, output in zip(meters, outputs, strict=True):
            meter.update(output, outputs[0], batches[0].labels)
        seen += len(batches[0].keys)
    for stream in streams:
        close = getattr(stream, "close", None)
        if close is not None:
            close()
    if not seen:
        raise DataError(f"no image of {images.name} could be read; see `skipped` for why")
    return tuple(meter.result() | {"skipped": len(images.skipped)} for meter in meters)


def _measurement(
    artifact: Artifact,
    download_bytes: int,
    figures: Json,
    pairs: list[tuple[Timing, Timing]],
    plan: MeasurePlan,
    profile: Profile,
    conditions: Json,
) -> Measurement:
    by_threads = dict(zip(plan.threads, pairs, strict=True))
    latency = {t: spread(own.turns_ms) for t, (_, own) in by_threads.items()}
    speedup = {t: ratio(base.turns_ms, own.turns_ms) for t, (base, own) in by_threads.items()}
    first = pairs[0][1] if pairs else None
    single = latency.get(1)
    return Measurement(
        name=artifact.name,
        size_bytes=download_bytes,
        disk_bytes=artifact.size_bytes,
        peak_memory_bytes=first.peak_memory_bytes if first else 0,
        parameters=artifact.parameters,
        macs=artifact.macs,
        fidelity=figures,
        latency_ms=latency,
        turns_ms={t: own.turns_ms for t, (_, own) in by_threads.items()},
        speedup=speedup,
        load_ms=first.load_ms if first else 0.0,
        roofline={} if single is None else _roofline(artifact, single.median, profile.peak),
        conditions={
            "device": f"{profile.cpu}, {profile.cores} cores",
            "runtime": profile.runtime,
            **conditions,
        },
    )


def _runtimes(artifacts: Sequence[Artifact], target: Target) -> dict[str, Target]:
    """Where each kind of artifact runs, by its target's name."""
    return {a.target: target if a.target == target.name else load_target(a.target) for a in artifacts}


def _roofline(artifact: Artifact, latency_ms: float, peak: Mapping[str, float]) -> dict[str, float]:
    """Shares of the measured peaks at one thread (Williams et al. 2009): of arithmetic, and of reading the weights."""
    seconds = latency_ms / 1e3
    shares = {}
    if gmacs := peak.get(_PEAK_OF[artifact.arithmetic]):
        shares["compute_share"] = artifact.macs / seconds / 1e9 / gmacs
    if gbs := peak.get("bandwidth_gbs"):
        shares["bandwidth_share"] = artifact.size_bytes / seconds / 1e9 / gbs
    return shares
