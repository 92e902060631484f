"""Pruning and distillation on CIFAR-10: ours beside Torch-Pruning's own pruners, with the same tuning.

    .venv/bin/python benchmarks/prune.py --data CIFAR_DIR --weights WEIGHTS_DIR [--part NAME]

Resumable: every finished pass is kept in --work and an interrupted training goes on from its last checkpoint. Writes
benchmarks/results/prune_*.csv. Accuracies are of the exported files on all test images. Nothing else should run
while `rounding` and the latencies are taken.
"""

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from columns import latency_columns
from torch_pruning_peer import TorchPruningPeer

from pocketlens import recipe
from pocketlens.cli.console import Bars
from pocketlens.datasets import splits
from pocketlens.measure import Entrant, MeasurePlan, measure
from pocketlens.models import sources
from pocketlens.models.cost import count_macs, count_parameters
from pocketlens.passes.distil import Distil
from pocketlens.passes.finetune import Finetune
from pocketlens.passes.prune_blocks import PruneBlocks
from pocketlens.passes.prune_channels import PruneChannels
from pocketlens.stages import StageStore
from pocketlens.targets import load_target
from pocketlens.targets.cache import cache_folder
from pocketlens.targets.timing import ratio, spread
from pocketlens.tasks import paired_interval
from pocketlens.types import Artifact, Context, Data, Measurement, Model, Pass, RacePlan

RESULTS = Path(__file__).parent / "results"
CLASSES = tuple(str(i) for i in range(10))
MACS = 0.602
"""Share of ResNet-56's multiply-accumulates that leaves: 2.5x fewer stay."""

TUNING = Distil(
    epochs=4, batch_size=128, learning_rate=0.05, augment="shift", temperature=4.0, labels_weight=0.1, warmup=0.1
)
"""The same for every pruner."""

BLOCKS = 0.35
"""Share that our first pass takes, as whole branches; channels give the rest. Chosen on validation images."""

SCHEDULE: dict[str, Any] = {
    "epochs": 3, "batch_size": 128, "learning_rate": 0.05, "augment": "shift", "warmup": 0.1,
}  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """What every part needs."""

    data: Data
    weights: Path
    store: StageStore
    work: Path
    rounds: int
    seeds: tuple[int, ...]

    def run(self, passes: Sequence[Pass], model: Model, teachers: tuple[Model, ...] = (), seed: int = 0) -> Model:
        """The model after the passes; what was done before is looked up."""
        context = Context(
            data=replace(self.data, test=None),
            original=model,
            work=self.work,
            cache=self.work,
            teachers=teachers,
            seed=seed,
            progress=Bars(),
        )
        result, records = recipe.run(recipe.Chain(*passes), model, context, store=self.store)
        for record in records:
            print(f"    {record.name}: {record.summary} {record.seconds:.0f} s", flush=True)
        return result


def load(name: str, bench: Bench) -> Model:
    """A CIFAR ResNet with the shared weights."""
    model = sources.load(f"{name}_cifar", weights=bench.weights / f"{name}.safetensors")
    return replace(model, spec=replace(model.spec, class_ids=CLASSES, labels=CLASSES))


def resnet56(bench: Bench) -> None:
    """2.5x fewer MACs: ours beside Torch-Pruning's L1 and group-norm pruners, 4 epochs of the same distillation."""
    original = load("resnet56", bench)
    print("blocks first", flush=True)
    blocks = PruneBlocks(macs=BLOCKS)
    left = count_macs(bench.run((blocks,), original)) / count_macs(original)
    channels = PruneChannels(macs=1 - (1 - MACS) / left, multiple=8, criterion="group_norm")
    rows = {
        "pocketlens: blocks and channels": (blocks, channels),
        "Torch-Pruning 1.6.1 L1": (TorchPruningPeer(method="l1", macs=MACS),),
        "Torch-Pruning 1.6.1 group norm": (TorchPruningPeer(method="group_norm", macs=MACS),),
    }
    models = {}
    for name, passes in rows.items():
        print(name, flush=True)
        models[name] = bench.run((*passes, TUNING), original)
    measured = compare(original, models, bench)
    write("prune_resnet56", measured, {"epochs": 4, "batch": 128, "seed": 0, "tuning": "Distil T=4, 0.1 labels"})


