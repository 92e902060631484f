import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pocketlens.models.sensitivity import DB_CEILING, noise_power, sensitivity, sqnr_db
from pocketlens.ops.quantized import QuantizedConv2d, QuantizeDequantize
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.types import Context, ImageSet, IntegerFormat, Json, Model, Scheme, Silent

U8 = IntegerFormat(storage="uint8", qmin=0, qmax=255)
S4 = IntegerFormat(storage="int8", qmin=-7, qmax=7, zero_point=0)


@pytest.fixture
def pair(tiny: Model, context: Context) -> tuple[Model, Model]:
    folded = FoldBatchNorm()(tiny, context).model
    scheme = Scheme(name="u8s4", activation=U8, weight=S4)
    return folded, QuantizeStatic(scheme=scheme)(folded, context).model


def ranked(pair: tuple[Model, Model], images: ImageSet, cache: Path | None = None) -> tuple[Json, ...]:
    return sensitivity(pair[1], pair[0], images, count=8, cache=cache, progress=Silent())


def test_every_quantizer_is_ranked_once_worst_first(pair: tuple[Model, Model], images: ImageSet) -> None:
    rows = ranked(pair, images)
    modules = list(pair[1].graph.modules())
    grids = sum(isinstance(m, QuantizeDequantize) for m in modules)
    assert sum(r["part"] == "activations" for r in rows) == grids
    assert {"stem_0", "classifier"} <= {r["layer"] for r in rows if r["part"] == "weights"}
    assert [r["sqnr_db"] for r in rows] == sorted(r["sqnr_db"] for r in rows)
    assert all(r["kl"] >= 0 for r in rows)


def test_by_the_definition(pair: tuple[Model, Model], images: ImageSet) -> None:
    """The float network with only the depthwise weight rounded, run as a whole, gives the same figure."""
    folded, quantized = pair
    row = next(r for r in ranked(pair, images) if (r["layer"], r["part"]) == ("depthwise_0", "weights"))
    alone = FoldBatchNorm()(folded, None).model.graph  # pyright: ignore[reportArgumentType]  # a copy
    target = next(str(n.target) for n in alone.graph.nodes if n.name == "depthwise_0")
    leaf = quantized.graph.get_submodule(target)
    assert isinstance(leaf, QuantizedConv2d)
    alone.set_submodule(target, leaf)
    chosen = images.subset([i * len(images) // 8 for i in range(8)])
    x = torch.from_numpy(next(chosen.batches(folded.spec.preprocessing, 8)).images)
    with torch.inference_mode():
        wanted, got = folded.graph(x), alone(x)
    expected = 10 * math.log10(float(wanted.square().sum() / (got - wanted).square().sum()))
    assert row["sqnr_db"] == pytest.approx(expected, abs=0.01)


def test_fewer_bits_harm_more(pair: tuple[Model, Model], images: ImageSet, context: Context) -> None:
    fine = Scheme(name="u8s8", activation=U8, weight=replace(S4, qmin=-127, qmax=127))
    eight = QuantizeStatic(scheme=fine)(pair[0], context).model
    weights = [
        {r["layer"]: r["sqnr_db"] for r in rows if r["part"] == "weights"}
        for rows in (ranked(pair, images), ranked((pair[0], eight), images))
    ]
    assert all(weights[1][name] > weights[0][name] + 10 for name in weights[0])


def test_answers_are_remembered(pair: tuple[Model, Model], images: ImageSet, tmp_path: Path) -> None:
    first = ranked(pair, images, tmp_path)
    (file,) = tmp_path.glob("sensitivity-*.json")
    file.write_text('[{"layer": "from the cache"}]')
    assert ranked(pair, images, tmp_path) == ({"layer": "from the cache"},)
    file.write_text("no JSON")
    assert ranked(pair, images, tmp_path) == first
    assert ranked(pair, images, tmp_path / "missing") == first


def test_noise_and_decibels_by_hand() -> None:
    assert noise_power(20.0) == pytest.approx(0.01)
    assert sqnr_db(0.001) == pytest.approx(30.0)
    assert sqnr_db(0.0) == sqnr_db(1e-30) == DB_CEILING
