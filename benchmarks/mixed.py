"""What choosing the bits of each layer is worth: EfficientNet-Lite0 under a bound on the bytes of its weights.

    .venv/bin/python benchmarks/mixed.py --calibration DIR --test DIR [--bounds 2.0,2.5,3.0] [--stages DIR]

For each bound: the widest width for all layers that fits (uniform), the rule of thumb (greedy), the integer programme,
and the programme at the very bytes of the uniform width; uniform and programme also with adaptive rounding behind
them. Scores the exported files; activations have 8 bits throughout. The bound is on codes and scales as a bundle packs
them; `zstd19_weights_bytes` is all that the file's weights are, biases too. Writes benchmarks/results/mixed.csv. A run
that was killed goes on where it was when --stages names its folder again.
"""

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import zstandard

from pocketlens import Chain, FoldBatchNorm, MixPrecision, QuantizeStatic, RoundAdaptively
from pocketlens.datasets import splits
from pocketlens.datasets.choose import spread_evenly
from pocketlens.errors import ConfigError
from pocketlens.measure import fidelity
from pocketlens.models import sources
from pocketlens.models.sensitivity import noise_power, sqnr_db
from pocketlens.models.widths import Widths
from pocketlens.ops.integer_programme import choose_greedily
from pocketlens.recipe import bind, run
from pocketlens.stages import StageStore
from pocketlens.targets import load_target
from pocketlens.types import Context, Data, ImageSet, Model, Pass, Profile, Silent

BITS = (2, 3, 4, 5, 6, 7, 8)
FIGURES = ("n", "agreement", "sqnr_db", "kl", "top1_change", "agreement_interval", "top1_change_interval")

Made = tuple[Model, dict[str, int]]
"""A network, and the width of each of its layers."""