def resnet20(bench: Bench) -> None:
    """ResNet-20 with and without ResNet-56 as its teacher, three seeds, the same start and schedule."""
    student, teacher = load("resnet20", bench), load("resnet56", bench)
    rows = []
    for seed in bench.seeds:
        ways = {
            "without teacher": (Finetune(**SCHEDULE), ()),
            "distilled from ResNet-56": (Distil(**SCHEDULE, temperature=4.0, labels_weight=0.1), (teacher,)),
        }
        models = {}
        for name, (step, teachers) in ways.items():
            print(f"seed {seed}: {name}", flush=True)
            models[name] = bench.run((step,), student, teachers, seed)
        _, plain, taught = compare(student, models, bench, latency=False)
        low, high = pair(models, bench)
        rows.append(
            {
                "seed": seed,
                "top1_without": plain.fidelity["top1"],
                "top1_distilled": taught.fidelity["top1"],
                "difference": taught.fidelity["top1"] - plain.fidelity["top1"],
                "difference_low": low,
                "difference_high": high,
                "n": taught.fidelity["n"],
                **SCHEDULE,
            }
            | conditions(bench)
        )
    for key in ("top1_without", "top1_distilled", "difference"):
        print(key, statistics.mean(r[key] for r in rows), flush=True)
    save("prune_resnet20", rows)


def rounding(bench: Bench) -> None:
    """What rounding widths buys: the same pruner at the same MACs, widths to multiples of 1, 4, 8 and 16; untrained."""
    rows = []
    for name, source in (
        ("ResNet-56", load("resnet56", bench)),
        ("EfficientNet-Lite0", sources.load("efficientnet_lite0")),
    ):
        models = {f"multiple {k}": bench.run((PruneChannels(macs=0.5, multiple=k),), source) for k in (1, 4, 8, 16)}
        target = load_target("onnxruntime")
        with tempfile.TemporaryDirectory() as scratch:
            artifacts = lowered({"fp32": source, **models}, Path(scratch))
            for threads in (1, 2):
                timings = target.race(artifacts, RacePlan(threads=threads, rounds=bench.rounds))
                for artifact, timing in zip(artifacts, timings, strict=True):
                    own, faster = spread(timing.turns_ms), ratio(timings[0].turns_ms, timing.turns_ms)
                    row = {
                        "model": name,
                        "file": artifact.name,
                        "threads": threads,
                        "macs": artifact.macs,
                        "latency_ms": own.median,
                        "latency_p10_ms": own.p10,
                        "latency_p90_ms": own.p90,
                        "speedup_over_fp32": faster.estimate,
                        "speedup_low": faster.low,
                        "speedup_high": faster.high,
                    }
                    rows.append(row | conditions(bench))
                    print(rows[-1], flush=True)
    save("prune_rounding", rows)


def lite0(bench: Bench) -> None:
    """How long pruning EfficientNet-Lite0 takes, without training, by criterion."""
    model = sources.load("efficientnet_lite0")
    sample = splits.load("sample:calibration")
    rows = []
    for criterion in ("l1", "group_norm", "geometric_median", "taylor", "hessian_diagonal"):
        context = Context(data=Data(calibration=sample), original=model, work=bench.work)
        start = time.perf_counter()
        result = PruneChannels(macs=0.5, criterion=criterion, multiple=8)(model, context).model
        seconds = time.perf_counter() - start
        rows.append(
            {
                "criterion": criterion,
                "seconds": seconds,
                "macs": count_macs(result),
                "parameters": count_parameters(result),
                "images": min(128, len(sample)),
            }
            | conditions(bench)
        )
        print(rows[-1], flush=True)
    save("prune_seconds", rows)


