"""The exported file answers as the simulation does, on every runtime under that runtime's own scheme.

A runtime sums integers, the simulation floats, and both round: now and then one of them falls on the other side of a
half, which moves what comes after. Over 50 layers such flips breed: EfficientNet-Lite0's files differ from any
simulation, and from one another, by 26 to 33 dB (docs/targets.md); 20 layers stay well above 30.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import SHARED

from pocketlens.datasets import splits
from pocketlens.datasets.choose import spread_evenly
from pocketlens.models import sources
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.targets.integer_bias import with_integer_biases
from pocketlens.types import Context, Data, Model, Target

AGREEMENT = 0.995
SQNR_DB = 30


def check_parity(model: Model, target: Target, batches: list[np.ndarray], folder: Path) -> None:
    artifact = target.lower(model, "int8", folder)
    simulation = with_integer_biases(model).graph
    with torch.inference_mode():
        wanted = np.concatenate([simulation(torch.from_numpy(x)).numpy() for x in batches])
    got = np.concatenate(list(target.outputs(artifact, batches, threads=1)))
    print(
        target.name,
        (got.argmax(1) == wanted.argmax(1)).mean(),
        10 * np.log10(np.square(wanted).sum() / np.square(got - wanted).sum()),
    )
    assert (got.argmax(1) == wanted.argmax(1)).mean() >= AGREEMENT
    noise = np.square(got - wanted).sum()
    assert 10 * np.log10(np.square(wanted).sum() / max(noise, 1e-30)) >= SQNR_DB


def test_a_small_network(target: Target, folded: Model, context: Context, tmp_path: Path) -> None:
    scheme = target.profile().scheme
    assert scheme is not None
    model = QuantizeStatic(scheme=scheme)(folded, context).model
    assert context.data.calibration is not None
    photos = np.concatenate([b.images for b in context.data.calibration.batches(model.spec.preprocessing, 24)])
    rng = np.random.default_rng(0)
    batches = [photos + 0.1 * rng.standard_normal(photos.shape).astype(np.float32) for _ in range(20)]
    check_parity(model, target, batches, tmp_path)


@pytest.mark.skipif(not (SHARED / "weights/resnet20.safetensors").is_file(), reason="needs shared/weights")
@pytest.mark.skipif(not (SHARED / "data/cifar10-jpeg").is_dir(), reason="needs shared/data/cifar10-jpeg")
def test_a_trained_network_on_its_own_pictures(target: Target, tmp_path: Path) -> None:
    scheme = target.profile().scheme
    assert scheme is not None
    original = sources.load("resnet20_cifar", weights=SHARED / "weights/resnet20.safetensors")
    train = splits.load(SHARED / "data/cifar10-jpeg/train.parquet", original.spec.class_ids)
    context = Context(data=Data(calibration=spread_evenly(train, 64)), original=original, work=tmp_path)
    model = QuantizeStatic(scheme=scheme)(FoldBatchNorm()(original, context).model, context).model
    test = spread_evenly(splits.load(SHARED / "data/cifar10-jpeg/test.parquet", original.spec.class_ids), 400)
    check_parity(model, target, [b.images for b in test.batches(model.spec.preprocessing, 50)], tmp_path)
