import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.conftest import SPEC
from tests.networks import Twice, shaken

from pocketlens.models import store
from pocketlens.models.canonical import canonicalise
from pocketlens.models.integer_layers import originals, quantized_layers, with_layers
from pocketlens.models.widths import Widths
from pocketlens.ops.integer_programme import choose_options
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.types import Context, ImageSet, IntegerFormat, Model, Scheme, Silent

SCHEME = Scheme(
    name="u8s8",
    activation=IntegerFormat(storage="uint8", qmin=0, qmax=255),
    weight=IntegerFormat(storage="int8", qmin=-127, qmax=127, zero_point=0),
)


def entropy_bytes(codes: torch.Tensor) -> float:
    """What an ideal coder of single codes needs (Shannon 1948)."""
    shares = torch.unique(codes, return_counts=True)[1].double() / codes.numel()
    return float((shares * -shares.log2()).sum()) * codes.numel() / 8


@pytest.fixture
def pair(tiny: Model, context: Context) -> tuple[Model, Model]:
    folded = FoldBatchNorm()(tiny, context).model
    return folded, QuantizeStatic(scheme=SCHEME)(folded, context).model


@pytest.fixture
def widths(pair: tuple[Model, Model]) -> Widths:
    return Widths(model=pair[1], reference=pair[0], bits=(2, 4, 8), ranges="mse")


def test_a_layer_at_its_own_width_is_left_as_it_is(widths: Widths) -> None:
    own = quantized_layers(widths.model.graph)
    assert widths.allowed() == dict.fromkeys(own, (2, 4, 8))
    assert all(leaf is own[name] for name, leaf in widths.leaves(dict.fromkeys(own, 8)).items())


def test_narrower_codes_come_from_the_float_weights(widths: Widths) -> None:
    for bits, reach in ((2, 1), (4, 7)):
        leaves = widths.leaves(dict.fromkeys(widths.allowed(), bits))
        before = originals(widths.model.graph, widths.reference.graph)
        for name, leaf in leaves.items():
            assert int(leaf.codes.abs().max()) == reach  # RoundAdaptively reads a layer's reach from its codes
            scale = leaf.weight_scale.reshape(-1, *[1] * (leaf.codes.dim() - 1))
            ideal = (before[name].weight.detach() / scale).clamp(-reach, reach)
            assert float((leaf.codes - ideal).abs().max()) <= 0.5 + 1e-4


def test_seven_bit_schemes_have_no_eighth(pair: tuple[Model, Model], context: Context) -> None:
    half = replace(SCHEME, weight=replace(SCHEME.weight, qmin=-63, qmax=63))
    model = QuantizeStatic(scheme=half)(pair[0], context).model
    widths = Widths(model=model, reference=pair[0], bits=(4, 6, 7, 8), ranges="mse")
    assert set(widths.allowed().values()) == {(4, 6, 7)}
    # Without 7 among the choices, 8 is the first that holds all levels there are.
    assert set(replace(widths, bits=(4, 8)).allowed().values()) == {(4, 8)}


def test_a_copy_at_other_widths(widths: Widths) -> None:
    before = store.digest(widths.model)
    chosen = dict.fromkeys(widths.allowed(), 8) | {"depthwise_0": 2}
    first, second = widths.at(chosen), widths.at(chosen)
    assert store.digest(widths.model) == before
    assert store.digest(first) == store.digest(second)
    leaves = quantized_layers(first.graph)
    assert set(leaves["depthwise_0"].codes.unique().tolist()) == {-1, 0, 1}
    own = quantized_layers(widths.model.graph)
    assert all(torch.equal(leaves[n].codes, own[n].codes) for n in own if n != "depthwise_0")
    assert not {id(m) for m in first.graph.modules()} & {id(m) for m in second.graph.modules()}


