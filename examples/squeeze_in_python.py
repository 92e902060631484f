"""Quantize a model from Python: build a recipe as a value, run it, look at what each pass did.

.venv/bin/python examples/squeeze_in_python.py
"""

import tempfile
from pathlib import Path

import torch

from pocketlens import Chain, FoldBatchNorm, MatchMoments, QuantizeStatic
from pocketlens.datasets import splits
from pocketlens.models import sources
from pocketlens.models.compare import layer_errors
from pocketlens.recipe import bind, run
from pocketlens.targets import load_target
from pocketlens.types import Context, Data


def main() -> None:
    model = sources.load("efficientnet_lite0")
    calibration = splits.load("sample:calibration")
    target = load_target("onnxruntime")
    recipe = bind(Chain(FoldBatchNorm(), QuantizeStatic(activations="mse"), MatchMoments(images=16)), target.profile())
    with tempfile.TemporaryDirectory() as work:
        context = Context(data=Data(calibration=calibration), original=model, work=Path(work))
        quantized, records = run(recipe, model, context)
        for record in records:
            print(f"{record.name}: {record.summary}")
        artifact = target.lower(quantized, "int8", Path(work))
        batch = next(calibration.batches(model.spec.preprocessing, 8))
        outputs = next(iter(target.outputs(artifact, [batch.images])))
        same = (torch.from_numpy(outputs).argmax(1) == model.graph(torch.from_numpy(batch.images)).argmax(1)).sum()
        print(f"{artifact.size_bytes / 1e6:.2f} MB on disk, same answer on {same} of 8 photos")
    folded, _ = run(Chain(FoldBatchNorm()), model, context)
    worst = min(layer_errors(folded, quantized, [torch.from_numpy(batch.images)]), key=lambda row: row["sqnr_db"])
    print(f"the noisiest layer is {worst['layer']}: {worst['sqnr_db']:.1f} dB")


if __name__ == "__main__":
    main()
