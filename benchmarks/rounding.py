"""What each remedy is worth at 8, 7 and 4 bits: the same network rounded plainly, repaired, adaptively, partly float.

    .venv/bin/python benchmarks/rounding.py --calibration DIR --test DIR [--bits 8,7,4] [--only WAY ...] [--fresh]

Scores the exported files on all test images; activations have 8 bits throughout. Writes a row to
benchmarks/results/rounding.csv as soon as it is known. A row that is there is left alone unless --fresh; within a row,
passes that are done are taken from --stages.
"""

import argparse
import csv
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pocketlens import Chain, FoldBatchNorm, KeepFloat, MatchMoments, QuantizeStatic, RoundAdaptively
from pocketlens.datasets import splits
from pocketlens.datasets.choose import left_over, spread_evenly
from pocketlens.measure import fidelity
from pocketlens.models import sources
from pocketlens.recipe import bind, run
from pocketlens.stages import StageStore
from pocketlens.targets import load_target
from pocketlens.types import Context, Data
from pocketlens.whole_file import whole_file

RESULTS = Path(__file__).parent / "results" / "rounding.csv"

WAYS: dict[str, Chain] = {
    "nearest": Chain(FoldBatchNorm(), QuantizeStatic()),
    "nearest, MatchMoments": Chain(FoldBatchNorm(), QuantizeStatic(), MatchMoments()),
    "RoundAdaptively": Chain(FoldBatchNorm(), QuantizeStatic(), RoundAdaptively()),
    "KeepFloat, RoundAdaptively": Chain(FoldBatchNorm(), QuantizeStatic(), KeepFloat(worst=3), RoundAdaptively()),
}

FIGURES = ("n", "agreement", "sqnr_db", "kl", "top1_change")

INTERVALS = ("agreement_interval", "top1_change_interval")

COLUMNS = (
    *("weight_bits", "rounding", *FIGURES, *INTERVALS, "seconds_of_passes", "calibration_images", "weight_ranges"),
    *("scheme", "runtime", "cpu", "seed", "measured"),
)


def weight_ranges(bits: int) -> Literal["minmax", "mse"]:
    """How scales of weights are found: few levels are better spent on the many small weights than on the few large."""
    return "minmax" if bits >= 7 else "mse"


def with_bits(chain: Chain, bits: int) -> Chain:
    """The same chain for weights of so many bits."""
    own = {"weight_bits": bits if bits < 8 else None, "weights": weight_ranges(bits)}
    return Chain(*(replace(p, **own) if isinstance(p, QuantizeStatic) else p for p in chain.passes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--bits", default="8,7,4")
    parser.add_argument("--only", nargs="*", choices=tuple(WAYS), default=tuple(WAYS))
    parser.add_argument("--stages", type=Path)
    parser.add_argument("--fresh", action="store_true")
    arguments = parser.parse_args()
    rows = [] if arguments.fresh else written()
    model = sources.load("efficientnet_lite0")
    spec, target = model.spec, load_target("onnxruntime")
    profile = target.profile()
    assert profile.scheme is not None
    pool = splits.load(arguments.calibration, spec.class_ids, spec.labels)
    # The images that are left over are what a squeeze validates on: with its stages, a row takes its passes from there.
    data = Data(calibration=spread_evenly(pool, arguments.images), validation=left_over(pool, arguments.images))
    test = splits.load(arguments.test, spec.class_ids, spec.labels)
    with tempfile.TemporaryDirectory(prefix="rounding-") as scratch:
        folder = Path(scratch)
        (folder / "fp32").mkdir()
        original = target.lower(model, "fp32", folder / "fp32")
        store = StageStore(arguments.stages or folder / "stages")
        context = Context(data=data, original=model, work=folder)
        for bits in map(int, arguments.bits.split(",")):
            for name in arguments.only:
                if any(row["weight_bits"] == str(bits) and row["rounding"] == name for row in rows):
                    continue
                recipe = bind(with_bits(WAYS[name], bits), profile)
                quantized, records = run(recipe, model, context, store=store)
                place = folder / f"{bits} {name}"
                place.mkdir()
                artifact = target.lower(quantized, f"{bits} bits, {name}", place)
                f = fidelity([original, artifact], target=target, images=test)[1]
                print(f"{bits} bits, {name}: same answer {f['agreement']:.1%}, {f['sqnr_db']:.1f} dB", flush=True)
                values = {
                    "weight_bits": bits,
                    "rounding": name,
                    **{key: f[key] for key in FIGURES},
                    **{key: "{:.4f} to {:.4f}".format(*f[key]) for key in INTERVALS},
                    "seconds_of_passes": sum(r.seconds for r in records),
                    "calibration_images": arguments.images,
                    "weight_ranges": weight_ranges(bits),
                    "scheme": profile.scheme.name,
                    "runtime": profile.runtime,
                    "cpu": profile.cpu,
                    "seed": 0,
                    "measured": datetime.now(UTC).isoformat(timespec="seconds"),
                }
                rows.append({key: str(value) for key, value in values.items()})
                write(rows)


def written() -> list[dict[str, str]]:
    """The rows of earlier runs."""
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="") as file:
        return list(csv.DictReader(file))


def write(rows: list[dict[str, str]]) -> None:
    """Put all rows on disk, most bits first, the ways in the order of WAYS."""
    order = list(WAYS)
    known = [row for row in rows if row["rounding"] in order]
    known.sort(key=lambda row: (-int(row["weight_bits"]), order.index(row["rounding"])))
    with whole_file(RESULTS) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS)
        writer.writeheader()
        writer.writerows(known)


if __name__ == "__main__":
    main()
