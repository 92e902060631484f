"""TieLayers on ResNet-56: a quarter fewer bytes of the int8 bundle, then 4 epochs of distillation from the original.

    .venv/bin/python benchmarks/tie.py --data CIFAR_DIR --weights WEIGHTS_DIR --work DIR [--few N] [--control]

The share of weights that is tied grows until the bundle is a quarter smaller than the untied one. Distillation is that
of benchmarks/prune.py. Accuracies are of the files in the bundles, on all test images, against the float original and
against the untied int8 file. Resumable: finished passes are kept in --work, and an interrupted training goes on from
its last checkpoint. Writes benchmarks/results/tie.csv; --few looks at few images, to try it out, and writes to --work.
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from packing.shipped import Shipped, ship
from prune import CLASSES, TUNING

from pocketlens import Chain, FoldBatchNorm, MatchMoments, QuantizeStatic, TieLayers
from pocketlens.cli.console import Bars
from pocketlens.datasets import splits
from pocketlens.datasets.choose import spread_evenly
from pocketlens.measure import fidelity
from pocketlens.models import sources
from pocketlens.recipe import bind, run
from pocketlens.stages import StageStore
from pocketlens.targets import load_target
from pocketlens.targets.cache import cache_folder
from pocketlens.types import Artifact, Context, Data, Json, Model, Pass, Target

RESULTS = Path(__file__).parent / "results"

LESS = 0.25
"""Of the untied bundle's bytes, at least."""

AIM = LESS + 0.003
"""Before training: training moves what weights pack into, by less."""

STEP = 0.01
"""Of the share of weights, from LESS on."""

NUMERICS: tuple[Pass, ...] = (FoldBatchNorm(), QuantizeStatic(), MatchMoments())


@dataclass(frozen=True)
class Bench:
    """What every row needs."""

    original: Model
    data: Data
    target: Target
    work: Path

    def made(self, *passes: Pass) -> tuple[Model, list[Json], float]:
        """The model after the passes, what they say of themselves, and their seconds; looked up where it can be."""
        context = Context(
            data=replace(self.data, test=None),
            original=self.original,
            work=self.work,
            cache=self.work,
            progress=Bars(),
        )
        chain = bind(Chain(*passes), self.target.profile())
        model, records = run(chain, self.original, context, store=StageStore(self.work / "stages"))
        for record in records:
            print(f"    {record.name}: {record.summary} {record.seconds:.0f} s", flush=True)
        return model, [dict(r.summary) | {"pass": r.name} for r in records], sum(r.seconds for r in records)

    def shipped(self, name: str, *passes: Pass) -> tuple[Shipped, list[Json]]:
        """The int8 bundle of the original after these passes."""
        print(name, flush=True)
        model, said, seconds = self.made(*passes, *NUMERICS)
        assert self.data.calibration is not None
        bundle = ship(model, name, seconds, self.work / "files", self.data.calibration, self.target)
        print(f"    {bundle.size_bytes:,} bytes", flush=True)
        return bundle, said

    def scores(self, files: Sequence[Artifact]) -> tuple[Json, ...]:
        """Each file's figures against the first."""
        assert self.data.test is not None
        return fidelity(files, target=self.target, images=self.data.test, batch_size=64, progress=Bars())


def main() -> None:
    """Make the bundles, score them, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--weights", required=True, type=Path)
    parser.add_argument("--work", type=Path, default=cache_folder() / "benchmarks" / "tie")
    parser.add_argument("--share", type=float, help="of the weights; default: what makes the bundle a quarter smaller")
    parser.add_argument("--control", action="store_true", help="also the untied network after the same distillation")
    parser.add_argument("--few", type=int, help="so many images of each set")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    data = splits.load_data(arguments.data, CLASSES, CLASSES)
    tuning = TUNING
    if arguments.few:
        parts = {name: getattr(data, name) for name in ("train", "calibration", "validation", "test")}
        data = Data(**{k: spread_evenly(images, arguments.few) for k, images in parts.items() if images is not None})
        tuning = replace(TUNING, epochs=1, batch_size=32)
    original = sources.load("resnet56_cifar", weights=arguments.weights / "resnet56.safetensors", classes=CLASSES)
    bench = Bench(original, data, load_target("onnxruntime"), arguments.work)

    plain, _ = bench.shipped("int8")
    tie = TieLayers(share=arguments.share) if arguments.share else smallest_share(bench, plain.size_bytes)
    untrained, said = bench.shipped("int8, tied", tie)
    tied, _ = bench.shipped("int8, tied, distilled", tie, tuning)
    bundles = {"int8": plain, "int8, tied": untrained, "int8, tied, distilled": tied}
    if arguments.control:
        bundles["int8, distilled"], _ = bench.shipped("int8, distilled", tuning)

    place = arguments.work / "files" / "fp32"
    place.mkdir(parents=True, exist_ok=True)
    fp32 = bench.target.lower(original, "fp32", place)
    files = {name: bundle.graph("int8") for name, bundle in bundles.items()}
    to_float = dict(zip(("fp32", *files), bench.scores([fp32, *files.values()]), strict=True))
    to_int8 = dict(zip(files, bench.scores(list(files.values())), strict=True))
    profile = bench.target.profile()
    conditions = {
        "share_of_weights": said[0]["share"],
        "shared_weights": said[0]["shared_weights"],
        "tied_layers": said[0]["layers"],
        "epochs": tuning.epochs,
        "batch": tuning.batch_size,
        "seed": 0,
        "device": f"{profile.cpu}, {profile.cores} cores",
        "runtime": profile.runtime,
        "torch_threads": torch.get_num_threads(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    sizes = {"fp32": fp32.size_bytes} | {name: bundle.size_bytes for name, bundle in bundles.items()}
    rows = [row(name, sizes[name], plain, f, to_int8.get(name)) | conditions for name, f in to_float.items()]
    save(rows, arguments.work if arguments.few else RESULTS)


def smallest_share(bench: Bench, untied: int) -> TieLayers:
    """The least share of weights to tie, in steps, with which the bundle is smaller by AIM."""
    for step in range(int((0.9 - LESS) / STEP)):
        tie = TieLayers(share=round(LESS + step * STEP, 4))
        bundle, _ = bench.shipped(f"share {tie.share}", tie)
        if bundle.size_bytes <= (1 - AIM) * untied:
            return tie
    raise SystemExit(f"no share of weights makes the bundle {LESS:.0%} smaller than {untied:,} bytes")


def row(name: str, size: int, untied: Shipped, to_float: Json, to_int8: Json | None) -> dict[str, object]:
    """One line of the table."""
    line: dict[str, object] = {
        "file": name,
        "bundle_bytes": size,
        "bytes_over_untied_int8": size / untied.size_bytes,
        "n": to_float["n"],
        "top1": to_float["top1"],
    }
    for other, figures in (("fp32", to_float), ("int8", to_int8)):
        low, high = figures["top1_change_interval"] if figures else ("", "")
        line |= {
            f"change_to_{other}": figures["top1_change"] if figures else "",
            f"change_to_{other}_low": low,
            f"change_to_{other}_high": high,
            f"same_answer_as_{other}": figures["agreement"] if figures else "",
        }
    print(line, flush=True)
    return line


def save(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """Write the table whole."""
    with (folder / "tie.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
