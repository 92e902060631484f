"""Every pass, unasked: input untouched, shapes kept, seeded, JSON and store round trips."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import SPEC
from tests.networks import TwinBlocks, shaken
from torch import nn

from pocketlens.models import store
from pocketlens.models.canonical import canonicalise, clone
from pocketlens.models.integer_bias import round_biases
from pocketlens.passes import PASSES, pass_class
from pocketlens.recipe import Chain, bind, check, pass_from_json, pass_to_json
from pocketlens.types import Context, Model, Pass, Profile, Scheme

BEFORE: dict[str, tuple[str, ...]] = {
    "FoldBatchNorm": (),
    "EqualizeChannels": ("FoldBatchNorm",),
    "QuantizeStatic": ("FoldBatchNorm",),
    "QuantizeAware": (),
    "TuneQuantized": ("FoldBatchNorm", "QuantizeStatic"),
    "MixPrecision": ("FoldBatchNorm", "QuantizeStatic"),
    "CorrectBias": ("FoldBatchNorm", "QuantizeStatic"),
    "MatchMoments": ("FoldBatchNorm", "QuantizeStatic"),
    "RoundAdaptively": ("FoldBatchNorm", "QuantizeStatic"),
    "KeepFloat": ("FoldBatchNorm", "QuantizeStatic"),
    "ClusterWeights": ("FoldBatchNorm", "QuantizeStatic"),
    "TieLayers": (),
    "RoundForRate": ("FoldBatchNorm", "QuantizeStatic"),
    "PruneChannels": (),
    "PruneBlocks": (),
    "SparsifyChannels": (),
    "PruneWeights": (),
    "SetInputSize": (),
    "Finetune": (),
    "Distil": (),
    "CastHalf": ("FoldBatchNorm",),
}
"""What must run before each pass for its requirements to hold."""

FIELDS: dict[str, dict[str, Any]] = {
    "MixPrecision": {"max_bits_per_weight": 8.0, "float_macs": 0.5},
    "RoundForRate": {"share": 0.8},
    "TieLayers": {"share": 0.2},
}
"""Fields that a pass has no default for."""

NETWORKS: dict[str, Callable[[], nn.Module]] = {"TieLayers": lambda: shaken(TwinBlocks())}
"""Where a pass finds nothing to do in the small network that all others are tried on."""


def bound(name: str, scheme: Scheme) -> Pass:
    profile = Profile(
        device="test", system="", cpu="", cores=1, threads=1, memory_bytes=1, caches_bytes={}, instructions=(),
        runtime="test 1", scheme=scheme,
    )  # fmt: skip
    return bind(Chain(pass_class(name)(**FIELDS.get(name, {}))), profile).passes[0]


@pytest.fixture(params=sorted(PASSES))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def prepared(name: str, tiny: Model, context: Context, scheme: Scheme) -> tuple[Pass, Model, Context]:
    model = canonicalise(NETWORKS[name](), SPEC) if name in NETWORKS else tiny
    for earlier in BEFORE[name]:
        if "quantized" not in model.facts:
            context = replace(context, unquantized=model)
        model = bound(earlier, scheme)(model, context).model
    if "quantized" not in model.facts:
        context = replace(context, unquantized=model)
    return bound(name, scheme), model, context


def test_every_pass_is_covered() -> None:
    assert set(BEFORE) == set(PASSES)


def test_the_input_model_is_untouched(prepared: tuple[Pass, Model, Context]) -> None:
    step, model, context = prepared
    before = store.digest(model)
    step(model, context)
    assert store.digest(model) == before


def test_output_shape_stays_and_is_finite(prepared: tuple[Pass, Model, Context]) -> None:
    step, model, context = prepared
    result = step(model, context).model
    x = torch.randn(3, *model.spec.input_shape)
    y = result.graph(x)
    assert y.shape == model.graph(x).shape
    assert y.dtype == torch.float32
    assert torch.isfinite(y).all()


def test_an_integer_model_computes_what_its_file_will(prepared: tuple[Pass, Model, Context]) -> None:
    """Biases lie on the scale of their layer's sums, so that rounding them changes nothing."""
    step, model, context = prepared
    result = step(model, context).model
    rounded = clone(result)
    round_biases(rounded.graph)
    for name, tensor in rounded.graph.state_dict().items():
        assert torch.allclose(tensor, result.graph.state_dict()[name], rtol=1e-6, atol=0), name


def test_the_same_seed_gives_the_same_model(prepared: tuple[Pass, Model, Context]) -> None:
    step, model, context = prepared
    assert store.digest(step(model, context).model) == store.digest(step(model, context).model)


def test_facts_are_as_stated(prepared: tuple[Pass, Model, Context]) -> None:
    step, model, context = prepared
    assert step.requires <= model.facts
    facts = step(model, context).model.facts
    assert step.establishes <= facts
    assert not step.destroys & facts


def test_the_record_is_plain_data(prepared: tuple[Pass, Model, Context], name: str) -> None:
    step, model, context = prepared
    record = step(model, context).record
    assert record.name == name
    text = json.dumps(asdict(record), allow_nan=False)
    assert json.loads(text)["name"] == name
    assert record.seconds >= 0


def test_the_configuration_round_trips_through_json(prepared: tuple[Pass, Model, Context]) -> None:
    step, _, _ = prepared
    table: dict[str, Any] = json.loads(json.dumps(pass_to_json(step)))
    assert pass_from_json(table) == step


def test_the_model_round_trips_through_the_store(prepared: tuple[Pass, Model, Context], tmp_path: Path) -> None:
    step, model, context = prepared
    result = step(model, context).model
    store.save(result, tmp_path / "m.graph")
    loaded = store.load(tmp_path / "m.graph")
    x = torch.randn(2, *model.spec.input_shape)
    assert torch.equal(loaded.graph(x), result.graph(x))
    assert loaded.facts == result.facts
    assert loaded.spec == result.spec


def test_a_pass_alone_is_checked(name: str, scheme: Scheme) -> None:
    chain = Chain(*(bound(n, scheme) for n in (*BEFORE[name], name)))
    check(chain, frozenset({"batchnorm"}))
