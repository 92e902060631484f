"""What training on integer grids is worth: a CIFAR ResNet-20 at W8A8 and W4A4, EfficientNet-Lite0 at W4A8, unlabelled.

    .venv/bin/python benchmarks/qat.py --data SHARED_DATA_DIR --weights SHARED_WEIGHTS_DIR [--part resnet20|lite0]

Scores the exported files on all test images. Resumable: every finished pass is kept in --work, and a training that was
cut goes on from its last checkpoint. Writes the rows of its part into benchmarks/results/qat.csv. Nothing else should
run while `lite0` is timed.
"""

import argparse
import csv
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from pocketlens import recipe
from pocketlens.cli.console import Bars
from pocketlens.datasets import splits
from pocketlens.datasets.choose import left_over, spread_evenly
from pocketlens.measure import fidelity
from pocketlens.models import sources
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.match_moments import MatchMoments
from pocketlens.passes.quantize_aware import QuantizeAware
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.passes.round_adaptively import RoundAdaptively
from pocketlens.passes.tune_quantized import TuneQuantized
from pocketlens.stages import StageStore
from pocketlens.targets import load_target
from pocketlens.targets.cache import cache_folder
from pocketlens.types import Context, Data, ImageSet, Model, Pass, Record

RESULTS = Path(__file__).parent / "results" / "qat.csv"
FIGURES = ("n", "top1", "top1_change", "top1_change_interval", "agreement", "agreement_interval", "sqnr_db", "kl")
CLASSES = tuple(str(i) for i in range(10))
Way = tuple[Pass, ...]

W4A4: dict[str, Any] = {"weight_bits": 4, "activation_bits": 4, "edge_bits": 8, "weights": "mse"}
"""First and last layer at 8 bits, as in the literature."""

RESNET20: dict[str, Way] = {
    "W8A8, post-training": (FoldBatchNorm(), QuantizeStatic(), MatchMoments()),
    "W4A4, post-training": (FoldBatchNorm(), QuantizeStatic(**W4A4), MatchMoments()),
    "W4A4, QAT": (
        QuantizeAware(
            **W4A4, epochs=3, batch_size=128, learning_rate=0.02, weight_decay=1e-4, augment="shift", temperature=4.0,
            labels_weight=0.1, ema=0.99, freeze_batchnorm=0.8, views=2, precision="float32",
        ),
    ),
}  # fmt: skip
"""Settings were tried on train images and scored on validation images."""

W4: dict[str, Any] = {"weight_bits": 4, "weights": "mse"}
"""All layers, the first and the last too."""