def test_costs_by_the_definition(widths: Widths, images: ImageSet) -> None:
    """The float network with only one layer at 2 bits, run as a whole, gives the same figure."""
    rows = widths.costs(images, count=8, cache=None, progress=Silent())
    assert [(r["layer"], r["bits"]) for r in rows] == [(n, b) for n, bs in widths.allowed().items() for b in bs]
    row = next(r for r in rows if (r["layer"], r["bits"]) == ("project_0", 2))
    leaf = widths.leaves({"project_0": 2})["project_0"]
    alone = with_layers(widths.reference, {"project_0": leaf}).graph
    chosen = images.subset([i * len(images) // 8 for i in range(8)])
    x = torch.from_numpy(next(chosen.batches(SPEC.preprocessing, 8)).images)
    with torch.inference_mode():
        wanted, got = widths.reference.graph(x), alone(x)
    expected = 10 * math.log10(float(wanted.square().sum() / (got - wanted).square().sum()))
    assert row["sqnr_db"] == pytest.approx(expected, abs=0.01)
    assert row["weights"] == 16 * 8
    assert row["bytes"] == widths.packed_bytes({"project_0": 2})


def test_fewer_bits_weigh_less_and_harm_more(widths: Widths, images: ImageSet) -> None:
    rows = widths.costs(images, count=8, cache=None, progress=Silent())
    by_layer = {name: [r for r in rows if r["layer"] == name] for name in widths.allowed()}
    for options in by_layer.values():
        assert [o["bytes"] for o in options] == sorted(o["bytes"] for o in options)
        assert [o["sqnr_db"] for o in options] == sorted(o["sqnr_db"] for o in options)


def test_harm_together_is_that_of_all_layers_at_once(widths: Widths, images: ImageSet) -> None:
    chosen = dict.fromkeys(widths.allowed(), 4)
    together, _ = widths.harm(chosen, images, count=8, progress=Silent())
    all_at_once = with_layers(widths.reference, widths.leaves(chosen)).graph
    subset = images.subset([i * len(images) // 8 for i in range(8)])
    x = torch.from_numpy(next(subset.batches(SPEC.preprocessing, 8)).images)
    with torch.inference_mode():
        wanted, got = widths.reference.graph(x), all_at_once(x)
    expected = 10 * math.log10(float(wanted.square().sum() / (got - wanted).square().sum()))
    assert together == pytest.approx(expected, abs=0.01)


def test_bytes_are_near_the_entropy_and_add_up(context: Context) -> None:
    """On bell curves large enough that tables cost nothing: not bits times weights."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.Flatten(), torch.nn.Linear(4 * 15 * 15, 64))
    module[2].weight.data.normal_()
    folded = replace(canonicalise(module.eval(), replace(SPEC, class_ids=(), labels=())), facts=frozenset({"folded"}))
    model = QuantizeStatic(scheme=SCHEME)(folded, context).model
    widths = Widths(model=model, reference=folded, bits=(2, 4, 8), ranges="mse")
    for bits in (2, 4, 8):
        chosen = dict.fromkeys(widths.allowed(), bits)
        leaves = widths.leaves(chosen).values()
        entropy = sum(entropy_bytes(leaf.codes) + 4 * leaf.weight_scale.numel() for leaf in leaves)
        assert widths.packed_bytes(chosen) == pytest.approx(entropy, rel=0.05)
        assert widths.packed_bytes(chosen) == pytest.approx(sum(x["bytes"] for x in widths.sizes(chosen)), rel=0.02)


def test_what_the_coder_saves_is_used(widths: Widths, images: ImageSet) -> None:
    """Packed together, layers fit where their bytes one by one do not."""
    costs = widths.costs(images, count=4, cache=None, progress=Silent())
    widest = dict.fromkeys(widths.allowed(), 8)
    alone = sum(row["bytes"] for row in costs if row["bits"] == 8)
    limit = widths.packed_bytes(widest)
    assert limit < alone
    rows = widths.within(limit, costs, choose_options)
    assert {row["layer"]: row["bits"] for row in rows} == widest


def test_costs_are_remembered(widths: Widths, images: ImageSet, tmp_path: Path) -> None:
    first = widths.costs(images, count=4, cache=tmp_path, progress=Silent())
    (file,) = tmp_path.glob("widths-*.json")
    file.write_text('[{"layer": "from the cache"}]')
    again = replace(widths).costs(images, count=4, cache=tmp_path, progress=Silent())
    assert again == ({"layer": "from the cache"},)
    other = replace(widths, ranges="minmax").costs(images, count=4, cache=tmp_path, progress=Silent())
    assert len(other) == len(first)


def test_a_layer_called_twice_is_narrowed_once(context: Context, images: ImageSet) -> None:
    folded = replace(canonicalise(shaken(Twice()), SPEC), facts=frozenset({"folded"}))
    model = QuantizeStatic(scheme=SCHEME)(folded, context).model
    widths = Widths(model=model, reference=folded, bits=(3, 8), ranges="mse")
    rows = widths.costs(images, count=4, cache=None, progress=Silent())
    assert [r["bits"] for r in rows if r["layer"] == "loop"] == [3, 8]
    assert not any(r["layer"].startswith("loop_") for r in rows)