class Narrowing:
    """One quantized network and the ways to narrow its weights.

    Args:
        model: in float.
        calibration: images.
        images: how many of them the harm is measured on.
        profile: of the target.
        folder: where stages and measured harms are kept.
        repair: follows where a way asks for it.
    """

    def __init__(
        self, model: Model, calibration: ImageSet, images: int, profile: Profile, folder: Path, repair: RoundAdaptively
    ) -> None:
        self.model, self.profile, self.images, self.repair = model, profile, images, repair
        self.store = StageStore(folder)
        self.context = Context(data=Data(calibration=calibration), original=model, work=folder, cache=folder)
        folded, _ = run(Chain(FoldBatchNorm()), model, self.context, store=self.store)
        quantized, _ = self.made()
        self.widths = Widths(model=quantized, reference=folded, bits=BITS, ranges="mse")
        self.costs = self.widths.costs(calibration, count=images, cache=folder, progress=Silent())

    def made(self, *steps: Pass) -> Made:
        """The network after these passes."""
        chain = bind(Chain(FoldBatchNorm(), QuantizeStatic(), *steps), self.profile)
        model, records = run(chain, self.model, self.context, store=self.store)
        return model, {row["layer"]: row["bits"] for r in records if r.name == "MixPrecision" for row in r.layers}

    def programme(self, limit: float, *repair: Pass) -> Made:
        """What the pass makes of it."""
        return self.made(MixPrecision(max_size_mb=limit / 1e6, bits=BITS, images=self.images), *repair)

    def uniform(self, limit: float, *repair: Pass) -> Made:
        """The widest width for all that packs within `limit` bytes. Raises ConfigError when none does."""
        for bits in reversed(BITS):
            if self.widths.packed_bytes(dict.fromkeys(self.widths.allowed(), bits)) <= limit:
                return self.made(MixPrecision(max_size_mb=limit / 1e6, bits=(bits,)), *repair)
        raise ConfigError(f"no width packs within {limit:.0f} bytes")

    def greedy(self, limit: float) -> Made:
        """The rule of thumb, from the same harms and bytes."""
        rows = self.widths.within(limit, self.costs, choose_greedily)
        chosen = {row["layer"]: row["bits"] for row in rows}
        return self.widths.at(chosen), chosen

    def as_uniform(self, limit: float) -> Made:
        """The programme at the bytes that the uniform width takes."""
        return self.programme(self.widths.packed_bytes(self.uniform(limit)[1]))

    def ways(self) -> dict[str, Callable[[float], Made]]:
        """Name -> what makes a network within so many bytes."""
        return {
            "uniform": self.uniform,
            "greedy": self.greedy,
            "programme": self.programme,
            "programme, bytes of uniform": self.as_uniform,
            "uniform, RoundAdaptively": lambda limit: self.uniform(limit, self.repair),
            "programme, RoundAdaptively": lambda limit: self.programme(limit, self.repair),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--images", type=int, default=100, help="for calibration")
    parser.add_argument("--harm-images", type=int, default=8)
    parser.add_argument("--test-images", type=int, help="default: all")
    parser.add_argument("--iterations", type=int, default=300, help="of adaptive rounding")
    parser.add_argument("--bounds", default="2.0,2.5,3.0")
    parser.add_argument("--stages", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "mixed.csv")
    arguments = parser.parse_args()
    model = sources.load("efficientnet_lite0")
    spec, target = model.spec, load_target("onnxruntime")
    profile = target.profile()
    calibration = spread_evenly(splits.load(arguments.calibration, spec.class_ids, spec.labels), arguments.images)
    test = splits.load(arguments.test, spec.class_ids, spec.labels)
    test = spread_evenly(test, arguments.test_images or len(test))
    rows = []
    with tempfile.TemporaryDirectory(prefix="mixed-") as scratch:
        folder = Path(scratch)
        (folder / "fp32").mkdir()
        original = target.lower(model, "fp32", folder / "fp32")
        stages = arguments.stages or folder / "stages"
        stages.mkdir(parents=True, exist_ok=True)
        repair = RoundAdaptively(iterations=arguments.iterations, images=arguments.images)
        start = time.perf_counter()
        bench = Narrowing(model, calibration, arguments.harm_images, profile, stages, repair)
        print(f"quantized, every layer measured at every width: {time.perf_counter() - start:.0f} s", flush=True)
        for bound in map(float, arguments.bounds.split(",")):
            for name, way in bench.ways().items():
                start = time.perf_counter()
                mixed, chosen = way(bound * 1e6)
                seconds = time.perf_counter() - start
                place = folder / f"{bound} {name}"
                place.mkdir()
                artifact = target.lower(mixed, "int8", place)
                assert artifact.weights is not None
                coded = len(zstandard.ZstdCompressor(level=19).compress(artifact.weights.read_bytes()))
                f = fidelity([original, artifact], target=target, images=test)[1]
                packed = bench.widths.packed_bytes(chosen)
                taken = [r for r in bench.costs if chosen[r["layer"]] == r["bits"]]
                promised = sqnr_db(sum(noise_power(r["sqnr_db"]) for r in taken))
                alone, _ = bench.widths.harm(chosen, calibration, count=arguments.harm_images, progress=Silent())
                print(
                    f"{bound} MB, {name}: {packed / 1e6:.3f} MB, nearest weights alone {promised:.1f} dB promised, "
                    f"{alone:.1f} measured; file: same answer {f['agreement']:.1%}, {f['sqnr_db']:.1f} dB, "
                    f"{coded / 1e6:.3f} MB",
                    flush=True,
                )
                figures = [x if not isinstance(x, list) else "{:.4f} to {:.4f}".format(*x) for x in map(f.get, FIGURES)]
                layers = " ".join(f"{bits}:{list(chosen.values()).count(bits)}" for bits in BITS)
                now = datetime.now(UTC).isoformat(timespec="seconds")
                conditions = [len(calibration), arguments.harm_images, profile.runtime, profile.cpu, 0, now]
                rows.append([bound, name, layers, packed, promised, alone, *figures, coded, seconds, *conditions])
    header = ["bound_mb", "widths", "layers_by_bits", "packed_bytes", "promised_sqnr_db", "weights_alone_sqnr_db"]
    header += [*FIGURES, "zstd19_weights_bytes", "seconds_of_choice", "calibration_images", "harm_images"]
    header += ["runtime", "cpu", "seed", "measured"]
    with arguments.out.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


if __name__ == "__main__":
    main()