def conditions(bench: Bench) -> dict[str, object]:
    """What makes a figure repeatable."""
    profile = load_target("onnxruntime").profile()
    return {
        "turns": bench.rounds,
        "device": f"{profile.cpu}, {profile.cores} cores",
        "runtime": profile.runtime,
        "torch_threads": torch.get_num_threads(),
    }


def lowered(models: dict[str, Model], folder: Path) -> list[Artifact]:
    """Every model as a file."""
    target = load_target("onnxruntime")
    artifacts = []
    for place, (name, model) in enumerate(models.items()):
        where = folder / str(place)
        where.mkdir()
        artifacts.append(target.lower(model, name, where))
    return artifacts


def compare(original: Model, models: dict[str, Model], bench: Bench, latency: bool = True) -> tuple[Measurement, ...]:
    """The exported files on all test images, in one race."""
    assert bench.data.test is not None
    with tempfile.TemporaryDirectory() as scratch:
        first, *others = lowered({"fp32": original, **models}, Path(scratch))
        plan = MeasurePlan(threads=(1, 2) if latency else (1,), rounds=bench.rounds if latency else 1, batch_size=64)
        return measure(
            first,
            [Entrant(artifact=a) for a in others],
            target=load_target("onnxruntime"),
            images=bench.data.test,
            plan=plan,
            progress=Bars(),
        )


def pair(models: dict[str, Model], bench: Bench) -> tuple[float, float]:
    """The paired interval of the second model's accuracy minus the first's, exported files."""
    target = load_target("onnxruntime")
    test = bench.data.test
    assert test is not None
    with tempfile.TemporaryDirectory() as scratch:
        right = []
        for artifact in lowered(models, Path(scratch)):
            batches = list(test.batches(artifact.spec.preprocessing, 100))
            answers = target.outputs(artifact, (b.images for b in batches))
            right.append([r for b, o in zip(batches, answers, strict=True) for r in (o.argmax(1) == b.labels)])
    lost = sum(a and not b for a, b in zip(*right, strict=True))
    gained = sum(b and not a for a, b in zip(*right, strict=True))
    return paired_interval(lost, gained, len(right[0]))


def write(name: str, measured: Sequence[Measurement], extra: dict[str, object]) -> None:
    """One line a file."""
    rows = []
    for m in measured:
        f = m.fidelity
        row: dict[str, object] = {
            "file": m.name,
            "size_bytes": m.size_bytes,
            "parameters": m.parameters,
            "macs": m.macs,
            "macs_over_fp32": measured[0].macs / m.macs,
            "n": f["n"],
            "top1": f["top1"],
            "top1_change": f["top1_change"],
            "top1_change_low": f["top1_change_interval"][0],
            "top1_change_high": f["top1_change_interval"][1],
        }
        row |= latency_columns(m)
        c = m.conditions
        rows.append(
            row
            | {"device": c["device"], "runtime": c["runtime"], "turns": c["turns"], "measured": c["measured"]}
            | extra
        )
        print(
            {k: row[k] for k in ("file", "macs_over_fp32", "top1", "top1_change") if k in row},
            row.get("speedup_over_fp32_1t"),
            flush=True,
        )
    save(name, rows)


def save(name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write a CSV whole."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


PARTS = {"resnet56": resnet56, "resnet20": resnet20, "rounding": rounding, "lite0": lite0}


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--work", type=Path, default=cache_folder() / "benchmarks")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of resnet20; some, to share the work")
    parser.add_argument("--rounds", type=int, default=41)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(
        data=splits.load_data(arguments.data, CLASSES, CLASSES),
        weights=arguments.weights,
        store=StageStore(arguments.work / "stages"),
        work=arguments.work,
        rounds=arguments.rounds,
        seeds=tuple(arguments.seeds),
    )
    for part in arguments.part or PARTS:
        print(f"== {part}", flush=True)
        PARTS[part](bench)


if __name__ == "__main__":
    main()
