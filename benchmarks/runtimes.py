"""One model as int8 on three runtimes, each under its own scheme: do they answer alike, and what does it cost?

    .venv/bin/pip install -c constraints.txt -e '.[optimize,openvino,litert]'
    .venv/bin/python benchmarks/runtimes.py --calibration DIR --test DIR [--part accuracy|latency] [--fresh]

EfficientNet-Lite0, the recipe int8, the exported files. Resumable: a runtime that has the part's figures is left alone.
Nothing else should run while `latency` is taken. Writes benchmarks/results/runtimes.csv and prints the tables of
docs/targets.md.
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pocketlens.datasets import splits
from pocketlens.datasets.choose import spread_evenly
from pocketlens.models import sources
from pocketlens.recipe import bind, read, run
from pocketlens.stages import StageStore
from pocketlens.targets import load_target
from pocketlens.targets.cache import cache_folder
from pocketlens.targets.timing import ratio, spread
from pocketlens.tasks import TASKS
from pocketlens.types import Artifact, Context, Data, ImageSet, Model, Profile, RacePlan, Target

RESULTS = Path(__file__).parent / "results" / "runtimes.csv"
RUNTIMES = ("onnxruntime", "openvino", "litert")
"""The first is what the others are compared with."""

THREADS = (1, 2)
ROUNDS = 41
BATCH = 8

ACCURACY = (
    *("file_bytes", "n", "as_fp32", "as_fp32_low", "as_fp32_high", "sqnr_db"),
    *("top1", "top1_change", "top1_change_low", "top1_change_high"),
    *("as_onnxruntime", "as_onnxruntime_low", "as_onnxruntime_high", "onnxruntime_db"),
    *("as_simulation", "simulation_db", "seconds_of_passes", "calibration_images", "seed", "measured"),
)
LATENCY = (
    *(f"{what}_{t}t" for t in THREADS for what in ("fp32_ms", "int8_ms", "speedup", "speedup_low", "speedup_high")),
    *("turns", "runs_a_turn", "latency_measured"),
)
COLUMNS = ("target", "runtime", "scheme", "device", *ACCURACY, *LATENCY)

Row = dict[str, Any]
Logits = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What every part needs."""

    model: Model
    calibration: ImageSet
    test: ImageSet
    store: StageStore
    work: Path

    def quantized(self, profile: Profile) -> tuple[Model, float]:
        """The model under a runtime's scheme, from the stage store where it is there, and the seconds of its passes."""
        context = Context(data=Data(calibration=self.calibration), original=self.model, work=self.work)
        result, records = run(bind(read("int8"), profile), self.model, context, store=self.store)
        return result, sum(record.seconds for record in records)

    def file(self, target: Target, model: Model, name: str) -> Artifact:
        """The model as the runtime's file."""
        folder = self.work / f"{target.name} {name}"
        folder.mkdir(exist_ok=True)
        return target.lower(model, name, folder)

    def images(self) -> Iterator[Logits]:
        """The test images, a batch at a time."""
        for batch in self.test.batches(self.model.spec.preprocessing, BATCH):
            yield batch.images

    def logits(self, target: Target, artifact: Artifact) -> Logits:
        """What a file answers."""
        return np.concatenate(list(target.outputs(artifact, self.images(), threads=1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--part", choices=["accuracy", "latency"], default="accuracy")
    parser.add_argument("--stages", type=Path, default=cache_folder() / "stages")
    parser.add_argument("--fresh", action="store_true", help="measure again what is there already")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = sources.load("efficientnet_lite0")
    spec = model.spec
    with tempfile.TemporaryDirectory(prefix="runtimes-") as scratch:
        bench = Bench(
            model=model,
            calibration=spread_evenly(
                splits.load(arguments.calibration, spec.class_ids, spec.labels), arguments.images
            ),
            test=splits.load(arguments.test, spec.class_ids, spec.labels),
            store=StageStore(arguments.stages),
            work=Path(scratch),
        )
        rows = {row["target"]: row for row in _read()}
        part, mark = (accuracy, "n") if arguments.part == "accuracy" else (latency, "latency_measured")
        missing = [name for name in RUNTIMES if arguments.fresh or not rows.get(name, {}).get(mark)]
        for row in part(bench, missing):
            rows[row["target"]] = rows.get(row["target"], {}) | row
            _write([rows[name] for name in RUNTIMES if name in rows])
    _table([rows[name] for name in RUNTIMES if name in rows])


def accuracy(bench: Bench, missing: list[str]) -> Iterator[Row]:
    """Answers of each runtime's file beside fp32, beside ONNX Runtime's int8 file and beside its own simulation."""
    if not missing:
        return
    first = load_target(RUNTIMES[0])
    fp32 = bench.logits(first, bench.file(first, bench.model, "fp32"))
    base = bench.logits(first, bench.file(first, bench.quantized(first.profile())[0], "int8"))
    labels = np.concatenate([b.labels for b in bench.test.batches(bench.model.spec.preprocessing, BATCH)])
    for name in missing:
        print(name, file=sys.stderr, flush=True)
        target = load_target(name)
        model, seconds = bench.quantized(target.profile())
        artifact = bench.file(target, model, "int8")
        got = bench.logits(target, artifact)
        with torch.inference_mode():
            simulated = np.concatenate([model.graph(torch.from_numpy(x)).numpy() for x in bench.images()])
        figures, beside, own = (_figures(got, other, labels) for other in (fp32, base, simulated))
        yield _conditions(name, target.profile()) | {
            "file_bytes": artifact.size_bytes,
            "n": figures["n"],
            "as_fp32": figures["agreement"],
            "as_fp32_low": figures["agreement_interval"][0],
            "as_fp32_high": figures["agreement_interval"][1],
            "sqnr_db": figures["sqnr_db"],
            "top1": figures["top1"],
            "top1_change": figures["top1_change"],
            "top1_change_low": figures["top1_change_interval"][0],
            "top1_change_high": figures["top1_change_interval"][1],
            "as_onnxruntime": beside["agreement"],
            "as_onnxruntime_low": beside["agreement_interval"][0],
            "as_onnxruntime_high": beside["agreement_interval"][1],
            "onnxruntime_db": beside["sqnr_db"],
            "as_simulation": own["agreement"],
            "simulation_db": own["sqnr_db"],
            "seconds_of_passes": round(seconds, 1),
            "calibration_images": len(bench.calibration),
            "seed": 0,
            "measured": _now(),
        }


def latency(bench: Bench, missing: list[str]) -> Iterator[Row]:
    """fp32 and int8 of each runtime against one another, turn by turn, each in a process of its own."""
    for name in missing:
        print(name, file=sys.stderr, flush=True)
        target = load_target(name)
        profile = target.profile()
        pair = [
            bench.file(target, bench.model, "fp32"),
            bench.file(target, bench.quantized(profile)[0], "int8"),
        ]
        row = _conditions(name, profile)
        for threads in THREADS:
            plan = RacePlan(threads=threads, rounds=ROUNDS)
            fp32, int8 = (timing.turns_ms for timing in target.race(pair, plan))
            speedup = ratio(fp32, int8)
            row |= {
                f"fp32_ms_{threads}t": spread(fp32).median,
                f"int8_ms_{threads}t": spread(int8).median,
                f"speedup_{threads}t": speedup.estimate,
                f"speedup_low_{threads}t": speedup.low,
                f"speedup_high_{threads}t": speedup.high,
                "turns": plan.rounds,
                "runs_a_turn": plan.runs,
            }
        yield row | {"latency_measured": _now()}


def _figures(got: Logits, wanted: Logits, labels: NDArray[np.int64]) -> Row:
    meter = TASKS["classification"].meter()
    meter.update(got, wanted, labels)
    return meter.result()


def _conditions(name: str, profile: Profile) -> Row:
    assert profile.scheme is not None
    return {
        "target": name,
        "runtime": profile.runtime,
        "scheme": profile.scheme.name,
        "device": f"{profile.cpu}, {profile.cores} cores",
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _read() -> list[Row]:
    if not RESULTS.is_file():
        return []
    with RESULTS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write(rows: list[Row]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _table(rows: list[Row]) -> None:
    print(
        "| int8 on | scheme | file | as fp32 (90%) | SQNR | as on ONNX Runtime | between the two | as its simulation |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in (row for row in rows if row.get("n")):
        f = {key: float(row[key]) for key in ACCURACY[:-1]}
        own = row["target"] == RUNTIMES[0]
        beside = " | " if own else f"{f['as_onnxruntime']:.1%} | {f['onnxruntime_db']:.1f} dB"
        print(
            f"| {row['runtime']} | `{row['scheme']}` | {f['file_bytes'] / 1e6:.2f} MB "
            f"| {f['as_fp32']:.1%} ({f['as_fp32_low']:.1%} to {f['as_fp32_high']:.1%}) | {f['sqnr_db']:.1f} dB "
            f"| {beside} | {f['as_simulation']:.1%}, {f['simulation_db']:.1f} dB |"
        )
    timed = [row for row in rows if row.get("latency_measured")]
    if timed:
        print("\n| int8 on | 1 thread | vs fp32 | 2 threads | vs fp32 |\n| --- | --- | --- | --- | --- |")
    for row in timed:
        cells = (
            f"{float(row[f'int8_ms_{t}t']):.2f} ms | {float(row[f'speedup_{t}t']):.2f}x "
            f"({float(row[f'speedup_low_{t}t']):.2f} to {float(row[f'speedup_high_{t}t']):.2f})"
            for t in THREADS
        )
        print(f"| {row['runtime']} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
