"""What adaptive rounding is worth at 8, 7 and 4 bits: the same network rounded plainly, repaired, rounded adaptively.

    .venv/bin/python benchmarks/rounding.py --calibration DIR --test DIR [--bits 8,7,4] [--stages DIR]

Scores the exported files; activations have 8 bits throughout. Writes benchmarks/results/rounding.csv. A run that was
killed goes on where it was when --stages names its folder again.
"""

import argparse
import csv
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pocketlens import Chain, FoldBatchNorm, MatchMoments, QuantizeStatic, RoundAdaptively
from pocketlens.datasets import splits
from pocketlens.measure import fidelity
from pocketlens.models import sources
from pocketlens.ops.observers import ObserverName
from pocketlens.recipe import bind, run
from pocketlens.stages import StageStore
from pocketlens.targets import load_target
from pocketlens.types import Context, Data, Pass, Scheme

WAYS: dict[str, tuple[ObserverName, tuple[Pass, ...]]] = {
    "nearest": ("mse", ()),
    "nearest, MatchMoments": ("mse", (MatchMoments(),)),
    "RoundAdaptively": ("mse", (RoundAdaptively(),)),
    "RoundAdaptively, whole ranges": ("minmax", (RoundAdaptively(),)),
    "RoundAdaptively, whole ranges, MatchMoments": ("minmax", (RoundAdaptively(), MatchMoments())),
}
"""How weights are rounded -> how ranges of activations are found, and what follows QuantizeStatic."""

FIGURES = ("n", "agreement", "sqnr_db", "kl", "top1_change", "agreement_interval", "top1_change_interval")


def with_bits(scheme: Scheme, bits: int) -> Scheme:
    """The same arithmetic with weights of fewer levels."""
    centre, reach = scheme.weight.zero_point or 0, 2 ** (bits - 1) - 1
    weight = replace(scheme.weight, qmin=centre - reach, qmax=centre + reach)
    return replace(scheme, name=f"{scheme.name}_{bits}bit", weight=weight)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--bits", default="8,7,4")
    parser.add_argument("--stages", type=Path)
    arguments = parser.parse_args()
    model = sources.load("efficientnet_lite0")
    spec, target = model.spec, load_target("onnxruntime")
    profile = target.profile()
    assert profile.scheme is not None
    pool = splits.load(arguments.calibration, spec.class_ids, spec.labels)
    calibration = pool.subset([i * len(pool) // arguments.images for i in range(arguments.images)])
    test = splits.load(arguments.test, spec.class_ids, spec.labels)
    rows = []
    with tempfile.TemporaryDirectory(prefix="rounding-") as scratch:
        folder = Path(scratch)
        (folder / "fp32").mkdir()
        original = target.lower(model, "fp32", folder / "fp32")
        store = StageStore(arguments.stages or folder / "stages")
        context = Context(data=Data(calibration=calibration), original=model, work=folder)
        for bits in map(int, arguments.bits.split(",")):
            # Few levels are better spent on the many small weights than on the few large ones.
            search = "minmax" if bits >= 7 else "mse"
            scheme = with_bits(profile.scheme, bits)
            for name, (ranges, repair) in WAYS.items():
                chain = Chain(
                    FoldBatchNorm(), QuantizeStatic(scheme=scheme, weights=search, activations=ranges), *repair
                )
                quantized, records = run(bind(chain, profile), model, context, store=store)
                place = folder / f"{bits} {name}"
                place.mkdir()
                artifact = target.lower(quantized, f"{bits} bits, {name}", place)
                f = fidelity([original, artifact], target=target, images=test)[1]
                print(f"{bits} bits, {name}: same answer {f['agreement']:.1%}, {f['sqnr_db']:.1f} dB", flush=True)
                figures = [x if not isinstance(x, list) else "{:.4f} to {:.4f}".format(*x) for x in map(f.get, FIGURES)]
                seconds = sum(r.seconds for r in records)
                now = datetime.now(UTC).isoformat(timespec="seconds")
                conditions = [arguments.images, search, scheme.name, profile.runtime, profile.cpu, 0, now]
                rows.append([bits, name, *figures, seconds, *conditions])
    header = ["weight_bits", "rounding", *FIGURES, "seconds_of_passes"]
    header += ["calibration_images", "weight_ranges", "scheme", "runtime", "cpu", "seed", "measured"]
    with (Path(__file__).parent / "results" / "rounding.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


if __name__ == "__main__":
    main()
