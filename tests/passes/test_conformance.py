"""Every pass, unasked: input untouched, shapes kept, seeded, JSON and store round trips."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pocketlens.models import store
from pocketlens.passes import PASSES, pass_class
from pocketlens.recipe import Chain, bind, check, pass_from_json, pass_to_json
from pocketlens.types import Context, Model, Pass, Profile, Scheme

BEFORE: dict[str, tuple[str, ...]] = {
    "FoldBatchNorm": (),
    "EqualizeChannels": ("FoldBatchNorm",),
    "QuantizeStatic": ("FoldBatchNorm",),
    "CorrectBias": ("FoldBatchNorm", "QuantizeStatic"),
    "MatchMoments": ("FoldBatchNorm", "QuantizeStatic"),
    "RoundAdaptively": ("FoldBatchNorm", "QuantizeStatic"),
    "KeepFloat": ("FoldBatchNorm", "QuantizeStatic"),
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


def bound(name: str, scheme: Scheme) -> Pass:
    profile = Profile(
        device="test", system="", cpu="", cores=1, threads=1, memory_bytes=1, caches_bytes={}, instructions=(),
        runtime="test 1", scheme=scheme,
    )  # fmt: skip
    return bind(Chain(pass_class(name)()), profile).passes[0]


@pytest.fixture(params=sorted(PASSES))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def prepared(name: str, tiny: Model, context: Context, scheme: Scheme) -> tuple[Pass, Model, Context]:
    model = tiny
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
