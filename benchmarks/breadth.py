"""Many architectures through the whole path: trace, store, prune 30%, quantize, export, run, parity.

    .venv/bin/python benchmarks/breadth.py [--only NAME ...] [--fresh]

One process an architecture, resumable: an architecture that has its row is left alone. Weights are random but for
EfficientNet-Lite0's, so this says what works and how exactly, not how accurate it is. Batch norms take their statistics
from the calibration images, as in a trained network. Writes benchmarks/results/breadth.csv and prints the table of
docs/models.md.
"""

import argparse
import csv
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "breadth.csv"

ARCHITECTURES: dict[str, int] = {
    "efficientnet_lite0": 224, "mobilenetv2_050": 96, "mobilenetv3_small_050": 96, "efficientnet_b0": 96,
    "tf_efficientnet_lite0": 96, "lcnet_050": 96, "ghostnet_100": 96, "resnet18": 96, "regnetx_002": 96,
    "regnety_002": 96, "mobileone_s0": 96, "repvgg_a0": 96, "densenet121": 96, "convnext_atto": 96, "fastvit_t8": 256,
    "vit_tiny_patch16_224": 224, "levit_128s": 224, "efficientformerv2_s0": 224, "poolformer_s12": 224,
    "swin_tiny_patch4_window7_224": 224, "mobilevit_xxs": 256,
}  # fmt: skip
"""Name in timm -> input, px: a small one where the architecture takes any."""

PACKAGED = "efficientnet_lite0"
"""Its weights come with a package; all others are random."""

IMAGES = 32
"""For parity; so many others calibrate."""

SECONDS = 560
"""An architecture that takes longer is stopped."""

MEMORY = 6 * 2**30
"""Bytes that one architecture may take: Torch-Pruning took 22 GB for efficientformerv2_s0, and the machine's last."""

PARITY = 30.0
"""dB between simulation and file from which they agree."""

NEAR = 3.0
"""dB. Where parity is lower there is a control: rounding turns a last bit into a whole step, which some random networks
let grow through every layer. `control_db` compares the simulation with itself under noise of 1e-7, a float32 rounding,
before each grid."""

STEPS = ("trace", "store", "prune", "quantize", "export", "parity")

COLUMNS = (
    *("architecture", "weights", "input", "parameters", "macs", *STEPS, "macs_removed", "integer_layers"),
    *(
        "same_answer",
        "sqnr_db",
        "control_db",
        "rounding_db",
        "float_bytes",
        "int8_bytes",
        "seconds",
        "n",
        "seed",
    ),
    *("device", "runtime", "torch"),
    "measured",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(ARCHITECTURES), choices=list(ARCHITECTURES))
    parser.add_argument("--fresh", action="store_true", help="measure again what has a row already")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        print(json.dumps(run(arguments.one)))
        return
    RESULTS.parent.mkdir(exist_ok=True)
    rows = {row["architecture"]: row for row in _read()}
    for name in arguments.only:
        # One that was stopped may have met a busy machine: it is tried again.
        if name in rows and not arguments.fresh and not rows[name]["trace"].startswith(("stopped", "exit")):
            continue
        print(name, file=sys.stderr)
        rows[name] = _in_a_process(name)
        ordered = [rows[n] for n in ARCHITECTURES if n in rows]
        with RESULTS.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(ordered)
    print(table([rows[n] for n in ARCHITECTURES if n in rows]))


def run(name: str) -> dict[str, Any]:
    """All steps for one architecture. A step that fails has its reason in its column; those that need it stay empty."""
    import numpy as np
    import onnxruntime
    import torch

    from pocketlens.datasets import splits
    from pocketlens.models import store
    from pocketlens.models.cost import count_macs, count_parameters
    from pocketlens.passes.fold_batch_norm import FoldBatchNorm
    from pocketlens.passes.prune_channels import PruneChannels
    from pocketlens.passes.quantize_static import QuantizeStatic
    from pocketlens.targets import load_target
    from pocketlens.types import Context, Data

    torch.manual_seed(0)
    target = load_target("onnxruntime")
    profile = target.profile()
    row: dict[str, Any] = {
        "architecture": name, "input": ARCHITECTURES[name], "n": IMAGES, "seed": 0, "device": profile.device,
        "weights": "packaged" if name == PACKAGED else "random", "runtime": f"onnxruntime {onnxruntime.__version__}",
        "torch": torch.__version__, "measured": datetime.now(UTC).strftime("%Y-%m-%d"),
    }  # fmt: skip
    start = time.perf_counter()
    pool = splits.load("sample", (), (), part="calibration")
    calibration, test = (pool.subset(list(range(first, 2 * IMAGES, 2))) for first in (0, 1))
    step = "trace"
    try:
        model = _model(name, calibration)
        row |= {"trace": "ok", "parameters": count_parameters(model), "macs": count_macs(model)}
        images = [b.images for b in test.batches(model.spec.preprocessing, 8)]
        x = torch.from_numpy(images[0])
        with tempfile.TemporaryDirectory(prefix="breadth-") as scratch, torch.inference_mode():
            folder = Path(scratch)
            step = "store"
            store.save(model, folder / "m.graph")
            again = store.load(folder / "m.graph")
            row["store"] = "ok" if torch.equal(again.graph(x), model.graph(x)) else "computes something else"
            context = Context(data=Data(calibration=calibration), original=model, work=folder)
            step = "prune"
            try:
                with torch.inference_mode(False):
                    pruned = PruneChannels(macs=0.3, criterion="group_norm", multiple=8)(model, context).model
                row |= {"prune": "ok", "macs_removed": round(1 - count_macs(pruned) / count_macs(model), 4)}
            except Exception as error:  # the rest of the path is tried without pruning
                pruned, row["prune"] = model, _reason(error)
            step = "quantize"
            folded = FoldBatchNorm()(pruned, context).model
            assert profile.scheme is not None
            quantized = QuantizeStatic(scheme=profile.scheme, activations="minmax")(folded, context)
            row |= {"quantize": "ok", "integer_layers": quantized.record.summary["layers"]}
            step = "export"
            artifact = target.lower(quantized.model, "int8", _made(folder / "int8"))
            row |= {"export": "ok", "int8_bytes": _bytes(folder / "int8"), "float_bytes": 4 * row["parameters"]}
            step = "parity"
            got = np.concatenate(list(target.outputs(artifact, images, threads=1)))
            wanted = np.concatenate([quantized.model.graph(torch.from_numpy(i)).numpy() for i in images])
            shaken = np.concatenate([_shaken(quantized.model.graph, torch.from_numpy(i)) for i in images])
            exact = np.concatenate([folded.graph(torch.from_numpy(i)).numpy() for i in images])
        sqnr, control, rounding = _sqnr(wanted, got), _sqnr(wanted, shaken), _sqnr(exact, wanted)
        same = float((got.argmax(1) == wanted.argmax(1)).mean())
        row |= {
            "same_answer": round(same, 4),
            "sqnr_db": sqnr,
            "control_db": control,
            "rounding_db": rounding,
        }
        if sqnr >= PARITY:
            row["parity"] = "ok"
        elif sqnr >= control - NEAR:
            row["parity"] = "unstable: float32 noise of 1e-7 moves the simulation as far from itself"
        else:
            row["parity"] = "unexplained"
    except Exception as error:  # whatever fails is this benchmark's finding
        row[step] = _reason(error)
    return row | {"seconds": round(time.perf_counter() - start, 1)}


