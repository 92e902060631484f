"""Whole recipes, from trained weights to a bundle that is really small: what each network is squeezed by, and how."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from packing.bench import Bench, Row, interval
from packing.shipped import Shipped
from pocketlens import (
    Chain,
    Distil,
    FoldBatchNorm,
    MatchMoments,
    PruneChannels,
    PruneWeights,
    QuantizeAware,
    QuantizeStatic,
    RoundForRate,
    TuneQuantized,
)
from pocketlens.cli.console import Bars
from pocketlens.cli.inputs import load_model
from pocketlens.datasets import splits
from pocketlens.datasets.choose import left_over, spread_evenly
from pocketlens.models import sources
from pocketlens.recipe import read
from pocketlens.squeeze.plan import Squeezed, SqueezePlan
from pocketlens.squeeze.run import run
from pocketlens.types import Data, Measurement, Model, Pass

CLASSES = tuple(str(i) for i in range(10))
"""Of CIFAR-10, as its parquet files number them."""

VALIDATION_IMAGES = 1000
"""At most so many score each epoch and each stage."""

LITE0 = Chain(
    FoldBatchNorm(),
    QuantizeStatic(),
    RoundForRate(max_size_mb=2.3),
    TuneQuantized(
        codes="fixed", optimizer="adamw", learning_rate=0.001, epochs=16, batch_size=16, weight_decay=0.0,
        augment="crop", smallest_crop=0.35, views=5, temperature=2.0, ema=0.99,
    ),
    name="lite0",
)  # fmt: skip

GROCERY = Chain(
    PruneChannels(parameters=0.4, criterion="taylor", weigh="parameters", images=256, steps=2),
    Distil(epochs=20, batch_size=32, learning_rate=0.02, augment="crop", temperature=2.0, views=6, ema=0.99),
    FoldBatchNorm(),
    QuantizeStatic(),
    RoundForRate(share=0.68),
    MatchMoments(),
    name="grocery",
)
"""The recipe `small`, rounded a little harder, so that it comes below 1.5 MB."""

RESNET56 = Chain(
    PruneWeights(
        sparsity=0.75, schedule="gradual", epochs=4, batch_size=128, learning_rate=0.05, augment="shift", warmup=0.1
    ),
    QuantizeAware(
        weight_bits=4, edge_bits=8, weights="mse", epochs=5, batch_size=128, learning_rate=0.02, weight_decay=1e-4,
        augment="shift", temperature=4.0, labels_weight=0.1, ema=0.99, views=2,
    ),
    name="resnet56",
)  # fmt: skip
"""Few weights, of few values: what is zero stays zero while the others learn their grid."""


@dataclass(frozen=True)
class Task:
    """One network to be made small.

    Args:
        model: in float.
        data: all splits.
        recipe: unless another is given.
        asked: megabytes, or how many times smaller than the float file; and points of accuracy that may be lost.
    """

    model: Callable[[Bench], Model]
    data: Callable[[Bench, Model], Data]
    recipe: Chain
    asked: str


def small(bench: Bench, name: str, recipe: str | None) -> None:
    """Squeeze a network; its files on all test images.

    Args:
        bench: see Bench.
        name: a key of TASKS.
        recipe: a shipped one, or a TOML file, in the place of the task's own.
    """
    task = TASKS[name]
    chain = read(recipe) if recipe else task.recipe
    if bench.few is not None:
        chain = _brief(chain)
    model = task.model(bench)
    data = _some(bench, task.data(bench, model))
    out = bench.work / f"{name}_{re.sub(r'[^A-Za-z0-9]+', '_', chain.name)}.lens"
    plan = SqueezePlan(
        recipe=chain,
        target=bench.target,
        out=out,
        threads=(1,),
        force=True,
        stages=bench.work / "stages",
        cache=bench.work,
        command=f"benchmarks/pack.py --part {name}",
    )
    squeezed = run(model, data, plan, progress=Bars(), say=lambda text: print(f"    {text}", flush=True))
    for stage in squeezed.stages:
        print(f"    {stage.record.name}: {stage.verdict.sentence if stage.verdict else ''}", flush=True)
    shipped = Shipped(name, out)
    for measured in (squeezed.baseline, *squeezed.graphs):
        row: Row = {"network": name, "recipe": chain.name, "file": measured.name, "asked": task.asked}
        row |= _figures(measured, squeezed) | {"images": data.test.name if data.test else ""}
        if measured is not squeezed.baseline:
            row |= {"preferred": measured.name == squeezed.preferred} | shipped.sizes() | _training(chain, squeezed)
        bench.keep("small", row, "network", "recipe", "file")


def _figures(measured: Measurement, squeezed: Squeezed) -> Row:
    f = measured.fidelity
    return {
        "size_bytes": measured.size_bytes,
        "times_smaller": squeezed.baseline.size_bytes / measured.size_bytes,
        "n": f["n"],
        "top1": f["top1"],
        "top1_change": f["top1_change"],
        "top1_change_interval": interval(f["top1_change_interval"]),
        "same_answer_as_fp32": f["agreement"],
        "same_answer_as_fp32_interval": interval(f["agreement_interval"]),
        "sqnr_db_to_fp32": f["sqnr_db"],
    }


def _training(chain: Chain, squeezed: Squeezed) -> Row:
    """How long the passes took: all, and those that train."""
    seconds = [(step, stage.record.seconds) for step, stage in zip(chain.passes, squeezed.stages, strict=True)]
    return {
        "epochs": sum(step_epochs(step) for step, _ in seconds),
        "training_minutes": sum(s for step, s in seconds if step_epochs(step)) / 60,
        "passes_minutes": sum(s for _, s in seconds) / 60,
        "passes": ", ".join(type(step).__name__ for step, _ in seconds),
    }


def step_epochs(step: Pass) -> int:
    """How many epochs a pass trains."""
    return getattr(step, "epochs", 0) if getattr(step, "trains", False) else 0


def _lite0_data(bench: Bench, model: Model) -> Data:
    """One photo a class and no labels: all but 100 teach, 100 of those calibrate, and the 100 choose the epoch."""
    spec = model.spec
    photos = splits.load(bench.data / "imagenet-sample")
    train = left_over(photos, 100)
    assert train is not None
    test = splits.load(bench.data / "imagenet-like", spec.class_ids, spec.labels)
    return Data(train=train, calibration=spread_evenly(train, 100), validation=spread_evenly(photos, 100), test=test)


def _grocery(bench: Bench) -> Model:
    return load_model("efficientnet_lite0", bench.weights / "grocery_lite0.safetensors", None, bench.data / "grocery")


def _resnet56(bench: Bench) -> Model:
    return sources.load("resnet56_cifar", weights=bench.weights / "resnet56.safetensors", classes=CLASSES)


def _given(folder: str) -> Callable[[Bench, Model], Data]:
    """The splits of a data set, not all of its validation images."""

    def load(bench: Bench, model: Model) -> Data:
        data = splits.load_data(bench.data / folder, model.spec.class_ids, model.spec.labels)
        assert data.validation is not None
        return replace(data, validation=spread_evenly(data.validation, VALIDATION_IMAGES))

    return load


TASKS = {
    "grocery": Task(_grocery, _given("grocery"), GROCERY, "1.5 MB, 1.5 pt"),
    "resnet56": Task(_resnet56, _given("cifar10-jpeg"), RESNET56, "15x, 1.0 pt"),
    "lite0": Task(lambda bench: bench.lite0, _lite0_data, LITE0, "2.6 MB, 1.5 pt, 60 minutes"),
}


def _some(bench: Bench, data: Data) -> Data:
    parts = {name: getattr(data, name) for name in ("train", "calibration", "validation", "test")}
    return Data(**{name: bench.some(images) for name, images in parts.items() if images is not None})


def _brief(chain: Chain) -> Chain:
    """One epoch of small batches, to try a recipe out."""
    passes = [replace(cast(Any, p), epochs=1, batch_size=8) if step_epochs(p) else p for p in chain.passes]
    return Chain(*passes, name=chain.name)
