from dataclasses import replace
from typing import Any

import pytest
import torch

from pocketlens.errors import ConfigError, DataError, ModelError
from pocketlens.models.integer_layers import originals, quantized_layers
from pocketlens.ops.rate import entropy_bytes
from pocketlens.passes.match_moments import MatchMoments
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.passes.round_for_rate import RoundForRate
from pocketlens.types import Context, Data, IntegerFormat, Model, Scheme


def packed(model: Model) -> float:
    return sum(entropy_bytes(layer.codes) for layer in quantized_layers(model.graph).values())


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5])
def test_the_budget_is_met_and_used(pair: tuple[Model, Model], repairing: Context, share: float) -> None:
    found = RoundForRate(share=share)(pair[1], repairing)
    assert 0.93 * share <= packed(found.model) / packed(pair[1]) <= share
    assert found.record.summary["weights_bytes"] == pytest.approx(packed(found.model))


def test_a_budget_in_megabytes(pair: tuple[Model, Model], repairing: Context) -> None:
    budget = 0.6 * packed(pair[1])
    assert packed(RoundForRate(max_size_mb=budget / 1e6)(pair[1], repairing).model) <= budget


def test_no_need_to_shrink_leaves_steps_near_what_they_were(pair: tuple[Model, Model], repairing: Context) -> None:
    layers = quantized_layers(RoundForRate(share=1.0)(pair[1], repairing).model.graph)
    for name, layer in quantized_layers(pair[1].graph).items():
        assert (layer.weight_scale / layers[name].weight_scale).log2().abs().max() < 1, name


def test_steps_have_few_digits_and_what_stands_behind_keeps_them(pair: tuple[Model, Model], repairing: Context) -> None:
    found = RoundForRate(share=0.7)(pair[1], repairing).model
    matched = MatchMoments()(found, repairing).model
    for model in (found, matched):
        for name, layer in quantized_layers(model.graph).items():
            assert torch.equal(layer.weight_scale.bfloat16().float(), layer.weight_scale), name
    changed = [
        not torch.equal(layer.weight_scale, quantized_layers(found.graph)[name].weight_scale)
        for name, layer in quantized_layers(matched.graph).items()
    ]
    assert any(changed)


def test_better_than_fewer_bits_of_the_same_size(
    pair: tuple[Model, Model], repairing: Context, context: Context, scheme: Scheme
) -> None:
    """The control: all layers on grids of 5 bits."""
    grid = IntegerFormat(storage="int8", qmin=-15, qmax=15, zero_point=0)
    coarse = QuantizeStatic(scheme=replace(scheme, weight=grid))(pair[0], context).model
    ours = RoundForRate(max_size_mb=packed(coarse) / 1e6)(pair[1], repairing).model
    images = context.data.calibration
    assert images is not None
    x = torch.cat([torch.from_numpy(b.images) for b in images.batches(ours.spec.preprocessing, 24)])
    wanted = pair[0].graph(x)
    assert (ours.graph(x) - wanted).square().sum() < (coarse.graph(x) - wanted).square().sum()


def test_what_would_ruin_the_network_is_refused(pair: tuple[Model, Model], repairing: Context) -> None:
    with pytest.raises(ConfigError, match="more noise than signal; allow more of the"):
        RoundForRate(max_size_mb=1e-8)(pair[1], repairing)


def test_a_layer_of_zeros_stays(pair: tuple[Model, Model], repairing: Context) -> None:
    quantized_layers(pair[1].graph)["project_0"].codes.zero_()
    with torch.no_grad():
        originals(pair[1].graph, pair[0].graph)["project_0"].weight.zero_()
    found = RoundForRate(share=0.7)(pair[1], repairing).model
    assert not quantized_layers(found.graph)["project_0"].codes.any()


def test_missing_parts_say_what_to_do(pair: tuple[Model, Model], repairing: Context, context: Context) -> None:
    with pytest.raises(ConfigError, match="run both in one Chain"):
        RoundForRate(share=0.8)(pair[1], replace(context, unquantized=None))
    with pytest.raises(DataError, match="--calibration DIR"):
        RoundForRate(share=0.8)(pair[1], replace(repairing, data=Data()))
    with pytest.raises(ModelError, match="put QuantizeStatic before this"):
        RoundForRate(share=0.8)(pair[0], repairing)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "needs `share` or `max_size_mb`"),
        ({"share": 0.5, "max_size_mb": 1.0}, "needs `share` or `max_size_mb`"),
        ({"share": 80}, "For 80% use 0.8"),
        ({"share": -0.1}, "must lie in"),
        ({"max_size_mb": -1.0}, "must be above 0"),
        ({"share": 0.5, "images": 0}, "`images` must be at least 1"),
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RoundForRate(**fields)
