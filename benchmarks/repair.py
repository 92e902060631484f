"""What repairing quantization is worth: the same int8 file without correction, with CorrectBias, with MatchMoments.

    .venv/bin/python benchmarks/repair.py --calibration DIR --test DIR

Scores the exported files. Writes benchmarks/results/repair.csv.
"""

import argparse
import csv
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from pocketlens import Chain, CorrectBias, FoldBatchNorm, MatchMoments, QuantizeStatic
from pocketlens.datasets import splits
from pocketlens.measure import fidelity
from pocketlens.models import sources
from pocketlens.recipe import bind, run
from pocketlens.targets import load_target
from pocketlens.types import Context, Data

REPAIRS = {"none": (), "CorrectBias": (CorrectBias(),), "MatchMoments": (MatchMoments(),)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--images", type=int, default=100)
    arguments = parser.parse_args()
    model = sources.load("efficientnet_lite0")
    spec, target = model.spec, load_target("onnxruntime")
    pool = splits.load(arguments.calibration, spec.class_ids, spec.labels)
    calibration = pool.subset([i * len(pool) // arguments.images for i in range(arguments.images)])
    test = splits.load(arguments.test, spec.class_ids, spec.labels)
    with tempfile.TemporaryDirectory(prefix="repair-") as scratch:
        folder = Path(scratch)
        (folder / "fp32").mkdir()
        artifacts = [target.lower(model, "fp32", folder / "fp32")]
        context = Context(data=Data(calibration=calibration), original=model, work=folder)
        for name, repair in REPAIRS.items():
            recipe = bind(Chain(FoldBatchNorm(), QuantizeStatic(), *repair), target.profile())
            quantized, _ = run(recipe, model, context)
            (folder / name).mkdir()
            artifacts.append(target.lower(quantized, name, folder / name))
        figures = fidelity(artifacts, target=target, images=test)[1:]
    keys = ("n", "agreement", "sqnr_db", "kl", "top1_change")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with (Path(__file__).parent / "results" / "repair.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["repair", *keys, "calibration_images", "scheme", "runtime", "seed", "measured"])
        for name, f in zip(REPAIRS, figures, strict=True):
            profile = target.profile()
            assert profile.scheme is not None
            conditions = [arguments.images, profile.scheme.name, profile.runtime, 0, now]
            writer.writerow([name, *(f[key] for key in keys), *conditions])
            print(f"{name}: same answer {f['agreement']:.1%}, {f['sqnr_db']:.1f} dB")


if __name__ == "__main__":
    main()
