"""The measurements of a squeeze: every stage on validation images, the graphs that ship on test images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.measure import Entrant, MeasurePlan, measure
from pocketlens.report.data import Stage
from pocketlens.squeeze.output import bundle_bytes
from pocketlens.squeeze.plan import SqueezePlan
from pocketlens.targets.timing import ratio
from pocketlens.types import Artifact, Data, Interval, Measurement, Model, Progress, Record
from pocketlens.verdict import judge

CORRECTIVE = frozenset(
    {"CorrectBias", "MatchMoments", "RoundAdaptively", "KeepFloat", "Finetune", "Distil", "TuneQuantized"}
)
"""Passes that are there to win fidelity back."""

PACKING = frozenset({"RoundForRate", "ClusterWeights", "TieLayers", "MixPrecision"})
"""Passes that are there for fewer bytes to fetch: they leave memory and speed as they were."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A model as one pass left it."""

    model: Model
    record: Record


def measure_graphs(
    original: Artifact, graphs: Sequence[Artifact], data: Data, plan: SqueezePlan, progress: Progress
) -> tuple[Measurement, ...]:
    """The original and every graph that ships, on the test images. The only place that reads them."""
    assert data.test is not None
    entrants = [Entrant(artifact=graph) for graph in graphs]
    return measure(
        original,
        entrants,
        target=plan.target,
        images=data.test,
        plan=MeasurePlan(threads=plan.timed),
        progress=progress,
    )


def preferred_graph(graphs: Sequence[Measurement], threads: int | None) -> str:
    """The graph that the device should run: the faster one, or the truer one where speed makes no difference.

    Args:
        graphs: measured in one race.
        threads: the thread count that decides; None where none was timed, and the one asked for is taken.
    """
    best = graphs[0]
    if threads is None:
        return best.name
    for other in graphs[1:]:
        truer = other.fidelity["sqnr_db"] > best.fidelity["sqnr_db"]
        if _clearly_faster(other, best, threads) or (truer and not _clearly_faster(best, other, threads)):
            best = other
    return best.name


def measure_stages(
    original: Artifact,
    snapshots: Sequence[Snapshot],
    data: Data,
    plan: SqueezePlan,
    folder: Path,
    progress: Progress,
) -> tuple[Stage, ...]:
    """Lower what each pass left, measure it on validation images, and judge the pass by the difference.

    Args:
        original: the model as it came in, lowered.
        snapshots: one a pass, in order.
        data: its validation split is read.
        plan: see SqueezePlan.
        folder: for the files of the stages.
        progress: see types.Progress.
    """
    assert data.validation is not None
    artifacts = []
    for place, snapshot in enumerate(progress.track(snapshots, "lowering stages", len(snapshots)), 1):
        where = folder / f"stage{place}"
        where.mkdir(parents=True)
        artifacts.append(plan.target.lower(snapshot.model, f"{place} {snapshot.record.name}", where))
    entrants = [
        Entrant(artifact=artifact, download_bytes=bundle_bytes(artifact, folder) if _coded(snapshot) else None)
        for artifact, snapshot in zip(artifacts, snapshots, strict=True)
    ]
    measured = measure(
        original,
        entrants,
        target=plan.target,
        images=data.validation,
        plan=MeasurePlan(threads=plan.timed[:1]),
        progress=progress,
    )
    stages = []
    for snapshot, before, after in zip(snapshots, measured, measured[1:], strict=False):
        speedup = between(before, after, plan.timed[0]) if plan.timed else None
        name = snapshot.record.name
        verdict = judge(name, before, after, speedup=speedup, corrects=name in CORRECTIVE, packs=name in PACKING)
        stages.append(Stage(record=snapshot.record, measurement=after, verdict=verdict))
    return tuple(stages)


def between(before: Measurement, after: Measurement, threads: int) -> Interval:
    """The ratio of two latencies that were raced against the same baseline in one race, paired by turn."""
    return ratio(before.turns_ms[threads], after.turns_ms[threads])


def _clearly_faster(one: Measurement, other: Measurement, threads: int) -> bool:
    return between(other, one, threads).low > 1.0


def _coded(snapshot: Snapshot) -> bool:
    return "quantized" in snapshot.model.facts