def _shaken(graph: Any, x: Any) -> Any:
    """The simulation's output with float32-sized noise before every grid."""
    import torch
    from torch import fx

    from pocketlens.models import vocabulary

    generator = torch.Generator().manual_seed(0)

    class Shaken(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if not isinstance(value, torch.Tensor) or not value.is_floating_point():
                return value
            if vocabulary.kind(graph, n) == "quantize":
                return value
            return value + value.abs().amax() * 1e-7 * torch.randn(value.shape, generator=generator)

    return Shaken(graph).run(x).numpy()


def _sqnr(signal: Any, noisy: Any) -> float:
    """Signal to noise of outputs, dB."""
    import numpy as np

    noise = float(np.square(noisy - signal, dtype=np.float64).sum())
    return round(
        min(float(10 * np.log10(float(np.square(signal, dtype=np.float64).sum()) / max(noise, 1e-30))), 999.0), 1
    )


def _model(name: str, calibration: Any) -> Any:
    """The canonical graph; random networks with batch norm statistics of the calibration images."""
    import torch
    from torch import nn

    from pocketlens.models import sources
    from pocketlens.models.canonical import canonicalise
    from pocketlens.models.zoo import from_timm

    if name == PACKAGED:
        return sources.load(name)
    module, spec = from_timm(f"timm:{name}", Path("random"))
    side = ARCHITECTURES[name]
    preprocessing = replace(spec.preprocessing, crop=(side, side), resize=round(side * 256 / 224))
    spec = replace(spec, input_shape=(3, side, side), preprocessing=preprocessing)
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    module.eval()
    for norm in norms:
        norm.momentum = None  # the plain mean of what it sees
        norm.train()
    with torch.no_grad():
        for batch in calibration.batches(preprocessing, IMAGES):
            module(torch.from_numpy(batch.images))
    return canonicalise(module.eval(), spec)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: one line an architecture."""
    lines = [
        "| architecture | input | trace | store | prune 30% | quantize | export | parity: SQNR, same answer |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        marks = [row.get(step) or "" for step in STEPS]
        if marks[2] == "ok":
            marks[2] = f"{float(row['macs_removed']):.0%}"
        if marks[3] == "ok":
            marks[3] = f"{row['integer_layers']} layers"
        if row.get("sqnr_db") not in (None, ""):
            explained = {
                "ok": "",
                "unstable": f" (unstable; {float(row['control_db']):.0f} dB from itself)",
            }
            note = explained.get(marks[5].split(":")[0], " **unexplained**")
            marks[5] = f"{float(row['sqnr_db']):.0f} dB, {float(row['same_answer']):.1%}{note}"
        name = f"`{row['architecture']}`" + (" (its weights)" if row["weights"] == "packaged" else "")
        lines.append(f"| {name} | {row['input']} | {' | '.join(marks)} |")
    return "\n".join(lines)


def _in_a_process(name: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", name]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    empty = {"architecture": name, "input": ARCHITECTURES[name], "weights": "random", "device": platform.machine()}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS, env=environment)
    except subprocess.TimeoutExpired:
        return empty | {"trace": f"stopped after {SECONDS} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return empty | {"trace": last[:160]}
    return json.loads(lines[-1])


def _read() -> list[dict[str, Any]]:
    if not RESULTS.is_file():
        return []
    with RESULTS.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _bytes(folder: Path) -> int:
    return sum(place.stat().st_size for place in folder.iterdir())


if __name__ == "__main__":
    main()