LITE0: dict[str, Way] = {
    "W4A8, nearest": (FoldBatchNorm(), QuantizeStatic(**W4)),
    "W4A8, RoundAdaptively": (FoldBatchNorm(), QuantizeStatic(**W4), RoundAdaptively()),
    "W4A8, QAT": (
        QuantizeAware(
            **W4, epochs=18, batch_size=16, learning_rate=0.01, weight_decay=1e-5, augment="crop", smallest_crop=0.35,
            views=5, temperature=2.0, ema=0.99, freeze_batchnorm=0.6,
        ),
    ),
    "W4A8, RoundAdaptively, TuneQuantized": (
        FoldBatchNorm(), QuantizeStatic(**W4), RoundAdaptively(),
        TuneQuantized(
            epochs=16, batch_size=16, learning_rate=5e-4, weight_decay=0.0, augment="crop", smallest_crop=0.35,
            views=5, temperature=2.0, ema=0.99,
        ),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """What every part needs."""

    data: Path
    weights: Path
    work: Path
    only: str


def resnet20(bench: Bench) -> list[dict[str, Any]]:
    """Labels have a share of a tenth; the network as it came in teaches the rest."""
    model = sources.load("resnet20_cifar", weights=bench.weights / "resnet20.safetensors")
    model = replace(model, spec=replace(model.spec, class_ids=CLASSES, labels=CLASSES))
    data = splits.load_data(bench.data / "cifar10-jpeg", CLASSES, CLASSES)
    assert data.train is not None
    assert data.validation is not None
    few = spread_evenly(data.validation, 1000)  # scored after each epoch
    data = replace(data, calibration=spread_evenly(data.train, 512), validation=few)
    return compare("resnet20", model, data, RESNET20, bench)


def lite0(bench: Bench) -> list[dict[str, Any]]:
    """One photo a class and no labels: all but 100 teach, 100 of those calibrate, and 100 choose the epoch."""
    model = sources.load("efficientnet_lite0")
    spec = model.spec
    photos = splits.load(bench.data / "imagenet-sample", spec.class_ids, spec.labels)
    train = left_over(photos, 100)
    assert train is not None
    data = Data(
        train=train,
        calibration=spread_evenly(train, 100),
        validation=spread_evenly(photos, 100),
        test=splits.load(bench.data / "imagenet-like", spec.class_ids, spec.labels),
    )
    return compare("lite0", model, data, LITE0, bench)


def compare(part: str, model: Model, data: Data, ways: Mapping[str, Way], bench: Bench) -> list[dict[str, Any]]:
    """A row for the float file and for each way that was asked for."""
    target = load_target("onnxruntime")
    profile = target.profile()
    store = StageStore(bench.work / "stages")
    context = Context(data=replace(data, test=None), original=model, work=bench.work, cache=bench.work, progress=Bars())
    assert data.test is not None
    rows = []
    with tempfile.TemporaryDirectory(prefix="qat-") as scratch:
        for place, (name, passes) in enumerate(ways.items()):
            if bench.only not in name:
                continue
            bound = recipe.bind(recipe.Chain(*passes), profile)
            result, records = recipe.run(bound, model, context, store=store)
            for record in records:
                print(f"    {record.name}: {record.summary} {record.seconds:.0f} s {record.notes}", flush=True)
            folders = [Path(scratch) / f"{place}-{kind}" for kind in ("fp32", "int8")]
            for folder in folders:
                folder.mkdir()
            files = [
                target.lower(m, f, folder)
                for m, f, folder in zip((model, result), ("fp32", name), folders, strict=True)
            ]
            scores = fidelity(files, target=target, images=data.test, batch_size=50, progress=Bars())
            if not rows:
                rows.append(row(part, "fp32", scores[0], (), data.test, profile.cpu, profile.runtime))
            rows.append(row(part, name, scores[1], records, data.test, profile.cpu, profile.runtime))
            print({k: rows[-1][k] for k in ("file", "n", *FIGURES[1:6])}, flush=True)
    return rows


def row(
    part: str, name: str, score: Mapping[str, Any], records: Sequence[Record], test: ImageSet, cpu: str, runtime: str
) -> dict[str, Any]:
    """One line of the CSV."""
    trained = next((r for r in records if r.name in ("QuantizeAware", "TuneQuantized")), None)
    config = next((r.config for r in records if "weight_bits" in r.config), {})
    figures = {k: "{:.4f} to {:.4f}".format(*v) if isinstance(v := score.get(k), list | tuple) else v for k in FIGURES}
    return {"part": part, "file": name, **figures} | {
        "seconds_of_passes": sum(r.seconds for r in records) if records else None,
        **{k: config.get(k) for k in ("epochs", "batch_size", "learning_rate", "weight_bits", "activation_bits")},
        "precision": trained.summary["precision"] if trained else None,
        "test": test.name,
        "scheme": next((r.config["scheme"] for r in records if "scheme" in r.config), None),
        "torch_threads": torch.get_num_threads(),
        "cpu": cpu,
        "runtime": runtime,
        "seed": 0,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def save(rows: list[dict[str, Any]]) -> None:
    """Put the rows into the CSV, in the place of those of the same files."""
    made = {(r["part"], r["file"]) for r in rows}
    kept: list[dict[str, Any]] = []
    if RESULTS.exists():
        with RESULTS.open(newline="") as file:
            kept = [r for r in csv.DictReader(file) if (r["part"], r["file"]) not in made]
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows([*kept, *rows])


PARTS = {"resnet20": resnet20, "lite0": lite0}


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--only", default="", help="files whose name holds this")
    parser.add_argument("--work", type=Path, default=cache_folder() / "benchmarks")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments.data, arguments.weights, arguments.work, arguments.only)
    for part in arguments.part or PARTS:
        print(f"== {part}", flush=True)
        save(PARTS[part](bench))


if __name__ == "__main__":
    main()
