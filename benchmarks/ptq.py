"""Post-training int8 of EfficientNet-Lite0 beside the peers: same model, calibration and test images, in one run.

    .venv/bin/pip install -c constraints.txt -e '.[bench]'
    .venv/bin/python benchmarks/ptq.py --calibration DIR --test DIR

Prints the table of the README and writes benchmarks/results/ptq.csv. Nothing else should run meanwhile.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import zstandard
from columns import latency_columns
from peers import PEERS

from pocketlens.bundle.archive import open_bundle
from pocketlens.bundle.unpack import unpack
from pocketlens.datasets import splits
from pocketlens.measure import Entrant, MeasurePlan, measure
from pocketlens.models import sources
from pocketlens.targets import load_target
from pocketlens.targets.timing import ratio
from pocketlens.types import Artifact, Measurement

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One squeeze as a user runs it: its JSON, and the peak resident memory of the process and its children."""

    result: dict
    peak_bytes: int
    bundle: Path


def squeeze(arguments: argparse.Namespace, out: Path, images: int, recipe: str = "int8") -> Run:
    """The command line in a process of its own, nothing reused from an earlier run."""
    command = [sys.executable, "-c", _WATCHED, "squeeze", arguments.model, "--recipe", recipe, "--fresh", "--json"]
    command += ["--calibration", arguments.calibration, "--calibration-images", str(images)]
    command += ["--test", arguments.test, "--out", str(out), "--force"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return Run(
        result=json.loads(done.stdout),
        peak_bytes=int(done.stderr.strip().splitlines()[-1]) * 1024,
        bundle=out,
    )


_WATCHED = """
import resource, sys
from pocketlens.cli import main
try:
    main(sys.argv[1:])
finally:
    sys.stderr.write(f"\\n{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\\n")
"""


def peer_artifacts(original: Artifact, folder: Path, images: list[np.ndarray]) -> dict[str, Artifact]:
    """Every peer's file; one that fails is said so and left out."""
    import onnx

    whole = folder / "fp32.onnx"
    onnx.save(onnx.load(original.graph), whole)  # weights inside, as the peers' tools take it
    made = {}
    for place, (name, maker) in enumerate(PEERS.items()):
        out = folder / f"peer{place}" / "int8.onnx"
        out.parent.mkdir()
        print(f"making {name}", file=sys.stderr)
        maker(whole, out, images)
        made[name] = replace(original, name=name, graph=out, weights=None, session={}, arithmetic="int8")
    return made


def row(m: Measurement, fastest: Measurement | None, seconds: float | None) -> dict[str, object]:
    """One line of the CSV."""
    f = m.fidelity
    line: dict[str, object] = {
        "file": m.name,
        "download_bytes": m.size_bytes,
        "disk_bytes": m.disk_bytes,
        "peak_memory_bytes": m.peak_memory_bytes,
        "n": f["n"],
        "top1": f["top1"],
        "top5": f["top5"],
        "top1_change": f["top1_change"],
        "top1_change_low": f["top1_change_interval"][0],
        "top1_change_high": f["top1_change_interval"][1],
        "agreement": f["agreement"],
        "sqnr_db": f["sqnr_db"],
        "kl": f["kl"],
    }
    line |= latency_columns(m)
    for threads in m.latency_ms:
        if fastest is not None:
            against = ratio(m.turns_ms[threads], fastest.turns_ms[threads])
            line |= {
                f"latency_over_fastest_peer_{threads}t": against.estimate,
                f"over_fastest_peer_low_{threads}t": against.low,
                f"over_fastest_peer_high_{threads}t": against.high,
            }
    conditions = m.conditions
    return line | {
        "squeeze_seconds": seconds,
        "device": conditions["device"],
        "runtime": conditions["runtime"],
        "turns": conditions["turns"],
        "runs_a_turn": conditions["runs_a_turn"],
        "seed": 0,
        "measured": conditions["measured"],
    }


def main() -> None:
    """Run everything and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=41)
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    target = load_target("onnxruntime")
    model = sources.load(arguments.model)
    spec = model.spec
    pool = splits.load(arguments.calibration, spec.class_ids, spec.labels)
    chosen = pool.subset([i * len(pool) // arguments.images for i in range(arguments.images)])
    images = [b.images for b in chosen.batches(spec.preprocessing, 1)]
    test = splits.load(arguments.test, spec.class_ids, spec.labels)
    with tempfile.TemporaryDirectory(prefix="ptq-") as scratch:
        folder = Path(scratch)
        for name in ("fp32", "int8", "int8-best"):
            (folder / name).mkdir()
        original = target.lower(model, "fp32", folder / "fp32")
        ours = squeeze(arguments, folder / "int8.lens", arguments.images)
        best = squeeze(arguments, folder / "best.lens", arguments.images, "int8-best")
        many = squeeze(arguments, folder / "many.lens", len(pool))
        peers = peer_artifacts(original, folder, images)
        entrants = []
        for recipe, run in (("int8", ours), ("int8-best", best)):
            with open_bundle(run.bundle) as bundle:
                graphs = [unpack(bundle, folder / recipe, g) for g in ("int8", "float")]
            named = [replace(g, name=f"pocketlens {recipe}, {g.name} graph") for g in graphs]
            entrants += [Entrant(artifact=g, download_bytes=run.bundle.stat().st_size) for g in named]
        entrants += [Entrant(artifact=a, download_bytes=_zstd(a.graph)) for a in peers.values()]
        plan = MeasurePlan(threads=(1, 2), rounds=arguments.rounds)
        measured = measure(original, entrants, target=target, images=test, plan=plan)
    peer_rows = [m for m in measured if m.name in peers]
    fastest = min(peer_rows, key=lambda m: m.latency_ms[1].median)
    seconds = {m.name: run.result["seconds_of"] for m, run in zip(measured[1:5], (ours, ours, best, best), strict=True)}
    rows = [row(m, None if m is measured[0] else fastest, _unmeasured(seconds.get(m.name))) for m in measured]
    with (RESULTS / "ptq.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(max(rows, key=len)))
        writer.writeheader()
        writer.writerows(rows)
    runs = (ours, many, best)
    costs = {
        "recipe": ["int8", "int8", "int8-best"],
        "calibration_images": [arguments.images, len(pool), arguments.images],
        "squeeze_seconds_without_measurement": [_unmeasured(r.result["seconds_of"]) for r in runs],
        "squeeze_peak_memory_bytes": [r.peak_bytes for r in runs],
        "preferred_graph": [r.result["preferred"] for r in runs],
        "verdict": [r.result["verdict"]["sentence"] for r in runs],
    }
    with (RESULTS / "ptq_costs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(costs)
        writer.writerows(zip(*costs.values(), strict=True))
    _table(measured, fastest)


def _unmeasured(seconds: dict | None) -> float | None:
    """Seconds of a squeeze but for measuring: probing, passes, lowering and writing."""
    return None if seconds is None else sum(seconds[k] for k in ("probe", "passes", "lower", "write"))


def _zstd(path: Path) -> int:
    """A peer's file as small as a download can be without a format of its own: zstd -19."""
    return len(zstandard.ZstdCompressor(level=19).compress(path.read_bytes()))


def _table(measured: tuple[Measurement, ...], fastest: Measurement) -> None:
    print("| file | download | same answer | SQNR | top-1 change (90%) | 1 thread | 2 threads | faster than fp32 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for m in measured:
        f = m.fidelity
        low, high = (100 * v for v in f["top1_change_interval"])
        own = m is measured[0]
        print(
            f"| {m.name} | {m.size_bytes / 1e6:.2f} MB "
            + ("| | | " if own else f"| {f['agreement']:.1%} | {f['sqnr_db']:.1f} dB ")
            + (f"| top-1 {f['top1']:.1%} " if own else f"| {100 * f['top1_change']:+.1f} ({low:+.1f} to {high:+.1f}) ")
            + f"| {m.latency_ms[1].median:.2f} ms | {m.latency_ms[2].median:.2f} ms "
            + (
                "| |"
                if own
                else f"| {m.speedup[1].estimate:.2f}x ({m.speedup[1].low:.2f} to {m.speedup[1].high:.2f}) |"
            )
        )
    print(f"\nfastest peer: {fastest.name}")


if __name__ == "__main__":
    main()
